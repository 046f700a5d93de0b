"""Memory before the model loads, after, and at its peak: resident set on the host, NVML and torch on accelerators."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from typing import NamedTuple

import psutil

from harness.backends.base import Engine
from harness.checkpoint import Weights
from harness.machine import decoded, nvml_session, visible_handles
from harness.record import DeviceMemory, DeviceSamples, MemoryMeasurement


class DeviceUse(NamedTuple):
    """One accelerator as NVML sees it, in bytes."""

    name: str
    total_bytes: int
    used_bytes: int


class MemoryProbe:
    """Samples memory around a load, on the first `devices` accelerators where there are any.

    `cold` is whether the checkpoint's files were dropped from the system's memory before. Make it before the engine,
    call `loaded` after, `measure` at the end of the job.
    """

    def __init__(self, devices: int = 1, cold: bool | None = None) -> None:
        self._devices = devices
        self._cold = cold
        self._resident_before = resident_bytes()
        self._devices_before = device_use()[:devices]
        self._resident_after = self._resident_before
        self._devices_after = self._devices_before
        self._peaks = [device.used_bytes for device in self._devices_before]

    def loaded(self) -> None:
        """Call once the engine takes requests."""
        self._resident_after = resident_bytes()
        self._devices_after = device_use()[: self._devices] or self._devices_before
        self.sample()

    def sample(self, watched: Sequence[DeviceSamples] = ()) -> None:
        """Call after each cell, with what was seen of the same devices while it ran: NVML keeps no peak of its own."""
        now = [(device.used_bytes,) for device in device_use()[: self._devices]]
        for uses in (now, [device.used_bytes for device in watched]):
            if len(uses) == len(self._peaks):  # a driver that does not answer any more changes nothing
                self._peaks = [max((peak, *used)) for peak, used in zip(self._peaks, uses, strict=True)]

    def measure(self, engine: Engine, weights: Weights) -> MemoryMeasurement:
        """The whole measurement; `weights` as the checkpoint stores them."""
        self.sample()
        cache = engine.memory()
        return MemoryMeasurement(
            load_s=round(engine.load_s, 6),
            import_s=round(engine.import_s, 6),
            cold=self._cold,
            weights_bytes=weights.bytes,
            parameters=weights.parameters,
            kv_cache_bytes=cache.kv_cache_bytes,
            kv_cache_tokens=cache.kv_cache_tokens,
            resident_before_load_bytes=self._resident_before,
            resident_after_load_bytes=self._resident_after,
            # the kernel's peak can lag behind its present count by some pages
            resident_peak_bytes=max(self._resident_before, self._resident_after, peak_resident_bytes()),
            engine_weights_bytes=cache.weights_bytes,
            activation_bytes=cache.activation_bytes,
            graph_bytes=cache.graph_bytes,
            devices=self._device_memory(),
        )

    def _device_memory(self) -> tuple[DeviceMemory, ...]:
        peaks = torch_peaks(len(self._devices_before))
        rows = zip(self._devices_before, self._devices_after, self._peaks, peaks, strict=True)
        return tuple(
            DeviceMemory(
                name=before.name, total_bytes=before.total_bytes, used_before_load_bytes=before.used_bytes,
                used_after_load_bytes=after.used_bytes, used_peak_bytes=peak, torch_peak_bytes=torch_peak,
            )
            for before, after, peak, torch_peak in rows
        )


def resident_bytes() -> int:
    """The resident set of this process now, in bytes."""
    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """The largest resident set that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def device_use() -> list[DeviceUse]:
    """The NVIDIA devices that CUDA shows this process, in its order; empty where there is none or no NVML."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        with nvml_session(pynvml):
            uses = []
            for handle in visible_handles(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES")):
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                uses.append(DeviceUse(decoded(pynvml.nvmlDeviceGetName(handle)), memory.total, memory.used))
            return uses
    except pynvml.NVMLError:
        return []


def torch_peaks(devices: int) -> list[int | None]:
    """The peak of torch's allocator by device, None where torch did not use it in this process."""
    if not devices:
        return []
    import torch

    if not torch.cuda.is_initialized():
        return [None] * devices
    seen = torch.cuda.device_count()
    return [int(torch.cuda.max_memory_allocated(i)) if i < seen else None for i in range(devices)]
