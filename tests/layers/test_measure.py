"""What a layer may take: the memory that is free, not all that a device has; and how long it takes."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from layer_reports import SHAPE, timing
from nvml import GIB, FakeDevice, FakeNvml

from harness.errors import InputError
from harness.layers import measure
from harness.layers.measure import Asked
from harness.layers.task import LayerTask, Timing

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


def test_before_each_process_stands_how_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process takes 100 s, the first two together 300 s: 100 s and then 150 s for each that is left."""
    now = iter((0.0, 0.0, 100.0, 300.0))
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: next(now)))

    def session(task: LayerTask, process: int) -> tuple[Timing, ...]:
        return tuple(timing(process, tokens, variant, 1.0) for tokens, turn, variant in task.order(process) if not turn)

    monkeypatch.setattr(measure, "run_session", session)
    told: list[str] = []
    task = LayerTask(shape=SHAPE, tokens=(1, 2), seconds=0.5)
    measure.measure(task, Asked("", 1.0, (), 3), told.append)
    assert told == [
        "process 1 of 3, about 9 s or more", "process 2 of 3, about 3 min left", "process 3 of 3, about 2 min left",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 s"), (89.4, "about 89 s"), (91, "about 2 min"), (3000, "about 50 min"), (9100, "about 3 h")],
)
def test_a_duration_is_whole(seconds: float, words: str) -> None:
    assert measure.duration(seconds) == words
