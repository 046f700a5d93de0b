"""Records sorted by what they fill: of one model's records, the repeats that count and the gaps.

Of each (cell, repeat) the newest completed record counts; of the cells that fill one place (a workload at a load, a
task, memory, the routing of some work) the one with the newest measurement.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from harness.metrics import COUNTED, METRICS
from harness.record import Completed, Failed, Measurement, Record, Refused, Skipped
from harness.scenario import QualityScenario, RoutingScenario, Scenario, ServingScenario
from harness.stats import Estimate, mean_estimate
from harness.summary import Gap, PointKey


class Entry(NamedTuple):
    """A record with its file; `cell` is the cell's id, which takes long to make."""

    path: Path
    record: Record
    cell: str

    @property
    def when(self) -> tuple[datetime, str]:
        """Sorts records by age; a time without a zone is UTC."""
        started = self.record.started_at
        return (started if started.tzinfo else started.replace(tzinfo=UTC), self.record.id)

    @property
    def completed(self) -> bool:
        """Whether it holds a measurement."""
        return isinstance(self.record.outcome, Completed)


@dataclass(frozen=True)
class Place:
    """What fills one place of a model: the measured repeats of the chosen cell, and its gaps."""

    measured: tuple[Entry, ...]
    gaps: tuple[Gap, ...]
    set_aside: int


def newest_of(entries: Sequence[Entry]) -> Entry:
    """The newest of the measured entries, or of all where none was measured."""
    return max(entries, key=lambda entry: (entry.completed, entry.when))


def place_of(scenario: Scenario) -> tuple[str | float, ...]:
    """What a scenario fills of a model: a workload at a load, a task, memory, the routing of some work."""
    if isinstance(scenario, ServingScenario):
        return (scenario.kind, *PointKey.of(scenario))
    if isinstance(scenario, QualityScenario):
        return (scenario.kind, scenario.task)
    if isinstance(scenario, RoutingScenario):
        return (scenario.kind, scenario.work.source, scenario.work.name)
    return (scenario.kind,)


def places_of(entries: Sequence[Entry]) -> dict[Hashable, Place]:
    """The entries of one subject by the place that they fill, in a stable order."""
    by_place: dict[tuple[str | float, ...], list[Entry]] = {}
    for entry in entries:
        key = place_of(entry.record.cell.scenario)
        by_place.setdefault(key, []).append(entry)
    return {key: _place(by_place[key]) for key in sorted(by_place, key=lambda key: tuple(map(_sortable, key)))}


def _sortable(part: str | float) -> tuple[float, str]:
    return (-1.0, part) if isinstance(part, str) else (part, "")


def _place(entries: list[Entry]) -> Place:
    """The newest cell's measured repeats; the gaps of that cell, and of others that were tried since."""
    best = newest_of(entries)
    measured: dict[int, Entry] = {}
    latest: dict[tuple[str, int], Entry] = {}
    for entry in sorted(entries, key=lambda one: one.when):
        latest[entry.cell, entry.record.repeat] = entry
        if entry.completed and entry.cell == best.cell:
            measured[entry.record.repeat] = entry
    gaps = [
        _gap(entry, measured_before=any(e.completed for e in entries if _same_attempt(e, entry)))
        for entry in sorted(latest.values(), key=lambda one: one.when)
        if not entry.completed and (entry.cell == best.cell or entry.when > best.when)
    ]
    aside = len({(e.cell, e.record.repeat) for e in entries if e.completed and e.cell != best.cell})
    return Place(tuple(measured[repeat] for repeat in sorted(measured)), tuple(gaps), aside)


def _same_attempt(a: Entry, b: Entry) -> bool:
    return (a.cell, a.record.repeat) == (b.cell, b.record.repeat)


def _gap(entry: Entry, *, measured_before: bool) -> Gap:
    record, outcome = entry.record, entry.record.outcome
    assert isinstance(outcome, Failed | Refused | Skipped)
    failed = outcome if isinstance(outcome, Failed) else None
    return Gap(
        model=record.cell.subject.model,
        scenario=record.cell.scenario,
        repeat=record.repeat,
        status=outcome.status,
        error=failed.error if failed else outcome.status,
        reason=outcome.message if isinstance(outcome, Failed) else outcome.reason,
        log_tail=failed.log_tail if failed else "",
        started_at=entry.when[0],
        source=entry.path,
        measured_before=measured_before,
    )


def _repeats(key: str, values: Sequence[float], entries: Sequence[Entry]) -> Estimate:
    """The estimate of one metric over its repeats; a count that never differed has no spread."""
    sources = tuple(entry.path for entry in entries)
    if key in COUNTED and min(values) == max(values):
        return Estimate(values[0], values[0], values[0], len(values), "counted", tuple(values), sources)
    # of another tool it is not known whether each run had a process of its own
    imported = any(entry.record.origin is not None for entry in entries)
    metric = METRICS.get(key)
    found = mean_estimate(
        values, "imported runs" if imported else "processes", lowest=0.0, highest=metric.most if metric else None
    )
    return found.from_sources(sources)


def over_repeats(entries: Sequence[Entry], values: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Each metric's statistic in every repeat -> its estimate; `values` are in the order of `entries`."""
    estimates = {}
    for key in dict.fromkeys(key for one in values for key in one):
        known = [(one[key], entry) for one, entry in zip(values, entries, strict=True) if key in one]
        estimates[key] = _repeats(key, [value for value, _ in known], [entry for _, entry in known])
    return estimates


def measurement_of(entry: Entry) -> Measurement:
    """What a completed record holds."""
    assert isinstance(entry.record.outcome, Completed)
    return entry.record.outcome.measurement
