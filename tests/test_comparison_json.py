"""A comparison as JSON: documented fields, base units, the same verdicts and sentences as the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builders
import pytest
import sites
from typer.testing import CliRunner

from harness import comparison_json as module
from harness.answer import answer
from harness.cli import app
from harness.compare import Comparison, compare
from harness.comparison_json import COMPARISON_SCHEMA, comparison_json
from harness.crossover import Crossover, crossovers
from harness.summarise import summarise
from harness.summary import ModelSummary


def models(*, loads: bool) -> dict[str, ModelSummary]:
    records = sites.load_records(6) if loads else builders.small_suite_records()
    return {one.model: one for one in summarise(builders.with_paths(records))}


def pair_of(*, loads: bool = False) -> tuple[Comparison, tuple[Crossover, ...]]:
    found = models(loads=loads)
    a, b = found["moe-8x2"], found["dense-active"]
    return compare(a, b), crossovers(a, b)


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return dict(json.loads(comparison_json(*pair_of())))


def test_every_effect_with_its_interval_and_verdict(small: dict[str, Any]) -> None:
    pair, _ = pair_of()
    assert small["schema_version"] == COMPARISON_SCHEMA
    assert [one["verdict"] for one in small["effects"]] == [effect.verdict for effect in pair.effects]
    speed = next(one for one in small["effects"] if one["metric"] == "output_tokens_per_s" and one["load_level"] == 16)
    assert speed["unit"] == "tokens per second" and speed["kind"] == "ratio" and speed["workload"] == "chat"
    assert speed["contrast"]["low"] < speed["contrast"]["value"] < speed["contrast"]["high"]
    assert speed["contrast"]["value"] == pytest.approx(speed["a"]["value"] / speed["b"]["value"], rel=1e-3)
    assert speed["adjusted_p"] >= speed["contrast"]["p_value"]


def test_matchings_are_in_base_units_or_say_why_not(small: dict[str, Any]) -> None:
    assert list(small["matchings"]) == ["iso-active", "iso-total", "iso-memory", "iso-flops", "iso-quality", "iso-cost"]
    active = small["matchings"]["iso-active"]
    assert (active["a"], active["b"], active["equal"]) == (109_488, 107_952, True)
    assert small["matchings"]["iso-memory"]["concurrency"] == 16
    assert "cost" in small["matchings"]["iso-cost"]["unknown"]


def test_sentences_and_crossovers_are_those_of_the_pages() -> None:
    pair, crossings = pair_of(loads=True)
    found = json.loads(comparison_json(pair, crossings))
    assert found["sentences"] == list(answer(pair, crossings).sentences)
    (crossing,) = found["crossovers"]
    assert crossing["certain"] is True and crossing["overtakes"] == "moe-8x2"
    assert crossing["low"] < crossing["concurrency"] < crossing["high"]


def test_every_field_is_documented(small: dict[str, Any]) -> None:
    documented = module.__doc__ or ""
    names = {*small, *small["effects"][0], *small["effects"][0]["contrast"], *small["matchings"]["iso-memory"],
             *small["a"], *json.loads(comparison_json(*pair_of(loads=True)))["crossovers"][0]}
    assert [name for name in sorted(names) if f"`{name}`" not in documented] == []


def test_the_command_prints_it(tmp_path: Path) -> None:
    sites.store_of(tmp_path, builders.small_suite_records())
    ran = CliRunner().invoke(app, ["compare", "moe-8x2", "dense-active", "--results", str(tmp_path), "--json"])
    assert ran.exit_code == 0
    assert json.loads(ran.output)["a"]["model"] == "moe-8x2"


def test_an_unknown_model_is_a_mistake_in_what_was_given(tmp_path: Path) -> None:
    from harness.errors import InputError

    sites.store_of(tmp_path, builders.small_suite_records())
    ran = CliRunner().invoke(app, ["compare", "moe-8x2", "dense-activ", "--results", str(tmp_path), "--json"])
    assert isinstance(ran.exception, InputError) and ran.exception.exit_code == 2
    assert "dense-active" in str(ran.exception)
