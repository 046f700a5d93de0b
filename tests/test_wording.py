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
from harness.crossover import Crossover, crossovers
from harness.scenario import Load, Offline, OpenLoop, Replay
from harness.summarise import summarise
from harness.wording import crossover_sentence, crossover_sentences, sentence


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


CHAT = ("chat", 32.0, 16.0, "32", "16", 2)


class TestCrossoverSentence:
    def of(self, **changes: object) -> str:
        fields = {"concurrency": 11.26, "low": 6.04, "high": 22.1, "overtakes": "a", "first": "b", "last": "a"}
        return crossover_sentence(Crossover("a", "b", CHAT, 1, 64, **fields | changes))  # type: ignore[arg-type]

    def test_a_closed_interval_is_a_statement(self) -> None:
        assert self.of() == "a overtakes b at about 11 concurrent requests (95 % interval 6 to 23)."
        assert self.of(overtakes="b").startswith("b overtakes a at ")

    def test_ends_are_rounded_outwards(self) -> None:
        assert "at about 3.4 concurrent requests (95 % interval 2.9 to 130)" in self.of(
            concurrency=3.449, low=2.99, high=121.0
        )

    def test_an_open_interval_is_not(self) -> None:
        assert self.of(high=None) == (
            "a may overtake b at about 11 concurrent requests (95 % interval 6 to 64 or more)."
        )
        assert "may overtake b at about 11 concurrent requests (95 % interval 1 or less to 23)" in self.of(low=None)

    def test_no_crossing_says_why(self) -> None:
        without = {"concurrency": None, "low": None, "high": None, "overtakes": ""}
        assert self.of(**without, reason="they cross several times") == (
            "No single crossover of a and b is found from 1 to 64 concurrent requests: they cross several times."
        )
        alone = Crossover("a", "b", CHAT, 4, 4, reason="fewer than two shared loads")
        assert crossover_sentence(alone) == "No single crossover of a and b is found: fewer than two shared loads."
