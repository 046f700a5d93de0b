"""Serving curves of models on shared axes: output speed against load, latency against output speed or request rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.compare import Comparison
from harness.crossover import Crossover
from harness.metrics import METRICS
from harness.pages.parts import Figure
from harness.pages.plotting import DASHES, SYMBOLS, along, ends, load_axis, plotly_text, ratio_axis, value_axis
from harness.pages.suite_view import kind_of, load_text, workload_titles
from harness.quantities import Scale
from harness.speed_words import changes_lead
from harness.summary import LoadKind, ModelSummary, OperatingPoint, PointKey, same_hardware

_SPEED = "output_tokens_per_s"
_TTFT = ("ttft_p50_s", "ttft_p99_s")
_MILLISECONDS = Scale("ms", 1e-3)
_UNITS = Scale("", 1.0)


@dataclass(frozen=True)
class Line:
    """How one model is drawn."""

    model: ModelSummary
    dash: str = "solid"
    main: bool = True
    """Whether the chart is about it: partners are drawn thinner and lighter."""
    labels: str = "top center"
    """Where the labels of its points are."""

    def points(self, keys: Sequence[PointKey], metrics: Sequence[str]) -> list[OperatingPoint]:
        """Its points at these keys that have every one of these metrics."""
        found = (self.model.point(key) for key in keys)
        return [point for point in found if point and all(metric in point.estimates for metric in metrics)]


class _Axes(NamedTuple):
    """What a chart draws: metrics along y, against one along x; without one against the load."""

    y: tuple[str, ...]
    y_title: str
    x: str | None = None
    x_title: str = "Concurrent requests"


_THROUGHPUT = _Axes((_SPEED,), "Output (tokens/s), \u2191 better")
_PACE = _Axes(("tpot_p50_s",), "TPOT p50 (ms), \u2193 better", _SPEED, "Output (tokens/s), \u2191 better")
_WAITING = _Axes(_TTFT, "TTFT (ms), \u2193 better", _SPEED, "Output (tokens/s), \u2191 better")
_OPEN = _Axes(_TTFT, "TTFT (ms), \u2193 better", None, "Requests/s")
_MARGIN = 0.06
"""How much wider than its loads an axis is on either side, as a share."""
_PERCENTILES = "the median as a solid line, the 99th percentile dotted and thinner"


def model_figures(kind: LoadKind, model: ModelSummary, partners: Sequence[ModelSummary]) -> tuple[Figure, ...]:
    """The curves of a model over loads of one kind, each workload for itself, beside the matched models.

    Partners on other hardware, with which no timing is compared, are not drawn.
    """
    partners = [one for one in partners if same_hardware(model, one)]
    lines = [Line(model), *(Line(one, DASHES[1:][i % len(DASHES[1:])], False) for i, one in enumerate(partners))]
    figures: list[Figure] = []
    curves = curves_of([point.key for point in model.points if point.key.kind == kind])
    titles = workload_titles(keys[0] for keys in curves)
    for number, keys in enumerate(curves):
        workload = f"{titles[keys[0].workload]}: " if len(titles) > 1 else ""
        figures += load_figures(f"figure-{kind}-{number}", lines, keys, workload)
    return tuple(figures)


def curves_of(keys: Sequence[PointKey]) -> list[list[PointKey]]:
    """The keys by what points of one curve share, by rising load; a curve has at least two."""
    curves: dict[tuple[object, ...], list[PointKey]] = {}
    for key in sorted(keys):
        if key.kind in ("closed", "open"):
            curves.setdefault((key.workload, key.kind, key.burstiness), []).append(key)
    return [found for found in curves.values() if len(found) > 1]


def load_figures(stem: str, lines: Sequence[Line], keys: Sequence[PointKey], prefix: str = "") -> list[Figure]:
    """Every chart of one curve's points, closed or open; ids begin with `stem`, captions with `prefix`."""
    if keys[0].kind == "open":
        caption = f"Time to first token against the request rate, {_PERCENTILES}, with 95 % intervals."
        return [_figure(f"{stem}-rate", lines, keys, _OPEN, prefix + caption)]
    captions = (
        ("throughput", _THROUGHPUT, "Output speed against load, with 95 % intervals."),
        ("pace", _PACE, "Median time per output token against output speed; the labels are concurrent requests."),
        ("waiting", _WAITING, f"Time to first token against output speed, {_PERCENTILES}."),
    )
    return [_figure(f"{stem}-{name}", lines, keys, axes, prefix + words) for name, axes, words in captions]


def _figure(figure_id: str, lines: Sequence[Line], keys: Sequence[PointKey], axes: _Axes, caption: str) -> Figure:
    traces, flagged = [], False
    for line in lines:
        wanted = (*axes.y, *((axes.x,) if axes.x else ()))
        points = line.points(keys, wanted)
        flagged = flagged or any(point.flags for point in points)
        traces += [_trace(line, points, axes, metric) for metric in axes.y if points]
    values, reached = _spanned(traces, "y")
    across, ends_across = _spanned(traces, "x")
    x = value_axis(across, axes.x_title, ends_across) if axes.x else load_axis(across, axes.x_title)
    if flagged:
        caption += " Crosses are flagged."
    return Figure(figure_id, caption, {
        "data": traces, "layout": {"xaxis": x, "yaxis": value_axis(values, axes.y_title, reached)},
    })


def _spanned(traces: Sequence[dict[str, Any]], axis: str) -> tuple[list[float], list[float]]:
    """The values of all traces on an axis, and the ends of their intervals."""
    values = [value for trace in traces for value in trace[axis]]
    bars = [(trace[axis], trace.get(f"error_{axis}")) for trace in traces]
    ends = [value + sign * length for known, bar in bars if bar
            for sign, side in ((1, "array"), (-1, "arrayminus"))
            for value, length in zip(known, bar[side], strict=True)]
    return values, ends


def _trace(line: Line, points: Sequence[OperatingPoint], axes: _Axes, metric: str) -> dict[str, Any]:
    """One line: the last metric of several is drawn dotted and thinner, and has no entry of its own in the legend."""
    tail, kind = metric != axes.y[0], kind_of(line.model)
    colour = f"@{kind}" if kind != "unknown" else "@muted"
    width = (2.2 if line.main else 1.2) * (0.6 if tail else 1.0)
    y = [ends(point.estimates[metric], _scale_of(metric)) for point in points]
    named = METRICS[metric].title.rsplit(" ", 1)[-1] + " " if len(axes.y) > 1 else ""
    unit = "ms" if metric.endswith("_s") and metric != _SPEED else "tokens/s"
    trace: dict[str, Any] = {
        "type": "scatter", "name": plotly_text(line.model.model), "cliponaxis": False, "mode": "lines+markers",
        "opacity": 1.0 if line.main else 0.55, "showlegend": not tail,
        "line": {"color": colour, "width": width, "dash": "dot" if tail else line.dash},
        "marker": {
            "color": colour, "size": (8 if line.main else 6) - 2 * tail,
            "symbol": ["x" if point.flags else SYMBOLS[kind] for point in points],
        },
        "customdata": [plotly_text(load_text(point.key)) for point in points],
        "hovertemplate": "%{customdata}: " + named + "%{y:.3s} " + unit,
        **along("y", y, colour),
    }
    if axes.x is None:
        return trace | {"x": [point.key.level for point in points]}
    trace |= along("x", [ends(point.estimates[axes.x], _UNITS) for point in points], colour)
    trace["hovertemplate"] += " at %{x:.3s} tokens/s"
    if line.main and not tail:
        labels = [f"{point.key.level:g}" for point in points]
        trace |= {"mode": "lines+markers+text", "text": labels, "textposition": line.labels,
                  "textfont": {"color": "@muted"}}
    return trace


def _scale_of(metric: str) -> Scale:
    return _MILLISECONDS if METRICS[metric].unit == "seconds" else _UNITS


# Pairs -----------------------------------------------------------------------------------------------------------


def pair_figures(pair: Comparison, keys: Sequence[PointKey], crossover: Crossover | None, stem: str) -> list[Figure]:
    """The curves of both models over one workload's loads, and the ratio of their output speeds.

    `keys` are what both were measured at, of one curve. Where there is a crossover its interval is shaded. Nothing is
    drawn of models on different hardware.
    """
    if not same_hardware(pair.a, pair.b):
        return []
    alike = kind_of(pair.a) == kind_of(pair.b)
    lines = [Line(pair.a), Line(pair.b, "dash" if alike else "solid", labels="bottom center")]
    figures = load_figures(stem, lines, keys)
    if keys[0].kind != "closed":
        return figures
    throughput, *rest = figures
    figures = [throughput, *_ratio_figures(pair, keys, f"{stem}-ratio"), *rest]
    if crossover is None:
        return figures
    sure = changes_lead(pair, crossover)
    return [_shaded(one, crossover, sure) if number < len(figures) - len(rest) else one
            for number, one in enumerate(figures)]


def _ratio_figures(pair: Comparison, keys: Sequence[PointKey], figure_id: str) -> list[Figure]:
    """The ratio of the output speeds against load; nothing where fewer than two loads can be compared."""
    effects = [one for key in keys if (one := pair.effect(_SPEED, key))]
    if len(effects) < 2:
        return []
    values = [
        [contrast.value if end is None else end for end in (contrast.value, contrast.low, contrast.high)]
        for contrast in (one.contrast for one in effects)
    ]
    loads = [one.point.level for one in effects if one.point]
    a, b = plotly_text(pair.a.model), plotly_text(pair.b.model)
    trace = {
        "type": "scatter", "mode": "lines+markers", "name": f"{a} / {b}", "x": loads, "cliponaxis": False,
        "line": {"color": "@ink", "width": 1.8}, "marker": {"color": "@ink", "size": 7},
        "hovertemplate": "%{x} concurrent: %{y:.3f} \u00d7<extra></extra>", **along("y", values, "@ink"),
    }
    equal = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": 1, "y1": 1,
             "line": {"color": "@muted", "width": 1.2, "dash": "dot"}}
    layout = {
        "xaxis": load_axis(loads, "Concurrent requests"), "shapes": [equal],
        "yaxis": ratio_axis((end for value in values for end in value), "Ratio of output tokens/s"),
    }
    caption = "Output speed of the first over that of the second, with 95 % intervals; the dotted line means equal."
    return [Figure(figure_id, caption, {"data": [trace], "layout": layout})]


def _shaded(figure: Figure, crossover: Crossover, sure: bool) -> Figure:
    """The figure with the crossover's interval as a band and its estimate as a line, over a logarithmic load axis.

    A band whose interval is open reaches to the edge of the plot; one that is not `sure` is fainter.
    """
    if crossover.concurrency is None:
        return figure
    layout = figure.content["layout"]
    edges = _edges([load for trace in figure.content["data"] for load in trace["x"]])
    low, high = (edge if end is None else end for edge, end in zip(edges, (crossover.low, crossover.high), strict=True))
    if None in (crossover.low, crossover.high):
        layout = layout | {"xaxis": layout["xaxis"] | {"range": [math.log10(edge) for edge in edges]}}
    upright = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    band = {**upright, "type": "rect", "x0": low, "x1": high, "fillcolor": "@accent",
            "opacity": 0.16 if sure else 0.09, "line": {"width": 0}}
    at = crossover.concurrency
    middle = {**upright, "type": "line", "x0": at, "x1": at, "line": {"color": "@accent", "width": 1.5, "dash": "dash"}}
    shapes = [band, middle, *layout.get("shapes", [])]
    words = f"The dashed line is {'the' if sure else 'a possible'} crossover, the band its 95 % interval"
    words += f", which is open {opened}." if (opened := _open_ends(crossover)) else "."
    return Figure(figure.id, f"{figure.caption} {words}", figure.content | {"layout": layout | {"shapes": shapes}})


def _edges(loads: Sequence[float]) -> tuple[float, float]:
    """Where a logarithmic axis around these loads begins and ends."""
    low, high = min(loads), max(loads)
    margin = (high / low) ** _MARGIN
    return low / margin, high * margin


def _open_ends(crossover: Crossover) -> str:
    """Beyond which measured loads a crossover's interval goes on; empty where it is closed."""
    ends = [f"below {crossover.lowest}"] if crossover.low is None else []
    ends += [f"above {crossover.highest}"] if crossover.high is None else []
    return " and ".join(ends)
