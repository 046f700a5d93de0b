"""The table of operating points: every load with its repeats' variation, and why a cell is empty."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

import builders
import pytest
import sites

from harness.model_page import ModelPage
from harness.pages import Table, Value
from harness.site import build_site


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return table_of(tmp_path_factory.mktemp("points"), repeats=3)


def table_of(folder: Path, repeats: int) -> Table:
    store = sites.store_of(folder, builders.small_suite_records(repeats=repeats))
    site = build_site(store, store.suites(), named=False)
    page = next(page for page in site.pages if isinstance(page, ModelPage) and page.title == "moe-8x2")
    assert page.operating_points is not None
    return page.operating_points


def cell(table: Table, row: int, title: str) -> Value:
    titles = [column.title for column in table.columns]
    return table.rows[row].cells[titles.index(title) - 1]


def test_the_variation_is_that_of_the_repeats(table: Table, tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, builders.small_suite_records(repeats=3))
    site = build_site(store, store.suites(), named=False)
    (summary,) = (one for one in site.suites[0].summaries if one.model == "moe-8x2")
    speed = summary.points[0].estimates["output_tokens_per_s"]
    assert len(speed.values) == 3
    found = cell(table, 0, "Variation")
    assert float(found.order) == pytest.approx(stdev(speed.values) / mean(speed.values))


def test_one_repeat_has_no_variation(tmp_path: Path) -> None:
    found = cell(table_of(tmp_path, repeats=1), 0, "Variation")
    assert found.text == "" and [mark.label for mark in found.marks] == ["one repeat"]


def test_titles_are_short_and_every_row_has_every_cell(table: Table) -> None:
    titles = [column.title for column in table.columns]
    assert titles[:6] == ["Concurrent requests", "Requests", "Variation", "Output", "Steady", "TTFT p50"]
    assert {len(row.cells) + 1 for row in table.rows} == {len(titles)}
