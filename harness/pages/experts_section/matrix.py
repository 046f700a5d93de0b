"""How routing differs between pieces of work: the matrix of divergences as a table of shaded cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.pages.experts_section.numbers import Cell, CountedTable, Numbers
from harness.pages.experts_section.works import NAME_LIMIT, chance_divergence, title_of
from harness.pages.parts import Column, Value
from harness.quantities import plain, significant
from harness.routing.summary import Specialisation
from harness.summary import RoutedWork

_DARKEST = 45
"""Percent of the accent in the cell of the largest divergence: text on it can still be read."""


@dataclass(frozen=True)
class MatrixCell:
    """One divergence; `shade` is the percent of accent in its ground, `chance` what samples of its size would show."""

    text: str
    shade: int
    chance: str
    cell: str
    """What follows its row's name in that of its evidence; empty where it has none."""


@dataclass(frozen=True)
class Matrix:
    """Names x names."""

    names: tuple[str, ...]
    rows: tuple[tuple[MatrixCell | None, ...], ...]
    """None on the diagonal."""
    evidence: tuple[str, ...] = ()
    """How the names of each row's evidence begin."""


@dataclass(frozen=True)
class Extreme:
    """Two pieces of work with their divergence in bits, and what chance would show of samples of their size."""

    a: str
    b: str
    bits: float
    chance: float | None

    @property
    def beyond_chance(self) -> bool | None:
        """Whether it is several times what chance would show; None where that is not known."""
        return None if self.chance is None else self.bits > 3 * self.chance


def matrix_of(found: Specialisation, works: Mapping[str, RoutedWork], numbers: Numbers) -> Matrix:
    """The matrix, shaded up to its largest value."""
    rows = _named_rows(found, works, numbers)
    largest = float(found.divergence.max()) or 1.0

    def cell(row: int, column: int) -> MatrixCell | None:
        if row == column:
            return None
        bits, chance = float(found.divergence[row, column]), _chance(found, works, row, column)
        words = "" if chance is None else f"about {significant(chance, 2)} bits by chance"
        return MatrixCell(significant(bits), round(_DARKEST * bits / largest), words, rows[row][1][column].cell)

    size = range(len(found.names))
    names = tuple(plain(name, NAME_LIMIT) for name in found.names)
    cells = tuple(tuple(cell(row, column) for column in size) for row in size)
    return Matrix(names, cells, tuple(name for name, _ in rows))


def _named_rows(
    found: Specialisation, works: Mapping[str, RoutedWork], numbers: Numbers
) -> list[tuple[str, tuple[Value, ...]]]:
    """Every row with its name and its cells, as `Numbers.row_of` gives them."""
    names = [plain(name, NAME_LIMIT) for name in found.names]
    known = [work for name in found.names if (work := works.get(name)) is not None]
    formula = "Jensen-Shannon divergence of the experts' shares, both phases together, mean over layers"
    table = numbers.table("divergence", CountedTable(
        "divergence of routing", tuple(Column(name, "bits", help=formula) for name in names),
        [(title_of(work), f"captured by: {plain(work.tokens_method, 60)}") for work in known],
        tuple(dict.fromkeys(path for work in known for path in work.records)),
    ))
    return [
        numbers.row_of(table, (row, name), [
            Cell(None if row == column else float(found.divergence[row, column]), Value("\u2013"))
            for column in range(len(names))
        ])
        for row, name in enumerate(names)
    ]


def extremes(found: Specialisation, works: Mapping[str, RoutedWork]) -> tuple[Extreme, Extreme]:
    """The two pieces of work that differ most, and the two that differ least."""
    rows, columns = np.triu_indices(len(found.names), 1)
    values = found.divergence[rows, columns]

    def at(place: int) -> Extreme:
        row, column = int(rows[place]), int(columns[place])
        a, b = (plain(found.names[one], NAME_LIMIT) for one in (row, column))
        return Extreme(a, b, float(values[place]), _chance(found, works, row, column))

    return at(int(values.argmax())), at(int(values.argmin()))


def _chance(found: Specialisation, works: Mapping[str, RoutedWork], row: int, column: int) -> float | None:
    pair = [works.get(found.names[one]) for one in (row, column)]
    known = [work for work in pair if work is not None]
    return chance_divergence(known, found.layers) if len(known) == 2 else None
