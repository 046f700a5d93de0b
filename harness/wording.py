"""A comparison in words and as a table for the terminal, never stronger than its intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.compare import Comparison, Effect
from harness.crossover import Crossover
from harness.metrics import METRICS
from harness.quantities import MINUS, count_of
from harness.stats import Estimate
from harness.summary import PointKey

if TYPE_CHECKING:
    from rich.table import Table

_PREFIXES = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k"))


def significant(value: float, digits: int = 3) -> str:
    """`value` to three significant digits, from ten thousand on with the prefixes k, M, G, T.

    >>> significant(1234.0), significant(0.012345), significant(47_000_000_000.0)
    ('1230', '0.0123', '47.0 G')
    """
    rounded = float(f"{value:.{digits - 1}e}")
    for factor, prefix in _PREFIXES:
        if abs(rounded) >= factor:
            # Ten thousand starts k, so that four-digit numbers stay whole.
            scale = factor if factor != 1e4 else 1e3
            return _plain(rounded / scale, digits) + prefix
    return _plain(rounded, digits)


def _plain(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def interval(effect: Effect) -> str:
    """The 95 % interval of an effect, or that there is none."""
    low, high = effect.contrast.low, effect.contrast.high
    if low is None or high is None:
        return "no interval"
    return f"{effect_size(effect, low)} to {effect_size(effect, high)}"


def in_points(effect: Effect) -> bool:
    """Whether a difference is one of shares, such as accuracies, which are told in points of a hundredth."""
    return effect.kind == "difference" and all(0 <= one.value <= 1 for one in (effect.a, effect.b))


def effect_size(effect: Effect, value: float) -> str:
    """An end of an effect without its unit: differences with their sign, in points where they are of shares.

    Ratios have three decimals near 1, so that an interval that excludes equality shows it.
    """
    if effect.kind == "difference":
        text = f"{100 * value:+.1f}" if in_points(effect) else f"{value:+.3f}"
        return text.replace("-", MINUS)
    return f"{value:.3f}" if 0.1 <= value < 10 else significant(value)


def sentence(comparison: Comparison) -> str:
    """Two sentences from a's view: the output rate at the highest shared load, then quality.

    What the comparison cannot tell apart is said to be so; what was not measured on both sides is said to be missing.
    """
    speed = comparison.effect("output_tokens_per_s")
    tasks = [effect for effect in comparison.effects if effect.metric.startswith("score:")]
    score = comparison.effect("mean_score") or (tasks[0] if len(tasks) == 1 else None)
    size = f"With {comparison.matching.mismatch} of {comparison.b.model} ({comparison.matching.label}), "
    if comparison.matching.label == "not counted":
        size = "With parameters that could not be counted, "
    return f"{size}{_speed_clause(comparison, speed)}. {_score_clause(comparison, score)}."


def _speed_clause(comparison: Comparison, effect: Effect | None) -> str:
    a, b = comparison.a.model, comparison.b.model
    if effect is None or effect.point is None:
        return f"{a} has no speed that could be compared with that of {b}"
    load = _at(effect.point)
    ratio = effect_size(effect, effect.contrast.value)
    if effect.verdict == "insufficient data":
        return f"{a} gave {ratio} times the output tokens/s of {b} {load}, with too few repeats for an interval"
    if effect.verdict == "indistinguishable":
        return f"{a} cannot be told from {b} in output tokens/s {load} ({_evidence(comparison, effect)})"
    return f"{a} gives {ratio} times the output tokens/s of {b} {load} (95 % interval {interval(effect)})"


def _at(point: PointKey) -> str:
    if point.concurrency is None:
        return f"at {point.words}" if point.kind == "open" else point.words
    return f"at {point.concurrency} concurrent request{'s' if point.concurrency > 1 else ''}"


def _score_clause(comparison: Comparison, effect: Effect | None) -> str:
    if effect is None:
        return "Quality could not be compared: " + _why_no_score(comparison)
    name = "mean score" if effect.metric == "mean_score" else f"score on {effect.title}"
    unit = " points" if in_points(effect) else ""
    size = effect_size(effect, abs(effect.contrast.value)).lstrip("+") + unit
    if effect.verdict == "insufficient data":
        signed = effect_size(effect, effect.contrast.value) + unit
        return f"Its {name} differs by {signed}, with too little data for an interval"
    if effect.verdict == "indistinguishable":
        return f"Its {name} cannot be told from the other's ({_evidence(comparison, effect)})"
    direction = "higher" if effect.contrast.value > 0 else "lower"
    return f"Its {name} is {direction} by {size} (95 % interval {interval(effect)})"


def _evidence(comparison: Comparison, effect: Effect) -> str:
    """The interval, and why it did not suffice where it excludes equality."""
    value = effect_size(effect, effect.contrast.value) + (" points" if in_points(effect) else "")
    text = f"{effect.kind} {value}, 95 % interval {interval(effect)}"
    low, high = effect.contrast.low, effect.contrast.high
    if low is not None and high is not None and not low <= effect.null <= high:
        tested = sum(one.adjusted_p is not None for one in comparison.effects)
        text += f", not certain among {tested} effects"
    return text


def _why_no_score(comparison: Comparison) -> str:
    a, b = comparison.a, comparison.b
    reasons = [f"{one.model}: {one.no_mean_score}" for one in (a, b) if one.no_mean_score]
    if a.no_mean_score == b.no_mean_score:
        reasons = [a.no_mean_score] if a.no_mean_score else []
    scores = [reason for reason in comparison.missing if reason.startswith("scores: ")]
    return "; ".join(scores + reasons) or "the two share no task"


def crossover_sentences(crossings: Sequence[Crossover]) -> tuple[str, ...]:
    """One sentence a workload, with the workload's name where there are several."""
    several = len(crossings) > 1
    return tuple((f"{one.name}: " if several else "") + crossover_sentence(one) for one in crossings)


def crossover_sentence(crossover: Crossover) -> str:
    """One sentence on who overtakes whom at which load, never stronger than the interval."""
    a, b = crossover.a, crossover.b
    if crossover.concurrency is None:
        span = f" from {crossover.lowest} to {count_of(crossover.highest, 'concurrent request')}"
        where = span if crossover.lowest < crossover.highest else ""
        return f"No single crossover of {a} and {b} is found{where}: {crossover.reason}."
    other = b if crossover.overtakes == a else a
    verb = "may overtake" if crossover.low is None or crossover.high is None else "overtakes"
    low = f"{crossover.lowest} or less" if crossover.low is None else _two_digits(crossover.low, math.floor)
    high = f"{crossover.highest} or more" if crossover.high is None else _two_digits(crossover.high, math.ceil)
    return (
        f"{crossover.overtakes} {verb} {other} at about {_two_digits(crossover.concurrency, round)} concurrent "
        f"requests (95 % interval {low} to {high})."
    )


def _two_digits(value: float, rounded: Callable[[float], int]) -> str:
    """A number to two significant digits, of which `rounded` makes the last one."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{rounded(value / unit) * unit:.15g}"


def comparison_table(comparison: Comparison) -> Table:
    """One row an effect: metric with its unit, both values, ratio or difference with its interval, verdict of a."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    a, b = escape(comparison.a.model), escape(comparison.b.model)
    heading = f"{comparison.matching.label}: {comparison.matching.mismatch}"
    table = Table(title=f"{a} against {b}", caption=escape(heading), box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", overflow="fold")
    for column in (a, b):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("a / b or a - b, 95 % interval", justify="right")
    table.add_column(f"{a} is", no_wrap=True)
    colours = {"better": "green", "worse": "red"}
    for effect in comparison.effects:
        table.add_row(
            escape(_row_title(effect)),
            _value(effect.a),
            _value(effect.b),
            effect_size(effect, effect.contrast.value)
            + (" ×" if effect.kind == "ratio" else " points" if in_points(effect) else "")
            + (", exact" if effect.exact else f" ({interval(effect)})"),
            effect.verdict,
            style=colours.get(effect.verdict),
        )
    return table


def _row_title(effect: Effect) -> str:
    unit = METRICS[effect.metric.split(":", 1)[0]].unit
    arrow = {"higher": " ↑", "lower": " ↓", "none": ""}[effect.better]
    at = f" at {effect.point.concurrency or effect.point.words}" if effect.point and not effect.exact else ""
    known = unit == "1" or unit in _UNITS_IN_TITLES
    return f"{effect.title}{at}{'' if known else f', {_SHORT_UNITS.get(unit, unit)}'}{arrow}"


_SHORT_UNITS = {"seconds": "s", "bytes": "B"}
_UNITS_IN_TITLES = ("tokens per second", "FLOPs")


def _value(estimate: Estimate) -> str:
    return significant(estimate.value)
