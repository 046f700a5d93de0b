"""What the accelerators do while a cell runs: energy, power, memory, clocks and throttling, sampled through NVML."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from threading import Event, Thread
from types import TracebackType
from typing import Any, NamedTuple

from harness.machine import decoded, nvml_session, visible_handles
from harness.record import DeviceSamples

INTERVAL_S = 0.1
MOST_SAMPLES = 2000
"""Of a cell: when there are as many, every second one is dropped and the interval doubles."""

_REASONS = (
    "GpuIdle", "ApplicationsClocksSetting", "SwPowerCap", "HwSlowdown", "SyncBoost", "SwThermalSlowdown",
    "HwThermalSlowdown", "HwPowerBrakeSlowdown", "DisplayClockSetting", "BoardLimit", "Reliability",
)
"""Why a clock is lower than it could be, from the lowest bit up. Source: nvmlClocksEventReasons of nvml.h."""


class Reading(NamedTuple):
    """One look at one device in the units of `DeviceSamples`; None what it did not answer."""

    energy_j: float | None
    power_w: float | None
    used_bytes: int | None
    clock_hz: float | None


class DeviceSampler:
    """Samples the first `devices` accelerators that CUDA shows this process, from entry to exit.

    A thread of its own looks about ten times a second. Where one of them cannot be seen, none is: a part of the energy
    is worth nothing.
    """

    def __init__(self, clock: Callable[[], float], devices: int = 1) -> None:
        self._clock = clock
        self._devices = devices
        self._driver = ExitStack()
        self._watched: list[_Watched] = []
        self._unseen = ""
        self._started_s = 0.0
        self._times_s: list[float] = []
        self._interval_s = INTERVAL_S
        self._over = Event()
        self._thread = Thread(target=self._run, name="device-sampler", daemon=True)

    def __enter__(self) -> DeviceSampler:
        self._unseen = self._open()
        if self._watched:
            self.look()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._driver:
            if self._watched:
                self._over.set()
                self._thread.join()
                self.look()

    @property
    def no_energy(self) -> str:
        """Why the energy is not known, in words; empty where it is."""
        return self._unseen or next((why for one in self._watched if (why := one.no_energy)), "")

    def samples(self) -> tuple[DeviceSamples, ...]:
        """One entry a device; empty where none is seen."""
        return tuple(one.samples(self._times_s) for one in self._watched)

    def look(self) -> None:
        """Takes one sample of every device; the first one starts the time."""
        for one in self._watched:
            one.look()
        now_s = self._clock()
        if not self._times_s:
            self._started_s = now_s
        self._times_s.append(round(now_s - self._started_s, 6))

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            self.look()
            if len(self._times_s) >= MOST_SAMPLES:
                self._interval_s *= 2
                del self._times_s[1::2]
                for one in self._watched:
                    del one.readings[1::2]

    def _open(self) -> str:
        """Opens the driver and finds the devices; why not, where that fails."""
        if not self._devices:
            return "no NVIDIA accelerator measured here, and the processor's energy is not read"
        try:
            import pynvml
        except ImportError:
            return "the driver's library for Python, nvidia-ml-py, is not installed"
        try:
            self._driver.enter_context(nvml_session(pynvml))
            handles = visible_handles(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES"))[: self._devices]
            if len(handles) < self._devices:
                return f"the NVIDIA driver shows {len(handles)} of {self._devices} devices"
            self._watched = [_Watched(pynvml, handle) for handle in handles]
        except pynvml.NVMLError:
            return "the NVIDIA driver does not answer"
        return ""


class _Watched:
    """One device and what was seen of it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._name = decoded(nvml.nvmlDeviceGetName(handle))
        self._slice = bool(self._ask("nvmlDeviceIsMigDeviceHandle"))
        self._throttled: set[str] = set()
        self.readings: list[Reading] = []

    def look(self) -> None:
        """Takes one sample."""
        # the counter of a slice is its whole card's, where it has one at all
        energy_mj = None if self._slice else self._ask("nvmlDeviceGetTotalEnergyConsumption")
        power_mw = None if self._slice else self._ask("nvmlDeviceGetPowerUsage")
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        clock_mhz = self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM)
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # drivers before 535 know it by its older name alone
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        self._throttled |= reasons_of(reasons or 0)
        self.readings.append(Reading(
            energy_j=None if energy_mj is None else energy_mj / 1e3,
            power_w=None if power_mw is None else power_mw / 1e3,
            used_bytes=None if memory is None else int(memory.used),
            clock_hz=None if clock_mhz is None else clock_mhz * 1e6,
        ))

    def _ask(self, query: str, *arguments: Any) -> Any:
        """The driver's answer; None where the device, the driver or its library does not know the question."""
        ask = getattr(self._nvml, query, None)
        if ask is None:
            return None
        try:
            return ask(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None

    def samples(self, times_s: list[float]) -> DeviceSamples:
        """Every quantity that was told at the start and at the end, at the moments when all of these were told."""
        first, last = self.readings[0], self.readings[-1]
        told = [key for key in Reading._fields if None not in (getattr(first, key), getattr(last, key))]
        rows = [
            (time_s, reading) for time_s, reading in zip(times_s, self.readings, strict=True)
            if all(getattr(reading, key) is not None for key in told)
        ]
        columns = {key: tuple(getattr(reading, key) for _, reading in rows) for key in told}
        energy_j = columns.get("energy_j")
        return DeviceSamples(
            name=self._name,
            times_s=tuple(time_s for time_s, _ in rows),
            energy_j=None if energy_j is None or _goes_back(energy_j) else energy_j,
            power_w=columns.get("power_w"),
            used_bytes=columns.get("used_bytes", ()),
            clock_hz=columns.get("clock_hz", ()),
            throttled=tuple(sorted(self._throttled)),
        )

    @property
    def no_energy(self) -> str:
        """Why the energy is not known, in words; empty where it is."""
        seen = self.samples([0.0] * len(self.readings))
        if seen.energy_j is not None or seen.power_w is not None:
            return ""
        if self._slice:
            return "a slice of a device has no energy counter of its own"
        if any(reading.energy_j is not None for reading in self.readings):
            return "the device's energy counter went back or stopped answering, and its power is not told"
        return "the device has neither an energy counter nor a power reading"


def reasons_of(mask: int) -> set[str]:
    """The reasons for a lower clock in NVML's mask, as NVML spells them; a bit that is not known by its value."""
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return {_REASONS[bit] if bit < len(_REASONS) else f"{1 << bit:#x}" for bit in bits}


def _goes_back(counter: tuple[float, ...]) -> bool:
    return any(later < earlier for earlier, later in pairwise(counter))
