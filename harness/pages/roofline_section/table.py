"""The table under the plot: what each load reached, what binds it, and how much of the device it used."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from harness.pages.parts import Block, BlockTable, Column, Mark, TableRow, Value, flag_marks, shown
from harness.pages.roofline_section.roofs import FAR_BELOW, PHASES, peak_of
from harness.pages.suite_view import load_text, workload_titles
from harness.quantities import Scale, capitalised, scale_of, significant
from harness.stats import Estimate
from harness.summary import OperatingPoint, PointKey
from harness.utilisation import TOO_LOW, RooflinePoint

_PERCENT = Scale("%", 0.01)
_NEAR_ROOF = 0.5
_NONE = Value("\u2013")
_ABOVE = "above the ceiling"
_UNKNOWN = Mark(
    "plain", "none",
    f"Not known, such as where no recorded routing has so many tokens in a step; or above the ceiling in some repeat, "
    f"where {TOO_LOW}.",
)
_VARIANTS = ("active", "expected", "measured", "total")
_VARIANT_HELP = {
    "active": "counting the k experts of one token, whatever the batch: too few for more than one token",
    "expected": "counting the distinct experts that uniform routing uses",
    "measured": "counting the distinct experts that the recorded routing uses",
    "total": "counting all experts: more than was read where a step does not use them all",
}


_MBU = "Bytes that a step has to read over its time and the measured bandwidth, "


Named = Callable[[str, PointKey], str]
"""The name of the evidence of a metric at a point, as `SuiteView.evidence` gives it; empty where there is none."""


def roofline_table(points: Sequence[OperatingPoint], named: Named) -> BlockTable:
    """One block a load, one row a phase and one for both together."""
    scale = scale_of("FLOPs", [one.achieved_flops_per_s for point in points for one in point.roofline])
    titles = workload_titles(point.key for point in points)
    blocks = tuple(Block(_title(point, titles), tuple(_rows(point, scale, named))) for point in points)
    return BlockTable(_columns(scale), blocks)


def experts_table(points: Sequence[OperatingPoint], named: Named) -> BlockTable:
    """The MBU of each load and phase by how the experts that a step reads are counted."""
    titles = workload_titles(point.key for point in points)
    heads = (Column(f"{name.capitalize()} experts", "%", "", _MBU + _VARIANT_HELP[name]) for name in _VARIANTS)
    return BlockTable((Column("Load", classes="text frozen"), Column("Phase", classes="text"), *heads), tuple(
        Block(_title(point, titles), tuple(
            TableRow(words, tuple(_estimate(point, f"{phase}_mbu_{name}", named) for name in _VARIANTS))
            for phase, words in PHASES if phase in {one.phase for one in point.roofline} | set(point.beaten)
        ))
        for point in points
    ))


def _columns(scale: Scale) -> tuple[Column, ...]:
    return (
        Column("Load", classes="text frozen"), Column("Phase", classes="text"),
        Column("Time", "%", help="Share of the time in engine steps; one that prefills anything counts as prefill"),
        Column("Intensity", "FLOPs/byte", help="FLOPs over the bytes that have to be read for them"),
        Column("Achieved", scale.unit.replace("FLOPs", "FLOP/s"), "higher", "FLOPs of the tokens over the time"),
        Column("Of the roof", "%", "higher", "The least time that the device allows over the time taken"),
        Column("What binds", classes="text"),
        Column("MFU", "%", "higher", "FLOPs over the time and the measured rate of products in the precision used"),
        Column("MBU", "%", "higher", _MBU + "counting the distinct experts that were measured where known, else "
               "those expected"),
    )


def _rows(point: OperatingPoint, scale: Scale, named: Named) -> Iterable[TableRow]:
    known = {one.phase: one for one in point.roofline}
    share = point.estimates.get("prefill_time_share")
    phases = [(phase, words) for phase, words in PHASES if phase in known or phase in point.beaten]
    for phase, words in phases:
        time = _NONE
        if share is not None:
            part = share.value if phase == "prefill" else 1 - share.value
            basis = "" if phase == "prefill" else "What the share of the prefill leaves."
            time = Value(significant(100 * part), evidence=named("prefill_time_share", point.key), basis=basis)
        placed = _placed(point, known[phase], scale, named) if phase in known else _beaten(point.beaten[phase])
        if phase == phases[0][0]:
            placed = (placed[0], replace(placed[1], marks=flag_marks(point.flags)), *placed[2:])
        uses = (_estimate(point, f"{phase}_{use}", named) for use in ("mfu", "mbu"))
        yield TableRow(words, (time, *placed, *uses))
    if len(phases) > 1:
        yield TableRow("Together", (
            Value("100"), _NONE, _NONE, _NONE, _NONE, *(_estimate(point, use, named) for use in ("mfu", "mbu")),
        ))


def _placed(point: OperatingPoint, one: RooflinePoint, scale: Scale, named: Named) -> tuple[Value, ...]:
    """Intensity, what was achieved, the share of the roof and what binds; the estimates are those of MFU and MBU."""
    achieved, share = Value(significant(one.achieved_flops_per_s / scale.divisor)), Value(significant(100 * one.share))
    mfu = point.estimates.get(f"{one.phase}_mfu")
    if mfu is not None:
        times_peak = shown(_times(mfu, peak_of(one)), scale, evidence=named(f"{one.phase}_mfu", point.key))
        achieved = replace(times_peak, basis="The MFU below, times the measured rate of products of the device.")
    use = f"{one.phase}_{'mfu' if one.bound == 'compute' else 'mbu'}"
    binds = point.estimates.get(use)
    if binds is not None:
        share = shown(binds, _PERCENT, evidence=named(use, point.key))
    return _intensity(point, one, named), achieved, share, binding(one)


def _intensity(point: OperatingPoint, one: RooflinePoint, named: Named) -> Value:
    """FLOPs over bytes, with the evidence of the uses that these are the shares of."""
    keys = [f"{one.phase}_{use}" for use in ("mfu", "mbu")]
    text = significant(one.intensity_flops_per_byte)
    names = [named(key, point.key) for key in keys if key in point.estimates]
    if len(names) < len(keys) or not all(names):
        return Value(text)
    basis = "FLOPs over bytes: the MFU times the rate of products, over the MBU times the bandwidth of the device."
    return Value(text, evidence=" ".join(names), basis=basis)


def _beaten(words: str) -> tuple[Value, ...]:
    """The same of a phase in which a repeat did more than the ceilings allow."""
    why = Mark("note", _ABOVE, capitalised(words.removeprefix(f"{_ABOVE}: ")) + ".")
    return _NONE, _NONE, Value(marks=(why,)), _NONE


def _times(estimate: Estimate, factor: float) -> Estimate:
    """An estimate in another unit."""
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    return replace(estimate, value=estimate.value * factor, low=low, high=high)


def binding(point: RooflinePoint) -> Value:
    """What takes longer at the ceilings, and how far from it the point is.

    Half of the roof and more counts as bound by it; less than a tenth as held by something else.
    """
    what = point.bound
    if point.share >= _NEAR_ROOF:
        return Value(what)
    times = significant(1 / point.share) if point.share > 0 else "\u221e"
    text = f"{what}, {times}\u00d7 below"
    if point.share >= FAR_BELOW:
        why = "Only part of the time is explained by the device's limits."
        return Value(text, marks=(Mark("plain", "in part", why),))
    why = (
        f"Of the device's limits {what} comes first, but it explains little of the time: something else holds it, "
        "such as the engine's own work per step."
    )
    return Value(text, marks=(Mark("plain", "overhead", why),))


def _estimate(point: OperatingPoint, key: str, named: Named) -> Value:
    found = point.estimates.get(key)
    return Value(marks=(_UNKNOWN,)) if found is None else shown(found, _PERCENT, evidence=named(key, point.key))


def _title(point: OperatingPoint, titles: Mapping[Hashable, str]) -> str:
    load = capitalised(load_text(point.key))
    return f"{titles[point.key.workload]}, {load_text(point.key)}" if len(titles) > 1 else load
