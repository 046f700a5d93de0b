"""Scores of items: what the mean is, its interval, and what subtasks change."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.items import (
    MIN_SUBTASKS,
    Weighting,
    by_subtask,
    item_error,
    item_estimate,
    mean_of_items,
    subtask_mean,
    subtask_of,
    task_estimate,
)
from harness.stats import mean_estimate, mean_of_shares, normal_quantile, standard_error, t_quantile, wilson


def items_of(*parts: list[float]) -> dict[str, float]:
    """Items by key, one list a subtask."""
    return {f"subtask{g}/{i:x}": score for g, part in enumerate(parts) for i, score in enumerate(part)}


def single(*scores: float) -> dict[str, float]:
    """Items of a task that is no group."""
    return {f"{i:x}": score for i, score in enumerate(scores)}


PARTS = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=8), min_size=MIN_SUBTASKS, max_size=9)


class TestKeys:
    def test_the_subtask_is_all_before_the_hash(self) -> None:
        assert [subtask_of(key) for key in ("ab12", "law/ab12", "org/law/ab12#2")] == ["", "law", "org/law"]
        assert by_subtask(items_of([1.0], [0.0, 1.0])) == {"subtask0": [1.0], "subtask1": [0.0, 1.0]}

    def test_items_or_subtasks_count_the_same(self) -> None:
        items = items_of([1.0], [0.0, 0.0, 0.0])
        assert (mean_of_items(items, "items"), mean_of_items(items, "subtasks")) == (0.25, 0.5)


def test_subtasks_that_are_equally_good_are_no_certainty() -> None:
    found = item_estimate(items_of(*[[1.0] * 3 + [0.0] * 7 for _ in range(7)]))
    assert found.low is not None and found.high is not None
    assert found.high - found.low > 0.15
    assert "as if the items were independent" in found.basis


def test_graded_subtasks_of_the_same_mean_are_no_certainty() -> None:
    items = items_of(*[[0.2, 0.8, 0.5]] * 5)
    found, alone = item_estimate(items), item_estimate(single(*[0.2, 0.8, 0.5] * 5))
    assert (found.low, found.high) == (alone.low, alone.high) and found.low is not None and found.low < 0.4
    assert found.basis == (
        "t interval over 15 items clustered in 5 subtasks, which do not differ: as if the items were independent"
    )
    assert item_estimate(items_of(*[[0.5]] * 6)).low is None


@pytest.mark.parametrize("weighting", ["items", "subtasks"])
def test_the_error_is_from_the_same_spread_as_the_interval(weighting: Weighting) -> None:
    items = items_of(*[[0.0, 1.0] * 2] * 6)
    assert item_error(items, weighting) == pytest.approx(standard_error([0.0, 1.0] * 12))
    assert item_error(items_of(*[[1.0] * 4] * 6), weighting) is None


def test_subtasks_that_differ_by_rounding_do_not_differ() -> None:
    over = subtask_mean([[0.1 + 0.2, -0.3], [0.0, 0.0]] * 3)
    assert over is not None and over.error == 0.0


def test_the_interval_of_a_reported_share_ends_at_its_limits() -> None:
    def ends(value: float, *, higher_is_better: bool = True) -> tuple[float | None, float | None]:
        found = task_estimate({}, value, 0.01, 100, higher_is_better=higher_is_better)
        assert found is not None and found[1] == "reported"
        return found[0].low, found[0].high

    half = 0.01 * normal_quantile()
    low, high = ends(0.99)
    assert low is not None and high is not None and low < 0.99 - half and 0.99 < high < 1
    assert list(ends(0.01)) == pytest.approx([1 - high, 1 - low])
    # 99 of 100 and bits a byte are no shares
    assert ends(99.0) == (99.0 - half, 99.0 + half)
    assert ends(0.99, higher_is_better=False) == (0.99 - half, 0.99 + half)


class TestWithoutSubtasks:
    def test_right_or_wrong_take_wilson_and_others_take_t(self) -> None:
        assert item_estimate(single(1.0, 0.0, 1.0, 1.0)).basis == "Wilson interval over 4 items"
        graded = item_estimate(single(0.5, 0.25, 1.0))
        assert graded.basis == "t interval over 3 items"
        assert graded.values == () and graded.high == 1.0

    def test_scores_beyond_1_are_not_cut(self) -> None:
        assert (item_estimate(single(0.0, 40.0, 2.0)).low or 0) < 0


class TestSubtasks:
    def test_equal_sizes_give_the_error_of_liang_and_zeger(self) -> None:
        # Means 0, 1/4, 1/2, 3/4, 1: s = sqrt(10) / 8 between subtasks.
        over = subtask_mean([[mean - 0.1, mean + 0.1] for mean in (0.0, 0.25, 0.5, 0.75, 1.0)])
        assert over is not None
        assert (over.value, over.freedom, over.subtasks) == pytest.approx((0.5, 4, 5))
        assert over.error == pytest.approx(math.sqrt(10) / 8 / math.sqrt(5))

    def test_unequal_sizes_by_hand(self) -> None:
        # Five subtasks of 1, 1, 1, 1 and 4 items; all wrong but the last, which is right.
        over = subtask_mean([[0.0]] * 4 + [[1.0] * 4])
        assert over is not None and over.value == 0.5
        # Weights 1/8 and 1/2: 4 (1/8 * 1/2)^2 / (7/8) + (1/2 * 1/2)^2 / (1/2).
        assert over.error**2 == pytest.approx(4 * (1 / 16) ** 2 * 8 / 7 + (1 / 4) ** 2 * 2)
        # a = 1/56 and 1/2; nu = 1 / (5/16 + (4/56 + 1/2)^2 - 4/56^2 - 1/4).
        assert over.freedom == pytest.approx(1 / (5 / 16 + (32 / 56) ** 2 - 4 / 56**2 - 1 / 4))

    @given(PARTS)
    def test_degrees_lie_between_1_and_one_less_than_subtasks(self, parts: list[list[float]]) -> None:
        over = subtask_mean(parts)
        assert over is not None and 1 - 1e-9 <= over.freedom <= len(parts) - 1 + 1e-9

    @given(PARTS)
    def test_the_mean_of_subtasks_has_the_t_interval_of_their_means(self, parts: list[list[float]]) -> None:
        over = subtask_mean(parts, "subtasks")
        plain = mean_estimate([math.fsum(part) / len(part) for part in parts], "subtasks")
        assert over is not None
        if plain.high is None:
            assert over.error == 0
            return
        assert over.value + t_quantile(over.freedom) * over.error == pytest.approx(plain.high, abs=1e-9)

    def test_right_or_wrong_items_stay_within_0_and_1(self) -> None:
        estimate = item_estimate(items_of(*[[1.0] * 9 + [0.0]] + [[1.0] * 10] * 7))
        assert estimate.low is not None and estimate.high is not None
        assert 0.9 < estimate.low < estimate.value < estimate.high <= 1
        assert estimate.basis == "Wilson interval over 80 items clustered in 8 subtasks"

    def test_all_right_keeps_the_width_of_as_many_items(self) -> None:
        estimate = item_estimate(items_of(*[[1.0] * 10] * 6))
        assert (estimate.value, estimate.high) == (1.0, 1.0)
        assert estimate.low is not None and estimate.low < (wilson(60, 60).low or 0)

    def test_subtasks_that_differ_widen_the_interval(self) -> None:
        alike = item_estimate(items_of(*[[1.0, 0.0] * 5] * 4, [1.0] * 4 + [0.0] * 6, [1.0] * 6 + [0.0] * 4))
        apart = item_estimate(items_of(*[[1.0] * 10] * 3, *[[0.0] * 10] * 3))
        assert alike.value == apart.value == 0.5
        assert (apart.high or 0) > 0.85 and (wilson(30, 60).high or 0) < 0.63 and (alike.high or 0) < 0.6

    def test_graded_items(self) -> None:
        parts = [[0.1 * g, 0.1 * g + 0.2] for g in range(6)]
        estimate, over = item_estimate(items_of(*parts)), subtask_mean(parts)
        assert over is not None and estimate.low is not None
        assert estimate.low == pytest.approx(0.35 - t_quantile(5) * over.error)
        assert estimate.basis == "t interval over 12 items clustered in 6 subtasks"


class TestTooFewSubtasks:
    def test_items_count_as_independent(self) -> None:
        assert subtask_mean([[1.0, 0.0]] * (MIN_SUBTASKS - 1)) is None
        estimate = item_estimate(items_of([1.0, 0.0], [1.0, 1.0]))
        assert (estimate.low, estimate.high) == (wilson(3, 4).low, wilson(3, 4).high)
        assert estimate.basis == "Wilson interval over 4 items of 2 subtasks as they are"

    def test_a_mean_of_subtasks_adds_their_variances(self) -> None:
        estimate = item_estimate(items_of([1.0] * 30 + [0.0] * 30, [1.0] * 5), "subtasks")
        assert (estimate.value, estimate.n) == (0.75, 65)
        shares = [(wilson(30, 60), standard_error([1.0] * 30 + [0.0] * 30)), (wilson(5, 5), None)]
        mean = mean_of_shares(shares, "")
        assert (estimate.low, estimate.high) == (mean.low, mean.high)
        graded = item_estimate(items_of([1.0] * 30 + [3.0] * 30, [1.5, 2.5] * 5), "subtasks")
        assert graded.high == pytest.approx(
            2 + 0.5 * 1.985 * math.hypot(standard_error([1.0, 3.0] * 30), standard_error([1.5, 2.5] * 5)), rel=0.01
        )
        assert "too few to tell how others would differ" in estimate.basis
