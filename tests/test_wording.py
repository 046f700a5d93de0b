"""Comparisons in words: loads of every kind, crossovers, and the terminal's command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import builders
import pytest
import sites
from typer.testing import CliRunner

from harness.cli import app
from harness.compare import compare
from harness.crossover import crossovers
from harness.scenario import Load, Offline, OpenLoop, Replay
from harness.summarise import summarise
from harness.wording import crossover_sentences, sentence


@pytest.mark.parametrize(("load", "words"), [
    (OpenLoop(requests_per_s=2.0), "dense-active at 2 requests/s, with too few repeats"),
    (Replay(), "dense-active replayed, with too few repeats"),
    (Offline(), "dense-active offline, with too few repeats"),
])
def test_every_load_fits_the_sentence(load: Load, words: str) -> None:
    scenario = builders.serving_scenario(load=load)
    records = [builders.serving_record(model=name, scenario=scenario) for name in ("moe-8x2", "dense-active")]
    dense, sparse = summarise(builders.with_paths(records))
    assert words in sentence(compare(sparse, dense))


def test_a_reason_that_both_share_is_told_once() -> None:
    dense, sparse = summarise(builders.with_paths(
        [builders.serving_record(model=name) for name in ("moe-8x2", "dense-active")]
    ))
    assert sentence(compare(sparse, dense)).endswith("Quality could not be compared: the suite has no tasks.")


def test_crossovers_name_their_workload_where_there_are_several() -> None:
    models = {one.model: one for one in summarise(builders.with_paths(sites.load_records()))}
    (found,) = crossovers(models["moe-8x2"], models["dense-active"])
    assert crossover_sentences([found])[0].startswith("moe-8x2 overtakes dense-active at about ")
    other = replace(found, workload=("long", *found.workload[1:]))
    assert [one.split(":")[0] for one in crossover_sentences([found, other])] == ["chat", "long"]


def test_the_command_prints_the_crossover(tmp_path: Path) -> None:
    sites.store_of(tmp_path, sites.load_records())
    ran = CliRunner().invoke(app, ["compare", "moe-8x2", "dense-active", "--results", str(tmp_path)])
    assert ran.exit_code == 0
    assert "moe-8x2 overtakes dense-active at about" in " ".join(ran.output.split())
