"""Records of routing -> what the experts of a model did at each piece of work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.accounting import PRECISIONS, expected_distinct_experts
from harness.architecture import Architecture
from harness.errors import StoreError
from harness.record import Completed, Record, RoutingMeasurement
from harness.routing.distinct import distinct_at
from harness.routing.specialisation import specialisation_of
from harness.routing.summary import Specialisation, summarise_routing
from harness.routing.tokens import Phase, Routing, fingerprint_of_file, unpack
from harness.scenario import RoutingScenario, ServedTokens
from harness.stats import Estimate, counted
from harness.store import attachment_beside
from harness.summary import PointKey, RoutedWork

_USUAL_BYTES = 2.0
"""Of a hidden state's element where the model's precision is not known."""


def routed_work(path: Path, record: Record, architecture: Architecture | None) -> RoutedWork:
    """What one measured record says, its expert ids read from the file beside it.

    Raises StoreError where that file is missing, damaged or another one than the record says; its `where` is the file
    below `results/`.
    """
    scenario, outcome = record.cell.scenario, record.outcome
    assert isinstance(scenario, RoutingScenario)
    assert isinstance(outcome, Completed)
    measurement = outcome.measurement
    assert isinstance(measurement, RoutingMeasurement)
    file = attachment_beside(path, measurement.tokens_file)
    precision = PRECISIONS.get(record.cell.subject.precision)
    element = precision.bytes_per_cache_element if precision else _USUAL_BYTES
    hidden = architecture.hidden_size if architecture is not None else 0
    try:
        summary = summarise_routing(_read(file, measurement), hidden * element)
    except StoreError as error:
        hint = f"remove the record {_below_results(path)}, so that it is measured again"
        raise StoreError(error.what, where=_below_results(file), hint=hint) from error
    except MemoryError as error:
        what = "counting what it holds takes more memory than there is"
        raise StoreError(what, where=_below_results(file), hint="read it on a machine with more memory") from error
    note = ""
    if measurement.recomputed_tokens:
        note = f"{measurement.recomputed_tokens} tokens that the engine worked on again are left out"
    return RoutedWork(
        name=scenario.work.name, source=scenario.work.source, summary=summary,
        tokens_method=measurement.method, records=(path,), note=note, work=scenario.work,
    )


def _read(file: Path, measurement: RoutingMeasurement) -> Routing:
    """What the file holds, which has to be what the record says. Raises StoreError that says what is wrong with it."""
    try:
        found = fingerprint_of_file(file)
    except FileNotFoundError as error:
        raise StoreError("the file is missing") from error
    except OSError as error:
        raise StoreError(f"the file cannot be read: {error.strerror}") from error
    if found != measurement.tokens_file:
        raise StoreError("the file is damaged: its SHA-256 is another one than the record has")
    routing = unpack(file)
    if routing.layers != measurement.layers:
        raise StoreError("the file does not hold the layers that the record names")
    if (routing.count("prefill"), routing.count("decode")) != (measurement.prefill_tokens, measurement.decode_tokens):
        raise StoreError("the file does not hold the tokens that the record counts")
    return routing


def _below_results(file: Path) -> str:
    """A file of the store as suite/folder/file: where `results/` lies is the machine's own business."""
    return "/".join(file.parts[-3:])


def specialisation(works: Sequence[RoutedWork]) -> Specialisation | None:
    """How routing differs between the tasks; None where fewer than two were routed through the same layers."""
    tasks = [work for work in works if work.source == "task"]
    layers = tasks[0].summary.layers if tasks else ()
    alike = [work for work in tasks if work.summary.layers == layers]
    loads = {work.name: list(work.loads.values()) for work in alike}
    return specialisation_of(loads, layers)


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
