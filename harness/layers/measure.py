"""Runs the processes of a task one after another and draws the conclusions."""

from __future__ import annotations

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
from harness.layers.task import LayerTask, Timing
from harness.machine import available_memory_bytes, detect_environment, list_accelerators, version_of
from harness.quantities import with_unit


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
    check_memory(task, _available_bytes(task, environment), scale=asked.scale)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    timings: list[Timing] = []
    took = 0.0
    for process in range(asked.processes):
        before = f", the last took {with_unit('seconds', took, 2)}" if process else ""
        tell(f"process {process + 1} of {asked.processes}{before}")
        began = time.perf_counter()
        timings += run_session(task, process)
        took = time.perf_counter() - began
    measured = Measured(
        name=asked.name, scale=asked.scale, notes=asked.notes, task=task, processes=asked.processes,
        started_at=started, environment=environment, benchmark_version=version_of("pytest-benchmark"),
        timings=tuple(timings),
    )
    return report_of(measured)


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


def _available_bytes(task: LayerTask, environment: Environment) -> int:
    return available_memory_bytes() if task.device == "cpu" else environment.accelerators[0].memory_bytes
