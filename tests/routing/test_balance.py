"""The balance of a load: figures computed by hand, and what cannot change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from routings import LOADS

from harness.routing.balance import Balance, balance_of, mean_balance


def test_by_hand() -> None:
    # the mean is 2; the six differences of two experts add up to 16
    found = balance_of(np.asarray([0, 1, 2, 5]))
    assert found.max_over_mean == 2.5
    assert found.variation == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 4) / 2)
    assert found.gini == pytest.approx((1 + 2 + 5 + 1 + 4 + 3) / (4 * 8))
    shares = (1 / 8, 2 / 8, 5 / 8)
    assert found.entropy == pytest.approx(-sum(share * math.log(share) for share in shares) / math.log(4))
    assert found.dead == 1


@given(st.integers(1, 300), st.integers(1, 10**12))
def test_all_alike(experts: int, each: int) -> None:
    found = balance_of(np.full(experts, each))
    assert found[:3] == (1.0, 0.0, 0.0)
    assert found.entropy == pytest.approx(1.0)
    assert found.dead == 0


@given(st.integers(2, 300), st.integers(1, 10**12))
def test_one_takes_all(experts: int, tokens: int) -> None:
    load = np.zeros(experts, dtype=np.int64)
    load[experts // 2] = tokens
    found = balance_of(load)
    assert (found.max_over_mean, found.entropy, found.dead) == (experts, 0.0, experts - 1)
    assert found.gini == pytest.approx(1 - 1 / experts)
    assert found.variation == pytest.approx(math.sqrt(experts - 1))


def test_a_single_expert_is_balanced() -> None:
    assert balance_of(np.asarray([7])) == (1.0, 0.0, 0.0, 1.0, 0)


@given(LOADS, st.randoms(use_true_random=False), st.integers(1, 1000))
def test_names_and_amounts_do_not_count(load: NDArray[np.int64], random: np.random.Generator, times: int) -> None:
    order = list(range(len(load)))
    random.shuffle(order)
    assert balance_of(load[order] * times) == pytest.approx(balance_of(load))


@given(LOADS)
def test_limits(load: NDArray[np.int64]) -> None:
    found, experts = balance_of(load), len(load)
    assert 1 <= found.max_over_mean <= experts
    assert 0 <= found.gini <= 1 - 1 / experts + 1e-12
    assert 0 <= found.entropy <= 1
    assert 0 <= found.variation <= math.sqrt(experts - 1) + 1e-12
    assert found.dead == int((load == 0).sum())


@given(LOADS.filter(lambda load: len(load) > 1))
def test_gini_is_the_mean_difference(load: NDArray[np.int64]) -> None:
    difference = np.abs(load[:, None] - load[None, :]).mean()
    assert balance_of(load).gini == pytest.approx(difference / (2 * load.mean()))


def test_the_mean_over_layers_adds_the_dead() -> None:
    one, two, three = Balance(1.0, 0.0, 0.0, 1.0, 0), Balance(4.0, 2.0, 0.5, 0.2, 3), Balance(1.0, 1.0, 0.1, 0.3, 2)
    found = mean_balance([one, two, three])
    assert found == pytest.approx((2.0, 1.0, 0.2, 0.5, 5))
    assert isinstance(found.dead, int)
