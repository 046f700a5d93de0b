"""The table of metrics, and how each is derived from the raw observations of one record.

`harness.summarise` turns the records of a suite into `harness.summary.ModelSummary`s whose estimates have these keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from harness.record import MemoryMeasurement, QualityMeasurement
from harness.schema import Frozen
from harness.serving_metrics import PERCENTILES
from harness.summary import ModelSummary

Better = Literal["higher", "lower", "none"]
Kind = Literal["serving", "memory", "quality", "architecture", "routing"]


class Metric(Frozen):
    """One quantity of a page. Values are in the base unit that `unit` names; scaling is the page's business."""

    key: str
    title: str
    unit: str
    """In words: "tokens per second", "seconds", "bytes", "parameters", "FLOPs", "1" for ratios and scores; empty for
    scores of which less is better, whose unit is the task's."""
    better: Better
    formula: str
    """In words, for the method page and the column's description."""
    scenario: Kind
    least: float = 0.0
    most: float | None = None
    """The limits of what it can be, at which intervals are cut; None where there is no upper one."""


def _latency(key: str, title: str, formula: str) -> list[Metric]:
    named = {"mean": "mean", "p50": "median"} | {f"p{n}": f"{n}th percentile" for n in PERCENTILES if n != 50}
    return [
        Metric(
            key=f"{key}_{statistic}_s", title=f"{title} {statistic}", unit="seconds", better="lower",
            formula=f"{words} {formula}", scenario="serving",
        )
        for statistic, words in named.items()
    ]


def _metrics(kind: Kind, rows: list[tuple[str, str, str, Better, str]]) -> list[Metric]:
    return [
        Metric(
            key=key, title=title, unit=unit, better=better, formula=formula, scenario=kind,
            least=_LEAST.get(key, 0.0), most=1.0 if key in _SHARES else None,
        )
        for key, title, unit, better, formula in rows
    ]


_LEAST = {"expert_load_max_over_mean": 1.0}
_SHARES = frozenset({
    "goodput_share", "harness_overhead", "submit_share", "prefill_time_share", "expert_load_gini",
    "expert_load_entropy", "score", "mean_score",
})
"""Metrics that 1 is the most of."""


_MBU_EXPERTS: tuple[tuple[str, str, Better, str], ...] = (
    ("active", "active experts", "none", "with the k experts of one token, whatever the batch"),
    ("expected", "expected experts", "higher", "with N (1 - (1 - k/N)^T) distinct experts"),
    ("measured", "measured experts", "higher", "with the distinct experts of the recorded routing"),
    ("total", "all experts", "none", "with all N experts; may exceed 1, since a step need not read them all"),
)
_UTILISATION: list[tuple[str, str, str, Better, str]] = [
    ("mfu", "MFU", "1", "higher",
     ("FLOPs of all steps over their time and the device's peak in the precision of the products; both phases, each "
      "for as long as it lasts")),
    ("prefill_mfu", "Prefill MFU", "1", "higher", "the same over steps in which some prompt is worked on"),
    ("decode_mfu", "Decode MFU", "1", "higher", "the same over the other steps"),
    ("mbu", "MBU", "1", "higher",
     ("bytes that all steps have to read, each over the read rate of a working set of that size, over their time; "
      "distinct experts as measured, else as uniform routing expects")),
    ("prefill_mbu", "Prefill MBU", "1", "higher", "the same over prefill steps"),
    ("decode_mbu", "Decode MBU", "1", "higher", "the same over decode steps"),
    *((f"{phase}_mbu_{key}", f"{phase.capitalize()} MBU, {title}", "1", better, formula)
      for phase in ("prefill", "decode") for key, title, better, formula in _MBU_EXPERTS),
    ("prefill_time_share", "Prefill share of time", "1", "none",
     "time of the steps in which some prompt is worked on over that of all steps"),
]

_SERVING = [
    *_metrics("serving", [
        ("output_tokens_per_s", "Output tokens/s", "tokens per second", "higher",
         "output tokens of all requests over the cell's duration"),
        ("steady_output_tokens_per_s", "Steady output tokens/s", "tokens per second", "higher",
         ("output tokens a second while the batch is full: from when all requests that started before the first ended "
         "have their first token, until the last request starts, behind which slots drain")),
        ("total_tokens_per_s", "Total tokens/s", "tokens per second", "higher",
         "prompt and output tokens of all requests over the cell's duration"),
        ("requests_per_s", "Requests/s", "requests per second", "higher", "requests over the cell's duration"),
        ("arrivals_per_s", "Arrival rate", "requests per second", "none",
         ("at how many a second the requests of an open loop or a replay were due: requests less one over the time "
          "from the first to the last; those of an open loop are drawn once, the same for every model and repeat, and "
          "few of them miss the rate that was asked for")),
    ]),
    *_metrics("serving", [
        ("goodput_requests_per_s", "Goodput", "requests per second", "higher",
         ("requests that kept every limit of the suite (time to first token, time per output token, end to end) over "
         "the cell's duration")),
        ("goodput_share", "Requests within limits", "1", "higher", "requests that kept every limit over all requests"),
    ]),
    *_latency("ttft", "Time to first token", "over requests of the first token's time minus the arrival"),
    *_latency("tpot", "Time per output token", "over requests of (last - first token's time) / (output tokens - 1)"),
    *_latency("itl", "Inter-token latency", "over all pairs of consecutive tokens of a request of the time between"),
    *_latency("e2e", "End-to-end latency", "over requests of the last token's time minus the arrival"),
    *_latency("queue", "Queueing", "over requests of the start of the engine step that first works on it minus the "
              "arrival"),
    *_metrics("serving", [
        ("joules_per_output_token", "Energy/output token", "joules", "lower",
         ("energy of all devices over the cell (the driver's counter, else the integral of power samples) over output "
         "tokens")),
        ("steady_joules_per_output_token", "Steady energy/output token", "joules", "lower",
         "the same within the steady state"),
        ("mean_power_w", "Power", "watts", "none", "energy of all devices over the cell's duration"),
        ("usd_per_million_output_tokens", "Cost/million output tokens", "US dollars", "lower",
         "price of an hour of all devices / 3600 / output tokens per second * 1 000 000"),
        ("longest_context_tokens", "Longest context", "tokens", "higher",
         ("tokens of cache for each of the concurrent requests: KV cache capacity / concurrency, at most the engine's "
         "context")),
        ("harness_overhead", "Harness overhead", "1", "lower",
         "share of the cell's duration in which the engine neither steps nor takes a request, although there are some"),
        ("submit_share", "Taking requests", "1", "lower",
         "share of the cell's duration in which the engine takes requests over, before they are scheduled"),
        *_UTILISATION,
        ("decode_flops_per_token", "Decode FLOPs/token", "FLOPs", "lower",
         "accounting of one decoded token at the mean context, prompt + output / 2"),
        ("prefill_flops_per_token", "Prefill FLOPs/token", "FLOPs", "lower",
         "accounting of the prompt's causal prefill over its tokens, logits at its last position"),
    ]),
]

_MEMORY = _metrics("memory", [
    ("weights_bytes", "Weights", "bytes", "lower", "bytes of the parameters as the checkpoint stores them"),
    ("weights_and_cache_bytes", "Weights and cache", "bytes", "lower",
     ("weights, and the keys, values and states of all requests in flight, each with its whole prompt and output; "
      "counted for a load when two models are compared")),
    ("kv_cache_bytes", "KV cache", "bytes", "none", "bytes that the engine reserved for keys and values"),
    ("kv_cache_tokens", "KV cache capacity", "tokens", "none", "tokens that fit the reserved cache"),
    ("resident_after_load_bytes", "Resident after load", "bytes", "lower", "resident set on the host, model loaded"),
    ("resident_peak_bytes", "Resident peak", "bytes", "lower", "largest resident set of the process on the host"),
    ("device_peak_bytes", "Device peak", "bytes", "lower",
     "largest memory used over all accelerators (NVML), minus what was used before loading"),
    ("engine_weights_bytes", "Weights, loaded", "bytes", "lower",
     "what loading the weights took on all devices, as the engine tells"),
    ("activation_bytes", "Activations", "bytes", "lower", "what the engine sets aside for activations, as it tells"),
    ("graph_bytes", "CUDA graphs", "bytes", "lower", "what captured graphs take, as the engine tells"),
    ("other_bytes", "Other", "bytes", "lower",
     ("peak of the devices, on a processor of the resident set, minus weights as loaded, KV cache, activations and "
     "graphs, as far as these are told: the runtime, communication, fragmentation; 0 where they are more than the peak"
     )),
    ("startup_cold_s", "Start-up, cold", "seconds", "lower",
     ("importing the engine and loading, of a model's first repeat, before which the checkpoint's files are dropped "
      "from the system's memory; the engine also compiles what it has kept from no earlier run. Forked processes "
      "import nothing")),
    ("startup_warm_s", "Start-up, warm", "seconds", "lower",
     "importing the engine and loading, with whatever the system still holds of the checkpoint in memory"),
    ("startup_unknown_s", "Start-up, cold or warm", "seconds", "lower",
     ("loading, with importing the engine where the record tells how long that took, of records that lack this or "
      "whether the checkpoint's files were read from disk")),
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

_ROUTING = _metrics("routing", [
    ("distinct_experts", "Distinct experts/step", "experts", "none",
     ("experts of a layer that a decode step of as many tokens as requests are in flight uses, mean over layers and "
      "recorded steps; the step has to read the weights of each")),
    ("expected_distinct_experts", "Expected distinct experts/step", "experts", "none",
     "the same under uniform routing: N (1 - (1 - k/N)^T)"),
    ("expert_load_max_over_mean", "Busiest expert", "1", "lower",
     "tokens of the busiest expert of a layer over the mean expert's, mean over layers, decoding"),
    ("expert_load_variation", "Expert load variation", "1", "lower",
     "coefficient of variation of the experts' tokens, mean over layers, decoding"),
    ("expert_load_gini", "Expert load Gini", "1", "lower",
     "Gini coefficient of the experts' tokens, mean over layers, decoding"),
    ("expert_load_entropy", "Expert load entropy", "1", "higher",
     "entropy of the experts' shares of tokens over that of equal shares, mean over layers, decoding"),
    ("dead_experts", "Dead experts", "experts", "lower", "experts that no decoded token chose, sum over layers"),
])

METRICS: dict[str, Metric] = {
    metric.key: metric for metric in (*_ARCHITECTURE, *_MEMORY, *_SERVING, *_ROUTING, *_QUALITY)
}
"""Every metric by key, in the order of a page's columns."""

COUNTED = frozenset({
    *(metric.key for metric in _ROUTING),
    "arrivals_per_s", "weights_bytes", "weights_and_cache_bytes", "total_parameters", "active_parameters",
    "active_non_embedding_parameters", "kv_bytes_per_token", "decode_flops_per_token", "prefill_flops_per_token",
})
"""Metrics that are counted, not timed: they have no spread."""


def of_scenario(kind: Kind) -> tuple[Metric, ...]:
    """The metrics of one kind, in order."""
    return tuple(metric for metric in METRICS.values() if metric.scenario == kind)


def metric_of(key: str, summaries: Iterable[ModelSummary]) -> Metric:
    """The metric behind a key; `score:<task>` is that of scores under the task's name, as the summaries' scores are.

    One of which less is better is an error, such as a perplexity or bits a byte: no share, whatever its value. Raises
    KeyError.
    """
    if not key.startswith("score:"):
        return METRICS[key]
    task = key.removeprefix("score:")
    scores = [summary.scores[task] for summary in summaries if task in summary.scores]
    changes: dict[str, str | None] = {"key": key, "title": task}
    if not all(score.higher_is_better for score in scores):
        changes |= {"better": "lower", "unit": "", "most": None}
    return METRICS["score"].model_copy(update=changes)


def memory_values(measurement: MemoryMeasurement) -> dict[str, float]:
    """Every memory metric of one repeat by key; those that the engine or the devices do not tell are left out."""
    told = (
        "weights_bytes", "kv_cache_bytes", "kv_cache_tokens", "resident_after_load_bytes", "resident_peak_bytes",
        "engine_weights_bytes", "activation_bytes", "graph_bytes",
    )
    found = {key: getattr(measurement, key) for key in told}
    values = {key: float(value) for key, value in found.items() if value is not None}
    if measurement.devices:
        used = sum(device.used_peak_bytes - device.used_before_load_bytes for device in measurement.devices)
        values["device_peak_bytes"] = float(used)
    known = None if measurement.import_s is None else measurement.cold
    kind = {True: "cold", False: "warm", None: "unknown"}[known]
    values[f"startup_{kind}_s"] = measurement.load_s + (measurement.import_s or 0.0)
    return values | {"other_bytes": memory_split(values)["other_bytes"]}


def memory_split(values: Mapping[str, float]) -> dict[str, float]:
    """What the peak consists of, by the parts' keys; `values` are a repeat's, or those of a summary's estimates.

    The peak is the devices', else that of the resident set. Its weights are what loading them took where the engine
    tells, since ranks can hold some of them twice, else the checkpoint's.
    """
    peak = values.get("device_peak_bytes", values["resident_peak_bytes"])
    weights = "engine_weights_bytes" if "engine_weights_bytes" in values else "weights_bytes"
    keys = (weights, "kv_cache_bytes", "activation_bytes", "graph_bytes")
    parts = {key: values[key] for key in keys if key in values}
    return parts | {"other_bytes": max(0.0, peak - sum(parts.values()))}


def item_scores(measurement: QualityMeasurement, metric: str) -> dict[str, float]:
    """Each sample's score on `metric` by subtask and hash; an item that occurs again has its occurrence appended."""
    scores: dict[str, float] = {}
    keys = item_keys((sample.subtask, sample.hash) for sample in measurement.samples)
    for key, sample in zip(keys, measurement.samples, strict=True):
        score = sample.scores.get(metric, sample.scores.get(metric.split(",", 1)[0]))
        if score is not None:
            scores[key] = score
    return scores


def item_keys(items: Iterable[tuple[str | None, str]]) -> Iterator[str]:
    """The key of each item by its subtask and hash; one that occurs again has its occurrence appended."""
    seen: Counter[str] = Counter()
    for subtask, digest in items:
        key = f"{subtask}/{digest}" if subtask else digest
        seen[key] += 1
        yield key if seen[key] == 1 else f"{key}#{seen[key]}"
