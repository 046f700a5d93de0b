"""Intervals, contrasts, ranks: figures computed by hand or from published tables, laws, and coverage."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from harness.stats import (
    Contrast,
    Estimate,
    counted,
    difference_of_estimates,
    difference_of_means,
    holm,
    mean_estimate,
    mean_of_contrasts,
    mean_of_estimates,
    mean_of_shares,
    percentiles,
    ranks_with_ties,
    ratio_of_means,
    reported_estimate,
    standard_error,
    wilson,
    wilson_ends,
)

VALUES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=12)


def between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 3, "by hand")


class TestMean:
    def test_three_values(self) -> None:
        # s = 1, standard error = 1 / sqrt(3), t(0.975, 2) = 4.302653.
        estimate = mean_estimate([1.0, 2.0, 3.0], "processes")
        assert estimate.value == 2.0
        assert estimate.high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-6)
        assert estimate.low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-6)
        assert (estimate.n, estimate.basis) == (3, "t interval over 3 processes")
        assert estimate.values == (1.0, 2.0, 3.0)

    def test_one_value_has_no_interval(self) -> None:
        estimate = mean_estimate([5.0], "processes")
        assert (estimate.value, estimate.low, estimate.high, estimate.n) == (5.0, None, None, 1)
        assert not estimate.has_interval

    def test_no_value_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            mean_estimate([], "processes")

    def test_limits_cut_the_interval(self) -> None:
        estimate = mean_estimate([0.1, 3.0], "processes", lowest=0.0, highest=2.0)
        assert (estimate.low, estimate.high) == (0.0, 2.0)

    @given(st.floats(-1e9, 1e9), st.integers(2, 9))
    def test_values_that_are_all_alike_tell_no_interval(self, value: float, n: int) -> None:
        estimate = mean_estimate([value] * n, "processes")
        assert (estimate.value, estimate.low, estimate.high, estimate.n) == (value, None, None, n)
        assert estimate.basis == f"{n} processes that do not differ at all, no interval can be told"

    @given(VALUES)
    def test_the_interval_holds_the_value(self, values: list[float]) -> None:
        estimate = mean_estimate(values, "processes", lowest=0.0)
        assert min(values) <= estimate.value <= max(values)
        if estimate.low is not None and estimate.high is not None:
            assert 0 <= estimate.low <= estimate.value <= estimate.high

    def test_sources_are_kept_once(self) -> None:
        estimate = counted(3.0).from_sources([Path("a"), Path("b"), Path("a")])
        assert estimate.sources == (Path("a"), Path("b"))
        assert (estimate.low, estimate.high) == (3.0, 3.0)

    def test_standard_error(self) -> None:
        assert standard_error([2.0, 4.0]) == pytest.approx(1.0)
        assert standard_error([0.1, 0.1, 0.1]) == 0.0


class TestProportion:
    @pytest.mark.parametrize(
        ("successes", "n", "low", "high"),
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    )
    def test_published_examples(self, successes: int, n: int, low: float, high: float) -> None:
        """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
        estimate = wilson(successes, n)
        assert estimate.low == pytest.approx(low, abs=5e-5)
        assert estimate.high == pytest.approx(high, abs=5e-5)

    def test_impossible_counts_are_refused(self) -> None:
        for successes, n in ((0, 0), (3, 2), (-1, 4)):
            with pytest.raises(ValueError, match="no proportion"):
                wilson(successes, n)

    @given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_the_interval_holds_the_value_and_has_width(self, pair: tuple[int, int]) -> None:
        estimate = wilson(*pair)
        assert estimate.low is not None and estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.low < estimate.high

    def test_reported_scores(self) -> None:
        assert reported_estimate(10.0, 1.0, 50).high == pytest.approx(11.959964)
        assert reported_estimate(10.0, None, 50).low is None

    @given(st.floats(0.001, 0.999), st.integers(1, 10_000))
    def test_a_reported_share_has_the_interval_of_as_many_items(self, share: float, n: int) -> None:
        stderr = (share * (1 - share) / n) ** 0.5
        found = reported_estimate(share, stderr, 0, is_share=True)
        assert (found.low, found.high) == pytest.approx(wilson_ends(share, n, 1.959964), abs=1e-6)
        assert found.low is not None and found.high is not None and 0 <= found.low <= share <= found.high <= 1

    def test_a_reported_error_beyond_reason_stays_within_a_share(self) -> None:
        for share in (0.0, 0.5, 1.0):
            found = reported_estimate(share, 3.0, 0, is_share=True)
            assert found.low is not None and found.high is not None and 0 <= found.low <= share <= found.high <= 1

    def test_a_reported_error_of_0_is_no_certainty(self) -> None:
        for value, same in ((0.0, wilson(0, 50)), (1.0, wilson(50, 50))):
            found = reported_estimate(value, 0.0, 50)
            assert (found.value, found.low, found.high) == (value, same.low, same.high)
            assert found.basis.startswith("Wilson")
        for value, n in ((0.0, 0), (0.5, 50), (10.0, 50)):
            assert reported_estimate(value, 0.0, n).low is None
        few_right = reported_estimate(0.08, (0.08 * 0.92 / 49) ** 0.5, 50)
        assert (difference_of_estimates(reported_estimate(0.0, 0.0, 50), few_right).p_value or 0) > 0.05


class TestMeanOfShares:
    @given(st.floats(0.01, 0.99), st.integers(2, 500))
    def test_one_share_keeps_its_own_interval(self, share: float, n: int) -> None:
        one = replace(wilson(n, n), value=share, low=wilson_ends(share, n, 1.959964)[0],
                      high=wilson_ends(share, n, 1.959964)[1])
        mean = mean_of_shares([(one, (share * (1 - share) / n) ** 0.5)], "one")
        assert (mean.low, mean.high) == pytest.approx((one.low, one.high), abs=1e-6)
        told = mean_of_shares([(one, None)], "one")
        assert (told.low, told.high) == pytest.approx((one.low, one.high), abs=1e-4)

    @given(st.lists(st.tuples(st.integers(0, 50), st.integers(50, 60)), min_size=1, max_size=8))
    def test_it_stays_a_share_and_holds_its_mean(self, pairs: list[tuple[int, int]]) -> None:
        mean = mean_of_shares([(wilson(right, n), None) for right, n in pairs], "some")
        assert mean.low is not None and mean.high is not None
        assert 0 <= mean.low <= mean.value <= mean.high <= 1 and mean.low < mean.high

    def test_tasks_that_are_all_right_are_worth_their_items_together(self) -> None:
        mean = mean_of_shares([(wilson(50, 50), None)] * 4, "four")
        assert (mean.low, mean.high) == pytest.approx((wilson(200, 200).low, 1.0))

    def test_one_without_an_interval_leaves_none(self) -> None:
        mean = mean_of_shares([(wilson(5, 9), None), (mean_estimate([0.5], "trainings"), None)], "two")
        assert mean.low is None and mean.value == pytest.approx((5 / 9 + 0.5) / 2)

    def test_no_shares(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            mean_of_shares([], "none")


class TestMeanOfEstimates:
    def test_symmetric_intervals_add_their_variances(self) -> None:
        mean = mean_of_estimates([between(0.2, 0.8), between(0.3, 1.1)], "two")
        assert mean.value == pytest.approx(0.6)
        assert mean.low == pytest.approx(0.6 - math.hypot(0.3, 0.4) / 2)
        assert mean.high == pytest.approx(0.6 + math.hypot(0.3, 0.4) / 2)

    def test_t_intervals_add_with_the_degrees_of_both(self) -> None:
        # Equal errors 1 / sqrt 3 with 2 degrees each: the error of the mean is 1 / sqrt 6, with 4 degrees.
        parts = [mean_estimate(values, "runs") for values in ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])]
        mean = mean_of_estimates(parts, "two")
        assert (mean.value, mean.freedom) == (2.5, pytest.approx(4))
        assert mean.high == pytest.approx(2.5 + 2.776445 / math.sqrt(6), rel=1e-6)

    def test_one_estimate_keeps_its_interval(self) -> None:
        one = wilson(20, 20)
        mean = mean_of_estimates([one], "one")
        assert (mean.value, mean.low, mean.high) == pytest.approx((one.value, one.low, one.high))

    def test_a_missing_interval_leaves_none(self) -> None:
        mean = mean_of_estimates([between(0.2, 0.8), mean_estimate([0.5], "trainings")], "two")
        assert (mean.value, mean.low, mean.high) == (0.5, None, None)


class TestRatio:
    def test_equal_relative_errors(self) -> None:
        # Relative standard errors r = 1 / (10 sqrt 3) on both sides, 4 degrees of freedom: t = 2.776445.
        contrast = ratio_of_means([18.0, 20.0, 22.0], [9.0, 10.0, 11.0])
        half = 2.776445 * math.sqrt(2) / (10 * math.sqrt(3))
        assert contrast.value == pytest.approx(2.0)
        assert contrast.low == pytest.approx(2 * math.exp(-half), rel=1e-6)
        assert contrast.high == pytest.approx(2 * math.exp(half), rel=1e-6)
        assert contrast.p_value is not None and contrast.p_value < 0.01

    @given(VALUES, VALUES)
    def test_the_inverse_is_the_inverse(self, a: list[float], b: list[float]) -> None:
        one, other = ratio_of_means(a, b), ratio_of_means(b, a)
        assert one.value == pytest.approx(1 / other.value)
        if one.low is None:
            alike = len(set(a)) == len(set(b)) == 1 and math.comb(len(a) + len(b), len(a)) <= 40
            assert (min(len(a), len(b)) == 1 or alike) and one.p_value is None
        else:
            assert other.high is not None and one.low > 0
            assert math.log(one.low) == pytest.approx(-math.log(other.high), abs=1e-6)

    def test_runs_that_agree_to_the_last_digit_say_nothing_of_their_spread(self) -> None:
        for n in (2, 3, 5):
            for a in (2.0, 1.0):
                contrast = ratio_of_means([a] * n, [1.0] * n)
                assert (contrast.value, contrast.low, contrast.high, contrast.p_value) == (a, None, None, None)
                assert difference_of_means([a] * n, [1.0] * n, "trainings").p_value is None
        assert ratio_of_means([2.0, 2.0], [1.0, 1.1]).p_value is not None

    @pytest.mark.parametrize("b", [[], [0.0, 1.0], [-1.0, 1.0]])
    def test_values_that_are_not_positive_are_refused(self, b: list[float]) -> None:
        with pytest.raises(ValueError, match="positive"):
            ratio_of_means([1.0, 2.0], b)


class TestDifference:
    def test_welch_agrees_with_scipy(self) -> None:
        a, b = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0]
        contrast = difference_of_means(a, b, "trainings")
        reference = ttest_ind(a, b, equal_var=False)
        ends = reference.confidence_interval(0.95)
        assert contrast.value == -2.0
        assert contrast.p_value == pytest.approx(float(reference.pvalue))
        assert (contrast.low, contrast.high) == pytest.approx((float(ends.low), float(ends.high)))
        assert contrast.basis == "Welch interval over 3 and 3 trainings"

    def test_one_training_gives_no_interval(self) -> None:
        contrast = difference_of_means([0.5], [0.4, 0.6], "trainings")
        assert (contrast.low, contrast.high, contrast.p_value) == (None, None, None)

    @pytest.mark.parametrize(
        ("a", "b", "low", "high"), [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)]
    )
    def test_newcombe(self, a: tuple[int, int], b: tuple[int, int], low: float, high: float) -> None:
        """Newcombe 1998, Statistics in Medicine 17:873, table II, method 10."""
        contrast = difference_of_estimates(wilson(*a), wilson(*b))
        assert (contrast.low, contrast.high) == pytest.approx((low, high), abs=5e-5)
        assert contrast.p_value is not None and contrast.p_value < 0.05

    def test_an_interval_that_ends_at_zero_has_p_of_a_twentieth(self) -> None:
        contrast = difference_of_estimates(between(1.0, 3.0), counted(1.0))
        assert (contrast.low, contrast.p_value) == pytest.approx((0.0, 0.05))

    def test_a_missing_interval_gives_none(self) -> None:
        contrast = difference_of_estimates(mean_estimate([1.0], "items"), wilson(1, 2))
        assert (contrast.value, contrast.low, contrast.p_value) == (0.5, None, None)

    def test_few_degrees_widen_a_difference_and_its_p(self) -> None:
        a = mean_estimate([1.0, 2.0, 3.0], "runs")
        contrast = difference_of_estimates(a, counted(0.0))
        reference = ttest_1samp([1.0, 2.0, 3.0], 0.0)
        assert (contrast.low, contrast.high) == pytest.approx((a.low, a.high))
        assert contrast.p_value == pytest.approx(float(reference.pvalue)) and contrast.freedom == pytest.approx(2)

    def test_mean_of_differences(self) -> None:
        parts = [Contrast(0.4, 0.1, 0.7, 0.01, ""), Contrast(0.0, -0.4, 0.4, 1.0, "")]
        mean = mean_of_contrasts(parts, "two")
        assert mean.value == pytest.approx(0.2)
        assert mean.low == pytest.approx(0.2 - math.hypot(0.3, 0.4) / 2)
        assert mean.p_value is not None and mean.p_value > 0.05
        assert mean_of_contrasts([replace(parts[0], low=None)], "one").p_value is None


class TestHolm:
    def test_by_hand(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([]) == []

    @given(st.lists(st.floats(0, 1), max_size=10))
    def test_never_below_the_p_value_nor_above_bonferroni(self, p_values: list[float]) -> None:
        largest = max(p_values, default=0.0) * len(p_values)
        for p_value, adjusted in zip(p_values, holm(p_values), strict=True):
            assert p_value <= adjusted <= min(1.0, largest)

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
    def test_keeps_the_order_and_multiplies_the_smallest_by_their_number(self, p_values: list[float]) -> None:
        adjusted = holm(p_values)
        assert min(adjusted) == min(1.0, min(p_values) * len(p_values))
        order = sorted(range(len(p_values)), key=p_values.__getitem__)
        assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(order))


INTERVALS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), min_size=1, max_size=9).map(
    lambda pairs: [between(low, low + width) for low, width in pairs]
)


class TestRanks:
    def test_overlapping_intervals_share_a_range(self) -> None:
        estimates = [between(10, 12), between(5, 7), between(6, 8), between(7.5, 9), between(1, 2)]
        assert ranks_with_ties(estimates, True) == [(1, 1), (3, 4), (2, 4), (2, 3), (5, 5)]
        assert ranks_with_ties(estimates, False) == [(5, 5), (2, 3), (2, 4), (3, 4), (1, 1)]

    def test_touching_intervals_and_equal_counts_are_ties(self) -> None:
        assert ranks_with_ties([between(1, 2), between(2, 3)], True) == [(1, 2), (1, 2)]
        assert ranks_with_ties([counted(5), counted(5), counted(4)], True) == [(1, 2), (1, 2), (3, 3)]

    def test_without_an_interval_nothing_is_certain(self) -> None:
        estimates = [mean_estimate([100.0], "processes"), between(1, 2), between(3, 4)]
        assert ranks_with_ties(estimates, True) == [(1, 3), (2, 3), (1, 2)]

    @given(INTERVALS, st.integers(), st.booleans())
    def test_stable_under_permutation(self, estimates: list[Estimate], seed: int, higher: bool) -> None:
        order = list(range(len(estimates)))
        random.Random(seed).shuffle(order)
        shuffled = ranks_with_ties([estimates[index] for index in order], higher)
        ranks = ranks_with_ties(estimates, higher)
        assert shuffled == [ranks[index] for index in order]

    @given(INTERVALS, st.booleans())
    def test_what_overlaps_shares_a_rank_and_what_does_not_has_ranges_in_order(
        self, estimates: list[Estimate], higher: bool
    ) -> None:
        ranges = ranks_with_ties(estimates, higher)
        for (one, ranks), (other, others) in combinations(zip(estimates, ranges, strict=True), 2):
            assert one.low is not None and one.high is not None and other.low is not None and other.high is not None
            if one.low <= other.high and other.low <= one.high:
                assert max(ranks[0], others[0]) <= min(ranks[1], others[1])
            else:
                better, worse = (ranks, others) if (one.value > other.value) == higher else (others, ranks)
                assert better[0] < worse[0] and better[1] < worse[1]

    @given(INTERVALS, st.booleans(), st.booleans())
    def test_one_far_away_moves_all_others_by_a_rank_or_none(
        self, estimates: list[Estimate], higher: bool, far_above: bool
    ) -> None:
        far = between(1e6, 1e6 + 1) if far_above else between(-1e6, -1e6 + 1)
        before = ranks_with_ties(estimates, higher)
        *others, last = ranks_with_ties([*estimates, far], higher)
        if far_above == higher:
            assert last == (1, 1) and others == [(low + 1, high + 1) for low, high in before]
        else:
            assert last == (len(estimates) + 1,) * 2 and others == before

    @given(INTERVALS, st.booleans())
    def test_every_range_holds_the_rank_of_the_value(self, estimates: list[Estimate], higher: bool) -> None:
        sign = -1 if higher else 1
        for one, (low, high) in zip(estimates, ranks_with_ties(estimates, higher), strict=True):
            above = sum(sign * other.value < sign * one.value for other in estimates)
            assert 1 <= low <= above + 1 <= high <= len(estimates)


class TestPercentile:
    def test_linear_interpolation(self) -> None:
        assert percentiles([1.0, 2.0, 3.0, 4.0], [50]) == [2.5]
        assert percentiles([10.0, 20.0], [90]) == pytest.approx([19.0])
        assert percentiles([7.0], [50, 99]) == [7.0, 7.0]

    def test_no_values_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            percentiles([], [50])
