"""The table under the plot: what each load reached, what binds it, and how much of the device it used."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.pages import Block, BlockTable, Column, Mark, TableRow, Value, flag_marks, shown
from harness.quantities import Scale, capitalised, scale_of, significant
from harness.roofline_section.roofs import FAR_BELOW, PHASES, Placed
from harness.suite_view import load_text, workload_titles
from harness.summary import ModelSummary, OperatingPoint

if TYPE_CHECKING:
    from harness.utilisation import RooflinePoint

_PERCENT = Scale("%", 0.01)
_NEAR_ROOF = 0.5
_NONE = Value("\u2013")
_UNKNOWN = Mark(
    "plain", "none",
    "Not known, such as where no recorded routing has so many tokens in a step; or more than the device can do, which "
    "shows that experts were counted wrongly.",
)
_VARIANTS = ("active", "expected", "measured", "total")
_VARIANT_HELP = {
    "active": "counting the k experts of one token, whatever the batch: too few for more than one token",
    "expected": "counting the distinct experts that uniform routing uses",
    "measured": "counting the distinct experts that the recorded routing uses",
    "total": "counting all experts: more than was read where a step does not use them all",
}


def roofline_table(model: ModelSummary, placed: Sequence[Placed]) -> BlockTable:
    """One block a load, one row a phase and one for both together."""
    scale = scale_of("FLOPs", [one.phase.achieved_flops_per_s for one in placed])
    variants = [one for one in _VARIANTS if model.is_moe or one == "total"]
    points = {one.point.key: one.point for one in placed}
    titles = workload_titles(points)
    return BlockTable(_columns(scale, variants), tuple(
        Block(_title(point, titles), tuple(_rows(point, scale, variants))) for point in points.values()
    ))


def _columns(scale: Scale, variants: Sequence[str]) -> tuple[Column, ...]:
    mbu = "Bytes that a step has to read over its time and the measured bandwidth, "
    return (
        Column("Load", classes="text frozen"), Column("Phase", classes="text"),
        Column("Time", "%", help="Share of the time in engine steps; one that prefills anything counts as prefill"),
        Column("Intensity", "FLOPs/byte", help="FLOPs over the bytes that have to be read for them"),
        Column("Achieved", scale.unit.replace("FLOPs", "FLOP/s"), "higher", "FLOPs of the tokens over the time"),
        Column("Of the roof", "%", "higher", "The least time that the device allows over the time taken"),
        Column("What binds", classes="text"),
        Column("MFU", "%", "higher", "FLOPs over the time and the measured rate of products in the precision used"),
        Column("MBU", "%", "higher", mbu + "counting the distinct experts that were measured where known, else "
               "those expected"),
        *(Column(f"MBU, {name}", "%", "", mbu + _VARIANT_HELP[name]) for name in variants if len(variants) > 1),
    )


def _rows(point: OperatingPoint, scale: Scale, variants: Sequence[str]) -> Iterable[TableRow]:
    several = len(variants) > 1
    known = {one.phase: one for one in point.roofline}
    share = point.estimates.get("prefill_time_share")
    for phase, words in PHASES:
        if phase not in known:
            continue
        one = known[phase]
        time = _NONE
        if share is not None:
            part = share.value if phase == "prefill" else 1 - share.value
            time = Value(significant(100 * part))
        kinds = [_estimate(point, f"{phase}_mbu_{name}") for name in variants] if several else []
        marks = flag_marks(point.flags) if one is point.roofline[0] else ()
        yield TableRow(words, (
            time, Value(significant(one.intensity_flops_per_byte)),
            Value(significant(one.achieved_flops_per_s / scale.divisor), marks=marks),
            Value(significant(100 * one.share)), binding(one),
            _estimate(point, f"{phase}_mfu"), _estimate(point, f"{phase}_mbu"), *kinds,
        ))
    if len(known) > 1:
        gap = [_NONE] * len(variants) if several else []
        yield TableRow("Together", (
            Value("100"), _NONE, _NONE, _NONE, _NONE, _estimate(point, "mfu"), _estimate(point, "mbu"), *gap,
        ))


def binding(point: RooflinePoint) -> Value:
    """What takes longer at the ceilings, and how far from it the point is.

    Half of the roof and more counts as bound by it; less than a tenth as held by something else.
    """
    what = point.bound
    if point.share >= _NEAR_ROOF:
        return Value(what)
    times = significant(1 / point.share) if point.share > 0 else "\u221e"
    text = f"{what}, the roof is {times}\u00d7 higher"
    if point.share >= FAR_BELOW:
        why = "Only part of the time is explained by the device's limits."
        return Value(text, marks=(Mark("plain", "in part", why),))
    why = (
        f"Of the device's limits {what} comes first, but it explains little of the time: something else holds it, "
        "such as the engine's own work per step."
    )
    return Value(text, marks=(Mark("plain", "held otherwise", why),))


def _estimate(point: OperatingPoint, key: str) -> Value:
    found = point.estimates.get(key)
    return Value(marks=(_UNKNOWN,)) if found is None else shown(found, _PERCENT)


def _title(point: OperatingPoint, titles: Mapping[Hashable, str]) -> str:
    load = capitalised(load_text(point.key))
    return f"{titles[point.key.workload]}, {load_text(point.key)}" if len(titles) > 1 else load
