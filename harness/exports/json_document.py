"""Flat rows as one JSON document that tells what each column is, and the JSON Schema of that document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from pydantic import ConfigDict, Field

from harness.exports.parts import EXPORT_SCHEMA, Column, DataTable, Scalar, generator
from harness.schema import Frozen
from harness.stats import CONFIDENCE


class Rows(Frozen):
    """Flat rows, and what each column of them is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    columns: tuple[Column, ...]
    """Every key of a row, in order; most columns without any value are left out."""
    rows: tuple[dict[str, Scalar], ...]
    """Every row has every column, null where the value is missing."""


class Document(Frozen):
    """What `moebench export --format json` writes, and a site's data.json. Numbers are in base units."""

    model_config = ConfigDict(use_attribute_docstrings=True, title="moebench export")

    schema_version: Literal[5] = Field(alias="schema")
    """Changes when a column changes its name or meaning, or the document its shape."""
    generator: str
    """The program that wrote it, with its version."""
    suite: str
    """The suite whose records these are."""
    confidence: float
    """Of the intervals whose ends are the columns with the statistic "low" and "high"."""
    models: Rows
    """One row a model or group of trainings."""
    loads: Rows
    """One row a model or group and load at which it served."""


def to_json(suite: str, models: DataTable, loads: DataTable) -> str:
    """The rows of a suite (see `model_table` and `load_table`) as a `Document`, a column and a row a line."""
    return (
        f'{{\n "schema": {EXPORT_SCHEMA},\n "generator": {_text(generator())},\n "suite": {_text(suite)},\n'
        f' "confidence": {CONFIDENCE},\n "models": {_table(models)},\n'
        f' "loads": {_table(loads)}\n}}\n'
    )


def schema_text() -> str:
    """The JSON Schema of `Document` (draft 2020-12)."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema()}
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _table(table: DataTable) -> str:
    columns = (column.model_dump(mode="json", exclude_defaults=True) for column in table.columns)
    return f'{{\n  "columns": {_lines(columns)},\n  "rows": {_lines(table.rows)}\n }}'


def _lines(values: Iterable[object]) -> str:
    texts = ",\n   ".join(map(_text, values))
    return f"[\n   {texts}\n  ]" if texts else "[]"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
