"""How the numbers about an architecture are counted: the parts of its parameters, their tensors, what says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.accounting.counts import FlopCount, ParameterCount
from harness.accounting.inventory import Tensor
from harness.accounting.parts import layer_tensors, outer_tensors
from harness.architecture import Architecture
from harness.config_keys import shown
from harness.errors import MoebenchError
from harness.hf_config import keys_read
from harness.pages.parts import Terms
from harness.quantities import count_of, grouped, plain, with_unit

PART_TITLES = {
    "embedding": "Embedding", "head": "Output head", "attention": "Attention", "dense_ffn": "Dense feed-forward",
    "shared_experts": "Shared experts", "routed_experts_used": "Routed experts, used by a token",
    "routed_experts_idle": "Routed experts, not used", "router": "Router", "norm": "Norms", "other": "Other",
}
"""The parts of a model's parameters, in the order of its page. Used and idle ones together are the routed experts."""
_FLOP_TITLES = {
    "head": "output head", "attention_projections": "attention, projections", "attention_scores": "attention, scores",
    "attention_state": "attention, recurrent states", "dense_ffn": "dense feed-forward",
    "shared_experts": "shared experts", "routed_experts": "routed experts", "router": "router",
}
_MOST_SHAPES = 16
"""Shapes of tensors that are listed; the others are added up."""
_KEY_LIMIT = 60
_NOUNS = {
    "matrix": ("matrix", "matrices"), "convolution": ("convolution", "convolutions"), "table": ("table", "tables"),
    "vector": ("vector", "vectors"),
}


def part_sizes(count: ParameterCount) -> dict[str, int]:
    """The parameters of every part that has any; they add up to the total."""
    sizes = {name: getattr(count, name, 0) for name in PART_TITLES}
    sizes["routed_experts_idle"] = count.routed_experts - count.routed_experts_used
    return {name: size for name, size in sizes.items() if size}


def sum_terms(count: ParameterCount, key: str) -> Terms:
    """The parts that `total_parameters`, `active_parameters` or the active ones outside of tables are the sum of."""
    left_out = {"embedding", "head"} if key == "active_non_embedding_parameters" else set()
    left_out |= set() if key == "total_parameters" else {"routed_experts_idle"}
    return [
        (PART_TITLES[name], grouped(size, 0)) for name, size in part_sizes(count).items() if name not in left_out
    ]


def tensor_terms(architecture: Architecture, part: str) -> Terms:
    """The tensors of a part by shape, each with the parameters of all its copies; they add up to the part."""
    found: Counter[tuple[int, str, int, int]] = Counter()
    for layers, tensor in _tensors(architecture):
        copies = _copies(tensor, part)
        if copies and tensor.size:
            found[layers, tensor.kind, tensor.rows, tensor.columns] += copies
    sizes = {shape: (shape[0] or 1) * copies * shape[2] * shape[3] for shape, copies in found.items()}
    largest = sorted(found, key=lambda shape: -sizes[shape])
    terms = [(_shape_words(shape, found[shape]), grouped(sizes[shape], 0)) for shape in largest[:_MOST_SHAPES]]
    rest = largest[_MOST_SHAPES:]
    if rest:
        terms.append((f"{count_of(len(rest), 'other shape')}", grouped(sum(sizes[shape] for shape in rest), 0)))
    return terms


def _tensors(architecture: Architecture) -> Iterator[tuple[int, Tensor]]:
    """Every tensor with the number of layers that have it; 0 outside of the layers."""
    yield from ((0, tensor) for tensor in outer_tensors(architecture))
    yield from layer_tensors(architecture, architecture.stacks)


def _copies(tensor: Tensor, part: str) -> int:
    """How many copies of a tensor belong to a part."""
    if tensor.component == "routed_experts":
        return {"routed_experts_used": tensor.used, "routed_experts_idle": tensor.copies - tensor.used}.get(part, 0)
    return tensor.copies if tensor.component == part else 0


def _shape_words(shape: tuple[int, str, int, int], copies: int) -> str:
    """"4 layers × 16 matrices of 256 × 128"."""
    layers, kind, rows, columns = shape
    size = grouped(rows, 0) if columns == 1 else f"{grouped(rows, 0)} \u00d7 {grouped(columns, 0)}"
    tensors = f"{count_of(copies, *_NOUNS[kind])} of {size}"
    return f"{count_of(layers, 'layer')} \u00d7 {tensors}" if layers else tensors


def flop_terms(flops: FlopCount, tokens: int) -> Terms:
    """The FLOPs of each component, a token."""
    found = {title: getattr(flops, name, 0) / tokens for name, title in _FLOP_TITLES.items()}
    return [(title, with_unit("FLOPs", value, 4)) for title, value in found.items() if value]


def config_terms(config: Mapping[str, Any]) -> Terms:
    """What of a configuration decides the structure, key by key; empty where it cannot be read."""
    try:
        keys: Sequence[str] = keys_read(config, "config")
    except (MoebenchError, ValueError):
        return []
    return [(plain(key, _KEY_LIMIT), plain(shown(config[key]), 80)) for key in keys]
