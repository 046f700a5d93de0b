"""What the terminal shows while a suite runs: the current cell, what is done, and an estimate of the rest."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from harness.plan import Job, Plan
from harness.plan_table import cell_text
from harness.record import Failed, Record, Skipped
from harness.worker import CellStarted, Event, MeasuringCeilings, NotNeeded

if TYPE_CHECKING:
    from rich.console import Console

_LOADING = "loading"


def step_text(event: CellStarted) -> str:
    """What the worker begins."""
    return _LOADING if event.cell is None else cell_text(event.cell)


class Estimator:
    """Seconds left, from what each step took where it ran before in this run.

    A step is a load or a cell; a step that has not run yet is taken as the mean of those that have.
    """

    def __init__(self, plan: Plan) -> None:
        self._left = [step for job in plan.jobs for step in (_LOADING, *map(cell_text, job.cells))]
        self._took: dict[str, list[float]] = {}

    def finished(self, step: str, seconds: float) -> None:
        """One step is done."""
        self._took.setdefault(step, []).append(seconds)
        self.dropped(step)

    def dropped(self, step: str) -> None:
        """One step failed or will not be taken: it is left no longer, and says nothing about the others."""
        if step in self._left:
            self._left.remove(step)

    def left_s(self) -> float | None:
        """None before the first step is done."""
        if not self._took:
            return None
        means = {step: sum(times) / len(times) for step, times in self._took.items()}
        other = sum(means.values()) / len(means)
        return sum(means.get(step, other) for step in self._left)


class ProgressDisplay:
    """Listens to a run. On a terminal one live line; elsewhere a line a cell, so that logs stay readable."""

    def __init__(self, plan: Plan, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console
        self._estimator = Estimator(plan)
        self._total = sum(len(job.cells) for job in plan.jobs)
        self._done = 0
        self._step = _LOADING
        self._since = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=console, disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=self._total, left="")

    def __enter__(self) -> ProgressDisplay:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def listen(self, job: Job, event: Event) -> None:
        """Takes one event of the run."""
        if isinstance(event, CellStarted):
            if event.cell is not None and self._step == _LOADING:
                self._finish_step()
            self._step = step_text(event)
            self._since = time.monotonic()
        elif isinstance(event, MeasuringCeilings):
            self._ceilings(failed=event.failed)
        elif isinstance(event, NotNeeded):
            self._total -= len(event.cells)
            gone = [_LOADING] if len(event.cells) == len(job.cells) else []
            for step in (*gone, *map(cell_text, event.cells)):
                self._estimator.dropped(step)
        elif isinstance(event, Record):
            self._record(job, event)
        left = self._estimator.left_s()
        remaining = "" if left is None else f"about {_minutes(left)} left"
        self._bar.update(
            self._task, completed=self._done, total=self._total, left=remaining,
            description=f"{_plain(job.subject.model)} [{job.repeat + 1}] {_plain(self._step)}",
        )

    def _ceilings(self, *, failed: bool) -> None:
        self._step = "measuring what the device does at most"
        if failed:
            why = "what the device does at most could not be measured: there will be no MFU and MBU (logs/ceilings.log)"
            self._console.print(why, soft_wrap=True, highlight=False)

    def _record(self, job: Job, record: Record) -> None:
        self._done += 1
        if isinstance(record.outcome, Failed | Skipped):
            self._estimator.dropped(cell_text(record.cell))
            if self._step == _LOADING:
                self._estimator.dropped(self._step)
                self._step = "failed to load"
        else:
            self._finish_step()
        label = f"{_plain(job.subject.model)} [{job.repeat + 1}] {_plain(cell_text(record.cell))}"
        if isinstance(record.outcome, Failed):
            reason = record.outcome.message.partition("\n")[0]
            self._console.print(f"[red]failed[/red] {label}: {_plain(reason)}", soft_wrap=True, highlight=False)
        elif isinstance(record.outcome, Skipped):
            self._console.print(f"skipped {label}: {_plain(record.outcome.reason)}", soft_wrap=True, highlight=False)
        elif not self._console.is_terminal:
            left = self._estimator.left_s()
            tail = "" if left is None else f", about {_minutes(left)} left"
            self._console.print(
                f"{self._done}/{self._total} {label}: {record.duration_s:.1f} s{tail}", soft_wrap=True, highlight=False
            )

    def _finish_step(self) -> None:
        now = time.monotonic()
        self._estimator.finished(self._step, now - self._since)
        self._since = now


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
