"""The sampler on a driver that is played: what it keeps, and what it says where there is nothing to keep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from builders import serving_scenario
from engines import FakeClock, ToyEngine
from nvml import GIB, FakeDevice, FakeNvml

from harness.measurements import devices
from harness.measurements.devices import DeviceSampler, reasons_of
from harness.measurements.serving import measure_serving
from harness.record import DeviceSamples

Install = Callable[..., FakeNvml]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a driver with these devices in place of pynvml; the sampler's thread never looks by itself."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "INTERVAL_S", 3600.0)

    def installed(*shown: FakeDevice, **options: Any) -> FakeNvml:
        driver = FakeNvml(*shown, **options)
        monkeypatch.setitem(sys.modules, "pynvml", driver)
        return driver

    return installed


def whole(**changes: Any) -> FakeDevice:
    """A device that answers everything."""
    fields: dict[str, Any] = {"energy_mj": 5_000_000, "power_mw": 300_000, "clock_mhz": 1980, "reasons": 0}
    return FakeDevice(**{**fields, **changes})


def sampled(device: FakeDevice, *later: dict[str, Any]) -> tuple[DeviceSamples, str]:
    """What is kept of a device that is looked at once a second, changed so before each look after the first."""
    clock = FakeClock()
    with DeviceSampler(clock) as sampler:
        for index, changes in enumerate(later):
            clock.advance(1.0)
            for key, value in changes.items():
                setattr(device, key, value)
            if index < len(later) - 1:
                sampler.look()
    return sampler.samples()[0], sampler.no_energy


class TestSamples:
    def test_the_first_is_at_the_start_and_the_last_at_the_end_in_base_units(self, install: Install) -> None:
        device = whole()
        driver = install(device)
        clock = FakeClock()
        with DeviceSampler(clock) as sampler:
            clock.advance(12.5)
            device.energy_mj, device.power_mw, device.used, device.clock_mhz = 8_750_123, 250_000, 2 * GIB, 1755
        assert sampler.samples() == (DeviceSamples(
            name="Example GPU", times_s=(0.0, 12.5), energy_j=(5000.0, 8750.123), power_w=(300.0, 250.0),
            used_bytes=(GIB, 2 * GIB), clock_hz=(1.98e9, 1.755e9),
        ),)
        assert sampler.no_energy == ""
        assert driver.open == 0

    def test_every_device_of_the_job_and_no_other(self, install: Install) -> None:
        install(*(whole(name=name) for name in ("first", "second", "third")))
        with DeviceSampler(FakeClock(), devices=2) as sampler:
            pass
        assert [one.name for one in sampler.samples()] == ["first", "second"]

    def test_in_the_order_in_which_cuda_shows_them(self, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
        install(*(whole(name=name) for name in ("first", "second")))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        with DeviceSampler(FakeClock()) as sampler:
            pass
        assert [one.name for one in sampler.samples()] == ["second"]

    def test_a_quantity_that_a_device_does_not_have_is_none_for_the_whole_cell(self, install: Install) -> None:
        device = FakeDevice(power_mw=70_000, used=None)
        install(device)
        found, why = sampled(device, {}, {"energy_mj": 5})
        assert (found.energy_j, found.power_w) == (None, (70.0, 70.0, 70.0))
        assert (found.used_bytes, found.clock_hz, found.throttled) == ((), (), ())
        assert why == ""

    def test_a_moment_at_which_one_query_fails_is_left_out(self, install: Install) -> None:
        device = whole()
        install(device)
        found, _ = sampled(device, {"energy_mj": None}, {"energy_mj": 5_600_000}, {"energy_mj": 5_900_000})
        assert (found.times_s, found.energy_j) == ((0.0, 2.0, 3.0), (5000.0, 5600.0, 5900.0))
        assert (len(found.power_w or ()), len(found.used_bytes), len(found.clock_hz)) == (3, 3, 3)

    def test_the_driver_is_closed_and_the_end_sampled_where_the_cell_breaks(self, install: Install) -> None:
        driver = install(whole())
        clock = FakeClock()
        sampler = DeviceSampler(clock)

        def breaks() -> None:
            with sampler:
                clock.advance(1.0)
                raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            breaks()
        assert driver.open == 0
        assert sampler.samples()[0].times_s == (0.0, 1.0)


class TestThread:
    def test_it_looks_until_the_cell_ends(self, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
        driver, looked, seen = install(whole()), Event(), []
        monkeypatch.setattr(devices, "INTERVAL_S", 0.0)
        answer = driver.nvmlDeviceGetPowerUsage

        def counted(device: FakeDevice) -> int:
            seen.append(device)
            if len(seen) == 5:
                looked.set()
            return int(answer(device))

        monkeypatch.setattr(driver, "nvmlDeviceGetPowerUsage", counted)
        sampler = DeviceSampler(FakeClock())
        with sampler:
            assert looked.wait(60)
        assert len(seen) >= 6
        assert len(sampler.samples()[0].times_s) > 2
        assert not sampler._thread.is_alive()

    def test_a_long_cell_is_sampled_less_often(self, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
        install(whole())
        monkeypatch.setattr(devices, "MOST_SAMPLES", 8)
        clock = FakeClock()
        sampler = DeviceSampler(clock)
        waited: list[float] = []

        class Played:
            """An event that never comes before 100 waits, each of which takes its time on the cell's clock."""

            def wait(self, seconds: float) -> bool:
                if len(waited) == 100:
                    return True
                waited.append(seconds)
                clock.advance(1.0)
                return False

            def set(self) -> None:
                pass

        monkeypatch.setattr(sampler, "_over", Played())
        with sampler:
            sampler._thread.join()
            clock.advance(1.0)
        times_s = sampler.samples()[0].times_s
        assert len(times_s) <= 8
        assert (times_s[0], times_s[-1]) == (0.0, 101.0)
        assert list(times_s) == sorted(times_s)
        assert waited == sorted(waited) and waited[-1] >= 8 * waited[0]

    def test_none_without_devices(self) -> None:
        with DeviceSampler(FakeClock(), devices=0) as sampler:
            assert not sampler._thread.is_alive()
        assert sampler.samples() == ()


class TestThrottling:
    def test_every_reason_that_any_sample_saw_is_named_as_nvml_does(self, install: Install) -> None:
        device = whole(reasons=0x1)
        install(device)
        found, _ = sampled(device, {"reasons": 0x4}, {"reasons": 0x60}, {"reasons": None}, {"reasons": 0})
        assert found.throttled == ("GpuIdle", "HwThermalSlowdown", "SwPowerCap", "SwThermalSlowdown")

    def test_drivers_before_535_have_another_name_for_them(self, install: Install) -> None:
        device = whole(reasons=0x88)
        install(device, older=True)
        assert sampled(device, {})[0].throttled == ("HwPowerBrakeSlowdown", "HwSlowdown")

    def test_a_reason_that_is_not_known_here_is_not_lost(self) -> None:
        assert reasons_of(0) == set()
        assert reasons_of((1 << 40) | 0x40) == {"HwThermalSlowdown", "0x10000000000"}


class TestNoEnergy:
    def why(self, count: int = 1) -> str:
        with DeviceSampler(FakeClock(), count) as sampler:
            pass
        return sampler.no_energy

    def test_a_processor(self) -> None:
        assert self.why(0) == "no NVIDIA accelerator measured here, and the processor's energy is not read"

    def test_no_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
        assert self.why() == "the driver's library for Python, nvidia-ml-py, is not installed"

    def test_no_driver(self, install: Install) -> None:
        install(starts=False)
        assert self.why() == "the NVIDIA driver does not answer"

    def test_a_part_of_the_devices_is_none(self, install: Install) -> None:
        driver = install(whole())
        with DeviceSampler(FakeClock(), 2) as sampler:
            pass
        assert sampler.no_energy == "the NVIDIA driver shows 1 of 2 devices"
        assert (sampler.samples(), driver.open) == ((), 0)

    def test_neither_counter_nor_power(self, install: Install) -> None:
        install(FakeDevice(), whole())
        assert self.why(2) == "the device has neither an energy counter nor a power reading"

    def test_a_counter_that_goes_back_is_not_kept(self, install: Install) -> None:
        device = whole(power_mw=None)
        install(device)
        found, why = sampled(device, {"energy_mj": 4_000_000}, {"energy_mj": 6_000_000})
        assert found.energy_j is None
        assert why == "the device's energy counter went back or stopped answering, and its power is not told"
        again = whole()
        install(again)
        found, why = sampled(again, {"energy_mj": 4_000_000})
        assert (found.energy_j, found.power_w, why) == (None, (300.0, 300.0), "")

    def test_a_slice_is_not_given_the_energy_of_its_card(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        driver = install(whole())
        driver.slice.energy_mj, driver.slice.power_mw, driver.slice.used = 1000, 70_000, 5 * GIB
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
        with DeviceSampler(FakeClock()) as sampler:
            pass
        assert sampler.no_energy == "a slice of a device has no energy counter of its own"
        found = sampler.samples()[0]
        assert (found.energy_j, found.power_w, found.used_bytes) == (None, None, (5 * GIB, 5 * GIB))


def test_a_serving_cell_is_sampled_from_its_start_to_its_end(install: Install) -> None:
    install(whole())
    engine = ToyEngine()
    engine.devices = 1
    measured = measure_serving(engine, serving_scenario(2), 1, clock=engine.clock)
    assert measured.devices[0].times_s == (0.0, measured.duration_s)
    assert measured.no_energy == ""
    engine = ToyEngine()
    on_processor = measure_serving(engine, serving_scenario(2), 1, clock=engine.clock)
    assert on_processor.devices == () and on_processor.no_energy
