"""What was measured: cells, measurements, outcomes and records, under one schema version.

A record holds raw observations. Rates, percentiles, FLOPs and utilisation are derived when it is read (`metrics.py`),
so a corrected formula re-renders old records.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.environment import Environment
from harness.scenario import Scenario
from harness.schema import Frozen, fingerprint
from harness.timeline import Run, first_and_last, token_count

SCHEMA_VERSION = 3
NOT_STATED = "not stated"
"""What an imported result does not tell, such as its accelerator."""


# What is asked: a cell -------------------------------------------------------------------------------------------


class Subject(Frozen):
    """The system under test, with no default left open."""

    model: str
    """The name under which the suite lists it."""
    source: str
    """`path:...` relative to the suites folder, `hub:organisation/name`, or `import:...` as another tool named it."""
    revision: str | None
    """A commit of the hub, or `sha256:...` of a local checkpoint's files."""
    weights: Literal["checkpoint", "dummy"]
    precision: str
    quantization: str | None
    backend: Literal["vllm", "transformers", "other"]
    """`other` only in results that were imported from a tool which does not say what served."""
    engine: dict[str, Any]
    """The engine's arguments, complete but for model, precision, quantization and parallelism."""
    accelerator: str
    """The device's name; on a machine without an accelerator the processor's."""
    tensor_parallel: int
    expert_parallel: bool
    threads: int | None = None
    """Compute threads on a processor; None on an accelerator."""


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
    """When it was due: by the schedule of an open loop, when its slot was free in a closed one."""
    submitted_s: float
    """When it was handed to the engine; later than its arrival where the engine was busy with a step."""
    started_s: float | None = None
    """The start of the engine step that first worked on it; None where the engine does not tell."""
    asked_prompt_tokens: int
    asked_output_tokens: int
    prompt_tokens: int
    """As the engine counted them."""
    finish_reason: str | None
    """`length` where it ended as asked; None where it never ended."""
    cached_tokens: int = 0
    """Prompt tokens that a prefix cache answered; anything but 0 spoils the cell."""
    tokens: tuple[Run, ...]
    """Which engine steps made its output: see `harness.timeline`."""

    @property
    def output_tokens(self) -> int:
        """Output tokens that came."""
        return token_count(self.tokens)


class WarmUp(Frozen):
    """The same load before the clock started."""

    duration_s: float
    requests: int
    windows_tokens_per_s: tuple[float, ...] = ()
    """Output rate of each stretch of it; it ended when the last ones agreed."""
    steady: bool | None = None
    """Whether they agreed before the time for it was up; None where that was not asked."""


class DeviceSamples(Frozen):
    """One accelerator while a cell ran, as the driver told about ten times a second."""

    name: str
    times_s: tuple[float, ...]
    """On the cell's clock; the first at its start and the last at its end."""
    energy_j: tuple[float, ...] | None = None
    """The driver's counter of all energy used; None where the device has none."""
    power_w: tuple[float, ...] | None = None
    used_bytes: tuple[int, ...] = ()
    clock_hz: tuple[float, ...] = ()
    """Of the multiprocessors."""
    throttled: tuple[str, ...] = ()
    """Every reason for a lower clock that was seen, by its name in NVML, such as `HwThermalSlowdown`."""


class ServingMeasurement(Frozen):
    """The raw timings of one run of a load; warm-up requests are not among them."""

    kind: Literal["serving"] = "serving"
    duration_s: float
    """From the start of the clock to the last token seen."""
    step_time_s: float
    """The part of `duration_s` inside the engine's steps."""
    submit_time_s: float = 0.0
    """The part of `duration_s` in which the engine took requests."""
    idle_time_s: float = 0.0
    """The part of `duration_s` in which no request was there: open loops wait for the next one."""
    steps_s: tuple[float, ...]
    """The end of every engine step that made a token."""
    requests: tuple[RequestTiming, ...]
    warmup: WarmUp
    devices: tuple[DeviceSamples, ...] = ()
    """Empty where there is no accelerator."""
    no_energy: str = ""
    """Why no energy was measured; empty where it was."""

    @property
    def output_tokens(self) -> int:
        """Output tokens of all requests."""
        return sum(request.output_tokens for request in self.requests)

    @property
    def output_tokens_per_s(self) -> float | None:
        """Output tokens of all requests over the duration; None where that is 0."""
        return self.output_tokens / self.duration_s if self.duration_s > 0 else None

    def span_of(self, request: RequestTiming) -> tuple[float, float] | None:
        """When the first and the last token of a request were seen, in seconds; None without a token."""
        return first_and_last(request.tokens, self.steps_s)


class ReportedMeasurement(Frozen):
    """What another tool reported of a serving run: its own figures, without the timings behind them."""

    kind: Literal["reported"] = "reported"
    values: dict[str, float]
    """By the key of `harness.metrics.METRICS` that means the same."""
    failed_requests: int = 0
    duration_s: float | None = None


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
    import_s: float | None = None
    """Importing the engine in this process; near 0 where the process was forked from one that had done so."""
    cold: bool | None = None
    """Whether the checkpoint's files had been dropped from the system's memory before loading; None if not known."""
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
    activation_bytes: int | None = None
    """What the engine set aside for activations, on all devices; None where it does not tell (on a processor)."""
    graph_bytes: int | None = None
    """What captured CUDA graphs take, on all devices; None where there are none or it is not told."""
    engine_weights_bytes: int | None = None
    """What loading the weights took, on all devices, as the engine saw it; None where it does not tell."""
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
    items: int | None = None
    """How many items were scored, where another tool tells no more of them than that; else `samples` has them."""
    arguments: dict[str, Any]
    """The arguments with which the `lm_eval` command gives the same scores."""

    @property
    def main(self) -> Score | None:
        """The score by the main metric, where it was recorded."""
        return next((score for score in self.scores if score.metric == self.main_metric), None)

    @property
    def items_asked(self) -> int | None:
        """How many items were scored; None where another tool does not tell."""
        return len(self.samples) or self.items


class RoutedLayer(Frozen):
    """One layer that routes."""

    stack: Literal["decoder", "encoder"] = "decoder"
    index: int
    """Which layer of its stack, from 0; layers that do not route count too."""
    experts: int
    top_k: int


class RoutingMeasurement(Frozen):
    """Where every token went; the expert ids themselves lie beside the record (`harness.routing.tokens`)."""

    kind: Literal["routing"] = "routing"
    method: Literal["capture hook", "returned by the engine", "transformers"]
    layers: tuple[RoutedLayer, ...]
    prefill_tokens: int
    """Tokens of prompts (of an encoder) that went through the layers of a stack; padding and cache hits did not."""
    decode_tokens: int
    """Tokens that the model made and read again; of an encoder-decoder all that went through its decoder."""
    passes: int
    """How often the model was called."""
    recomputed_tokens: int = 0
    """Tokens that the engine worked on again after it had put a request aside; left out."""
    duration_s: float
    tokens_file: str
    """`sha256:...` of the file with the ids, which is its name too."""
    tokens_file_bytes: int


Measurement = Annotated[
    ServingMeasurement | ReportedMeasurement | MemoryMeasurement | QualityMeasurement | RoutingMeasurement,
    Field(discriminator="kind"),
]


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


class Skipped(Frozen):
    """The cell was not needed: an adaptive sweep had seen enough, or a model has no experts whose tokens could be told.

    It counts as done, for all repeats.
    """

    status: Literal["skipped"] = "skipped"
    reason: str


class Origin(Frozen):
    """Where an imported result comes from: it was measured by another tool, not by moebench."""

    tool: str
    """Such as `vllm bench serve`, `guidellm`, `lm-eval`."""
    version: str | None = None
    file: str
    """The file's name, without its folder."""
    fingerprint: str
    """`sha256:...` of the file."""


class Record(Frozen):
    """One attempt at one cell, as it lies under `results/`."""

    schema_version: Literal[3] = 3
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
    outcome: Annotated[Completed | Failed | Refused | Skipped, Field(discriminator="status")]
    origin: Origin | None = None
    """None for what moebench measured."""
