"""What was measured: cells, measurements, outcomes and records, under one schema version.

A record holds raw observations. Rates, percentiles, FLOPs and utilisation are derived when it is read (`metrics.py`),
so a corrected formula re-renders old records.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from harness.errors import StoreError
from harness.schema import Frozen, fingerprint

SCHEMA_VERSION = 1


# What is asked: a cell -------------------------------------------------------------------------------------------


class Subject(Frozen):
    """The system under test, with no default left open."""

    model: str
    """The name under which the suite lists it."""
    source: str
    """`path:...` relative to the suites folder, or `hub:organisation/name`."""
    revision: str | None
    """A commit of the hub, or `sha256:...` of a local checkpoint's files."""
    weights: Literal["checkpoint", "dummy"]
    precision: str
    quantization: str | None
    backend: Literal["vllm"]
    engine: dict[str, Any]
    """The engine's arguments, complete but for model, precision, quantization and parallelism."""
    accelerator: str
    """The device's name; on a machine without an accelerator the processor's."""
    tensor_parallel: int
    expert_parallel: bool
    threads: int | None = None
    """Compute threads on a processor; None on an accelerator."""


class ServingScenario(Frozen):
    """Closed loop at one concurrency; fixed lengths, random token ids drawn with the cell's seed, no stop.

    Sampled at temperature 1: greedy decoding after random tokens falls into loops, which route to few experts.
    """

    kind: Literal["serving"] = "serving"
    version: Literal[1] = 1
    name: str
    prompt_tokens: int
    output_tokens: int
    concurrency: int
    requests: int


class MemoryScenario(Frozen):
    """What the engine holds after loading and at its peak over the job's serving cells."""

    kind: Literal["memory"] = "memory"
    version: Literal[1] = 1


class QualityScenario(Frozen):
    """One task of lm-eval through the engine that serves."""

    kind: Literal["quality"] = "quality"
    version: Literal[1] = 1
    task: str
    """The suite's name for the task: the column of the page."""
    lm_eval_task: str
    """The task file that was run; another one where a model was trained on other data."""
    task_fingerprint: str | None
    """`sha256:...` of the task's files where they are local; None for tasks that lm-eval ships."""
    num_fewshot: int | None
    limit: int | None
    apply_chat_template: bool
    metric: str | None = None
    """The metric that the page shows; None takes the first that the task lists."""


Scenario = Annotated[ServingScenario | MemoryScenario | QualityScenario, Field(discriminator="kind")]


class Cell(Frozen):
    """One thing to measure. Its id names it for ever: equal cells are comparable, others are not."""

    subject: Subject
    scenario: Scenario
    seed: int

    @property
    def id(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
        return fingerprint(self)


# What was seen ---------------------------------------------------------------------------------------------------


class RequestTiming(Frozen):
    """One request of a serving cell. Times are seconds since the cell's clock started."""

    arrival_s: float
    """When the request was handed to the engine."""
    token_times_s: tuple[float, ...]
    """When each output token was seen, at the end of the engine step that made it."""
    prompt_tokens: int
    """As the engine counted them."""
    finish_reason: str | None
    cached_tokens: int = 0
    """Prompt tokens that a prefix cache answered; anything but 0 spoils the cell."""


class ServingMeasurement(Frozen):
    """The raw timings of one closed loop; warm-up requests are not among them."""

    kind: Literal["serving"] = "serving"
    duration_s: float
    """From the first request handed over to the last token seen."""
    engine_time_s: float
    """The part of `duration_s` spent inside the engine: handing requests over and stepping."""
    submit_time_s: float = 0.0
    """The part of `engine_time_s` spent handing requests over."""
    requests: tuple[RequestTiming, ...]
    warmup_duration_s: float
    warmup_requests: int


class DeviceMemory(Frozen):
    """One accelerator's memory, in bytes. NVML sees the whole device, torch its own allocator."""

    name: str
    total_bytes: int
    used_before_load_bytes: int
    used_after_load_bytes: int
    used_peak_bytes: int
    torch_peak_bytes: int | None


class MemoryMeasurement(Frozen):
    """What a loaded engine holds."""

    kind: Literal["memory"] = "memory"
    load_s: float
    """Engine start: from the call to an engine that takes requests; imports excluded."""
    weights_bytes: int
    """Bytes of the parameters as stored in the checkpoint (safetensors headers), or as loaded for dummy weights."""
    parameters: int
    """The number of parameters counted in the same place."""
    kv_cache_bytes: int
    kv_cache_tokens: int
    resident_before_load_bytes: int
    """Resident set of the process on the host."""
    resident_after_load_bytes: int
    resident_peak_bytes: int
    devices: tuple[DeviceMemory, ...] = ()
    """Empty where there is no accelerator."""


class Score(Frozen):
    """One metric of a task. `stderr` is lm-eval's, None where it gives none."""

    metric: str
    """lm-eval's name with its filter, such as `exact_match,none`."""
    value: float
    stderr: float | None
    higher_is_better: bool


class Sample(Frozen):
    """One item: its scores by metric, and what the model said."""

    id: int
    hash: str
    """lm-eval's hash of the item: equal hashes are the same item."""
    subtask: str | None = None
    """The task within a group of tasks."""
    scores: dict[str, float]
    target: str
    response: str


class QualityMeasurement(Frozen):
    """One task's scores with every item's."""

    kind: Literal["quality"] = "quality"
    duration_s: float
    main_metric: str
    """The metric that the page shows, as named in `scores`."""
    chance: float | None
    """The score of guessing, where the task file states it (`metadata: {chance: ...}`)."""
    task_version: str
    scores: tuple[Score, ...]
    samples: tuple[Sample, ...]
    arguments: dict[str, Any]
    """The arguments with which the `lm_eval` command gives the same scores."""


Measurement = Annotated[ServingMeasurement | MemoryMeasurement | QualityMeasurement, Field(discriminator="kind")]


class Completed(Frozen):
    """The cell was measured."""

    status: Literal["completed"] = "completed"
    measurement: Measurement


class Failed(Frozen):
    """The cell could not be measured. Failure is data: the page shows it with its reason."""

    status: Literal["failed"] = "failed"
    error: str
    """A word for the kind: load, engine, out-of-memory, timeout, killed, task, internal."""
    message: str
    log_tail: str = ""


class Refused(Frozen):
    """The plan refused the cell on this machine before anything was loaded."""

    status: Literal["refused"] = "refused"
    reason: str


class Accelerator(Frozen):
    """One device as its driver names it."""

    name: str
    memory_bytes: int


class Environment(Frozen):
    """Where and with what a record was taken. Outside the cell's id: an upgrade shows as a change, not a new cell."""

    processor: str
    cores: int
    memory_bytes: int
    accelerators: tuple[Accelerator, ...]
    driver: str | None
    system: str
    versions: dict[str, str]
    """Of python, moebench, torch, vllm, transformers, lm_eval: those that are installed."""
    threads: int | None
    """Compute threads of the engine on a processor (OMP_NUM_THREADS)."""
    commit: str | None
    """The commit of moebench's own checkout, with `+` where it had changes."""


class Record(Frozen):
    """One attempt at one cell, as it lies under `results/`."""

    schema_version: Literal[1] = 1
    id: str
    run_id: str
    suite: str
    cell: Cell
    repeat: int
    """0, 1, ...: which of the repeats in fresh processes."""
    started_at: datetime
    duration_s: float
    group: str | None
    """Trainings of one recipe under several seeds share a group."""
    config: dict[str, Any]
    """The checkpoint's config.json, from which parameters and FLOPs are counted when the record is read."""
    environment: Environment
    outcome: Annotated[Completed | Failed | Refused, Field(discriminator="status")]


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From schema version n to n + 1, by n. Empty while there is one version."""


def parse_record(text: str, *, where: str) -> Record:
    """A record from JSON text, brought to the present schema version.

    Raises StoreError, naming `where`, for text that is no record or of a version newer than this moebench.
    """
    try:
        raw = json.loads(text)
        version = raw["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("not a record: no JSON with a schema_version", where=where) from error
    if not isinstance(version, int) or version > SCHEMA_VERSION or version < 1:
        raise StoreError(
            f"schema version {version!r} is not known here (1 to {SCHEMA_VERSION})",
            where=where, hint="a newer moebench wrote it: upgrade this one",
        )
    for step in range(version, SCHEMA_VERSION):
        raw = MIGRATIONS[step](raw)
    try:
        return Record.model_validate_json(json.dumps(raw) if version != SCHEMA_VERSION else text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise StoreError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=where) from error


def read_record(path: Path) -> Record:
    """The record in a file. Raises StoreError, naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read: {error}", where=str(path)) from error
    return parse_record(text, where=str(path))
