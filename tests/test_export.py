"""Exports: columns with units, numbers that come back, and text that stays text."""

from __future__ import annotations

import csv
import io
import json

import pytest
from builders import quality_record, serving_record, serving_scenario, small_suite_records, subject, with_paths

from harness.export import Row, export_rows, headline, to_csv, to_json, to_markdown, unit_of
from harness.groups import group_summaries
from harness.metrics import METRICS
from harness.record import Record
from harness.summarise import summarise


def rows_of(*records: Record) -> list[Row]:
    return export_rows(summarise(with_paths(list(records))))


@pytest.fixture(scope="module")
def small() -> list[Row]:
    return rows_of(*small_suite_records())


class TestRows:
    def test_values_and_intervals(self, small: list[Row]) -> None:
        row = next(row for row in small if row["model"] == "moe-8x2")
        assert (row["kind"], row["total_parameters"], row["active_parameters"]) == ("moe", 330_672, 109_488)
        assert row["output_tokens_per_s_c16_low"] < row["output_tokens_per_s_c16"] < row["output_tokens_per_s_c16_high"]
        assert (row["vllm_version"], row["accelerator"], row["failed_cells"]) == ("0.32.0", "Example CPU", 0)
        assert row["score_facts"] == 0.795
        assert "weights_bytes_low" not in row and "score_facts_low" in row

    def test_all_rows_have_the_same_columns(self) -> None:
        rows = rows_of(serving_record(), quality_record(model="other"))
        assert list(rows[0]) == list(rows[1])
        assert rows[0]["score_facts"] is None and rows[1]["output_tokens_per_s_c8"] is None

    def test_one_repeat_leaves_the_ends_empty(self) -> None:
        (row,) = rows_of(serving_record())
        assert row["output_tokens_per_s_c8"] == pytest.approx(1000.0)
        assert row["output_tokens_per_s_c8_low"] is None and row["output_tokens_per_s_c8_high"] is None

    def test_workloads_are_told_apart(self) -> None:
        (row,) = rows_of(serving_record(), serving_record(scenario=serving_scenario(8, name="long doc")))
        assert {"output_tokens_per_s_chat_p32_o16_c8", "output_tokens_per_s_long_doc_p32_o16_c8"} <= set(row)

    def test_records_lead_back(self) -> None:
        record = serving_record()
        (row,) = rows_of(record)
        assert row["records"] == f"small/{record.cell.id[:16]}/20260105T080000-r0-{record.id}.json"

    def test_groups_list_their_members(self) -> None:
        records = [quality_record(model=name, group="g") for name in ("a", "b")]
        (row,) = export_rows(group_summaries(summarise(with_paths(records))))
        assert (row["model"], row["group"], row["members"]) == ("g", "g", "a b")

    def test_nothing_gives_nothing(self) -> None:
        assert export_rows([]) == []
        assert to_csv([]) == "" and to_markdown([]) == "" and json.loads(to_json([]))["rows"] == []

    def test_headline(self, small: list[Row]) -> None:
        assert list(headline(small)[0]) == [
            "model", "kind", "failed_cells", "refused_cells", "total_parameters", "active_parameters", "weights_bytes",
            "output_tokens_per_s_c16", "ttft_p50_s_c16", "tpot_p50_s_c16", "decode_flops_per_token_c16", "mean_score",
            "score_facts", "score_sort",
        ]
        assert "ttft_p50_s_c4" in headline(small, 4)[0] and headline([]) == []


class TestCsv:
    def test_numbers_come_back(self, small: list[Row]) -> None:
        back = list(csv.DictReader(io.StringIO(to_csv(small), newline="")))
        assert [row["model"] for row in back] == [row["model"] for row in small]
        for text, row in zip(back, small, strict=True):
            assert float(text["ttft_p99_s_c4"]) == row["ttft_p99_s_c4"]

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
    def test_formulas_are_text(self, start: str) -> None:
        (cell,) = next(csv.DictReader(io.StringIO(to_csv([{"model": f"{start}cmd()"}]), newline=""))).values()
        assert cell == f"'{start}cmd()"

    def test_negative_numbers_and_missing_values_are_left_alone(self) -> None:
        assert to_csv([{"a": -1.5, "b": None, "c": 'x,"y'}]) == 'a,b,c\r\n-1.5,,"x,""y"\r\n'

    def test_a_models_name_is_made_harmless(self) -> None:
        (row,) = rows_of(serving_record(subject=subject("=HYPERLINK(1)")))
        assert to_csv([row]).splitlines()[1].startswith("'=HYPERLINK(1),")


class TestJson:
    def test_document(self, small: list[Row]) -> None:
        document = json.loads(to_json(small))
        assert (document["schema"], document["confidence"]) == (1, 0.95)
        assert document["generator"].startswith("moebench")
        assert document["rows"] == small

    def test_every_number_has_a_unit(self, small: list[Row]) -> None:
        document = json.loads(to_json(small))
        plain = {"tensor_parallel", "expert_parallel", "failed_cells", "refused_cells"}
        numeric = {key for row in small for key, value in row.items() if isinstance(value, int | float)} - plain
        assert numeric == set(document["units"])
        assert document["units"]["ttft_p50_s_c4_low"] == "seconds"
        assert document["units"]["output_tokens_per_s_c4"] == "tokens per second"
        assert document["units"]["score_sort_high"] == "1"

    def test_units(self) -> None:
        assert all(unit_of(key) == metric.unit for key, metric in METRICS.items())
        assert unit_of("model") is None and unit_of("kv_cache_tokens") == "tokens"


class TestMarkdown:
    def test_table(self) -> None:
        text = to_markdown([{"model": "a|b", "x": 1234.5678}, {"model": "two\nlines", "x": None}])
        assert text == "| model | x |\n| --- | ---: |\n| a\\|b | 1234.57 |\n| two lines |  |\n"

    def test_markup_is_escaped(self) -> None:
        text = to_markdown([{"model": "[x](y) <script> `z` \\"}])
        assert text.splitlines()[2] == "| \\[x](y) \\<script> \\`z\\` \\\\ |"
