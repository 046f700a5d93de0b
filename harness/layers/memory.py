"""Whether a layer fits in memory, and how many copies of its weights leave the caches behind."""

from __future__ import annotations

import math
from pathlib import Path

from harness.errors import InputError
from harness.layers.draws import draws_for
from harness.layers.shape import LayerShape
from harness.layers.task import VARIANTS, LayerTask, Variant
from harness.quantities import count_of, with_unit

DENSE_SLICE = 32768
"""As in `measurements.feed_forwards`, which needs torch."""
USABLE = 0.85
"""The part of the free memory that weights and activations may take."""
COPIES_SHARE = 0.5
"""The part of the free memory that may go into copies."""
MOST_COPIES = 4096
UNKNOWN_CACHE_BYTES = 64 << 20


def weight_bytes(shape: LayerShape, variant: Variant, element_bytes: int) -> int:
    """Bytes of all weights of one copy of a variant."""
    if variant == "sparse":
        return element_bytes * int(shape.parameters_read(shape.experts))
    return element_bytes * shape.dense_parameters(shape.active_width if variant == "active" else shape.total_width)


def activation_bytes(task: LayerTask) -> int:
    """About what the largest call needs beside weights: sorted and inner values, and the routings that take turns."""
    shape, tokens = task.shape, max(task.tokens)
    inner = 3 if shape.gated else 2
    sparse = shape.top_k * (2 * shape.hidden + inner * shape.expert_width)
    dense = 2 * shape.hidden + inner * min(shape.total_width, DENSE_SLICE)
    routings = max(count * draws_for(shape, count) for count in task.tokens) * shape.experts
    return tokens * max(sparse, dense) * task.element_bytes + routings * (task.element_bytes + 8)


def check_memory(task: LayerTask, available_bytes: int, *, scale: float = 1.0) -> None:
    """Raises InputError where one copy of each variant does not fit, with a scale that does.

    `scale` is the one that was applied already.
    """
    needed = _needed(task)
    if needed <= USABLE * available_bytes:
        return
    weights = _weights(task)
    hint = "give smaller sizes, or fewer --tokens"
    for percent in range(95, 0, -5):
        if percent / 100 < task.shape.least_scale:
            break
        smaller = task.model_copy(update={"shape": task.shape.scaled(percent / 100)})
        if _needed(smaller) <= USABLE * available_bytes:
            hint = f"--scale {scale * percent / 100:.2g} takes about {with_unit('bytes', _needed(smaller), 2)}"
            break
    inputs = f"{with_unit('bytes', needed - weights)} for {count_of(max(task.tokens), 'token')}"
    raise InputError(
        f"needs {with_unit('bytes', needed)} ({with_unit('bytes', weights)} of weights of the three layers, {inputs}); "
        f"{with_unit('bytes', available_bytes)} are free, of which {USABLE:.0%} may be used",
        where="memory", hint=hint,
    )


def _weights(task: LayerTask) -> int:
    return sum(weight_bytes(task.shape, variant, task.element_bytes) for variant in VARIANTS)


def _needed(task: LayerTask) -> int:
    return _weights(task) + activation_bytes(task)


def copies_for(task: LayerTask, variant: Variant, cache_bytes: int, available_bytes: int) -> int:
    """How many copies of a variant's weights take turns: twice what the cache holds, as far as memory allows."""
    if not task.cold:
        return 1
    size = weight_bytes(task.shape, variant, task.element_bytes)
    fitting = int(COPIES_SHARE * available_bytes / 3 / size)
    return max(1, min(math.ceil(2 * cache_bytes / size), fitting, MOST_COPIES))


def cache_bytes_of_processor(root: Path = Path("/")) -> int:
    """The size of the processor's last cache; 64 MiB where the system does not tell."""
    sizes = [
        int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]]
        for file in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size")
        if (text := file.read_text(encoding="utf-8").strip())[:-1].isdigit() and text[-1] in "KM"
    ]
    return max(sizes, default=UNKNOWN_CACHE_BYTES)
