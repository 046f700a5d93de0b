"""The mean of the scores of a task's items with its interval, also where items come in subtasks that go together.

The items of one subtask of a group (the subjects of MMLU) are alike in what they ask, so that a model that knows one of
them is likelier to know the next. Their number then says less than as many unrelated items would: the spread is taken
between subtasks, which is what other subtasks of the kind would change, not only other items.

variance = sum_g (w_g (m_g - m))² / (1 - w_g), with m_g the mean of subtask g and w_g its weight, and Student's t with
nu = 1 / (sum w² + (sum a)² - sum a²) degrees, a = w² / (1 - w). With G subtasks of equal weight that is the clustered
error of Liang and Zeger with the factor G / (G - 1) and G - 1 degrees (as in Miller 2024); with unequal ones theirs is
too small: with 5 to 20 log-normal sizes (sigma 1) its interval covers the truth 86 to 93 % of the time, this one 93 to
97 %. Sources: Liang and Zeger 1986, Biometrika 73:13; Miller 2024, arXiv 2411.00640, section 2.2; Bell and McCaffrey
2002, Survey Methodology 28:169 (CR2 and its degrees of freedom, here with errors as large as 1 / w).

Fewer than `MIN_SUBTASKS` are too few: the spread between 2 to 4 of them is known so badly that nothing could be told.
They count as all that the task asks, their items as independent, and the basis of the interval says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.stats import (
    Estimate,
    items_worth,
    mean_estimate,
    mean_of_estimates,
    mean_of_shares,
    reported_estimate,
    standard_error,
    t_quantile,
    wilson,
    wilson_ends,
)

MIN_SUBTASKS = 5

_ROUNDING = 1e-9
_SAME_SCORE = 1e-6
_ALIKE = ", which do not differ: as if the items were independent"

Weighting = Literal["items", "subtasks"]
"""Whether every item or every subtask counts the same in a task's score."""


@dataclass(frozen=True, slots=True)
class SubtaskMean:
    """The mean over subtasks, its standard error between them (0 where all are alike), and its degrees of freedom."""

    value: float
    error: float
    freedom: float
    subtasks: int


def subtask_of(key: str) -> str:
    """The subtask of an item by its key in `TaskScore.items`; empty where the task is no group."""
    return key.rpartition("/")[0]


def by_subtask(items: Mapping[str, float]) -> dict[str, list[float]]:
    """The scores of each subtask, in the order in which subtasks and items are met."""
    if not any("/" in key for key in items):  # most tasks are no group
        return {"": list(items.values())} if items else {}
    parts: dict[str, list[float]] = {}
    for key, score in items.items():
        parts.setdefault(subtask_of(key), []).append(score)
    return parts


def subtask_mean(parts: Sequence[Sequence[float]], weighting: Weighting = "items") -> SubtaskMean | None:
    """The mean of the scores in `parts`, one list a subtask; None with fewer than `MIN_SUBTASKS`."""
    if len(parts) < MIN_SUBTASKS:
        return None
    n = sum(map(len, parts))
    weights = [len(part) / n if weighting == "items" else 1 / len(parts) for part in parts]
    means = [math.fsum(part) / len(part) for part in parts]
    value = math.fsum(w * mean for w, mean in zip(weights, means, strict=True))
    rows = list(zip(weights, means, strict=True))
    variance = math.fsum((w * (mean - value)) ** 2 / (1 - w) for w, mean in rows)
    # equal means differ in their last digits, which is no spread
    largest = max(max(map(abs, part)) for part in parts)
    error = math.sqrt(variance) if max(means) - min(means) > _ROUNDING * largest else 0.0
    shares = [w * w / (1 - w) for w in weights]
    spread = math.fsum(w * w for w in weights) + math.fsum(shares) ** 2 - math.fsum(share * share for share in shares)
    return SubtaskMean(value, error, 1 / spread, len(parts))


def mean_of_items(items: Mapping[str, float], weighting: Weighting) -> float:
    """The mean of items' scores by key, every item or every subtask counting the same."""
    parts = list(by_subtask(items).values()) if weighting == "subtasks" else [list(items.values())]
    return math.fsum(math.fsum(part) / len(part) for part in parts) / len(parts)


def item_estimate(items: Mapping[str, float], weighting: Weighting = "items") -> Estimate:
    """The mean of items' scores by key, over subtasks where the task is a group.

    Right or wrong items have Wilson's interval, others the t interval over items, cut at 0 and 1 where all are within.
    With subtasks Wilson's n is the number of independent items with the same error, p (1 - p) / error², and z the
    quantile of Student's t. Source: Korn and Graubard 1998, Survey Methodology 24:193, on proportions in clusters.
    Subtasks whose means are all alike say nothing of a spread between them: then the items count as independent.
    Raises ValueError for no items.
    """
    parts = list(by_subtask(items).values())
    over = subtask_mean(parts, weighting)
    if over is not None:
        return _clustered(parts, over)
    if weighting == "subtasks" and len(parts) > 1:
        basis = f"mean of {len(parts)} subtasks as they are, too few to tell how others would differ"
        alone = [_independent(part) for part in parts]
        if not _is_share(list(items.values())):
            return replace(mean_of_estimates(alone, basis), n=len(items))
        errors = [standard_error(part) if len(part) > 1 else None for part in parts]
        return replace(mean_of_shares(list(zip(alone, errors, strict=True)), basis), n=len(items))
    found = _independent(list(items.values()))
    few = f" of {len(parts)} subtasks as they are" if len(parts) > 1 else ""
    return replace(found, basis=found.basis + few)


def task_estimate(
    items: Mapping[str, float], reported: float | None, stderr: float | None, n: int, *, higher_is_better: bool = True
) -> tuple[Estimate, Weighting | Literal["reported"]] | None:
    """A task's score with its interval, and how its items make it; None where neither the score nor an item's is known.

    It is the mean of the items that gives the `reported` score, each the same where none is reported; where none does,
    the score is as it was reported, with its `stderr`, over `n` items (0 where their number is not known). One
    from 0 to 1 of which more is better is a share.
    """
    weightings: tuple[Weighting, ...] = get_args(Weighting) if items else ()
    for weighting in weightings:
        if reported is None or abs(mean_of_items(items, weighting) - reported) <= _SAME_SCORE:
            return item_estimate(items, weighting), weighting
    if reported is None:
        return None
    is_share = higher_is_better and _is_share([reported])
    return reported_estimate(reported, stderr, n, is_share=is_share), "reported"


def item_error(items: Mapping[str, float], weighting: Weighting = "items") -> float | None:
    """The standard error of `item_estimate`'s value, from the same spread as its interval; None where that is unknown.

    Between subtasks where there are enough of them and they differ, else over the items, of few subtasks that count the
    same over those of each. Items that are all alike, as where all are right, say nothing of it. (Wilson's and the cut
    intervals are wider than 1.96 of these near 0 and 1.)
    """
    parts = list(by_subtask(items).values())
    over = subtask_mean(parts, weighting)
    if over is not None and over.error > 0:
        return over.error
    if over is not None or weighting == "items":
        parts = [list(items.values())]
    if not parts or min(map(len, parts)) < 2:
        return None
    return math.hypot(*(standard_error(part) for part in parts)) / len(parts) or None


def _independent(scores: Sequence[float]) -> Estimate:
    if all(score in (0.0, 1.0) for score in scores):
        return wilson(round(math.fsum(scores)), len(scores))
    low, high = (0.0, 1.0) if _is_share(scores) else (None, None)
    return replace(mean_estimate(scores, "items", lowest=low, highest=high), values=())


def _is_share(scores: Sequence[float]) -> bool:
    return min(scores) >= 0 and max(scores) <= 1


def _clustered(parts: Sequence[Sequence[float]], over: SubtaskMean) -> Estimate:
    scores = [score for part in parts for score in part]
    value, t, n = over.value, t_quantile(over.freedom), len(scores)
    if all(score in (0.0, 1.0) for score in scores):
        basis = f"Wilson interval over {n} items clustered in {over.subtasks} subtasks"
        independent = float(n)
        if over.error > 0 and 0 < value < 1:
            independent = items_worth(value, over.error)
        else:
            basis += _ALIKE
        low, high = wilson_ends(value, independent, t)
        return Estimate(value, low, high, n, basis, freedom=over.freedom)
    basis = f"t interval over {n} items clustered in {over.subtasks} subtasks"
    if over.error == 0:
        found = _independent(scores)
        return replace(found, basis=basis + _ALIKE if found.has_interval else found.basis)
    half = t * over.error
    low, high = value - half, value + half
    if _is_share(scores):
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(value, low, high, n, basis, freedom=over.freedom)
