"""256 requests in flight of a pocket model on the real engine: which share of the timed loop is not `engine.step`.

Run in a process of its own; prints the shares of three runs' median.
"""

from __future__ import annotations

import json
import sys
from itertools import repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from harness.backends.vllm import VllmBackend
from harness.fidelity import the_job
from harness.measurements.schedule import Request
from harness.measurements.serving import LoadLoop, SystemClock

CONCURRENCY, PROMPT_TOKENS, WAVES, RUNS = 256, 64, 3, 3


def main(output_tokens: int) -> dict[str, float]:
    job = the_job()
    shares: dict[str, list[float]] = {"harness_share": [], "submit_share": [], "outside_step_share": []}
    with TemporaryDirectory() as scratch:
        engine = VllmBackend().load(job.subject, job.location, job.config, Path(scratch))
        for run in range(RUNS):
            loop = LoadLoop(engine, SystemClock(), np.random.default_rng(run))
            requests = repeat(Request(0.0, PROMPT_TOKENS, output_tokens))
            loop.run(requests, CONCURRENCY, lambda sent, _: sent >= WAVES * CONCURRENCY)
            submit, step = loop.submit_s / loop.duration_s, loop.step_s / loop.duration_s
            shares["submit_share"].append(submit)
            shares["outside_step_share"].append(1 - step)
            shares["harness_share"].append(1 - step - submit)
        most = max(len(set(step.tokens)) for step in loop.steps)
        engine.close()
    return {**{name: round(median(found), 5) for name, found in shares.items()}, "most_in_flight": most}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
