"""Who may be ranked by a metric, in which ranges of ranks, and why the others are not: one rule for pages and exports.

Ranked together are single models, or groups of trainings, never both: the interval of a model says what other items or
other runs would give, that of a group what another training would. Random weights have neither score nor speed. A
timing that a rule of `harness.plausibility` flags is not ranked; no flag of a timing touches a score. Scores are ranked
where they are of the same questions, timings and memory where they are of the same hardware: of what was asked or
measured in several ways the largest set is ranked, and the rest is left out with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness.metrics import COUNTED, Better, Metric
from harness.quantities import plain
from harness.record import NOT_STATED
from harness.sizes import scores_of, tasks_differ
from harness.stats import Estimate, ranks_with_ties
from harness.summary import ModelSummary, PointKey

_FEWEST_ALIKE = 4
"""So many repeats that agree to the last digit say more than chance: see `harness.stats.ratio_of_means`."""
_LONGEST = 500
ASKED_OTHERWISE = "asked otherwise than those that are ranked"
"""How the reason of a model begins that has a score of other questions."""

Entrant = tuple[ModelSummary, Estimate]


@dataclass(frozen=True)
class Contest:
    """What competes by one metric, in the order given."""

    entrants: tuple[Entrant, ...]
    better: Better
    out: Mapping[str, str]
    """By model why it does not compete, as the end of a sentence."""
    unlike: str = ""
    """Why some that have a value do not compete with the others; empty where all do."""

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


def contest(
    summaries: Sequence[ModelSummary], metric: Metric, point: PointKey | None,
    estimate_of: Callable[[ModelSummary], Estimate | None],
) -> Contest:
    """Who competes by a metric at a load; the summaries are all single models, or all groups.

    Raises ValueError where they are mixed.
    """
    if len({bool(one.members) for one in summaries}) > 1:
        raise ValueError("groups of trainings and single models are not ranked together")
    out: dict[str, str] = {}
    sets: dict[Hashable, list[Entrant]] = {}
    for one in summaries:
        reason, found = why_out(one, metric, point), estimate_of(one)
        if reason or found is None:
            out[one.model] = reason or _no_value(one, metric)
        else:
            sets.setdefault(_likeness(one, metric), []).append((one, _with_real_spread(found, metric)))
    entrants = max(sets.values(), key=len, default=[])
    left = {one.model: _unlike(one, entrants[0][0], metric) for some in sets.values() if some is not entrants
            for one, _ in some}
    return Contest(tuple(entrants), _better(metric, entrants), out | left, next(iter(left.values()), ""))


def contests(
    summaries: Sequence[ModelSummary], metric: Metric, point: PointKey | None,
) -> tuple[Contest, ...]:
    """The contest of the groups and that of the single models, as far as there are any; the one that leads is first.

    That is the groups' where several compete, else the single models'.
    """
    parts = [[one for one in summaries if bool(one.members) == grouped] for grouped in (True, False)]
    groups, models = (contest(part, metric, point, lambda one: one.estimate(metric.key, point)) for part in parts)
    order = (groups, models) if len(groups.entrants) > 1 else (models, groups)
    return tuple(one for one in order if one.entrants or one.out)


def is_timed(metric: Metric) -> bool:
    """Whether a metric is of a timing, which a rule of plausibility may flag."""
    return metric.scenario == "serving" and metric.key not in COUNTED


def why_out(summary: ModelSummary, metric: Metric, point: PointKey | None) -> str:
    """Why a value of a model is neither ranked nor compared, as the end of a sentence; empty where it may be."""
    timed = is_timed(metric)
    if summary.subject.weights == "dummy" and (timed or metric.scenario == "quality"):
        return "its weights are random"
    at = summary.point(point) if timed and point is not None else None
    return f"its timing is flagged: {plain('; '.join(at.flags), _LONGEST)}" if at is not None and at.flags else ""


def _no_value(summary: ModelSummary, metric: Metric) -> str:
    if metric.key == "mean_score":
        return f"no mean score, {plain(summary.no_mean_score or 'nothing was scored', _LONGEST)}"
    return "the task was not measured" if metric.scenario == "quality" else "not measured"


def _likeness(summary: ModelSummary, metric: Metric) -> Hashable:
    """What has to be the same of two models for a metric of theirs to be ranked together."""
    if metric.scenario == "quality":
        return tuple((task, score.asked) for task, score in scores_of(summary, metric.key).items())
    if metric.scenario in ("serving", "memory") and metric.key not in COUNTED:
        known = summary.subject.accelerator
        return known if known != NOT_STATED else (known, summary.model)
    return None


def _unlike(summary: ModelSummary, other: ModelSummary, metric: Metric) -> str:
    """Why a model does not compete with the set of another one."""
    if metric.scenario == "quality":
        differs = tasks_differ(scores_of(summary, metric.key), scores_of(other, metric.key))
        return plain(f"{ASKED_OTHERWISE} ({differs})", _LONGEST)
    devices = [plain(one.subject.accelerator, 80) for one in (summary, other)]
    return f"measured on other hardware than those that are ranked ({devices[0]} against {devices[1]})"


def _with_real_spread(estimate: Estimate, metric: Metric) -> Estimate:
    """An estimate; without interval where a few repeats agree to the last digit, which says nothing of their spread."""
    values = estimate.values
    if metric.key in COUNTED or not 1 < len(values) < _FEWEST_ALIKE or min(values) < max(values):
        return estimate
    return replace(estimate, low=None, high=None)


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
