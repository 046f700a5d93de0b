"""Summaries of one suite -> the rows of its leaderboard: ranks, values with their marks, what each was measured as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.pages.facets import engine_text, licence_text, precision_text
from harness.pages.leaderboard_columns import Spec
from harness.pages.parts import Mark, Value, absence, flag_marks, partial_marks, shown
from harness.pages.suite_view import (
    SuiteView,
    comparable,
    contest_of,
    estimate_of,
    gaps_of,
    hardware_text,
    kind_of,
    kind_text,
    scale_for,
    scale_of_metric,
    why_unknown,
)
from harness.quantities import Scale, capitalised, listed, plain, significant
from harness.stats import Estimate
from harness.summary import Gap, ModelSummary

NAME_LIMIT = 120


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
    words: tuple[str, ...]
    """What it was measured as, by `leaderboard_columns.TEXT_COLUMNS`."""
    filters: str
    """What it has of every facet and preset: see `facets.Filters`."""
    evidence: str
    """The first part of the names of its estimates; each column has the rest."""


@dataclass(frozen=True)
class _Sizes:
    """On which scale, and against which largest model, the bars of parameters are drawn."""

    scale: Scale
    largest: int


def scales_of(view: SuiteView, specs: Sequence[Spec]) -> list[Scale]:
    """One scale a column, for all models of the suite."""
    return [
        scale_of_metric(view.metric(spec.key), [
            one.value * spec.factor for model in view.models
            if (one := estimate_of(model, spec.key, spec.point)) is not None
        ])
        for spec in specs
    ]


def rows_of(view: SuiteView, specs: Sequence[Spec], scales: Sequence[Scale], filters: Sequence[str]) -> tuple[Row, ...]:
    """Every model, ranked ones first; `filters` has what each of the view's models has of every facet."""
    ranks = view.ranks
    columns = [cells_of(view, spec, scale, view.models) for spec, scale in zip(specs, scales, strict=True)]
    largest = max((model.parameters.total for model in view.models if model.parameters), default=1)
    sizes = _Sizes(scale_for(view, "total_parameters"), largest)
    rows = [
        replace(
            _row(view, model, sizes), rank=rank_value(ranks.get(model.model), model, view),
            cells=tuple(column[index] for column in columns), filters=filters[index],
        )
        for index, model in enumerate(view.models)
    ]
    return tuple(rows[index] for index in in_order(view, view.models, ranks))


def in_order(
    view: SuiteView, models: Sequence[ModelSummary], ranks: dict[str, tuple[int, int]]
) -> list[int]:
    """The places of the models from the best rank down; those without a rank last."""
    sign = -1.0 if view.metric(view.score).better == "higher" else 1.0

    def place(index: int) -> tuple[float, float, float, str]:
        model = models[index]
        low, high = ranks.get(model.model, (10**9, 10**9))
        estimate = comparable(model, view.score, view.point)
        return (low, high, sign * estimate.value if estimate else 0.0, model.model)

    return sorted(range(len(models)), key=place)


def _row(view: SuiteView, model: ModelSummary, sizes: _Sizes) -> Row:
    """The row of a model without its numbers."""
    parameters, subject = model.parameters, model.subject
    total = parameters.total if parameters else 0
    active = parameters.active if parameters else 0
    words = (licence_text(view, model), precision_text(model), hardware_text(model), engine_text(model))
    searched = [model.model, kind_of(model), kind_text(model), subject.accelerator, model.group or "", *words]
    return Row(
        rank=Value(),
        name=plain(model.model, NAME_LIMIT),
        href=view.page_of[model.model],
        kind=kind_of(model),
        kind_text=kind_text(model),
        search=plain(" ".join(searched), 400),
        marks=model_marks(model),
        total=significant(total / sizes.scale.divisor) if parameters else "",
        total_order=str(total) if parameters else "",
        active_width=f"{100 * active / sizes.largest:.2f}",
        rest_width=f"{100 * (total - active) / sizes.largest:.2f}",
        uncounted=uncounted_mark(model),
        cells=(),
        words=words,
        filters="",
        evidence=view.evidence_of.get((model.model, False), ""),
    )


def rank_value(rank: tuple[int, int] | None, model: ModelSummary, view: SuiteView) -> Value:
    """A rank, the range of ranks that a model may have, or why it has none."""
    if rank is None:
        return Value(marks=(Mark("plain", "none", f"Not ranked: {view.why_unranked(model)}."),))
    low, high = rank
    return Value(str(low) if low == high else f"{low}\u2013{high}", order=repr((low + high) / 2))


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


def cells_of(view: SuiteView, spec: Spec, scale: Scale, models: Sequence[ModelSummary]) -> list[Value]:
    """One column: every model's value on one scale, the best marked where it stands apart."""
    best = contest_of(models, spec.key, spec.point).best
    per_unit = replace(scale, divisor=scale.divisor / spec.factor)
    return [value_of(view, model, spec, per_unit, best=model is best) for model in models]


def value_of(view: SuiteView, model: ModelSummary, spec: Spec, scale: Scale, *, best: bool = False) -> Value:
    """A model's value in a column with its marks, or the mark that says why there is none."""
    estimate = estimate_of(model, spec.key, spec.point)
    gaps = gaps_of(model, spec.key, spec.point) if model.gaps else []
    if estimate is None:
        return Value(marks=(_absence(view, model, spec, gaps),))
    value = shown(estimate, scale, best=best, marks=_marks(view, model, spec, gaps, estimate))
    # seven digits tell any two values of a column apart that a reader may want apart, and make a page a tenth smaller
    return replace(value, order=f"{estimate.value:.7g}", evidence=view.evidence(model, spec.key, spec.point))


def _marks(
    view: SuiteView, model: ModelSummary, spec: Spec, gaps: list[Gap], estimate: Estimate
) -> list[Mark]:
    marks = list(partial_marks(gaps)) if spec.key not in ("mean_score", "decode_flops_per_token") else []
    at = model.point(spec.point) if spec.point else None
    if at and view.metric(spec.key).scenario == "serving" and spec.key != "decode_flops_per_token":
        marks += flag_marks(at.flags)
    return [*marks, *view.records.imported(estimate.sources)]


def _absence(view: SuiteView, model: ModelSummary, spec: Spec, gaps: list[Gap]) -> Mark:
    metric = view.metric(spec.key)
    if metric.scenario == "architecture" or (spec.key == "decode_flops_per_token" and model.uncounted):
        return uncounted_mark(model)
    if spec.key == "mean_score" and not gaps:
        reason = model.no_mean_score or "not every task was measured"
        return Mark("missing", "incomplete", capitalised(plain(reason, 400)))
    if metric.scenario == "routing" and model.is_moe is False:
        return Mark("plain", "none", "A dense model routes nothing.")
    at = model.point(spec.point) if spec.point else None
    if at and not gaps and metric.scenario == "serving":
        return Mark("plain", "none", capitalised(plain(why_unknown(spec.key, [at]), 400)) + ".")
    return absence(model, plain(metric.title, 80), gaps)
