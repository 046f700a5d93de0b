"""A comparison as the terminal shows it: one row an effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.compare import Comparison, Effect
from harness.matching import LIKENESS
from harness.metrics import METRICS
from harness.quantities import with_unit
from harness.stats import Estimate
from harness.summary import PointKey
from harness.wording import (
    LIMIT,
    effect_text,
    in_points,
    interval,
    named,
    over_shared,
    p_text,
    short_number,
    verdict_words,
)

if TYPE_CHECKING:
    from rich.table import Table

_LEGEND = (
    f"Certain: Holm's p within its family is below {LIMIT:.2f} and the 95 % interval excludes equality. {LIKENESS}"
)


def comparison_table(comparison: Comparison) -> Table:
    """One row an effect: metric with its unit, both values, ratio or difference with its interval, p, verdict of a.

    Fits 80 columns: the effects of one load stand under it, and long names are shortened in the columns' heads.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    a, b = named(comparison.a.model), named(comparison.b.model)
    table = Table(
        title=escape(f"{a} against {b}"), caption=_LEGEND, caption_justify="left", box=SIMPLE_HEAD, padding=0,
        pad_edge=False, show_edge=False,
    )
    table.add_column("metric", overflow="fold")
    for column in short_names(a, b):
        table.add_column(escape(column), justify="right", overflow="fold")
    table.add_column("a / b or a \u2212 b, 95 %", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("a is", no_wrap=True)
    colours = {"better": "green", "worse": "red"}
    heading, workloads = "", _workload_titles(comparison.effects)
    for effect in comparison.effects:
        group = _row_group(effect, workloads)
        if group != heading:
            table.add_row(escape(group), style="bold")
            heading = group
        size = effect_text(effect).removesuffix(" points") + ("" if effect.exact else f" ({interval(effect)})")
        table.add_row(
            escape(_row_title(effect)), _value(effect, effect.a), _value(effect, effect.b), size,
            short_p(effect.adjusted_p), verdict_words(effect), style=colours.get(verdict_words(effect)),
        )
    return table


def short_names(a: str, b: str) -> tuple[str, str]:
    """Both names without their middles where they are long; "a" and "b" where they differ there alone."""
    shorter = tuple(one if len(one) <= _NAME else f"{one[:_HEAD]}\u2026{one[len(one) - _TAIL:]}" for one in (a, b))
    return (shorter[0], shorter[1]) if shorter[0] != shorter[1] or a == b else ("a", "b")


_NAME, _HEAD, _TAIL = 13, 5, 7
"""Up to so many characters names stay whole; else how many of the first and of the last are kept."""


def short_p(p: float | None) -> str:
    """`harness.wording.p_text` in a few characters; empty where nothing was tested."""
    text = "" if p is None else p_text(p).replace(" ", "").replace("0.", ".", 1)
    return "1" if text == "1.00" else text


Workload = tuple[str, float, float, str, str, int]


def _workload_titles(effects: Sequence[Effect]) -> dict[Workload, str]:
    """A title for every workload: its name, with lengths, then the scenario's version, where another has that too."""
    known = {effect.point.workload: effect.point for effect in effects if effect.point is not None}
    names = Counter(key.name for key in known.values())
    lengths = Counter(key.workload[:-1] for key in known.values())
    titles = {}
    for workload, key in known.items():
        more = f" {named(key.prompt)} → {named(key.output)}" if names[key.name] > 1 else ""
        version = f", version {key.version}" if lengths[workload[:-1]] > 1 else ""
        titles[workload] = named(key.name) + more + version
    return titles


def _row_group(effect: Effect, workloads: Mapping[Workload, str]) -> str:
    """Under which heading an effect stands: what is counted, memory, its load, scores."""
    at = _load_title(effect.point, workloads) if effect.point is not None else ""
    if effect.exact:
        return f"Counted, {at}" if at else "Counted"
    if at:
        return at
    return "Scores" if effect.kind == "difference" else "Memory"


def _load_title(point: PointKey, workloads: Mapping[Workload, str]) -> str:
    """The workload and its load: "chat at 8"."""
    at = {"closed": f" at {point.level:g}", "open": f" at {point.level:g}/s"}
    return workloads[point.workload] + at.get(point.kind, f", {point.words}")


def _row_title(effect: Effect) -> str:
    unit = _unit(effect)
    arrow = {"higher": " ↑", "lower": " ↓", "none": ""}[effect.better]
    shown = "" if unit == "1" or unit in _UNITS_IN_TITLES or unit in _UNITS_IN_CELLS else f", {unit}"
    return f"{_SHORT_TITLES.get(effect.metric, named(effect.title))}{shown}{over_shared(effect)}{arrow}"


def _unit(effect: Effect) -> str:
    unit = METRICS[effect.metric.split(":", 1)[0]].unit
    return {"US dollars": "USD"}.get(unit, unit)


_UNITS_IN_CELLS = ("seconds", "bytes", "joules")
"""Units whose scale follows the size: ms below a second."""
_UNITS_IN_TITLES = ("tokens per second", "requests per second", "FLOPs")
_SHORT_TITLES = {
    "output_tokens_per_s": "Tokens/s",
    "ttft_p50_s": "TTFT p50", "tpot_p50_s": "TPOT p50", "kv_bytes_per_token": "KV/token",
    "decode_flops_per_token": "FLOPs/token", "weights_and_cache_bytes": "Memory",
    "resident_peak_bytes": "Host peak", "device_peak_bytes": "Device peak",
    "usd_per_million_output_tokens": "Per M tokens", "joules_per_output_token": "Per token",
    "goodput_requests_per_s": "Goodput/s",
}


def _value(effect: Effect, estimate: Estimate) -> str:
    if _unit(effect) in _UNITS_IN_CELLS:
        return with_unit(_unit(effect), estimate.value)
    return f"{100 * estimate.value:.1f} %" if in_points(effect) else short_number(estimate.value)
