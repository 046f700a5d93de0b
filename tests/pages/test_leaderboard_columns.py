from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builders
import pytest
import sites

from harness.metrics import METRICS
from harness.pages.index_page import IndexPage, index_page
from harness.pages.leaderboard_columns import FIXED_COLUMNS, TEXT_COLUMNS, column_specs
from harness.pages.parts import Slugs
from harness.pages.reading import read_suite, view_of
from harness.pages.suite_view import SuiteView, at_load, estimate_of, point_text
from harness.record import Record

pytestmark = pytest.mark.slow


def _view(root: Path, records: list[Record], suite: str = builders.SUITE) -> SuiteView:
    store = sites.store_of(root, records)
    return view_of(read_suite(store, suite, None, None), None, store.root, Slugs(), first=True)


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> SuiteView:
    return _view(tmp_path_factory.mktemp("loads"), sites.load_records(), "loads")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SuiteView:
    return _view(tmp_path_factory.mktemp("small"), builders.small_suite_records(repeats=2, items=50))


def _page(view: SuiteView) -> IndexPage:
    return index_page(view, [view], None)


@pytest.mark.parametrize("name", ["loads", "small"])
def test_every_metric_that_any_model_has_is_a_column(name: str, request: pytest.FixtureRequest) -> None:
    view: SuiteView = request.getfixturevalue(name)
    known = {
        key for key in METRICS for model in view.models if estimate_of(model, key, view.point) is not None
    }
    at_point = [spec.key for spec in column_specs(view) if spec.point == view.point]
    assert known - set(at_point) <= {"total_parameters"}
    assert len(at_point) == len(set(at_point))


def test_a_heading_says_at_which_load_its_columns_are(loads: SuiteView) -> None:
    assert loads.point is not None
    for spec in column_specs(loads):
        if loads.metric(spec.key).scenario in ("serving", "routing"):
            per_token = spec.key.endswith("flops_per_token")  # depends on the lengths of requests alone
            assert (point_text if per_token else at_load)(loads.point) in spec.heading, spec.key


@pytest.mark.parametrize("name", ["loads", "small"])
def test_names_in_addresses_are_unique_and_safe(name: str, request: pytest.FixtureRequest) -> None:
    keys = [column.key for column in _page(request.getfixturevalue(name)).columns]
    assert len(keys) == len(set(keys))
    assert all(key.replace("-", "").replace("_", "").isalnum() and key.isascii() and not key.startswith("-")
               for key in keys)


def test_what_is_seen_at_first_comes_first_and_groups_are_whole(loads: SuiteView) -> None:
    page = _page(loads)
    later = ["later" in column.classes for column in page.columns]
    assert later == sorted(later)
    groups = [group for group in page.column_groups for _ in range(group.span)]
    assert ["later" in group.classes for group in groups] == later
    headings = [group.title for group in page.column_groups if group.title]
    assert len(headings) == len(set(headings))


def test_the_hidden_columns_have_a_cell_for_every_row(loads: SuiteView) -> None:
    page = _page(loads)
    assert len(page.more) == len(page.columns) - page.seen
    assert {len(column) for column in page.more} == {len(page.rows)}
    reasons = list(page.reasons)
    for place, column in enumerate(page.more[:-len(TEXT_COLUMNS)]):
        for row, lean in zip(page.rows, column, strict=True):
            left_out: list[Any] = ["", "", "", 0, []]
            order, text, margin, best, marks = lean + left_out[len(lean):]
            cell = row.cells[page.seen - FIXED_COLUMNS + place]
            assert (text, margin, bool(best)) == (cell.text, cell.margin, cell.best)
            assert order == (float(cell.order) if cell.order else "")
            assert [(state, label, reasons[why]) for state, label, why in marks] == [
                (mark.state, mark.label, mark.reason) for mark in cell.marks
            ]
            assert text or marks
    json.dumps(page.more, allow_nan=False)


def test_evidence_of_a_cell_is_its_rows_and_its_columns(loads: SuiteView) -> None:
    page = _page(loads)
    assert len(page.evidence) == len(page.columns)
    for row in page.rows:
        for rest, cell in zip(page.evidence[FIXED_COLUMNS:], row.cells, strict=False):
            if cell.evidence:
                assert cell.evidence == f"{row.evidence}.{rest}"
