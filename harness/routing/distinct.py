"""How many different experts a batch of tokens uses: measured at every batch that the recorded steps can tell of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.accounting import distinct_experts_bounds, expected_distinct_experts
from harness.record import RoutedLayer
from harness.routing.steps import Block, Counts, Steps


class DistinctPoint(NamedTuple):
    """Distinct experts of a layer in one engine step of `batch` tokens, mean over the layers and steps."""

    batch: int
    measured: float
    """Mean over all ways to take `batch` of the tokens of a step that had at least so many: what so many would use."""
    expected: float
    """Under uniform routing: N (1 - (1 - k/N)^T)."""
    low: float
    """k for one token."""
    high: float
    """min(T k, N)."""
    steps: int
    """How many steps had at least `batch` tokens."""


class Tally(NamedTuple):
    """How often an expert had `loads` tokens of a step of `sizes`; without those that had none."""

    sizes: Counts
    loads: Counts
    times: Counts


@dataclass(frozen=True)
class StackTally:
    """One stack's layers and steps of a phase, with the tally of all these layers together."""

    layers: tuple[RoutedLayer, ...]
    steps: Steps
    tally: Tally


def tally_of(block: Block) -> Tally:
    """The tally of some steps of one layer."""
    sizes = np.broadcast_to(block.sizes, block.loads.shape)
    used = block.loads > 0
    loads = block.loads[used]
    return _summed(sizes[used], loads, np.ones(len(loads), dtype=np.int64))


def add_tallies(tallies: Sequence[Tally]) -> Tally:
    """Several tallies as one."""
    return _summed(*(np.concatenate(column) for column in zip(*tallies, strict=True)))


def curve_of(stacks: Sequence[StackTally]) -> tuple[DistinctPoint, ...]:
    """A point at 1, 2, 4, ... tokens and at the largest step."""
    largest = max(int(stack.steps.sizes.max()) for stack in stacks)
    batches = [2**power for power in range(largest.bit_length())]
    return tuple(_point(stacks, batch) for batch in dict.fromkeys([*batches, largest]))


def subset_mean(tally: Tally, batch: int) -> float:
    """Distinct experts of `batch` tokens of a step, mean over all subsets of so many; summed over steps and layers.

    A step of T tokens of which n_e choose expert e uses sum over e of 1 - C(T - n_e, b) / C(T, b): of all subsets of
    b tokens so many do not miss the expert. Steps of fewer tokens count nothing. Source: Hurlbert 1971, Ecology
    52:577 (rarefaction), with tokens in the place of individuals.
    """
    from scipy.special import gammaln

    kept = tally.sizes >= batch
    sizes, loads, times = (column[kept] for column in tally)
    missed = np.zeros(len(sizes))
    others = sizes - loads
    some = others >= batch
    # the logarithms of C(T - n, b) and of C(T, b), both without log b!
    chosen = gammaln(others[some] + 1.0) - gammaln(others[some] - batch + 1.0)
    of_all = gammaln(sizes[some] + 1.0) - gammaln(sizes[some] - batch + 1.0)
    missed[some] = np.exp(chosen - of_all)
    return float((times * (1 - missed)).sum())


def distinct_at(points: Sequence[DistinctPoint], batch: float) -> float | None:
    """Measured distinct experts of a layer at any batch; exact at the points, None beyond the largest or without any.

    Between points a monotone cubic (Fritsch and Carlson 1980, SIAM J. Numerical Analysis 17:238) through the
    logarithms of both: few tokens use experts in proportion, a straight line there, and the cubic follows the bend
    where experts run out, which a straight line between powers of two misses by 2 %, and one over the logarithm of
    the batch alone by 6 %. Below one token in proportion, as `harness.accounting.distinct_experts_bounds`.
    """
    if not points or batch > points[-1].batch:
        return None
    if batch <= points[0].batch:
        return max(batch, 0.0) * points[0].measured / points[0].batch
    for point in points:
        if point.batch == batch:
            return point.measured
    from scipy.interpolate import PchipInterpolator

    logs = np.log([(point.batch, point.measured) for point in points])
    found = float(np.exp(PchipInterpolator(logs[:, 0], logs[:, 1])(math.log(batch))))
    return min(found, batch * points[0].measured / points[0].batch)


def _point(stacks: Sequence[StackTally], batch: int) -> DistinctPoint:
    found = expected = low = high = 0.0
    layers = 0
    numbers: list[NDArray[np.int64]] = []
    for stack in stacks:
        enough = stack.steps.numbers[stack.steps.sizes >= batch]
        if not len(enough):
            continue
        numbers.append(enough)
        layers += len(stack.layers)
        found += subset_mean(stack.tally, batch) / len(enough)
        expected += math.fsum(expected_distinct_experts(one.experts, one.top_k, batch) for one in stack.layers)
        bounds = [distinct_experts_bounds(one.experts, one.top_k, batch) for one in stack.layers]
        low += math.fsum(one for one, _ in bounds)
        high += math.fsum(one for _, one in bounds)
    # a rounding error must not carry the mean beyond what can be
    found = min(max(found, low), high)
    steps = len(np.unique(np.concatenate(numbers)))
    return DistinctPoint(batch, found / layers, expected / layers, low / layers, high / layers, steps)


def _summed(sizes: Counts, loads: Counts, times: Counts) -> Tally:
    """Equal pairs of size and load as one."""
    width = int(sizes.max(initial=0)) + 1
    keys, places = np.unique(sizes * width + loads, return_inverse=True)
    return Tally(keys // width, keys % width, np.bincount(places, times, len(keys)).astype(np.int64))
