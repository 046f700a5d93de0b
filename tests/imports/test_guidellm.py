from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.errors import InputError
from harness.imports.vllm_bench import EVEN_BURSTINESS
from harness.metrics import METRICS
from harness.record import Completed, Failed, Record, ReportedMeasurement
from harness.scenario import ClosedLoop, Offline, OpenLoop, ServingScenario

Take = Callable[..., list[Record]]
Recorded = Callable[[str], Any]
NEW = ("guidellm_0.5.json", "guidellm_0.8.json")
ALL = ("guidellm_0.3.json", *NEW)


def loads(records: list[Record]) -> list[Any]:
    return [one.cell.scenario.load for one in records if isinstance(one.cell.scenario, ServingScenario)]


def values(record: Record) -> dict[str, float]:
    assert isinstance(record.outcome, Completed)
    assert isinstance(record.outcome.measurement, ReportedMeasurement)
    assert set(record.outcome.measurement.values) <= set(METRICS)
    return record.outcome.measurement.values


def sampled(file: Any) -> Any:
    """The report as it is where not every request was kept."""
    for benchmark in file["benchmarks"]:
        benchmark["requests"]["successful"] = benchmark["requests"]["successful"][:2]
    return file


@pytest.mark.parametrize("name", NEW)
def test_each_strategy_of_a_sweep_is_a_load(take: Take, recorded: Recorded, name: str) -> None:
    rate = recorded(name)["benchmarks"][2]["config"]["strategy"]["rate"]
    assert loads(take(name)) == [
        ClosedLoop(concurrency=1), Offline(), OpenLoop(requests_per_s=rate, burstiness=EVEN_BURSTINESS),
    ]


def test_concurrent_streams_and_poisson_arrivals_are_loads(take: Take, recorded: Recorded) -> None:
    file = recorded("guidellm_0.8.json")
    file["benchmarks"][0]["config"]["strategy"] = {"type_": "concurrent", "streams": 8}
    file["benchmarks"][1]["config"]["strategy"] = {"type_": "poisson", "rate": 2.5}
    assert loads(take(file))[:2] == [ClosedLoop(concurrency=8), OpenLoop(requests_per_s=2.5)]


def test_a_strategy_that_is_not_known_is_named(take: Take, recorded: Recorded) -> None:
    file = recorded("guidellm_0.8.json")
    file["benchmarks"][1]["config"]["strategy"]["type_"] = "trace"
    with pytest.raises(InputError, match="'trace' is not known") as caught:
        take(file)
    assert caught.value.where.endswith(":benchmarks[1].config.strategy.type_")


@pytest.mark.parametrize("name", ALL)
def test_rates_are_work_over_the_duration(take: Take, recorded: Recorded, name: str) -> None:
    for benchmark, record in zip(recorded(name)["benchmarks"], take(name), strict=True):
        metrics, duration = benchmark["metrics"], benchmark["duration"]
        output = metrics["output_token_count"]["successful"]["total_sum"]
        prompt = metrics["prompt_token_count"]["successful"]["total_sum"]
        assert values(record)["output_tokens_per_s"] == output / duration
        assert values(record)["total_tokens_per_s"] == (output + prompt) / duration
        assert values(record)["requests_per_s"] == pytest.approx(metrics["requests_per_second"]["successful"]["mean"])


@pytest.mark.parametrize("name", ALL)
def test_latencies_of_closed_and_offline_loads_are_the_reports_own(take: Take, recorded: Recorded, name: str) -> None:
    for benchmark, record in zip(recorded(name)["benchmarks"], take(name), strict=True):
        own = benchmark["metrics"]["time_to_first_token_ms"]["successful"]
        gaps = benchmark["metrics"]["inter_token_latency_ms"]["successful"]
        assert values(record)["itl_mean_s"] == pytest.approx(gaps["mean"] / 1e3)
        if not isinstance(loads([record])[0], OpenLoop):
            assert values(record)["ttft_mean_s"] == pytest.approx(own["mean"] / 1e3)
            assert values(record)["ttft_p99_s"] <= own["percentiles"]["p99"] / 1e3 + 1e-9


@pytest.mark.parametrize("name", NEW)
def test_an_open_loop_counts_from_the_targeted_start(take: Take, recorded: Recorded, name: str) -> None:
    times = [one["info"]["timings"] for one in recorded(name)["benchmarks"][2]["requests"]["successful"]]
    found = values(take(name)[2])
    first = [one["first_token_iteration"] - one["targeted_start"] for one in times]
    last = [one["last_token_iteration"] - one["targeted_start"] for one in times]
    assert found["ttft_p90_s"] == pytest.approx(np.percentile(first, 90))
    assert found["e2e_mean_s"] == pytest.approx(np.mean(last))


@pytest.mark.parametrize("name", ALL)
def test_of_a_sample_of_requests_the_stated_figures_count(take: Take, recorded: Recorded, name: str) -> None:
    file = sampled(recorded(name))
    for benchmark, record in zip(file["benchmarks"], take(file), strict=True):
        own = benchmark["metrics"]["time_to_first_token_ms"]["successful"]
        late = isinstance(loads([record])[0], OpenLoop)
        # in the recordings of open loops requests started late by more than 1 % of it
        assert values(record).get("ttft_p95_s") == (None if late else own["percentiles"]["p95"] / 1e3)
        assert values(record)["tpot_p50_s"] == (
            benchmark["metrics"]["inter_token_latency_ms"]["successful"]["median"] / 1e3
        )


def test_a_negligible_delay_behind_the_schedule_is_no_reason_to_leave_latencies_out(
    take: Take, recorded: Recorded
) -> None:
    file = sampled(recorded("guidellm_0.8.json"))
    file["benchmarks"][2]["scheduler_metrics"]["request_targeted_start_delay_avg"] = 1e-5
    own = file["benchmarks"][2]["metrics"]["request_latency"]["successful"]
    assert values(take(file)[2])["e2e_p50_s"] == own["median"]


def test_of_other_lengths_the_mean_a_request_is_no_time_per_output_token(take: Take, recorded: Recorded) -> None:
    file = sampled(recorded("guidellm_0.8.json"))
    file["benchmarks"][0]["metrics"]["output_token_count"]["successful"]["std_dev"] = 1.5
    assert not [key for key in values(take(file)[0]) if key.startswith("tpot")]
    assert "itl_mean_s" in values(take(file | {"metadata": {}}, name="again")[0])


def test_the_lengths_of_a_sweep_are_one(take: Take) -> None:
    found = {
        one.cell.scenario.lengths.words
        for one in take("guidellm_0.8.json") if isinstance(one.cell.scenario, ServingScenario)
    }
    assert len(found) == 1


def test_without_streaming_there_is_no_first_token(take: Take, recorded: Recorded) -> None:
    file = recorded("guidellm_0.8.json")
    for benchmark in file["benchmarks"]:
        for request in benchmark["requests"]["successful"]:
            request["info"]["timings"]["first_token_iteration"] = None
        for key in ("time_to_first_token_ms", "inter_token_latency_ms"):
            summary = benchmark["metrics"][key]["successful"]
            summary |= {"mean": 0.0, "median": 0.0, "percentiles": dict.fromkeys(summary["percentiles"], 0.0)}
    assert {key.split("_")[0] for key in values(take(file)[0])} == {"output", "total", "requests", "e2e"}


def test_a_first_token_before_the_request_is_refused(take: Take) -> None:
    with pytest.raises(InputError, match=r"is -1\.000000, before what came first") as caught:
        take("guidellm_0.3_unseen.json")
    assert caught.value.where.endswith(":benchmarks[0].requests.successful[3].first_token_time")


def test_errors_are_failures_and_cut_off_requests_are_not(take: Take, recorded: Recorded) -> None:
    file = recorded("guidellm_0.5.json")
    file["benchmarks"][0]["metrics"]["request_totals"] |= {"errored": 2, "incomplete": 3}
    (first, *_) = take(file)
    assert isinstance(first.outcome, Completed)
    assert isinstance(first.outcome.measurement, ReportedMeasurement)
    assert first.outcome.measurement.failed_requests == 2
    assert isinstance(first.cell.scenario, ServingScenario)
    assert first.cell.scenario.requests == 8


def test_a_benchmark_without_an_answer_is_a_failed_cell(take: Take, recorded: Recorded) -> None:
    file = recorded("guidellm_0.5.json")
    file["benchmarks"][0]["metrics"]["request_totals"] = {"successful": 0, "errored": 6, "incomplete": 0, "total": 6}
    assert take(file)[0].outcome == Failed(error="engine", message="all 6 requests failed")


def test_what_served_is_not_known_and_the_version_is(take: Take) -> None:
    old, new = take("guidellm_0.3.json")[0], take("guidellm_0.8.json")[0]
    assert (old.cell.subject.backend, old.cell.subject.source) == ("other", "import:pocket")
    assert (new.cell.subject.backend, new.cell.subject.source) == ("other", "import:pocket")
    assert old.origin
    assert new.origin
    assert (old.origin.version, new.origin.version) == (None, "0.8.1")
    assert new.environment.system == "Linux-6.1-x86_64-with-glibc2.36"


def test_a_model_that_is_not_named_is_not_stated(take: Take) -> None:
    assert take("guidellm_0.5.json")[0].cell.subject.source == "import:not stated"


def test_a_report_without_benchmarks_is_refused(take: Take) -> None:
    with pytest.raises(InputError, match="has no benchmark"):
        take({"benchmarks": []})
