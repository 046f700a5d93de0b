"""Tokens as runs over steps: nothing is lost, whatever the engine does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.timeline import first_and_last, from_times, runs_of, token_count, token_times

STAMPS = st.lists(st.integers(0, 40).map(lambda tick: tick / 8), max_size=30).map(sorted)


@given(st.lists(STAMPS, max_size=8))
def test_times_survive(times: list[list[float]]) -> None:
    steps, runs = from_times(times)
    assert list(steps) == sorted(set(steps))
    column = np.asarray(steps)
    for one, tokens in zip(times, runs, strict=True):
        assert token_times(tokens, column).tolist() == one
        assert token_count(tokens) == len(one)
        assert first_and_last(tokens, steps) == ((one[0], one[-1]) if one else None)


def test_a_token_a_step_is_one_run() -> None:
    assert runs_of([["a", "b"], ["a", "b"], ["b"], ["b", "a"]]) == {"a": [(0, 2, 1), (3, 1, 1)], "b": [(0, 4, 1)]}


def test_several_tokens_of_a_step_are_another_run() -> None:
    assert runs_of([["a"], ["a", "a"], ["a", "a"], ["a"]]) == {"a": [(0, 1, 1), (1, 2, 2), (3, 1, 1)]}
