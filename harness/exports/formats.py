"""Every format by its name, and what a reader may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.errors import InputError, nearest
from harness.exports.badge import model_badge, suite_badge
from harness.exports.csv_text import to_csv
from harness.exports.json_document import to_json
from harness.exports.latex import to_latex
from harness.exports.load_rows import load_table
from harness.exports.markdown import to_markdown
from harness.exports.model_card import eval_results, model_card
from harness.exports.model_rows import model_table
from harness.exports.parquet import to_parquet
from harness.exports.parts import DataTable, Exported
from harness.exports.printed import printed
from harness.metrics import METRICS
from harness.summary import ModelSummary

TABLES = {"models": model_table, "loads": load_table}


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    model: str | None = None
    """A model or group by name; all where it is None."""
    metrics: tuple[str, ...] = ()
    """Keys of metrics, `score:<task>` among them; those of the format where it is empty."""
    table: str = "models"
    """`models` or `loads`, where a format can hold one of them."""
    url: str | None = None
    """Where the report is to be found."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """The Hub's data set of a task."""


Writer = Callable[[Exported, Wanted], str | bytes]


def write(name: str, exported: Exported, wanted: Wanted) -> str | bytes:
    """An export. Raises InputError, naming what is near, for an unknown format, table, model or metric."""
    writer = FORMATS[known(name, FORMATS, "format", "--format")]
    known(wanted.table, TABLES, "table", "--table")
    keys = [*(key for key in METRICS if key != "score"), *(f"score:{task}" for task in exported.tasks)]
    for key in wanted.metrics:
        known(key, keys, "metric", "--metric")
    return writer(exported, wanted)


def known(name: str, names: Mapping[str, object] | list[str], what: str, where: str) -> str:
    """`name`, which is among `names`. Raises InputError otherwise."""
    if name not in names:
        raise InputError(f"unknown {what} {name!r}", where=where, hint=nearest(name, names))
    return name


def _chosen(exported: Exported, wanted: Wanted) -> Exported:
    """The suite with the rows that were asked for."""
    return exported if wanted.model is None else Exported(
        exported.suite, (_model(exported, wanted),), exported.point, exported.score
    )


def _model(exported: Exported, wanted: Wanted) -> ModelSummary:
    if wanted.model is None:
        raise InputError("this format is of one model", where="--model", hint="name it")
    # a model goes before a group of its name
    found = {one.model: one for one in sorted(exported.summaries, key=lambda one: not one.members)}
    return found[known(wanted.model, list(found), "model", "--model")]


def _table(exported: Exported, wanted: Wanted) -> DataTable:
    return TABLES[wanted.table](_chosen(exported, wanted), wanted.metrics)


def _badge(exported: Exported, wanted: Wanted) -> str:
    if len(wanted.metrics) > 1:
        raise InputError("a badge shows one metric", where="--metric", hint="give one")
    key = wanted.metrics[0] if wanted.metrics else None
    return suite_badge(exported, key) if wanted.model is None else model_badge(exported, _model(exported, wanted), key)


FORMATS: Mapping[str, Writer] = {
    "csv": lambda exported, wanted: to_csv(_table(exported, wanted)),
    "json": lambda exported, wanted: to_json(
        exported.suite, *(of(_chosen(exported, wanted), wanted.metrics) for of in TABLES.values())
    ),
    "parquet": lambda exported, wanted: to_parquet(_table(exported, wanted), exported.suite),
    "markdown": lambda exported, wanted: to_markdown(printed(_chosen(exported, wanted), wanted.metrics)),
    "latex": lambda exported, wanted: to_latex(printed(_chosen(exported, wanted), wanted.metrics)),
    "model-card": lambda exported, wanted: model_card(exported, _model(exported, wanted), wanted.url),
    "eval-results": lambda exported, wanted: eval_results(
        exported, _model(exported, wanted), wanted.datasets, wanted.url
    ),
    "badge": _badge,
}
BINARY = ("parquet",)
"""Formats that a terminal cannot show."""
SCHEMA = "json-schema"
"""Asked for as a format, but of no suite: see `json_document.schema_text`."""
