"""vLLM's and lm-eval's own programs on the workloads that moebench measures, to hold moebench against."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import pairwise
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


def latency_of_vllm(engine: VllmEngine, prompts: Sequence[list[int]], output_tokens: int) -> float:
    """Seconds of one batch from start to end, as `vllm bench latency` takes them, on an engine that is loaded."""
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=1.0, top_p=1.0, ignore_eos=True, max_tokens=output_tokens)
    began = time.perf_counter()
    engine.llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
    return time.perf_counter() - began


def serving_of_vllm(
    engine: VllmEngine, prompts: Sequence[list[int]], output_tokens: int, arrivals_s: Sequence[float]
) -> tuple[float, float]:
    """Median time to first token and time per output token in seconds, as `vllm bench serve` computes them.

    Requests are sent at `arrivals_s` and answered token by token, as a client of the server would see them, on an
    engine that is loaded already; vLLM's own function turns what was seen into the metrics.
    """
    from vllm import SamplingParams
    from vllm.benchmarks.datasets import SampleRequest
    from vllm.benchmarks.lib.endpoint_request_func import RequestFuncOutput
    from vllm.benchmarks.serve import calculate_metrics
    from vllm.sampling_params import RequestOutputKind

    sampling = SamplingParams(
        temperature=1.0, top_p=1.0, ignore_eos=True, max_tokens=output_tokens, output_kind=RequestOutputKind.DELTA
    )
    core, seen, sent = engine.llm.llm_engine, dict[str, list[float]](), 0
    start = time.perf_counter()
    while sent < len(prompts) or core.has_unfinished_requests():
        while sent < len(prompts) and arrivals_s[sent] <= time.perf_counter() - start:
            seen[core.add_request(f"serve-{sent}", {"prompt_token_ids": prompts[sent]}, sampling)] = []
            sent += 1
        if not core.has_unfinished_requests():
            time.sleep(max(0.0, start + arrivals_s[sent] - time.perf_counter()))
            continue
        outputs = core.step()
        now = time.perf_counter() - start
        for output in outputs:
            seen[output.request_id] += [now] * len(output.outputs[0].token_ids)
    results = [
        RequestFuncOutput(
            success=True, prompt_len=len(prompt), output_tokens=len(times), ttft=times[0] - arrival,
            itl=[b - a for a, b in pairwise(times)], latency=times[-1] - arrival, start_time=arrival,
        )
        for prompt, arrival, times in zip(prompts, arrivals_s, seen.values(), strict=True)
    ]
    requests = [SampleRequest(prompt="", prompt_len=len(p), expected_output_len=output_tokens) for p in prompts]
    with redirect_stdout(io.StringIO()):  # it advertises a plotting tool
        metrics, _ = calculate_metrics(requests, results, time.perf_counter() - start, None, [50.0], {})
    return float(metrics.median_ttft_ms) / 1e3, float(metrics.median_tpot_ms) / 1e3


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
