"""Charts as plain data: plotly figures whose colours are names ("@sparse") that the page finds in its style sheet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from harness.metrics import METRICS, Metric
from harness.pages.parts import Figure
from harness.pages.plotting import BETTER, SYMBOLS, along, ends, plotly_text
from harness.pages.suite_view import (
    SuiteView,
    at_load,
    comparable,
    estimate_of,
    kind_of,
    scale_for,
    scale_of_metric,
    subjects_of,
)
from harness.quantities import Scale, plain
from harness.ranking import held_together
from harness.stats import Estimate
from harness.summary import ModelSummary

COMPACT = (
    "mean_score", "decode_flops_per_token", "active_parameters", "total_parameters", "weights_bytes",
    "resident_peak_bytes", "device_peak_bytes", "output_tokens_per_s", "ttft_p50_s", "tpot_p50_s",
)
"""The metrics of the plot beside a leaderboard."""
_COMPACT_TASKS = 12
_LOG_FROM = 8.0
_NAME_LIMIT = 80
_SIZES = ("decode_flops_per_token", "prefill_flops_per_token")
_GROUPS = (
    "Scores", "Size and arithmetic", "Memory", "Speed and cost", "Latency", "Use of the device", "Experts",
)
_COSTS = ("decode_flops_per_token", "active_parameters", "resident_peak_bytes")
_GOODS = ("output_tokens_per_s", "requests_per_s")
"""What a plot is of at first: a score, or else a speed, and what it costs."""
_UNFIT = ("startup_cold_s", "startup_unknown_s")
"""No axes of a frontier: of one repeat each, with whatever the system and the engine had kept."""
_LATENCY = re.compile(r"_(mean|p\d+)_s$")


# The scatter plot of any two metrics ------------------------------------------------------------------------------


def pareto_data(view: SuiteView, *, every: bool = False) -> dict[str, Any] | None:
    """Every model's value of every metric at the leading load, for `pareto.js`; None where no plot can be made of it.

    A few metrics unless `every` one is asked for, each where two models at least have it that can be held against each
    other: what is not alike (`harness.ranking`) has the number of its reason in the column's `out`. Recipes with
    several trainings stand for their models. Metrics of which neither more nor less is better count as costs.
    """
    subjects = subjects_of(view.models, view.groups)
    known = {key: _alike(view, subjects, key) for key in _keys(view, every=every)}
    known = {key: one for key, one in known.items() if sum(value is not None for value in one.values) >= 2}
    columns = {key: one.values for key, one in known.items()}
    scores = [key for key in (view.score, "mean_score", *columns) if key in columns and "score" in key]
    costs = [key for key in _COSTS if key in columns]
    if every:
        scores += [key for key in (*_GOODS, *columns) if key in columns]
        costs += [key for key in columns if key != scores[0]]
    if not scores or not costs:
        return None
    columns = dict(sorted(columns.items(), key=lambda entry: _GROUPS.index(_group(view.metric(entry[0])))))
    scales = {key: _scale(view, key, column) for key, column in columns.items()}
    reasons: dict[str, int] = {}
    out = {key: {index: reasons.setdefault(reason, len(reasons)) for index, reason in known[key].out.items()}
           for key in columns}
    return {
        "metrics": [_axis(view, key, column, scales[key]) for key, column in columns.items()],
        "points": [_point(view, model) for model in subjects],
        "columns": {
            key: column_of(column, scales[key]) | ({"out": out[key]} if out[key] else {})
            for key, column in columns.items()
        },
        "reasons": list(reasons),
        "x": costs[0],
        "y": scores[0],
    }


class _Column(NamedTuple):
    """A metric of all subjects, in their order."""

    values: list[Estimate | None]
    out: dict[int, str]
    """Why some that have a value are not shown beside the others, by place."""


def _alike(view: SuiteView, subjects: Sequence[ModelSummary], key: str) -> _Column:
    """The values that can be held against each other, as where models are ranked: of one hardware, asked alike."""
    found = {one.model: estimate_of(one, key, view.point) for one in subjects}
    together = held_together(subjects, view.metric(key), view.point, lambda one: found[one.model])
    shown = {one.model: value for one, value in together.entrants}
    return _Column(
        [shown.get(one.model) for one in subjects],
        {index: together.out[one.model] for index, one in enumerate(subjects)
         if found[one.model] and one.model in together.out},
    )


def _keys(view: SuiteView, *, every: bool) -> list[str]:
    """The metrics to offer, scores first."""
    tasks = [f"score:{task}" for task in view.tasks]
    if not every:
        return [*COMPACT[:1], *tasks[:_COMPACT_TASKS], *COMPACT[1:]]
    rest = [key for key, metric in METRICS.items() if metric.scenario != "quality" and key not in _UNFIT]
    return ["mean_score", *tasks, *rest]


def _scale(view: SuiteView, key: str, found: Iterable[Estimate | None]) -> Scale:
    return scale_of_metric(view.metric(key), [one.value for one in found if one is not None])


def column_of(found: Sequence[Estimate | None], scale: Scale) -> dict[str, list[float | None]]:
    """Values on a scale, one a model, with both ends of their intervals where any has a spread or no interval."""
    values = [None if one is None else _short(one.value, scale) for one in found]
    if all(one is None or one.low == one.value == one.high for one in found):
        return {"v": values}
    lows = [None if one is None or one.low is None else _short(one.low, scale) for one in found]
    highs = [None if one is None or one.high is None else _short(one.high, scale) for one in found]
    return {"v": values, "lo": lows, "hi": highs}


def _short(value: float, scale: Scale) -> float:
    """To six digits, a whole number without a point."""
    short = float(f"{value / scale.divisor:.6g}")
    return int(short) if short.is_integer() else short


def _axis(view: SuiteView, key: str, found: Sequence[Estimate | None], scale: Scale) -> dict[str, Any]:
    metric = view.metric(key)
    sizes = [one.value for one in found if one is not None]
    loaded = metric.scenario in ("serving", "routing") and key not in _SIZES
    return {
        "key": key,
        "title": plain(metric.title, _NAME_LIMIT),
        "at": at_load(view.point) if loaded and view.point else "",
        "group": _group(metric),
        "unit": scale.unit,
        "direction": "higher" if metric.better == "higher" else "lower",
        "neutral": metric.better == "none",
        "log": metric.unit != "1" and min(sizes) > 0 and max(sizes) / min(sizes) > _LOG_FROM,
        "evidence": _rest_of_name(view, key),
    }


def _group(metric: Metric) -> str:
    """Under which heading a reader finds a metric."""
    if metric.scenario == "serving":
        if metric.key in _SIZES:
            return "Size and arithmetic"
        if _LATENCY.search(metric.key):
            return "Latency"
        return "Use of the device" if "mfu" in metric.key or "mbu" in metric.key else "Speed and cost"
    titles = {"quality": "Scores", "architecture": "Size and arithmetic", "memory": "Memory", "routing": "Experts"}
    return titles[metric.scenario]


def _rest_of_name(view: SuiteView, key: str) -> str:
    """What follows the model in the name of an estimate; empty where no model has evidence."""
    for model in view.models:
        name = view.evidence(model, key, view.point)
        if name:
            return name.split(".", 2)[2]
    return ""


def _point(view: SuiteView, model: ModelSummary) -> dict[str, Any]:
    return {
        "name": plain(model.model, _NAME_LIMIT),
        "kind": kind_of(model),
        "href": view.link(model).href,
        "evidence": view.evidence_of.get((model.model, bool(model.members)), ""),
    }


# Seeds -----------------------------------------------------------------------------------------------------------


def seeds_figure(view: SuiteView) -> Figure | None:
    """Every training's score in a row for its recipe, with the recipe's mean and interval."""
    scale = scale_for(view, view.score)
    groups = [group for group in view.groups if comparable(group, view.score, None)]
    if not groups:
        return None
    better = view.metric(view.score).better
    sign = 1.0 if better == "higher" else -1.0  # the last stands at the top
    groups = sorted(groups, key=lambda group: sign * (one.value if (one := comparable(group, view.score, None)) else 0))
    names = [plotly_text(group.model) for group in groups]
    traces = []
    for kind in ("sparse", "dense", "unknown"):
        chosen = [(group, name) for group, name in zip(groups, names, strict=True) if kind_of(group) == kind]
        if chosen:
            traces += _seed_traces(view, chosen, kind, scale)
    unit = f" ({scale.unit})" if scale.unit else ""
    layout = {
        "xaxis": {"title": {"text": f"{plotly_text(view.score_title).capitalize()}{unit}{BETTER[better]}"}},
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
