"""Every load of every model as a table for readers: what Markdown and LaTeX lay out where the loads are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.exports.load_rows import origin_words
from harness.exports.parts import Exported
from harness.exports.printed import (
    Printed,
    PrintedCell,
    PrintedColumn,
    PrintedRow,
    best_of,
    column_of,
    kind_words,
    notes_at,
    one_line,
)
from harness.metrics import METRICS
from harness.summary import ModelSummary, OperatingPoint, PointKey

HEADLINE = ("output_tokens_per_s", "ttft_p50_s", "ttft_p99_s", "tpot_p50_s", "tpot_p99_s", "joules_per_output_token")
"""The columns of a table whose metrics nobody chose."""
_LONGEST_NAME, _LONGEST_LOAD, _LONGEST_NOTE = 120, 60, 300
Served = tuple[ModelSummary, OperatingPoint]


def printed_loads(exported: Exported, metrics: Sequence[str] = ()) -> Printed:
    """One row a model or group and load, of `metrics` by key where some are given, else of the headline's.

    The best of each load stands apart among what was measured at that load.
    """
    served = [(one, point) for one in exported.summaries for point in one.points]
    keys = metrics or [key for key in HEADLINE if any(key in point.estimates for _, point in served)]
    columns = [_column(exported, key, served) for key in keys]
    several = len({point.key.workload for _, point in served}) > 1
    heads = [PrintedColumn(title, "", "none", numeric=False) for title in ("Workload", "Load")[not several:]]
    notes = {text: number for number, text in enumerate(dict.fromkeys(
        text for one in served for text in _notes(*one)), 1)}
    rows = [
        PrintedRow(
            one_line(summary.model, _LONGEST_NAME), kind_words(summary),
            (*_where(point.key, several=several), *(cells[index] for _, cells in columns)),
            tuple(notes[text] for text in dict.fromkeys(_notes(summary, point))),
        )
        for index, (summary, point) in enumerate(served)
    ]
    caption = one_line(f"Suite {exported.suite}, every load. Margins are 95 % intervals.", _LONGEST_NOTE)
    return Printed(caption, (*heads, *(head for head, _ in columns)), tuple(rows), tuple(notes))


def _where(key: PointKey, *, several: bool) -> list[PrintedCell]:
    """The workload, where the table has several, and the load."""
    workload = one_line(f"{key.name}, {key.prompt} → {key.output} tokens", _LONGEST_NAME)
    return [*([PrintedCell(workload)] if several else []), PrintedCell(one_line(key.words, _LONGEST_LOAD))]


def _column(exported: Exported, key: str, served: Sequence[Served]) -> tuple[PrintedColumn, list[PrintedCell]]:
    """The head of a metric and its cells in the order of the rows."""
    metric = METRICS[key]
    best = {
        (at, id(summary)) for at in dict.fromkeys(point.key for _, point in served)
        for summary in best_of(replace(exported, point=at), metric)
    }
    found = [point.estimates.get(key) for _, point in served]
    return column_of(metric, found, [(point.key, id(summary)) in best for summary, point in served])


def _notes(summary: ModelSummary, point: OperatingPoint) -> Iterator[str]:
    """What a reader of the row has to know, a sentence each."""
    yield from notes_at(summary, point)
    if (origin := origin_words(point)) is not None:
        yield one_line(f"Measured by {origin}.", _LONGEST_NOTE)
