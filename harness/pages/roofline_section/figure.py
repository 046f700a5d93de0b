"""The plot: every operating point by its intensity and what it achieved, under the lines of the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from harness.pages.parts import Figure
from harness.pages.plotting import SYMBOLS, plotly_text
from harness.pages.roofline_section.roofs import PHASES, Placed, RoofLine, flops_text, rates_text
from harness.pages.suite_view import kind_of, load_text, workload_titles
from harness.quantities import significant
from harness.summary import ModelSummary, OperatingPoint

_MARGIN = 2.0
_FEW_DECADES = 2.5
_LABELS_APART = 1.6
"""Lines that are nearer than this have no room for a label each."""


def roofline_figure(model: ModelSummary, placed: Sequence[Placed], roofs: Sequence[RoofLine]) -> Figure:
    """The lines, then the points of each workload and phase, which lie over them."""
    span, labels = _span(placed, roofs), _labels(roofs)
    traces = [_roof_trace(roof, roofs, span, labels.get(roof, "")) for roof in roofs]
    titles = workload_titles(point.key for point, _ in placed)
    for workload, title in titles.items():
        for phase, words in PHASES:
            some = [one for one in placed if one.point.key.workload == workload and one.phase.phase == phase]
            name = f"{plotly_text(title, 24)}, {words.lower()}" if len(titles) > 1 else words
            closed = [one for one in some if one.point.key.kind == "closed"]
            other = [one for one in some if one.point.key.kind != "closed"]
            for joined, group in ((True, closed), (False, other)):
                if group:
                    traces.append(_points_trace(model, group, name, joined=joined, listed=joined or not closed))
    ends = [value for trace in traces for value in trace["y"]]
    layout = {
        "xaxis": _decades(span, "Intensity (FLOPs/byte)"),
        "yaxis": _decades((min(ends) / 1.6, max(ends) * 1.6), "Achieved (FLOP/s), \u2191 better"),
    }
    lines = "The lines are what the device did at most, slanted ones by how many bytes a step reads"
    if any(not roof.used for roof in roofs):
        lines += ", thinner in precisions that are not used here"
    if all(roof.source == "data sheet" for roof in roofs):
        lines = "The dotted lines are what the data sheet of the device promises"
    elif any(roof.source == "data sheet" for roof in roofs):
        lines += "; dotted, what its data sheet promises"
    caption = (
        f"Arithmetic of every operating point over its memory traffic. {lines}. Prefill is open and decode filled; "
        "the labels are concurrent requests, or a rate of arrivals."
    )
    return Figure("figure-roofline", caption, {"data": traces, "layout": layout})


def _span(placed: Sequence[Placed], roofs: Sequence[RoofLine]) -> tuple[float, float]:
    """The intensities that the plot shows: all points and the ridges, with a margin."""
    memory = [roof.rate for roof in roofs if roof.kind == "memory"]
    ridges = [roof.rate / rate for roof in roofs if roof.kind == "compute" for rate in memory]
    known = [*(one.phase.intensity_flops_per_byte for one in placed), *ridges]
    return min(known) / _MARGIN**2, max(known) * _MARGIN


def _labels(roofs: Sequence[RoofLine]) -> dict[RoofLine, str]:
    """The text at each line; those that are too near to another of their kind share one, the data sheet's have none."""
    found: dict[RoofLine, str] = {}
    for kind in ("memory", "compute"):
        last: list[RoofLine] = []
        some = (roof for roof in roofs if roof.kind == kind and roof.source == roofs[0].source)
        for roof in sorted(some, key=lambda one: one.rate):
            last = [*last, roof] if last and roof.rate < _LABELS_APART * last[0].rate else [roof]
            found[last[0]] = rates_text(last) if kind == "memory" else ", ".join(one.name for one in last)
    return found


def _roof_trace(roof: RoofLine, roofs: Sequence[RoofLine], span: tuple[float, float], label: str) -> dict[str, Any]:
    """A memory line up to the highest peak of its source, a compute line from the first memory line on."""
    # texts at the very edge would be left out
    low, high = span[0] * 1.001, span[1] / 1.001
    main = roof.used and roof.source == roofs[0].source
    others = [one.rate for one in roofs if one.kind != roof.kind and one.source == roof.source]
    if roof.kind == "memory":
        ridge = min(max(others, default=high * roof.rate) / roof.rate, high)
        x, y, texts = [low, ridge], [low * roof.rate, ridge * roof.rate], [label, ""]
    else:
        x, y = [max(roof.rate / max(others), low) if others else low, high], [roof.rate, roof.rate]
        texts = ["", label]
    return {
        "type": "scatter", "mode": "lines+text", "x": _digits(x), "y": _digits(y), "name": "roof",
        "line": {"color": "@ink" if main else "@muted", "dash": "dot" if roof.source == "data sheet" else "solid",
                 "width": 1.8 if main else 1.1},
        "text": [plotly_text(text, 80) for text in texts], "showlegend": False, "hoverinfo": "skip",
        "textposition": "bottom right" if roof.kind == "memory" else "top left", "cliponaxis": False,
        "textfont": {"color": "@muted", "size": 11},
    }


def _decades(ends: tuple[float, float], title: str) -> dict[str, Any]:
    """A logarithmic axis with a tick a decade, or three where there are few."""
    low, high = (math.log10(end) for end in ends)
    digits = (1, 2, 5) if high - low < _FEW_DECADES else (1,)
    ticks = [digit * 10.0**power for power in range(math.floor(low), math.ceil(high)) for digit in digits]
    return {"title": {"text": title}, "type": "log", "range": [round(low, 4), round(high, 4)], "tickmode": "array",
            "tickvals": ticks, "ticktext": [_prefixed(tick) for tick in ticks]}


def _prefixed(tick: float) -> str:
    """1e9 as "1 G": a tick's number with the prefix of its thousands."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if tick >= factor:
            return f"{tick / factor:g} {prefix}"
    return f"{tick:g}"


def _points_trace(
    model: ModelSummary, placed: Sequence[Placed], name: str, *, joined: bool, listed: bool
) -> dict[str, Any]:
    """The points of one workload and phase, by load; those of closed loops are joined by a thin line."""
    kind = kind_of(model)
    colour = f"@{kind}" if kind != "unknown" else "@muted"
    decode = placed[0].phase.phase == "decode"
    symbols = ["x" if one.point.flags else SYMBOLS[kind] + ("" if decode else "-open") for one in placed]
    return {
        "type": "scatter", "mode": "lines+markers+text" if joined else "markers+text", "name": name,
        "showlegend": listed, "cliponaxis": False,
        "x": _digits(one.phase.intensity_flops_per_byte for one in placed),
        "y": _digits(one.phase.achieved_flops_per_s for one in placed),
        "line": {"color": colour, "width": 0.8}, "textfont": {"color": "@muted", "size": 11},
        "marker": {"color": colour, "size": 9, "symbol": symbols, "line": {"color": colour, "width": 1.6}},
        "text": [_label(one.point) for one in placed], "textposition": "bottom center",
        "customdata": [
            f"{plotly_text(load_text(one.point.key))}<br>{flops_text(one.phase.achieved_flops_per_s)} at "
            f"{significant(one.phase.intensity_flops_per_byte)} FLOPs/byte<br>{significant(100 * one.phase.share)} % "
            "of the roof" for one in placed
        ],
        "hovertemplate": f"{name}, %{{customdata}}<extra></extra>",
    }


def _label(point: OperatingPoint) -> str:
    if point.concurrency is not None:
        return str(point.concurrency)
    return f"{point.key.level:g}/s" if point.key.kind == "open" else point.key.kind


def _digits(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
