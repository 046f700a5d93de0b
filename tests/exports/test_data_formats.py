"""CSV, JSON and Parquet: the same rows, and what each column is."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from builders import serving_record, subject
from exported_suites import exported_of

from harness.exports.csv_text import harmless, to_csv
from harness.exports.formats import Wanted, write
from harness.exports.json_document import Document, schema_text
from harness.exports.load_rows import load_table
from harness.exports.model_rows import model_table
from harness.exports.parquet import to_parquet
from harness.exports.parts import EXPORT_SCHEMA, Column, DataTable, Exported
from harness.metrics import METRICS

GOLDEN = Path(__file__).parent.parent / "golden"


def table(**columns: Any) -> DataTable:
    """One row."""
    kinds = {str: "text", bool: "truth", int: "integer"}
    described = (
        Column.model_validate({"name": name, "kind": kinds.get(type(value), "number"), "title": name})
        for name, value in columns.items()
    )
    return DataTable(tuple(described), (columns,))


class TestCsv:
    def test_numbers_come_back(self, small: Exported) -> None:
        rows = load_table(small).rows
        back = list(csv.DictReader(io.StringIO(to_csv(load_table(small)), newline="")))
        assert [row["model"] for row in back] == [row["model"] for row in rows]
        for text, row in zip(back, rows, strict=True):
            assert float(text["ttft_p99_s"]) == row["ttft_p99_s"]

    @pytest.mark.parametrize("start", [
        "=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\u00a0=", "\u3000@", "\ufeff=", "\u200b=", "\uff1d", "\uff0b",
        "\uff0d", "\uff20", "\ufe66", "\u2212", "|", "%", "\x00=",
    ])
    def test_formulas_are_text(self, start: str) -> None:
        (cell,) = next(csv.DictReader(io.StringIO(to_csv(table(model=f"{start}cmd()")), newline=""))).values()
        assert re.fullmatch(r"[\s\ufffd\u00a0\u3000]*'.cmd\(\)", cell)

    @pytest.mark.parametrize("text", ["a;=1", "a\t@x", "a\n-1", "a;  +1", "a\u2028=1"])
    def test_formulas_behind_what_another_language_separates_by_are_text(self, text: str) -> None:
        assert "'" in harmless(text)

    @pytest.mark.parametrize("text", ["a-b", "a=b", "x@y", "a, b; c", "it's", "50 %", ""])
    def test_other_text_is_left_alone(self, text: str) -> None:
        assert harmless(text) == text

    def test_negative_numbers_and_missing_values_are_left_alone(self) -> None:
        assert to_csv(table(a=-1.5, b=None, c='x,"y', d=False)) == 'a,b,c,d\r\n-1.5,,"x,""y",False\r\n'

    def test_a_models_name_is_made_harmless(self) -> None:
        suite = exported_of(serving_record(subject=subject("=HYPERLINK(1)")))
        assert to_csv(model_table(suite)).splitlines()[1].startswith("'=HYPERLINK(1),")

    def test_fields_are_quoted_where_they_must_be(self) -> None:
        assert to_csv(table(a="x", b="x,y", c='"', d="x\ny")) == 'a,b,c,d\r\nx,"x,y","""","x\ny"\r\n'

    def test_no_rows(self) -> None:
        assert to_csv(DataTable((), ())) == ""


@pytest.fixture(scope="module")
def document(small: Exported) -> Any:
    return json.loads(write("json", small, Wanted()))


class TestJson:
    def test_rows_are_those_of_the_tables(self, document: Any, small: Exported) -> None:
        assert document["schema"] == EXPORT_SCHEMA == 5 and document["suite"] == "small"
        assert document["models"]["rows"] == list(model_table(small).rows)
        assert document["loads"]["rows"] == list(load_table(small).rows)

    @pytest.mark.parametrize("name", ["small", "loads", "seeds"])
    def test_it_keeps_to_its_schema(self, name: str, request: pytest.FixtureRequest) -> None:
        text = write("json", request.getfixturevalue(name), Wanted())
        jsonschema.validate(json.loads(text), json.loads(schema_text()), jsonschema.Draft202012Validator)
        Document.model_validate_json(text)

    @pytest.mark.parametrize(("change", "value"), [("schema", 4), ("suite", None), ("odd", 1), ("loads", [])])
    def test_the_schema_refuses_another_document(self, document: Any, change: str, value: Any) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, change: value}, json.loads(schema_text()))

    def test_every_number_says_what_it_is(self, document: Any) -> None:
        for rows in (document["models"], document["loads"]):
            columns = {column["name"]: column for column in rows["columns"]}
            for name, value in ((name, value) for row in rows["rows"] for name, value in row.items()):
                if isinstance(value, float):
                    assert columns[name]["kind"] == "number" and columns[name]["formula"]
        columns = {column["name"]: column for column in document["models"]["columns"]}
        ttft = columns["ttft_p50_s_c16_low"]
        assert (ttft["unit"], ttft["better"], ttft["statistic"]) == ("seconds", "lower", "low")
        assert (ttft["metric"], ttft["load"]) == ("ttft_p50_s", "concurrency 16")
        assert ttft["formula"] == METRICS["ttft_p50_s"].formula
        assert (columns["score_sort"]["task"], columns["score_sort"]["unit"]) == ("sort", "1")

    def test_the_schema_is_as_it_was(self) -> None:
        assert schema_text() == (GOLDEN / "export-v5.schema.json").read_text(encoding="utf-8")

    def test_the_document_is_as_it_was(self, small: Exported) -> None:
        text = str(write("json", small, Wanted(metrics=("weights_bytes", "output_tokens_per_s"))))
        document = json.loads(text, parse_float=lambda number: float(f"{float(number):.9g}"))
        found = json.dumps(document | {"generator": "moebench"}, indent=1) + "\n"
        assert found == (GOLDEN / "export-v5.json").read_text(encoding="utf-8")


class TestParquet:
    def test_pandas_reads_typed_columns(self, small: Exported) -> None:
        frame = pd.read_parquet(io.BytesIO(to_parquet(model_table(small), "small")))
        assert list(frame["model"]) == [one.model for one in small.summaries]
        assert frame["total_parameters"].dtype == "float64" and frame["tensor_parallel"].dtype == "int64"
        assert frame["expert_parallel"].dtype == "bool" and frame["group"].isna().all()
        best = frame.set_index("model")["score_facts"]
        assert best["moe-8x2"] == 0.795

    def test_metadata_says_what_it_is(self, small: Exported) -> None:
        from pyarrow import parquet

        schema = parquet.read_schema(io.BytesIO(to_parquet(load_table(small), "small")))
        assert schema.metadata[b"moebench.schema"] == b"5" and schema.metadata[b"moebench.suite"] == b"small"
        field = schema.field("ttft_p50_s_low").metadata
        assert (field[b"unit"], field[b"better"], field[b"statistic"]) == (b"seconds", b"lower", b"low")
        assert str(schema.field("flags").type if "flags" in schema.names else "string") == "string"

    def test_the_same_rows_give_the_same_bytes(self, small: Exported) -> None:
        assert to_parquet(model_table(small), "small") == to_parquet(model_table(small), "small")

    def test_no_rows_are_a_file_too(self) -> None:
        nothing = Exported("empty", (), None, "mean_score")
        assert pd.read_parquet(io.BytesIO(to_parquet(model_table(nothing), "empty"))).empty
