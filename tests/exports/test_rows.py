"""Flat rows: every value once, in columns that say what it is."""

from __future__ import annotations

from dataclasses import replace

import builders
import pytest
from exported_suites import exported_of
from hypothesis import given
from hypothesis import strategies as st

from harness.exports import model_rows
from harness.exports.identity import OF_A_LOAD
from harness.exports.load_rows import ONCE, load_ending, load_table
from harness.exports.model_rows import model_table
from harness.exports.parts import ENDS, DataTable, Exported, Row, distinct, word
from harness.metrics import METRICS, of_scenario
from harness.scenario import ClosedLoop, Load, Offline, OpenLoop, Replay
from harness.stats import Estimate, counted
from harness.summary import ModelSummary, PointKey, UnreadWork


def row_of(table: DataTable, model: str) -> Row:
    return next(row for row in table.rows if row["model"] == model)


def one(exported: Exported, **changes: object) -> Exported:
    """The suite with its first model changed."""
    first, *others = exported.summaries
    return replace(exported, summaries=(replace(first, **changes), *others))  # type: ignore[arg-type]


def with_estimates(model: ModelSummary, **estimates: Estimate) -> ModelSummary:
    """The model with these estimates at every point."""
    return replace(model, points=tuple(
        replace(point, estimates={**point.estimates, **estimates}) for point in model.points
    ))


class TestModels:
    def test_values_and_intervals(self, small: Exported) -> None:
        row = row_of(model_table(small), "moe-8x2")
        assert (row["kind"], row["total_parameters"], row["active_parameters"]) == ("moe", 330_672, 109_488)
        low, value, high = (row[f"output_tokens_per_s_c16{end}"] for end in ("_low", "", "_high"))
        assert isinstance(low, float) and isinstance(value, float) and isinstance(high, float) and low < value < high
        assert (row["vllm_version"], row["accelerator"], row["failed_cells"]) == ("0.32.0", "Example CPU", 0)
        assert row["score_facts"] == 0.795
        assert "weights_bytes_low" not in row and "score_facts_low" in row

    def test_every_value_is_in_one_column(self, small: Exported) -> None:
        names = model_table(small).names
        assert len(set(names)) == len(names) < 80
        assert not [name for name in names if name.endswith(("_c1", "_c4"))]
        assert names.count("decode_flops_per_token") == 1

    def test_all_rows_have_the_columns_and_these_have_values(self) -> None:
        table = model_table(exported_of(builders.serving_record(), builders.quality_record(model="other")))
        assert all(list(row) == table.names for row in table.rows)
        assert table.rows[1]["output_tokens_per_s_c8"] is None
        known = [column.name for column in table.columns if column.statistic is not None]
        assert all(any(row[name] is not None for row in table.rows) for name in known)

    def test_one_repeat_has_no_ends(self) -> None:
        (row,) = model_table(exported_of(builders.serving_record())).rows
        assert row["output_tokens_per_s_c8"] == pytest.approx(1000.0)
        assert "output_tokens_per_s_c8_low" not in row

    def test_records_lead_back(self) -> None:
        record = builders.serving_record()
        (row,) = model_table(exported_of(record)).rows
        assert row["records"] == f"small/{record.cell.id[:16]}/20260105T080000-r0-{record.id}.json"

    def test_groups_list_their_members(self) -> None:
        records = [builders.quality_record(model=name, group="g") for name in ("a", "b")]
        row = model_table(exported_of(*records)).rows[-1]
        assert (row["model"], row["group"], row["members"]) == ("g", "g", "a b")

    def test_the_balance_of_experts_is_told_once_a_workload(self) -> None:
        suite = exported_of(*(
            builders.serving_record(scenario=builders.serving_scenario(level, name=name))
            for name in ("chat", "long doc") for level in (1, 8)
        ))
        model = with_estimates(suite.summaries[0], expert_load_gini=counted(0.1), distinct_experts=counted(3.0))
        suite = replace(suite, summaries=(model,))
        names = model_table(suite).names
        assert [name for name in names if "gini" in name] == [
            "expert_load_gini_chat_p32_o16", "expert_load_gini_long_doc_p32_o16"
        ]
        assert [row["distinct_experts"] for row in load_table(suite).rows] == [3.0] * 4
        assert not set(load_table(suite).names) & set(ONCE)

    def test_what_is_counted_of_a_group_has_ends_over_its_trainings(self) -> None:
        suite = exported_of(builders.serving_record())
        spread = Estimate(0.2, 0.1, 0.3, 3, "t interval over 3 trainings")
        model = with_estimates(suite.summaries[0], expert_load_gini=spread, dead_experts=counted(2.0))
        (row,) = model_table(replace(suite, summaries=(model,))).rows
        assert [row[f"expert_load_gini{end}"] for end in ("_low", "", "_high")] == [0.1, 0.2, 0.3]
        assert row["dead_experts"] == 2.0 and "dead_experts_low" not in row

    def test_what_is_told_once_is_named_in_the_description(self) -> None:
        told = [key for key in ONCE if METRICS[key].scenario == "routing"]
        assert all(f"`{key}`" in (model_rows.__doc__ or "") for key in told)
        assert set(told) | {"distinct_experts", "expected_distinct_experts"} == {m.key for m in of_scenario("routing")}

    def test_routing_that_cannot_be_read_is_a_note(self, small: Exported) -> None:
        (row, *_) = model_table(one(small, unread=(UnreadWork("chat", "the file is missing"),))).rows
        assert "the routing of chat is not shown: the file is missing" in str(row["notes"]).split("; ")

    def test_what_is_no_number_is_missing(self, small: Exported) -> None:
        (row, *_) = model_table(one(small, mean_score=Estimate(float("nan"), 0.0, float("inf"), 2, "odd"))).rows
        assert (row["mean_score"], row["mean_score_low"], row["mean_score_high"]) == (None, 0.0, None)

    def test_names_that_give_one_column_are_told_apart(self) -> None:
        names = ("a b", "a-b", "a b low", "a" * 99, "a" * 98)
        table = model_table(exported_of(*(builders.quality_record(task=name) for name in names)))
        found = {column.task: column.name for column in table.columns if column.statistic == "value" and column.task}
        assert len(set(found.values())) == len(names) and len(set(table.names)) == len(table.names)
        assert max(map(len, table.names)) <= len("score__low") + 63

    def test_lower_is_better_where_the_task_says_so(self, small: Exported) -> None:
        score = replace(small.summaries[0].scores["facts"], higher_is_better=False)
        column = next(c for c in model_table(one(small, scores={"facts": score})).columns if c.name == "score_facts")
        assert column.better == "lower"

    def test_only_what_was_asked_for(self, small: Exported) -> None:
        names = model_table(small, ("ttft_p99_s", "score:facts")).names
        assert names[names.index("records") + 1:] == [
            f"{name}{end}" for name in ("ttft_p99_s_c16", "score_facts") for end in ("", "_low", "_high")
        ]

    def test_licences_are_columns_and_those_of_a_recipe_where_its_members_agree(self, seeds: Exported) -> None:
        group = next(one for one in seeds.summaries if one.members)
        first, *others = (member.model for member in group.members)
        licences = {first: "MIT", **dict.fromkeys(others, "MIT")}

        def found(**changes: str) -> object:
            return row_of(model_table(replace(seeds, licences={**licences, **changes})), group.model)["license"]

        assert found() == "MIT" and found(**{first: "other"}) is None
        assert {row["license"] for row in model_table(seeds).rows} == {None}

    def test_nothing_gives_nothing(self) -> None:
        nothing = Exported("empty", (), None, "mean_score")
        assert model_table(nothing).rows == load_table(nothing).rows == ()


class TestLoads:
    def test_one_row_a_model_and_load(self, small: Exported) -> None:
        table = load_table(small)
        assert [(row["model"], row["level"]) for row in table.rows[:4]] == [
            ("dense-active", 1.0), ("dense-active", 4.0), ("dense-active", 16.0), ("dense-total", 1.0)
        ]
        assert all(list(row) == table.names for row in table.rows)

    def test_no_column_is_named_after_what_a_suite_holds(self, small: Exported, loads: Exported) -> None:
        fixed = {f"{key}{end}" for key in METRICS for end in ("", *(end for end, _ in ENDS))}
        facts = {"model", "kind", "weights", "precision", "quantization", "backend", "accelerator", "tensor_parallel",
                 "expert_parallel", "trainings", "workload", "prompt", "output", "prompt_tokens", "output_tokens",
                 "scenario_version", "load", "level", "burstiness", "requests", "flags", "notes", "origin"}
        assert set(load_table(small).names) | set(load_table(loads).names) <= fixed | facts

    def test_a_load_says_on_what_its_speeds_depend(self, small: Exported) -> None:
        models = {row["model"]: row for row in model_table(small).rows}
        assert {row["kind"] for row in load_table(small).rows} == {"moe", "dense"}
        for row in load_table(small).rows:
            for name in OF_A_LOAD:
                assert row[name] == models[str(row["model"])][name]

    def test_what_was_asked_for_is_there_though_nobody_has_it(self, small: Exported) -> None:
        joules = ("joules_per_output_token",)
        for table in (model_table(small, joules), load_table(small, joules)):
            (name,) = (name for name in table.names if name.startswith("joules"))
            assert all(row[name] is None for row in table.rows)
        assert "joules_per_output_token" not in load_table(small).names

    def test_flags_origins_and_notes(self, loads: Exported) -> None:
        rows = {(row["model"], row["load"], row["level"]): row for row in load_table(loads).rows}
        assert rows["moe-fine", "closed", 4.0]["flags"] == "16 of 64 requests were timed"
        assert rows["moe-8x2", "closed", 4.0]["flags"] is None
        assert rows["imported-moe", "closed", 16.0]["origin"] == "vllm bench serve 0.32.0, bench.json"
        assert "no energy: no accelerator" in str(rows["moe-8x2", "open", 2.0]["notes"])
        assert {load for _, load, _ in rows} == {"closed", "open", "offline"}

    def test_groups_say_over_how_many(self, seeds: Exported) -> None:
        assert {row["trainings"] for row in load_table(seeds).rows} == {1, 3}

    def test_what_an_adaptive_sweep_skips_is_no_failure(self, loads: Exported) -> None:
        row = row_of(model_table(loads), "dense-total")
        assert (row["failed_cells"], row["refused_cells"]) == (0, 0)


class TestNames:
    @pytest.mark.parametrize(("load", "ending"), [
        (ClosedLoop(concurrency=8), "_c8"), (OpenLoop(requests_per_s=2.5), "_rate2p5"),
        (OpenLoop(requests_per_s=2.5, burstiness=0.5), "_rate2p5_burstiness0p5"), (Replay(speed=2.0), "_replay2"),
        (Offline(), "_offline"), (OpenLoop(requests_per_s=1e-5), "_rate1em05"),
    ])
    def test_loads(self, load: Load, ending: str) -> None:
        assert load_ending(PointKey.of(builders.serving_scenario(load=load))) == ending

    @given(st.lists(st.text(max_size=6), max_size=12))
    def test_words_with_any_ending_are_distinct(self, names: list[str]) -> None:
        endings = ("", "_low", "_high")
        words = distinct([word(name) for name in names], endings)
        assert len({f"{one}{end}" for one in words for end in endings}) == 3 * len(names)

    def test_every_column_is_described(self, small: Exported, loads: Exported) -> None:
        for column in (*model_table(small).columns, *load_table(small).columns, *load_table(loads).columns):
            assert column.title and column.formula
            assert (column.unit is None) <= (column.statistic is None)
