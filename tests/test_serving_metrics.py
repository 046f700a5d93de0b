"""What one repeat of a load says, against plain sums over its requests and figures computed by hand."""

from __future__ import annotations

import math
import statistics as plain_statistics
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from builders import closed_loop, serving_scenario, timed_requests
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import of_scenario
from harness.record import DeviceSamples, ReportedMeasurement, RequestTiming, ServingMeasurement, WarmUp
from harness.scenario import ClosedLoop, Load, Offline, OpenLoop, Replay
from harness.serving_metrics import PERCENTILES, Timings, arrival_rate, serving_values, statistics
from harness.suite_serving import Limits

CLOSED = serving_scenario(1)


def request(arrival: float, *times: float, **changes: Any) -> tuple[float, tuple[float, ...], dict[str, Any]]:
    """A request that arrived and started at once, with the times of its tokens."""
    return arrival, times, changes


def measured(
    *requests: tuple[float, tuple[float, ...], dict[str, Any]], duration_s: float = 4.0, step_s: float = 3.6,
    **changes: Any,
) -> ServingMeasurement:
    steps, timings = timed_requests([list(times) for _, times, _ in requests], [one[0] for one in requests],
                                    prompt_tokens=10)
    altered = [timing.model_copy(update=one[2]) for timing, one in zip(timings, requests, strict=True)]
    return ServingMeasurement(
        duration_s=duration_s, step_time_s=step_s, steps_s=steps, requests=tuple(altered),
        warmup=WarmUp(duration_s=0.0, requests=0), **changes,
    )


class TestByHand:
    def test_two_requests(self) -> None:
        values = serving_values(CLOSED, measured(request(0.0, 0.5, 1.0, 2.5), request(1.0, 2.5, 3.5, 4.0)))
        assert values["output_tokens_per_s"] == 6 / 4
        assert values["total_tokens_per_s"] == 26 / 4
        assert values["requests_per_s"] == 2 / 4
        assert values["ttft_mean_s"] == pytest.approx((0.5 + 1.5) / 2)
        assert values["ttft_p90_s"] == pytest.approx(0.5 + 0.9 * 1.0)
        # one takes 2.0 s for two more tokens, the other 1.5 s
        assert values["tpot_mean_s"] == pytest.approx((1.0 + 0.75) / 2)
        # gaps 0.5, 1.5, 1.0, 0.5 pooled over requests
        assert values["itl_p50_s"] == pytest.approx(0.75)
        assert values["itl_mean_s"] == pytest.approx(3.5 / 4)
        assert values["e2e_p50_s"] == pytest.approx((2.5 + 3.0) / 2)

    def test_latencies_count_from_the_arrival_and_not_from_the_submission(self) -> None:
        late = request(0.0, 2.0, 3.0, submitted_s=1.5, started_s=1.6)
        values = serving_values(serving_scenario(load=OpenLoop(requests_per_s=1)), measured(late))
        assert (values["ttft_p50_s"], values["e2e_p50_s"], values["queue_p50_s"]) == (2.0, 3.0, 1.6)

    def test_queueing_is_that_of_the_requests_whose_start_is_known(self) -> None:
        requests = (
            request(0.0, 1.0, 2.0, started_s=0.25), request(0.0, 1.0, 2.0, started_s=0.75),
            request(0.0, 3.0, 4.0, started_s=None), request(0.0, started_s=1.25),
        )
        values = serving_values(CLOSED, measured(*requests))
        assert values["queue_mean_s"] == pytest.approx((0.25 + 0.75 + 1.25) / 3)
        unknown = measured(request(0.0, 1.0, 2.0, started_s=None))
        assert not [key for key in serving_values(CLOSED, unknown) if key.startswith("queue")]

    def test_the_rest_of_the_duration_is_overhead(self) -> None:
        one = measured(request(0.0, 1.0), submit_time_s=0.1, idle_time_s=0.2, step_s=3.6)
        values = serving_values(CLOSED, one)
        assert values["harness_overhead"] == pytest.approx(0.1 / 4)
        assert values["submit_share"] == pytest.approx(0.1 / 4)

    def test_rounded_times_give_no_negative_overhead(self) -> None:
        assert serving_values(CLOSED, measured(request(0.0, 1.0), step_s=4.000001))["harness_overhead"] == 0.0

    def test_tokens_of_one_step_share_its_time(self) -> None:
        # as speculative decoding makes them: two tokens at 1.0, one at 2.0
        one = RequestTiming(
            arrival_s=0, submitted_s=0, asked_prompt_tokens=10, asked_output_tokens=3, prompt_tokens=10,
            finish_reason="length", tokens=((0, 1, 2), (1, 1, 1)),
        )
        both = measured(request(0.0, 1.0, 2.0)).model_copy(update={"requests": (one,)})
        values = serving_values(CLOSED, both)
        assert values["output_tokens_per_s"] == 3 / 4
        assert (values["itl_mean_s"], values["tpot_mean_s"]) == (0.5, 0.5)

    def test_what_was_not_seen_is_absent(self) -> None:
        values = serving_values(CLOSED, measured(request(0.0, 0.5), request(0.0)))
        assert values["ttft_p50_s"] == 0.5
        assert not [key for key in values if key.startswith(("tpot", "itl", "steady", "goodput", "usd", "joules"))]
        assert serving_values(CLOSED, measured(duration_s=0.0)) == {}

    def test_what_another_tool_reported_passes_through(self) -> None:
        reported = ReportedMeasurement(values={"output_tokens_per_s": 50.0, "ttft_p99_s": 0.3})
        assert serving_values(CLOSED, reported) == reported.values
        assert serving_values(CLOSED, reported, Limits(ttft_s=1), 3.6) == {
            **reported.values, "usd_per_million_output_tokens": pytest.approx(3.6 / 3600 / 50 * 1e6),
        }

    def test_every_value_is_in_the_table_and_every_timed_metric_has_a_value(self) -> None:
        samples = DeviceSamples(name="Example GPU", times_s=(0.0, 4.0), energy_j=(0.0, 400.0))
        full = measured(
            request(0.0, 1.0, 2.0), request(0.0, 1.5, 2.5), request(2.0, 3.0, 4.0), devices=(samples,)
        )
        values = serving_values(CLOSED, full, Limits(e2e_s=1), 2.0)
        counted = {"decode_flops_per_token", "prefill_flops_per_token", "longest_context_tokens", "prefill_time_share"}
        counted |= {"arrivals_per_s"}  # of loads whose arrivals are given
        rows = {metric.key for metric in of_scenario("serving")}
        assert set(values) == {key for key in rows - counted if "mfu" not in key and "mbu" not in key}


class TestArrivalRate:
    def test_gaps_over_the_time_from_the_first_to_the_last(self) -> None:
        three = measured(request(0.5, 1.0, 2.0), request(0.75, 1.0, 2.0), request(1.0, 2.0, 3.0))
        for load in (OpenLoop(requests_per_s=16), Replay()):
            assert serving_values(serving_scenario(load=load), three)["arrivals_per_s"] == 2 / 0.5

    @pytest.mark.parametrize("load", [ClosedLoop(concurrency=2), Offline()])
    def test_loads_whose_arrivals_are_not_given_have_none(self, load: Load) -> None:
        values = serving_values(serving_scenario(load=load), measured(request(0.0, 1.0), request(0.5, 1.0)))
        assert "arrivals_per_s" not in values

    @pytest.mark.parametrize("arrivals", [[], [1.0], [2.0, 2.0]])
    def test_one_moment_has_no_rate(self, arrivals: list[float]) -> None:
        assert arrival_rate(arrivals) is None


class TestGoodput:
    REQUESTS = (request(0.0, 1.0, 3.0), request(0.0, 2.0, 2.5), request(0.0, 2.0), request(0.0))
    """Times to first token 1, 2, 2 and none; per output token 2, 0.5, and none twice; end to end 3, 2.5 and 2."""

    @pytest.mark.parametrize(
        ("limits", "good"),
        [
            (Limits(ttft_s=2.0), 3), (Limits(ttft_s=1.99), 1), (Limits(ttft_s=0.5), 0),
            (Limits(tpot_s=2.0), 3), (Limits(tpot_s=1.99), 2), (Limits(tpot_s=0.49), 1),
            (Limits(e2e_s=3.0), 3), (Limits(e2e_s=2.4), 1),
            (Limits(ttft_s=2.0, tpot_s=0.5), 2), (Limits(ttft_s=1.0, tpot_s=1.0, e2e_s=9.0), 0),
        ],
    )
    def test_a_request_has_to_keep_every_limit(self, limits: Limits, good: int) -> None:
        values = serving_values(CLOSED, measured(*self.REQUESTS), limits)
        assert (values["goodput_requests_per_s"], values["goodput_share"]) == (good / 4, good / 4)

    def test_without_limits_there_is_none(self) -> None:
        assert "goodput_share" not in serving_values(CLOSED, measured(*self.REQUESTS))


class TestSteadyState:
    # two slots are busy from 1.0 s, when the slower has its first token, until 3.0 s, when the last request comes
    REQUESTS = (
        request(0.0, 0.5, 1.5, 2.5), request(0.0, 1.0, 2.0, 3.0), request(2.5, 3.5, 4.0), request(3.0, 4.0),
    )

    def test_from_the_batch_full_to_the_first_slot_that_stays_empty(self) -> None:
        one = measured(*self.REQUESTS)
        assert Timings(one).steady_window() == (1.0, 3.0)
        # tokens at 1.5, 2.0, 2.5 and 3.0
        assert serving_values(serving_scenario(2), one)["steady_output_tokens_per_s"] == 4 / 2.0

    @pytest.mark.parametrize(
        ("load", "expected"),
        [
            (ClosedLoop(concurrency=2), True), (Offline(), True), (OpenLoop(requests_per_s=2.0), False),
            (Replay(), False),
        ],
    )
    def test_only_loads_that_fill_the_batch_have_one(self, load: Load, expected: bool) -> None:
        values = serving_values(serving_scenario(load=load), measured(*self.REQUESTS))
        assert ("steady_output_tokens_per_s" in values) == expected

    def test_the_start_counts_where_it_is_known_and_the_submission_elsewhere(self) -> None:
        # all are handed over at once; the last waits for a slot until 2.0 s
        waits = (request(0.0, 1.0, 2.0), request(0.0, 1.0, 3.0), request(0.0, 3.0, 4.0, started_s=2.0))
        assert Timings(measured(*waits)).steady_window() == (1.0, 2.0)
        untold = tuple((arrival, times, {"started_s": None}) for arrival, times, _ in waits)
        assert Timings(measured(*untold)).steady_window() is None

    def test_one_batch_is_never_steady(self) -> None:
        assert Timings(measured(request(0.0, 1.0, 2.0), request(0.0, 1.5, 2.5))).steady_window() is None
        assert Timings(measured()).steady_window() is None

    def test_waves_that_never_overlap_are_steady_from_the_first_to_the_last(self) -> None:
        scenario = serving_scenario(4)
        window = Timings(closed_loop(scenario, tokens_per_s=100.0)).steady_window()
        assert window is not None and window[1] - window[0] > 0


TIMES = st.lists(st.floats(0.001, 50, allow_subnormal=False), min_size=1, max_size=8, unique=True).map(sorted)
REQUESTS = st.lists(st.tuples(st.floats(0, 5), TIMES), min_size=1, max_size=8).map(
    lambda rows: [request(arrival, *(arrival + time for time in times)) for arrival, times in rows]
)

LAW = settings(deadline=None, max_examples=50)


class TestLaws:
    @LAW
    @given(REQUESTS)
    def test_every_value_is_what_plain_sums_over_the_requests_give(
        self, requests: list[tuple[float, tuple[float, ...], dict[str, Any]]]
    ) -> None:
        values = serving_values(CLOSED, measured(*requests, duration_s=60.0))
        first = [times[0] - arrival for arrival, times, _ in requests]
        whole = [times[-1] - arrival for arrival, times, _ in requests]
        each = [(times[-1] - times[0]) / (len(times) - 1) for _, times, _ in requests if len(times) > 1]
        gaps = [after - before for _, times, _ in requests for before, after in pairwise(times)]
        for key, seen in (("ttft", first), ("e2e", whole), ("tpot", each), ("itl", gaps)):
            if seen:
                assert values[f"{key}_mean_s"] == pytest.approx(plain_statistics.fmean(seen), abs=1e-9)
                assert values[f"{key}_p50_s"] == pytest.approx(plain_statistics.median(seen), abs=1e-9)
            else:
                assert f"{key}_mean_s" not in values
        assert values["output_tokens_per_s"] == pytest.approx(sum(len(times) for _, times, _ in requests) / 60)

    @LAW
    @given(REQUESTS)
    def test_the_first_token_and_the_others_make_up_the_whole(
        self, requests: list[tuple[float, tuple[float, ...], dict[str, Any]]]
    ) -> None:
        timings = Timings(measured(*requests))
        several = timings.tokens > 1
        assert np.allclose(timings.ttft[several] + timings.tpot * (timings.tokens[several] - 1), timings.e2e[several])
        assert np.all(timings.ttft <= timings.e2e)
        assert math.isclose(timings.itl().sum(), (timings.e2e - timings.ttft).sum(), abs_tol=1e-6)

    @LAW
    @given(REQUESTS, st.floats(0, 60), st.floats(0, 60))
    def test_tokens_of_spans_that_meet_add_up_and_the_whole_span_has_all(
        self, requests: list[tuple[float, tuple[float, ...], dict[str, Any]]], one: float, other: float
    ) -> None:
        timings = Timings(measured(*requests))
        early, late = sorted((one, other))
        parts = [(-1.0, early), (early, late), (late, 1000.0)]
        made = sum(len(times) for _, times, _ in requests)
        assert timings.made_between(-1.0, 1000.0) == made == sum(timings.made_between(*part) for part in parts)
        inside = sum(early < time <= late for _, times, _ in requests for time in times)
        assert timings.made_between(early, late) == inside

    @LAW
    @given(REQUESTS)
    def test_the_steady_window_begins_with_a_token_and_ends_with_the_last_start(
        self, requests: list[tuple[float, tuple[float, ...], dict[str, Any]]]
    ) -> None:
        window = Timings(measured(*requests)).steady_window()
        if window is not None:
            start, end = window
            assert start in {times[0] for _, times, _ in requests}
            assert start < end == max(arrival for arrival, _, _ in requests)

    @LAW
    @given(st.lists(st.floats(0, 1e4), min_size=1, max_size=60))
    def test_percentiles_are_in_order_and_within_the_observations(self, seen: list[float]) -> None:
        values = statistics("ttft", np.asarray(seen))
        cuts = [values[f"ttft_p{percent}_s"] for percent in PERCENTILES]
        assert cuts == sorted(cuts)
        slack = 1e-9 * max(seen)
        assert min(seen) - slack <= cuts[0] and cuts[-1] <= max(seen) + slack
        assert min(seen) - slack <= values["ttft_mean_s"] <= max(seen) + slack

    @LAW
    @given(REQUESTS, st.floats(0.01, 60), st.floats(0.01, 60))
    def test_a_wider_limit_never_counts_fewer_requests(
        self, requests: list[tuple[float, tuple[float, ...], dict[str, Any]]], one: float, other: float
    ) -> None:
        timings = Timings(measured(*requests))
        tight, wide = sorted((one, other))
        for key in ("ttft_s", "tpot_s", "e2e_s"):
            few, many = (timings.within(Limits(**{key: limit})) for limit in (tight, wide))
            assert 0 <= few <= many <= len(requests)
