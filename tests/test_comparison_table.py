"""The table of a comparison in the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import builders
import pytest
import sites
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.compare import Comparison, compare
from harness.comparison_table import comparison_table, short_names, short_p
from harness.stats import Contrast
from harness.summarise import summarise
from harness.wording import verdict_words


@cache
def pair() -> Comparison:
    models = {one.model: one for one in summarise(builders.with_paths(builders.small_suite_records()))}
    return compare(models["moe-8x2"], models["dense-total"])


class TestTable:
    def text(self, width: int) -> list[str]:
        console = Console(file=io.StringIO(), width=width)
        console.print(comparison_table(pair()))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().splitlines()

    @pytest.mark.parametrize("width", [80, 120])
    def test_every_effect_is_one_line(self, width: int) -> None:
        lines = self.text(width)
        assert max(map(len, lines)) <= width
        for verdict in ("better", "worse", "equal", "nearly equal", "not told apart"):
            told = sum(re.search(rf"(?<!nearly) {verdict}$", line.rstrip()) is not None for line in lines)
            assert told == sum(verdict_words(one) == verdict for one in pair().effects)

    def test_an_interval_that_excludes_equality_without_a_verdict_shows_why(self) -> None:
        close = Contrast(0.8, 0.64, 0.99, 0.04, "x")
        one = replace(next(one for one in pair().effects if one.family == "speed"), contrast=close, adjusted_p=0.32,
                      verdict="indistinguishable")
        console = Console(file=io.StringIO(), width=80)
        console.print(comparison_table(replace(pair(), effects=(one,))))
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert re.search(r"0\.80× \(0\.64 to 0\.99\) +\.32 not told apart", text)
        said = "Certain: Holm's p within its family is below 0.05 and the 95 % interval excludes equality."
        assert said in " ".join(text.split())

    def test_effects_stand_under_their_load(self) -> None:
        lines = [line.strip() for line in self.text(100)]
        begins = ("Counted", "chat at ", "Memory", "Scores")
        headings = [line for line in lines if line.startswith(begins) and "↓" not in line]
        assert headings == [
            "Counted", "Counted, chat at 16", "Memory", "chat at 1", "chat at 4", "chat at 16", "Scores",
        ]

    def test_workloads_of_one_name_are_told_by_their_lengths(self) -> None:
        records = [
            builders.serving_record(
                model=model, scenario=builders.serving_scenario(8, prompt_tokens=length), repeat=repeat,
                tokens_per_s=1000 + repeat,
            )
            for model in ("moe-8x2", "dense-total") for length in (32, 64) for repeat in range(3)
        ]
        models = {one.model: one for one in summarise(builders.with_paths(records))}
        console = Console(file=io.StringIO(), width=120)
        console.print(comparison_table(compare(models["moe-8x2"], models["dense-total"])))
        assert isinstance(console.file, io.StringIO)
        lines = [line.strip() for line in console.file.getvalue().splitlines()]
        headings = [line for line in lines if line.startswith("chat")]
        assert headings == ["chat 32 → 16 at 8", "chat 64 → 16 at 8"]

    def test_only_what_is_better_or_worse_has_a_colour(self) -> None:
        exact = next(one for one in pair().effects if one.exact)
        for ratio, colour in ((1.003, None), (1.5, "red")):
            effect = replace(exact, contrast=Contrast(ratio, ratio, ratio, None, "counted"), verdict="worse")
            table = comparison_table(replace(pair(), effects=(effect,)))
            assert table.rows[-1].style == colour

    def test_latencies_are_in_ms_below_a_second_and_bytes_on_their_scale(self) -> None:
        lines = self.text(80)
        assert re.search(r"TTFT p50 ↓ +[\d.]+ ms +[\d.]+ ms ", next(line for line in lines if "TTFT" in line))
        assert re.search(r"Weights ↓ +[\d.]+ kB ", next(line for line in lines if line.startswith("Weights ↓")))

    def test_long_names_are_shortened_in_the_middle(self) -> None:
        a, b = (f"mixture-of-experts-{size}-instruct-2026" for size in ("8x22b", "dense"))
        long = replace(pair(), a=replace(pair().a, model=a), b=replace(pair().b, model=b))
        console = Console(file=io.StringIO(), width=80)
        console.print(comparison_table(long))
        assert isinstance(console.file, io.StringIO)
        lines = console.file.getvalue().splitlines()
        assert f"{a} against {b}" in " ".join(" ".join(lines[:2]).split()) and max(map(len, lines)) <= 80
        assert next(line for line in lines if line.startswith("metric")).split()[1:3] == ["a", "b"]
        assert all(re.search(r"\d", line) for line in lines if "↑" in line or "↓" in line)

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_shortened_names_stay_apart(self, a: str, b: str) -> None:
        shorter = short_names(a, b)
        assert (shorter[0] == shorter[1]) == (a == b) and max(map(len, shorter)) <= 13

    def test_foreign_text_stays_text(self) -> None:
        hostile = replace(pair(), a=replace(pair().a, model="[red]x[/]\u202e" + "y" * 5_000))
        console = Console(file=io.StringIO(), width=80)
        console.print(comparison_table(hostile))
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert "[red]" in text.replace("\n", "").replace(" ", "") and "\u202e" not in text


def test_the_command_prints_the_answer_of_the_site(tmp_path: Path) -> None:
    sites.store_of(tmp_path, sites.load_records(6))
    ran = CliRunner().invoke(app, ["compare", "moe-8x2", "dense-active", "--results", str(tmp_path)])
    assert ran.exit_code == 0
    text = " ".join(ran.output.split())
    assert "At nearly equal active parameters (1.01×), moe-8x2 " in text
    assert "; it overtakes at about" in text


@pytest.mark.parametrize(("p", "text"), [
    (None, ""), (0.0, "<.001"), (0.0123, ".012"), (0.0497, "<.05"), (0.05, ".050"), (0.32, ".32"), (0.999, "1"),
])
def test_p_in_a_few_characters(p: float | None, text: str) -> None:
    assert short_p(p) == text


@given(st.floats(0.0, 1.0))
def test_p_looks_certain_where_it_is(p: float) -> None:
    text = short_p(p)
    assert (text.startswith("<") or float(text) < 0.05) == (p < 0.05) and len(text) <= 5
