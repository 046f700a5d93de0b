"""One pair -> its page: the answer, matchings, curves with the crossover, all effects, tasks, and who gets what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import wording as words
from harness.compare import Comparison, Effect
from harness.crossover import Crossover
from harness.matching import LIKENESS, MATCH_NOUNS, MEASURED, Match
from harness.pages.cards import Pair, matching_text
from harness.pages.curves import curves_of, pair_figures
from harness.pages.disagreements import ITEMS, TASKS, Disagreement
from harness.pages.forest import forest_figure
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
    MEMORY_AT_LOAD,
    SuiteView,
    hardware_text,
    kind_of,
    kind_text,
    load_text,
    point_text,
    workload_titles,
)
from harness.quantities import capitalised, plain, significant, with_unit
from harness.suite import MatchKind
from harness.summary import ModelSummary, PointKey, TaskScore

_ARROWS = {"higher": "\u00a0\u2191", "lower": "\u00a0\u2193", "none": ""}
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
    likeness: str
    """What the words on how two compare mean."""
    matchings: Table
    lead: str
    crossovers: tuple[str, ...]
    curves: tuple[SharedCurves, ...]
    effects: BlockTable | None
    effects_note: str
    forest: Figure | None
    forest_height: int
    """In px."""
    tasks: Table | None
    tasks_note: str
    disagreements: tuple[Disagreement, ...]
    disagreements_note: str
    missing: tuple[str, ...]
    caveats: tuple[str, ...]


def pair_page(view: SuiteView, pair: Pair, items: Sequence[Disagreement] = ()) -> PairPage:
    """The page of one pair; `items` are those on which the two disagree."""
    found = pair.comparison
    a, b = plain(found.a.model, 120), plain(found.b.model, 120)
    forest = forest_figure(found)
    return PairPage(
        path=pair.path,
        template="pair.html",
        title=f"{a} beside {b}",
        suite=Link(view.file("pairs"), view.title),
        sides=(_side(view, found.a), _side(view, found.b)),
        matching=matching_text(pair),
        likeness=LIKENESS,
        matchings=_matchings(view, pair),
        lead=plain(pair.answer.text, 1_500),
        crossovers=tuple(plain(one, 600) for one in pair.answer.crossovers),
        curves=_curves(found, pair.crossings),
        effects=_effects(view, found) if found.effects else None,
        effects_note=(
            f"The ratio is {a} / {b}, the difference {a} \u2212 {b}, each with its 95 % interval. The verdict is on "
            f"{a}; it is corrected for the number of effects of its kind (Holm), so that an interval that only just "
            "leaves equality shows no difference yet."
        ),
        forest=forest[0] if forest else None,
        forest_height=forest[1] if forest else 0,
        tasks=_tasks(view, found),
        tasks_note=(
            f"\u201cOnly {a}\u201d counts the items that {a} gets and {b} misses. Tasks whose scores are not right or "
            "wrong have no such counts."
        ),
        disagreements=tuple(items),
        disagreements_note=(
            f"What each answered, {ITEMS} items a side at most, of the tasks with most disagreement, {TASKS} at most. "
            "The question is in the task, under the item\u2019s number."
        ),
        missing=tuple(plain(reason, 400) + "." for reason in found.missing),
        caveats=tuple(plain(reason, 400) + "." for reason in dict.fromkeys(found.caveats)),
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


# Matchings -------------------------------------------------------------------------------------------------------

_MATCH_UNITS: dict[MatchKind, str] = {
    "iso-active": "parameters", "iso-total": "parameters", "iso-memory": "bytes", "iso-flops": "FLOPs",
    "iso-quality": "1", "iso-cost": "US dollars",
}
_MATCH_TITLES = {
    **MATCH_NOUNS, "iso-memory": "memory: weights and cache", "iso-cost": "cost of a million output tokens",
}


def _counts_as(pair: Pair, match: Match) -> str:
    if match.equal:
        return f"{match.likeness}{', as estimated' if match.kind in MEASURED else ''}"
    return f"{match.likeness}{', nearest measured' if match.kind in pair.pairing.kinds else ''}"


_MATCH_KEYS: dict[MatchKind, str] = {
    "iso-active": "active_parameters", "iso-total": "total_parameters", "iso-memory": MEMORY_AT_LOAD,
    "iso-flops": "decode_flops_per_token", "iso-cost": "usd_per_million_output_tokens",
}
"""The metric of each kind; that of quality is the match's own."""


def _matchings(view: SuiteView, pair: Pair) -> Table:
    """All six kinds: the numbers of both, the mismatch, and whether that counts as equal."""
    a, b = plain(pair.comparison.a.model, 80), plain(pair.comparison.b.model, 80)
    columns = (
        Column("Matching", classes="text frozen"), Column(a), Column(b), Column("Mismatch"),
        Column("Counts as", classes="text"), Column("At", classes="text"),
    )
    rows = []
    for kind, title in _MATCH_TITLES.items():
        match = pair.comparison.matching.of(kind)
        if match is None:
            reason = plain(pair.comparison.matching.unknown.get(kind, "not known"), 300)
            unknown = Value(marks=(Mark("missing", "not known", f"Not known: {reason}."),))
            rows.append(TableRow(capitalised(title), (unknown, *(Value("\u2013") for _ in range(4)))))
            continue
        named = match.noun if kind == "iso-quality" else title
        rows.append(TableRow(capitalised(named), (
            *_matched(view, pair, match),
            Value(_counts_as(pair, match)), Value(load_text(match.at) if match.at else "\u2013"),
        )))
    return Table(columns, tuple(rows))


def _matched(view: SuiteView, pair: Pair, match: Match) -> tuple[Value, Value, Value]:
    """The numbers of both and the mismatch, each with what stands behind it."""
    found, unit = pair.comparison, _MATCH_UNITS[match.kind]
    key = match.score or _MATCH_KEYS[match.kind]
    first, second = (view.evidence(model, key, match.at) for model in (found.a, found.b))
    sign = "\u2212" if match.kind == "iso-quality" else "/"
    over = " over the shared items" if match.over_shared else ""
    basis = f"{plain(found.a.model, 80)} {sign} {plain(found.b.model, 80)}{over}: {match.size}"
    names = f"{first} {second}" if first and second else ""
    return (
        Value(with_unit(unit, match.a), evidence=first), Value(with_unit(unit, match.b), evidence=second),
        Value(match.size + over, evidence=names, basis=basis if names else ""),
    )


# Effects ---------------------------------------------------------------------------------------------------------


def _effects(view: SuiteView, pair: Comparison) -> BlockTable:
    """All effects, those of one load together, those that are counted at the end."""
    a, b = plain(pair.a.model, 80), plain(pair.b.model, 80)
    columns = (
        Column("What", classes="text frozen"), Column("Metric", classes="text"), Column(a), Column(b),
        Column("Ratio or difference"), Column("95 % interval"), Column(f"{a} is", classes="text"),
        Column("p", "Holm", help="Of so large a difference between equals, corrected for all effects of its kind"),
    )
    titles = workload_titles(effect.point for effect in pair.effects if effect.point)
    blocks: dict[str, list[TableRow]] = {}
    for effect in pair.effects:
        title = "Counted" if effect.exact else "Scores" if effect.point is None else load_text(effect.point)
        if effect.point and not effect.exact:
            title = f"{titles[effect.point.workload]}, {title}" if len(titles) > 1 else title
            title += _arrived(pair, effect.point)
        elif view.metric(effect.metric).scenario == "memory" and not effect.exact:
            title = "Memory"
        blocks.setdefault(capitalised(title), []).append(_effect_row(view, pair, effect))
    counted = blocks.pop("Counted", None)
    ordered = [*blocks.items(), *([("Counted", counted)] if counted else [])]
    return BlockTable(columns, tuple(Block(title, tuple(rows)) for title, rows in ordered))


def _arrived(pair: Comparison, at: PointKey) -> str:
    """At how many requests a second an open loop or a replay came, which is not the rate that was asked for."""
    found = [one for model in (pair.a, pair.b) if (one := model.estimate("arrivals_per_s", at))]
    rates = dict.fromkeys(significant(one.value) for one in found)
    return f" ({' and '.join(rates)} arrived/s)" if rates else ""


def _effect_row(view: SuiteView, pair: Comparison, effect: Effect) -> TableRow:
    counted = "counted" if effect.exact else words.interval(effect)
    verdict = words.verdict_words(effect)
    return TableRow(plain(effect.title, 80) + words.over_shared(effect) + _ARROWS[effect.better], (
        *_both(view, pair, effect), _ratio(view, pair, effect), Value(counted),
        Value(verdict, best=verdict in ("better", "worse")), Value(_chance(effect)),
    ))


def _chance(effect: Effect) -> str:
    """The p-value after the correction."""
    return "\u2013" if effect.adjusted_p is None else words.p_text(effect.adjusted_p)


def _keys(view: SuiteView, pair: Comparison, effect: Effect) -> tuple[str, str]:
    """The names of both estimates of an effect, for their drawers."""
    first, second = (view.evidence(model, effect.metric, effect.point) for model in (pair.a, pair.b))
    return first, second


def _both(view: SuiteView, pair: Comparison, effect: Effect) -> tuple[Value, Value]:
    keys, unit = _keys(view, pair, effect), view.metric(effect.metric).unit
    first, second = (
        on_own_scale(one, unit, _NONE, evidence=key) for one, key in zip((effect.a, effect.b), keys, strict=True)
    )
    return first, second


def _ratio(view: SuiteView, pair: Comparison, effect: Effect) -> Value:
    """The effect, with the evidence of both sides."""
    keys = " ".join(key for key in _keys(view, pair, effect) if key)
    sign = "/" if effect.kind == "ratio" else "\u2212"
    a, b = plain(pair.a.model, 80), plain(pair.b.model, 80)
    told = [f"{a} {sign} {b} = {words.effect_text(effect)}", plain(effect.contrast.basis, 200)]
    told += [] if effect.exact else [f"95 % interval {words.interval(effect)}"]
    told += [] if effect.adjusted_p is None else [f"p {_chance(effect)} after the correction for its kind (Holm)"]
    basis = f"{'; '.join(told)}." if keys else ""
    return Value(words.effect_text(effect), evidence=keys, basis=basis)


# Tasks -----------------------------------------------------------------------------------------------------------


def _tasks(view: SuiteView, pair: Comparison) -> Table | None:
    """Every shared task: the difference, and on how many items the two disagree."""
    effects = [effect for effect in pair.effects if effect.metric.startswith("score:")]
    if not effects:
        return None
    a, b = plain(pair.a.model, 80), plain(pair.b.model, 80)
    columns = (
        Column("Task", classes="text frozen"), Column(a), Column(b), Column("Difference"), Column("95 % interval"),
        Column("Items", help="That both were asked"), Column("Both right"), Column(f"Only {a}"), Column(f"Only {b}"),
        Column("Neither"), Column("How", classes="text wide"),
    )
    return Table(columns, tuple(_task_row(view, pair, effect) for effect in effects))


def _task_row(view: SuiteView, pair: Comparison, effect: Effect) -> TableRow:
    task, names = effect.metric.removeprefix("score:"), " ".join(filter(None, _keys(view, pair, effect)))
    counts = _agreement(pair.a.scores[task], pair.b.scores[task])
    return TableRow(plain(task, 120) + (_ARROWS["lower"] if effect.better == "lower" else ""), (
        *_both(view, pair, effect), _ratio(view, pair, effect), Value(words.interval(effect)),
        *(Value(count, evidence="" if count == "\u2013" else names, basis=_ITEM_BASIS) for count in counts),
        Value(plain(effect.contrast.basis, 120)),
    ))


_ITEM_BASIS = "Counted over the items that both were asked, by each item's score in both records."


def _agreement(a: TaskScore, b: TaskScore) -> tuple[str, ...]:
    """Shared items, and of those: both right, only a, only b, neither; dashes where scores are not right or wrong."""
    shared = a.items.keys() & b.items.keys()
    pairs = [(a.items[key], b.items[key]) for key in shared]
    number = str(len(pairs)) if pairs else "\u2013"
    if not pairs or any(score not in (0.0, 1.0) for both in pairs for score in both):
        return (number, *("\u2013",) * 4)
    right, wrong = (1.0, 0.0) if a.higher_is_better else (0.0, 1.0)
    kinds = ((right, right), (right, wrong), (wrong, right), (wrong, wrong))
    return (number, *(str(pairs.count(kind)) for kind in kinds))
