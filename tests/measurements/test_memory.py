"""Memory around a load, with the system's answers played."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from engines import ToyEngine
from nvml import GIB, FakeDevice, FakeNvml

from harness.backends.base import EngineMemory
from harness.checkpoint import Weights
from harness.measurements import memory
from harness.measurements.memory import DeviceUse, MemoryProbe
from harness.record import DeviceMemory, DeviceSamples

Play = Callable[[str, list[Any]], None]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Lets a function of the module give these answers, one a call."""
    def played(name: str, answers: list[Any]) -> None:
        left = list(answers)
        monkeypatch.setattr(memory, name, lambda *_: left.pop(0))
    return played


def one_gpu(used: int) -> list[DeviceUse]:
    return [DeviceUse("Example GPU", 80 * GIB, used * GIB)]


def test_a_processor_is_measured_by_its_resident_set(play: Play) -> None:
    play("resident_bytes", [500, 800])
    play("peak_resident_bytes", [900])
    play("device_use", [[]] * 4)
    probe = MemoryProbe()
    probe.loaded()
    found = probe.measure(ToyEngine(), Weights(parameters=10, bytes=20))
    assert (found.resident_before_load_bytes, found.resident_after_load_bytes, found.resident_peak_bytes) == (
        500, 800, 900
    )
    assert (found.parameters, found.weights_bytes) == (10, 20)
    assert (found.kv_cache_bytes, found.kv_cache_tokens, found.load_s) == (4096, 128, 1.5)
    assert found.devices == ()


def test_a_device_keeps_the_most_that_any_sample_saw(play: Play) -> None:
    play("device_use", [one_gpu(1), one_gpu(20), one_gpu(21), one_gpu(30), one_gpu(25)])
    play("torch_peaks", [[19 * GIB]])
    probe = MemoryProbe()
    probe.loaded()
    probe.sample()
    assert probe.measure(ToyEngine(), Weights(1, 2)).devices == (DeviceMemory(
        name="Example GPU", total_bytes=80 * GIB, used_before_load_bytes=GIB, used_after_load_bytes=20 * GIB,
        used_peak_bytes=30 * GIB, torch_peak_bytes=19 * GIB,
    ),)


def test_a_peak_during_a_cell_counts_though_it_was_over_at_its_end(play: Play) -> None:
    play("device_use", [one_gpu(1), one_gpu(20), one_gpu(20), one_gpu(21), one_gpu(21), one_gpu(21)])
    play("torch_peaks", [[None]])
    probe = MemoryProbe()
    probe.loaded()
    probe.sample([DeviceSamples(name="Example GPU", times_s=(0.0, 1.0), used_bytes=(20 * GIB, 33 * GIB))])
    probe.sample([DeviceSamples(name="Example GPU", times_s=(0.0, 1.0))])
    assert probe.measure(ToyEngine(), Weights(1, 2)).devices[0].used_peak_bytes == 33 * GIB


def test_a_driver_that_stops_answering_changes_nothing(play: Play) -> None:
    play("device_use", [one_gpu(1), [], [], one_gpu(20), []])
    play("torch_peaks", [[None]])
    probe = MemoryProbe()
    probe.loaded()
    probe.sample()
    found = probe.measure(ToyEngine(), Weights(1, 2)).devices[0]
    assert (found.used_after_load_bytes, found.used_peak_bytes) == (GIB, 20 * GIB)


def test_devices_that_do_not_measure_are_left_out(play: Play) -> None:
    play("device_use", [one_gpu(1)] * 4)
    probe = MemoryProbe(devices=0)
    probe.loaded()
    assert probe.measure(ToyEngine(), Weights(1, 2)).devices == ()


def test_what_the_engine_tells_of_its_memory_is_kept(play: Play) -> None:
    play("device_use", [[]] * 4)
    engine = ToyEngine()
    engine._memory = EngineMemory(4096, 128, weights_bytes=3, activation_bytes=4, graph_bytes=None)
    probe = MemoryProbe(cold=True)
    probe.loaded()
    found = probe.measure(engine, Weights(1, 2))
    assert (found.weights_bytes, found.engine_weights_bytes) == (2, 3)
    assert (found.activation_bytes, found.graph_bytes) == (4, None)
    assert (found.cold, found.import_s) == (True, 0.25)


def test_the_resident_set_is_plausible() -> None:
    assert 10 * 2**20 < memory.resident_bytes() < 2**45
    # the two counts of the kernel may differ by some pages
    assert memory.peak_resident_bytes() > 0.9 * memory.resident_bytes()


def test_the_peak_is_never_below_what_was_seen(play: Play) -> None:
    play("resident_bytes", [500, 800])
    play("peak_resident_bytes", [790])
    play("device_use", [[]] * 4)
    probe = MemoryProbe()
    probe.loaded()
    assert probe.measure(ToyEngine(), Weights(1, 2)).resident_peak_bytes == 800


class TestDevices:
    def test_each_is_listed_and_the_driver_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        driver = FakeNvml(FakeDevice(b"first"), FakeDevice("second", used=2 * GIB))
        monkeypatch.setitem(sys.modules, "pynvml", driver)
        assert memory.device_use() == [DeviceUse("first", 80 * GIB, GIB), DeviceUse("second", 80 * GIB, 2 * GIB)]
        assert driver.open == 0

    def test_no_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(starts=False))
        assert memory.device_use() == []

    def test_no_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
        assert memory.device_use() == []


class TestTorch:
    def torch(self, *, initialized: bool) -> ModuleType:
        module = ModuleType("torch")
        module.cuda = SimpleNamespace(  # type: ignore[attr-defined]
            is_initialized=lambda: initialized, device_count=lambda: 1, max_memory_allocated=lambda i: 7 + i,
        )
        return module

    def test_without_devices_torch_is_not_even_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        assert memory.torch_peaks(0) == []

    def test_none_where_torch_did_not_use_the_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", self.torch(initialized=False))
        assert memory.torch_peaks(2) == [None, None]

    def test_a_device_that_torch_does_not_see_has_no_peak(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", self.torch(initialized=True))
        assert memory.torch_peaks(2) == [7, None]
