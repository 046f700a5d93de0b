"""What a layer may take: the memory that is free, not all that a device has."""

from __future__ import annotations

import sys

import pytest
from layer_reports import SHAPE
from nvml import GIB, FakeDevice, FakeNvml

from harness.errors import InputError
from harness.layers import measure
from harness.layers.measure import Asked
from harness.layers.task import LayerTask

TASK = LayerTask(shape=SHAPE, tokens=(1, 16), device="cuda")


@pytest.mark.parametrize("visible", [None, "1"])
def test_what_others_hold_on_the_accelerator_is_not_free(
    monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    small = FakeDevice(total=80 * GIB, used=80 * GIB - 2**20)
    devices = [small] if visible is None else [FakeDevice(), small]
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*devices))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(InputError, match=r"1\.05 MB are free"):
        measure.measure(TASK, Asked("layer", 1.0, (), 1), print)
