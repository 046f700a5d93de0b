"""The loop on engines whose clock is played: what it counts and stamps is exact."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import fixed_lengths
from engines import FakeClock, ReplayEngine, ToyEngine, recorded
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.base import StepResult
from harness.errors import EngineError
from harness.measurements.serving import (
    WARMUP_OUTPUT_TOKENS,
    WINDOWS,
    LoadLoop,
    Steadiness,
    Step,
    measure_serving,
)
from harness.record import RequestTiming, ServingMeasurement
from harness.scenario import ClosedLoop, Load, Offline, OpenLoop, Replay, ServingScenario, TraceLengths
from harness.timeline import token_times
from harness.traces import Trace


def scenario(
    requests: int = 4, concurrency: int = 2, prompt_tokens: int = 10, output_tokens: int = 3, *,
    load: Load | None = None, **changes: Any,
) -> ServingScenario:
    fields: dict[str, Any] = {
        "name": "chat", "lengths": fixed_lengths(prompt_tokens, output_tokens), "requests": requests,
        "load": load or ClosedLoop(concurrency=concurrency),
    }
    return ServingScenario(**{**fields, **changes})


def measure(
    asked: ServingScenario, trace: Trace | None = None, **engine: Any
) -> tuple[ServingMeasurement, ToyEngine]:
    toy = ToyEngine(**engine)
    return measure_serving(toy, asked, 1, trace, clock=toy.clock), toy


def times_of(measured: ServingMeasurement, request: RequestTiming) -> list[float]:
    return [round(float(stamp), 6) for stamp in token_times(request.tokens, np.asarray(measured.steps_s))]


class TestRecorded:
    """A run of vLLM on a pocket model, whose step budget let requests start one after another."""

    def replay(self) -> tuple[ServingMeasurement, dict[str, Any]]:
        recording = recorded("steps")
        clock = FakeClock()
        engine = ReplayEngine(recording, clock)
        asked = ServingScenario.model_validate(recording["scenario"])
        measured = measure_serving(engine, asked, recording["seed"], clock=clock)
        assert engine.steps_left == 0
        return measured, recording

    def timed(self, recording: dict[str, Any]) -> list[dict[str, Any]]:
        """The steps after the warm-up: there the names of requests start from 0 again."""
        starts = [i for i, step in enumerate(recording["steps"]) if [one[0] for one in step["submitted"]][:1] == ["0"]]
        found: list[dict[str, Any]] = recording["steps"][starts[-1] :]
        return found

    def test_every_token_is_stamped_at_the_end_of_its_step(self) -> None:
        measured, recording = self.replay()
        timed = self.timed(recording)
        ends = np.cumsum([step["seconds"] for step in timed])
        for index, request in enumerate(measured.requests):
            expected = [
                end for end, step in zip(ends, timed, strict=True)
                for output in step["outputs"] if output[0] == str(index) for _ in range(output[1])
            ]
            assert times_of(measured, request) == pytest.approx(expected, abs=1e-5)
            assert (request.prompt_tokens, request.finish_reason, request.cached_tokens) == (12, "length", 0)
        assert measured.duration_s == pytest.approx(ends[-1], abs=1e-6)

    def test_a_freed_slot_is_taken_at_the_end_of_the_step_that_freed_it(self) -> None:
        measured, _ = self.replay()
        ends = sorted(times_of(measured, request)[-1] for request in measured.requests)
        arrivals = [request.arrival_s for request in measured.requests]
        assert arrivals == pytest.approx([0.0, 0.0, 0.0, *ends[:5]], abs=1e-6)

    def test_a_request_starts_with_the_step_that_first_worked_on_it(self) -> None:
        measured, recording = self.replay()
        timed = self.timed(recording)
        begins = np.cumsum([0.0, *(step["seconds"] for step in timed)])
        for index, request in enumerate(measured.requests):
            first = next(number for number, step in enumerate(timed) if str(index) in step["started"])
            assert request.started_s == pytest.approx(begins[first], abs=1e-6)
        # the step budget has room for one prompt and a third: the second waits in the queue
        waits = [(r.started_s or 0.0) - r.arrival_s for r in measured.requests]
        assert max(waits) > 0

    def test_the_warm_up_is_apart(self) -> None:
        measured, recording = self.replay()
        warm = sum(step["seconds"] for step in recording["steps"]) - measured.duration_s
        assert measured.warmup.requests == 3
        assert measured.warmup.duration_s == pytest.approx(warm, abs=1e-5)

    def test_all_time_was_the_engines(self) -> None:
        measured, _ = self.replay()
        assert (measured.step_time_s, measured.submit_time_s) == (measured.duration_s, 0.0)


class TestClosedLoop:
    def test_two_waves_of_two(self) -> None:
        measured, toy = measure(scenario())
        first, last = [0.5, 1.0, 1.5], [2.0, 2.5, 3.0]
        assert [times_of(measured, r) for r in measured.requests] == [first, first, last, last]
        assert [r.arrival_s for r in measured.requests] == [0.0, 0.0, 1.5, 1.5]
        assert (measured.duration_s, measured.step_time_s, measured.idle_time_s) == (3.0, 3.0, 0.0)
        assert toy.most_in_flight == 2

    def test_a_step_may_make_several_tokens(self) -> None:
        measured, _ = measure(scenario(requests=1, concurrency=1), pace=(2,))
        assert times_of(measured, measured.requests[0]) == [0.5, 0.5, 1.0]

    def test_it_goes_on_until_the_least_duration(self) -> None:
        measured, _ = measure(scenario(min_duration_s=5.0))
        # waves of 1.5 s: the last begins before 5 s have passed
        assert (len(measured.requests), measured.duration_s) == (8, 6.0)

    def test_time_spent_handing_over_is_told(self) -> None:
        class SlowToTake(ToyEngine):
            def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
                self.clock.advance(0.25)
                super().submit(request_id, prompt, output_tokens)

        toy = SlowToTake()
        measured = measure_serving(toy, scenario(), seed=1, clock=toy.clock)
        assert (measured.submit_time_s, measured.step_time_s, measured.duration_s) == (1.0, 3.0, 4.0)
        # both slots are free at once; the second request is handed over when the first has been
        assert [r.arrival_s for r in measured.requests] == [0.0, 0.0, 2.0, 2.0]
        assert [r.submitted_s for r in measured.requests] == [0.0, 0.25, 2.0, 2.25]

    def test_prompts_depend_on_the_seed_alone(self) -> None:
        class Listener(ToyEngine):
            def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
                prompts.append(prompt)
                super().submit(request_id, prompt, output_tokens)

        drawn: list[list[list[int]]] = []
        for seed in (3, 3, 4):
            prompts: list[list[int]] = []
            toy = Listener()
            measure_serving(toy, scenario(), seed, clock=toy.clock)
            drawn.append(prompts)
        assert drawn[0] == drawn[1] != drawn[2]
        assert len({tuple(prompt) for prompt in drawn[0]}) == 6
        assert all(0 <= token < 64 for prompt in drawn[0] for token in prompt)


def trace(arrivals: tuple[float, ...], outputs: tuple[int, ...]) -> tuple[ServingScenario, Trace]:
    rows = len(arrivals)
    lengths = TraceLengths(
        file="t.jsonl", fingerprint="sha256:0", rows=rows, prompt_mean=10, output_mean=sum(outputs) / rows,
        longest=10 + max(outputs),
    )
    read = Trace(Path("t.jsonl"), "sha256:0", (10,) * rows, outputs, arrivals, tuple(range(1, rows + 1)))
    return scenario(rows, load=Replay(), lengths=lengths), read


class TestOtherLoads:
    def test_arrivals_count_from_the_schedule_though_the_engine_was_busy(self) -> None:
        """The second is due at 0.1 s in the middle of a step: it waits for its end, and that wait is its own."""
        asked, read = trace((0.0, 0.1), (3, 2))
        measured, _ = measure(asked, read)
        first, second = measured.requests
        assert (second.arrival_s, second.submitted_s) == (0.1, 0.5)
        assert times_of(measured, first) == [0.5, 1.0, 1.5]
        assert times_of(measured, second) == [1.0, 1.5]

    def test_a_gap_between_arrivals_is_waited_for_and_told(self) -> None:
        asked, read = trace((0.0, 5.0), (2, 2))
        measured, _ = measure(asked, read)
        assert times_of(measured, measured.requests[1]) == [5.5, 6.0]
        assert (measured.duration_s, measured.step_time_s, measured.idle_time_s) == (6.0, 2.0, 4.0)

    def test_a_replay_may_be_faster(self) -> None:
        asked, read = trace((0.0, 5.0), (2, 2))
        measured, _ = measure(asked.model_copy(update={"load": Replay(speed=5.0)}), read)
        assert [request.arrival_s for request in measured.requests] == [0.0, 1.0]

    def test_each_request_of_a_trace_has_its_own_lengths(self) -> None:
        asked, read = trace((0.0, 0.0, 0.0), (2, 5, 3))
        measured, _ = measure(asked, read)
        assert [request.output_tokens for request in measured.requests] == [2, 5, 3]
        assert [request.asked_output_tokens for request in measured.requests] == [2, 5, 3]

    def test_offline_all_are_there_at_the_start(self) -> None:
        measured, toy = measure(scenario(30, load=Offline()))
        assert toy.most_in_flight == 30
        assert {request.arrival_s for request in measured.requests} == {0.0}

    def test_an_open_loop_sends_whatever_is_in_flight(self) -> None:
        measured, toy = measure(scenario(50, output_tokens=20, load=OpenLoop(requests_per_s=100.0)))
        assert toy.most_in_flight > 30
        arrivals = [request.arrival_s for request in measured.requests]
        assert arrivals == sorted(arrivals)
        assert all(request.submitted_s >= request.arrival_s for request in measured.requests)


class TestWarmUp:
    def test_every_slot_is_used_by_prompts_of_the_same_length(self) -> None:
        measured, toy = measure(scenario(requests=6, concurrency=3, output_tokens=20))
        warm, timed = toy.submitted[:3], toy.submitted[3:]
        assert warm == timed[:3] == [(str(i), 10, 20) for i in range(3)]
        assert measured.warmup.duration_s == 20 * 0.5
        assert measured.warmup.steady is None

    def test_its_outputs_are_cut(self) -> None:
        _, toy = measure(scenario(requests=1, concurrency=1, output_tokens=100))
        assert [tokens for _, _, tokens in toy.submitted] == [WARMUP_OUTPUT_TOKENS, 100]

    def test_it_ends_once_the_rate_is_steady(self) -> None:
        measured, _ = measure(scenario(requests=4, concurrency=1, output_tokens=4, warmup_s=1000.0))
        assert measured.warmup.steady is True
        # a window is a request of four tokens
        assert measured.warmup.requests == WINDOWS
        assert measured.warmup.windows_tokens_per_s == (2.0, 2.0, 2.0)

    def test_a_window_is_a_whole_wave(self) -> None:
        """Each wave of four requests takes a long step for the prompts: the rate of whole waves is steady."""
        class Waves(ToyEngine):
            def step(self) -> StepResult:
                self._step_s = 5.0 if self.first_of_wave else 0.1
                found = super().step()
                self.first_of_wave = not self._left
                return found

            first_of_wave = True

        toy = Waves()
        measured = measure_serving(toy, scenario(concurrency=4, output_tokens=8, warmup_s=1000.0), 1, clock=toy.clock)
        assert measured.warmup.steady is True
        assert set(measured.warmup.windows_tokens_per_s) == {round(32 / 5.7, 5)}

    def test_it_ends_when_its_time_is_up(self) -> None:
        class Slower(ToyEngine):
            def step(self) -> StepResult:
                self._step_s *= 1.1
                return super().step()

        toy = Slower()
        measured = measure_serving(toy, scenario(concurrency=1, output_tokens=4, warmup_s=30.0), 1, clock=toy.clock)
        assert measured.warmup.steady is False
        assert measured.warmup.duration_s >= 30.0

    @pytest.mark.parametrize(
        ("rates", "steady"),
        [([100, 100, 100], True), ([100, 100], False), ([100, 104, 96], True), ([100, 111, 100], False),
         ([50, 100, 101, 100], True), ([100, 100, 100, 50], False)],
    )
    def test_the_last_windows_decide(self, rates: list[int], steady: bool) -> None:
        toy = ToyEngine()
        loop = LoadLoop(toy, toy.clock, np.random.default_rng(0))
        now = 0.0
        for rate in rates:
            for _ in range(4):
                now += 100 / rate
                loop.steps.append(Step(now, ["0"] * 100))
        watch = Steadiness(loop, 400)
        assert watch.rates() == pytest.approx(rates)
        assert watch.steady() is steady


class TestRefused:
    @pytest.mark.parametrize(("prompt_tokens", "output_tokens"), [(250, 7), (257, 2)])
    def test_a_request_longer_than_the_context(self, prompt_tokens: int, output_tokens: int) -> None:
        with pytest.raises(EngineError, match="exceed the engine's context of 256") as caught:
            measure(scenario(prompt_tokens=prompt_tokens, output_tokens=output_tokens))
        assert caught.value.kind == "context"

    def test_a_request_that_fills_the_context_fits(self) -> None:
        measured, _ = measure(scenario(prompt_tokens=253, output_tokens=3))
        assert len(measured.requests) == 4

    @pytest.mark.parametrize(("tokens", "prompt"), [(2, 10), (4, 10), (3, 9)])
    def test_wrong_token_counts_are_kept_as_they_came(self, tokens: int, prompt: int) -> None:
        class Liar(ToyEngine):
            def step(self) -> StepResult:
                made, finished, _ = super().step()
                return StepResult(
                    [request_id for request_id in dict.fromkeys(made) for _ in range(tokens)],
                    [end._replace(reason="stop", prompt_tokens=prompt) for end in finished],
                )

        toy = Liar(pace=(3,))
        measured = measure_serving(toy, scenario(), seed=1, clock=toy.clock)
        assert {(r.asked_prompt_tokens, r.asked_output_tokens) for r in measured.requests} == {(10, 3)}
        assert {(r.prompt_tokens, r.output_tokens) for r in measured.requests} == {(prompt, tokens)}
        assert {r.finish_reason for r in measured.requests} == {"stop"}

    def test_an_engine_that_breaks_is_not_hidden(self) -> None:
        with pytest.raises(EngineError, match="no such architecture"):
            measure(scenario(), actions={"10": "engine-error"})


PACES = st.lists(st.integers(0, 3), min_size=0, max_size=5).map(lambda head: (1, *head))
"""The first request always moves on, so that every loop ends."""


@given(
    concurrency=st.integers(1, 9), requests=st.integers(1, 30), prompt_tokens=st.integers(1, 20),
    output_tokens=st.integers(2, 12), pace=PACES,
)
def test_laws_of_a_closed_loop(
    concurrency: int, requests: int, prompt_tokens: int, output_tokens: int, pace: tuple[int, ...]
) -> None:
    asked = scenario(requests, concurrency, prompt_tokens, output_tokens)
    measured, toy = measure(asked, pace=pace)
    assert toy.most_in_flight <= concurrency
    assert len(measured.requests) == requests
    assert measured.step_time_s <= measured.duration_s
    for request in measured.requests:
        times = times_of(measured, request)
        assert len(times) == output_tokens and request.prompt_tokens == prompt_tokens
        assert request.arrival_s < times[0] and times == sorted(times)
        assert times[-1] <= measured.duration_s
    arrivals = [request.arrival_s for request in measured.requests]
    ends = sorted(times_of(measured, request)[-1] for request in measured.requests)
    # each request after the first ones takes the slot that was freed next
    assert arrivals == [0.0] * min(concurrency, requests) + ends[: max(0, requests - concurrency)]
    assert measured.duration_s == ends[-1]


@given(
    gaps=st.lists(st.integers(0, 40), min_size=1, max_size=20), outputs=st.integers(2, 6), pace=PACES,
)
def test_laws_of_given_arrivals(gaps: list[int], outputs: int, pace: tuple[int, ...]) -> None:
    arrivals = tuple(float(total) / 4 for total in np.cumsum([0, *gaps[1:]]))
    asked, read = trace(arrivals, (outputs,) * len(arrivals))
    measured, _ = measure(asked, read, pace=pace)
    assert [request.arrival_s for request in measured.requests] == list(arrivals)
    for request in measured.requests:
        assert request.arrival_s <= request.submitted_s < times_of(measured, request)[0]
        # nothing waits longer than the step that ran when it was due
        assert request.submitted_s - request.arrival_s < 0.5
    parts = measured.step_time_s + measured.submit_time_s + measured.idle_time_s
    assert parts == pytest.approx(measured.duration_s, abs=1e-5)
    assert all(one.arrival_s <= other.arrival_s for one, other in pairwise(measured.requests))
