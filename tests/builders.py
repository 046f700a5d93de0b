"""Records made by hand, the same on every call: no clock, no randomness without a seed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from harness.environment import Accelerator, Environment
from harness.record import (
    Cell,
    Completed,
    DeviceMemory,
    Failed,
    MemoryMeasurement,
    QualityMeasurement,
    Record,
    Refused,
    RequestTiming,
    Sample,
    Score,
    ServingMeasurement,
    Skipped,
    Subject,
    WarmUp,
)
from harness.scenario import (
    ClosedLoop,
    FixedLength,
    Load,
    MemoryScenario,
    QualityScenario,
    RandomLengths,
    Scenario,
    ServingScenario,
)
from harness.summary import PointKey
from harness.timeline import from_times

START = datetime(2026, 1, 5, 8, 0, 0, tzinfo=UTC)
SUITE = "small"
TASKS = ("facts", "sort")

_TINY: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "moe-8x2": {
        "model_type": "mixtral", **_TINY, "intermediate_size": 64, "num_local_experts": 8, "num_experts_per_tok": 2,
    },
    "moe-fine": {
        "model_type": "qwen2_moe", **_TINY, "intermediate_size": 64, "num_experts": 16, "num_experts_per_tok": 3,
        "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
    },
    "dense-active": {"model_type": "llama", **_TINY, "intermediate_size": 128},
    "dense-total": {"model_type": "llama", **_TINY, "intermediate_size": 512},
}
"""Tiny shapes of Mixtral, Qwen2-MoE and Llama."""

ENVIRONMENT = Environment(
    processor="Example CPU",
    cores=2,
    memory_bytes=8_000_000_000,
    accelerators=(),
    driver=None,
    system="Linux-6.1-x86_64",
    versions={"python": "3.11.9", "moebench": "0.1.0", "torch": "2.11.0", "vllm": "0.32.0", "lm_eval": "0.4.9"},
    threads=2,
    commit="0123456789abcdef0123456789abcdef01234567",
)


def subject(model: str = "moe-8x2", **changes: Any) -> Subject:
    """A local checkpoint in bfloat16 through vLLM on a processor."""
    fields: dict[str, Any] = {
        "model": model,
        "source": f"path:pocket/{model}",
        "revision": "sha256:" + hashlib.sha256(model.encode()).hexdigest(),
        "weights": "checkpoint",
        "precision": "bfloat16",
        "quantization": None,
        "backend": "vllm",
        "engine": {"max_model_len": 256},
        "accelerator": "Example CPU",
        "tensor_parallel": 1,
        "expert_parallel": False,
    }
    return Subject(**{**fields, **changes})


def fixed_lengths(prompt_tokens: int = 32, output_tokens: int = 16) -> RandomLengths:
    """Every request alike."""
    return RandomLengths(prompt=FixedLength(tokens=prompt_tokens), output=FixedLength(tokens=output_tokens))


def serving_scenario(
    concurrency: int = 8, *, prompt_tokens: int = 32, output_tokens: int = 16, load: Load | None = None, **changes: Any
) -> ServingScenario:
    """A closed loop, or another load; four requests a slot and at least 8."""
    fields: dict[str, Any] = {
        "name": "chat", "lengths": fixed_lengths(prompt_tokens, output_tokens),
        "load": load or ClosedLoop(concurrency=concurrency), "requests": max(8, 4 * concurrency),
    }
    return ServingScenario(**{**fields, **changes})


def point(concurrency: int = 8, **changes: Any) -> PointKey:
    """The operating point of `serving_scenario`."""
    return PointKey.of(serving_scenario(concurrency, **changes))


def timed_requests(
    token_times_s: list[list[float]], arrivals_s: list[float], *, prompt_tokens: int = 32, **changes: Any
) -> tuple[tuple[float, ...], tuple[RequestTiming, ...]]:
    """The steps and the requests of these token times; every request asked for what it got."""
    steps, runs = from_times(token_times_s)
    requests = []
    for times, arrival_s, tokens in zip(token_times_s, arrivals_s, runs, strict=True):
        fields: dict[str, Any] = {
            "arrival_s": arrival_s, "submitted_s": arrival_s, "started_s": arrival_s,
            "asked_prompt_tokens": prompt_tokens, "asked_output_tokens": len(times), "prompt_tokens": prompt_tokens,
            "finish_reason": "length", "tokens": tokens,
        }
        requests.append(RequestTiming(**{**fields, **changes}))
    return steps, tuple(requests)


def quality_scenario(task: str = "facts", **changes: Any) -> QualityScenario:
    """A local task, every item, no examples."""
    fields: dict[str, Any] = {
        "lm_eval_task": f"pocket_{task}",
        "task_fingerprint": "sha256:" + hashlib.sha256(task.encode()).hexdigest(),
        "num_fewshot": 0,
        "limit": None,
        "apply_chat_template": False,
    }
    return QualityScenario(task=task, **{**fields, **changes})


def record(
    scenario: Scenario,
    outcome: Completed | Failed | Refused | Skipped,
    *,
    model: str = "moe-8x2",
    repeat: int = 0,
    minutes: float = 0.0,
    cell_seed: int = 0,
    **changes: Any,
) -> Record:
    """One record, begun `minutes` after `START`. `subject` and every field of a record can be given in `changes`."""
    cell = Cell(subject=changes.pop("subject", None) or subject(model), scenario=scenario, seed=cell_seed)
    started = START + timedelta(minutes=minutes)
    fields: dict[str, Any] = {
        "id": hashlib.sha256(f"{cell.id}{repeat}{started}{outcome.status}".encode()).hexdigest()[:12],
        "run_id": "run-1",
        "suite": SUITE,
        "started_at": started,
        "duration_s": 12.5,
        "group": None,
        "config": CONFIGS.get(model, CONFIGS["moe-8x2"]),
        "environment": ENVIRONMENT,
    }
    return Record(cell=cell, repeat=repeat, outcome=outcome, **{**fields, **changes})


def closed_loop(
    scenario: ServingScenario, *, tokens_per_s: float = 1000.0, ttft_s: float | None = None, overhead: float = 0.01
) -> ServingMeasurement:
    """Waves of `concurrency` requests whose tokens come at even steps: output tokens over duration is `tokens_per_s`.

    The first token of each comes `ttft_s` after its arrival, by default two steps. A load without a concurrency is one
    wave. Lengths are the scenario's means.
    """
    prompt_tokens, output_tokens = round(scenario.lengths.prompt_mean), round(scenario.lengths.output_mean)
    concurrency = scenario.concurrency or scenario.requests
    waves, rest = divmod(scenario.requests, concurrency)
    waves += bool(rest)
    duration = scenario.requests * output_tokens / tokens_per_s
    wave = duration / waves
    first = 2 * wave / (output_tokens + 1) if ttft_s is None else ttft_s
    step = (wave - first) / (output_tokens - 1)
    arrivals = [index // concurrency * wave for index in range(scenario.requests)]
    times = [[arrival + first + step * position for position in range(output_tokens)] for arrival in arrivals]
    steps, requests = timed_requests(times, arrivals, prompt_tokens=prompt_tokens)
    return ServingMeasurement(
        duration_s=duration, step_time_s=duration * (0.99 - overhead), submit_time_s=duration * 0.01, steps_s=steps,
        requests=requests, warmup=WarmUp(duration_s=0.1, requests=concurrency), no_energy="no accelerator",
    )


def serving_record(
    *,
    model: str = "moe-8x2",
    repeat: int = 0,
    concurrency: int = 8,
    tokens_per_s: float = 1000.0,
    scenario: ServingScenario | None = None,
    ttft_s: float | None = None,
    overhead: float = 0.01,
    **changes: Any,
) -> Record:
    """A completed serving cell whose output tokens/s are exactly `tokens_per_s`."""
    scenario = scenario or serving_scenario(concurrency)
    measured = closed_loop(scenario, tokens_per_s=tokens_per_s, ttft_s=ttft_s, overhead=overhead)
    return record(scenario, Completed(measurement=measured), model=model, repeat=repeat, **changes)


def quality_record(
    *,
    model: str = "moe-8x2",
    task: str = "facts",
    item_scores: tuple[float, ...] = (1.0, 0.0, 1.0, 1.0),
    metric: str = "exact_match,none",
    chance: float | None = 0.1,
    **changes: Any,
) -> Record:
    """A completed task with these scores of its items, whose hashes depend on the task and the position alone."""
    samples = tuple(
        Sample(
            id=index, hash=hashlib.sha256(f"{task}{index}".encode()).hexdigest(), scores={metric: score},
            target=f"answer {index}", response=f"answer {index}" if score else "another",
        )
        for index, score in enumerate(item_scores)
    )
    mean = sum(item_scores) / len(item_scores)
    measured = QualityMeasurement(
        duration_s=2.0, main_metric=metric, chance=chance, task_version="1.0",
        scores=(Score(metric=metric, value=mean, stderr=0.02, higher_is_better=True),),
        samples=samples, arguments={"tasks": f"pocket_{task}", "batch_size": 1},
    )
    scenario = changes.pop("scenario", None) or quality_scenario(task)
    return record(scenario, Completed(measurement=measured), model=model, **changes)


def reported_record(
    *, value: float, stderr: float | None = None, items: int | None = None, higher_is_better: bool = True,
    **changes: Any,
) -> Record:
    """A score as another tool reports it: without its items, of which the number may be known."""
    found = quality_record(**changes)
    assert isinstance(found.outcome, Completed) and isinstance(found.outcome.measurement, QualityMeasurement)
    measured = found.outcome.measurement
    told = {"value": value, "stderr": stderr, "higher_is_better": higher_is_better}
    scores = tuple(one.model_copy(update=told) for one in measured.scores)
    reported = measured.model_copy(update={"scores": scores, "samples": (), "items": items})
    return found.model_copy(update={"outcome": Completed(measurement=reported)})


def memory_record(
    *, model: str = "moe-8x2", weights_bytes: int = 400_000, parameters: int = 200_000,
    resident_bytes: int = 900_000_000, devices: tuple[DeviceMemory, ...] = (), **changes: Any,
) -> Record:
    """A completed memory cell."""
    measured = MemoryMeasurement(
        load_s=4.0, weights_bytes=weights_bytes, parameters=parameters, kv_cache_bytes=64_000_000,
        kv_cache_tokens=40_000, resident_before_load_bytes=500_000_000,
        resident_after_load_bytes=resident_bytes - 100_000_000, resident_peak_bytes=resident_bytes, devices=devices,
    )
    return record(MemoryScenario(), Completed(measurement=measured), model=model, **changes)


def device_memory(used_peak_bytes: int = 30_000_000_000) -> DeviceMemory:
    """An 80 GB accelerator of which 1 GB was used before loading."""
    return DeviceMemory(
        name="Example GPU", total_bytes=80_000_000_000, used_before_load_bytes=1_000_000_000,
        used_after_load_bytes=20_000_000_000, used_peak_bytes=used_peak_bytes, torch_peak_bytes=None,
    )


def failed_record(
    *, model: str = "moe-8x2", scenario: Scenario | None = None, error: str = "load", message: str = "no such file",
    **changes: Any,
) -> Record:
    """A cell that failed."""
    outcome = Failed(error=error, message=message, log_tail="Traceback ...\nOSError: no such file")
    return record(scenario or serving_scenario(), outcome, model=model, **changes)


def refused_record(
    *, model: str = "moe-8x2", scenario: Scenario | None = None, reason: str = "needs 90 GB of 80 GB", **changes: Any
) -> Record:
    """A cell that the plan refused."""
    return record(scenario or serving_scenario(), Refused(reason=reason), model=model, **changes)


def skipped_record(
    *, model: str = "moe-8x2", scenario: Scenario | None = None, reason: str = "past saturation", **changes: Any
) -> Record:
    """A cell that an adaptive sweep did not need."""
    return record(scenario or serving_scenario(), Skipped(reason=reason), model=model, **changes)


def accelerated(name: str = "Example GPU") -> Environment:
    """The environment of a machine with one accelerator."""
    return ENVIRONMENT.model_copy(update={"accelerators": (Accelerator(name=name, memory_bytes=80_000_000_000),)})


SPEED_AT_1 = {"moe-8x2": 210.0, "moe-fine": 190.0, "dense-active": 240.0, "dense-total": 150.0}
"""Output tokens/s of the small suite at one request in flight."""
ACCURACY = {
    "moe-8x2": {"facts": 0.80, "sort": 0.71},
    "moe-fine": {"facts": 0.83, "sort": 0.70},
    "dense-active": {"facts": 0.62, "sort": 0.70},
    "dense-total": {"facts": 0.82, "sort": 0.74},
}


def small_suite_records(*, repeats: int = 3, items: int = 200) -> list[Record]:
    """Four models, serving at 1, 4 and 16 concurrent requests, memory and two tasks, with 1.5 % spread of speed."""
    from harness.accounting import count_parameters
    from harness.hf_config import architecture_from_config

    generator = np.random.default_rng(20260105)
    difficulty = {task: generator.random(items) for task in TASKS}
    records: list[Record] = []
    for repeat in range(repeats):
        for model, config in CONFIGS.items():
            minutes = float(len(records))
            total = count_parameters(architecture_from_config(config, model)).total
            for concurrency, gain in ((1, 1.0), (4, 3.2), (16, 8.5)):
                rate = SPEED_AT_1[model] * gain * float(1 + 0.015 * generator.standard_normal())
                records.append(serving_record(
                    model=model, repeat=repeat, concurrency=concurrency, tokens_per_s=rate, minutes=minutes,
                ))
            resident = 900_000_000 + 10 * total + int(generator.integers(0, 4_000_000))
            records.append(memory_record(
                model=model, repeat=repeat, weights_bytes=2 * total, parameters=total, resident_bytes=resident,
                minutes=minutes,
            ))
            if repeat == 0:
                records += [
                    quality_record(
                        model=model, task=task, minutes=minutes,
                        item_scores=tuple(float(x) for x in difficulty[task] < ACCURACY[model][task]),
                    )
                    for task in TASKS
                ]
    return records


def with_paths(records: list[Record], root: Path = Path("results")) -> list[tuple[Path, Record]]:
    """Each record with the file in which a store under `root` would keep it; nothing is written."""
    from harness.store import Store

    return [(Store(root).path_of(one), one) for one in records]
