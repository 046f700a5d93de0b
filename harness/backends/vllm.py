"""vLLM, in this process. The same code on a processor and on CUDA; the arguments tell them apart.

vllm, torch and lm_eval are imported inside functions: they take seconds, and the reading wing has none of them.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.backends import vllm_alias, vllm_memory
from harness.backends.base import CapturedRouting, EngineMemory, Finish, StepResult
from harness.backends.reasons import failed
from harness.backends.vllm_capture import RoutingCapture
from harness.record import Subject

_ENVIRONMENT = {
    # the engine runs in the worker's own process: one process a job, and steps can be stamped one by one
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # the core knows requests by the names they are given
    "VLLM_DISABLE_REQUEST_ID_RANDOMIZATION": "1",
}

PRELOAD = (
    "harness.backends.vllm_preload",
    "vllm.entrypoints.llm",
    "vllm.v1.engine.core",
    "vllm.v1.worker.cpu_worker",
    "lm_eval.evaluator",
    "lm_eval.models.vllm_causallms",
    "lm_eval.tasks",
)
"""Modules that a process without an accelerator imports once, before it forks the jobs."""


def prepare_environment() -> None:
    """Sets the variables that vLLM reads when it is imported, and the alias that lm-eval asks for."""
    os.environ.update(_ENVIRONMENT)
    vllm_alias.install()


class VllmBackend:
    """Loads models with `vllm.LLM`."""

    def load(self, subject: Subject, location: str, config: dict[str, Any], scratch: Path) -> VllmEngine:
        """See `backends.base.Backend.load`."""
        prepare_environment()
        began = time.perf_counter()
        from vllm import LLM

        import_s = time.perf_counter() - began
        arguments = engine_arguments(subject, location)
        if subject.weights == "dummy":
            arguments |= _dummy_arguments(config, scratch)
        ask_for_amx()
        start = time.perf_counter()
        try:
            with vllm_memory.graphs_noted() if subject.tensor_parallel == 1 else contextlib.nullcontext():
                llm = LLM(**arguments)
        except Exception as error:  # vLLM raises every kind; the worker needs one with a reason
            raise failed(innermost(error), "load", location) from error
        return VllmEngine(llm, arguments, load_s=time.perf_counter() - start, import_s=import_s)


def engine_arguments(subject: Subject, location: str) -> dict[str, Any]:
    """The keyword arguments of `vllm.LLM` for a subject."""
    arguments: dict[str, Any] = {"model": location, "dtype": subject.precision, **subject.engine}
    if subject.source.startswith("hub:") and subject.revision:
        arguments["revision"] = subject.revision
    if subject.quantization:
        arguments["quantization"] = subject.quantization
    if subject.tensor_parallel > 1:
        arguments["tensor_parallel_size"] = subject.tensor_parallel
    if subject.expert_parallel:
        arguments["enable_expert_parallel"] = True
    return arguments


class VllmEngine:
    """A loaded `vllm.LLM`."""

    def __init__(self, llm: Any, arguments: dict[str, Any], load_s: float, import_s: float = 0.0) -> None:
        self.load_s = load_s
        self.import_s = import_s
        self.llm = llm
        self._engine = llm.llm_engine
        self._arguments = arguments
        self._sampling: dict[int, Any] = {}
        self._language_model: Any = None
        self._capture: RoutingCapture | None = None
        self._names: dict[str, str] = {}
        self._made: Any = None
        self._engine.engine_core.get_output = self._watched(self._engine.engine_core.get_output)
        self._started: list[str] = []
        scheduler = self._engine.engine_core.engine_core.scheduler
        scheduler.schedule = self._noting_starts(scheduler.schedule)
        self._ranks = int(arguments.get("tensor_parallel_size", 1))
        self.devices = self._ranks if self._engine.vllm_config.device_config.device_type == "cuda" else 0
        self._detokenize = not arguments.get("skip_tokenizer_init", False)
        self.vocabulary_size: int = self._engine.model_config.get_vocab_size()
        self.max_model_len: int = self._engine.model_config.max_model_len

    def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
        """See `backends.base.Engine.submit`. The sampling is that of `vllm bench throughput`."""
        if output_tokens not in self._sampling:
            self._sampling[output_tokens] = self._sampling_for(output_tokens)
        given = self._engine.add_request(request_id, {"prompt_token_ids": prompt}, self._sampling[output_tokens])
        # the core knows the request by an id of vLLM's own; older versions keep ours and return none
        self._names[given or request_id] = request_id

    def _sampling_for(self, output_tokens: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = SamplingParams(
            temperature=1.0, top_p=1.0, ignore_eos=True, max_tokens=output_tokens,
            detokenize=self._detokenize, output_kind=RequestOutputKind.FINAL_ONLY,
        )
        # nothing in it is changed, so a request needs no deep copy: a third of the time that it takes to hand one over
        if hasattr(sampling, "skip_clone"):
            sampling.skip_clone = True
        return sampling

    def step(self) -> StepResult:
        """See `backends.base.Engine.step`. Raises EngineError where the engine breaks."""
        self._started = []
        try:
            ended = self._engine.step()
        except Exception as error:  # as in load
            raise failed(innermost(error), "engine") from error
        names, made = self._names, self._made.outputs
        return StepResult(
            [names[output.request_id] for output in made for _ in output.new_token_ids],
            [
                Finish(
                    output.request_id, output.outputs[0].finish_reason, len(output.prompt_token_ids or ()),
                    output.num_cached_tokens or 0,
                )
                for output in ended if output.finished
            ],
            [names[request_id] for request_id in self._started],
        )

    def _watched(self, get_output: Callable[[], Any]) -> Callable[[], Any]:
        """Keeps what the core made in a step, to stamp tokens by.

        The engine can also hand out each token itself, but building those outputs takes a tenth of a small model's
        step, which a measurement must not add.
        """

        def watched() -> Any:
            self._made = get_output()
            return self._made

        return watched

    def _noting_starts(self, schedule: Callable[..., Any]) -> Callable[..., Any]:
        """Keeps which requests a step works on for the first time: until then they wait in the engine's queue."""

        def noting(*arguments: Any, **options: Any) -> Any:
            scheduled = schedule(*arguments, **options)
            self._started += [request.req_id for request in scheduled.scheduled_new_reqs]
            return scheduled

        return noting

    def start_routing(self) -> None:
        """See `backends.base.Engine.start_routing`."""
        self._capture = RoutingCapture(self.llm, self._arguments, self._names)

    def take_routing(self) -> CapturedRouting:
        """See `backends.base.Engine.take_routing`."""
        assert self._capture is not None, "start_routing comes first"
        capture, self._capture = self._capture, None
        return capture.take()

    def memory(self) -> EngineMemory:
        """See `backends.base.Engine.memory`."""
        cache = self._engine.vllm_config.cache_config
        core = self._engine.engine_core.engine_core
        groups = core.scheduler.kv_cache_config.kv_cache_groups
        # layers of several groups share one allocation, laid out for the widest group
        page_bytes = max(len(group.layer_names) * group.kv_cache_spec.page_size_bytes for group in groups)
        # several groups share the blocks of one pool, so vLLM's own count of tokens goes before blocks times their size
        shared = cache.num_gpu_blocks // len(groups) * cache.block_size
        tokens = getattr(cache, "kv_cache_size_tokens", None) or shared
        told = vllm_memory.RankMemory()
        with contextlib.suppress(Exception):  # what vLLM happens to tell besides is not worth a failed cell
            told = vllm_memory.over_ranks(self.llm.collective_rpc(vllm_memory.rank_memory))
        return EngineMemory(self._ranks * cache.num_gpu_blocks * page_bytes, int(tokens), *told)

    def language_model(self) -> Any:
        """See `backends.base.Engine.language_model`: lm-eval's own vLLM model, given this engine in place of its."""
        from lm_eval.models import vllm_causallms

        if self._language_model is None:
            with _engine_for(vllm_causallms, self.llm):
                self._language_model = vllm_causallms.VLLM(
                    pretrained=self._arguments["model"], batch_size="auto", **self.arguments()
                )
        return self._language_model

    def config(self) -> dict[str, Any]:
        """See `backends.base.Engine.config`."""
        config: dict[str, Any] = json.loads(self._engine.model_config.hf_config.to_json_string(use_diff=False))
        return config

    def arguments(self) -> dict[str, Any]:
        """See `backends.base.Engine.arguments`."""
        return {key: value for key, value in self._arguments.items() if key != "model"}

    def close(self) -> None:
        """Stops the engine and frees its memory."""
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        del self._engine, self.llm, self._language_model
        cleanup_dist_env_and_memory()
        gc.collect()


@contextlib.contextmanager
def _engine_for(module: Any, llm: Any) -> Iterator[None]:
    """While this holds, the engine that lm-eval starts is the one that is there already."""
    original = module.LLM
    module.LLM = lambda **_: llm
    try:
        yield
    finally:
        module.LLM = original


def _dummy_arguments(config: dict[str, Any], scratch: Path) -> dict[str, Any]:
    folder = scratch / "dummy"
    folder.mkdir(parents=True, exist_ok=True)
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    named = {"architectures": [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(str(config.get("model_type")), "unknown")]}
    (folder / "config.json").write_text(json.dumps(named | config), encoding="utf-8")
    return {"model": str(folder), "load_format": "dummy", "skip_tokenizer_init": True}


def ask_for_amx() -> None:
    """The kernel hands out AMX to a process that asks; vLLM's attention uses it without asking on small models."""
    import torch

    initialise = getattr(torch.cpu, "_init_amx", None)
    if initialise is not None:
        initialise()


def innermost(error: BaseException) -> BaseException:
    """The cause: vLLM wraps it in 'Engine core initialization failed'."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
