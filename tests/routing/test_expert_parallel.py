"""Replays on several ranks, against counting token by token, and laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from routings import blocks, drawn_ids, routings, stack_tokens

from harness.record import RoutedLayer
from harness.routing.affinity import count_together
from harness.routing.expert_parallel import RANKS, add_replays, first_experts, fit, rank_loads, ranks_used, replay
from harness.routing.steps import Block
from harness.routing.summary import ParallelReplay, PhaseRouting, summarise_routing
from harness.routing.tokens import Routing

Drawn = tuple[RoutedLayer, Block, NDArray[np.int64]]


@pytest.mark.parametrize(
    ("experts", "ranks", "sizes"),
    [(8, 2, [4, 4]), (8, 8, [1] * 8), (7, 3, [3, 2, 2]), (60, 8, [8, 8, 8, 8, 7, 7, 7, 7]), (5, 1, [5])],
)
def test_experts_in_a_row(experts: int, ranks: int, sizes: list[int]) -> None:
    assert np.diff([*first_experts(experts, ranks), experts]).tolist() == sizes


def ranks_of(experts: int, ranks: int) -> NDArray[np.int64]:
    """Each expert's rank, one expert after the other."""
    sizes = [experts // ranks + (rank < experts % ranks) for rank in range(ranks)]
    return np.asarray([rank for rank, size in enumerate(sizes) for _ in range(size)])


@given(blocks(), st.integers(1, 12))
def test_token_by_token(drawn: Drawn, ranks: int) -> None:
    layer, block, ids = drawn
    ranks = min(ranks, layer.experts)
    of_token = ranks_of(layer.experts, ranks)[ids]
    ends = np.cumsum(block.sizes).tolist()
    loads = [
        [int((of_token[:, end - size : end] == rank).sum()) for rank in range(ranks)]
        for size, end in zip(block.sizes.tolist(), ends, strict=True)
    ]
    used = [
        [len(np.unique(ids[:, end - size : end][of_token[:, end - size : end] == rank])) for rank in range(ranks)]
        for size, end in zip(block.sizes.tolist(), ends, strict=True)
    ]
    assert rank_loads(block.loads, ranks).T.tolist() == loads
    found = replay(block, ranks, (), 1)
    assert (found.slowest, found.total) == (sum(map(max, loads)), layer.top_k * int(block.sizes.sum()))
    assert (found.slowest_distinct, found.distinct) == (sum(map(max, used)), sum(map(sum, used)))
    assert (found.late_total, found.late_slowest) == (sum(map(sum, loads[1:])), (sum(map(max, loads[1:])),))
    neighbours = count_together(ids.astype(np.uint8), layer.experts).neighbours
    assert ranks_used(neighbours, ids.shape[1], ranks) == sum(len(np.unique(column)) for column in of_token.T)


@given(blocks(), st.integers(1, 12), st.integers(0, 6), st.integers(1, 4))
def test_parts_add_up(drawn: Drawn, ranks: int, late: int, cut: int) -> None:
    layer, block, _ = drawn
    ranks = min(ranks, layer.experts)
    placements = fit(block.loads.sum(axis=1), ranks).placements
    parts = [Block(0, block.sizes[:cut], block.loads[:, :cut]), Block(cut, block.sizes[cut:], block.loads[:, cut:])]
    whole = replay(block, ranks, placements, late)
    joined = add_replays([replay(part, ranks, placements, late) for part in parts if len(part.sizes)])
    assert joined.late_slowest == pytest.approx(whole.late_slowest)
    assert replace(joined, late_slowest=()) == replace(whole, late_slowest=())


def parallel(phase: PhaseRouting, ranks: int) -> ParallelReplay:
    (found,) = [one for one in phase.parallel if one.ranks == ranks]
    return found


@given(routings())
def test_laws(routing: Routing) -> None:
    for phase in summarise_routing(routing, 100.0).phases.values():
        fewest = min(layer.layer.experts for layer in phase.layers)
        assert [one.ranks for one in phase.parallel] == [ranks for ranks in RANKS if ranks <= fewest]
        for one in phase.parallel:
            assert 1 <= one.slowdown <= one.ranks
            assert 1 <= one.distinct_slowdown <= one.ranks
            assert 1 <= one.linear <= one.ranks
            assert 1 <= one.ranks_per_token <= min(one.ranks, max(layer.layer.top_k for layer in phase.layers))
            expected = 2 * one.ranks_per_token * (one.ranks - 1) / one.ranks * 100.0
            assert one.all_to_all_bytes == pytest.approx(expected)
            assert len(one.balanced) == (3 if phase.steps > 1 else 0)
            assert all(1 <= slowdown <= one.ranks + 1e-9 for _, slowdown in one.balanced)
            if phase.steps == 1:
                assert one.linear == one.slowdown


@given(routings())
def test_on_a_single_rank_nothing_waits_and_nothing_is_sent(routing: Routing) -> None:
    for phase in summarise_routing(routing, 100.0).phases.values():
        one = phase.parallel[0]
        assert one[:5] == (1, 1.0, 1.0, 1.0, 0.0)
        assert one.linear == 1.0
        assert [slowdown for _, slowdown in one.balanced] == [1.0] * len(one.balanced)


def steady(sizes: list[int], ids: list[list[int]], experts: int) -> PhaseRouting:
    """One layer in decode steps of these sizes."""
    rows = np.asarray(ids, dtype=np.uint8)
    step = np.repeat(np.arange(len(sizes)), sizes)
    tokens = stack_tokens(step.tolist(), [True] * len(rows))
    layer = RoutedLayer(index=0, experts=experts, top_k=rows.shape[1])
    return summarise_routing(Routing.of([layer], {"decoder": tokens}, [rows]), 10.0).phases["decode"]


def test_by_hand() -> None:
    # two ranks of two experts; steps: 3 and 1 assignments, then 2 and 2
    found = parallel(steady([2, 2], [[0, 1], [1, 2], [0, 2], [1, 3]], 4), 2)
    assert found.slowdown == (3 + 2) / (2 + 2)
    # distinct experts: 2 and 1, then 2 and 2
    assert found.distinct_slowdown == (2 + 2) / (1.5 + 2)
    assert found.ranks_per_token == (1 + 2 + 2 + 2) / 4
    assert found.all_to_all_bytes == 2 * 1.75 / 2 * 10.0
    assert found.linear == 1.0


def test_a_balancer_takes_busy_neighbours_apart() -> None:
    # experts 0 and 1 have everything, and are on one of two ranks
    found = parallel(steady([2] * 6, [[0], [1]] * 6, 4), 2)
    assert (found.slowdown, found.linear) == (2.0, 2.0)
    assert found.balanced == ((0, 1.0), (2, 1.0), (4, 1.0))


def test_a_copy_helps_where_one_expert_has_everything() -> None:
    found = parallel(steady([4] * 4, [[3]] * 16, 4), 2)
    assert (found.linear, found.balanced[0]) == (2.0, (0, 2.0))
    # three copies are two and one, and five are three and two
    assert [slowdown for _, slowdown in found.balanced[1:]] == pytest.approx([2 / 3 * 2, 3 / 5 * 2])


def test_a_balancer_knows_only_the_first_half() -> None:
    # the first half goes to experts 0 and 1, which are taken apart; the second to two that then share a rank
    found = parallel(steady([2] * 4, [[0], [1]] * 2 + [[0], [2]] * 2, 4), 2)
    assert found.linear == 1.0
    (redundant, slowdown), *_ = found.balanced
    assert (redundant, slowdown) == (0, 2.0)


@pytest.mark.parametrize("seed", range(3))
def test_more_copies_balance_a_steady_skew_better(seed: int) -> None:
    layer = RoutedLayer(index=0, experts=60, top_k=4)
    ids = drawn_ids(np.random.default_rng(seed), 8000, layer, skew=0.7)
    found = parallel(steady([200] * 40, ids.tolist(), 60), 16)
    (_, none), (_, some), (_, most) = found.balanced
    assert found.linear > none > 1.1 * some
    assert 1.1 < most < 1.01 * some


def test_layers_weigh_by_their_load_and_leave_out_ranks_that_one_of_them_cannot_fill() -> None:
    random = np.random.default_rng(3)
    layers = [RoutedLayer(index=0, experts=4, top_k=1), RoutedLayer(index=1, experts=64, top_k=4)]
    tokens = stack_tokens([0] * 30 + [1] * 30)
    routing = Routing.of(layers, {"decoder": tokens}, [drawn_ids(random, 60, layer) for layer in layers])
    found = summarise_routing(routing, 2.0).phases["prefill"].parallel
    assert [one.ranks for one in found] == [1, 2, 4]
    loads = [np.asarray([np.bincount(part.ravel(), minlength=layer.experts) for part in np.split(routing.read(n), 2)])
             for n, layer in enumerate(layers)]
    slowest = sum(int(load.reshape(2, 2, -1).sum(axis=2).max(axis=1).sum()) for load in loads)
    assert found[1].slowdown == pytest.approx(slowest / (60 * 5 / 2))
    assert [redundant for redundant, _ in found[2].balanced] == [0, 4, 8]
