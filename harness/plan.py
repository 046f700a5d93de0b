"""A suite on a machine -> jobs of cells, and the cells refused with their reasons. Nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.accelerators import Accelerators
from harness.accounting import PRECISIONS, kv_bytes, weight_bytes
from harness.architecture import Architecture
from harness.catalog import Catalog
from harness.checkpoint import checkpoint_fingerprint
from harness.engine_arguments import engine_argument_names
from harness.errors import InputError, UnknownStructureError, nearest
from harness.hf_config import architecture_from_config, read_config
from harness.machine import accelerator_name
from harness.record import Cell, Environment, Subject
from harness.scenario import MemoryScenario, QualityScenario, Scenario, ServingScenario
from harness.schema import Frozen
from harness.store import Done
from harness.suite import Model, Repeats, Suite
from harness.tasks import LocalTask, local_tasks, shipped_task_folder, shipped_tasks
from harness.workloads import Workload, check_lengths, workloads_of

ENGINE_DEFAULTS: dict[str, Any] = {
    "disable_log_stats": True,
    "enable_prefix_caching": False,
    "max_num_seqs": 256,
}
"""Timed runs must not answer prompts from a cache; the rest is vLLM's own default, written down."""
CPU_DEFAULTS: dict[str, Any] = {"enforce_eager": True, "kv_cache_memory_bytes": 2**30}
CUDA_DEFAULTS: dict[str, Any] = {"enforce_eager": False, "gpu_memory_utilization": 0.9}
_DEFAULT_CONTEXT = 4096
_ENGINE_OVERHEAD_BYTES = 2 * 10**9
"""What the engine itself takes beside weights and cache: about 1 GB of libraries on a processor, of context and
activations on an accelerator."""


class Job(Frozen):
    """The cells of one subject that one engine load serves, in order; one process."""

    subject: Subject
    repeat: int
    cells: tuple[Cell, ...]
    group: str | None
    location: str
    """Where the weights are on this machine: a folder, or a hub repository."""
    config: dict[str, Any]
    """The model's config.json; empty for a hub model that the catalog does not know."""
    needed_bytes: float | None = None
    """Weights, KV cache and the engine itself; None where the weights' size is not known before they are fetched."""
    tasks_folder: str
    traces: dict[str, str] = {}
    """Where each trace that the cells name lies on this machine, by its fingerprint."""
    sweeps: tuple[str, ...] = ()
    """The workloads whose concurrency is raised until the output rate rises no more."""
    known_rates: dict[str, dict[int, float]] = {}
    """Output tokens/s by workload and concurrency of what was measured before, from which its sweep goes on."""
    timeout_s: float

    def without(self, done: Done) -> Job:
        """The job less the cells that are done, with the rates that are known of its sweeps."""
        cells = tuple(cell for cell in self.cells if not done.covers(cell, self.repeat))
        rates = {name: dict(known) for name, known in self.known_rates.items()}
        for cell in self.cells:
            one, known = cell.scenario, done.output_rates.get(cell.id)
            if known and isinstance(one, ServingScenario) and one.concurrency and one.name in self.sweeps:
                rates.setdefault(one.name, {})[one.concurrency] = known[min(known)]
        return self.model_copy(update={"cells": cells, "known_rates": rates})


class Refusal(Frozen):
    """A cell that this machine cannot measure."""

    cell: Cell
    group: str | None
    config: dict[str, Any]
    reason: str


class Plan(Frozen):
    """What a suite does on this machine."""

    suite: str
    jobs: tuple[Job, ...]
    refusals: tuple[Refusal, ...]
    repeats: int | Repeats = 1
    """How often each job is repeated; where that depends on the intervals, `jobs` holds as many as there can be."""

    def without(self, done: Done) -> Plan:
        """The plan less what is done; a job without cells is dropped."""
        kept = (job.without(done) for job in self.jobs)
        return self.model_copy(update={"jobs": tuple(job for job in kept if job.cells)})

    def only(self, models: set[str]) -> Plan:
        """The plan for some of its models, by name."""
        return self.model_copy(update={
            "jobs": tuple(job for job in self.jobs if job.subject.model in models),
            "refusals": tuple(refusal for refusal in self.refusals if refusal.cell.subject.model in models),
        })


@dataclass(frozen=True)
class Resolved:
    """A suite's model with what the machine adds: where it is, what it is, and as what it will be measured."""

    model: Model
    subject: Subject
    location: str
    config: dict[str, Any]
    architecture: Architecture | None
    weights_bytes: float | None
    """None where the size is not known before the checkpoint is fetched."""


@dataclass(frozen=True)
class Planner:
    """Plans one suite. `where` is the suite's file, for messages; its folder anchors the models' paths."""

    suite: Suite
    where: Path
    environment: Environment
    suites_dir: Path

    def plan(self) -> Plan:
        """The jobs, interleaved so that drift of the machine hits all models alike, and the refusals.

        Raises InputError for a model or a task that is not known.
        """
        self._check_engine_arguments()
        self._check_prices()
        tasks = self._tasks()
        workloads = workloads_of(self.suite, self.where)
        resolved = [self._resolve(index, model) for index, model in enumerate(self.suite.models)]
        check_lengths(workloads, max(int(item.subject.engine["max_model_len"]) for item in resolved), self.where)
        refusals: list[Refusal] = []
        allowed: list[tuple[Resolved, list[Cell]]] = []
        for item in resolved:
            cells = []
            for cell in self._cells(item, tasks, workloads):
                reason = self._refusal(item, cell.scenario)
                if reason is None:
                    cells.append(cell)
                else:
                    refusals.append(Refusal(cell=cell, group=item.model.group, config=item.config, reason=reason))
            if cells:
                allowed.append((item, cells))
        jobs = tuple(self._jobs(allowed, workloads))
        return Plan(suite=self.suite.name, jobs=jobs, refusals=tuple(refusals), repeats=self.suite.repeats)

    def _jobs(self, allowed: list[tuple[Resolved, list[Cell]]], workloads: list[Workload]) -> list[Job]:
        jobs = []
        repeats = self.suite.repeats.at_most if isinstance(self.suite.repeats, Repeats) else self.suite.repeats
        for repeat in range(repeats):
            # each round starts with another model, so that none is always the first on a cold machine
            start = repeat % max(1, len(allowed))
            for item, cells in allowed[start:] + allowed[:start]:
                kept = tuple(c for c in cells if repeat == 0 or not isinstance(c.scenario, QualityScenario))
                if repeat == 0 or any(isinstance(cell.scenario, ServingScenario) for cell in kept):
                    jobs.append(self._job(item, kept, repeat, workloads))
        return jobs

    def _job(self, item: Resolved, cells: tuple[Cell, ...], repeat: int, workloads: list[Workload]) -> Job:
        traces = [workload.trace for workload in workloads if workload.trace is not None]
        return Job(
            subject=item.subject, repeat=repeat, cells=cells, group=item.model.group, location=item.location,
            config=item.config, needed_bytes=self._needed(item), tasks_folder=str(self.suites_dir / "tasks"),
            traces={trace.fingerprint: str(trace.path) for trace in traces},
            sweeps=tuple(workload.serving.name for workload in workloads if workload.serving.concurrency == "auto"),
            timeout_s=self.suite.timeout_s,
        )

    # Cells -------------------------------------------------------------------------------------------------------

    def _cells(self, item: Resolved, tasks: dict[str, LocalTask | None], workloads: list[Workload]) -> list[Cell]:
        most = int(item.subject.engine["max_num_seqs"])
        scenarios: list[Scenario] = [one for workload in workloads for one in workload.scenarios(most)]
        scenarios.append(MemoryScenario())
        if self.suite.quality is not None:
            scenarios += [self._quality(item.model, task, tasks) for task in self.suite.quality.tasks]
        return [Cell(subject=item.subject, scenario=scenario, seed=self.suite.seed) for scenario in scenarios]

    def _quality(self, model: Model, task: str, tasks: dict[str, LocalTask | None]) -> QualityScenario:
        quality = self.suite.quality
        assert quality is not None
        run = model.tasks_as.get(task, task)
        local = tasks[run]
        return QualityScenario(
            task=task, lm_eval_task=run, task_fingerprint=None if local is None else local.fingerprint(),
            num_fewshot=quality.num_fewshot.get(task), limit=quality.limit,
            apply_chat_template=quality.apply_chat_template, metric=quality.metrics.get(task),
        )

    def _tasks(self) -> dict[str, LocalTask | None]:
        """Every task that the suite runs, None for those that lm-eval ships. Raises InputError for an unknown one."""
        if self.suite.quality is None:
            return {}
        local = local_tasks(self.suites_dir / "tasks")
        needed = self._tasks_to_run()
        wanted = {task for _, task in needed} - set(local)
        folder = shipped_task_folder()
        # without lm-eval its task names cannot be checked here: the run itself would name a wrong one
        shipped = shipped_tasks(folder, wanted) if wanted and folder is not None else wanted
        for place, task in needed:
            if task not in local and task not in shipped:
                raise self._error(f"unknown task {task!r}", place, nearest(task, shipped | set(local)))
        return {task: local.get(task) for _, task in needed}

    def _tasks_to_run(self) -> list[tuple[str, str]]:
        """The tasks with the key that names each. Raises InputError for a key that names a column not measured."""
        assert self.suite.quality is not None
        columns, models = self.suite.quality.tasks, list(enumerate(self.suite.models))
        named = [(f"models[{i}].tasks_as", task) for i, model in models for task in model.tasks_as]
        named += [("quality.metrics", task) for task in self.suite.quality.metrics]
        named += [("quality.num_fewshot", task) for task in self.suite.quality.num_fewshot]
        for place, task in named:
            if task not in columns:
                raise self._error(f"task {task!r} is not among quality.tasks", place, nearest(task, columns))
        # a column that every model measures as another task needs no task file of its own
        direct = [
            (f"quality.tasks[{i}]", task) for i, task in enumerate(columns)
            if any(task not in model.tasks_as for _, model in models)
        ]
        return direct + [(f"models[{i}].tasks_as.{t}", run) for i, m in models for t, run in m.tasks_as.items()]

    def _check_prices(self) -> None:
        Accelerators(self.suites_dir).prices(self.suite.prices_usd_per_hour, f"{self.where}:prices_usd_per_hour")

    def _check_engine_arguments(self) -> None:
        """Raises InputError for an engine argument that the installed vLLM does not take."""
        known = engine_argument_names()
        places = [("engine", self.suite.engine)]
        places += [(f"models[{index}].engine", model.engine) for index, model in enumerate(self.suite.models)]
        for place, arguments in places:
            for key in arguments if known else ():
                if key not in known:
                    raise self._error(f"vLLM has no argument {key!r}", f"{place}.{key}", nearest(key, known))

    # Models ------------------------------------------------------------------------------------------------------

    def _resolve(self, index: int, model: Model) -> Resolved:
        revision, precision = model.revision, str(model.precision)
        weights: float | None = None
        if model.path is not None:
            folder = (self.where.parent / model.path).resolve()
            if not folder.is_dir():
                raise self._error(
                    f"no such folder: {model.path}", f"models[{index}].path", self._nearest_folder(model.path)
                )
            source, location, config = f"path:{model.path}", str(folder), self._config_of(folder, index)
            if model.weights == "checkpoint":
                revision = checkpoint_fingerprint(folder)
                weights = float(sum(file.stat().st_size for file in folder.glob("*.safetensors"))) or None
        elif model.catalog is not None:
            source, location, config, revision, weights = self._from_catalog(index, model)
        else:
            source, location, config = f"hub:{model.hub}", str(model.hub), {}
        architecture = _known_architecture(config, location)
        if precision == "auto":
            precision = _stored_precision(config)
        if weights is None and architecture is not None:
            weights = weight_bytes(architecture, PRECISIONS[precision])
        subject = self._subject(model, source, revision, precision, config)
        return Resolved(model, subject, location, config, architecture, weights)

    def _config_of(self, folder: Path, index: int) -> dict[str, Any]:
        try:
            return dict(read_config(folder))
        except InputError as error:
            hint = "a checkpoint folder holds config.json, weights and tokenizer"
            raise self._error(f"{error.where}: {error.what}", f"models[{index}].path", hint) from error

    def _from_catalog(self, index: int, model: Model) -> tuple[str, str, dict[str, Any], str | None, float | None]:
        catalog = Catalog(self.suites_dir)
        if model.catalog not in catalog.names():
            hint = nearest(str(model.catalog), catalog.names())
            raise self._error(f"unknown model {model.catalog!r}", f"models[{index}].catalog", hint)
        entry = catalog.load(str(model.catalog))
        if entry.hf_repo is None or entry.config is None:
            why = f"{entry.name} has no weights on the hub (it is {entry.status}), so it cannot be measured"
            hint = "`moebench models --status released` lists those that have"
            raise self._error(why, f"models[{index}].catalog", hint)
        size = None
        if entry.precision not in ("float32", "bfloat16", "float16") and entry.architecture and entry.weight_precision:
            size = weight_bytes(entry.architecture, entry.weight_precision)
        return f"hub:{entry.hf_repo}", entry.hf_repo, dict(entry.config), model.revision or entry.revision, size

    def _subject(
        self, model: Model, source: str, revision: str | None, precision: str, config: dict[str, Any]
    ) -> Subject:
        on_cuda = bool(self.environment.accelerators)
        engine = {**ENGINE_DEFAULTS, **(CUDA_DEFAULTS if on_cuda else CPU_DEFAULTS), "seed": self.suite.seed}
        positions = config.get("max_position_embeddings")
        engine["max_model_len"] = min(positions, _DEFAULT_CONTEXT) if isinstance(positions, int) else _DEFAULT_CONTEXT
        engine |= self.suite.engine | model.engine
        return Subject(
            model=model.name, source=source, revision=revision, weights=model.weights, precision=precision,
            quantization=model.quantization, backend="vllm", engine=engine,
            accelerator=accelerator_name(self.environment), tensor_parallel=model.tensor_parallel,
            expert_parallel=model.expert_parallel, threads=None if on_cuda else self.environment.threads,
        )

    # Refusals ----------------------------------------------------------------------------------------------------

    def _refusal(self, item: Resolved, scenario: Scenario) -> str | None:
        """Why this machine cannot measure the cell, None where it can."""
        model, accelerators = item.model, self.environment.accelerators
        if model.tensor_parallel > max(1, len(accelerators)):
            found = f"{len(accelerators)} accelerator(s)" if accelerators else "no accelerator"
            return f"needs {model.tensor_parallel} accelerators; this machine has {found}"
        if isinstance(scenario, QualityScenario) and model.weights == "dummy":
            return "dummy weights have no quality to score"
        too_large = self._too_large(item)
        if too_large is not None:
            return too_large
        return self._too_long(item, scenario) if isinstance(scenario, ServingScenario) else None

    def _too_large(self, item: Resolved) -> str | None:
        if item.weights_bytes is None:
            return None
        engine, accelerators = item.subject.engine, self.environment.accelerators
        if accelerators:
            share = float(engine.get("gpu_memory_utilization", 1.0))
            available = share * min(a.memory_bytes for a in accelerators) * item.model.tensor_parallel
        else:
            available = float(self.environment.memory_bytes)
        least, reserved = self._least_cache(item), self._reserved_cache(item)
        if 0 < reserved < least:
            return (
                f"one sequence of max_model_len {engine['max_model_len']} needs {_gigabytes(least)} of KV cache; "
                f"the engine has {_gigabytes(reserved)}"
            )
        needed = self._needed(item)
        if needed is None or needed <= available:
            return None
        return (
            f"needs {_gigabytes(needed)} (weights {_gigabytes(item.weights_bytes)}, KV cache "
            f"{_gigabytes(reserved or least)}, engine {_gigabytes(_ENGINE_OVERHEAD_BYTES)}); this machine offers "
            f"{_gigabytes(available)}"
        )

    def _needed(self, item: Resolved) -> float | None:
        if item.weights_bytes is None:
            return None
        return item.weights_bytes + (self._reserved_cache(item) or self._least_cache(item)) + _ENGINE_OVERHEAD_BYTES

    def _reserved_cache(self, item: Resolved) -> float:
        """The cache that the engine is told to take on all devices, 0 where it takes what is left."""
        return float(item.subject.engine.get("kv_cache_memory_bytes") or 0) * item.model.tensor_parallel

    def _least_cache(self, item: Resolved) -> float:
        """The cache of one sequence of the engine's whole context: without it vLLM does not start."""
        if item.architecture is None:
            return 0.0
        return _cache_bytes(item, item.architecture, item.subject.engine["max_model_len"])

    def _too_long(self, item: Resolved, scenario: ServingScenario) -> str | None:
        engine, length = item.subject.engine, scenario.lengths.longest
        if length > engine["max_model_len"]:
            return f"{length} tokens a request exceed the engine's context of {engine['max_model_len']}"
        concurrency = scenario.concurrency
        if concurrency is None:
            return None
        if concurrency > engine["max_num_seqs"]:
            return f"concurrency {concurrency} exceeds the engine's max_num_seqs of {engine['max_num_seqs']}"
        cache = self._reserved_cache(item)
        if cache and item.architecture is not None:
            load = concurrency * _cache_bytes(item, item.architecture, length)
            if load > cache:
                return f"the load needs {_gigabytes(load)} of KV cache; the engine has {_gigabytes(cache)}"
        return None

    # Messages ----------------------------------------------------------------------------------------------------

    def _error(self, what: str, key: str, hint: str) -> InputError:
        return InputError(what, where=f"{self.where}:{key}", hint=hint)

    def _nearest_folder(self, path: str) -> str:
        parent = (self.where.parent / path).parent
        names = [folder.name for folder in parent.iterdir() if folder.is_dir()] if parent.is_dir() else []
        return nearest(Path(path).name, names) if names else f"the path is relative to {self.where.parent}"


def _known_architecture(config: dict[str, Any], where: str) -> Architecture | None:
    """The structure, None where it is not known: the engine may still run it, it is only not counted."""
    if not config:
        return None
    try:
        return architecture_from_config(config, where)
    except UnknownStructureError:
        return None


def _cache_bytes(item: Resolved, architecture: Architecture, tokens: int) -> float:
    """The cache of one sequence, in the precision in which the model runs."""
    return kv_bytes(architecture, float(tokens), PRECISIONS[item.subject.precision].bytes_per_cache_element)


def _stored_precision(config: dict[str, Any]) -> str:
    stored = config.get("dtype") or config.get("torch_dtype")
    return str(stored) if stored in PRECISIONS else "bfloat16"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
