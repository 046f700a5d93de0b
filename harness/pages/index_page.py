"""The leaderboard of one suite: what leads, the table, what scores cost, what was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.pages.facets import FITS, Filters, filters_of
from harness.pages.failures import FailureTable, failure_table, failures_of
from harness.pages.figures import pareto_data, seeds_figure
from harness.pages.lead import conditions_of, facts_of, lead_of, legend_of
from harness.pages.leaderboard import Row, in_order, rows_of, scales_of
from harness.pages.leaderboard_columns import (
    FIXED_COLUMNS,
    TEXT_COLUMNS,
    ColumnGroup,
    Spec,
    column_groups,
    column_specs,
    columns_of,
    id_of,
    speed_columns,
)
from harness.pages.leaderboard_loads import Load, Loads, evidence_rests, loads_of
from harness.pages.parts import Column, FailureRow, Link, Page, Value
from harness.pages.recipes import GroupRow, group_columns, group_rows, group_specs
from harness.pages.suite_view import SuiteView, scale_for
from harness.quantities import plain
from harness.suite import Suite


@dataclass(frozen=True)
class Groups:
    """The table of recipes over their seeds, and its chart."""

    note: str
    columns: tuple[Column, ...]
    rows: tuple[GroupRow, ...]
    caption: str
    figure: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class IndexPage(Page):
    """The leaderboard of one suite."""

    heading: str
    facts: tuple[Link, ...]
    answer: Link | None
    """What the pairs say of sparse against dense, with their page; None where there are none."""
    lead: str
    conditions: str
    others: tuple[Link, ...]
    groups: Groups | None
    filters: Filters
    loads: Loads | None
    speed_columns: tuple[str, ...]
    """The names of the columns that follow the chosen load."""
    order: tuple[int, ...]
    """The places of the rows' models in the suite."""
    column_groups: tuple[ColumnGroup, ...]
    columns: tuple[Column, ...]
    evidence: tuple[str, ...]
    """By column the last part of the names of its estimates; empty where it has none."""
    rows: tuple[Row, ...]
    legend: str
    pareto: dict[str, Any] | None
    explorer: str
    """The page with the same plot of any two metrics."""
    failures: tuple[FailureRow, ...]
    """Every cell that was not measured."""
    failure_table: FailureTable | None

    @cached_property
    def reasons(self) -> dict[str, int]:
        """The reason of every mark of the table, and its place: a page says each once, however many cells have it."""
        cells = [cell for row in self.rows for cell in (row.rank, *row.cells)]
        if self.loads:
            cells += [cell for load in self.loads.known for column in load.columns for cell in column]
        marks = [mark for cell in cells for mark in cell.marks]
        marks += [mark for row in self.rows for mark in (*row.marks, row.uncounted)]
        return {reason: index for index, reason in enumerate(dict.fromkeys(mark.reason for mark in marks))}

    @property
    def seen(self) -> int:
        """How many columns are seen at first; those behind them are hidden until a reader asks for them."""
        return sum("later" not in column.classes for column in self.columns)

    @property
    def roomy(self) -> list[int]:
        """Which columns, counted from 1, wait on a narrow screen."""
        return [place for place, column in enumerate(self.columns, 1) if "roomy" in column.classes.split()]

    @property
    def more(self) -> list[list[list[Any]]]:
        """The columns that are hidden at first: of each its cells in the order of the rows, for scripts/tables.js."""
        metrics = range(self.seen - FIXED_COLUMNS, len(self.columns) - FIXED_COLUMNS - len(TEXT_COLUMNS))
        numbers = [[self._lean(row.cells[place]) for row in self.rows] for place in metrics]
        words = zip(*(row.words for row in self.rows), strict=True)
        return [*numbers, *([[text, text] for text in texts] for texts in words)]

    @property
    def speeds(self) -> dict[str, Any]:
        """What every other load puts into the columns of speed, in the order of the rows, for scripts/loads.js."""
        known = self.loads.known if self.loads else ()
        return {
            "columns": self.speed_columns, "preset": FITS,
            "loads": {load.id: self._speeds_at(load) for load in known if load.id},
        }

    def _speeds_at(self, load: Load) -> dict[str, Any]:
        return {
            "heading": load.heading,
            "evidence": load.evidence,
            "cells": [[self._lean(column[place]) for place in self.order] for column in load.columns],
            "fits": "".join(str(int(load.fits[place])) for place in self.order),
            "help": load.fits_words,
        }

    def _lean(self, cell: Value) -> list[Any]:
        """What sorts a cell, its text, its margin, whether it is the best, and its marks; empty ends are left out."""
        marks = [[mark.state, mark.label, self.reasons[mark.reason]] for mark in cell.marks]
        parts = [float(cell.order) if cell.order else "", cell.text, cell.margin, int(cell.best), marks]
        while not parts[-1]:
            parts.pop()
        return parts

    @property
    def task_columns(self) -> tuple[str, ...]:
        """The names of the columns of tasks, where these are hidden at first."""
        return tuple(one.key for one in self.columns if one.key.startswith("task-") and "later" in one.classes)


def index_page(
    view: SuiteView, views: Sequence[SuiteView], definition: Suite | None, answer: Link | None = None
) -> IndexPage:
    """The page; `views` are all suites of the site, and `definition` is the suite's file where it is known.

    `answer` is what the pairs say, with their page: what a reader came for, so it is said first.
    """
    specs = column_specs(view)
    scales, filters = scales_of(view, specs), filters_of(view)
    failures = (*failures_of(view, view.models), *_not_run(view, definition))
    return IndexPage(
        path=view.path,
        template="index.html",
        title=view.title,
        menu="Leaderboard",
        heading=view.title,
        facts=facts_of(view),
        answer=answer,
        lead=lead_of(view),
        conditions=conditions_of(view),
        others=tuple(Link(other.path, other.title) for other in views if other is not view),
        groups=_groups(view),
        filters=filters,
        loads=loads_of(view, specs, scales),
        speed_columns=tuple(id_of(spec) for spec in speed_columns(view, specs)),
        order=tuple(in_order(view, view.models, view.ranks)),
        column_groups=column_groups(view, specs),
        columns=columns_of(view, specs, scales, scale_for(view, "total_parameters")),
        evidence=_evidence_of(view, specs),
        rows=rows_of(view, specs, scales, filters.tokens),
        legend=legend_of(view),
        pareto=pareto_data(view),
        explorer=view.file("pareto"),
        failures=failures,
        failure_table=failure_table(failures),
    )


def _evidence_of(view: SuiteView, specs: Sequence[Spec]) -> tuple[str, ...]:
    """By column what follows the model in the names of its estimates."""
    total = evidence_rests(view, [Spec("total_parameters", "", "")])
    return ("", "", "", *total, *evidence_rests(view, specs), *("" for _ in TEXT_COLUMNS))


def _groups(view: SuiteView) -> Groups | None:
    if not view.groups:
        return None
    specs, figure = group_specs(view), seeds_figure(view)
    note = ("Trainings of one recipe that differ in their seed. The interval is over the trainings: what another one "
            "would give. The models' own intervals below are over items and repeats.")
    return Groups(
        note=note,
        columns=group_columns(view, specs),
        rows=group_rows(view, specs),
        caption=figure.caption if figure else "",
        figure=figure.content if figure else None,
    )


def _not_run(view: SuiteView, definition: Suite | None) -> tuple[FailureRow, ...]:
    recorded = {model.model for model in view.models}
    names = [model.name for model in definition.models if model.name not in recorded] if definition else []
    return tuple(
        FailureRow(plain(name, 120), "", "everything", "missing", "not run", "The suite lists it, no record has it.")
        for name in names
    )
