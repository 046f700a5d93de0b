"""What the pages of a suite share: the leading load, titles of workloads, and why a value is not there."""

from __future__ import annotations

import builders

from harness.metrics import METRICS
from harness.pages.suite_view import at_load, leading_point, scale_of_metric, workload_titles
from harness.scenario import ClosedLoop, Offline, OpenLoop, Replay
from harness.summarise import summarise
from harness.summary import PointKey


def test_closed_loops_lead_whatever_else_was_measured() -> None:
    loads = (ClosedLoop(concurrency=4), OpenLoop(requests_per_s=2.0), OpenLoop(requests_per_s=9.0), Offline())
    records = [builders.serving_record(scenario=builders.serving_scenario(load=load)) for load in loads]
    point = leading_point(summarise(builders.with_paths(records)))
    assert point is not None and point.concurrency == 4


def test_the_asked_concurrency_leads_where_it_was_measured() -> None:
    records = [builders.serving_record(concurrency=concurrency) for concurrency in (1, 4, 8)]
    found = [leading_point(summarise(builders.with_paths(records)), asked) for asked in (4, 3, None)]
    assert [point.concurrency for point in found if point] == [4, 8, 8]


def test_workloads_are_told_apart_by_as_much_as_that_takes() -> None:
    keys = [builders.point(8, name="chat"), *(
        builders.point(8, name="long", **changes)
        for changes in ({}, {"prompt_tokens": 64}, {"prompt_tokens": 64, "version": 1})
    )]
    assert list(workload_titles(keys).values()) == [
        "chat", "long (32 \u2192 16 tokens)", "long (64 \u2192 16 tokens, version 2)",
        "long (64 \u2192 16 tokens, version 1)",
    ]


def test_loads_fit_a_sentence() -> None:
    loads = (ClosedLoop(concurrency=1), OpenLoop(requests_per_s=2.5), Replay(speed=2.0), Offline())
    assert [at_load(PointKey.of(builders.serving_scenario(load=load))) for load in loads] == [
        "at 1 concurrent request", "at 2.5 requests/s", "replayed 2 times as fast", "offline",
    ]


def test_prices_say_for_what_they_are() -> None:
    assert scale_of_metric(METRICS["joules_per_output_token"], [0.2]).unit.endswith("J/token")
    assert scale_of_metric(METRICS["usd_per_million_output_tokens"], [0.2]).unit.endswith("/M tokens")
