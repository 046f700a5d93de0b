"""256 requests in flight of a pocket model on the real engine: which share of the timed loop is not `engine.step`.

Run in a process of its own; prints the medians of three runs at each length of output.
"""

from __future__ import annotations

import json
from itertools import repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from harness.backends.vllm import VllmBackend, VllmEngine
from harness.fidelity import the_job
from harness.measurements.schedule import Request
from harness.measurements.serving import LoadLoop, SystemClock

CONCURRENCY, PROMPT_TOKENS, WAVES, RUNS = 256, 64, 2, 3
OUTPUT_TOKENS = (128, 256)


def shares(engine: VllmEngine, output_tokens: int) -> dict[str, float]:
    """Medians over the runs of the shares of the loop's time, and the most requests that made a token in one step."""
    found: dict[str, list[float]] = {"harness_share": [], "submit_share": [], "outside_step_share": []}
    most = 0
    for run in range(RUNS):
        loop = LoadLoop(engine, SystemClock(), np.random.default_rng(run))
        requests = repeat(Request(0.0, PROMPT_TOKENS, output_tokens))
        loop.run(requests, CONCURRENCY, lambda sent, _: sent >= WAVES * CONCURRENCY)
        submit, step = loop.submit_s / loop.duration_s, loop.step_s / loop.duration_s
        found["submit_share"].append(submit)
        found["outside_step_share"].append(1 - step)
        found["harness_share"].append(1 - step - submit)
        most = max(most, *(len(set(step.tokens)) for step in loop.steps))
    return {**{name: round(median(values), 5) for name, values in found.items()}, "most_in_flight": most}


def main() -> dict[str, dict[str, float]]:
    job = the_job()
    with TemporaryDirectory() as scratch:
        engine = VllmBackend().load(job.subject, job.location, job.config, Path(scratch))
        found = {f"{tokens}_output_tokens": shares(engine, tokens) for tokens in OUTPUT_TOKENS}
        engine.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
