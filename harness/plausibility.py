"""Which serving results cannot be trusted, and why: what breaks a rule is shown with its reason and not ranked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.accounting import PRECISIONS, decode_bytes, flops_per_token, kv_read_bytes, prefill_flops
from harness.architecture import Architecture
from harness.cache_form import cache_element_bytes
from harness.description.stored import states_quantisation
from harness.record import Completed, Record, ReportedMeasurement, RequestTiming, ServingMeasurement, Subject
from harness.roof import Roof
from harness.scenario import ClosedLoop, Offline, ServingScenario

SLOWEST = 20.0
"""How many times the least possible time a run may take, and besides"""
ENGINE_STEP_S = 0.010
"""seconds for every engine step, which small models spend mostly outside the device."""
BUSY_STEP_S = 0.1
"""The same where the ceilings were measured, as on a processor: the engine's own work shares the cores there with all
else, and a step of a tiny model took 2 to 20 ms, with how busy they were."""
MARGIN = 3.0
"""How many times faster than measured ceilings allow a run may be. These are what some seconds saw at best: on a shared
processor with AMX the fastest bfloat16 product of a process took 1.0 to 2.7 times as long from one second to the next,
and reads 1.0 to 1.5. What vendors promise has no margin."""
_HARMLESS = frozenset({"GpuIdle", "ApplicationsClocksSetting", "SwPowerCap", "SyncBoost", "DisplayClockSetting"})
"""Reasons for a lower clock that are the device's usual working: settings, and the power limit it is sold with."""


def serving_flags(scenario: ServingScenario, measurement: ServingMeasurement | ReportedMeasurement) -> list[str]:
    """What makes a serving measurement untrustworthy, in words; empty where it did the work that was asked."""
    if isinstance(measurement, ReportedMeasurement):
        return _failed(measurement.failed_requests)
    requests, flags = measurement.requests, _unfinished(measurement.requests)
    cached = sum(request.cached_tokens for request in requests)
    if cached:
        flags.append(f"a prefix cache answered {cached} prompt tokens")
    if len(requests) < scenario.requests:
        flags.append(f"{len(requests)} of {scenario.requests} requests were timed")
    short = sum(request.output_tokens != request.asked_output_tokens for request in requests)
    if short:
        flags.append(f"{short} of {len(requests)} requests did not give the output tokens that were asked")
    other = sum(request.prompt_tokens != request.asked_prompt_tokens for request in requests)
    if other:
        flags.append(f"{other} of {len(requests)} requests did not have the prompt tokens that were sent")
    if measurement.duration_s <= 0:
        flags.append("the cell's duration is not positive")
    elif measurement.duration_s < scenario.min_duration_s:
        flags.append(f"ran for {measurement.duration_s:.3g} s, not the least of {scenario.min_duration_s:g} s")
    throttled = sorted({why for device in measurement.devices for why in device.throttled} - _HARMLESS)
    if throttled:
        flags.append("the device lowered its clock: " + ", ".join(throttled))
    return flags


def _unfinished(requests: Sequence[RequestTiming]) -> list[str]:
    return _failed(sum(request.finish_reason != "length" for request in requests))


def _failed(number: int) -> list[str]:
    return [f"{number} request{'s' if number > 1 else ''} failed or ended early"] if number else []


def roofline_flags(record: Record, architecture: Architecture, roof: Roof) -> list[str]:
    """Whether a run was faster than the device allows, or so slow that something else than the model was measured.

    The roof is what the vendor promises, or where that is not known, as of a processor, what was measured. Slowness is
    judged only where the load asks for all that the engine can give (closed loops and offline runs).
    """
    scenario, outcome, subject = record.cell.scenario, record.outcome, record.cell.subject
    measurement = outcome.measurement if isinstance(outcome, Completed) else None
    if not isinstance(scenario, ServingScenario) or not isinstance(measurement, ServingMeasurement):
        return []
    least_s = None
    if measurement.duration_s > 0 and not states_quantisation(record.config):
        least_s = least_duration_s(measurement, architecture, subject, roof)
    if least_s is None:
        return []
    if measurement.duration_s < (least_s / MARGIN if roof.measured else least_s):
        as_measured = ", as fast as it was measured to be," if roof.measured else ""
        return [
            (f"above the roofline: took {measurement.duration_s:.3g} s, while {roof.title}{as_measured} needs at "
            f"least {least_s:.3g} s for this work")
        ]
    slowest_s = SLOWEST * least_s + (BUSY_STEP_S if roof.measured else ENGINE_STEP_S) * len(measurement.steps_s)
    if isinstance(scenario.load, ClosedLoop | Offline) and measurement.duration_s > slowest_s:
        times = measurement.duration_s / least_s
        return [f"implausibly slow: {times:.3g} times the least time that {roof.title} needs for this work"]
    return []


def least_duration_s(
    measurement: ServingMeasurement, architecture: Architecture, subject: Subject, roof: Roof
) -> float | None:
    """A time below which the device cannot do a run's work, in seconds; None where none can be told.

    The larger of FLOPs / peak and bytes / bandwidth. Every engine step reads the weights that are no experts and, of
    the experts, what a single token uses, at the rate of a working set of that size; each token reads the keys and
    values of its prompt, whose length is rounded down to two digits. Routing and the tokens made before can only add to
    that. Quantised weights and models with an encoder are left out. Units: s. Source: the roofline model (Williams,
    Waterman, Patterson 2009).
    """
    precision = PRECISIONS.get(subject.precision)
    if precision is None or subject.quantization or precision.compute not in roof.peaks or architecture.encoder:
        return None
    chunked = any(getattr(mixer, "chunk", None) for group in architecture.decoder.groups for mixer in group.mixers)
    step = decode_bytes(architecture, 1, 1, precision=precision)
    weights = step.non_expert_weights + step.expert_weights
    cached = cache_element_bytes(subject, {}) or 0.0  # nothing is read where its form is not known
    flops, read = 0.0, _engine_steps(measurement) * weights
    for prompt, outputs in _by_prompt(measurement.requests).items():
        # a token at the start of a chunk sees none of its prompt
        context, decoded = 1 if chunked else prompt, sum(outputs) - len(outputs)
        flops += len(outputs) * prefill_flops(architecture, prompt).total
        flops += decoded * flops_per_token(architecture, context=context).total
        read += decoded * kv_read_bytes(architecture, context, cached)
    rate = float(roof.bytes_per_s(np.asarray([weights / subject.tensor_parallel]))[0])
    return max(flops / roof.peaks[precision.compute], read / rate) / subject.tensor_parallel


def _engine_steps(measurement: ServingMeasurement) -> int:
    """Engine steps that made tokens; where another tool saw these from outside, at least those of one request."""
    if measurement.step_time_s:
        return len(measurement.steps_s)
    return max((sum(steps for _, steps, _ in request.tokens) for request in measurement.requests), default=0)


def _by_prompt(requests: Sequence[RequestTiming]) -> dict[int, list[int]]:
    """The output tokens of the requests that made any, by the length of their prompts, rounded down to two digits."""
    outputs: dict[int, list[int]] = {}
    for request in requests:
        if request.tokens:
            unit = 10 ** max(0, len(str(request.prompt_tokens)) - 2)
            prompt = max(1, request.prompt_tokens // unit * unit)
            outputs.setdefault(prompt, []).append(request.output_tokens)
    return outputs
