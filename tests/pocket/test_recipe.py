"""Shapes, parameter counts, and the learning rates that the search gave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.pocket import export, recipe, search
from harness.pocket.recipe import SHAPES, Training
from harness.pocket.train import schedule

TUNING = Path(__file__).parents[2] / "suites" / "pocket" / "tuning.json"


def test_the_two_mixtures_are_equal_in_size() -> None:
    coarse, fine = SHAPES["moe-8x2"], SHAPES["moe-fine"]
    assert coarse.parameters() == fine.parameters()
    assert coarse.parameters(active=True) == fine.parameters(active=True)


def test_dense_kinds_match_the_mixtures() -> None:
    sparse = SHAPES["moe-8x2"]
    assert SHAPES["dense-active"].parameters() == pytest.approx(sparse.parameters(active=True), rel=0.02)
    assert SHAPES["dense-total"].parameters() == pytest.approx(sparse.parameters(), rel=0.02)
    for kind in ("dense-active", "dense-total"):
        assert SHAPES[kind].parameters() == SHAPES[kind].parameters(active=True)


def test_search_gave_every_kind_the_same_effort() -> None:
    found = search.load(TUNING)
    for kind in SHAPES:
        trials = [trial for trial in found.trials if trial.kind == kind]
        assert sorted(trial.lr for trial in trials) == sorted(recipe.SEARCH)
        assert {(trial.seed, trial.world, trial.steps) for trial in trials} == {
            (recipe.SEARCH_SEED, "a", recipe.SEARCH_STEPS)
        }
    assert len(found.trials) == len(SHAPES) * len(recipe.SEARCH)


def test_recipe_uses_what_the_search_found() -> None:
    assert search.load(TUNING).best() == recipe.RATES
    assert recipe.SEARCH_SEED not in recipe.SEEDS


def test_schedule_warms_up_and_ends_at_zero() -> None:
    training = Training(steps=1000)
    factors = [schedule(step, training) for step in range(1000)]
    assert factors[0] == 1 / training.warmup
    assert factors[399] == max(factors) == 1.0
    assert 0 < factors[-1] < 0.01
    peak = factors.index(1.0)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_five_seeds_over_two_worlds() -> None:
    assert recipe.SEEDS == {1: "a", 2: "a", 3: "a", 4: "b", 5: "b"}
    run = recipe.run_of("moe-fine", 4, steps=7)
    assert (run.world, run.training.steps, run.rate) == ("b", 7, recipe.RATES["moe-fine"])
    assert recipe.run_of("moe-fine", 4, fact_world="a").world == "a"


@pytest.mark.slow
def test_importing_needs_no_torch() -> None:
    code = (
        "import sys; import harness.pocket.commands, harness.pocket.evaluate, harness.pocket.export, "
        "harness.pocket.search, harness.pocket.card; "
        "assert not {'torch', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_configs_allow_long_prompts() -> None:
    for shape in SHAPES.values():
        assert export.config(shape)["max_position_embeddings"] == recipe.POSITIONS >= 512
