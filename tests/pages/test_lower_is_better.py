"""A task of which less is better is told so everywhere, and never as a share: bits a byte, say, from 0 to 1."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import builders
import pytest
import sites
from rich.console import Console

from harness.compare import compare
from harness.comparison_table import comparison_table
from harness.exports.badge import suite_badge
from harness.exports.model_rows import model_table
from harness.exports.printed import printed
from harness.pages.evidence import evidence_files
from harness.pages.exported import exported_of
from harness.pages.figures import seeds_figure
from harness.pages.history_section import history_section
from harness.pages.index_page import IndexPage
from harness.pages.leaderboard import in_order
from harness.pages.model_page import ModelPage
from harness.pages.pair_page import PairPage
from harness.pages.recipes import group_columns, group_specs
from harness.pages.site import Site, build_site
from harness.pages.suite_view import SuiteView
from harness.record import Record
from harness.wording import in_points

BITS = {"moe-8x2": 0.824, "moe-fine": 0.853, "dense-active": 0.9, "dense-total": 0.876}
"""Bits a byte of each model."""


def bits_record(model: str, night: int, *, value: float | None = None, **changes: Any) -> Record:
    """A score of which less is better, without samples, a little less each night."""
    return builders.reported_record(
        value=(BITS[model] if value is None else value) - 0.01 * night, stderr=0.003, items=500, higher_is_better=False,
        task="bits", metric="bits_per_byte,none", chance=0.95, **{
            "model": model, "run_id": f"night-{night}", "started_at": builders.START + timedelta(days=night),
            "id": f"{night}{model}", **changes,
        },
    )


def suite_records() -> list[Record]:
    served = [builders.serving_record(model=model) for model in BITS]
    return [*served, *(bits_record(model, night) for night in (0, 1) for model in BITS)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build_site(sites.store_of(tmp_path_factory.mktemp("bits"), suite_records()), ["small"], named=False)


@pytest.fixture(scope="module")
def view(site: Site) -> SuiteView:
    return site.suites[0].view


def one_page(site: Site, kind: type, **wanted: str) -> Any:
    return next(page for page in site.pages if isinstance(page, kind)
                and all(getattr(page, name) == value for name, value in wanted.items()))


def test_the_leaderboard(site: Site) -> None:
    page = one_page(site, IndexPage)
    column = next(one for one in page.columns if one.key == "task-bits")
    place = page.columns.index(column) - (len(page.columns) - len(page.rows[0].cells) - len(page.rows[0].words))
    assert (column.direction, column.unit) == ("lower", "") and "lower" in column.classes.split()
    assert [row.name for row in page.rows] == ["moe-8x2", "moe-fine", "dense-total", "dense-active"]
    assert [row.cells[place].text for row in page.rows] == ["0.814", "0.843", "0.866", "0.890"]
    assert [row.cells[place].best for row in page.rows] == [True, False, False, False]
    assert "moe-8x2 leads" in page.lead and "%" not in page.lead.replace("95 %", "")


def test_the_drawer(view: SuiteView) -> None:
    content = next(file.content for file in evidence_files(view) if file.name.endswith("moe-8x2"))
    metric = content["metrics"]["score.bits"]
    assert (metric["better"], metric["unit"], metric["divisor"], metric["base"]) == ("lower", "", 1.0, "")
    assert ["score of guessing", "0.950"] in content["estimates"]["score.bits"]["terms"]


def test_the_history(view: SuiteView) -> None:
    section = history_section(view, view.models[0])
    assert section is not None
    packed = section.data["series"]["score.bits"]
    assert (packed["better"], packed["unit"]) == ("lower", "")
    row = next(row for row in section.latest.rows if row.title.startswith("Score on bits"))
    texts = [cell.text for cell in row.cells]
    assert (texts[0], texts[2], texts[3]) == ("0.890", "0.900", "\u22121.1 %")


def test_the_page_of_a_pair(site: Site, view: SuiteView) -> None:
    page = next(one for one in site.pages if isinstance(one, PairPage))
    assert page.effects is not None and page.tasks is not None
    row = next(row for block in page.effects.blocks for row in block.rows if row.title.startswith("bits"))
    assert row.title == page.tasks.rows[0].title == "bits\u00a0\u2193"
    assert [cell.text for cell in row.cells[:3]] == [cell.text for cell in page.tasks.rows[0].cells[:3]]
    assert "%" not in "".join(cell.text for cell in row.cells) and "points" not in row.cells[2].text


def test_the_page_of_a_model(site: Site) -> None:
    page = one_page(site, ModelPage, heading="moe-8x2")
    assert page.scores is not None and page.scores.rows[0].title == "bits\u00a0\u2193"
    assert [cell.text for cell in page.scores.rows[0].cells[:3]] == ["0.814", "500", "0.950"]


def test_the_chart_of_recipes(tmp_path: Path) -> None:
    records = [
        bits_record(model, 0, value=value + 0.001 * seed, group=group, subject=builders.subject(f"{group}-{seed}"),
                    id=f"{group}{seed}")
        for group, model, value in (("good", "moe-8x2", 0.8), ("bad", "dense-active", 0.9)) for seed in range(3)
    ]
    view = build_site(sites.store_of(tmp_path, records), ["small"], named=False).suites[0].view
    assert len(view.groups) == 2
    figure = seeds_figure(view)
    assert figure is not None
    axes = figure.content["layout"]
    assert axes["xaxis"]["title"]["text"].endswith("\u2193 better")
    # the last stands at the top
    assert axes["yaxis"]["categoryarray"] == ["bad", "good"]
    heads = group_columns(view, group_specs(view))
    assert [one.direction for one in heads if one.title == "bits"] == ["lower"]


def test_models_that_share_ranks_stand_by_their_score(view: SuiteView) -> None:
    ranks = dict.fromkeys(BITS, (1, 4))
    order = [view.models[place].model for place in in_order(view, view.models, ranks)]
    assert order == sorted(BITS, key=lambda model: BITS[model])


def test_the_mean_says_why_there_is_none(tmp_path: Path) -> None:
    records = [one for model in BITS for one in (bits_record(model, 0), builders.quality_record(model=model))]
    view = build_site(sites.store_of(tmp_path, records), ["small"], named=False).suites[0].view
    reasons = {model.no_mean_score for model in view.models}
    assert reasons == {"a mean of scores needs tasks where higher is better: bits"}


def test_the_interval_of_an_error_is_not_cut_at_1(tmp_path: Path) -> None:
    trainings = [
        bits_record("moe-8x2", 0, value=value, group="one", subject=builders.subject(f"one-{seed}"), id=f"one{seed}")
        for seed, value in enumerate((0.9, 0.95, 0.999))
    ]
    view = build_site(sites.store_of(tmp_path, trainings), ["small"], named=False).suites[0].view
    for one in (view.models[2], *view.groups):
        assert (one.scores["bits"].estimate.high or 0) > 1


def test_exports(view: SuiteView) -> None:
    exported = exported_of(view)
    table = printed(exported, ("score:bits",))
    assert (table.columns[0].unit, table.columns[0].better) == ("", "lower")
    assert [row.name for row in table.rows if row.cells[0].best] == ["moe-8x2"]
    assert [row.cells[0].text for row in table.rows] == ["0.890", "0.866", "0.814", "0.843"]
    column = next(one for one in model_table(exported).columns if one.name == "score_bits")
    assert (column.better, column.unit) == ("lower", "1")
    badge = suite_badge(exported)
    assert "moe-8x2 leads, 0.814" in badge and "%" not in badge.replace("95 %", "")


def test_the_terminal(view: SuiteView) -> None:
    file = io.StringIO()
    Console(file=file, width=100).print(comparison_table(compare(view.models[0], view.models[2])))
    row = next(line for line in file.getvalue().splitlines() if line.startswith("bits"))
    assert row.startswith("bits \u2193") and "%" not in row and "0.890" in row and "0.814" in row


def test_an_item_without_error_is_right(tmp_path: Path) -> None:
    def errors(model: str, *items: float) -> Record:
        found = builders.quality_record(model=model, task="wrong", item_scores=items)
        measured = found.outcome.measurement  # type: ignore[union-attr]
        score = measured.scores[0].model_copy(update={"higher_is_better": False})  # type: ignore[union-attr]
        outcome = found.outcome.model_copy(update={"measurement": measured.model_copy(update={"scores": (score,)})})
        return found.model_copy(update={"outcome": outcome})

    records = [errors("moe-8x2", 0.0, 0.0, 0.0, 1.0), errors("dense-active", 0.0, 1.0, 1.0, 1.0)]
    records += [builders.serving_record(model=model) for model in ("moe-8x2", "dense-active")]
    site = build_site(sites.store_of(tmp_path, records), ["small"], named=False)
    page = next(one for one in site.pages if isinstance(one, PairPage))
    assert page.tasks is not None
    # both right, only the first, only the second, neither
    assert [cell.text for cell in page.tasks.rows[0].cells[5:9]] == ["1", "2", "0", "1"]
    files = {file.name.split(".")[-1]: file.content for file in evidence_files(site.suites[0].view)}
    spread = files["moe-8x2"]["estimates"]["score.wrong"]["items"]["spread"]
    assert sorted(map(tuple, spread)) == [("right", "3 items"), ("wrong", "1 item")]


def test_a_score_of_which_less_is_better_matches_no_models(view: SuiteView) -> None:
    matching = compare(view.models[0], view.models[1], score="score:bits").matching
    assert "a score of which less is better" in matching.unknown["iso-quality"]


def test_a_difference_of_errors_is_in_no_points(view: SuiteView) -> None:
    effect = compare(view.models[0], view.models[1]).effect("score:bits")
    assert effect is not None and effect.better == "lower"
    assert in_points(effect) is False
