"""Redundant experts: copies of the busiest ones, placed so that every rank of expert parallelism has about as much.

As DeepSeek's EPLB does in its global form (https://github.com/deepseek-ai/EPLB, `rebalance_experts` with one group
and one node): greedy copies, then greedy packing. Its hierarchical form, which keeps groups of experts on one node,
is not replayed here.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.routing.steps import Counts


class Placement(NamedTuple):
    """Where the copies of all experts are; an expert's tokens are spread evenly over its copies."""

    copies: Counts
    """Of each expert, at least 1."""
    slots: Counts
    """Which expert is in each slot, rank after rank; an expert is there as often as it has copies."""
    firsts: Counts
    """Each rank's first slot; no rank is empty."""

    def rank_loads(self, loads: Counts) -> NDArray[np.float64]:
        """Assignments by rank and step, from those by expert and step."""
        each = (loads / self.copies[:, None])[self.slots]
        found: NDArray[np.float64] = np.add.reduceat(each, self.firsts, axis=0)
        return found


def redundancies(experts: int, ranks: int) -> tuple[int, ...]:
    """How many redundant experts are tried: none, the fewest that are one a rank and fill all slots, then R more."""
    fewest = ranks + -experts % ranks
    return 0, fewest, fewest + ranks


def copies_of(load: Counts, redundant: int) -> Counts:
    """How many copies each expert has: every further one goes to the expert with the most tokens a copy."""
    copies = np.ones(len(load), dtype=np.int64)
    each = load.astype(np.float64)
    for _ in range(redundant):
        expert = int(each.argmax())
        copies[expert] += 1
        each[expert] = load[expert] / copies[expert]
    return copies


def pack(load: Counts, copies: Counts, ranks: int) -> Placement:
    """The placement of all copies: from the busiest on, each to the rank with the fewest tokens and a free slot.

    Ranks have equal slots, or the first ones one more where the copies do not divide evenly. There are at least as
    many copies as ranks.
    """
    owner = np.repeat(np.arange(len(load)), copies)
    each = (load / copies)[owner]
    sizes = [len(owner) // ranks + (rank < len(owner) % ranks) for rank in range(ranks)]
    held: list[list[int]] = [[] for _ in sizes]
    waiting = [(0.0, rank) for rank in range(ranks)]
    for copy in np.argsort(-each, kind="stable").tolist():
        load_of_rank, rank = waiting[0]
        held[rank].append(int(owner[copy]))
        if len(held[rank]) < sizes[rank]:
            heapq.heapreplace(waiting, (load_of_rank + float(each[copy]), rank))
        else:
            heapq.heappop(waiting)
    slots = np.asarray([expert for one in held for expert in one])
    return Placement(copies, slots, np.cumsum([0, *sizes[:-1]]))
