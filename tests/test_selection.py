"""Which suite and which models a command means."""

from __future__ import annotations

from pathlib import Path

import builders
import pytest
import sites

from harness.errors import InputError
from harness.selection import compared, one_suite

A, B = "moe-8x2", "dense-active"


def suite_file(folder: Path, more: str) -> str:
    path = folder / "small.yaml"
    path.write_text(
        f"name: small\ntitle: Small\nmodels: [{{name: {A}, path: x}}, {{name: {B}, path: y}}]\n"
        f"quality: {{tasks: [facts, sort]}}\n{more}", encoding="utf-8",
    )
    return str(path)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        builders.quality_record(model=model, task=task) for model in (A, B) for task in ("facts", "sort")
    ]
    return sites.store_of(tmp_path_factory.mktemp("selected") / "results", records).root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings of one recipe, and one of another."""
    names = (("moe-0", "moe"), ("moe-1", "moe"), ("dense-0", "dense"))
    records = [
        builders.quality_record(model=name, group=group, config=builders.CONFIGS[A if group == "moe" else B])
        for name, group in names
    ]
    return sites.store_of(tmp_path_factory.mktemp("trained") / "results", records).root


def refused(a: str, b: str, results: Path) -> str:
    with pytest.raises(InputError) as caught:
        compared(a, b, None, results)
    return str(caught.value)


@pytest.mark.parametrize("names", [(A, B), (B, A)])
def test_a_pair_is_about_what_the_suite_says_whichever_is_named_first(
    results: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    suite = suite_file(tmp_path, f"comparisons: [{{sparse: {A}, dense: [{B}], matching: [iso-memory, iso-cost]}}]\n")
    found = compared(*names, suite, results)
    assert (found.a.model, found.b.model) == names and found.about == ("iso-memory", "iso-cost")
    assert compared(*names, None, results).about == ()


@pytest.mark.parametrize(("more", "score"), [("", "mean_score"), ("leaderboard: {score: sort}\n", "score:sort")])
def test_the_score_is_the_one_that_leads_the_suite(results: Path, tmp_path: Path, more: str, score: str) -> None:
    found = compared(A, B, suite_file(tmp_path, more), results)
    quality = found.matching.of("iso-quality")
    assert found.score == score and quality is not None and quality.score == score


def test_a_model_without_records_is_told_with_what_is_near(results: Path) -> None:
    assert refused("moe-8x", B, results).endswith("no model 'moe-8x' in suite 'small'\n  did you mean 'moe-8x2'?")
    assert refused(A, A, results) == f"compare: '{A}' is held against itself\n  name two models or groups"


def test_groups_are_those_of_the_site(trained: Path) -> None:
    found = compared("moe", "dense-0", None, trained)
    assert len(found.a.members) == 2 and not found.b.members
    assert refused("moe", "dense", trained).endswith("its only training is 'dense-0': name that")


def test_a_group_is_not_held_against_its_own_training(trained: Path) -> None:
    for names in (("moe", "moe-1"), ("moe-1", "moe")):
        assert refused(*names, trained).startswith("compare: 'moe-1' is one of the trainings of 'moe'\n  name another")
    assert compared("moe-0", "moe-1", None, trained).a.model == "moe-0"


def test_one_suite(results: Path, tmp_path: Path) -> None:
    assert one_suite(None, results) == one_suite("small", results) == one_suite(suite_file(tmp_path, ""), results)
    with pytest.raises(InputError, match="no records here"):
        one_suite(None, tmp_path / "none")
