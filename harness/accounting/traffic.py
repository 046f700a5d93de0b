"""What a decode step reads from memory, and how many experts it touches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.accounting.inventory import Tensor
from harness.accounting.memory import PRECISIONS, Precision, kv_read_bytes, state_bytes
from harness.accounting.parts import layer_tensors, outer_tensors, part_accounts
from harness.architecture import Architecture
from harness.errors import require
from harness.schema import Frozen


class DecodeBytes(Frozen):
    """Bytes that one decode step of a batch moves, by what they are; `state` is read and written back."""

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
    require(1 <= per_token <= experts, f"a token cannot use {per_token} of {experts} experts")
    require(tokens >= 0, f"the number of tokens cannot be negative: {tokens}")
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
    """Bytes that one decode step of `batch` sequences moves, at a mean of `context` cached tokens each.

    Non-expert weights + sum over sparse layers of distinct experts * bytes of an expert + batch * (KV + 2 * state)
    bytes: the recurrent state is read and written back. Tables that are looked up are read one row a sequence; an
    encoder, and what projects its output, are not read at all. `distinct_experts` is the measured mean of a layer;
    without it the expectation under uniform routing counts. Units: bytes. Source: MoE-CAP (arXiv 2412.07067), S-MBU,
    with `expected_distinct_experts` for the experts.
    """
    require(batch >= 1, f"a decode step needs at least 1 sequence, not {batch}")
    element = precision.bytes_per_cache_element
    decoder = layer_tensors(architecture, (architecture.decoder,))
    layers = [(count, tensor) for count, tensor in decoder if not tensor.on_source]
    outer = [tensor for tensor in outer_tensors(architecture) if not tensor.on_source]
    return DecodeBytes(
        non_expert_weights=_outer_bytes(outer, batch, precision, tied_head=architecture.tied_embeddings)
        + sum(n * precision.copy_bytes(one) for n, one in layers if one.component != "routed_experts"),
        expert_weights=_expert_bytes(layers, batch, precision, distinct_experts),
        kv_cache=batch * kv_read_bytes(architecture, context, element),
        state=2 * batch * state_bytes(architecture, element),
    )


@dataclass(frozen=True)
class ExpertLayers:
    """All layers of a decoder whose tokens choose `per_token` of `experts`."""

    experts: int
    per_token: int
    bytes_each: float
    """Of one expert in each of these layers, together: what a step reads for every distinct expert of a layer."""


def expert_layers(architecture: Architecture, precision: Precision) -> tuple[ExpertLayers, ...]:
    """The routed experts of the decoder by how many there are and how many a token uses; empty for a dense model.

    Sum over them of distinct experts * `bytes_each` is `expert_weights` of `decode_bytes`. Units: bytes. Source:
    definition.
    """
    sums = _expert_sums(layer_tensors(architecture, (architecture.decoder,)), precision)
    return tuple(ExpertLayers(experts, used, total) for (experts, used), total in sums.items())


def straight_stretches(architecture: Architecture, longest: int) -> tuple[tuple[int, int], ...]:
    """The contexts 1..`longest` in stretches (first, last) within which the costs of a token follow simple curves.

    FLOPs and cache reads of a decoded token are straight lines there, and FLOPs of a prefill quadratic, because windows
    fill, selections become complete and chunks begin at their ends. Units: tokens.
    """
    require(longest >= 1, f"the context must be at least 1 token, not {longest}")
    starts = {1}
    for _, part in part_accounts(architecture, architecture.decoder):
        limit = part.reach.window or part.reach.selected
        if part.reach.chunk is not None:
            starts.update(range(1, longest + 1, part.reach.chunk))
        elif limit is not None and limit < longest:
            starts.add(limit + 1)
    ordered = sorted(starts)
    return tuple(zip(ordered, [*(start - 1 for start in ordered[1:]), longest], strict=True))


def prefill_bytes(
    architecture: Architecture, batch: int, tokens: int, *, precision: Precision = PRECISIONS["bfloat16"]
) -> float:
    """Bytes of weights that the prefill of `batch` prompts of `tokens` tokens together has to read.

    Every weight once, of the experts those that batch * tokens tokens are expected to use under uniform routing, of a
    table that is looked up one row a token at most. An encoder-decoder model reads its encoder and what projects its
    output. Units: bytes. Source: as for `decode_bytes`.
    """
    require(batch >= 1 and tokens >= 1, f"a prefill needs at least 1 prompt of 1 token, not {batch} of {tokens}")
    encoder = architecture.encoder
    layers = list(layer_tensors(architecture, architecture.stacks[:1]))
    outer = list(outer_tensors(architecture))
    if encoder is not None:
        layers += [pair for pair in layer_tensors(architecture, (architecture.decoder,)) if pair[1].on_source]
        outer = [tensor for tensor in outer if tensor.on_source or tensor is outer[0]]
    tied_head = architecture.tied_embeddings and encoder is None
    return (
        _outer_bytes(outer, batch * tokens, precision, tied_head=tied_head)
        + sum(n * precision.copy_bytes(one) for n, one in layers if one.component != "routed_experts")
        + _expert_bytes(layers, batch * tokens, precision, None)
    )


def _outer_bytes(outer: Sequence[Tensor], tokens: float, precision: Precision, *, tied_head: bool) -> float:
    """What stands around the layers; a head that is tied to the input table reads all of it."""
    total = 0.0
    for index, tensor in enumerate(outer):
        whole = tensor.kind != "table" or (index == 0 and tied_head)
        rows = 1.0 if whole else min(tokens, tensor.rows) / max(tensor.rows, 1)
        total += rows * precision.copy_bytes(tensor)
    return total


def _expert_bytes(
    layers: Iterable[tuple[int, Tensor]], tokens: float, precision: Precision, distinct_experts: float | None
) -> float:
    total = 0.0
    for (experts, per_token), bytes_each in _expert_sums(layers, precision).items():
        used = distinct_experts
        if used is None:
            used = expected_distinct_experts(experts, per_token, tokens)
        require(0 <= used <= experts, f"a layer of {experts} experts cannot use {used} of them")
        total += used * bytes_each
    return total


def _expert_sums(layers: Iterable[tuple[int, Tensor]], precision: Precision) -> dict[tuple[int, int], float]:
    """By (experts, experts a token uses), the bytes of one expert of every layer that has so many."""
    sums: dict[tuple[int, int], float] = {}
    for count, tensor in layers:
        if tensor.component == "routed_experts":
            key = (tensor.copies, tensor.used)
            sums[key] = sums.get(key, 0.0) + count * precision.copy_bytes(tensor)
    return sums
