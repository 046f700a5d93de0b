"""The catalog as a page: every model counted, beside what its authors publish, and the accelerators it could run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.accelerators import AcceleratorSpec
from harness.catalog import EXPLAINED_ABOVE, LMSYS_DATE, QUALITY_WORDS, CatalogModel
from harness.description import DEFAULT_CONTEXT_TOKENS, Options, describe
from harness.description.words import kind_words
from harness.errors import InputError
from harness.pages.catalog_columns import (
    COLUMNS,
    REFERENCE_ACCELERATOR,
    REFERENCE_BATCH,
    Entry,
    Spec,
    catalog_column_groups,
    columns_of_catalog,
    deviation,
    number,
    scales_of_catalog,
)
from harness.pages.catalog_evidence import catalog_evidence, column_names
from harness.pages.leaderboard_columns import ColumnGroup
from harness.pages.parts import Column, Mark, Page, Table, TableRow, Value
from harness.quantities import Scale, count_of, plain, significant, with_unit

_SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Active shares that the scatter plot draws as lines."""


@dataclass(frozen=True)
class CatalogRow:
    """One model: its name, its kind, its parameters as a two-tone bar, and the cells of the further columns."""

    name: str
    anchor: str
    kind: str
    kind_text: str
    kind_order: str
    search: str
    marks: tuple[Mark, ...]
    total: str
    total_order: str
    active_width: str
    rest_width: str
    uncounted: Mark
    cells: tuple[Value, ...]
    evidence: str
    """With which the names of its numbers begin."""


@dataclass(frozen=True, kw_only=True)
class CatalogPage(Page):
    """All architectures, counted and published."""

    facts: tuple[str, ...]
    lead: str
    conditions: str
    caption: str
    guides_caption: str
    """Of the lines over total and active parameters, which other axes do not have."""
    scatter: dict[str, Any]
    column_groups: tuple[ColumnGroup, ...]
    columns: tuple[Column, ...]
    column_evidence: tuple[str, ...]
    """With which the names of the numbers of each column end; empty where it has none."""
    rows: tuple[CatalogRow, ...]
    legend: str
    deviations_note: str
    deviations: Table
    accelerators_note: str
    accelerators: Table


_PLOTTED = ("active", "decode_flops", "weights", "kv")
_CONDITIONS = (
    "Parameters are counted from each model's configuration, by one convention: all that a token touches is active. "
    f"FLOPs per token are those of decoding at {DEFAULT_CONTEXT_TOKENS} tokens of context, weights those of the "
    "published checkpoint. The cache is in 16 bits, or 32 where the checkpoint is in float32."
)
_CAPTION = "Open marks are models of which only published figures are known. Both axes are logarithmic."
_GUIDES_CAPTION = "Lines join equal shares of active parameters."
_LEGEND = (
    "The solid part of a bar is active. The marks recalled and third-party say how well a fact is known; beside a "
    "name, how well the structure is. Arena ranks are those of the LMSYS Chatbot Arena of "
    f"{LMSYS_DATE}. The table scrolls, and Columns offers more of them."
)
_DEVIATIONS_NOTE = (
    f"Every difference above {100 * EXPLAINED_ABOVE:.0f} %, with its reason. Most are conventions: whether tables "
    "count as active, whether a tower beside the text model does. Where nothing that was tried gives the published "
    "figure, it says so."
)
_ACCELERATORS_NOTE = (
    "Dense peaks by the precision in which matrices are multiplied (vendors often print twice as much, with 2:4 "
    "sparsity), and memory bandwidth. Work of fewer FLOPs a byte than the balance waits for memory. Prices are one "
    "cloud's list prices; prices_usd_per_hour in a suite sets yours."
)


def catalog_page(models: Iterable[CatalogModel], accelerators: Sequence[AcceleratorSpec]) -> CatalogPage:
    """The page of the whole catalog. Raises InputError where REFERENCE_ACCELERATOR is not among the accelerators."""
    reference = next((one for one in accelerators if one.name == REFERENCE_ACCELERATOR), None)
    if reference is None:
        raise InputError(f"no accelerator {REFERENCE_ACCELERATOR!r}, for which the catalog page reckons costs")
    options = Options(batch=REFERENCE_BATCH, accelerator=reference, every_precision=False)
    entries = [Entry(model, describe(model, options)) for model in models]
    entries.sort(key=lambda entry: (-(entry.total or 0), -(entry.model.published.total or 0), entry.model.name))
    scales = scales_of_catalog(entries)
    evidence = catalog_evidence(entries, scales)
    return CatalogPage(
        path="catalog.html",
        template="catalog.html",
        title="Catalog", menu="Catalog",
        facts=_facts(entries),
        lead=_lead(entries),
        conditions=_CONDITIONS,
        caption=_CAPTION,
        guides_caption=_GUIDES_CAPTION,
        scatter=_scatter(entries, scales),
        column_groups=catalog_column_groups(reference.title),
        columns=columns_of_catalog(scales),
        column_evidence=column_names(),
        rows=tuple(_row(entry, scales, evidence[entry.model.name].name) for entry in entries),
        legend=_LEGEND,
        deviations_note=_DEVIATIONS_NOTE,
        deviations=_deviations(entries, {name: file.name for name, file in evidence.items()}),
        accelerators_note=_ACCELERATORS_NOTE,
        accelerators=_accelerators(accelerators),
        evidence_files=tuple(evidence.values()),
    )


# The head of the page --------------------------------------------------------------------------------------------


def _facts(entries: Sequence[Entry]) -> tuple[str, ...]:
    sparse = sum(entry.kind == "sparse" for entry in entries)
    counted = sum(entry.total is not None for entry in entries)
    return (
        count_of(len(entries), "model"),
        f"{sparse} sparse, {len(entries) - sparse} dense",
        f"{counted} counted from their structure",
        f"{len(entries) - counted} with published figures only",
    )


def _lead(entries: Sequence[Entry]) -> str:
    """How far counts and publications agree, and which sparse model uses the smallest part of itself."""
    compared = [entry for entry in entries if entry.model.total_deviation is not None]
    near = [entry for entry in compared if abs(entry.model.total_deviation or 0.0) <= EXPLAINED_ABOVE]
    words = (
        f"{len(near)} of {len(compared)} published totals agree with the count within "
        f"{100 * EXPLAINED_ABOVE:.0f} %; what is known of the others is told below."
    )
    share = next(spec.value for spec in COLUMNS if spec.key == "share")
    known = [(value, entry) for entry in entries if entry.kind == "sparse" and (value := share(entry)) is not None]
    if not known:
        return words
    least, smallest = min(known, key=lambda pair: pair[0])
    return f"{words} The sparsest is {smallest.model.name}: a token uses {significant(100 * least)} % of it."


# The table -------------------------------------------------------------------------------------------------------


def _row(entry: Entry, scales: Mapping[str, Scale], evidence: str) -> CatalogRow:
    model, total, scale = entry.model, entry.total, scales["total"]
    rests_on = _quality_mark(model.source_quality, "structure, on which all counts rest,", model.source)
    active = entry.numbers.parameters.active
    status = () if model.status == "released" else (Mark("plain", model.status, _status_reason(model)),)
    share = 100.0 if not total or active is None else 100.0 * active / total
    text = kind_words(entry.numbers)
    words = [model.name, model.family, entry.kind, text, model.license or "", model.status, model.hf_repo or ""]
    return CatalogRow(
        name=model.name,
        anchor=f"model-{model.name}",
        kind=entry.kind,
        kind_text=text,
        kind_order=f"{max((one.experts for one in entry.numbers.kinds_of_experts), default=0):09d}",
        search=plain(" ".join(words)),
        marks=(*status, *(() if total is None else rests_on)),
        total="" if total is None else significant(total / scale.divisor),
        total_order=str(total or ""),
        active_width=f"{share:.2f}",
        rest_width=f"{100 - share:.2f}",
        uncounted=Mark("missing", "not counted", "The structure was never published in full; no figure is guessed."),
        cells=tuple(_cells(entry, scales)),
        evidence=evidence,
    )


def _status_reason(model: CatalogModel) -> str:
    if model.status == "on-request":
        return "The weights are given on request."
    return "The weights were never released."


def _cells(entry: Entry, scales: Mapping[str, Scale]) -> list[Value]:
    model, totals = entry.model, scales["total"]
    cells = [
        number(spec.value(entry), scales[spec.key], spec.factor, exact=spec.exact, marks=_shorter(spec, entry))
        for spec in COLUMNS
    ]
    source = _quality_mark(model.published.source_quality, "published figure", model.published.source)
    cells += [
        number(model.published.total, totals, marks=source if model.published.total else ()),
        deviation(model.total_deviation, model.deviation),
        number(model.published.active, totals),
        deviation(model.active_deviation, model.deviation),
        Value(model.released, order=model.released,
              marks=_quality_mark(model.released_source_quality, "date of release", None)),
        number(model.context_length, Scale("", 1.0), exact=True),
        Value(plain(model.license or "none published", 80), order=model.license or "~",
              marks=_quality_mark(model.license_source_quality, "licence", None)),
        *_ranks(model),
        Value(model.family, order=model.family),
        number(model.architecture.layers if model.architecture else None, Scale("", 1.0), exact=True),
        Value(model.precision or "unknown", order=model.precision or "~"),
    ]
    return cells


def _shorter(spec: Spec, entry: Entry) -> tuple[Mark, ...]:
    """A mark at the FLOPs of a model that does not support the context at which the others are counted."""
    context = entry.numbers.context_tokens
    if spec.key != "decode_flops" or entry.total is None or context >= DEFAULT_CONTEXT_TOKENS:
        return ()
    return (Mark("plain", f"at {context}", f"At {context} tokens of context, the most that the model supports."),)


def _quality_mark(quality: str | None, what: str, source: str | None) -> tuple[Mark, ...]:
    """A mark where a fact is known from memory or from third parties only."""
    if quality not in ("recalled", "third-party"):
        return ()
    origin = f" Source: {source}." if source else ""
    return (Mark("plain", quality, f"This {what} is known {QUALITY_WORDS[quality]}.{origin}"),)


def _ranks(model: CatalogModel) -> list[Value]:
    """The places of all prompts and of hard ones in English."""
    ranks = model.lmsys_2024_11_04
    if ranks is None or ranks == "unranked":
        return [Value(ranks or "\u2013", order="")] * 2
    return [Value(str(place), order=str(place)) for place in (ranks.overall, ranks.hard_prompts_english)]


# The chart, the deviations, the accelerators ---------------------------------------------------------------------


def _scatter(entries: Sequence[Entry], scales: Mapping[str, Scale]) -> dict[str, Any]:
    """Every model on every axis, with lines of equal active share over the two counts of parameters."""
    chosen = [spec for spec in COLUMNS if spec.key in _PLOTTED]
    totals = scales["total"]
    axes = [{"key": "total", "title": "Total parameters", "unit": totals.unit}]
    axes += [{"key": spec.key, "title": spec.name, "unit": scales[spec.key].unit} for spec in chosen]
    metrics = [{**one, "direction": "", "log": True} for one in axes]
    found = [(entry, values) for entry in entries if (values := _plotted(entry, chosen, scales, totals))]
    return {
        "metrics": metrics, "points": [_point(entry) for entry, _ in found],
        "columns": {one["key"]: {"v": [values.get(one["key"]) for _, values in found]} for one in axes},
        "guides": {"total|active": _guides(entries, totals, scales["active"])}, "x": "total", "y": "active",
    }


def _point(entry: Entry) -> dict[str, Any]:
    hollow = entry.total is None
    return {
        "name": plain(entry.model.name, 80), "kind": entry.kind, "href": f"#model-{entry.model.name}",
        "hollow": hollow, "note": " (published)" if hollow else "",
    }


def _plotted(
    entry: Entry, chosen: Sequence[Spec], scales: Mapping[str, Scale], totals: Scale
) -> dict[str, float]:
    """What is known of a model by axis, on the scales of the axes; the published counts where it cannot be counted."""
    published = entry.model.published
    hollow = entry.total is None
    found: dict[str, tuple[float | None, Scale]] = {"total": (entry.total or published.total, totals)}
    for spec in chosen:
        value = spec.value(entry)
        found[spec.key] = (None if value is None else value * spec.factor, scales[spec.key])
    if hollow:
        found["active"] = (published.active, scales["active"])
    return {key: float(f"{value / scale.divisor:.6g}") for key, (value, scale) in found.items() if value}


def _guides(entries: Sequence[Entry], totals: Scale, actives: Scale) -> list[dict[str, Any]]:
    """Lines of equal active share, as far as there are models."""
    known = [entry.numbers.parameters for entry in entries]
    sizes = [one.total / totals.divisor for one in known if one.total]
    used = [one.active / actives.divisor for one in known if one.active]
    if not sizes or not used:
        return []
    ratio = totals.divisor / actives.divisor
    guides = []
    for share in _SHARES:
        ends = [max(min(sizes), min(used) / ratio / share), min(1.3 * max(sizes), 1.3 * max(used) / ratio / share)]
        guides.append({"name": f"{100 * share:g} %", "x": ends, "y": [end * ratio * share for end in ends]})
    return guides


def _deviations(entries: Sequence[Entry], evidence: Mapping[str, str]) -> Table:
    """Counts and publications that differ; `evidence` begins the names of each model's numbers."""
    rows = []
    for entry in entries:
        model = entry.model
        if not model.deviates:
            continue
        cells = {
            "total": _in_words(entry.total), "published_total": _in_words(model.published.total),
            "total_deviation": deviation(model.total_deviation, None),
            "active": _in_words(entry.numbers.parameters.active),
            "published_active": _in_words(model.published.active),
            "active_deviation": deviation(model.active_deviation, None),
        }
        opening = [
            replace(cell, evidence=f"{evidence[model.name]}.{key}") if cell.order else cell
            for key, cell in cells.items()
        ]
        rows.append(TableRow(model.name, (*opening, Value(model.deviation or ""))))
    columns = (
        Column("Model", classes="text frozen"),
        Column("Total", "counted", classes="numeric first-of-group"), Column("Total", "published", classes="numeric"),
        Column("Differs", "%", classes="numeric"), Column("Active", "counted", classes="numeric first-of-group"),
        Column("Active", "published", classes="numeric"), Column("Differs", "%", classes="numeric"),
        Column("Why", classes="text wide first-of-group"),
    )
    return Table(columns, tuple(rows))


def _in_words(value: float | None) -> Value:
    if value is None:
        return Value("\u2013")
    return Value(with_unit("parameters", value, 4), order=repr(float(value)))


def _accelerators(found: Sequence[AcceleratorSpec]) -> Table:
    columns = (
        Column("Accelerator", classes="text frozen"), Column("Memory", "GB", classes="numeric"),
        Column("Bandwidth", "TB/s", classes="numeric"), Column("bfloat16", "TFLOPS", classes="numeric first-of-group"),
        Column("fp8", "TFLOPS", classes="numeric"), Column("fp4", "TFLOPS", classes="numeric"),
        Column("Balance", "bfloat16 FLOPs/byte", help="Peak by bandwidth", classes="numeric first-of-group"),
        Column("Price", "USD/h", classes="numeric"), Column("Source", classes="text wide first-of-group"),
    )
    return Table(columns, tuple(_accelerator(one) for one in found))


def _accelerator(one: AcceleratorSpec) -> TableRow:
    peaks = one.dense_flops_per_s
    tera = Scale("T", 1e12)
    price, label = one.price_usd_per_hour, "list price" if one.price_read_on else "your price"
    read = f", read on {one.price_read_on}" if one.price_read_on else ""
    return TableRow(one.title, (
        number(one.memory_bytes, Scale("GB", 1e9)), number(one.bandwidth_bytes_per_s, tera),
        number(peaks.bfloat16, tera), number(peaks.fp8, tera), number(peaks.fp4, tera),
        number(peaks.bfloat16 / one.bandwidth_bytes_per_s, Scale("", 1.0)),
        Value(f"{price:.2f}", order=repr(price), marks=(Mark("plain", label, f"{one.price_source}{read}."),)) if price
        else Value("\u2013"),
        Value("; ".join(dict.fromkeys(source.document for source in one.sources))),
    ))
