"""A whole summary: its parts agree with each other, and phases and stacks are kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routings import drawn_ids, routings, stack_tokens

from harness.errors import StoreError
from harness.record import RoutedLayer
from harness.routing import steps
from harness.routing.balance import balance_of, mean_balance
from harness.routing.summary import CAPACITY_FACTORS, RoutingSummary, summarise_routing
from harness.routing.tokens import PHASES, Routing, pack, unpack


def same(one: RoutingSummary, two: RoutingSummary) -> bool:
    """Whether all figures are equal but for rounding; arrays have no truth of their own."""
    def figures(summary: RoutingSummary) -> list[object]:
        return [
            [phase, part.tokens, part.steps, part.overall, part.distinct, part.drops, part.parallel,
             [(layer.layer, layer.tokens, layer.load.tolist(), layer.balance) for layer in part.layers]]
            for phase, part in summary.phases.items()
        ]

    return figures(one) == figures(two) and (one.pairs, one.favourites) == (two.pairs, two.favourites)


@given(st.booleans().flatmap(lambda encoder: routings(encoder=encoder)))
def test_parts_agree(routing: Routing) -> None:
    found = summarise_routing(routing, 2.0)
    assert found.layers == routing.layers
    assert list(found.phases) == [phase for phase in PHASES if routing.count(phase)]
    assert found.tokens == sum(len(tokens) for tokens in routing.stacks.values())
    for phase, part in found.phases.items():
        assert part.tokens == routing.count(phase)
        expected = [
            number for number in range(len(routing.layers)) if routing.tokens(number).of_phase(phase).any()
        ]
        assert [layer.layer for layer in part.layers] == [routing.layers[number] for number in expected]
        for number, layer in zip(expected, part.layers, strict=True):
            ids = routing.read(number)[routing.tokens(number).of_phase(phase)]
            assert layer.tokens == len(ids)
            assert layer.load.tolist() == np.bincount(ids.ravel(), minlength=layer.layer.experts).tolist()
            assert layer.load.sum() == layer.tokens * layer.layer.top_k
            assert layer.balance == balance_of(layer.load)
        assert part.overall == mean_balance([layer.balance for layer in part.layers])
        assert [rate.factor for rate in part.drops] == list(CAPACITY_FACTORS)
        assert all(0 <= rate.dropped <= rate.worst_layer < 1 for rate in part.drops)
        assert part.steps == part.distinct[0].steps
        assert part.distinct[-1].steps >= 1


@given(routings(encoder=True))
def test_an_encoder_is_prefill_and_a_decoder_decode(routing: Routing) -> None:
    found = summarise_routing(routing, 2.0)
    assert {layer.layer.stack for layer in found.phases["prefill"].layers} == {"encoder"}
    assert {layer.layer.stack for layer in found.phases["decode"].layers} == {"decoder"}


@given(routings())
def test_names_of_experts_do_not_count(routing: Routing) -> None:
    # the other way round, so that ids still rise within a row once it is turned
    turned = [
        (layer.experts - 1 - routing.read(number)[:, ::-1]).astype(routing.read(number).dtype)
        for number, layer in enumerate(routing.layers)
    ]
    found = summarise_routing(routing, 2.0)
    other = summarise_routing(Routing.of(routing.layers, routing.stacks, turned), 2.0)
    for phase, part in found.phases.items():
        mirrored = other.phases[phase]
        assert mirrored.overall == pytest.approx(part.overall)
        assert mirrored.distinct == part.distinct
        assert mirrored.drops == part.drops


@given(routings(), st.integers(1, 4))
def test_the_phases_of_a_step_are_batches_of_their_own(routing: Routing, gap: int) -> None:
    # moving decode tokens into steps of their own changes nothing
    tokens = routing.stacks["decoder"]
    step = tokens.step + np.where(tokens.decode, gap * int(tokens.step.max() + 1), 0)
    apart = stack_tokens(step.tolist(), tokens.decode.tolist(), tokens.token.tolist())
    ids = [routing.read(number) for number in range(len(routing.layers))]
    other = Routing.of(routing.layers, {"decoder": apart}, ids, routing.texts)
    assert same(summarise_routing(routing, 2.0), summarise_routing(other, 2.0))


@given(routings(encoder=True))
def test_from_its_file_it_is_the_same(routing: Routing) -> None:
    assert same(summarise_routing(unpack(pack(routing)), 2.0), summarise_routing(routing, 2.0))


@pytest.mark.parametrize(("cells", "tokens"), [(1, 1), (40, 1 << 17), (1 << 18, 30)])
def test_however_the_steps_are_cut(monkeypatch: pytest.MonkeyPatch, cells: int, tokens: int) -> None:
    random = np.random.default_rng(4)
    layer = RoutedLayer(index=0, experts=9, top_k=3)
    stack = stack_tokens(sorted(random.integers(0, 25, 300).tolist()), (random.random(300) < 0.5).tolist())
    routing = Routing.of([layer], {"decoder": stack}, [drawn_ids(random, 300, layer)])
    whole = summarise_routing(routing, 2.0)
    monkeypatch.setattr(steps, "_CELLS", cells)
    monkeypatch.setattr(steps, "_TOKENS", tokens)
    cut = summarise_routing(routing, 2.0)
    for phase, part in whole.phases.items():
        other = cut.phases[phase]
        assert other.layers[0].load.tolist() == part.layers[0].load.tolist()
        assert (other.overall, other.distinct, other.drops) == (part.overall, part.distinct, part.drops)
        for a, b in zip(other.parallel, part.parallel, strict=True):
            assert (a[:5], a.linear) == (b[:5], b.linear)
            assert np.asarray(a.balanced) == pytest.approx(np.asarray(b.balanced))


def test_two_stacks_of_one_phase() -> None:
    # an encoder of one expert set and a decoder of another, both reading prompts
    random = np.random.default_rng(2)
    layers = [RoutedLayer(index=0, experts=8, top_k=2), RoutedLayer(stack="encoder", index=1, experts=4, top_k=1)]
    stacks = {"decoder": stack_tokens([0] * 3 + [1] * 8), "encoder": stack_tokens([1] * 5 + [4] * 2)}
    ids = [drawn_ids(random, len(stacks[layer.stack]), layer) for layer in layers]
    part = summarise_routing(Routing.of(layers, stacks, ids), 2.0).phases["prefill"]
    assert (part.tokens, part.steps) == (18, 3)
    assert [(point.batch, point.steps) for point in part.distinct] == [(1, 3), (2, 3), (4, 1), (8, 1)]
    assert part.distinct[-1].measured == len(np.unique(ids[0][3:]))
    assert part.distinct[0].measured == 1.5
    # one more step for the encoder, one for the decoder: a balancer sees a half of both
    halves = np.bincount(ids[0][3:].ravel() // 4, minlength=2), np.bincount(ids[1][5:].ravel() // 2, minlength=2)
    assert part.parallel[1].linear == pytest.approx(sum(half.max() for half in halves) / (sum(map(sum, halves)) / 2))


def test_a_balancer_is_judged_only_where_it_saw_something() -> None:
    # the encoder has a single step, which is all on one rank
    layers = [RoutedLayer(index=0, experts=4, top_k=1), RoutedLayer(stack="encoder", index=0, experts=4, top_k=1)]
    stacks = {"decoder": stack_tokens([0, 0, 1, 1]), "encoder": stack_tokens([0] * 6)}
    ids = [np.asarray([[0], [2], [0], [2]], dtype=np.uint8), np.zeros((6, 1), dtype=np.uint8)]
    two = summarise_routing(Routing.of(layers, stacks, ids), 2.0).phases["prefill"].parallel[1]
    assert two.slowdown == (1 + 1 + 6) / 5
    assert two.linear == 1.0
    assert two.balanced[0] == (0, 1.0)


def test_without_tokens_there_is_no_phase() -> None:
    layer = RoutedLayer(index=0, experts=4, top_k=2)
    nothing = Routing.of([layer], {"decoder": stack_tokens([])}, [np.empty((0, 2), dtype=np.uint8)])
    found = summarise_routing(nothing, 2.0)
    assert (dict(found.phases), found.tokens, found.pairs, found.favourites) == ({}, 0, (), ())
    assert dict(summarise_routing(Routing.of([], {}, []), 2.0).phases) == {}


def test_a_layer_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "routing.zip"
    layer = RoutedLayer(index=0, experts=4, top_k=1)
    file.write_bytes(pack(Routing.of([layer], {"decoder": stack_tokens([0])}, [np.zeros((1, 1), dtype=np.uint8)])))
    routing = unpack(file)
    file.write_bytes(b"")
    with pytest.raises(StoreError, match=r"routing\.zip"):
        summarise_routing(routing, 2.0)
