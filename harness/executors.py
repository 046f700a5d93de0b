"""Where jobs run: each in a process of its own on this machine."""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import multiprocessing.forkserver
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from harness.backends.base import Backend
from harness.backends.transformers import TransformersBackend
from harness.backends.vllm import PRELOAD, VllmBackend
from harness.environment import Ceilings
from harness.machine import device_kind
from harness.measurements.ceilings import measure_ceilings
from harness.plan import Job
from harness.record import Failed, Record
from harness.worker import CellStarted, Event, Run, Scribe, run_job

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.2
_CLOSE_S = 60.0
"""What a process may take to end once every cell has its record."""
_CEILINGS_S = 120.0
"""The most that measuring the device's ceilings may take, its imports included."""
_LOG_TAIL_CHARACTERS = 4000

BACKENDS: dict[str, type[Backend]] = {"vllm": VllmBackend, "transformers": TransformersBackend}
"""By the name that a suite gives."""


class Executor(Protocol):
    """Runs jobs."""

    def run(self, job: Job, run: Run) -> Generator[Event, None, None]:
        """Yields what happens; every cell of the job ends in exactly one record, whatever becomes of the process.

        Closing the generator ends the process.
        """

    def ceilings(self, job: Job) -> Ceilings | None:
        """What the device does at most, measured where a job would run; None where that could not be measured."""


class LocalExecutor:
    """One process a job, one job at a time, the engine's output in a file a job under `logs`.

    Without an accelerator the jobs are forked from a server that has imported vLLM and lm-eval once (their imports
    take most of a small model's start); with one they are spawned, since CUDA does not survive a fork.
    """

    def __init__(
        self, logs: Path, backends: Mapping[str, type[Backend]] = BACKENDS, preload: tuple[str, ...] = PRELOAD
    ) -> None:
        self._logs = logs
        self._backends = backends
        self._preload = preload
        self._context: Any = None

    def run(self, job: Job, run: Run) -> Generator[Event, None, None]:
        """See `Executor.run`."""
        log_file = self.log_file(job, run)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.touch()
        context = self._start(job)
        receiver, sender = context.Pipe(duplex=False)
        backend = self._backends[job.subject.backend]
        process = context.Process(target=_child, args=(job, run, backend, sender, str(log_file)))
        process.start()
        sender.close()
        try:
            yield from _follow(job, run, process, receiver, log_file)
        finally:
            _kill(process)
            receiver.close()

    def log_file(self, job: Job, run: Run) -> Path:
        """Where the engine's output of a job goes; models that differ have files that differ."""
        model = job.subject.model
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:80]
        if name != model:
            name += f"-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
        part = "routing" if job.kind == "routing" else f"r{job.repeat}"
        return self._logs / run.id / f"{name}-{part}.log"

    def ceilings(self, job: Job) -> Ceilings | None:
        """See `Executor.ceilings`."""
        log_file = self._logs / "ceilings.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.touch()
        context = self._start(job)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_measure_ceilings, args=(job.subject.threads, sender, str(log_file)))
        process.start()
        sender.close()
        try:
            found: Ceilings | None = receiver.recv() if receiver.poll(_CEILINGS_S) else None
        except EOFError:  # it died: its log says why, and nothing that is measured depends on it
            found = None
        finally:
            _kill(process)
            receiver.close()
        return found

    def _start(self, job: Job) -> Any:
        if self._context is None:
            if job.subject.threads is not None:
                os.environ["OMP_NUM_THREADS"] = str(job.subject.threads)
            if device_kind() == "cuda":
                self._context = multiprocessing.get_context("spawn")
            else:
                self._context = multiprocessing.get_context("forkserver")
                self._context.set_forkserver_preload(list(self._preload))
                with _output_to(self._logs / "fork-server.log"):
                    multiprocessing.forkserver.ensure_running()
        return self._context


def _follow(job: Job, run: Run, process: BaseProcess, receiver: Connection, log_file: Path) -> Iterator[Event]:
    """The child's events, then a failure for each cell that it left without a record."""
    deadline = time.monotonic() + job.timeout_s
    left = {cell.id: cell for cell in job.cells}
    scribe = Scribe.of(job, run)
    error, message = "killed", ""
    while True:
        try:
            event = _next_event(process, receiver)
        except (EOFError, OSError):  # an OSError where it died in the middle of a message
            break
        if event is None:
            if time.monotonic() > deadline:
                error, message = "timeout", f"not done after {job.timeout_s:g} s"
                break
            continue
        if isinstance(event, Record):
            left.pop(event.cell.id, None)
            if not left:
                deadline = min(deadline, time.monotonic() + _CLOSE_S)
        if isinstance(event, CellStarted):
            scribe.begin()
        yield event
    if not left:
        return
    _kill(process)
    message = message or f"the process ended early ({_exit_text(process.exitcode)})"
    for cell in left.values():
        yield scribe.record(cell, Failed(error=error, message=message, log_tail=_tail(log_file)))


def _next_event(process: BaseProcess, receiver: Connection) -> Event | None:
    """What the job says next, None where it says nothing for a moment. Raises EOFError once it has ended."""
    if receiver.poll(_POLL_S):
        event: Event = receiver.recv()
        return event
    # a helper that outlives the job may hold the pipe open
    if not process.is_alive() and not receiver.poll(0):
        raise EOFError
    return None


def _child(job: Job, run: Run, backend: type[Backend], sender: Connection, log_file: str) -> None:
    """The body of a job's process."""
    _become_job(log_file)
    for event in run_job(job, run, backend()):
        sender.send(event)
    sender.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # the engine's own exit handlers hang now and then; everything that matters has been sent
    os._exit(0)


def _measure_ceilings(threads: int | None, sender: Connection, log_file: str) -> None:
    """The body of the process that measures ceilings."""
    _become_job(log_file)
    sender.send(measure_ceilings(device_kind(), threads))
    sender.close()


def _become_job(log_file: str) -> None:
    """A process group of its own, so that it can be ended whole; death with the parent; output to the log."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # a forked job's parent in the kernel's eyes is the fork server, which lives as long as any job does
    threading.Thread(target=_die_with_the_command, name="parent", daemon=True).start()
    descriptor = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _die_with_the_command() -> None:
    """Waits for the process that asked for the job to end, then ends the job's whole group."""
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os.killpg(0, signal.SIGKILL)


def _kill(process: BaseProcess) -> None:
    """Ends a job's whole process group, also where its leader is gone already; nothing left is no error."""
    if process.pid is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    process.join()


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Sends this process's output to a file: what is started meanwhile keeps it so."""
    sys.stdout.flush()
    sys.stderr.flush()
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(1), os.dup(2)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        yield
    finally:
        for number, original in enumerate(saved, start=1):
            os.dup2(original, number)
            os.close(original)
        os.close(descriptor)


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        known = {number.value: number.name for number in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        return f"{name}: out of memory, most likely" if name == "SIGKILL" else name
    return f"exit code {code}"


def _tail(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return text[-_LOG_TAIL_CHARACTERS:]
