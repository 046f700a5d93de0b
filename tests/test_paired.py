"""Paired differences: figures by hand, laws, references of scipy, and what the power table says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_1samp, ttest_rel

from harness import paired
from harness.items import subtask_mean
from harness.paired import MIN_PAIRED_ITEMS, MOST_BOOTSTRAPPED, mcnemar, paired_difference
from harness.stats import Contrast, t_quantile


def right_or_wrong(only_a: int, only_b: int, n: int) -> Contrast:
    same = [1.0] * (n - only_a - only_b)
    return paired_difference([1.0] * only_a + [0.0] * only_b + same, [0.0] * only_a + [1.0] * only_b + same)


class TestMcNemar:
    def test_by_hand(self) -> None:
        # 5 items favour a and 0 favour b: 2 P(X < 0) + P(X = 0) = 0.5^5, half the exact p.
        assert mcnemar(5, 0) == pytest.approx(0.03125)
        # 8 against 2: (2 (1 + 10) + 45) / 1024.
        assert mcnemar(8, 2) == pytest.approx(67 / 1024)
        assert mcnemar(3, 3) == mcnemar(0, 0) == 1.0

    def test_published_example(self) -> None:
        """Fagerland, Lydersen and Laake 2013: airways before and after a transplantation; exact 0.070, mid-p 0.039."""
        assert mcnemar(1, 7) == pytest.approx(0.0391, abs=5e-5)

    @given(st.integers(0, 60), st.integers(0, 60))
    def test_between_half_of_the_exact_p_and_the_exact_p(self, only_a: int, only_b: int) -> None:
        exact = min(1.0, 2 * float(binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))
        assert exact / 2 - 1e-12 <= mcnemar(only_a, only_b) <= min(1.0, exact) + 1e-12
        assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)


class TestRightOrWrong:
    def test_by_hand(self) -> None:
        contrast = right_or_wrong(8, 2, 100)
        # Bonett and Price: (9/102 - 3/102) ± 1.959964 * sqrt((12/102 - (6/102)²) / 102).
        half = 1.959964 * math.sqrt((12 / 102 - (6 / 102) ** 2) / 102)
        assert contrast.value == pytest.approx(0.06)
        assert (contrast.low, contrast.high) == pytest.approx((6 / 102 - half, 6 / 102 + half))
        assert contrast.p_value == pytest.approx(67 / 1024)
        assert contrast.basis == "paired on 100 items, McNemar's mid-p test"

    @given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=10, max_size=40))
    def test_swapping_sides_swaps_signs(self, pairs: list[tuple[float, float]]) -> None:
        a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        one, other = paired_difference(a, b), paired_difference(b, a)
        assert one.low is not None and one.high is not None and other.high is not None
        assert one.low <= one.value <= one.high
        assert (one.value, one.p_value) == (-other.value, other.p_value)
        assert one.low == pytest.approx(-other.high)

    @pytest.mark.parametrize("n", [1, 5, 9])
    def test_fewer_than_ten_items_have_no_verdict(self, n: int) -> None:
        contrast = right_or_wrong(n, 0, n)
        assert (contrast.value, contrast.low, contrast.high, contrast.p_value) == (1.0, None, None, None)
        assert contrast.basis.endswith("too few for an interval")
        in_subtasks = paired_difference([1.0] * n, [0.0] * n, [str(index) for index in range(n)], "subtasks")
        assert (in_subtasks.value, in_subtasks.low) == (1.0, None)

    def test_why_ten(self) -> None:
        """Equal models: a verdict needs 5 that differ, and the test keeps its 5 % where up to half of the items do."""
        assert not any(_found(paired._paired_proportions(n, 0, 9)) for n in range(5))
        assert _found(paired._paired_proportions(5, 0, 9)) and MIN_PAIRED_ITEMS / 2 == 5
        for n in (MIN_PAIRED_ITEMS, 16, 40):
            assert max(power(n, 0.0, share)[0] for share in (0.1, 0.3, 0.5)) <= 0.051
        assert 0.07 < power(16, 0.0, 1.0)[0] < 0.08

    def test_unequal_lists_are_refused(self) -> None:
        for a, b, subtasks in (([1.0], [1.0, 0.0], []), ([], [], []), ([1.0], [0.0], ["x", "y"])):
            with pytest.raises(ValueError, match="same items"):
                paired_difference(a, b, subtasks)


def power(n: int, gap: float, disagreeing: float) -> tuple[float, float]:
    """The chance that a gap is found on n items: of a verdict as `compare` gives it, and of the best unbiased test.

    Summed over how many items disagree and how many of those favour a; none of it is simulated.
    """
    share, found, bound = (disagreeing + gap) / (2 * disagreeing), 0.0, 0.0
    weights = binom.pmf(np.arange(n + 1), n, disagreeing)
    for m in np.flatnonzero(weights > 1e-7).tolist():
        only_a = np.arange(m + 1)
        under, null = binom.pmf(only_a, m, share), binom.pmf(only_a, m, 0.5)
        verdicts = [_found(paired._paired_proportions(k, m - k, n)) for k in range(m + 1)]
        found += weights[m] * float(under[verdicts].sum())
        bound += weights[m] * _best(under, null)
    return found, bound


def _found(contrast: Contrast) -> bool:
    assert contrast.low is not None and contrast.high is not None and contrast.p_value is not None
    return contrast.p_value < 0.05 and not contrast.low <= 0 <= contrast.high


def _best(under: np.ndarray, null: np.ndarray) -> float:
    """Of the two-sided binomial test that rejects from the ends inwards and draws lots at the edge (level 5 %)."""
    left, power = 0.05, 0.0
    for k in range(len(null) // 2 + 1):
        ends = sorted({k, len(null) - 1 - k})
        size = float(null[ends].sum())
        share = min(1.0, left / size)
        power += share * float(under[ends].sum())
        left -= share * size
        if left <= 0:
            break
    return power


class TestPower:
    """The table in `harness.paired`, computed exactly."""

    @pytest.mark.parametrize(
        ("disagreeing", "found", "bound"),
        [
            (0.03, 1.000, 1.000), (0.05, 0.993, 0.994), (0.08, 0.925, 0.926), (0.10, 0.855, 0.857),
            (0.15, 0.688, 0.691), (0.20, 0.563, 0.565), (0.42, 0.310, 0.310),
        ],
    )
    @pytest.mark.slow
    def test_three_points_on_a_thousand_items(self, disagreeing: float, found: float, bound: float) -> None:
        measured = power(1000, 0.03, disagreeing)
        assert measured == pytest.approx((found, bound), abs=0.0015)
        assert measured[0] > measured[1] - 0.003

    @pytest.mark.slow
    def test_where_ninety_percent_ends(self) -> None:
        found, bound = power(1000, 0.03, 0.087)
        assert 0.899 < found < 0.905 and bound < 0.906
        assert power(1170, 0.03, 0.10)[0] > 0.9 > power(1130, 0.03, 0.10)[1]

    @pytest.mark.parametrize("disagreeing", [0.01, 0.03, 0.1, 0.42])
    @pytest.mark.slow
    def test_no_difference_is_found_in_at_most_one_of_twenty(self, disagreeing: float) -> None:
        assert power(1000, 0.0, disagreeing)[0] <= 0.0505


def uniform_pairs(n: int, seed: int = 1) -> tuple[list[float], list[float]]:
    generator = np.random.default_rng(seed)
    return generator.random(n).tolist(), generator.random(n).tolist()


class TestGraded:
    def test_near_student_where_scores_are_well_behaved(self) -> None:
        generator = np.random.default_rng(1)
        b = generator.random(200)
        a = b + 0.02 + 0.05 * generator.standard_normal(200)
        contrast, reference = paired_difference(list(a), list(b)), ttest_rel(a, b)
        ends = reference.confidence_interval(0.95)
        assert contrast.basis == "paired bootstrap of t over 200 items"
        assert contrast.low == pytest.approx(float(ends.low), rel=0.1)
        assert contrast.high == pytest.approx(float(ends.high), rel=0.1)
        assert contrast.p_value is not None and contrast.p_value < 0.001

    def test_wider_than_student_where_few_and_skewed(self) -> None:
        a = [0.01, 0.02, 0.02, 0.03, 0.04, 0.05, 0.05, 0.06, 0.07, 0.9]
        contrast = paired_difference(a, [0.0] * 10)
        ends = ttest_1samp(a, 0.0).confidence_interval(0.95)
        assert contrast.low is not None and contrast.low < ends.low - 0.05

    def test_many_items_take_student(self) -> None:
        a, b = uniform_pairs(MOST_BOOTSTRAPPED + 1)
        contrast, reference = paired_difference(a, b), ttest_rel(a, b)
        assert contrast.p_value == pytest.approx(float(reference.pvalue))
        assert contrast.basis == "paired t interval over 1001 items"

    def test_the_change_to_student_is_not_seen(self) -> None:
        a, b = uniform_pairs(MOST_BOOTSTRAPPED)
        contrast, reference = paired_difference(a, b), ttest_rel(a, b)
        assert contrast.low == pytest.approx(float(reference.confidence_interval(0.95).low), abs=0.001)

    def test_the_same_on_every_call(self) -> None:
        a, b = uniform_pairs(40)
        first = paired_difference(a, b)
        paired._resamples.cache_clear()
        assert paired_difference(a, b) == first

    @given(st.integers(0, 10**6), st.integers(MIN_PAIRED_ITEMS, 40))
    def test_the_interval_and_the_p_agree(self, seed: int, n: int) -> None:
        a, b = uniform_pairs(n, seed)
        contrast, turned = paired_difference(a, b), paired_difference(b, a)
        assert contrast.low is not None and contrast.high is not None and contrast.p_value is not None
        assert (contrast.p_value < 0.05) == (not contrast.low <= 0 <= contrast.high)
        assert turned.low == pytest.approx(-contrast.high) and turned.p_value == pytest.approx(contrast.p_value)

    def test_beyond_all_resamples_p_is_extrapolated(self) -> None:
        a = [0.5 + 0.001 * index for index in range(30)]
        assert 0 < (paired_difference(a, [0.0] * 30).p_value or 0) < 1e-6

    def test_few_items_give_no_interval(self) -> None:
        contrast = paired_difference([0.5] * 9, [0.25] * 9)
        assert (contrast.value, contrast.low, contrast.p_value) == (0.25, None, None)

    def test_equal_scores_do_not_differ(self) -> None:
        scores = [0.1 * index for index in range(20)]
        contrast = paired_difference(scores, scores)
        assert (contrast.value, contrast.low, contrast.high, contrast.p_value) == (0.0, 0.0, 0.0, 1.0)

    @pytest.mark.parametrize("n", [10, 12, 1200])
    def test_the_same_difference_everywhere_is_no_certainty(self, n: int) -> None:
        contrast = paired_difference([0.5] * n, [0.25] * n)
        reference = ttest_1samp([0.25] * n + [1.0, -1.0], 0.0).confidence_interval(0.95)
        assert contrast.high == pytest.approx(0.25 + (reference.high - reference.low) / 2)
        assert contrast.low is not None and contrast.p_value is not None
        assert contrast.p_value >= 2 * 0.5**n and (contrast.p_value < 0.05) == (contrast.low > 0)
        assert "all differ by as much" in contrast.basis

    def test_last_digits_are_no_spread_and_no_difference(self) -> None:
        a, b = [0.3, 0.2] * 5, [0.2, 0.1] * 5
        assert len({x - y for x, y in zip(a, b, strict=True)}) == 2
        assert paired_difference(a, b).high == pytest.approx(paired_difference([0.1] * 10, [0.0] * 10).high)
        in_subtasks = paired_difference(a, b, [str(i // 2) for i in range(10)])
        assert in_subtasks == paired_difference(a, b)
        assert paired_difference([0.1 + 0.2] * 20, [0.3] * 20).basis.endswith("none of which differs")

    @given(st.floats(1e-3, 50.0), st.integers(MIN_PAIRED_ITEMS, 60))
    def test_no_spread_has_a_p_that_agrees_with_its_interval(self, gap: float, n: int) -> None:
        contrast = paired_difference([gap] * n, [0.0] * n)
        assert contrast.low is not None and contrast.p_value is not None and contrast.low < contrast.value
        assert (contrast.p_value < 0.05) == (contrast.low > 0)

    def test_few_that_differ_have_one_more_on_each_side(self) -> None:
        contrast = paired_difference([0.5] * 4 + [0.25] * 96, [0.25] * 100)
        reference = ttest_1samp([0.25] * 4 + [0.0] * 96 + [1.0, -1.0], 0.0)
        ends = reference.confidence_interval(0.95)
        assert contrast.high == pytest.approx(0.01 + (ends.high - ends.low) / 2)
        assert contrast.p_value is not None and contrast.p_value > 0.05
        assert "of which 4 differ" in contrast.basis


class TestSubtasks:
    NAMES = tuple(f"s{index % 6}" for index in range(60))

    def test_the_t_test_between_subtasks(self) -> None:
        a = [float(index % 6 < 4 or index % 7 == 0) for index in range(60)]
        b = [float(index % 6 < 2) for index in range(60)]
        contrast = paired_difference(a, b, self.NAMES)
        means = [np.mean([a[i] - b[i] for i in range(g, 60, 6)]) for g in range(6)]
        reference = ttest_1samp(means, 0.0)
        ends = reference.confidence_interval(0.95)
        assert contrast.p_value == pytest.approx(float(reference.pvalue))
        assert (contrast.low, contrast.high) == pytest.approx((float(ends.low), float(ends.high)))
        assert contrast.basis == "paired on 60 items, clustered in 6 subtasks"

    def test_a_difference_in_few_subtasks_is_less_certain_than_in_all(self) -> None:
        b = [0.0] * 60
        spread = [float(index < 24) for index in range(60)]
        heaped = [float(name in ("s0", "s1") or (name == "s2" and index < 24)) for index, name in enumerate(self.NAMES)]
        assert sum(spread) == sum(heaped) == 24
        assert (paired_difference(spread, b, self.NAMES).p_value or 1) < 0.001
        assert (paired_difference(heaped, b, self.NAMES).p_value or 0) > 0.05

    def test_of_subtasks_that_do_not_differ_the_items_decide(self) -> None:
        scores = [float(index % 2) for index in range(60)]
        assert paired_difference(scores, scores, self.NAMES) == paired_difference(scores, scores)

    @pytest.mark.parametrize(("subtasks", "items"), [(5, 10), (6, 30), (7, 10), (10, 20), (12, 50)])
    def test_the_same_gap_in_all_subtasks_is_no_certainty(self, subtasks: int, items: int) -> None:
        names = [f"s{g}" for g in range(subtasks) for _ in range(items)]
        a = [float(i < items // 2 + 1) for _ in range(subtasks) for i in range(items)]
        b = [float(i < items // 2) for _ in range(subtasks) for i in range(items)]
        found = paired_difference(a, b, names)
        assert found.p_value == mcnemar(subtasks, 0)
        assert found.low is not None and found.high is not None
        assert found.high - found.low > 0.5 / items

    def test_too_few_subtasks_take_the_items_as_independent(self) -> None:
        a, b = uniform_pairs(40)
        assert paired_difference(a, b, ["x", "y"] * 20) == paired_difference(a, b)

    def test_subtasks_of_the_same_weight(self) -> None:
        names = ["s0"] * 20 + ["s1"] * 5 + ["s2"] * 5 + ["s3"] * 5 + ["s4"] * 5
        a, b = uniform_pairs(40)
        contrast = paired_difference(a, b, names, "subtasks")
        over = subtask_mean(
            [[x - y for x, y, name in zip(a, b, names, strict=True) if name == f"s{g}"] for g in range(5)], "subtasks"
        )
        assert over is not None and contrast.value == over.value
        assert contrast.high == pytest.approx(over.value + t_quantile(4) * over.error)

    def test_few_subtasks_of_the_same_weight_add_their_variances(self) -> None:
        a, b = uniform_pairs(60)
        contrast = paired_difference(a, b, ["x"] * 20 + ["y"] * 40, "subtasks")
        parts = [paired_difference(a[:20], b[:20]), paired_difference(a[20:], b[20:])]
        assert contrast.value == pytest.approx((parts[0].value + parts[1].value) / 2)
        assert contrast.basis == "paired, mean of 2 subtasks as they are"
