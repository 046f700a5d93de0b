"""Serving curves: which charts a model and a pair get, what they draw, and the crossover's band."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import builders
import pytest
import sites

from harness.compare import compare
from harness.crossover import Crossover
from harness.pages.curves import curves_of, model_figures, pair_figures
from harness.summarise import summarise
from harness.summary import ModelSummary, PointKey


@pytest.fixture(scope="module")
def models() -> Mapping[str, ModelSummary]:
    return {one.model: one for one in summarise(builders.with_paths(sites.load_records()))}


def closed_keys(*summaries: ModelSummary) -> list[PointKey]:
    found = [point.key for point in summaries[0].points if all(one.point(point.key) for one in summaries)]
    return next(keys for keys in curves_of(found) if keys[0].kind == "closed")


def crossing(**changes: Any) -> Crossover:
    fields: dict[str, Any] = {
        "a": "moe-8x2", "b": "dense-active", "workload": builders.point().workload, "lowest": 1, "highest": 32,
        "overtakes": "moe-8x2", "concurrency": 3.0, "low": 2.0, "high": 4.0,
    }
    return Crossover(**{**fields, **changes})


def test_a_closed_loop_has_three_charts_and_an_open_one_has_one(models: Mapping[str, ModelSummary]) -> None:
    partners = [models["dense-active"]]
    closed, opened = (model_figures(kind, models["moe-8x2"], partners) for kind in ("closed", "open"))
    assert [one.id for one in closed] == [f"figure-closed-0-{name}" for name in ("throughput", "pace", "waiting")]
    assert [one.id for one in opened] == ["figure-open-0-rate"]
    throughput = closed[0].content
    assert [trace["name"] for trace in throughput["data"]] == ["moe-8x2", "dense-active"]
    assert throughput["data"][0]["x"] == [1, 2, 4, 8, 16, 32]
    assert (throughput["layout"]["xaxis"]["type"], throughput["data"][1]["line"]["dash"]) == ("log", "dot")
    assert any(error > 0 for error in throughput["data"][0]["error_y"]["array"])
    named = [(trace["name"], trace["showlegend"]) for trace in opened[0].content["data"]]
    assert named == [("moe-8x2", True), ("moe-8x2", False), ("dense-active", True), ("dense-active", False)]


def test_one_load_makes_no_curve(models: Mapping[str, ModelSummary]) -> None:
    assert model_figures("offline", models["moe-8x2"], []) == ()
    assert model_figures("closed", models["imported-moe"], []) == ()


def test_a_flagged_point_is_a_cross(models: Mapping[str, ModelSummary]) -> None:
    figure = model_figures("closed", models["moe-fine"], [])[0]
    assert figure.content["data"][0]["marker"]["symbol"] == ["circle", "circle", "x", "circle", "circle", "circle"]
    assert "Crosses are flagged" in figure.caption


def test_what_lacks_a_metric_is_left_out_on_both_axes(models: Mapping[str, ModelSummary]) -> None:
    model = models["moe-8x2"]
    first = model.points[0]
    estimates = {key: one for key, one in first.estimates.items() if key != "tpot_p50_s"}
    poorer = sites.with_point(model, first.key, estimates)
    pace = model_figures("closed", poorer, [])[1].content["data"][0]
    assert len(pace["x"]) == len(pace["y"]) == len(pace["text"]) == 5


def test_the_crossover_is_a_band_and_a_line_on_the_two_charts_over_load(models: Mapping[str, ModelSummary]) -> None:
    pair = compare(models["moe-8x2"], models["dense-active"])
    figures = pair_figures(pair, closed_keys(pair.a, pair.b), crossing(), "figure-0")
    assert [one.id.rsplit("-", 1)[-1] for one in figures] == ["throughput", "ratio", "pace", "waiting"]
    shapes = [one.content["layout"].get("shapes", []) for one in figures]
    assert [(one["type"], one["x0"], one["x1"]) for one in shapes[0]] == [("rect", 2.0, 4.0), ("line", 3.0, 3.0)]
    assert len(shapes[1]) == 3 and shapes[2] == shapes[3] == []
    assert [value > 1 for value in figures[1].content["data"][0]["y"]] == [False, False, True, True, True, True]


def test_an_open_end_of_the_crossover_reaches_beyond_what_was_measured(models: Mapping[str, ModelSummary]) -> None:
    pair = compare(models["moe-8x2"], models["dense-active"])
    figure = pair_figures(pair, closed_keys(pair.a, pair.b), crossing(low=None, high=None), "figure-0")[0]
    band, axis = figure.content["layout"]["shapes"][0], figure.content["layout"]["xaxis"]
    assert [math.log10(band[end]) for end in ("x0", "x1")] == pytest.approx(axis["range"])
    assert band["x0"] < 1 and band["x1"] > 32, "an open band has no edge within the plot"
    assert figure.caption.endswith("the band its 95 % interval, which is open below 1 and above 32.")


def test_a_crossover_that_is_not_certain_is_called_possible(models: Mapping[str, ModelSummary]) -> None:
    pair = compare(models["moe-8x2"], models["dense-active"])
    doubtful = replace(pair, effects=tuple(replace(one, verdict="indistinguishable") for one in pair.effects))
    words = {}
    for name, found, crossover in (
        ("sure", pair, crossing()), ("verdicts", doubtful, crossing()), ("open", pair, crossing(high=None)),
    ):
        for figure in pair_figures(found, closed_keys(pair.a, pair.b), crossover, "figure-0")[:2]:
            words[name] = figure.caption.partition("The dashed line is ")[2]
    assert words == {
        "sure": "the crossover, the band its 95 % interval.",
        "verdicts": "a possible crossover, the band its 95 % interval.",
        "open": "a possible crossover, the band its 95 % interval, which is open above 32.",
    }


def test_without_a_crossover_there_is_no_band(models: Mapping[str, ModelSummary]) -> None:
    pair = compare(models["moe-8x2"], models["dense-active"])
    for found in (None, crossing(concurrency=None, reason="they cross several times")):
        figure = pair_figures(pair, closed_keys(pair.a, pair.b), found, "figure-0")[0]
        assert "shapes" not in figure.content["layout"]


def test_two_models_of_one_kind_differ_by_their_dashes(models: Mapping[str, ModelSummary]) -> None:
    pair = compare(models["moe-8x2"], models["moe-fine"])
    figure = pair_figures(pair, closed_keys(pair.a, pair.b), None, "figure-0")[0]
    assert [trace["line"]["dash"] for trace in figure.content["data"]] == ["solid", "dash"]


def test_models_on_other_hardware_are_not_drawn_together(models: Mapping[str, ModelSummary]) -> None:
    moe, dense = models["moe-8x2"], models["dense-active"]
    subject = dense.subject.model_copy(update={"accelerator": "Other GPU"})
    other = replace(dense, subject=subject)
    keys = closed_keys(moe, dense)
    assert pair_figures(compare(moe, dense), keys, None, "stem")
    assert pair_figures(compare(moe, other), keys, None, "stem") == []
    (throughput, *_) = model_figures("closed", moe, [other])
    assert [trace["name"] for trace in throughput.content["data"]] == ["moe-8x2"]
