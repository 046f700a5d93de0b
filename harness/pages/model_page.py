"""One model -> its page: parameters, operating points, memory, scores, failures, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from harness.metrics import METRICS, memory_split, of_scenario
from harness.pages.commands import run_command
from harness.pages.counted import PART_TITLES, part_sizes
from harness.pages.experts_section import ExpertsSection, experts_section
from harness.pages.exported import model_links
from harness.pages.failures import failures_of
from harness.pages.history_section import HistorySection, history_section
from harness.pages.leaderboard import model_marks, uncounted_mark
from harness.pages.parts import (
    Column,
    FailureRow,
    Link,
    Mark,
    Page,
    RecordIndex,
    Table,
    TableRow,
    Value,
    absence,
    in_words,
    on_own_scale,
    partial_marks,
)
from harness.pages.point_table import LoadSection, load_sections
from harness.pages.provenance import environment_terms, subject_terms
from harness.pages.roofline_section import RooflineSection, roofline_section
from harness.pages.scores_table import scores_table
from harness.pages.suite_view import (
    MEMORY_AT_LOAD,
    PART,
    SuiteView,
    at_load,
    bytes_text,
    comparable,
    estimate_of,
    hardware_text,
    kind_of,
    kind_text,
    point_text,
    scale_for,
)
from harness.quantities import Scale, capitalised, count_of, grouped, listed, plain, scale_of, significant, with_unit
from harness.scenario import MemoryScenario
from harness.summary import ModelSummary

_COLOURS = {
    "embedding": 5, "head": 6, "attention": 2, "dense_ffn": 1, "shared_experts": 3, "routed_experts_used": 0,
    "routed_experts_idle": 0, "router": 4, "norm": 7, "other": 8,
}

_MEMORY_PARTS = (
    ("engine_weights_bytes", "Weights", 0), ("weights_bytes", "Weights", 0), ("kv_cache_bytes", "KV cache", 1),
    ("activation_bytes", "Activations", 2), ("graph_bytes", "CUDA graphs", 3), ("other_bytes", "Other", 5),
)
_UNTOLD = {
    "device_peak_bytes": "No accelerator measured here.",
    "engine_weights_bytes": "The engine tells this on CUDA only.",
    "activation_bytes": "The engine tells this on CUDA only, where it sizes its cache itself.",
    "graph_bytes": "The engine tells this on CUDA only, where it captures graphs.",
    "startup_cold_s": (
        "Only before the first repeat of a local checkpoint are its files dropped from memory, where that is allowed."
    ),
    "startup_warm_s": "Only later repeats of a local checkpoint are known to find its files in memory.",
}
"""Why a quantity of measured memory can be missing."""


@dataclass(frozen=True)
class Part:
    """One part of a stacked bar."""

    title: str
    value: Value
    share: Value
    weight: int
    colour: int
    idle: bool = False


@dataclass(frozen=True)
class Arithmetic:
    """What a token takes, as a sentence: words, each with a number behind them, and what follows them all."""

    parts: tuple[tuple[str, Value], ...]
    rest: str


@dataclass(frozen=True)
class RecordRow:
    """One record file in the provenance."""

    what: str
    repeat: int
    started: str
    state: str
    link: Link


@dataclass(frozen=True, kw_only=True)
class ModelPage(Page):
    """Everything that is known of one model."""

    heading: str
    kind: str
    suite: Link
    marks: tuple[Mark, ...]
    facts: tuple[str, ...]
    lead: str
    arithmetic: Arithmetic | None
    parameters: tuple[Part, ...]
    total: Value
    active: Value
    active_share: Value
    uncounted: Mark
    loads: tuple[LoadSection, ...]
    memory: Table | None
    memory_parts: tuple[Part, ...]
    memory_note: str
    scores: Table | None
    experts: ExpertsSection | None
    roofline: RooflineSection | None
    history: HistorySection | None
    failures: tuple[FailureRow, ...]
    command: str
    provenance: tuple[tuple[str, str], ...]
    engine: str
    records: tuple[RecordRow, ...]
    exported: tuple[Link, ...]
    """Files about this model for elsewhere."""

    @property
    def has_figures(self) -> bool:
        """Whether the page draws anything."""
        routed = self.experts is not None and self.experts.measured is not None
        roofline = self.roofline is not None and self.roofline.figure is not None
        return routed or roofline or self.history is not None or any(load.figures for load in self.loads)


def model_page(view: SuiteView, model: ModelSummary, partners: Sequence[ModelSummary] = ()) -> ModelPage:
    """The page of one model; `partners` are drawn beside its serving curves."""
    parts, note = _memory_parts(view, model)
    total, active, active_share = _sums(view, model)
    return ModelPage(
        path=view.page_of[model.model],
        template="model.html",
        title=plain(model.model, 120),
        heading=plain(model.model, 200),
        kind=kind_of(model),
        suite=Link(view.path, view.title),
        marks=model_marks(model),
        facts=_facts(model),
        lead=_lead(view, model),
        arithmetic=_arithmetic(view, model),
        parameters=_parameter_parts(view, model),
        total=total,
        active=active,
        active_share=active_share,
        uncounted=uncounted_mark(model),
        loads=load_sections(view, model, partners),
        memory=_memory_table(view, model),
        memory_parts=parts,
        memory_note=note,
        scores=scores_table(view, model),
        experts=experts_section(
            model, view.records, view.asks_for_routing, name=view.evidence_of.get((model.model, False), ""),
        ),
        roofline=roofline_section(model, partial(view.evidence, model)),
        history=history_section(view, model),
        failures=failures_of(view, [model], with_logs=True),
        command=run_command(view.argument, model),
        provenance=tuple(_provenance(model)),
        engine=plain(json.dumps(dict(model.subject.engine), indent=2, sort_keys=True, ensure_ascii=False)),
        records=_record_rows(view.records, model),
        exported=model_links(view, model),
    )


def _facts(model: ModelSummary) -> tuple[str, ...]:
    kind = {"sparse": "mixture of experts", "dense": "dense", "unknown": "structure not counted"}[kind_of(model)]
    facts = [kind if kind_of(model) != "sparse" else f"{kind}, {kind_text(model)}", plain(model.subject.precision, 40)]
    if model.subject.quantization:
        facts.append(plain(model.subject.quantization, 40))
    if model.group:
        facts.append(f"recipe {plain(model.group, 80)}")
    return (*facts, hardware_text(model), f"newest record {model.started_at:%Y-%m-%d}")


def _lead(view: SuiteView, model: ModelSummary) -> str:
    """Rank, score and speed in two sentences."""
    sentences = []
    ranks, score = view.ranks, comparable(model, view.score, view.point)
    if model.model in ranks and score:
        low, high = ranks[model.model]
        place = f"rank {low}" if low == high else f"rank {low} to {high}"
        words = in_words(score, scale_for(view, view.score))
        sentences.append(f"{capitalised(place)} of {len(ranks)} by {view.score_title}: {words}.")
    elif view.tasks:
        sentences.append(f"Not ranked: {view.why_unranked(model)}.")
    speed = estimate_of(model, "output_tokens_per_s", view.point)
    if speed and view.point:
        sentences.append(f"{in_words(speed, Scale('tokens/s', 1.0))} {at_load(view.point)}.")
    return " ".join(sentences)


# Parameters ------------------------------------------------------------------------------------------------------


def _parameter_parts(view: SuiteView, model: ModelSummary) -> tuple[Part, ...]:
    count = model.parameters
    if count is None:
        return ()
    return tuple(
        Part(
            title=PART_TITLES[name],
            value=_counted(view, model, f"{PART}{name}", size),
            share=_share(view, model, f"{PART}{name}", size / count.total),
            weight=size,
            colour=_COLOURS[name],
            idle=name == "routed_experts_idle",
        )
        for name, size in part_sizes(count).items()
    )


def _counted(view: SuiteView, model: ModelSummary, key: str, size: float) -> Value:
    """A number of parameters on the scale of their total; whole where it is below a thousand."""
    scale = scale_of("parameters", [model.parameters.total if model.parameters else size])
    text = f"{significant(size / scale.divisor)} {scale.unit}".rstrip() if size >= 1000 else grouped(size, 0)
    return Value(text, evidence=view.evidence(model, key))


def _share(view: SuiteView, model: ModelSummary, key: str, share: float) -> Value:
    """A share of the total in percent, with the evidence of both."""
    names = [view.evidence(model, one) for one in (key, "total_parameters")]
    basis = "The first number as a share of the second." if all(names) else ""
    return Value(f"{100 * share:.1f}", evidence=" ".join(filter(None, names)), basis=basis)


def _sums(view: SuiteView, model: ModelSummary) -> tuple[Value, Value, Value]:
    """The total, the active parameters and their share."""
    count = model.parameters
    if count is None:
        return Value(), Value(), Value()
    return (
        _counted(view, model, "total_parameters", count.total),
        _counted(view, model, "active_parameters", count.active),
        _share(view, model, "active_parameters", count.active / count.total),
    )


def _arithmetic(view: SuiteView, model: ModelSummary) -> Arithmetic | None:
    """FLOPs and cache of a token, counted."""
    point = max(model.points, key=lambda one: one.concurrency or 0, default=None)
    found = []
    wanted = (("decode_flops_per_token", "a decoded token takes"), ("prefill_flops_per_token", "a prompt token"))
    for key, words in wanted:
        estimate = point.estimates.get(key) if point else None
        if estimate and point:
            text = with_unit("FLOPs", estimate.value)
            found.append((words, Value(text, evidence=view.evidence(model, key, point.key))))
    cache = model.counts.get("kv_bytes_per_token")
    if cache:
        text = f"{bytes_text(cache.value)} a token"
        found.append(("the cache grows by", Value(text, evidence=view.evidence(model, "kv_bytes_per_token"))))
    if not found:
        return None
    joints = ["", *(" and " if place == len(found) - 1 else ", " for place in range(1, len(found)))]
    parts = [(f"{joint}{capitalised(words) if not joint else words} ", value)
             for joint, (words, value) in zip(joints, found, strict=True)]
    where = f" ({point_text(point.key)})" if point else ""
    return Arithmetic(tuple(parts), f"{where}. Counted, not measured.")


# Memory ----------------------------------------------------------------------------------------------------------


def _memory_table(view: SuiteView, model: ModelSummary) -> Table | None:
    gaps = [gap for gap in model.gaps if isinstance(gap.scenario, MemoryScenario)]
    if not model.memory and not gaps:
        return None
    rows = []
    counted = [METRICS["kv_bytes_per_token"]]
    metrics = [metric for metric in of_scenario("memory") if metric.key != MEMORY_AT_LOAD]
    for metric in (*metrics, *counted):
        estimate = model.estimate(metric.key)
        if estimate is None and metric.key == "startup_unknown_s":
            continue  # nothing lacks: the other two are told
        missing = absence(model, metric.title, gaps)
        if model.memory and metric.key in _UNTOLD:
            missing = Mark("missing", "not known", _UNTOLD[metric.key])
        marks = partial_marks(gaps) if estimate else ()
        cell = on_own_scale(estimate, metric.unit, missing, marks, view.evidence(model, metric.key))
        repeats = Value("\u2013" if estimate is None else str(estimate.n) if estimate.sources else "counted")
        links = view.records.links(estimate.sources if estimate else [gap.source for gap in gaps])
        source = Value(links=links) if links else Value("configuration" if estimate else "none")
        rows.append(TableRow(metric.title, (cell, repeats, source)))
    columns = (Column("Quantity", classes="text frozen"), Column("Value"), Column("Repeats"),
               Column("Records", classes="text"))
    return Table(columns, tuple(rows))


def _memory_parts(view: SuiteView, model: ModelSummary) -> tuple[tuple[Part, ...], str]:
    """What the peak consists of, as far as the engine tells, and what the bar shows, in words."""
    if not model.memory:
        return (), ""
    on_device = "device_peak_bytes" in model.memory
    split = memory_split({key: estimate.value for key, estimate in model.memory.items()})
    peak = model.memory["device_peak_bytes" if on_device else "resident_peak_bytes"].value
    parts = tuple(
        Part(
            title, Value(bytes_text(split[key]), evidence=view.evidence(model, key)),
            Value(f"{100 * split[key] / sum(split.values()):.1f}"), round(split[key]), colour,
        )
        for key, title, colour in _MEMORY_PARTS if split.get(key)
    )
    where = "devices'" if on_device else "process's resident"
    note = f"The bar splits the {where} peak of {bytes_text(peak)}."
    if not split["other_bytes"]:
        note += " Its parts are more than that together: not all that the engine set aside was used."
    if not on_device:
        note += " The engine does not tell its activations from the rest on a processor."
    return parts, note


# Provenance ------------------------------------------------------------------------------------------------------


def _provenance(model: ModelSummary) -> Iterable[tuple[str, str]]:
    terms = [*subject_terms(model), *environment_terms(model)]
    if model.notes:
        terms.append(("Notes", "; ".join(model.notes)))
    for other in model.others:
        measured = f"{count_of(other.measured, 'measurement')}, newest {other.newest:%Y-%m-%d}"
        terms.append(("Measured otherwise", f"{measured}, with another {listed(other.differs)}; not shown here"))
    return [(term, plain(text, 2_000)) for term, text in terms]


def _record_rows(records: RecordIndex, model: ModelSummary) -> tuple[RecordRow, ...]:
    rows = []
    for path in model.records:
        fact = records.facts[path]
        rows.append(RecordRow(fact.what, fact.repeat, fact.started, fact.state, records.link(path, path.name)))
    return tuple(rows)
