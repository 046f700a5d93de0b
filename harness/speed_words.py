"""The output rate of two models over the loads of a workload, and where the lead changes, in words.

Only loads at which the verdict is certain are within the range that a model "serves"; the others are named apart, with
what their intervals leave open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.compare import Comparison, Effect
from harness.crossover import AT_EVERY_LOAD, CROSS_SEVERAL, WHERE_TOLD_APART, Crossover
from harness.quantities import count_of, listed
from harness.summary import PointKey, sample_unit
from harness.wording import certain, effect_size, effect_text, interval, named, two_digits, undecided, without_interval

_TOLD = 4
"""How many loads are listed; of more the number is told."""
_SPEED = "output_tokens_per_s"
_ON_HARDWARE = "speed and memory: "
_KINDS = ("closed", "offline")
"""Kinds of load by how much their output rate says of a model. In open loops and replays it is that of the arrivals."""
_LOADS_OF = {
    "closed": ("number of concurrent requests", "numbers of concurrent requests"),
    "offline": ("batch", "batches"),
}
"""One load and several, by kind."""


@dataclass(frozen=True)
class Told:
    """What is said of one side of a comparison: clauses that follow a's name, and what was not compared."""

    clauses: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    names_other: bool = False
    """Whether a clause says b's name."""


# The output rate -------------------------------------------------------------------------------------------------


def speed_curve(comparison: Comparison) -> tuple[Effect, ...]:
    """The output rates of the curve with most shared loads, by rising load; closed loops go before other loads.

    Open loops are left out: how many tokens they give is up to those who ask.
    """
    curves: dict[tuple[object, ...], list[Effect]] = {}
    for effect in comparison.effects:
        if effect.metric == _SPEED and effect.point is not None and effect.point.kind in _KINDS:
            curves.setdefault(_curve_of(effect.point), []).append(effect)
    best = max(curves, key=lambda curve: (-_KINDS.index(str(curve[-2])), len(curves[curve])), default=())
    return tuple(sorted(curves.get(best, []), key=lambda effect: effect.point or ()))


def _curve_of(key: PointKey) -> tuple[object, ...]:
    """What the points of one curve share; the kind of load is the last but one."""
    return (*key.workload, key.kind, key.burstiness)


def speed_told(comparison: Comparison, crossings: Sequence[Crossover]) -> tuple[Told, Crossover | None]:
    """The output rate over the loads of one workload with where the lead changes there, and the crossover it tells."""
    curve = speed_curve(comparison)
    if not curve:
        return Told((), (f"Speed was not compared: {_why_no_speed(comparison)}.",)), None
    workload = curve[0].point.workload if curve[0].point else None
    main = next((one for one in crossings if one.workload == workload and one.concurrency is not None), None)
    text = _speed(comparison, curve)
    return Told((f"{text}; {_change(comparison, main)}" if main else text,), names_other=True), main


def _speed(comparison: Comparison, curve: Sequence[Effect]) -> str:
    sure = [effect for effect in curve if certain(effect)]
    unsure = [effect for effect in curve if effect.verdict == "indistinguishable"]
    short = [effect for effect in curve if effect.verdict == "insufficient data"]
    loads = _Loads(comparison, curve)
    why = without_interval(short, sample_unit(comparison.a, comparison.b))
    text = ""
    if sure:
        text = _served(comparison, loads, sure)
        text += f" and cannot be told from it {loads.at(unsure)} ({_reach(comparison, unsure)})" if unsure else ""
    elif unsure:
        text = f"cannot be told from {named(comparison.b.model)} in output tokens/s {loads.full(unsure)}"
        text += f" ({_reach(comparison, unsure)})"
    if short and not text:
        text = f"gave {_span(short)} the output tokens/s of {named(comparison.b.model)} {loads.full(short)}"
        text += f", with {why}"
    elif short:
        text += f", with {why} {loads.at(short)}"
    return text + loads.missing


def _served(comparison: Comparison, loads: _Loads, sure: Sequence[Effect]) -> str:
    least, most = _extremes(sure)
    evidence = f"95 % {interval(least)}"
    if least is not most:
        evidence = f"95 % {interval(least)} {loads.at([least])}, {interval(most)} {loads.at([most])}"
    b = named(comparison.b.model)
    return f"serves {_span(sure)} the output tokens/s of {b} {loads.full(sure)} ({evidence})"


def _extremes(effects: Sequence[Effect]) -> tuple[Effect, Effect]:
    ordered = sorted(effects, key=lambda effect: effect.contrast.value)
    return ordered[0], ordered[-1]


def _span(effects: Sequence[Effect]) -> str:
    least, most = (effect_text(effect) for effect in _extremes(effects))
    return least if least == most else f"{least} to {most}"


def _reach(comparison: Comparison, effects: Sequence[Effect]) -> str:
    """What the intervals of effects that cannot be told from equality leave open together."""
    if len(effects) == 1:
        return undecided(comparison, effects[0])
    lows = [(effect.contrast.low, effect) for effect in effects if effect.contrast.low is not None]
    highs = [(effect.contrast.high, effect) for effect in effects if effect.contrast.high is not None]
    (low, least), (high, most) = min(lows, key=lambda end: end[0]), max(highs, key=lambda end: end[0])
    text = f"the 95 % intervals reach from {effect_size(least, low)}× to {effect_size(most, high)}×"
    apart = [e for e in effects if not (e.contrast.low or 0) <= e.null <= (e.contrast.high or 0)]
    if not apart:
        return text
    some = "all" if len(apart) == len(effects) else "some"
    return f"{text}; {some} exclude equality, but not after correction for {_tested(comparison)}"


def _tested(comparison: Comparison) -> str:
    """At which loads the output rate was tested: "7 numbers of concurrent requests and 1 batch"."""
    kinds = [one.point.kind for one in comparison.effects
             if one.metric == _SPEED and one.adjusted_p is not None and one.point is not None]
    return listed(count_of(kinds.count(kind), *words) for kind, words in _LOADS_OF.items() if kind in kinds)


class _Loads:
    """The loads of one workload in words."""

    def __init__(self, comparison: Comparison, curve: Sequence[Effect]) -> None:
        self._keys = sorted({one.point for one in curve if one.point})
        self._first = self._keys[0]
        found = {point.key for point in (*comparison.a.points, *comparison.b.points)}
        self._others = sorted(key for key in found - set(self._keys) if _curve_of(key) == _curve_of(self._first))
        workloads = {point.key.workload for point in comparison.a.points if comparison.b.point(point.key)}
        self._name = f" of {named(self._first.name)}" if len(workloads) > 1 else ""

    def at(self, effects: Sequence[Effect]) -> str:
        """The loads of some effects, without what they count: "at 1, 4 and 16"."""
        return self._at([effect.point for effect in effects if effect.point])

    def full(self, effects: Sequence[Effect]) -> str:
        """The loads of some effects: "at 1 to 64 concurrent requests of 64 → 64 tokens"."""
        one = {effect.point.level for effect in effects if effect.point} == {1.0}
        unit = {"closed": " concurrent request" + ("" if one else "s"), "open": " requests/s"}
        return f"{self.at(effects)}{unit.get(self._first.kind, '')}{self._lengths}{self._name}"

    @property
    def _lengths(self) -> str:
        """The lengths of requests, where all are alike."""
        prompt, output = self._first.prompt, self._first.output
        if not (prompt.isdigit() and output.isdigit()) or self._first.kind not in ("closed", "open"):
            return ""
        return f" of {prompt} \u2192 {output} tokens"

    @property
    def missing(self) -> str:
        """The loads of the workload that only one was measured at, or where timings are flagged."""
        return f", and was not compared {self._at(self._others)}" if self._others else ""

    def _at(self, keys: Sequence[PointKey]) -> str:
        if self._first.kind not in ("closed", "open"):
            return self._first.words
        levels = [f"{key.level:g}" for key in sorted(keys)]
        every = [f"{key.level:g}" for key in sorted([*self._keys, *self._others])]
        run = "".join("x" if level in levels else "-" for level in every)
        if len(levels) > 2 and "x" * len(levels) in run:
            return f"at {levels[0]} to {levels[-1]}"
        if len(levels) > _TOLD:
            return f"at {len(levels)} loads from {levels[0]} to {levels[-1]}"
        return f"at {listed(levels)}"


def why_other_hardware(comparison: Comparison) -> str:
    """How the hardware keeps speed and memory from being compared; empty where it does not."""
    found = (reason for reason in comparison.missing if reason.startswith(_ON_HARDWARE))
    return next(found, "").removeprefix(_ON_HARDWARE)


def _why_no_speed(comparison: Comparison) -> str:
    """Why no output rate could be compared."""
    if hardware := why_other_hardware(comparison):
        return hardware
    points = {point.key for point in (*comparison.a.points, *comparison.b.points)}
    starts = tuple(f"{key.name}, {key.words}: " for key in points)
    reasons = [reason for reason in comparison.missing if starts and reason.startswith(starts)]
    if comparison.a.points and comparison.b.points and all(key.at_given_arrivals for key in points):
        return "both were served at given arrivals alone, of which the output rate is theirs"
    if not points or not reasons:
        return "neither was served" if not points else "no output rate is known of both"
    more = f", and {count_of(len(reasons) - 1, 'more load')}" if len(reasons) > 1 else ""
    return named(reasons[0]) + more


# Crossovers ------------------------------------------------------------------------------------------------------


def crossovers_told(
    comparison: Comparison, crossings: Sequence[Crossover], *, several: bool
) -> tuple[str, ...]:
    """One sentence a workload, with its name where there are `several`; none that says no more than the verdicts do."""
    return tuple(
        (f"{named(one.name)}: " if several else "")
        + crossover_sentence(by_verdicts(comparison, one), changes_lead(comparison, one))
        for one in crossings
        if one.concurrency is not None or _leads(comparison, one)
    )


def changes_lead(comparison: Comparison, crossover: Crossover) -> bool:
    """Whether one overtakes the other for sure: a closed interval, and each ahead at some load by its verdict."""
    closed = crossover.concurrency is not None and crossover.low is not None and crossover.high is not None
    return closed and len(_leads(comparison, crossover)) > 1


def by_verdicts(comparison: Comparison, crossover: Crossover) -> Crossover:
    """The crossover with a reason that says no more than the verdicts, which are corrected for more effects."""
    speeds = _speeds(comparison, crossover)
    sure = [one.verdict for one in speeds if certain(one)]
    reason = crossover.reason
    if len(sure) < len(speeds):
        reason = reason.replace(AT_EVERY_LOAD, WHERE_TOLD_APART)
    if sum(one != other for one, other in pairwise(sure)) < 2:
        reason = reason.replace(CROSS_SEVERAL, "they may cross several times")
    return replace(crossover, reason=reason)


def _leads(comparison: Comparison, crossover: Crossover) -> set[str]:
    """The certain verdicts on the output rate on the crossover's workload."""
    return {effect.verdict for effect in _speeds(comparison, crossover) if certain(effect)}


def _speeds(comparison: Comparison, crossover: Crossover) -> list[Effect]:
    """The output rates of the closed loops of a crossover's workload, by rising load."""
    return [
        effect for effect in comparison.effects
        if effect.metric == _SPEED and effect.point is not None and effect.point.kind == "closed"
        and effect.point.workload == crossover.workload
    ]


def _change(comparison: Comparison, crossover: Crossover) -> str:
    """Where the lead changes, of "it"."""
    ahead, at = crossover.overtakes == crossover.a, _place(crossover)
    if changes_lead(comparison, crossover):
        return f"it {'overtakes' if ahead else 'is overtaken'} {at}"
    return f"it may {'overtake' if ahead else 'be overtaken'} {at}"


def _place(crossover: Crossover) -> str:
    low = f"{crossover.lowest} or less" if crossover.low is None else two_digits(crossover.low, math.floor)
    high = f"{crossover.highest} or more" if crossover.high is None else two_digits(crossover.high, math.ceil)
    return f"at about {two_digits(crossover.concurrency or 0.0, round)} (95 % {low} to {high})"


def crossover_sentence(crossover: Crossover, sure: bool = True) -> str:
    """One sentence on who overtakes whom at which load, hedged where that is not `sure` or the interval is open."""
    a, b = named(crossover.a), named(crossover.b)
    if crossover.concurrency is None:
        span = f" from {crossover.lowest} to {count_of(crossover.highest, 'concurrent request')}"
        where = span if crossover.lowest < crossover.highest else ""
        return f"No single crossover of {a} and {b} is found{where}: {crossover.reason}."
    ahead, behind = (b, a) if crossover.overtakes == crossover.b else (a, b)
    closed = crossover.low is not None and crossover.high is not None
    verb = "overtakes" if sure and closed else "may overtake"
    return f"{ahead} {verb} {behind} {_place(crossover).replace(' (', ' concurrent requests (')}."
