"""Open loops, replayed traces, offline runs and spread lengths on the real engine, from the suite to the records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from harness.measurements.schedule import schedule
from harness.record import Completed, MemoryMeasurement, ServingMeasurement
from harness.scenario import OpenLoop, Replay, ServingScenario
from harness.serving_metrics import serving_values
from harness.store import Store
from harness.suite_serving import Limits
from harness.summarise import summarise
from harness.terms import Terms

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("engine")]

SUITE = """
name: loads
title: Every load
models: [{{name: moe-8x2, path: {suites}/pocket/models/moe-8x2-s1}}]
engine: {{max_model_len: 256, kv_cache_memory_bytes: 67108864, max_num_seqs: 16, max_num_batched_tokens: 256}}
serving:
  - name: spread
    prompt_tokens: {{lognormal: {{median: 30, sigma: 0.6, max: 120}}}}
    output_tokens: {{uniform: [4, 40]}}
    concurrency: auto
    up_to: 8
    rate_per_s: [30]
    burstiness: 0.5
    offline: 64
    min_duration_s: 0.5
    warmup_s: 0.5
    goodput: {{ttft_s: 10, tpot_s: 1}}
  - {{name: day, trace: day.jsonl, replay: 2, min_duration_s: 0, warmup_s: 0}}
repeats: 1
threads: 1
"""
TRACE = [
    {"prompt_tokens": 10 + 7 * row % 50, "output_tokens": 3 + row % 11, "arrival_s": row / 20} for row in range(30)
]
Measured = dict[str, tuple[ServingScenario, ServingMeasurement]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Store:
    folder = tmp_path_factory.mktemp("loads")
    (folder / "day.jsonl").write_text("\n".join(map(json.dumps, TRACE)), encoding="utf-8")
    (folder / "loads.yaml").write_text(SUITE.format(suites=repo_root / "suites"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", "run", str(folder / "loads.yaml"), "--results",
         str(folder / "results")],
        capture_output=True, text=True, timeout=400, check=False, env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return Store(folder / "results")


@pytest.fixture(scope="module")
def measured(store: Store) -> Measured:
    found: Measured = {}
    for _, record in store.read("loads"):
        scenario, outcome = record.cell.scenario, record.outcome
        if isinstance(scenario, ServingScenario) and isinstance(outcome, Completed):
            assert isinstance(outcome.measurement, ServingMeasurement)
            found[f"{scenario.name} {scenario.concurrency or scenario.load.kind}"] = scenario, outcome.measurement
    return found


def test_every_load_was_measured(measured: Measured) -> None:
    assert {"spread 1", "spread 2", "spread 4", "spread offline", "spread open", "day replay"} <= set(measured)


def test_every_request_got_what_it_asked_for(measured: Measured) -> None:
    for _, serving in measured.values():
        for request in serving.requests:
            assert request.output_tokens == request.asked_output_tokens
            assert request.prompt_tokens == request.asked_prompt_tokens
            assert (request.finish_reason, request.cached_tokens) == ("length", 0)
        parts = serving.step_time_s + serving.submit_time_s + serving.idle_time_s
        assert 0.5 * serving.duration_s < parts <= serving.duration_s


def test_an_open_loop_keeps_to_its_schedule(measured: Measured) -> None:
    scenario, serving = measured["spread open"]
    assert scenario.load == OpenLoop(requests_per_s=30.0, burstiness=0.5)
    due = list(schedule(scenario, 0))
    assert len(due) == len(serving.requests)
    for request, seen in zip(due, serving.requests, strict=True):
        assert seen.arrival_s == pytest.approx(request.arrival_s, abs=1e-6)
        assert (seen.asked_prompt_tokens, seen.asked_output_tokens) == (request.prompt_tokens, request.output_tokens)
        # what the engine was busy with is waited for, and counts
        assert seen.started_s is not None
        assert seen.arrival_s <= seen.submitted_s <= seen.started_s


def test_a_trace_is_replayed_row_by_row(measured: Measured) -> None:
    scenario, serving = measured["day replay"]
    assert scenario.load == Replay(speed=2.0)
    assert len(serving.requests) == len(TRACE)
    for seen, row in zip(serving.requests, TRACE, strict=True):
        assert (seen.asked_prompt_tokens, seen.asked_output_tokens) == (row["prompt_tokens"], row["output_tokens"])
        assert 2 * seen.arrival_s == pytest.approx(row["arrival_s"], abs=1e-5)


def test_offline_requests_wait_in_the_engines_queue(measured: Measured) -> None:
    """The engine takes 16 at once: the other 48 are there and wait, and the steps tell since when they do not."""
    _, serving = measured["spread offline"]
    assert {request.arrival_s for request in serving.requests} == {0.0}
    lives = [(r.started_s or 0.0, (serving.span_of(r) or (0.0, 0.0))[1]) for r in serving.requests]
    in_work = [sum(start < moment <= last for start, last in lives) for moment in serving.steps_s]
    assert max(in_work) == 16
    waits = np.sort([start for start, _ in lives])
    assert waits[15] < serving.duration_s / 4 and waits[-1] > serving.duration_s / 4


def test_the_records_are_summarised_with_the_suites_limits(store: Store, measured: Measured) -> None:
    terms = Terms({"spread": Limits(ttft_s=10.0, tpot_s=1.0)}, host_usd_per_hour=0.36)
    (summary,) = summarise(store.read("loads"), terms=terms)
    assert len(summary.points) == len(measured)
    for point in summary.points:
        rate = point.estimates["output_tokens_per_s"].value
        assert point.estimates["usd_per_million_output_tokens"].value == pytest.approx(100 / rate)
        if point.key.name == "spread":
            assert point.estimates["goodput_share"].value == 1.0
    _, serving = measured["spread 1"]
    values = serving_values(measured["spread 1"][0], serving)
    assert values["tpot_p50_s"] < values["ttft_p50_s"] < values["e2e_p50_s"]
    assert list(islice((p.key.kind for p in summary.points if p.key.name == "day"), 1)) == ["replay"]


def test_the_first_start_was_cold(store: Store) -> None:
    (memory,) = [
        record.outcome.measurement for _, record in store.read("loads")
        if isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, MemoryMeasurement)
    ]
    assert memory.cold is True
    assert memory.import_s is not None and memory.import_s < memory.load_s
