"""Which experts tokens use: what every rule keeps to, and how uniform and skewed draws spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.accounting import distinct_experts_bounds, expected_distinct_experts
from harness.layers.draws import FEWEST_DRAWS, MOST_DRAWS, ROUTINGS, Routing, distinct, draw, draws_for
from harness.layers.shape import LayerShape


@st.composite
def shapes(draw: st.DrawFn) -> LayerShape:
    experts = draw(st.integers(1, 64))
    return LayerShape(hidden=8, expert_width=8, experts=experts, top_k=draw(st.integers(1, experts)))


@given(shapes(), st.sampled_from(ROUTINGS), st.integers(1, 100), st.integers(0, 2**32))
def test_every_token_uses_top_k_different_experts(shape: LayerShape, routing: Routing, tokens: int, seed: int) -> None:
    found = draw(routing, shape, tokens, np.random.default_rng(seed))
    assert found.shape == (tokens, shape.top_k)
    assert found.min() >= 0 and found.max() < shape.experts
    assert all(len(set(row)) == shape.top_k for row in found.tolist())
    low, high = distinct_experts_bounds(shape.experts, shape.top_k, tokens)
    assert low <= distinct([found]) <= high
    assert np.array_equal(found, draw(routing, shape, tokens, np.random.default_rng(seed)))


@given(shapes(), st.integers(1, 100), st.integers(0, 2**32))
def test_balanced_routing_gives_no_expert_two_tokens_more(shape: LayerShape, tokens: int, seed: int) -> None:
    loads = np.bincount(
        draw("balanced", shape, tokens, np.random.default_rng(seed)).ravel(), minlength=shape.experts
    )
    assert loads.max() - loads.min() <= 1


@given(shapes(), st.integers(1, 100), st.integers(0, 2**32))
def test_the_same_experts_for_all_tokens(shape: LayerShape, tokens: int, seed: int) -> None:
    found = draw("same", shape, tokens, np.random.default_rng(seed))
    assert (found == found[0]).all()
    assert distinct([found]) == shape.top_k


def many(routing: Routing, tokens: int, trials: int = 400) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The distinct experts of many draws, top-4 of 32."""
    shape, generator = LayerShape(hidden=8, expert_width=8, experts=32, top_k=4), np.random.default_rng(0)
    return np.asarray([distinct([draw(routing, shape, tokens, generator)]) for _ in range(trials)])


@pytest.mark.parametrize("tokens", [2, 5, 12])
def test_uniform_draws_use_as_many_experts_as_expected(tokens: int) -> None:
    found = many("uniform", tokens)
    error = found.std(ddof=1) / len(found) ** 0.5
    assert abs(found.mean() - expected_distinct_experts(32, 4, tokens)) < 4 * error


@pytest.mark.parametrize("tokens", [2, 5, 12])
def test_skewed_draws_use_fewer(tokens: int) -> None:
    assert many("skewed", tokens).mean() < many("uniform", tokens).mean() - 0.3


def test_a_single_skewed_choice_follows_zipf() -> None:
    # the weights of 3 ranks are 6/11, 3/11 and 2/11; of one draw all tokens share the ranks
    shape = LayerShape(hidden=8, expert_width=8, experts=3, top_k=1)
    loads = np.bincount(draw("skewed", shape, 60_000, np.random.default_rng(3)).ravel(), minlength=3)
    assert np.sort(loads / 60_000)[::-1] == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.01)


@given(shapes(), st.integers(1, 5000))
def test_with_fewer_tokens_at_least_as_many_draws(shape: LayerShape, tokens: int) -> None:
    fewer, more = draws_for(shape, tokens), draws_for(shape, tokens + 1)
    assert FEWEST_DRAWS <= more <= fewer <= MOST_DRAWS


def test_draws_reach_nearly_every_expert_even_with_one_token() -> None:
    shape = LayerShape(hidden=8, expert_width=8, experts=128, top_k=8)
    generator = np.random.default_rng(0)
    used = {int(e) for _ in range(draws_for(shape, 1)) for e in draw("uniform", shape, 1, generator).ravel()}
    assert len(used) > 0.8 * shape.experts
