"""The table of metrics, and how each is derived from the raw observations of one record.

`harness.summarise` turns the records of a suite into `harness.summary.ModelSummary`s whose estimates have these keys.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from harness.record import (
    MemoryMeasurement,
    QualityMeasurement,
    RequestTiming,
    ServingMeasurement,
    ServingScenario,
)
from harness.schema import Frozen
from harness.stats import percentile

Better = Literal["higher", "lower", "none"]
Kind = Literal["serving", "memory", "quality", "architecture"]


class Metric(Frozen):
    """One quantity of a page. Values are in the base unit that `unit` names; scaling is the page's business."""

    key: str
    title: str
    unit: str
    """In words: "tokens per second", "seconds", "bytes", "parameters", "FLOPs", "1" for ratios and scores."""
    better: Better
    formula: str
    """In words, for the method page and the column's description."""
    scenario: Kind


def _latency(key: str, title: str, formula: str) -> list[Metric]:
    named = {
        "mean": "mean", "p50": "median", "p90": "90th percentile", "p95": "95th percentile", "p99": "99th percentile",
    }
    return [
        Metric(
            key=f"{key}_{statistic}_s", title=f"{title} {statistic}", unit="seconds", better="lower",
            formula=f"{words} {formula}", scenario="serving",
        )
        for statistic, words in named.items()
    ]


def _metrics(kind: Kind, rows: list[tuple[str, str, str, Better, str]]) -> list[Metric]:
    return [
        Metric(key=key, title=title, unit=unit, better=better, formula=formula, scenario=kind)
        for key, title, unit, better, formula in rows
    ]


_SERVING = [
    *_metrics("serving", [
        ("output_tokens_per_s", "Output tokens/s", "tokens per second", "higher",
         "output tokens of all requests over the cell's duration"),
        ("steady_output_tokens_per_s", "Steady output tokens/s", "tokens per second", "higher",
         "output tokens a second from when every slot has made its first token until the last request is handed over"),
        ("total_tokens_per_s", "Total tokens/s", "tokens per second", "higher",
         "prompt and output tokens of all requests over the cell's duration"),
        ("requests_per_s", "Requests/s", "requests per second", "higher", "requests over the cell's duration"),
    ]),
    *_latency("ttft", "Time to first token", "over requests of the first token's time minus the arrival"),
    *_latency("tpot", "Time per output token", "over requests of (last - first token's time) / (output tokens - 1)"),
    *_latency("itl", "Inter-token latency", "over all pairs of consecutive tokens of a request of the time between"),
    *_latency("e2e", "End-to-end latency", "over requests of the last token's time minus the arrival"),
    *_metrics("serving", [
        ("harness_overhead", "Harness overhead", "1", "lower",
         "1 - time inside the engine / the cell's duration: what the harness itself costs"),
        ("decode_flops_per_token", "Decode FLOPs/token", "FLOPs", "lower",
         "accounting of one decoded token at the mean context, prompt + output / 2"),
        ("prefill_flops_per_token", "Prefill FLOPs/token", "FLOPs", "lower",
         "accounting of the prompt's causal prefill over its tokens, logits at its last position"),
    ]),
]

_MEMORY = _metrics("memory", [
    ("weights_bytes", "Weights", "bytes", "lower", "bytes of the parameters as the checkpoint stores them"),
    ("kv_cache_bytes", "KV cache", "bytes", "none", "bytes that the engine reserved for keys and values"),
    ("kv_cache_tokens", "KV cache capacity", "tokens", "none", "tokens that fit the reserved cache"),
    ("resident_after_load_bytes", "Resident after load", "bytes", "lower", "resident set on the host, model loaded"),
    ("resident_peak_bytes", "Resident peak", "bytes", "lower", "largest resident set of the process on the host"),
    ("device_peak_bytes", "Device peak", "bytes", "lower",
     "largest memory used over all accelerators (NVML), minus what was used before loading"),
    ("load_s", "Load time", "seconds", "lower", "from the engine's start until it takes requests"),
])

_ARCHITECTURE = _metrics("architecture", [
    ("total_parameters", "Total parameters", "parameters", "none", "every parameter, tied tables once"),
    ("active_parameters", "Active parameters", "parameters", "none",
     "total minus the routed experts that a token does not use"),
    ("active_non_embedding_parameters", "Active without embeddings", "parameters", "none",
     "active minus the input table and the output head"),
    ("kv_bytes_per_token", "KV bytes/token", "bytes", "lower", "bytes by which the cache grows with each token"),
])

_QUALITY = _metrics("quality", [
    ("score", "Score", "1", "higher", "mean over the task's items of its main metric"),
    ("mean_score", "Mean score", "1", "higher",
     "unweighted mean over the suite's tasks, each scaled 0 to 1; the tasks' variances add"),
])

METRICS: dict[str, Metric] = {
    metric.key: metric for metric in (*_ARCHITECTURE, *_MEMORY, *_SERVING, *_QUALITY)
}
"""Every metric by key, in the order of a page's columns."""

COUNTED = frozenset({
    "weights_bytes", "total_parameters", "active_parameters", "active_non_embedding_parameters", "kv_bytes_per_token",
    "decode_flops_per_token", "prefill_flops_per_token",
})
"""Metrics that are counted, not timed: they have no spread."""


def of_scenario(kind: Kind) -> tuple[Metric, ...]:
    """The metrics of one kind, in order."""
    return tuple(metric for metric in METRICS.values() if metric.scenario == kind)


def time_to_first_token(request: RequestTiming) -> float | None:
    """First token's time minus the arrival, in seconds; None without a token."""
    return request.token_times_s[0] - request.arrival_s if request.token_times_s else None


def time_per_output_token(request: RequestTiming) -> float | None:
    """(Last - first token's time) / (tokens - 1), in seconds; None with fewer than two tokens."""
    times = request.token_times_s
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None


def end_to_end(request: RequestTiming) -> float | None:
    """Last token's time minus the arrival, in seconds; None without a token."""
    return request.token_times_s[-1] - request.arrival_s if request.token_times_s else None


def steady_window(measurement: ServingMeasurement, concurrency: int) -> tuple[float, float] | None:
    """When every one of `concurrency` slots was busy, in seconds; None where that never was.

    From when each of the first requests has made its first token, so that no slot waits for its prompt alone, until the
    last request is handed over, behind which slots drain. Source: the steady state of ML.ENERGY (arXiv 2505.06371).
    """
    first = measurement.requests[:concurrency]
    if len(measurement.requests) <= concurrency or not all(request.token_times_s for request in first):
        return None
    start = max(request.token_times_s[0] for request in first)
    end = measurement.requests[-1].arrival_s
    return (start, end) if end > start else None


def serving_values(measurement: ServingMeasurement, concurrency: int) -> dict[str, float]:
    """Every timed serving metric of one repeat by key; a statistic of no observations is left out.

    Percentiles interpolate linearly (type 7). Units as in `METRICS`. A duration of 0 gives no rates.
    """
    requests, duration = measurement.requests, measurement.duration_s
    values: dict[str, float] = {}
    if duration > 0:
        output = sum(len(request.token_times_s) for request in requests)
        prompt = sum(request.prompt_tokens for request in requests)
        values["output_tokens_per_s"] = output / duration
        values["total_tokens_per_s"] = (prompt + output) / duration
        values["requests_per_s"] = len(requests) / duration
        values["harness_overhead"] = max(0.0, 1 - measurement.engine_time_s / duration)
    window = steady_window(measurement, concurrency)
    if window is not None:
        start, end = window
        made = sum(start < stamp <= end for request in requests for stamp in request.token_times_s)
        values["steady_output_tokens_per_s"] = made / (end - start)
    gaps = [
        later - earlier
        for request in requests
        for earlier, later in zip(request.token_times_s, request.token_times_s[1:], strict=False)
    ]
    values |= _statistics("ttft", [time_to_first_token(request) for request in requests])
    values |= _statistics("tpot", [time_per_output_token(request) for request in requests])
    values |= _statistics("itl", list(gaps))
    values |= _statistics("e2e", [end_to_end(request) for request in requests])
    return values


def _statistics(key: str, observations: list[float | None] | list[float]) -> dict[str, float]:
    import numpy as np

    known = np.asarray([value for value in observations if value is not None], dtype=float)
    if not len(known):
        return {}
    values = {f"{key}_mean_s": float(known.mean())}
    values |= {f"{key}_p{percent}_s": percentile(known, percent) for percent in (50, 90, 95, 99)}
    return values


def memory_values(measurement: MemoryMeasurement) -> dict[str, float]:
    """Every memory metric of one repeat by key; the devices' only where there are devices."""
    values = {
        key: float(getattr(measurement, key))
        for key in (metric.key for metric in of_scenario("memory"))
        if key != "device_peak_bytes"
    }
    if measurement.devices:
        used = sum(device.used_peak_bytes - device.used_before_load_bytes for device in measurement.devices)
        values["device_peak_bytes"] = float(used)
    return values


def serving_flags(scenario: ServingScenario, measurement: ServingMeasurement) -> list[str]:
    """What makes a serving measurement untrustworthy, in words; empty where it did the work that was asked."""
    requests, flags = measurement.requests, []
    cached = sum(request.cached_tokens for request in requests)
    if cached:
        flags.append(f"a prefix cache answered {cached} prompt tokens")
    if len(requests) != scenario.requests:
        flags.append(f"{len(requests)} of {scenario.requests} requests were timed")
    short = sum(len(request.token_times_s) != scenario.output_tokens for request in requests)
    if short:
        flags.append(f"{short} of {len(requests)} requests did not give {scenario.output_tokens} output tokens")
    other = sum(request.prompt_tokens != scenario.prompt_tokens for request in requests)
    if other:
        flags.append(f"{other} of {len(requests)} requests did not have {scenario.prompt_tokens} prompt tokens")
    if measurement.duration_s <= 0:
        flags.append("the cell's duration is not positive")
    return flags


def item_scores(measurement: QualityMeasurement, metric: str) -> dict[str, float]:
    """Each sample's score on `metric` by subtask and hash; an item that occurs again has its occurrence appended."""
    scores: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for sample in measurement.samples:
        score = sample.scores.get(metric, sample.scores.get(metric.split(",", 1)[0]))
        key = f"{sample.subtask}/{sample.hash}" if sample.subtask else sample.hash
        seen[key] += 1
        if score is not None:
            scores[key if seen[key] == 1 else f"{key}#{seen[key]}"] = score
    return scores
