"""What each run of a suite did: when, on which machine, with which software, how much it measured, and what failed.

Everything comes from the rows of the store's index; no record is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.history import machine_words
from harness.index_rows import time_of
from harness.store_index import StoreIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

STATES = ("completed", "failed", "refused", "skipped")
SOFTWARE = ("moebench", "vllm", "torch", "lm_eval")
"""The versions that are listed."""


class Reason(NamedTuple):
    """Why cells were not measured."""

    state: str
    words: str
    cells: int
    models: tuple[str, ...]
    what: tuple[str, ...]
    """The cells in words, whatever their model."""


class RunFile(NamedTuple):
    """A record of a run."""

    path: str
    """Of the file below the store's root."""
    model: str
    what: str
    """The cell in words."""


@dataclass(frozen=True)
class Run:
    """One run; what its records do not agree on is listed as often as it differs."""

    id: str
    started: datetime
    duration_s: float
    """From the start of its first cell to the end of its last one."""
    machines: tuple[str, ...]
    versions: dict[str, tuple[str, ...]]
    """Of `SOFTWARE`; empty where it was not installed."""
    commits: tuple[str, ...]
    models: tuple[str, ...]
    """By name."""
    cells: dict[str, int]
    """Cells by what came of them; one of which only some repeats failed counts in both."""
    reasons: tuple[Reason, ...]
    """The most frequent first."""
    tools: tuple[str, ...]
    """The other tools that measured, where it is an import."""
    rows: tuple[int, ...]
    """Of the index, by age."""


def runs_of(index: StoreIndex, most: int | None = None) -> tuple[list[Run], int]:
    """The runs of a suite, the newest first and no more than `most` of them, and how many there are."""
    codes, ids = index.codes("run_id")
    order = np.lexsort((index.started_us, codes))
    groups = [rows for rows in np.split(order, np.searchsorted(codes[order], np.arange(1, len(ids)))) if len(rows)]
    groups.sort(key=lambda rows: (int(index.started_us[rows[0]]), ids[int(codes[rows[0]])]), reverse=True)
    reader = _Reader(index)
    return [reader.run(rows) for rows in groups[:most]], len(groups)


def files_of(index: StoreIndex, runs: Iterable[Run]) -> Iterator[dict[str, list[RunFile]]]:
    """The records of each run by what came of their cells, in the order of models and cells."""
    columns = [index.codes(name) for name in ("status", "model", "place")]
    for run in runs:
        found: dict[str, list[RunFile]] = {state: [] for state in STATES}
        for row in run.rows:
            state, model, place = (words[codes[row]] for codes, words in columns)
            found[state].append(RunFile(f"{index.folder.name}/{index.paths[row]}", model, _place_words(place)))
        for files in found.values():
            files.sort(key=lambda one: (one.model, one.what, one.path))
        yield found


class _Reader:
    """The columns that runs are told from."""

    def __init__(self, index: StoreIndex) -> None:
        names = ("run_id", "cell", "model", "place", "status", "error", "reason", "environment", "origin")
        self._columns = {name: index.codes(name) for name in names}
        self._started = index.started_us
        self._ended = index.started_us / 1e6 + index.numbers("duration_s")
        self._environments = [json.loads(text) for text in self._columns["environment"][1]]

    def run(self, rows: Numbers) -> Run:
        """The run of some rows, which are by age."""
        machines = [self._environments[code] for code in self._distinct("environment", rows)]
        versions = {
            name: _several(one["versions"].get(name) for one in machines) for name in SOFTWARE
        }
        started_us = int(self._started[rows[0]])
        return Run(
            id=self._words("run_id", rows)[0],
            started=time_of(started_us),
            duration_s=float(self._ended[rows].max()) - started_us / 1e6,
            machines=_several(machine_words(one) for one in machines),
            versions=versions,
            commits=_several(one["commit"] for one in machines),
            models=tuple(sorted(self._words("model", rows))),
            cells=self._cells(rows),
            reasons=self._reasons(rows),
            tools=_several(_tool(text) for text in self._words("origin", rows)),
            rows=tuple(rows.tolist()),
        )

    def _distinct(self, name: str, rows: Numbers) -> list[int]:
        """The codes of a column among some rows, in the order in which they are first met."""
        return list(dict.fromkeys(self._columns[name][0][rows].tolist()))

    def _words(self, name: str, rows: Numbers) -> list[str]:
        words = self._columns[name][1]
        return [words[code] for code in self._distinct(name, rows)]

    def _cells(self, rows: Numbers) -> dict[str, int]:
        states, words = self._columns["status"]
        met = set(zip(states[rows].tolist(), self._columns["cell"][0][rows].tolist(), strict=True))
        counts = Counter(words[state] for state, _ in met)
        return {state: counts[state] for state in STATES}

    def _reasons(self, rows: Numbers) -> tuple[Reason, ...]:
        """Failed and refused cells by their reason."""
        states, words = self._columns["status"]
        told = [row for row in rows.tolist() if words[states[row]] in ("failed", "refused")]
        names = ("status", "error", "reason")
        by_reason: dict[tuple[str, ...], list[int]] = {}
        for row in told:
            key = tuple(self._columns[name][1][self._columns[name][0][row]] for name in names)
            by_reason.setdefault(key, []).append(row)
        found = []
        for key, some in by_reason.items():
            at = np.array(some)
            what = tuple(map(_place_words, self._words("place", at)))
            models = tuple(sorted(self._words("model", at)))
            cells = len(self._distinct("cell", at))
            found.append(Reason(key[0], ": ".join(filter(None, key[1:])), cells, models, what))
        return tuple(sorted(found, key=lambda one: (-one.cells, one.state, one.words)))


def _several(values: Iterable[str | None]) -> tuple[str, ...]:
    """Each once, without those that are not there."""
    return tuple(dict.fromkeys(value for value in values if value))


def _place_words(place: str) -> str:
    """What a cell measures, of `harness.places.place_of` in JSON: `chat, concurrency 8`, a task, memory, routing."""
    kind, *rest = json.loads(place)
    if kind == "serving":
        return f"{rest[0]}, {rest[-1]}"
    return f"routing of {rest[-1]}" if kind == "routing" else str(rest[0] if rest else kind)


def _tool(origin: str) -> str:
    """The tool of an imported record, with its version; empty for moebench's own."""
    if not origin:
        return ""
    fields = json.loads(origin)
    return f"{fields['tool']} {fields['version']}" if fields["version"] else str(fields["tool"])
