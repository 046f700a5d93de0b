"""Estimates with 95 % intervals, differences, ratios, rank ranges and percentiles: pure functions.

Spread comes from repeats in fresh processes for speed and memory, from items for scores (`harness.items`, and on the
same items `harness.paired`), from trainings for groups.
An interval is None where there are too few values to give one; it is never guessed. `tests/test_coverage.py` holds
every interval to covering a known truth in 93 to 97 % of simulations, down to 3 values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
NO_SPREAD = "that do not differ at all"
"""What the basis says of repeats that agree to the last digit."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval; `low` and `high` are None where `n` is too small for one.

    `basis` says in words what `n` counts and how the interval was made. `values` are the repeats (not the items)
    behind the value, and `sources` the record files.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    basis: str
    values: tuple[float, ...] = ()
    sources: tuple[Path, ...] = ()
    freedom: float = math.inf
    """The degrees of freedom of Student's t in the interval; infinite where the normal quantile is in it."""

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return self.low is not None and self.high is not None

    def from_sources(self, sources: Sequence[Path]) -> Estimate:
        """The same estimate, with the record files that it comes from."""
        return replace(self, sources=tuple(dict.fromkeys(sources)))


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference (0 is equal) or a ratio (1 is equal) with its 95 % interval and two-sided p-value."""

    value: float
    low: float | None
    high: float | None
    p_value: float | None
    basis: str
    freedom: float = math.inf
    """As of `Estimate`."""


def normal_quantile() -> float:
    """The two-sided 95 % quantile of the normal distribution, 1.95996."""
    from scipy.special import ndtri

    return float(ndtri((1 + CONFIDENCE) / 2))


def t_quantile(freedom: float) -> float:
    """The two-sided 95 % quantile of Student's t with `freedom` degrees, of the normal distribution for infinite."""
    from scipy.special import stdtrit

    return normal_quantile() if math.isinf(freedom) else float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def t_test(statistic: float, freedom: float) -> float:
    """The two-sided p of a t statistic; of a normal one for infinite degrees."""
    from scipy.special import ndtr, stdtr

    tail = ndtr(-abs(statistic)) if math.isinf(freedom) else stdtr(freedom, -abs(statistic))
    return min(1.0, 2 * float(tail))


def counted(value: float, basis: str = "counted") -> Estimate:
    """A value without spread: the interval is the value."""
    return Estimate(value, value, value, 1, basis)


def mean_estimate(
    values: Sequence[float], unit: str, *, lowest: float | None = None, highest: float | None = None
) -> Estimate:
    """The mean of independent `values` with the t interval mean ± t(n-1) * s / sqrt(n).

    None for one value, and for values that agree to the last digit: those were rounded, counted or copied, which says
    nothing of how others would differ. `unit` names what was repeated, in the plural ("processes"). The interval is cut
    at `lowest` and `highest`, the limits of what the quantity can be, which does not lower its coverage. Source:
    Student 1908. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    n, mean = len(values), math.fsum(values) / len(values)
    mean = min(max(mean, min(values)), max(values))
    kept = tuple(float(value) for value in values)
    if n == 1:
        return Estimate(mean, None, None, 1, "a single value, no interval", kept)
    if min(values) == max(values):
        return Estimate(mean, None, None, n, f"{n} {unit} {NO_SPREAD}, no interval can be told", kept)
    half = t_quantile(n - 1) * standard_error(values)
    low, high = _cut(mean, half, lowest, highest)
    return Estimate(mean, low, high, n, f"t interval over {n} {unit}", kept, freedom=n - 1)


def _cut(value: float, half: float, lowest: float | None, highest: float | None) -> tuple[float, float]:
    """The ends of value ± half, cut at the limits of what the quantity can be."""
    low, high = value - half, value + half
    low = low if lowest is None else min(max(low, lowest), value)
    high = high if highest is None else max(min(high, highest), value)
    return low, high


def standard_error(values: Sequence[float]) -> float:
    """The standard error of a mean, s / sqrt(n) with the sample deviation s (n - 1). It needs two values."""
    n, mean = len(values), math.fsum(values) / len(values)
    if min(values) == max(values):
        return 0.0
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def wilson(successes: int, n: int) -> Estimate:
    """A proportion with Wilson's score interval.

    (p + z²/2n ± z * sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n). Keeps its coverage at 0 and 1, where p ± z * s has none.
    Source: Wilson 1927, JASA 22:209; recommended by Brown, Cai and DasGupta 2001. Raises ValueError for n < 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no proportion")
    low, high = wilson_ends(successes / n, n, normal_quantile())
    return Estimate(successes / n, low, high, n, f"Wilson interval over {n} items")


def items_worth(p: float, error: float) -> float:
    """As many items as would have this standard error at a share p between 0 and 1: p (1 - p) / error²."""
    return p * (1 - p) / error**2


def wilson_ends(p: float, n: float, z: float) -> tuple[float, float]:
    """The ends of Wilson's interval of a proportion p among n, which need not be whole, at the quantile z."""
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return min(p, max(0.0, (centre - half) / scale)), max(p, min(1.0, (centre + half) / scale))


def reported_estimate(value: float, stderr: float | None, n: int, *, is_share: bool = False) -> Estimate:
    """A score that is no mean of the items, with the interval of its reported standard error; none where there is none.

    value ± 1.96 standard errors; of a share, which lies from 0 to 1, Wilson's interval with as many items as would
    have that error, p (1 - p) / stderr². `n` is 0 where the number is not known. A standard error of 0 is what tools
    report of items that are all alike, and no certainty: where all of n are wrong or all are right the interval is
    Wilson's, else there is none. Source: Korn and Graubard 1998, Survey Methodology 24:193.
    """
    if stderr is None:
        return Estimate(value, None, None, n, "as reported, no standard error")
    if stderr == 0 and n > 0 and value in (0.0, 1.0):
        found = wilson(n if value else 0, n)
        return replace(found, basis=f"{found.basis}, as the reported standard error is 0")
    if stderr == 0:
        return Estimate(value, None, None, n, "as reported, with a standard error of 0, which tells no interval")
    if is_share and 0 < value < 1:
        low, high = wilson_ends(value, items_worth(value, stderr), normal_quantile())
        return Estimate(value, low, high, n, "Wilson interval from the reported standard error")
    half = normal_quantile() * stderr
    low, high = _cut(value, half, 0.0, 1.0) if is_share else (value - half, value + half)
    return Estimate(value, low, high, n, "normal interval from the reported standard error")


def mean_of_estimates(estimates: Sequence[Estimate], basis: str) -> Estimate:
    """The unweighted mean of k independent estimates.

    Their variances add: low = m - t * sqrt(sum ((value - low) / t_i)²) / k, high likewise, each standard error
    recovered from the nearer end of its own interval, so that Wilson's asymmetry and its width at 0 and 1 stay. t_i is
    the quantile of an interval's own degrees of freedom, t that of Welch and Satterthwaite's for the sum. With normal
    intervals this is m ± 1.96 * sqrt(sum s²) / k. None where an interval is missing. Source: Zou and Donner 2008,
    Statistics in Medicine 27:1693 (MOVER); Satterthwaite 1946. Raises ValueError for no estimates.
    """
    if not estimates:
        raise ValueError("a mean needs at least one estimate")
    k = len(estimates)
    value = math.fsum(estimate.value for estimate in estimates) / k
    ends = [_distances(one.value, one.low, one.high, one.freedom) for one in estimates]
    known = [one for one in ends if one is not None]
    if len(known) < k:
        return Estimate(value, None, None, k, f"{basis}, one of them without an interval")
    below, above, freedom = _added(known)
    return Estimate(value, value - below / k, value + above / k, k, basis, freedom=freedom)


_ADDED_ITEMS = 2.0


def mean_of_shares(shares: Sequence[tuple[Estimate, float | None]], basis: str) -> Estimate:
    """The unweighted mean m of k independent shares from 0 to 1, each with its standard error where that is known.

    Wilson's interval of m over as many items N as would have its variance: N = m (1 - m) / v, v = sum q_i (1 - q_i) /
    n_i / k². n_i are the items that would have the error of share i, p_i (1 - p_i) / error², or those of Wilson's
    interval where p_i is 0 or 1. q_i = (n_i p_i + 2 m) / (n_i + 2) adds two items at the mean, so that a share of 1
    among others below it is not taken for certain. The quantile is Student's with Welch and Satterthwaite's degrees of
    freedom. It covers the truth in 93 to 97 % of trials, also of ten tasks of 22 items that are nearly all right, where
    adding the ends of Wilson's intervals (`mean_of_estimates`) covers it in 86 %; of a small task that is nearly all
    right beside large ones it covers more, below 20 items at worst 88 % (`tests/test_coverage.py`). None where a share
    has no interval. Source: Korn and Graubard 1998, Survey Methodology
    24:193, on the number of items. Raises ValueError for no shares.
    """
    k = len(shares)
    if not k:
        raise ValueError("a mean needs at least one share")
    m = math.fsum(one.value for one, _ in shares) / k
    if not all(one.has_interval for one, _ in shares):
        return Estimate(m, None, None, k, f"{basis}, one of them without an interval")
    parts = []
    for one, error in shares:
        items = _items_of(one, error)
        q = (items * one.value + _ADDED_ITEMS * m) / (items + _ADDED_ITEMS)
        parts.append((q * (1 - q) / items, items, one.freedom))
    total = math.fsum(variance for variance, *_ in parts)
    spread = math.fsum((variance / total) ** 2 / freedom for variance, _, freedom in parts) if total else 0.0
    freedom = 1 / spread if spread else math.inf
    among = k * k * m * (1 - m) / total if total else k * k / math.fsum(1 / items for _, items, _ in parts)
    low, high = wilson_ends(m, among, t_quantile(freedom))
    return Estimate(m, low, high, k, basis, freedom=freedom)


def _items_of(share: Estimate, error: float | None) -> float:
    """As many items as a share's interval is worth."""
    p = share.value
    if error and 0 < p < 1:
        return items_worth(p, error)
    ends = (share.low or 0.0, 1.0 if share.high is None else share.high)
    # Wilson's equation (p - e)² = t² e (1 - e) / n, solved for n at the end that is further off
    far = max(ends, key=lambda end: abs(p - end))
    inside = min(max(far, 1e-9), 1 - 1e-9)
    return t_quantile(share.freedom) ** 2 * inside * (1 - inside) / max(abs(p - inside), 1e-9) ** 2


_Distances = tuple[float, float, float]
"""How far an interval reaches below and above its value, and its degrees of freedom."""


def _distances(value: float, low: float | None, high: float | None, freedom: float) -> _Distances | None:
    return None if low is None or high is None else (value - low, high - value, freedom)


def _added(parts: Sequence[_Distances]) -> _Distances:
    """Of a sum of independent estimates; see `mean_of_estimates`."""
    quantiles = [t_quantile(freedom) for *_, freedom in parts]
    belows = [below / t for (below, _, _), t in zip(parts, quantiles, strict=True)]
    aboves = [above / t for (_, above, _), t in zip(parts, quantiles, strict=True)]
    # The wider end, so that an interval that is cut at a limit does not count as certain.
    errors = [max(below, above) for below, above in zip(belows, aboves, strict=True)]
    total = math.hypot(*errors)
    rows = zip(errors, parts, strict=True)
    spread = math.fsum((error / total) ** 4 / part[2] for error, part in rows) if total else 0.0
    freedom = 1 / spread if spread else math.inf
    t = t_quantile(freedom)
    return t * math.hypot(*belows), t * math.hypot(*aboves), freedom


def ratio_of_means(a: Sequence[float], b: Sequence[float], unit: str = "repeats") -> Contrast:
    """mean(a) / mean(b) of two independent samples of positive values, with Welch's t interval on the log ratio.

    se² = s_a²/(n_a m_a²) + s_b²/(n_b m_b²), the delta method, with Welch and Satterthwaite's degrees of freedom. Chosen
    over Fieller because its interval is always finite and positive and because a/b and b/a agree; at the relative
    standard errors of repeated measurements (below 0.1) the two differ by less than the interval's own error.
    p tests ratio = 1; `unit` names what was repeated. None with fewer than two values on a side, and where neither side
    has any spread (see `_without_spread`). With 3 or 5 on each it covers the truth 93 to 97 % of the time, with 3
    beside 20 at worst 92.4 %. Source: Welch 1947, Biometrika 34:28; Casella and Berger 2002, section 5.5.4. Raises
    ValueError for values that are not positive.
    """
    if not a or not b or min(*a, *b) <= 0:
        raise ValueError("a ratio of means needs positive values on both sides")
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    ratio = mean_a / mean_b
    if min(len(a), len(b)) < 2:
        return Contrast(ratio, None, None, None, "a single value on a side, no interval")
    parts = [(standard_error(a) / mean_a, len(a)), (standard_error(b) / mean_b, len(b))]
    if not any(error for error, _ in parts):
        return _without_spread(ratio, len(a), len(b), unit)
    log_ratio = math.log(ratio)
    half, p_value, freedom = _welch(log_ratio, parts)
    basis = f"Welch interval of the log ratio over {len(a)} and {len(b)} {unit}"
    return Contrast(ratio, math.exp(log_ratio - half), math.exp(log_ratio + half), p_value, basis, freedom)


def difference_of_means(a: Sequence[float], b: Sequence[float], unit: str) -> Contrast:
    """mean(a) - mean(b) of two independent samples with Welch's t interval; None as in `ratio_of_means`.

    Source: Welch 1947, Biometrika 34:28. Raises ValueError for an empty side.
    """
    if not a or not b:
        raise ValueError("a difference of means needs values on both sides")
    difference = math.fsum(a) / len(a) - math.fsum(b) / len(b)
    if min(len(a), len(b)) < 2:
        return Contrast(difference, None, None, None, "a single value on a side, no interval")
    parts = [(standard_error(a), len(a)), (standard_error(b), len(b))]
    if not any(error for error, _ in parts):
        return _without_spread(difference, len(a), len(b), unit)
    half, p_value, freedom = _welch(difference, parts)
    basis = f"Welch interval over {len(a)} and {len(b)} {unit}"
    return Contrast(difference, difference - half, difference + half, p_value, basis, freedom)


def _without_spread(value: float, n_a: int, n_b: int, unit: str) -> Contrast:
    """Of two samples whose values agree to the last digit on each side: nothing is known of the spread, as in a mean.

    A t statistic would be infinite with as few as two of them.
    """
    return Contrast(value, None, None, None, f"{n_a} and {n_b} {unit} {NO_SPREAD}, no interval can be told")


def _welch(difference: float, parts: list[tuple[float, int]]) -> tuple[float, float, float]:
    """Half the 95 % interval, the two-sided p and the degrees of freedom; `parts` are (standard error, n) of each.

    At least one of the standard errors is above 0.
    """
    variance = math.fsum(error**2 for error, _ in parts)
    # As shares of the variance, so that tiny errors do not underflow when raised to the fourth power.
    freedom = 1 / math.fsum((error**2 / variance) ** 2 / (n - 1) for error, n in parts)
    error = math.sqrt(variance)
    return t_quantile(freedom) * error, t_test(difference / error, freedom), freedom


def difference_of_estimates(a: Estimate, b: Estimate) -> Contrast:
    """The difference a - b of two independent estimates from their intervals alone (other items on each side).

    low = d - sqrt((a - low_a)² + (high_b - b)²), high likewise, with degrees of freedom as in `mean_of_estimates`; p
    tests 0 by inverting the interval. Source: Newcombe 1998, Statistics in Medicine 17:873, method 10; Zou and Donner
    2008.
    """
    difference = a.value - b.value
    one = _distances(a.value, a.low, a.high, a.freedom)
    other = _distances(b.value, b.low, b.high, b.freedom)
    if one is None or other is None:
        return Contrast(difference, None, None, None, "an interval is missing on a side")
    below, above, freedom = _added([one, (other[1], other[0], other[2])])
    p_value = inverted_p(difference, below, above, freedom)
    basis = "unpaired, from both intervals"
    return Contrast(difference, difference - below, difference + above, p_value, basis, freedom)


def mean_of_contrasts(contrasts: Sequence[Contrast], basis: str) -> Contrast:
    """The unweighted mean of independent differences; variances add as in `mean_of_estimates`, p as the interval's."""
    as_estimates = [Estimate(c.value, c.low, c.high, 1, "", freedom=c.freedom) for c in contrasts]
    mean = mean_of_estimates(as_estimates, basis)
    if mean.low is None or mean.high is None:
        return Contrast(mean.value, None, None, None, mean.basis)
    p_value = inverted_p(mean.value, mean.value - mean.low, mean.high - mean.value, mean.freedom)
    return Contrast(mean.value, mean.low, mean.high, p_value, basis, mean.freedom)


def inverted_p(difference: float, below: float, above: float, freedom: float = math.inf) -> float:
    """Two-sided p of a difference whose 95 % interval reaches `below` and `above` it; 0.05 where it ends at 0."""
    towards_zero = below if difference > 0 else above
    if difference == 0 or towards_zero <= 0:
        return 1.0 if difference == 0 else 0.0
    return t_test(t_quantile(freedom) * difference / towards_zero, freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false finding among them, in the order given.

    The i-th smallest of m is multiplied by m - i + 1 and raised to the largest before it. Source: Holm 1979,
    Scandinavian J. Statistics 6:65.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - position)))
        adjusted[index] = largest
    return adjusted


def ranks_with_ties(estimates: Sequence[Estimate], higher_is_better: bool) -> list[tuple[int, int]]:
    """The rank range of each of N estimates: (1 + number certainly better, N - number certainly worse).

    One is certainly better than another where their intervals do not touch. An estimate without an interval is never
    certainly better or worse. So (1, 1) stands apart, and those whose intervals overlap share ranks (2-4). Source:
    Goldstein and Spiegelhalter 1996, J. Royal Statistical Society A 159:385, on league tables; Mogstad et al. 2024,
    Review of Economic Studies 91:476, on ranges of ranks. Not corrected for the number of pairs.
    """
    def certainly_above(a: Estimate, b: Estimate) -> bool:
        return a.low is not None and b.high is not None and a.has_interval and b.has_interval and a.low > b.high

    ranges = []
    for one in estimates:
        above = sum(certainly_above(other, one) for other in estimates)
        below = sum(certainly_above(one, other) for other in estimates)
        better, worse = (above, below) if higher_is_better else (below, above)
        ranges.append((1 + better, len(estimates) - worse))
    return ranges


def percentiles(values: Sequence[float] | NDArray[np.float64], percents: Sequence[float]) -> list[float]:
    """The `percents` percentiles, each by linear interpolation between order statistics at 1 + (n - 1) * percent/100.

    Source: Hyndman and Fan 1996, type 7, which vLLM's own benchmark uses too. Raises ValueError for no values.
    """
    import numpy as np

    if len(values) == 0:
        raise ValueError("a percentile needs at least one value")
    found: list[float] = np.percentile(np.asarray(values, dtype=float), percents, method="linear").tolist()
    return found
