"""Routing made by hand for the tests of pages: loads drawn around uneven shares, and plausible figures beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.record import RoutedLayer
from harness.routing.summary import (
    CAPACITY_FACTORS,
    RANKS,
    Balance,
    DistinctPoint,
    DropRate,
    ExpertPair,
    Favourite,
    LayerLoad,
    ParallelReplay,
    PhaseRouting,
    RoutingSummary,
    Specialisation,
)
from harness.routing.tokens import Phase
from harness.summary import RoutedWork


@dataclass(frozen=True)
class Shape:
    """How many layers route, to how many experts, and how unevenly (0: uniform)."""

    layers: int = 2
    experts: int = 8
    top_k: int = 2
    skew: float = 0.6
    stack: Literal["decoder", "encoder"] = "decoder"

    @property
    def routed(self) -> tuple[RoutedLayer, ...]:
        """Its layers; the first of the model is dense."""
        return tuple(
            RoutedLayer(stack=self.stack, index=index + 1, experts=self.experts, top_k=self.top_k)
            for index in range(self.layers)
        )


def balance_of(load: NDArray[np.int64]) -> Balance:
    """Of one layer, by the definitions."""
    shares, experts = load / load.sum(), len(load)
    known = shares[shares > 0]
    gini = float(np.abs(shares[:, None] - shares[None, :]).sum() / (2 * experts)) if experts <= 512 else 0.4
    entropy = float(-(known * np.log(known)).sum() / np.log(experts)) if experts > 1 else 1.0
    return Balance(
        float(load.max() / load.mean()), float(load.std() / load.mean()), gini, entropy, int((load == 0).sum())
    )


def layer_load(layer: RoutedLayer, load: Sequence[int] | NDArray[np.int64]) -> LayerLoad:
    """One layer with these tokens by expert."""
    array = np.asarray(load, dtype=np.int64)
    return LayerLoad(layer, int(array.sum()) // layer.top_k, array, balance_of(array))


def phase_of(layers: Sequence[LayerLoad], *, batches: int = 8, steps: int = 40) -> PhaseRouting:
    """A phase with these loads; what is replayed is made up but lies within its bounds."""
    balances = [one.balance for one in layers]
    largest, variation, gini, entropy = (float(np.mean([one[place] for one in balances])) for place in range(4))
    experts = max(one.layer.experts for one in layers)
    return PhaseRouting(
        tokens=layers[0].tokens,
        steps=steps,
        layers=tuple(layers),
        overall=Balance(largest, variation, gini, entropy, sum(one.dead for one in balances)),
        distinct=tuple(_distinct(layers, 2**power, steps >> max(0, power - 3)) for power in range(batches)),
        drops=tuple(DropRate(factor, 0.21 / factor**3, 0.33 / factor**3) for factor in CAPACITY_FACTORS),
        parallel=tuple(_replay(ranks, experts) for ranks in RANKS if ranks <= experts),
    )


def _distinct(layers: Sequence[LayerLoad], batch: int, steps: int) -> DistinctPoint:
    measured = [float((1 - (1 - np.minimum(one.load / one.tokens, 1.0)) ** batch).sum()) for one in layers]
    expected = [one.layer.experts * (1 - (1 - one.layer.top_k / one.layer.experts) ** batch) for one in layers]
    low = float(np.mean([one.layer.top_k for one in layers]))
    high = float(np.mean([min(batch * one.layer.top_k, one.layer.experts) for one in layers]))
    return DistinctPoint(batch, float(np.mean(measured)), float(np.mean(expected)), low, high, max(steps, 1))


def _replay(ranks: int, experts: int) -> ParallelReplay:
    slow = 1 + 0.11 * np.log2(ranks)
    some = max(ranks, 2)
    balanced = ((0, 1 + (slow - 1) / 2), (some, 1 + (slow - 1) / 5), (2 * some, 1 + (slow - 1) / 9))
    spread = 1 + 0.4 * np.log2(ranks)
    return ParallelReplay(
        ranks, slow, 1 + (slow - 1) / 3, spread, 2 * spread * (ranks - 1) / ranks * 4096,
        balanced if ranks > 1 else ((0, 1.0),), slow * 1.01,
    )


def work(
    name: str = "chat", source: Literal["serving", "task"] = "serving", shape: Shape | None = None, *,
    tokens: Mapping[Phase, int] | None = None, seed: int = 1, texts: Sequence[str] = (" the", "\n", "=="),
) -> RoutedWork:
    """A piece of work whose layers have uneven shares, drawn with `seed`."""
    shape, random = shape or Shape(), np.random.default_rng(seed)
    phases: dict[Phase, PhaseRouting] = {}
    shares = [np.exp(shape.skew * random.standard_normal(shape.experts)) for _ in range(shape.layers)]
    for phase, count in (tokens or {"prefill": 4000, "decode": 2000}).items():
        loads = [random.multinomial(count * shape.top_k, one / one.sum()) for one in shares]
        found = [layer_load(layer, load) for layer, load in zip(shape.routed, loads, strict=True)]
        phases[phase] = phase_of(found, batches=8 if phase == "decode" else 11)
    pairs = tuple(
        ExpertPair(layer, a, a + 1, 40 + a, 3.2 - 0.1 * a)
        for layer in range(shape.layers) for a in range(min(5, shape.experts - 1)) if shape.top_k > 1
    )
    favourites = tuple(
        Favourite(layer, expert, 100 + number, text, 0.9 - 0.1 * number, 7.0 - number - 0.01 * expert, 60 + number)
        for layer in range(shape.layers) for expert in range(min(6, shape.experts))
        for number, text in enumerate(texts)
    )
    summary = RoutingSummary(shape.routed, phases, pairs, favourites)
    return RoutedWork(name, source, summary, "capture hook", ())


def specialisation_of(works: Sequence[RoutedWork]) -> Specialisation:
    """The divergences and the information of works of one shape, both phases together."""
    layers = works[0].summary.layers
    size = len(works)
    divergence, information = np.zeros((size, size)), []
    for number in range(len(layers)):
        loads = np.array([
            sum(phase.layers[number].load for phase in one.summary.phases.values()) for one in works
        ], dtype=np.float64)
        shares = loads / loads.sum(axis=1, keepdims=True)
        information.append(_entropy(shares.mean(axis=0)) - float(np.mean([_entropy(row) for row in shares])))
        for a in range(size):
            for b in range(size):
                mixed = _entropy((shares[a] + shares[b]) / 2) - (_entropy(shares[a]) + _entropy(shares[b])) / 2
                divergence[a, b] += max(mixed, 0.0) / len(layers)
    return Specialisation(tuple(one.name for one in works), divergence, tuple(information), layers)


def _entropy(shares: NDArray[np.float64]) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log2(known)).sum())


def recorded(one: RoutedWork, *records: Path) -> RoutedWork:
    """The same, from these records."""
    return replace(one, records=records)
