"""What tokens cost by the context that they see: FLOPs and bytes of the cache, at every context from a few of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.accounting import flops_per_token, kv_read_bytes, prefill_flops, straight_stretches
from harness.architecture import Architecture
from harness.engine_steps import prompt_of
from harness.record import RequestTiming

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]


def token_costs(architecture: Architecture, element: float, longest: int) -> Column:
    """FLOPs and bytes read of the cache, of a decoded token that sees 0..`longest` tokens (none sees 0).

    `element` is the bytes of an element of the cache. A row a context, with both.
    """
    contexts = np.arange(longest + 1)
    flops = _along(architecture, contexts, lambda context: flops_per_token(architecture, context=context).total)
    read = _along(architecture, contexts, lambda context: kv_read_bytes(architecture, context, element))
    return np.stack([flops, read], axis=1)


def prompt_flops(architecture: Architecture, requests: Sequence[RequestTiming]) -> float:
    """FLOPs of the prefill of all prompts that led to a token; what a prefix cache answered is left out."""
    made = [request for request in requests if request.tokens]
    ends = np.asarray([prompt_of(request) for request in made])
    starts = np.asarray([min(request.cached_tokens, prompt_of(request)) for request in made])
    needed = _along(architecture, np.concatenate([ends, starts]), lambda n: prefill_flops(architecture, n).total)
    return float(needed[: len(made)].sum() - needed[len(made) :].sum())


def _along(architecture: Architecture, at: NDArray[np.int64], cost: Callable[[int], float]) -> Column:
    """`cost` at many contexts, from a few of each stretch within which it is quadratic at most; 0 at context 0.

    Newton's divided differences of the first, the middle and the last context of each stretch.
    """
    found = np.zeros(len(at))
    for first, last in straight_stretches(architecture, max(1, int(at.max()))):
        inside = (at >= first) & (at <= last)
        if not inside.any():
            continue
        nodes = sorted({first, (first + last) // 2, last})
        slopes = [float(cost(node)) for node in nodes]
        for order in range(1, len(nodes)):
            for place in range(len(nodes) - 1, order - 1, -1):
                slopes[place] = (slopes[place] - slopes[place - 1]) / (nodes[place] - nodes[place - order])
        value = np.zeros(int(inside.sum()))
        for node, slope in zip(reversed(nodes), reversed(slopes), strict=True):
            value = value * (at[inside] - node) + slope
        found[inside] = value
    return found
