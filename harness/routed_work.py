"""Records of routing -> what the experts of a model did at each piece of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.accounting import PRECISIONS, expected_distinct_experts
from harness.architecture import Architecture
from harness.errors import StoreError
from harness.record import Completed, Record, RoutingMeasurement
from harness.routing.distinct import distinct_at
from harness.routing.specialisation import specialisation_of
from harness.routing.summary import LayerLoad, RoutingSummary, Specialisation, summarise_routing
from harness.routing.tokens import Phase, unpack
from harness.scenario import RoutingScenario, ServedTokens
from harness.stats import Estimate, counted
from harness.store import attachment_beside
from harness.summary import PointKey, RoutedWork

_USUAL_BYTES = 2.0
"""Of a hidden state's element where the model's precision is not known."""


def routed_work(path: Path, record: Record, architecture: Architecture | None) -> RoutedWork:
    """What one measured record says, its expert ids read from the file beside it.

    Raises StoreError where that file is missing, damaged or another one than the record says.
    """
    scenario, outcome = record.cell.scenario, record.outcome
    assert isinstance(scenario, RoutingScenario)
    assert isinstance(outcome, Completed)
    measurement = outcome.measurement
    assert isinstance(measurement, RoutingMeasurement)
    file = attachment_beside(path, measurement.tokens_file)
    routing = unpack(file)
    if routing.count("prefill") != measurement.prefill_tokens or routing.count("decode") != measurement.decode_tokens:
        raise StoreError("does not hold the tokens that the record counts", where=str(file))
    precision = PRECISIONS.get(record.cell.subject.precision)
    element = precision.bytes_per_cache_element if precision else _USUAL_BYTES
    hidden = architecture.hidden_size if architecture is not None else 0
    note = ""
    if measurement.recomputed_tokens:
        note = f"{measurement.recomputed_tokens} tokens that the engine worked on again are left out"
    return RoutedWork(
        name=scenario.work.name, source=scenario.work.source, summary=summarise_routing(routing, hidden * element),
        tokens_method=measurement.method, records=(path,), note=note, work=scenario.work,
    )


def specialisation(works: Sequence[RoutedWork]) -> Specialisation | None:
    """How routing differs between the tasks; None where fewer than two were routed through the same layers."""
    tasks = [work for work in works if work.source == "task"]
    layers = tasks[0].summary.layers if tasks else ()
    alike = [work for work in tasks if work.summary.layers == layers]
    loads = {work.name: [layer.load for layer in loads_of(work.summary)] for work in alike}
    return specialisation_of(loads, layers)


def loads_of(summary: RoutingSummary) -> list[LayerLoad]:
    """Every layer's load over both phases."""
    found: dict[tuple[str, int], LayerLoad] = {}
    for phase in summary.phases.values():
        for one in phase.layers:
            key = (one.layer.stack, one.layer.index)
            before = found.get(key)
            found[key] = one if before is None else replace(
                one, tokens=before.tokens + one.tokens, load=before.load + one.load
            )
    return [found[layer.stack, layer.index] for layer in summary.layers if (layer.stack, layer.index) in found]


def served_as(works: Sequence[RoutedWork], key: PointKey) -> RoutedWork | None:
    """The routing of the workload that a point measures; None where it was not captured."""
    for work in works:
        asked = work.work
        if isinstance(asked, ServedTokens) and (asked.name, *asked.lengths.words) == (key.name, key.prompt, key.output):
            return work
    return None


def distinct_experts(work: RoutedWork, phase: Phase, batch: float) -> float | None:
    """Distinct experts of a layer in a step of `batch` tokens, as measured; None beyond what was measured."""
    found = work.summary.phases.get(phase)
    return distinct_at(found.distinct, batch) if found is not None else None


def routing_estimates(work: RoutedWork, key: PointKey) -> dict[str, Estimate]:
    """What a point's row shows of its experts: balance of decoding, and distinct experts at its concurrency.

    Keys are those of `harness.metrics.METRICS`. Everything is counted, so there is no spread.
    """
    phase = work.summary.phases.get("decode")
    if phase is None:
        return {}
    values = {f"expert_load_{name}": value for name, value in phase.overall._asdict().items() if name != "dead"}
    values["dead_experts"] = float(phase.overall.dead)
    if key.concurrency is not None:
        measured = distinct_at(phase.distinct, key.concurrency)
        if measured is not None:
            values["distinct_experts"] = measured
        layers = [one.layer for one in phase.layers]
        expected = [expected_distinct_experts(one.experts, one.top_k, key.concurrency) for one in layers]
        values["expected_distinct_experts"] = sum(expected) / len(expected)
    return {name: counted(value).from_sources(work.records) for name, value in values.items()}
