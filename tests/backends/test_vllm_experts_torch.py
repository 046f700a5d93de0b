"""vLLM's fused kernels are given what they ask for. They run on CUDA only: here a stand-in does what theirs do."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor
from torch.nn import functional

from harness.backends.vllm_experts import FusedKernels
from harness.layers.shape import LayerShape
from harness.measurements import feed_forwards as ff

pytestmark = pytest.mark.torch

SHAPE = LayerShape(hidden=64, expert_width=32, experts=8, top_k=2, shared_width=16)


def fused_topk(hidden_states: Tensor, gating_output: Tensor, topk: int, renormalize: bool) -> tuple[Tensor, ...]:
    assert len(hidden_states) == len(gating_output)
    weights, ids = gating_output.softmax(-1, dtype=torch.float32).topk(topk)
    return (weights / weights.sum(-1, keepdim=True) if renormalize else weights), ids.to(torch.int32), ids


def fused_experts(hidden_states: Tensor, w1: Tensor, w2: Tensor, topk_weights: Tensor, topk_ids: Tensor) -> Tensor:
    """w1 is [experts, 2 * width, hidden] with the gates first, w2 [experts, hidden, width]."""
    output = torch.zeros_like(hidden_states)
    for token, (weights, ids) in enumerate(zip(topk_weights, topk_ids, strict=True)):
        for weight, expert in zip(weights, ids, strict=True):
            gate, value = (w1[expert] @ hidden_states[token]).chunk(2)
            output[token] += weight * (w2[expert] @ (functional.silu(gate) * value))
    return output


def test_the_layer_is_the_same_with_either_kernels() -> None:
    at = ff.place("cpu", "float32", 1)
    fused = FusedKernels(SimpleNamespace(fused_topk=fused_topk, fused_experts=fused_experts))
    layer = ff.sparse(SHAPE.hidden, SHAPE.feed_forward, fused, at)
    plain = ff.Sparse(
        layer.router, layer.up, layer.down, layer.shared, layer.top_k,
        ff.TorchKernels(SHAPE.hidden, SHAPE.feed_forward, at),
    )
    hidden, steer = at.normal(11, SHAPE.hidden, deviation=1.0), torch.zeros(11, SHAPE.experts)
    torch.testing.assert_close(layer(hidden, steer), plain(hidden, steer), rtol=1e-4, atol=1e-5)
    assert (layer.experts_of(hidden, steer) == plain.experts_of(hidden, steer)).all()


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("fused_moe.py", "fused_experts", ["hidden_states", "w1", "w2", "topk_weights", "topk_ids"]),
        ("router/fused_topk_router.py", "fused_topk", ["hidden_states", "gating_output", "topk", "renormalize"]),
    ],
)
def test_the_installed_vllm_takes_these_arguments(file: str, name: str, expected: list[str]) -> None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "model_executor/layers/fused_moe"
    body = ast.parse((folder / file).read_text(encoding="utf-8")).body
    (function,) = [one for one in body if isinstance(one, ast.FunctionDef) and one.name == name]
    assert [argument.arg for argument in function.args.args][: len(expected)] == expected
    assert name in (folder / "__init__.py").read_text(encoding="utf-8")
