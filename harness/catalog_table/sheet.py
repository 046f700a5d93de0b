"""One model's description as the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.catalog import LMSYS_DATE, QUALITY_WORDS
from harness.catalog_table.blocks import Labelled, Numbers, Prose, in_groups, quantities
from harness.description import (
    PRECISION_MEANINGS,
    Description,
    Layers,
    OnAccelerator,
    Parameters,
    active_in_convention,
    meanings,
    share_of,
)
from harness.quantities import COUNT_WORDS, count_of, grouped, plain, scale_of, signed_percent, significant

Block = Prose | Labelled | Numbers

_COMPONENTS = {
    "embedding": "input table",
    "head": "output head",
    "attention": "attention and other mixers",
    "dense_ffn": "dense feed-forwards",
    "shared_experts": "shared experts",
    "routed_experts": "routed experts",
    "router": "routers",
    "norm": "norms",
    "other": "other",
}
_LEFT_OUT = {
    "without_input_embedding": "the input table",
    "non_embedding": "input table and output head",
}
"""What the authors' active parameters leave out, by convention."""
_BOUNDS = {"compute": "arithmetic", "memory": "memory"}


def sheet(described: Description) -> Iterator[Block]:
    """The facts, the parameters by component, the costs, the published figures, and the accelerator, with notes."""
    yield from _facts(described)
    if described.parameters.total is not None:
        yield from _parameters(described)
    if described.architecture is not None:
        yield from _costs(described)
        yield from _experts(described)
    if described.bytes.weights_by_precision:
        yield from _weights(described)
    if described.published.source is not None:
        yield from _published(described)
    if described.accelerator is not None:
        yield from _accelerator(described, described.accelerator)
    remarks = [*([described.not_counted] if described.not_counted else []), *described.notes]
    remarks += [described.model.notes] if described.model.notes else []
    if remarks:
        yield _heading("Notes")
        yield _grid(("-", one) for one in remarks)
    explained = _explained(described)
    if explained:
        yield Prose("")
        yield _grid(((f"{word}:", meaning) for word, meaning in explained), style="dim")


def _explained(described: Description) -> list[tuple[str, str]]:
    """The words of the structure and the precisions of the sheet, with their meanings."""
    shape = described.architecture
    words = [] if shape is None else [one.what for one in (*shape.attention, *shape.feed_forward)]
    stored = [name for name in PRECISION_MEANINGS if name in _weights_shown(described)]
    rest = [("all of these", "routers, norms and the two tables stay in 16 bits")] if stored else []
    return [*meanings(words), *((name, PRECISION_MEANINGS[name]) for name in stored), *rest]


# Building blocks -------------------------------------------------------------------------------------------------


def _heading(text: str) -> Prose:
    return Prose(f"\n{text}", style="bold")


def _grid(rows: Iterable[tuple[str, str]], style: str = "") -> Labelled:
    return Labelled(tuple(rows), style)


def _numbers(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Numbers:
    return Numbers(headings, tuple(rows))


def _quantities(rows: list[tuple[str, float | None, str]]) -> Numbers:
    """What, how much, and its base unit; rows without a value are left out."""
    scaled = [(what, value, scale_of(base, [value])) for what, value, base in rows if value is not None]
    return quantities([(what, significant(value / scale.divisor), scale.unit) for what, value, scale in scaled])


def _percent(part: float, whole: float | None) -> str:
    share = share_of(part, whole)
    return "" if share is None else significant(100 * share)


# The parts of the sheet ------------------------------------------------------------------------------------------


def _facts(described: Description) -> Iterator[Block]:
    yield Prose(plain(described.name), style="bold")
    yield Prose(_headline(described))
    yield _grid((label, text) for label, text in _fact_rows(described) if text)


def _headline(described: Description) -> str:
    total, active = described.parameters.total, described.parameters.active
    if total is None:
        return "not counted; see the published figures and the notes below"
    scale = scale_of("parameters", [total])
    size = COUNT_WORDS[scale.unit]
    whole = f"{significant(total / scale.divisor)}{size} parameters"
    if active is None:
        return f"{whole}; how many of them a token uses is not known"
    if active == total:
        return f"{whole}, and each token uses all of them"
    used = f"{significant(active / scale.divisor)}{size} ({_percent(active, total)} %)"
    return f"{whole}, of which a token uses {used}"


def _fact_rows(described: Description) -> Iterator[tuple[str, str]]:
    facts, shape = described.model, described.architecture
    yield "family", facts.family or ""
    yield "weights", ", ".join(filter(None, (facts.hf_repo, facts.status, "gated" if facts.gated else "")))
    yield "released", _with_quality(facts.released, facts.released_source_quality)
    yield "licence", _with_quality(facts.license, facts.license_source_quality)
    yield "context", count_of(facts.context_length, "token") if facts.context_length else ""
    if shape is not None:
        stacks = f", of which {shape.encoder_layers} in the encoder" if shape.encoder_layers else ""
        yield "layers", f"{grouped(shape.layers, 0)}{stacks}, hidden size {grouped(shape.hidden_size, 0)}"
        tied = "one table for input and output" if shape.tied_embeddings else "input and output have their own tables"
        yield "vocabulary", f"{grouped(shape.vocab_size, 0)} entries; {tied}"
        yield "attention", _layers(shape.attention)
        yield "feed-forward", _layers(shape.feed_forward)
    if facts.stated is not None:
        stated = (
            (facts.stated.layers, "layers"), (facts.stated.experts, "experts"),
            (facts.stated.experts_per_token, "of them a token"),
        )
        known = ", ".join(f"{grouped(value, 0)} {what}" for value, what in stated if value is not None)
        yield "stated", f"{known} ({QUALITY_WORDS[facts.stated.source_quality]})" if known else ""
    yield "structure", _with_quality(facts.source, facts.source_quality)
    ranks = facts.lmsys_2024_11_04
    if ranks == "unranked":
        yield "arena", f"not ranked by LMSYS Chatbot Arena on {LMSYS_DATE}"
    elif ranks is not None:
        yield "arena", (
            f"place {ranks.overall} of all prompts, {ranks.hard_prompts_english} of hard prompts in English "
            f"(LMSYS Chatbot Arena, {LMSYS_DATE})"
        )


def _layers(parts: tuple[Layers, ...]) -> str:
    return "\n".join(f"{count_of(one.layers, 'layer')}: {in_groups(one.what)}" for one in parts)


def _with_quality(text: str | None, quality: str | None) -> str:
    return "" if text is None else text + (f" ({QUALITY_WORDS[quality]})" if quality else "")


def _parameters(described: Description) -> Iterator[Block]:
    counted = described.parameters
    rows: list[tuple[str, ...]] = []
    for words, total, active in _component_rows(counted):
        used = ("", "") if active is None else (grouped(active, 0), _percent(active, counted.active))
        rows.append((words, grouped(total, 0), _percent(total, counted.total), *used))
    for key, words in (
        ("active_without_input_embedding", "without the input table"),
        ("active_non_embedding", "without input table and head"),
    ):
        value = getattr(counted, key)
        if value is not None and value != counted.active:
            rows.append((words, "", "", grouped(value, 0), _percent(value, counted.active)))
    yield _heading("Parameters by component; active: those that one token uses")
    yield _numbers(("", "total", "%", "active", "%"), rows)


def _component_rows(counted: Parameters) -> Iterator[tuple[str, int, int | None]]:
    """Each component with its parameters and the active ones, what was not told apart, and all together."""
    rest, rest_active = counted.total or 0, counted.active
    for key, words in _COMPONENTS.items():
        total = getattr(counted, key)
        if not total:
            continue
        active = counted.routed_experts_used if key == "routed_experts" else total
        active = None if counted.active is None else active
        yield words, total, active
        rest -= total
        rest_active = None if rest_active is None or active is None else rest_active - active
    if rest:
        yield "the rest, not told apart", rest, rest_active
    yield "all", counted.total or 0, counted.active


def _costs(described: Description) -> Iterator[Block]:
    flops, size, context = described.flops_per_token, described.bytes, count_of(described.context_tokens, "token")
    seq2seq = described.architecture is not None and described.architecture.encoder_layers
    prefill = f"arithmetic of a token of the prompt, mean of {context}"
    if seq2seq:
        prefill = f"arithmetic of a token of the source, mean of {context}"
    rows: list[tuple[str, float | None, str]] = [
        (prefill, flops.prefill, "FLOPs"),
        (f"arithmetic of a decoded token at a context of {context}", flops.decode, "FLOPs"),
        ("weights", size.weights, "bytes"),
        ("cache of keys and values (KV), a token", size.kv_per_token or None, "bytes"),
        ("KV cache, a token of the source", size.kv_per_source_token, "bytes"),
        (f"KV cache, a sequence of {context}", size.kv_per_sequence or None, "bytes"),
        ("state of the recurrent layers, a sequence", size.state_per_sequence or None, "bytes"),
    ]
    step = size.decode_step
    if step is not None:
        batch = count_of(described.batch, "sequence")
        rows += [
            (f"moved from and to memory in a decode step of {batch}", step.total, "bytes"),
            ("  weights of routed experts", step.expert_weights or None, "bytes"),
            ("  other weights", step.non_expert_weights, "bytes"),
            ("  KV cache", step.kv_cache or None, "bytes"),
            ("  state, read and written back", step.state or None, "bytes"),
        ]
    yield _heading(f"Costs with weights in {described.precision}" if described.precision else "Costs")
    yield _quantities(rows)


def _experts(described: Description) -> Iterator[Block]:
    kinds = described.kinds_of_experts
    if not kinds:
        return
    rows: list[tuple[str, ...]] = []
    for kind in kinds:
        low, high = kind.distinct_bounds
        part = "attention" if kind.part == "attention" else "feed-forward"
        rows.append((
            f"{part}, width {grouped(kind.width, 0)}", grouped(kind.layers, 0), grouped(kind.experts, 0),
            grouped(kind.per_token, 0), grouped(kind.shared, 0), significant(kind.expected_distinct),
            f"{grouped(low, 0)} to {grouped(high, 0)}",
        ))
    batch = count_of(described.batch, "sequence")
    yield _heading(f"Experts of a layer, and how many of them a decode step of {batch} uses")
    yield _numbers(("", "layers", "routed", "a token", "shared", "expected", "possible"), rows)
    yield Prose("expected: if tokens choose uniformly and independently; skewed routing uses fewer", style="dim")


def _weights(described: Description) -> Iterator[Block]:
    weights = _weights_shown(described)
    scale = scale_of("bytes", weights.values())
    rows = [
        (f"{name} (this one)" if name == described.precision else name, significant(value / scale.divisor))
        for name, value in weights.items()
    ]
    yield _heading("Weights by precision")
    yield _numbers(("precision", scale.unit), rows)


def _weights_shown(described: Description) -> dict[str, float]:
    """The weights by precision; one that quantises experts alone is left out of a model without them, unless asked."""
    found = dict(described.bytes.weights_by_precision)
    if described.parameters.routed_experts == 0 and described.precision != "mxfp4-experts":
        found.pop("mxfp4-experts", None)
    return found


def _published(described: Description) -> Iterator[Block]:
    published, counted, deviation = described.published, described.parameters, described.deviation
    rows: list[tuple[str, ...]] = []
    compared = [
        ("all parameters", counted.total, published.total, deviation.total),
        ("active parameters", counted.active, published.active, deviation.active),
    ]
    convention = published.active_convention
    if convention in _LEFT_OUT and deviation.active_in_their_convention is not None:
        ours = active_in_convention(counted, convention)
        compared.append(("active, counted as they do", ours, published.active, deviation.active_in_their_convention))
    for words, ours, theirs, off in compared:
        if theirs is not None:
            ours_text = "" if ours is None else significant(ours / 1e9)
            rows.append((words, significant(theirs / 1e9), ours_text, "" if off is None else signed_percent(off)))
    yield _heading("Published beside counted, in billions")
    yield _numbers(("", "published", "counted", "difference (%)"), rows)
    lines = [
        ("source", _with_quality(published.source, published.source_quality)),
        ("active", _convention(described)),
        ("why", described.deviation.explanation or ""),
    ]
    yield _grid((label, text) for label, text in lines if text)


def _convention(described: Description) -> str:
    """What the published active parameters include, and ours."""
    published, deviation = described.published, described.deviation
    if published.active is None:
        return ""
    if published.active_convention is None:
        theirs = "which tables the authors count is not known"
    elif published.active_convention == "all":
        return "the authors count all that a token touches" + (", as we do" if deviation.active is not None else "")
    else:
        theirs = f"the authors leave out {_LEFT_OUT[published.active_convention]}"
    ours = "" if deviation.active is None else "; we count all that a token touches"
    return theirs + ours + ("" if deviation.active_in_their_convention is None else ", and once more as they do")


def _accelerator(described: Description, device: OnAccelerator) -> Iterator[Block]:
    gigabytes = grouped(device.memory_bytes / 1e9, 0)
    what = f"{count_of(described.batch, 'sequence')} of {count_of(described.context_tokens, 'token')}"
    yield _heading(f"On {device.title}, {gigabytes} GB")
    devices = (
        f"{grouped(device.devices_needed, 0)}: the fewest that hold weights, KV cache and state of {what} in "
        f"{100 * device.usable_fraction:g} % of their memory "
        f"({grouped(device.devices_needed_without_cache, 0)} for the weights alone)"
    )
    lines = [
        ("devices", devices),
        ("products", f"computed in {device.compute}"),
        ("price", _price(device)),
    ]
    yield _grid((label, text) for label, text in lines if text)
    rows = [
        (
            words, significant(one.tokens_per_s), _BOUNDS[one.bound], significant(1e3 * one.step_s),
            significant(1e3 * one.compute_s), significant(1e3 * one.memory_s),
        )
        for words, one in (("decode step", device.decode), ("prefill", device.prefill))
    ]
    several = f"these {grouped(device.devices_needed, 0)} devices allow"
    them = "this device allows" if device.devices_needed == 1 else several
    uniform = " if routing is uniform" if described.kinds_of_experts else ""
    yield _heading(f"The most that {them}{uniform} (roofline; times in ms a step)")
    yield _numbers(("", "tokens/s", "limited by", "step", "arithmetic", "memory"), rows)
    if uniform:
        yield Prose("skewed routing reads fewer experts, and may then be faster than this", style="dim")


def _price(device: OnAccelerator) -> str:
    if device.price_usd_per_hour is None:
        return "none is known"
    one, together = device.price_usd_per_hour, device.price_usd_per_hour_of_all
    all_of_them = f", {grouped(together or 0, 2)} for all" if device.devices_needed > 1 else ""
    quality = QUALITY_WORDS.get(device.price_quality or "", device.price_quality)
    return f"{grouped(one, 2)} USD an hour{all_of_them} ({device.price_source}, read {device.price_read_on}, {quality})"
