"""Why a machine cannot measure a cell, told before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.accounting import PRECISIONS, kv_bytes
from harness.architecture import Architecture
from harness.environment import Environment
from harness.record import Subject
from harness.scenario import (
    MemoryScenario,
    QualityScenario,
    RoutingScenario,
    Scenario,
    ServedTokens,
    ServingScenario,
)
from harness.suite import Model

_ENGINE_OVERHEAD_BYTES = 2 * 10**9
"""What the engine itself takes beside weights and cache: about 1 GB of libraries on a processor, of context and
activations on an accelerator."""


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


def refusal(item: Resolved, scenario: Scenario, environment: Environment) -> str | None:
    """Why this machine cannot measure the cell, None where it can."""
    model, accelerators = item.model, environment.accelerators
    if model.tensor_parallel > max(1, len(accelerators)):
        found = f"{len(accelerators)} accelerator(s)" if accelerators else "no accelerator"
        return f"needs {model.tensor_parallel} accelerators; this machine has {found}"
    if model.weights == "dummy" and isinstance(scenario, QualityScenario):
        return "dummy weights have no quality to score"
    if model.weights == "dummy" and isinstance(scenario, RoutingScenario):
        return "dummy weights route at random: there is nothing to learn from it"
    return _wrong_backend(item, scenario) or _too_large(item, environment) or _too_long(item, scenario)


def needed_bytes(item: Resolved) -> float | None:
    """Weights, cache and the engine itself; None where the weights' size is not known."""
    if item.weights_bytes is None:
        return None
    return item.weights_bytes + (_reserved_cache(item) or _least_cache(item)) + _ENGINE_OVERHEAD_BYTES


def _wrong_backend(item: Resolved, scenario: Scenario) -> str | None:
    if item.subject.backend == "transformers":
        timed = isinstance(scenario, ServingScenario | MemoryScenario)
        return "the transformers backend serves nothing: it measures scores and routing" if timed else None
    if item.architecture is not None and item.architecture.encoder is not None:
        return "vLLM runs no encoder-decoder models; `backend: transformers` measures scores and routing"
    return None


def _too_large(item: Resolved, environment: Environment) -> str | None:
    if item.weights_bytes is None:
        return None
    engine, accelerators = item.subject.engine, environment.accelerators
    if accelerators:
        share = float(engine.get("gpu_memory_utilization", 1.0))
        available = share * min(a.memory_bytes for a in accelerators) * item.model.tensor_parallel
    else:
        available = float(environment.memory_bytes)
    least, reserved = _least_cache(item), _reserved_cache(item)
    if 0 < reserved < least:
        return (
            f"one sequence of max_model_len {engine['max_model_len']} needs {_gigabytes(least)} of KV cache; "
            f"the engine has {_gigabytes(reserved)}"
        )
    needed = needed_bytes(item)
    if needed is None or needed <= available:
        return None
    return (
        f"needs {_gigabytes(needed)} (weights {_gigabytes(item.weights_bytes)}, KV cache "
        f"{_gigabytes(reserved or least)}, engine {_gigabytes(_ENGINE_OVERHEAD_BYTES)}); this machine offers "
        f"{_gigabytes(available)}"
    )


def _reserved_cache(item: Resolved) -> float:
    """The cache that the engine is told to take on all devices, 0 where it takes what is left."""
    return float(item.subject.engine.get("kv_cache_memory_bytes") or 0) * item.model.tensor_parallel


def _least_cache(item: Resolved) -> float:
    """The cache of one sequence of the engine's whole context: without it vLLM does not start."""
    return _cache_bytes(item, item.subject.engine["max_model_len"])


def _too_long(item: Resolved, scenario: Scenario) -> str | None:
    """Why the requests of a cell do not fit the engine: each for itself, or as many as there are at once."""
    if isinstance(scenario, ServingScenario):
        length, concurrency = scenario.lengths.longest, scenario.concurrency
    elif isinstance(scenario, RoutingScenario) and isinstance(scenario.work, ServedTokens):
        length, concurrency = scenario.work.lengths.longest, scenario.work.concurrency
    else:
        return None
    engine = item.subject.engine
    if length > engine["max_model_len"]:
        return f"{length} tokens a request exceed the engine's context of {engine['max_model_len']}"
    if concurrency is None:
        return None
    if concurrency > engine["max_num_seqs"]:
        return f"concurrency {concurrency} exceeds the engine's max_num_seqs of {engine['max_num_seqs']}"
    cache, load = _reserved_cache(item), concurrency * _cache_bytes(item, length)
    if cache and load > cache:
        return f"the load needs {_gigabytes(load)} of KV cache; the engine has {_gigabytes(cache)}"
    return None


def _cache_bytes(item: Resolved, tokens: int) -> float:
    """The cache of one sequence, in the precision in which the model runs; 0 where the structure is not known."""
    if item.architecture is None:
        return 0.0
    return kv_bytes(item.architecture, float(tokens), PRECISIONS[item.subject.precision].bytes_per_cache_element)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
