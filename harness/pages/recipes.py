"""The table of recipes: trainings that differ in their seed only, one row for all of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.pages.leaderboard import NAME_LIMIT, cells_of, in_order, rank_value, scales_of
from harness.pages.leaderboard_columns import Spec, column_specs, head_of
from harness.pages.parts import Column, Link, Value
from harness.pages.suite_view import SuiteView, kind_of, kind_text
from harness.quantities import plain

_KEPT = ("active_parameters", "decode_flops_per_token", "output_tokens_per_s")


@dataclass(frozen=True)
class GroupRow:
    """One recipe: the trainings that differ in their seed only."""

    name: str
    kind: str
    kind_text: str
    members: tuple[Link, ...]
    cells: tuple[Value, ...]


def group_specs(view: SuiteView) -> list[Spec]:
    """The metrics of the table of recipes."""
    kept = [spec for spec in column_specs(view) if spec.key in _KEPT or "score" in spec.key]
    return [spec for spec in kept if spec.point == view.point]


def group_columns(view: SuiteView, specs: Sequence[Spec]) -> tuple[Column, ...]:
    """Heads of the table of recipes."""
    fixed = (
        Column("Recipe", classes="text frozen"), Column("Kind", classes="text"), Column("Trainings", classes="text"),
        Column("Rank", classes="numeric", help=f"By {view.score_title}; recipes that overlap share ranks"),
    )
    heads = (head_of(view, spec, scale.unit) for spec, scale in zip(specs, scales_of(view, specs), strict=True))
    return (*fixed, *(replace(head, classes="numeric") for head in heads))


def group_rows(view: SuiteView, specs: Sequence[Spec]) -> tuple[GroupRow, ...]:
    """Every recipe with its values over the trainings, ranked ones first."""
    ranks = view.recipe_standing.ranks
    scales = scales_of(view, specs)
    columns = [cells_of(view, spec, scale, view.groups) for spec, scale in zip(specs, scales, strict=True)]
    rows = [
        GroupRow(
            name=plain(group.model, NAME_LIMIT),
            kind=kind_of(group),
            kind_text=kind_text(group),
            members=tuple(view.link(member) for member in group.members),
            cells=(rank_value(ranks.get(group.model), group, view), *(column[index] for column in columns)),
        )
        for index, group in enumerate(view.groups)
    ]
    return tuple(rows[index] for index in in_order(view, view.groups, ranks))
