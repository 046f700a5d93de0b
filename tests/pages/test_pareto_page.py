"""The data of the plots of any two metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import builders
import pytest
import sites

from harness.metrics import METRICS
from harness.pages.figures import column_of, pareto_data
from harness.pages.pareto_page import ParetoPage, pareto_page
from harness.pages.site import build_site
from harness.pages.suite_view import SuiteView, comparable, subjects_of
from harness.quantities import Scale
from harness.record import Record
from harness.stats import Estimate, counted

pytestmark = pytest.mark.slow


def _view(root: Path, records: list[Record]) -> SuiteView:
    store = sites.store_of(root, records)
    return build_site(store, store.suites(), named=False).suites[0].view


def _page(view: SuiteView) -> ParetoPage:
    page = pareto_page(view)
    assert page is not None
    return page


def _metric(plot: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in plot["metrics"] if one["key"] == key)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SuiteView:
    return _view(tmp_path_factory.mktemp("small"), [*builders.small_suite_records(), *sites.awkward_records()])


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> SuiteView:
    return _view(tmp_path_factory.mktemp("seeds"), sites.seed_records())


def test_every_metric_that_two_models_have_is_there(small: SuiteView) -> None:
    plot = _page(small).plot
    keys = ["mean_score", *(f"score:{task}" for task in small.tasks), *METRICS]
    expected = {
        key for key in keys if key not in ("score", "startup_unknown_s")
        and sum(comparable(one, key, small.point) is not None for one in small.models) >= 2
    }
    assert {one["key"] for one in plot["metrics"]} == expected == set(plot["columns"]) and len(expected) > 30
    assert all(len(column["v"]) == len(plot["points"]) for column in plot["columns"].values())


def test_values_are_those_that_may_be_compared(small: SuiteView) -> None:
    plot = _page(small).plot
    names = [point["name"] for point in plot["points"]]
    column = plot["columns"]["output_tokens_per_s"]
    for index, model in enumerate(small.models):
        estimate = comparable(model, "output_tokens_per_s", small.point)
        if estimate is None:
            assert (column["v"][index], column["lo"][index], column["hi"][index]) == (None, None, None)
        else:
            assert column["v"][index] == pytest.approx(estimate.value, rel=1e-5)
            assert column["lo"][index] == pytest.approx(estimate.low, rel=1e-5)
    assert column["v"][names.index("dummy-moe")] is None  # the speed of random weights
    assert plot["columns"]["total_parameters"].keys() == {"v"}


def test_an_interval_that_is_not_known_is_told_from_one_without_width() -> None:
    scale = Scale("ms", 1e-3)
    alone = Estimate(0.002, None, None, 1, "a single value")
    assert column_of([counted(0.002), None], scale) == {"v": [2, None]}
    assert column_of([counted(0.002), alone], scale) == {"v": [2, 2], "lo": [2, None], "hi": [2, None]}


def test_recipes_stand_for_their_trainings(seeds: SuiteView) -> None:
    page = _page(seeds)
    assert {point["name"] for point in page.plot["points"]} == set(builders.CONFIGS)
    assert "recipe" in page.conditions
    for point, subject in zip(page.plot["points"], subjects_of(seeds.models, seeds.groups), strict=True):
        name = f"{point['evidence']}.{_metric(page.plot, 'mean_score')['evidence']}"
        assert name == seeds.evidence(subject, "mean_score", seeds.point)


def test_directions_are_those_of_the_metrics_and_sizes_count_as_costs(small: SuiteView) -> None:
    plot = _page(small).plot
    told = {key: (_metric(plot, key)["direction"], _metric(plot, key)["neutral"])
            for key in ("mean_score", "ttft_p50_s", "active_parameters")}
    assert told == {
        "mean_score": ("higher", False), "ttft_p50_s": ("lower", False), "active_parameters": ("lower", True),
    }


def test_less_is_better_of_a_task_that_says_so(tmp_path: Path) -> None:
    records = []
    for model in ("moe-8x2", "dense-active"):
        record = builders.quality_record(model=model, task="perplexity")
        measured = record.outcome.measurement  # type: ignore[union-attr]
        scores = tuple(one.model_copy(update={"higher_is_better": False}) for one in measured.scores)  # type: ignore[union-attr]
        outcome = record.outcome.model_copy(update={"measurement": measured.model_copy(update={"scores": scores})})
        records += [record.model_copy(update={"outcome": outcome}), builders.serving_record(model=model)]
    plot = _page(_view(tmp_path, records)).plot
    assert _metric(plot, "score:perplexity")["direction"] == "lower"


def test_metrics_of_a_kind_stand_together(small: SuiteView) -> None:
    groups = [one["group"] for one in _page(small).plot["metrics"]]
    assert len(dict.fromkeys(groups)) == sum(a != b for a, b in zip(["", *groups], groups, strict=False))
    assert groups[0] == "Scores" and {"Latency", "Memory", "Speed and cost"} <= set(groups)


def test_the_plot_of_the_leaderboard_has_a_part_of_the_same(small: SuiteView) -> None:
    compact, every = pareto_data(small), _page(small).plot
    assert compact is not None
    assert len(compact["metrics"]) < len(every["metrics"]) and compact["points"] == every["points"]
    assert all(every["columns"][key] == column for key, column in compact["columns"].items())
    assert (compact["x"], compact["y"]) == (every["x"], every["y"]) == ("decode_flops_per_token", "mean_score")


def test_one_model_has_no_plot(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, [builders.serving_record(), builders.quality_record()])
    site = build_site(store, ["small"], named=False)
    assert pareto_page(site.suites[0].view) is None
    assert not any(isinstance(page, ParetoPage) for page in site.pages)


def test_it_is_in_the_menu_behind_the_pairs(small: SuiteView, tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, builders.small_suite_records())
    page = next(page for page in build_site(store, ["small"], named=False).pages if isinstance(page, ParetoPage))
    assert [link.text for link in page.navigation][:3] == ["Leaderboard", "Sparse vs dense", "Pareto"]
    assert [link.text for link in page.navigation if link.current] == ["Pareto"]
    assert page.path == "pareto.html" and [kind for kind, _ in _page(small).kinds] == ["sparse", "dense"]


def test_what_cannot_be_held_against_the_others_is_not_drawn_beside_them(tmp_path: Path) -> None:
    elsewhere = builders.subject("moe-8x2", accelerator="Other GPU")
    records = []
    for record in builders.small_suite_records():
        subject = record.cell.subject
        if subject.model == "moe-8x2":
            subject = elsewhere
        records.append(record.model_copy(update={"cell": record.cell.model_copy(update={"subject": subject})}))
    view = _view(tmp_path, records)
    plot = _page(view).plot
    place = [point["name"] for point in plot["points"]].index("moe-8x2")
    for key in ("output_tokens_per_s", "resident_peak_bytes"):
        column = plot["columns"][key]
        assert [index for index, value in enumerate(column["v"]) if value is None] == [place] == [*column["out"]]
        reason = plot["reasons"][column["out"][place]]
        assert reason.startswith("measured on other hardware than those that are ranked (Other GPU against")
    assert plot["columns"]["mean_score"]["v"][place] is not None and "out" not in plot["columns"]["mean_score"]
    assert plot["columns"]["total_parameters"]["v"][place] is not None
