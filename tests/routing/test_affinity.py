"""Pairs and favourites: what was planted is found, chance is not, and counts are those of counting token by token."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routings import drawn_ids, routings, stack_tokens
from scipy.stats import binom

from harness.record import RoutedLayer
from harness.routing import affinity
from harness.routing.affinity import (
    FAVOURITES,
    OCCURRENCES,
    PAIR_TOKENS,
    PAIRS,
    count_together,
    favourites_of,
    repeated_tokens,
    striking_pairs,
    surprise,
)
from harness.routing.steps import columns_of
from harness.routing.summary import Favourite, summarise_routing
from harness.routing.tokens import Ids, Routing, StackTokens

LAYER = RoutedLayer(index=0, experts=16, top_k=3)


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.floats(0, 1))
def test_surprise_is_a_bound(trials: int, chance: float, share: float) -> None:
    hits = round(share * trials)
    (found,) = surprise(np.asarray([hits]), trials, np.asarray([chance]))
    assert found >= 0
    assert binom.sf(hits - 1, trials, chance) <= np.exp(-found) * (1 + 1e-9)


def test_surprise_by_hand() -> None:
    hits, chance = np.asarray([10, 10, 2, 0]), np.asarray([0.5, 1.0, 0.5, 0.0])
    assert surprise(hits, 10, chance) == pytest.approx([10 * np.log(2), 0, 0, 0])
    # 5 of 10 at 0.1: 10 (0.5 ln 5 + 0.5 ln (5/9))
    assert surprise(np.asarray([5]), 10, np.asarray([0.1])) == pytest.approx([5 * np.log(5) + 5 * np.log(5 / 9)])


@pytest.mark.parametrize("keys", [1, 100, 1 << 17])
@pytest.mark.parametrize(("experts", "top_k"), [(9, 4), (2, 2), (5, 1), (300, 3)])
def test_pairs_token_by_token(monkeypatch: pytest.MonkeyPatch, keys: int, experts: int, top_k: int) -> None:
    monkeypatch.setattr(affinity, "_KEYS", keys)
    layer = RoutedLayer(index=0, experts=experts, top_k=top_k)
    ids = drawn_ids(np.random.default_rng(experts), 200, layer)
    found = count_together(ids.T, experts)
    pairs = Counter(pair for row in ids.tolist() for pair in combinations(row, 2))
    neighbours = Counter(pair for row in ids.tolist() for pair in pairwise(row))
    for counted, expected in ((found.pairs, pairs), (found.neighbours, neighbours)):
        assert {(int(a), int(b)): int(counted[a, b]) for a, b in np.argwhere(counted)} == expected


@given(routings())
def test_counts_add_up(routing: Routing) -> None:
    for number, layer in enumerate(routing.layers):
        found = count_together(routing.read(number).T, layer.experts)
        tokens = len(routing.read(number))
        assert found.pairs.sum() == tokens * layer.top_k * (layer.top_k - 1) // 2
        assert found.neighbours.sum() == tokens * (layer.top_k - 1)
        assert not np.tril(found.pairs).any()


def planted(tokens: int = 2000) -> Ids:
    """Uniform routing, but that expert 11 always brings expert 12 along."""
    ids = drawn_ids(np.random.default_rng(5), tokens, LAYER, skew=0.0)
    for row in ids:
        if 11 in row and 12 not in row:
            row[np.flatnonzero(row != 11)[0]] = 12
    return np.sort(ids, axis=1)


def pairs_in(ids: Ids) -> list[tuple[int, int]]:
    load = np.bincount(ids.ravel(), minlength=LAYER.experts)
    found = striking_pairs(4, count_together(ids.T, LAYER.experts).pairs, load, len(ids))
    assert all(pair.layer == 4 for pair in found)
    return [(pair.a, pair.b) for pair in found]


def test_a_planted_pair_is_found_with_its_figures() -> None:
    ids = planted()
    load = np.bincount(ids.ravel(), minlength=16)
    (found,) = striking_pairs(0, count_together(ids.T, 16).pairs, load, len(ids))
    assert (found.a, found.b, found.together) == (11, 12, load[11])
    assert found.lift == pytest.approx(len(ids) / load[12])


@pytest.mark.parametrize("seed", range(20))
def test_uniform_routing_has_no_striking_pair(seed: int) -> None:
    assert pairs_in(drawn_ids(np.random.default_rng(seed), 3000, LAYER, skew=0.0)) == []


def test_too_few_tokens_for_a_pair() -> None:
    rows = np.asarray([[0, 1, 2]] * (PAIR_TOKENS - 1) + [[3, 4, 5]] * PAIR_TOKENS + [[6, 7, 8]] * 500)
    found = pairs_in(rows.astype(np.uint8))
    assert set(found) == {(3, 4), (3, 5), (4, 5), (6, 7), (6, 8)}


def test_the_highest_lifts_come_first() -> None:
    rows = np.asarray([[number, number + 1] for number in range(0, 14, 2) for _ in range(100 * (number + 1))])
    pairs = count_together(rows.T.astype(np.uint8), 16).pairs
    found = striking_pairs(0, pairs, np.bincount(rows.ravel(), minlength=16), len(rows))
    assert [pair.a for pair in found] == [0, 2, 4, 6, 8][:PAIRS]
    assert [pair.lift for pair in found] == sorted((pair.lift for pair in found), reverse=True)


def stack(token: list[int]) -> StackTokens:
    return stack_tokens([0] * len(token), token=token)


def favourites(tokens: StackTokens, ids: Ids, experts: int = 16) -> list[Favourite]:
    repeated = repeated_tokens(tokens)
    shares = np.bincount(ids.ravel(), minlength=experts) / len(ids)
    return favourites_of(2, repeated, columns_of(ids, repeated.rows), shares, {7: "seven"})


@pytest.mark.parametrize("cells", [1, 40, 1 << 18])
def test_a_planted_token_is_found_with_its_figures(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(affinity, "_CELLS", cells)
    random = np.random.default_rng(0)
    token = random.integers(0, 12, 3000)
    ids = drawn_ids(random, 3000, LAYER, skew=0.0)
    seven = np.flatnonzero(token == 7)
    ids[seven] = np.sort(np.argsort(random.random((len(seven), 15)), axis=1)[:, :3], axis=1)
    ids[seven, 2] = 15
    (found,) = favourites(stack(token.tolist()), ids)
    share = np.bincount(ids.ravel())[15] / 3000
    assert (found.layer, found.expert, found.token, found.text, found.count) == (2, 15, 7, "seven", len(seven))
    assert found.share == 1.0
    assert found.lift == pytest.approx(1 / share)


@pytest.mark.parametrize("seed", range(20))
def test_tokens_that_do_not_count_have_no_expert(seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = drawn_ids(random, 3000, LAYER, skew=1.0)
    assert favourites(stack(random.integers(0, 60, 3000).tolist()), ids) == []


@pytest.mark.parametrize("seed", range(5))
def test_no_favourite_is_missed(seed: int) -> None:
    random = np.random.default_rng(seed)
    token = random.zipf(1.3, 4000) % 40
    scores = random.normal(0, 1, 16) + random.normal(0, 1, (40, 16))[token] + random.normal(0, 1, (4000, 16))
    ids = np.sort(np.argsort(-scores, axis=1)[:, :3], axis=1).astype(np.uint8)
    often = [one for one in range(40) if (token == one).sum() >= OCCURRENCES]
    shares = np.bincount(ids.ravel(), minlength=16) / 4000
    expected = set()
    for expert in range(16):
        lifts = {}
        for one in often:
            hits, count = int((ids[token == one] == expert).sum()), int((token == one).sum())
            (certain,) = surprise(np.asarray([hits]), count, shares[[expert]])
            if certain > np.log(len(often) * 16 / 0.01):
                lifts[one] = hits / count / shares[expert]
        expected |= {(expert, one) for one in sorted(lifts, key=lambda one: -lifts[one])[:FAVOURITES]}
    assert len(expected) > 10
    assert {(one.expert, one.token) for one in favourites(stack(token.tolist()), ids)} == expected


def test_a_token_that_occurs_too_seldom() -> None:
    # token 0 all but one of the times that are needed, token 1 as often as needed, each with its own expert
    token = [0] * (OCCURRENCES - 1) + [1] * OCCURRENCES + [2] * 1000
    ids = np.asarray([[0]] * (OCCURRENCES - 1) + [[1]] * OCCURRENCES + [[2]] * 1000, dtype=np.uint8)
    assert [(one.expert, one.token) for one in favourites(stack(token), ids)] == [(1, 1), (2, 2)]


def test_the_highest_lifts_of_each_expert() -> None:
    # five token ids that go to expert 0 more and more often, and one that never does
    token, ids = [], []
    for number in range(5):
        token += [number] * 200
        ids += [[0]] * (100 + 20 * number) + [[1]] * (100 - 20 * number)
    token += [9] * 4000
    ids += [[1]] * 4000
    found = favourites(stack(token), np.asarray(ids, dtype=np.uint8), 2)
    assert [(one.expert, one.token) for one in found] == [(0, 4), (0, 3), (0, 2), (1, 9)]
    assert len([one for one in found if one.expert == 0]) == FAVOURITES


def test_a_summary_names_the_place_of_the_layer_and_counts_both_phases() -> None:
    ids = planted()
    layers = [LAYER.model_copy(update={"index": index}) for index in (1, 3)]
    tokens = stack_tokens(np.repeat(np.arange(20), 100).tolist(), [False] * 1000 + [True] * 1000, [3] * 2000)
    other = drawn_ids(np.random.default_rng(6), 2000, LAYER, skew=0.0)
    found = summarise_routing(Routing.of(layers, {"decoder": tokens}, [other, ids]), 2.0)
    assert [pair[:4] for pair in found.pairs] == [(1, 11, 12, int((ids == 11).sum()))]
    assert found.favourites == ()


def test_top_1_has_no_pairs() -> None:
    assert pairs_in(np.zeros((500, 1), dtype=np.uint8)) == []
