"""A model's nights -> the section of its page: any figure over time, what changed in between, the latest values.

The section says what was measured and no more: whether a change is one is not judged here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.history import APART_FROM, BEFORE, CellHistory, Latest, ModelHistory, Series, latest_of
from harness.metrics import METRICS, Metric
from harness.pages.parts import Column, Mark, Table, TableRow, Value
from harness.pages.plotting import plotly_text
from harness.pages.suite_view import SuiteView, at_load, kind_of, load_text, point_text
from harness.quantities import Scale, count_of, margin, plain, scale_of, signed_percent, significant
from harness.summary import ModelSummary

if TYPE_CHECKING:
    from numpy.typing import NDArray

NIGHTS = 400
"""The most that are drawn, the newest."""
NUMBERS = 40_000
"""Values beyond which loads other than the leading one are drawn by their main figures only."""
DIGITS = 5
"""Significant ones of the largest value of a series."""
CHANGES = 60
"""The most that are listed, the newest."""
APART = 20
"""The most figures that are listed as apart from the nights before."""

_MAIN = ("output_tokens_per_s", "ttft_p50_s", "tpot_p50_s", "e2e_p50_s", "ttft_p99_s", "joules_per_output_token")
_FIRST = ("output_tokens_per_s", "ttft_p50_s", "tpot_p50_s", "joules_per_output_token")
_MEMORY = ("device_peak_bytes", "resident_peak_bytes", "startup_cold_s", "startup_warm_s", "startup_unknown_s")
_TASKS = 12
_REASON = 200


@dataclass(frozen=True)
class Choice:
    """A figure that can be drawn; `id` names it in the address."""

    id: str
    title: str


@dataclass(frozen=True)
class HistorySection:
    """The nights of one model."""

    note: str
    choices: tuple[tuple[str, tuple[Choice, ...]], ...]
    """By the place that they belong to."""
    chosen: str
    data: dict[str, Any]
    """What history.js draws from."""
    latest: Table
    latest_note: str
    figures: int
    """How many can be drawn."""
    changes: tuple[tuple[str, str], ...]
    """Night and what was another than before, the newest first."""
    changes_note: str


@dataclass(frozen=True)
class _Line:
    """One series with its names and its scale."""

    id: str
    key: str
    """Of the figure in the history; that of every task is `score`."""
    metric: Metric
    title: str
    cell: int
    """Which of the history's cells it belongs to."""
    series: Series

    @property
    def scale(self) -> Scale:
        """As `scale_of` all its values gives, which looks at the middle one, and at all of them where the unit is 1."""
        unit, known = self.metric.unit, self.series.values[np.isfinite(self.series.values)]
        if unit != "1":
            sizes = np.sort(np.abs(known[known != 0]))
            known = sizes[len(sizes) // 2 :][:1]
        return scale_of(unit, known.tolist())


def history_section(view: SuiteView, model: ModelSummary) -> HistorySection | None:
    """The section of one model; None with fewer than two nights."""
    history = view.histories.of(model) if view.histories is not None else None
    if history is None:
        return None
    lines = [line for index, cell in enumerate(history.cells) for line in _lines(view, cell, index)]
    if not lines:  # only routing was measured, which has no figures of a night
        return None
    lines = _within_reason(view, history, lines)
    found = [_Found(line, latest) for line in lines if (latest := latest_of(line.series))]
    chosen = next((line for line in lines if _is_leading(view, history, line)), lines[0])
    changes = [(f"{history.times[night]:%Y-%m-%d %H:%M}", night) for night in sorted(history.changes, reverse=True)]
    return HistorySection(
        note=_note(history),
        choices=tuple(_choices(view, history, lines)),
        chosen=chosen.id,
        data=_data(view, model, history, lines),
        latest=_latest_table(view, model, history, found),
        latest_note=_latest_note(found),
        figures=len(lines),
        changes=tuple((when, plain("; ".join(history.changes[night]), 600)) for when, night in changes[:CHANGES]),
        changes_note=f"{len(changes) - CHANGES} earlier changes are not listed." if len(changes) > CHANGES else "",
    )


def _latest_note(found: Sequence[_Found]) -> str:
    number = sum(one.latest.apart for one in found)
    more = f" {APART} of {number} such figures are listed." if number > APART else ""
    return (
        f"The median is of up to {BEFORE} nights before the latest. Apart is a figure whose newest value lies outside "
        f"the range of these nights ({APART_FROM} at least) by more than that range is wide.{more} These are "
        "differences as measured: which of them are noise is not judged here."
    )


def _lines(view: SuiteView, cell: CellHistory, index: int) -> Iterator[_Line]:
    point = cell.point
    for key in (key for key in METRICS if key in cell.series):
        metric, name = METRICS[key], key
        title = metric.title
        if point is not None:
            name = f"{key}.{view.point_names.get(point, 'load')}"
        elif cell.place[0] == "quality":
            task = str(cell.place[1])
            metric, name = view.metric(f"score:{task}"), f"score.{view.task_names.get(task, 'task')}"
            title = f"Score on {plain(task, 80)}"
        yield _Line(name, key, metric, title, index, cell.series[key])


def _is_leading(view: SuiteView, history: ModelHistory, line: _Line) -> bool:
    return line.key == "output_tokens_per_s" and history.cells[line.cell].point == view.point


def _within_reason(view: SuiteView, history: ModelHistory, lines: list[_Line]) -> list[_Line]:
    """All lines, or, where they are many, of loads other than the leading one the main ones only."""
    nights = min(len(history.times), NIGHTS)
    if len(lines) * nights <= NUMBERS:
        return lines
    points = [cell.point for cell in history.cells]
    return [
        line for line in lines if points[line.cell] in (None, view.point) or line.key in _MAIN
    ][: max(1, 2 * NUMBERS // nights)]


def _choices(
    view: SuiteView, history: ModelHistory, lines: Sequence[_Line]
) -> Iterator[tuple[str, tuple[Choice, ...]]]:
    """Loads first, the leading one before the others, then tasks, then memory."""
    order = {"serving": 0, "quality": 1, "memory": 2}
    groups: dict[tuple[int, bool, str], list[Choice]] = {}
    for line in lines:
        cell = history.cells[line.cell]
        key = (order.get(str(cell.place[0]), 3), cell.point != view.point, _group_title(cell))
        groups.setdefault(key, []).append(Choice(line.id, line.title))
    for key in sorted(groups, key=lambda one: one[:2]):
        yield key[2], tuple(groups[key])


def _group_title(cell: CellHistory) -> str:
    point = cell.point
    if point is not None:
        return f"{plain(point.name, 60)}, {point_text(point)}, {load_text(point)}"
    return {"quality": "Scores", "memory": "Memory"}.get(str(cell.place[0]), "Other")


def _note(history: ModelHistory) -> str:
    """What is drawn, in words."""
    first, last = history.times[0], history.times[-1]
    words = f"{count_of(len(history.times), 'night')} from {first:%Y-%m-%d} to {last:%Y-%m-%d} measured these cells"
    words += _bars_note(history)
    words += f". The newest {NIGHTS} are drawn" if len(history.times) > NIGHTS else ""
    return (
        f"{words}. Vertical lines are changes of engine, driver or machine; crosses are nights that tried and measured "
        "nothing."
    )


def _bars_note(history: ModelHistory) -> str:
    """Over what the bars are: of scores the items, of other figures a night's repeats."""
    barred = {
        cell.place[0] == "quality" for cell in history.cells for one in cell.series.values()
        if np.isfinite(one.margins).any()
    }
    if barred == {True}:
        return ". The bar of a score is the 95 % interval over its items"
    words = ". A point is the mean over a night's repeats, its bar the 95 % interval over them" if barred else ""
    return words + (", of a score the one over its items" if True in barred else "")


# What is drawn ---------------------------------------------------------------------------------------------------


def _data(view: SuiteView, model: ModelSummary, history: ModelHistory, lines: Sequence[_Line]) -> dict[str, Any]:
    """Times as minutes since 1970, figures as whole numbers times a power of ten: a year takes some 2 kB a series."""
    drawn, first = {line.cell for line in lines}, max(0, len(history.times) - NIGHTS)
    name = view.evidence_of.get((model.model, False), "")
    return {
        "kind": kind_of(model),
        "times": [_minutes(when) for when in history.times[first:]],
        "evidence": name,
        "apart": [BEFORE, APART_FROM],
        "changes": [
            [night - first, plotly_text(_label(words), 24), plotly_text("; ".join(words), _REASON)]
            for night, words in sorted(history.changes.items()) if night >= first
        ],
        "failed": [
            _failed(cell, first) if index in drawn else [] for index, cell in enumerate(history.cells)
        ],
        "series": {line.id: _packed(history, line, first) for line in lines},
    }


def _label(changes: Sequence[str]) -> str:
    """The first change without what was before, and how many more there are: a line has little room."""
    name, _, now = changes[0].partition(" \u2192 ")
    return f"{name.split(' ')[0]} {plain(now, 18)}" + (f" +{len(changes) - 1}" if len(changes) > 1 else "")


def _failed(cell: CellHistory, first: int) -> list[list[Any]]:
    return [[night - first, plotly_text(reason, _REASON)] for night, reason in cell.failed.items() if night >= first]


def _packed(history: ModelHistory, line: _Line, first: int) -> dict[str, Any]:
    """One series: `values`, and `margins` below and `above` them where known, in units of 10^`power`; null for none."""
    scale, metric = line.scale, line.metric
    point = history.cells[line.cell].point
    values = line.series.values[first:] / scale.divisor
    margins, above = (None if one is None else one[first:] / scale.divisor for one in line.series[1:])
    power = _power(values)
    packed: dict[str, Any] = {
        "title": plotly_text(line.title, 80), "unit": scale.unit, "power": power, "cell": line.cell,
        "where": plotly_text(at_load(point), 60) if point is not None else "",
        "better": "" if metric.better == "none" else metric.better,
        "values": _whole(values, power),
    }
    for name, reach in (("margins", margins), ("above", above)):
        if reach is not None and np.isfinite(reach).any():
            packed[name] = _whole(reach, power)
    return packed


def _power(values: NDArray[np.float64]) -> int:
    """The power of ten in which the largest value has `DIGITS` digits before the point."""
    largest = max(np.abs(values[np.isfinite(values)]).tolist(), default=0.0)
    return max(-300, math.floor(math.log10(largest)) - DIGITS + 1) if largest > 0 else 0


def _whole(values: NDArray[np.float64], power: int) -> list[int | None] | int:
    """Values in units of 10^power; one number where all nights have the same."""
    scaled = np.round(values / 10.0**power) if power >= 0 else np.round(values * 10.0**-power)
    lacking = np.flatnonzero(~np.isfinite(scaled))
    scaled[lacking] = 0.0
    whole: list[int | None] = scaled.astype(np.int64).tolist()
    if not len(lacking) and len(set(whole)) == 1:
        return int(scaled[0])
    for night in lacking.tolist():
        whole[night] = None
    return whole


# The latest values -----------------------------------------------------------------------------------------------


_MARK = Mark("note", "apart", "Outside the range of the nights before by more than that range is wide.")


class _Found(NamedTuple):
    """A line with its newest value."""

    line: _Line
    latest: Latest


def _latest_table(
    view: SuiteView, model: ModelSummary, history: ModelHistory, found: Sequence[_Found]
) -> Table:
    """The figures whose newest value stands apart from the nights before, then the main ones."""
    columns = (
        Column("Figure", classes="text frozen"), Column("Latest"), Column("Measured", classes="text"),
        Column("Previous"), Column("Latest to previous"),
        Column("Median before", help=f"Of up to {BEFORE} nights before the latest"), Column("Latest to median"),
    )
    name = view.evidence_of.get((model.model, False), "")
    apart = sorted((one for one in found if one.latest.apart), key=_moved, reverse=True)[:APART]
    by_id = {one.line.id: one for one in found}
    told = {one.line.id for one in apart}
    main = [by_id[line.id] for line in _headlines(view, history, [one.line for one in found]) if line.id not in told]
    return Table(columns, tuple(_latest_row(history, one, name) for one in (*apart, *main)))


def _moved(found: _Found) -> tuple[bool, float]:
    """What sorts those that are apart: main figures before other percentiles and the like, then by how far they moved.

    As a factor of the median either way, so that a rate that halves and a latency that doubles moved alike.
    """
    value, median = found.latest.value, found.latest.median or 0.0
    main = found.line.key in _MAIN or found.line.metric.scenario != "serving"
    return main, abs(math.log(value / median)) if value > 0 and median > 0 else math.inf


def _headlines(view: SuiteView, history: ModelHistory, lines: Sequence[_Line]) -> Iterator[_Line]:
    at_point = [line for line in lines if history.cells[line.cell].point == view.point is not None]
    by_metric = {line.key: line for line in at_point}
    yield from (by_metric[key] for key in _FIRST if key in by_metric)
    scores = [line for line in lines if history.cells[line.cell].place[0] == "quality"]
    yield from scores[:_TASKS]
    memory = {line.key: line for line in lines if history.cells[line.cell].place[0] == "memory"}
    peak = next((key for key in _MEMORY[:2] if key in memory), None)
    yield from (memory[key] for key in (peak, *_MEMORY[2:]) if key in memory)


def _latest_row(history: ModelHistory, found: _Found, name: str) -> TableRow:
    line, latest = found
    scale = scale_of(line.metric.unit, [latest.value])
    failed = sorted(night for night in history.cells[line.cell].failed if night > latest.night)
    when = f"{history.times[latest.night]:%Y-%m-%d}"
    when += f" ({count_of(len(failed), 'night')} since failed)" if failed else ""

    def shown(value: float | None, reach: tuple[float, float] | None = None, night: int | None = None) -> Value:
        if value is None:
            return Value("\u2013")
        text = f"{significant(value / scale.divisor)} {scale.unit}".rstrip()
        below, above = reach or (0.0, 0.0)
        ends = [one / scale.divisor for one in (value, value - below, value + above)] if below + above > 0 else []
        evidence = "" if night is None or not name else f"{name}.{line.id}@{_minutes(history.times[night])}"
        return Value(text, margin(*ends) if ends else "", evidence=evidence)

    return TableRow(f"{line.title}{_at(history.cells[line.cell])}", (
        shown(latest.value, latest.margins, latest.night), Value(when),
        shown(latest.previous, latest.previous_margins, latest.previous_night),
        Value(_change(line, latest.value, latest.previous)),
        shown(latest.median), Value(_change(line, latest.value, latest.median)),
    ), marks=(_MARK,) if latest.apart else ())


def _at(cell: CellHistory) -> str:
    return "" if cell.point is None else f", {load_text(cell.point)}"


def _minutes(when: datetime) -> int:
    """Since 1970: how a night is named in an address, and what its time in `data` is."""
    return int(when.timestamp() // 60)


def _change(line: _Line, value: float, before: float | None) -> str:
    """Relative in percent; of scores and shares the difference in hundredths."""
    if before is None:
        return "\u2013"
    if line.scale.unit == "%":
        return f"{signed_percent(value - before)} points"
    return f"{signed_percent(value / before - 1)} %" if before else "\u2013"
