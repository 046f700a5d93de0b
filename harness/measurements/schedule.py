"""Which requests are sent when: lengths and arrivals from a scenario and a seed, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.scenario import (
    ClosedLoop,
    FixedLength,
    LogNormalLength,
    OpenLoop,
    RandomLengths,
    Replay,
    ServingScenario,
    UniformLength,
)
from harness.traces import Trace

_BLOCK = 4096


class Request(NamedTuple):
    """One request to send: when it is due, in seconds from the start, and how long it is, in tokens."""

    arrival_s: float
    prompt_tokens: int
    output_tokens: int


def schedule(scenario: ServingScenario, seed: int, trace: Trace | None = None) -> Iterator[Request]:
    """The scenario's requests in the order of their arrival; without end for a closed loop, whose arrivals are all 0.

    An open loop goes on until both its requests and `min_duration_s` are reached. Equal scenarios and seeds give equal
    requests, whatever is drawn besides. `trace` is the one that the scenario names; it is needed where its lengths or
    its arrivals are a trace's.
    """
    lengths = _lengths(scenario, seed, trace)
    arrivals = _arrivals(scenario, seed, trace)
    for (prompt_tokens, output_tokens), arrival_s in zip(lengths, arrivals, strict=False):
        yield Request(arrival_s, prompt_tokens, output_tokens)


def _lengths(scenario: ServingScenario, seed: int, trace: Trace | None) -> Iterator[tuple[int, int]]:
    if isinstance(scenario.lengths, RandomLengths):
        for block in count():
            generator = np.random.default_rng((seed, 1, block))
            prompts = _drawn(generator, scenario.lengths.prompt)
            outputs = _drawn(generator, scenario.lengths.output)
            yield from zip(prompts.tolist(), outputs.tolist(), strict=True)
    assert trace is not None
    while True:
        yield from zip(trace.prompt_tokens, trace.output_tokens, strict=True)


def _drawn(
    generator: np.random.Generator, length: FixedLength | UniformLength | LogNormalLength
) -> NDArray[np.int64]:
    if isinstance(length, FixedLength):
        return np.full(_BLOCK, length.tokens)
    if isinstance(length, UniformLength):
        return np.asarray(generator.integers(length.low, length.high, _BLOCK, endpoint=True))
    drawn = np.exp(np.log(length.median) + length.sigma * generator.standard_normal(_BLOCK))
    whole: NDArray[np.int64] = np.clip(np.rint(drawn), length.low, length.high).astype(np.int64)
    return whole


def _arrivals(scenario: ServingScenario, seed: int, trace: Trace | None) -> Iterator[float]:
    load = scenario.load
    if isinstance(load, ClosedLoop):
        return iter(lambda: 0.0, None)
    if isinstance(load, OpenLoop):
        return _open_arrivals(load, scenario, seed)
    if isinstance(load, Replay):
        assert trace is not None
        assert trace.arrivals_s is not None
        return iter([arrival / load.speed for arrival in trace.arrivals_s[: scenario.requests]])
    return iter([0.0] * scenario.requests)


def _open_arrivals(load: OpenLoop, scenario: ServingScenario, seed: int) -> Iterator[float]:
    """The first request starts the clock; the gaps between the others are drawn block by block."""
    generator = np.random.default_rng((seed, 2))
    scale_s = 1 / (load.requests_per_s * load.burstiness)
    sent, now = 0, 0.0
    while True:
        for gap in generator.gamma(load.burstiness, scale_s, _BLOCK).tolist():
            yield now
            sent += 1
            # the last one arrives when the time is over, so that the run is no shorter
            if sent >= scenario.requests and now >= scenario.min_duration_s:
                return
            now += gap
