"""The records of a suite -> what is known of its models, read as its file says: one way for pages and commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.record import Record
from harness.store import Store
from harness.store_index import StoreIndex, read_needed
from harness.suite import Suite
from harness.summarise import summarise
from harness.summary import ModelSummary
from harness.terms import Terms


@dataclass(frozen=True)
class SuiteResults:
    """What is known of the models of one suite."""

    models: tuple[ModelSummary, ...]
    entries: tuple[tuple[Path, Record], ...]
    """The records that the summaries come from."""
    index: StoreIndex
    """Of all records, also of those that no summary needs."""
    problems: tuple[StoreError, ...]
    """The files that could not be read."""


def suite_results(store: Store, name: str, definition: Suite | None, suites_dir: Path | None) -> SuiteResults:
    """The suite `name`, by its file where that is known; `suites_dir` has the accelerators."""
    problems: list[StoreError] = []
    index, entries = read_needed(store, name, problems)
    tasks = definition.quality.tasks if definition and definition.quality else None
    models = summarise(entries, tasks=tasks, terms=Terms.of(definition, suites_dir), seen=index.seen_ceilings())
    return SuiteResults(models, tuple(entries), index, tuple(problems))
