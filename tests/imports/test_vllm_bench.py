from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.imports import Given
from harness.imports.document import Document
from harness.imports.vllm_bench import EVEN_BURSTINESS, read_serve
from harness.metrics import METRICS
from harness.plausibility import serving_flags
from harness.record import Completed, Failed, Record, ReportedMeasurement, ServingMeasurement
from harness.scenario import ClosedLoop, FixedLength, Offline, OpenLoop, RandomLengths, ServingScenario
from harness.serving_metrics import serving_values

Take = Callable[..., list[Record]]
Recorded = Callable[[str], Any]


def scenario_of(record: Record) -> ServingScenario:
    assert isinstance(record.cell.scenario, ServingScenario)
    return record.cell.scenario


def reported(record: Record) -> ReportedMeasurement:
    assert isinstance(record.outcome, Completed)
    assert isinstance(record.outcome.measurement, ReportedMeasurement)
    assert set(record.outcome.measurement.values) <= set(METRICS)
    return record.outcome.measurement


def timed(record: Record) -> ServingMeasurement:
    assert isinstance(record.outcome, Completed)
    assert isinstance(record.outcome.measurement, ServingMeasurement)
    return record.outcome.measurement


def values_of(record: Record) -> dict[str, float]:
    assert isinstance(record.outcome, Completed)
    assert isinstance(record.outcome.measurement, ServingMeasurement | ReportedMeasurement)
    return serving_values(scenario_of(record), record.outcome.measurement)


def lengths(record: Record) -> tuple[int, int]:
    found = scenario_of(record).lengths
    assert isinstance(found, RandomLengths)
    assert isinstance(found.prompt, FixedLength)
    assert isinstance(found.output, FixedLength)
    return found.prompt.tokens, found.output.tokens


class TestThroughput:
    def test_its_tokens_a_second_are_prompt_and_output(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_throughput.json")
        (record,) = take("vllm_throughput.json", output_tokens=8)
        assert reported(record).values == {
            "total_tokens_per_s": file["tokens_per_second"], "requests_per_s": file["requests_per_second"],
            "output_tokens_per_s": pytest.approx(6 * 8 / file["elapsed_time"]),
        }
        assert reported(record).duration_s == file["elapsed_time"]
        assert scenario_of(record).load == Offline()
        assert scenario_of(record).name == "vllm-bench-throughput"
        assert (scenario_of(record).requests, lengths(record)) == (6, (16, 8))

    def test_either_length_gives_the_other(self, take: Take) -> None:
        assert lengths(take("vllm_throughput.json", prompt_tokens=16)[0]) == (16, 8)

    def test_without_lengths_it_says_what_to_give(self, take: Take) -> None:
        with pytest.raises(InputError, match="does not tell how tokens divide") as caught:
            take("vllm_throughput.json")
        assert caught.value.where.endswith("vllm_throughput.json:total_num_tokens")
        assert "--output-tokens" in caught.value.hint

    @pytest.mark.parametrize("given", [{"output_tokens": 24}, {"prompt_tokens": 15, "output_tokens": 7}])
    def test_lengths_that_do_not_fit_the_total_are_refused(self, take: Take, given: dict[str, int]) -> None:
        with pytest.raises(InputError, match="24 tokens, prompt and output together"):
            take("vllm_throughput.json", **given)

    def test_of_means_no_output_rate_follows_and_the_name_says_so(self, take: Take, recorded: Recorded) -> None:
        (record,) = take(recorded("vllm_throughput.json") | {"total_num_tokens": 146}, output_tokens=8)
        assert "output_tokens_per_s" not in reported(record).values
        assert scenario_of(record).name == "vllm-bench-throughput-mean-lengths"


class TestLatency:
    GIVEN = {"prompt_tokens": 16, "output_tokens": 8, "concurrency": 4}

    def test_batches_are_end_to_end_latencies_at_their_size(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_latency.json")
        (record,) = take("vllm_latency.json", **self.GIVEN)
        values = reported(record).values
        assert values["e2e_mean_s"] == pytest.approx(file["avg_latency"])
        assert values["e2e_p50_s"] == pytest.approx(file["percentiles"]["50"])
        assert values["e2e_p90_s"] == pytest.approx(file["percentiles"]["90"])
        assert values["e2e_p99_s"] == pytest.approx(file["percentiles"]["99"])
        assert scenario_of(record).load == ClosedLoop(concurrency=4)
        assert (scenario_of(record).requests, lengths(record)) == (20, (16, 8))

    @pytest.mark.parametrize("left_out", list(GIVEN))
    def test_the_file_tells_no_batch_and_no_lengths(self, take: Take, left_out: str) -> None:
        with pytest.raises(InputError, match="tells neither the batch nor the lengths"):
            take("vllm_latency.json", **{name: n for name, n in self.GIVEN.items() if name != left_out})

    def test_no_latency_is_no_result(self, take: Take, recorded: Recorded) -> None:
        for latencies in ([], [0.0]):
            with pytest.raises(InputError, match="at least one latency"):
                take(recorded("vllm_latency.json") | {"latencies": latencies}, **self.GIVEN)


class TestServe:
    def test_the_stated_figures_in_seconds(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve.json")
        (record,) = take("vllm_serve.json")
        values = reported(record).values
        assert values["output_tokens_per_s"] == file["output_throughput"]
        assert values["total_tokens_per_s"] == file["total_token_throughput"]
        assert values["requests_per_s"] == file["request_throughput"]
        assert values["ttft_mean_s"] == pytest.approx(file["mean_ttft_ms"] / 1e3)
        assert values["ttft_p50_s"] == pytest.approx(file["median_ttft_ms"] / 1e3)
        assert values["tpot_p99_s"] == pytest.approx(file["p99_tpot_ms"] / 1e3)
        assert values["e2e_p50_s"] == pytest.approx(statistics.median(file["latencies"]))
        assert scenario_of(record).load == ClosedLoop(concurrency=2)
        assert (scenario_of(record).requests, lengths(record)) == (6, (16, 8))
        assert record.started_at == datetime(2026, 11, 28, 14, 32, 6, tzinfo=UTC) - timedelta(seconds=record.duration_s)

    def test_gaps_between_chunks_are_taken_only_where_each_carried_one_token(
        self, take: Take, recorded: Recorded
    ) -> None:
        # in this recording one chunk carried two tokens, as the sums show; in the appended ones none did
        assert not [key for key in reported(take("vllm_serve.json")[0]).values if key.startswith("itl")]
        for record in take("vllm_serve_appended.json"):
            assert reported(record).values["itl_mean_s"] == pytest.approx(reported(record).values["tpot_mean_s"])

    def test_appended_runs_are_a_cell_each(self, take: Take) -> None:
        records = take("vllm_serve_appended.json")
        assert [scenario_of(record).load for record in records] == [
            ClosedLoop(concurrency=1), ClosedLoop(concurrency=2),
        ]

    def test_with_rate_and_concurrency_latencies_begin_before_the_wait(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_capped.json")
        (record,) = take("vllm_serve_capped.json")
        values = reported(record).values
        assert not [key for key in values if key.startswith("ttft")]
        assert values["e2e_p90_s"] == pytest.approx(file["p90_e2el_including_client_queue_ms"] / 1e3)
        assert scenario_of(record).load == OpenLoop(requests_per_s=40.0)
        assert scenario_of(record).name == "vllm-bench-serve-mean-lengths"

    def test_where_the_lists_are_missing_the_stated_end_to_end_latency_counts(
        self, take: Take, recorded: Recorded
    ) -> None:
        file = recorded("vllm_serve_capped.json")
        del file["latencies"], file["queue_times"]
        (record,) = take(file)
        assert reported(record).values["e2e_mean_s"] == pytest.approx(file["mean_e2el_including_client_queue_ms"] / 1e3)

    def test_goodput_peaks_and_deviations_are_left_out(self, take: Take) -> None:
        (record,) = take("vllm_serve_capped.json")
        assert not [key for key in reported(record).values if "goodput" in key or "std" in key]

    @pytest.mark.parametrize(
        ("asked", "load"),
        [
            ({"request_rate": "inf", "max_concurrency": None}, Offline()),
            ({"request_rate": "inf", "max_concurrency": 3}, ClosedLoop(concurrency=3)),
            ({"request_rate": 2.5, "max_concurrency": None, "burstiness": 0.5},
             OpenLoop(requests_per_s=2.5, burstiness=0.5)),
            ({"request_rate": 2.5, "max_concurrency": None, "burstiness": math.inf},
             OpenLoop(requests_per_s=2.5, burstiness=EVEN_BURSTINESS)),
        ],
    )
    def test_loads(self, take: Take, recorded: Recorded, asked: dict[str, Any], load: Any) -> None:
        assert scenario_of(take(recorded("vllm_serve.json") | asked)[0]).load == load

    def test_a_ramp_and_pooling_are_refused(self, take: Take, recorded: Recorded) -> None:
        for key, value, told in (
            ("ramp_up_strategy", "linear", "a ramp of rates"), ("total_input_sequences", 6, "makes no tokens"),
        ):
            with pytest.raises(InputError, match=told) as caught:
                take(recorded("vllm_serve.json") | {key: value})
            assert caught.value.where.endswith(f":{key}")

    def test_failures_are_counted_and_of_older_files_inferred(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve.json") | {"completed": 4, "failed": 2}
        assert reported(take(file)[0]).failed_requests == 2
        del file["failed"]
        assert reported(take(file)[0]).failed_requests == 2

    def test_a_run_without_an_answer_is_a_failed_cell(self, take: Take) -> None:
        (record,) = take("vllm_serve_failed.json")
        assert record.outcome == Failed(error="engine", message="all 3 requests failed")

    def test_a_date_that_is_none_is_refused_and_without_one_the_files_counts(
        self, take: Take, recorded: Recorded
    ) -> None:
        with pytest.raises(InputError, match="is no date"):
            take(recorded("vllm_serve.json") | {"date": "yesterday"})
        assert take({key: value for key, value in recorded("vllm_serve.json").items() if key != "date"})


class TestDetailedServe:
    @pytest.mark.parametrize("name", ["vllm_serve_detailed.json", "vllm_serve_open.json"])
    def test_recomputed_figures_are_the_files_own(self, take: Take, recorded: Recorded, name: str) -> None:
        file = recorded(name)
        (record,) = take(name)
        values = values_of(record)
        # the client's own wait before it sends counts in an open loop: below 0.2 ms here
        slack = 2e-4 if "open" in name else 2e-6
        for theirs, ours in (("mean", "mean"), ("median", "p50"), ("p99", "p99")):
            assert values[f"ttft_{ours}_s"] == pytest.approx(file[f"{theirs}_ttft_ms"] / 1e3, abs=slack)
            assert values[f"tpot_{ours}_s"] == pytest.approx(file[f"{theirs}_tpot_ms"] / 1e3, abs=2e-6)
        assert values["output_tokens_per_s"] == pytest.approx(file["output_throughput"])
        assert values["total_tokens_per_s"] == pytest.approx(file["total_token_throughput"])
        assert values["requests_per_s"] == pytest.approx(file["request_throughput"])
        assert serving_flags(scenario_of(record), timed(record)) == []

    def test_with_a_token_a_chunk_the_gaps_are_the_files_own(self, take: Take, recorded: Recorded) -> None:
        file, values = recorded("vllm_serve_detailed.json"), values_of(take("vllm_serve_detailed.json")[0])
        assert values["itl_p50_s"] == pytest.approx(file["median_itl_ms"] / 1e3, abs=2e-6)
        assert values["itl_p99_s"] == pytest.approx(file["p99_itl_ms"] / 1e3, abs=2e-6)

    def test_tokens_of_one_chunk_share_its_time(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_detailed.json")
        merged = [[one[0] + one[1], *one[2:]] for one in file["itls"]]
        values = values_of(take(file | {"itls": merged})[0])
        gaps = np.asarray([*(gap for one in merged for gap in one), *([0.0] * len(merged))])
        for percent in (50, 90, 99):
            assert values[f"itl_p{percent}_s"] == pytest.approx(np.percentile(gaps, percent), abs=2e-6)
        assert values["tpot_p50_s"] == pytest.approx(file["median_tpot_ms"] / 1e3, abs=2e-6)

    def test_more_chunks_than_tokens_leave_the_gaps_out(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_detailed.json")
        (record,) = take(file | {"itls": [[*one, 0.001] for one in file["itls"]]})
        values = reported(record).values
        assert not [key for key in values if key.startswith("itl")]
        assert values["ttft_p50_s"] == pytest.approx(file["median_ttft_ms"] / 1e3)
        assert values["tpot_p50_s"] == pytest.approx(file["median_tpot_ms"] / 1e3 + 0.001 / 7)

    def test_a_failed_request_stays_as_one_without_tokens(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_detailed.json")
        file["output_lens"][2], file["ttfts"][2], file["itls"][2] = 0, 0.0, []
        (record,) = take(file | {"completed": 5, "failed": 1})
        failed = timed(record).requests[2]
        assert (failed.finish_reason, failed.output_tokens, failed.asked_output_tokens) == (None, 0, 0)
        assert serving_flags(scenario_of(record), timed(record)) == ["1 request failed or ended early"]

    def test_an_open_loop_counts_from_before_the_clients_wait(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_open.json")
        before = values_of(take(file)[0])["ttft_p50_s"]
        later = file | {"start_times": [time + 0.01 for time in file["start_times"]],
                        "queue_times": [time + 0.01 for time in file["queue_times"]]}
        assert values_of(take(later)[0])["ttft_p50_s"] == pytest.approx(before + 0.01, abs=2e-6)

    def test_waits_that_nobody_noted_leave_out_what_begins_before_them(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_open.json") | {"max_concurrency": 1}
        del file["queue_times"]
        (record,) = take(file)
        assert {key.split("_")[0] for key in reported(record).values} == {"output", "total", "requests", "tpot"}

    def test_columns_of_other_lengths_are_named(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_detailed.json")
        with pytest.raises(InputError, match="has 5 values where start_times has 6") as caught:
            take(file | {"ttfts": file["ttfts"][:5]})
        assert caught.value.where.endswith(":ttfts")

    def test_a_gap_that_is_no_number_is_named(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_detailed.json")
        file["itls"][3][1] = "long"
        with pytest.raises(InputError, match="is no number") as caught:
            take(file)
        assert caught.value.where.endswith(":itls[3][1]")

    def test_more_tokens_than_any_model_writes_are_refused(self, take: Take, recorded: Recorded) -> None:
        file = recorded("vllm_serve_detailed.json")
        with pytest.raises(InputError, match="more than 1000000 tokens"):
            take(file | {"output_lens": [10**11, *file["output_lens"][1:]]})

    def test_tokens_after_the_end_of_the_run_are_refused(self, take: Take, recorded: Recorded) -> None:
        with pytest.raises(InputError, match=r"in a run of 0\.01 s"):
            take(recorded("vllm_serve_detailed.json") | {"duration": 0.01})


SECONDS = st.floats(0.001, 5.0)
REQUESTS = st.lists(
    st.tuples(st.floats(0, 50.0), SECONDS, st.lists(SECONDS, max_size=6), st.integers(0, 4)), min_size=1, max_size=8
)


@settings(deadline=None)
@given(requests=REQUESTS)
def test_recomputed_figures_are_those_of_the_columns(requests: list[Any]) -> None:
    start = [one[0] for one in requests]
    outputs = [len(gaps) + 1 + surplus for _, _, gaps, surplus in requests]
    e2e = [ttft + sum(gaps) for _, ttft, gaps, _ in requests]
    duration = max(sent + took for sent, took in zip(start, e2e, strict=True)) - min(start)
    file = {
        "request_rate": "inf", "max_concurrency": 4, "duration": duration, "completed": len(requests), "failed": 0,
        "start_times": start, "ttfts": [one[1] for one in requests], "itls": [one[2] for one in requests],
        "input_lens": [7] * len(requests), "output_lens": outputs,
    }
    document = Document(Path("given.json"), "sha256:0", datetime(2026, 1, 5, tzinfo=UTC), (file,))
    (found,) = read_serve(document, Given(suite="published", model="moe")).found
    assert isinstance(found.scenario, ServingScenario)
    assert isinstance(found.outcome, Completed)
    assert isinstance(found.outcome.measurement, ServingMeasurement)
    assert [request.output_tokens for request in found.outcome.measurement.requests] == outputs
    values = serving_values(found.scenario, found.outcome.measurement)
    assert values["ttft_p50_s"] == pytest.approx(statistics.median(one[1] for one in requests), abs=2e-6)
    assert values["e2e_p50_s"] == pytest.approx(statistics.median(e2e), abs=2e-6)
    tpot = [sum(gaps) / (n - 1) for (_, _, gaps, _), n in zip(requests, outputs, strict=True) if n > 1]
    if tpot:
        assert values["tpot_p50_s"] == pytest.approx(statistics.median(tpot), abs=2e-6)
    # a chunk's tokens share its time, so each token more than there are chunks is a gap of 0
    between = [gap for _, _, gaps, surplus in requests for gap in (*gaps, *([0.0] * surplus))]
    if between:
        assert values["itl_mean_s"] == pytest.approx(statistics.fmean(between), abs=2e-6)
        assert values["itl_p50_s"] == pytest.approx(statistics.median(between), abs=2e-6)
    assert values["output_tokens_per_s"] == pytest.approx(sum(outputs) / duration)
