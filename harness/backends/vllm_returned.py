"""Routing that vLLM returns with each finished request, where it was started with `enable_return_routed_experts`.

The engine runs in this process: its scheduler tells in which step each token was worked on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends.vllm_routing import Captured
from harness.backends.vllm_schedule import Ledger, Rows, rows_of, stack_tokens
from harness.record import RoutedLayer
from harness.routing.tokens import Ids, id_type

_NO_TOKENS = np.empty(0, dtype=np.int32)


class ReturnedRouting:
    """Collects from its making until `close`. `names` gives a request's own name for the core's."""

    def __init__(self, engine: Any, names: dict[str, str]) -> None:
        self._scheduler = engine.engine_core.engine_core.scheduler
        self._names = names
        self._ledger = Ledger()
        self._calls: list[Rows] = []
        self._sequences: dict[str, list[NDArray[np.int32]]] = {}
        self._experts: dict[str, list[Any]] = {}
        self._original: Callable[..., Any] = self._scheduler.schedule
        self._scheduler.schedule = self._schedule

    def close(self) -> None:
        """Leaves the scheduler as it was."""
        self._scheduler.schedule = self._original

    def _schedule(self, *arguments: Any, **options: Any) -> Any:
        scheduled = self._original(*arguments, **options)
        self._ledger.begin(scheduled)
        counts = scheduled.num_scheduled_tokens
        if counts:
            self._calls.append(rows_of(self._ledger.spans(list(counts), counts)))
        return scheduled

    def finished(self, output: Any) -> None:
        """Takes in a finished request (vLLM's `RequestOutput`)."""
        (completion,) = output.outputs
        sequence = np.array([*output.prompt_token_ids, *completion.token_ids], dtype=np.int32)
        self._sequences.setdefault(output.request_id, []).append(sequence)
        self._experts.setdefault(output.request_id, []).append(completion.routed_experts)

    def captured(self, layers: Sequence[RoutedLayer]) -> Captured:
        """Everything so far; `layers` are those that route, of all that the engine gives rows for."""
        sequences, experts, faults = self._by_request(layers)
        lengths = np.array([len(one) for one in experts], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        # the last token of a sequence was never read: it has no experts
        every = np.concatenate([*(one[: len(own)] for one, own in zip(sequences, experts, strict=True)), _NO_TOKENS])
        calls, places = [], []
        for number, call in enumerate(self._calls):
            # a step that was under way when a request ended made a row that the engine threw away
            rows = call.where(call.position < lengths[call.request])
            place = starts[rows.request] + rows.position
            calls.append((number, rows, every[place]))
            places.append(place[rows.new])
        place = np.concatenate([*places, np.empty(0, dtype=np.int64)]).astype(np.int64)
        return Captured(
            layers=tuple(layers),
            tokens=stack_tokens(calls),
            ids=tuple(_layer_ids(experts, layer, place) for layer in layers),
            names=tuple(self._ledger.names),
            cached=tuple(self._ledger.cached),
            calls=len(self._calls),
            recomputed_tokens=sum(int((~rows.new).sum()) for _, rows, _ in calls),
            faults=tuple(faults),
        )

    def _by_request(self, layers: Sequence[RoutedLayer]) -> tuple[list[NDArray[np.int32]], list[Any], list[str]]:
        """The token ids and the experts of each request, in the ledger's order, and what is missing."""
        used: dict[str, int] = {}
        sequences, experts, faults = [], [], []
        deepest = max((layer.index for layer in layers), default=-1)
        for core_name in self._ledger.names:
            name = self._names.get(core_name, core_name)
            number = used[name] = used.get(name, -1) + 1
            ended = self._sequences.get(name, [])
            found = self._experts[name][number] if number < len(ended) else None
            if found is None or found.ndim != 3 or found.shape[1] <= deepest:
                faults.append(f"request {name}: the engine returned no experts" if found is None else
                              f"request {name}: experts of {found.shape[1:]} layers x top-k")
                found = np.empty((0, deepest + 1, 1), dtype=np.uint8)
            sequences.append(ended[number] if number < len(ended) else np.empty(0, dtype=np.int32))
            experts.append(found)
        return sequences, experts, faults[:1]


def _layer_ids(experts: Sequence[Any], layer: RoutedLayer, place: NDArray[np.int64]) -> Ids:
    """One layer's ids of the tokens at some places of all requests' sequences, one after the other."""
    every = [one[:, layer.index, : layer.top_k] for one in experts if len(one)]
    joined = np.concatenate(every) if every else np.empty((0, layer.top_k), dtype=id_type(layer.experts))
    return np.sort(joined[place], axis=1).astype(id_type(layer.experts))
