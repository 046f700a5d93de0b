"""What the accelerators do while a cell runs: energy, power, memory, clocks and throttling, sampled through NVML."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from harness.record import DeviceSamples


class DeviceSampler:
    """Samples the accelerators of this process from entry to exit, on a thread of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.no_energy = "no NVIDIA accelerator measured here, and the processor's energy is not read"

    def __enter__(self) -> DeviceSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def samples(self) -> tuple[DeviceSamples, ...]:
        """One entry a device."""
        return ()
