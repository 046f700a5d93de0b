"""Charts of the section: distinct experts against the tokens of a step, and what the expert tells about the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.pages.experts_section.works import PHASE_WORDS, PartOfWork, chance_information, layer_title, title_of
from harness.pages.parts import Figure
from harness.pages.plotting import DASHES, load_axis, plotly_text
from harness.quantities import count_of, listed, significant
from harness.routing.summary import DistinctPoint, Specialisation
from harness.routing.tokens import PHASES, Phase
from harness.summary import RoutedWork

_MOST_LINES = 5
_MARKERS = ("circle", "diamond", "triangle-up", "star", "hexagon")


_APART = 1.9
"""How many times the tick before it the last one of a logarithmic axis is at least."""


def distinct_figures(parts: Sequence[PartOfWork]) -> tuple[Figure, ...]:
    """Decode, then prefill: one chart each where any work has it."""
    found = (_distinct_figure([part for part in parts if part.phase == phase], phase) for phase in reversed(PHASES))
    return tuple(figure for figure in found if figure)


def _distinct_figure(parts: Sequence[PartOfWork], phase: Phase) -> Figure | None:
    shown = [part for part in parts if part.routing.distinct][:_MOST_LINES]
    if not shown:
        return None
    widest = max((part.routing.distinct for part in shown), key=lambda points: points[-1].batch)
    traces = [*_band(widest), *(_measured(part, number) for number, part in enumerate(shown))]
    left_out = len([part for part in parts if part.routing.distinct]) - len(shown)
    caption = (
        f"{PHASE_WORDS[phase]}: distinct experts of a layer that a step uses, mean over layers and steps, against the "
        "tokens in the step. The band is what top-k routing allows, the dashed line uniform routing."
    )
    if left_out:
        caption += f" {count_of(left_out, 'further piece')} of work {'is' if left_out == 1 else 'are'} in the table."
    layout = {
        "xaxis": load_axis(_ticks([point.batch for point in widest]), "Tokens in a step"),
        "yaxis": {"title": {"text": "Distinct experts"}, "rangemode": "tozero"},
    }
    return Figure(f"figure-distinct-{phase}", caption, {"data": traces, "layout": layout})


def _band(points: Sequence[DistinctPoint]) -> list[dict[str, Any]]:
    """What the bounds leave, and uniform routing within it."""
    line: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": [point.batch for point in points]}
    edge = {**line, "line": {"color": "@line", "width": 1}, "hoverinfo": "skip"}
    return [
        {**edge, "y": _digits(point.low for point in points), "showlegend": False},
        {**edge, "y": _digits(point.high for point in points), "fill": "tonexty", "fillcolor": "@panel",
         "name": "possible"},
        {**line, "y": _digits(point.expected for point in points), "name": "uniform routing",
         "line": {"color": "@muted", "width": 1.6, "dash": "dash"},
         "hovertemplate": "%{x} tokens: %{y:.3~g} if uniform<extra></extra>"},
    ]


def _measured(part: PartOfWork, number: int) -> dict[str, Any]:
    points, name = part.routing.distinct, plotly_text(title_of(part.work), 24)
    return {
        "type": "scatter", "mode": "lines+markers", "name": name, "cliponaxis": False,
        "x": [point.batch for point in points], "y": _digits(point.measured for point in points),
        "line": {"color": "@sparse", "width": 2.2 if number == 0 else 1.3, "dash": DASHES[number % len(DASHES)]},
        "marker": {"color": "@sparse", "size": 7, "symbol": _MARKERS[number % len(_MARKERS)]},
        "customdata": [count_of(point.steps, "step") for point in points],
        "hovertemplate": f"{name}, %{{x}} tokens: %{{y:.3~g}} (%{{customdata}})<extra></extra>",
    }


def _digits(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def information_figure(found: Specialisation, works: Mapping[str, RoutedWork]) -> Figure | None:
    """Mutual information of expert and work by layer; nothing where two layers or one make no line."""
    if len(found.layers) < 3:
        return None
    layers = [layer_title(layer, found.layers) for layer in found.layers]
    places = list(range(len(layers)))
    step = max(1, -(-len(layers) // 12))
    line: dict[str, Any] = {"type": "scatter", "x": places, "customdata": layers}
    traces = [{
        **line, "mode": "lines+markers", "name": "measured", "y": _digits(found.information),
        "line": {"color": "@sparse", "width": 2}, "marker": {"color": "@sparse", "size": 6},
        "hovertemplate": "layer %{customdata}: %{y:.3~g} bits<extra></extra>",
    }]
    named = [works[name] for name in found.names if name in works]
    chance = [chance_information(named, layer) for layer in found.layers]
    known = [one for one in chance if one is not None]
    if len(known) == len(chance) and len(named) == len(found.names):
        traces.append({
            **line, "mode": "lines", "name": "by chance", "y": _digits(known),
            "line": {"color": "@muted", "width": 1.4, "dash": "dot"},
            "hovertemplate": "layer %{customdata}: %{y:.3~g} bits by chance<extra></extra>",
        })
    layout = {
        "xaxis": {"title": {"text": "Layer"}, "tickvals": places[::step], "ticktext": layers[::step]},
        "yaxis": {"title": {"text": "Information (bits)"}, "rangemode": "tozero"},
    }
    names = listed(plotly_text(name, 24) for name in found.names) if len(found.names) <= 4 else "the tasks"
    caption = (
        f"What the chosen expert tells about which of {names} a token belongs to, by layer: mutual information, each "
        "with the same weight, prefill and decode taken together. The dotted line is what independent tokens that are "
        "routed alike would show."
    )
    return Figure("figure-information", caption, {"data": traces, "layout": layout})


def information_words(found: Specialisation) -> str:
    """The information of every layer in a sentence; empty where there is a chart."""
    if len(found.layers) >= 3:
        return ""
    bits = (
        f"{significant(value)} bits in layer {layer_title(layer, found.layers)}"
        for layer, value in zip(found.layers, found.information, strict=True)
    )
    return (
        f"What the chosen expert tells about the task that a token belongs to (mutual information): {listed(bits)}; "
        "prefill and decode taken together."
    )


def _ticks(batches: Sequence[int]) -> list[int]:
    """The batches, without a last one whose label would run into that before."""
    crowded = len(batches) > 1 and batches[-1] < _APART * batches[-2]
    return [*batches[:-1]] if crowded else [*batches]
