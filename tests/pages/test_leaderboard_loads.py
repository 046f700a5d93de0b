"""Another load's speeds in the places of the first one's."""

from __future__ import annotations

import json
from pathlib import Path

import builders
import pytest
import sites

from harness.pages import leaderboard_loads
from harness.pages.facets import filters_of
from harness.pages.index_page import IndexPage, index_page
from harness.pages.leaderboard import scales_of
from harness.pages.leaderboard_columns import column_specs
from harness.pages.leaderboard_loads import Loads, loads_of
from harness.pages.parts import Slugs
from harness.pages.reading import read_suite, view_of
from harness.pages.suite_view import SuiteView, estimate_of
from harness.record import Record

pytestmark = pytest.mark.slow


def _view(root: Path, records: list[Record], suite: str) -> SuiteView:
    store = sites.store_of(root, records)
    return view_of(read_suite(store, suite, None, None), None, store.root, Slugs(), first=True)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> SuiteView:
    """Every kind of load, and one load of another workload."""
    other = builders.serving_record(scenario=builders.serving_scenario(2, name="long", prompt_tokens=512))
    records = [*sites.load_records(), other.model_copy(update={"suite": "loads"})]
    return _view(tmp_path_factory.mktemp("loads"), records, "loads")


@pytest.fixture(scope="module")
def page(view: SuiteView) -> IndexPage:
    return index_page(view, [view], None)


def _loads(view: SuiteView) -> Loads:
    specs = column_specs(view)
    found = loads_of(view, specs, scales_of(view, specs))
    assert found
    return found


def test_every_load_that_was_measured_is_offered_by_workload(view: SuiteView) -> None:
    (own, first), (other, second) = _loads(view).workloads
    assert (own, other) == ("chat", "long")
    assert [load.title for load in first] == [
        *(f"{level} concurrent request{'s' if level > 1 else ''}" for level in (1, 2, 4, 8, 16, 32)),
        *(f"{rate} requests/s" for rate in (2, 4, 8, 16)), "Offline",
    ]
    assert [(load.title, load.heading) for load in second] == [
        ("2 concurrent requests", "Speed at 2 concurrent requests, 512 \u2192 16 tokens"),
    ]
    measured = {point.key for model in view.models for point in model.points}
    assert len(first) + len(second) == len(measured)
    assert [load.title for load in first if not load.id] == ["16 concurrent requests"]


def test_the_cells_of_a_load_are_the_estimates_there_in_the_order_of_the_rows(view: SuiteView, page: IndexPage) -> None:
    speeds = json.loads(json.dumps(page.speeds, allow_nan=False))
    assert speeds["columns"] == ["output_tokens_per_s", "ttft_p50_s", "tpot_p50_s"]
    assert len(speeds["loads"]) == 11
    models = {model.model: model for model in view.models}
    for point, name in view.point_names.items():
        if point == view.point:
            continue
        for key, cells in zip(speeds["columns"], speeds["loads"][name]["cells"], strict=True):
            assert len(cells) == len(page.rows)
            for row, cell in zip(page.rows, cells, strict=True):
                estimate = estimate_of(models[row.name], key, point)
                assert cell[0] == ("" if estimate is None else pytest.approx(estimate.value, rel=1e-6))
                assert estimate or cell[4], "a cell without a number says why"


def test_what_a_load_says_leads_to_its_evidence_and_its_reasons(view: SuiteView, page: IndexPage) -> None:
    first = view.models[0]
    at = {name: point for point, name in view.point_names.items()}
    reasons = list(page.reasons)
    for name, load in page.speeds["loads"].items():
        start = view.evidence(first, "output_tokens_per_s", at[name])
        assert start.endswith(load["evidence"][0]) and load["evidence"][0].endswith(name)
        for column in load["cells"]:
            for cell in column:
                assert all(reasons[why] for _, _, why in (cell[4] if len(cell) > 4 else []))


def test_the_preset_of_memory_follows_the_load(view: SuiteView, page: IndexPage) -> None:
    loads = page.speeds["loads"]
    assert "of 32 requests in flight" in loads["chat-concurrency-32"]["help"]
    assert {len(load["fits"]) for load in loads.values()} == {len(page.rows)}
    tokens = [filters_of(view).tokens[place] for place in page.order]
    now = "".join(str(int("preset:fits-80gb" in words.split())) for words in tokens)
    assert loads["chat-concurrency-32"]["fits"] == now


def test_where_loads_are_too_many_the_rarest_are_left_out_and_counted(
    view: SuiteView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard_loads, "MOST_LOADS", 9)
    loads = _loads(view)
    assert len(loads.known) == 10 and loads.more == "2 more loads: see the models' pages"
    assert "long" not in [load.workload for load in loads.known]


def test_a_single_load_is_no_choice(tmp_path: Path) -> None:
    view = _view(tmp_path, [builders.serving_record()], builders.SUITE)
    specs = column_specs(view)
    assert loads_of(view, specs, scales_of(view, specs)) is None
