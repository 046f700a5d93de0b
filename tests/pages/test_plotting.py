"""Axes of charts: ticks that can be read, from 0 or by decades."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.pages.plotting import along, ends, load_axis, plotly_text, ratio_axis, value_axis
from harness.quantities import Scale
from harness.stats import Estimate


def test_foreign_text_is_no_markup() -> None:
    assert plotly_text("<b>a</b>\nb") == "&lt;b&gt;a&lt;/b&gt; b"


def test_ends_of_an_estimate_without_an_interval_are_its_value() -> None:
    assert ends(Estimate(0.0021, None, None, 1, ""), Scale("ms", 1e-3)) == [2.1, 2.1, 2.1]


def test_error_bars_are_distances() -> None:
    bars = along("y", [(3.0, 2.0, 5.0)], "@ink")
    assert (bars["y"], bars["error_y"]["array"], bars["error_y"]["arrayminus"]) == ([3.0], [2.0], [1.0])


@given(st.integers(1, 60))
def test_a_load_axis_has_few_ticks_and_the_highest_load_among_them(doublings: int) -> None:
    axis = load_axis([2.0**power for power in range(doublings)], "Concurrent requests")
    assert 1 <= len(axis["tickvals"]) <= 10
    assert axis["tickvals"][-1] == 2.0 ** (doublings - 1)


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=9), st.floats(0.0, 1e9))
def test_an_interval_down_to_nothing_does_not_fill_a_logarithmic_axis(values: list[float], end: float) -> None:
    axis = value_axis(values, "ms", [end])
    if axis.get("type") == "log":
        low, high = (10**power for power in axis["range"])
        assert low < min(values) and max(values) < high
        assert high / low <= (2.6**2 * max(values) / min(values)) ** 1.2
    inside = value_axis([1.0, 10.0], "ms", [0.9, 12.0])["range"]
    assert 10 ** inside[0] < 0.9 and 10 ** inside[1] > 12.0


def test_values_of_one_size_start_at_zero_and_others_are_logarithmic() -> None:
    assert value_axis([1.0, 7.9], "ms") == {"title": {"text": "ms"}, "rangemode": "tozero"}
    assert value_axis([], "ms")["rangemode"] == "tozero"
    axis = value_axis([0.0, 0.4, 2_000.0], "ms")
    assert (axis["type"], axis["tickvals"][0], axis["tickvals"][-1]) == ("log", 0.1, 10_000.0)
    assert axis["ticktext"][-1] == "10\u202f000"


@given(st.lists(st.floats(0.02, 40.0), min_size=1, max_size=9))
def test_a_ratio_axis_has_equality_on_it(values: list[float]) -> None:
    assert 1.0 in ratio_axis(values, "ratio")["tickvals"]
