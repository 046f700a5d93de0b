"""One comparison -> its page: the verdict, curves on shared axes with the crossover, all effects, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import wording as words
from harness.compare import Comparison, Effect
from harness.crossover import Crossover
from harness.metrics import METRICS
from harness.pages.cards import effect_value, matching_text, verdict_words
from harness.pages.curves import curves_of, pair_figures
from harness.pages.parts import (
    Block,
    BlockTable,
    Column,
    Figure,
    Link,
    Mark,
    Page,
    Table,
    TableRow,
    Value,
    on_own_scale,
)
from harness.pages.suite_view import (
    SuiteView,
    hardware_text,
    kind_of,
    kind_text,
    load_text,
    point_text,
    workload_titles,
)
from harness.quantities import capitalised, plain
from harness.summary import ModelSummary, TaskScore

_ARROWS = {"higher": " \u2191", "lower": " \u2193", "none": ""}
_NONE = Mark("missing", "none", "Not known.")


@dataclass(frozen=True)
class Side:
    """One of the two models."""

    link: Link
    kind: str
    facts: str


@dataclass(frozen=True)
class SharedCurves:
    """The charts of one workload that both were measured under."""

    title: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class PairPage(Page):
    """Two models beside each other."""

    suite: Link
    sides: tuple[Side, Side]
    matching: str
    lead: str
    crossovers: tuple[str, ...]
    curves: tuple[SharedCurves, ...]
    effects: BlockTable | None
    effects_note: str
    tasks: Table | None
    tasks_note: str
    missing: tuple[str, ...]
    caveats: tuple[str, ...]


def pair_page(view: SuiteView, pair: Comparison, crossings: Sequence[Crossover], path: str) -> PairPage:
    """The page of one comparison at `path`; `crossings` are those of its workloads."""
    a, b = plain(pair.a.model, 120), plain(pair.b.model, 120)
    return PairPage(
        path=path,
        template="pair.html",
        title=f"{a} beside {b}",
        suite=Link(view.file("pairs"), view.title),
        sides=(_side(view, pair.a), _side(view, pair.b)),
        matching=matching_text(pair),
        lead=plain(words.sentence(pair), 1_200),
        crossovers=tuple(plain(one, 600) for one in words.crossover_sentences(crossings)),
        curves=_curves(pair, crossings),
        effects=_effects(pair) if pair.effects else None,
        effects_note=(
            f"The ratio is {a} / {b}, the difference {a} \u2212 {b}, each with its 95 % interval. The verdict is on "
            f"{a}; it is corrected for the number of effects (Holm), so that an interval that only just leaves "
            "equality shows no difference yet."
        ),
        tasks=_tasks(pair),
        tasks_note=(
            f"\u201cOnly {a}\u201d counts the items that {a} gets and {b} misses. Tasks whose scores are not right or "
            "wrong have no such counts."
        ),
        missing=tuple(plain(reason, 400) + "." for reason in pair.missing),
        caveats=tuple(plain(reason, 400) + "." for reason in dict.fromkeys(pair.caveats)),
    )


def _side(view: SuiteView, model: ModelSummary) -> Side:
    kind = kind_text(model) if model.is_moe else {False: "dense", None: "structure not counted"}[model.is_moe]
    facts = (kind, plain(model.subject.precision, 40), hardware_text(model))
    return Side(view.link(model), kind_of(model), ", ".join(facts))


def _curves(pair: Comparison, crossings: Sequence[Crossover]) -> tuple[SharedCurves, ...]:
    shared = curves_of([point.key for point in pair.a.points if pair.b.point(point.key)])
    crossing = {one.workload: one for one in crossings}
    sections = []
    for number, keys in enumerate(shared):
        title = f"{plain(keys[0].name, 60)}, {point_text(keys[0])}"
        title += ", requests arriving at a rate" if keys[0].kind == "open" else ""
        figures = pair_figures(pair, keys, crossing.get(keys[0].workload), f"figure-{number}")
        sections.append(SharedCurves(title, tuple(figures)))
    return tuple(sections)


# Effects ---------------------------------------------------------------------------------------------------------


def _effects(pair: Comparison) -> BlockTable:
    """All effects, those of one load together, those that are counted at the end."""
    a, b = plain(pair.a.model, 80), plain(pair.b.model, 80)
    columns = (
        Column("What", classes="text frozen"), Column("Metric", classes="text"), Column(a), Column(b),
        Column("Ratio or difference"), Column("95 % interval"), Column(f"{a} is", classes="text"),
        Column("p", "Holm", help="The chance of so large a difference between equals, corrected for all effects"),
    )
    titles = workload_titles(effect.point for effect in pair.effects if effect.point)
    blocks: dict[str, list[TableRow]] = {}
    for effect in pair.effects:
        title = "Counted" if effect.exact else "Scores" if effect.point is None else load_text(effect.point)
        if effect.point and not effect.exact:
            title = f"{titles[effect.point.workload]}, {title}" if len(titles) > 1 else title
        elif METRICS.get(effect.metric) and METRICS[effect.metric].scenario == "memory" and not effect.exact:
            title = "Memory"
        blocks.setdefault(capitalised(title), []).append(_effect_row(effect))
    counted = blocks.pop("Counted", None)
    ordered = [*blocks.items(), *([("Counted", counted)] if counted else [])]
    return BlockTable(columns, tuple(Block(title, tuple(rows)) for title, rows in ordered))


def _effect_row(effect: Effect) -> TableRow:
    unit = METRICS[effect.metric.split(":", 1)[0]].unit
    value = effect_value(effect)
    counted = "counted" if effect.exact else words.interval(effect)
    chance = "\u2013" if effect.adjusted_p is None else "< 0.001" if effect.adjusted_p < 0.001 else (
        f"{effect.adjusted_p:.3f}"
    )
    return TableRow(plain(effect.title, 80) + _ARROWS[effect.better], (
        on_own_scale(effect.a, unit, _NONE), on_own_scale(effect.b, unit, _NONE), Value(value), Value(counted),
        Value(verdict_words(effect), best=effect.verdict in ("better", "worse")), Value(chance),
    ))


# Tasks -----------------------------------------------------------------------------------------------------------


def _tasks(pair: Comparison) -> Table | None:
    """Every shared task: the difference, and on how many items the two disagree."""
    effects = [effect for effect in pair.effects if effect.metric.startswith("score:")]
    if not effects:
        return None
    a, b = plain(pair.a.model, 80), plain(pair.b.model, 80)
    columns = (
        Column("Task", classes="text frozen"), Column(a), Column(b), Column("Difference"), Column("95 % interval"),
        Column("Items", help="That both were asked"), Column("Both right"), Column(f"Only {a}"), Column(f"Only {b}"),
        Column("Neither"), Column("How", classes="text"),
    )
    return Table(columns, tuple(_task_row(pair, effect) for effect in effects))


def _task_row(pair: Comparison, effect: Effect) -> TableRow:
    task = effect.metric.removeprefix("score:")
    counts = _agreement(pair.a.scores[task], pair.b.scores[task])
    return TableRow(plain(task, 120), (
        on_own_scale(effect.a, "1", _NONE), on_own_scale(effect.b, "1", _NONE), Value(effect_value(effect)),
        Value(words.interval(effect)), *(Value(count) for count in counts), Value(plain(effect.contrast.basis, 120)),
    ))


def _agreement(a: TaskScore, b: TaskScore) -> tuple[str, ...]:
    """Shared items, and of those: both right, only a, only b, neither; dashes where scores are not right or wrong."""
    shared = a.items.keys() & b.items.keys()
    pairs = [(a.items[key], b.items[key]) for key in shared]
    number = str(len(pairs)) if pairs else "\u2013"
    if not pairs or any(score not in (0.0, 1.0) for both in pairs for score in both):
        return (number, *("\u2013",) * 4)
    return (number, *(str(pairs.count(kind)) for kind in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))))
