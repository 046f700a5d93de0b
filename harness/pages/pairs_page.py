"""All pairs of a sparse and a dense model: a table of verdicts that can be searched, a card each, what to measure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from harness import wording as words
from harness.baselines import Suggestion
from harness.compare import Comparison, Effect
from harness.crossover import Crossover
from harness.matching import LIKENESS, MATCH_NOUNS, Named, score_words
from harness.pages.cards import (
    Card,
    Pair,
    Shown,
    card_of,
    matching_text,
    rest_of_names,
    scale_of_bars,
    shown_of,
    sides_of,
)
from harness.pages.facets import Choice, Facet
from harness.pages.pairs_lead import NOT_COMPARED, pairs_lead
from harness.pages.parts import Column, Page, Table, TableRow, Value
from harness.pages.suite_view import SuiteView, kind_of
from harness.quantities import capitalised, listed, plain
from harness.speed_words import changes_lead
from harness.summary import ModelSummary

_LEGEND = (
    "Verdicts are on the {}, corrected for the number of effects of their kind (Holm): an interval that only "
    f"just leaves equality shows no difference yet. Bars are 95 % intervals, on one scale for all pairs{{}}; the "
    f"middle line means equal. {LIKENESS}"
)
_SPARSE_FIRST = ("sparse model", "dense one")
_ANY_FIRST = ("first model", "second one")
"""How both models of all pairs are called, where a pair that a suite names is not of a sparse and a dense one."""
_HELD = "\u00a0"
"""A blank at which no line ends."""
_LOADS = ("low", "middle", "high")
_MOST_LOADS = 8
_TITLES = {
    "quality": "Score", "low": "Low load", "middle": "Middle", "high": "High load", "others": "Certain elsewhere",
    "memory": "Memory", "cost": "Cost",
}
_GROUPS = {
    "quality": "Quality", **dict.fromkeys((*_LOADS, "others"), "Output tokens/s"),
    **dict.fromkeys(("memory", "cost"), "Needs"),
}


@dataclass(frozen=True)
class VerdictCell:
    """One effect of a pair in a few characters; `text` is empty where it was not compared."""

    text: str
    order: str
    verdict: str
    glyph: str
    css: str
    below: str = ""
    """What stands under it: the load and the interval."""
    also: tuple[VerdictCell, ...] = ()
    """Further verdicts of the same cell."""
    numbers: tuple[tuple[str, str], ...] = ()
    """`text` in parts: one effect, or the ends of several, each with the end of the names of its evidence."""


@dataclass(frozen=True)
class PairRow:
    """One pair in the table of verdicts."""

    href: str
    sparse: str
    dense: str
    kinds: tuple[str, str]
    """The shapes of both."""
    matching: str
    cells: tuple[VerdictCell, ...]
    crossover: str
    crossover_order: str
    filters: str
    """Its `facet:choice` words with blanks between."""
    sides: str
    """How the names of the evidence of both begin."""

    @property
    def search(self) -> str:
        """What a reader can look for."""
        return f"{self.sparse} {self.dense}"


@dataclass(frozen=True, kw_only=True)
class PairsPage(Page):
    """The table and the cards of one suite."""

    heading: str
    lead: str
    note: str
    roles: tuple[str, str]
    """What the first and the second model of every pair are."""
    glyphs: tuple[VerdictCell, ...]
    """The legend of the marks."""
    facets: tuple[Facet, ...]
    column_groups: tuple[tuple[str, int], ...]
    """The headings over the columns, each with the number of columns under it."""
    columns: tuple[Column, ...]
    rows: tuple[PairRow, ...]
    cards: tuple[Card, ...]
    suggestions: Table | None
    unmatched: str
    absent: str
    """Which pairs the suite names that are not there, and why."""


def pairs_page(
    view: SuiteView, pairs: Sequence[Pair], alone: Sequence[ModelSummary], suggested: Sequence[Suggestion],
    absent: Sequence[tuple[Named, str]] = (),
) -> PairsPage:
    """The page; `alone` are the sparse models that are held against nothing, `suggested` what could be measured.

    `absent` are the pairs that the suite names and that are not there, each with why.
    """
    shown = [shown_of(pair.comparison) for pair in pairs]
    roles = _SPARSE_FIRST if all(pair.is_sparse_against_dense for pair in pairs) else _ANY_FIRST
    reach, scale = scale_of_bars(pairs)
    known = [key for key in Shown._fields if any(getattr(one, key) is not None for one in shown)]
    facets, tokens = _facets(pairs, shown, roles)
    alike = _common_loads(shown)
    others = [_others(view, pair.comparison, one) for pair, one in zip(pairs, shown, strict=True)]
    if any(one.text for one in others):
        known.insert(max(index for index, key in enumerate(known) if key in _LOADS) + 1, "others")
    rows = [
        _row(view, pair, [
            other if key == "others" else _cell(view, pair.comparison, getattr(one, key), alike.get(key, ""))
            for key in known
        ], filters)
        for pair, one, other, filters in zip(pairs, shown, others, tokens, strict=True)
    ]
    return PairsPage(
        path=view.file("pairs"),
        template="pairs.html",
        title=f"Sparse vs dense: {view.title}",
        menu="Sparse vs dense",
        heading="Sparse vs dense",
        lead=pairs_lead(pairs, [one.quality for one in shown]),
        note=_LEGEND.format(roles[0], f" ({scale})" if scale else ""),
        roles=roles,
        glyphs=tuple(
            VerdictCell("", "", verdict, glyph, _css(verdict)) for verdict, glyph in words.MARKS.items()
        ),
        facets=facets,
        column_groups=_column_groups("Sparse against dense" if roles == _SPARSE_FIRST else "First and second", known),
        columns=_columns(known, alike),
        rows=tuple(rows),
        cards=tuple(card_of(view, pair, reach) for pair in pairs),
        suggestions=_suggestions(suggested),
        unmatched=_unmatched(alone),
        absent=_absent(absent),
    )


def _unmatched(alone: Sequence[ModelSummary]) -> str:
    if not alone:
        return ""
    names = listed(plain(one.model, 60) for one in alone)
    return f"No measured dense model is near enough (within a factor of 2) to {names}."


_TOLD = 5
"""How many pairs that are not there are told with their reason; of more the number is."""


def _absent(absent: Sequence[tuple[Named, str]]) -> str:
    """The pairs that the suite asks for and that are not compared, and why."""
    first = absent[:_TOLD]
    told = [f"{plain(one.sparse, 60)} with {plain(one.dense, 60)}, as {plain(reason, 200)}" for one, reason in first]
    if len(absent) > _TOLD:
        told.append(f"{len(absent) - _TOLD} more")
    return f"The suite names them, but these pairs are not there: {'; '.join(told)}." if told else ""


# The table -------------------------------------------------------------------------------------------------------


def _common_loads(shown: Sequence[Shown]) -> dict[str, str]:
    """By column the load that all its effects have; columns whose effects differ in it are left out."""
    found = {}
    for key in Shown._fields:
        at = {_load(one) for row in shown if (one := getattr(row, key)) is not None}
        if len(at) == 1:
            found[key] = at.pop()
    return found


def _load(effect: Effect) -> str:
    if effect.point is None:
        return ""
    at = {"closed": f"at {effect.point.level:g}", "open": f"at {effect.point.level:g}/s"}
    return at.get(effect.point.kind, effect.point.words)


def _column_groups(pair: str, known: Sequence[str]) -> tuple[tuple[str, int], ...]:
    groups = [(pair, 2), *((title, len(list(some))) for title, some in groupby(known, _GROUPS.get))]
    return (*((title or "", span) for title, span in groups), ("Lead changes at", 1))


def _columns(known: Sequence[str], alike: dict[str, str]) -> tuple[Column, ...]:
    columns = [
        Column("Pair", classes="text frozen", key="pair"), Column("Matching", classes="text roomy", key="matching"),
    ]
    for key in known:
        name = f"Tokens/s, {_TITLES[key].lower()}" if key in (*_LOADS, "others") else _TITLES[key]
        better = "lower" if key in ("memory", "cost") else "higher"
        unit, classes = alike.get(key, ""), f"numeric {better}"
        help_ = "Other loads at which the output rates certainly differ" if key == "others" else ""
        columns.append(Column(_TITLES[key], unit, better, classes=classes, name=name, key=key, help=help_))
    help_ = "The concurrent requests from which on the one that was behind is ahead"
    return (*columns, Column("Crossover", "concurrent", help=help_, classes="numeric", key="crossover"))


def _row(view: SuiteView, pair: Pair, cells: Sequence[VerdictCell], filters: str) -> PairRow:
    a, b = pair.comparison.a, pair.comparison.b
    text, order = _crossover(pair)
    return PairRow(
        pair.path, plain(a.model, 80), plain(b.model, 80), (kind_of(a), kind_of(b)), _short_matching(pair),
        tuple(cells), text, order, filters, sides_of(view, pair.comparison),
    )


def _short_matching(pair: Pair) -> str:
    """The kinds that the pair is about with their mismatch, equal ones first."""
    known = {match.kind: match for match in pair.comparison.matching.matches}
    kinds = [kind for kind in pair.kinds if kind in known]
    if not kinds:
        return matching_text(pair)
    kinds.sort(key=lambda kind: not known[kind].equal)
    return ", ".join(
        f"{words.MARKS[known[one].likeness]} {known[one].noun} {known[one].size}".replace(" ", _HELD) for one in kinds
    )


def _cell(view: SuiteView, pair: Comparison, effect: Effect | None, common_load: str) -> VerdictCell:
    if effect is None:
        return VerdictCell("", "", NOT_COMPARED, "", "none")
    verdict = words.verdict_words(effect)
    parts = ["counted" if effect.exact else words.interval(effect)]
    load = _load(effect)
    parts = [load, *parts] if load and load != common_load else parts
    order = f"{effect.contrast.value:.6g}"
    text = words.effect_text(effect)
    numbers = ((text, rest_of_names(view, pair, effect)),)
    return VerdictCell(text, order, verdict, words.MARKS[verdict], _css(verdict), ": ".join(parts), numbers=numbers)


def _others(view: SuiteView, comparison: Comparison, shown: Shown) -> VerdictCell:
    """The output rates that are certainly better or worse at loads which have no column, better ones first."""
    told = [shown.low, shown.middle, shown.high]
    of_speed = [one for one in comparison.effects if one.metric == "output_tokens_per_s" and one not in told]
    main = next((one.point.name for one in told if one is not None and one.point is not None), "")
    cells = []
    for verdict in ("better", "worse"):
        found = [one for one in of_speed if one.verdict == verdict]
        if found:
            ends = (min(found, key=_value), max(found, key=_value))
            numbers = {words.effect_text(one): rest_of_names(view, comparison, one) for one in ends}
            text, order = " to ".join(numbers), f"{_value(ends[0]):.6g}"
            cells.append(VerdictCell(
                text, order, verdict, words.MARKS[verdict], _css(verdict), _loads(found, main),
                numbers=tuple(numbers.items()),
            ))
    return replace(cells[0], also=tuple(cells[1:])) if cells else VerdictCell("", "", "none", "", "none")


def _value(effect: Effect) -> float:
    return effect.contrast.value


def _loads(effects: Sequence[Effect], main: str) -> str:
    """Where some effects are: "at 2, 8, 32; batch offline"; of another workload than the `main` one with its name."""
    by_workload: dict[str, list[str]] = {}
    for one in effects:
        name = one.point.name if one.point is not None else ""
        by_workload.setdefault(name, []).append(_load(one))
    parts = []
    for name, loads in by_workload.items():
        shown = [loads[0], *(load.removeprefix("at ") for load in loads[1:])]
        parts.append(f"{'' if name == main else f'{plain(name, 40)} '}{', '.join(shown[:_MOST_LOADS])}"
                     + (f" and {len(shown) - _MOST_LOADS} more" if len(shown) > _MOST_LOADS else ""))
    return "; ".join(parts)


def _css(verdict: str) -> str:
    """The class of a word on how two compare."""
    return "unequal" if verdict == "not equal" else verdict.split(maxsplit=1)[0]


def _crossover(pair: Pair) -> tuple[str, str]:
    """Where the lead changes; a dash where it does not."""
    found, sure = _told_crossing(pair)
    if found is None or found.concurrency is None:
        return "\u2013", ""
    may = "" if sure else "? "
    who = words.MARKS["better" if found.overtakes == found.a else "worse"]
    return f"{may}{who} {words.two_digits(found.concurrency, round)}", f"{found.concurrency:.6g}"


def _told_crossing(pair: Pair) -> tuple[Crossover | None, bool]:
    """The first workload's crossover that is certain, else the first one's at all, and whether it is certain."""
    known = [one for one in pair.crossings if one.concurrency is not None]
    sure = next((one for one in known if changes_lead(pair.comparison, one)), None)
    return sure or next(iter(known), None), sure is not None


# Facets ----------------------------------------------------------------------------------------------------------


_NO_KIND = "none"
_ORDER = (*MATCH_NOUNS, _NO_KIND, *words.MARKS, NOT_COMPARED)


def _facets(
    pairs: Sequence[Pair], shown: Sequence[Shown], roles: tuple[str, str]
) -> tuple[tuple[Facet, ...], list[str]]:
    """What pairs can be chosen by, and of each pair its words; a facet with one value tells nothing and is left out."""
    told: list[tuple[str, str, list[tuple[str, ...]]]] = [
        ("matching", "Matching", [pair.kinds or (_NO_KIND,) for pair in pairs]),
        ("score", "Verdict on score", [(_verdict(one.quality),) for one in shown]),
        ("speed", "Verdict on speed at high load", [(_verdict(one.high),) for one in shown]),
        ("crossover", "Crossover", [(_changes(pair, roles),) for pair in pairs]),
    ]
    facets, tokens = [], [list[str]() for _ in pairs]
    scores = dict.fromkeys(score_words(pair.comparison.score) for pair in pairs)
    titles: dict[str, str] = dict(MATCH_NOUNS.items())
    titles["iso-quality"] = listed(scores) or titles["iso-quality"]
    for key, title, values in told:
        ids = {one: one.replace(" ", "-") for one in sorted({one for some in values for one in some}, key=_place)}
        for row, some in zip(tokens, values, strict=True):
            row += [f"{key}:{ids[one]}" for one in some]
        if len(ids) > 1:
            facets.append(Facet(key, title, tuple(
                Choice(id_, capitalised(titles.get(one, one)), sum(one in some for some in values))
                for one, id_ in ids.items()
            )))
    return tuple(facets), [" ".join(row) for row in tokens]


def _place(value: str) -> tuple[int, str]:
    return _ORDER.index(value) if value in _ORDER else len(_ORDER), value


def _verdict(effect: Effect | None) -> str:
    return NOT_COMPARED if effect is None else words.verdict_words(effect)


def _changes(pair: Pair, roles: tuple[str, str]) -> str:
    """Whether the first model overtakes on any workload, or is overtaken, with both as the page calls them."""
    found, sure = _told_crossing(pair)
    if found is None or not sure:
        return "no change of the lead" if found is None else "may change the lead"
    role = roles[0] if found.overtakes == found.a else roles[1]
    return f"{role.split()[0]} overtakes"


# What to measure -------------------------------------------------------------------------------------------------


def _suggestions(suggested: Iterable[Suggestion]) -> Table | None:
    """One row a sparse model and model of the catalog, with the kinds in which that would be nearer."""
    rows: dict[tuple[str, str], list[Suggestion]] = {}
    for one in suggested:
        rows.setdefault((one.sparse, one.name), []).append(one)
    if not rows:
        return None
    columns = (
        Column("Sparse model", classes="text frozen"), Column("Dense model of the catalog", classes="text"),
        Column("Nearer than any measured in", classes="text wide"),
    )
    return Table(columns, tuple(
        TableRow(plain(sparse, 80), (Value(plain(name, 80)), Value(listed(
            f"{MATCH_NOUNS[one.kind]} ({one.match.size})" for one in found
        ))))
        for (sparse, name), found in rows.items()
    ))
