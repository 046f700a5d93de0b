"""Everything that is counted from one layer's expert ids, in one pass over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.record import RoutedLayer
from harness.routing.affinity import (
    ExpertPair,
    Favourite,
    Repeated,
    count_together,
    favourites_of,
    repeated_tokens,
    striking_pairs,
)
from harness.routing.capacity import dropped
from harness.routing.distinct import Tally, add_tallies, tally_of
from harness.routing.expert_parallel import RANKS, Fitted, Replayed, ReplayedLayer, add_replays, fit, ranks_used, replay
from harness.routing.steps import Counts, Steps, blocks_of, columns_of, steps_of
from harness.routing.tokens import PHASES, Ids, Phase, Routing, StackTokens


class Stack(NamedTuple):
    """What all layers of a stack share."""

    phases: Mapping[Phase, Steps]
    """Without a phase that has no tokens."""
    repeated: Repeated


class LayerPhase(NamedTuple):
    """One layer in one phase."""

    layer: RoutedLayer
    load: Counts
    """Tokens by expert."""
    tally: Tally
    dropped: Counts
    """By capacity factor."""
    replayed: Mapping[int, ReplayedLayer]
    """By ranks; without those that have more ranks than experts."""


@dataclass(frozen=True)
class CountedLayer:
    """One layer in all phases."""

    layer: RoutedLayer
    phases: Mapping[Phase, LayerPhase]
    pairs: list[ExpertPair]
    favourites: list[Favourite]


def stack_of(tokens: StackTokens) -> Stack:
    """What all layers of a stack with these tokens share."""
    steps = {phase: steps_of(tokens, phase) for phase in PHASES}
    return Stack({phase: one for phase, one in steps.items() if one.tokens}, repeated_tokens(tokens))


def count_layer(routing: Routing, stack: Stack, number: int) -> CountedLayer:
    """Reads the layer of this number and counts."""
    layer = routing.layers[number]
    ids = routing.read(number)
    phases = {}
    pairs = np.zeros((layer.experts, layer.experts), dtype=np.int64)
    for phase, steps in stack.phases.items():
        part = columns_of(ids, steps.rows)
        both = count_together(part, layer.experts)
        pairs += both.pairs
        phases[phase] = _count_phase(layer, steps, part, both.neighbours)
    load = sum((one.load for one in phases.values()), np.zeros(layer.experts, dtype=np.int64))
    shares = load / max(len(ids), 1)
    repeated = columns_of(ids, stack.repeated.rows)
    return CountedLayer(
        layer, phases, striking_pairs(number, pairs, load, len(ids)),
        favourites_of(number, stack.repeated, repeated, shares, routing.texts),
    )


def _count_phase(layer: RoutedLayer, steps: Steps, columns: Ids, neighbours: Counts) -> LayerPhase:
    seen = int(steps.sizes[: steps.first_half].sum())
    early = np.bincount(columns[:, :seen].ravel(), minlength=layer.experts)
    fitted = {ranks: fit(early, ranks) if seen else Fitted() for ranks in RANKS if ranks <= layer.experts}
    load = np.zeros(layer.experts, dtype=np.int64)
    lost, tallies = [], []
    replayed: dict[int, list[Replayed]] = {ranks: [] for ranks in fitted}
    for block in blocks_of(steps, columns, layer.experts):
        load += block.loads.sum(axis=1)
        lost.append(dropped(layer, block))
        tallies.append(tally_of(block))
        for ranks, one in fitted.items():
            replayed[ranks].append(replay(block, ranks, one.placements, steps.first_half))
    by_ranks = {
        ranks: ReplayedLayer(
            steps.tokens, ranks_used(neighbours, steps.tokens, ranks), one.redundant, add_replays(replayed[ranks])
        )
        for ranks, one in fitted.items()
    }
    return LayerPhase(layer, load, add_tallies(tallies), np.sum(lost, axis=0), by_ranks)
