"""How the routing of one piece of work differs from that of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.record import RoutedLayer

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Specialisation:
    """How routing differs between pieces of work, such as tasks."""

    names: tuple[str, ...]
    divergence: NDArray[np.float64]
    """Jensen-Shannon divergence of the load's shares, prefill and decode taken together, in bits, names x names, mean
    over layers: 0 alike, 1 disjoint."""
    information: tuple[float, ...]
    """By layer, mutual information of expert and work, in bits, every piece of work with the same weight."""
    layers: tuple[RoutedLayer, ...]


def specialisation_of(
    loads: Mapping[str, Sequence[NDArray[np.int64]]], layers: Sequence[RoutedLayer]
) -> Specialisation | None:
    """From each piece of work's tokens by expert, one load a layer; None where fewer than two had any tokens.

    The loads are those of prefill and decode taken together, as `RoutedWork.loads` has them.

    Work that had no tokens in a layer is left out. Few tokens look specialised: with n assignments each, of k of the N
    experts a token, W pieces of work that route alike still have about (N - k)(W - 1) / (2 ln 2 W n) bits of
    information: a token's experts differ, so that loads vary less than those of n independent assignments, which have
    N - 1 (the same for k = 1). Source: Lin 1991, IEEE Trans. Information Theory 37:145, section V; Miller 1955 for what
    chance adds.
    """
    kept = {name: one for name, one in loads.items() if one and all(load.any() for load in one)}
    if len(kept) < 2:
        return None
    divergence = np.zeros((len(kept), len(kept)))
    information = []
    for by_layer in zip(*kept.values(), strict=True):
        shares = np.asarray([load / load.sum() for load in by_layer])
        divergence += pairwise_divergence(shares)
        information.append(float(divergence_of(shares)))
    return Specialisation(tuple(kept), divergence / len(information), tuple(information), tuple(layers))


def divergence_of(shares: Shares) -> float:
    """Jensen-Shannon divergence of distributions (rows) of equal weight, in bits, from 0 to log2 of their number.

    Entropy of their mean less the mean of their entropies: the mutual information of expert and row.
    """
    found = float(_entropy(shares.mean(axis=0)) - _entropy(shares).mean())
    return min(max(found, 0.0), float(np.log2(len(shares))))


def pairwise_divergence(shares: Shares) -> NDArray[np.float64]:
    """`divergence_of` for every two rows."""
    found = np.zeros((len(shares), len(shares)))
    for a in range(len(shares)):
        for b in range(a):
            found[a, b] = found[b, a] = divergence_of(shares[[a, b]])
    return found


def _entropy(shares: Shares) -> NDArray[np.float64]:
    """In bits, of the last axis; what does not occur adds nothing."""
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    found: NDArray[np.float64] = -(shares * logs).sum(axis=-1)
    return found
