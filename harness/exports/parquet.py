"""Flat rows as Parquet: typed columns with their units, raw text."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from harness.exports.parts import EXPORT_SCHEMA, Column, DataTable, generator
from harness.stats import CONFIDENCE


def to_parquet(table: DataTable, suite: str) -> bytes:
    """The rows as a Parquet file; the same rows give the same bytes with one version of pyarrow.

    Text is `string`, quantities are `double`, counts of cells and devices `int64`, truth values `bool`. The file's
    metadata has `moebench.schema`, `moebench.generator`, `moebench.suite` and `moebench.confidence`; that of each
    column what `harness.exports.parts.Column` says of it, such as `unit` and `formula`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}
    fields = [pa.field(one.name, types[one.kind], metadata=_metadata(one)) for one in table.columns]
    about = {"schema": EXPORT_SCHEMA, "generator": generator(), "suite": suite, "confidence": CONFIDENCE}
    schema = pa.schema(fields, metadata={f"moebench.{key}": str(value) for key, value in about.items()})
    arrays = [
        pa.array([_typed(row[one.name], one) for row in table.rows], type=types[one.kind]) for one in table.columns
    ]
    buffer = BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer)
    return buffer.getvalue()


def _typed(value: Any, column: Column) -> Any:
    return float(value) if column.kind == "number" and value is not None else value


def _metadata(column: Column) -> Mapping[str, str]:
    described = column.model_dump(mode="json", exclude_none=True, exclude={"name", "kind"})
    return {key: str(value) for key, value in described.items()}
