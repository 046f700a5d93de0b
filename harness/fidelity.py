"""`make fidelity`: does moebench agree with the programs that its numbers will be compared with, and what does it cost?

Three checks on a pocket model, printed as they are, with what each should reach:
1. throughput against `vllm bench throughput` on one engine, in alternating pairs: median ratio within 2 % of 1;
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
from pathlib import Path

import numpy as np

from harness.backends.vllm import VllmBackend, VllmEngine
from harness.backends.vllm_bench import lm_eval_command, throughput_of_vllm, vllm_command
from harness.errors import EngineError, MoebenchError
from harness.machine import detect_environment
from harness.measurements.schedule import Request
from harness.measurements.serving import LoadLoop, SystemClock
from harness.plan import Job, Planner
from harness.record import Completed, QualityMeasurement
from harness.resources import suites_dir
from harness.scenario import QualityScenario
from harness.store import Store
from harness.suite import parse_suite

PAIRS = 21
REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS = 256, 64, 128
LATENCY_BATCH, LATENCY_ROUNDS = 8, 8
TASKS = ("pocket_facts_a", "pocket_sort", "pocket_count", "pocket_common")
WITHIN = 0.02
AT_MOST = 0.5

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


def throughput_ratios(engine: VllmEngine, pairs: int = PAIRS) -> list[float]:
    """moebench's tokens/s over vLLM's, one ratio a pair; the two take turns in going first."""
    generator = np.random.default_rng(0)

    def prompts() -> list[list[int]]:
        drawn: list[list[int]] = generator.integers(0, engine.vocabulary_size, (REQUESTS, PROMPT_TOKENS)).tolist()
        return drawn

    def ours() -> float:
        loop = LoadLoop(engine, SystemClock(), generator)
        requests = [Request(0.0, PROMPT_TOKENS, OUTPUT_TOKENS)] * REQUESTS
        loop.run(iter(requests), None, lambda _sent, _elapsed: False)
        return REQUESTS * OUTPUT_TOKENS / loop.duration_s

    def theirs() -> float:
        return throughput_of_vllm(engine, prompts(), OUTPUT_TOKENS)

    ours(), theirs()  # warm-up
    ratios = []
    for pair in range(pairs):
        if pair % 2:
            reference, own = theirs(), ours()
        else:
            own, reference = ours(), theirs()
        ratios.append(own / reference)
    return ratios


def check_throughput() -> bool:
    """Prints the ratios; True where their median is within 2 % of 1."""
    job = the_job()
    with tempfile.TemporaryDirectory() as scratch:
        engine = VllmBackend().load(job.subject, job.location, job.config, Path(scratch))
        ratios = throughput_ratios(engine)
        engine.close()
    median = statistics.median(ratios)
    print(f"throughput, moebench / vllm bench throughput, {len(ratios)} pairs of {REQUESTS} requests:")
    print("  " + " ".join(f"{ratio:.3f}" for ratio in ratios))
    return _verdict(f"median {median:.4f}", abs(median - 1) <= WITHIN, f"within {WITHIN:.0%} of 1")


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
        held = [check_commands(), check_throughput()]
    except MoebenchError as error:
        sys.exit(f"fidelity: {error}")
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
