"""The user's YAML: which models are measured how. Reading a suite checks every key and names the nearest known one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.errors import InputError, nearest
from harness.schema import Frozen, fingerprint, parse_strictly
from harness.suite_serving import Name, PositiveInt, Serving
from harness.yaml_scalars import TellingLoader, problem_of

Precision = Literal["bfloat16", "float16", "float32", "auto"]

_SAID_ELSEWHERE = {
    "model": "path, hub or catalog", "dtype": "precision", "revision": "revision", "quantization": "quantization",
    "tensor_parallel_size": "tensor_parallel", "enable_expert_parallel": "expert_parallel",
}
"""Arguments of the engine that a key of the model gives."""
_COUNTS = ("max_model_len", "max_num_seqs", "kv_cache_memory_bytes")


def _checked_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuses what a key of the model gives already, and what the plan cannot reckon with."""
    for name, key in _SAID_ELSEWHERE.items():
        if name in arguments:
            raise ValueError(f"{name!r} is no argument to give here: use the model's {key}")
    for name in _COUNTS:
        value = arguments.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is a whole number above 0 (given: {value!r})")
    for name, value in arguments.items():
        # vLLM reads -1 as "all" for this one alone
        if isinstance(value, int | float) and value < 0 and name != "max_logprobs":
            raise ValueError(f"{name} is negative (given: {value!r})")
    share = arguments.get("gpu_memory_utilization", 1.0)
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
        raise ValueError(f"gpu_memory_utilization is above 0 and at most 1 (given: {share!r})")
    return arguments


EngineArguments = Annotated[dict[str, Any], AfterValidator(_checked_arguments)]


class Model(Frozen):
    """One model of a suite. Exactly one of `path`, `hub` and `catalog` says where its weights are."""

    name: Name
    path: str | None = None
    """A checkpoint folder, relative to the suite file."""
    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """A hub repository, `organisation/name`."""
    catalog: str | None = None
    """A file of `suites/models`, which names the repository, the revision and the architecture."""
    revision: str | None = None
    weights: Literal["checkpoint", "dummy"] = "checkpoint"
    precision: Precision = "bfloat16"
    quantization: str | None = None
    backend: Literal["vllm", "transformers"] = "vllm"
    """transformers scores and routes what vLLM does not run, such as encoder-decoder models; it serves nothing."""
    tensor_parallel: PositiveInt = 1
    expert_parallel: bool = False
    engine: EngineArguments = {}
    """Further arguments of the engine, over those of the suite."""
    tasks_as: dict[str, str] = {}
    """Which lm-eval task measures a suite's task for this model, where the two differ."""
    group: str | None = None
    """Models of one group are trainings of one recipe under several seeds; the page shows their spread."""
    license: Name | None = None
    """As its authors name it (`apache-2.0`), for the page; None takes the catalog's. No part of what is measured."""

    @model_validator(mode="after")
    def _one_source(self) -> Model:
        given = [key for key in ("path", "hub", "catalog") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of path, hub, catalog (given: {', '.join(given) or 'none'})")
        if self.hub is not None and self.weights == "dummy":
            raise ValueError("dummy weights need a known structure: name the model by path or catalog")
        return self


MatchKind = Literal["iso-active", "iso-total", "iso-memory", "iso-flops", "iso-quality", "iso-cost"]
"""In what two models are alike; see `harness.matching`."""


class Comparison(Frozen):
    """A sparse model (or group) and the dense ones that it is held against."""

    sparse: Name
    dense: Annotated[tuple[Name, ...], Field(min_length=1)]
    matching: tuple[MatchKind, ...] = ()
    """What the pairs are about, where the suite says so: in which of these the two are meant to be alike."""

    @field_validator("matching")
    @classmethod
    def _each_once(cls, kinds: tuple[MatchKind, ...]) -> tuple[MatchKind, ...]:
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"the kind {kind!r} is given twice")
        return kinds


class Repeats(Frozen):
    """Repeats until the speeds are known well enough, or time is up. See `harness.repeats` for when that is."""

    at_least: Annotated[int, Field(ge=2, le=100)] = 3
    at_most: Annotated[int, Field(ge=2, le=100)] = 20
    until_within: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Half the width of the output rate's 95 % interval at every load, as a share of the rate; 6 repeats or more."""
    budget_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """No repeat beyond `at_least` starts once all records together took so many seconds of measuring."""

    @model_validator(mode="after")
    def _in_order(self) -> Repeats:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least ({self.at_least}) is above at_most ({self.at_most})")
        return self


class Quality(Frozen):
    """What lm-eval scores, through the same engine."""

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    limit: PositiveInt | None = None
    """At most this many items a task; None takes all."""
    num_fewshot: dict[str, Annotated[int, Field(ge=0, le=100)]] = {}
    """By task, how many solved examples precede each item; a task that is not named keeps its own number."""
    apply_chat_template: bool = False
    metrics: dict[str, Name] = {}
    """By task, which of its metrics the page shows (`hellaswag: acc_norm`); None takes the first that it lists."""


class RoutingWork(Frozen):
    """Which experts every token is sent to, by workload and by task: captured in a run of its own, never timed."""

    concurrency: PositiveInt | None = None
    """Requests in flight of each workload; None takes its highest, for which utilisation needs it."""
    requests_per_slot: PositiveInt = 2
    tasks: tuple[Name, ...] | None = None
    """Of the quality tasks; None takes all."""
    limit: PositiveInt | None = 200
    """At most this many items a task."""
    engine: EngineArguments = {}
    """Arguments of the engine over the model's, such as another `moe_backend` whose kernel tells its experts."""


class Leaderboard(Frozen):
    """What the page leads with."""

    concurrency: PositiveInt | None = None
    """The concurrency of the table's speed columns; None takes the highest measured."""
    score: Name | None = None
    """The task that ranks the models; None takes the mean over all tasks."""


class Suite(Frozen):
    """A whole suite file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]
    title: Name
    description: str = ""
    models: Annotated[tuple[Model, ...], Field(min_length=1)]
    comparisons: tuple[Comparison, ...] = ()
    engine: EngineArguments = {}
    serving: tuple[Serving, ...] = ()
    quality: Quality | None = None
    routing: RoutingWork | None = None
    """Of the models that route; None measures none."""
    repeats: Annotated[int, Field(ge=1, le=100)] | Repeats = 3
    """Fresh processes a model, interleaved; a number, or until the intervals are narrow."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    threads: PositiveInt | None = None
    """Compute threads of the engine on a processor; None takes all cores but one."""
    timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    """A job that runs longer is stopped and becomes a failed row."""
    leaderboard: Leaderboard = Leaderboard()
    prices_usd_per_hour: dict[Name, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """What an hour of one accelerator costs you, by its name in `suites/accelerators.yaml`, over the list price."""
    host_usd_per_hour: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """What an hour of the whole machine costs you where it has no accelerator."""

    @model_validator(mode="after")
    def _names_agree(self) -> Suite:
        names = [model.name for model in self.models]
        # two workloads or tasks of one name would be one row of the page, measured twice
        tasks = self.quality.tasks if self.quality is not None else ()
        for key, given in (("models", names), ("serving", [s.name for s in self.serving]), ("quality.tasks", tasks)):
            for name in given:
                if given.count(name) > 1:
                    raise ValueError(f"{key}: the name {name!r} is given twice")
        for model in self.models:
            if model.group in names and model.group != model.name:
                raise ValueError(f"models: the group {model.group!r} of {model.name!r} is the name of another model")
        if not self.serving and self.quality is None:
            raise ValueError("nothing to measure: give serving, quality or both; routing captures what these do")
        routed = (self.routing.tasks if self.routing is not None else None) or ()
        for task in routed:
            if routed.count(task) > 1:
                raise ValueError(f"routing.tasks: the name {task!r} is given twice")
            if task not in tasks:
                raise ValueError(f"routing.tasks: {task!r} is not among quality.tasks; {nearest(task, tasks)}")
        return self

    @property
    def routed_tasks(self) -> tuple[str, ...]:
        """The tasks whose routing is measured."""
        if self.routing is None or self.quality is None:
            return ()
        return self.quality.tasks if self.routing.tasks is None else self.routing.tasks

    @model_validator(mode="after")
    def _comparisons_name_models(self) -> Suite:
        known = {name for model in self.models for name in (model.name, model.group) if name is not None}
        for index, comparison in enumerate(self.comparisons):
            if comparison.sparse in comparison.dense:
                raise ValueError(f"comparisons[{index}]: {comparison.sparse!r} is held against itself")
            for name in (comparison.sparse, *comparison.dense):
                if name not in known:
                    raise ValueError(f"comparisons[{index}]: unknown model {name!r}; {nearest(name, known)}")
        return self

    @model_validator(mode="after")
    def _each_pair_once(self) -> Suite:
        groups = {model.name: model.group for model in self.models}
        seen: dict[frozenset[str], int] = {}
        for index, comparison in enumerate(self.comparisons):
            for dense in comparison.dense:
                place = f"comparisons[{index}].dense: {comparison.sparse!r} and {dense!r}"
                if dense == groups.get(comparison.sparse) or comparison.sparse == groups.get(dense):
                    raise ValueError(f"{place} are a training and its own group; name a model of another group")
                pair = frozenset((comparison.sparse, dense))
                if pair in seen:
                    raise ValueError(
                        f"{place} are a pair of comparisons[{seen[pair]}] already, whichever is named first; "
                        "name it once, with all its kinds under matching"
                    )
                seen[pair] = index
        return self

    @model_validator(mode="after")
    def _leaderboard_is_measured(self) -> Suite:
        tasks = self.quality.tasks if self.quality is not None else ()
        loads = {level for one in self.serving if isinstance(one.concurrency, tuple) for level in one.concurrency}
        wanted = self.leaderboard.concurrency
        most = [one.up_to or math.inf for one in self.serving if one.concurrency == "auto"]
        doubled = wanted is not None and wanted & (wanted - 1) == 0 and wanted <= max(most, default=0)
        if wanted is not None and wanted not in loads and not doubled:
            raise ValueError(f"leaderboard.concurrency: {self.leaderboard.concurrency} is not measured")
        if self.leaderboard.score is not None and self.leaderboard.score not in tasks:
            hint = nearest(self.leaderboard.score, tasks)
            raise ValueError(f"leaderboard.score: {self.leaderboard.score!r} is not among quality.tasks; {hint}")
        return self


def short_fingerprint(suite: Suite) -> str:
    """Twelve hexadecimal digits of what a suite file says, however it is spelt, by which two of them are told apart."""
    return fingerprint(suite)[:12]


def load_suite(path: Path) -> Suite:
    """Reads and checks a suite file.

    Raises InputError, naming file and key (or line), for a file that is missing, is no YAML, or breaks the schema.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the suite: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("the suite is not UTF-8 text", where=str(path)) from error
    return parse_suite(text, where=str(path))


def parse_suite(text: str, *, where: str) -> Suite:
    """A suite from YAML text; `where` names its origin in messages. Raises InputError."""
    try:
        raw = yaml.load(text, _OneKeyLoader)  # noqa: S506 - a safe loader, see below
    except yaml.YAMLError as error:
        problem, line = problem_of(error)
        raise InputError(f"not YAML: {problem}", where=where + line) from error
    except RecursionError as error:
        raise InputError("not YAML: nested too deeply", where=where) from error
    if not isinstance(raw, dict):
        raise InputError("a suite is a mapping of keys", where=where, hint="see suites/pocket.yaml for an example")
    return parse_strictly(Suite, raw, where=where)


class _OneKeyLoader(TellingLoader):
    """A safe loader that refuses a key given twice, of which YAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See PyYAML's SafeConstructor. Raises ConstructorError at the second of two equal keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)
