"""What nights measured of the cells that a suite shows: every figure over runs, failures, and what changed around them.

Everything comes from the rows of the store's index; no record is read. A night is a run of `moebench run`. A cell's id
does not hold its environment, so that a new engine or driver is a change along the same series.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.index_rows import FIGURES, SCORE, SCORE_ENDS, time_of
from harness.quantities import count_of, with_unit
from harness.stats import t_quantile
from harness.store_index import StoreIndex
from harness.summary import ModelSummary, PointKey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]
    Numbers = NDArray[np.int64]

WATCHED = ("vllm", "torch", "transformers", "lm_eval", "moebench", "python")
"""The versions whose changes are told, in this order."""
BEFORE = 7
"""Nights whose median the latest is shown beside."""
APART_FROM = 3
"""Nights before at the least, for the latest to be told apart from them."""


class Series(NamedTuple):
    """One figure over the nights of a model; NaN where a night has none."""

    values: Column
    """Means over the repeats of a night."""
    margins: Column
    """How far their 95 % intervals reach down: t intervals over the repeats, of scores the items'; NaN without one."""
    above: Column | None = None
    """How far they reach up, where that is not as far."""


@dataclass(frozen=True)
class CellHistory:
    """One place of a model: a workload at a load, a task, or memory."""

    place: tuple[str | float, ...]
    """As `harness.places.place_of` names it."""
    series: Mapping[str, Series]
    """By metric; a task's is `score`."""
    failed: Mapping[int, str]
    """The nights that tried it and measured nothing, with the reason."""

    @property
    def point(self) -> PointKey | None:
        """The operating point; None where nothing is served."""
        return PointKey(*self.place[1:]) if self.place[0] == "serving" else None  # type: ignore[arg-type]


@dataclass(frozen=True)
class ModelHistory:
    """The nights of one model, the oldest first."""

    times: tuple[datetime, ...]
    """When the first of its cells was begun."""
    runs: tuple[str, ...]
    cells: tuple[CellHistory, ...]
    changes: Mapping[int, tuple[str, ...]]
    """What was another than the night before, in words, by night."""


@dataclass(frozen=True)
class NightRecords:
    """The records behind a model's nights, the oldest night first; rows are those of the index."""

    runs: tuple[int, ...]
    """The code of each night's run."""
    environments: tuple[int, ...]
    """The code of the environment of each night's newest record."""
    cells: tuple[tuple[tuple[int, ...], ...], ...]
    """Of every cell in the order of `ModelHistory.cells` the rows of each night."""


class Latest(NamedTuple):
    """The newest value of a series beside those before it."""

    night: int
    value: float
    margins: tuple[float, float] | None
    """How far its 95 % interval reaches down and up."""
    before: tuple[float, ...]
    """The values of up to `BEFORE` nights before it, the newest last."""
    previous_night: int | None
    previous_margins: tuple[float, float] | None

    @property
    def previous(self) -> float | None:
        """The value before."""
        return self.before[-1] if self.before else None

    @property
    def median(self) -> float | None:
        """Of the nights before it."""
        return float(np.median(self.before)) if self.before else None

    @property
    def apart(self) -> bool:
        """Whether it lies outside the range of at least three nights before by more than that range is wide."""
        if len(self.before) < APART_FROM:
            return False
        low, high = min(self.before), max(self.before)
        return not 2 * low - high <= self.value <= 2 * high - low


def latest_of(series: Series) -> Latest | None:
    """The newest value beside those of the nights before; None where nothing was measured."""
    measured = np.flatnonzero(np.isfinite(series.values))
    if not len(measured):
        return None
    *earlier, night = measured[-1 - BEFORE :].tolist()
    previous = earlier[-1] if earlier else None
    return Latest(
        night, float(series.values[night]), _margins(series, night), tuple(series.values[earlier].tolist()),
        previous, None if previous is None else _margins(series, previous),
    )


def _margins(series: Series, night: int) -> tuple[float, float] | None:
    below = float(series.margins[night])
    above = below if series.above is None else float(series.above[night])
    return (below, above) if np.isfinite(below) else None


class _Placed(NamedTuple):
    """The rows of a model's cells, and at which of its nights they were begun."""

    rows: list[Numbers]
    """Of each cell, by age."""
    nights: list[Numbers]
    """The same places."""
    runs: list[int]
    """The code of each night's run."""
    begun: list[int]
    """Microseconds since 1970, by night."""


class Histories:
    """The histories of all models of a suite, from the rows of its index."""

    def __init__(self, index: StoreIndex) -> None:
        self.index = index
        self._known_changes: dict[tuple[int, int], tuple[str, ...]] = {}

    @cached_property
    def _rows_of_cell(self) -> list[Numbers]:
        """The rows of each cell by their age, by the cell's code."""
        cells, words = self.index.codes("cell")
        order = np.lexsort((np.arange(len(cells)), self.index.started_us, cells))
        return np.split(order, np.searchsorted(cells[order], np.arange(1, len(words))))

    @cached_property
    def _codes(self) -> dict[str, tuple[Numbers, list[str]]]:
        names = ("cell", "run_id", "repeat", "status", "environment", "place", "reason", "error")
        return {name: self.index.codes(name) for name in names}

    @cached_property
    def _figures(self) -> dict[str, Column]:
        return {key: values for key in FIGURES if np.isfinite(values := self.index.numbers(key)).any()}

    @cached_property
    def _score_ends(self) -> tuple[Column, Column]:
        low, high = map(self.index.numbers, SCORE_ENDS)
        return low, high

    def _changed(self, before: int, now: int) -> tuple[str, ...]:
        """What differs between two environments; every model meets the same ones."""
        if (before, now) not in self._known_changes:
            self._known_changes[before, now] = environment_changes(self._environments[before], self._environments[now])
        return self._known_changes[before, now]

    @cached_property
    def _environments(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self._codes["environment"][1]]

    def of(self, model: ModelSummary) -> ModelHistory | None:
        """The nights of the cells that a model's summary is made from; None with fewer than two nights."""
        placed = self._placed(model)
        if placed is None:
            return None
        return ModelHistory(
            times=tuple(time_of(us) for us in placed.begun),
            runs=tuple(self._codes["run_id"][1][run] for run in placed.runs),
            cells=tuple(
                self._cell(rows, nights, len(placed.runs))
                for rows, nights in zip(placed.rows, placed.nights, strict=True)
            ),
            changes=self._changes(self._newest_environments(placed)),
        )

    def records_of(self, model: ModelSummary) -> NightRecords | None:
        """The records of the same nights, of all attempts; None where `of` is."""
        placed = self._placed(model)
        if placed is None:
            return None
        cells = []
        for rows, nights in zip(placed.rows, placed.nights, strict=True):
            found: list[list[int]] = [[] for _ in placed.runs]
            for row, night in zip(rows.tolist(), nights.tolist(), strict=True):
                found[night].append(row)
            cells.append(tuple(map(tuple, found)))
        newest = self._newest_environments(placed)
        return NightRecords(tuple(placed.runs), tuple(newest[night] for night in sorted(newest)), tuple(cells))

    def _placed(self, model: ModelSummary) -> _Placed | None:
        """The rows of a model by night; None with fewer than two nights."""
        cells = self._cells_of(model)
        if not cells:
            return None
        of_cell = [self._rows_of_cell[cell] for cell in cells]
        runs, rows = self._codes["run_id"][0], np.concatenate(of_cell)
        found, first = np.unique(runs[rows], return_inverse=True)
        begun = np.full(len(found), np.iinfo(np.int64).max)
        np.minimum.at(begun, first, self.index.started_us[rows])
        order = np.lexsort((found, begun))
        if len(order) < 2:
            return None
        night_of = {int(found[place]): night for night, place in enumerate(order)}
        nights = [np.asarray([night_of[run] for run in runs[some].tolist()], dtype=np.int64) for some in of_cell]
        return _Placed(of_cell, nights, found[order].tolist(), begun[order].tolist())

    def _cells_of(self, model: ModelSummary) -> list[int]:
        """The codes of the measured cells behind a summary, in the order of its records."""
        codes, (status, states) = self._codes["cell"][0], self._codes["status"]
        rows = [row for path in model.records if (row := self.index.row_of(path)) is not None]
        return list(dict.fromkeys(int(codes[row]) for row in rows if states[status[row]] == "completed"))

    def _cell(self, rows: Numbers, nights: Numbers, count: int) -> CellHistory:
        status, states = self._codes["status"]
        done = status[rows] == states.index("completed")
        measured, at = _newest_attempts(rows[done], nights[done], self._codes["repeat"][0])
        series = {}
        for key, column in self._figures.items():
            one = _series(column[measured], at, count)
            if one is not None:
                series[key] = one
        if SCORE in series:
            low, high = (column[measured] for column in self._score_ends)
            scored = np.isfinite(self._figures[SCORE][measured])
            series[SCORE] = _with_ends(series[SCORE], low[scored], high[scored], at[scored])
        tried = {int(night): int(row) for night, row in zip(nights[~done], rows[~done], strict=True)}
        reached = set(nights[done].tolist())
        failed = {night: self._reason(row) for night, row in tried.items() if night not in reached}
        (places, words), first = self._codes["place"], int(rows[0])
        place = tuple(json.loads(words[places[first]]))
        return CellHistory(place, series, {night: reason for night, reason in failed.items() if reason})

    def _reason(self, row: int) -> str:
        """Why a cell was not measured; empty where it was not needed."""
        told = {name: self._codes[name][1][self._codes[name][0][row]] for name in ("status", "error", "reason")}
        if told["status"] == "skipped":
            return ""
        return f"{told['error'] or told['status']}: {told['reason']}"

    def _newest_environments(self, placed: _Placed) -> dict[int, int]:
        """Of each night the code of the environment of its newest record."""
        rows, nights = np.concatenate(placed.rows), np.concatenate(placed.nights)
        order = np.argsort(self.index.started_us[rows], kind="stable")
        codes = self._codes["environment"][0][rows[order]]
        return dict(zip(nights[order].tolist(), codes.tolist(), strict=True))

    def _changes(self, newest: Mapping[int, int]) -> dict[int, tuple[str, ...]]:
        """What differs from night to night, by the environment of each."""
        changes = {}
        before: int | None = None
        for night in sorted(newest):
            now = newest[night]
            if before is not None and now != before:
                words = self._changed(before, now)
                if words:
                    changes[night] = words
            before = now
        return changes


def _newest_attempts(rows: Numbers, nights: Numbers, repeats: Numbers) -> tuple[Numbers, Numbers]:
    """Of each repeat in a night the newest measurement; `rows` are by age."""
    newest = {(night, repeat): row for night, repeat, row in zip(
        nights.tolist(), repeats[rows].tolist(), rows.tolist(), strict=True)}
    if len(newest) == len(rows):
        return rows, nights
    return np.asarray(list(newest.values())), np.asarray([night for night, _ in newest])


def _series(values: Column, nights: Numbers, count: int) -> Series | None:
    """Mean and half the t interval of every night; None where no night has the figure."""
    known = np.isfinite(values)
    if not known.any():
        return None
    values, nights = values[known], nights[known]
    n = np.bincount(nights, minlength=count)
    means, margins = np.full(count, np.nan), np.full(count, np.nan)
    several = n > 1
    if not several.any():
        means[nights] = values
        return Series(means, margins)
    present = n > 0
    means[present] = np.bincount(nights, weights=values, minlength=count)[present] / n[present]
    squares = np.bincount(nights, weights=(values - means[nights]) ** 2, minlength=count)
    quantiles = np.asarray([t_quantile(float(freedom)) for freedom in (n[several] - 1)])
    margins[several] = quantiles * np.sqrt(squares[several] / (n[several] - 1) / n[several])
    return Series(means, margins)


def _with_ends(series: Series, low: Column, high: Column, nights: Numbers) -> Series:
    """A score with the intervals over its items, which repeats of the same items do not narrow; means over repeats.

    The columns are those of repeats with a score; a night has an interval where each of its repeats has.
    """
    count = len(series.values)
    n = np.bincount(nights, minlength=count)
    ends = []
    for column in (low, high):
        sums = np.bincount(nights, weights=column, minlength=count)  # NaN where one lacks its end
        ends.append(np.divide(sums, n, out=np.full(count, np.nan), where=n > 0))
    return Series(series.values, np.maximum(series.values - ends[0], 0.0), np.maximum(ends[1] - series.values, 0.0))


def environment_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between two environments, in words: versions, driver, machine. A commit is no change of its own."""
    words = []
    for name in WATCHED:
        old, new = before["versions"].get(name), now["versions"].get(name)
        if old != new:
            words.append(f"{name} {old or 'none'} \u2192 {new or 'none'}")
    if before["driver"] != now["driver"]:
        words.append(f"driver {before['driver'] or 'none'} \u2192 {now['driver'] or 'none'}")
    machines = machine_words(before), machine_words(now)
    if machines[0] != machines[1]:
        words.append(f"machine {machines[0]} \u2192 {machines[1]}")
    if before["system"] != now["system"]:
        words.append(f"system {before['system']} \u2192 {now['system']}")
    return tuple(words)


def machine_words(environment: Mapping[str, Any]) -> str:
    """Accelerators or processor, with cores and memory."""
    devices = [one["name"] for one in environment["accelerators"]]
    named = f"{len(devices)} \u00d7 {devices[0]}" if devices else environment["processor"]
    cores, memory = count_of(environment["cores"], "core"), with_unit("bytes", environment["memory_bytes"])
    return f"{named}, {cores}, {memory}"
