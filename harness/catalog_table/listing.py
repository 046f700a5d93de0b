"""The models of the catalog as one table: as many columns as the terminal is wide, and no number cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.catalog import LMSYS_DATE, QUALITY_WORDS
from harness.catalog_table.blocks import in_groups, wrapped
from harness.description import (
    DEFAULT_CONTEXT_TOKENS,
    SORT_KEYS,
    Description,
    active_of,
    active_share,
    arena_rank,
    kind_words,
    total_of,
)
from harness.quantities import count_of, grouped, plain, signed_percent, significant

if TYPE_CHECKING:
    from rich.text import Text

RECALLED, THIRD_PARTY, PUBLISHED, SHORTER = "*", "\u00a7", "\u2020", "\u2021"
_SIGNS = {"recalled": RECALLED, "third-party": THIRD_PARTY}
"""The qualities that are marked: the same ones as on the catalog's page."""
_LEGEND = {
    RECALLED: f"{QUALITY_WORDS['recalled']}; at a counted total: its structure",
    THIRD_PARTY: f"{QUALITY_WORDS['third-party']}; at a counted total: its structure",
    PUBLISHED: "published, not counted: the structure was never published in full",
    SHORTER: "at the model's own context limit, which is shorter",
}
_GAP = 2


@dataclass(frozen=True)
class _Cell:
    """What a column shows of a model; every character of `sign` is explained in the legend."""

    text: str
    sign: str = ""


@dataclass(frozen=True)
class _Column:
    """A column; those of smaller `weight` stay when the terminal is narrow."""

    heading: str
    weight: int
    cell: Callable[[Description], _Cell]
    is_text: bool = False


def _number(value: float | None, divisor: float = 1.0, sign: str = "") -> _Cell:
    return _Cell("") if value is None else _Cell(significant(value / divisor), sign)


def _known(quality: str | None) -> str:
    """The sign of how well a fact is known; none where it is known well."""
    return _SIGNS.get(quality or "", "")


def _total(described: Description) -> _Cell:
    """All parameters; the sign of a counted number is that of the structure, on which it rests."""
    total = total_of(described)
    if total is None:
        return _Cell("")
    if described.parameters.total is None:
        return _number(total, 1e9, PUBLISHED + _known(described.published.source_quality))
    return _number(total, 1e9, _known(described.model.source_quality))


def _active(described: Description) -> _Cell:
    active = active_of(described)
    return _Cell("") if active is None else _number(active, 1e9, _uncounted(described))


def _uncounted(described: Description) -> str:
    return PUBLISHED if described.parameters.total is None else ""


def _share(described: Description) -> _Cell:
    share = active_share(described)
    return _Cell("") if share is None else _Cell(significant(100 * share), _uncounted(described))


def _flops(described: Description) -> _Cell:
    shorter = SHORTER if described.context_tokens < DEFAULT_CONTEXT_TOKENS else ""
    return _number(described.flops_per_token.decode, 1e9, shorter)


def _context(described: Description) -> _Cell:
    tokens = described.model.context_length
    return _Cell("") if tokens is None else _Cell(grouped(tokens, 0))


def _published(described: Description) -> _Cell:
    return _number(described.published.total, 1e9, _known(described.published.source_quality))


def _license(described: Description) -> _Cell:
    return _Cell(described.model.license or "", _known(described.model.license_source_quality))


def _released(described: Description) -> _Cell:
    return _Cell(described.model.released or "", _known(described.model.released_source_quality))


def _deviation(described: Description) -> _Cell:
    return _Cell("") if described.deviation.total is None else _Cell(signed_percent(described.deviation.total))


def _rank(described: Description) -> _Cell:
    if described.model.lmsys_2024_11_04 == "unranked":
        return _Cell("unranked")
    rank = arena_rank(described)
    return _Cell("" if rank is None else str(rank))


_COLUMNS = {
    "name": _Column("model", 0, lambda one: _Cell(plain(one.name)), is_text=True),
    "kind": _Column("experts of a layer", 2, lambda one: _Cell(in_groups(kind_words(one))), is_text=True),
    "total": _Column("total\n(billion)", 1, _total),
    "active": _Column("active\n(billion)", 3, _active),
    "share": _Column("active\n(%)", 4, _share),
    "flops": _Column("GFLOPs\na token", 5, _flops),
    "kv": _Column("KV cache\n(kB/token)", 7, lambda one: _number(one.bytes.kv_per_token, 1e3)),
    "weights": _Column("weights\n(GB)", 6, lambda one: _number(one.bytes.weights, 1e9)),
    "precision": _Column("precision", 12, lambda one: _Cell(one.precision or ""), is_text=True),
    "context": _Column("context\n(tokens)", 8, _context),
    "status": _Column("status", 13, lambda one: _Cell(one.model.status or ""), is_text=True),
    "released": _Column("released", 9, _released, is_text=True),
    "license": _Column("licence", 10, _license, is_text=True),
    "published": _Column("published\n(billion)", 11, _published),
    "deviation": _Column("counted \u2212\npublished (%)", 11, _deviation),
    "rank": _Column("arena\nrank", 14, _rank),
}


def listing(models: Sequence[Description], all_models: int, width: int) -> Text:
    """The table of `models`, of the `all_models` of the catalog, in `width` columns, and what its signs mean.

    Print it with soft_wrap: its lines are no longer than `width`, unless that is too little for the first columns.
    """
    from rich.text import Text

    cells = {key: [column.cell(one) for one in models] for key, column in _COLUMNS.items()}
    filled = {key for key, column in cells.items() if any(cell.text for cell in column)}
    widths = {key: _widest(cells[key], column) for key, column in _COLUMNS.items() if key in filled}
    shown = {key: widths[key] for key in _fitting(widths, width)}
    text = Text()
    for line in _heading_lines(shown):
        text.append(f"{line}\n", style="bold")
    texts = [_aligned(cells[key], _COLUMNS[key].is_text) for key in shown]
    text.append("".join(f"{_line(row, shown)}\n" for row in zip(*texts, strict=True)))
    footer = _footer(cells, shown, len(filled) - len(shown), all_models)
    return text.append("\n".join(line for entry in footer for line in wrapped(entry, width)))


def _heading_lines(shown: dict[str, int]) -> list[str]:
    """The headings, standing on the last of their lines."""
    headings = [_COLUMNS[key].heading.split("\n") for key in shown]
    height = max(map(len, headings), default=0)
    padded = [[""] * (height - len(heading)) + heading for heading in headings]
    return [_line(row, shown) for row in zip(*padded, strict=True)]


def _line(row: Sequence[str], shown: dict[str, int]) -> str:
    """One line of the columns `shown`, which have their widths."""
    from rich.cells import cell_len

    parts = []
    for text, (key, width) in zip(row, shown.items(), strict=True):
        blanks = " " * (width - cell_len(text))
        parts.append(text + blanks if _COLUMNS[key].is_text else blanks + text)
    return (" " * _GAP).join(parts).rstrip()


def _fitting(widths: dict[str, int], width: int) -> list[str]:
    """The columns that fit beside each other, the most important ones first; in the order of the table."""
    kept: set[str] = set()
    left = width
    for key in sorted(widths, key=lambda name: _COLUMNS[name].weight):
        if left < widths[key] and kept:
            break
        kept.add(key)
        left -= widths[key] + _GAP
    return [key for key in widths if key in kept]


def _widest(cells: list[_Cell], column: _Column) -> int:
    from rich.cells import cell_len

    blanks = 0 if column.is_text else max((len(cell.sign) for cell in cells), default=0)
    widths = [cell_len(cell.text) + (blanks or len(cell.sign)) for cell in cells]
    return max([*widths, *map(len, column.heading.split("\n"))])


def _aligned(cells: list[_Cell], is_text: bool) -> list[str]:
    """Numbers under each other: where one of a column has signs, the others have blanks in their place."""
    blanks = 0 if is_text else max((len(cell.sign) for cell in cells), default=0)
    return [cell.text + cell.sign.ljust(blanks) for cell in cells]


def _title(key: str) -> str:
    return _COLUMNS[key].heading.replace("\n", " ")


def _is_named_so(key: str) -> bool:
    return _title(key).casefold().startswith(key)


def _footer(cells: dict[str, list[_Cell]], shown: Iterable[str], hidden: int, all_models: int) -> Iterator[str]:
    models = len(cells["name"])
    if not models:
        yield f"none of {count_of(all_models, 'model')} fits these filters"
        return
    more = f"; {count_of(hidden, 'more column')} in a wider terminal" if hidden else ""
    yield ""
    yield f"{models} of {count_of(all_models, 'model')}{more}; everything with --json"
    if "flops" in shown:
        yield f"GFLOPs a token: one decoded token at a context of {grouped(DEFAULT_CONTEXT_TOKENS, 0)} tokens"
    if "kv" in shown:
        yield "KV cache: keys and values that each token of a sequence adds, while no window is full"
    if "rank" in shown:
        yield f"arena rank: LMSYS Chatbot Arena of {LMSYS_DATE}, all prompts; unranked: not in its table"
    if renamed := [f"{key} for {_title(key)}" for key in shown if key in SORT_KEYS and not _is_named_so(key)]:
        yield f"--sort calls some columns by other names: {', '.join(renamed)}"
    signs = {sign for key in shown for cell in cells[key] for sign in cell.sign}
    yield from (f"{sign} {meaning}" for sign, meaning in _LEGEND.items() if sign in signs)
