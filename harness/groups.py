"""Summaries of several trainings of one recipe -> one summary whose intervals are over the trainings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.metrics import COUNTED, METRICS
from harness.quantities import listed, plain
from harness.record import Subject
from harness.stats import Estimate, mean_estimate
from harness.summary import NOT_POOLED, PEAK_NOT_POOLED, Asked, ModelSummary, OperatingPoint, TaskScore

_CONDITIONS = {
    "accelerator": "accelerator", "tensor_parallel": "number of accelerators", "expert_parallel": "expert parallelism",
    "precision": "precision", "quantization": "quantization", "weights": "weights",
}
"""The fields of a subject that make the speed and memory of two trainings other quantities, in words."""


def group_summaries(summaries: Sequence[ModelSummary]) -> tuple[ModelSummary, ...]:
    """One summary for each group that the models name, by name; models without a group give none.

    The value of a group is the mean of its members' values, its interval the t interval over them: it says what
    another training of the recipe would give on the same items, not what other items would. Members that lack a value
    are left out of it, and `Estimate.n` says how many are in. The summary's `members` are the models; its gaps are
    all of theirs. Where their parameter counts differ nothing is counted. Which experts are busy differs from training
    to training: a group has no routing of its own, only the estimates of its points. Trainings that were measured on
    other devices, or served in another precision, give no common speed or memory, and a note says so; nor do those
    whose engines kept caches of other sizes give a common peak of the devices, which holds the cache. Random weights
    are no training that a score could be of.
    """
    groups: dict[str, list[ModelSummary]] = {}
    for summary in summaries:
        if summary.group is not None:
            groups.setdefault(summary.group, []).append(summary)
    return tuple(_group(name, members) for name, members in sorted(groups.items()))


def _group(name: str, members: list[ModelSummary]) -> ModelSummary:
    trained = [member for member in members if member.subject.weights != "dummy"] or members
    newest = max(trained, key=lambda member: member.started_at)
    apart = _conditions_differ(members)
    alike = all(member.parameters == newest.parameters for member in members)
    mean, mean_tasks, no_mean = _mean(trained)
    notes = [f"{member.model}: {note}" for member in members for note in member.notes]
    counts, memory = newest.counts, _each_metric([member.memory for member in members])
    if caches := _caches_differ(members):
        notes.insert(0, caches)
        memory.pop("device_peak_bytes", None)
    if apart:
        notes.insert(0, apart)
        counts = {key: one for key, one in counts.items() if _same(key, one, members)}
        memory = {key: one for key, one in memory.items() if key in COUNTED and one.low == one.high}
    return replace(
        newest,
        model=name,
        group=name,
        subject=_subject(newest, members),
        architecture=newest.architecture if alike else None,
        parameters=newest.parameters if alike else None,
        uncounted=newest.uncounted if alike else "the group's members differ in their parameters",
        counts=counts if alike else {},
        memory=memory,
        points=() if apart else _points(members),
        scores=_scores(trained),
        mean_score=mean,
        no_mean_score=no_mean,
        mean_tasks=mean_tasks,
        gaps=tuple(gap for member in members for gap in member.gaps),
        others=tuple(other for member in members for other in member.others),
        notes=tuple(dict.fromkeys(notes)),
        records=tuple(dict.fromkeys(path for member in members for path in member.records)),
        members=tuple(members),
        routing={},
        unread=(),
        specialisation=None,
        ceilings=newest.ceilings if all(member.ceilings == newest.ceilings for member in members) else None,
        device=newest.device if all(member.device == newest.device for member in members) else None,
    )


def _no_mean_score(members: Sequence[ModelSummary]) -> str:
    """Why no member has a mean score; a reason that all share is told once, without their names."""
    reasons: dict[str, list[str]] = {}
    for member in members:
        if member.no_mean_score:
            reasons.setdefault(member.no_mean_score, []).append(member.model)
    if [len(models) for models in reasons.values()] == [len(members)]:
        return next(iter(reasons))
    return "; ".join(f"{listed(models)}: {reason}" for reason, models in reasons.items())


def _mean(members: Sequence[ModelSummary]) -> tuple[Estimate | None, tuple[str, ...], str]:
    """The mean score over the trainings that have one, its tasks, and why there is none."""
    known = [member for member in members if member.mean_score is not None]
    asked = dict.fromkeys(member.mean_tasks for member in known)
    if len(asked) > 1:
        of = (f"{member.model} of {listed(member.mean_tasks)}" for member in known)
        return None, (), f"the trainings' mean scores are not of the same tasks: {'; '.join(of)}"
    mean = _over_trainings("mean_score", [member.mean_score for member in known], lowest=0.0, highest=1.0)
    if mean is None:
        return None, (), _no_mean_score(members)
    return mean, next(iter(asked)), ""


def _conditions_differ(members: Sequence[ModelSummary]) -> str:
    """A note of the conditions in which trainings differ, so that speed and memory have no mean; empty if in none."""
    found = []
    for field, words in _CONDITIONS.items():
        values = dict.fromkeys(str(getattr(member.subject, field) or "none") for member in members)
        if len(values) > 1:
            found.append(f"{words} ({' against '.join(sorted(values))})")
    return f"{NOT_POOLED}: the trainings differ in {listed(found)}" if found else ""


def _caches_differ(members: Sequence[ModelSummary]) -> str:
    """A note that the devices' peaks have no mean, as they hold caches of other sizes; empty where all were alike.

    The size is what the engines were given; where one chose as much as fits, what each reserved.
    """
    known = [member for member in members if "device_peak_bytes" in member.memory]
    given = {member.cache_given for member in known}
    if len(given) == 1 and None not in given:
        return ""
    sizes = dict.fromkeys(_cache(member) for member in known)
    return f"{PEAK_NOT_POOLED}: the caches differ ({' against '.join(sorted(sizes))})" if len(sizes) > 1 else ""


def _cache(member: ModelSummary) -> str:
    if member.cache_given is not None:
        return f"{plain(str(member.cache_given), 40)} bytes as given"
    reserved = member.memory.get("kv_cache_bytes")
    return "unknown" if reserved is None else f"{reserved.value:.0f} bytes as fitted"


def _subject(newest: ModelSummary, members: Sequence[ModelSummary]) -> Subject:
    """That of the newest training; with every device and precision where these differ."""
    return newest.subject.model_copy(update={
        field: " / ".join(sorted({getattr(member.subject, field) for member in members}))
        for field in ("accelerator", "precision")
    })


def _same(key: str, estimate: Estimate, members: Sequence[ModelSummary]) -> bool:
    """Whether a count is the same of all trainings."""
    found = [member.counts.get(key) for member in members]
    return all(one is not None and one.value == estimate.value for one in found)


def _over_trainings(
    key: str, found: Sequence[Estimate | None], *, lowest: float | None = 0.0, highest: float | None = None
) -> Estimate | None:
    """The estimate over the trainings that have one; a count that is the same in all keeps having no spread."""
    known = [estimate for estimate in found if estimate is not None]
    if not known:
        return None
    values = [estimate.value for estimate in known]
    sources = [path for estimate in known for path in estimate.sources]
    if key in COUNTED and min(values) == max(values):
        same = Estimate(values[0], values[0], values[0], len(values), "counted", tuple(values))
        return same.from_sources(sources)
    return mean_estimate(values, "trainings", lowest=lowest, highest=highest).from_sources(sources)


def _each_metric(mappings: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """The group's estimate of every metric that any member has; one mapping a member."""
    merged = {}
    for key in dict.fromkeys(key for mapping in mappings for key in mapping):
        metric = METRICS[key]
        found = [mapping.get(key) for mapping in mappings]
        estimate = _over_trainings(key, found, lowest=metric.least, highest=metric.most)
        if estimate is not None:
            merged[key] = estimate
    return merged


def _points(members: Sequence[ModelSummary]) -> tuple[OperatingPoint, ...]:
    points = []
    for key in sorted({point.key for member in members for point in member.points}):
        found = [(member.model, point) for member in members if (point := member.point(key)) is not None]
        flags = tuple(f"{model}: {flag}" for model, point in found for flag in point.flags)
        notes = tuple(dict.fromkeys(note for _, point in found for note in point.notes))
        origins = tuple(dict.fromkeys(origin for _, point in found for origin in point.origins))
        estimates = _each_metric([point.estimates for _, point in found])
        requests = min(point.requests for _, point in found)
        scenarios = {point.scenario for _, point in found}
        scenario = scenarios.pop() if len(scenarios) == 1 else None
        points.append(OperatingPoint(key, requests, estimates, flags, notes, origins, scenario))
    return tuple(points)


def _scores(members: Sequence[ModelSummary]) -> dict[str, TaskScore]:
    scores = {}
    for task in dict.fromkeys(task for member in members for task in member.scores):
        found = [member.scores[task] for member in members if task in member.scores]
        shares = all(score.higher_is_better and 0 <= score.estimate.value <= 1 for score in found)
        low, high = (0.0, 1.0) if shares else (None, None)
        estimate = _over_trainings("score", [score.estimate for score in found], lowest=low, highest=high)
        if estimate is not None:
            dates = [score.started_at for score in found if score.started_at is not None]
            newest = max(dates, default=None)
            scores[task] = replace(found[0], estimate=estimate, items={}, started_at=newest, forms=_forms(found))
    return scores


def _forms(scores: Sequence[TaskScore]) -> tuple[tuple[Asked, float], ...]:
    """How the trainings were asked, with the share of each, in a fixed order."""
    counts = Counter(asked for score in scores for asked, _ in score.asked)
    return tuple((asked, counts[asked] / len(scores)) for asked in sorted(counts, key=repr))
