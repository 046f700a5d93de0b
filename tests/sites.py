"""Stores from which the tests of the pages render sites."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import builders

from harness.record import Completed, Record
from harness.render import render_site
from harness.resources import Folders
from harness.scenario import QualityScenario
from harness.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Visit = Callable[..., Page]

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
SUITES = TEMPLATES.parent / "suites"
HOSTILE = "</script><script>alert(1)</script>\u202e{{ 7*7 }}'\"&<img src=x onerror=alert(1)>"


def store_of(root: Path, records: Iterable[Record]) -> Store:
    """A store that holds the records."""
    store = Store(root)
    for record in records:
        store.append(record)
    return store


def render(store: Store, out: Path, suites: list[str] | None = None, *, catalog: bool = False) -> Path:
    """The site of a store with the project's own templates, and with the shipped catalog where asked for."""
    return render_site(store, out, suites, folders=Folders(TEMPLATES, SUITES if catalog else None))


def awkward_records() -> list[Record]:
    """Models beside the small suite that failed, were refused, have hostile names or random weights."""
    dummy = builders.subject("dummy-moe", weights="dummy")
    timings = [
        builders.serving_record(
            model="dummy-moe", subject=dummy, repeat=repeat, concurrency=16, tokens_per_s=9000.0 + repeat, minutes=510,
        )
        for repeat in range(3)
    ]
    at_16 = builders.serving_scenario(16)
    return [
        *timings,
        builders.failed_record(
            model="broken", scenario=at_16, error="out-of-memory", message="needed more than there is", minutes=500,
        ),
        builders.refused_record(model="huge", scenario=at_16, minutes=501),
        builders.failed_record(
            model="dense-total", scenario=builders.quality_scenario("sort"), error="timeout", message="too slow",
            repeat=1, minutes=502,
        ),
        builders.failed_record(model=HOSTILE, scenario=at_16, message=HOSTILE, minutes=503),
    ]


def hostile_records() -> list[Record]:
    """A suite whose models, recipe, task, workload and messages are all hostile."""
    names = [f"{HOSTILE} {number}" for number in range(3)]
    scenario = builders.serving_scenario(4, name=HOSTILE)
    records = [
        record
        for name in names[:2]
        for record in (
            builders.quality_record(model=name, task=HOSTILE, group=HOSTILE, metric=HOSTILE),
            builders.serving_record(model=name, scenario=scenario, group=HOSTILE),
        )
    ]
    records.append(builders.failed_record(model=names[2], scenario=scenario, error=HOSTILE, message=HOSTILE))
    return [record.model_copy(update={"suite": "hostile"}) for record in records]


def seed_records(seeds: int = 3, *, suite: str = "seeds") -> list[Record]:
    """The small suite with several trainings a recipe, which differ in their scores."""
    generator = random.Random(3)
    records = []
    for record in builders.small_suite_records(repeats=2, items=100):
        for seed in range(seeds):
            recipe = record.cell.subject.model
            subject = record.cell.subject.model_copy(update={"model": f"{recipe}-seed{seed}"})
            cell = record.cell.model_copy(update={"subject": subject})
            changes = {"cell": cell, "group": recipe, "suite": suite, "id": f"{record.id[:8]}{seed:04d}"}
            if isinstance(record.cell.scenario, QualityScenario):
                task = record.cell.scenario.task
                accuracy = builders.ACCURACY[recipe][task] + generator.gauss(0, 0.02)
                items = tuple(float(generator.random() < accuracy) for _ in range(100))
                outcome = builders.quality_record(model=recipe, task=task, item_scores=items).outcome
                assert isinstance(outcome, Completed)
                changes["outcome"] = outcome
            records.append(record.model_copy(update=changes))
    return records
