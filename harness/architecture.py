"""The structure of a language model: stacks of layer groups, each with its token mixers and its feed-forwards.

Only what decides parameters, arithmetic and memory is kept. A new kind of mixer or feed-forward is one class here,
added to its union, and one counting function in `harness.accounting.parts`.
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


def _check_choice(used: int, experts: int) -> None:
    if used > experts:
        raise ValueError(f"a token cannot use {used} of {experts} experts")


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


# Token mixers: what lets a token see others ----------------------------------------------------------------------


class GroupedQueryAttention(Frozen):
    """Softmax attention whose query heads share key and value heads; equal numbers give multi-head attention.

    `norm_parameters` are those of the norms on queries, keys and output. `gate_width` is the width of a learned gate
    on the output, one more matrix of the hidden size (Qwen3-Next), with `gate_bias` and its bias. `window` is the
    number of positions a token sees, itself included; `chunk` lets it see only its own block of that many positions
    (Llama 4). `sinks` is one learned logit a query head, `position_buckets` the learned relative positions of each
    head (T5).

    `keys` says whose keys and values are used: its `own`; those that an earlier layer `shared`, without matrices and
    cache of its own; or the `encoder`'s, projected once from its output (cross-attention).
    """

    kind: Literal["gqa"] = "gqa"
    query_heads: Size
    kv_heads: Size
    head_dim: Size
    v_head_dim: Size | None = None
    qkv_bias: Flag = False
    output_bias: Flag = False
    norm_parameters: OptionalSize = 0
    gate_width: OptionalSize = 0
    gate_bias: Flag = False
    window: Size | None = None
    chunk: Size | None = None
    sinks: Flag = False
    position_buckets: OptionalSize = 0
    keys: Literal["own", "shared", "encoder"] = "own"

    @model_validator(mode="after")
    def _possible(self) -> GroupedQueryAttention:
        if self.query_heads % self.kv_heads:
            raise ValueError(f"{self.query_heads} query heads cannot share {self.kv_heads} key-value heads evenly")
        if self.window and self.chunk:
            raise ValueError("a layer has a window or chunks, not both")
        return self

    @property
    def value_dim(self) -> int:
        """The width of a value head, which is `head_dim` unless stated."""
        return self.head_dim if self.v_head_dim is None else self.v_head_dim


class LatentAttention(Frozen):
    """Multi-head latent attention: keys and values are expanded from one cached vector a token (DeepSeek-V2).

    The cache holds `kv_rank + rope_dim` values a token. `query_rank` is None where queries are projected directly.
    `bias` applies to the two down-projections and the output. Source: arXiv 2405.04434, section 2.1. With `selected` a
    token sees at most so many positions, which an indexer chose; then prefill is absorbed as well (arXiv 2512.02556).
    """

    kind: Literal["mla"] = "mla"
    heads: Size
    query_rank: Size | None
    kv_rank: Size
    nope_dim: Size
    rope_dim: Size
    v_head_dim: Size
    bias: Flag = False
    selected: Size | None = None

    @property
    def query_dim(self) -> int:
        """The width of a query head: the part without and the part with rotary position."""
        return self.nope_dim + self.rope_dim


class Indexer(Frozen):
    """Scores every earlier position for the latent attention beside it, which then sees the best (DeepSeek-V3.2).

    `heads` queries of `head_dim` come from the `query_rank` values of that attention's queries; one key is cached a
    token, and a weight for each head sums their scores. Source: arXiv 2512.02556, section 2.1.
    """

    kind: Literal["indexer"] = "indexer"
    heads: Size
    head_dim: Size
    query_rank: Size


class MixtureOfAttention(Frozen):
    """Attention whose query and output projections are experts behind a router; keys and values are common (JetMoE).

    Each chosen expert brings `kv_heads` query heads; there are `experts` of them, of which a token uses
    `experts_per_token`. `output_bias` is one vector of the hidden size for all. Source: arXiv 2404.07413, section 2.2.
    """

    kind: Literal["moa"] = "moa"
    experts: Size
    experts_per_token: Size
    kv_heads: Size
    head_dim: Size
    output_bias: Flag = True

    @model_validator(mode="after")
    def _enough_experts(self) -> MixtureOfAttention:
        _check_choice(self.experts_per_token, self.experts)
        return self


class Mamba(Frozen):
    """A selective state-space layer: a state of `inner_width * state_size` values a sequence (Mamba, arXiv 2312.00752).

    `inner_norms` are those on the time step and the two input-dependent matrices (Jamba).
    """

    kind: Literal["mamba"] = "mamba"
    inner_width: Size
    state_size: Size
    conv_width: Size
    step_rank: Size
    conv_bias: Flag = True
    projection_bias: Flag = False
    inner_norms: Flag = False


class Mamba2(Frozen):
    """A state-space layer with one decay a head: a state of heads * head_dim * state_size (arXiv 2405.21060).

    `gate_norm` is the norm on the gated output, which has the inner width.
    """

    kind: Literal["mamba2"] = "mamba2"
    heads: Size
    head_dim: Size
    state_size: Size
    state_groups: Size
    conv_width: Size
    conv_bias: Flag = True
    projection_bias: Flag = False
    gate_norm: Flag = True

    @property
    def inner_width(self) -> int:
        """The width between the two projections."""
        return self.heads * self.head_dim


class GatedDeltaNet(Frozen):
    """Linear attention with a gated delta rule: a state of value_heads * key_dim * value_dim (arXiv 2412.06464)."""

    kind: Literal["gated_delta_net"] = "gated_delta_net"
    key_heads: Size
    value_heads: Size
    key_dim: Size
    value_dim: Size
    conv_width: Size


class KimiDeltaAttention(Frozen):
    """Linear attention with a delta rule whose decay is one a channel: a state of heads * head_dim * head_dim.

    Decays and output gates are projected over `head_dim` values (Kimi Linear, arXiv 2510.26692, section 3).
    """

    kind: Literal["kimi_delta"] = "kimi_delta"
    heads: Size
    head_dim: Size
    conv_width: Size


class LightningAttention(Frozen):
    """Linear attention with a fixed decay a head and a gated, normalised output (MiniMax-01, arXiv 2501.08313)."""

    kind: Literal["lightning"] = "lightning"
    heads: Size
    head_dim: Size


class ShortConvolution(Frozen):
    """A gated depthwise convolution over the last `conv_width` tokens (LFM2); its state is constant."""

    kind: Literal["short_convolution"] = "short_convolution"
    conv_width: Size
    bias: Flag = False


# Feed-forwards ---------------------------------------------------------------------------------------------------


class DenseFeedForward(Frozen):
    """`matrices` of hidden size by `width`: 2 (up, down), 3 with a gate, 4 where the gate is twice as wide (OpenMoE).

    `bias` adds one to each, `inner_norm` is a norm before the last one (BitNet).
    """

    kind: Literal["dense"] = "dense"
    width: Size
    matrices: Literal[2, 3, 4] = 3
    bias: Flag = False
    inner_norm: Flag = False


class SharedExpert(Frozen):
    """The experts that every token uses, as one feed-forward of their joint width.

    `sigmoid_gate` is a learned scalar gate on its output (Qwen2-MoE): one vector of the hidden size. `matrices` as for
    a dense feed-forward, None where they are those of the routed experts.
    """

    width: Size
    sigmoid_gate: Flag = False
    bias: Flag = False
    matrices: Literal[2, 3, 4] | None = None


class MoeFeedForward(Frozen):
    """`experts` routed feed-forwards of `width`, of which a token uses `experts_per_token`.

    `matrices` are those of one expert, as for a dense feed-forward. `router_bias` is added to the router's logits;
    `correction_bias` only steers the choice of experts. Both are one value an expert. With `latent_width` tokens are
    projected to that width before the experts and back behind them (Nemotron 3). `router_width` is the width inside of
    a router of two matrices (Skywork-MoE), `output_bias` one vector of the hidden size for all experts (JetMoE).
    """

    kind: Literal["moe"] = "moe"
    experts: Size
    experts_per_token: Size
    width: Size
    matrices: Literal[2, 3, 4] = 3
    bias: Flag = False
    router_bias: Flag = False
    correction_bias: Flag = False
    shared: SharedExpert | None = None
    latent_width: Size | None = None
    router_width: Size | None = None
    output_bias: Flag = False

    @model_validator(mode="after")
    def _enough_experts(self) -> MoeFeedForward:
        _check_choice(self.experts_per_token, self.experts)
        return self


# Layers and stacks -----------------------------------------------------------------------------------------------

Mixer = Annotated[
    GroupedQueryAttention
    | LatentAttention
    | Indexer
    | MixtureOfAttention
    | Mamba
    | Mamba2
    | GatedDeltaNet
    | KimiDeltaAttention
    | LightningAttention
    | ShortConvolution,
    Field(discriminator="kind"),
]
FeedForward = Annotated[DenseFeedForward | MoeFeedForward, Field(discriminator="kind")]


class LayerGroup(Frozen):
    """`count` consecutive layers of the same structure.

    Most layers have one mixer and one feed-forward; a decoder under an encoder has two mixers, a layer with a parallel
    dense residual (Arctic) two feed-forwards, and a layer of a hybrid may have only one of the two. `norms` are those
    outside of the mixers; `other_parameters` are learned scalars and vectors beside them.
    """

    count: Annotated[int, Field(strict=True, ge=1, le=MAX_LAYERS)]
    mixers: tuple[Mixer, ...]
    feed_forwards: tuple[FeedForward, ...]
    norms: Norms
    other_parameters: OptionalSize = 0

    @property
    def moe(self) -> MoeFeedForward | None:
        """The routed feed-forward of each layer; None where there is none."""
        return next((part for part in self.feed_forwards if isinstance(part, MoeFeedForward)), None)


class Stack(Frozen):
    """Layers from the input to the output. `norms` stand before and behind them.

    `positions` are the rows of a learned table of absolute positions.
    """

    groups: Annotated[tuple[LayerGroup, ...], Field(min_length=1, max_length=MAX_LAYERS)]
    norms: Norms
    positions: OptionalSize = 0

    @property
    def layers(self) -> int:
        """The number of layers."""
        return sum(group.count for group in self.groups)


class Architecture(Frozen):
    """A language model: a decoder, under an encoder where it translates between sequences.

    With `tied_embeddings` the output head reuses the input table and has no parameters of its own; encoder and decoder
    share the input table.
    """

    vocab_size: Size
    hidden_size: Size
    tied_embeddings: Flag
    max_context: Size | None
    decoder: Stack
    encoder: Stack | None = None
    head_bias: Flag = False

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The encoder where there is one, then the decoder."""
        return (self.decoder,) if self.encoder is None else (self.encoder, self.decoder)

    @property
    def layers(self) -> int:
        """The number of layers of all stacks."""
        return sum(stack.layers for stack in self.stacks)

    @property
    def moe_groups(self) -> tuple[tuple[int, MoeFeedForward], ...]:
        """The sparse feed-forwards of all stacks with the number of layers that have each."""
        groups = (group for stack in self.stacks for group in stack.groups)
        return tuple((group.count, group.moe) for group in groups if group.moe is not None)

    @property
    def is_moe(self) -> bool:
        """Whether any layer routes tokens to experts."""
        return bool(self.moe_groups)

    def each_layer(self) -> Iterator[LayerGroup]:
        """The structure of every layer, from the input to the output, the encoder's first."""
        for stack in self.stacks:
            for group in stack.groups:
                for _ in range(group.count):
                    yield group
