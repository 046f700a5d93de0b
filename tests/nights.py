"""Nights on which the small suite is measured again and again, with upgrades and failures in between."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import builders

from harness.environment import Environment
from harness.record import Record

MODELS = ("moe-8x2", "dense-active")
UPGRADE, FAILURE = 4, 6
"""The nights, counted from 0, from which on a newer vLLM serves, and on which serving fails."""


def environment(night: int, **changes: Any) -> Environment:
    """Of one night: a new commit every night, another vLLM from `UPGRADE` on."""
    versions = builders.ENVIRONMENT.versions | ({"vllm": "0.33.0"} if night >= UPGRADE else {})
    return builders.ENVIRONMENT.model_copy(update={"versions": versions, "commit": f"{night:040x}", **changes})


def rate(model: str, night: int, repeat: int) -> float:
    """Output tokens/s at 8 concurrent requests."""
    slower = 0.9 if night >= UPGRADE else 1.0
    noise = random.Random(f"{model} {night} {repeat}").gauss(1, 0.01)
    return 8 * builders.SPEED_AT_1[model] * slower * noise


def nightly_records(nights: int = 9, *, repeats: int = 1, models: tuple[str, ...] = MODELS) -> list[Record]:
    """Serving at 1 and 8 concurrent requests, memory and a task of every model on every night."""
    records: list[Record] = []
    for night in range(nights):
        for model in models:
            for repeat in range(repeats):
                records += _night_of(model, night, repeat)
    return records


def _night_of(model: str, night: int, repeat: int) -> list[Record]:
    def common(minutes: int) -> dict[str, Any]:
        started = builders.START + timedelta(days=night, minutes=minutes + 10 * repeat)
        return {
            "model": model, "repeat": repeat, "run_id": f"night-{night:03d}", "environment": environment(night),
            "started_at": started, "id": f"{night:04d}{repeat}{minutes}{model}",
        }

    at_8 = builders.serving_scenario(8)
    served = builders.serving_record(scenario=at_8, tokens_per_s=rate(model, night, repeat), **common(1))
    if night == FAILURE and model == MODELS[0]:
        served = builders.failed_record(scenario=at_8, error="engine", message="CUDA error", **common(1))
    right = 140 + random.Random(f"{model} {night}").randrange(8)
    return [
        served,
        builders.serving_record(
            scenario=builders.serving_scenario(1), tokens_per_s=rate(model, night, repeat) / 8, **common(2)
        ),
        builders.memory_record(resident_bytes=900_000_000 + 1_000_000 * night, **common(3)),
        builders.quality_record(
            task="facts", item_scores=tuple(float(item < right) for item in range(200)), **common(4)
        ),
    ]
