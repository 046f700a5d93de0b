"""Markdown and LaTeX: a table that a reader can put into a text as it is."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import builders
import pytest
import sites
from exported_suites import exported_of
from readers import read_latex

from harness.exports.formats import Wanted, write
from harness.exports.latex import escaped, to_latex
from harness.exports.markdown import escaped as as_markdown
from harness.exports.markdown import to_markdown
from harness.exports.parts import Exported
from harness.exports.printed import Printed, PrintedCell, PrintedColumn, PrintedRow, best_of, printed, printed_parts
from harness.exports.printed_loads import printed_loads
from harness.scenario import Offline
from harness.stats import Estimate
from harness.summary import OperatingPoint


def table(*cells: PrintedCell, name: str = "a", better: str = "higher", notes: tuple[str, ...] = ()) -> Printed:
    """One row."""
    columns = tuple(PrintedColumn("Speed", "ms", better) for _ in cells)  # type: ignore[arg-type]
    return Printed("Suite x.", columns, (PrintedRow(name, "MoE", cells, tuple(range(1, len(notes) + 1))),), notes)


class TestPrinted:
    def test_the_headline(self, small: Exported) -> None:
        found = printed(small)
        assert [(column.title, column.unit) for column in found.columns] == [
            ("Total parameters", "k"), ("Active parameters", "k"), ("Weights", "kB"), ("Output tokens/s", ""),
            ("TTFT p50", "ms"), ("TPOT p50", "ms"), ("Decode FLOPs/token", "kFLOPs"), ("Mean score", "%"),
            ("facts", "%"), ("sort", "%"),
        ]
        assert [row.name for row in found.rows] == ["dense-active", "dense-total", "moe-8x2", "moe-fine"]
        assert "chat, 32 prompt and 16 output tokens, at 16 concurrent requests" in found.caption

    def test_values_have_margins_where_they_were_measured(self, small: Exported) -> None:
        row = printed(small, ("total_parameters", "score:facts")).rows[2]
        assert row.cells[0] == PrintedCell("331")
        assert row.cells[1].text == "79.5" and row.cells[1].margin

    def test_columns_that_nobody_has_are_left_out_unless_asked_for(self) -> None:
        suite = exported_of(builders.quality_record())
        assert [column.title for column in printed(suite).columns][-1] == "facts"
        assert "Output tokens/s" not in [column.title for column in printed(suite).columns]
        assert printed(suite, ("output_tokens_per_s",)).rows[0].cells == (PrintedCell(),)

    def test_on_paper_scores_and_speeds_are_tables_of_their_own(self, small: Exported) -> None:
        first, second = printed_parts(small)
        assert [column.title for column in first.columns] == [
            "Total parameters", "Active parameters", "Mean score", "facts", "sort",
        ]
        assert [column.title for column in second.columns] == [
            "Weights", "Output tokens/s", "TTFT p50", "TPOT p50", "Decode FLOPs/token",
        ]
        assert [row.name for row in first.rows] == [row.name for row in second.rows]
        assert "speeds of" in second.caption and "speeds" not in first.caption
        whole = printed(small)
        assert {cell for one in (first, second) for row in one.rows for cell in row.cells} == {
            cell for row in whole.rows for cell in row.cells
        }

    def test_on_paper_more_than_four_tasks_are_their_mean(self) -> None:
        for number, last in ((4, "t3"), (5, "Mean score")):
            suite = exported_of(*(builders.quality_record(task=f"t{one}") for one in range(number)))
            (only,) = printed_parts(suite)
            assert [column.title for column in only.columns][-1] == last

    def test_on_paper_flags_are_beside_the_speeds(self) -> None:
        short = builders.serving_record(scenario=builders.serving_scenario(8, min_duration_s=1000.0))
        first, second = printed_parts(exported_of(short, builders.quality_record()))
        assert first.notes == ()
        assert [note.startswith("Not to be trusted: ran for") for note in second.notes] == [True]

    @pytest.mark.parametrize(("wanted", "tables"), [
        (Wanted(), 2), (Wanted(metrics=("total_parameters",)), 1), (Wanted(table="loads"), 1),
    ])
    def test_latex_is_split_only_where_nobody_chose(self, small: Exported, wanted: Wanted, tables: int) -> None:
        assert str(write("latex", small, wanted)).count(r"\begin{tabular}") == tables

    def test_many_tasks_are_their_mean(self) -> None:
        suite = exported_of(*(builders.quality_record(task=f"t{number}") for number in range(7)))
        assert [column.title for column in printed(suite).columns][-1] == "Mean score"

    def test_only_the_best_that_stands_apart_is_bold(self, small: Exported) -> None:
        metric = small.metric("mean_score")
        names = ("dense-active", "dense-total", "moe-8x2", "moe-fine")

        def best(*estimates: Estimate) -> str | None:
            changed = [replace(one, mean_score=two) for one, two in zip(small.summaries, estimates, strict=False)]
            found = best_of(replace(small, summaries=tuple(changed)), metric)
            return found[0].model if found else None

        low, high = Estimate(0.5, 0.4, 0.6, 9, "x"), Estimate(0.9, 0.8, 1.0, 9, "x")
        close = Estimate(0.7, 0.55, 0.85, 9, "x")
        assert best(low, high) == names[1] and best(low, high, close) is None
        assert best(low, Estimate(0.9, None, None, 1, "x")) is None
        assert best(low) is None

    def test_random_weights_and_flagged_timings_do_not_compete(self, loads: Exported) -> None:
        dummy = builders.subject("dummy-moe", weights="dummy")
        suite = exported_of(*builders.small_suite_records(), *(
            builders.serving_record(subject=dummy, concurrency=16, tokens_per_s=9000.0, repeat=repeat)
            for repeat in (0, 1)
        ))
        best = best_of(suite, suite.metric("output_tokens_per_s"))
        assert "dummy-moe" not in [one.model for one in best]
        row = next(row for row in printed(suite).rows if row.name == "dummy-moe")
        assert "Random weights" in printed(suite).notes[row.notes[0] - 1]

    def test_groups_and_models_have_a_best_each(self, seeds: Exported) -> None:
        metric = seeds.metric("mean_score")
        apart = Estimate(2.0, 1.9, 2.1, 9, "x")

        def best(*raised: int) -> list[bool]:
            changed = [replace(one, mean_score=apart if index in raised else one.mean_score)
                       for index, one in enumerate(seeds.summaries)]
            return [bool(one.members) for one in best_of(replace(seeds, summaries=tuple(changed)), metric)]

        grouped = next(index for index, one in enumerate(seeds.summaries) if one.members)
        single = next(index for index, one in enumerate(seeds.summaries) if not one.members)
        assert sorted(best(grouped, single)) == [False, True]
        assert best(single) == [False] and best(grouped) == [True]

    def test_failures_are_notes_and_skipped_cells_are_none(self) -> None:
        suite = exported_of(
            builders.quality_record(), builders.failed_record(message="no memory", error="oom"),
            builders.skipped_record(scenario=builders.serving_scenario(16)),
            builders.quality_record(model="other"), builders.refused_record(model="other"),
        )
        found = printed(suite)
        assert found.notes == (
            "Failed (chat, 8 concurrent): oom: no memory.", "Refused (chat, 8 concurrent): needs 90 GB of 80 GB.",
        )
        assert [row.notes for row in found.rows] == [(1,), (2,)]

    def test_loads_without_a_concurrency(self) -> None:
        suite = exported_of(builders.serving_record(scenario=builders.serving_scenario(load=Offline())))
        assert "at offline" not in printed(suite).caption and "offline" in printed(suite).caption


class TestLoads:
    def test_a_row_a_model_and_load(self, small: Exported) -> None:
        found = printed_loads(small)
        assert [(column.title, column.unit, column.numeric) for column in found.columns] == [
            ("Load", "", False), ("Output tokens/s", "", True), ("TTFT p50", "ms", True), ("TTFT p99", "ms", True),
            ("TPOT p50", "ms", True), ("TPOT p99", "ms", True),
        ]
        assert [(row.name, row.cells[0].text) for row in found.rows[:4]] == [
            ("dense-active", "concurrency 1"), ("dense-active", "concurrency 4"), ("dense-active", "concurrency 16"),
            ("dense-total", "concurrency 1"),
        ]
        assert printed_loads(small, ("ttft_p50_s",)).columns[1:] == (PrintedColumn("TTFT p50", "ms", "lower"),)

    def test_the_best_stands_apart_at_its_load(self, small: Exported) -> None:
        def at(level: float, value: float) -> OperatingPoint:
            point = next(one for one in small.summaries[0].points if one.key.level == level)
            return replace(point, estimates={"ttft_p50_s": Estimate(value, 0.9 * value, 1.1 * value, 3, "x")})

        models = [replace(one, points=(at(1, low), at(16, high))) for one, low, high in zip(
            small.summaries[:2], (1.0, 4.0), (9.0, 3.0), strict=True)]
        found = printed_loads(replace(small, summaries=tuple(models)))
        assert [[cell.best for cell in row.cells] for row in found.rows] == [
            [False, True], [False, False], [False, False], [False, True],
        ]

    def test_workloads_flags_and_tools_are_told(self, loads: Exported) -> None:
        found = printed_loads(loads)
        flagged = next(number for number, note in enumerate(found.notes, 1) if note.startswith("Not to be trusted: "))
        assert any(flagged in row.notes for row in found.rows if row.name == "moe-fine")
        assert "Measured by vllm bench serve 0.32.0, bench.json." in found.notes
        two = exported_of(*(builders.serving_record(scenario=builders.serving_scenario(1, name=n)) for n in "ab"))
        assert [row.cells[0].text for row in printed_loads(two).rows] == ["a, 32 → 16 tokens", "b, 32 → 16 tokens"]

    def test_text_columns_go_left(self, small: Exported) -> None:
        assert "| --- | --- | --- | ---: |" in to_markdown(printed_loads(small))
        assert r"\begin{tabular}{lllrrrrr}" in to_latex(printed_loads(small))


class TestMarkdown:
    def test_table(self) -> None:
        text = to_markdown(table(PrintedCell("1.2", "± 0.3", best=True), PrintedCell(), notes=("Odd.",)))
        assert text == (
            "| Model | Kind | Speed (ms) ↑ | Speed (ms) ↑ |\n| --- | --- | ---: | ---: |\n"
            "| a (1) | MoE | **1.2** ± 0.3 | – |\n\nSuite x.\n\n(1) Odd.\n"
        )

    @pytest.mark.parametrize(("text", "shown"), [
        ("a|b", "a\\|b"), ("[x](y)", "\\[x\\](y)"), ("<b>", "\\<b\\>"), ("a_b", "a\\_b"), ("moe-8x2", "moe-8x2"),
        ("http://x", "http\\://x"), ("a: b", "a: b"), ("www.x", "www\\.x"), ("@a", "&#64;a"), ("$x$", "&#36;x&#36;"),
    ])
    def test_markup_is_escaped(self, text: str, shown: str) -> None:
        assert as_markdown(text) == shown

    def test_no_rows(self) -> None:
        assert to_markdown(printed(Exported("empty", (), None, "mean_score"))) == ""


class TestLatex:
    def test_table(self) -> None:
        cells = PrintedCell("12\u202f300", "± 40", best=True), PrintedCell("5.0", "+1.2 \u22120.3")
        text = to_latex(table(*cells, name="a_b"))
        assert text.splitlines() == [
            r"% \usepackage{booktabs}", r"\begin{tabular}{llrr}", r"\toprule",
            r"Model & Kind & Speed $\uparrow$ & Speed $\uparrow$ \\", r" &  & (ms) & (ms) \\", r"\midrule",
            r"a\_b & MoE & \textbf{12\,300} $\pm$ 40 & 5.0 ${}^{+1.2}_{-0.3}$ \\", r"\bottomrule", r"\end{tabular}",
            r"\par{\footnotesize Suite x.\par}",
        ]

    @pytest.mark.parametrize("name", ["small", "loads", "seeds"])
    def test_it_can_be_read_back(self, name: str, request: pytest.FixtureRequest) -> None:
        found = printed(request.getfixturevalue(name))
        rows = read_latex(to_latex(found))
        assert {len(row) for row in rows[:-1]} == {len(found.columns) + 2}
        assert [row[0].split(" (")[0] for row in rows[2:-1]] == [row.name for row in found.rows]

    @pytest.mark.parametrize(("text", "shown"), [
        ("\u00e9\u0160\u00fc", r"\'{e}\v{S}\"{u}"), ("\u00df\u0142", r"\ss{}\l{}"), ("\u4f60", r"\texttt{U+4F60}"),
        ("--x", "-{}-x"), ("---", "-{}-{}-"), ("moe-8x2", "moe-8x2"), ("100 %", r"100 \%"), ("a & b_c", r"a \& b\_c"),
        ("\u00b5s", r"$\mu$s"), ("\\input{x}", r"\textbackslash{}input\{x\}"),
    ])
    def test_text_is_escaped(self, text: str, shown: str) -> None:
        assert escaped(text) == shown

    def test_no_rows(self) -> None:
        assert to_latex(printed(Exported("empty", (), None, "mean_score"))) == ""

    @pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
    def test_it_compiles(self, small: Exported, tmp_path: Path) -> None:
        names = exported_of(*sites.awkward_records(), *sites.hostile_records())
        body = "\n".join(to_latex(of(suite)) for of in (printed, printed_loads) for suite in (small, names))
        text = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
        (tmp_path / "table.tex").write_text(text, encoding="ascii")
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
