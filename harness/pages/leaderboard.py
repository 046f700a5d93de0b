"""Summaries of one suite -> its leaderboard: columns, rows with ranks, groups over seeds, failures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.pages.parts import (
    Column,
    FailureRow,
    Link,
    Mark,
    Value,
    absence,
    best_of,
    flag_marks,
    gap_mark,
    partial_marks,
    shown,
)
from harness.pages.suite_view import (
    VARIATION,
    SuiteView,
    at_load,
    comparable,
    estimate_of,
    flags_at,
    gaps_of,
    kind_of,
    kind_text,
    metric_of,
    point_text,
    ranking,
    scale_for,
    why_unknown,
)
from harness.quantities import Scale, capitalised, listed, plain, significant
from harness.summary import Gap, ModelSummary

NAME_LIMIT = 120
_OPTIONAL = (
    ("steady_output_tokens_per_s", "Steady output"), ("goodput_requests_per_s", "Goodput"),
    ("joules_per_output_token", "Energy"), ("usd_per_million_output_tokens", "Cost"), (VARIATION.key, "Variation"),
)
"""Columns of speed that are hidden until a reader asks for them."""


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under one heading."""

    title: str
    span: int
    classes: str = ""


@dataclass(frozen=True)
class Row:
    """One model of the leaderboard."""

    rank: Value
    name: str
    href: str
    kind: str
    kind_text: str
    search: str
    marks: tuple[Mark, ...]
    total: str
    total_order: str
    active_width: str
    rest_width: str
    uncounted: Mark
    cells: tuple[Value, ...]


@dataclass(frozen=True)
class GroupRow:
    """One recipe: the trainings that differ in their seed only."""

    name: str
    kind: str
    kind_text: str
    members: tuple[Link, ...]
    cells: tuple[Value, ...]


@dataclass(frozen=True)
class _Spec:
    """A column before it is laid out: which estimate, how many times, under which heading."""

    key: str
    title: str
    heading: str
    factor: float = 1.0
    later: bool = False
    """Whether it is hidden until a reader asks for it."""


def column_specs(view: SuiteView) -> list[_Spec]:
    """The metrics of the table in order, after the total parameters."""
    on_device = any("device_peak_bytes" in model.memory for model in view.models)
    speed = f"Speed {at_load(view.point)}, {point_text(view.point)}" if view.point else "Speed"
    specs = [
        _Spec("active_parameters", "Active", "Parameters"),
        *([_Spec("mean_score", "Mean", "Score")] if len(view.tasks) > 1 else []),
        _Spec("output_tokens_per_s", "Output", speed),
        _Spec("ttft_p50_s", "TTFT p50", speed),
        _Spec("tpot_p50_s", "TPOT p50", speed),
        *(_Spec(key, title, speed, later=True) for key, title in _OPTIONAL),
        _Spec("decode_flops_per_token", "FLOPs/token", "Compute and memory"),
        _Spec("weights_bytes", "Weights", "Compute and memory"),
        _Spec("kv_bytes_per_token", "KV per 1k", "Compute and memory", 1000.0),
        _Spec("device_peak_bytes" if on_device else "resident_peak_bytes", "Memory peak", "Compute and memory"),
    ]
    specs += [_Spec(f"score:{task}", plain(task, 60), "Tasks") for task in view.tasks]
    return [spec for spec in specs if any(_is_known(view, model, spec) for model in view.models)]


def _is_known(view: SuiteView, model: ModelSummary, spec: _Spec) -> bool:
    """Whether there is anything to say of a metric: a value, or, where it is always shown, a cell that failed."""
    known = estimate_of(model, spec.key, view.point) is not None
    return known or (not spec.later and bool(gaps_of(model, spec.key, view.point)))


def columns_of(view: SuiteView, specs: Sequence[_Spec]) -> tuple[Column, ...]:
    """Heads of all columns: rank, model, kind, total parameters, and the metrics."""
    fixed = [
        Column("Rank", classes="rank frozen numeric", help=f"By {view.score_title}; models that overlap share ranks"),
        Column("Model", classes="text frozen"),
        Column("Kind", classes="text", help="Routed experts, and how many of them a token uses"),
        Column("Total", scale_for(view, "total_parameters").unit, classes="numeric first-of-group",
               help="Every parameter; the bar's solid part is active", first=True),
    ]
    return (*fixed, *(_column(view, spec, index, specs) for index, spec in enumerate(specs)))


def _column(view: SuiteView, spec: _Spec, index: int, specs: Sequence[_Spec]) -> Column:
    metric = metric_of(spec.key)
    first = spec.heading != (specs[index - 1].heading if index else "Parameters")
    direction = "" if metric.better == "none" else metric.better
    classes = f"numeric {direction}{' first-of-group' if first else ''}{' later' if spec.later else ''}"
    unit = scale_for(view, spec.key, spec.factor).unit
    return Column(spec.title, unit, direction, capitalised(metric.formula), classes.strip(), first)


def column_groups(specs: Sequence[_Spec]) -> tuple[ColumnGroup, ...]:
    """The headings over the columns."""
    spans: dict[str, int] = {"Parameters": 1}
    for spec in specs:
        spans[spec.heading] = spans.get(spec.heading, 0) + 1
    rest = tuple(ColumnGroup(title, span) for title, span in spans.items())
    return (ColumnGroup("", 1, "rank frozen"), ColumnGroup("", 1, "frozen"), ColumnGroup("", 1), *rest)


# Rows ------------------------------------------------------------------------------------------------------------


def rows_of(view: SuiteView, specs: Sequence[_Spec]) -> tuple[Row, ...]:
    """Every model, ranked ones first."""
    ranks = view.ranks
    columns = [_cells(view, spec, view.models) for spec in specs]
    largest = max((model.parameters.total for model in view.models if model.parameters), default=1)
    rows = [
        _row(view, model, ranks.get(model.model), tuple(column[index] for column in columns), largest)
        for index, model in enumerate(view.models)
    ]
    order = sorted(range(len(rows)), key=lambda index: _place(view, view.models[index], ranks))
    return tuple(rows[index] for index in order)


def _place(view: SuiteView, model: ModelSummary, ranks: dict[str, tuple[int, int]]) -> tuple[float, float, float, str]:
    low, high = ranks.get(model.model, (10**9, 10**9))
    estimate = comparable(model, view.score, view.point)
    return (low, high, -estimate.value if estimate else 0.0, model.model)


def _row(
    view: SuiteView, model: ModelSummary, rank: tuple[int, int] | None, cells: tuple[Value, ...], largest: int
) -> Row:
    parameters, scale = model.parameters, scale_for(view, "total_parameters")
    total = parameters.total if parameters else 0
    active = parameters.active if parameters else 0
    subject = model.subject
    words = [model.model, kind_of(model), kind_text(model), subject.precision, subject.accelerator, model.group or ""]
    return Row(
        rank=rank_value(rank, model, view),
        name=plain(model.model, NAME_LIMIT),
        href=view.page_of[model.model],
        kind=kind_of(model),
        kind_text=kind_text(model),
        search=plain(" ".join(words), 400),
        marks=model_marks(model),
        total=significant(total / scale.divisor) if parameters else "",
        total_order=str(total) if parameters else "",
        active_width=f"{100 * active / largest:.2f}",
        rest_width=f"{100 * (total - active) / largest:.2f}",
        uncounted=uncounted_mark(model),
        cells=cells,
    )


def rank_value(rank: tuple[int, int] | None, model: ModelSummary, view: SuiteView) -> Value:
    """A rank, the range of ranks that a model may have, or why it has none."""
    if rank is None:
        return Value(marks=(Mark("plain", "none", _why_unranked(model, view)),))
    low, high = rank
    return Value(str(low) if low == high else f"{low}\u2013{high}", order=repr((low + high) / 2))


def _why_unranked(model: ModelSummary, view: SuiteView) -> str:
    if model.subject.weights == "dummy":
        return "Not ranked: its weights are random."
    flags = flags_at(model, view.point)
    if flags and view.point:
        return f"Not ranked: its timing {at_load(view.point)} is flagged: {plain('; '.join(flags), 500)}."
    reason = model.no_mean_score if view.score == "mean_score" else "the task was not measured"
    return f"Not ranked: no {view.score_title}, {plain(reason or 'nothing was scored', 300)}."


def model_marks(model: ModelSummary) -> tuple[Mark, ...]:
    """What to know of a model before its numbers."""
    marks = []
    if model.subject.weights == "dummy":
        marks.append(Mark("note", "dummy weights", "Random weights: its speed may differ from a trained model's."))
    notes = [*model.notes, *(f"also measured with another {listed(one.differs)}" for one in model.others)]
    if notes:
        marks.append(Mark("plain", "note", capitalised(plain("; ".join(dict.fromkeys(notes)), 600)) + "."))
    return tuple(marks)


def uncounted_mark(model: ModelSummary) -> Mark:
    """Why the parameters are not known."""
    return Mark("missing", "not counted", capitalised(plain(model.uncounted or "no configuration", 400)))


def _cells(view: SuiteView, spec: _Spec, models: Sequence[ModelSummary]) -> list[Value]:
    """One column: every model's value on one scale, the best marked where it stands apart."""
    metric, scale = metric_of(spec.key), scale_for(view, spec.key, spec.factor)
    candidates = [comparable(model, spec.key, view.point) for model in models]
    mixed = metric.scenario in ("serving", "memory") and len({model.subject.accelerator for model in models}) > 1
    best = None if mixed else best_of(candidates, metric.better)
    per_unit = replace(scale, divisor=scale.divisor / spec.factor)
    return [value_of(view, model, spec.key, per_unit, best=index == best) for index, model in enumerate(models)]


def value_of(view: SuiteView, model: ModelSummary, key: str, scale: Scale, *, best: bool = False) -> Value:
    """A model's value of a metric with its marks, or the mark that says why there is none."""
    estimate = estimate_of(model, key, view.point)
    gaps = gaps_of(model, key, view.point)
    if estimate is None:
        return Value(marks=(_absence(view, model, key, gaps),))
    marks = list(partial_marks(gaps)) if key not in ("mean_score", "decode_flops_per_token") else []
    at = model.point(view.point) if view.point else None
    if at and metric_of(key).scenario == "serving" and key != "decode_flops_per_token":
        marks += flag_marks(at.flags)
    marks += view.records.imported(estimate.sources)
    return shown(estimate, scale, best=best, marks=marks)


def _absence(view: SuiteView, model: ModelSummary, key: str, gaps: list[Gap]) -> Mark:
    if metric_of(key).scenario == "architecture" or (key == "decode_flops_per_token" and model.uncounted):
        return uncounted_mark(model)
    if key == "mean_score" and not gaps:
        reason = model.no_mean_score or "not every task was measured"
        return Mark("missing", "incomplete", capitalised(plain(reason, 400)))
    at = model.point(view.point) if view.point else None
    if at and not gaps and metric_of(key).scenario == "serving":
        return Mark("plain", "none", capitalised(plain(why_unknown(key, [at]), 400)) + ".")
    return absence(model, plain(metric_of(key).title, 80), gaps)


# Groups ----------------------------------------------------------------------------------------------------------


def group_specs(view: SuiteView) -> list[_Spec]:
    """The metrics of the table of recipes."""
    kept = ("active_parameters", "decode_flops_per_token", "output_tokens_per_s")
    return [spec for spec in column_specs(view) if spec.key in kept or "score" in spec.key]


def group_columns(view: SuiteView, specs: Sequence[_Spec]) -> tuple[Column, ...]:
    """Heads of the table of recipes."""
    fixed = (
        Column("Recipe", classes="text frozen"), Column("Kind", classes="text"), Column("Trainings", classes="text"),
        Column("Rank", classes="numeric", help=f"By {view.score_title}; recipes that overlap share ranks"),
    )
    return (*fixed, *(replace(_column(view, spec, 0, specs), classes="numeric") for spec in specs))


def group_rows(view: SuiteView, specs: Sequence[_Spec]) -> tuple[GroupRow, ...]:
    """Every recipe with its values over the trainings, ranked ones first."""
    ranks = ranking(view.groups, view)
    columns = [_cells(view, spec, view.groups) for spec in specs]
    rows = [
        GroupRow(
            name=plain(group.model, NAME_LIMIT),
            kind=kind_of(group),
            kind_text=kind_text(group),
            members=tuple(view.link(member) for member in group.members),
            cells=(rank_value(ranks.get(group.model), group, view), *(column[index] for column in columns)),
        )
        for index, group in enumerate(view.groups)
    ]
    order = sorted(range(len(rows)), key=lambda index: _place(view, view.groups[index], ranks))
    return tuple(rows[index] for index in order)


# What was not measured -------------------------------------------------------------------------------------------


def failures_of(
    view: SuiteView, models: Iterable[ModelSummary], *, with_logs: bool = False
) -> tuple[FailureRow, ...]:
    """One row for every cell with a failure that stands, its repeats together."""
    rows = []
    for model in models:
        by_cell: dict[tuple[str, str, str], list[Gap]] = {}
        for gap in model.gaps:
            if not gap.measured_before and gap.status != "skipped":
                by_cell.setdefault((gap.what, gap.status, gap.reason), []).append(gap)
        for (what, state, _), gaps in by_cell.items():
            newest = max(gaps, key=lambda gap: gap.started_at)
            rows.append(FailureRow(
                model=plain(model.model, NAME_LIMIT),
                href=view.page_of[model.model],
                what=plain(what, 200),
                state=state,
                label=state if len(gaps) == 1 else f"{state}, {len(gaps)} repeats",
                reason=gap_mark(newest).reason,
                log=plain(newest.log_tail[-20_000:]) if with_logs else "",
                records=view.records.links(gap.source for gap in gaps),
            ))
    return tuple(rows)
