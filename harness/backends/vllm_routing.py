"""Captures the experts of every token inside a vLLM worker, through the hook that its routers have.

All of it runs in the worker, which may be another process, and hangs on the worker's model runner. Routers, runners and
batches are told by what they have, not by their class: the names changed between the versions supported (0.26 to 0.33).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.backends.reasons import layer_number
from harness.backends.vllm_schedule import Ledger, Rows, rows_of, stack_tokens
from harness.record import RoutedLayer
from harness.routing.tokens import Ids, StackTokens, id_type

_STATE = "moebench_routing"
_MOST_FAULTS = 8


class Router(NamedTuple):
    """What tells the experts of one layer."""

    layer: RoutedLayer
    hook: Callable[[Callable[[Any], None] | None], None]
    """Sets what is called with the ids (rows x top-k), or takes it away for None; does nothing where it is `silent`."""
    previous: Callable[[Any], None] | None
    """What the engine itself had set."""
    silent: bool = False
    """Whether the layer's kernel chooses the experts itself and tells nobody."""


class Captured(NamedTuple):
    """What a worker saw."""

    layers: tuple[RoutedLayer, ...]
    tokens: StackTokens
    ids: tuple[Ids, ...]
    names: tuple[str, ...]
    """The core's name of each request, by its number in `tokens`."""
    cached: tuple[int, ...]
    """How many tokens of each request came from a cache."""
    calls: int
    """How often the model was called."""
    recomputed_tokens: int
    faults: tuple[str, ...] = ()
    """What must not be; the first few."""


# What the engine asks of its workers -----------------------------------------------------------------------------


def layers_of(worker: Any) -> list[tuple[RoutedLayer, bool]]:
    """The layers that route, each with whether its experts can be told; run by a worker."""
    return [(router.layer, not router.silent) for router in find_routers(_model(worker.model_runner))]


def start(worker: Any) -> bool:
    """Begins to capture on the first worker, whose routers see every token; run by each worker."""
    if getattr(worker, "rank", 0) != 0:
        return False
    runner = worker.model_runner
    stop(worker)
    setattr(runner, _STATE, Collector(runner))
    return True


def take(worker: Any) -> Captured | None:
    """Ends capturing and gives what was captured, None from workers that did not; run by each worker."""
    collector: Collector | None = getattr(worker.model_runner, _STATE, None)
    if collector is None:
        return None
    stop(worker)
    return collector.captured()


def stop(worker: Any) -> None:
    """Leaves the worker as it was."""
    collector: Collector | None = getattr(worker.model_runner, _STATE, None)
    if collector is not None:
        collector.close()
        setattr(worker.model_runner, _STATE, None)


# Finding the routers ---------------------------------------------------------------------------------------------


def find_routers(model: Any) -> list[Router]:
    """Everything in a model that tells experts, in the order of the layers."""
    found: dict[int, Router] = {}
    for name, module in model.named_modules():
        router = getattr(module, "router", None)
        if hasattr(router, "set_capture_fn"):
            # a layer and its runner can have the same router: the outer one comes first
            found.setdefault(id(router), _router(name, module, router))
        elif hasattr(module, "capture_fn") and hasattr(module, "top_k"):
            found.setdefault(id(module), _kernel(name, module))
    return sorted(found.values(), key=lambda one: one.layer.index)


def _router(name: str, module: Any, router: Any) -> Router:
    layer = RoutedLayer(index=_layer_index(name, module), experts=_experts(module, router), top_k=int(router.top_k))
    if not getattr(module, "is_monolithic", False):
        return Router(layer, router.set_capture_fn, getattr(router, "capture_fn", None))
    return _fused_kernel(layer, module)


def _fused_kernel(layer: RoutedLayer, module: Any) -> Router:
    """A layer whose kernel chooses the experts itself: some can tell which."""
    place: Any = getattr(module, "routed_experts", None)
    kernel: Any = module
    for part in ("_quant_method", "moe_kernel", "impl", "fused_experts"):
        kernel = getattr(kernel, part, None)
    tells = getattr(kernel, "supports_routing_replay_capture", None)
    if tells is None or not tells() or not (hasattr(kernel, "set_capture_fn") or hasattr(place, "routing_sink")):
        return Router(layer, lambda _: None, None, silent=True)
    if hasattr(kernel, "set_capture_fn"):
        return Router(layer, kernel.set_capture_fn, getattr(kernel, "routing_replay_capture_fn", None))
    before = place.routing_sink

    def hook(function: Callable[[Any], None] | None) -> None:
        engines_own = function is None or (before is not None and function is before.capture_fn)
        place.routing_sink = before if engines_own else _sink(kernel.moe_config, function)

    return Router(layer, hook, None if before is None else before.capture_fn)


def _sink(config: Any, function: Callable[[Any], None] | None) -> Any:
    """What such a kernel writes its choices to: since 0.32 a buffer, and whom to tell."""
    import torch

    group = config.ep_size if config.use_ep else config.dp_size
    shape = (config.max_num_tokens * group, config.experts_per_token)
    buffer = torch.empty(shape, dtype=torch.int16, device=config.device)
    return SimpleNamespace(buffer=buffer, capture_fn=function)


def _kernel(name: str, module: Any) -> Router:
    """A fused layer that is its own router."""
    layer = RoutedLayer(index=_layer_index(name, module), experts=_experts(module, module), top_k=int(module.top_k))
    return Router(layer, lambda function: setattr(module, "capture_fn", function), module.capture_fn)


def _layer_index(name: str, module: Any) -> int:
    told = getattr(module, "layer_id", None)
    if isinstance(told, int):
        return told
    return layer_number(name)


def _experts(module: Any, router: Any) -> int:
    """The experts that a router chooses from: copies that only balance load do not count."""
    places = (
        (getattr(module, "moe_config", None), "num_logical_experts"), (module, "logical_num_experts"),
        (router, "num_logical_experts"), (router, "global_num_experts"), (module, "global_num_experts"),
        (module, "num_experts"),
    )
    for place, key in places:
        value = getattr(place, key, None)
        if isinstance(value, int) and value > 0:
            return value
    return 0


def _model(runner: Any) -> Any:
    return runner.get_model() if hasattr(runner, "get_model") else runner.model


# Capturing -------------------------------------------------------------------------------------------------------


class _Call:
    """One call of the model while it runs."""

    def __init__(self, scheduled: Any) -> None:
        self.counts: dict[str, int] = dict(scheduled.num_scheduled_tokens)
        self.batch: Any = None
        """The second runner's own account of the batch."""
        self.rows: Rows | None = None
        self.tokens: NDArray[np.int32] | None = None
        self.width = 0
        """Rows of the model's input, padding included."""
        self.ids: dict[int, list[NDArray[Any]]] = {}


class Collector:
    """Hooks into a model runner, from its making until `close`.

    What a runner does besides the scheduler's calls (profiling, warming up) is not captured. A hook raises nothing, as
    that would break the engine: faults are kept.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._ledger = Ledger()
        self._routers = find_routers(_model(runner))
        self._call: _Call | None = None
        self._calls: list[tuple[int, Rows, NDArray[np.int32]]] = []
        self._ids: list[list[Ids]] = [[] for _ in self._routers]
        self._count = 0
        self._recomputed = 0
        self._faults: dict[str, None] = {}
        self._undo: list[Callable[[], object]] = []
        self._hook()

    def _hook(self) -> None:
        runner = self._runner
        for number, router in enumerate(self._routers):
            router.hook(self._watched(number, router.previous))
            self._undo.append(lambda router=router: router.hook(router.previous))  # type: ignore[misc]
        handle = _model(runner).register_forward_pre_hook(self._before, with_kwargs=True)
        self._undo.append(handle.remove)
        self._wrap("execute_model", self._around)
        if hasattr(runner, "prepare_inputs"):
            self._wrap("prepare_inputs", self._preparing)

    def _wrap(self, name: str, around: Callable[..., Any]) -> None:
        original = getattr(self._runner, name)
        own = vars(self._runner).get(name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            return around(original, *arguments, **options)

        setattr(self._runner, name, wrapped)
        self._undo.append(lambda: setattr(self._runner, name, own) if own else delattr(self._runner, name))

    def close(self) -> None:
        """Takes the hooks away."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def _around(self, original: Callable[..., Any], scheduled: Any, *arguments: Any, **options: Any) -> Any:
        """A call of the runner: what it hands to the model between its start and its end belongs to `scheduled`."""
        if options.get("dummy_run"):
            return original(scheduled, *arguments, **options)
        try:
            self._ledger.begin(scheduled)
        except (AttributeError, TypeError, ValueError) as error:
            self._fault(f"the scheduler's output cannot be read ({type(error).__name__}: {error})")
        self._call = _Call(scheduled) if scheduled.total_num_scheduled_tokens else None
        try:
            result = original(scheduled, *arguments, **options)
            if self._call is not None:
                self._finish(self._call)
        finally:
            self._call = None
        return result

    def _preparing(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        batch = original(*arguments, **options)
        if self._call is not None:
            self._call.batch = batch
        return batch

    def _before(self, _model: Any, _arguments: Any, inputs: dict[str, Any]) -> None:
        """The model is about to be called: the batch's order is final now."""
        call = self._call
        if call is None:
            return
        try:
            batch = call.batch if call.batch is not None else self._runner.input_batch
            order = list(batch.req_ids)
            call.rows = rows_of(self._ledger.spans(order, call.counts))
            count = len(call.rows.position)
            positions, tokens = inputs.get("positions"), inputs.get("input_ids")
            if tokens is None:  # the model is handed embeddings: the runner knows of which tokens
                tokens = call.batch.input_ids if call.batch is not None else self._runner.input_ids.gpu
            call.tokens = _host(tokens)[:count].astype(np.int32)
            call.width = count if positions is None else int(positions.shape[-1])
            one_a_row = positions is not None and positions.ndim == 1
            if one_a_row and not np.array_equal(_host(positions)[:count], call.rows.position):
                self._fault("the model was called with other positions than the scheduler told")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            call.rows = None
            self._fault(f"the batch cannot be read ({type(error).__name__}: {error})")

    def _watched(self, number: int, previous: Callable[[Any], None] | None) -> Callable[[Any], None]:
        def watched(ids: Any) -> None:
            if previous is not None:
                previous(ids)
            if self._call is not None:
                self._call.ids.setdefault(number, []).append(_host(ids))

        return watched

    def _finish(self, call: _Call) -> None:
        """Keeps what the call's routers told."""
        self._count += 1
        if call.rows is None or call.tokens is None:
            self._fault("the model was not called through its own module (a captured graph?)")
            return
        new, count = call.rows.new, len(call.rows.position)
        kept = []
        for number, router in enumerate(self._routers):
            told = call.ids.get(number, [])
            ids = np.concatenate(told) if told else np.empty((0, router.layer.top_k), dtype=np.int32)
            if len(ids) not in (count, call.width):
                where = f"{router.layer.stack} layer {router.layer.index}"
                self._fault(f"{where}: {len(ids)} rows for {count} tokens" if told else f"{where}: never called")
                return
            ids = np.sort(ids[:count][new], axis=1)
            if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= router.layer.experts):
                self._fault(f"{router.layer.stack} layer {router.layer.index}: an id that no expert has")
                return
            kept.append(ids.astype(id_type(router.layer.experts)))
        for ids, layer in zip(kept, self._ids, strict=True):
            layer.append(ids)
        self._recomputed += int((~new).sum())
        self._calls.append((self._count - 1, call.rows, call.tokens))

    def _fault(self, what: str) -> None:
        if len(self._faults) < _MOST_FAULTS:
            self._faults.setdefault(what)

    def captured(self) -> Captured:
        """Everything so far."""
        layers = tuple(router.layer for router in self._routers)
        return Captured(
            layers=layers,
            tokens=stack_tokens(self._calls),
            ids=tuple(_joined(ids, layer) for ids, layer in zip(self._ids, layers, strict=True)),
            names=tuple(self._ledger.names),
            cached=tuple(self._ledger.cached),
            calls=self._count,
            recomputed_tokens=self._recomputed,
            faults=tuple(self._faults),
        )


def _joined(ids: Sequence[Ids], layer: RoutedLayer) -> Ids:
    return np.concatenate([*ids, np.empty((0, layer.top_k), dtype=id_type(layer.experts))])


def _host(tensor: Any) -> NDArray[Any]:
    """A copy in the host's memory: the engine uses its buffers again."""
    array: NDArray[Any] = tensor.detach().to("cpu", copy=True).numpy()
    return array
