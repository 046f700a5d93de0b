"""The tables of operating points: one a kind of load, every load with its repeats' variation, and why one is empty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import builders
import pytest
import sites

from harness.metrics import METRICS
from harness.pages.model_page import ModelPage
from harness.pages.parts import Table, Value
from harness.pages.point_table import LoadSection, column_title, few_requests
from harness.pages.site import Site, build_site
from harness.record import Completed, DeviceSamples, ServingMeasurement
from harness.suite import parse_suite

pytestmark = pytest.mark.slow

SUITE = """
name: loads
title: Loads
models: [{name: moe-8x2, path: a}]
serving: [{name: chat, prompt_tokens: 32, output_tokens: 16, concurrency: [1], goodput: {ttft_s: 0.03, tpot_s: 0.01}}]
"""


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Site:
    store = sites.store_of(tmp_path_factory.mktemp("loads"), sites.load_records())
    return build_site(store, ["loads"], named=True)


def sections(site: Site, model: str) -> dict[str, LoadSection]:
    page = next(page for page in site.pages if isinstance(page, ModelPage) and page.title == model)
    return {section.title: section for section in page.loads}


def titles_of(table: Table) -> list[str]:
    return [column.title for column in table.columns]


def cell(table: Table, row: str, title: str) -> Value:
    found = next(one for one in table.rows if one.title == row)
    return found.cells[titles_of(table).index(title) - 1]


# Tables ----------------------------------------------------------------------------------------------------------


def test_every_kind_of_load_has_a_table_of_its_own(loads: Site) -> None:
    found = sections(loads, "moe-8x2")
    assert {title: [row.title for row in one.table.rows] for title, one in found.items()} == {
        "Closed loops": ["1", "2", "4", "8", "16", "32"],
        "Offline": ["Offline"],
        "Open loops and replays": ["2 requests/s", "4 requests/s", "8 requests/s", "16 requests/s"],
    }
    for one in found.values():
        assert {len(row.cells) + 1 for row in one.table.rows} == {len(one.table.columns)}


def test_titles_are_short_and_a_column_that_is_empty_is_left_out_with_its_reason(loads: Site) -> None:
    closed, offline = (sections(loads, "moe-8x2")[title] for title in ("Closed loops", "Offline"))
    assert titles_of(closed.table) == [
        "Concurrent requests", "Output", "Steady", "Served", "TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99", "ITL p99",
        "End to end p50", "Variation", "Requests", "Records",
    ]
    assert closed.left_out == (
        "Left out, as no row has it: Goodput and Within limits (the suite sets no limits); Longest context (the "
        "cache's capacity was not measured); Energy (no accelerator); Cost (no price of this hardware is known; a "
        "suite can give one)."
    )
    assert "Steady (no slot was given a second request" in offline.left_out


def test_goodput_is_there_where_the_suite_sets_limits(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, sites.load_records(repeats=2))
    site = build_site(store, ["loads"], named=True, definitions={"loads": parse_suite(SUITE, where="loads.yaml")})
    table = sections(site, "dense-total")["Closed loops"].table
    heads = {column.title: column.unit for column in table.columns}
    assert (heads["Goodput"], heads["Within limits"]) == ("requests/s", "%")
    assert [cell(table, row, "Within limits").text for row in ("1", "32")] == ["100", "0"]


def test_energy_and_cost_are_there_where_they_are_known(tmp_path: Path) -> None:
    record = builders.serving_record(subject=builders.subject(threads=2))
    assert isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, ServingMeasurement)
    samples = DeviceSamples(name="Example GPU", times_s=(0.0, 10.0), energy_j=(0.0, 2_000.0))
    measured = record.outcome.measurement.model_copy(update={"devices": (samples,), "no_energy": ""})
    store = sites.store_of(tmp_path, [record.model_copy(update={"outcome": Completed(measurement=measured)})])
    suite = parse_suite(SUITE.replace("name: loads", "name: small") + "host_usd_per_hour: 0.36\n", where="small.yaml")
    site = build_site(store, ["small"], named=True, definitions={"small": suite})
    section = sections(site, "moe-8x2")["Closed loops"]
    heads = {column.title: column.unit for column in section.table.columns}
    assert (heads["Energy"], heads["Cost"]) == ("mJ/token", "USD/M tokens")
    assert [cell(section.table, "8", title).text for title in ("Energy", "Cost")] == ["200", "0.100"]
    assert "Energy" not in section.left_out and "Cost" not in section.left_out


def test_percentiles_have_short_titles() -> None:
    assert {column_title(key) for key in METRICS if key.startswith("queue")} == {
        f"Queueing {one}" for one in ("mean", "p50", "p90", "p95", "p99")
    }


def test_a_workload_is_named_where_there_are_several(tmp_path: Path) -> None:
    records = [builders.serving_record(scenario=builders.serving_scenario(4, name=name)) for name in ("chat", "long")]
    store = sites.store_of(tmp_path, records)
    table = sections(build_site(store, ["small"], named=True), "moe-8x2")["Closed loops"].table
    assert [row.title for row in table.rows] == ["chat, 4", "long, 4"]


# Variation -------------------------------------------------------------------------------------------------------


def test_the_variation_is_that_of_the_repeats(loads: Site) -> None:
    (summary,) = (one for one in loads.suites[0].view.models if one.model == "moe-8x2")
    speed = next(point for point in summary.points if point.concurrency == 1).estimates["output_tokens_per_s"]
    found = cell(sections(loads, "moe-8x2")["Closed loops"].table, "1", "Variation")
    assert len(speed.values) == 3
    assert float(found.order) == pytest.approx(stdev(speed.values) / mean(speed.values))


def test_one_repeat_has_no_variation(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, builders.small_suite_records(repeats=1))
    (section,) = sections(build_site(store, ["small"], named=True), "moe-8x2").values()
    assert "Variation" not in titles_of(section.table)
    assert "Variation (it takes at least two repeats)" in section.left_out


# Marks -----------------------------------------------------------------------------------------------------------


def test_a_load_past_saturation_is_marked_so_and_is_no_failure(loads: Site) -> None:
    table = sections(loads, "dense-total")["Closed loops"].table
    (mark,) = cell(table, "64", "Output").marks
    assert (mark.state, mark.label) == ("skipped", "past saturation")
    assert mark.reason == (
        "Not measured: the output rate rose by less than 5% at 16 and 32 concurrent requests."
    )
    page = next(page for page in loads.pages if isinstance(page, ModelPage) and page.title == "dense-total")
    assert page.failures == ()


def test_a_flagged_row_says_every_reason_and_an_unsettled_warm_up_is_a_note(loads: Site) -> None:
    found = sections(loads, "moe-fine")
    flagged = next(row for row in found["Closed loops"].table.rows if row.title == "4")
    assert [(mark.label, mark.reason) for mark in flagged.marks] == [("flagged", "16 of 64 requests were timed.")]
    (note,) = found["Open loops and replays"].table.rows[0].marks
    assert note.label == "note"
    assert note.reason == (
        "The output rate had not settled when 3 of 3 warm-ups ended; 24 arrivals are expected to miss the rate that "
        "was asked for by 21 %, and 101, in 50 s, by 10 %."
    )


def test_an_imported_row_names_tool_version_and_file(loads: Site) -> None:
    section = sections(loads, "imported-moe")["Closed loops"]
    row = next(row for row in section.table.rows if row.title == "16")
    (mark,) = row.marks
    assert mark.label == "imported"
    assert mark.reason == "Not measured by moebench: vllm bench serve 0.32.0, from bench.json."
    assert "ITL p99" in section.left_out and "vllm bench serve does not tell" in section.left_out


# Percentiles -----------------------------------------------------------------------------------------------------


def test_every_percentile_of_every_latency_can_be_reached(loads: Site) -> None:
    for section in sections(loads, "moe-8x2").values():
        assert section.percentiles is not None
        heads = [column.title for column in section.percentiles.columns]
        assert heads[2:] == ["mean", "p50", "p90", "p95", "p99"]
        assert not any(block.title.isdigit() for block in section.percentiles.blocks)
        for block in section.percentiles.blocks:
            assert [row.title for row in block.rows] == ["TTFT", "TPOT", "ITL", "End to end", "Queueing"]
            assert all(value.text for row in block.rows for value in row.cells)


def test_percentiles_that_a_tool_does_not_tell_are_dashes(loads: Site) -> None:
    percentiles = sections(loads, "imported-moe")["Closed loops"].percentiles
    assert percentiles is not None
    (block,) = percentiles.blocks
    assert [[value.text for value in row.cells] for row in block.rows] == [
        ["21.0", "20.0", "–", "–", "50.0"], ["–", "6.00", "–", "–", "–"],
    ]


def test_a_percentile_of_few_requests_says_how_few(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, [builders.serving_record(concurrency=load) for load in (4, 8)])
    site = build_site(store, ["small"], named=True)
    section = sections(site, "moe-8x2")["Closed loops"]
    assert "A p99 of fewer than 100 requests, as at every load here, is little more" in section.note
    (point, _) = site.suites[0].view.models[0].points
    assert few_requests("ttft_p99_s", point).startswith(f"A p99 of {point.requests} requests lies between the slowest")
    assert few_requests("ttft_p50_s", point) == few_requests("itl_p99_s", point) == ""
    assert few_requests("ttft_p99_s", replace(point, requests=100)) == ""
    assert few_requests("ttft_p99_s", replace(point, requests=99))
    assert few_requests("ttft_p90_s", replace(point, requests=10)) == ""
    assert few_requests("ttft_p50_s", replace(point, requests=1)) == "A percentile of 1 request is that request"


def test_one_load_of_few_requests_is_one_request_in_flight(tmp_path: Path) -> None:
    records = [
        builders.serving_record(scenario=builders.serving_scenario(load, requests=requests))
        for load, requests in ((1, 20), (4, 400))
    ]
    site = build_site(sites.store_of(tmp_path, records), ["small"], named=True)
    note = sections(site, "moe-8x2")["Closed loops"].note
    assert "as at 1 concurrent request, is little more" in note
