"""Serving entries of a suite -> scenarios; what cannot be sent is named with its file, key or line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import InputError
from harness.scenario import ClosedLoop, LogNormalLength, Offline, OpenLoop, RandomLengths, Replay, TraceLengths
from harness.suite import parse_suite
from harness.workloads import Workload, check_lengths, workloads_of


def workload(folder: Path, **serving: Any) -> Workload:
    given = {
        "name": "small", "title": "Small", "models": [{"name": "moe", "path": "moe"}], "serving": [serving],
    }
    suite = parse_suite(yaml.safe_dump(given), where="small.yaml")
    return workloads_of(suite, folder / "small.yaml")[0]


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    rows = [{"prompt_tokens": 10 * n, "output_tokens": 5, "arrival_s": n} for n in range(1, 10)]
    (tmp_path / "day.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    plain = [{"prompt_tokens": 10, "output_tokens": 5}]
    (tmp_path / "plain.jsonl").write_text("\n".join(map(json.dumps, plain)), encoding="utf-8")
    return tmp_path


def test_every_load_of_a_workload_is_a_scenario(traced: Path) -> None:
    found = workload(
        traced, trace="day.jsonl", concurrency=[8, 1], rate_per_s=[4.0, 0.5], burstiness=0.5, offline=100, replay=2.0,
        min_duration_s=3, warmup_s=4,
    ).scenarios(256)
    assert [(one.load, one.requests) for one in found] == [
        (ClosedLoop(concurrency=1), 8), (ClosedLoop(concurrency=8), 32), (Offline(), 100),
        (OpenLoop(requests_per_s=0.5, burstiness=0.5), 8), (OpenLoop(requests_per_s=4.0, burstiness=0.5), 8),
        (Replay(speed=2.0), 9),
    ]
    assert {(one.min_duration_s, one.warmup_s, one.version) for one in found[:-1]} == {(3.0, 4.0, 2)}
    # how long a replay takes is the trace's to say
    assert found[-1].min_duration_s == 0
    lengths = found[0].lengths
    assert isinstance(lengths, TraceLengths)
    assert (lengths.rows, lengths.longest) == (9, 95)


def test_lengths_as_a_suite_spells_them(tmp_path: Path) -> None:
    log_normal = {"lognormal": {"median": 200, "sigma": 0.8, "max": 2000}}
    lengths = workload(tmp_path, prompt_tokens=log_normal, output_tokens={"uniform": [2, 9]}, offline=1).lengths
    assert isinstance(lengths, RandomLengths)
    assert lengths.prompt == LogNormalLength(median=200, sigma=0.8, low=1, high=2000)
    assert (lengths.output_mean, lengths.longest) == (5.5, 2009)


@pytest.mark.parametrize(("most", "levels"), [(1, [1]), (48, [1, 2, 4, 8, 16, 32]), (64, [1, 2, 4, 8, 16, 32, 64])])
def test_an_adaptive_sweep_doubles_as_far_as_the_engine_goes(tmp_path: Path, most: int, levels: list[int]) -> None:
    found = workload(tmp_path, prompt_tokens=1, output_tokens=2, concurrency="auto").scenarios(most)
    assert [one.concurrency for one in found] == levels


def test_a_replay_without_arrivals(traced: Path) -> None:
    with pytest.raises(InputError, match=r"plain\.jsonl has no arrivals to replay") as caught:
        workload(traced, trace="plain.jsonl", replay=1.0)
    assert caught.value.where.endswith("small.yaml:serving[0].replay")


def test_requests_that_no_context_holds_are_named_by_line_or_key(traced: Path) -> None:
    where = traced / "small.yaml"
    long = workload(traced, trace="day.jsonl", offline=1)
    check_lengths([long], 95, where)
    with pytest.raises(InputError, match="95 tokens a request exceed the context of every model, 94 at most") as caught:
        check_lengths([long], 94, where)
    assert caught.value.where == f"{traced / 'day.jsonl'}:9"
    with pytest.raises(InputError) as caught:
        check_lengths([workload(traced, prompt_tokens=90, output_tokens=5, offline=1)], 94, where)
    assert caught.value.where == f"{where}:serving[0]"
