"""Charts as plain data: plotly figures whose colours are names ("@sparse") that the page finds in its style sheet."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from harness.compare import pareto_frontier
from harness.pages import Figure, shown
from harness.quantities import Scale, plain
from harness.stats import Estimate
from harness.suite_view import (
    SuiteView,
    comparable,
    kind_of,
    load_text,
    metric_of,
    point_text,
    scale_for,
    subjects_of,
)
from harness.summary import ModelSummary, PointKey

_PARETO_METRICS = (
    "mean_score", "decode_flops_per_token", "active_parameters", "total_parameters", "weights_bytes",
    "resident_peak_bytes", "device_peak_bytes", "output_tokens_per_s", "ttft_p50_s", "tpot_p50_s",
)
_PARETO_TASKS = 12
_LOG_FROM = 8.0
_SYMBOLS = {"sparse": "circle", "dense": "square", "unknown": "diamond"}
_DASHES = ("solid", "dot", "dash", "dashdot", "longdash")
_NAME_LIMIT = 40


def plotly_text(text: str) -> str:
    """Foreign text for plotly, which reads some HTML in labels: shown as it is."""
    return html.escape(plain(text, _NAME_LIMIT), quote=False).replace("\n", " ")


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
        title += f" at {load_text(view.point)}"
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
        "values": {key: _ends(one, scale) for key, (one, scale) in known.items()},
        "texts": {key: _with_margin(one, scale) for key, (one, scale) in known.items()},
    }


def _ends(estimate: Estimate, scale: Scale) -> list[float]:
    """Value, low and high on a scale, to six digits; the value itself where there is no interval."""
    ends = (estimate.value, *((estimate.low, estimate.high) if estimate.has_interval else (None, None)))
    return [float(f"{(estimate.value if end is None else end) / scale.divisor:.6g}") for end in ends]


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


# Serving curves --------------------------------------------------------------------------------------------------


def serving_figures(model: ModelSummary, partners: Sequence[ModelSummary]) -> tuple[Figure, ...]:
    """Output speed against concurrency, and time per token against output speed, beside the matched models."""
    if not any(len(points) > 1 for points in _workloads(model).values()):
        return ()
    return (
        _curves("figure-throughput", model, partners, by_concurrency=True),
        _curves("figure-latency", model, partners, by_concurrency=False),
    )


def _workloads(model: ModelSummary) -> dict[tuple[str | float, ...], list[PointKey]]:
    """The closed loops of each workload."""
    found: dict[tuple[str | float, ...], list[PointKey]] = {}
    for point in model.points:
        if point.key.kind == "closed":
            found.setdefault(point.key.workload, []).append(point.key)
    return found


def _curves(figure_id: str, model: ModelSummary, partners: Sequence[ModelSummary], *, by_concurrency: bool) -> Figure:
    workloads = _workloads(model)
    traces = []
    for number, one in enumerate((model, *partners)):
        for keys in workloads.values():
            known = [key for key in keys if one.point(key) is not None]
            if known:
                name = plotly_text(one.model)
                name += f", {point_text(known[0])}" if len(workloads) > 1 else ""
                traces.append(_curve(one, known, name, _DASHES[number % len(_DASHES)], by_concurrency=by_concurrency))
    loads = sorted({int(key.level) for keys in workloads.values() for key in keys})
    speed = {"title": {"text": "Output (tokens/s), \u2191 better"}, "rangemode": "tozero"}
    if by_concurrency:
        ticks = {"type": "log", "tickmode": "array", "tickvals": loads, "ticktext": [str(load) for load in loads]}
        layout = {"xaxis": {"title": {"text": "Concurrent requests"}, **ticks}, "yaxis": speed}
        caption = "Output speed against load, with 95 % intervals."
    else:
        time = {"title": {"text": "TPOT p50 (ms), \u2193 better"}, "rangemode": "tozero"}
        layout = {"xaxis": speed, "yaxis": time}
        caption = "Median time per output token against output speed; the labels are concurrent requests."
    return Figure(figure_id, caption, {"data": traces, "layout": layout})


def _curve(
    model: ModelSummary, keys: Sequence[PointKey], name: str, dash: str, *, by_concurrency: bool
) -> dict[str, Any]:
    speed = [_ends(one, Scale("", 1.0)) for key in keys if (one := model.estimate("output_tokens_per_s", key))]
    time = [_ends(one, Scale("ms", 1e-3)) for key in keys if (one := model.estimate("tpot_p50_s", key))]
    kind, main = kind_of(model) if kind_of(model) != "unknown" else "muted", dash == "solid"
    colour = f"@{kind}"
    trace: dict[str, Any] = {
        "type": "scatter", "name": name, "cliponaxis": False, "opacity": 1.0 if main else 0.55,
        "line": {"color": colour, "width": 2.2 if main else 1.2, "dash": dash},
        "marker": {"color": colour, "size": 8 if main else 6, "symbol": _SYMBOLS[kind_of(model)]},
        "mode": "lines+markers",
    }
    loads = [int(key.level) for key in keys]
    if by_concurrency:
        hover = "%{x} concurrent: %{y:.3s} tokens/s"
        return {**trace, "x": loads, **_along("y", speed, colour), "hovertemplate": hover}
    hover = "%{text} concurrent: %{x:.3s} tokens/s, %{y:.3g} ms"
    labels = {"text": [str(load) for load in loads], "textposition": "top center", "textfont": {"color": "@muted"}}
    trace |= labels | {"mode": "lines+markers+text" if main else "lines+markers", "hovertemplate": hover}
    return trace | _along("x", speed, colour) | _along("y", time, colour)


def _along(axis: str, values: Sequence[Sequence[float]], colour: str) -> dict[str, Any]:
    """The values on one axis with their error bars."""
    return {
        axis: [value for value, _, _ in values],
        f"error_{axis}": {
            "type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": colour,
            "array": [high - value for value, _, high in values],
            "arrayminus": [value - low for value, low, _ in values],
        },
    }


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
        (name, member.model, _ends(one, scale)[0])
        for group, name in chosen
        for member in group.members
        if (one := comparable(member, view.score, None))
    ]
    means = [
        (name, _ends(one, scale)) for group, name in chosen if (one := comparable(group, view.score, None))
    ]
    return [
        {
            "type": "scatter", "mode": "markers", "name": f"a training, {kind}", "y": [name for name, _, _ in known],
            "x": [value for _, _, value in known], "text": [plotly_text(model) for _, model, _ in known],
            "hovertemplate": "%{text}: %{x:.3g}<extra></extra>",
            "marker": {"color": colour, "symbol": f"{_SYMBOLS[kind]}-open", "size": 10, "line": {"width": 1.6}},
        },
        {
            "type": "scatter", "mode": "markers", "name": f"mean, {kind}", "y": [name for name, _ in means],
            **_along("x", [ends for _, ends in means], colour),
            "hovertemplate": "mean: %{x:.3g}<extra></extra>",
            "marker": {"color": colour, "symbol": "line-ns-open", "size": 16, "line": {"width": 2.5}},
        },
    ]
