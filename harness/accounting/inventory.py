"""What an account of a part is made of: tensors, and how far a token sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Component = Literal[
    "embedding", "head", "attention", "dense_ffn", "shared_experts", "routed_experts", "router", "norm", "other"
]


@dataclass(frozen=True)
class Tensor:
    """`copies` tensors of `rows` (outputs) by `columns` (inputs), of which a token uses `used`.

    A matrix and a convolution (channels by width) cost 2 FLOPs an element and token that uses them, a table that is
    looked up and a vector cost none. Those `on_source` multiply each token of the encoder's output once instead.
    """

    component: Component
    rows: int
    columns: int = 1
    kind: Literal["matrix", "convolution", "table", "vector"] = "vector"
    copies: int = 1
    used: int = 1
    on_source: bool = False

    @property
    def size(self) -> int:
        """Elements of one copy."""
        return self.rows * self.columns

    @property
    def parameters(self) -> int:
        """Elements of all copies."""
        return self.copies * self.size

    @property
    def parameters_used(self) -> int:
        """Elements of the copies that one token uses."""
        return self.used * self.size

    @property
    def flops(self) -> int:
        """FLOPs of one token that uses it."""
        return 2 * self.parameters_used if self.kind in ("matrix", "convolution") else 0


@dataclass(frozen=True)
class Reach:
    """Which earlier tokens a token sees: all, the last `window`, those of its own `chunk`, or the whole `source`.

    Of `selected` positions it sees that many at most, though all have to stay in the cache.
    """

    window: int | None = None
    chunk: int | None = None
    source: bool = False
    selected: int | None = None

    def seen(self, context: float, source: float) -> float:
        """The positions that the newest of `context` tokens sees, itself included: what a decode step reads."""
        if self.source:
            return source
        if self.chunk is not None:
            return (context - 1) % self.chunk + 1 if context > 0 else 0.0
        limit = self.window or self.selected
        return context if limit is None else min(context, limit)

    def kept(self, context: float, source: float) -> float:
        """The positions that have to stay in the cache of a sequence."""
        if self.source:
            return source
        limit = self.window or self.chunk
        return context if limit is None else min(context, limit)

    def causal_pairs(self, tokens: int) -> int:
        """The pairs of query and key of a causal prefill of `tokens` tokens."""
        if self.chunk is None:
            return causal_context(tokens, self.window or self.selected)
        full, rest = divmod(tokens, self.chunk)
        return full * causal_context(self.chunk) + causal_context(rest)


def causal_context(tokens: int, window: int | None = None) -> int:
    """The sum over i = 1..tokens of min(i, window): the pairs of query and key of a causal prefill. Units: pairs."""
    full = tokens if window is None else min(tokens, window)
    return full * (full + 1) // 2 + (tokens - full) * full


@dataclass(frozen=True)
class Account:
    """One mixer or feed-forward: its tensors, and for mixers scores, state and cache.

    `decode_score_flops` and `prefill_score_flops` are FLOPs a query and position seen, `state_flops` FLOPs a token,
    `cache_elements` values a cached position and `state_elements` values a sequence. A step reads `read_elements` of
    each position seen: its own, and `borrowed_elements` that an earlier layer has cached.
    """

    tensors: tuple[Tensor, ...]
    decode_score_flops: int = 0
    prefill_score_flops: int = 0
    reach: Reach = Reach()
    state_flops: int = 0
    cache_elements: int = 0
    borrowed_elements: int = 0
    state_elements: int = 0

    @property
    def read_elements(self) -> int:
        """Values that a step reads of each position seen."""
        return self.cache_elements + self.borrowed_elements
