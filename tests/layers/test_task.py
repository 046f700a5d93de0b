"""The order in which variants take turns."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from layer_reports import SHAPE

from harness.layers.task import TURNS, VARIANTS, LayerTask

TASK = LayerTask(shape=SHAPE, tokens=(1, 4, 16))


@given(st.integers(0, 20))
def test_everything_is_timed_once_a_turn(process: int) -> None:
    order = TASK.order(process)
    assert len(order) == len(set(order)) == len(TASK.tokens) * TURNS * len(VARIANTS)


@given(st.integers(0, 20))
def test_the_variants_of_a_token_count_stand_side_by_side(process: int) -> None:
    order = TASK.order(process)
    for start in range(0, len(order), len(VARIANTS)):
        block = order[start : start + len(VARIANTS)]
        assert {variant for *_, variant in block} == set(VARIANTS)
        assert len({(tokens, turn) for tokens, turn, _ in block}) == 1


@given(st.integers(0, 20))
def test_no_variant_always_comes_first(process: int) -> None:
    first = Counter(variant for _, _, variant in TASK.order(process)[:: len(VARIANTS)])
    assert set(first.values()) == {len(TASK.tokens)}


def test_the_token_counts_turn_round() -> None:
    assert TASK.order(0)[0][0] == 1
    assert TASK.order(1)[0][0] == 16
