"""Skips what is done, submits jobs, appends records; nothing else."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from harness.environment import Environment
from harness.executors import Executor
from harness.plan import Job, Plan
from harness.record import Failed, Record, Refused
from harness.repeats import enough
from harness.store import Store
from harness.worker import Attachment, CellStarted, Event, MeasuringCeilings, NotNeeded, Run, Scribe

Listener = Callable[[Job, Event], None]


@dataclass
class Tally:
    """How a run ended: cells by outcome."""

    skipped: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Counts one record."""
        self.outcomes[record.outcome.status] += 1
        if isinstance(record.outcome, Failed):
            self.failures.append(record)

    def sentence(self) -> str:
        """How it went, in one line."""
        parts = [f"{count} {status}" for status, count in sorted(self.outcomes.items())]
        if self.skipped:
            parts.append(f"{self.skipped} done before")
        return "cells: " + (", ".join(parts) or "none")


def new_run(suite: str, environment: Environment) -> Run:
    """A run of a suite on this machine, with an id that sorts by time."""
    return Run(f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}", suite, environment)


def run_plan(plan: Plan, store: Store, executor: Executor, run: Run, listen: Listener) -> Tally:
    """Runs what the store does not have yet, and returns how it went.

    Stopping it at any moment loses at most the cell in flight. Raises StoreError where a record cannot be written.
    """
    done = store.done(plan.suite)
    remaining = plan.without(done)
    tally = Tally(skipped=sum(len(job.cells) for job in plan.jobs) - sum(len(job.cells) for job in remaining.jobs))
    known = _known_refusals(store, plan.suite) if plan.refusals else set()
    for refusal in plan.refusals:
        if (refusal.cell.id, refusal.reason) not in known:
            scribe = Scribe(run, 0, refusal.group, refusal.config)
            store.append(scribe.record(refusal.cell, Refused(reason=refusal.reason)))
        tally.outcomes["refused"] += 1

    def keep(event: Attachment | Record) -> None:
        if isinstance(event, Attachment):
            store.attach(plan.suite, event.fingerprint, event.content)
            return
        store.append(event)
        done.add(event)
        tally.add(event)

    unloadable: set[tuple[str, str]] = set()
    if remaining.jobs:
        run = _with_ceilings(run, executor, remaining.jobs[0], listen)
    for planned in remaining.jobs:
        job = planned.without(done)
        if (job.subject.model, job.kind) in unloadable or enough(job, plan, done):
            job = job.model_copy(update={"cells": ()})
        if len(job.cells) < len(planned.cells):
            listen(planned, NotNeeded(tuple(cell for cell in planned.cells if cell not in job.cells)))
        if job.cells and not _run_job(job, executor, run, listen, keep):
            # its other repeats would fail the same way; the failed row stands for them
            unloadable.add((job.subject.model, job.kind))
    return tally


Keep = Callable[[Attachment | Record], None]


def _run_job(job: Job, executor: Executor, run: Run, listen: Listener, keep: Keep) -> bool:
    """Runs a job and keeps its records. Whether its model loaded."""
    loaded = False
    with closing(executor.run(job, run)) as events:  # an interrupt here ends the job's process too
        for event in events:
            if isinstance(event, Attachment | Record):
                keep(event)
            elif isinstance(event, CellStarted):
                loaded |= event.cell is not None
            listen(job, event)
    return loaded


def _with_ceilings(run: Run, executor: Executor, job: Job, listen: Listener) -> Run:
    """The run with what the device does at most, measured where its first job will run."""
    listen(job, MeasuringCeilings())
    found = executor.ceilings(job)
    if found is None:
        listen(job, MeasuringCeilings(failed=True))
    return run.with_ceilings(found)


def _known_refusals(store: Store, suite: str) -> set[tuple[str, str]]:
    """The (cell id, reason) pairs that are recorded already."""
    return {
        (record.cell.id, record.outcome.reason)
        for _, record in store.read(suite, []) if isinstance(record.outcome, Refused)
    }
