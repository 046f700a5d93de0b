"""Who goes with whom: experts that tokens choose together, and token ids that an expert draws.

Something is kept where it has enough support, and where chance would show so much anywhere in the layer less than
once in a hundred layers if tokens were independent. They are not (a text repeats itself), so this keeps noise out and
proves nothing. Of what is left the highest lift counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.routing.steps import Counts, counted
from harness.routing.tokens import Ids, StackTokens

PAIRS = 5
"""Kept of a layer."""
PAIR_TOKENS = 20
"""A pair needs so many tokens that chose both."""
FAVOURITES = 3
"""Kept of an expert."""
OCCURRENCES = 20
"""A token id needs so many."""
CHANCE = 0.01
_KEYS = 1 << 17
_CELLS = 1 << 18


class ExpertPair(NamedTuple):
    """Two experts of a layer that tokens choose together."""

    layer: int
    """Place in `RoutingSummary.layers`."""
    a: int
    b: int
    together: int
    """Tokens that chose both."""
    lift: float
    """Over what independent choices with the same loads would give."""


@dataclass(frozen=True, slots=True)
class Favourite:
    """A token id that goes to an expert far more often than tokens do in general."""

    layer: int
    expert: int
    token: int
    text: str
    share: float
    """Of the token's occurrences that go to this expert."""
    lift: float
    """That share over the expert's share of all tokens."""
    count: int
    """Occurrences of the token."""


class Together(NamedTuple):
    """How often tokens chose two experts; experts x experts, filled where the column's id is the higher one."""

    pairs: Counts
    neighbours: Counts
    """Only where the second is the next of the token's rising ids."""


@dataclass(frozen=True)
class Repeated:
    """The tokens of a stack whose ids occur often enough, id after id."""

    rows: Counts
    """Places in the stack."""
    ids: Counts
    """Token ids, rising."""
    counts: Counts
    """Occurrences of each."""


def surprise(hits: Counts, trials: Counts | int, chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """-log of a bound on the probability of so many hits or more, in nats; 0 where there are fewer than expected.

    trials x KL(hits / trials, chance): the bound holds for every number of trials. Source: Chernoff 1952, Annals of
    Mathematical Statistics 23:493; Hoeffding 1963, JASA 58:13, theorem 1.
    """
    share = hits / trials
    more = np.minimum(np.maximum(share, chance), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        missed = np.where(more < 1, (1 - more) * np.log((1 - more) / (1 - chance)), 0.0)
        found: NDArray[np.float64] = np.where(share > chance, trials * (more * np.log(more / chance) + missed), 0.0)
    return found


# Pairs of experts ------------------------------------------------------------------------------------------------


def count_together(columns: Ids, experts: int) -> Together:
    """Counts of one layer from its ids, top-k x tokens, rising from row to row."""
    top_k, tokens = columns.shape
    apart = [(a, a + step) for step in range(1, top_k) for a in range(top_k - step)]
    firsts, seconds = ([pair[side] for pair in apart] for side in (0, 1))
    pairs = np.zeros(experts * experts, dtype=np.int64)
    neighbours = np.zeros_like(pairs)
    kind = np.dtype(np.uint16 if experts <= 256 else np.uint32)
    width = max(1, max(_KEYS, 2 * experts * experts) // max(len(apart), 1))
    for begin in range(0, tokens if apart else 0, width):
        part = columns[:, begin : begin + width].astype(kind)
        # the pairs of neighbours come first
        keys = part[firsts] * kind.type(experts) + part[seconds]
        near = np.bincount(keys[: top_k - 1].ravel(), minlength=experts * experts)
        neighbours += near
        pairs += near
        if top_k > 2:
            pairs += np.bincount(keys[top_k - 1 :].ravel(), minlength=experts * experts)
    shape = (experts, experts)
    return Together(pairs.reshape(shape), neighbours.reshape(shape))


def striking_pairs(layer: int, pairs: Counts, load: Counts, tokens: int) -> list[ExpertPair]:
    """Up to `PAIRS` pairs of a layer that at least `PAIR_TOKENS` tokens chose, by falling lift.

    Lift: tokens with both x all tokens / (tokens with one x tokens with the other).
    """
    experts = len(load)
    a, b = np.nonzero(pairs >= PAIR_TOKENS)
    both = pairs[a, b]
    chance = (load[a] / tokens) * (load[b] / tokens)
    needed = math.log(max(experts * (experts - 1) / 2, 1) / CHANCE)
    certain = surprise(both, tokens, chance) > needed
    a, b, both, lifts = a[certain], b[certain], both[certain], (both / tokens / chance)[certain]
    best = np.lexsort((b, a, -lifts))[:PAIRS]
    return [ExpertPair(layer, int(a[one]), int(b[one]), int(both[one]), float(lifts[one])) for one in best]


# Token ids -------------------------------------------------------------------------------------------------------


def repeated_tokens(tokens: StackTokens) -> Repeated:
    """The token ids of a stack that occur at least `OCCURRENCES` times."""
    ids, places, counts = np.unique(tokens.token, return_inverse=True, return_counts=True)
    often = counts >= OCCURRENCES
    kept = np.flatnonzero(often[places])
    rows = kept[np.argsort(tokens.token[kept], kind="stable")]
    return Repeated(rows, ids[often].astype(np.int64), counts[often].astype(np.int64))


def favourites_of(
    layer: int, repeated: Repeated, columns: Ids, chance: NDArray[np.float64], texts: Mapping[int, str]
) -> list[Favourite]:
    """Up to `FAVOURITES` token ids of every expert of a layer, by falling lift.

    `columns` are the expert ids of `repeated.rows`, top-k x rows; `chance` is each expert's share of all tokens.
    """
    needed = math.log(max(len(repeated.ids) * len(chance), 1) / CHANCE)
    found = list(_candidates(repeated, columns, chance, needed))
    if not found:
        return []
    places, expert, hits = (np.concatenate(column) for column in zip(*found, strict=True))
    certain = surprise(hits, repeated.counts[places], chance[expert]) > needed
    places, expert, hits = places[certain], expert[certain], hits[certain]
    shares = hits / repeated.counts[places]
    lifts = shares / chance[expert]
    order = np.lexsort((places, -lifts, expert))
    first = np.searchsorted(expert[order], expert[order])
    kept = order[np.arange(len(order)) - first < FAVOURITES]
    return [
        Favourite(
            layer, int(expert[one]), token := int(repeated.ids[places[one]]), texts.get(token, ""),
            float(shares[one]), float(lifts[one]), int(repeated.counts[places[one]]),
        )
        for one in kept
    ]


def _candidates(
    repeated: Repeated, columns: Ids, chance: NDArray[np.float64], needed: float
) -> Iterator[tuple[Counts, Counts, Counts]]:
    """Place of the token id, expert and hits of all that can be certain."""
    experts = len(chance)
    # the bound is at most hits x -log chance: fewer hits need not be looked at
    with np.errstate(divide="ignore"):
        fewest = np.where((chance > 0) & (chance < 1), needed / -np.log(chance), np.inf)
    width = max(1, _CELLS // experts)
    ends = np.cumsum(repeated.counts)
    for first in range(0, len(ends), width):
        counts = repeated.counts[first : first + width]
        begin, end = int(ends[first] - counts[0]), int(ends[first + len(counts) - 1])
        base = np.repeat(np.arange(len(counts)) * experts, counts)
        hits = counted(base, columns[:, begin:end], (len(counts), experts))
        place, expert = np.nonzero((hits > fewest) & (hits > counts[:, None] * chance))
        yield place + first, expert, hits[place, expert]
