"""Records -> summaries.

Of each (cell, repeat) the newest completed record counts. A model's subject is the newest one with a measurement, and
of the cells that fill one place (a workload at a load, a task, memory) the one with the newest measurement.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from harness.accounting import (
    ParameterCount,
    count_parameters,
    kv_bytes_per_token,
)
from harness.architecture import Architecture
from harness.cache_form import cache_element_bytes
from harness.environment import Ceilings
from harness.errors import MoebenchError, StoreError
from harness.hf_config import architecture_from_config
from harness.items import item_error, task_estimate
from harness.metrics import item_scores, memory_values
from harness.operating_points import Reading, operating_points
from harness.places import Entry, Place, measurement_of, newest_of, over_repeats, places_of
from harness.record import MemoryMeasurement, QualityMeasurement, Record, Subject
from harness.roof import Device, Seen, best_ceilings
from harness.routed_work import routed_work, specialisation
from harness.scenario import QualityScenario, RoutingScenario
from harness.schema import canonical_json
from harness.stats import Estimate, counted, mean_of_shares
from harness.summary import (
    ModelSummary,
    OtherSubject,
    RoutedWork,
    TaskScore,
    UnreadWork,
)
from harness.terms import Terms


def summarise(
    records: Iterable[tuple[Path, Record]],
    *,
    tasks: Sequence[str] | None = None,
    terms: Terms | None = None,
    seen: Seen | None = None,
) -> tuple[ModelSummary, ...]:
    """One summary a model, by name, of the records of one suite (as `Store.read` gives them).

    `tasks` are the suite's tasks, in order; without them, all that the records name. A mean score needs all of them.
    `terms` say what requests have to keep, what an hour costs and what the devices can do. `seen` is what the devices
    did at most in all runs, where `records` are only some of them; else it is taken from these.
    Raises nothing for odd content: what cannot be derived is absent and its reason stated.
    """
    by_model: dict[str, list[Entry]] = {}
    for path, record in records:
        by_model.setdefault(record.cell.subject.model, []).append(Entry(path, record, record.cell.id))
    named = {
        entry.record.cell.scenario.task
        for entries in by_model.values()
        for entry in entries
        if isinstance(entry.record.cell.scenario, QualityScenario)
    }
    wanted = tuple(sorted(named)) if tasks is None else tuple(tasks)
    terms = terms or Terms()
    if seen is None:
        seen = _seen(entry.record for entries in by_model.values() for entry in entries)
    reach = _reach(seen)
    return tuple(_model(name, entries, wanted, terms, reach) for name, entries in sorted(by_model.items()))


def _device_of(subject: Subject) -> Device:
    return subject.accelerator, subject.threads


def _seen(records: Iterable[Record]) -> Seen:
    seen: Seen = {}
    for record in records:
        ceilings = record.environment.ceilings
        if ceilings is not None:
            runs = seen.setdefault(_device_of(record.cell.subject), {})
            runs[record.run_id, ceilings.model_dump_json()] = ceilings
    return seen


def _reach(seen: Seen) -> dict[Device, Ceilings]:
    """The most that each kind of device did in any run: a run's ceilings are what some seconds saw."""
    best = {device: best_ceilings(runs.values()) for device, runs in seen.items()}
    return {device: ceilings for device, ceilings in best.items() if ceilings is not None}


def _model(
    name: str, entries: list[Entry], tasks: tuple[str, ...], terms: Terms, reach: Mapping[Device, Ceilings]
) -> ModelSummary:
    subjects: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda one: one.when):
        subjects.setdefault(canonical_json(entry.record.cell.subject), []).append(entry)
    chosen = max(subjects.values(), key=_standing)
    newest = newest_of(chosen)
    subject, configured = newest.record.cell.subject, _configured(chosen)
    config = dict(configured.record.config) if configured else {}
    places = places_of(chosen)
    architecture, parameters, uncounted = _structure(config, f"{newest.path}:config")
    scores = _scores(places)
    mean_score, no_mean_score = _mean_score(scores, tasks)
    memory = _memory(places)
    ceilings, device = reach.get(_device_of(subject)), terms.device(subject)
    works, unread = _routing(places, architecture, tasks)
    reading = Reading(terms, architecture, memory.get("kv_cache_tokens"), works, ceilings, device)
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
        memory=memory,
        points=operating_points(places, reading),
        scores={task: scores[task] for task in (*tasks, *sorted(set(scores) - set(tasks))) if task in scores},
        mean_score=mean_score,
        no_mean_score=no_mean_score,
        mean_tasks=tasks if mean_score is not None else (),
        gaps=gaps,
        others=tuple(sorted(others, key=_newest_first)),
        notes=_notes(used, places, parameters),
        records=tuple(dict.fromkeys([*(entry.path for entry in used), *(gap.source for gap in gaps)])),
        config_record=configured.path if configured else None,
        routing=_named(works),
        unread=unread,
        specialisation=specialisation(works),
        ceilings=ceilings,
        device=device,
    )


def _standing(entries: Sequence[Entry]) -> tuple[bool, bool, tuple[datetime, str]]:
    """Sorts the subjects of a model: measured ones first, moebench's own before imported ones, then the newest."""
    own = any(entry.completed and entry.record.origin is None for entry in entries)
    return any(entry.completed for entry in entries), own, newest_of(entries).when


def _configured(entries: Sequence[Entry]) -> Entry | None:
    """The newest record that has a configuration, measured ones first: a refused cell may have none."""
    with_config = [entry for entry in entries if entry.record.config]
    return newest_of(with_config) if with_config else None


def _other(entries: list[Entry], current: Subject) -> OtherSubject:
    subject = entries[0].record.cell.subject
    differs = tuple(name for name in Subject.model_fields if getattr(subject, name) != getattr(current, name))
    places = places_of(entries)
    return OtherSubject(
        subject=subject,
        differs=differs,
        newest=max(entry.when for entry in entries)[0],
        measured=sum(len(place.measured) for place in places.values()),
        gaps=tuple(gap for place in places.values() for gap in place.gaps),
    )


def _newest_first(other: OtherSubject) -> tuple[float, str]:
    return -other.newest.timestamp(), canonical_json(other.subject)


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


def _memory(places: Mapping[Hashable, Place]) -> dict[str, Estimate]:
    place = places.get(("memory",))
    entries = place.measured if place else ()
    found = [measurement_of(entry) for entry in entries]
    return over_repeats(entries, [memory_values(one) for one in found if isinstance(one, MemoryMeasurement)])


def _routing(
    places: Mapping[Hashable, Place], architecture: Architecture | None, tasks: Sequence[str]
) -> tuple[tuple[RoutedWork, ...], tuple[UnreadWork, ...]]:
    """The newest routing of every workload and task, workloads first, tasks in their order; and what cannot be read."""
    order = {task: place for place, task in enumerate(tasks)}
    works, unread = [], []
    for place in places.values():
        newest = newest_of(place.measured) if place.measured else None
        if newest is None or not isinstance(newest.record.cell.scenario, RoutingScenario):
            continue
        try:
            works.append(routed_work(newest.path, newest.record, architecture))
        except StoreError as error:
            reason = f"{error.what} ({error.where}); {error.hint}"
            unread.append(UnreadWork(newest.record.cell.scenario.work.name, reason))
    works.sort(key=lambda work: (work.source, order.get(work.name, len(order)) if work.source == "task" else 0))
    return tuple(works), tuple(unread)


def _named(works: Sequence[RoutedWork]) -> dict[str, RoutedWork]:
    """Each by its name; a task that is named like a workload says that it is a task."""
    found: dict[str, RoutedWork] = {}
    for work in works:
        found[work.name if work.name not in found else f"{work.name} ({work.source})"] = work
    return found


def _scores(places: Mapping[Hashable, Place]) -> dict[str, TaskScore]:
    scores = {}
    for place in places.values():
        if not place.measured:
            continue
        scenario = place.measured[0].record.cell.scenario
        score = _score(scenario, place.measured) if isinstance(scenario, QualityScenario) else None
        if score is not None:
            scores[score.task] = score
    return scores


def _score(scenario: QualityScenario, entries: tuple[Entry, ...]) -> TaskScore | None:
    """The newest repeat names the metric; each item's score is its mean over the repeats that have the same items.

    None where neither the score nor any item's was recorded.
    """
    found = [one for one in map(measurement_of, entries) if isinstance(one, QualityMeasurement)]
    newest = found[entries.index(newest_of(entries))]
    metric = newest.main_metric
    reference = item_scores(newest, metric)
    repeats = [items for items in (item_scores(one, metric) for one in found) if items.keys() == reference.keys()]
    items = {key: math.fsum(one[key] for one in repeats) / len(repeats) for key in reference}
    listed = newest.main
    reported = [score.value for one in found for score in one.scores if score.metric == metric]
    value = math.fsum(reported) / len(reported) if reported else None
    higher = listed.higher_is_better if listed else True
    stderr, n = listed.stderr if listed else None, newest.items_asked or 0
    scored = task_estimate(items, value, stderr, n, higher_is_better=higher)
    if scored is None:
        return None
    estimate, weighting = scored
    return TaskScore(
        task=scenario.task,
        scenario=scenario,
        metric=metric,
        higher_is_better=higher,
        estimate=estimate.from_sources([entry.path for entry in entries]),
        chance=newest.chance,
        error=(stderr or None) if weighting == "reported" else item_error(items, weighting),
        items=items,
        arguments=newest.arguments,
        weighting=weighting,
        started_at=newest_of(entries).when[0],
        version=newest.task_version,
        items_asked=newest.items_asked,
    )


def _mean_score(scores: Mapping[str, TaskScore], tasks: tuple[str, ...]) -> tuple[Estimate | None, str]:
    """The mean over the suite's tasks, or why there is none."""
    if not tasks:
        return None, "the suite has no tasks"
    missing = [task for task in tasks if task not in scores]
    if missing:
        return None, "not measured: " + ", ".join(missing)
    errors = [task for task in tasks if not scores[task].higher_is_better]
    if errors:
        return None, "a mean of scores needs tasks where higher is better: " + ", ".join(errors)
    odd = [task for task in tasks if not 0 <= scores[task].estimate.value <= 1]
    if odd:
        return None, "not a score from 0 to 1: " + ", ".join(odd)
    parts = [scores[task] for task in tasks]
    shares = [(part.estimate, part.error) for part in parts]
    mean = mean_of_shares(shares, f"unweighted mean of {len(parts)} tasks, their variances added")
    return mean.from_sources([path for part in parts for path in part.estimate.sources]), ""


def _notes(
    used: Sequence[Entry], places: Mapping[Hashable, Place], parameters: ParameterCount | None
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
    held = {one.parameters for one in map(measurement_of, used) if isinstance(one, MemoryMeasurement)}
    if parameters is not None and held - {parameters.total}:
        shown = ", ".join(str(count) for count in sorted(held))
        notes.append(f"{parameters.total} parameters are counted and the checkpoint holds {shown}")
    return tuple(notes)
