"""JSON reports of GuideLLM: one cell a benchmark. Source: GuideLLM 0.2 to 0.8, benchmark/ (schemas/) of each.

Until 0.3 a benchmark has `args.strategy`, `run_stats` and flat requests; since 0.4 `config.strategy`,
`scheduler_metrics` and `info.timings` in each request. Both have `metrics`; those of successful requests are taken.

- Loads: synchronous is a concurrency of 1; concurrent has `streams`; throughput is all at once (GuideLLM keeps at most
  some hundreds in flight); poisson is an open loop; constant is one whose burstiness is very high, for arrivals at even
  distances. Until 0.3 the last two begin with a burst of one second's requests.
- Rates are work over `duration`. GuideLLM's own means of tokens/s are over other spans, which differ by version.
- Requests that the end of the run cut off are `incomplete`: neither work nor failures, as only `errored` ones are.
- Latencies are computed again from the requests, in open loops from the targeted start on, where the report has every
  successful one. Token times in between are not in it, so the mean inter-token latency is known, its percentiles not.
- Where requests are missing (sampled), the stated figures count. Their percentiles are not interpolated. In open loops
  those from the start of a request on are taken only where the mean delay behind the target is below 1 % of them.
  `time_per_output_token_ms` is left out: it divides by all tokens, and since 0.4 counts the first one's wait.
  `inter_token_latency_ms` is a mean a request, weighted by its gaps: its own mean is that of all gaps, and it is the
  time per output token where all requests have as many tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.errors import InputError, nearest
from harness.imports.document import Document, Node
from harness.imports.result import (
    Foreign,
    Found,
    Given,
    Work,
    all_failed,
    serving_scenario,
    stated_environment,
)
from harness.imports.vllm_bench import EVEN_BURSTINESS
from harness.record import NOT_STATED, Completed, ReportedMeasurement
from harness.scenario import ClosedLoop, Load, Offline, OpenLoop
from harness.serving_metrics import PERCENTILES, statistics

_STRATEGIES = ("synchronous", "concurrent", "throughput", "constant", "poisson")
_NEGLIGIBLE = 0.01
_ROUNDING = 1e-6


def read_guidellm(document: Document, given: Given) -> Foreign:
    """A report with at least one benchmark. Raises InputError with `file:key`."""
    root = Node.of(document.values[0], str(document.path))
    benchmarks = [_Benchmark(node) for node in root.nodes("benchmarks")]
    if not benchmarks:
        raise InputError("has no benchmark", where=root.at("benchmarks"))
    lengths = _lengths(benchmarks)
    metadata = root.node("metadata") if root.has("metadata") else None
    version = metadata.text("guidellm_version") if metadata and metadata.has("guidellm_version") else None
    system = metadata.text("platform") if metadata and metadata.has("platform") else NOT_STATED
    return Foreign(
        tool="guidellm", version=version, model=_model(root, benchmarks[0]), backend="other",
        environment=stated_environment(system), found=tuple(one.found(given, lengths) for one in benchmarks),
    )


def _lengths(benchmarks: Sequence[_Benchmark]) -> Work:
    """The lengths of all benchmarks together, so that a sweep is one curve."""
    requests = max(1, sum(one.successful for one in benchmarks))
    prompt, output = (
        sum(one.tokens(key).number("total_sum") for one in benchmarks) / requests for key in ("prompt", "output")
    )
    spread = [one.tokens(key) for one in benchmarks for key in ("prompt", "output") if one.successful]
    same = all(_alike(one) for one in spread)
    return Work(requests, prompt, output, same and prompt == round(prompt) and output == round(output))


def _model(root: Node, first: _Benchmark) -> str:
    """The model's name: until 0.3 the worker's, since then the backend's or the arguments'."""
    for node, holder, key in ((first.node, "worker", "backend_model"), (first.settings, "backend", "model"),
                              (root, "args", "model")):
        if isinstance(node.raw(holder), dict):
            model = node.node(holder).raw(key)
            if isinstance(model, str) and model:
                return model
    return NOT_STATED


class _Request(NamedTuple):
    """One successful request, in seconds of the client's clock."""

    arrival_s: float
    first_s: float
    last_s: float
    tokens: int


class _Benchmark:
    """One benchmark of a report, of either layout."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.old = not node.has("config")
        self.settings = node.node("args" if self.old else "config")
        self.metrics = node.node("metrics")
        totals = (node if self.old else self.metrics).node("request_totals")
        self.successful, self.errored = totals.whole("successful"), totals.whole("errored")
        self.load = self._load(self.settings.node("strategy"))

    @staticmethod
    def _load(strategy: Node) -> Load:
        kind = strategy.text("type_")
        if kind not in _STRATEGIES:
            raise InputError(
                f"the strategy {kind!r} is not known here", where=strategy.at("type_"), hint=nearest(kind, _STRATEGIES)
            )
        if kind == "throughput":
            return Offline()
        if kind in ("synchronous", "concurrent"):
            return ClosedLoop(concurrency=1 if kind == "synchronous" else strategy.whole("streams", 1))
        burstiness = EVEN_BURSTINESS if kind == "constant" else 1.0
        return OpenLoop(requests_per_s=strategy.positive("rate"), burstiness=burstiness)

    def tokens(self, which: str) -> Node:
        """The successful requests' prompt or output tokens."""
        return self.metrics.node(f"{which}_token_count").node("successful")

    def found(self, given: Given, lengths: Work) -> Found:
        """The benchmark as a result."""
        duration_s = self.node.positive("duration")
        started_at = self.node.moment("start_time")
        requests = self.successful + self.errored
        scenario = serving_scenario(given, "guidellm", lengths._replace(requests=requests), self.load)
        if not self.successful:
            return Found(scenario, all_failed(requests), started_at, duration_s, lengths.fixed)
        output = self.tokens("output").number("total_sum")
        values = {
            "requests_per_s": self.successful / duration_s,
            "output_tokens_per_s": output / duration_s,
            "total_tokens_per_s": (output + self.tokens("prompt").number("total_sum")) / duration_s,
        }
        requests_seen = self._requests()
        values |= self._stated() if requests_seen is None else _computed(requests_seen)
        measured = ReportedMeasurement(values=values, failed_requests=self.errored, duration_s=duration_s)
        return Found(scenario, Completed(measurement=measured), started_at, duration_s, lengths.fixed)

    def _requests(self) -> list[_Request] | None:
        """Every successful request; None where some are missing or did not stream."""
        if not self.node.has("requests") or not self.node.node("requests").has("successful"):
            return None
        nodes = self.node.node("requests").nodes("successful")
        if len(nodes) != self.successful:
            return None
        requests = [self._request(node) for node in nodes]
        known = [request for request in requests if request is not None]
        return known if len(known) == len(requests) else None

    def _request(self, node: Node) -> _Request | None:
        if self.old:
            times, targets = node, node.node("scheduler_info")
            start, target, first, last = "start_time", "targeted_start_time", "first_token_time", "last_token_time"
        else:
            times = targets = node.node("info").node("timings")
            start, target, first, last = (
                "request_start", "targeted_start", "first_token_iteration", "last_token_iteration"
            )
        if not times.has(start, first, last) or not targets.has(target) or not node.has("output_tokens"):
            return None
        arrival_s = targets.number(target) if isinstance(self.load, OpenLoop) else times.number(start)
        first_s = _not_before(times, first, arrival_s)
        return _Request(arrival_s, first_s, _not_before(times, last, first_s), node.whole("output_tokens"))

    def _stated(self) -> dict[str, float]:
        """Latencies by metric as the report states them."""
        gaps = self.metrics.node("inter_token_latency_ms").node("successful")
        values = {"itl_mean_s": gaps.number("mean") / 1e3} if gaps.number("mean") else {}
        if _alike(self.tokens("output")):
            values |= _summary(gaps, "tpot", 1e-3)
        delay_s = self._delay_s()
        for theirs, key, unit_s in (("time_to_first_token_ms", "ttft", 1e-3), ("request_latency", "e2e", 1.0)):
            summary = self.metrics.node(theirs).node("successful")
            if delay_s <= _NEGLIGIBLE * summary.number("mean") * unit_s:
                values |= _summary(summary, key, unit_s)
        return values

    def _delay_s(self) -> float:
        """How late an open loop's requests started in the mean; 0 in other loads, infinite where it is not told."""
        if not isinstance(self.load, OpenLoop):
            return 0.0
        holder, key = ("run_stats", "request_start_time_targeted_delay_avg") if self.old else (
            "scheduler_metrics", "request_targeted_start_delay_avg"
        )
        delay_s = self.node.node(holder).number(key, -1.0) if self.node.has(holder) else -1.0
        return math.inf if delay_s < 0 else delay_s


def _alike(summary: Node) -> bool:
    """Whether all values are the same, but for what rounding left of their deviation."""
    return summary.number("std_dev") <= _ROUNDING * summary.number("mean")


def _not_before(times: Node, key: str, earlier_s: float) -> float:
    found = times.number(key, -math.inf)
    if found < earlier_s:
        raise InputError(f"is {found:.6f}, before what came first ({earlier_s:.6f})", where=times.at(key))
    return found


def _summary(summary: Node, key: str, unit_s: float) -> dict[str, float]:
    """The statistics of a latency, in seconds; none where all is 0, as GuideLLM writes what it did not see."""
    if not summary.number("mean"):
        return {}
    values = {f"{key}_mean_s": summary.number("mean") * unit_s, f"{key}_p50_s": summary.number("median") * unit_s}
    percentiles = summary.node("percentiles")
    cuts = [percent for percent in PERCENTILES if percent != 50 and percentiles.has(f"p{percent}")]
    return values | {f"{key}_p{percent}_s": percentiles.number(f"p{percent}") * unit_s for percent in cuts}


def _computed(requests: Sequence[_Request]) -> dict[str, float]:
    """Latencies by metric from every successful request."""
    several = [request for request in requests if request.tokens > 1]
    decoding_s = [request.last_s - request.first_s for request in several]
    values = statistics("ttft", np.asarray([request.first_s - request.arrival_s for request in requests]))
    values |= statistics("e2e", np.asarray([request.last_s - request.arrival_s for request in requests]))
    each = [time / (request.tokens - 1) for time, request in zip(decoding_s, several, strict=True)]
    values |= statistics("tpot", np.asarray(each))
    if several:
        values["itl_mean_s"] = math.fsum(decoding_s) / sum(request.tokens - 1 for request in several)
    return values
