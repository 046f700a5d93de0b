"""What would be lost if every expert took only so many tokens a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.record import RoutedLayer
from harness.routing.steps import Block, Counts

CAPACITY_FACTORS = (1.0, 1.25, 1.5, 2.0)


class DropRate(NamedTuple):
    """Token-expert assignments that exceed the experts' capacity, over all assignments.

    A token that loses one of its k experts still has the others: whole tokens are lost far more rarely.
    """

    factor: float
    dropped: float
    worst_layer: float


def capacities(layer: RoutedLayer, sizes: Counts, factor: float) -> Counts:
    """How many tokens an expert takes in batches of `sizes` tokens: ceil(factor T k / N), at least 1.

    Source: GShard (arXiv 2006.16668, section 2.2) and Switch Transformers (arXiv 2101.03961, section 2.2), whose
    capacity is that of the batch; here a batch is one phase's part of an engine step.
    """
    even = factor * sizes * layer.top_k / layer.experts
    found: Counts = np.maximum(np.ceil(even), 1).astype(np.int64)
    return found


def dropped(layer: RoutedLayer, block: Block, factors: Sequence[float] = CAPACITY_FACTORS) -> Counts:
    """Assignments of some steps that are beyond the capacity, for each factor."""
    over = [block.loads - capacities(layer, block.sizes, factor) for factor in factors]
    return np.asarray([int(np.maximum(one, 0).sum()) for one in over], dtype=np.int64)


def drop_rates(
    lost: Sequence[Counts], assignments: Sequence[int], factors: Sequence[float] = CAPACITY_FACTORS
) -> tuple[DropRate, ...]:
    """Of all layers together and of the worst one; `lost` are what `dropped` gives, summed for each layer."""
    table = np.asarray(lost, dtype=np.int64)
    rates = table / np.asarray(assignments)[:, None]
    together = table.sum(axis=0) / sum(assignments)
    return tuple(
        DropRate(factor, float(mean), float(worst))
        for factor, mean, worst in zip(factors, together, rates.max(axis=0), strict=True)
    )
