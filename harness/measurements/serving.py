"""A closed loop on a loaded engine: a fixed number of requests in flight until all are done, every token stamped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from harness.backends.base import Engine, Finish
from harness.errors import EngineError
from harness.record import RequestTiming, ServingMeasurement, ServingScenario

WARMUP_OUTPUT_TOKENS = 8

Clock = Callable[[], float]


def measure_serving(
    engine: Engine, scenario: ServingScenario, seed: int, clock: Clock = time.perf_counter
) -> ServingMeasurement:
    """Warms up with one wave of the same shape, then runs the scenario's requests.

    Raises EngineError where a request does not fit the engine's context, or comes back with other token counts than
    it asked for: such timings would compare different work.
    """
    length = scenario.prompt_tokens + scenario.output_tokens
    if length > engine.max_model_len:
        raise EngineError(
            f"{scenario.prompt_tokens} + {scenario.output_tokens} tokens exceed the engine's context of "
            f"{engine.max_model_len}", kind="context", hint="raise engine.max_model_len or shorten the workload",
        )
    generator = np.random.default_rng(seed)
    shape = (scenario.requests + scenario.concurrency, scenario.prompt_tokens)
    prompts: list[list[int]] = generator.integers(0, engine.vocabulary_size, shape).tolist()
    warmup, timed = prompts[: scenario.concurrency], prompts[scenario.concurrency :]
    warm = ClosedLoop(engine, clock)
    warm.run(warmup, min(WARMUP_OUTPUT_TOKENS, scenario.output_tokens), scenario.concurrency)
    loop = ClosedLoop(engine, clock)
    loop.run(timed, scenario.output_tokens, scenario.concurrency)
    return ServingMeasurement(
        duration_s=round(loop.duration_s, 6),
        engine_time_s=round(loop.submit_s + loop.step_s, 6),
        submit_time_s=round(loop.submit_s, 6),
        requests=loop.timings(scenario),
        warmup_duration_s=round(warm.duration_s, 6),
        warmup_requests=len(warmup),
    )


class ClosedLoop:
    """One run of the loop, with what it saw. Times are seconds since the run began."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._arrivals: list[float] = []
        self._steps: list[tuple[float, Sequence[str]]] = []
        self._ends: dict[str, Finish] = {}
        self.duration_s = 0.0
        self.step_s = 0.0
        self.submit_s = 0.0

    def run(self, prompts: list[list[int]], output_tokens: int, concurrency: int) -> None:
        """Keeps `concurrency` requests in flight until every prompt has had its `output_tokens`."""
        waiting = deque((str(index), prompt) for index, prompt in enumerate(prompts))
        running = 0
        start = now = self._clock()
        while waiting or running:
            while waiting and running < concurrency:
                request_id, prompt = waiting.popleft()
                self._arrivals.append(now - start)
                self._engine.submit(request_id, prompt, output_tokens)
                running += 1
                then, now = now, self._clock()
                self.submit_s += now - then
            began = self._clock()
            tokens, finished = self._engine.step()
            now = self._clock()
            self.step_s += now - began
            # sorted by request after the loop: touching each request's own list here would slow small models by 2 %
            self._steps.append((now - start, tokens))
            for end in finished:
                self._ends[end.request_id] = end
            running -= len(finished)
        self.duration_s = now - start

    def timings(self, scenario: ServingScenario) -> tuple[RequestTiming, ...]:
        """The requests in the order in which they were sent. Raises EngineError for a wrong token count."""
        timings = []
        token_times = self._token_times()
        for index, arrival in enumerate(self._arrivals):
            request_id = str(index)
            end, times = self._ends[request_id], token_times[request_id]
            if len(times) != scenario.output_tokens or end.prompt_tokens != scenario.prompt_tokens:
                raise EngineError(
                    f"request {request_id} asked for {scenario.prompt_tokens} + {scenario.output_tokens} tokens "
                    f"and got {end.prompt_tokens} + {len(times)} ({end.reason})", kind="engine",
                )
            timings.append(RequestTiming(
                arrival_s=round(arrival, 6), token_times_s=tuple(round(t, 6) for t in times),
                prompt_tokens=end.prompt_tokens, finish_reason=end.reason, cached_tokens=end.cached_tokens,
            ))
        return tuple(timings)

    def _token_times(self) -> dict[str, list[float]]:
        """When each token of each request was seen, in seconds."""
        times: dict[str, list[float]] = {str(index): [] for index in range(len(self._arrivals))}
        for stamp, tokens in self._steps:
            for request_id in tokens:
                times[request_id].append(stamp)
        return times
