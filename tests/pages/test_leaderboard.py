from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import builders
import pytest
import sites

from harness.errors import InputError
from harness.pages.index_page import IndexPage
from harness.pages.leaderboard import Row
from harness.pages.leaderboard_columns import FIXED_COLUMNS, TEXT_COLUMNS
from harness.pages.model_page import ModelPage
from harness.pages.pairs_page import PairsPage
from harness.pages.parts import Page, Slugs, Value
from harness.pages.site import Site, build_site
from harness.ranking import best_of
from harness.record import Record
from harness.scenario import Load, Offline, OpenLoop, Replay
from harness.stats import Estimate
from harness.suite import parse_suite

pytestmark = pytest.mark.slow


def _site(root: Path, records: list[Record], **options: object) -> Site:
    store = sites.store_of(root, records)
    return build_site(store, store.suites(), named=False, **options)  # type: ignore[arg-type]


Kind = TypeVar("Kind", bound=Page)


def _page(site: Site, kind: type[Kind], title: str | None = None) -> Kind:
    return next(page for page in site.pages if isinstance(page, kind) and title in (None, page.title))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return _site(tmp_path_factory.mktemp("small"), builders.small_suite_records())


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Site:
    records = [*builders.small_suite_records(), *sites.awkward_records()]
    return _site(tmp_path_factory.mktemp("awkward"), records)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return _site(tmp_path_factory.mktemp("seeds"), sites.seed_records())


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return _site(tmp_path_factory.mktemp("loads"), sites.load_records())


def _row(index: IndexPage, name: str) -> Row:
    return next(row for row in index.rows if row.name == name)


def _cell(index: IndexPage, model: str, column: str) -> Value:
    titles = [column.title for column in index.columns]
    return _row(index, model).cells[titles.index(column) - 4]


# The table -------------------------------------------------------------------------------------------------------


def test_models_that_overlap_share_ranks_and_come_in_their_order(small: Site) -> None:
    rows = _page(small, IndexPage).rows
    assert [(row.name, row.rank.text) for row in rows] == [
        ("dense-total", "1\u20133"), ("moe-fine", "1\u20133"), ("moe-8x2", "1\u20134"), ("dense-active", "3\u20134"),
    ]


def test_a_row_has_a_cell_for_every_column_and_the_headings_span_them_all(small: Site) -> None:
    index = _page(small, IndexPage)
    assert {FIXED_COLUMNS + len(row.cells) + len(row.words) for row in index.rows} == {len(index.columns)}
    assert sum(group.span for group in index.column_groups) == len(index.columns)


def test_kinds_come_from_the_counted_structure(small: Site) -> None:
    rows = {row.name: (row.kind, row.kind_text) for row in _page(small, IndexPage).rows}
    assert rows == {
        "moe-8x2": ("sparse", "8 \u00d7 top-2"),
        "moe-fine": ("sparse", "16 \u00d7 top-3 + 1 shared"),
        "dense-active": ("dense", "dense"),
        "dense-total": ("dense", "dense"),
    }


def test_units_are_in_the_heads_and_values_sort_by_their_base_unit(small: Site) -> None:
    index = _page(small, IndexPage)
    units = {column.title: (column.unit, column.direction) for column in index.columns}
    assert units["Output"] == ("tokens/s", "higher")
    assert units["TTFT p50"] == ("ms", "lower")
    assert units["Weights"] == ("kB", "lower")
    assert units["Mean"] == ("%", "higher")
    weights = _cell(index, "moe-8x2", "Weights")
    assert float(weights.order) == pytest.approx(float(weights.text) * 1000, rel=0.005)


def test_measured_values_have_margins_and_counted_ones_none(small: Site) -> None:
    index = _page(small, IndexPage)
    assert _cell(index, "moe-8x2", "Output").margin.startswith("\u00b1 ")
    assert _cell(index, "moe-8x2", "FLOPs/token").margin == ""


def test_the_bar_of_a_sparse_model_is_active_within_total(small: Site) -> None:
    row = _row(_page(small, IndexPage), "moe-8x2")
    assert 0 < float(row.active_width) < float(row.rest_width)
    assert float(_row(_page(small, IndexPage), "dense-total").rest_width) == 0


def test_only_a_value_that_stands_apart_is_bold(small: Site) -> None:
    index = _page(small, IndexPage)
    assert [_cell(index, row.name, "Output").best for row in index.rows] == [False, False, False, True]
    assert not any(_cell(index, row.name, "Mean").best for row in index.rows)


@pytest.mark.parametrize(("estimates", "best"), [
    ([(3, 2.5, 3.5), (2, 1.8, 2.2)], 0),
    ([(3, 2.1, 3.9), (2, 1.8, 2.2)], None),
    ([(3, None, None), (2, 1.8, 2.2)], None),
    ([(3, 3, 3), (3, 3, 3)], None),
    ([(3, 3, 3), None], None),
    ([(1, 1, 1), (3, 3, 3), (2, 2, 2)], 1),
])
def test_best_of(estimates: list[tuple[float, float | None, float | None] | None], best: int | None) -> None:
    found = [None if one is None else Estimate(one[0], one[1], one[2], 3, "") for one in estimates]
    assert best_of(found, "higher") == best
    assert best_of(found, "none") is None


# What was not measured -------------------------------------------------------------------------------------------


def test_a_missing_value_is_a_mark_with_its_reason(awkward: Site) -> None:
    index = _page(awkward, IndexPage)
    failed, refused = _cell(index, "broken", "Output"), _cell(index, "huge", "Output")
    assert (failed.marks[0].state, failed.marks[0].reason) == ("failed", "out-of-memory: needed more than there is")
    assert (refused.marks[0].state, refused.marks[0].reason) == ("refused", "needs 90 GB of 80 GB")
    assert _cell(index, "broken", "Weights").marks[0].label == "not measured"
    assert all(cell.text or cell.marks for row in index.rows for cell in row.cells)
    assert all(row.rank.text or row.rank.marks for row in index.rows)


def test_counted_columns_stay_where_serving_failed(awkward: Site) -> None:
    assert _cell(_page(awkward, IndexPage), "broken", "FLOPs/token").text == "240"


def test_a_failed_repeat_is_marked_beside_the_value(awkward: Site) -> None:
    cell = _cell(_page(awkward, IndexPage), "dense-total", "sort")
    assert cell.text
    assert [mark.state for mark in cell.marks] == ["failed"]


def test_random_weights_are_flagged_and_neither_ranked_nor_bold(awkward: Site) -> None:
    index = _page(awkward, IndexPage)
    row = _row(index, "dummy-moe")
    assert [mark.label for mark in row.marks] == ["dummy weights"]
    assert "random" in row.rank.marks[0].reason
    assert not _cell(index, "dummy-moe", "Output").best
    assert not any("dummy-moe" in (card.sparse.text, card.dense.text) for card in _page(awkward, PairsPage).cards)


def test_a_flagged_timing_says_why_and_is_not_compared(tmp_path: Path) -> None:
    records = builders.small_suite_records()
    longer = builders.serving_scenario(16, requests=70)
    records += [
        builders.serving_record(model="dense-active", repeat=repeat, scenario=builders.serving_scenario(16),
                                tokens_per_s=9000.0, minutes=900)
        for repeat in range(3)
    ]
    spoiled = [record.model_copy(update={
        "cell": record.cell.model_copy(update={"scenario": longer}), "id": f"spoiled{index}",
    }) for index, record in enumerate(records[-3:])]
    index = _page(_site(tmp_path, [*records[:-3], *spoiled]), IndexPage)
    cell = _cell(index, "dense-active", "Output")
    assert [mark.label for mark in cell.marks] == ["flagged"]
    assert "64 of 70 requests" in cell.marks[0].reason
    assert not cell.best


def test_a_flagged_timing_takes_no_rank_by_score(tmp_path: Path) -> None:
    records = [*builders.small_suite_records(repeats=2), *(
        builders.serving_record(
            model="moe-fine", repeat=repeat, tokens_per_s=9500.0 + repeat, minutes=900,
            scenario=builders.serving_scenario(16, min_duration_s=3600.0),
        )
        for repeat in range(2)
    )]
    site = _site(tmp_path, records)
    index = _page(site, IndexPage)
    row = _row(index, "moe-fine")
    assert row.rank.text == "1\u20133" and not row.rank.marks
    assert "of 4 by mean score" in _page(site, ModelPage, "moe-fine").lead
    speeds = [cell for cell in row.cells if any(mark.label == "flagged" for mark in cell.marks)]
    assert speeds and not any(cell.best for cell in speeds)
    assert "moe-fine gives the most" not in index.lead


def test_scores_of_other_questions_are_not_ranked(tmp_path: Path) -> None:
    records = [
        builders.quality_record(model=model, scenario=builders.quality_scenario(lm_eval_task=task), item_scores=items)
        for model, task, items in (
            ("a", "facts_a", (1.0,) * 50), ("b", "facts_a", (0.0,) * 50), ("c", "facts_b", (1.0, 0.0) * 25),
        )
    ]
    site = _site(tmp_path, records)
    index = _page(site, IndexPage)
    assert [_row(index, name).rank.text for name in "abc"] == ["1", "2", ""]
    (mark,) = _row(index, "c").rank.marks
    assert mark.reason == (
        "Not ranked: asked otherwise than those that are ranked (facts: task facts_b against facts_a)."
    )
    assert "Not ranked: asked otherwise" in _page(site, ModelPage, "c").lead
    assert "1 more model is not ranked, having been asked otherwise." in index.lead
    assert not any(cell.best for row in index.rows for cell in row.cells)


def test_what_an_adaptive_sweep_skips_is_counted_nowhere(tmp_path: Path) -> None:
    skipped = builders.skipped_record(model="moe-8x2", scenario=builders.serving_scenario(64))
    site = _site(tmp_path, [*builders.small_suite_records(), skipped])
    index = _page(site, IndexPage)
    assert index.failures == () and "Not measured" not in index.lead
    facts = [fact.text for fact in index.facts]
    assert "no failed cells" in facts and not any("skipped" in fact for fact in facts)
    assert not any(cell.marks for row in index.rows for cell in row.cells[:index.seen - FIXED_COLUMNS])
    assert _page(site, ModelPage, "moe-8x2").failures == ()


def test_further_columns_of_speed_wait_to_be_asked_for(loads: Site) -> None:
    index = _page(loads, IndexPage)
    later = {column.title: column.unit for column in index.columns if "later" in column.classes}
    assert (later["Steady output"], later["Variation"], later["TTFT p99"]) == ("tokens/s", "%", "ms")
    assert [column.title for column in index.columns if "later" not in column.classes] == [
        "Rank", "Model", "Kind", "Total", "Active", "Output", "TTFT p50", "TPOT p50", "FLOPs/token", "KV per 1k",
    ]
    assert _cell(index, "imported-moe", "Variation").marks[0].reason == "It takes at least two repeats."
    assert [mark.label for mark in _cell(index, "imported-moe", "Output").marks] == ["imported"]


def test_failures_are_listed_with_their_reasons(awkward: Site) -> None:
    failures = {row.model: (row.what, row.state) for row in _page(awkward, IndexPage).failures}
    assert failures["broken"] == ("chat, 16 concurrent", "failed")
    assert failures["huge"] == ("chat, 16 concurrent", "refused")
    page = _page(awkward, ModelPage, "broken")
    assert page.failures[0].log.startswith("Traceback")
    assert page.failures[0].records


# Words -----------------------------------------------------------------------------------------------------------


def test_the_footer_counts_records_and_the_cells_that_they_repeat(small: Site) -> None:
    page = _page(small, IndexPage)
    cells = {record.cell.id for record in builders.small_suite_records()}
    assert f" of {len(cells)} cells, each cell\u2019s newest repeats, the last of " in page.footer[0]


def test_the_question_is_answered_first_with_what_the_pairs_say(small: Site) -> None:
    answer, pairs = _page(small, IndexPage).answer, _page(small, PairsPage)
    assert answer is not None and (answer.href, answer.text) == (pairs.path, pairs.lead)
    assert answer.text.startswith("Score of the sparse model: ")


def test_the_lead_says_what_is_tied_and_what_is_fastest(small: Site) -> None:
    lead = _page(small, IndexPage).lead
    assert lead.startswith(
        "The 95 % intervals of dense-total, moe-fine and moe-8x2 overlap in mean score (76.5 to 79.8 %); the other "
        "model ranks below. On the same items dense-total cannot be told from moe-fine (+1.8 points, 95 % "
    )
    assert "At 16 concurrent requests dense-active gives the most output" in lead
    assert "Not measured" not in lead


def test_a_paired_test_may_tell_apart_what_overlaps(tmp_path: Path) -> None:
    right = [(1.0,) * 70 + (0.0,) * 30, (1.0,) * 60 + (0.0,) * 40]
    records = [builders.quality_record(model=name, item_scores=items) for name, items in zip("ab", right, strict=True)]
    lead = _page(_site(tmp_path / "same", records), IndexPage).lead
    assert lead.startswith("The 95 % intervals of a and b overlap in score on facts (60.0 to 70.0 %). ")
    assert "On the same items a is 10.0 points above b (95 % " in lead
    other = builders.quality_record(model="b", item_scores=right[1][1:])
    assert "On the same items" not in _page(_site(tmp_path / "other", [records[0], other]), IndexPage).lead


def test_the_conditions_name_arrivals_requests_duration_and_warm_up(loads: Site) -> None:
    assert _page(loads, IndexPage).conditions.startswith(
        "Speed: 16 concurrent requests, each followed by the next, 32 \u2192 16 tokens each, at least 64 requests and "
        "0.05 s a run, after a warm-up until the output rate is steady, of at most 10 s; mean of 1 to 3 fresh "
        "processes."
    )


def test_the_conditions_name_the_engine_of_each_backend(tmp_path: Path) -> None:
    def said(number: int, **backends: str) -> tuple[str, list[str]]:
        versions = {name: text for name, text in builders.ENVIRONMENT.versions.items() if name != "vllm"}
        environment = builders.ENVIRONMENT.model_copy(update={"versions": versions | {"transformers": "5.1.0"}})
        records = [
            builders.quality_record(
                model=model, environment=builders.ENVIRONMENT if backend == "vllm" else environment,
                subject=builders.subject(model, backend=backend),
            )
            for model, backend in backends.items()
        ]
        index = _page(_site(tmp_path / str(number), records), IndexPage)
        place = [name for name, _ in TEXT_COLUMNS].index("engine")
        told = re.search("engine (.*?)\\. Intervals", index.conditions)
        assert told is not None
        return told[1], sorted({row.words[place] for row in index.rows})

    assert said(1, a="transformers") == ("transformers 5.1.0", ["transformers 5.1.0"])
    assert said(2, a="other") == ("not stated", ["not stated"])
    assert said(3, a="vllm", b="other", c="transformers") == (
        "transformers 5.1.0, vLLM 0.32.0 and one that is not stated",
        ["not stated", "transformers 5.1.0", "vLLM 0.32.0"],
    )


@pytest.mark.parametrize(("load", "heading", "arrivals"), [
    (OpenLoop(requests_per_s=2.0), "Speed at 2 requests/s, 32", "Speed: Poisson arrivals at 2 requests/s"),
    (OpenLoop(requests_per_s=2.0, burstiness=0.5), "Speed at 2 requests/s, burstiness 0.5", "Speed: gamma arrivals"),
    (Replay(), "Speed replayed, 32", "Speed: arrivals as the trace says"),
    (Offline(), "Speed offline, 32", "Speed: all requests there at the start"),
])
def test_loads_other_than_closed_loops_are_named(tmp_path: Path, load: Load, heading: str, arrivals: str) -> None:
    scenario = builders.serving_scenario(load=load)
    records = [builders.serving_record(model=name, scenario=scenario) for name in ("moe-8x2", "dense-active")]
    site = _site(tmp_path, records)
    index = _page(site, IndexPage)
    assert any(group.title.startswith(heading) for group in index.column_groups)
    assert index.conditions.startswith(arrivals)
    assert "at offline" not in f"{index.lead} {_page(site, PairsPage).cards[0].sentence}"


def test_the_lead_of_a_single_model_is_its_speed(tmp_path: Path) -> None:
    index = _page(_site(tmp_path, [builders.serving_record()]), IndexPage)
    assert index.lead == "At 8 concurrent requests moe-8x2 gives 1\u202f000 tokens/s (no interval)."


def test_the_lead_names_a_leader_that_stands_apart(tmp_path: Path) -> None:
    scores = {"good": 90, "poor": 30}
    index = _page(_site(tmp_path, [
        builders.quality_record(model=model, item_scores=(1.0,) * right + (0.0,) * (100 - right))
        for model, right in scores.items()
    ]), IndexPage)
    assert index.lead.startswith("good leads with a score on facts of 90.0 % (95 % interval 82.6 to 94.5), 60.0 points")
    titles = [column.title for column in index.columns if "later" not in column.classes]
    assert titles == ["Rank", "Model", "Kind", "Total", "Active", "facts", "KV per 1k"]


def test_the_lead_counts_what_is_missing(awkward: Site) -> None:
    assert "Not measured: 4 cells of" in _page(awkward, IndexPage).lead


def test_facts_name_date_hardware_models_and_failures(awkward: Site) -> None:
    facts = _page(awkward, IndexPage).facts
    assert [(fact.text, fact.href) for fact in facts] == [
        ("Newest record 2026-01-05", ""), ("Example CPU, 2 cores, 8.00 GB", ""), ("8 models", ""),
        ("3 failed cells", "#failures"), ("1 refused cell", "#failures"),
    ]


# Pairs, frontier, groups -----------------------------------------------------------------------------------------


def test_trainings_of_a_recipe_are_shown_together(seeds: Site) -> None:
    index = _page(seeds, IndexPage)
    assert index.groups is not None
    assert {row.name: len(row.members) for row in index.groups.rows} == dict.fromkeys(builders.CONFIGS, 3)
    assert all(len(row.cells) + 3 == len(index.groups.columns) for row in index.groups.rows)
    assert len(index.rows) == 12
    assert index.groups.figure is not None
    assert {card.sparse.text for card in _page(seeds, PairsPage).cards} == {"moe-8x2", "moe-fine"}
    assert index.pareto is not None
    assert {point["name"] for point in index.pareto["points"]} == set(builders.CONFIGS)


def test_a_single_model_beside_recipes_is_told(tmp_path: Path) -> None:
    alone = [
        builders.quality_record(model="alone", suite="seeds", item_scores=(1.0,) * 96 + (0.0,) * 4, task=task)
        for task in builders.ACCURACY["moe-8x2"]
    ]
    at = builders.serving_scenario(16)
    speed = builders.serving_record(model="alone", suite="seeds", scenario=at, tokens_per_s=9e4)
    lead = _page(_site(tmp_path, [*sites.seed_records(), *alone, speed]), IndexPage).lead
    assert "Ranked apart is the single model alone with 96.0 %" in lead
    assert "Ranked apart is the single model alone with 90\u202f000 tokens/s" in lead


# Model pages and several suites ----------------------------------------------------------------------------------


def test_a_model_page_accounts_for_every_parameter(small: Site) -> None:
    page = _page(small, ModelPage, "moe-8x2")
    assert sum(part.weight for part in page.parameters) == 330_672
    assert [part.title for part in page.parameters if part.idle] == ["Routed experts, not used"]
    assert page.total.text == "331 k"


def test_a_model_page_links_every_number_to_its_records(small: Site) -> None:
    page = _page(small, ModelPage, "moe-8x2")
    for table in (page.loads[0].table, page.memory, page.scores):
        assert table is not None
        assert {len(row.cells) + 1 for row in table.rows} == {len(table.columns)}
    assert [link.text for link in page.loads[0].table.rows[0].cells[-1].links] == ["r0", "r1", "r2"]
    assert len(page.records) == 14
    assert page.command == "moebench run '<the file of the suite small>' --model moe-8x2 --results again"


def test_names_are_quoted_in_the_command(awkward: Site) -> None:
    page = next(page for page in awkward.pages if isinstance(page, ModelPage) and "alert" in page.title)
    assert page.command.startswith("moebench run '<the file of the suite small>' --model $'</script>")
    assert "\\U0000202e{{ 7*7 }}\\'" in page.command


def test_the_newest_suite_leads_unless_one_is_named(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, [
        *builders.small_suite_records(repeats=1, items=20),
        *(record.model_copy(update={"suite": "later"}) for record in sites.awkward_records()),
    ])
    site = build_site(store, ["small", "later"], named=False)
    assert [(suite.view.name, suite.view.path) for suite in site.suites] == [
        ("later", "index.html"), ("small", "suite-small.html"),
    ]
    named = build_site(store, ["small", "later"], named=True)
    assert named.suites[0].view.name == "small"
    assert [link.href for link in _page(named, IndexPage).others] == ["suite-later.html"]


def test_a_suite_file_gives_title_load_score_and_what_was_not_run(tmp_path: Path) -> None:
    models = "\n".join(f"  - {{name: {name}, path: {name}}}" for name in [*builders.CONFIGS, "never-run"])
    suite = parse_suite(f"""
name: small
title: A small suite
models:
{models}
comparisons: [{{sparse: moe-8x2, dense: [dense-total]}}]
serving: [{{prompt_tokens: 64, output_tokens: 32, concurrency: [1, 4]}}]
quality: {{tasks: [facts, sort]}}
leaderboard: {{concurrency: 4, score: facts}}
""", where="small.yaml")
    site = _site(tmp_path, builders.small_suite_records(), definitions={"small": suite})
    index = _page(site, IndexPage)
    assert index.heading == "A small suite"
    assert "4 concurrent" in " ".join(group.title for group in index.column_groups)
    assert "score on facts" in index.lead
    assert [(row.model, row.label) for row in index.failures] == [("never-run", "not run")]
    card = _page(site, PairsPage).cards[0]
    assert (card.sparse.text, card.dense.text) == ("moe-8x2", "dense-total")


def test_a_suite_where_everything_failed_still_has_a_page(tmp_path: Path) -> None:
    site = _site(tmp_path, [builders.failed_record(model=name) for name in builders.CONFIGS])
    index = _page(site, IndexPage)
    assert {cell.marks[0].state for row in index.rows for cell in row.cells if cell.marks} == {"failed"}
    assert "Not measured: 4 cells" in index.lead
    assert index.pareto is None


def test_unreadable_records_are_told_and_do_not_hide_the_others(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, builders.small_suite_records(repeats=1, items=20))
    (store.files("small")[0].parent / "torn.json").write_text("{", encoding="utf-8")
    site = build_site(store, ["small"], named=False)
    assert "1 record file could not be read: torn.json" in " ".join(_page(site, IndexPage).footer)


def test_a_suite_of_unreadable_records_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "bad" / "cell"
    folder.mkdir(parents=True)
    (folder / "torn.json").write_text("{", encoding="utf-8")
    store = sites.store_of(tmp_path, [])
    with pytest.raises(InputError, match="no record of the suite 'bad'"):
        build_site(store, ["bad"], named=False)


def test_slugs_are_safe_unique_and_stable() -> None:
    slugs = Slugs()
    names = ["Model A", "model-a", "../../etc/passwd", "\u6a21\u578b", "x" * 500, "con<>?*|"]
    given = [slugs.of(name, name) for name in names]
    assert given[:4] == ["model-a", "model-a-2", "etc-passwd", "unnamed"]
    assert len(set(given)) == len(names)
    assert max(map(len, given)) <= 62
    assert [slugs.of(name, name) for name in names] == given


def test_a_single_repeat_has_no_interval_and_says_so(tmp_path: Path) -> None:
    index = _page(_site(tmp_path, builders.small_suite_records(repeats=1, items=50)), IndexPage)
    assert {_cell(index, row.name, "Output").margin for row in index.rows} == {"n = 1"}
    assert not any(_cell(index, row.name, "Output").best for row in index.rows)
