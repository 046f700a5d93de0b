"""The table and the lines above it."""

from __future__ import annotations

import re

from layer_reports import SHAPE, measured, report
from rich.console import Console

from harness.layers.measure import report_of
from harness.layers.result import LayerReport
from harness.layers.table import heading, table


def printed(found: LayerReport, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table(found))
    return captured.get()


def test_a_row_says_experts_bytes_times_and_ratios() -> None:
    text = printed(report_of(measured({4: (0.5, 3.0)})))
    (row,) = [line for line in text.splitlines() if line.strip().startswith("4 ")]
    assert re.split(r"\s{2,}", row.strip()) == [
        "4", "8.00", "25.2 MB", "1.00 ms", "500 \u00b5s", "3.00 ms", "0.500 (0.49\u20130.51)", "3.00 (2.9\u20133.1)",
    ]


def test_every_token_count_has_one_line_of_at_most_100_columns() -> None:
    text = printed(report(*(1.0 + 0.1 * i for i in range(11))))
    rows = [line for line in text.splitlines() if "ms" in line]
    assert len(rows) == 11 and max(len(row.rstrip()) for row in rows) <= 100
    assert "\u2026" not in text


def test_an_interval_that_leaves_out_1_shows_it() -> None:
    text = printed(report(1.03, spread=(0.999, 1.0, 1.001)))
    assert "(1.027" not in text and "(1.03\u20131.03)" in text


def test_without_intervals() -> None:
    text = printed(report(2.0, spread=(1.0,)))
    assert "2.00 (" not in text and "95 %" not in text


def test_other_routings_show_what_uniform_routing_would_use() -> None:
    text = printed(report_of(measured({4: (0.5, 3.0)}, routing="skewed")))
    assert "8.00 (6.62)" in text and "in brackets" in text


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
