"""JSON of `vllm bench throughput`, `latency` and `serve`. Source: vLLM 0.32, vllm/benchmarks/*.py.

What its keys mean, and what is left out because no metric here means the same:

- throughput: `tokens_per_second` counts prompts and outputs. The file does not tell how they divide, nor whether every
  request had the same lengths: the user says so, and output tokens/s follow only where that gives the file's total.
- latency: `latencies` are those of whole batches, from handing all prompts over to the last output, so they are end to
  end at a concurrency of the batch's size. The file tells neither that size nor the lengths.
- serve with `--save-detailed`: everything is computed again from what the client saw. A chunk of the stream can carry
  several tokens. They share its time, and which chunk carried how many changes no gap between tokens, only the steady
  rate by a little: the surplus is spread evenly. Where there are more chunks than tokens, as from chat servers that
  send empty ones, token times are not known, and the gaps between tokens are left out.
- serve otherwise: its inter-token latency is that of chunks and is taken only where the file's sums show that each
  carried one token. Its latencies begin when a request is sent. Where both a rate and a concurrency are given, requests
  wait for their slot before that, and only end-to-end latency, with the wait that the file tells, is taken.
- never: goodput (its limits are not in the file), standard deviations, peaks within one second, speculation.

A rate of inf with a concurrency is a closed loop, without one all requests at once. `--dataset-name timed_trace` leaves
no sign of its schedule in the file and reads like the latter. Dates have no zone and are taken as UTC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from harness.errors import InputError
from harness.imports.document import Document, Node, of_one_length
from harness.imports.result import Foreign, Found, Given, Work, all_failed, serving_scenario
from harness.record import NOT_STATED, Completed, ReportedMeasurement, RequestTiming, ServingMeasurement, WarmUp
from harness.scenario import ClosedLoop, Load, Offline, OpenLoop
from harness.serving_metrics import PERCENTILES, statistics
from harness.timeline import from_times

EVEN_BURSTINESS = 1e6
"""Stands for arrivals at even distances, which is a burstiness without bound."""
_RATES = {
    "output_throughput": "output_tokens_per_s", "total_token_throughput": "total_tokens_per_s",
    "request_throughput": "requests_per_s",
}
_COLUMNS = ("start_times", "ttfts", "itls", "input_lens", "output_lens")
_SERVE = "vllm bench serve"
_MOST_OUTPUT = 1_000_000
_SAME = 1e-6
_SLACK = 1.01


# vllm bench throughput -------------------------------------------------------------------------------------------


def read_throughput(document: Document, given: Given) -> Foreign:
    """`vllm bench throughput --output-json`. Raises InputError with `file:key`."""
    node = Node.of(document.values[0], str(document.path))
    elapsed_s, requests = node.positive("elapsed_time"), node.whole("num_requests", 1)
    total = node.whole("total_num_tokens", 1)
    prompt, output = _divided(node, total / requests, given)
    values = {
        "requests_per_s": node.number("requests_per_second"), "total_tokens_per_s": node.number("tokens_per_second"),
    }
    work = Work(requests, prompt, output, fixed=requests * (prompt + output) == total)
    if work.fixed:
        values["output_tokens_per_s"] = requests * output / elapsed_s
    run = _Run("vllm bench throughput", work, Offline(), elapsed_s)
    measured = ReportedMeasurement(values=values, duration_s=elapsed_s)
    return _foreign(run.tool, node, [_found(document, node, given, run, measured)])


def _divided(node: Node, tokens: float, given: Given) -> tuple[int, int]:
    """Prompt and output tokens of a request, of which there are `tokens` together in the mean."""
    prompt, output = given.prompt_tokens, given.output_tokens
    if prompt is None and output is None:
        raise InputError(
            "does not tell how tokens divide into prompt and output", where=node.at("total_num_tokens"),
            hint="give --prompt-tokens or --output-tokens; the other follows",
        )
    prompt = round(tokens - (output or 0)) if prompt is None else prompt
    output = round(tokens - prompt) if output is None else output
    if prompt < 1 or output < 1 or abs(prompt + output - tokens) > 1:
        raise InputError(
            f"a request had {tokens:.6g} tokens, prompt and output together, which does not fit what was given",
            where=node.at("total_num_tokens"), hint="check --prompt-tokens and --output-tokens",
        )
    return prompt, output


# vllm bench latency ----------------------------------------------------------------------------------------------


def read_latency(document: Document, given: Given) -> Foreign:
    """`vllm bench latency --output-json`. Raises InputError with `file:key`, and for lengths that were not given."""
    node = Node.of(document.values[0], str(document.path))
    latencies = node.numbers("latencies")
    if not latencies or not all(latencies):
        raise InputError("needs at least one latency, and all above 0", where=node.at("latencies"))
    batch, prompt, output = given.concurrency, given.prompt_tokens, given.output_tokens
    if batch is None or prompt is None or output is None:
        raise InputError(
            "a latency file tells neither the batch nor the lengths", where=node.file,
            hint="give --concurrency (the batch's size), --prompt-tokens and --output-tokens",
        )
    work = Work(batch * len(latencies), prompt, output, fixed=True)
    run = _Run("vllm bench latency", work, ClosedLoop(concurrency=batch), math.fsum(latencies))
    measured = ReportedMeasurement(values=statistics("e2e", np.asarray(latencies)), duration_s=run.duration_s)
    return _foreign(run.tool, node, [_found(document, node, given, run, measured)])


# vllm bench serve ------------------------------------------------------------------------------------------------


def read_serve(document: Document, given: Given) -> Foreign:
    """`vllm bench serve --save-result`, with or without `--save-detailed`; several where runs were appended.

    Raises InputError with `file:key`, and for ramps and pooling, which measure something else.
    """
    path = str(document.path)
    several = len(document.values) > 1
    nodes = [Node.of(one, f"{path}:{n}" if several else path) for n, one in enumerate(document.values, 1)]
    return _foreign(_SERVE, nodes[0], [_serve(document, node, given) for node in nodes])


def _serve(document: Document, node: Node, given: Given) -> Found:
    if node.has("ramp_up_strategy"):
        raise InputError("a ramp of rates is no load that holds", where=node.at("ramp_up_strategy"))
    if node.has("total_input_sequences"):
        raise InputError("a pooling run makes no tokens", where=node.at("total_input_sequences"))
    completed = node.whole("completed")
    failed = node.whole("failed") if node.has("failed") else max(0, node.whole("num_prompts") - completed)
    rows = _rows(node) if node.has(*_COLUMNS) else []
    work = _work_of(rows) if rows else _stated_work(node, completed, failed)
    run = _Run(_SERVE, work, _load(node), node.positive("duration"))
    if completed == 0:
        return _found(document, node, given, run, None)
    known = _arrivals_known(node, run.load)
    if rows and known and all(row.token_times is not None for row in rows):
        return _found(document, node, given, run, _timed(node, rows, run))
    values = {name: node.number(key) for key, name in _RATES.items()}
    values |= _row_latencies(rows, run.load, known=known) if rows else _stated_latencies(node, run.load, failed)
    measured = ReportedMeasurement(values=values, failed_requests=failed, duration_s=run.duration_s)
    return _found(document, node, given, run, measured)


def _load(node: Node) -> Load:
    """What the rate, the burstiness and the concurrency ask for."""
    concurrency = node.whole("max_concurrency", 1) if node.has("max_concurrency") else None
    if node.required("request_rate") in ("inf", math.inf):
        return Offline() if concurrency is None else ClosedLoop(concurrency=concurrency)
    rate = node.positive("request_rate")
    even = node.raw("burstiness") == math.inf
    burstiness = EVEN_BURSTINESS if even else node.positive("burstiness") if node.has("burstiness") else 1.0
    return OpenLoop(requests_per_s=rate, burstiness=burstiness)


class _Row(NamedTuple):
    """One request of a detailed file, in seconds of the client's clock."""

    sent_s: float
    waited_s: float
    """For a slot, before it was sent."""
    ttft_s: float
    gaps_s: list[float]
    """Between chunks."""
    prompt_tokens: int
    output_tokens: int
    """0 where it failed."""

    def waited_for(self, load: Load) -> float:
        """The part of the wait that counts: in a closed loop a request arrives when its slot is free."""
        return self.waited_s if isinstance(load, OpenLoop) else 0.0

    @property
    def latency_s(self) -> float:
        return self.ttft_s + math.fsum(self.gaps_s)

    @property
    def token_times(self) -> list[float] | None:
        """The time of each token's chunk; None where some chunk carried none."""
        chunks = len(self.gaps_s) + 1
        if not self.output_tokens:
            return []
        if chunks > self.output_tokens:
            return None
        times = list(accumulate(self.gaps_s, initial=self.sent_s + self.ttft_s))
        marks = [round(index * self.output_tokens / chunks) for index in range(chunks + 1)]
        return [time for time, (low, high) in zip(times, pairwise(marks), strict=True) for _ in range(low, high)]


def _rows(node: Node) -> list[_Row]:
    columns: dict[str, list[Any]] = {name: node.items(name) for name in _COLUMNS}
    if node.has("queue_times"):
        columns["queue_times"] = node.numbers("queue_times")
    count = of_one_length(columns, node)
    sent, ttfts = node.numbers("start_times"), node.numbers("ttfts")
    waited = columns.get("queue_times", [0.0] * count)
    tokens = {name: [round(number) for number in node.numbers(name)] for name in ("input_lens", "output_lens")}
    if max(tokens["output_lens"], default=0) > _MOST_OUTPUT:
        raise InputError(f"has more than {_MOST_OUTPUT} tokens of one request", where=node.at("output_lens"))
    gaps = [Node({f"itls[{n}]": one}, node.file).numbers(f"itls[{n}]") for n, one in enumerate(columns["itls"])]
    prompts, outputs = tokens.values()
    return [_Row(*row) for row in zip(sent, waited, ttfts, gaps, prompts, outputs, strict=True)]


def _work_of(rows: Sequence[_Row]) -> Work:
    """The lengths of the requests that were answered, or of all where none was."""
    done = [row for row in rows if row.output_tokens] or rows
    prompts, outputs = [row.prompt_tokens for row in done], [row.output_tokens for row in done]
    fixed = len(set(prompts)) == len(set(outputs)) == 1
    return Work(len(rows), fmean(prompts), fmean(outputs), fixed)


def _stated_work(node: Node, completed: int, failed: int) -> Work:
    """The mean lengths; taken to be everyone's where both are whole numbers."""
    prompt, output, requests = node.whole("total_input_tokens"), node.whole("total_output_tokens"), max(1, completed)
    fixed = prompt % requests == output % requests == 0
    return Work(completed + failed, prompt / requests, output / requests, fixed)


def _arrivals_known(node: Node, load: Load) -> bool:
    """Whether latencies can begin at the arrival: not where requests waited for a slot and nobody noted how long."""
    return not isinstance(load, OpenLoop) or not node.has("max_concurrency") or node.has("queue_times")


def _timed(node: Node, rows: Sequence[_Row], run: _Run) -> ServingMeasurement:
    """The raw timings. An open loop's requests arrive when the client took them up, others when they are sent."""
    arrivals = [row.sent_s - row.waited_for(run.load) for row in rows]
    zero = min(arrivals)
    times = [[round(time - zero, 6) for time in row.token_times or ()] for row in rows]
    steps, runs = from_times(times)
    if steps and steps[-1] > _SLACK * run.duration_s:
        raise InputError(
            f"the last token came {steps[-1]:.6g} s after the first request, in a run of {run.duration_s:.6g} s",
            where=node.at("start_times"),
        )
    requests = tuple(
        RequestTiming(
            arrival_s=round(arrival - zero, 6), submitted_s=round(row.sent_s - zero, 6),
            asked_prompt_tokens=row.prompt_tokens, asked_output_tokens=row.output_tokens,
            prompt_tokens=row.prompt_tokens, finish_reason="length" if tokens else None, tokens=tokens,
        )
        for row, arrival, tokens in zip(rows, arrivals, runs, strict=True)
    )
    return ServingMeasurement(
        duration_s=run.duration_s, step_time_s=0.0, steps_s=steps, requests=requests,
        warmup=WarmUp(duration_s=0.0, requests=0), no_energy="vllm bench serve measures none",
    )


def _row_latencies(rows: Sequence[_Row], load: Load, *, known: bool) -> dict[str, float]:
    """Latencies by metric from the rows of a detailed file; the arrivals may not be `known`."""
    done = [row for row in rows if row.output_tokens]
    tpot = [(row.latency_s - row.ttft_s) / (row.output_tokens - 1) for row in done if row.output_tokens > 1]
    values = statistics("tpot", np.asarray(tpot))
    if known:
        values |= statistics("ttft", np.asarray([row.ttft_s + row.waited_for(load) for row in done]))
        values |= statistics("e2e", np.asarray([row.latency_s + row.waited_for(load) for row in done]))
    return values


def _stated_latencies(node: Node, load: Load, failed: int) -> dict[str, float]:
    """Latencies by metric as a file without details states them."""
    capped = isinstance(load, OpenLoop) and node.has("max_concurrency")
    values = _stated(node, "tpot", "tpot")
    if not capped:
        values |= _stated(node, "ttft", "ttft")
    if not failed and node.has("latencies") and _arrivals_known(node, load):
        values |= statistics("e2e", np.asarray(_from_arrival(node, load)))
    else:
        values |= _stated(node, "e2el_including_client_queue" if capped else "e2el", "e2e")
    if not failed and _token_a_chunk(node):
        values |= _stated(node, "itl", "itl")
    return values


def _from_arrival(node: Node, load: Load) -> list[float]:
    """End-to-end latencies, which a file without details has too, from the arrival on."""
    latencies = node.numbers("latencies")
    if not isinstance(load, OpenLoop) or not node.has("queue_times"):
        return latencies
    waited = node.numbers("queue_times")
    of_one_length({"latencies": latencies, "queue_times": waited}, node)
    return [latency + wait for latency, wait in zip(latencies, waited, strict=True)]


def _token_a_chunk(node: Node) -> bool:
    """Whether the mean gap between chunks, once for every token but the first ones, gives the time of decoding."""
    if not node.has("latencies", "mean_ttft_ms", "mean_itl_ms"):
        return False
    latencies, tokens = node.numbers("latencies"), node.whole("total_output_tokens")
    decoding_s = math.fsum(latencies) - len(latencies) * node.number("mean_ttft_ms") / 1e3
    return math.isclose(decoding_s, (tokens - len(latencies)) * node.number("mean_itl_ms") / 1e3, rel_tol=_SAME)


def _stated(node: Node, theirs: str, key: str) -> dict[str, float]:
    """The statistics of one latency that the file has, in seconds."""
    names = {f"mean_{theirs}_ms": "mean", f"median_{theirs}_ms": "p50"}
    names |= {f"p{percent}_{theirs}_ms": f"p{percent}" for percent in PERCENTILES}
    return {f"{key}_{short}_s": node.number(name) / 1e3 for name, short in names.items() if node.has(name)}


# All three -------------------------------------------------------------------------------------------------------


class _Run(NamedTuple):
    """What a run was asked, and how long it took."""

    tool: str
    work: Work
    load: Load
    duration_s: float


def _foreign(tool: str, node: Node, found: list[Found]) -> Foreign:
    model = node.raw("model_id")
    return Foreign(tool=tool, model=model if isinstance(model, str) and model else NOT_STATED, found=tuple(found))


def _found(
    document: Document, node: Node, given: Given, run: _Run, measured: ServingMeasurement | ReportedMeasurement | None
) -> Found:
    """A result; None measured stands for a run in which every request failed."""
    outcome = all_failed(run.work.requests) if measured is None else Completed(measurement=measured)
    scenario = serving_scenario(given, run.tool, run.work, run.load)
    try:
        started_at = _ended(document, node) - timedelta(seconds=run.duration_s)
    except OverflowError:
        raise InputError(f"no run took {run.duration_s:g} s", where=node.file) from None
    return Found(scenario, outcome, started_at, run.duration_s, run.work.fixed)


def _ended(document: Document, node: Node) -> datetime:
    """When a run ended: its date, else when the file was written."""
    if not node.has("date"):
        return document.changed_at
    try:
        return datetime.strptime(node.text("date"), "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise InputError("is no date such as 20260131-235959", where=node.at("date")) from None
