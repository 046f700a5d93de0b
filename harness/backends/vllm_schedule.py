"""Which tokens of which request a call of the model works on, by what vLLM's scheduler hands out. No vLLM in here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.routing.tokens import StackTokens

_Number = TypeVar("_Number", bound=np.generic)


class Span(NamedTuple):
    """Tokens of one request that follow each other, in one call of the model."""

    request: int
    """Which request, in the order in which they came."""
    start: int
    """Position of the first token in the request's sequence."""
    tokens: int
    again: int
    """How many of them, from the first, an earlier call had worked on already."""
    prompt_tokens: int


class Rows(NamedTuple):
    """The tokens of one call, in the order of the model's rows; every array has one value a token."""

    request: NDArray[np.int32]
    position: NDArray[np.int32]
    decode: NDArray[np.bool_]
    new: NDArray[np.bool_]
    """False where an earlier call had worked on the token already."""

    def where(self, kept: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return Rows(self.request[kept], self.position[kept], self.decode[kept], self.new[kept])


class Ledger:
    """Follows the scheduler call by call.

    A request that was put aside (preempted) is worked on from its start again: those tokens are told apart.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        """The core's name of each request."""
        self.prompt_tokens: list[int] = []
        self.cached: list[int] = []
        """How many tokens of each request no call worked on: a cache had them."""
        self._seen: list[int] = []
        self._active: dict[str, int] = {}
        self._starts: dict[str, int] = {}

    def begin(self, scheduled: Any) -> None:
        """Takes in what the scheduler hands out for a call (vLLM's `SchedulerOutput`)."""
        for name in getattr(scheduled, "finished_req_ids", ()):
            self._active.pop(name, None)
        cached = scheduled.scheduled_cached_reqs
        self._starts = dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        for request in scheduled.scheduled_new_reqs:
            self._starts[request.req_id] = request.num_computed_tokens
            if request.req_id not in self._active:  # one that was put aside may come as a new one
                self._active[request.req_id] = len(self.names)
                self.names.append(request.req_id)
                self.prompt_tokens.append(len(request.prompt_token_ids))
                self.cached.append(0)
                self._seen.append(0)

    def spans(self, order: Sequence[str], counts: dict[str, int]) -> list[Span]:
        """What the call works on, request by request in the batch's order. Raises KeyError for an unknown request."""
        spans = []
        for name in order:
            number, start, count = self._active[name], self._starts[name], counts[name]
            seen = self._seen[number]
            spans.append(Span(number, start, count, min(max(seen - start, 0), count), self.prompt_tokens[number]))
            self.cached[number] += max(0, start - seen)
            self._seen[number] = max(seen, start + count)
        return spans


def rows_of(spans: Sequence[Span]) -> Rows:
    """One row a token."""
    counts = np.array([span.tokens for span in spans], dtype=np.int64)
    request, start, again, prompt_tokens = (
        np.repeat(np.array(column, dtype=np.int32), counts)
        for column in zip(*((span.request, span.start, span.again, span.prompt_tokens) for span in spans), strict=True)
    )
    offset = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.int32)
    position = start + offset
    return Rows(request, position, position >= prompt_tokens, offset >= again)


def stack_tokens(calls: Sequence[tuple[int, Rows, NDArray[np.int32]]]) -> StackTokens:
    """The tokens of many calls, each with its number and its token ids, without those worked on again."""
    kept = [(number, rows, rows.new, ids) for number, rows, ids in calls]

    return StackTokens(
        step=_joined([np.full(int(new.sum()), number) for number, _, new, _ in kept], np.int32),
        decode=_joined([rows.decode[new] for _, rows, new, _ in kept], np.bool_),
        request=_joined([rows.request[new] for _, rows, new, _ in kept], np.int32),
        position=_joined([rows.position[new] for _, rows, new, _ in kept], np.int32),
        token=_joined([ids[new] for _, _, new, ids in kept], np.int32),
    )


def _joined(parts: list[NDArray[Any]], kind: type[_Number]) -> NDArray[_Number]:
    joined: NDArray[_Number] = np.concatenate([*parts, np.empty(0, dtype=kind)]).astype(kind)
    return joined
