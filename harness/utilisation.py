"""How much of the device a serving run used: FLOPs over what it multiplies at most, bytes over what it reads at most.

Prefill and decode apart. Source of the ratios: PaLM (arXiv 2204.02311, appendix B) for MFU, MoE-CAP (arXiv 2412.07067)
for the sparsity-aware MBU, of which there is one for every way to count the experts that a step reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.accounting import (
    PRECISIONS,
    ExpertLayers,
    Precision,
    decode_bytes,
    distinct_experts_bounds,
    expected_distinct_experts,
    expert_layers,
    state_bytes,
)
from harness.architecture import Architecture
from harness.cache_form import cache_element_bytes
from harness.context_costs import prompt_flops, token_costs
from harness.description.stored import states_quantisation, stored_precision
from harness.engine_steps import EngineSteps, engine_steps, longest_context
from harness.record import ServingMeasurement, Subject
from harness.roof import Roof
from harness.routing.tokens import PHASES, Phase

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]

Experts = Literal["active", "expected", "measured", "total"]
EXPERTS: tuple[Experts, ...] = ("active", "expected", "measured", "total")
"""The distinct experts that a step of T tokens reads in a layer: the k of one token; N (1 - (1 - k/N)^T), as uniform
routing expects; as recorded routing says; all N."""

Distinct = Callable[[Phase, float], float | None]
"""The distinct experts of a layer in a step of so many tokens, as measured, in the mean over all layers; None beyond
what was measured."""


# The model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServedModel:
    """A model as an engine held it: `precision` says how weights and cache are stored, on how many `devices`."""

    architecture: Architecture
    precision: Precision
    devices: int = 1


def served_model(
    subject: Subject, config: Mapping[str, object], architecture: Architecture | None
) -> tuple[ServedModel | None, str]:
    """The model of a record, or None and why its bytes and FLOPs cannot be told."""
    if architecture is None:
        return None, "the model's structure is not known"
    if architecture.encoder is not None:
        return None, "steps of an encoder and a decoder are not told apart"
    precision, reason = _precision(subject, config)
    if precision is None:
        return None, reason
    element = cache_element_bytes(subject, config)
    if element is None:
        return None, "the form of the cache is not known"
    stored = precision.model_copy(update={"bytes_per_cache_element": element})
    return ServedModel(architecture, stored, subject.tensor_parallel), ""


def _precision(subject: Subject, config: Mapping[str, object]) -> tuple[Precision | None, str]:
    if states_quantisation(config):
        name, remark = stored_precision(config)
        return (PRECISIONS[name], "") if name and not remark else (None, remark or "the quantisation is not known")
    if subject.quantization:
        return None, f"how the engine stores weights as {subject.quantization} is not known"
    name = stored_precision(config)[0] if subject.precision == "auto" else subject.precision
    if name not in PRECISIONS:
        return None, f"the precision {subject.precision} is not known"
    return PRECISIONS[name], ""


# The work --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PhaseUse:
    """What the steps of one phase did in how long, and how long that takes at least at the ceilings.

    `bytes` and `memory_s` are by how experts are counted, without `measured` where any step has more tokens than the
    recorded ones.
    """

    phase: Phase
    steps: int
    tokens: float
    """That went through the model, of prompts and decoded ones."""
    time_s: float
    flops: float
    bytes: Mapping[Experts, float]
    compute_s: float | None
    """FLOPs over the peak of all devices; None where the peak in this precision is not known."""
    memory_s: Mapping[Experts, float]
    """Sum over the steps of bytes over the read rate of a working set of so many bytes; empty where none is known."""

    @property
    def experts(self) -> Experts:
        """How the experts count that the phase is known by: as measured, else as expected."""
        return "measured" if "measured" in self.bytes else "expected"


@dataclass(frozen=True)
class Utilisation:
    """Both phases of one run, without one that has no steps."""

    phases: tuple[PhaseUse, ...]


def utilisation_of(
    measurement: ServingMeasurement, model: ServedModel, roof: Roof | None, distinct: Distinct | None = None
) -> Utilisation | None:
    """What one run used; None where its steps cannot be told (see `engine_steps`).

    Work is what cannot be avoided. FLOPs: prefill of every prompt, and every decoded token at its own context. Bytes of
    a step: weights that are no experts once, distinct experts of all its tokens, keys, values and states that decoded
    tokens read. What prompts read and write of the cache, activations, and prefilling in steps without a token are left
    out. `distinct` are the measured experts.
    """
    longest = longest_context(measurement.requests)
    steps = engine_steps(measurement, token_costs(model.architecture, model.precision.bytes_per_cache_element, longest))
    if steps is None:
        return None
    prompts = prompt_flops(model.architecture, measurement.requests)
    phases = []
    for phase in PHASES:
        chosen = steps.prefill if phase == "prefill" else ~steps.prefill
        if chosen.any():
            part = _Part(phase, steps, chosen)
            phases.append(_phase_use(part, model, roof, distinct, prompts if phase == "prefill" else 0.0))
    return Utilisation(tuple(phases))


class _Part:
    """The steps of one phase."""

    def __init__(self, phase: Phase, steps: EngineSteps, chosen: NDArray[np.bool_]) -> None:
        self.phase: Phase = phase
        self.time_s = float(steps.time_s[chosen].sum())
        self.tokens: Column = steps.tokens[chosen]
        self.decoded: Column = steps.decoded[chosen]
        self.flops = float(steps.costs[chosen, 0].sum())
        self.cache_bytes: Column = steps.costs[chosen, 1]


def _phase_use(
    part: _Part, model: ServedModel, roof: Roof | None, distinct: Distinct | None, prompt_flops: float
) -> PhaseUse:
    flops = part.flops + prompt_flops
    by_experts = _step_bytes(part, model, distinct)
    peak = roof.peaks.get(model.precision.compute) if roof else None
    memory_s: dict[Experts, float] = {}
    if roof is not None and roof.reads:
        for name, read in by_experts.items():
            each = read / model.devices
            memory_s[name] = float((each / roof.bytes_per_s(each)).sum())
    return PhaseUse(
        phase=part.phase,
        steps=len(part.tokens),
        tokens=float(part.tokens.sum()),
        time_s=part.time_s,
        flops=flops,
        bytes={name: float(read.sum()) for name, read in by_experts.items()},
        compute_s=flops / (peak * model.devices) if peak else None,
        memory_s=memory_s,
    )


def _step_bytes(part: _Part, model: ServedModel, distinct: Distinct | None) -> dict[Experts, Column]:
    """The bytes of every step of a phase, by how experts are counted."""
    element = model.precision.bytes_per_cache_element
    states = 2 * part.decoded * state_bytes(model.architecture, element)
    common = _other_weights(model, part.tokens) + part.cache_bytes + states
    layers = expert_layers(model.architecture, model.precision)
    found: dict[Experts, Column] = {}
    for name in EXPERTS:
        read: Column | None = common
        for one in layers:
            used = _distinct(name, one, part, distinct)
            read = None if read is None or used is None else read + used * one.bytes_each
        if read is not None:
            found[name] = read
    return found


def _distinct(name: Experts, layers: ExpertLayers, part: _Part, measured: Distinct | None) -> Column | None:
    """Distinct experts of a layer in each step, within what its tokens can use; None where that is not known.

    What was measured is the mean over all layers that route. Each kind of layer (see `ExpertLayers`) is given that
    mean, within its own bounds: where kinds differ in experts or top-k, their sum is nearer than each of them.
    """
    sizes, places = np.unique(part.tokens, return_inverse=True)
    values = []
    for tokens in sizes.tolist():
        low, high = distinct_experts_bounds(layers.experts, layers.per_token, tokens)
        value: float | None
        if name == "measured":
            value = measured(part.phase, tokens) if measured else None
        elif name == "expected":
            value = expected_distinct_experts(layers.experts, layers.per_token, tokens)
        else:
            value, high = (low, high) if name == "active" else (float(layers.experts), float(layers.experts))
        if value is None:
            return None
        values.append(min(max(value, low), high))
    found: Column = np.asarray(values)[places]
    return found


def _other_weights(model: ServedModel, tokens: Column) -> Column:
    """Bytes of the weights that are no experts in a step of so many tokens: of tables one row a token at most."""
    architecture, most = model.architecture, float(tokens.max())
    corners = {1.0, most, float(architecture.vocab_size), float(architecture.decoder.positions)}
    sizes = sorted(size for size in corners if 1 <= size <= most)
    values = [
        decode_bytes(architecture, size, 1, precision=model.precision, distinct_experts=0).non_expert_weights
        for size in sizes
    ]
    found: Column = np.interp(tokens, sizes, values)
    return found


# Ratios ----------------------------------------------------------------------------------------------------------


TOO_LOW = "the ceiling was measured too low (it is what some seconds saw at best)"
"""What a run says that did more than it, in the words of every page."""


@dataclass(frozen=True)
class RooflinePoint:
    """One phase of a load under the roof of its devices, all together: means over repeats, as the estimates are.

    Bytes count with the experts that the phase is known by.
    """

    phase: Phase
    intensity_flops_per_byte: float
    achieved_flops_per_s: float
    mfu: float
    """The least time for the FLOPs over the time that they took."""
    mbu: float
    """The least time for the bytes over the same."""

    @property
    def bound(self) -> Literal["compute", "memory"]:
        """What takes longer at the ceilings."""
        return "compute" if self.mfu > self.mbu else "memory"

    @property
    def share(self) -> float:
        """Of the roof reached."""
        return max(self.mfu, self.mbu)


def utilisation_values(uses: Sequence[Utilisation]) -> list[dict[str, float]]:
    """The ratios of each repeat by the keys of `harness.metrics.METRICS`; each phase counts as long as it lasts.

    No run does more than its ceilings allow: a ratio above 1 says that the ceiling was measured too low, or that fewer
    experts were read than uniform routing expects (see `ceilings_beaten`). It is left out of all repeats, since the
    mean of the others would be of the slower ones only. Only the count of all experts, of which a step need not read
    most, may exceed 1.
    """
    every = [_ratios(use) for use in _counted_alike(uses)]
    beaten = {
        key for ratios in every for key, ratio in ratios.items() if ratio > 1 and not key.endswith("_mbu_total")
    }
    beaten |= {key.partition("_")[2] for key in beaten}
    return [{key: ratio for key, ratio in ratios.items() if key not in beaten} for ratios in every]


def _counted_alike(uses: Sequence[Utilisation]) -> list[Utilisation]:
    """The repeats with only those counts of experts in a phase that all of them have."""
    common = {
        phase: set.intersection(*map(set, counts)) for phase in PHASES
        if (counts := [one.bytes for use in uses for one in use.phases if one.phase == phase])
    }

    def kept(values: Mapping[Experts, float], phase: Phase) -> dict[Experts, float]:
        return {name: value for name, value in values.items() if name in common[phase]}

    return [
        Utilisation(tuple(
            replace(one, bytes=kept(one.bytes, one.phase), memory_s=kept(one.memory_s, one.phase)) for one in use.phases
        ))
        for use in uses
    ]


def _ratios(use: Utilisation) -> dict[str, float]:
    """Every ratio of one run that is known, possible or not."""
    found: dict[str, float] = {}
    timed = [one for one in use.phases if one.time_s > 0]
    together_s = sum(one.time_s for one in timed)
    least = {"mfu": [one.compute_s for one in timed], "mbu": [one.memory_s.get(one.experts) for one in timed]}
    for key, seconds in least.items():
        known = [(one, least_s) for one, least_s in zip(timed, seconds, strict=True) if least_s is not None]
        found |= {f"{one.phase}_{key}": least_s / one.time_s for one, least_s in known}
        if known and len(known) == len(use.phases):
            found[key] = sum(least_s for _, least_s in known) / together_s
    for one in timed:
        # of a dense model all are the same
        several = one.memory_s if len(set(one.memory_s.values())) > 1 else {}
        found |= {f"{one.phase}_mbu_{name}": least_s / one.time_s for name, least_s in several.items()}
    if timed:
        found["prefill_time_share"] = sum(one.time_s for one in timed if one.phase == "prefill") / together_s
    return found


def roofline_points(uses: Sequence[Utilisation]) -> tuple[RooflinePoint, ...]:
    """The phases whose place under the roof is known and possible in every repeat, each repeat with the same weight."""
    values, points = utilisation_values(uses), []
    for phase in PHASES:
        keys = (f"{phase}_mfu", f"{phase}_mbu")
        parts = [
            (one, [ratios.get(key) for key in keys])
            for use, ratios in zip(_counted_alike(uses), values, strict=True)
            for one in use.phases if one.phase == phase and one.time_s > 0
        ]
        known = [(one, mfu, mbu) for one, (mfu, mbu) in parts if mfu is not None and mbu is not None]
        if known and len(known) == len(parts):
            achieved, read, mfu, mbu = np.mean([
                (one.flops / one.time_s, one.bytes[one.experts] / one.time_s, mfu, mbu) for one, mfu, mbu in known
            ], axis=0).tolist()
            points.append(RooflinePoint(phase, achieved / read, achieved, mfu, mbu))
    return tuple(points)


def ceilings_beaten(uses: Sequence[Utilisation], *, measured: bool = True) -> dict[str, str]:
    """The phases in which any repeat did more than its ceilings allow, with how much more and why, in words.

    What only uniform routing expects to be read proves no ceiling wrong. `measured` are ceilings that no vendor states.
    """
    found: dict[str, str] = {}
    alike = _counted_alike(uses)
    for phase in PHASES:
        parts = [one for use in alike for one in use.phases if one.phase == phase and one.time_s > 0]
        certain = all(one.experts == "measured" or one.memory_s.get("active", 0.0) > one.time_s for one in parts)
        read = "read" if certain else "read the experts that uniform routing expects"
        words = [
            _beaten(f"{phase} multiplied", [(one.compute_s or 0.0) / one.time_s for one in parts]),
            _beaten(f"{phase} {read}", [one.memory_s.get(one.experts, 0.0) / one.time_s for one in parts]),
        ]
        if any(words):
            why = TOO_LOW if measured else "more than its data sheet promises cannot be"
            if not certain and not words[0]:
                why = "fewer experts than that were read, or " + why
            found[phase] = f"above the ceiling: {' and '.join(filter(None, words))}; {why}, and the figure is left out"
    return found


def _beaten(what: str, ratios: Sequence[float]) -> str:
    above = [ratio for ratio in ratios if ratio > 1]
    if not above:
        return ""
    where = f" in {len(above)} of {len(ratios)} repeats" if len(ratios) > 1 else ""
    return f"{what} {max(above):.3g} times as fast as the device could{where}"
