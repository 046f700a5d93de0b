"""What is known of one model: estimates by metric, each with the records that it comes from, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from harness.accelerators import AcceleratorSpec
from harness.accounting import ParameterCount
from harness.architecture import Architecture
from harness.environment import Ceilings, Environment
from harness.items import Weighting
from harness.record import NOT_STATED, Origin, RoutedLayer, Subject
from harness.routing.summary import RoutingSummary, Specialisation
from harness.scenario import (
    ClosedLoop,
    OpenLoop,
    QualityScenario,
    Replay,
    RoutingScenario,
    Scenario,
    ServedTokens,
    ServingScenario,
    TaskTokens,
    load_words,
)
from harness.stats import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.utilisation import RooflinePoint

NOT_POOLED = "speed and memory are not pooled"
"""How the note of a group begins whose trainings were measured under conditions that differ."""
PEAK_NOT_POOLED = "the devices' peaks are not pooled"
"""How the note of a group begins whose trainings were given other caches, which their peaks consist of."""
LoadKind = Literal["closed", "offline", "open", "replay"]


class PointKey(NamedTuple):
    """A serving workload at one load. Points with equal keys are comparable between models."""

    name: str
    prompt_tokens: float
    """On average, of a request."""
    output_tokens: float
    prompt: str
    """The lengths in words."""
    output: str
    version: int
    """Of the scenario: what was measured in another way is another point."""
    kind: LoadKind
    level: float
    """Requests in flight of a closed loop, requests/s of an open one, speed of a replay, all requests offline."""
    burstiness: float
    words: str
    """The load in words."""

    @classmethod
    def of(cls, scenario: ServingScenario) -> PointKey:
        """The point that a serving cell measures."""
        lengths, load = scenario.lengths, scenario.load
        if isinstance(load, ClosedLoop):
            level = float(load.concurrency)
        elif isinstance(load, OpenLoop):
            level = load.requests_per_s
        elif isinstance(load, Replay):
            level = load.speed
        else:
            level = float(scenario.requests)
        burstiness = load.burstiness if isinstance(load, OpenLoop) else 1.0
        return cls(
            scenario.name, lengths.prompt_mean, lengths.output_mean, *lengths.words, scenario.version, load.kind,
            level, burstiness, load_words(load),
        )

    @property
    def at_given_arrivals(self) -> bool:
        """Whether requests come when they are due, in an open loop or a replay, so that these set the output rate."""
        return self.kind in ("open", "replay")

    @property
    def workload(self) -> tuple[str, float, float, str, str, int]:
        """What points of one curve share."""
        return self[:6]

    @property
    def concurrency(self) -> int | None:
        """Requests in flight of a closed loop, None of other loads."""
        return int(self.level) if self.kind == "closed" else None


@dataclass(frozen=True)
class OperatingPoint:
    """What was measured and counted at one point. `estimates` are by key of `harness.metrics.METRICS`."""

    key: PointKey
    requests: int
    """Requests of the repeat that sent fewest; a p99 of fewer than 100 is close to their maximum."""
    estimates: Mapping[str, Estimate]
    flags: tuple[str, ...] = ()
    """Why the timings should not be trusted, in words."""
    notes: tuple[str, ...] = ()
    """What a reader should know of them besides: a warm-up that did not settle, a column that is empty and why."""
    origins: tuple[Origin, ...] = ()
    """The tools that measured it, where these were others than moebench."""
    scenario: ServingScenario | None = None
    """Of the repeats; None for a group whose members differ."""
    roofline: tuple[RooflinePoint, ...] = ()
    """One a phase, against the ceilings of the device; empty where these or the engine's steps are not known."""
    beaten: Mapping[str, str] = field(default_factory=dict)
    """The phases in which a repeat did more than the ceilings allow, which `roofline` lacks, and how much, in words."""

    @property
    def concurrency(self) -> int | None:
        """Requests in flight of a closed loop, None of other loads."""
        return self.key.concurrency


class Asked(NamedTuple):
    """What has to be the same for two scores of a task to be compared."""

    metric: str
    higher_is_better: bool
    num_fewshot: int | None
    apply_chat_template: bool
    lm_eval_task: str
    task_fingerprint: str | None
    task_version: str
    """As the task's authors count it: all that is known of the files of tasks that lm-eval ships."""
    items: int | None
    """How many, as a limit cuts them; None where another tool does not tell."""


@dataclass(frozen=True)
class TaskScore:
    """One task's score by its main metric. For a group the estimate is over its trainings and `items` is empty."""

    task: str
    scenario: QualityScenario
    metric: str
    higher_is_better: bool
    estimate: Estimate
    chance: float | None
    items: Mapping[str, float] = field(default_factory=dict)
    """Each item's score, by its subtask and lm-eval's hash of it: equal keys are the same item in every model."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Those of `QualityMeasurement.arguments` of the newest repeat."""
    error: float | None = None
    """The standard error behind the interval, over items or their clusters, or as reported; None where not known."""
    weighting: Weighting | Literal["reported"] = "items"
    """What counts the same in the score; reported where it is no mean of the items, or these are not known."""
    started_at: datetime | None = None
    """Of its newest record."""
    version: str = ""
    """Of the task, as lm-eval tells it."""
    items_asked: int | None = None
    """How many items were asked, whether or not each got a score; None where another tool does not tell."""
    forms: tuple[tuple[Asked, float], ...] = ()
    """Of a group: how its trainings were asked, each with the share of them; a suite may give them other task files."""

    @property
    def asked(self) -> tuple[tuple[Asked, float], ...]:
        """How it was asked, of a group in which shares: only scores with the same are ranked together.

        Two models may also be compared over the items that both were asked, where one was asked more.
        """
        scenario = self.scenario
        return self.forms or ((Asked(
            self.metric, self.higher_is_better, scenario.num_fewshot, scenario.apply_chat_template,
            scenario.lm_eval_task, scenario.task_fingerprint, self.version, self.items_asked,
        ), 1.0),)

    @property
    def formula(self) -> str:
        """How the score comes about, in words."""
        if self.weighting == "reported":
            return "as lm-eval reports it"
        mean = "mean of the items" if self.weighting == "items" else "mean of the subtasks' means of their items"
        return f"{mean} by {self.metric.partition(',')[0]}"


@dataclass(frozen=True)
class Gap:
    """A cell whose newest outcome is no measurement, and why."""

    model: str
    scenario: Scenario
    repeat: int
    status: Literal["failed", "refused", "skipped"]
    """Skipped: an adaptive sweep had seen enough. It is no failure."""
    error: str
    """The kind of failure in a word; else as the status."""
    reason: str
    log_tail: str
    started_at: datetime
    source: Path
    measured_before: bool
    """Whether an earlier attempt at the same cell and repeat was measured; that value still stands."""

    @property
    def what(self) -> str:
        """The cell in words."""
        if isinstance(self.scenario, ServingScenario):
            concurrency = self.scenario.concurrency
            load = load_words(self.scenario.load) if concurrency is None else f"{concurrency} concurrent"
            return f"{self.scenario.name}, {load}"
        if isinstance(self.scenario, RoutingScenario):
            return self.scenario.words
        return self.scenario.task if isinstance(self.scenario, QualityScenario) else "memory"


@dataclass(frozen=True)
class RoutedWork:
    """Which experts the tokens of one workload or task were sent to."""

    name: str
    source: Literal["serving", "task"]
    summary: RoutingSummary
    tokens_method: str
    """How the expert ids were obtained: `method` of the measurement."""
    records: tuple[Path, ...]
    note: str = ""
    """What a reader should know of it besides, in words."""
    work: ServedTokens | TaskTokens | None = None
    """As it was asked."""

    @cached_property
    def loads(self) -> Mapping[RoutedLayer, NDArray[np.int64]]:
        """Tokens by expert of every layer that has any, prefill and decode taken together."""
        found: dict[RoutedLayer, list[NDArray[np.int64]]] = {layer: [] for layer in self.summary.layers}
        for phase in self.summary.phases.values():
            for one in phase.layers:
                found[one.layer].append(one.load)
        return {layer: np.sum(loads, axis=0) for layer, loads in found.items() if loads}


@dataclass(frozen=True)
class UnreadWork:
    """A measured workload or task whose expert ids cannot be read: their file is missing, damaged or another one."""

    name: str
    reason: str
    """What is wrong, with the file below `results/` and the next step."""


@dataclass(frozen=True)
class OtherSubject:
    """Results of the same model under another revision, engine or accelerator: listed apart, never mixed."""

    subject: Subject
    differs: tuple[str, ...]
    """The fields of the subject that differ from the one that is summarised."""
    newest: datetime
    measured: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class ModelSummary:
    """One model, or one group of trainings where `members` is not empty. Missing values are absent, never zero."""

    model: str
    group: str | None
    subject: Subject
    environment: Environment
    """Of the newest measured record; `notes` says where others differ."""
    started_at: datetime
    """Of the newest measured record."""
    config: Mapping[str, Any]
    architecture: Architecture | None
    parameters: ParameterCount | None
    uncounted: str
    """Why the architecture could not be counted; empty where it could."""
    counts: Mapping[str, Estimate]
    memory: Mapping[str, Estimate]
    points: tuple[OperatingPoint, ...]
    """By name, prompt tokens, output tokens, concurrency."""
    scores: Mapping[str, TaskScore]
    mean_score: Estimate | None
    no_mean_score: str
    """Why there is no mean score; empty where there is one."""
    mean_tasks: tuple[str, ...] = ()
    """The tasks of the mean score; empty where there is none."""
    gaps: tuple[Gap, ...] = ()
    others: tuple[OtherSubject, ...] = ()
    notes: tuple[str, ...] = ()
    records: tuple[Path, ...] = ()
    """Every record file behind this summary, failures included."""
    config_record: Path | None = None
    """The record that `config` is from; None where no record has one."""
    members: tuple[ModelSummary, ...] = ()
    routing: Mapping[str, RoutedWork] = field(default_factory=dict)
    """By name: workloads, then tasks in the suite's order; empty for dense models and groups."""
    unread: tuple[UnreadWork, ...] = ()
    """What was measured and is not in `routing`."""
    specialisation: Specialisation | None = None
    """How routing differs between tasks; None with fewer than two, and for groups."""
    ceilings: Ceilings | None = None
    """The fastest that was seen on this kind of device: what `OperatingPoint.roofline` is held against. Of a group
    where its members have the same."""
    device: AcceleratorSpec | None = None
    """What the vendor promises of it; None where that is not known, as of a processor."""

    @property
    def is_moe(self) -> bool | None:
        """Whether any layer routes tokens to experts; None where the structure is not known."""
        return None if self.architecture is None else self.architecture.is_moe

    @property
    def cache_given(self) -> object:
        """The key-value cache in bytes that the engine was told to keep; None where it chose as much as fits.

        The devices' peaks of two models say how they differ only where both were given the same.
        """
        return self.subject.engine.get("kv_cache_memory_bytes")

    @property
    def not_pooled(self) -> str:
        """The note of a group that has no speed and memory, as its trainings were measured otherwise; else empty."""
        return self._note(NOT_POOLED)

    @property
    def peak_not_pooled(self) -> str:
        """The note of a group that has no device peak, as its trainings were given other caches; else empty."""
        return self._note(PEAK_NOT_POOLED)

    def _note(self, start: str) -> str:
        return next((note for note in self.notes if note.startswith(start)), "")

    def point(self, key: PointKey) -> OperatingPoint | None:
        """The operating point with this key."""
        return next((point for point in self.points if point.key == key), None)

    def estimate(self, key: str, point: PointKey | None = None) -> Estimate | None:
        """The estimate of a metric by its key: counted, memory, `mean_score`, or serving at `point`.

        A task's score is under `score:<task>`. None where it is not known.
        """
        if key == "mean_score":
            return self.mean_score
        if key.startswith("score:"):
            score = self.scores.get(key.removeprefix("score:"))
            return score.estimate if score else None
        found = self.counts.get(key) or self.memory.get(key)
        if found is not None or point is None:
            return found
        at = self.point(point)
        return at.estimates.get(key) if at else None


def same_hardware(a: ModelSummary, b: ModelSummary) -> bool:
    """Whether both were measured on the same kind of device; not where an import does not say on which."""
    return a.subject.accelerator == b.subject.accelerator != NOT_STATED


class Samples(NamedTuple):
    """The independent values of two models in one metric, and what they are, in the plural."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    unit: Literal["repeats", "trainings"]


def sample_unit(a: ModelSummary, b: ModelSummary) -> Literal["repeats", "trainings"]:
    """What an interval of a against b is over: of groups another training is the question, not another run."""
    return "trainings" if a.members or b.members else "repeats"


def samples_of(a: ModelSummary, b: ModelSummary, of_a: Estimate, of_b: Estimate) -> Samples:
    """The repeats of two models, or the trainings of two groups; beside a group a single model is one training.

    Its repeats say how one training's runs differ, which is less than trainings do: they are never pooled with these.
    """
    unit = sample_unit(a, b)
    if unit == "repeats":
        return Samples(of_a.values, of_b.values, unit)
    trainings = [(one.values if model.members else ()) or (one.value,) for model, one in ((a, of_a), (b, of_b))]
    return Samples(trainings[0], trainings[1], unit)
