"""Which serving results cannot be trusted, and why: what breaks a rule is shown with its reason and not ranked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.accelerators import AcceleratorSpec
from harness.accounting import PRECISIONS, decode_bytes, flops_per_token, kv_bytes, prefill_flops
from harness.architecture import Architecture
from harness.record import ReportedMeasurement, RequestTiming, ServingMeasurement, Subject
from harness.scenario import ClosedLoop, Offline, ServingScenario

SLOWEST = 20.0
"""How many times the least possible time a run may take, and besides"""
ENGINE_STEP_S = 0.010
"""seconds for every engine step, which small models spend mostly outside the device."""
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


def roofline_flags(
    scenario: ServingScenario,
    measurement: ServingMeasurement,
    architecture: Architecture,
    subject: Subject,
    device: AcceleratorSpec,
) -> list[str]:
    """Whether a run was faster than the device allows, or so slow that something else than the model was measured.

    Slowness is judged only where the load asks for all that the engine can give (closed loops and offline runs).
    """
    least_s = least_duration_s(measurement, architecture, subject, device)
    if least_s is None or measurement.duration_s <= 0:
        return []
    if measurement.duration_s < least_s:
        return [
            (f"above the roofline: took {measurement.duration_s:.3g} s, while {device.title} needs at least "
            f"{least_s:.3g} s for this work")
        ]
    slowest_s = SLOWEST * least_s + ENGINE_STEP_S * len(measurement.steps_s)
    if isinstance(scenario.load, ClosedLoop | Offline) and measurement.duration_s > slowest_s:
        times = measurement.duration_s / least_s
        return [f"implausibly slow: {times:.3g} times the least time that {device.title} needs for this work"]
    return []


def least_duration_s(
    measurement: ServingMeasurement, architecture: Architecture, subject: Subject, device: AcceleratorSpec
) -> float | None:
    """The least time in which the device can do a run's work, in seconds; None where it cannot be told exactly.

    The larger of FLOPs / peak and bytes / bandwidth. Every engine step reads the weights that are no experts and, of
    the experts, what a single token uses; each token reads the keys and values of its prompt. Routing and windows can
    only add to that, so no run is faster. Quantised weights are left out. Units: s. Source: the roofline model
    (Williams, Waterman, Patterson 2009).
    """
    precision = PRECISIONS.get(subject.precision)
    if precision is None or subject.quantization or precision.compute not in device.precisions:
        return None
    requests = [request for request in measurement.requests if request.tokens]
    if not requests:
        return None
    prompt = float(np.mean([request.prompt_tokens for request in requests]))
    output = measurement.output_tokens
    # the cost of a prompt is convex in its length, so that of the mean prompt is the least
    prefill = len(requests) * prefill_flops(architecture, max(1, math.floor(prompt))).total
    decode = (output - len(requests)) * flops_per_token(architecture, context=prompt).total
    step = decode_bytes(architecture, 1, prompt, precision=precision)
    cache = kv_bytes(architecture, prompt, precision.bytes_per_cache_element)
    read = len(measurement.steps_s) * (step.non_expert_weights + step.expert_weights) + (output - len(requests)) * cache
    peak = device.peak_flops_per_s(precision.compute)
    limits = ((prefill + decode) / peak, read / device.bandwidth_bytes_per_s)
    return max(limits) / subject.tensor_parallel
