"""pynvml as far as it is used: devices whose answers a test sets, and a driver that starts or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

GIB = 2**30


@dataclass
class FakeDevice:
    """One device or slice. None is what it does not support."""

    name: str | bytes = "Example GPU"
    uuid: str = "GPU-aa11"
    total: int = 80 * GIB
    used: int | None = GIB
    energy_mj: int | None = None
    power_mw: int | None = None
    clock_mhz: int | None = None
    reasons: int | None = None
    is_slice: bool = False


class FakeNvml(ModuleType):
    """To be put into `sys.modules` as pynvml. A driver before 535 has an `older` name for the reasons."""

    class NVMLError(Exception):
        """As every failure of pynvml."""

    NVML_CLOCK_SM = 1

    def __init__(self, *devices: FakeDevice, starts: bool = True, older: bool = False) -> None:
        super().__init__("pynvml")
        self.devices, self.starts, self.older = list(devices), starts, older
        self.slice = FakeDevice("NVIDIA H200 MIG 1g.18gb", "MIG-1234", 18 * GIB, is_slice=True)
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802 - as pynvml spells it
        if not self.starts:
            raise self.NVMLError
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - as above
        self.open -= 1

    def __getattr__(self, name: str) -> Callable[..., Any]:
        reasons = f"nvmlDeviceGetCurrentClocks{'Throttle' if self.older else 'Event'}Reasons"
        answers: dict[str, Callable[..., Any]] = {
            "nvmlSystemGetDriverVersion": lambda: b"575.51.03",
            "nvmlDeviceGetCount": lambda: len(self.devices),
            "nvmlDeviceGetHandleByIndex": lambda index: self.devices[index],
            "nvmlDeviceGetHandleByUUID": lambda uuid: self.slice if uuid == self.slice.uuid else None,
            "nvmlDeviceGetUUID": lambda device: device.uuid,
            "nvmlDeviceGetName": lambda device: device.name,
            "nvmlDeviceIsMigDeviceHandle": lambda device: device.is_slice,
            "nvmlDeviceGetMemoryInfo": lambda device: None if device.used is None else SimpleNamespace(
                total=device.total, used=device.used, free=device.total - device.used,
            ),
            "nvmlDeviceGetTotalEnergyConsumption": lambda device: device.energy_mj,
            "nvmlDeviceGetPowerUsage": lambda device: device.power_mw,
            "nvmlDeviceGetClockInfo": lambda device, kind: device.clock_mhz if kind == self.NVML_CLOCK_SM else None,
            reasons: lambda device: device.reasons,
        }
        if name not in answers:
            raise AttributeError(name)
        return lambda *given: self._told(answers[name](*given))

    def _told(self, answer: Any) -> Any:
        if answer is None:
            raise self.NVMLError
        return answer
