"""Which tokens an expert likes and which experts go together: the most striking few of every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.pages.experts_section.numbers import Cell, CountedTable, Numbers, named_row
from harness.pages.experts_section.works import layer_title, title_of
from harness.pages.parts import Column, Table, TableRow, Value
from harness.quantities import capitalised, count_of, grouped, plain, significant
from harness.routing.summary import ExpertPair, Favourite
from harness.summary import RoutedWork

Found = TypeVar("Found", ExpertPair, Favourite)
_ROWS = 12
_TEXT_LIMIT = 32
_SIGNS = str.maketrans({"\n": "\u23ce", "\t": "\u21e5", "\r": "\u240d", " ": "\u2423", "\u00a0": "\u237d"})
"""White space in sight: a token often begins with it."""


@dataclass(frozen=True)
class Token:
    """A token as text, and how often it goes to the expert."""

    text: str
    id: int
    share: str
    lift: str
    count: str


@dataclass(frozen=True)
class FavouriteRow:
    """One expert with the tokens that it likes most."""

    layer: str
    expert: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class WorkTokens:
    """What is striking in one piece of work."""

    title: str
    favourites: tuple[FavouriteRow, ...]
    favourites_note: str
    pairs: Table | None
    pairs_note: str


def tokens_of(work: RoutedWork, numbers: Numbers) -> WorkTokens | None:
    """The favourites and pairs of one piece of work; None where there are neither."""
    summary = work.summary
    if not summary.favourites and not summary.pairs:
        return None
    pairs = _most_striking(summary.pairs, lambda pair: (-pair.lift, pair.a, pair.b))
    rows, experts = _favourite_rows(work)
    return WorkTokens(
        title=title_of(work),
        favourites=rows,
        favourites_note=_note(len(rows), experts, "expert with favourite tokens", "experts with favourite tokens"),
        pairs=_pair_table(work, pairs, numbers) if pairs else None,
        pairs_note=_note(len(pairs), len(summary.pairs), "pair", "pairs"),
    )


def token_text(favourite: Favourite) -> str:
    """A token's text with its white space in sight, or its id where no tokenizer told it."""
    if not favourite.text:
        return f"token {favourite.token}"
    return plain(favourite.text.translate(_SIGNS), _TEXT_LIMIT)


def _favourite_rows(work: RoutedWork) -> tuple[tuple[FavouriteRow, ...], int]:
    """Rows by layer and expert, and how many experts have favourites at all."""
    by_expert: dict[tuple[int, int], list[Favourite]] = {}
    for one in work.summary.favourites:
        by_expert.setdefault((one.layer, one.expert), []).append(one)
    strongest = [max(found, key=lambda one: one.lift) for found in by_expert.values()]
    layers = work.summary.layers
    chosen = _most_striking(strongest, lambda one: (-one.lift, one.expert))
    rows = tuple(
        FavouriteRow(layer_title(layers[one.layer], layers), str(one.expert), tuple(
            Token(token_text(token), token.token, significant(100 * token.share), significant(token.lift),
                  grouped(token.count, 0))
            for token in sorted(by_expert[one.layer, one.expert], key=lambda token: (-token.lift, token.token))
        ))
        for one in chosen
    )
    return rows, len(by_expert)


def _most_striking(found: Iterable[Found], order: Callable[[Found], Any]) -> list[Found]:
    """`_ROWS` at most, as many of every layer as there is room for; where there are more layers, the most striking."""
    by_layer: dict[int, list[Found]] = {}
    for one in found:
        by_layer.setdefault(one.layer, []).append(one)
    each = max(1, _ROWS // max(len(by_layer), 1))
    kept = [one for some in by_layer.values() for one in sorted(some, key=order)[:each]]
    return sorted(sorted(kept, key=order)[:_ROWS], key=lambda one: (one.layer, order(one)))


def _note(shown: int, known: int, one: str, many: str) -> str:
    if not known:
        return ""
    told = count_of(known, one, many)
    if shown == known:
        return f"{capitalised(told)}."
    return f"{grouped(shown, 0)} of {told}: those with the highest lift, spread over the layers."


_PAIRS = (
    Column("Tokens", help="Tokens that chose both"),
    Column("Lift", "\u00d7", help="Tokens that chose both over what independent choices with the same loads give"),
)


def _pair_table(work: RoutedWork, pairs: Sequence[ExpertPair], numbers: Numbers) -> Table:
    layers = work.summary.layers
    terms = [("tokens", grouped(work.summary.tokens, 0)), ("captured by", plain(work.tokens_method, 60))]
    table = numbers.table(
        f"pairs {work.name}", CountedTable(f"pairs of experts, {title_of(work)}", _PAIRS, terms, work.records)
    )

    def row(number: int, pair: ExpertPair) -> TableRow:
        layer = layer_title(layers[pair.layer], layers)
        cells = (
            Cell(pair.together, Value(grouped(pair.together, 0))), Cell(pair.lift, Value(significant(pair.lift))),
        )
        place = (number, f"experts {pair.a} and {pair.b} of layer {layer}")
        return named_row(layer, (Value(f"{pair.a} and {pair.b}"),), numbers.row_of(table, place, cells))

    columns = (Column("Layer", classes="text frozen"), Column("Experts", classes="text"), *_PAIRS)
    return Table(columns, tuple(row(*one) for one in enumerate(pairs)))
