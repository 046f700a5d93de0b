"""A trace of 100,000 requests: drawn, played by an engine that follows a rule, stored, read and summarised.

Run in a process of its own, so that its peak of memory is its own; prints the seconds of each part and the peak.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import builders
from peak import peak_bytes

from harness.measurements.schedule import Request, schedule
from harness.record import Completed, RequestTiming, ServingMeasurement, WarmUp
from harness.scenario import LogNormalLength, OpenLoop, RandomLengths, ServingScenario
from harness.store import Store
from harness.suite_serving import Limits
from harness.summarise import summarise
from harness.terms import Terms

SLOTS, STEP_S = 256, 0.02


def scenario(requests: int) -> ServingScenario:
    lengths = RandomLengths(
        prompt=LogNormalLength(median=512, sigma=1.0, high=8192),
        output=LogNormalLength(median=128, sigma=0.8, high=2048),
    )
    return ServingScenario(name="trace", lengths=lengths, load=OpenLoop(requests_per_s=60.0), requests=requests)


def play(requests: list[Request]) -> ServingMeasurement:
    """Every slot makes a token a step, the next request takes the slot that is free first."""
    free = deque([0] * SLOTS)
    timings = []
    last = 0
    for request in requests:
        step = max(free.popleft(), int(request.arrival_s / STEP_S) + 1)
        end = step + request.output_tokens
        free.append(end)
        last = max(last, end)
        timings.append(RequestTiming(
            arrival_s=round(request.arrival_s, 6), submitted_s=round(request.arrival_s, 6),
            started_s=round(step * STEP_S, 6), asked_prompt_tokens=request.prompt_tokens,
            asked_output_tokens=request.output_tokens, prompt_tokens=request.prompt_tokens, finish_reason="length",
            tokens=((step, request.output_tokens, 1),),
        ))
    steps = tuple(round((number + 1) * STEP_S, 6) for number in range(last + 1))
    return ServingMeasurement(
        duration_s=steps[-1], step_time_s=steps[-1], steps_s=steps, requests=tuple(timings),
        warmup=WarmUp(duration_s=0.0, requests=0), no_energy="played",
    )


def main(requests: int) -> dict[str, float]:
    marks = [time.perf_counter()]
    asked = scenario(requests)
    drawn = list(islice(schedule(asked, 0), requests))
    marks.append(time.perf_counter())
    record = builders.record(asked, Completed(measurement=play(drawn)))
    marks.append(time.perf_counter())
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        path = store.append(record)
        size = path.stat().st_size
        del record
        marks.append(time.perf_counter())
        terms = Terms({"trace": Limits(ttft_s=1.0, tpot_s=0.05)})
        (summary,) = summarise(store.read(builders.SUITE), terms=terms)
        marks.append(time.perf_counter())
    (point,) = summary.points
    assert point.requests == requests
    names = ("draw_s", "play_s", "store_s", "read_and_summarise_s")
    took = {name: round(b - a, 3) for name, a, b in zip(names, marks, marks[1:], strict=False)}
    return {
        **took, "output_tokens": sum(request.output_tokens for request in drawn), "record_bytes": size,
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
