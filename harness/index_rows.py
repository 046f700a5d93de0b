"""One row a record: what the index of a store keeps of it, so that reports need not read every record again.

A row says what a record fills, when and how it was taken, and its figures by metric: those that do not depend on a
suite's limits and prices. Nothing here is a source of truth; `rules` names the code that made the rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.items import task_estimate
from harness.metrics import METRICS, item_scores, memory_values
from harness.places import place_of
from harness.record import (
    Completed,
    Failed,
    MemoryMeasurement,
    QualityMeasurement,
    Record,
    ReportedMeasurement,
    ServingMeasurement,
)
from harness.record_file import read_record
from harness.scenario import ServingScenario
from harness.schema import canonical_json
from harness.serving_metrics import serving_values

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Of the rows; another one is made anew."""
SCORE = "score"
SCORE_ENDS = ("score_low", "score_high")
"""The ends of a score's 95 % interval over its items, or as it was reported."""
FIGURES = (*(key for key, metric in METRICS.items() if metric.scenario in ("serving", "memory")), SCORE)
"""The metrics that a row can have, each a column of its own."""
REASON_LIMIT = 400
"""Characters kept of why a cell was not measured."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS = (
    "cell", "repeat", "run_id", "model", "subject", "kind", "place", "status", "error", "reason", "group", "origin",
    "environment", "ceilings",
)
"""Columns of text in which few values come again and again."""
_MAKERS = (
    "environment", "index_rows", "items", "metrics", "migrations", "places", "record", "record_file", "scenario",
    "schema", "serving_metrics", "stats", "summary", "timeline",
)
"""The modules that decide what a row says."""

Row = dict[str, Any]


@cache
def schema() -> pa.Schema:
    """The columns of the index.

    `path` is the file below the suite's folder, `started_us` the time since 1970 in UTC; `subject`, `environment` (but
    for its ceilings), `ceilings` and `origin` are JSON, `place` is a list in JSON.
    """
    import pyarrow as pa

    words = pa.dictionary(pa.int32(), pa.string())
    fields = [
        ("path", pa.binary()), ("bytes", pa.int64()), ("id", pa.string()), ("started_us", pa.int64()),
        ("duration_s", pa.float64()), ("has_config", pa.bool_()), *((name, words) for name in _WORDS),
        *((key, pa.float64()) for key in (*FIGURES, *SCORE_ENDS)),
    ]
    return pa.schema(fields, metadata={"moebench": rules()})


@cache
def rules() -> str:
    """What made the rows, as a fingerprint: the version, and the text of the code that derives them."""
    parts = [str(VERSION)]
    folder = Path(__file__).parent
    for name in _MAKERS:
        file = folder / f"{name}.py"
        parts.append(hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else name)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def started_us(started: datetime) -> int:
    """Microseconds since 1970; a time without a zone is UTC."""
    aware = started if started.tzinfo else started.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """The time of `started_us`."""
    return _EPOCH + timedelta(microseconds=us)


def row_of(record: Record) -> Row:
    """What the index keeps of a record, but for its file."""
    outcome, cell = record.outcome, record.cell
    environment = record.environment
    return {
        "id": record.id,
        "started_us": started_us(record.started_at),
        "duration_s": record.duration_s,
        "has_config": bool(record.config),
        "cell": cell.id,
        "repeat": str(record.repeat),
        "run_id": record.run_id,
        "model": cell.subject.model,
        "subject": canonical_json(cell.subject),
        "kind": cell.scenario.kind,
        "place": json.dumps(place_of(cell.scenario), ensure_ascii=False),
        "status": outcome.status,
        "error": outcome.error if isinstance(outcome, Failed) else "",
        "reason": _reason(record)[:REASON_LIMIT],
        "group": record.group or "",
        "origin": canonical_json(record.origin) if record.origin is not None else "",
        "environment": environment.model_copy(update={"ceilings": None}).model_dump_json(),
        "ceilings": environment.ceilings.model_dump_json() if environment.ceilings is not None else "",
        **figures_of(record),
    }


def _reason(record: Record) -> str:
    outcome = record.outcome
    if isinstance(outcome, Completed):
        return ""
    return outcome.message if isinstance(outcome, Failed) else outcome.reason


def figures_of(record: Record) -> dict[str, float]:
    """The figures of a measured record by metric, in base units; empty for others."""
    if not isinstance(record.outcome, Completed):
        return {}
    measurement, scenario = record.outcome.measurement, record.cell.scenario
    if isinstance(measurement, MemoryMeasurement):
        return memory_values(measurement)
    if isinstance(measurement, QualityMeasurement):
        score = main_score(measurement)
        return {} if score is None else {SCORE: score, **_score_ends(measurement)}
    if isinstance(measurement, ServingMeasurement | ReportedMeasurement) and isinstance(scenario, ServingScenario):
        values = serving_values(scenario, measurement)
        return {key: float(value) for key, value in values.items() if key in METRICS and key in FIGURES}
    return {}


def main_score(measurement: QualityMeasurement) -> float | None:
    """The score by the task's main metric: as it was recorded, else the mean over items; None without either."""
    if measurement.main is not None:
        return measurement.main.value
    items = item_scores(measurement, measurement.main_metric)
    return math.fsum(items.values()) / len(items) if items else None


def _score_ends(measurement: QualityMeasurement) -> dict[str, float]:
    """The interval as a summary of this record alone would have it; empty where it would have none."""
    listed, items = measurement.main, item_scores(measurement, measurement.main_metric)
    value, stderr = (listed.value, listed.stderr) if listed else (None, None)
    higher = listed.higher_is_better if listed else True
    scored = task_estimate(items, value, stderr, measurement.items_asked or 0, higher_is_better=higher)
    if scored is None or scored[0].low is None or scored[0].high is None:
        return {}
    return dict(zip(SCORE_ENDS, (scored[0].low, scored[0].high), strict=True))


def rows_of(suite: Path, files: Sequence[tuple[str, int]]) -> tuple[pa.Table, list[str]]:
    """The rows of some files below a suite's folder, given with their sizes, and the files that are no records."""
    rows, broken = [], []
    for path, size in files:
        try:
            row = row_of(read_record(suite / path))
        except StoreError:
            broken.append(path)
        else:
            rows.append({"path": os.fsencode(path), "bytes": size, **row})
    return table_of(rows), broken


def table_of(rows: Iterable[Row]) -> pa.Table:
    """Rows as a table; what a row does not have is null."""
    import pyarrow as pa

    known = list(rows)
    told = {name for row in known for name in row}
    columns = []
    for field in schema():
        if field.name not in told:
            columns.append(pa.nulls(len(known), field.type))
            continue
        values = [row.get(field.name) for row in known]
        if pa.types.is_dictionary(field.type):
            columns.append(pa.array(values, pa.string()).dictionary_encode())
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema())
