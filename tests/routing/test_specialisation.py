"""Specialisation: figures computed by hand, and the laws of the divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.record import RoutedLayer
from harness.routing.specialisation import divergence_of, specialisation_of

LAYERS = [RoutedLayer(index=index, experts=4, top_k=1) for index in range(2)]


@st.composite
def works(draw: st.DrawFn) -> dict[str, list[NDArray[np.int64]]]:
    """Two to five pieces of work with one to three layers of up to eight experts."""
    experts = draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
    load = [st.lists(st.integers(0, 40), min_size=one, max_size=one).filter(any).map(np.asarray) for one in experts]
    return {name: [draw(one) for one in load] for name in "abcde"[: draw(st.integers(2, 5))]}


def test_by_hand() -> None:
    even, first, second = np.asarray([5, 5, 5, 5]), np.asarray([2, 2, 0, 0]), np.asarray([0, 0, 9, 9])
    found = specialisation_of({"x": [even, first], "y": [even, second], "z": [first, second]}, LAYERS)
    assert found is not None
    assert (found.names, found.layers) == (("x", "y", "z"), tuple(LAYERS))
    # first layer: x and y are alike, and against z the mean is 3/8, 3/8, 1/8, 1/8
    mixed = -(2 * 3 / 8 * math.log2(3 / 8) + 2 * 1 / 8 * math.log2(1 / 8)) - (2 + 1) / 2
    expected = np.asarray([[0, 1, mixed + 1], [1, 0, mixed], [mixed + 1, mixed, 0]]) / 2
    assert found.divergence == pytest.approx(expected)
    # second layer: one of two halves, and two pieces of work of three in one of them
    assert found.information[1] == pytest.approx(-(1 / 3 * math.log2(1 / 3) + 2 / 3 * math.log2(2 / 3)))


@given(works())
def test_laws(loads: dict[str, list[NDArray[np.int64]]]) -> None:
    layers = [RoutedLayer(index=0, experts=len(load), top_k=1) for load in loads["a"]]
    found = specialisation_of(loads, layers)
    assert found is not None
    assert (found.divergence == found.divergence.T).all()
    assert (np.diag(found.divergence) == 0).all()
    assert ((found.divergence >= 0) & (found.divergence <= 1)).all()
    assert all(0 <= one <= math.log2(len(loads)) for one in found.information)
    assert len(found.information) == len(layers)
    two = specialisation_of({name: loads[name] for name in "ab"}, layers)
    assert two is not None
    assert two.divergence[0, 1] == pytest.approx(sum(two.information) / len(layers))
    assert two.divergence[0, 1] == pytest.approx(found.divergence[0, 1])


@given(works(), st.integers(1, 50))
def test_how_much_work_there_was_does_not_count(loads: dict[str, list[NDArray[np.int64]]], times: int) -> None:
    found = specialisation_of(loads, LAYERS)
    more = specialisation_of({**loads, "a": [load * times for load in loads["a"]]}, LAYERS)
    assert found is not None and more is not None
    assert more.divergence == pytest.approx(found.divergence, abs=1e-12)


@given(works())
def test_disjoint_work_has_a_bit_and_equal_work_none(loads: dict[str, list[NDArray[np.int64]]]) -> None:
    one = loads["a"]
    nothing = [np.zeros_like(load) for load in one]
    left = [np.concatenate([load, none]) for load, none in zip(one, nothing, strict=True)]
    right = [np.concatenate([none, load]) for load, none in zip(loads["b"], nothing, strict=True)]
    found = specialisation_of({"left": left, "right": right, "again": left}, LAYERS)
    assert found is not None
    assert found.divergence[0, 1] == pytest.approx(1.0)
    assert found.divergence[0, 2] == pytest.approx(0.0, abs=1e-12)


def test_information_is_that_of_the_joint_distribution() -> None:
    shares = np.asarray([[0.5, 0.25, 0.25], [0.1, 0.0, 0.9], [0.3, 0.3, 0.4]])
    joint = shares / 3
    expert = joint.sum(axis=0)
    expected = sum(
        joint[work, one] * math.log2(joint[work, one] / (expert[one] / 3))
        for work in range(3) for one in range(3) if joint[work, one]
    )
    assert divergence_of(shares) == pytest.approx(expected)


def test_without_two_that_have_tokens_there_is_nothing_to_say() -> None:
    load, none = np.asarray([1, 2]), np.asarray([0, 0])
    assert specialisation_of({}, LAYERS) is None
    assert specialisation_of({"a": [load, load]}, LAYERS) is None
    assert specialisation_of({"a": [load, load], "b": [none, none], "c": [load, none]}, LAYERS) is None
    found = specialisation_of({"a": [load, load], "b": [none, none], "c": [load, load]}, LAYERS)
    assert found is not None and found.names == ("a", "c")
