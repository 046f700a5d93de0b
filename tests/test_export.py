"""Exports: columns with units, numbers that come back, and text that stays text."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
import sites
from builders import quality_record, serving_record, serving_scenario, small_suite_records, subject, with_paths

from harness import export
from harness.export import Row, export_rows, headline, suffixes, to_csv, to_json, to_markdown, unit_of
from harness.groups import group_summaries
from harness.metrics import METRICS, of_scenario
from harness.record import Record
from harness.scenario import ClosedLoop, FixedLength, Load, Offline, OpenLoop, RandomLengths, Replay, UniformLength
from harness.stats import counted
from harness.summarise import summarise
from harness.summary import PointKey, UnreadWork


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

    def test_what_is_counted_of_routing_has_ends_over_the_trainings_of_a_group(self) -> None:
        single = summarise(with_paths([serving_record(model=name, group="g") for name in "abc"]))
        members = [
            replace(one, points=tuple(
                replace(at, estimates={"expert_load_gini": counted(gini), "dead_experts": counted(2.0)})
                for at in one.points
            ))
            for one, gini in zip(single, (0.1, 0.2, 0.3), strict=True)
        ]
        assert "expert_load_gini_c8_low" not in export_rows(members)[0]
        group, first, *_ = export_rows([*group_summaries(members), *members])
        low, value, high = (group[f"expert_load_gini_c8{end}"] for end in ("_low", "", "_high"))
        assert (low, value, high) == (0.0, pytest.approx(0.2), pytest.approx(0.2 + 4.302653 * 0.1 / 3**0.5))
        assert (first["expert_load_gini_c8"], first["expert_load_gini_c8_low"]) == (0.1, None)
        assert (group["dead_experts_c8"], group["dead_experts_c8_low"]) == (2.0, None)
        names = list(group)
        assert names[names.index("expert_load_gini_c8") + 1] == "expert_load_gini_c8_low"

    def test_every_metric_of_routing_is_told_of(self) -> None:
        assert all(f"`{metric.key}`" in (export.__doc__ or "") for metric in of_scenario("routing"))

    def test_routing_that_cannot_be_read_is_a_note(self) -> None:
        (one,) = summarise(with_paths([serving_record()]))
        (row,) = export_rows([replace(one, unread=(UnreadWork("chat", "the file is missing"),))])
        assert "the routing of chat is not shown: the file is missing" in row["notes"].split("; ")

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

    def test_the_headline_is_of_closed_loops_where_there_are_any(self) -> None:
        closed, still = serving_record(), serving_record(scenario=serving_scenario(load=Offline()))
        assert "output_tokens_per_s_offline" not in headline(rows_of(closed, still))[0]
        assert "output_tokens_per_s_offline" in headline(rows_of(still))[0]


class TestPoints:
    def test_every_load_has_an_ending_of_its_own(self) -> None:
        loads: list[Load] = [
            ClosedLoop(concurrency=8), OpenLoop(requests_per_s=2.5), OpenLoop(requests_per_s=2.5, burstiness=0.5),
            Replay(speed=2.0), Offline(),
        ]
        points = [PointKey.of(serving_scenario(load=load)) for load in loads]
        assert list(suffixes(points).values()) == ["_c8", "_rate2p5", "_rate2p5_burstiness0p5", "_replay2", "_offline"]

    def test_workloads_that_share_a_name_and_mean_lengths_are_told_apart(self) -> None:
        mixed = RandomLengths(prompt=UniformLength(low=24, high=40), output=FixedLength(tokens=16))
        scenarios = [serving_scenario(8), serving_scenario(8, version=1), serving_scenario(8, lengths=mixed)]
        found = suffixes([PointKey.of(one) for one in scenarios])
        assert len(set(found.values())) == 3
        assert all(one.startswith("_chat_p32_o16") for one in found.values())

    def test_long_prompts_are_written_out(self) -> None:
        keys = [PointKey.of(serving_scenario(8, prompt_tokens=tokens)) for tokens in (16380, 16384)]
        assert list(suffixes(keys).values()) == ["_chat_p16380_o16_c8", "_chat_p16384_o16_c8"]

    def test_flags_origins_and_notes_are_columns(self) -> None:
        rows = {row["model"]: row for row in rows_of(*sites.load_records(repeats=1))}
        assert rows["moe-fine"]["flags_c4"] == "16 of 64 requests were timed"
        assert rows["moe-8x2"]["flags_c4"] is None and "flags_c8" not in rows["moe-8x2"]
        assert rows["imported-moe"]["origin_c16"] == "vllm bench serve 0.32.0, bench.json"
        assert "no energy: no accelerator" in rows["moe-8x2"]["notes"]
        assert unit_of("flags_c4") is None and unit_of("joules_per_output_token_rate2p5") == "joules"

    def test_what_an_adaptive_sweep_skips_is_no_failure(self) -> None:
        rows = {row["model"]: row for row in rows_of(*sites.load_records(repeats=1))}
        assert (rows["dense-total"]["failed_cells"], rows["dense-total"]["refused_cells"]) == (0, 0)


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
        assert (document["schema"], document["confidence"]) == (2, 0.95)
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
