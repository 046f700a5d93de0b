from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.quantities import (
    COUNT_WORDS,
    MINUS,
    THIN,
    Scale,
    count_of,
    listed,
    margin,
    plain,
    scale_of,
    signed_percent,
    significant,
    with_unit,
)


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"),
    (0.5, "0.500"),
    (0.012345, "0.0123"),
    (99.96, "100"),
    (12_345.0, f"12{THIN}300"),
    (1_000_000.0, f"1{THIN}000{THIN}000"),
    (-3.14159, f"{MINUS}3.14"),
    (0.00000512, f"5.12e{MINUS}6"),
    (float("inf"), "\u221e"),
    (float("nan"), "not a number"),
])
def test_three_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


@given(st.floats(min_value=1e-4, max_value=1e12))
def test_rounding_errs_by_half_a_unit_of_the_third_digit_at_most(value: float) -> None:
    assert float(significant(value).replace(THIN, "")) == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(("ends", "text"), [
    ((69.3, 67.9, 70.8), "\u00b1 1.5"),
    ((0.693, 0.686, 0.700), "\u00b1 0.007"),
    ((12_345.0, 12_000.0, 12_700.0), "\u00b1 360"),
    ((1.5, 1.0, 3.0), f"+1.5 {MINUS}0.50"),
    ((5.0, 5.0, 5.0), "\u00b1 0"),
    ((98.0, 94.0, 98.0), f"+0 {MINUS}4.0"),
])
def test_margins_have_two_digits_and_show_uneven_sides(ends: tuple[float, float, float], text: str) -> None:
    assert margin(*ends) == text


@pytest.mark.parametrize(("unit", "values", "scale"), [
    ("bytes", [330_000.0, 660_000.0, 700_000.0], Scale("kB", 1e3)),
    ("bytes", [94e9], Scale("GB", 1e9)),
    ("seconds", [0.012], Scale("ms", 1e-3)),
    ("seconds", [4.0], Scale("s", 1.0)),
    ("FLOPs", [2.4e5], Scale("kFLOPs", 1e3)),
    ("parameters", [47e9], Scale("B", 1e9)),
    ("parameters", [], Scale("", 1.0)),
    ("tokens per second", [100.0], Scale("tokens/s", 1.0)),
    ("1", [0.2, 1.0], Scale("%", 0.01)),
    ("1", [12.5], Scale("", 1.0)),
    ("tokens", [40_000.0], Scale("tokens", 1.0)),
    ("joules", [0.0121, 0.119, 0.653], Scale("mJ", 1e-3)),
    ("joules", [0.0], Scale("J", 1.0)),
    ("joules", [4200.0], Scale("kJ", 1e3)),
    ("watts", [90.0, 412.0, 700.0], Scale("W", 1.0)),
    ("watts", [5600.0], Scale("kW", 1e3)),
    ("US dollars", [0.0123, 12.5], Scale("USD", 1.0)),
])
def test_a_column_has_one_scale(unit: str, values: list[float], scale: Scale) -> None:
    assert scale_of(unit, values) == scale


@pytest.mark.parametrize(("fraction", "text"), [
    (0.0123, "+1.2"), (-0.0123, f"{MINUS}1.2"), (0.0, "0.0"), (-0.0001, "0.0"), (0.361, "+36.1"),
])
def test_a_signed_percentage(fraction: float, text: str) -> None:
    assert signed_percent(fraction) == text


@pytest.mark.parametrize(("unit", "value", "digits", "text"), [
    ("bytes", 93.97e9, 3, "94.0 GB"),
    ("parameters", 46_702_792_704.0, 4, "46.70 B"),
    ("parameters", 512.0, 3, "512"),
    ("seconds", 0.012, 3, "12.0 ms"),
    ("1", 0.276, 3, "27.6 %"),
    ("joules", 0.0968, 3, "96.8 mJ"),
    ("watts", 686.4, 3, "686 W"),
    ("US dollars", 0.0694, 3, "0.0694 USD"),
])
def test_one_value_with_its_unit(unit: str, value: float, digits: int, text: str) -> None:
    assert with_unit(unit, value, digits) == text


def test_every_unit_of_a_count_has_a_word() -> None:
    assert {scale_of("parameters", [10.0**power]).unit for power in range(16)} == set(COUNT_WORDS)


def test_words() -> None:
    assert [count_of(n, "model") for n in (0, 1, 2)] == ["no models", "1 model", "2 models"]
    assert count_of(4096, "token") == f"4{THIN}096 tokens"
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_foreign_text_keeps_no_control_or_direction_characters() -> None:
    assert plain("a\x1b[31m\u202eb\x00\nc") == "a\ufffd[31m\ufffdb\ufffd\nc"
    assert plain("x" * 100, 10) == "x" * 9 + "\u2026"


def test_errors_have_no_unit() -> None:
    assert (scale_of("1", [0.6]).unit, scale_of("", [0.6]).unit) == ("%", "")
