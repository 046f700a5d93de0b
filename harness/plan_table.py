"""A plan as the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from harness.arrivals import arrivals_told
from harness.plan import Job, Plan
from harness.quantities import count_of
from harness.record import Cell
from harness.scenario import QualityScenario, RoutingScenario, ServingScenario, load_words, scenario_words
from harness.suite import Repeats

if TYPE_CHECKING:
    from rich.table import Table


def plan_table(plan: Plan) -> Iterator[Table | str]:
    """The jobs, one row a model, then the refusals, one row a model and reason.

    Cells are counted once, whatever their repeats, as the pages count them: "jobs" says how often.

    What does not fit the terminal goes on in the next line; a device that all have alike is told once.
    """
    from rich.markup import escape

    devices = {_device(job) for job in plan.jobs}
    where = f" on {escape(devices.pop())}" if len(devices) == 1 else ""
    jobs = _table(
        f"{escape(plan.suite)}: {count_of(len(plan.jobs), 'job')}{where}",
        ("model", "source", *(["device"] if devices else []), "needs", "jobs", "cells", "loads", "tasks", "routed"),
        [job.subject.model for job in plan.jobs],
    )
    by_model = sorted(plan.jobs, key=lambda job: job.subject.model)
    for model, group in groupby(by_model, key=lambda job: job.subject.model):
        runs = list(group)
        scenarios = [cell.scenario for cell in {cell.id: cell for job in runs for cell in job.cells}.values()]
        tasks = [s.task for s in scenarios if isinstance(s, QualityScenario)]
        jobs.add_row(
            escape(model), escape(runs[0].subject.source), *([escape(_device(runs[0]))] if devices else []),
            _needs(runs[0]), _jobs(plan, runs), str(len(scenarios)),
            escape(_loads(runs)), str(len(set(tasks))), str(sum(isinstance(s, RoutingScenario) for s in scenarios)),
        )
    yield jobs
    yield from map(escape, arrival_notes(plan))
    if plan.refusals:
        refused = _table(f"refused: {count_of(len(plan.refusals), 'cell')}", ("model", "cells", "reason"),
                         [refusal.cell.subject.model for refusal in plan.refusals])
        rows: dict[tuple[str, str], list[str]] = {}
        for refusal in plan.refusals:
            rows.setdefault((refusal.cell.subject.model, refusal.reason), []).append(cell_text(refusal.cell))
        for (model, reason), cells in rows.items():
            refused.add_row(escape(model), escape(cells[0] if len(cells) == 1 else f"{len(cells)}"), escape(reason))
        yield refused


def arrival_notes(plan: Plan) -> tuple[str, ...]:
    """One line for each open loop of the plan whose arrivals are too few for the rate that was asked for."""
    found = (cell.scenario for job in plan.jobs for cell in job.cells)
    told = (arrivals_told(one) for one in dict.fromkeys(one for one in found if isinstance(one, ServingScenario)))
    return tuple(dict.fromkeys(f"note: {one}" for one in told if one))


_NUMBERS = ("needs", "jobs", "cells", "tasks", "routed")


_NAME = 16
"""Up to so many characters the names of models stay on one line."""


def _table(title: str, headings: Iterable[str], models: Iterable[str]) -> Table:
    """An empty table that cuts nothing, with room for the names of `models`."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False
    )
    for heading in headings:
        number = heading in _NUMBERS
        short = heading == "model" and max(map(len, models), default=0) <= _NAME
        table.add_column(heading, overflow="fold", no_wrap=short, justify="right" if number else "left")
    return table


def _device(job: Job) -> str:
    subject = job.subject
    return f"{subject.tensor_parallel} x {subject.accelerator}" if subject.tensor_parallel > 1 else subject.accelerator


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
