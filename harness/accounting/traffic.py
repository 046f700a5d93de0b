"""What a decode step reads from memory, and how many experts it touches."""

from __future__ import annotations

import math

from harness.accounting.memory import PRECISIONS, Precision, kv_read_bytes, state_bytes
from harness.accounting.parts import layer_tensors, outer_tensors
from harness.architecture import Architecture
from harness.errors import InputError
from harness.schema import Frozen


class DecodeBytes(Frozen):
    """Bytes that one decode step of a batch has to read from memory, by what they are."""

    non_expert_weights: float
    expert_weights: float
    kv_cache: float
    state: float = 0.0

    @property
    def total(self) -> float:
        """All bytes of the step."""
        return self.non_expert_weights + self.expert_weights + self.kv_cache + self.state


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
    precision: Precision = PRECISIONS["bfloat16"],
    distinct_experts: float | None = None,
) -> DecodeBytes:
    """Bytes that one decode step of `batch` sequences reads, at a mean of `context` cached tokens each.

    Non-expert weights + sum over sparse layers of distinct experts * bytes of an expert + batch * (KV + state) bytes.
    Tables that are looked up are read one row a sequence; an encoder, and what projects its output, are not read at
    all. `distinct_experts` is the measured mean of a layer; without it the expectation under uniform routing counts.
    Units: bytes. Source: MoE-CAP (arXiv 2412.07067), S-MBU, with `expected_distinct_experts` for the experts.
    """
    _require(batch >= 1, f"a decode step needs at least 1 sequence, not {batch}")
    weights = experts = 0.0
    for tensor in outer_tensors(architecture):
        if tensor.on_source:
            continue
        if tensor.kind == "table":
            read = batch * tensor.columns if tensor.rows else 0
            weights += read * precision.common.bits / 8
        else:
            weights += precision.copy_bytes(tensor)
    if architecture.tied_embeddings:
        # the head multiplies by the input table
        weights += (architecture.vocab_size - batch) * architecture.hidden_size * precision.common.bits / 8
    for layers, tensor in layer_tensors(architecture, (architecture.decoder,)):
        if tensor.component == "routed_experts":
            used = distinct_experts
            if used is None:
                used = expected_distinct_experts(tensor.copies, tensor.used, batch)
            _require(0 <= used <= tensor.copies, f"a layer of {tensor.copies} experts cannot use {used} of them")
            experts += layers * used * precision.copy_bytes(tensor)
        elif not tensor.on_source:
            weights += layers * precision.copy_bytes(tensor)
    element = precision.bytes_per_cache_element
    return DecodeBytes(
        non_expert_weights=weights,
        expert_weights=experts,
        kv_cache=batch * kv_read_bytes(architecture, context, element),
        state=batch * state_bytes(architecture, element),
    )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(otherwise)
