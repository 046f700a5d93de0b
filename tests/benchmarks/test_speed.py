"""How fast moebench's own code is: counting, reading records, rendering. `make bench` prints the times."""

from __future__ import annotations

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
    assert len(benchmark(store.completed, records[0].suite)) == len(records)


def test_summarise_records(benchmark: Benchmark, store: Store, records: list[Record]) -> None:
    read = list(store.read(records[0].suite))
    summaries = benchmark(summarise, read)
    assert {summary.model for summary in summaries} == {record.cell.subject.model for record in records}


def test_render_a_site(benchmark: Benchmark, store: Store, tmp_path: Path) -> None:
    index = benchmark.pedantic(sites.render, args=(store, tmp_path / "site"), rounds=3)  # type: ignore[attr-defined]
    assert index.stat().st_size > 10_000
