"""Two models on the same items: McNemar's test, a studentised bootstrap, and clusters of items.

Which test: right or wrong items have McNemar's mid-p test, others the bootstrap, and the items of a group of tasks the
clustered t test over its subtasks (see `harness.items`).

How large a difference can be found depends on how many items the two disagree on. With a share d of disagreements the
standard error is sqrt(d - gap²) / sqrt(n). No test can beat the uniformly most powerful unbiased one, which is the
binomial test on the items in disagreement with its verdict drawn at the edge (Lehmann and Romano 2005, section 4.5);
the mid-p test is within 0.3 points of it. Chance of finding a gap of 3 points on 1000 items, computed exactly:

    share of disagreements        0.03   0.05   0.08   0.10   0.15   0.20   0.42
    bound of any unbiased test    1.000  0.994  0.926  0.857  0.691  0.565  0.310
    mid-p, with its interval      1.000  0.993  0.925  0.855  0.688  0.563  0.310
    exact McNemar                 1.000  0.991  0.910  0.835  0.662  0.538  0.293

So 90 % is reached up to 8.7 % of disagreements and by no valid test beyond: with 10 % it takes 1170 items, and 4890
between models that are right independently of each other on 70 % (d = 0.42).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.items import SubtaskMean, Weighting, subtask_mean
from harness.stats import (
    CONFIDENCE,
    Contrast,
    inverted_p,
    mean_of_contrasts,
    normal_quantile,
    standard_error,
    t_quantile,
    t_test,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_PAIRED_ITEMS = 10
"""Fewer items give no interval and no verdict.

Right or wrong ones reach p < 0.05 only where 5 differ, all in one direction (0.5^5 = 0.031). Of fewer than 10 items
that is more than half of them, and only up to half does McNemar's mid-p test keep its 5 % (see `mcnemar`): every
verdict would come from where it does not. The interval of graded ones was held to its coverage down to 10.
"""
MIN_DIFFERING = 5
"""Where fewer of them differ, many resamples have none of these, and the bootstrap says nothing."""
RESAMPLES = 1999
"""One less than a round number, so that its quantiles are order statistics."""
MOST_BOOTSTRAPPED = 1000
"""Of more items the quantile of the bootstrap is within 1 % of Student's."""
_ROUNDING = 1e-9
_SEED = 20260105
_CHUNK = 200


def paired_difference(
    a: Sequence[float], b: Sequence[float], subtasks: Sequence[str] = (), weighting: Weighting = "items"
) -> Contrast:
    """The mean of a[i] - b[i] over the same items; `subtasks` has each item's where the task is a group.

    See the module for the tests. No interval for fewer than `MIN_PAIRED_ITEMS`. Raises ValueError for lists that are
    empty or of unequal length.
    """
    if len(a) != len(b) or not a or (subtasks and len(subtasks) != len(a)):
        raise ValueError(f"paired scores need the same items on both sides, not {len(a)} and {len(b)}")
    parts: dict[str, list[int]] = {}
    for index, name in enumerate(subtasks):
        parts.setdefault(name, []).append(index)
    differences = [[_difference(a[i], b[i]) for i in part] for part in parts.values()]
    by_subtasks = weighting == "subtasks" and len(parts) > 1
    if len(a) < MIN_PAIRED_ITEMS:
        alike = differences if by_subtasks else [[_difference(x, y) for x, y in zip(a, b, strict=True)]]
        value = math.fsum(math.fsum(part) / len(part) for part in alike) / len(alike)
        return _too_few(value, len(a))
    over = subtask_mean(differences, weighting)
    if over is not None and over.error > 0:
        return _clustered(over, len(a))
    if by_subtasks:
        each = [_unclustered([a[i] for i in part], [b[i] for i in part]) for part in parts.values()]
        return mean_of_contrasts(each, f"paired, mean of {len(parts)} subtasks as they are")
    return _unclustered(a, b)


def _too_few(value: float, n: int) -> Contrast:
    return Contrast(value, None, None, None, f"paired on {n} item{'s' * (n != 1)}, too few for an interval")


def _unclustered(a: Sequence[float], b: Sequence[float]) -> Contrast:
    if all(score in (0.0, 1.0) for score in (*a, *b)):
        only_a = sum(x > y for x, y in zip(a, b, strict=True))
        only_b = sum(x < y for x, y in zip(a, b, strict=True))
        return _paired_proportions(only_a, only_b, len(a))
    return _paired_means([_difference(x, y) for x, y in zip(a, b, strict=True)])


def _difference(x: float, y: float) -> float:
    """x - y; 0 where the two differ in their last digits only, which is how they were added up."""
    return 0.0 if x == y or abs(x - y) <= _ROUNDING * max(abs(x), abs(y)) else x - y


def _clustered(over: SubtaskMean, n: int) -> Contrast:
    half = t_quantile(over.freedom) * over.error
    basis = f"paired on {n} items, clustered in {over.subtasks} subtasks"
    p_value = t_test(over.value / over.error, over.freedom)
    return Contrast(over.value, over.value - half, over.value + half, p_value, basis, over.freedom)


# Right or wrong --------------------------------------------------------------------------------------------------


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided mid-p that an item on which the two differ is as likely to favour either.

    2 P(X < x) + P(X = x), X binomial over the items that differ and x the smaller count; 1 where the counts are equal.
    At 5 % it errs in at most 5.1 % of cases where up to half of the items differ, in up to 8 % where all do, and finds
    more than the exact test, which errs in 3 to 4.5 %. Sources: McNemar 1947; Fagerland, Lydersen and Laake 2013, BMC
    Med. Res. Methodology 13:91.
    """
    from scipy.special import bdtr

    discordant, smaller = only_a + only_b, min(only_a, only_b)
    if only_a == only_b:
        return 1.0
    below = float(bdtr(smaller - 1, discordant, 0.5)) if smaller else 0.0
    return min(1.0, below + float(bdtr(smaller, discordant, 0.5)))


def _paired_proportions(only_a: int, only_b: int, n: int) -> Contrast:
    """With the adjusted Wald interval, one item added to each side of disagreement.

    It covers the truth more than 97 % of the time where fewer than about ten items differ. Source: Bonett and Price
    2012, J. Educ. Behav. Stat. 37:479.
    """
    difference = (only_a - only_b) / n
    p_a, p_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = normal_quantile() * math.sqrt((p_a + p_b - (p_a - p_b) ** 2) / (n + 2))
    low, high = max(-1.0, p_a - p_b - half), min(1.0, p_a - p_b + half)
    basis = f"paired on {n} items, McNemar's mid-p test"
    return Contrast(difference, min(low, difference), max(high, difference), mcnemar(only_a, only_b), basis)


# Other scores ----------------------------------------------------------------------------------------------------


def _paired_means(differences: list[float]) -> Contrast:
    n, difference = len(differences), math.fsum(differences) / len(differences)
    if n < MIN_PAIRED_ITEMS:
        return _too_few(difference, n)
    differing = sum(one != 0 for one in differences)
    if not differing:
        return Contrast(0.0, 0.0, 0.0, 1.0, f"paired on {n} items, none of which differs")
    if differing < MIN_DIFFERING:
        return _few_differ(differences, differing)
    error = standard_error(differences)
    if error <= _ROUNDING * abs(difference):
        return _all_alike(differences)
    if n > MOST_BOOTSTRAPPED:
        half, p_value = t_quantile(n - 1) * error, t_test(difference / error, n - 1)
        basis = f"paired t interval over {n} items"
        return Contrast(difference, difference - half, difference + half, p_value, basis, n - 1)
    return _bootstrapped(differences, difference, error)


def _all_alike(differences: list[float]) -> Contrast:
    """The same difference on every item, which says nothing of the spread.

    p is that of the sign test, 2 * 0.5^n, and not less than what the interval with one more on each side says.
    """
    n, found = len(differences), _few_differ(differences, len(differences))
    basis = f"paired on {n} items that all differ by as much, t interval with one more on each side"
    p_value = None if found.p_value is None else max(found.p_value, min(1.0, 2 * 0.5**n))
    return replace(found, p_value=p_value, basis=basis)


def _few_differ(differences: list[float], differing: int) -> Contrast:
    """As for right or wrong items, one more on each side: by 1, or by as much as the largest that was seen."""
    n, difference = len(differences), math.fsum(differences) / len(differences)
    most = max(1.0, *map(abs, differences))
    half = t_quantile(n + 1) * standard_error([*differences, most, -most])
    basis = f"paired on {n} items of which {differing} differ, t interval with one more on each side"
    p_value = inverted_p(difference, half, half, n + 1)
    return Contrast(difference, difference - half, difference + half, p_value, basis, n + 1)


def _bootstrapped(differences: list[float], difference: float, error: float) -> Contrast:
    """The symmetric studentised bootstrap: d ± q * s / sqrt(n), q the 95 % quantile of |t*| over resamples of items.

    q is the order statistic above that of the quantile, so that the interval excludes 0 just where p is below 0.05.

    t* = (d* - d) / s* with the resample's own error s*; p is the share of |t*| that reach |d| / s, and where none does
    Student's p with the statistic scaled by the quantiles' ratio. Percentile and BCa intervals are too narrow for few
    items (90 % instead of 95 % at 10), and so are the equal-tailed t* where most items do not differ (82 to 91 % at 10
    to 50 items). Resamples are the same for every task with as many items, so the same scores give the same interval.
    Measured coverage (eight kinds of scores, 10 to 1000 items): 93.5 to 98.7 %, the highest where few items differ; 92
    % at 10 items whose differences are as skewed as an exponential distribution, where Student's interval has 90.
    Sources: Efron and Tibshirani 1993, chapter 12; Hall 1988, J. Royal Statistical Society B 50:35.
    """
    import numpy as np

    n = len(differences)
    statistics = np.sort(_studentised(np.asarray(differences) - difference))
    quantile = float(statistics[math.ceil(CONFIDENCE * (RESAMPLES + 1))])
    reached = RESAMPLES - int(np.searchsorted(statistics, abs(difference) / error * (1 - 1e-12)))
    p_value = (reached + 1) / (RESAMPLES + 1)
    t = t_quantile(n - 1)
    if not reached:
        p_value = min(p_value, t_test(difference / error * t / quantile, n - 1))
    half = quantile * error
    basis = f"paired bootstrap of t over {n} items"
    return Contrast(difference, difference - half, difference + half, p_value, basis, n - 1)


def _studentised(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """|t*| of every resample of differences whose mean is 0; infinite where a resample has no spread but a mean."""
    import numpy as np

    n = len(centred)
    counts = _resamples(n)
    # No BLAS: its order of summation depends on the number of threads.
    means = np.einsum("ri,i->r", counts, centred) / n
    squares = np.einsum("ri,i->r", counts, centred**2) / n
    errors = np.sqrt(np.maximum(0.0, squares - means**2) / (n - 1))
    tiny = 1e-9 * math.sqrt(float(centred @ centred)) / n
    return np.where(errors > tiny, abs(means) / np.maximum(errors, tiny), np.where(abs(means) > tiny, np.inf, 0.0))


@lru_cache(maxsize=4)
def _resamples(n: int) -> NDArray[np.float64]:
    """How often each of n items is drawn in each resample: (RESAMPLES, n)."""
    import numpy as np

    generator = np.random.default_rng([_SEED, n])
    counts = np.empty((RESAMPLES, n))
    for start in range(0, RESAMPLES, _CHUNK):
        rows = min(_CHUNK, RESAMPLES - start)
        drawn = generator.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        counts[start:start + rows] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
    counts.flags.writeable = False
    return counts
