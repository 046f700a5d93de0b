"""The child process: a job in, records out. The one place where engines and measurements meet."""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.accounting import PRECISIONS, count_parameters, weight_bytes
from harness.backends.base import NO_ROUTER, Backend, Engine
from harness.checkpoint import Weights, count_weights, drop_from_memory
from harness.environment import Ceilings, Environment
from harness.errors import EngineError, MoebenchError
from harness.hf_config import architecture_from_config
from harness.measurements.memory import MemoryProbe
from harness.measurements.quality import measure_quality
from harness.measurements.routing import measure_routing
from harness.measurements.serving import measure_serving
from harness.measurements.sweep import Sweeps
from harness.plan import Job
from harness.record import Cell, Completed, Failed, Measurement, Record, Refused, ServingMeasurement, Skipped
from harness.scenario import Lengths, MemoryScenario, QualityScenario, ServedTokens, ServingScenario, TraceLengths
from harness.traces import Trace, read_trace


@dataclass(frozen=True)
class Run:
    """What all records of one `moebench run` share."""

    id: str
    suite: str
    environment: Environment

    def with_ceilings(self, ceilings: Ceilings | None) -> Run:
        """The same run, on a machine whose ceilings are known."""
        return replace(self, environment=self.environment.model_copy(update={"ceilings": ceilings}))


@dataclass(frozen=True)
class CellStarted:
    """The worker begins a cell; None while it loads the engine."""

    cell: Cell | None


@dataclass(frozen=True)
class MeasuringCeilings:
    """What the device does at most is about to be measured, or could not be."""

    failed: bool = False


@dataclass(frozen=True)
class NotNeeded:
    """Cells that were planned and will not be measured: a sweep ended, intervals are narrow, a model cannot load."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Attachment:
    """What is too large for the record that follows, which names it."""

    fingerprint: str
    content: bytes


Event = MeasuringCeilings | CellStarted | NotNeeded | Attachment | Record


def run_job(job: Job, run: Run, backend: Backend) -> Iterator[Event]:
    """Loads the job's model once and measures its cells in order. Yields what happens; raises nothing.

    A model that cannot load fails every cell; a cell that breaks fails alone.
    """
    scribe = Scribe.of(job, run)
    yield CellStarted(None)
    with TemporaryDirectory(prefix="moebench-") as scratch:
        try:
            cold = _cold_start(job)
            on_processor = job.subject.threads is not None
            probe = MemoryProbe(0 if on_processor else job.subject.tensor_parallel, cold)
            engine = backend.load(job.subject, job.location, job.config, Path(scratch))
            probe.loaded()
            scribe.config = scribe.config or engine.config()
        except Exception as error:  # noqa: BLE001 - the worker is where any failure becomes a record
            for cell in job.cells:
                yield scribe.record(cell, _failed(error, "load"))
            return
        sweeps = Sweeps(job.sweeps, job.known_rates)
        for cell in job.cells:
            yield CellStarted(cell)
            scribe.begin()
            ended = sweeps.ended(cell.scenario)
            if ended:
                yield scribe.record(cell, Skipped(reason=ended))
                continue
            try:
                measurement, attachment = _measure(cell, engine, probe, job)
                probe.sample(measurement.devices if isinstance(measurement, ServingMeasurement) else ())
            except Exception as error:  # noqa: BLE001 - as above
                yield scribe.record(cell, _without_experts(error, scribe.config) or _failed(error, "internal"))
            else:
                sweeps.add(cell.scenario, measurement)
                record = scribe.record(cell, Completed(measurement=measurement))
                if attachment is not None:
                    yield attachment
                yield record
        with suppress(Exception):  # every cell has its record: what happens now spoils none
            engine.close()


def _measure(cell: Cell, engine: Engine, probe: MemoryProbe, job: Job) -> tuple[Measurement, Attachment | None]:
    scenario, tasks = cell.scenario, Path(job.tasks_folder)
    if isinstance(scenario, ServingScenario):
        return measure_serving(engine, scenario, cell.seed, _trace(scenario.lengths, job)), None
    if isinstance(scenario, QualityScenario):
        return measure_quality(engine, scenario, tasks), None
    if isinstance(scenario, MemoryScenario):
        return probe.measure(engine, _weights(job)), None
    trace = _trace(scenario.work.lengths, job) if isinstance(scenario.work, ServedTokens) else None
    measurement, content = measure_routing(engine, scenario, cell.seed, tasks, trace)
    return measurement, Attachment(measurement.tokens_file, content)


def _trace(lengths: Lengths, job: Job) -> Trace | None:
    """The trace that a scenario names. Raises EngineError where its file is another one by now."""
    if not isinstance(lengths, TraceLengths):
        return None
    trace = read_trace(Path(job.traces[lengths.fingerprint]))
    if trace.fingerprint != lengths.fingerprint:
        raise EngineError("the trace has changed since the run was planned", kind="trace", where=str(trace.path))
    return trace


def _cold_start(job: Job) -> bool | None:
    """Has the first repeat read its checkpoint from disk. None where that cannot be arranged: it is not here yet."""
    try:
        if job.subject.weights == "dummy":
            return None
        return drop_from_memory(_checkpoint(job)) if job.repeat == 0 and job.kind == "timed" else False
    except OSError:  # a file that cannot be opened; what is missing is for the engine to report
        return None


def _checkpoint(job: Job) -> Path:
    """The folder of the job's weights. Raises OSError where a hub's have not been fetched yet."""
    if job.subject.source.startswith("path:"):
        return Path(job.location)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(job.location, revision=job.subject.revision, local_files_only=True))


def _weights(job: Job) -> Weights:
    if job.subject.weights == "dummy":
        architecture = architecture_from_config(job.config, job.location)
        size = weight_bytes(architecture, PRECISIONS[job.subject.precision])
        return Weights(count_parameters(architecture).total, round(size))
    # the engine has fetched what a hub has: this finds the folder in the cache and asks no network
    return count_weights(_checkpoint(job))


def _without_experts(error: Exception, config: dict[str, Any]) -> Skipped | None:
    """Nothing to route is no failure, unless the model is known to route: a plan does not know every structure."""
    if not isinstance(error, EngineError) or error.kind != NO_ROUTER:
        return None
    with suppress(MoebenchError):
        if architecture_from_config(config, "config").is_moe:
            return None
    return Skipped(reason=error.what)


def _failed(error: Exception, kind: str) -> Failed:
    if isinstance(error, MoebenchError):
        return Failed(error=getattr(error, "kind", kind), message=str(error))
    trace = "".join(traceback.format_exception(error))
    return Failed(error=kind, message=f"{type(error).__name__}: {error}", log_tail=trace[-4000:])


@dataclass
class Scribe:
    """Makes the records of one job, each with the time since `begin`."""

    run: Run
    repeat: int
    group: str | None
    config: dict[str, Any]
    _started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, job: Job, run: Run) -> Scribe:
        """The scribe of a job."""
        return cls(run, job.repeat, job.group, job.config)

    def begin(self) -> None:
        """Marks the start of a cell."""
        self._started = datetime.now(UTC)
        self._began = time.perf_counter()

    def record(self, cell: Cell, outcome: Completed | Failed | Refused | Skipped) -> Record:
        """A record of what happened since `begin`."""
        return Record(
            id=uuid.uuid4().hex[:12],
            run_id=self.run.id,
            suite=self.run.suite,
            cell=cell,
            repeat=self.repeat,
            started_at=self._started,
            duration_s=round(time.perf_counter() - self._began, 6),
            group=self.group,
            config=self.config,
            environment=self.run.environment,
            outcome=outcome,
        )
