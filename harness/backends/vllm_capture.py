"""Capturing routing on a loaded vLLM engine: chooses how, and believes nothing that does not add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.backends import vllm_routing
from harness.backends.base import NO_ROUTER, CapturedRouting
from harness.backends.reasons import unroutable
from harness.backends.token_texts import token_texts
from harness.backends.vllm_returned import ReturnedRouting
from harness.backends.vllm_routing import Captured
from harness.errors import EngineError
from harness.record import RoutedLayer
from harness.routing.tokens import Routing, StackTokens, problems_of

_EAGER = "give the engine enforce_eager: true, so that no captured graph passes the hook by"
_MODULAR = (
    "choose a kernel that is handed the experts (on CUDA moe_backend: triton), or let the engine return them "
    "(enable_return_routed_experts: true and enable_prefix_caching: true)"
)


class Ended(NamedTuple):
    """A request as the engine counted it at its end, in tokens."""

    prompt: int
    output: int


class RoutingCapture:
    """From its making until `take`. `names` gives a request's own name for the core's."""

    def __init__(self, llm: Any, arguments: Mapping[str, Any], names: dict[str, str]) -> None:
        self._llm = llm
        self._engine = llm.llm_engine
        self._names = names
        self._ended: dict[str, list[Ended]] = {}
        self._layers = _layers(llm, arguments)
        self._returned: ReturnedRouting | None = None
        if arguments.get("enable_return_routed_experts"):
            self._returned = ReturnedRouting(self._engine, names)
        else:
            llm.collective_rpc(vllm_routing.start)
        self._step: Callable[[], Any] = self._engine.step
        self._engine.step = self._stepping

    def _stepping(self) -> Any:
        """A step of the engine, whoever asks for it: lm-eval runs requests through `LLM.generate`."""
        outputs = self._step()
        for output in outputs:
            if output.finished:
                ended = Ended(len(output.prompt_token_ids or ()), len(output.outputs[0].token_ids))
                self._ended.setdefault(output.request_id, []).append(ended)
                if self._returned is not None:
                    self._returned.finished(output)
        return outputs

    def take(self) -> CapturedRouting:
        """Ends capturing. Raises EngineError where anything is missing or contradicts the engine's own counts."""
        captured = self._close()
        if captured is None or not captured.calls:
            raise unroutable("no call of the model was captured", _EAGER)
        if captured.faults:
            raise unroutable("; ".join(captured.faults), _EAGER)
        return self._checked(captured)

    def _close(self) -> Captured | None:
        """Undoes everything, also where the engine broke."""
        self._engine.step = self._step
        if self._returned is not None:
            self._returned.close()
            return self._returned.captured([layer for layer, _ in self._layers])
        found = [one for one in self._llm.collective_rpc(vllm_routing.take) if one is not None]
        return found[0] if found else None

    def _checked(self, captured: Captured) -> CapturedRouting:
        kept = _within(captured, self._ends(captured))
        tokens = captured.tokens
        stack = StackTokens(**{name: getattr(tokens, name)[kept] for name in StackTokens.__dataclass_fields__})
        routing = Routing.of(captured.layers, {"decoder": stack}, [ids[kept] for ids in captured.ids])
        problems = problems_of(routing)
        if problems:
            raise unroutable("; ".join(problems[:4]), "report it with the engine's version: the hook does not fit it")
        method: Literal["returned by the engine", "capture hook"] = (
            "capture hook" if self._returned is None else "returned by the engine"
        )
        return CapturedRouting(replace(routing, texts=self._texts(stack)), method, captured.recomputed_tokens)

    def _ends(self, captured: Captured) -> list[Ended | None]:
        """What is known of each request's end."""
        used: dict[str, int] = {}
        ends: list[Ended | None] = []
        for core_name in captured.names:
            name = self._names.get(core_name, core_name)
            number = used[name] = used.get(name, -1) + 1
            known = self._ended.get(name, [])
            ends.append(known[number] if number < len(known) else None)
        return ends

    def _texts(self, stack: StackTokens) -> dict[int, str]:
        if self._engine.model_config.skip_tokenizer_init:
            return {}
        return token_texts(self._llm.get_tokenizer(), [stack])


def _layers(llm: Any, arguments: Mapping[str, Any]) -> list[tuple[RoutedLayer, bool]]:
    """The layers that route. Raises EngineError where the experts of any cannot be told."""
    config = llm.llm_engine.vllm_config
    returned = arguments.get("enable_return_routed_experts")
    for name in ("pipeline_parallel_size", "data_parallel_size"):
        if arguments.get(name, 1) > 1:
            raise unroutable(f"with {name} above 1 no worker sees every token and layer", f"leave {name} at 1")
    if config.speculative_config is not None:
        raise unroutable("tokens that were only guessed would count", "leave speculative_config out")
    if not returned and not config.model_config.enforce_eager:
        raise unroutable("the engine runs captured or compiled graphs", _EAGER)
    layers: list[tuple[RoutedLayer, bool]] = llm.collective_rpc(vllm_routing.layers_of)[0]
    if not layers:
        what = "no layer of the model goes through vLLM's own mixture-of-experts layer"
        raise EngineError(what, kind=NO_ROUTER, where="routing")
    silent = [layer.index for layer, told in layers if not told]
    if silent and not returned:
        raise unroutable(f"the kernel of layer {silent[0]} chooses the experts itself and tells nobody", _MODULAR)
    return layers


def _within(captured: Captured, ends: list[Ended | None]) -> NDArray[np.bool_]:
    """Which rows belong to tokens that their request kept.

    A request has a row for each token of its prompt and output but the last one, which is never read, less what came
    from a cache. A step that was under way when it ended may have made one more, which is left out. Raises EngineError
    where it has others.
    """
    tokens = captured.tokens
    open_end = np.iinfo(np.int64).max
    read = np.array([open_end if end is None else end.prompt + end.output - 1 for end in ends], dtype=np.int64)
    kept: NDArray[np.bool_] = tokens.position < read[tokens.request]
    rows = np.bincount(tokens.request[kept], minlength=len(ends))
    for number, end in enumerate(ends):
        if end is None:
            continue
        expected = max(0, int(read[number]) - captured.cached[number])
        if rows[number] != expected:
            raise unroutable(
                f"request {captured.names[number]}: {rows[number]} rows for {expected} tokens (prompt {end.prompt}, "
                f"output {end.output}, cached {captured.cached[number]})", _EAGER,
            )
    return kept
