"""Who may be ranked by a metric, in which ranges of ranks, and why the others are not: one rule for pages and exports.

Ranked together are single models, or groups of trainings, never both: the interval of a model says what other items or
other runs would give, that of a group what another training would. Random weights have neither score nor speed. A
timing that a rule of `harness.plausibility` flags is not ranked; no flag of a timing touches a score. Scores are ranked
where they were asked in the same way (task file and version, examples, chat template, metric) and as many items, as the
first 100 of a task are other questions than all of it; timings and memory where they are of the same hardware, the peak
of devices where the engines were given the same cache: of what was asked or measured in several ways the largest set is
ranked, and the rest is left out with the reason. Where several sets are the largest none is. What was measured under
conditions that are not known competes with nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from harness.metrics import COUNTED, Better, Metric
from harness.quantities import plain
from harness.record import NOT_STATED
from harness.sizes import scores_of, tasks_differ
from harness.stats import Estimate, ranks_with_ties
from harness.summary import ModelSummary, PointKey

_LONGEST = 500
ASKED_OTHERWISE = "asked otherwise"
"""How the reason of a model begins that has a score of other questions."""

Entrant = tuple[ModelSummary, Estimate]
_FLAGGED = "its timing is flagged"
Lead = Literal[
    "none", "only one", "only one ranked", "leads", "first of those alike", "first of those not flagged", "shared",
]
"""What the first of a contest may be said to be. Only one: no other has a value; only one ranked: others have."""
Shared = Literal["equal", "no interval", "overlap"]
SHARED: Mapping[Shared, str] = {
    "equal": "as their values are equal", "no interval": "as not all of them have an interval",
    "overlap": "as their intervals overlap",
}
"""Why several share a rank, as the end of a sentence."""


@dataclass(frozen=True)
class Contest:
    """What competes by one metric, in the order given."""

    entrants: tuple[Entrant, ...]
    better: Better
    out: Mapping[str, str]
    """By model why it does not compete, as the end of a sentence."""
    unlike: str = ""
    """Why some that have a value do not compete with the others; empty where all do."""
    others: int = 0
    """How many have a value and do not compete, for whatever reason."""

    @cached_property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """The range of ranks of every model that competes; see `harness.stats.ranks_with_ties`."""
        ranges = ranks_with_ties([one for _, one in self.entrants], self.better == "higher")
        return {summary.model: rank for (summary, _), rank in zip(self.entrants, ranges, strict=True)}

    @property
    def first(self) -> tuple[Entrant, ...]:
        """Those that none is certainly better than; more than one where intervals overlap."""
        return tuple(entrant for entrant in self.entrants if self.ranks[entrant[0].model][0] == 1)

    @property
    def best(self) -> ModelSummary | None:
        """The one whose interval touches that of no other; None where some with a value cannot be held against it."""
        if self.unlike:
            return None
        place = best_of([one for _, one in self.entrants], self.better)
        return None if place is None else self.entrants[place][0]

    @property
    def lead(self) -> Lead:
        """What may be said of the first: that it leads only where it is certainly better than all that have a value.

        Random weights, which have nothing to lead with, are no others.
        """
        if len(self.entrants) < 2:
            return "none" if not self.entrants else "only one ranked" if self.others else "only one"
        if len(self.first) > 1:
            return "shared"
        if self.best is None:
            return "first of those alike"
        return "first of those not flagged" if self.has_flagged else "leads"

    @property
    def has_flagged(self) -> bool:
        """Whether a model is left out for a flag of its timing."""
        return any(reason.startswith(_FLAGGED) for reason in self.out.values())

    @property
    def why_shared(self) -> Shared:
        """Why those that share the first rank cannot be told apart."""
        found = [one for _, one in self.first]
        if not all(one.has_interval for one in found):
            return "no interval"
        return "equal" if len({end for one in found for end in (one.low, one.high)}) == 1 else "overlap"


def contest(
    summaries: Sequence[ModelSummary], metric: Metric, point: PointKey | None,
    estimate_of: Callable[[ModelSummary], Estimate | None],
) -> Contest:
    """Who competes by a metric at a load; the summaries are all single models, or all groups.

    Raises ValueError where they are mixed.
    """
    if len({bool(one.members) for one in summaries}) > 1:
        raise ValueError("groups of trainings and single models are not ranked together")
    return held_together(summaries, metric, point, estimate_of)


def held_together(
    summaries: Sequence[ModelSummary], metric: Metric, point: PointKey | None,
    estimate_of: Callable[[ModelSummary], Estimate | None],
) -> Contest:
    """As `contest`, of groups and single models together: who is shown beside whom, in no ranking."""
    out: dict[str, str] = {}
    valued: list[Entrant] = []
    others = 0
    for one in summaries:
        reason, found = why_out(one, metric, point), estimate_of(one)
        others += bool(reason) and found is not None
        if reason or found is None:
            out[one.model] = reason or _no_value(one, metric)
        else:
            valued.append((one, found))
    entrants, left = _alike(valued, metric)
    others += len(left)
    return Contest(tuple(entrants), _better(metric, entrants), out | left, next(iter(left.values()), ""), others)


def _alike(valued: Sequence[Entrant], metric: Metric) -> tuple[Sequence[Entrant], dict[str, str]]:
    """Those that are ranked together, and by model why the others that have a value are not with them."""
    if len(valued) < 2:
        return valued, {}
    left = {one.model: unknown for one, _ in valued if (unknown := _unknown(one, metric))}
    sets: dict[Hashable, list[Entrant]] = {}
    for one, estimate in valued:
        if one.model not in left:
            sets.setdefault(_likeness(one, metric), []).append((one, estimate))
    if not sets:
        return (), left
    most = max(map(len, sets.values()))
    largest = [some for some in sets.values() if len(some) == most]
    for some in sets.values():
        others = [one for other in largest if other is not some for one, _ in other]
        if others:
            against = min(others, key=lambda one: one.model)
            left |= {one.model: _unlike(one, against, metric, undecided=len(largest) > 1) for one, _ in some}
    return (largest[0] if len(largest) == 1 else ()), left


def contests(
    summaries: Sequence[ModelSummary], metric: Metric, point: PointKey | None,
) -> tuple[Contest, ...]:
    """The contest of the groups and that of the single models, as far as there are any; the one that leads is first.

    A group of one training is none. See `leading` for which leads.
    """
    parts = ([one for one in summaries if len(one.members) > 1], [one for one in summaries if not one.members])
    groups, models = (contest(part, metric, point, lambda one: one.estimate(metric.key, point)) for part in parts)
    first = leading(groups, models)
    order = (first, models if first is groups else groups)
    return tuple(one for one in order if one.entrants or one.out)


def leading(groups: Contest, models: Contest) -> Contest:
    """Which contest says who leads: that of the groups where several compete, else that of the single models."""
    return groups if len(groups.entrants) > 1 else models


def singles_of(summaries: Sequence[ModelSummary]) -> list[ModelSummary]:
    """The models that belong to no group: where groups lead they are ranked apart."""
    grouped = {member.model for one in summaries for member in one.members}
    return [one for one in summaries if not one.members and one.model not in grouped]


def is_timed(metric: Metric) -> bool:
    """Whether a metric is of a timing, which a rule of plausibility may flag."""
    return metric.scenario == "serving" and metric.key not in COUNTED


def why_out(summary: ModelSummary, metric: Metric, point: PointKey | None) -> str:
    """Why a value of a model is neither ranked nor compared, as the end of a sentence; empty where it may be."""
    timed = is_timed(metric)
    if summary.subject.weights == "dummy" and (timed or metric.scenario == "quality"):
        return "its weights are random"
    at = summary.point(point) if timed and point is not None else None
    return f"{_FLAGGED}: {plain('; '.join(at.flags), _LONGEST)}" if at is not None and at.flags else ""


def _no_value(summary: ModelSummary, metric: Metric) -> str:
    if metric.key == "mean_score":
        return f"no mean score, {plain(summary.no_mean_score or 'nothing was scored', _LONGEST)}"
    if metric.scenario == "quality":
        return "the task was not measured"
    why = summary.not_pooled or (summary.peak_not_pooled if metric.key == "device_peak_bytes" else "")
    return plain(why, _LONGEST) or "not measured"


def _on_hardware(metric: Metric) -> bool:
    """Whether a metric depends on the hardware."""
    return metric.scenario in ("serving", "memory") and metric.key not in COUNTED


def _unknown(summary: ModelSummary, metric: Metric) -> str:
    """Which condition that two models must share is not known, as the end of a sentence; empty if all are."""
    if _on_hardware(metric) and summary.subject.accelerator == NOT_STATED:
        return "on what hardware it was measured is not stated"
    if metric.key == "device_peak_bytes" and summary.cache_given is None:
        return "its devices' peak is what the engine chose to reserve for the cache"
    return ""


def _likeness(summary: ModelSummary, metric: Metric) -> Hashable:
    """What has to be the same of two models for a metric of theirs to be ranked together."""
    if metric.scenario == "quality":
        return tuple((task, score.asked) for task, score in scores_of(summary, metric.key).items())
    if _on_hardware(metric):
        return summary.subject.accelerator, _cache(summary, metric)
    return None


def _cache(summary: ModelSummary, metric: Metric) -> str:
    """The cache that the engine was given, where the metric depends on it; see `harness.compare`."""
    return plain(str(summary.cache_given), 40) if metric.key == "device_peak_bytes" else ""


def _unlike(summary: ModelSummary, other: ModelSummary, metric: Metric, *, undecided: bool) -> str:
    """Why a model does not compete with another one; undecided where no set is the largest."""
    if metric.scenario == "quality":
        how = ASKED_OTHERWISE
        details = tasks_differ(scores_of(summary, metric.key), scores_of(other, metric.key), ranked=True)
    elif summary.subject.accelerator != other.subject.accelerator:
        devices = [plain(one.subject.accelerator, 80) for one in (summary, other)]
        how, details = "measured on other hardware", f"{devices[0]} against {devices[1]}"
    else:
        how = "measured with another cache"
        details = f"{_cache(summary, metric)} against {_cache(other, metric)} bytes"
    than = "others, no way being the most common, so that none is ranked" if undecided else "those that are ranked"
    return plain(f"{how} than {than} ({details})", _LONGEST)


def _better(metric: Metric, entrants: Sequence[Entrant]) -> Better:
    """Which end is the better one; of a task as it says itself."""
    task = metric.key.removeprefix("score:")
    if not entrants or task == metric.key:
        return metric.better
    return "higher" if entrants[0][0].scores[task].higher_is_better else "lower"


def best_of(estimates: Sequence[Estimate | None], direction: str) -> int | None:
    """The index of the value that stands apart as the best; None where its interval touches another's."""
    known = [(index, one) for index, one in enumerate(estimates) if one is not None]
    if direction not in ("higher", "lower") or len(known) < 2:
        return None
    sign = 1.0 if direction == "higher" else -1.0
    index, first = max(known, key=lambda entry: sign * entry[1].value)
    others = [one for other, one in known if other != index]
    return index if all(_certainly_better(first, other, sign) for other in others) else None


def _certainly_better(a: Estimate, b: Estimate, sign: float) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low > b.high if sign > 0 else a.high < b.low
