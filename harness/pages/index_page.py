"""The leaderboard of one suite: what leads, the table, what scores cost, what was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.pages.figures import pareto_data, seeds_figure
from harness.pages.lead import conditions_of, facts_of, lead_of, legend_of
from harness.pages.leaderboard import (
    ColumnGroup,
    GroupRow,
    Row,
    column_groups,
    column_specs,
    columns_of,
    failures_of,
    group_columns,
    group_rows,
    group_specs,
    rows_of,
)
from harness.pages.parts import Column, FailureRow, Link, Page
from harness.pages.suite_view import SuiteView
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
    facts: tuple[str, ...]
    lead: str
    conditions: str
    others: tuple[Link, ...]
    groups: Groups | None
    column_groups: tuple[ColumnGroup, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    legend: str
    pareto: dict[str, Any] | None
    failures: tuple[FailureRow, ...]


def index_page(view: SuiteView, views: Sequence[SuiteView], definition: Suite | None) -> IndexPage:
    """The page; `views` are all suites of the site, and `definition` is the suite's file where it is known."""
    specs = column_specs(view)
    return IndexPage(
        path=view.path,
        template="index.html",
        title=view.title,
        menu="Leaderboard",
        heading=view.title,
        facts=facts_of(view),
        lead=lead_of(view),
        conditions=conditions_of(view),
        others=tuple(Link(other.path, other.title) for other in views if other is not view),
        groups=_groups(view),
        column_groups=column_groups(specs),
        columns=columns_of(view, specs),
        rows=rows_of(view, specs),
        legend=legend_of(view),
        pareto=pareto_data(view),
        failures=(*failures_of(view, view.models), *_not_run(view, definition)),
    )


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
