"""Parameters, arithmetic, memory and memory traffic of an `Architecture`: pure functions, exact where they can be.

A multiplication and its addition are two FLOPs. Only matrix products count: norms, activations, biases, rotary
positions, softmax and the weighting of experts do not. Every kind of attention and feed-forward has one counting
function (`_account`), which all public functions share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch

from harness.architecture import (
    Architecture,
    DenseFeedForward,
    GroupedQueryAttention,
    LatentAttention,
    LayerGroup,
    MoeFeedForward,
)
from harness.errors import InputError
from harness.schema import Frozen


class ParameterCount(Frozen):
    """Parameters by component; every parameter is in exactly one of the nine.

    `norm` includes the norms inside of attention, `attention` its biases and sinks, `shared_experts` their gate, and
    `router` its biases. `routed_experts_used` is the part of `routed_experts` that one token uses.
    """

    embedding: int = 0
    head: int = 0
    attention: int = 0
    dense_ffn: int = 0
    shared_experts: int = 0
    routed_experts: int = 0
    router: int = 0
    norm: int = 0
    other: int = 0
    routed_experts_used: int = 0

    @property
    def total(self) -> int:
        """All parameters; tied tables count once."""
        return (
            self.embedding
            + self.head
            + self.attention
            + self.dense_ffn
            + self.shared_experts
            + self.routed_experts
            + self.router
            + self.norm
            + self.other
        )

    @property
    def active(self) -> int:
        """All parameters that a token touches: the total without the routed experts that it does not use."""
        return self.total - self.routed_experts + self.routed_experts_used

    @property
    def active_non_embedding(self) -> int:
        """`active` without the input table and the output head, the convention of some vendors (GLM-4.5, Granite)."""
        return self.active - self.embedding - self.head

    @property
    def active_without_input_embedding(self) -> int:
        """`active` without the input table where it is only looked up, the convention of gpt-oss and DeepSeek-V2.

        A tied table stays: the output head multiplies by it.
        """
        return self.active - self.embedding if self.head else self.active


class FlopCount(Frozen):
    """FLOPs by component."""

    attention_projections: float = 0.0
    attention_scores: float = 0.0
    dense_ffn: float = 0.0
    shared_experts: float = 0.0
    routed_experts: float = 0.0
    router: float = 0.0
    head: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the components, FLOPs."""
        return (
            self.attention_projections
            + self.attention_scores
            + self.dense_ffn
            + self.shared_experts
            + self.routed_experts
            + self.router
            + self.head
        )


class PrefillFlops(Frozen):
    """The arithmetic of a prompt of `tokens` tokens: `flops` for all of them together."""

    tokens: int
    flops: FlopCount

    @property
    def total(self) -> float:
        """FLOPs of the whole prompt."""
        return self.flops.total

    @property
    def per_token(self) -> float:
        """FLOPs of the mean token of the prompt."""
        return self.flops.total / self.tokens


class DecodeBytes(Frozen):
    """Bytes that one decode step of a batch has to read from memory, by what they are."""

    non_expert_weights: float
    expert_weights: float
    kv_cache: float

    @property
    def total(self) -> float:
        """All bytes of the step."""
        return self.non_expert_weights + self.expert_weights + self.kv_cache


class Precision(Frozen):
    """Bytes a stored weight and cache element.

    `bytes_per_expert_weight` is for the routed experts' matrices where they are stored otherwise.
    """

    bytes_per_parameter: float
    bytes_per_expert_weight: float | None = None
    bytes_per_cache_element: float = 2.0


# MXFP4 stores blocks of 32 four-bit values with one eight-bit scale: (32 * 4 + 8) / 32 bits a value (OCP MX v1.0, 5.2).
PRECISIONS = {
    "float32": Precision(bytes_per_parameter=4.0, bytes_per_cache_element=4.0),
    "bfloat16": Precision(bytes_per_parameter=2.0),
    "float16": Precision(bytes_per_parameter=2.0),
    "mxfp4-experts": Precision(bytes_per_parameter=2.0, bytes_per_expert_weight=4.25 / 8),
}


@dataclass(frozen=True)
class _Account:
    """What one attention or feed-forward costs. FLOPs are those of one token, scores those a token of context."""

    parameters: ParameterCount
    flops: FlopCount
    decode_score_flops: int = 0
    prefill_score_flops: int = 0
    window: int | None = None
    cache_elements_per_token: int = 0


@singledispatch
def _account(part: object, hidden_size: int) -> _Account:
    """The cost of one part of a layer; every kind registers its own."""
    raise NotImplementedError(f"no counting function for {type(part).__name__}")


@_account.register
def _grouped_query(part: GroupedQueryAttention, hidden_size: int) -> _Account:
    query = part.query_heads * part.head_dim
    key_value = part.kv_heads * (part.head_dim + part.value_dim)
    output = part.query_heads * part.value_dim
    matrices = hidden_size * (query + key_value + output)
    biases = (query + key_value) * part.qkv_bias + hidden_size * part.output_bias
    norms = part.query_norm_width + part.key_norm_width
    score_flops = 2 * part.query_heads * (part.head_dim + part.value_dim)
    return _Account(
        ParameterCount(attention=matrices + biases + part.query_heads * part.sinks, norm=norms),
        FlopCount(attention_projections=2 * matrices),
        decode_score_flops=score_flops,
        prefill_score_flops=score_flops,
        window=part.window,
        cache_elements_per_token=key_value,
    )


@_account.register
def _latent(part: LatentAttention, hidden_size: int) -> _Account:
    cached = part.kv_rank + part.rope_dim
    query = part.heads * part.query_dim
    output = part.heads * part.v_head_dim
    rank = part.query_rank or 0
    query_matrices = rank * (hidden_size + query) if rank else hidden_size * query
    # Absorbed decoding multiplies queries and outputs by the two halves of the key-value up-projection instead of
    # expanding the cache: the same products a token, so both forms differ only in their scores.
    expansion = part.kv_rank * part.heads * (part.nope_dim + part.v_head_dim)
    matrices = query_matrices + hidden_size * cached + expansion + output * hidden_size
    biases = part.bias * (rank + cached + hidden_size)
    return _Account(
        ParameterCount(attention=matrices + biases, norm=rank + part.kv_rank),
        FlopCount(attention_projections=2 * matrices),
        decode_score_flops=2 * part.heads * (2 * part.kv_rank + part.rope_dim),
        prefill_score_flops=2 * part.heads * (part.query_dim + part.v_head_dim),
        cache_elements_per_token=cached,
    )


@_account.register
def _dense(part: DenseFeedForward, hidden_size: int) -> _Account:
    weights, biases = _feed_forward_size(hidden_size, part.width, part.gated, part.bias)
    return _Account(ParameterCount(dense_ffn=weights + biases), FlopCount(dense_ffn=2 * weights))


@_account.register
def _moe(part: MoeFeedForward, hidden_size: int) -> _Account:
    weights, biases = _feed_forward_size(hidden_size, part.width, part.gated, part.bias)
    router = hidden_size * part.experts
    shared = shared_biases = 0
    if part.shared is not None:
        shared, shared_biases = _feed_forward_size(hidden_size, part.shared.width, part.gated, part.shared.bias)
        shared += hidden_size * part.shared.sigmoid_gate
    return _Account(
        ParameterCount(
            shared_experts=shared + shared_biases,
            routed_experts=part.experts * (weights + biases),
            routed_experts_used=part.experts_per_token * (weights + biases),
            router=router + part.experts * (part.router_bias + part.correction_bias),
        ),
        FlopCount(shared_experts=2 * shared, routed_experts=2 * part.experts_per_token * weights, router=2 * router),
    )


def _feed_forward_size(hidden_size: int, width: int, gated: bool, bias: bool) -> tuple[int, int]:
    """The weights of the matrices and of the biases of one feed-forward."""
    inputs = 2 if gated else 1
    return (inputs + 1) * hidden_size * width, bias * (inputs * width + hidden_size)


def _layer_accounts(architecture: Architecture) -> list[tuple[LayerGroup, _Account, _Account]]:
    hidden = architecture.hidden_size
    return [
        (group, _account(group.attention, hidden), _account(group.feed_forward, hidden))
        for group in architecture.groups
    ]


def _add_parameters(parts: list[tuple[int, ParameterCount]]) -> ParameterCount:
    fields = ParameterCount.model_fields
    return ParameterCount(**{name: sum(times * getattr(part, name) for times, part in parts) for name in fields})


def _add_flops(parts: list[tuple[float, FlopCount]]) -> FlopCount:
    fields = FlopCount.model_fields
    return FlopCount(**{name: sum(times * getattr(part, name) for times, part in parts) for name in fields})


def count_parameters(architecture: Architecture) -> ParameterCount:
    """Parameters by component, equal to the number of elements of the checkpoint's tensors.

    A gated feed-forward has 3 * hidden * width parameters and an attention hidden * (2 * q * h + 2 * kv * h), plus
    biases and norms. Units: parameters. Source: the model classes of Hugging Face transformers 5, to the parameter.
    """
    table = architecture.vocab_size * architecture.hidden_size
    parts = [(1, ParameterCount(embedding=table, head=0 if architecture.tied_embeddings else table))]
    parts.append((1, ParameterCount(norm=architecture.final_norm.parameters)))
    for group, attention, feed_forward in _layer_accounts(architecture):
        norms = ParameterCount(norm=group.norms.parameters)
        parts += [(group.count, part) for part in (attention.parameters, feed_forward.parameters, norms)]
    return _add_parameters(parts)


def flops_per_token(architecture: Architecture, *, context: float, sampled: bool = True) -> FlopCount:
    """The arithmetic of one decoded token that sees `context` tokens, itself included.

    2 * (matrix parameters a token uses) + sum over layers of 4 * q * h * min(context, window); latent attention in its
    absorbed form, 2 * heads * (2 * kv_rank + rope_dim) a token of context. The input table is looked up and costs
    nothing; the head counts where a token is `sampled`. Units: FLOPs. Source: Kaplan et al. 2020 (arXiv 2001.08361,
    section 2.1) with the router and every layer's own attention added.
    """
    _require(context >= 1, f"the context must be at least 1 token, not {context}")
    parts: list[tuple[float, FlopCount]] = [(float(sampled), _head_flops(architecture))]
    for group, attention, feed_forward in _layer_accounts(architecture):
        seen = context if attention.window is None else min(context, attention.window)
        scores = FlopCount(attention_scores=attention.decode_score_flops * seen)
        parts += [(group.count, part) for part in (attention.flops, feed_forward.flops, scores)]
    return _add_flops(parts)


def prefill_flops(architecture: Architecture, tokens: int, *, sampled: int = 1) -> PrefillFlops:
    """The arithmetic of a causal prefill of one sequence of `tokens` tokens, of which `sampled` positions get logits.

    tokens * 2 * (matrix parameters a token uses) + sum over layers of 4 * q * h * (sum of the contexts), where token i
    sees min(i, window): a mean context of (tokens + 1) / 2 without a window. Latent attention in its expanded form,
    2 * heads * (nope + rope + v) a token of context. Units: FLOPs. Source: as for `flops_per_token`.
    """
    _require(tokens >= 1, f"a prefill needs at least 1 token, not {tokens}")
    _require(0 <= sampled <= tokens, f"cannot sample {sampled} positions of {tokens} tokens")
    parts: list[tuple[float, FlopCount]] = [(sampled, _head_flops(architecture))]
    for group, attention, feed_forward in _layer_accounts(architecture):
        scores = FlopCount(attention_scores=attention.prefill_score_flops * causal_context(tokens, attention.window))
        parts += [(group.count * tokens, attention.flops), (group.count * tokens, feed_forward.flops)]
        parts.append((group.count, scores))
    return PrefillFlops(tokens=tokens, flops=_add_flops(parts))


def _head_flops(architecture: Architecture) -> FlopCount:
    return FlopCount(head=2 * architecture.vocab_size * architecture.hidden_size)


def causal_context(tokens: int, window: int | None = None) -> int:
    """The sum over i = 1..tokens of min(i, window): the pairs of query and key of a causal prefill. Units: pairs."""
    full = tokens if window is None else min(tokens, window)
    return full * (full + 1) // 2 + (tokens - full) * full


def weight_bytes(architecture: Architecture, precision: Precision | float) -> float:
    """Bytes of all weights, however few are active: parameters times bytes a parameter.

    With a `Precision` that stores the experts' matrices otherwise, their biases keep the common width. Units: bytes.
    Source: definition; gpt-oss-20b gives 12.8 GiB, the size in OpenAI's model card.
    """
    precision = _precision(precision)
    routed = sum(
        count * part.experts * _expert_bytes(part, architecture.hidden_size, precision)
        for count, part in architecture.moe_groups
    )
    count = count_parameters(architecture)
    return (count.total - count.routed_experts) * precision.bytes_per_parameter + routed


def kv_bytes_per_token(architecture: Architecture, bytes_per_element: float = 2.0) -> float:
    """Bytes by which a sequence's cache grows with each token, while no window is full.

    Sum over layers of 2 * kv * h * bytes, or of (kv_rank + rope_dim) * bytes for latent attention. Units: bytes a
    token. Source: definition; arXiv 2405.04434, table 1.
    """
    return bytes_per_element * sum(
        group.count * attention.cache_elements_per_token for group, attention, _ in _layer_accounts(architecture)
    )


def kv_bytes(architecture: Architecture, context: float, bytes_per_element: float = 2.0) -> float:
    """Bytes of the cache of one sequence of `context` tokens; a layer with a window keeps min(context, window).

    Units: bytes. Source: as for `kv_bytes_per_token`. Engines that allocate windows in full need more.
    """
    _require(context >= 0, f"the context cannot be negative: {context}")
    elements = 0.0
    for group, attention, _ in _layer_accounts(architecture):
        kept = context if attention.window is None else min(context, attention.window)
        elements += group.count * attention.cache_elements_per_token * kept
    return elements * bytes_per_element


def distinct_experts_bounds(experts: int, per_token: int, tokens: float) -> tuple[float, float]:
    """The fewest and the most experts that `tokens` tokens can use in one layer.

    (per_token, min(tokens * per_token, experts)) from one token on, (0, 0) for none. Units: experts.
    """
    _require(1 <= per_token <= experts, f"a token cannot use {per_token} of {experts} experts")
    _require(tokens >= 0, f"the number of tokens cannot be negative: {tokens}")
    return min(tokens, 1.0) * per_token, float(min(tokens * per_token, experts))


def expected_distinct_experts(experts: int, per_token: int, tokens: float) -> float:
    """The mean number of experts of a layer that `tokens` tokens use under uniform, independent routing.

    experts * (1 - (1 - per_token / experts) ^ tokens). Units: experts. Skewed routing uses fewer: show the measured
    number beside it. Source: each expert is missed by a token with probability 1 - per_token / experts.
    """
    low, high = distinct_experts_bounds(experts, per_token, tokens)
    if per_token == experts:
        return high
    expected = -experts * math.expm1(tokens * math.log1p(-per_token / experts))
    return min(max(expected, low), high)


def decode_bytes(
    architecture: Architecture,
    batch: float,
    context: float,
    *,
    precision: Precision | float = 2.0,
    distinct_experts: float | None = None,
) -> DecodeBytes:
    """Bytes that one decode step of `batch` sequences reads, at a mean of `context` cached tokens each.

    Non-expert weights + sum over sparse layers of distinct experts * bytes of an expert + batch * KV bytes. The input
    table is read one row a sequence unless the head is tied to it. `distinct_experts` is the measured mean of a layer;
    without it the expectation under uniform routing counts. Units: bytes. Source: MoE-CAP (arXiv 2412.07067), S-MBU,
    with `expected_distinct_experts` for the experts.
    """
    _require(batch >= 1, f"a decode step needs at least 1 sequence, not {batch}")
    precision = _precision(precision)
    hidden = architecture.hidden_size
    experts = 0.0
    for layers, part in architecture.moe_groups:
        used = distinct_experts
        if used is None:
            used = expected_distinct_experts(part.experts, part.experts_per_token, batch)
        _require(0 <= used <= part.experts, f"a layer of {part.experts} experts cannot use {used} of them")
        experts += layers * used * _expert_bytes(part, hidden, precision)
    count = count_parameters(architecture)
    read: float = count.total - count.routed_experts
    if not architecture.tied_embeddings:
        read += batch * hidden - count.embedding
    return DecodeBytes(
        non_expert_weights=read * precision.bytes_per_parameter,
        expert_weights=experts,
        kv_cache=batch * kv_bytes(architecture, context, precision.bytes_per_cache_element),
    )


def _expert_bytes(part: MoeFeedForward, hidden_size: int, precision: Precision) -> float:
    weights, biases = _feed_forward_size(hidden_size, part.width, part.gated, part.bias)
    width = precision.bytes_per_expert_weight
    common = precision.bytes_per_parameter
    return weights * (common if width is None else width) + biases * common


def _precision(precision: Precision | float) -> Precision:
    value = precision if isinstance(precision, Precision) else Precision(bytes_per_parameter=precision)
    _require(value.bytes_per_parameter > 0, f"a weight cannot take {value.bytes_per_parameter} bytes")
    return value


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(otherwise)
