"""Traces: both spellings, and one line naming file and line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.traces import Trace, read_trace

ROW = {"prompt_tokens": 10, "output_tokens": 5, "arrival_s": 1.5}


def trace(folder: Path, *lines: Any) -> Trace:
    path = folder / "trace.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines), encoding="utf-8")
    return read_trace(path)


def test_both_spellings(tmp_path: Path) -> None:
    other = {"timestamp": 3500, "input_length": 7, "output_length": 9, "hash_ids": [1]}
    found = trace(tmp_path, ROW, "", other)
    assert (found.prompt_tokens, found.output_tokens, found.arrivals_s) == ((10, 7), (5, 9), (0.0, 2.0))
    assert found.lines == (1, 3)


def test_what_a_scenario_keeps_of_it(tmp_path: Path) -> None:
    lengths = trace(tmp_path, ROW, {**ROW, "prompt_tokens": 30}).lengths
    assert (lengths.rows, lengths.prompt_mean, lengths.output_mean, lengths.longest) == (2, 20.0, 5.0, 35)
    assert lengths.file == "trace.jsonl"
    assert lengths.fingerprint != trace(tmp_path, ROW).lengths.fingerprint


def test_arrivals_are_optional_for_all_rows(tmp_path: Path) -> None:
    plain = {"prompt_tokens": 1, "output_tokens": 2}
    assert trace(tmp_path, plain, plain).arrivals_s is None
    with pytest.raises(InputError, match="lacks arrival_s") as caught:
        trace(tmp_path, ROW, plain)
    assert caught.value.where.endswith("trace.jsonl:2")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not JSON"), ("[1, 2]", "a JSON object"), ("7", "a JSON object"), ("[" * 100_000, "not JSON"),
        ({**ROW, "prompt_tokens": -1}, "prompt_tokens is a whole number above 0 (given: -1)"),
        ({**ROW, "prompt_tokens": 0}, "given: 0"), ({**ROW, "prompt_tokens": 2.5}, "given: 2.5"),
        ({**ROW, "prompt_tokens": "8"}, "given: '8'"), ({**ROW, "prompt_tokens": True}, "given: True"),
        ({**ROW, "output_tokens": None}, "output_tokens is a whole number"),
        ({**ROW, "prompt_tokens": 10**12}, "given: 1000000000000"),
        ({"prompt_tokens": 1}, "lacks output_tokens"), ({"prompt_token": 1, "output_tokens": 1}, "lacks prompt_tokens"),
        ({**ROW, "arrival_s": -0.1}, "arrival_s is a number from 0 on"), ({**ROW, "arrival_s": "1"}, "given: '1'"),
        ('{"prompt_tokens": 1, "output_tokens": 1, "arrival_s": Infinity}', "given: inf"),
        ('{"prompt_tokens": 1, "output_tokens": 1, "arrival_s": NaN}', "given: nan"),
        ({**ROW, "arrival_s": 0.5}, "arrives before the line above it"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: Any, what: str) -> None:
    with pytest.raises(InputError) as caught:
        trace(tmp_path, *[ROW] * 6, line, ROW)
    assert caught.value.where.endswith("trace.jsonl:7")
    assert what in caught.value.what
    assert len(str(caught.value)) < 400


def test_a_misspelt_key_names_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        trace(tmp_path, {"prompt_token": 1, "output_tokens": 1})
    assert "did you mean 'prompt_token'" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", b"\xff\xfe"])
def test_a_file_without_rows_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert caught.value.where == str(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the trace"):
        read_trace(tmp_path / "nowhere.jsonl")


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0, 1e6)), min_size=1, max_size=20))
def test_every_row_is_kept(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, float]]) -> None:
    rows = sorted(rows, key=lambda row: row[2])
    lines = [{"prompt_tokens": p, "output_tokens": o, "arrival_s": a} for p, o, a in rows]
    found = trace(tmp_path_factory.mktemp("trace"), *lines)
    assert list(zip(found.prompt_tokens, found.output_tokens, strict=True)) == [row[:2] for row in rows]
    assert found.arrivals_s is not None
    assert found.arrivals_s[0] == 0 and list(found.arrivals_s) == sorted(found.arrivals_s)
