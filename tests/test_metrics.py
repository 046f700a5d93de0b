"""The table of metrics, and what is derived from the raw observations of memory and of items."""

from __future__ import annotations

import subprocess
import sys

import pytest
from builders import device_memory, memory_record, quality_record
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import COUNTED, METRICS, item_scores, memory_split, memory_values, of_scenario
from harness.record import Completed, MemoryMeasurement, QualityMeasurement, Record, Sample


class TestTable:
    def test_keys_are_the_names_of_their_rows(self) -> None:
        assert all(key == metric.key for key, metric in METRICS.items())
        assert all(metric.title and metric.unit and metric.formula for metric in METRICS.values())
        assert set(METRICS) >= COUNTED

    def test_no_two_rows_share_a_key_or_a_title(self) -> None:
        kinds = [of_scenario(kind) for kind in ("architecture", "memory", "serving", "routing", "quality")]
        rows = [metric for kind in kinds for metric in kind]
        assert len({metric.key for metric in rows}) == len({metric.title for metric in rows}) == len(METRICS)

    def test_units_agree_with_names(self) -> None:
        for metric in METRICS.values():
            if metric.key.endswith("_bytes"):
                assert metric.unit == "bytes"
            if metric.key.endswith("_s") and not metric.key.endswith("_per_s"):
                assert metric.unit == "seconds"
            if metric.key.endswith("tokens_per_s"):
                assert metric.unit == "tokens per second"

    def test_limits_hold_for_shares(self) -> None:
        limits = {metric.key: (metric.least, metric.most) for metric in METRICS.values()}
        assert limits["expert_load_gini"] == limits["expert_load_entropy"] == limits["score"] == (0.0, 1.0)
        assert limits["expert_load_max_over_mean"] == (1.0, None)
        assert limits["expert_load_variation"] == limits["decode_mbu_total"] == (0.0, None)
        assert all(metric.unit == "1" for metric in METRICS.values() if metric.most is not None)

    def test_of_which_phase_routing_is_told(self) -> None:
        told = [metric for metric in of_scenario("routing") if metric.key != "expected_distinct_experts"]
        assert all("decod" in metric.formula for metric in told)

    @pytest.mark.slow
    def test_nothing_heavy_is_imported(self) -> None:
        heavy = "torch, vllm, transformers, ray, lm_eval, pandas, scipy, plotly, pyarrow, huggingface_hub, rich"
        code = (
            "import sys, harness.compare, harness.crossover, harness.exports.formats, harness.groups, harness.wording;"
            "import harness.summarise;"
            f"print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def memory_of(**changes: object) -> MemoryMeasurement:
    outcome = memory_record().outcome
    assert isinstance(outcome, Completed) and isinstance(outcome.measurement, MemoryMeasurement)
    return outcome.measurement.model_copy(update=changes)


class TestMemoryValues:
    def test_what_is_not_told_is_absent(self) -> None:
        values = memory_values(memory_of())
        assert values["weights_bytes"] == 400_000 and values["startup_unknown_s"] == 4.0
        absent = ("device_peak_bytes", "engine_weights_bytes", "activation_bytes", "graph_bytes", "startup_cold_s")
        assert not set(values) & set(absent)

    def test_devices_add_up_without_what_others_used(self) -> None:
        values = memory_values(memory_of(devices=(device_memory(), device_memory(25_000_000_000))))
        assert values["device_peak_bytes"] == 29e9 + 24e9

    @given(*[st.one_of(st.none(), st.integers(0, 4 * 10**10))] * 3, st.integers(0, 4 * 10**10))
    def test_the_parts_add_up_to_the_peak_where_they_do_not_exceed_it(
        self, weights: int | None, activations: int | None, graphs: int | None, cache: int
    ) -> None:
        values = memory_values(memory_of(
            devices=(device_memory(),), engine_weights_bytes=weights, activation_bytes=activations,
            graph_bytes=graphs, kv_cache_bytes=cache,
        ))
        parts = memory_split(values)
        assert parts["other_bytes"] == values["other_bytes"] >= 0
        assert sum(parts.values()) == values["device_peak_bytes"] or parts["other_bytes"] == 0

    @pytest.mark.parametrize(("cold", "key"), [(True, "startup_cold_s"), (False, "startup_warm_s")])
    def test_start_up_is_import_and_load(self, cold: bool, key: str) -> None:
        values = memory_values(memory_of(cold=cold, import_s=6.5))
        assert values[key] == 10.5 and [one for one in values if one.startswith("startup") or one == "load_s"] == [key]

    @pytest.mark.parametrize(
        ("cold", "import_s", "taken"), [(None, None, 4.0), (None, 6.5, 10.5), (True, None, 4.0), (False, None, 4.0)]
    )
    def test_records_that_do_not_tell_which_keep_a_time_apart(
        self, cold: bool | None, import_s: float | None, taken: float
    ) -> None:
        values = memory_values(memory_of(cold=cold, import_s=import_s))
        assert {key: one for key, one in values.items() if "startup" in key} == {"startup_unknown_s": taken}

    def test_every_key_is_in_the_table(self) -> None:
        full = memory_of(devices=(device_memory(),), graph_bytes=1, activation_bytes=1, cold=True, import_s=1.0)
        assert set(memory_values(full)) <= {metric.key for metric in of_scenario("memory")}


def quality_of(record: Record, **changes: object) -> QualityMeasurement:
    assert isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, QualityMeasurement)
    return record.outcome.measurement.model_copy(update=changes)


class TestItemScores:
    def test_one_score_an_item(self) -> None:
        measured = quality_of(quality_record(item_scores=(1.0, 0.0, 1.0)))
        assert list(item_scores(measured, "exact_match,none").values()) == [1.0, 0.0, 1.0]

    def test_the_filter_may_be_missing_from_the_name(self) -> None:
        sample = Sample(id=0, hash="x", scores={"acc": 0.5}, target="", response="")
        measured = quality_of(quality_record(), samples=(sample,))
        assert item_scores(measured, "acc,none") == {"x": 0.5}
        assert item_scores(measured, "other,none") == {}

    def test_items_of_groups_and_repeated_items_keep_apart(self) -> None:
        samples = tuple(
            Sample(id=i, hash="same", subtask=task, scores={"acc": float(i)}, target="", response="")
            for i, task in enumerate(("a", "b", "b", None))
        )
        measured = quality_of(quality_record(), samples=samples)
        assert item_scores(measured, "acc") == {"a/same": 0.0, "b/same": 1.0, "b/same#2": 2.0, "same": 3.0}
