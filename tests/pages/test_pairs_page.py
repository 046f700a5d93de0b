"""All pairs on one page: the table of verdicts, by what it can be filtered, the cards, and what could be measured."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import builders
import pytest
import sites

from harness.compare import compare
from harness.matching import Pairing
from harness.pages.cards import Pair, pair_of
from harness.pages.pair_page import PairPage
from harness.pages.pairs_page import _ANY_FIRST, _SPARSE_FIRST, PairsPage, _changes, _crossover
from harness.pages.render import jinja_environment
from harness.pages.site import Site, build_site
from harness.record import Record
from harness.suite import parse_suite
from harness.summarise import summarise
from harness.wording import MARKS

pytestmark = pytest.mark.slow


def site_of(root: Path, suite: str, records: list[Record], **options: object) -> Site:
    return build_site(sites.store_of(root, records), [suite], named=True, **options)  # type: ignore[arg-type]


def page_of(site: Site) -> PairsPage:
    return next(page for page in site.pages if isinstance(page, PairsPage))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_of(tmp_path_factory.mktemp("small"), "small", builders.small_suite_records())


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_of(tmp_path_factory.mktemp("loads"), "loads", sites.load_records(6))


class TestTable:
    def test_one_row_a_pair_that_leads_to_its_page(self, small: Site) -> None:
        page = page_of(small)
        paths = {one.path for one in small.pages if isinstance(one, PairPage)}
        assert {row.href for row in page.rows} == {card.href for card in page.cards} == paths
        assert [(row.sparse, row.dense) for row in page.rows] == [
            (card.sparse.text, card.dense.text) for card in page.cards
        ]
        assert {row.kinds for row in page.rows} == {("sparse", "dense")}
        assert {len(row.cells) + 3 for row in page.rows} == {len(page.columns)}

    def test_the_load_is_in_the_head_where_all_rows_have_it(self, small: Site, loads: Site) -> None:
        heads = {column.key: column.unit for column in page_of(small).columns}
        assert [heads[key] for key in ("low", "middle", "high")] == ["at 1", "at 4", "at 16"]
        heads = {column.key: column.unit for column in page_of(loads).columns}
        assert heads["high"] == ""  # an imported model was measured at 16 alone
        high = [column.key for column in page_of(loads).columns].index("high") - 2
        below = {row.sparse: row.cells[high].below for row in page_of(loads).rows}
        assert below["imported-moe"] == "at 16: no interval" and below["moe-8x2"].startswith("at 32: ")

    def test_a_cell_says_its_verdict_in_words_and_by_a_mark(self, loads: Site) -> None:
        cells = [cell for row in page_of(loads).rows for cell in row.cells]
        verdicts = {cell.verdict: cell.glyph for cell in cells}
        assert verdicts["better"] == "\u25b2" and verdicts["worse"] == "\u25bc" and verdicts["too little data"] == "?"
        assert verdicts["not compared"] == "" and verdicts["nearly equal"] == MARKS["nearly equal"]
        assert len(set(MARKS.values())) == len(MARKS) and [one.verdict for one in page_of(loads).glyphs] == [*MARKS]
        assert all(float(cell.order) > 0 for cell in cells if cell.text)

    def test_every_load_with_a_certain_output_rate_is_told(self, loads: Site) -> None:
        models = {one.model: one for one in summarise(builders.with_paths(sites.load_records(6)))}
        page, told = page_of(loads), 0
        keys = [column.key for column in page.columns][2:]
        for row in page.rows:
            effects = [one for one in compare(models[row.sparse], models[row.dense]).effects
                       if one.metric == "output_tokens_per_s" and one.verdict in ("better", "worse")]
            cells = dict(zip(keys, row.cells, strict=False))
            other = cells["others"]
            shown = sum(cells[key].verdict in ("better", "worse") for key in ("low", "middle", "high"))
            listed = [one for cell in (other, *other.also) if cell.text for one in re.split("[,;] ", cell.below)]
            assert shown + len(listed) == len(effects)
            assert {cell.verdict for cell in (other, *other.also)} <= {"better", "worse", "none"}
            told += len(listed)
        assert told

    def test_where_nothing_is_certain_elsewhere_there_is_no_column(self, small: Site) -> None:
        assert "others" not in {column.key for column in page_of(small).columns}

    def test_what_no_pair_has_is_no_column(self, small: Site, loads: Site) -> None:
        assert "cost" not in {column.key for column in page_of(small).columns}
        assert "quality" not in {column.key for column in page_of(loads).columns}

    def test_the_crossover_says_who_is_ahead_beyond_it(self, loads: Site) -> None:
        crossing = {(row.sparse, row.dense): row.crossover for row in page_of(loads).rows}
        assert re.fullmatch(r"\u25b2 \d(\.\d)?", crossing["moe-8x2", "dense-active"])
        assert crossing["imported-moe", "dense-active"] == "\u2013"

    def test_a_choice_is_named_as_what_it_chooses(self, small: Site) -> None:
        titles = {one.title: {choice.id: choice.title for choice in one.choices} for one in page_of(small).facets}
        assert titles["Matching"]["iso-quality"] == "Mean score" and "Score" not in titles
        assert {"Verdict on score", "Verdict on speed at high load"} & set(titles)

    def test_the_lead_counts_verdicts(self, small: Site, loads: Site) -> None:
        lead = page_of(loads).lead
        assert lead.startswith("Output tokens/s of the sparse model at ")
        counts, _, range_ = lead.partition("; where they are told apart, it serves ")
        assert sum(map(int, re.findall(r"in (\d+)", counts))) == len(page_of(loads).rows)
        assert re.match(r"0\.\d+× to [1-9]\.\d+× the tokens; it overtakes in \d, at about \d", range_)
        assert " of 4 pairs" in page_of(small).lead and page_of(small).lead.startswith("Score of the sparse model: ")


class TestFacets:
    def test_every_choice_occurs_and_counts_its_rows(self, small: Site, loads: Site) -> None:
        for page in (page_of(small), page_of(loads)):
            held = [set(row.filters.split()) for row in page.rows]
            for facet in page.facets:
                assert len(facet.choices) > 1
                for choice in facet.choices:
                    assert choice.count == sum(f"{facet.id}:{choice.id}" in one for one in held) > 0

    def test_by_matching_score_speed_and_crossover(self, loads: Site) -> None:
        facets = {facet.id: [choice.title for choice in facet.choices] for facet in page_of(loads).facets}
        assert facets["matching"][:2] == ["Active parameters", "Total parameters"]
        assert {"Better", "Too little data"} <= set(facets["speed"])
        assert "Sparse overtakes" in facets["crossover"]
        assert "score" not in facets  # nothing was scored, so there is nothing to choose by


class TestCards:
    def test_every_sparse_model_meets_its_dense_matches(self, small: Site) -> None:
        cards = page_of(small).cards
        assert [(card.sparse.text, card.dense.text) for card in cards] == [
            ("moe-8x2", "dense-active"), ("moe-8x2", "dense-total"),
            ("moe-fine", "dense-active"), ("moe-fine", "dense-total"),
        ]
        assert cards[0].matching.startswith("Nearly equal active parameters (1.01×)")
        assert cards[0].sentence.startswith("At nearly equal active parameters (1.01×), moe-8x2 ")
        assert [effect.title for effect in cards[0].effects] == [
            "Mean score", "Tokens/s at 1", "Tokens/s at 4", "Tokens/s at 16", "Memory at 16",
        ]

    def test_bars_of_all_cards_are_on_one_scale(self, small: Site) -> None:
        page = page_of(small)
        steps: dict[str, list[float]] = {"\u00d7": [], "points": []}
        for effect in (effect for card in page.cards for effect in card.effects):
            text, place = effect.value.text.replace("\u2212", "-"), float(effect.at) - 50
            if text.endswith("\u00d7") and abs(float(text[:-1]) - 1) > 0.1:
                steps["\u00d7"].append(place / math.log(float(text[:-1])))
            elif text.endswith(" points") and abs(float(text.split()[0])) > 2:
                steps["points"].append(place / float(text.split()[0]))
        assert all(len(found) > 1 and max(found) < 1.1 * min(found) for found in steps.values())
        scale = r"on one scale for all pairs \(\u2212[\d.]+ to \+[\d.]+ points and 0\.\d+ to [\d.]+\u00d7\)"
        assert re.search(scale, page.note)

    def test_bars_stay_in_their_box(self, small: Site, loads: Site) -> None:
        for effect in (effect for site in (small, loads) for card in page_of(site).cards for effect in card.effects):
            assert 0 <= float(effect.low) <= float(effect.at) <= float(effect.high) <= 100
            assert (float(effect.at) > 50) == (effect.value.text.startswith(("+", "1.", "2.")) and effect.at != "50")

    def test_sentences_are_those_of_the_terminal(self, loads: Site) -> None:
        card = next(card for card in page_of(loads).cards if card.href == "pairs/moe-8x2-dense-active.html")
        assert "; it overtakes at about " in card.sentence
        page = next(one for one in loads.pages if isinstance(one, PairPage) and one.path == card.href)
        assert page.lead == card.sentence

    def test_a_card_stays_small(self, small: Site) -> None:
        page = page_of(small)
        text = jinja_environment(sites.TEMPLATES).get_template(page.template).render(page=page)
        cards = [part.partition("</article>")[0] for part in text.split("<article")[1:]]
        rows = text[text.index("<tbody>"):text.index("</tbody>")].split("<tr")[1:]
        assert max(map(len, cards)) < 2_800 and max(map(len, rows)) < 1_900
        assert len(cards) == len(rows) == 4


def test_models_without_a_match_are_named_and_the_catalog_helps(tmp_path: Path) -> None:
    records = [builders.serving_record(model="moe-8x2")]
    page = page_of(site_of(tmp_path, "small", [
        *records, builders.serving_record(model="qwen", config=_config_of("qwen3-30b-a3b")),
    ], suites_dir=sites.SUITES))
    assert page.rows == () and page.cards == ()
    assert page.unmatched == "No measured dense model is near enough (within a factor of 2) to moe-8x2 and qwen."
    assert page.suggestions is not None
    assert {row.title for row in page.suggestions.rows} == {"qwen"}
    assert all(re.search(r"(parameters|memory|FLOPs/token) \([01]\.\d\d×\)", row.cells[1].text)
               for row in page.suggestions.rows)


def _config_of(name: str) -> dict[str, object]:
    from harness.catalog import Catalog

    return dict(Catalog(sites.SUITES).load(name).config or {})


def test_pairs_that_the_suite_names_and_that_are_not_there_say_why(tmp_path: Path) -> None:
    records = [
        builders.serving_record(model=model, group=group, suite="mine", config=builders.CONFIGS[kind])
        for model, group, kind in (
            ("moe-s0", "moe", "moe-8x2"), ("dense-s0", "dense", "dense-active"), ("dense-s1", "dense", "dense-active"),
        )
    ]
    models = [
        {"name": name, "path": name, **({"group": group} if group else {})} for name, group in (
            ("moe-s0", "moe"), ("dense-s0", "dense"), ("dense-s1", "dense"), ("late", ""),
        )
    ]
    pairs = [{"sparse": a, "dense": [b]} for a, b in (("moe", "dense"), ("moe-s0", "dense-s1"), ("late", "dense"))]
    definition = parse_suite(json.dumps({
        "name": "mine", "title": "Mine", "models": models, "comparisons": pairs,
        "serving": [{"prompt_tokens": 8, "output_tokens": 8, "concurrency": [1]}],
    }), where="mine.yaml")
    page = page_of(site_of(tmp_path, "mine", records, definitions={"mine": definition}))
    assert page.absent == (
        "The suite names them, but these pairs are not there: moe with dense, as moe is a recipe of which one training "
        "is known, moe-s0; moe-s0 with dense-s1, as dense-s1 is a training of dense, which is compared as a whole; "
        "late with dense, as late has no results."
    )
    assert page.absent in jinja_environment(sites.TEMPLATES).get_template(page.template).render(page=page)


def named_pair(root: Path, first: str, second: str, matching: str = "") -> PairsPage:
    """The page of a suite that names one pair."""
    models = "\n".join(f"  - {{name: {name}, path: pocket/{name}}}" for name in builders.CONFIGS)
    suite = parse_suite(f"""
name: small
title: A small suite
models:
{models}
comparisons: [{{sparse: {first}, dense: [{second}], matching: [{matching}]}}]
serving: [{{prompt_tokens: 64, output_tokens: 32, concurrency: [1, 4]}}]
""", where="small.yaml")
    return page_of(site_of(root, "small", builders.small_suite_records(), definitions={"small": suite}))


def test_named_pairs_come_first_and_say_what_they_are_not(tmp_path: Path) -> None:
    page = named_pair(tmp_path, "moe-fine", "dense-total", "iso-total")
    assert (page.rows[0].sparse, page.rows[0].dense) == ("moe-fine", "dense-total")
    assert "\u2248\u00a0total\u00a0parameters\u00a01.07×" in page.rows[0].matching


@pytest.mark.parametrize(("first", "second", "of"), [
    ("dense-active", "dense-total", "two dense models"), ("moe-8x2", "moe-fine", "two sparse models"),
])
def test_a_named_pair_of_one_kind_is_shown_as_what_it_is(tmp_path: Path, first: str, second: str, of: str) -> None:
    page = named_pair(tmp_path, first, second)
    row, card = page.rows[0], page.cards[0]
    assert (row.sparse, row.dense) == (card.sparse.text, card.dense.text) == (first, second)
    kind = "dense" if "dense" in of else "sparse"
    assert row.kinds == card.kinds == (kind, kind)
    assert page.lead.endswith(f" Not counted here: 1 named pair of {of}.") and " of 4 pairs, " in page.lead
    assert page.note.startswith("Verdicts are on the first model, ") and page.column_groups[0][0] == "First and second"
    text = jinja_environment(sites.TEMPLATES).get_template(page.template).render(page=page)
    assert "▲ the first model is ahead beyond it, ▼ the second one" in text and "sparse model is ahead" not in text
    assert text.partition("<article")[2].partition("</h3>")[0].count(f'"shape {kind}"') == 2


def test_of_sparse_against_dense_alone_the_words_say_so(small: Site) -> None:
    page = page_of(small)
    assert page.note.startswith("Verdicts are on the sparse model, ")
    assert page.column_groups[0][0] == "Sparse against dense" and "Not counted" not in page.lead


def test_what_the_suite_asks_for_is_not_called_nearest(tmp_path: Path) -> None:
    card = named_pair(tmp_path, "moe-8x2", "dense-active", "iso-total").cards[0]
    assert (card.sparse.text, card.dense.text) == ("moe-8x2", "dense-active")
    assert re.search(r"; not equal but asked for in total parameters \(3\.\d\d×\)$", card.matching), card.matching
    asked = named_pair(tmp_path / "other", "moe-8x2", "dense-total", "iso-active").cards[0].matching
    assert "asked for in active parameters" in asked and "nearest measured in active" not in asked


@pytest.fixture(scope="module")
def pair() -> Pair:
    found = {one.model: one for one in summarise(builders.with_paths(sites.load_records(6)))}
    return pair_of(Pairing(found["moe-8x2"], found["dense-active"], ()), "pairs/x.html")


class TestToldCrossing:
    def test_a_certain_one_goes_before_one_that_may_be(self, pair: Pair) -> None:
        (sure,) = pair.crossings
        doubtful = replace(sure, workload=("other", *sure.workload[1:]), overtakes=sure.b, low=None)
        for crossings in ((doubtful, sure), (sure, doubtful)):
            both = replace(pair, crossings=crossings)
            assert _crossover(both) == _crossover(pair) and _changes(both, _SPARSE_FIRST) == "sparse overtakes"
        alone = replace(pair, crossings=(doubtful,))
        assert _crossover(alone)[0].startswith("? \u25bc ") and _changes(alone, _SPARSE_FIRST) == "may change the lead"

    def test_two_of_one_kind_are_the_first_and_the_second(self, pair: Pair) -> None:
        assert _changes(pair, _ANY_FIRST) == "first overtakes"


def test_what_a_card_does_not_compare_is_a_sentence(loads: Site) -> None:
    cards = [card for card in page_of(loads).cards if card.missing]
    assert cards
    for card in cards:
        assert re.fullmatch(r"(Not compared: [^.].*?\. ?)?([A-Z\d].*\.)?", card.missing), card.missing
    assert any(card.missing.startswith("Not compared: ") for card in cards)
