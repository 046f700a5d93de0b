"""Training: the loss falls, the same command gives the same bytes, experts are chosen as they should be."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from harness.pocket import train as training
from harness.pocket.batches import Mix
from harness.pocket.recipe import SHAPES, TRAINING, Run

SMOKE = TRAINING.model_copy(update={"steps": 20, "warmup": 2, "mix": Mix(facts=5, sort=2, count=1, common=1)})


def smoke(kind: str, seed: int = 1) -> Run:
    """A run short enough for a test, without compiling."""
    return Run(kind=kind, world="a", seed=seed, rate=0.01, training=SMOKE, compiled=False)


@pytest.mark.torch
@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_loss_falls_and_bytes_repeat(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from harness.pocket.export import export

    losses: list[float] = []
    export(training.train(smoke(kind), lambda _step, loss: losses.append(loss)), tmp_path / "one")
    export(training.train(smoke(kind)), tmp_path / "two")
    export(training.train(smoke(kind, seed=2)), tmp_path / "other")
    one, two, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other"))
    assert losses[-1] < losses[0] - 0.2
    assert one == two
    assert one != other


@pytest.mark.torch
def test_each_token_goes_to_top_k_experts() -> None:
    torch = pytest.importorskip("torch")
    from harness.pocket.network import Block

    for kind in ("moe-8x2", "moe-fine"):
        shape = SHAPES[kind]
        torch.manual_seed(0)
        gates, _ = Block(shape, shape.width).route(torch.randn(2, 5, shape.width))
        routed = gates[..., : shape.experts * shape.expert_width]
        experts = routed.reshape(2, 5, shape.experts, shape.expert_width)[..., 0]
        assert ((experts > 0).sum(-1) == shape.top_k).all()
        assert torch.allclose(experts.sum(-1), torch.ones(2, 5))


@pytest.mark.torch
def test_orthogonal_updates_have_one_scale() -> None:
    torch = pytest.importorskip("torch")
    from harness.pocket.optimizer import orthogonal

    torch.manual_seed(0)
    for form in ((3, 64, 64), (3, 256, 64), (3, 8, 64)):
        size = orthogonal(torch.randn(form)).square().mean().sqrt().item()
        assert 0.08 < size < 0.16


def test_without_a_compiler_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(InputError, match="CXX"):
        training.need_compiler()


def test_without_torch_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "torch":
            raise ImportError(name)
        return genuine(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match="make setup"):
        training.train(smoke("moe-8x2"))
