from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.imports.document import Node, finite, of_one_length, read_document, read_lines, shown


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{", "is no JSON"),
        ('{"a": 1', "is no JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ("9" * 5000, "is no JSON"),
    ],
)
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "given.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_document(path)
    assert caught.value.where == str(path)
    assert caught.value.what.startswith(told)
    assert "\n" not in caught.value.what


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_document(path)
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_document(tmp_path / "latin")


def test_the_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(b'{"a": 1}\n')
    assert read_document(path).fingerprint == "sha256:" + hashlib.sha256(b'{"a": 1}\n').hexdigest()


def test_one_value_or_one_on_each_line(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text('{\n "a": 1\n}', encoding="utf-8")
    assert read_document(path).values == ({"a": 1},)
    path.write_text('{"a": 1}\n\n{"a": 2}\n', encoding="utf-8")
    assert read_document(path).values == ({"a": 1}, {"a": 2})


def test_the_broken_line_of_several_is_named(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text('{"a": 1}\n\n{"a": \n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_document(path)
    assert caught.value.where == f"{path}:3"


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    path.write_text('{"a": 1}\n[]\n', encoding="utf-8")
    with pytest.raises(InputError, match="is no JSON object") as caught:
        read_lines(path)
    assert caught.value.where == f"{path}:2"


NODE = Node({
    "text": "fast", "flag": True, "none": None, "less": -1, "nan": float("nan"), "large": 10**400, "half": 1.5,
    "zero": 0, "four": 4.0, "list": [1, "x"], "inner": {"deep": "x"}, "objects": [{}, 1], "then": 1e50,
}, "file.json")


@pytest.mark.parametrize(
    ("read", "where", "told"),
    [
        (lambda: NODE.number("missing"), "missing", "is missing"),
        (lambda: NODE.number("text"), "text", "is no number (given: 'fast')"),
        (lambda: NODE.number("flag"), "flag", "is no number (given: True)"),
        (lambda: NODE.number("none"), "none", "is no number (given: None)"),
        (lambda: NODE.number("less"), "less", "is below 0 (given: -1)"),
        (lambda: NODE.number("nan"), "nan", "is no finite number of sensible size (given: nan)"),
        (lambda: NODE.number("large"), "large", "is no finite number of sensible size (given: a very large number)"),
        (lambda: NODE.positive("zero"), "zero", "is 0, so nothing was measured"),
        (lambda: NODE.whole("half"), "half", "is no whole number"),
        (lambda: NODE.whole("zero", 1), "zero", "is below 1 (given: 0)"),
        (lambda: NODE.text("four"), "four", "is no text (given: 4.0)"),
        (lambda: NODE.items("text"), "text", "is no list (given: 'fast')"),
        (lambda: NODE.numbers("list"), "list[1]", "is no number (given: 'x')"),
        (lambda: NODE.node("list"), "list", "is no JSON object (given: a list of 2)"),
        (lambda: NODE.nodes("objects"), "objects[1]", "is no JSON object (given: 1)"),
        (lambda: NODE.node("inner").number("deep"), "inner.deep", "is no number"),
        (lambda: NODE.moment("large"), "large", "is no finite number"),
        (lambda: NODE.moment("then"), "then", "is no time (given: 1e+50)"),
        (lambda: NODE.number("a\nb"), "'a\\nb'", "is missing"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(read: Any, where: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read()
    assert caught.value.where == f"file.json:{where}"
    assert caught.value.what.startswith(told)


def test_a_missing_key_gets_the_nearest_as_a_hint() -> None:
    with pytest.raises(InputError) as caught:
        Node({"elapsed_tim": 1}, "file.json").number("elapsed_time")
    assert caught.value.hint == "did you mean 'elapsed_tim'?"


def test_null_is_there_but_tells_nothing() -> None:
    assert not NODE.has("none")
    assert NODE.required("none") is None
    assert (NODE.whole("four"), NODE.raw("missing")) == (4, None)


def test_columns_of_other_lengths_are_named() -> None:
    with pytest.raises(InputError, match="has 1 values where a has 2") as caught:
        of_one_length({"a": [1, 2], "b": [3]}, NODE)
    assert caught.value.where == "file.json:b"


@given(
    st.none() | st.booleans() | st.text() | st.floats() | st.integers() | st.lists(st.integers()) | st.just(10**300)
)
def test_a_value_is_a_number_or_refused_in_one_short_line(value: Any) -> None:
    try:
        assert 0 <= finite(value, "here") <= 1e100
    except InputError as error:
        assert "\n" not in error.what
        assert len(error.what) < 200
    assert len(shown(value)) <= 60
