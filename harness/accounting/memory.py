"""Bytes of weights under a precision, and of the cache and the state of a sequence."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from harness.accounting.inventory import Component, Tensor
from harness.accounting.parts import layer_tensors, outer_tensors, part_accounts
from harness.architecture import Architecture
from harness.errors import InputError, nearest
from harness.schema import Frozen

Bits = Annotated[float, Field(gt=0, le=64)]
Compute = Literal["float32", "bfloat16", "float16", "fp8", "int8", "fp4"]

_LAYER_MATRICES: frozenset[Component] = frozenset(("attention", "dense_ffn", "shared_experts", "routed_experts"))


class Scheme(Frozen):
    """How the values of one tensor are stored: `bits` each, and one scale for each block of them.

    `block` is (rows, columns) of the values that share a scale, where 0 stands for all rows or columns: (0, 0) is one
    scale a tensor, (1, 128) one for each group of 128 inputs of an output. Blocks at the edge are whole ones. None:
    no scale. `offset_bits` are those of a zero point beside each scale.
    """

    bits: Bits
    block: tuple[int, int] | None = None
    scale_bits: Annotated[float, Field(ge=0, le=64)] = 0
    offset_bits: Annotated[float, Field(ge=0, le=64)] = 0

    def copy_bytes(self, tensor: Tensor) -> float:
        """Bytes of one copy of `tensor`."""
        bits = tensor.size * self.bits
        if self.block is not None and tensor.size:
            high, wide = self.block[0] or tensor.rows, self.block[1] or tensor.columns
            blocks = math.ceil(tensor.rows / high) * math.ceil(tensor.columns / wide)
            bits += blocks * (self.scale_bits + self.offset_bits)
        return bits / 8


class Precision(Frozen):
    """How the weights of a model are stored and multiplied.

    `common` holds for every tensor that is not named otherwise: tables, head, router, norms and biases stay in it.
    `matrices` are those of the layers (attention, feed-forwards, experts), `experts` the routed ones alone, which
    have precedence. `compute` is the precision whose peak rate bounds the products.
    """

    common: Scheme
    matrices: Scheme | None = None
    experts: Scheme | None = None
    bytes_per_cache_element: float = 2.0
    compute: Compute = "bfloat16"

    def scheme(self, tensor: Tensor) -> Scheme:
        """How `tensor` is stored."""
        if tensor.kind != "matrix" or tensor.component not in _LAYER_MATRICES:
            return self.common
        if tensor.component == "routed_experts" and self.experts is not None:
            return self.experts
        return self.matrices or self.common

    def copy_bytes(self, tensor: Tensor) -> float:
        """Bytes of one copy of `tensor`."""
        return self.scheme(tensor).copy_bytes(tensor)


_HALF = Scheme(bits=16)
# MXFP4: blocks of 32 four-bit values with an eight-bit scale (OCP Microscaling Formats v1.0, 5.2). NVFP4: blocks of 16
# with an FP8 scale, and one FP32 scale a tensor, which is left out (4 bytes a matrix). fp8-block: 128 x 128 values with
# an FP32 scale (DeepSeek-V3, arXiv 2412.19437, section 3.3.2). int4-g128: groups of 128 inputs with a 16-bit scale and
# a four-bit zero point, as AWQ and GPTQ store them.
PRECISIONS = {
    "float32": Precision(common=Scheme(bits=32), bytes_per_cache_element=4.0, compute="float32"),
    "bfloat16": Precision(common=_HALF),
    "float16": Precision(common=_HALF, compute="float16"),
    "fp8": Precision(common=_HALF, matrices=Scheme(bits=8, block=(0, 0), scale_bits=32), compute="fp8"),
    "fp8-block": Precision(common=_HALF, matrices=Scheme(bits=8, block=(128, 128), scale_bits=32), compute="fp8"),
    "int8": Precision(common=_HALF, matrices=Scheme(bits=8, block=(1, 0), scale_bits=32), compute="int8"),
    "int4-g128": Precision(
        common=_HALF, matrices=Scheme(bits=4, block=(1, 128), scale_bits=16, offset_bits=4), compute="float16"
    ),
    "nvfp4": Precision(common=_HALF, matrices=Scheme(bits=4, block=(1, 16), scale_bits=8), compute="fp4"),
    "mxfp4-experts": Precision(common=_HALF, experts=Scheme(bits=4, block=(1, 32), scale_bits=8)),
}
PRECISION_ALIASES = {
    "fp32": "float32", "f32": "float32", "bf16": "bfloat16", "fp16": "float16", "f16": "float16", "half": "float16",
    "int4": "int4-g128", "awq": "int4-g128", "gptq": "int4-g128", "mxfp4": "mxfp4-experts", "fp4": "nvfp4",
}


def find_precision(name: str, where: str = "--precision") -> str:
    """The key of PRECISIONS that `name` means. Raises InputError with the nearest names."""
    key = PRECISION_ALIASES.get(name.lower(), name.lower())
    if key not in PRECISIONS:
        raise InputError(f"unknown precision {name!r}", where=where, hint=nearest(name, [*PRECISIONS]))
    return key


def weight_bytes(architecture: Architecture, precision: Precision) -> float:
    """Bytes of all weights, however few are active, each tensor in its own scheme. Units: bytes.

    Source: definition; gpt-oss-20b gives 12.8 GiB, the size in OpenAI's model card.
    """
    total = sum(tensor.copies * precision.copy_bytes(tensor) for tensor in outer_tensors(architecture))
    return total + sum(
        layers * tensor.copies * precision.copy_bytes(tensor)
        for layers, tensor in layer_tensors(architecture, architecture.stacks)
    )


def kv_bytes_per_token(architecture: Architecture, bytes_per_element: float = 2.0) -> float:
    """Bytes by which a sequence's cache grows with each token, while no window is full.

    Sum over layers of 2 * kv * h * bytes, or of (kv_rank + rope_dim) * bytes for latent attention. The cache of an
    encoder's output does not grow and is left out; see `kv_bytes`. Units: bytes a token. Source: definition; arXiv
    2405.04434, table 1.
    """
    return bytes_per_element * sum(
        layers * part.cache_elements
        for layers, part in part_accounts(architecture, architecture.decoder)
        if not part.reach.source
    )


def kv_bytes(
    architecture: Architecture, context: float, bytes_per_element: float = 2.0, *, source: float | None = None
) -> float:
    """Bytes of the cache of one sequence of `context` tokens; a layer with a window keeps min(context, window).

    Under an encoder the keys and values of the `source` tokens (as many as `context` unless given) are added. Units:
    bytes. Source: as for `kv_bytes_per_token`. Engines that allocate windows in full need more.
    """
    if context < 0 or (source is not None and source < 0):
        raise InputError(f"the context cannot be negative: {min(context, source or 0)}")
    elements = 0.0
    for layers, part in part_accounts(architecture, architecture.decoder):
        kept = part.reach.kept(context, context if source is None else source)
        elements += layers * part.cache_elements * kept
    return elements * bytes_per_element


def kv_read_bytes(architecture: Architecture, context: float, bytes_per_element: float = 2.0) -> float:
    """Bytes of the cache of one sequence of `context` tokens that a decode step reads.

    Each layer reads the positions that its token sees: those of its window, of its own chunk, or those that an indexer
    selected. A layer that shares keys and values reads those of the earlier layer. Units: bytes. Source: definition.
    """
    return bytes_per_element * sum(
        layers * part.read_elements * part.reach.seen(context, context)
        for layers, part in part_accounts(architecture, architecture.decoder)
    )


def state_bytes(architecture: Architecture, bytes_per_element: float = 2.0) -> float:
    """Bytes of the recurrent and convolution states of one sequence, which do not grow with its length. Units: bytes.

    Source: definition. Engines that keep the state in float32 need up to twice as much.
    """
    return bytes_per_element * sum(
        layers * part.state_elements for layers, part in part_accounts(architecture, architecture.decoder)
    )


def devices_needed(needed_bytes: float, memory_bytes: float, usable_fraction: float = 0.9) -> int:
    """The smallest number of devices whose usable memory holds `needed_bytes`, spread evenly.

    ceil(needed / (memory * fraction)). Engines that shard by heads need a number that divides them, and may have to
    repeat some of the cache. Units: devices. Source: definition; 0.9 leaves activations and the engine their share.
    """
    if needed_bytes < 0 or memory_bytes <= 0 or not 0 < usable_fraction <= 1:
        raise InputError(f"cannot place {needed_bytes:g} bytes on {usable_fraction:g} of {memory_bytes:g}")
    return max(1, math.ceil(needed_bytes / (memory_bytes * usable_fraction)))
