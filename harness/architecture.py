"""The structure of a causal language model: layer groups, each with its attention and its feed-forward.

Only what decides parameters, arithmetic and memory is kept. A new kind of attention or feed-forward is one class here,
added to its union, and one counting function in `harness.accounting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.schema import Frozen

MAX_SIZE = 10**8
MAX_LAYERS = 10**4

Size = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)]
OptionalSize = Annotated[int, Field(strict=True, ge=0, le=MAX_SIZE)]
Flag = Annotated[bool, Field(strict=True)]


class Norms(Frozen):
    """`count` normalisations over `width` values. Without scale and bias they have no parameters."""

    count: OptionalSize
    width: Size
    scale: Flag = True
    bias: Flag = False

    @property
    def parameters(self) -> int:
        """count * width * (1 for the scale + 1 for the bias)."""
        return self.count * self.width * (self.scale + self.bias)


class GroupedQueryAttention(Frozen):
    """Softmax attention whose query heads share key and value heads; equal numbers give multi-head attention.

    `query_norm_width` and `key_norm_width` are the widths of the norms on queries and keys: a head's width where each
    head is normalised with shared weights, the whole projection where all heads are normalised together, 0 without.
    `window` is the number of positions a token sees, itself included. `sinks` is one learned logit a query head.
    """

    kind: Literal["gqa"] = "gqa"
    query_heads: Size
    kv_heads: Size
    head_dim: Size
    v_head_dim: Size | None = None
    qkv_bias: Flag = False
    output_bias: Flag = False
    query_norm_width: OptionalSize = 0
    key_norm_width: OptionalSize = 0
    window: Size | None = None
    sinks: Flag = False

    @model_validator(mode="after")
    def _heads_divide(self) -> GroupedQueryAttention:
        if self.query_heads % self.kv_heads:
            raise ValueError(f"{self.query_heads} query heads cannot share {self.kv_heads} key-value heads evenly")
        return self

    @property
    def value_dim(self) -> int:
        """The width of a value head, which is `head_dim` unless stated."""
        return self.head_dim if self.v_head_dim is None else self.v_head_dim


class LatentAttention(Frozen):
    """Multi-head latent attention: keys and values are expanded from one cached vector a token (DeepSeek-V2).

    The cache holds `kv_rank + rope_dim` values a token. `query_rank` is None where queries are projected directly.
    `bias` applies to the two down-projections and the output. Source: arXiv 2405.04434, section 2.1.
    """

    kind: Literal["mla"] = "mla"
    heads: Size
    query_rank: Size | None
    kv_rank: Size
    nope_dim: Size
    rope_dim: Size
    v_head_dim: Size
    bias: Flag = False

    @property
    def query_dim(self) -> int:
        """The width of a query head: the part without and the part with rotary position."""
        return self.nope_dim + self.rope_dim


class DenseFeedForward(Frozen):
    """Two matrices (up, down), or three where `gated`. `bias` adds one to each."""

    kind: Literal["dense"] = "dense"
    width: Size
    gated: Flag = True
    bias: Flag = False


class SharedExpert(Frozen):
    """The experts that every token uses, as one feed-forward of their joint width.

    `sigmoid_gate` is a learned scalar gate on its output (Qwen2-MoE): one vector of the hidden size.
    """

    width: Size
    sigmoid_gate: Flag = False
    bias: Flag = False


class MoeFeedForward(Frozen):
    """`experts` routed feed-forwards of `width`, of which a token uses `experts_per_token`.

    `router_bias` is added to the router's logits; `correction_bias` only steers the choice of experts. Both are one
    value an expert.
    """

    kind: Literal["moe"] = "moe"
    experts: Size
    experts_per_token: Size
    width: Size
    gated: Flag = True
    bias: Flag = False
    router_bias: Flag = False
    correction_bias: Flag = False
    shared: SharedExpert | None = None

    @model_validator(mode="after")
    def _enough_experts(self) -> MoeFeedForward:
        if self.experts_per_token > self.experts:
            raise ValueError(f"a token cannot use {self.experts_per_token} of {self.experts} experts")
        return self


Attention = Annotated[GroupedQueryAttention | LatentAttention, Field(discriminator="kind")]
FeedForward = Annotated[DenseFeedForward | MoeFeedForward, Field(discriminator="kind")]


class LayerGroup(Frozen):
    """`count` consecutive layers of the same structure. `norms` are those outside of the attention."""

    count: Annotated[int, Field(strict=True, ge=1, le=MAX_LAYERS)]
    attention: Attention
    feed_forward: FeedForward
    norms: Norms


class Architecture(Frozen):
    """A decoder-only language model; `groups` are in the order of its layers.

    With `tied_embeddings` the output head reuses the input table and has no parameters of its own.
    """

    vocab_size: Size
    hidden_size: Size
    tied_embeddings: Flag
    max_context: Size | None
    groups: Annotated[tuple[LayerGroup, ...], Field(min_length=1, max_length=MAX_LAYERS)]
    final_norm: Norms

    @property
    def layers(self) -> int:
        """The number of layers."""
        return sum(group.count for group in self.groups)

    @property
    def moe_groups(self) -> tuple[tuple[int, MoeFeedForward], ...]:
        """The sparse feed-forwards with the number of layers that have each."""
        return tuple(
            (group.count, group.feed_forward) for group in self.groups if isinstance(group.feed_forward, MoeFeedForward)
        )

    @property
    def is_moe(self) -> bool:
        """Whether any layer routes tokens to experts."""
        return bool(self.moe_groups)

    def each_layer(self) -> Iterator[LayerGroup]:
        """The structure of every layer, from the input to the output."""
        for group in self.groups:
            for _ in range(group.count):
                yield group
