"""The model card: its numbers come from the committed results, and the shipped folders are what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.pocket import card, evaluate, export, world
from harness.pocket.recipe import SEEDS, SHAPES

SUITE = Path(__file__).parents[2] / "suites" / "pocket"
FOLDERS = [f"{kind}-s{seed}" for kind in SHAPES for seed in SEEDS]


def test_shipped_models_are_complete_and_small() -> None:
    assert sorted(path.name for path in (SUITE / "models").iterdir()) == sorted(FOLDERS)
    assert sum(path.stat().st_size for path in (SUITE / "models").rglob("*") if path.is_file()) <= 10_000_000


@pytest.mark.parametrize("name", FOLDERS)
def test_shipped_files_are_those_of_the_code(name: str) -> None:
    folder, shape = SUITE / "models" / name, SHAPES[name.rsplit("-", 1)[0]]
    assert json.loads((folder / "config.json").read_text()) == export.config(shape)
    assert json.loads((folder / "tokenizer.json").read_text()) == export.tokenizer()
    assert json.loads((folder / "tokenizer_config.json").read_text()) == export.tokenizer_config()
    raw = (folder / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    header.pop("__metadata__")
    assert {part["dtype"] for part in header.values()} == {"BF16"}
    sizes = [part["data_offsets"][1] - part["data_offsets"][0] for part in header.values()]
    assert sum(sizes) == 2 * shape.parameters()


def test_seeds_differ() -> None:
    weights = [(SUITE / "models" / name / "model.safetensors").read_bytes() for name in FOLDERS]
    assert len(set(weights)) == len(weights)


def test_card_is_made_of_the_committed_results(tmp_path: Path) -> None:
    for name in ("README.md", "scores.json", "tuning.json"):
        shutil.copy(SUITE / name, tmp_path / name)
    card.rewrite(tmp_path)
    assert (tmp_path / "README.md").read_text() == (SUITE / "README.md").read_text()


def test_card_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(InputError, match="marks"):
        card.rewrite(tmp_path)


def test_scores_cover_every_checkpoint_and_task() -> None:
    scores = card.load(SUITE / "scores.json")
    assert sorted((score.kind, score.seed, score.world) for score in scores.scores) == sorted(
        (kind, seed, name) for kind in SHAPES for seed, name in SEEDS.items()
    )
    assert scores.items == evaluate.sizes()
    for score in scores.scores:
        assert all(0 <= score.of(family) <= 1 for family in card.FAMILIES)


def test_no_family_is_at_chance_for_all_and_facts_are_below_the_ceiling() -> None:
    scores = card.load(SUITE / "scores.json")
    chance = {"facts": 1 / world.VALUES, "facts_choice": 0.25, "sort": 0.0, "count": 0.348, "common": 0.0}
    for family, level in chance.items():
        best = max(sum(scores.values(kind, family)) / len(SEEDS) for kind in SHAPES)
        assert best > level + 0.2, family
    assert max(max(scores.values(kind, card.HEADLINE)) for kind in SHAPES) < 0.97


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_interval_holds_the_mean(values: list[float]) -> None:
    low, high = card.interval(values)
    assert low - 1e-12 <= sum(values) / len(values) <= high + 1e-12


def test_interval_by_hand() -> None:
    low, high = card.interval([0.1, 0.2, 0.3, 0.4, 0.5])
    assert (low, high) == pytest.approx((0.3 - 0.19633, 0.3 + 0.19633), abs=1e-4)


@pytest.mark.torch
@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_committed_scores_are_those_of_the_checkpoints(kind: str) -> None:
    pytest.importorskip("transformers")
    scores = card.load(SUITE / "scores.json")
    committed = next(score for score in scores.scores if (score.kind, score.seed) == (kind, 4))
    again = evaluate.of_checkpoint(SUITE / "models" / f"{kind}-s4", "b")
    assert again == pytest.approx(committed.tasks, abs=0.02)  # bf16 arithmetic differs a little between processors
