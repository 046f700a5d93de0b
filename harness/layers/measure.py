"""Runs the processes of a task one after another and draws the conclusions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from harness.environment import Environment
from harness.errors import InputError
from harness.layers.crossings import comparison_of
from harness.layers.memory import check_memory
from harness.layers.result import LayerReport, Measured, points_of
from harness.layers.session import run_session
from harness.layers.task import VARIANTS, LayerTask, Timing
from harness.machine import (
    available_memory_bytes,
    detect_environment,
    list_accelerators,
    nvml_session,
    version_of,
    visible_handles,
)


class Asked(NamedTuple):
    """What belongs to the report beside the task; see `Measured`."""

    name: str
    scale: float
    notes: tuple[str, ...]
    processes: int


def measure(task: LayerTask, asked: Asked, tell: Callable[[str], None]) -> LayerReport:
    """The report of a task, telling of each process before it starts.

    Raises InputError for a layer that does not fit in memory and EngineError where a process fails.
    """
    environment = environment_of(task)
    check_memory(task, _available_bytes(task), scale=asked.scale)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    timings: list[Timing] = []
    began = time.perf_counter()
    for process in range(asked.processes):
        to_do = asked.processes - process
        took_s = time.perf_counter() - began
        left = f"{duration(took_s / process * to_do)} left" if process else f"{duration(timed_s(task) * to_do)} or more"
        tell(f"process {process + 1} of {asked.processes}, {left}")
        timings += run_session(task, process)
    measured = Measured(
        name=asked.name, scale=asked.scale, notes=asked.notes, task=task, processes=asked.processes,
        started_at=started, environment=environment, benchmark_version=version_of("pytest-benchmark"),
        timings=tuple(timings),
    )
    return report_of(measured)


def timed_s(task: LayerTask) -> float:
    """The seconds that a process is to spend on calls; starting and warming up come on top, and calls that are long."""
    return task.seconds * len(VARIANTS) * len(task.tokens)


def duration(seconds: float) -> str:
    """About how long, in whole seconds, minutes or hours."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {round(seconds / 3600)} h"


def report_of(measured: Measured) -> LayerReport:
    """What follows from raw observations."""
    return LayerReport(
        measured=measured, points=points_of(measured),
        comparisons=(comparison_of(measured, "active"), comparison_of(measured, "total")),
    )


def environment_of(task: LayerTask) -> Environment:
    """The machine as it is, with the accelerators of the task's device. Raises InputError for CUDA without any."""
    environment = detect_environment(task.threads)
    if task.device == "cpu":
        return environment.model_copy(update={"accelerators": (), "driver": None})
    accelerators, driver = list_accelerators()
    if not accelerators:
        raise InputError("NVML names no accelerator", where="--device", hint="use cpu, or see `moebench doctor`")
    return environment.model_copy(update={"accelerators": accelerators, "driver": driver})


def _available_bytes(task: LayerTask) -> int:
    """What is free now, on the first accelerator that this process may use or in main memory."""
    if task.device == "cpu":
        return available_memory_bytes()
    import pynvml

    with nvml_session(pynvml):
        first, *_ = visible_handles(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
        return int(pynvml.nvmlDeviceGetMemoryInfo(first).free)
