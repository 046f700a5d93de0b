"""Makes the recordings beside it from a real engine: `.venv/bin/python tests/recordings/make.py`.

`steps.json`: every engine step of a warm-up and a closed loop, as the measurement asked for them.
`lm_eval.json`: what lm-eval returned for two tasks of the pocket suite, less what is not read.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.backends.base import Engine, Finish, StepResult
from harness.backends.vllm import VllmBackend
from harness.measurements.serving import measure_serving
from harness.record import Subject
from harness.scenario import ClosedLoop, FixedLength, RandomLengths, ServingScenario

HERE = Path(__file__).resolve().parent
SUITES = HERE.parents[1] / "suites"
MODEL = "moe-8x2-s1"
LENGTHS = RandomLengths(prompt=FixedLength(tokens=12), output=FixedLength(tokens=6))
SCENARIO = ServingScenario(name="chat", lengths=LENGTHS, load=ClosedLoop(concurrency=3), requests=8)
SEED = 7
TASKS = {"pocket_facts_a": (4, 1000), "pocket_facts_choice_a": (3, 0)}
"""Items and bootstrap iterations: without any, lm-eval gives no standard error."""
KEPT = ("results", "groups", "configs", "versions", "higher_is_better", "samples")


class Recorder:
    """An engine that writes down what it is asked and what it answers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.vocabulary_size, self.max_model_len = engine.vocabulary_size, engine.max_model_len
        self.log: list[dict[str, Any]] = []
        self._submitted: list[list[Any]] = []

    def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
        self._submitted.append([request_id, prompt, output_tokens])
        self.engine.submit(request_id, prompt, output_tokens)

    def step(self) -> StepResult:
        began = time.perf_counter()
        result = self.engine.step()
        seconds = round(time.perf_counter() - began, 6)
        ends = {end.request_id: end for end in result.finished}
        outputs = [
            [request_id, result.tokens.count(request_id), request_id in ends, *self._end(ends.get(request_id))]
            for request_id in dict.fromkeys(result.tokens)
        ]
        started = list(result.started)
        self.log.append({"submitted": self._submitted, "seconds": seconds, "outputs": outputs, "started": started})
        self._submitted = []
        return result

    def _end(self, end: Finish | None) -> tuple[str | None, int, int]:
        return (None, 0, 0) if end is None else (end.reason, end.prompt_tokens, end.cached_tokens)


def steps(engine: Engine) -> dict[str, Any]:
    recorder = Recorder(engine)
    measure_serving(recorder, SCENARIO, SEED)  # type: ignore[arg-type]  # the loop needs no more of an engine
    return {
        "model": MODEL, "scenario": SCENARIO.model_dump(), "seed": SEED, "vocabulary_size": engine.vocabulary_size,
        "max_model_len": engine.max_model_len, "memory": list(engine.memory()), "steps": recorder.log,
    }


def evaluations(engine: Engine) -> dict[str, Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    found = {}
    for task, (limit, iterations) in TASKS.items():
        results = lm_eval.simple_evaluate(
            model=engine.language_model(), tasks=[task], limit=limit, log_samples=True, bootstrap_iters=iterations,
            task_manager=TaskManager(include_path=str(SUITES / "tasks"), include_defaults=False),
        )
        assert results is not None
        kept = {key: results.get(key, {}) for key in KEPT}
        for rows in kept["samples"].values():
            for row in rows:
                del row["doc"], row["arguments"], row["resps"]
        for name, config in kept["configs"].items():
            # where the task file lay is of no interest
            metadata = {key: value for key, value in config["metadata"].items() if key != "config_source"}
            kept["configs"][name] = {"metadata": metadata}
        found[task] = kept
    return found


def main() -> None:
    location = SUITES / "pocket/models" / MODEL
    subject = Subject(
        model=MODEL, source=f"path:pocket/models/{MODEL}", revision=None, weights="checkpoint", precision="bfloat16",
        quantization=None, backend="vllm", accelerator="CPU", tensor_parallel=1, expert_parallel=False, threads=1,
        engine={"max_model_len": 256, "kv_cache_memory_bytes": 2**28, "enforce_eager": True, "seed": 0,
                "enable_prefix_caching": False, "disable_log_stats": True, "max_num_seqs": 4,
                # room for one prompt and a third of the next: requests start one after another
                "max_num_batched_tokens": 16},
    )
    os.environ["OMP_NUM_THREADS"] = "1"
    with TemporaryDirectory() as scratch:
        engine = VllmBackend().load(subject, str(location), {}, Path(scratch))
    # a first loop takes what is only done once
    measure_serving(engine, SCENARIO, SEED)
    for name, content in (("steps", steps(engine)), ("lm_eval", evaluations(engine))):
        (HERE / f"{name}.json").write_text(json.dumps(content, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
