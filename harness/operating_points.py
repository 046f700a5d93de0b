"""What was measured and counted at each load of a model's serving workloads, with what makes it implausible."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from harness.accelerators import AcceleratorSpec
from harness.accounting import flops_per_token, prefill_flops
from harness.architecture import Architecture
from harness.arrivals import few_arrivals
from harness.environment import Ceilings
from harness.places import Entry, Place, measurement_of, newest_of, over_repeats
from harness.plausibility import roofline_flags, serving_flags
from harness.record import ReportedMeasurement, ServingMeasurement
from harness.roof import Roof
from harness.routed_work import distinct_experts, routing_estimates, served_as
from harness.scenario import ServingScenario
from harness.serving_metrics import serving_values
from harness.stats import Estimate, counted
from harness.summary import OperatingPoint, PointKey, RoutedWork
from harness.terms import Terms
from harness.utilisation import (
    Utilisation,
    ceilings_beaten,
    roofline_points,
    served_model,
    utilisation_of,
    utilisation_values,
)


@dataclass(frozen=True)
class Reading:
    """What the points of one model are read with."""

    terms: Terms
    architecture: Architecture | None
    capacity: Estimate | None
    """Tokens that fit the cache."""
    works: tuple[RoutedWork, ...]
    ceilings: Ceilings | None
    """The fastest that was seen on this kind of device."""
    device: AcceleratorSpec | None
    """What its vendor promises."""

    def roof(self, title: str, *, promised_first: bool) -> Roof | None:
        """What runs are held against: what was measured, or else promised, or the other way round."""
        measured = Roof.of_ceilings(title, self.ceilings) if self.ceilings is not None else None
        promised = Roof.of_sheet(self.device) if self.device is not None else None
        return (promised or measured) if promised_first else (measured or promised)


def operating_points(places: Mapping[Hashable, Place], reading: Reading) -> tuple[OperatingPoint, ...]:
    """The points of one model's places, in their order."""
    served = [place.measured for place in places.values() if place.measured]
    return tuple(
        _point(entries, entries[0].record.cell.scenario, reading)
        for entries in served if isinstance(entries[0].record.cell.scenario, ServingScenario)
    )


def _point(entries: tuple[Entry, ...], scenario: ServingScenario, reading: Reading) -> OperatingPoint:
    subject, terms, architecture = entries[0].record.cell.subject, reading.terms, reading.architecture
    found = [one for one in map(measurement_of, entries) if isinstance(one, ServingMeasurement | ReportedMeasurement)]
    limits, price, key = terms.limits.get(scenario.name), terms.usd_per_hour(subject), PointKey.of(scenario)
    estimates = over_repeats(entries, [serving_values(scenario, one, limits, price) for one in found])
    if architecture is not None:
        estimates |= _arithmetic(architecture, key)
    if reading.capacity is not None and key.concurrency:
        longest = min(reading.capacity.value / key.concurrency, float(subject.engine.get("max_model_len", math.inf)))
        estimates["longest_context_tokens"] = counted(math.floor(longest))
    work = served_as(reading.works, key)
    if work is not None:
        estimates |= routing_estimates(work, key)
    timed = [one for one in found if isinstance(one, ServingMeasurement)]
    uses, why_none = _uses(entries, reading, work)
    estimates |= over_repeats([entry for entry, _ in uses], utilisation_values([use for _, use in uses]))
    flags = [flag for one in found for flag in serving_flags(scenario, one)]
    limit = reading.roof(subject.accelerator, promised_first=True)
    if architecture is not None and limit is not None:
        flags += [flag for entry in entries for flag in roofline_flags(entry.record, architecture, limit)]
    # no flag: the ceiling was measured too low, as what some seconds of a busy machine saw at best
    beaten = ceilings_beaten([use for _, use in uses], measured=reading.ceilings is not None)
    requests = min((len(one.requests) for one in timed), default=scenario.requests)
    origins = dict.fromkeys(entry.record.origin for entry in entries if entry.record.origin is not None)
    return OperatingPoint(
        key, requests, estimates, tuple(dict.fromkeys(flags)),
        (*_point_notes(timed, price), *_few(timed, scenario, requests), *why_none, *beaten.values()),
        tuple(origins), scenario, roofline_points([use for _, use in uses]), beaten,
    )


def _uses(
    entries: Sequence[Entry], reading: Reading, work: RoutedWork | None
) -> tuple[list[tuple[Entry, Utilisation]], list[str]]:
    """How much of the device each repeat used, without those of which that cannot be told, and what cannot be told."""
    subject = entries[0].record.cell.subject
    roof = reading.roof(subject.accelerator, promised_first=False)
    model, reason = served_model(subject, newest_of(entries).record.config, reading.architecture)
    if model is None or roof is None:
        return [], [f"no utilisation: {reason or 'the ceilings of the device were not measured'}"]
    distinct = partial(distinct_experts, work) if work is not None else None
    timed = [(entry, one) for entry in entries if isinstance(one := measurement_of(entry), ServingMeasurement)]
    found = [(entry, use) for entry, one in timed if (use := utilisation_of(one, model, roof, distinct)) is not None]
    if not found:
        made = any(request.tokens for _, one in timed for request in one.requests)
        untold = made or not timed
        why = "the record does not tell when requests were started" if untold else "no request made a token"
        return [], [f"no utilisation: {why}"]
    compute = model.precision.compute
    lacking = [f"products in {compute}"] if compute not in roof.peaks else []
    lacking += [] if roof.reads else ["reads"]
    return found, [f"no utilisation: the device's rate of {what} is not known" for what in lacking]


def _arithmetic(architecture: Architecture, key: PointKey) -> dict[str, Estimate]:
    """FLOPs a token, counted at the workload's mean lengths."""
    # Decode step j = 1 .. n-1 sees prompt + j tokens, itself included: prompt + n / 2 in the mean.
    context = key.prompt_tokens + key.output_tokens / 2
    prefill = prefill_flops(architecture, max(1, round(key.prompt_tokens))).per_token
    return {
        "decode_flops_per_token": counted(flops_per_token(architecture, context=context).total),
        "prefill_flops_per_token": counted(prefill),
    }


def _few(measured: Sequence[ServingMeasurement], scenario: ServingScenario, requests: int) -> list[str]:
    """That the arrivals of an open loop were so few that their rate misses the one that was asked for."""
    return [told] if measured and (told := few_arrivals(scenario, requests)) else []


def _point_notes(measured: Sequence[ServingMeasurement], usd_per_hour: float | None) -> list[str]:
    """What is not known of a point and why, and whether it was warm."""
    notes = [f"no energy: {why}" for why in dict.fromkeys(one.no_energy for one in measured) if why]
    if usd_per_hour is None:
        notes.append("no cost: no price of this hardware is known; a suite can give one")
    unsteady = sum(one.warmup.steady is False for one in measured)
    if unsteady:
        notes.append(f"the output rate had not settled when {unsteady} of {len(measured)} warm-ups ended")
    return notes
