"""What charts are made of: text, error bars, axes. Colours are names ("@sparse") that a page looks up in its styles."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from harness.quantities import Scale, plain, significant
from harness.stats import Estimate

SYMBOLS = {"sparse": "circle", "dense": "square", "unknown": "diamond"}
BETTER = {"higher": ", \u2191 better", "lower": ", \u2193 better", "none": ""}
"""What the title of an axis says of which way is better."""
DASHES = ("solid", "dot", "dash", "dashdot", "longdash")
_NAME_LIMIT = 40
_LOG_FROM = 8.0
_MOST_TICKS = 9
_FURTHEST = 2.5
"""How many times beyond the values a logarithmic axis shows the ends of intervals."""
_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)


def plotly_text(text: str, limit: int = _NAME_LIMIT) -> str:
    """Foreign text for plotly, which reads some HTML in labels: shown as it is."""
    return html.escape(plain(text, limit), quote=False).replace("\n", " ")


def ends(estimate: Estimate, scale: Scale) -> list[float]:
    """Value, low and high on a scale, to six digits; the value itself where there is no interval."""
    sides = (estimate.value, *((estimate.low, estimate.high) if estimate.has_interval else (None, None)))
    return [float(f"{(estimate.value if end is None else end) / scale.divisor:.6g}") for end in sides]


def along(axis: str, values: Sequence[Sequence[float]], colour: str) -> dict[str, Any]:
    """The values on one axis with their error bars; each is value, low and high."""
    return {
        axis: [value for value, _, _ in values],
        f"error_{axis}": {
            "type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": colour,
            "array": [high - value for value, _, high in values],
            "arrayminus": [value - low for value, low, _ in values],
        },
    }


def load_axis(loads: Iterable[float], title: str) -> dict[str, Any]:
    """A logarithmic axis with a tick for every load, for every other one where there are many."""
    known = sorted(set(loads))
    step = math.ceil(len(known) / (_MOST_TICKS + 1))
    shown = known[::-1][::step][::-1]
    return {"title": {"text": title}, "type": "log", "tickmode": "array", "tickvals": shown,
            "ticktext": [f"{load:g}" for load in shown]}


def value_axis(values: Iterable[float], title: str, ends: Iterable[float] = ()) -> dict[str, Any]:
    """An axis from 0, or a logarithmic one where the values span more than a factor of 8; `ends` are of intervals."""
    known = [value for value in values if value > 0]
    if not known or max(known) / min(known) <= _LOG_FROM:
        return {"title": {"text": title}, "rangemode": "tozero"}
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    digits = (1, 2, 5) if 3 * (high - low) <= _MOST_TICKS else (1,)
    ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in digits]
    return _logarithmic(ticks, title) | {"range": _range(known, ends)}


def _range(values: Sequence[float], ends: Iterable[float]) -> list[float]:
    """The exponents from the lowest to the highest of values and ends, with a margin.

    An interval that goes down to nothing would fill the axis: its bar leaves the chart where it is far below all
    values.
    """
    least, most = min(values) / _FURTHEST, max(values) * _FURTHEST
    reached = [math.log10(min(max(end, least), most)) for end in (*values, *ends)]
    pad = 0.06 * (max(reached) - min(reached))
    return [round(min(reached) - pad, 4), round(max(reached) + pad, 4)]


def ratio_axis(values: Iterable[float], title: str) -> dict[str, Any]:
    """A logarithmic axis for ratios, around 1."""
    known = [*values, 0.9, 1.1]
    return _logarithmic([one for one in _RATIOS if 0.9 * min(known) <= one <= 1.1 * max(known)], title)


def _logarithmic(ticks: Sequence[float], title: str) -> dict[str, Any]:
    return {"title": {"text": title}, "type": "log", "tickmode": "array", "tickvals": list(ticks),
            "ticktext": [f"{tick:g}" if tick < 1000 else significant(tick) for tick in ticks]}
