"""A plan as the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from harness.plan import Job, Plan
from harness.record import Cell
from harness.scenario import QualityScenario, RoutingScenario, ServingScenario, load_words, scenario_words
from harness.suite import Repeats

if TYPE_CHECKING:
    from rich.table import Table


def plan_table(plan: Plan) -> Iterator[Table | str]:
    """The jobs, one row a model, then the refusals, one row a model and reason."""
    from rich.markup import escape
    from rich.table import Table

    jobs = Table(title=f"{plan.suite}: {len(plan.jobs)} jobs", title_justify="left")
    for heading in ("model", "source", "device", "needs", "jobs", "cells", "loads", "tasks", "routed"):
        jobs.add_column(heading)
    by_model = sorted(plan.jobs, key=lambda job: job.subject.model)
    for model, group in groupby(by_model, key=lambda job: job.subject.model):
        runs = list(group)
        scenarios = [cell.scenario for job in runs for cell in job.cells]
        tasks = [s.task for s in scenarios if isinstance(s, QualityScenario)]
        subject = runs[0].subject
        count = f"{subject.tensor_parallel} x " if subject.tensor_parallel > 1 else ""
        jobs.add_row(
            escape(model), escape(subject.source), escape(count + subject.accelerator), _needs(runs[0]),
            _jobs(plan, runs), str(len(scenarios)),
            escape(_loads(runs)), str(len(set(tasks))), str(sum(isinstance(s, RoutingScenario) for s in scenarios)),
        )
    yield jobs
    if plan.refusals:
        refused = Table(title=f"refused: {len(plan.refusals)} cells", title_justify="left")
        for heading in ("model", "cells", "reason"):
            refused.add_column(heading)
        rows: dict[tuple[str, str], list[str]] = {}
        for refusal in plan.refusals:
            rows.setdefault((refusal.cell.subject.model, refusal.reason), []).append(cell_text(refusal.cell))
        for (model, reason), cells in rows.items():
            refused.add_row(escape(model), escape(cells[0] if len(cells) == 1 else f"{len(cells)}"), escape(reason))
        yield refused


def _jobs(plan: Plan, runs: list[Job]) -> str:
    """How many jobs a model has; a range where that depends on how narrow the intervals become."""
    timed = sum(job.kind == "timed" for job in runs)
    least = plan.repeats.at_least if isinstance(plan.repeats, Repeats) else timed
    most = len(runs)
    return f"{most - timed + least} to {most}" if least < timed else str(most)


def _loads(runs: list[Job]) -> str:
    """Every load of the jobs; the concurrencies of closed loops as bare numbers, as a range in an adaptive sweep."""
    found = [cell.scenario for job in runs for cell in job.cells]
    serving = [scenario for scenario in found if isinstance(scenario, ServingScenario)]
    levels = sorted({one.concurrency for one in serving if one.concurrency is not None})
    swept = any(one.concurrency and one.name in runs[0].sweeps for one in serving)
    parts = [f"{levels[0]} to at most {levels[-1]}"] if swept else [str(level) for level in levels]
    return ", ".join([*parts, *dict.fromkeys(load_words(one.load) for one in serving if one.concurrency is None)])


def _needs(job: Job) -> str:
    return "unknown" if job.needed_bytes is None else f"{job.needed_bytes / 1e9:.3g} GB"


def cell_text(cell: Cell) -> str:
    """A cell in a few words: `chat, concurrency 8`."""
    return scenario_words(cell.scenario)
