"""What follows from raw times: points, pairing, and the JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_reports import SHAPE, measured, report, timing

from harness.accounting import expected_distinct_experts
from harness.layers.measure import report_of
from harness.layers.result import LayerReport, Measured, points_of


def with_timings(found: Measured, *timings: object) -> Measured:
    return found.model_copy(update={"timings": timings})


def test_a_point_by_hand() -> None:
    (point,) = points_of(measured({4: (0.5, 3.0)}, spread=(0.9999, 1.0, 1.0001)))
    assert (point.sparse_s, point.active_s, point.total_s) == pytest.approx((1e-3, 5e-4, 3e-3))
    assert point.distinct_experts == 8.0
    assert point.expected_distinct_experts == expected_distinct_experts(16, 2, 4)
    assert point.weights_read_bytes["sparse"] == 2 * (1024 * 16 + 3 * 1024 * 8 * 512)
    assert point.weights_read_bytes["total"] == 2 * 3 * 1024 * 8192
    total = point.speedup("total")
    assert (total.value, total.low, total.high) == pytest.approx((3.0, 3.0, 3.0), rel=1e-3)


def test_processes_that_agree_to_the_last_digit_have_no_interval() -> None:
    (point,) = points_of(measured({4: (0.5, 3.0)}, spread=(1.0, 1.0, 1.0)))
    total = point.speedup("total")
    assert total.value == pytest.approx(3.0)
    assert total.low is None and total.high is None


def test_all_turns_of_a_process_count_together() -> None:
    found = with_timings(
        measured({1: (1.0, 1.0)}),
        timing(0, 1, "sparse", 1.0, 2.0), timing(0, 1, "sparse", 9.0, turn=1), timing(1, 1, "sparse", 5.0),
    )
    assert found.medians_s(1, "sparse") == {0: 2.0, 1: 5.0}


@given(st.lists(st.floats(0.2, 5.0), min_size=3, max_size=3))
def test_what_slows_a_whole_process_cancels(factors: list[float]) -> None:
    found = measured({1: (0.5, 2.0)})
    slowed = with_timings(found, *(
        one.model_copy(update={"times_s": tuple(factors[one.process] * time for time in one.times_s)})
        for one in found.timings
    ))
    for against in ("active", "total"):
        assert slowed.speedups(1, against) == pytest.approx(found.speedups(1, against))


def test_the_interval_holds_the_ratio_and_is_that_of_the_spread() -> None:
    speedup = points_of(measured({1: (0.5, 2.0)}))[0].speedup("total")
    assert speedup.low is not None and speedup.high is not None
    # three ratios 2 / 0.99, 2, 2 / 1.01 have a standard error of 0.58 % and a t quantile of 4.30
    assert speedup.low == pytest.approx(2 * (1 - 0.0248), rel=2e-3)
    assert speedup.high == pytest.approx(2 * (1 + 0.0248), rel=2e-3)


def test_one_process_has_no_interval() -> None:
    found = report(2.0, 3.0, spread=(1.0,))
    assert found.points[0].speedup("total").low is None
    assert "One process gives no interval" in found.comparisons[1].sentence


def test_the_json_holds_everything_and_reads_back() -> None:
    found = report(0.5, 0.8, 2.0)
    again = LayerReport.model_validate_json(found.model_dump_json())
    assert again == found
    assert again.schema_version == 1
    assert report_of(again.measured) == found
    assert again.measured.task.shape == SHAPE
