"""A load on a loaded engine, every token stamped: closed loops, open loops, replays and offline runs are one loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from harness.backends.base import Engine, Finish
from harness.errors import EngineError
from harness.measurements.devices import DeviceSampler
from harness.measurements.schedule import Request, schedule
from harness.record import RequestTiming, ServingMeasurement, WarmUp
from harness.scenario import ClosedLoop, Offline, ServingScenario
from harness.timeline import runs_of
from harness.traces import Trace

WARMUP_OUTPUT_TOKENS = 32
"""The most that a request of a warm-up makes: those in flight have to end before the clock starts."""
WARMUP_CONCURRENCY = 16
"""Of the warm-up before loads that have no concurrency of their own."""
OFFLINE_WARMUP_CONCURRENCY = 256
WINDOW_S = 0.2
WINDOWS = 3
AGREEMENT = 0.05
"""How far from their mean the output rates of the last windows may be for the engine to be warm."""


class Clock(Protocol):
    """Monotonic seconds since some moment, and waiting for them to pass."""

    def __call__(self) -> float:
        """The time now."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    """The machine's own clock."""

    def __call__(self) -> float:
        """See `Clock`."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """The last millisecond is waited for by asking, since a sleeping process wakes late."""
        until = time.perf_counter() + seconds
        if seconds > 0.001:
            time.sleep(seconds - 0.001)
        while time.perf_counter() < until:
            pass


def measure_serving(
    engine: Engine, scenario: ServingScenario, seed: int, trace: Trace | None = None, clock: Clock | None = None
) -> ServingMeasurement:
    """Warms up until the output rate is steady, then runs the scenario's load. Times are in seconds.

    Raises EngineError where a request cannot fit the engine's context.
    """
    longest = scenario.lengths.longest
    if longest > engine.max_model_len:
        raise EngineError(
            f"{longest} tokens a request exceed the engine's context of {engine.max_model_len}",
            kind="context", hint="raise engine.max_model_len or shorten the workload",
        )
    clock = clock or SystemClock()
    warmup = warm_up(engine, scenario, seed, trace, clock)
    loop = LoadLoop(engine, clock, np.random.default_rng((seed, 3)))
    with DeviceSampler(clock, engine.devices) as sampler:
        loop.run(schedule(scenario, seed, trace), scenario.concurrency, enough_of(scenario))
    return ServingMeasurement(
        duration_s=round(loop.duration_s, 6),
        step_time_s=round(loop.step_s, 6),
        submit_time_s=round(loop.submit_s, 6),
        idle_time_s=round(loop.idle_s, 6),
        steps_s=loop.token_steps_s,
        requests=loop.timings(),
        warmup=warmup,
        devices=sampler.samples(),
        no_energy=sampler.no_energy,
    )


Enough = Callable[[int, float], bool]
"""Whether a load may end, after so many requests and seconds."""


def enough_of(scenario: ServingScenario) -> Enough:
    """A closed loop goes on until both its requests and its time are reached; other loads end by themselves."""
    if not isinstance(scenario.load, ClosedLoop):
        return lambda _sent, _elapsed: False
    return lambda sent, elapsed: sent >= scenario.requests and elapsed >= scenario.min_duration_s


# Warm-up ---------------------------------------------------------------------------------------------------------


def warm_up(engine: Engine, scenario: ServingScenario, seed: int, trace: Trace | None, clock: Clock) -> WarmUp:
    """A closed loop of the same prompts' lengths until the output rate is steady or `warmup_s` have passed.

    Every slot is used at least once. Loads without a concurrency are warmed up at a usual one.
    """
    if isinstance(scenario.load, ClosedLoop):
        concurrency = scenario.load.concurrency
    else:
        usual = OFFLINE_WARMUP_CONCURRENCY if isinstance(scenario.load, Offline) else WARMUP_CONCURRENCY
        concurrency = min(scenario.requests, usual)
    loop = LoadLoop(engine, clock, np.random.default_rng((seed, 4)))
    # requests of one length start and end together: only windows of whole waves have equal shares of prompts in them
    wave = concurrency * min(round(scenario.lengths.output_mean), WARMUP_OUTPUT_TOKENS)
    watch = Steadiness(loop, wave)

    def enough(sent: int, elapsed: float) -> bool:
        return sent >= concurrency and (elapsed >= scenario.warmup_s or watch.steady())

    loop.run(_shortened(scenario, seed, trace), concurrency, enough)
    rates = tuple(float(f"{rate:.6g}") for rate in watch.rates())
    steady = None if scenario.warmup_s == 0 else watch.steady()
    return WarmUp(duration_s=round(loop.duration_s, 6), requests=loop.sent, windows_tokens_per_s=rates, steady=steady)


def _shortened(scenario: ServingScenario, seed: int, trace: Trace | None) -> Iterator[Request]:
    """Requests like the scenario's, due at once and without end, whose outputs end soon."""
    endless = scenario.model_copy(update={"load": ClosedLoop(concurrency=1)})
    for request in schedule(endless, seed + 1, trace):
        yield request._replace(output_tokens=min(request.output_tokens, WARMUP_OUTPUT_TOKENS))


class Steadiness:
    """Whether the output rate of a loop has settled: the rates of its last windows agree.

    A window is at least `WINDOW_S` long and has at least `tokens` output tokens. They agree where each is within
    `AGREEMENT` of their mean.
    """

    def __init__(self, loop: LoadLoop, tokens: int) -> None:
        self._loop = loop
        self._tokens = tokens
        self._rates: list[float] = []
        self._read = 0
        self._from_s = 0.0

    def steady(self) -> bool:
        """Whether the last windows agree."""
        last = self.rates()[-WINDOWS:]
        if len(last) < WINDOWS:
            return False
        mean = sum(last) / len(last)
        return all(abs(rate - mean) <= AGREEMENT * mean for rate in last)

    def rates(self) -> list[float]:
        """Output tokens/s of the windows so far."""
        steps, tokens = self._loop.steps, 0
        for index in range(self._read, len(steps)):
            end_s, made = steps[index]
            tokens += len(made)
            if end_s - self._from_s >= WINDOW_S and tokens >= self._tokens:
                self._rates.append(tokens / (end_s - self._from_s))
                self._read, self._from_s, tokens = index + 1, end_s, 0
        return self._rates


# The loop --------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """An engine step: when it ended, and the request of each token that it made."""

    end_s: float
    tokens: Sequence[str]


class Sent(NamedTuple):
    """A request as it was handed over."""

    request: Request
    arrival_s: float
    submitted_s: float


class LoadLoop:
    """One run of a load, with what it saw. Times are seconds since the run began."""

    def __init__(self, engine: Engine, clock: Clock, generator: np.random.Generator) -> None:
        self._engine = engine
        self._clock = clock
        self._generator = generator
        self._sent: list[Sent] = []
        self._starts: dict[str, float] = {}
        self._ends: dict[str, Finish] = {}
        self.steps: list[Step] = []
        self.duration_s = 0.0
        self.step_s = 0.0
        self.submit_s = 0.0
        self.idle_s = 0.0

    @property
    def sent(self) -> int:
        """Requests handed over so far."""
        return len(self._sent)

    def run(self, requests: Iterator[Request], most_in_flight: int | None, enough: Enough) -> None:
        """Sends requests as they are due, at most so many at once, until there are no more or it is enough.

        Where there is a most, a request arrives when its slot is free; else when its schedule says, even if the
        engine was busy with a step then and takes it later.
        """
        clock, engine = self._clock, self._engine
        upcoming, running = next(requests, None), 0
        start = now = clock()
        while upcoming is not None or running:
            freed = now
            # what comes due while these are handed over waits for a step, or handing over would never end
            while upcoming is not None and upcoming.arrival_s <= freed - start:
                if most_in_flight is not None and running >= most_in_flight:
                    break
                if enough(len(self._sent), freed - start):
                    upcoming = None
                    break
                now = self._submit(upcoming, start, None if most_in_flight is None else freed)
                upcoming, running = next(requests, None), running + 1
            if not running:
                if upcoming is not None:
                    clock.sleep(start + upcoming.arrival_s - now)
                    then, now = now, clock()
                    self.idle_s += now - then
                continue
            began = clock()
            tokens, finished, started = engine.step()
            now = clock()
            self.step_s += now - began
            # sorted by request after the loop: touching each request's own list here would slow small models by 2 %
            self.steps.append(Step(now - start, tokens))
            for request_id in started:
                self._starts.setdefault(request_id, began - start)
            for end in finished:
                self._ends[end.request_id] = end
            running -= len(finished)
        self.duration_s = now - start

    def _submit(self, request: Request, start: float, freed: float | None) -> float:
        """Hands a request over with a prompt of random token ids, and returns the time when that was done."""
        prompt = self._generator.integers(0, self._engine.vocabulary_size, request.prompt_tokens).tolist()
        request_id, began = str(len(self._sent)), self._clock()
        arrival_s = request.arrival_s if freed is None else freed - start
        self._sent.append(Sent(request, arrival_s, began - start))
        self._engine.submit(request_id, prompt, request.output_tokens)
        now = self._clock()
        self.submit_s += now - began
        return now

    @property
    def token_steps_s(self) -> tuple[float, ...]:
        """The end of every step that made a token."""
        return tuple(round(step.end_s, 6) for step in self.steps if step.tokens)

    def timings(self) -> tuple[RequestTiming, ...]:
        """The requests in the order in which they were sent."""
        runs = runs_of(step.tokens for step in self.steps if step.tokens)
        timings = []
        for index, (request, arrival_s, submitted_s) in enumerate(self._sent):
            request_id = str(index)
            end, started_s = self._ends.get(request_id), self._starts.get(request_id)
            timings.append(RequestTiming(
                arrival_s=round(arrival_s, 6),
                submitted_s=round(submitted_s, 6),
                started_s=None if started_s is None else round(started_s, 6),
                asked_prompt_tokens=request.prompt_tokens,
                asked_output_tokens=request.output_tokens,
                prompt_tokens=end.prompt_tokens if end else 0,
                finish_reason=end.reason if end else None,
                cached_tokens=end.cached_tokens if end else 0,
                tokens=tuple(runs.get(request_id, ())),
            ))
        return tuple(timings)
