"""The table and the lines above it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from layer_reports import SHAPE, measured, report
from rich.console import Console

from harness.layers.command import MOST_TOKENS
from harness.layers.measure import report_of
from harness.layers.result import LayerReport
from harness.layers.table import WIDTH, heading, notes, ratios, short, times


def printed(found: LayerReport) -> str:
    """As in a terminal of 80 columns."""
    console = Console(width=WIDTH)
    with console.capture() as captured:
        console.print(times(found), ratios(found), sep="")
    return captured.get()


def rows(text: str, tokens: int) -> list[list[str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(f"{tokens} ")]
    return [re.split(r"\s{2,}", line) for line in lines]


def test_a_row_says_experts_bytes_times_and_ratios_with_their_units_in_the_heading() -> None:
    text = printed(report_of(measured({4: (0.5, 3.0)})))
    assert rows(text, 4) == [
        ["4", "8.00", "25.2", "1.00", "0.500", "3.00"],
        ["4", "0.500", "0.49", "0.51", "dense", "3.00", "2.9", "3.1", "sparse"],
    ]
    assert "MB" in text and "ms" in text


def test_nothing_is_cut_at_80_columns() -> None:
    text = printed(report(*(1.0 + 0.1 * i for i in range(11))))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "\u2026" not in text and [len(rows(text, tokens)) for tokens in (1, 16, 512)] == [2, 2, 2]


@given(
    st.lists(st.tuples(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9)), min_size=1, max_size=4),
    st.lists(st.floats(0.1, 10.0), min_size=2, max_size=3), st.sampled_from(["uniform", "skewed"]),
)
def test_no_number_is_ever_cut(speedups: list[tuple[float, float]], spread: list[float], routing: str) -> None:
    counts = (1, 16, 1024, MOST_TOKENS)
    text = printed(report_of(measured(dict(zip(counts, speedups, strict=False)), spread=spread, routing=routing)))
    assert "\u2026" not in text and max(map(len, text.splitlines())) <= WIDTH
    assert len(rows(text, 1)) == 2


def test_the_times_of_all_rows_have_one_unit() -> None:
    text = printed(report_of(measured({1: (0.5, 3.0), 4: (0.5, 3000.0)})))
    assert [rows(text, tokens)[0][3:] for tokens in (1, 4)] == [
        ["1.00", "0.500", "3.00"], ["1.00", "0.500", "3\u202f000"],
    ]


def test_an_interval_that_leaves_out_1_shows_it() -> None:
    low, high, lead = rows(printed(report(1.0035, spread=(0.999, 1.0, 1.001))), 1)[1][-3:]
    assert (low, high, lead) == ("1.001", "1.01", "sparse")


def test_a_lead_that_the_correction_leaves_open_is_said_to_be_open() -> None:
    found = report(1.03, *[1.0] * 10)
    low, _, lead = rows(printed(found), 1)[1][-3:]
    assert float(low) > 1 and lead == "open"
    assert "cannot be told apart" in found.comparisons[1].sentence


def test_without_intervals() -> None:
    found = report(2.0, spread=(1.0,))
    assert "low" not in printed(found) and not any("95 %" in line for line in notes(found))


def test_with_several_token_counts_the_correction_is_told() -> None:
    assert any("corrected for the number of token counts" in line for line in notes(report(1.0, 2.0)))
    assert not any("corrected" in line for line in notes(report(2.0)))


def test_other_routings_show_what_uniform_routing_would_use() -> None:
    text = printed(report_of(measured({4: (0.5, 3.0)}, routing="skewed")))
    assert rows(text, 4)[0][:3] == ["4", "8.00", "6.62"] and "of uniform" in text


def test_numbers_take_seven_characters_at_most() -> None:
    values = (0.0, 1e-9, 0.00123, 1.0, 12_345.6, 99_949.0, 99_950.0, 3.2e12)
    assert max(len(short(value)) for value in values) <= 7
    assert [short(value) for value in (0.0123, 12_300.0, 1.2e6)] == ["0.0123", "12\u202f300", "1.2e6"]


def test_the_heading_says_what_was_timed_on_what() -> None:
    found = report(2.0)
    lines = heading(found)
    assert lines[0] == SHAPE.words
    assert "bfloat16" in lines[1] and "1 thread; torch grouped_mm; uniform routing; weights from memory" in lines[1]
    assert lines[2] == "dense: equal active width 1\u202f024, 6.29 MB; equal total width 8\u202f192, 50.3 MB"


def test_a_scaled_model_says_so() -> None:
    scaled = report(2.0).measured.model_copy(update={"name": "big", "scale": 0.5, "notes": ("left out: biases",)})
    lines = heading(report_of(scaled))
    assert lines[0].startswith("big: ") and lines[0].endswith("(scaled by 0.5: not the model's own sizes)")
    assert lines[-1] == "left out: biases"
