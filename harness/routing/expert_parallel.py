"""Recorded steps replayed on several ranks that share the experts: how much the slowest has to do, and what is sent.

A rank waits for the slowest one in every layer of every step. The replay counts assignments of tokens to experts (and
distinct experts, whose weights have to be read); it knows nothing of kernels and links. Each phase's part of an
engine step is replayed as a step of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.routing.balancer import Placement, copies_of, pack, redundancies
from harness.routing.steps import Block, Counts

RANKS = (1, 2, 4, 8, 16, 32, 64)


class ParallelReplay(NamedTuple):
    """The recorded steps on several ranks, experts spread in the order of their ids; means weighted by load."""

    ranks: int
    slowdown: float
    """Assignments of the slowest rank over the mean rank's, summed over steps and layers: 1 where all are alike."""
    distinct_slowdown: float
    """The same for distinct experts, whose weights bind small batches."""
    ranks_per_token: float
    """Ranks that hold at least one of a token's experts, mean over tokens and layers."""
    all_to_all_bytes: float
    """Sent and returned for a token and layer, mean: 2 x ranks that are not its own x bytes of its hidden state."""
    balanced: tuple[tuple[int, float], ...]
    """(redundant experts, slowdown) under a balancer that saw the first half of the steps, on the second half.

    Empty where there is a single step. Where layers differ in their experts, the redundant ones of the largest.
    """
    linear: float
    """The slowdown on that second half without a balancer, to compare with; of all steps where there is but one."""


class Fitted(NamedTuple):
    """What a balancer made for one layer and number of ranks; empty where it saw nothing."""

    redundant: tuple[int, ...] = ()
    placements: tuple[Placement, ...] = ()


@dataclass(frozen=True)
class Replayed:
    """What the steps of one layer add up to on some number of ranks."""

    slowest: int
    """Assignments of the slowest rank of each step."""
    total: int
    """Assignments of all ranks."""
    slowest_distinct: int
    distinct: int
    late_total: int
    """Assignments in the second half of the steps."""
    late_slowest: tuple[float, ...]
    """In that half, of the slowest rank in the order of ids, then under each placement."""

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(
            self.slowest + other.slowest, self.total + other.total, self.slowest_distinct + other.slowest_distinct,
            self.distinct + other.distinct, self.late_total + other.late_total,
            tuple(a + b for a, b in zip(self.late_slowest, other.late_slowest, strict=True)),
        )


class ReplayedLayer(NamedTuple):
    """One layer on some number of ranks."""

    tokens: int
    ranks_used: int
    """Summed over the tokens."""
    redundant: tuple[int, ...]
    """Of the placements; empty where there are none."""
    replayed: Replayed


def first_experts(experts: int, ranks: int) -> Counts:
    """The first expert of every rank where ranks hold experts in a row, as vLLM's linear placement does.

    Where they do not divide evenly the first ranks have one more. No rank is without an expert: ranks <= experts.
    """
    base, more = divmod(experts, ranks)
    places = np.arange(ranks)
    found: Counts = places * base + np.minimum(places, more)
    return found


def rank_loads(loads: Counts, ranks: int) -> Counts:
    """Assignments by rank and step, from those by expert and step, experts in the order of their ids."""
    found: Counts = np.add.reduceat(loads, first_experts(len(loads), ranks), axis=0)
    return found


def fit(load: Counts, ranks: int) -> Fitted:
    """What a balancer does that has seen this load of a layer."""
    redundant = redundancies(len(load), ranks)
    return Fitted(redundant, tuple(pack(load, copies_of(load, extra), ranks) for extra in redundant))


def replay(block: Block, ranks: int, placements: Sequence[Placement], late: int) -> Replayed:
    """Some steps of one layer on some ranks; the second half begins at step `late`."""
    slowest = rank_loads(block.loads, ranks).max(axis=0)
    used = rank_loads((block.loads > 0).astype(np.int64), ranks)
    second = slice(max(late - block.first, 0), None)
    after = block.loads[:, second]
    late_slowest = [float(placement.rank_loads(after).max(axis=0).sum()) for placement in placements]
    return Replayed(
        slowest=int(slowest.sum()), total=int(block.loads.sum()),
        slowest_distinct=int(used.max(axis=0).sum()), distinct=int(used.sum()),
        late_total=int(after.sum()), late_slowest=(float(slowest[second].sum()), *late_slowest),
    )


def add_replays(parts: Iterable[Replayed]) -> Replayed:
    """What they add up to; at least one, all with as many placements."""
    total, *others = parts
    return sum(others, total)


def ranks_used(neighbours: Counts, tokens: int, ranks: int) -> int:
    """Ranks that hold at least one of a token's experts, summed over the tokens.

    `neighbours` counts how often expert b (column) is the next after a (row) in a token's rising ids: a token uses one
    rank more than it has neighbours on different ranks, since ranks hold experts in a row.
    """
    firsts = first_experts(len(neighbours), ranks).tolist()
    ends = [*firsts[1:], len(neighbours)]
    same = sum(int(neighbours[first:end, first:end].sum()) for first, end in zip(firsts, ends, strict=True))
    return tokens + int(neighbours.sum()) - same


def summary_of(layers: Sequence[ReplayedLayer], ranks: int, activation_bytes: float) -> ParallelReplay:
    """All layers together.

    Sent bytes: a token's state goes once to every rank that holds one of its experts and comes back once, but for its
    own rank, which is one of R and knows nothing of its routing: 2 x ranks x (R - 1) / R x bytes. Source: the
    dispatch of DeepSeek-V3 (arXiv 2412.19437, section 3.2.2) and DeepEP, without their limit of nodes a token.
    """
    whole = [layer.replayed for layer in layers]
    fitted = [layer for layer in layers if layer.redundant]
    late = add_replays([layer.replayed for layer in fitted] or whole)
    # a copy's share is rounded: no rank is faster than the mean
    linear, *balanced = (max(slowest * ranks / late.late_total, 1.0) for slowest in late.late_slowest)
    used = sum(layer.ranks_used for layer in layers) / sum(layer.tokens for layer in layers)
    redundant = max((layer.redundant for layer in fitted), default=())
    return ParallelReplay(
        ranks=ranks,
        slowdown=sum(one.slowest for one in whole) * ranks / sum(one.total for one in whole),
        distinct_slowdown=sum(one.slowest_distinct for one in whole) * ranks / sum(one.distinct for one in whole),
        ranks_per_token=used, all_to_all_bytes=2 * used * (ranks - 1) / ranks * activation_bytes,
        balanced=tuple(zip(redundant, balanced, strict=True)), linear=linear,
    )
