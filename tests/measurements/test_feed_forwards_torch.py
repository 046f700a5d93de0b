"""The layers that `moebench layer` times compute what they should, against a reference that goes token by token."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from harness.layers import memory
from harness.layers.draws import ROUTINGS, Routing, draw
from harness.layers.shape import LayerShape
from harness.measurements import feed_forwards as ff

pytestmark = pytest.mark.torch

SHAPES = [
    LayerShape(hidden=64, expert_width=32, experts=8, top_k=2),
    LayerShape(hidden=64, expert_width=32, experts=8, top_k=2, shared_width=48),
    LayerShape(hidden=48, expert_width=16, experts=6, top_k=6, gated=False),
    LayerShape(hidden=30, expert_width=10, experts=5, top_k=3),  # rows that grouped products do not take
]


def place(precision: str = "float32") -> ff.Place:
    return ff.place("cpu", precision, 1)


def built(shape: LayerShape, at: ff.Place) -> ff.Sparse:
    kernels = ff.TorchKernels(shape.hidden, shape.feed_forward, at)
    return ff.sparse(shape.hidden, shape.feed_forward, kernels, at)


def one_expert(hidden: Tensor, up: Tensor, down: Tensor, gated: bool) -> Tensor:
    inner = up @ hidden
    if not gated:
        return down @ (inner * torch.sigmoid(inner))
    gate, value = inner[: len(inner) // 2], inner[len(inner) // 2 :]
    return down @ (gate * torch.sigmoid(gate) * value)


def reference(layer: ff.Sparse, hidden: Tensor, steer: Tensor, gated: bool) -> Tensor:
    """Token by token and expert by expert, in float64."""
    rows = []
    for token, state in enumerate(hidden.double()):
        logits = layer.router.double() @ state + steer[token].double()
        weights, experts = logits.softmax(0).topk(layer.top_k)
        weights /= weights.sum()
        row = torch.zeros_like(state)
        for weight, expert in zip(weights, experts, strict=True):
            row += weight * one_expert(state, layer.up[expert].double(), layer.down[expert].double(), gated)
        if layer.shared is not None:
            for up, down in layer.shared.slices:
                row += one_expert(state, up.double(), down.double(), gated)
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.words)
@pytest.mark.parametrize("tokens", [1, 7, 33])
@pytest.mark.parametrize("routing", ROUTINGS)
def test_the_sparse_layer_equals_the_reference(shape: LayerShape, tokens: int, routing: Routing) -> None:
    at = place()
    layer, hidden = built(shape, at), at.normal(tokens, shape.hidden, deviation=1.0)
    steer = ff.steer(draw(routing, shape, tokens, np.random.default_rng(0)), shape.experts, at)
    torch.testing.assert_close(
        layer(hidden, steer).double(), reference(layer, hidden, steer, shape.gated), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_half_precision_it_equals_the_reference_but_for_rounding(precision: str) -> None:
    at, shape = place(precision), SHAPES[1]
    layer, hidden = built(shape, at), at.normal(20, shape.hidden, deviation=1.0)
    steer = ff.steer(draw("uniform", shape, 20, np.random.default_rng(0)), shape.experts, at)
    found, expected = layer(hidden, steer).double(), reference(layer, hidden, steer, gated=True)
    # bfloat16 keeps 8 bits: about half a percent at each of the three products
    assert (found - expected).norm() < (0.02 if precision == "bfloat16" else 0.003) * expected.norm()


def test_both_kinds_of_products_agree() -> None:
    at, shape = place(), SHAPES[0]
    layer, hidden = built(shape, at), at.normal(40, shape.hidden, deviation=1.0)
    chosen = layer.kernels.choose(hidden, layer.logits(hidden, torch.zeros(40, shape.experts)), shape.top_k)
    kernels = ff.TorchKernels(shape.hidden, shape.feed_forward, at)
    assert kernels.name == "torch grouped_mm"
    grouped = kernels.multiply(hidden, chosen, layer.up, layer.down)
    kernels._grouped = False
    torch.testing.assert_close(grouped, kernels.multiply(hidden, chosen, layer.up, layer.down), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gated", [True, False])
def test_one_expert_that_every_token_uses_is_the_dense_layer(gated: bool) -> None:
    at, shape = place(), LayerShape(hidden=64, expert_width=32, experts=1, top_k=1, gated=gated)
    layer, hidden = built(shape, at), at.normal(9, 64, deviation=1.0)
    dense = ff.Dense(((layer.up[0], layer.down[0]),), gated)
    torch.testing.assert_close(layer(hidden, torch.zeros(9, 1)), dense(hidden), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("routing", ROUTINGS)
def test_the_router_chooses_what_was_drawn(precision: str, routing: Routing) -> None:
    at, shape = place(precision), LayerShape(hidden=256, expert_width=8, experts=128, top_k=8)
    drawn = draw(routing, shape, 500, np.random.default_rng(0))
    chosen = built(shape, at).experts_of(at.normal(500, 256, deviation=1.0), ff.steer(drawn, 128, at))
    assert np.array_equal(np.sort(chosen, axis=1), np.sort(drawn, axis=1))


def test_a_wide_dense_layer_in_slices_equals_it_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    at = place()
    monkeypatch.setattr(ff, "DENSE_SLICE", 32)
    sliced = ff.dense(16, 72, True, at)
    assert [down.shape[1] for _, down in sliced.slices] == [32, 32, 8]
    gates = torch.cat([up[: len(up) // 2] for up, _ in sliced.slices])
    values = torch.cat([up[len(up) // 2 :] for up, _ in sliced.slices])
    whole = ff.Dense(((torch.cat([gates, values]), torch.cat([down for _, down in sliced.slices], 1)),), True)
    hidden = at.normal(5, 16, deviation=1.0)
    torch.testing.assert_close(sliced(hidden), whole(hidden), rtol=1e-4, atol=1e-5)


def test_a_layer_has_the_parameters_that_its_shape_counts() -> None:
    at, shape = place(), SHAPES[1]
    layer = built(shape, at)
    assert layer.shared is not None
    tensors = [layer.router, layer.up, layer.down, *(t for pair in layer.shared.slices for t in pair)]
    assert sum(tensor.numel() for tensor in tensors) == shape.parameters_read(shape.experts)
    wide = ff.dense(shape.hidden, shape.total_width, True, at)
    assert sum(t.numel() for pair in wide.slices for t in pair) == shape.dense_parameters(shape.total_width)


def test_a_copy_has_equal_weights_at_other_addresses() -> None:
    layer = built(SHAPES[1], place())
    other = layer.copy()
    assert torch.equal(layer.up, other.up) and torch.equal(layer.router, other.router)
    assert layer.shared is not None and other.shared is not None
    own = {layer.router.data_ptr(), layer.up.data_ptr(), layer.down.data_ptr(), layer.shared.slices[0][0].data_ptr()}
    others = {other.router.data_ptr(), other.up.data_ptr(), other.down.data_ptr(), other.shared.slices[0][0].data_ptr()}
    assert not own & others


def test_passes_take_turns() -> None:
    seen: list[int] = []

    def pass_of(turn: int) -> Tensor:
        seen.append(turn)
        return torch.zeros(1)

    call = ff.in_turns(pass_of, 2, place())
    for _ in range(3):
        call()
    assert seen == [0, 1, 2]


def test_large_tensors_are_filled_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ff, "_POOL", 7)
    values = place().normal(5, 4, deviation=2.0)
    assert torch.equal(values.view(-1)[:6], values.view(-1)[14:])
    assert len(set(values.view(-1).tolist())) == 7


def test_the_memory_that_is_planned_knows_the_slices() -> None:
    assert memory.DENSE_SLICE == ff.DENSE_SLICE
