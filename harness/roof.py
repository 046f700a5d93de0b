"""What a device does at most, as measured or as its vendor promises: what runs are held against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.accelerators import AcceleratorSpec
from harness.environment import Ceilings, ReadRate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]

Device = tuple[str, int | None]
"""An accelerator by name, or a processor with so many engine threads."""
Seen = dict[Device, dict[tuple[str, str], Ceilings]]
"""What each kind of device did at most, by the run and the text of what it saw."""


@dataclass(frozen=True)
class Roof:
    """What one device, or all engine threads of a processor, do at most."""

    title: str
    peaks: Mapping[str, float]
    """FLOP/s by the precision of the products, a key of `DensePeaks`."""
    reads: tuple[ReadRate, ...]
    """By rising working set; rates fall."""
    measured: bool = True
    """Measured at the start of a run, or else promised by the vendor."""

    @classmethod
    def of_ceilings(cls, title: str, ceilings: Ceilings) -> Roof:
        """As it was measured."""
        return cls(title, ceilings.matmul_flops_per_s, ceilings.reads)

    @classmethod
    def of_sheet(cls, device: AcceleratorSpec) -> Roof:
        """As the vendor promises."""
        peaks = {name: device.peak_flops_per_s(name) for name in device.precisions}
        reads = (ReadRate(working_set_bytes=1, bytes_per_s=device.bandwidth_bytes_per_s),)
        return cls(device.title, peaks, reads, measured=False)

    def bytes_per_s(self, working_sets_bytes: Column) -> Column:
        """The read rate of each working set: of the largest one measured that is no larger, else of the smallest."""
        sizes = [one.working_set_bytes for one in self.reads]
        rates = np.asarray([one.bytes_per_s for one in self.reads])
        fitting = np.searchsorted(sizes, working_sets_bytes, side="right") - 1
        found: Column = rates[np.maximum(fitting, 0)]
        return found


def best_ceilings(seen: Iterable[Ceilings]) -> Ceilings | None:
    """The fastest of what was measured on devices of one kind: each measurement is a lower bound. None for none."""
    several = [one for one in seen if one.reads]
    if not several:
        return None
    rates: dict[int, float] = {}
    peaks: dict[str, float] = {}
    for one in several:
        for read in one.reads:
            rates[read.working_set_bytes] = max(rates.get(read.working_set_bytes, 0.0), read.bytes_per_s)
        for name, peak in one.matmul_flops_per_s.items():
            peaks[name] = max(peaks.get(name, 0.0), peak)
    sizes = sorted(rates)
    falling = np.maximum.accumulate([rates[size] for size in reversed(sizes)])[::-1]
    reads = [
        ReadRate(working_set_bytes=size, bytes_per_s=float(rate)) for size, rate in zip(sizes, falling, strict=True)
    ]
    duration_s = math.fsum(one.duration_s for one in several)
    return Ceilings(reads=tuple(reads), matmul_flops_per_s=peaks, duration_s=duration_s)
