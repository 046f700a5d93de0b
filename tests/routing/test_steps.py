"""Steps of a phase and the loads of their experts, against counting token by token."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from routings import drawn_ids, routings, stack_tokens

from harness.record import RoutedLayer
from harness.routing import steps as module
from harness.routing.steps import Block, blocks_of, columns_of, steps_of
from harness.routing.tokens import PHASES, Phase, Routing


def blocks(routing: Routing, phase: Phase) -> list[Block]:
    steps = steps_of(routing.stacks["decoder"], phase)
    return list(blocks_of(steps, columns_of(routing.read(0), steps.rows), routing.layers[0].experts))


@given(routings())
def test_every_step_by_itself(routing: Routing) -> None:
    tokens, ids, experts = routing.stacks["decoder"], routing.read(0), routing.layers[0].experts
    for phase in PHASES:
        expected: dict[int, Counter[int]] = {}
        sizes: Counter[int] = Counter()
        for row, step, decode in zip(ids.tolist(), tokens.step.tolist(), tokens.decode.tolist(), strict=True):
            if decode == (phase == "decode"):
                sizes[step] += 1
                expected.setdefault(step, Counter()).update(row)
        steps = steps_of(tokens, phase)
        found = blocks(routing, phase)
        assert steps.numbers.tolist() == sorted(expected)
        assert steps.sizes.tolist() == [sizes[step] for step in sorted(sizes)]
        assert steps.tokens == sizes.total()
        loads = [load for block in found for load in block.loads.T.tolist()]
        assert loads == [[expected[step][one] for one in range(experts)] for step in sorted(expected)]


@pytest.mark.parametrize(("cells", "tokens"), [(1, 1), (12, 1 << 17), (1 << 18, 5), (25, 11)])
def test_however_they_are_cut(monkeypatch: pytest.MonkeyPatch, cells: int, tokens: int) -> None:
    random = np.random.default_rng(1)
    layer = RoutedLayer(index=0, experts=6, top_k=2)
    stack = stack_tokens(sorted(random.integers(0, 20, 90).tolist()))
    routing = Routing.of([layer], {"decoder": stack}, [drawn_ids(random, 90, layer)])
    (whole,) = blocks(routing, "prefill")
    monkeypatch.setattr(module, "_CELLS", cells)
    monkeypatch.setattr(module, "_TOKENS", tokens)
    parts = blocks(routing, "prefill")
    assert len(parts) > 1
    assert [part.first for part in parts] == np.cumsum([0, *(len(part.sizes) for part in parts[:-1])]).tolist()
    assert np.array_equal(np.concatenate([part.loads for part in parts], axis=1), whole.loads)
    assert np.array_equal(np.concatenate([part.sizes for part in parts]), whole.sizes)
    assert max(int(part.sizes.sum()) for part in parts) <= max(tokens, int(whole.sizes.max()))
    assert max(len(part.sizes) for part in parts) <= max(cells // 6, 1)


def test_tokens_that_are_not_in_the_order_of_their_steps() -> None:
    steps = steps_of(stack_tokens([3, 1, 3, 2]), "prefill")
    assert (steps.rows.tolist(), steps.numbers.tolist(), steps.sizes.tolist()) == ([1, 3, 0, 2], [1, 2, 3], [1, 1, 2])


def test_a_phase_without_tokens() -> None:
    steps = steps_of(stack_tokens([0, 0]), "decode")
    assert steps.tokens == 0
    assert list(blocks_of(steps, np.empty((2, 0), dtype=np.uint8), 4)) == []
