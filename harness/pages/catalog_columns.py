"""The columns of the catalog's table: which number each shows, on which scale, under which heading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.catalog import EXPLAINED_ABOVE, LMSYS_DATE, CatalogModel
from harness.description import DEFAULT_CONTEXT_TOKENS, Description, share_of
from harness.pages.leaderboard_columns import ColumnGroup
from harness.pages.parts import Column, Mark, Value
from harness.quantities import Scale, grouped, scale_of, signed_percent, significant


@dataclass(frozen=True)
class Entry:
    """A model of the catalog with its description."""

    model: CatalogModel
    numbers: Description

    @property
    def total(self) -> int | None:
        """All parameters as counted."""
        return self.numbers.parameters.total

    @property
    def kind(self) -> str:
        """Its shape and colour on every page: sparse or dense."""
        return "sparse" if self.model.kind == "moe" else "dense"


@dataclass(frozen=True)
class Spec:
    """A numeric column: where its value comes from and how it is headed."""

    key: str
    name: str
    """In full, where no heading is near."""
    title: str
    heading: str
    unit: str
    value: Callable[[Entry], float | None]
    help: str
    factor: float = 1.0
    hidden: bool = False
    exact: bool = False


def _of(pick: Callable[[Description], float | None]) -> Callable[[Entry], float | None]:
    return lambda entry: pick(entry.numbers)


REFERENCE_ACCELERATOR = "h100-sxm"
REFERENCE_BATCH = 32
"""What the columns of the last group are reckoned for, at the default context."""

_ON_REFERENCE = "Decoding"
"""Heads the columns that are reckoned so; the page adds the accelerator's title."""


def _cost_floor(numbers: Description) -> float | None:
    """USD a million decoded tokens where the accelerators ran at their ceiling."""
    one = numbers.accelerator
    if one is None or one.price_usd_per_hour_of_all is None:
        return None
    return one.price_usd_per_hour_of_all / 3600 / one.decode.tokens_per_s * 1e6


COLUMNS = (
    Spec("active", "Active parameters", "Active", "Parameters", "parameters",
          _of(lambda d: d.parameters.active),
          "Every parameter that a token touches, tables included, by one convention for all"),
    Spec("share", "Active share", "Share", "Parameters", "1",
          _of(lambda d: share_of(d.parameters.active, d.parameters.total)),
          "Active by total parameters"),
    Spec("active_non_embedding", "Active parameters without tables", "Active, no tables", "Parameters", "parameters",
          _of(lambda d: d.parameters.active_non_embedding),
          "Active parameters without the input table and the output head", hidden=True),
    Spec("decode_flops", "FLOPs per decoded token", "FLOPs/token", "Costs", "FLOPs",
          _of(lambda d: d.flops_per_token.decode),
          f"One decoded token at a context of {DEFAULT_CONTEXT_TOKENS} tokens, or as many as the model supports"),
    Spec("prefill_flops", "FLOPs per prompt token", "Prefill FLOPs/token", "Costs", "FLOPs",
          _of(lambda d: d.flops_per_token.prefill),
          f"Mean token of a prompt of {DEFAULT_CONTEXT_TOKENS} tokens, or as many as the model supports", hidden=True),
    Spec("weights", "Weights", "Weights", "Costs", "bytes", _of(lambda d: d.bytes.weights),
          "In the precision of the published checkpoint"),
    Spec("kv", "KV cache per 1000 tokens", "KV per 1k", "Costs", "bytes", _of(lambda d: d.bytes.kv_per_token),
          "Bytes of the key-value cache that 1000 tokens of one sequence add, while no window is full", factor=1000.0),
    Spec("state", "State of a sequence", "State", "Costs", "bytes",
          _of(lambda d: d.bytes.state_per_sequence or None),
          "Recurrent state of one sequence, which does not grow", hidden=True),
    Spec("devices", "Accelerators needed", "Needed", _ON_REFERENCE, "devices",
          _of(lambda d: d.accelerator.devices_needed if d.accelerator else None),
          "The smallest number that holds the weights and the cache of all sequences, with a tenth left free",
          exact=True),
    Spec("ceiling", "Ceiling of decoding", "Ceiling", _ON_REFERENCE, "tokens per second",
          _of(lambda d: d.accelerator.decode.tokens_per_s if d.accelerator else None),
          "Decoded tokens a second of all sequences together that those accelerators cannot exceed (roofline)"),
    Spec("cost", "Cost floor of decoding", "Cost floor", _ON_REFERENCE, "USD/M tokens", _of(_cost_floor),
          "Price of those accelerators for a million decoded tokens at the ceiling; real engines cost more"),
)


# Heads -----------------------------------------------------------------------------------------------------------


def scales_of_catalog(entries: Sequence[Entry]) -> dict[str, Scale]:
    """The scales of COLUMNS by key, each one for all models, and "total" for all parameters, counted and published."""
    scales = {"total": scale_of("parameters", [total for entry in entries if (total := entry.total)])}
    for spec in COLUMNS:
        found = (spec.value(entry) for entry in entries)
        scales[spec.key] = scale_of(spec.unit, [value * spec.factor for value in found if value is not None])
    return scales


def columns_of_catalog(scales: Mapping[str, Scale]) -> tuple[Column, ...]:
    """The heads of all columns, with their `scales_of_catalog`."""
    total_unit = scales["total"].unit
    numeric = []
    heading = "Parameters"
    for spec in COLUMNS:
        first = spec.heading != heading
        heading = spec.heading
        classes = " ".join(["numeric", *(["first-of-group"] if first else []), *(["later"] if spec.hidden else [])])
        numeric.append(Column(spec.title, scales[spec.key].unit, "", spec.help, classes, first))
    return (
        Column("Model", classes="text frozen"),
        Column("Kind", classes="text aside", help="Routed experts, and how many of them a token uses"),
        Column("Total", total_unit, classes="numeric first-of-group", help="All parameters; the solid part is active"),
        *numeric,
        Column("Total", total_unit, "", "As the authors state it", "numeric first-of-group", True, "Published total"),
        Column("Count differs", "%", "", "(counted \u2212 published) / published, of all parameters", "numeric",
               name="Published total, difference"),
        Column("Active", total_unit, "", "As the authors state it, by their own convention", "numeric",
               name="Published active"),
        Column("Count differs", "%", "", "(counted \u2212 published) / published, of active parameters", "numeric",
               name="Published active, difference"),
        Column("Released", "", "", "Month of publication", "text first-of-group", True),
        Column("Context", "tokens", "", "The context that the authors support", "numeric"),
        Column("Licence", "", "", "", "text"),
        Column("Arena rank", "", "", f"LMSYS Chatbot Arena of {LMSYS_DATE}, all prompts", "numeric"),
        Column("Arena rank, hard", "", "", f"Of hard prompts in English, {LMSYS_DATE}", "numeric later"),
        Column("Family", "", "", "", "text later"),
        Column("Layers", "", "", "Of all stacks", "numeric later"),
        Column("Checkpoint", "", "", "The precision that is published", "text later"),
    )


def catalog_column_groups(accelerator: str) -> tuple[ColumnGroup, ...]:
    """The headings over the columns, hidden ones included; `accelerator` is the reference's title."""
    spans = {"Parameters": 1}
    for spec in COLUMNS:
        spans[spec.heading] = spans.get(spec.heading, 0) + 1
    titles = {_ON_REFERENCE: f"{_ON_REFERENCE} on {accelerator}, {REFERENCE_BATCH} sequences"}
    counted = tuple(ColumnGroup(titles.get(heading, heading), span) for heading, span in spans.items())
    published, about = ColumnGroup("Published", 4), ColumnGroup("About", 8)
    return (ColumnGroup("", 1, "frozen"), ColumnGroup("", 1, "aside"), *counted, published, about)


# Values ----------------------------------------------------------------------------------------------------------


def number(
    value: float | None, scale: Scale, factor: float = 1.0, *, marks: tuple[Mark, ...] = (), exact: bool = False
) -> Value:
    """A number of the table: three significant digits, or a whole one where `exact`; a dash where there is none."""
    if value is None:
        return Value("\u2013", order="")
    shown = value * factor / scale.divisor
    return Value(grouped(shown, 0) if exact else significant(shown), order=repr(float(value)), marks=marks)


def deviation(value: float | None, explanation: str | None) -> Value:
    """A difference in percent, with the explanation of a large one."""
    if value is None:
        return Value("\u2013", order="")
    large = abs(value) > EXPLAINED_ABOVE and explanation
    marks = (Mark("note", "why", explanation or ""),) if large else ()
    return Value(signed_percent(value), order=repr(value), marks=marks)
