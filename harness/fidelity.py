"""`make fidelity`: does moebench agree with the programs that its numbers will be compared with, and what does it cost?

Checks on a pocket model, printed as they are, with what each should reach:
1. on one engine, in alternating pairs, the median ratio of throughput to that of `vllm bench throughput` within 2 % of
   1, of a batch's latency to that of `vllm bench latency`, and of the times to first token and per output token to
   those of `vllm bench serve`, within 5 %;
2. scores against the `lm_eval` command with the same arguments: equal;
3. wall time of one moebench job against `vllm bench throughput`, `vllm bench latency` and `lm_eval` one after another:
   at most 0.5.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.backends.vllm import VllmBackend, VllmEngine
from harness.backends.vllm_bench import (
    latency_of_vllm,
    lm_eval_command,
    serving_of_vllm,
    throughput_of_vllm,
    vllm_command,
)
from harness.errors import EngineError, MoebenchError
from harness.machine import detect_environment
from harness.measurements.schedule import Request
from harness.measurements.serving import LoadLoop, SystemClock
from harness.plan import Job, Planner
from harness.record import Completed, QualityMeasurement, ServingMeasurement, WarmUp
from harness.resources import suites_dir
from harness.scenario import QualityScenario
from harness.serving_metrics import Timings
from harness.store import Store
from harness.suite import parse_suite

PAIRS = 31
REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS = 256, 64, 128
LATENCY_BATCH, LATENCY_ROUNDS = 8, 8
TASKS = ("pocket_facts_a", "pocket_sort", "pocket_count", "pocket_common")
SERVED, RATE_PER_S = 24, 16.0
WITHIN, WITHIN_LATENCY = 0.02, 0.05
AT_MOST = 0.5

Figures = dict[str, float]
Ratios = dict[str, list[float]]

SUITE = f"""
name: fidelity
title: The workloads of vLLM's own benchmarks
models: [{{name: moe-8x2, path: pocket/models/moe-8x2-s1}}]
engine: {{max_model_len: 512, kv_cache_memory_bytes: 268435456}}
serving:
  - {{name: throughput, prompt_tokens: {PROMPT_TOKENS}, output_tokens: {OUTPUT_TOKENS}, concurrency: [{REQUESTS}],
     requests_per_slot: 1, min_duration_s: 0, warmup_s: 1}}
  - {{name: latency, prompt_tokens: {PROMPT_TOKENS}, output_tokens: {OUTPUT_TOKENS}, concurrency: [{LATENCY_BATCH}],
     requests_per_slot: {LATENCY_ROUNDS}, min_duration_s: 0, warmup_s: 1}}
quality: {{tasks: [{", ".join(TASKS)}]}}
repeats: 1
threads: 1
"""


def the_job() -> Job:
    """The one job of the suite above on this machine."""
    where = suites_dir() / "fidelity.yaml"
    suite = parse_suite(SUITE, where=str(where))
    return Planner(suite, where, detect_environment(threads=suite.threads), suites_dir()).plan().jobs[0]


@dataclass(frozen=True)
class Pairs:
    """moebench and one of vLLM's own measurements on one engine, the two taking turns in going first."""

    engine: VllmEngine
    generator: np.random.Generator

    def ratios(self, own: Callable[[int], Figures], reference: Callable[[int], Figures]) -> Ratios:
        """Each figure of moebench over vLLM's, one ratio a pair. Both get the number of the pair."""
        own(-1), reference(-1)  # warm-up
        found: Ratios = {}
        for pair in range(PAIRS):
            if pair % 2:
                theirs, ours = reference(pair), own(pair)
            else:
                ours, theirs = own(pair), reference(pair)
            for name, value in ours.items():
                found.setdefault(name, []).append(value / theirs[name])
        return found

    def prompts(self, requests: int) -> list[list[int]]:
        """Random prompts of the usual length."""
        drawn = self.generator.integers(0, self.engine.vocabulary_size, (requests, PROMPT_TOKENS))
        prompts: list[list[int]] = drawn.tolist()
        return prompts

    def run(self, arrivals_s: Sequence[float]) -> LoadLoop:
        """moebench's loop over requests that arrive so."""
        loop = LoadLoop(self.engine, SystemClock(), self.generator)
        sent = [Request(arrival_s, PROMPT_TOKENS, OUTPUT_TOKENS) for arrival_s in arrivals_s]
        loop.run(iter(sent), None, lambda _sent, _elapsed: False)
        return loop


def throughput(pairs: Pairs) -> Ratios:
    """Output tokens/s of many requests at once against `vllm bench throughput`."""
    at_once = [0.0] * REQUESTS

    def own(_: int) -> Figures:
        return {"output tokens/s": REQUESTS * OUTPUT_TOKENS / pairs.run(at_once).duration_s}

    def reference(_: int) -> Figures:
        return {"output tokens/s": throughput_of_vllm(pairs.engine, pairs.prompts(REQUESTS), OUTPUT_TOKENS)}

    return pairs.ratios(own, reference)


def latency(pairs: Pairs) -> Ratios:
    """Seconds of a batch against `vllm bench latency`."""
    at_once = [0.0] * LATENCY_BATCH

    def own(_: int) -> Figures:
        return {"latency": pairs.run(at_once).duration_s}

    def reference(_: int) -> Figures:
        return {"latency": latency_of_vllm(pairs.engine, pairs.prompts(LATENCY_BATCH), OUTPUT_TOKENS)}

    return pairs.ratios(own, reference)


def serving(pairs: Pairs) -> Ratios:
    """Median latencies of Poisson arrivals against `vllm bench serve`; both of a pair get the same arrivals."""
    def arrivals(pair: int) -> list[float]:
        gaps = np.random.default_rng(pair + 1).exponential(1 / RATE_PER_S, SERVED)
        times: list[float] = np.cumsum(gaps).tolist()
        return times

    def own(pair: int) -> Figures:
        loop = pairs.run(arrivals(pair))
        measured = ServingMeasurement(
            duration_s=loop.duration_s, step_time_s=loop.step_s, steps_s=loop.token_steps_s, requests=loop.timings(),
            warmup=WarmUp(duration_s=0.0, requests=0),
        )
        timings = Timings(measured)
        return {"TTFT p50": float(np.median(timings.ttft)), "TPOT p50": float(np.median(timings.tpot))}

    def reference(pair: int) -> Figures:
        ttft, tpot = serving_of_vllm(pairs.engine, pairs.prompts(SERVED), OUTPUT_TOKENS, arrivals(pair))
        return {"TTFT p50": ttft, "TPOT p50": tpot}

    return pairs.ratios(own, reference)


def check_pairs() -> bool:
    """Prints every pair's ratios; True where each median is as near to 1 as it should be."""
    job = the_job()
    checks = [(throughput, WITHIN), (latency, WITHIN_LATENCY), (serving, WITHIN_LATENCY)]
    held = []
    with tempfile.TemporaryDirectory() as scratch:
        engine = VllmBackend().load(job.subject, job.location, job.config, Path(scratch))
        pairs = Pairs(engine, np.random.default_rng(0))
        for check, within in checks:
            for name, ratios in check(pairs).items():
                print(f"{check.__name__}, {name}, moebench / vLLM's own, {len(ratios)} pairs:")
                print("  " + " ".join(f"{ratio:.3f}" for ratio in ratios))
                median = statistics.median(ratios)
                held.append(_verdict(f"median {median:.4f}", abs(median - 1) <= within, f"within {within:.0%} of 1"))
        engine.close()
    return all(held)


def check_commands() -> bool:
    """Times one moebench job and the three commands, and compares the scores; True where both checks hold."""
    job = the_job()
    with tempfile.TemporaryDirectory(prefix="moebench-fidelity-") as name:
        folder = Path(name)
        own_s, own_scores = _run_moebench(folder)
        throughput_s = _timed(vllm_command("throughput", job, *_THROUGHPUT))
        latency_s = _timed(vllm_command("latency", job, *_LATENCY))
        arguments = {"dtype": job.subject.precision, **job.subject.engine}
        folders = (Path(job.tasks_folder), folder / "lm-eval")
        lm_eval_s = _timed(lm_eval_command(job.location, arguments, TASKS, folders))
        their_scores = _lm_eval_scores(folder / "lm-eval")
    print("scores, moebench and the lm_eval command:")
    for task in TASKS:
        print(f"  {task}: {own_scores.get(task)} and {their_scores.get(task)}")
    equal = _verdict("scores equal", own_scores == their_scores, "equal")
    separate_s = throughput_s + latency_s + lm_eval_s
    print(
        f"wall time, one moebench job {own_s:.1f} s; vllm bench throughput {throughput_s:.1f} s + vllm bench latency "
        f"{latency_s:.1f} s + lm_eval {lm_eval_s:.1f} s = {separate_s:.1f} s"
    )
    ratio = own_s / separate_s
    return _verdict(f"ratio {ratio:.3f}", ratio <= AT_MOST, f"at most {AT_MOST}") and equal


_THROUGHPUT = (
    "--dataset-name", "random", "--random-input-len", str(PROMPT_TOKENS), "--random-output-len", str(OUTPUT_TOKENS),
    "--num-prompts", str(REQUESTS),
)
_LATENCY = (
    "--input-len", str(PROMPT_TOKENS), "--output-len", str(OUTPUT_TOKENS), "--batch-size", str(LATENCY_BATCH),
    "--num-iters", str(LATENCY_ROUNDS), "--num-iters-warmup", "1",
)


def _run_moebench(folder: Path) -> tuple[float, dict[str, float]]:
    """Runs the suite with the `moebench` command and returns its wall time and scores."""
    suite_file = folder / "fidelity.yaml"
    suite_file.write_text(SUITE.replace("path: ", f"path: {suites_dir()}/"), encoding="utf-8")
    start = "from harness.cli import main; main()"
    seconds = _timed([sys.executable, "-c", start, "run", str(suite_file), "--results", str(folder / "results")])
    scores: dict[str, float] = {}
    for _, record in Store(folder / "results").read("fidelity"):
        scenario, outcome = record.cell.scenario, record.outcome
        if isinstance(outcome, Completed) and isinstance(outcome.measurement, QualityMeasurement):
            assert isinstance(scenario, QualityScenario)
            main = outcome.measurement.main_metric
            scores[scenario.task] = next(s.value for s in outcome.measurement.scores if s.metric == main)
    return seconds, scores


def _lm_eval_scores(folder: Path) -> dict[str, float]:
    files = sorted(folder.rglob("results_*.json"))
    if not files:
        raise EngineError("the lm_eval command left no results", where=str(folder))
    results = json.loads(files[-1].read_text(encoding="utf-8"))["results"]
    return {task: results[task]["exact_match,none"] for task in TASKS if task in results}


def _timed(command: list[str]) -> float:
    """Wall time of a command, in seconds. Raises EngineError with the end of its output where it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"exit code {done.returncode}: {done.stderr[-1500:]}", where=" ".join(command[3:6]))
    return time.perf_counter() - began


def _verdict(figure: str, holds: bool, target: str) -> bool:
    print(f"  {figure}: {'reached' if holds else 'NOT reached'} (should be {target})", flush=True)
    return holds


def main() -> None:
    """Exit code 0 where every check holds, 1 otherwise or where one could not be made."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        held = [check_commands(), check_pairs()]
    except MoebenchError as error:
        sys.exit(f"fidelity: {error}")
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
