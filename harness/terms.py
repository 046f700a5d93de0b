"""What a suite says of how its results are read, which is no part of what was measured: limits, prices, devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.accelerators import Accelerators, AcceleratorSpec
from harness.errors import InputError
from harness.record import Subject
from harness.suite import Suite
from harness.suite_serving import Limits


@dataclass(frozen=True)
class Terms:
    """How the results of one suite are read."""

    limits: Mapping[str, Limits] = field(default_factory=dict)
    """By workload, what a request has to keep to count for the goodput."""
    accelerators: Accelerators | None = None
    prices_usd_per_hour: Mapping[str, float] = field(default_factory=dict)
    """The suite's own, by the devices' names; else the list price counts."""
    host_usd_per_hour: float | None = None
    """Of the whole machine, where it has no accelerator."""

    @classmethod
    def of(cls, suite: Suite | None, suites_dir: Path | None) -> Terms:
        """Those of a suite file, or what holds without one. Raises InputError as `Accelerators` does."""
        devices = Accelerators(suites_dir) if suites_dir is not None else None
        if suite is None:
            return cls(accelerators=devices)
        limits = {serving.name: serving.goodput for serving in suite.serving if serving.goodput is not None}
        prices = devices.prices(suite.prices_usd_per_hour) if devices else {}
        return cls(limits, devices, prices, suite.host_usd_per_hour)

    def device(self, subject: Subject) -> AcceleratorSpec | None:
        """What the vendor promises of the device that measured; None where it is not known, as of a processor."""
        if self.accelerators is None:
            return None
        try:
            return self.accelerators.load(subject.accelerator)
        except InputError:
            return None

    def usd_per_hour(self, subject: Subject) -> float | None:
        """What an hour of all devices of a subject costs: the suite's price, else the list price; None if unknown."""
        device = self.device(subject)
        if device is None:
            # the processor's: a suite gives one price for the machine
            return self.host_usd_per_hour if subject.threads is not None else None
        price = self.prices_usd_per_hour.get(device.name, device.price_usd_per_hour)
        return None if price is None else price * subject.tensor_parallel
