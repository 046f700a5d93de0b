"""Captures the experts of every token in a transformers model, by hooks on what is handed the experts.

Told by structure: in most models a module named `experts` is called with the ids of the chosen experts. Routers with a
capacity (Switch, NLLB-MoE) hand on masks from which experts that were full are gone; there the choice is read from the
router's logits, so that what capacity dropped counts as chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.backends.reasons import layer_number, unroutable
from harness.record import RoutedLayer
from harness.routing.tokens import Ids, Routing, StackTokens, id_type, problems_of

_MOST_FAULTS = 8
_UNFIT = "the hooks do not fit this model: use backend: vllm where it runs it, or report it with transformers' version"
Reader = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], Any]
"""The ids (rows x top-k) in a call of a module: from the module, its arguments by place and by name, its output."""


class Source(NamedTuple):
    """A module whose calls tell the experts of one layer."""

    stack: Literal["decoder", "encoder"]
    layer: int
    experts: int
    module: Any
    read: Reader


class _Call(NamedTuple):
    """The tokens of one call of a stack; every array has one value a row."""

    request: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32]
    decode: bool


class Collector:
    """Hooks into a model, from its making until `close`. Raises EngineError where nothing tells the experts."""

    def __init__(self, model: Any) -> None:
        self._sources = find_sources(model)
        self._two_stacks = bool(model.config.is_encoder_decoder)
        self._calls: dict[str, list[tuple[int, _Call]]] = {}
        self._ids: list[list[NDArray[Any]]] = [[] for _ in self._sources]
        self._pending: dict[str, _Call] = {}
        self._told: dict[int, list[NDArray[Any]]] = {}
        self._count = 0
        self._requests = 0
        self._current = np.empty(0, dtype=np.int32)
        self._unread = False
        self._faults: dict[str, None] = {}
        self._handles = [source.module.register_forward_hook(self._telling(number), with_kwargs=True)
                         for number, source in enumerate(self._sources)]
        for stack, module in _stacks(model).items():
            self._handles.append(module.register_forward_pre_hook(self._before(stack), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._after(stack)))

    def close(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def keep(self, rows: list[int]) -> None:
        """Says that only these rows of the batch go on."""
        self._current = self._current[rows]

    # Calls -------------------------------------------------------------------------------------------------------

    def _before(self, stack: str) -> Callable[..., None]:
        def before(_module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            ids = named.get("input_ids", arguments[0] if arguments else None)
            if ids is None:
                self._fault("the model was called without token ids")
                return
            mask = named.get("attention_mask")
            if mask is not None and getattr(mask, "ndim", 0) == 2 and not bool(mask.all()):
                self._fault("the batch was padded")
            self._pending[stack] = self._call_of(stack, _host(ids), _past(named))
            self._told = {}

        return before

    def _call_of(self, stack: str, ids: NDArray[Any], past: int) -> _Call:
        rows, length = ids.shape
        if stack == "encoder" or (past == 0 and not self._unread):
            self._current = np.arange(self._requests, self._requests + rows, dtype=np.int32)
            self._requests += rows
        # a decoder goes on with what its encoder has just read
        self._unread = stack == "encoder"
        if len(self._current) != rows:
            self._fault(f"{rows} rows follow on {len(self._current)}")
            self._current = np.resize(self._current, rows)
        position = np.tile(np.arange(past, past + length, dtype=np.int32), rows)
        decode = stack == "decoder" and (self._two_stacks or past > 0)
        return _Call(np.repeat(self._current, length), position, ids.reshape(-1).astype(np.int32), decode)

    def _telling(self, number: int) -> Callable[..., None]:
        source = self._sources[number]

        def telling(module: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            ids = source.read(module, arguments, named, output)
            if ids is None:
                self._fault(f"{source.stack} layer {source.layer}: its experts are not handed ids")
            else:
                self._told.setdefault(number, []).append(_host(ids.reshape(-1, ids.shape[-1])))

        return telling

    def _after(self, stack: str) -> Callable[..., None]:
        def after(*_: Any) -> None:
            call = self._pending.pop(stack, None)
            if call is None:
                return
            for number, source in enumerate(self._sources):
                if source.stack == stack:
                    told = self._told.get(number, [])
                    rows = sum(map(len, told))
                    if rows != len(call.position):
                        self._fault(f"{stack} layer {source.layer}: {rows} rows for {len(call.position)} tokens")
                        return
                    self._ids[number] += told
            self._calls.setdefault(stack, []).append((self._count, call))
            self._count += 1

        return after

    def _fault(self, what: str) -> None:
        if len(self._faults) < _MOST_FAULTS:
            self._faults.setdefault(what)

    # What was seen -----------------------------------------------------------------------------------------------

    def captured(self) -> Routing:
        """Everything so far. Raises EngineError where anything is missing."""
        if self._faults:  # first: a call with a fault is not kept, and may be the only one
            raise unroutable("; ".join(self._faults), _UNFIT)
        if not self._calls:
            raise unroutable("no call of the model was captured", "give it requests or items whose tokens it runs")
        layers, ids = [], []
        for source, told in zip(self._sources, self._ids, strict=True):
            every = np.sort(np.concatenate(told), axis=1)
            if every.size and int(every.min()) < 0:
                raise unroutable(f"{source.stack} layer {source.layer}: an id that no expert has", _UNFIT)
            top_k = every.shape[1]
            layers.append(RoutedLayer(stack=source.stack, index=source.layer, experts=source.experts, top_k=top_k))
            ids.append(_narrowed(every, source.experts))
        used: list[str] = list(dict.fromkeys(layer.stack for layer in layers))
        stacks = {stack: _tokens(self._calls[stack]) for stack in used}
        routing = Routing.of(layers, stacks, ids)
        problems = problems_of(routing)
        if problems:
            raise unroutable("; ".join(problems[:4]), _UNFIT)
        return routing


def _tokens(calls: list[tuple[int, _Call]]) -> StackTokens:
    every = [call for _, call in calls]
    lengths = [len(call.position) for call in every]
    return StackTokens(
        step=np.repeat(np.array([number for number, _ in calls], dtype=np.int32), lengths),
        decode=np.repeat(np.array([call.decode for call in every], dtype=np.bool_), lengths),
        request=np.concatenate([call.request for call in every]),
        position=np.concatenate([call.position for call in every]),
        token=np.concatenate([call.token for call in every]),
    )


def _narrowed(ids: NDArray[Any], experts: int) -> Ids:
    """In the smallest type, but for ids beyond it, which are a problem to be found."""
    kind = id_type(experts)
    return ids.astype(kind if not ids.size or int(ids.max()) <= np.iinfo(kind).max else np.uint32)


# Where the experts are told --------------------------------------------------------------------------------------


def find_sources(model: Any) -> list[Source]:
    """What tells the experts of each layer, in the order of the layers, an encoder's first."""
    modules = dict(model.named_modules())
    found = []
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        if hasattr(module, "expert_capacity"):
            if getattr(module, "second_expert_policy", "all") != "all":
                raise unroutable(f"{name}: the second expert is drawn by lot", "set second_expert_policy: all")
            found.append(_source(model, name, module, module, _chosen))
        elif last == "experts" and not hasattr(getattr(modules[parent], "router", None), "expert_capacity"):
            found.append(_source(model, name, module, modules[parent], _handed))
    if not found:
        hint = "only models with modules named `experts` can be captured"
        raise unroutable("no experts were found in the model", hint)
    return sorted(found, key=lambda source: (source.stack != "encoder", source.layer))


def _source(model: Any, name: str, module: Any, parent: Any, read: Reader) -> Source:
    encodes = model.config.is_encoder_decoder and "encoder" in name.split(".")
    places = [getattr(place, "num_experts", None) for place in (module, parent)]
    experts = next((one for one in places if isinstance(one, int)), None) or _experts_of(model.config)
    return Source("encoder" if encodes else "decoder", layer_number(name), experts, module, read)


def _experts_of(config: Any) -> int:
    """The number of experts as a configuration names it."""
    text = config.get_text_config()
    for key in ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"):
        if isinstance(getattr(text, key, None), int):
            return int(getattr(text, key))
    raise unroutable("the configuration does not say how many experts there are", _UNFIT)


def _handed(_module: Any, arguments: tuple[Any, ...], named: dict[str, Any], _output: Any) -> Any:
    """The ids that an experts module is called with: the whole numbers among its arguments."""
    for value in (*arguments, *named.values()):
        if getattr(value, "ndim", 0) >= 2 and not value.is_floating_point() and str(value.dtype) != "torch.bool":
            return value
    return None


def _chosen(module: Any, _arguments: tuple[Any, ...], _named: dict[str, Any], output: Any) -> Any:
    """The choice of a router with a capacity, made from its logits as it makes it: the most probable, or two."""
    import torch

    logits = output[2].reshape(-1, module.num_experts)
    first = torch.softmax(logits, dim=-1, dtype=module.dtype).to(module.input_dtype).argmax(dim=-1, keepdim=True)
    if not hasattr(module, "second_expert_policy"):
        return first
    second = logits.scatter(1, first, float("-inf")).argmax(dim=-1, keepdim=True)
    return torch.cat([first, second], dim=-1)


def _stacks(model: Any) -> dict[str, Any]:
    """What is called once for each batch of tokens."""
    if model.config.is_encoder_decoder:
        return {"encoder": model.get_encoder(), "decoder": model.get_decoder()}
    return {"decoder": model}


def _past(named: dict[str, Any]) -> int:
    """How many tokens the cache holds."""
    cache = named.get("past_key_values")
    return 0 if cache is None else int(cache.get_seq_length())


def _host(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().to("cpu", copy=True).numpy()
    return array
