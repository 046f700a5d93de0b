"""Charts as plain data: plotly figures whose colours are names ("@sparse") that the page finds in its style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.compare import pareto_frontier
from harness.pages.parts import Figure, shown
from harness.pages.plotting import SYMBOLS, along, ends, plotly_text
from harness.pages.suite_view import (
    SuiteView,
    at_load,
    comparable,
    kind_of,
    metric_of,
    scale_for,
    subjects_of,
)
from harness.quantities import Scale, plain
from harness.stats import Estimate
from harness.summary import ModelSummary

_PARETO_METRICS = (
    "mean_score", "decode_flops_per_token", "active_parameters", "total_parameters", "weights_bytes",
    "resident_peak_bytes", "device_peak_bytes", "output_tokens_per_s", "ttft_p50_s", "tpot_p50_s",
)
_PARETO_TASKS = 12
_LOG_FROM = 8.0


# The scatter plot of costs and scores ----------------------------------------------------------------------------


def pareto_data(view: SuiteView) -> dict[str, Any] | None:
    """Every model's value on every axis, and the frontier of every pair; None where no two axes share two models.

    Recipes with several trainings stand for their models. Sizes count as costs: less of them is better.
    """
    subjects = subjects_of(view.models, view.groups)
    tasks = [f"score:{task}" for task in view.tasks[:_PARETO_TASKS]]
    columns: dict[str, list[Estimate | None]] = {}
    for key in (*_PARETO_METRICS[:1], *tasks, *_PARETO_METRICS[1:]):
        found = [comparable(one, key, view.point) for one in subjects]
        if sum(one is not None for one in found) >= 2:
            columns[key] = found
    scores = [key for key in (view.score, "mean_score", *tasks) if key in columns]
    costs = [key for key in ("decode_flops_per_token", "active_parameters", "resident_peak_bytes") if key in columns]
    if not scores or not costs:
        return None
    scales = {key: scale_for(view, key) for key in columns}
    metrics = [_axis(view, key, columns[key], scales[key]) for key in columns]
    return {
        "metrics": metrics,
        "points": [_point(view, model, _known(columns, scales, index)) for index, model in enumerate(subjects)],
        "frontiers": {
            f"{x['key']}|{y['key']}": _frontier(columns[x["key"]], columns[y["key"]], x["direction"], y["direction"])
            for x in metrics for y in metrics if x is not y
        },
        "x": costs[0],
        "y": scores[0],
    }


def _axis(view: SuiteView, key: str, found: Sequence[Estimate | None], scale: Scale) -> dict[str, Any]:
    metric = metric_of(key)
    sizes = [one.value for one in found if one is not None]
    title = metric.title
    if metric.scenario == "serving" and view.point and key != "decode_flops_per_token":
        title += f" {at_load(view.point)}"
    return {
        "key": key,
        "title": plotly_text(title),
        "plain": plain(title, 80),
        "unit": scale.unit,
        "direction": "higher" if metric.better == "higher" else "lower",
        "log": metric.unit != "1" and min(sizes) > 0 and max(sizes) / min(sizes) > _LOG_FROM,
    }


def _known(
    columns: Mapping[str, Sequence[Estimate | None]], scales: Mapping[str, Scale], index: int
) -> dict[str, tuple[Estimate, Scale]]:
    """What is known of one model, by metric, with the scale of its axis."""
    return {key: (one, scales[key]) for key, found in columns.items() if (one := found[index]) is not None}


def _point(view: SuiteView, model: ModelSummary, known: Mapping[str, tuple[Estimate, Scale]]) -> dict[str, Any]:
    return {
        "name": plotly_text(model.model),
        "plain": plain(model.model, 80),
        "kind": kind_of(model),
        "href": view.link(model).href or "#recipes",
        "values": {key: ends(one, scale) for key, (one, scale) in known.items()},
        "texts": {key: _with_margin(one, scale) for key, (one, scale) in known.items()},
    }


def _with_margin(estimate: Estimate, scale: Scale) -> str:
    value = shown(estimate, scale)
    return f"{value.text} {value.margin}".strip()


def _frontier(
    x: Sequence[Estimate | None], y: Sequence[Estimate | None], x_better: str, y_better: str
) -> list[int]:
    """The indices of the models that no other beats on both axes."""
    both = [(i, a.value, b.value) for i, (a, b) in enumerate(zip(x, y, strict=True)) if a and b]
    signed = [(-a if x_better == "higher" else a, b if y_better == "higher" else -b) for _, a, b in both]
    return [both[index][0] for index in pareto_frontier(signed)]


# Seeds -----------------------------------------------------------------------------------------------------------


def seeds_figure(view: SuiteView) -> Figure | None:
    """Every training's score in a row for its recipe, with the recipe's mean and interval."""
    scale = scale_for(view, view.score)
    groups = [group for group in view.groups if comparable(group, view.score, None)]
    if not groups:
        return None
    groups = sorted(groups, key=lambda group: (one.value if (one := comparable(group, view.score, None)) else 0.0))
    names = [plotly_text(group.model) for group in groups]
    traces = []
    for kind in ("sparse", "dense", "unknown"):
        chosen = [(group, name) for group, name in zip(groups, names, strict=True) if kind_of(group) == kind]
        if chosen:
            traces += _seed_traces(view, chosen, kind, scale)
    unit = f" ({scale.unit})" if scale.unit else ""
    layout = {
        "xaxis": {"title": {"text": f"{plotly_text(view.score_title).capitalize()}{unit}, \u2191 better"}},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": names, "showgrid": True},
    }
    caption = f"The {view.score_title} of every training, and each recipe's mean with its 95 % interval over trainings."
    return Figure("figure-seeds", caption, {"data": traces, "layout": layout})


def _seed_traces(
    view: SuiteView, chosen: Sequence[tuple[ModelSummary, str]], kind: str, scale: Scale
) -> list[dict[str, Any]]:
    colour = f"@{kind}" if kind != "unknown" else "@muted"
    known = [
        (name, member.model, ends(one, scale)[0])
        for group, name in chosen
        for member in group.members
        if (one := comparable(member, view.score, None))
    ]
    means = [
        (name, ends(one, scale)) for group, name in chosen if (one := comparable(group, view.score, None))
    ]
    return [
        {
            "type": "scatter", "mode": "markers", "name": f"a training, {kind}", "y": [name for name, _, _ in known],
            "x": [value for _, _, value in known], "text": [plotly_text(model) for _, model, _ in known],
            "hovertemplate": "%{text}: %{x:.3g}<extra></extra>",
            "marker": {"color": colour, "symbol": f"{SYMBOLS[kind]}-open", "size": 10, "line": {"width": 1.6}},
        },
        {
            "type": "scatter", "mode": "markers", "name": f"mean, {kind}", "y": [name for name, _ in means],
            **along("x", [ends for _, ends in means], colour),
            "hovertemplate": "mean: %{x:.3g}<extra></extra>",
            "marker": {"color": colour, "symbol": "line-ns-open", "size": 16, "line": {"width": 2.5}},
        },
    ]
