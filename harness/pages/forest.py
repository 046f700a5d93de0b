"""The differences of two models' scores, one line a task with its interval, the mean below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.compare import Comparison, Effect
from harness.pages.parts import Figure
from harness.pages.plotting import along, plotly_text
from harness.wording import certain, effect_text, in_points, interval, verdict_words

_MOST = 40
"""Tasks that are drawn, those with the largest differences; the table has all."""
_ROW_PX, _FRAME_PX = 26, 130
_MEAN = "Mean score"


def forest_figure(pair: Comparison) -> tuple[Figure, int] | None:
    """The figure and its height in px; None with fewer than two tasks whose scores are shares."""
    tasks = [one for one in pair.effects if one.metric.startswith("score:") and in_points(one)]
    if len(tasks) < 2:
        return None
    number = len(tasks)
    tasks = sorted(tasks, key=lambda one: -abs(one.contrast.value))[:_MOST]
    tasks.sort(key=lambda one: one.contrast.value)
    mean = pair.effect("mean_score")
    rows = [*([mean] if mean is not None and in_points(mean) else []), *tasks]
    names = [_MEAN if one.metric == "mean_score" else plotly_text(one.title) for one in rows]
    sure, open_ = "certain after correction", "not told apart, or too little data"
    traces = [
        _trace([(name, one) for name, one in zip(names, rows, strict=True) if certain(one) == wanted], title, wanted)
        for title, wanted in ((sure, True), (open_, False))
    ]
    equal = {"type": "line", "xref": "x", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1,
             "line": {"color": "@muted", "width": 1.2, "dash": "dot"}}
    a, b = plotly_text(pair.a.model), plotly_text(pair.b.model)
    layout = {
        "xaxis": {"title": {"text": f"{a} \u2212 {b} (points)"}},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": names, "showgrid": True},
        "shapes": [equal],
    }
    more = f" Of {number} tasks those with the {_MOST} largest differences." if number > _MOST else ""
    caption = (
        "The difference in every task with its 95 % interval, on the items that both were asked where they are known; "
        f"the dotted line means equal, full marks are certain after correction.{more}"
    )
    content = {"data": [trace for trace in traces if trace["x"]], "layout": layout}
    return Figure("figure-tasks", caption, content), _FRAME_PX + _ROW_PX * len(rows)


def _trace(rows: Sequence[tuple[str, Effect]], title: str, sure: bool) -> dict[str, Any]:
    ends = [
        [100 * (one.contrast.value if end is None else end)
         for end in (one.contrast.value, one.contrast.low, one.contrast.high)]
        for _, one in rows
    ]
    texts = [f"{effect_text(one)} ({interval(one)}), {verdict_words(one)}" for _, one in rows]
    return {
        "type": "scatter", "mode": "markers", "name": title, "y": [name for name, _ in rows], "text": texts,
        "hovertemplate": "%{y}: %{text}<extra></extra>", "cliponaxis": False,
        "marker": {
            "color": "@ink" if sure else "@muted", "symbol": "circle" if sure else "circle-open", "size": 10,
            "line": {"width": 1.6},
        },
        **along("x", ends, "@ink" if sure else "@muted"),
    }
