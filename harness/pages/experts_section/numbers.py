"""What stands behind the numbers of the section's tables: each is named by its table, row and column.

The tables are made twice, for the page and for the drawer, by the same code: what the drawer says of a cell is what the
page shows in it. A number's name is `<suite>.<model>.routing.<kind>-<work>-<phase>-<row>-<column>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from harness.pages.experts_section.works import PHASE_WORDS, PartOfWork, experts_text, title_of
from harness.pages.parts import Column, Slugs, TableRow, Terms, Value
from harness.quantities import grouped, plain

_DIGITS = 9
KINDS = {
    "balance": "Balance of the experts' load", "distinct": "Distinct experts in a step",
    "capacity": "Dropped at a capacity", "parallel": "Expert parallelism",
}


class Cell(NamedTuple):
    """One number of a table with the text that shows it."""

    number: float | None
    shown: Value


@dataclass
class CountedTable:
    """The numbers of one kind of one phase of a piece of work."""

    title: str
    columns: tuple[Column, ...]
    """Those with numbers."""
    terms: Terms
    records: tuple[Path, ...]
    rows: dict[int, tuple[str, tuple[float | None, ...]]] = field(default_factory=dict)
    """By the number of the row: its title, and a number for each column."""


@dataclass
class Numbers:
    """Names the cells of the section's tables, and keeps their numbers."""

    name: str
    """How the names of the model's evidence begin; empty where it has none, and then no cell is named."""
    tables: dict[str, CountedTable] = field(default_factory=dict)
    """By the middle of their names, behind `routing.`."""
    _slugs: Slugs = field(default_factory=Slugs)

    def row(
        self, part: PartOfWork, kind: str, place: tuple[int, str], columns: Sequence[Column], cells: Sequence[Cell]
    ) -> tuple[str, tuple[Value, ...]]:
        """`row_of` a table of one phase of a piece of work; `kind` is one of `KINDS`."""
        return self.row_of(self._table(part, kind, columns), place, cells)

    def row_of(self, table: str, place: tuple[int, str], cells: Sequence[Cell]) -> tuple[str, tuple[Value, ...]]:
        """Keeps the numbers of a row, and gives its name and its cells as they go into a page.

        `place` is its number and title within the table.
        """
        number, title = place
        self.tables[table].rows[number] = (title, tuple(_rounded(cell.number) for cell in cells))
        if not self.name:
            return "", tuple(cell.shown for cell in cells)
        named = [
            cell.shown if cell.number is None else replace(cell.shown, cell=str(index))
            for index, cell in enumerate(cells)
        ]
        return f"{self.name}.routing.{table}-{number}", tuple(named)

    def table(self, words: str, table: CountedTable) -> str:
        """The name of a further table, made from `words`."""
        name = self._slugs.of((words, len(self.tables)), words)
        self.tables[name] = table
        return name

    def _table(self, part: PartOfWork, kind: str, columns: Sequence[Column]) -> str:
        work, phase, routing = part
        name = self._slugs.of((kind, work.source, work.name, phase), f"{kind} {work.name} {phase}")
        if name not in self.tables:
            terms = [
                ("tokens", grouped(routing.tokens, 0)), ("steps", grouped(routing.steps, 0)),
                ("layers", grouped(len(routing.layers), 0)),
                ("experts of a layer", experts_text([one.layer for one in routing.layers])),
                ("captured by", plain(work.tokens_method, 60)),
            ]
            title = f"{KINDS[kind]}, {title_of(work)}, {PHASE_WORDS[phase].lower()}"
            self.tables[name] = CountedTable(title, tuple(columns), terms, work.records)
        return name


def named_row(
    title: str, before: Sequence[Value], named: tuple[str, tuple[Value, ...]], after: Sequence[Value] = ()
) -> TableRow:
    """A row of a table whose cells in the middle are `named` by `Numbers.row`."""
    name, cells = named
    return TableRow(title, (*before, *cells, *after), evidence=name)


def _rounded(number: float | None) -> float | None:
    if number is None:
        return None
    short = float(f"{number:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short
