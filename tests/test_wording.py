"""Effects as text: decimals, units, verdicts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare import Comparison, Effect, compare
from harness.matching import Match
from harness.stats import Contrast
from harness.summarise import summarise
from harness.wording import (
    effect_size,
    effect_text,
    in_points,
    interval,
    p_text,
    short_number,
    two_digits,
    verdict_words,
)


@cache
def pair() -> Comparison:
    models = {one.model: one for one in summarise(builders.with_paths(builders.small_suite_records()))}
    return compare(models["moe-8x2"], models["dense-total"])


def effect(metric: str, *numbers: float | None) -> Effect:
    """The pair's effect, with another value, low and high where they are given."""
    found = pair().effect(metric)
    assert found is not None
    if not numbers:
        return found
    value, low, high = numbers
    return replace(found, contrast=Contrast(value or 0.0, low, high, None, ""))


def test_errors_are_not_told_in_points() -> None:
    score = effect("mean_score")
    assert in_points(score) and not in_points(replace(score, better="lower"))
    assert effect_text(replace(score, better="lower"))[-1].isdigit()


@given(st.floats(0.3, 3))
def test_one_word_and_one_number_for_one_quantity(ratio: float) -> None:
    counted, matched = effect("weights_bytes", ratio, ratio, ratio), Match("iso-memory", ratio, 1.0)
    assert effect_text(counted) == matched.size
    assert (verdict_words(counted) == matched.likeness) == matched.equal
    assert (matched.likeness == "equal") == (matched.size == "1.00\u00d7")


@given(st.floats(0.0, 1.0))
def test_p_is_on_the_side_of_the_limit_on_which_it_is(p: float) -> None:
    text = p_text(p)
    assert (text.startswith("<") or float(text) < 0.05) == (p < 0.05)


def test_p_beside_a_verdict() -> None:
    assert [p_text(p) for p in (0.0001, 0.0123, 0.0497, 0.05, 0.514)] == [
        "< 0.001", "0.012", "< 0.05", "0.050", "0.51",
    ]


def test_numbers_that_are_none_are_told_as_such() -> None:
    assert [short_number(value) for value in (float("inf"), float("nan"), 12_345.0)] == [
        "\u221e", "not a number", "12.3 k",
    ]


class TestNumbers:
    @pytest.mark.parametrize(("numbers", "text", "ends"), [
        ((1.3, 1.2, 1.4), "1.30×", "1.20 to 1.40"),
        ((1.0106, 1.004, 1.017), "1.011×", "1.004 to 1.017"),  # with two decimals it would end at equality
        ((0.9, 0.9, 0.9), "0.90×", "0.90 to 0.90"),
        ((0.871, 0.8701, 0.8723), "0.871×", "0.870 to 0.872"),
        ((12.34, 11.0, 14.0), "12.3×", "11.0 to 14.0"),
        ((0.0123, 0.01, 0.02), "0.0123×", "0.0100 to 0.0200"),
        ((1.0, None, None), "1.00×", "no interval"),
    ])
    def test_ratios(self, numbers: tuple[float | None, ...], text: str, ends: str) -> None:
        one = effect("output_tokens_per_s", *numbers)
        assert (effect_text(one), interval(one)) == (text, ends)

    @pytest.mark.parametrize(("numbers", "text", "ends"), [
        ((0.041, 0.029, 0.053), "+4.1 points", "+2.9 to +5.3"),
        ((-0.041, -0.053, -0.0004), "−4.10 points", "−5.30 to −0.04"),
        ((0.0, -0.02, 0.02), "0.0 points", "−2.0 to +2.0"),
    ])
    def test_points(self, numbers: tuple[float, ...], text: str, ends: str) -> None:
        one = effect("mean_score", *numbers)
        assert (effect_text(one), interval(one)) == (text, ends)

    def test_only_differences_of_shares_are_told_in_points(self) -> None:
        one = effect("mean_score", -0.03, -0.05, -0.01)
        assert in_points(one) and effect_size(one, -0.0312) == "−3.1"
        other = replace(one, a=replace(one.a, value=12.5))  # a score that is no share, such as a perplexity
        assert not in_points(other) and effect_text(other) == "−0.030"

    @given(st.floats(0.11, 9.0), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
    def test_what_excludes_equality_looks_like_it(self, value: float, below: float, above: float) -> None:
        one = effect("output_tokens_per_s", value, value * (1 - below), value * (1 + above))
        for end in (one.contrast.low, one.contrast.high):
            assert end is not None
            told = float(effect_size(one, end))
            assert (told - 1) * (end - 1) >= 0
            assert abs(end - 1) < 1e-4 or told != 1

    @pytest.mark.parametrize(("value", "text"), [
        (0.0, "0"), (1.0, "1.00"), (0.012345, "0.0123"), (999.6, "1000"), (1234.0, "1230"), (9999.0, "10.0 k"),
        (12_345.0, "12.3 k"), (661_344.0, "661 k"), (47e9, "47.0 G"), (1.5e12, "1.50 T"), (-2.5e6, "-2.50 M"),
    ])
    def test_significant_digits(self, value: float, text: str) -> None:
        assert short_number(value) == text

    def test_two_digits_can_be_rounded_to_a_side(self) -> None:
        assert [two_digits(value, round) for value in (3.449, 11.26, 121.0)] == ["3.4", "11", "120"]

    def test_what_is_counted_alike_is_equal(self) -> None:
        assert verdict_words(effect("kv_bytes_per_token")) == "equal"
        assert verdict_words(effect("weights_bytes")) == "nearly equal"
        assert verdict_words(effect("weights_bytes", 1.03, 1.03, 1.03)) == "nearly equal"
        assert verdict_words(effect("weights_bytes", 1.2, 1.2, 1.2)) == "worse"
        assert verdict_words(replace(effect("mean_score"), verdict="indistinguishable")) == "not told apart"
