"""Records of older schema versions, brought forward one version at a time. They work on plain JSON values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.timeline import from_times

Json = dict[str, Any]


def _from_1(record: Json) -> Json:
    """Lengths and loads became types of their own; a step's tokens share one time instead of having one each."""
    record = {**record, "schema_version": 2}
    scenario = record["cell"]["scenario"]
    if scenario["kind"] == "serving":
        record["cell"] = {**record["cell"], "scenario": _serving_scenario(scenario)}
        measurement = record["outcome"].get("measurement")
        if measurement is not None:
            record["outcome"] = {**record["outcome"], "measurement": _serving(scenario, measurement)}
    return record


def _serving_scenario(old: Json) -> Json:
    fixed = {key: {"shape": "fixed", "tokens": old[f"{key}_tokens"]} for key in ("prompt", "output")}
    return {
        "kind": "serving", "version": 1, "name": old["name"], "requests": old["requests"],
        "lengths": {"source": "random", **fixed}, "load": {"kind": "closed", "concurrency": old["concurrency"]},
    }


def _serving(scenario: Json, old: Json) -> Json:
    steps, runs = from_times([request["token_times_s"] for request in old["requests"]])
    requests = [
        {
            "arrival_s": request["arrival_s"], "submitted_s": request["arrival_s"], "started_s": None,
            "asked_prompt_tokens": scenario["prompt_tokens"], "asked_output_tokens": scenario["output_tokens"],
            "prompt_tokens": request["prompt_tokens"], "finish_reason": request["finish_reason"],
            "cached_tokens": request.get("cached_tokens", 0), "tokens": tokens,
        }
        for request, tokens in zip(old["requests"], runs, strict=True)
    ]
    submit_s = old.get("submit_time_s", 0.0)
    return {
        "kind": "serving", "duration_s": old["duration_s"], "step_time_s": old["engine_time_s"] - submit_s,
        "submit_time_s": submit_s, "steps_s": steps, "requests": requests,
        "warmup": {"duration_s": old["warmup_duration_s"], "requests": old["warmup_requests"]},
        "no_energy": "measured before moebench read energy",
    }


def _from_2(record: Json) -> Json:
    """Routing, the transformers backend and measured ceilings came; what there was stayed as it is."""
    return {**record, "schema_version": 3}


MIGRATIONS: dict[int, Callable[[Json], Json]] = {1: _from_1, 2: _from_2}
"""From schema version n to n + 1, by n."""
