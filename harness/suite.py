"""The user's YAML: which models are measured how. Reading a suite checks every key and names the nearest known one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.errors import InputError, nearest
from harness.schema import Frozen, parse_strictly

Name = Annotated[str, Field(min_length=1, max_length=120)]
PositiveInt = Annotated[int, Field(gt=0, le=100_000_000)]
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
    tensor_parallel: PositiveInt = 1
    expert_parallel: bool = False
    engine: EngineArguments = {}
    """Further arguments of the engine, over those of the suite."""
    tasks_as: dict[str, str] = {}
    """Which lm-eval task measures a suite's task for this model, where the two differ."""
    group: str | None = None
    """Models of one group are trainings of one recipe under several seeds; the page shows their spread."""

    @model_validator(mode="after")
    def _one_source(self) -> Model:
        given = [key for key in ("path", "hub", "catalog") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of path, hub, catalog (given: {', '.join(given) or 'none'})")
        if self.hub is not None and self.weights == "dummy":
            raise ValueError("dummy weights need a known structure: name the model by path or catalog")
        return self


class Comparison(Frozen):
    """A sparse model (or group) and the dense ones that it is held against."""

    sparse: Name
    dense: Annotated[tuple[Name, ...], Field(min_length=1)]


class Serving(Frozen):
    """A closed loop: `concurrency` requests are in flight until all are done; fixed lengths, random token ids."""

    name: Name = "serving"
    prompt_tokens: PositiveInt
    output_tokens: Annotated[int, Field(ge=2, le=100_000_000)]
    """At least 2: the time per output token needs a second one."""
    concurrency: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    requests_per_slot: PositiveInt = 4
    """Requests are this many times the concurrency, but at least `min_requests`."""
    min_requests: PositiveInt = 8

    @field_validator("concurrency")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a concurrency is given twice")
        return value

    def requests(self, concurrency: int) -> int:
        """How many requests one cell sends at `concurrency`."""
        return max(self.min_requests, self.requests_per_slot * concurrency)


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
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    threads: PositiveInt | None = None
    """Compute threads of the engine on a processor; None takes all cores but one."""
    timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    """A job that runs longer is stopped and becomes a failed row."""
    leaderboard: Leaderboard = Leaderboard()
    prices_usd_per_hour: dict[Name, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """What an hour of one accelerator costs you, by its name in `suites/accelerators.yaml`, over the list price."""

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
            raise ValueError("nothing to measure: give serving, quality or both")
        return self

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
    def _leaderboard_is_measured(self) -> Suite:
        tasks = self.quality.tasks if self.quality is not None else ()
        loads = {concurrency for serving in self.serving for concurrency in serving.concurrency}
        if self.leaderboard.concurrency is not None and self.leaderboard.concurrency not in loads:
            raise ValueError(f"leaderboard.concurrency: {self.leaderboard.concurrency} is not measured")
        if self.leaderboard.score is not None and self.leaderboard.score not in tasks:
            hint = nearest(self.leaderboard.score, tasks)
            raise ValueError(f"leaderboard.score: {self.leaderboard.score!r} is not among quality.tasks; {hint}")
        return self


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
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"not YAML: {getattr(error, 'problem', error)}", where=where + line) from error
    except RecursionError as error:
        raise InputError("not YAML: nested too deeply", where=where) from error
    if not isinstance(raw, dict):
        raise InputError("a suite is a mapping of keys", where=where, hint="see suites/pocket.yaml for an example")
    return parse_strictly(Suite, raw, where=where)


class _OneKeyLoader(yaml.SafeLoader):
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
