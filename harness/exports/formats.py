"""Every format by its name, and what a reader may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.errors import InputError, nearest
from harness.exports.asked import TABLES, metric_keys, without_values
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
from harness.exports.printed import Printed, printed, printed_parts
from harness.exports.printed_loads import printed_loads
from harness.summary import ModelSummary

_DATA = {"models": model_table, "loads": load_table}
_PRINTED = {"models": printed, "loads": printed_loads}


@dataclass(frozen=True)
class Wanted:
    """What was asked for; not every format heeds all of it, see `FORMATS`."""

    model: str | None = None
    """A model or group by name; all where it is None."""
    metrics: tuple[str, ...] = ()
    """Metrics by key (`score:<task>` among them), column or title; those of the format where it is empty."""
    table: str | None = None
    """`models` or `loads`, of formats that hold one of them; None is `models`."""
    url: str | None = None
    """Where the report is to be found."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """The Hub's data set of a task."""


Heeded = Literal["model", "metric", "table", "url", "dataset"]
"""An option of the export."""


@dataclass(frozen=True)
class Format:
    """A format: what writes it, and the options that it heeds."""

    writer: Callable[[Exported, Wanted], str | bytes]
    heeds: tuple[Heeded, ...]


def write(name: str, exported: Exported, wanted: Wanted) -> str | bytes:
    """An export.

    Raises InputError, naming what is near, for an unknown format, table, model or metric, and for an option that the
    format does not heed.
    """
    check(name, wanted)
    return FORMATS[name].writer(exported, replace(wanted, metrics=_keys(name, exported, wanted)))


def empty_metrics(name: str, exported: Exported, wanted: Wanted) -> tuple[str, ...]:
    """The keys of the metrics that were asked for and of which no row has a value: their columns are empty.

    Raises InputError as `write` does.
    """
    keys = _keys(name, exported, wanted)
    return without_values(_chosen(exported, wanted), keys, _tables(name, wanted)) if keys else ()


def _tables(name: str, wanted: Wanted) -> tuple[str, ...]:
    return (wanted.table or "models",) if name != "json" else TABLES


def _keys(name: str, exported: Exported, wanted: Wanted) -> tuple[str, ...]:
    return metric_keys(exported, wanted.metrics, _tables(name, wanted))


def check(name: str, wanted: Wanted) -> None:
    """Raises InputError as `write` does, for what can be told without knowing the suite."""
    form = FORMATS[known(name, FORMATS, "format", "--format")]
    if wanted.table is not None:
        known(wanted.table, list(TABLES), "table", "--table")
    given: Mapping[Heeded, object] = {
        "model": wanted.model, "metric": wanted.metrics, "table": wanted.table, "url": wanted.url,
        "dataset": wanted.datasets,
    }
    for option, value in given.items():
        if value and option not in form.heeds:
            able = ", ".join(other for other, one in FORMATS.items() if option in one.heeds)
            why = "has both tables" if (option, name) == ("table", "json") else f"does not heed --{option}"
            raise InputError(f"{name} {why}", where=f"--{option}", hint=f"leave it out, or choose one of {able}")


def known(name: str, names: Mapping[str, object] | list[str], what: str, where: str) -> str:
    """`name`, which is among `names`. Raises InputError otherwise."""
    if name not in names:
        raise InputError(f"unknown {what} {name!r}", where=where, hint=nearest(name, names))
    return name


def _chosen(exported: Exported, wanted: Wanted) -> Exported:
    """The suite with the rows that were asked for."""
    return exported if wanted.model is None else replace(exported, summaries=(_model(exported, wanted),))


def _model(exported: Exported, wanted: Wanted) -> ModelSummary:
    # a model goes before a group of its name
    found = {one.model: one for one in sorted(exported.summaries, key=lambda one: not one.members)}
    if wanted.model is None:
        raise InputError("this format is of one model", where="--model", hint=f"name it; {nearest('', found)}")
    return found[known(wanted.model, list(found), "model", "--model")]


def _table(exported: Exported, wanted: Wanted) -> DataTable:
    return _DATA[wanted.table or "models"](_chosen(exported, wanted), wanted.metrics)


def _printed(exported: Exported, wanted: Wanted) -> Printed:
    return _PRINTED[wanted.table or "models"](_chosen(exported, wanted), wanted.metrics)


def _on_paper(exported: Exported, wanted: Wanted) -> tuple[Printed, ...]:
    """Two tables that fit a page where nobody chose the metrics, else the one that was asked for."""
    if wanted.metrics or wanted.table == "loads":
        return (_printed(exported, wanted),)
    return printed_parts(_chosen(exported, wanted))


def _badge(exported: Exported, wanted: Wanted) -> str:
    if len(wanted.metrics) > 1:
        raise InputError("a badge shows one metric", where="--metric", hint="give one")
    key = wanted.metrics[0] if wanted.metrics else None
    return suite_badge(exported, key) if wanted.model is None else model_badge(exported, _model(exported, wanted), key)


_ROWS: tuple[Heeded, ...] = ("model", "metric", "table")
FORMATS: Mapping[str, Format] = {
    "csv": Format(lambda exported, wanted: to_csv(_table(exported, wanted)), _ROWS),
    "json": Format(lambda exported, wanted: to_json(
        exported.suite, *(of(_chosen(exported, wanted), wanted.metrics) for of in _DATA.values())
    ), ("model", "metric")),
    "parquet": Format(lambda exported, wanted: to_parquet(_table(exported, wanted), exported.suite), _ROWS),
    "markdown": Format(lambda exported, wanted: to_markdown(_printed(exported, wanted)), _ROWS),
    "latex": Format(lambda exported, wanted: "\n\\bigskip\n\n".join(map(to_latex, _on_paper(exported, wanted))), _ROWS),
    "model-card": Format(
        lambda exported, wanted: model_card(exported, _model(exported, wanted), wanted.url), ("model", "url")
    ),
    "eval-results": Format(lambda exported, wanted: eval_results(
        exported, _model(exported, wanted), wanted.datasets, wanted.url
    ), ("model", "url", "dataset")),
    "badge": Format(_badge, ("model", "metric")),
}
BINARY = ("parquet",)
"""Formats that a terminal cannot show."""
SCHEMA = "json-schema"
"""Asked for as a format, but of no suite: see `json_document.schema_text`."""
