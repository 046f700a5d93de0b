"""The limits of the device as lines: what the points are held against, what else was measured, what is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.quantities import listed, plain, with_unit
from harness.summary import ModelSummary, OperatingPoint

if TYPE_CHECKING:
    from harness.utilisation import RooflinePoint

PHASES: tuple[tuple[Literal["prefill", "decode"], str], ...] = (("prefill", "Prefill"), ("decode", "Decode"))
_CACHED = 1.5
"""How many times the rate of the largest working set shows that a smaller one lay in a cache."""
FAR_BELOW = 0.1
"""Of the roof: what is below is held by something else than the device's limits."""
_SAME_ROOF = 0.03
_MOST_MEMORY_LINES = 4
Source = Literal["measured", "data sheet"]


class RoofLine(NamedTuple):
    """A limit of the device as a line: FLOP/s, or bytes/s of memory."""

    kind: Literal["compute", "memory"]
    rate: float
    name: str
    source: Source
    used: bool = True
    """Whether any point is held against it."""


class Placed(NamedTuple):
    """A phase of an operating point in the plot."""

    point: OperatingPoint
    phase: RooflinePoint


def roofs_of(model: ModelSummary) -> tuple[RoofLine, ...]:
    """The ceilings against which the points are held, the others that were measured, and those of the data sheet.

    The first follow from the points: what was achieved over its share of the peak, and of the bandwidth.
    """
    phases = [phase for point in model.points for phase in point.roofline]
    peaks = _apart(peak_of(one) for one in phases if one.mfu > 0)
    rates = _apart(_bandwidth_of(one) for one in phases if one.mbu > 0)
    if len(rates) > _MOST_MEMORY_LINES:
        rates = [rates[0], rates[-1]]
    sheet, named = _promised_peaks(model), _measured_peaks(model)
    source: Source = "measured" if model.ceilings is not None or not sheet else "data sheet"
    found = [RoofLine("memory", rate, "memory", source) for rate in rates]
    known = named if source == "measured" else sheet
    found += [RoofLine("compute", peak, _names_of(known, peak) or "products", source) for peak in peaks]
    rest = {name: rate for name, rate in named.items() if not any(_alike(rate, peak) for peak in peaks)}
    found += [RoofLine("compute", rate, _names_of(rest, rate), source, used=False) for rate in _apart(rest.values())]
    return (*found, *_promised(model, found)) if source == "measured" else tuple(found)


def _promised(model: ModelSummary, measured: Sequence[RoofLine]) -> list[RoofLine]:
    """The data sheet's bandwidth, and its peaks in the precisions that are used; nothing where it is not known."""
    if model.device is None:
        return []
    used = {name for roof in measured if roof.kind == "compute" and roof.used for name in roof.name.split(", ")}
    peaks = {name: rate for name, rate in _promised_peaks(model).items() if name in used}
    bandwidth = model.device.bandwidth_bytes_per_s * model.subject.tensor_parallel
    compute = [RoofLine("compute", rate, _names_of(peaks, rate), "data sheet") for rate in _apart(peaks.values())]
    return [RoofLine("memory", bandwidth, "memory", "data sheet"), *compute]


def _promised_peaks(model: ModelSummary) -> dict[str, float]:
    device = model.device
    if device is None:
        return {}
    return {name: device.peak_flops_per_s(name) * model.subject.tensor_parallel for name in device.precisions}


def _measured_peaks(model: ModelSummary) -> dict[str, float]:
    if model.ceilings is None:
        return {}
    return {
        name: rate * model.subject.tensor_parallel for name, rate in model.ceilings.matmul_flops_per_s.items()
    }


def _apart(rates: Iterable[float]) -> list[float]:
    """Rates that can be told apart in the plot, rising."""
    found: list[float] = []
    for rate in sorted(rates):
        if not found or not _alike(rate, found[-1]):
            found.append(rate)
    return found


def _alike(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME_ROOF * max(a, b)


def _names_of(named: Mapping[str, float], rate: float) -> str:
    """The precisions that have this rate."""
    return ", ".join(plain(name, 20) for name, other in named.items() if _alike(other, rate))


def peak_of(point: RooflinePoint) -> float:
    """The FLOP/s of all devices that a point is held against."""
    return point.achieved_flops_per_s / point.mfu


def _bandwidth_of(point: RooflinePoint) -> float:
    return point.achieved_flops_per_s / point.intensity_flops_per_byte / point.mbu


def flops_text(rate: float) -> str:
    """A rate of arithmetic with its unit: "1.20 TFLOP/s"."""
    return with_unit("FLOPs", rate).replace("FLOPs", "FLOP/s")


def rates_text(roofs: Sequence[RoofLine]) -> str:
    """The bandwidth of one line, or the lowest and highest of several."""
    rates = [f"{with_unit('bytes', roof.rate)}/s" for roof in (roofs[0], roofs[-1])]
    return " to ".join(dict.fromkeys(rates))


def roof_words(model: ModelSummary, roofs: Sequence[RoofLine]) -> str:
    """Which ceilings the points are held against, and what the data sheet says where they were measured."""
    number = model.subject.tensor_parallel
    devices = "the device" if number == 1 else f"the {number} devices"
    used = [roof for roof in roofs if roof.used and roof.source == roofs[0].source]
    if roofs[0].source == "data sheet":
        return f"The roof is the data sheet's of {devices}: {rates_words(used)}."
    text = f"The roof is what {devices} did in a short measurement: {rates_words(used)}{_from_cache(model, used)}"
    sheet = [roof for roof in roofs if roof.source == "data sheet"]
    return f"{text}; the data sheet has {rates_words(sheet)}." if sheet else f"{text}."


def _from_cache(model: ModelSummary, used: Sequence[RoofLine]) -> str:
    """A remark where what the steps read lies in a cache of the device."""
    reads = model.ceilings.reads if model.ceilings is not None else ()
    slowest = reads[-1].bytes_per_s * model.subject.tensor_parallel if reads else 0.0
    fastest = max((roof.rate for roof in used if roof.kind == "memory"), default=0.0)
    if not reads or fastest < _CACHED * slowest:
        return ""
    size = with_unit("bytes", float(reads[-1].working_set_bytes))
    return f" (so few bytes come from a cache; {size} are read at {with_unit('bytes', slowest)}/s)"


def rates_words(roofs: Sequence[RoofLine]) -> str:
    """The rates of some lines in a sentence."""
    memory = [roof for roof in roofs if roof.kind == "memory"]
    compute = [f"{flops_text(roof.rate)} in {roof.name}" for roof in roofs if roof.kind == "compute"]
    return listed([f"{rates_text(memory)} of reading", *compute])
