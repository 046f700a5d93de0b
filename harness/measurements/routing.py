"""Where every token of some work goes: the experts' ids by layer, captured while the engine does the work."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from harness.architecture import Architecture
from harness.backends.base import CapturedRouting, Engine
from harness.errors import EngineError, MoebenchError
from harness.hf_config import architecture_from_config
from harness.measurements.quality import measure_quality
from harness.measurements.schedule import schedule
from harness.measurements.serving import LoadLoop, SystemClock
from harness.record import RoutingMeasurement
from harness.routing.tokens import Routing, fingerprint_of, pack
from harness.scenario import ClosedLoop, RoutingScenario, ServedTokens, ServingScenario
from harness.traces import Trace


def measure_routing(
    engine: Engine, scenario: RoutingScenario, seed: int, tasks_folder: Path, trace: Trace | None = None
) -> tuple[RoutingMeasurement, bytes]:
    """Does the scenario's work and gives what was captured, with the file that holds the ids.

    Raises EngineError where the work breaks, where the engine cannot tell the experts, or where tokens are missing.
    """
    began = time.perf_counter()
    engine.start_routing()
    try:
        if isinstance(scenario.work, ServedTokens):
            _serve(engine, scenario.work, seed, trace)
        else:
            measure_quality(engine, scenario.work.quality, tasks_folder)
    except BaseException:
        with suppress(Exception):  # the work's own failure is the one to be told, also where the engine is dead
            engine.take_routing()
        raise
    captured = engine.take_routing()
    duration_s = time.perf_counter() - began
    _check_layers(captured.routing, engine)
    return _measurement(captured, duration_s)


def _serve(engine: Engine, work: ServedTokens, seed: int, trace: Trace | None) -> None:
    """The workload's first requests, as in its timed runs, but so many and no more."""
    if work.lengths.longest > engine.max_model_len:
        raise EngineError(
            f"{work.lengths.longest} tokens a request exceed the engine's context of {engine.max_model_len}",
            kind="context", hint="raise engine.max_model_len or shorten the workload",
        )
    serving = ServingScenario(
        name=work.name, lengths=work.lengths, load=ClosedLoop(concurrency=work.concurrency), requests=work.requests
    )
    loop = LoadLoop(engine, SystemClock(), np.random.default_rng((seed, 3)))
    requests = islice(schedule(serving, seed, trace), work.requests)
    loop.run(requests, work.concurrency, lambda _sent, _elapsed: False)


def _measurement(captured: CapturedRouting, duration_s: float) -> tuple[RoutingMeasurement, bytes]:
    routing = captured.routing
    content = pack(routing)
    calls = np.unique(np.concatenate([tokens.step for tokens in routing.stacks.values()]))
    return RoutingMeasurement(
        method=captured.method,
        layers=routing.layers,
        prefill_tokens=routing.count("prefill"),
        decode_tokens=routing.count("decode"),
        passes=len(calls),
        recomputed_tokens=captured.recomputed_tokens,
        duration_s=round(duration_s, 6),
        tokens_file=fingerprint_of(content),
        tokens_file_bytes=len(content),
    ), content


def _check_layers(routing: Routing, engine: Engine) -> None:
    """Raises EngineError where the layers that told their experts are not those that the configuration has.

    A layer that no hook was found for tells nothing: only the configuration knows of it.
    """
    try:
        architecture = architecture_from_config(engine.config(), "config")
    except MoebenchError:  # a structure that is not known is measured all the same
        return
    expected, found = _configured(architecture), Counter((layer.experts, layer.top_k) for layer in routing.layers)
    if found != expected:
        raise EngineError(
            f"layers that routed: {_words(found)}; layers that route by the model's configuration: {_words(expected)}",
            kind="routing", where="routing", hint="report it with the model's config.json and the engine's version",
        )


def _configured(architecture: Architecture) -> Counter[tuple[int, int]]:
    """How many layers have so many experts, of which a token uses so many."""
    layers: Counter[tuple[int, int]] = Counter()
    for count, moe in architecture.moe_groups:
        layers[moe.experts, moe.experts_per_token] += count
    return layers


def _words(layers: Counter[tuple[int, int]]) -> str:
    parts = [f"{count} with top-{top_k} of {experts}" for (experts, top_k), count in sorted(layers.items())]
    return ", ".join(parts) or "none"
