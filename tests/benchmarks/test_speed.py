"""How fast moebench's own code is: counting, reading records, rendering. `make bench` prints the times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import pytest
import sites

from harness.accounting import count_parameters, flops_per_token
from harness.catalog import Catalog
from harness.hf_config import architecture_from_config
from harness.record import Record
from harness.store import Store
from harness.summarise import summarise

Benchmark = Callable[..., Any]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return builders.small_suite_records(repeats=5, items=1000)


@pytest.fixture
def store(tmp_path: Path, records: list[Record]) -> Store:
    return sites.store_of(tmp_path / "results", records)


def test_count_the_catalog(benchmark: Benchmark, repo_root: Path) -> None:
    models = [(model.name, model.config) for model in Catalog(repo_root / "suites") if model.config is not None]

    def count() -> list[int]:
        totals = []
        for name, config in models:
            architecture = architecture_from_config(config, name)
            totals.append(count_parameters(architecture).total)
            flops_per_token(architecture, context=1024)
        return totals

    totals = benchmark(count)
    assert len(totals) == len(models)
    assert min(totals) > 10**8


def test_append_records(benchmark: Benchmark, records: list[Record], tmp_path: Path) -> None:
    folders = iter(range(10**6))

    def append() -> Store:
        return sites.store_of(tmp_path / str(next(folders)), records)

    store = benchmark.pedantic(append, rounds=3)  # type: ignore[attr-defined]
    assert len(store.files(records[0].suite)) == len(records)


def test_read_records(benchmark: Benchmark, store: Store, records: list[Record]) -> None:
    read = benchmark(lambda: list(store.read(records[0].suite)))
    assert len(read) == len(records)


def test_what_is_done(benchmark: Benchmark, store: Store, records: list[Record]) -> None:
    assert len(benchmark(store.done, records[0].suite).measured) == len(records)


def test_summarise_records(benchmark: Benchmark, store: Store, records: list[Record]) -> None:
    read = list(store.read(records[0].suite))
    summaries = benchmark(summarise, read)
    assert {summary.model for summary in summaries} == {record.cell.subject.model for record in records}


def test_render_a_site(benchmark: Benchmark, store: Store, tmp_path: Path) -> None:
    index = benchmark.pedantic(sites.render, args=(store, tmp_path / "site"), rounds=3)  # type: ignore[attr-defined]
    assert index.stat().st_size > 10_000


def test_a_trace_of_100_000_requests(benchmark: Benchmark) -> None:
    """Drawn, played, stored, read and summarised within 1 GB, in a process of its own."""
    program = Path(__file__).with_name("large_trace.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(program.parents[1]), str(program.parents[2])])}

    def run() -> dict[str, float]:
        command = [sys.executable, str(program), "100000"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    found = benchmark.pedantic(run, rounds=1)  # type: ignore[attr-defined]
    benchmark.extra_info.update(found)  # type: ignore[attr-defined]
    assert found["output_tokens"] > 10**7
    assert found["peak_bytes"] < 10**9


@pytest.mark.engine
def test_what_the_harness_costs_at_256_requests_in_flight(benchmark: Benchmark) -> None:
    """Shares of the timed loop outside `engine.step`: the harness itself, and the engine's taking of requests."""
    if benchmark.disabled:  # type: ignore[attr-defined]
        pytest.skip("times are for `make bench`")
    program = Path(__file__).with_name("harness_overhead.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

    def run() -> dict[str, dict[str, float]]:
        done = subprocess.run(
            [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=True
        )
        found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
        return found

    found = benchmark.pedantic(run, rounds=1)  # type: ignore[attr-defined]
    benchmark.extra_info.update(found)  # type: ignore[attr-defined]
    for shares in found.values():
        assert shares["most_in_flight"] == 256
        assert 0 < shares["harness_share"] < 0.01
