"""The page of a pair: verdict, crossover, curves, all effects, and on which items the two disagree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import builders
import pytest
import sites

from harness.matching import Pairing
from harness.pages import cards
from harness.pages.pair_page import PairPage, pair_page
from harness.pages.pairs_page import PairsPage
from harness.pages.site import Site, build_site
from harness.record import Record

pytestmark = pytest.mark.slow


def site_of(root: Path, suite: str, records: list[Record]) -> Site:
    return build_site(sites.store_of(root, records), [suite], named=True)


def pair_of(site: Site, title: str) -> PairPage:
    return next(page for page in site.pages if isinstance(page, PairPage) and page.title == title)


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_of(tmp_path_factory.mktemp("loads"), "loads", sites.load_records(6))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_of(tmp_path_factory.mktemp("small"), "small", builders.small_suite_records())


def test_every_card_leads_to_a_page(loads: Site) -> None:
    shown = next(page for page in loads.pages if isinstance(page, PairsPage))
    paths = {page.path for page in loads.pages if isinstance(page, PairPage)}
    assert {card.href for card in shown.cards} == paths
    assert "pairs/moe-8x2-dense-active.html" in paths


def test_pairs_of_several_suites_have_files_of_their_own(tmp_path: Path) -> None:
    records = [*builders.small_suite_records(), *sites.load_records()]
    site = build_site(sites.store_of(tmp_path, records), ["small", "loads"], named=True)
    paths = [page.path for page in site.pages if isinstance(page, PairPage)]
    assert len(paths) == len(set(paths))
    assert {"pairs/moe-8x2-dense-active.html", "pairs/loads-moe-8x2-dense-active.html"} <= set(paths)


def test_the_crossover_is_told_on_the_page_and_on_the_card(loads: Site) -> None:
    page = pair_of(loads, "moe-8x2 beside dense-active")
    assert "; it overtakes at about " in page.lead and page.crossovers == ()
    shown = next(page for page in loads.pages if isinstance(page, PairsPage))
    card = next(one for one in shown.cards if one.href == page.path)
    assert (card.sentence, card.crossover) == (page.lead, "")
    shapes = page.curves[0].figures[0].content["layout"]["shapes"]
    assert [shape["type"] for shape in shapes] == ["rect", "line"]


def test_p_looks_certain_beside_a_verdict(small: Site) -> None:
    view = small.suites[0].view
    models = {one.model: one for one in view.models}
    pair = cards.pair_of(Pairing(models["moe-8x2"], models["dense-total"], ()), "pairs/x.html", view.score)
    (first, *others) = pair.comparison.effects
    told = replace(first, adjusted_p=0.0497, verdict="better", exact=False)
    page = pair_page(view, replace(pair, comparison=replace(pair.comparison, effects=(told, *others))))
    assert page.effects is not None
    rows = [row for block in page.effects.blocks for row in block.rows if row.title.startswith(first.title)]
    assert ["better", "< 0.05"] in [[cell.text for cell in row.cells[-2:]] for row in rows]


def test_closed_and_open_loops_have_curves_of_their_own(loads: Site) -> None:
    curves = pair_of(loads, "moe-8x2 beside dense-active").curves
    assert [one.title for one in curves] == [
        "chat, 32 \u2192 16 tokens", "chat, 32 \u2192 16 tokens, requests arriving at a rate",
    ]
    ids = [figure.id for one in curves for figure in one.figures]
    assert len(ids) == len(set(ids)) == 5


def test_effects_are_grouped_by_load_with_what_is_counted_last(small: Site) -> None:
    effects = pair_of(small, "moe-8x2 beside dense-active").effects
    assert effects is not None
    assert [block.title for block in effects.blocks] == [
        "Memory", "1 concurrent request", "4 concurrent requests", "16 concurrent requests", "Scores", "Counted",
    ]
    assert {len(row.cells) + 2 for block in effects.blocks for row in block.rows} == {len(effects.columns)}
    speed = effects.blocks[1].rows[0]
    assert speed.title == "Output tokens/s\u00a0\u2191"
    assert speed.cells[2].text.endswith("\u00d7") and " to " in speed.cells[3].text


def test_tasks_tell_on_which_items_the_two_disagree(small: Site) -> None:
    tasks = pair_of(small, "moe-8x2 beside dense-active").tasks
    assert tasks is not None
    facts = next(row for row in tasks.rows if row.title == "facts")
    items, both, only_a, only_b, neither = (int(value.text) for value in facts.cells[4:9])
    assert items == both + only_a + only_b + neither == 200
    assert (both + only_a) / items == pytest.approx(0.795)


def test_what_was_not_compared_is_listed_with_results_of_other_tools(loads: Site) -> None:
    page = pair_of(loads, "imported-moe beside dense-active")
    assert "chat, concurrency 1: imported-moe was not measured." in page.missing
    assert "imported-moe was measured in part by vllm bench serve." in page.caveats
    assert pair_of(loads, "moe-fine beside dense-active").missing == (
        "chat, concurrency 4: moe-fine: 16 of 64 requests were timed.",
    )


def test_a_pair_that_shares_no_load_has_a_page_without_curves(tmp_path: Path) -> None:
    records = [builders.quality_record(model=model) for model in ("moe-8x2", "dense-active")]
    page = pair_of(site_of(tmp_path, "small", records), "moe-8x2 beside dense-active")
    assert page.curves == () and page.crossovers == ()
    assert page.tasks is not None


def test_recipes_have_pair_pages_too(tmp_path: Path) -> None:
    page = pair_of(site_of(tmp_path, "seeds", sites.seed_records()), "moe-8x2 beside dense-active")
    assert [side.link.href for side in page.sides] == ["", ""]
    assert page.curves


class TestMatchings:
    def test_all_six_with_their_mismatch(self, small: Site) -> None:
        rows = {row.title: row.cells for row in pair_of(small, "moe-8x2 beside dense-active").matchings.rows}
        assert list(rows) == [
            "Active parameters", "Total parameters", "Memory: weights and cache", "Decode FLOPs/token",
            "Mean score", "Cost of a million output tokens",
        ]
        active = [cell.text for cell in rows["Active parameters"]]
        assert active == ["109 k", "108 k", "1.01×", "nearly equal", "\u2013"]
        assert rows["Total parameters"][3].text == "not equal"
        assert rows["Memory: weights and cache"][4].text == "16 concurrent requests"
        assert rows["Mean score"][2].text.endswith(" points")
        assert rows["Cost of a million output tokens"][0].marks[0].label == "not known"


class TestForest:
    def test_one_line_a_task_and_the_mean_below(self, small: Site) -> None:
        page = pair_of(small, "moe-8x2 beside dense-active")
        assert page.forest is not None
        content = page.forest.content
        assert content["layout"]["yaxis"]["categoryarray"][0] == "Mean score"
        drawn = {name: (x, trace["marker"]["symbol"]) for trace in content["data"]
                 for name, x in zip(trace["y"], trace["x"], strict=True)}
        assert set(drawn) == {"Mean score", "facts", "sort"}
        assert drawn["facts"][0] == pytest.approx(100 * (0.795 - 0.63), abs=2)
        assert drawn["facts"][1] == "circle"

    def test_what_is_not_certain_is_an_open_mark(self, small: Site) -> None:
        figures = [page.forest for page in small.pages if isinstance(page, PairPage) and page.forest]
        drawn = [
            (text.rpartition(", ")[2], trace["marker"]["symbol"])
            for figure in figures for trace in figure.content["data"] for text in trace["text"]
        ]
        assert {verdict for verdict, _ in drawn} == {"better", "worse", "not told apart"}
        assert all(symbol.endswith("-open") == (verdict == "not told apart") for verdict, symbol in drawn)

    def test_one_task_is_no_figure(self, tmp_path: Path) -> None:
        records = [builders.quality_record(model=model) for model in ("moe-8x2", "dense-active")]
        assert pair_of(site_of(tmp_path, "small", records), "moe-8x2 beside dense-active").forest is None


class TestEvidence:
    def test_numbers_name_the_estimates_behind_them(self, small: Site) -> None:
        effects = pair_of(small, "moe-8x2 beside dense-active").effects
        assert effects is not None
        speed = next(block for block in effects.blocks if block.title == "1 concurrent request").rows[0]
        of_a, of_b, ratio = speed.cells[:3]
        assert of_a.evidence and of_b.evidence and of_a.evidence != of_b.evidence
        assert ratio.evidence == f"{of_a.evidence} {of_b.evidence}"
        assert ratio.basis.startswith("moe-8x2 / dense-active = 0.86\u00d7; Welch interval")
        assert "; p 0.0" in ratio.basis

    def test_matched_numbers_and_their_mismatch_name_what_they_are(self, small: Site) -> None:
        rows = {row.title: row.cells for row in pair_of(small, "moe-8x2 beside dense-active").matchings.rows}
        for title, key in (
            ("Active parameters", "active_parameters"), ("Total parameters", "total_parameters"),
            ("Memory: weights and cache", "weights_and_cache_bytes.chat-concurrency-16"),
            ("Decode FLOPs/token", "decode_flops_per_token.chat-concurrency-16"), ("Mean score", "mean_score"),
        ):
            a, b, mismatch = rows[title][:3]
            assert (a.evidence, b.evidence) == (f"small.moe-8x2.{key}", f"small.dense-active.{key}")
            assert mismatch.evidence == f"{a.evidence} {b.evidence}" and mismatch.basis.endswith(mismatch.text)

    def test_counts_of_items_lead_to_both_scores(self, small: Site) -> None:
        tasks = pair_of(small, "moe-8x2 beside dense-active").tasks
        assert tasks is not None
        for row in tasks.rows:
            names = row.cells[2].evidence
            assert {cell.evidence for cell in row.cells[4:9]} == {names}
