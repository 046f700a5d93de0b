"""vLLM's and lm-eval's own programs on the workloads that moebench measures, to hold moebench against."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.backends.vllm import VllmEngine
from harness.plan import Job

_START = "from harness.backends.vllm import prepare_environment; prepare_environment(); "
# the processor build of vLLM answers to another name, so each program starts behind the alias
_VLLM = _START + "from vllm.entrypoints.cli.main import main; main()"
# `vllm bench latency` draws token ids below 10,000 whatever the vocabulary; a pocket model's is smaller
_SMALLER_IDS = (
    "import numpy; draw = numpy.random.randint; "
    "numpy.random.randint = lambda high, **options: draw(min(high, {vocabulary}), **options); "
)
_LM_EVAL = _START + "from lm_eval.__main__ import cli_evaluate; cli_evaluate()"


def throughput_of_vllm(engine: VllmEngine, prompts: Sequence[list[int]], output_tokens: int) -> float:
    """Output tokens/s as `vllm bench throughput` measures them, on an engine that is loaded already."""
    from vllm.benchmarks.datasets import SampleRequest
    from vllm.benchmarks.throughput import _run_vllm_requests

    requests = [
        SampleRequest(
            prompt={"prompt_token_ids": prompt}, prompt_len=len(prompt), expected_output_len=output_tokens
        )
        for prompt in prompts
    ]
    seconds, _ = _run_vllm_requests(
        engine.llm, requests, n=1, disable_detokenize=False, do_profile=False, prequeue_requests=False,
        enable_lora=False,
    )
    return len(requests) * output_tokens / float(seconds)


def vllm_command(benchmark: str, job: Job, *workload: str) -> list[str]:
    """`vllm bench BENCHMARK` with a job's model and engine arguments."""
    program = _SMALLER_IDS.format(vocabulary=job.config["vocab_size"]) + _VLLM
    arguments = [sys.executable, "-c", program, "bench", benchmark]
    engine = {"model": job.location, "dtype": job.subject.precision, **job.subject.engine}
    for key, value in engine.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            arguments += [f"--{flag}", str(value)]
    return arguments + list(workload)


def lm_eval_command(
    model: str, arguments: dict[str, Any], tasks: Sequence[str], folders: tuple[Path, Path]
) -> list[str]:
    """`lm_eval --model vllm` with the same arguments; `folders` are those of the task files and of the output."""
    return [
        sys.executable, "-c", _LM_EVAL, "run", "--model", "vllm", "--model_args",
        json.dumps({"pretrained": model, **arguments}), "--batch_size", "auto", "--tasks", ",".join(tasks),
        "--include_path", str(folders[0]), "--output_path", str(folders[1]),
    ]
