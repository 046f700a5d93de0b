"""Redundant experts: copies and their places by hand, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from routings import LOADS

from harness.routing.balancer import Placement, copies_of, pack, redundancies


def test_copies_by_hand() -> None:
    # 90, 40, 30: a copy of the first (45 each), another (30 each), one of the second (20 each), one of the first again
    load = np.asarray([90, 40, 30])
    assert [copies_of(load, extra).tolist() for extra in range(5)] == [
        [1, 1, 1], [2, 1, 1], [3, 1, 1], [3, 2, 1], [4, 2, 1],
    ]


def test_places_by_hand() -> None:
    # 8 goes to rank 0, 7 and 2 to rank 1, which is full then: 1 has to join the 8
    found = pack(np.asarray([1, 8, 2, 7]), np.ones(4, dtype=np.int64), 2)
    assert (found.slots.tolist(), found.firsts.tolist()) == ([1, 0, 3, 2], [0, 2])
    assert found.rank_loads(np.asarray([[1, 0], [8, 1], [2, 0], [7, 0]])).tolist() == [[9.0, 1.0], [9.0, 0.0]]


def test_a_token_is_spread_over_the_copies() -> None:
    found = pack(np.asarray([6, 2]), np.asarray([3, 1]), 2)
    assert sorted(found.slots[:2].tolist()) != sorted(found.slots[2:].tolist())
    assert found.rank_loads(np.asarray([[9], [5]])).tolist() in ([[6.0], [8.0]], [[8.0], [6.0]])


@pytest.mark.parametrize(
    ("experts", "ranks", "expected"),
    [(128, 8, (0, 8, 16)), (60, 8, (0, 12, 20)), (60, 64, (0, 68, 132)), (5, 1, (0, 1, 2)), (7, 4, (0, 5, 9))],
)
def test_how_many_are_tried(experts: int, ranks: int, expected: tuple[int, ...]) -> None:
    assert redundancies(experts, ranks) == expected


@given(LOADS, st.integers(0, 20))
def test_every_copy_goes_where_it_is_needed_most(load: NDArray[np.int64], redundant: int) -> None:
    copies = copies_of(load, redundant)
    assert copies.sum() == len(load) + redundant
    assert copies.min() >= 1
    # no expert has more a copy than one that was copied had before its last copy
    copied = copies > 1
    if copied.any():
        assert (load / copies).max() <= (load[copied] / (copies[copied] - 1)).min() + 1e-9


@given(LOADS, st.integers(0, 20), st.integers(1, 12), st.integers(0, 2**32))
def test_places_conserve_load(load: NDArray[np.int64], redundant: int, ranks: int, seed: int) -> None:
    ranks = min(ranks, len(load))
    copies = copies_of(load, redundant)
    found = pack(load, copies, ranks)
    assert np.bincount(found.slots, minlength=len(load)).tolist() == copies.tolist()
    sizes = np.diff([*found.firsts, len(found.slots)])
    assert len(sizes) == ranks
    assert 0 <= sizes.max() - sizes.min() <= (1 if len(found.slots) % ranks else 0)
    loads = np.random.default_rng(seed).integers(0, 30, (len(load), 4))
    assert found.rank_loads(loads).sum(axis=0) == pytest.approx(loads.sum(axis=0))


@given(LOADS, st.integers(1, 12), st.integers(0, 2**32))
def test_with_a_copy_of_every_expert_on_every_rank_all_are_alike(
    load: NDArray[np.int64], ranks: int, seed: int
) -> None:
    experts = len(load)
    everywhere = Placement(np.full(experts, ranks), np.tile(np.arange(experts), ranks), np.arange(ranks) * experts)
    loads = np.random.default_rng(seed).integers(0, 30, (experts, 4))
    expected = np.repeat(loads.sum(axis=0)[None, :] / ranks, ranks, axis=0)
    assert everywhere.rank_loads(loads) == pytest.approx(expected)


@given(LOADS, st.integers(0, 20), st.integers(1, 12))
def test_the_busiest_goes_first_to_the_rank_with_the_least(
    load: NDArray[np.int64], redundant: int, ranks: int
) -> None:
    ranks = min(ranks, len(load))
    copies = copies_of(load, redundant)
    most, more = divmod(int(copies.sum()), ranks)
    held: list[list[int]] = [[] for _ in range(ranks)]
    busy = [0.0] * ranks
    waiting = [(-float(load[expert] / copies[expert]), expert) for expert in np.repeat(np.arange(len(load)), copies)]
    for each, expert in sorted(waiting):
        _, rank = min((busy[rank], rank) for rank in range(ranks) if len(held[rank]) < most + (rank < more))
        held[rank].append(int(expert))
        busy[rank] -= each
    assert pack(load, copies, ranks).slots.tolist() == [expert for one in held for expert in one]
