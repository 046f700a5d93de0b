"""The three layers of a task in this process, and calls that are ready to be timed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from harness.errors import EngineError
from harness.layers.draws import distinct, draw, draws_for
from harness.layers.memory import cache_bytes_of_processor, copies_for
from harness.layers.task import VARIANTS, LayerTask, Variant
from harness.machine import available_memory_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from harness.measurements.feed_forwards import Dense, Kernels, Place, Sparse

MOST_GRAPHS = 64
"""On an accelerator each copy of the weights and each routing needs a graph of its own."""

Call = Callable[[], None]
Layer = TypeVar("Layer", "Sparse", "Dense")


class Bench(Protocol):
    """Calls of the three variants, and what is known of them."""

    def call(self, tokens: int, variant: Variant) -> Call:
        """One pass of so many tokens through a variant, complete when it returns; copies and routings take turns."""

    def facts(self, tokens: int, variant: Variant) -> dict[str, Any]:
        """`distinct_experts`, `copies` and `kernel` of `Timing`."""


class TorchBench:
    """The layers on a processor or an accelerator, with random weights. `process` tells the random numbers apart.

    Raises EngineError where the task's device is not there.
    """

    def __init__(self, task: LayerTask, process: int) -> None:
        from harness.measurements import feed_forwards as ff

        ff.prepare(task.threads)
        cache, memory = _sizes(task)
        self._task = task
        self._process = process
        self._place = ff.place(task.device, task.precision, task.seed + process)
        self._kernels = _kernels(task, self._place)
        self._copies = {variant: copies_for(task, variant, cache, memory) for variant in VARIANTS}
        shape = task.shape
        sparse = ff.sparse(shape.hidden, shape.feed_forward, self._kernels, self._place)
        active, total = (
            ff.dense(shape.hidden, width, shape.gated, self._place) for width in (shape.active_width, shape.total_width)
        )
        self._sparse = _copied(sparse, self._copies["sparse"])
        self._dense: dict[Variant, Sequence[Dense]] = {
            "active": _copied(active, self._copies["active"]), "total": _copied(total, self._copies["total"]),
        }
        self._inputs: dict[int, Inputs] = {}

    def call(self, tokens: int, variant: Variant) -> Call:
        """See `Bench.call`."""
        from harness.measurements.feed_forwards import in_turns

        hidden, steers, _ = self._inputs_of(tokens)
        if variant == "sparse":
            sparse = self._sparse
            turns = max(len(sparse), len(steers))

            def routed(turn: int) -> Tensor:
                return sparse[turn % len(sparse)](hidden, steers[turn % len(steers)])

            return in_turns(routed, min(turns, MOST_GRAPHS), self._place)
        dense = self._dense[variant]
        return in_turns(lambda turn: dense[turn % len(dense)](hidden), min(len(dense), MOST_GRAPHS), self._place)

    def facts(self, tokens: int, variant: Variant) -> dict[str, Any]:
        """See `Bench.facts`."""
        sparse = variant == "sparse"
        return {
            "distinct_experts": self._inputs_of(tokens)[2] if sparse else None,
            "copies": self._copies[variant],
            "kernel": self._kernels.name if sparse else "torch linear",
        }

    def _inputs_of(self, tokens: int) -> Inputs:
        """Those of one token count are kept; the variants follow each other."""
        if tokens not in self._inputs:
            self._inputs = {tokens: self._prepared(tokens)}
        return self._inputs[tokens]

    def _prepared(self, tokens: int) -> Inputs:
        from harness.measurements.feed_forwards import steer

        task, shape = self._task, self._task.shape
        generator = np.random.default_rng([task.seed, self._process, tokens])
        draws = [draw(task.routing, shape, tokens, generator) for _ in range(draws_for(shape, tokens))]
        steers = [steer(one, shape.experts, self._place) for one in draws]
        hidden = self._place.normal(tokens, shape.hidden, deviation=1.0)
        chosen = self._sparse[0].experts_of(hidden, steers[0])
        if not np.array_equal(np.sort(chosen, axis=1), np.sort(draws[0], axis=1)):
            raise EngineError(f"{self._kernels.name} did not choose the experts that were drawn", kind="kernel")
        return hidden, steers, distinct(draws)


Inputs = tuple["Tensor", "list[Tensor]", float]
"""Hidden states, what steers the router in each routing that takes its turn, and the mean experts of a routing."""


def _kernels(task: LayerTask, at: Place) -> Kernels:
    """vLLM's fused kernels for gated experts on CUDA, else torch's."""
    from harness.measurements.feed_forwards import TorchKernels

    if task.device == "cuda" and task.shape.gated and importlib.util.find_spec("vllm") is not None:
        from harness.backends.vllm_experts import fused_kernels

        return fused_kernels()
    return TorchKernels(task.shape.hidden, task.shape.feed_forward, at)


def _sizes(task: LayerTask) -> tuple[int, int]:
    """Bytes of the last cache, and of the memory that is free."""
    if task.device == "cpu":
        return cache_bytes_of_processor(), available_memory_bytes()
    from harness.measurements.feed_forwards import device_sizes

    found = device_sizes()
    if found is None:
        raise EngineError("torch finds no CUDA device", hint="use --device cpu, or see `moebench doctor`")
    return found


def _copied(layer: Layer, copies: int) -> list[Layer]:
    return [layer if number == 0 else layer.copy() for number in range(copies)]
