"""Checkpoints: the same bytes every time, and the same logits in transformers as in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.pocket import export as ex
from harness.pocket import world
from harness.pocket.recipe import SHAPES

if TYPE_CHECKING:
    from harness.pocket.network import Network

pytestmark = pytest.mark.torch


def network(kind: str) -> Network:
    """A network of a kind whose every parameter is random, in values that bf16 can hold."""
    torch = pytest.importorskip("torch")
    from harness.pocket.network import Network

    torch.manual_seed(3)
    made = Network(SHAPES[kind])
    with torch.no_grad():
        for part in made.parameters():
            part.copy_((part + 0.1 * torch.randn_like(part)).bfloat16().float())
    return made


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_parameters_are_counted_right(kind: str) -> None:
    assert sum(part.numel() for part in network(kind).parameters()) == SHAPES[kind].parameters()


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_same_network_same_bytes(kind: str, tmp_path: Path) -> None:
    ex.export(network(kind), tmp_path / "one")
    ex.export(network(kind), tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_transformers_reads_the_same_logits(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = network(kind)
    ex.export(made, tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert type(model).__name__ == SHAPES[kind].architecture
    assert sum(part.numel() for part in model.parameters()) == SHAPES[kind].parameters()
    tokens = torch.randint(0, SHAPES[kind].vocabulary, (2, 320), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (model(tokens).logits - made(tokens)).abs().max().item()
    assert difference < 1e-4


def test_tokenizer_round_trip(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(ex.tokenizer()), encoding="utf-8")
    made = tokenizers.Tokenizer.from_file(str(path))
    text = " ".join(world.words())
    encoded = made.encode(text)
    assert encoded.ids == list(range(len(world.words())))
    assert made.decode(encoded.ids, skip_special_tokens=False) == text
    assert made.encode("no-such-word").ids == [world.words().index(world.UNKNOWN)]
