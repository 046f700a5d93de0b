"""Records -> summaries.

Of each (cell, repeat) the newest completed record counts. A model's subject is the newest one with a measurement, and
of the cells that fill one place (a workload at a load, a task, memory) the one with the newest measurement.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from harness.accounting import (
    ParameterCount,
    count_parameters,
    flops_per_token,
    kv_bytes_per_token,
    prefill_flops,
)
from harness.architecture import Architecture
from harness.errors import MoebenchError
from harness.hf_config import architecture_from_config
from harness.metrics import COUNTED, item_scores, memory_values
from harness.plausibility import roofline_flags, serving_flags
from harness.record import (
    Completed,
    Failed,
    Measurement,
    MemoryMeasurement,
    QualityMeasurement,
    Record,
    Refused,
    ReportedMeasurement,
    ServingMeasurement,
    Skipped,
    Subject,
)
from harness.scenario import QualityScenario, ServingScenario
from harness.schema import canonical_json
from harness.serving_metrics import serving_values
from harness.stats import Estimate, counted, item_estimate, mean_estimate, mean_of_estimates, reported_estimate
from harness.summary import Gap, ModelSummary, OperatingPoint, OtherSubject, PointKey, TaskScore, cache_element_bytes
from harness.terms import Terms

_SAME_SCORE = 1e-6


class _Entry(NamedTuple):
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
        return isinstance(self.record.outcome, Completed)


@dataclass(frozen=True)
class _Place:
    """What fills one place of a model: the measured repeats of the chosen cell, and its gaps."""

    measured: tuple[_Entry, ...]
    gaps: tuple[Gap, ...]
    set_aside: int


def summarise(
    records: Iterable[tuple[Path, Record]], *, tasks: Sequence[str] | None = None, terms: Terms | None = None
) -> tuple[ModelSummary, ...]:
    """One summary a model, by name, of the records of one suite (as `Store.read` gives them).

    `tasks` are the suite's tasks, in order; without them, all that the records name. A mean score needs all of them.
    `terms` say what requests have to keep, what an hour costs and what the devices can do.
    Raises nothing for odd content: what cannot be derived is absent and its reason stated.
    """
    by_model: dict[str, list[_Entry]] = {}
    for path, record in records:
        by_model.setdefault(record.cell.subject.model, []).append(_Entry(path, record, record.cell.id))
    named = {
        entry.record.cell.scenario.task
        for entries in by_model.values()
        for entry in entries
        if isinstance(entry.record.cell.scenario, QualityScenario)
    }
    wanted = tuple(sorted(named)) if tasks is None else tuple(tasks)
    terms = terms or Terms()
    return tuple(_model(name, entries, wanted, terms) for name, entries in sorted(by_model.items()))


def _model(name: str, entries: list[_Entry], tasks: tuple[str, ...], terms: Terms) -> ModelSummary:
    subjects: dict[str, list[_Entry]] = {}
    for entry in sorted(entries, key=lambda one: one.when):
        subjects.setdefault(canonical_json(entry.record.cell.subject), []).append(entry)
    chosen = max(subjects.values(), key=_standing)
    newest = _newest(chosen)
    subject, config = newest.record.cell.subject, _config(chosen)
    places = _places(chosen)
    architecture, parameters, uncounted = _structure(config, f"{newest.path}:config")
    scores = _scores(places)
    mean_score, no_mean_score = _mean_score(scores, tasks)
    used = [entry for place in places.values() for entry in place.measured]
    others = [_other(group, subject) for group in subjects.values() if group is not chosen]
    gaps = tuple(gap for place in places.values() for gap in place.gaps)
    return ModelSummary(
        model=name,
        group=newest.record.group,
        subject=subject,
        environment=newest.record.environment,
        started_at=newest.when[0],
        config=config,
        architecture=architecture,
        parameters=parameters,
        uncounted=uncounted,
        counts=_counts(architecture, parameters, subject, config),
        memory=_memory(places),
        points=_points(places, architecture, terms),
        scores={task: scores[task] for task in (*tasks, *sorted(set(scores) - set(tasks))) if task in scores},
        mean_score=mean_score,
        no_mean_score=no_mean_score,
        gaps=gaps,
        others=tuple(sorted(others, key=lambda other: other.newest, reverse=True)),
        notes=_notes(used, places, parameters),
        records=tuple(dict.fromkeys([*(entry.path for entry in used), *(gap.source for gap in gaps)])),
    )


def _standing(entries: Sequence[_Entry]) -> tuple[bool, bool, tuple[datetime, str]]:
    """Sorts the subjects of a model: measured ones first, moebench's own before imported ones, then the newest."""
    own = any(entry.completed and entry.record.origin is None for entry in entries)
    return any(entry.completed for entry in entries), own, _newest(entries).when


def _newest(entries: Sequence[_Entry]) -> _Entry:
    """The newest of the measured entries, or of all where none was measured."""
    return max(entries, key=lambda entry: (entry.completed, entry.when))


def _config(entries: Sequence[_Entry]) -> dict[str, object]:
    """The configuration of the newest record that has one: a refused cell may have none."""
    with_config = [entry for entry in entries if entry.record.config]
    return dict(_newest(with_config).record.config) if with_config else {}


def _other(entries: list[_Entry], current: Subject) -> OtherSubject:
    subject = entries[0].record.cell.subject
    differs = tuple(name for name in Subject.model_fields if getattr(subject, name) != getattr(current, name))
    places = _places(entries)
    return OtherSubject(
        subject=subject,
        differs=differs,
        newest=max(entry.when for entry in entries)[0],
        measured=sum(len(place.measured) for place in places.values()),
        gaps=tuple(gap for place in places.values() for gap in place.gaps),
    )


def _places(entries: Sequence[_Entry]) -> dict[Hashable, _Place]:
    """The entries of one subject by the place that they fill, in a stable order."""
    by_place: dict[tuple[str | float, ...], list[_Entry]] = {}
    for entry in entries:
        scenario = entry.record.cell.scenario
        key: tuple[str | float, ...] = (scenario.kind,)
        if isinstance(scenario, ServingScenario):
            key += PointKey.of(scenario)
        elif isinstance(scenario, QualityScenario):
            key += (scenario.task,)
        by_place.setdefault(key, []).append(entry)
    return {key: _place(by_place[key]) for key in sorted(by_place, key=lambda key: tuple(map(_sortable, key)))}


def _sortable(part: str | float) -> tuple[float, str]:
    return (-1.0, part) if isinstance(part, str) else (part, "")


def _place(entries: list[_Entry]) -> _Place:
    """The newest cell's measured repeats; the gaps of that cell, and of others that were tried since."""
    best = _newest(entries)
    measured: dict[int, _Entry] = {}
    latest: dict[tuple[str, int], _Entry] = {}
    for entry in sorted(entries, key=lambda one: one.when):
        latest[entry.cell, entry.record.repeat] = entry
        if entry.completed and entry.cell == best.cell:
            measured[entry.record.repeat] = entry
    gaps = [
        _gap(entry, measured_before=any(e.completed for e in entries if _same_attempt(e, entry)))
        for entry in latest.values()
        if not entry.completed and (entry.cell == best.cell or entry.when > best.when)
    ]
    aside = len({(e.cell, e.record.repeat) for e in entries if e.completed and e.cell != best.cell})
    return _Place(tuple(measured[repeat] for repeat in sorted(measured)), tuple(gaps), aside)


def _same_attempt(a: _Entry, b: _Entry) -> bool:
    return (a.cell, a.record.repeat) == (b.cell, b.record.repeat)


def _gap(entry: _Entry, *, measured_before: bool) -> Gap:
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


def _structure(
    config: Mapping[str, object], where: str
) -> tuple[Architecture | None, ParameterCount | None, str]:
    """The architecture and its parameters, or why they cannot be counted."""
    if not config:
        return None, None, "no record has the model's configuration"
    try:
        architecture = architecture_from_config(dict(config), where)
        return architecture, count_parameters(architecture), ""
    except (MoebenchError, ValueError) as error:
        return None, None, error.what if isinstance(error, MoebenchError) else str(error)


def _counts(
    architecture: Architecture | None,
    parameters: ParameterCount | None,
    subject: Subject,
    config: Mapping[str, object],
) -> dict[str, Estimate]:
    if architecture is None or parameters is None:
        return {}
    counts = {
        "total_parameters": counted(parameters.total),
        "active_parameters": counted(parameters.active),
        "active_non_embedding_parameters": counted(parameters.active_non_embedding),
    }
    element = cache_element_bytes(subject, config)
    if element is not None:
        counts["kv_bytes_per_token"] = counted(kv_bytes_per_token(architecture, element))
    return counts


def _repeats(key: str, values: Sequence[float], entries: Sequence[_Entry]) -> Estimate:
    """The estimate of one metric over its repeats; a count that never differed has no spread."""
    sources = tuple(entry.path for entry in entries)
    if key in COUNTED and min(values) == max(values):
        return Estimate(values[0], values[0], values[0], len(values), "counted", tuple(values), sources)
    # of another tool it is not known whether each run had a process of its own
    imported = any(entry.record.origin is not None for entry in entries)
    return mean_estimate(values, "imported runs" if imported else "processes", lowest=0.0).from_sources(sources)


def _over_repeats(entries: Sequence[_Entry], values: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Each metric's statistic in every repeat -> its estimate; `values` are in the order of `entries`."""
    estimates = {}
    for key in dict.fromkeys(key for one in values for key in one):
        known = [(one[key], entry) for one, entry in zip(values, entries, strict=True) if key in one]
        estimates[key] = _repeats(key, [value for value, _ in known], [entry for _, entry in known])
    return estimates


def _memory(places: Mapping[Hashable, _Place]) -> dict[str, Estimate]:
    place = places.get(("memory",))
    entries = place.measured if place else ()
    found = [_measurement(entry) for entry in entries]
    return _over_repeats(entries, [memory_values(one) for one in found if isinstance(one, MemoryMeasurement)])


def _measurement(entry: _Entry) -> Measurement:
    assert isinstance(entry.record.outcome, Completed)
    return entry.record.outcome.measurement


def _points(
    places: Mapping[Hashable, _Place], architecture: Architecture | None, terms: Terms
) -> tuple[OperatingPoint, ...]:
    served = [place for place in places.values() if place.measured and _serving_of(place.measured[0])]
    capacity = _memory(places).get("kv_cache_tokens")
    return tuple(_point(place.measured, architecture, terms, capacity) for place in served)


def _serving_of(entry: _Entry) -> ServingScenario | None:
    scenario = entry.record.cell.scenario
    return scenario if isinstance(scenario, ServingScenario) else None


def _point(
    entries: tuple[_Entry, ...], architecture: Architecture | None, terms: Terms, capacity: Estimate | None
) -> OperatingPoint:
    scenario, subject = _serving_of(entries[0]), entries[0].record.cell.subject
    assert scenario is not None
    found = [one for one in map(_measurement, entries) if isinstance(one, ServingMeasurement | ReportedMeasurement)]
    limits, price, key = terms.limits.get(scenario.name), terms.usd_per_hour(subject), PointKey.of(scenario)
    estimates = _over_repeats(entries, [serving_values(scenario, one, limits, price) for one in found])
    if architecture is not None:
        estimates |= _arithmetic(architecture, key)
    if capacity is not None and key.concurrency:
        longest = min(capacity.value / key.concurrency, float(subject.engine.get("max_model_len", math.inf)))
        estimates["longest_context_tokens"] = counted(math.floor(longest))
    timed = [one for one in found if isinstance(one, ServingMeasurement)]
    flags = [flag for one in found for flag in serving_flags(scenario, one)]
    device = terms.device(subject)
    if architecture is not None and device is not None:
        flags += [flag for entry in entries for flag in roofline_flags(entry.record, architecture, device)]
    requests = min((len(one.requests) for one in timed), default=scenario.requests)
    origins = dict.fromkeys(entry.record.origin for entry in entries if entry.record.origin is not None)
    return OperatingPoint(
        key, requests, estimates, tuple(dict.fromkeys(flags)), tuple(_point_notes(timed, price)), tuple(origins),
        scenario,
    )


def _arithmetic(architecture: Architecture, key: PointKey) -> dict[str, Estimate]:
    """FLOPs a token, counted at the workload's mean lengths."""
    # Decode step j = 1 .. n-1 sees prompt + j tokens, itself included: prompt + n / 2 in the mean.
    context = key.prompt_tokens + key.output_tokens / 2
    prefill = prefill_flops(architecture, max(1, round(key.prompt_tokens))).per_token
    return {
        "decode_flops_per_token": counted(flops_per_token(architecture, context=context).total),
        "prefill_flops_per_token": counted(prefill),
    }


def _point_notes(measured: Sequence[ServingMeasurement], usd_per_hour: float | None) -> list[str]:
    """What is not known of a point and why, and whether it was warm."""
    notes = [f"no energy: {why}" for why in dict.fromkeys(one.no_energy for one in measured) if why]
    if usd_per_hour is None:
        notes.append("no cost: no price of this hardware is known; a suite can give one")
    unsteady = sum(one.warmup.steady is False for one in measured)
    if unsteady:
        notes.append(f"the output rate had not settled when {unsteady} of {len(measured)} warm-ups ended")
    return notes


def _scores(places: Mapping[Hashable, _Place]) -> dict[str, TaskScore]:
    scores = {}
    for place in places.values():
        if not place.measured:
            continue
        scenario = place.measured[0].record.cell.scenario
        score = _score(scenario, place.measured) if isinstance(scenario, QualityScenario) else None
        if score is not None:
            scores[score.task] = score
    return scores


def _score(scenario: QualityScenario, entries: tuple[_Entry, ...]) -> TaskScore | None:
    """The newest repeat names the metric; each item's score is its mean over the repeats that have the same items.

    None where neither the score nor any item's was recorded.
    """
    found = [one for one in map(_measurement, entries) if isinstance(one, QualityMeasurement)]
    newest = found[entries.index(_newest(entries))]
    metric = newest.main_metric
    reference = item_scores(newest, metric)
    repeats = [items for items in (item_scores(one, metric) for one in found) if items.keys() == reference.keys()]
    items = {key: math.fsum(one[key] for one in repeats) / len(repeats) for key in reference}
    listed = next((score for score in newest.scores if score.metric == metric), None)
    reported = [score.value for one in found for score in one.scores if score.metric == metric]
    value = math.fsum(reported) / len(reported) if reported else None
    if items and (value is None or abs(math.fsum(items.values()) / len(items) - value) <= _SAME_SCORE):
        estimate = item_estimate(list(items.values()))
    elif value is not None:
        estimate = reported_estimate(value, listed.stderr if listed else None, len(newest.samples) or newest.items or 0)
    else:
        return None
    return TaskScore(
        task=scenario.task,
        scenario=scenario,
        metric=metric,
        higher_is_better=listed.higher_is_better if listed else True,
        estimate=estimate.from_sources([entry.path for entry in entries]),
        chance=newest.chance,
        items=items,
    )


def _mean_score(scores: Mapping[str, TaskScore], tasks: tuple[str, ...]) -> tuple[Estimate | None, str]:
    """The mean over the suite's tasks, or why there is none."""
    if not tasks:
        return None, "the suite has no tasks"
    missing = [task for task in tasks if task not in scores]
    if missing:
        return None, "not measured: " + ", ".join(missing)
    odd = [
        task for task in tasks if not (scores[task].higher_is_better and 0 <= scores[task].estimate.value <= 1)
    ]
    if odd:
        return None, "not a score from 0 to 1: " + ", ".join(odd)
    parts = [scores[task].estimate for task in tasks]
    mean = mean_of_estimates(parts, f"mean of {len(parts)} tasks, their variances added")
    return mean.from_sources([path for part in parts for path in part.sources]), ""


def _notes(
    used: Sequence[_Entry], places: Mapping[Hashable, _Place], parameters: ParameterCount | None
) -> tuple[str, ...]:
    """What a reader should know of how the summary came about."""
    notes = []
    for name in ("vllm", "torch", "lm_eval"):
        told = [entry.record.environment.versions for entry in used if entry.record.origin is None]
        versions = sorted({versions.get(name, "none") for versions in told})
        if len(versions) > 1:
            notes.append(f"measured with {name} " + " and ".join(versions))
    aside = sum(place.set_aside for place in places.values())
    if aside:
        notes.append(f"{aside} measurements of earlier settings are left aside")
    held = {one.parameters for one in map(_measurement, used) if isinstance(one, MemoryMeasurement)}
    if parameters is not None and held - {parameters.total}:
        shown = ", ".join(str(count) for count in sorted(held))
        notes.append(f"{parameters.total} parameters are counted and the checkpoint holds {shown}")
    return tuple(notes)
