"""The closed loop on engines whose clock is played: what it counts and stamps is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engines import FakeClock, ReplayEngine, ToyEngine, recorded
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.base import StepResult
from harness.errors import EngineError
from harness.measurements.serving import WARMUP_OUTPUT_TOKENS, measure_serving
from harness.record import ServingMeasurement, ServingScenario


def scenario(
    requests: int = 4, concurrency: int = 2, prompt_tokens: int = 10, output_tokens: int = 3
) -> ServingScenario:
    return ServingScenario(
        name="chat", prompt_tokens=prompt_tokens, output_tokens=output_tokens, concurrency=concurrency,
        requests=requests,
    )


def measure(asked: ServingScenario, **engine: Any) -> tuple[ServingMeasurement, ToyEngine]:
    toy = ToyEngine(**engine)
    return measure_serving(toy, asked, seed=1, clock=toy.clock), toy


class TestRecorded:
    """A run of vLLM on a pocket model, whose step budget let requests start one after another."""

    def replay(self) -> tuple[ServingMeasurement, dict[str, Any]]:
        recording = recorded("steps")
        clock = FakeClock()
        engine = ReplayEngine(recording, clock)
        asked = ServingScenario(**recording["scenario"])
        measured = measure_serving(engine, asked, recording["seed"], clock)
        assert engine.steps_left == 0
        return measured, recording

    def test_every_token_is_stamped_at_the_end_of_its_step(self) -> None:
        measured, recording = self.replay()
        timed = recording["steps"][8:]
        assert [ids[0] for ids in timed[0]["submitted"]] == ["0", "1", "2"]
        ends = np.cumsum([step["seconds"] for step in timed])
        for index, request in enumerate(measured.requests):
            expected = [
                end for end, step in zip(ends, timed, strict=True)
                for output in step["outputs"] if output[0] == str(index) for _ in range(output[1])
            ]
            assert request.token_times_s == pytest.approx(expected, abs=1e-6)
            assert (request.prompt_tokens, request.finish_reason, request.cached_tokens) == (12, "length", 0)
        assert measured.duration_s == pytest.approx(ends[-1], abs=1e-6)

    def test_a_freed_slot_is_taken_at_the_end_of_the_step_that_freed_it(self) -> None:
        requests = self.replay()[0].requests
        ends = sorted(request.token_times_s[-1] for request in requests)
        assert [request.arrival_s for request in requests] == [0.0, 0.0, 0.0, *ends[:5]]

    def test_the_warm_up_is_apart(self) -> None:
        measured, recording = self.replay()
        warm = sum(step["seconds"] for step in recording["steps"][:8])
        assert measured.warmup_requests == 3
        assert measured.warmup_duration_s == pytest.approx(warm, abs=1e-6)

    def test_all_time_was_the_engines(self) -> None:
        measured, _ = self.replay()
        assert (measured.engine_time_s, measured.submit_time_s) == (measured.duration_s, 0.0)


class TestLoop:
    def test_two_waves_of_two(self) -> None:
        measured, toy = measure(scenario())
        first, last = (0.5, 1.0, 1.5), (2.0, 2.5, 3.0)
        assert [r.token_times_s for r in measured.requests] == [first, first, last, last]
        assert [r.arrival_s for r in measured.requests] == [0.0, 0.0, 1.5, 1.5]
        assert (measured.duration_s, measured.engine_time_s) == (3.0, 3.0)
        assert toy.most_in_flight == 2

    def test_a_step_may_make_several_tokens(self) -> None:
        measured, _ = measure(scenario(requests=1, concurrency=1), pace=(2,))
        assert measured.requests[0].token_times_s == (0.5, 0.5, 1.0)

    def test_the_warm_up_has_one_wave_of_the_same_prompts_lengths(self) -> None:
        measured, toy = measure(scenario(requests=6, concurrency=3, output_tokens=20))
        warm, timed = toy.submitted[:3], toy.submitted[3:]
        assert warm == [(str(i), 10, WARMUP_OUTPUT_TOKENS) for i in range(3)]
        assert timed == [(str(i), 10, 20) for i in range(6)]
        assert measured.warmup_duration_s == WARMUP_OUTPUT_TOKENS * 0.5

    def test_a_short_request_is_warmed_up_with_its_own_length(self) -> None:
        _, toy = measure(scenario(output_tokens=2))
        assert {tokens for _, _, tokens in toy.submitted} == {2}

    def test_time_spent_handing_over_counts_as_the_engines(self) -> None:
        class SlowToTake(ToyEngine):
            def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
                self.clock.advance(0.25)
                super().submit(request_id, prompt, output_tokens)

        toy = SlowToTake()
        measured = measure_serving(toy, scenario(), seed=1, clock=toy.clock)
        assert (measured.submit_time_s, measured.engine_time_s, measured.duration_s) == (1.0, 4.0, 4.0)
        # the second of a wave is handed over when the first has been
        assert [r.arrival_s for r in measured.requests] == [0.0, 0.25, 2.0, 2.25]

    def test_prompts_depend_on_the_seed_alone(self) -> None:
        class Listener(ToyEngine):
            def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
                prompts.append(prompt)
                super().submit(request_id, prompt, output_tokens)

        drawn: list[list[list[int]]] = []
        for seed in (3, 3, 4):
            prompts: list[list[int]] = []
            toy = Listener()
            measure_serving(toy, scenario(), seed, toy.clock)
            drawn.append(prompts)
        assert drawn[0] == drawn[1] != drawn[2]
        assert len({tuple(prompt) for prompt in drawn[0]}) == 6
        assert all(0 <= token < 64 for prompt in drawn[0] for token in prompt)


class TestRefused:
    @pytest.mark.parametrize(("prompt_tokens", "output_tokens"), [(250, 7), (257, 2)])
    def test_a_request_longer_than_the_context(self, prompt_tokens: int, output_tokens: int) -> None:
        with pytest.raises(EngineError, match="exceed the engine's context of 256") as caught:
            measure(scenario(prompt_tokens=prompt_tokens, output_tokens=output_tokens))
        assert caught.value.kind == "context"

    def test_a_request_that_fills_the_context_fits(self) -> None:
        measured, _ = measure(scenario(prompt_tokens=253, output_tokens=3))
        assert len(measured.requests) == 4

    @pytest.mark.parametrize(("tokens", "prompt", "got"), [(2, 10, "10 \\+ 2"), (4, 10, "10 \\+ 4"), (3, 9, "9 \\+ 3")])
    def test_wrong_token_counts(self, tokens: int, prompt: int, got: str) -> None:
        class Liar(ToyEngine):
            def step(self) -> StepResult:
                made, finished = super().step()
                if len(self.submitted) <= 2:  # the warm-up
                    return StepResult(made, finished)
                return StepResult(
                    [request_id for request_id in dict.fromkeys(made) for _ in range(tokens)],
                    [end._replace(reason="stop", prompt_tokens=prompt) for end in finished],
                )

        toy = Liar(pace=(3,))
        with pytest.raises(EngineError, match=f"request 0 asked for 10 \\+ 3 tokens and got {got} ") as caught:
            measure_serving(toy, scenario(), seed=1, clock=toy.clock)
        assert str(caught.value).endswith("(stop)")
        assert caught.value.kind == "engine"

    def test_an_engine_that_breaks_is_not_hidden(self) -> None:
        with pytest.raises(EngineError, match="no such architecture"):
            measure(scenario(), actions={"10": "engine-error"})


PACES = st.lists(st.integers(0, 3), min_size=0, max_size=5).map(lambda head: (1, *head))
"""The first request always moves on, so that every loop ends."""


@given(
    concurrency=st.integers(1, 9), requests=st.integers(1, 30), prompt_tokens=st.integers(1, 20),
    output_tokens=st.integers(2, 12), pace=PACES,
)
def test_laws_of_the_loop(
    concurrency: int, requests: int, prompt_tokens: int, output_tokens: int, pace: tuple[int, ...]
) -> None:
    asked = scenario(requests, concurrency, prompt_tokens, output_tokens)
    measured, toy = measure(asked, pace=pace)
    assert toy.most_in_flight <= concurrency
    assert len(measured.requests) == requests
    assert measured.engine_time_s <= measured.duration_s
    for request in measured.requests:
        times = request.token_times_s
        assert len(times) == output_tokens and request.prompt_tokens == prompt_tokens
        assert request.arrival_s < times[0] and list(times) == sorted(times)
        assert times[-1] <= measured.duration_s
    arrivals = [request.arrival_s for request in measured.requests]
    ends = sorted(request.token_times_s[-1] for request in measured.requests)
    # each request after the first ones takes the slot that was freed next
    assert arrivals == [0.0] * min(concurrency, requests) + ends[: max(0, requests - concurrency)]
    assert measured.duration_s == ends[-1]
