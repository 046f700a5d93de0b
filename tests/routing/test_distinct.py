"""Distinct experts at any batch: counted over every subset of a step's tokens, and laws."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from routings import blocks, routings

from harness.accounting import distinct_experts_bounds, expected_distinct_experts
from harness.record import RoutedLayer
from harness.routing.distinct import DistinctPoint, Tally, add_tallies, distinct_at, subset_mean, tally_of
from harness.routing.steps import Block
from harness.routing.summary import summarise_routing
from harness.routing.tokens import Phase, Routing

Drawn = tuple[RoutedLayer, Block, NDArray[np.int64]]


@settings(max_examples=60)
@given(blocks())
def test_the_mean_over_every_subset(drawn: Drawn) -> None:
    _, block, ids = drawn
    tally = tally_of(block)
    for batch in range(1, int(block.sizes.max()) + 1):
        expected, begin = 0.0, 0
        for size in block.sizes.tolist():
            tokens = range(begin, begin + size)
            if size >= batch:
                expected += fmean(len(np.unique(ids[:, list(chosen)])) for chosen in combinations(tokens, batch))
            begin += size
        assert subset_mean(tally, batch) == pytest.approx(expected, rel=1e-12)


def test_large_steps_are_exact() -> None:
    # 1 - C(T - n, b) / C(T, b) in whole numbers
    sizes, loads = np.asarray([65536, 65536, 2048]), np.asarray([3, 40000, 2048])
    tally = Tally(sizes, loads, np.asarray([2, 1, 5]))
    for batch in (1, 7, 512, 2048):
        exact = sum(
            times * (1 - math.comb(size - load, batch) / math.comb(size, batch))
            for size, load, times in zip(*(column.tolist() for column in tally), strict=True)
        )
        assert subset_mean(tally, batch) == pytest.approx(exact, rel=1e-9)


@given(blocks())
def test_all_tokens_of_a_step_are_the_plain_count(drawn: Drawn) -> None:
    _, block, ids = drawn
    ends = np.cumsum(block.sizes)
    for load, size, end in zip(block.loads.T, block.sizes.tolist(), ends.tolist(), strict=True):
        tally = tally_of(Block(0, np.asarray([size]), load[:, None]))
        assert subset_mean(tally, size) == len(np.unique(ids[:, end - size : end]))


@given(blocks(), st.integers(1, 4))
def test_a_tally_is_of_all_its_parts(drawn: Drawn, cut: int) -> None:
    _, block, _ = drawn
    parts = [Block(0, block.sizes[:cut], block.loads[:, :cut]), Block(cut, block.sizes[cut:], block.loads[:, cut:])]
    whole, joined = tally_of(block), add_tallies([tally_of(part) for part in parts])
    assert all(np.array_equal(a, b) for a, b in zip(whole, joined, strict=True))
    assert int((whole.times * whole.loads).sum()) == int(block.loads.sum())


def mean_of_subsets(routing: Routing, number: int, phase: Phase, batch: int) -> float:
    """Of one layer: all subsets of a step's tokens, then all steps that are large enough."""
    tokens, ids = routing.tokens(number), routing.read(number)
    found = []
    for step in np.unique(tokens.step):
        rows = np.flatnonzero(tokens.of_phase(phase) & (tokens.step == step))
        if len(rows) >= batch:
            found.append(fmean(len(np.unique(ids[list(chosen)])) for chosen in combinations(rows, batch)))
    return fmean(found)


@settings(max_examples=40)
@given(routings())
def test_the_curve_of_a_phase(routing: Routing) -> None:
    for name, phase in summarise_routing(routing, 2.0).phases.items():
        tokens = routing.stacks["decoder"]
        _, sizes = np.unique(tokens.step[tokens.of_phase(name)], return_counts=True)
        batches = [point.batch for point in phase.distinct]
        assert batches == sorted({2**power for power in range(4) if 2**power <= max(sizes)} | {int(max(sizes))})
        for point in phase.distinct:
            pairs = [(layer.experts, layer.top_k) for layer in routing.layers]
            bounds = [distinct_experts_bounds(*pair, point.batch) for pair in pairs]
            assert point.low == pytest.approx(fmean(low for low, _ in bounds))
            assert point.high == pytest.approx(fmean(high for _, high in bounds))
            assert point.low <= point.measured <= point.high
            uniform = [expected_distinct_experts(*pair, point.batch) for pair in pairs]
            assert point.expected == pytest.approx(fmean(uniform))
            assert point.steps == int((sizes >= point.batch).sum())
            means = [mean_of_subsets(routing, number, name, point.batch) for number in range(len(pairs))]
            assert point.measured == pytest.approx(fmean(means))
        assert phase.distinct[0].measured == pytest.approx(fmean(layer.top_k for layer in routing.layers))


@given(blocks())
def test_more_tokens_of_the_same_steps_use_more(drawn: Drawn) -> None:
    # with the steps themselves changing as the batch grows, a mean over them need not rise
    _, block, _ = drawn
    tally = tally_of(block)
    curve = [subset_mean(tally, batch) for batch in range(1, int(block.sizes.min()) + 1)]
    assert all(b >= a - 1e-12 for a, b in pairwise(curve))


def points(*values: tuple[int, float]) -> list[DistinctPoint]:
    return [DistinctPoint(batch, measured, 0.0, 0.0, 0.0, 1) for batch, measured in values]


class TestBetweenPoints:
    def test_at_a_point_it_is_the_point(self) -> None:
        known = points((1, 8.0), (2, 15.5), (4, 29.1), (7, 40.3))
        assert [distinct_at(known, batch) for batch, *_ in known] == [8.0, 15.5, 29.1, 40.3]

    def test_beyond_what_was_measured_nothing_is_said(self) -> None:
        known = points((1, 8.0), (2, 15.5))
        assert distinct_at(known, 2.0001) is None
        assert distinct_at([], 1) is None

    def test_of_less_than_a_token_a_part(self) -> None:
        known = points((1, 8.0), (2, 15.5))
        assert (distinct_at(known, 0.5), distinct_at(known, 0.0)) == (4.0, 0.0)

    @pytest.mark.parametrize(("experts", "top_k"), [(8, 2), (128, 8), (60, 4), (256, 8), (2048, 8), (16, 1)])
    def test_it_follows_uniform_routing_within_a_percent(self, experts: int, top_k: int) -> None:
        batches = [2**power for power in range(12)]
        known = points(*((batch, expected_distinct_experts(experts, top_k, batch)) for batch in batches))
        for batch in np.geomspace(1, 2048, 500).tolist():
            found = distinct_at(known, batch)
            assert found == pytest.approx(expected_distinct_experts(experts, top_k, batch), rel=0.01)

    @given(
        st.lists(st.floats(0, 1), min_size=2, max_size=9), st.integers(1, 8), st.floats(0, 1)
    )
    def test_it_stays_between_its_neighbours_and_below_all_that_tokens_can_use(
        self, shares: list[float], top_k: int, place: float
    ) -> None:
        measured = [float(top_k)]
        for share in shares:
            measured.append(measured[-1] * (1 + share))
        known = points(*((2**power, value) for power, value in enumerate(measured)))
        batch = 2 ** (place * len(shares))
        found = distinct_at(known, batch)
        assert found is not None
        left = min(int(place * len(shares)), len(shares) - 1)
        assert measured[left] * (1 - 1e-9) <= found <= measured[left + 1] * (1 + 1e-9)
        assert found <= batch * top_k * (1 + 1e-9)
