"""Dropped assignments: a case by hand, and laws."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from routings import blocks

from harness.record import RoutedLayer
from harness.routing.capacity import CAPACITY_FACTORS, DropRate, capacities, drop_rates, dropped
from harness.routing.steps import Block

Drawn = tuple[RoutedLayer, Block, NDArray[np.int64]]
FACTORS = st.floats(0.05, 20)


def test_by_hand() -> None:
    # 10 tokens x top-2 over 4 experts: 5 are even, and 5, 7 (6.25 rounded up), 8 (7.5) and 10 fit
    layer = RoutedLayer(index=0, experts=4, top_k=2)
    block = Block(0, np.asarray([10, 1]), np.asarray([[9, 1], [6, 1], [5, 0], [0, 0]]))
    assert CAPACITY_FACTORS == (1.0, 1.25, 1.5, 2.0)
    assert dropped(layer, block).tolist() == [5, 2, 1, 0]


def test_an_expert_takes_one_token_at_least() -> None:
    layer = RoutedLayer(index=0, experts=64, top_k=1)
    assert capacities(layer, np.asarray([1, 64, 65]), 0.01).tolist() == [1, 1, 1]
    assert capacities(layer, np.asarray([1, 64, 65]), 1.0).tolist() == [1, 1, 2]


@given(blocks(), FACTORS)
def test_token_by_token(drawn: Drawn, factor: float) -> None:
    layer, block, ids = drawn
    lost, begin = 0, 0
    for size in block.sizes.tolist():
        room = [max(1, math.ceil(factor * size * layer.top_k / layer.experts))] * layer.experts
        for expert in ids[:, begin : begin + size].T.ravel().tolist():
            room[expert] -= 1
            lost += room[expert] < 0
        begin += size
    assert dropped(layer, block, [factor]).tolist() == [lost]


@given(blocks())
def test_a_large_factor_drops_nothing(drawn: Drawn) -> None:
    layer, block, _ = drawn
    enough = layer.experts / layer.top_k
    assert dropped(layer, block, [enough, 1.5 * enough]).tolist() == [0, 0]


@given(blocks(), st.lists(FACTORS, min_size=2, max_size=6).map(sorted), st.randoms(use_true_random=False))
def test_more_room_drops_less_whatever_the_experts_are_called(
    drawn: Drawn, factors: list[float], random: np.random.Generator
) -> None:
    layer, block, _ = drawn
    lost = dropped(layer, block, factors)
    assert (np.diff(lost) <= 0).all()
    order = list(range(layer.experts))
    random.shuffle(order)
    assert dropped(layer, block._replace(loads=block.loads[order]), factors).tolist() == lost.tolist()


def test_rates_weigh_layers_by_their_assignments() -> None:
    rates = drop_rates([np.asarray([30, 0]), np.asarray([5, 5])], [100, 10], [1.0, 2.0])
    assert rates == (DropRate(1.0, 35 / 110, 0.5), DropRate(2.0, 5 / 110, 0.5))
