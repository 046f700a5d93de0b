"""What was not measured: one row a cell on a model's page, and one a reason on the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.pages.parts import FailureRow, Link, gap_mark
from harness.pages.suite_view import SuiteView
from harness.quantities import count_of, plain
from harness.summary import Gap, ModelSummary

_NAME_LIMIT = 120
REASONS = 50
"""So many reasons the leaderboard shows; the others are on the pages of their models."""
_NAMED = 4
_ORDER = ("failed", "refused", "missing")


@dataclass(frozen=True)
class FailureGroup:
    """Cells that failed for one reason: how many, of which models. Names beyond the first few are counted."""

    state: str
    reason: str
    cells: int
    models: tuple[Link, ...]
    more_models: int
    what: tuple[str, ...]
    more_what: int


@dataclass(frozen=True)
class FailureTable:
    """The reasons that stand for most cells, and how many more there are, in words."""

    groups: tuple[FailureGroup, ...]
    more: str


def failure_table(rows: Sequence[FailureRow]) -> FailureTable | None:
    """The failures of a suite by their reasons; None where there are none."""
    if not rows:
        return None
    by_reason: dict[tuple[str, str], list[FailureRow]] = {}
    for row in rows:
        by_reason.setdefault((row.state, row.reason), []).append(row)
    # sorting keeps the order of those alike, so that the table is in the order of the models where nothing is repeated
    found = sorted(by_reason.values(), key=lambda some: (_ORDER.index(some[0].state), -len(some)))
    rest = found[REASONS:]
    cells = sum(len(some) for some in rest)
    more = f"{count_of(len(rest), 'more reason')}, of {count_of(cells, 'cell')}: see the pages of the models."
    return FailureTable(tuple(_group(some) for some in found[:REASONS]), more if rest else "")


def _group(rows: Sequence[FailureRow]) -> FailureGroup:
    models = tuple(dict.fromkeys(Link(row.href, row.model) for row in rows))
    what = tuple(dict.fromkeys(row.what for row in rows))
    return FailureGroup(
        rows[0].state, rows[0].reason, len(rows), models[:_NAMED], max(0, len(models) - _NAMED), what[:_NAMED],
        max(0, len(what) - _NAMED),
    )


def failures_of(
    view: SuiteView, models: Iterable[ModelSummary], *, with_logs: bool = False
) -> tuple[FailureRow, ...]:
    """One row for every cell with a failure that stands, its repeats together."""
    rows = []
    for model in models:
        by_cell: dict[tuple[str, str, str], list[Gap]] = {}
        for gap in model.gaps:
            if not gap.measured_before and gap.status != "skipped":
                by_cell.setdefault((gap.what, gap.status, gap.reason), []).append(gap)
        for (what, state, _), gaps in by_cell.items():
            newest = max(gaps, key=lambda gap: gap.started_at)
            rows.append(FailureRow(
                model=plain(model.model, _NAME_LIMIT),
                href=view.page_of[model.model],
                what=plain(what, 200),
                state=state,
                label=state if len(gaps) == 1 else f"{state}, {len(gaps)} repeats",
                reason=gap_mark(newest).reason,
                log=plain(newest.log_tail[-20_000:]) if with_logs else "",
                records=view.records.links(gap.source for gap in gaps),
            ))
    return tuple(rows)
