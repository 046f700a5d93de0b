"""One measurement's routing in numbers: balance, distinct experts, capacity, expert parallelism, who goes with whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.record import RoutedLayer
from harness.routing.affinity import ExpertPair, Favourite
from harness.routing.balance import Balance, balance_of, mean_balance
from harness.routing.capacity import CAPACITY_FACTORS, DropRate, drop_rates
from harness.routing.distinct import DistinctPoint, StackTally, add_tallies, curve_of
from harness.routing.expert_parallel import RANKS, ParallelReplay, summary_of
from harness.routing.layer import LayerPhase, Stack, count_layer, stack_of
from harness.routing.specialisation import Specialisation
from harness.routing.tokens import PHASES, Phase, Routing

__all__ = [
    "CAPACITY_FACTORS",
    "RANKS",
    "Balance",
    "DistinctPoint",
    "DropRate",
    "ExpertPair",
    "Favourite",
    "LayerLoad",
    "ParallelReplay",
    "PhaseRouting",
    "RoutingSummary",
    "Specialisation",
    "summarise_routing",
]
_THREADS = 2
"""Layers at a time: unpacking and counting leave Python's lock, and each takes some ten bytes an expert id."""


@dataclass(frozen=True)
class LayerLoad:
    """What one layer's experts did in one phase."""

    layer: RoutedLayer
    tokens: int
    load: NDArray[np.int64]
    """Tokens by expert; they add up to tokens x top-k."""
    balance: Balance


@dataclass(frozen=True)
class PhaseRouting:
    """One phase of one stack, or of all stacks together."""

    tokens: int
    steps: int
    layers: tuple[LayerLoad, ...]
    overall: Balance
    distinct: tuple[DistinctPoint, ...]
    """By rising batch: 1, 2, 4, ... and the largest step."""
    drops: tuple[DropRate, ...]
    parallel: tuple[ParallelReplay, ...]
    """By rising ranks; without those that have more ranks than experts."""


@dataclass(frozen=True)
class RoutingSummary:
    """Everything that is counted from one measurement."""

    layers: tuple[RoutedLayer, ...]
    phases: Mapping[Phase, PhaseRouting]
    """Without a phase that has no tokens."""
    pairs: tuple[ExpertPair, ...]
    """The most striking of each layer, both phases together."""
    favourites: tuple[Favourite, ...]
    """The most striking tokens of each expert."""

    @property
    def tokens(self) -> int:
        """Tokens of both phases."""
        return sum(phase.tokens for phase in self.phases.values())


def summarise_routing(routing: Routing, activation_bytes: float) -> RoutingSummary:
    """Everything about one measurement; `activation_bytes` are those of one token's hidden state.

    Each of two threads holds one layer. Raises StoreError where a layer cannot be read.
    """
    used = dict.fromkeys(layer.stack for layer in routing.layers)
    stacks: dict[str, Stack] = {name: stack_of(routing.stacks[name]) for name in used}
    with ThreadPoolExecutor(_THREADS) as pool:
        numbers = range(len(routing.layers))
        counted = list(pool.map(lambda one: count_layer(routing, stacks[routing.layers[one].stack], one), numbers))
    phases = {}
    for phase in PHASES:
        parts = [layer.phases[phase] for layer in counted if phase in layer.phases]
        if parts:
            phases[phase] = _phase(phase, parts, stacks, activation_bytes)
    return RoutingSummary(
        layers=routing.layers,
        phases=phases,
        pairs=tuple(pair for layer in counted for pair in layer.pairs),
        favourites=tuple(one for layer in counted for one in layer.favourites),
    )


def _phase(
    phase: Phase, parts: Sequence[LayerPhase], stacks: Mapping[str, Stack], activation_bytes: float
) -> PhaseRouting:
    steps = {name: stack.phases[phase] for name, stack in stacks.items() if phase in stack.phases}
    tallies = []
    for name, one in steps.items():
        of_stack = [part for part in parts if part.layer.stack == name]
        tally = add_tallies([part.tally for part in of_stack])
        tallies.append(StackTally(tuple(part.layer for part in of_stack), one, tally))
    layers = tuple(
        LayerLoad(part.layer, steps[part.layer.stack].tokens, part.load, balance_of(part.load)) for part in parts
    )
    shared = [ranks for ranks in RANKS if all(ranks in part.replayed for part in parts)]
    return PhaseRouting(
        tokens=sum(one.tokens for one in steps.values()),
        steps=len(np.unique(np.concatenate([one.numbers for one in steps.values()]))),
        layers=layers,
        overall=mean_balance([one.balance for one in layers]),
        distinct=curve_of(tallies),
        drops=drop_rates([part.dropped for part in parts], [int(part.load.sum()) for part in parts]),
        parallel=tuple(
            summary_of([part.replayed[ranks] for part in parts], ranks, activation_bytes) for ranks in shared
        ),
    )
