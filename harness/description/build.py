"""The numbers of a description. Every count is `harness.accounting`'s; nothing is computed twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.accelerators import AcceleratorSpec
from harness.accounting import (
    PRECISIONS,
    FlopCount,
    Limits,
    Precision,
    Roofline,
    count_parameters,
    decode_bytes,
    decode_roofline,
    devices_needed,
    distinct_experts_bounds,
    expected_distinct_experts,
    find_precision,
    flops_per_token,
    kv_bytes,
    kv_bytes_per_token,
    prefill_flops,
    prefill_roofline,
    state_bytes,
    weight_bytes,
)
from harness.architecture import Architecture, MixtureOfAttention
from harness.catalog import CatalogModel, Convention, relative_deviation
from harness.description.known_model import KnownModel, model_from_catalog
from harness.description.values import (
    Bytes,
    Ceiling,
    DecodeStep,
    Description,
    Deviation,
    Experts,
    FlopsPerToken,
    Number,
    OnAccelerator,
    Parameters,
)
from harness.description.words import grouped_by_thousands, shape_of, shared_experts
from harness.errors import InputError

DEFAULT_CONTEXT_TOKENS = 4096
FALLBACK_PRECISION = "bfloat16"
USABLE_FRACTION = 0.9
MAX_TOKENS = MAX_SEQUENCES = 10**9
"""Beyond any use, and below where sums of floating-point numbers overflow."""
_FLOAT32_BYTES = 4

_NEVER_PUBLISHED = "its structure was never published in full, so nothing is counted; published figures are not checked"
_NO_READER = (
    "no reader knows this structure exactly: its parameters were counted by building the model without memory; FLOPs, "
    "cache and experts in use were not"
)


@dataclass(frozen=True)
class Options:
    """What a description is for; None where the model decides.

    `context` are tokens, 4096 unless given or the model's limit where that is shorter. `precision` is a name that
    `accounting.find_precision` knows, the checkpoint's unless given. Without `every_precision` the weights are counted
    in that one only.
    """

    context: int | None = None
    batch: int = 1
    precision: str | None = None
    accelerator: AcceleratorSpec | None = None
    usable_fraction: float = USABLE_FRACTION
    every_precision: bool = True


@dataclass(frozen=True)
class _Case:
    """A structure with every option settled."""

    architecture: Architecture
    context: int
    batch: int
    precision: Precision
    every_precision: bool


def describe(model: CatalogModel | KnownModel, options: Options | None = None) -> Description:
    """The model in numbers. Raises InputError naming the option that is wrong, and as `CatalogModel.architecture` does.

    Sources of the formulas: those of `harness.accounting`.
    """
    known = model_from_catalog(model) if isinstance(model, CatalogModel) else model
    options = options or Options()
    notes = list(known.remarks)
    _check_range(options.batch, MAX_SEQUENCES, "sequence", "--batch")
    context = _context(known, options, notes)
    precision = _precision(known, options, notes)
    case = None
    if known.architecture is not None:
        stored = PRECISIONS[precision or FALLBACK_PRECISION]
        case = _Case(known.architecture, context, options.batch, stored, options.every_precision)
    is_priced = precision is not None
    _remark(known, case, notes, is_priced)
    notes += _without_effect(known, options) if case is None else ()
    parameters = _parameters(known)
    size = _uncounted_bytes(parameters.total, precision) if case is None else _bytes(case, is_priced)
    accelerator = None
    if options.accelerator is not None:
        if case is None:
            notes.append(_weights_alone(size, precision, options.accelerator, options.usable_fraction))
        elif not is_priced:
            notes.append(f"what it needs of {options.accelerator.title} cannot be told without its precision")
        else:
            accelerator = _on_accelerator(case, options.accelerator, options.usable_fraction, notes)
    return Description(
        name=known.facts.name,
        source=known.source,
        model=known.facts,
        architecture=None if case is None else shape_of(case.architecture),
        context_tokens=context,
        batch=options.batch,
        precision=precision,
        parameters=parameters,
        flops_per_token=FlopsPerToken() if case is None else _flops(case),
        bytes=size,
        experts=None if case is None else _experts(case),
        published=known.published,
        deviation=_deviation(known, parameters),
        accelerator=accelerator,
        not_counted=None if case else _NO_READER if known.counted else _NEVER_PUBLISHED,
        notes=tuple(notes),
    )


# What the options mean -------------------------------------------------------------------------------------------


def context_limit(known: KnownModel) -> int | None:
    """The longest context that the authors support, else that of the configuration; None where neither is known."""
    stated, architecture = known.facts.context_length, known.architecture
    return stated if stated is not None or architecture is None else architecture.max_context


def _context(known: KnownModel, options: Options, notes: list[str]) -> int:
    limit = context_limit(known)
    if options.context is None:
        if limit is not None and limit < DEFAULT_CONTEXT_TOKENS:
            short, usual = grouped_by_thousands(limit), grouped_by_thousands(DEFAULT_CONTEXT_TOKENS)
            notes.append(f"at a context of {short} tokens, the model's limit; the default is {usual}")
            return limit
        return DEFAULT_CONTEXT_TOKENS
    _check_range(options.context, MAX_TOKENS, "token", "--context")
    if limit is not None and options.context > limit:
        raise InputError(
            f"{grouped_by_thousands(options.context)} tokens are more than {known.facts.name} supports",
            where="--context", hint=f"it supports {grouped_by_thousands(limit)}",
        )
    if limit is not None and 1024 * options.context == 1000 * limit:
        given, most = map(grouped_by_thousands, (options.context, limit))
        notes.append(f"k means 1 000 here: {given} tokens of context, where the model supports {most}")
    return options.context


def _check_range(value: int, largest: int, thing: str, where: str) -> None:
    if value < 1:
        raise InputError(f"must be at least 1 {thing}, not {value}", where=where)
    if value > largest:
        raise InputError(f"must be at most {grouped_by_thousands(largest)} {thing}s", where=where)


def _precision(known: KnownModel, options: Options, notes: list[str]) -> str | None:
    if options.precision is not None:
        return find_precision(options.precision)
    if known.precision is not None or (known.architecture is None and known.counted is None):
        return known.precision
    if known.quantised:
        notes.append("bytes are not counted, because this quantisation is not known exactly; --precision chooses one")
        return None
    notes.append(f"the checkpoint's precision is not known: bytes are those in {FALLBACK_PRECISION}")
    return FALLBACK_PRECISION


def _remark(known: KnownModel, case: _Case | None, notes: list[str], is_priced: bool) -> None:
    if known.counted is not None:
        counted = known.counted
        notes.append(f"counted on {counted.class_name} of {counted.library_version}; active: {counted.active_note}")
        notes += [counted.scope_note] if counted.scope_note else []
    if case is None:
        return
    element = case.precision.bytes_per_cache_element
    if is_priced and element < _FLOAT32_BYTES and state_bytes(case.architecture, element) > 0:
        notes.append(
            f"the state of the recurrent layers is counted in the precision of the cache ({8 * element:g} bits); "
            f"engines that keep it in float32 need {_FLOAT32_BYTES / element:g} times as much for it"
        )
    if case.architecture.encoder is not None:
        tokens = grouped_by_thousands(case.context)
        notes.append(
            f"an encoder-decoder model: prefill encodes a source of {tokens} tokens, and a decoded token sees "
            f"{tokens} of its own and {tokens} of the source"
        )
    experts = count_parameters(case.architecture).routed_experts
    if case.precision.experts is not None and case.precision.matrices is None and not experts:
        notes.append("the model has no routed experts, so nothing of it is quantised in this precision")


def _without_effect(known: KnownModel, options: Options) -> tuple[str, ...]:
    """A note on the options that change nothing where no structure is known."""
    precision = options.precision if known.counted is None else None
    given = {"--context": options.context is not None, "--batch": options.batch != 1, "--precision": bool(precision)}
    named = [name for name, is_given in given.items() if is_given]
    notes = [f"{' and '.join(named)} changed nothing: what depends on it is not counted"] if named else []
    if known.counted is not None and options.precision is not None:
        stored = PRECISIONS[find_precision(options.precision)]
        if stored.matrices is not None or stored.experts is not None:
            notes.append(
                f"the weights in {find_precision(options.precision)} are not counted: which of them it quantises "
                "cannot be told without the structure"
            )
    return tuple(notes)


# Counts ----------------------------------------------------------------------------------------------------------


def _exact(value: float) -> Number:
    """A whole number as an integer, as exact as it is."""
    return int(value) if float(value).is_integer() else value


def _parameters(known: KnownModel) -> Parameters:
    if known.architecture is not None:
        count = count_parameters(known.architecture)
        return Parameters(
            total=count.total, active=count.active, active_non_embedding=count.active_non_embedding,
            active_without_input_embedding=count.active_without_input_embedding, **count.model_dump(),
        )
    counted = known.counted
    if counted is None:
        return Parameters()
    used = None
    if counted.routed_experts is not None and counted.active is not None:
        used = counted.routed_experts - (counted.total - counted.active)
    return Parameters(
        total=counted.total, active=counted.active, embedding=counted.embedding, head=counted.head,
        routed_experts=counted.routed_experts, routed_experts_used=used,
    )


def _flops(case: _Case) -> FlopsPerToken:
    prefill = prefill_flops(case.architecture, case.context)
    decode = flops_per_token(case.architecture, context=case.context)
    each = {name: _exact(value / prefill.tokens) for name, value in prefill.flops}
    return FlopsPerToken(
        prefill=_exact(prefill.per_token), decode=decode.total, prefill_by_component=FlopCount(**each),
        decode_by_component=decode,
    )


def _bytes(case: _Case, is_priced: bool) -> Bytes:
    """Bytes in the precision of the case; those that depend on it are None where it is not the checkpoint's."""
    architecture, element = case.architecture, case.precision.bytes_per_cache_element
    precisions = PRECISIONS if case.every_precision else {}
    by_precision = {name: _exact(weight_bytes(architecture, one)) for name, one in precisions.items()}
    if not is_priced:
        return Bytes(weights_by_precision=by_precision)
    step = decode_bytes(architecture, case.batch, case.context, precision=case.precision)
    source = None if architecture.encoder is None else kv_bytes(architecture, 0, element, source=1)
    return Bytes(
        weights=_exact(weight_bytes(architecture, case.precision)),
        kv_per_token=_exact(kv_bytes_per_token(architecture, element)),
        kv_per_source_token=None if source is None else _exact(source),
        kv_per_sequence=_exact(kv_bytes(architecture, case.context, element)),
        state_per_sequence=_exact(state_bytes(architecture, element)),
        decode_step=DecodeStep(**{name: _exact(value) for name, value in step}, total=_exact(step.total)),
        weights_by_precision=by_precision,
    )


def _uncounted_bytes(total: int | None, precision: str | None) -> Bytes:
    """Weights from a bare total: only where every parameter has the same size, whatever its tensor."""
    if total is None:
        return Bytes()
    sizes = {name: one.common.bits for name, one in PRECISIONS.items() if one.matrices is None and one.experts is None}
    weights = {name: _exact(total * bits / 8) for name, bits in sizes.items()}
    return Bytes(weights=weights.get(precision or ""), weights_by_precision=weights)


def _experts(case: _Case) -> Experts | tuple[Experts, ...] | None:
    layers: Counter[tuple[str, int, int, int, int, int]] = Counter()
    for stack in case.architecture.stacks:
        for group in stack.groups:
            for mixer in group.mixers:
                if isinstance(mixer, MixtureOfAttention):
                    width = mixer.kv_heads * mixer.head_dim
                    layers["attention", mixer.experts, mixer.experts_per_token, 0, width, 0] += group.count
    for count, moe in case.architecture.moe_groups:
        wide = moe.shared.width if moe.shared else 0
        layers["feed_forward", moe.experts, moe.experts_per_token, shared_experts(moe), moe.width, wide] += count
    found = [_distinct(key, count, case.batch) for key, count in layers.items()]
    return None if not found else found[0] if len(found) == 1 else tuple(found)


def _distinct(key: tuple[str, int, int, int, int, int], layers: int, batch: int) -> Experts:
    part, experts, per_token, shared, width, shared_width = key
    low, high = distinct_experts_bounds(experts, per_token, batch)
    return Experts(
        part="attention" if part == "attention" else "feed_forward", layers=layers, experts=experts,
        per_token=per_token, shared=shared, width=width, shared_width=shared_width,
        expected_distinct=expected_distinct_experts(experts, per_token, batch), distinct_bounds=(int(low), int(high)),
    )


def active_in_convention(parameters: Parameters, convention: Convention | None) -> int | None:
    """Our active parameters as the authors count them; None where their convention or our count is not known."""
    if convention is None:
        return None
    counts = {
        "all": parameters.active,
        "without_input_embedding": parameters.active_without_input_embedding,
        "non_embedding": parameters.active_non_embedding,
    }
    return counts[convention]


def _deviation(known: KnownModel, parameters: Parameters) -> Deviation:
    theirs = known.published.active
    return Deviation(
        total=relative_deviation(parameters.total, known.published.total),
        active=relative_deviation(parameters.active, theirs),
        active_in_their_convention=relative_deviation(
            active_in_convention(parameters, known.published.active_convention), theirs
        ),
        explanation=known.explanation,
    )


# On an accelerator -----------------------------------------------------------------------------------------------


def compute_precision(precision: Precision, device: AcceleratorSpec) -> str:
    """The precision of the products on `device`: the weights' own, or bfloat16 where the device has no units for it.

    Engines then expand the weights as they read them (weight-only kernels), so that their bytes stay as they are.
    """
    return precision.compute if precision.compute in device.precisions else FALLBACK_PRECISION


def _weights_alone(size: Bytes, precision: str | None, device: AcceleratorSpec, usable_fraction: float) -> str:
    """What can be said of a device without a structure: a note."""
    if size.weights is None:
        return f"what it needs of {device.title} cannot be told without its structure"
    devices = devices_needed(size.weights, device.memory_bytes, usable_fraction)
    return (
        f"its weights alone, in {precision}, need {grouped_by_thousands(devices)} of {device.title} (in "
        f"{100 * usable_fraction:g} % of the memory); cache and speed cannot be told without its structure"
    )


def _on_accelerator(
    case: _Case, device: AcceleratorSpec, usable_fraction: float, notes: list[str]
) -> OnAccelerator:
    architecture, precision = case.architecture, case.precision
    compute = compute_precision(precision, device)
    if compute != precision.compute:
        notes.append(
            f"{device.title} has no units for {precision.compute}: its products count as {compute}, as engines "
            "compute them there; the weights stay as they are"
        )
    weights = weight_bytes(architecture, precision)
    element = precision.bytes_per_cache_element
    sequence = kv_bytes(architecture, case.context, element) + state_bytes(architecture, element)
    needed = weights + case.batch * sequence
    devices = devices_needed(needed, device.memory_bytes, usable_fraction)
    limits = Limits(
        peak_flops_per_s=device.peak_flops_per_s(compute), bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        devices=devices,
    )
    decode = decode_roofline(architecture, case.batch, case.context, precision=precision, limits=limits)
    prefill = prefill_roofline(architecture, case.batch, case.context, precision=precision, limits=limits)
    price = device.price_usd_per_hour
    return OnAccelerator(
        name=device.name, title=device.title, memory_bytes=device.memory_bytes,
        usable_fraction=usable_fraction, needed_bytes=_exact(needed), devices_needed=devices,
        devices_needed_without_cache=devices_needed(weights, device.memory_bytes, usable_fraction),
        compute=compute, price_usd_per_hour=price,
        price_usd_per_hour_of_all=None if price is None else price * devices,
        price_source=device.price_source, price_read_on=device.price_read_on, price_quality=device.price_quality,
        decode=_ceiling(decode), prefill=_ceiling(prefill),
    )


def _ceiling(roofline: Roofline) -> Ceiling:
    return Ceiling(
        tokens_per_s=roofline.tokens_per_s, bound=roofline.bound, step_s=roofline.step_s,
        compute_s=roofline.compute_s, memory_s=roofline.memory_s,
    )
