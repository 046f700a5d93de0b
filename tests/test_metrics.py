"""Records -> summaries, with figures computed by hand."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from builders import (
    CONFIGS,
    ENVIRONMENT,
    TASKS,
    device_memory,
    failed_record,
    memory_record,
    quality_record,
    quality_scenario,
    refused_record,
    serving_record,
    serving_scenario,
    small_suite_records,
    subject,
    with_paths,
)

from harness.groups import group_summaries
from harness.metrics import METRICS, memory_values, of_scenario, serving_flags, serving_values, steady_window
from harness.record import Completed, Record, RequestTiming, Sample, ServingMeasurement
from harness.summarise import cache_element_bytes, summarise
from harness.summary import ModelSummary, PointKey

POINT = PointKey("chat", 32, 16, 8)


def summary_of(*records: Record, tasks: tuple[str, ...] | None = None) -> ModelSummary:
    (summary,) = summarise(with_paths(list(records)), tasks=tasks)
    return summary


def request(arrival: float, *times: float, prompt_tokens: int = 10, cached: int = 0) -> RequestTiming:
    return RequestTiming(
        arrival_s=arrival, token_times_s=times, prompt_tokens=prompt_tokens, finish_reason="length",
        cached_tokens=cached,
    )


def measured(*requests: RequestTiming, duration: float = 4.0, engine: float = 3.6) -> ServingMeasurement:
    return ServingMeasurement(
        duration_s=duration, engine_time_s=engine, requests=requests, warmup_duration_s=0.0, warmup_requests=0
    )


class TestServingValues:
    def test_two_requests_by_hand(self) -> None:
        values = serving_values(measured(request(0.0, 0.5, 1.0, 2.5), request(1.0, 2.5, 3.5, 4.0)), 1)
        assert values["output_tokens_per_s"] == 6 / 4
        assert values["total_tokens_per_s"] == 26 / 4
        assert values["requests_per_s"] == 2 / 4
        assert values["harness_overhead"] == pytest.approx(0.1)
        assert values["ttft_mean_s"] == pytest.approx((0.5 + 1.5) / 2)
        assert values["ttft_p90_s"] == pytest.approx(0.5 + 0.9 * 1.0)
        # One takes 2.0 s for two more tokens, the other 1.5 s.
        assert values["tpot_mean_s"] == pytest.approx((1.0 + 0.75) / 2)
        # Gaps 0.5, 1.5, 1.0, 0.5 pooled over requests.
        assert values["itl_p50_s"] == pytest.approx(0.75)
        assert values["itl_mean_s"] == pytest.approx(3.5 / 4)
        assert values["e2e_p50_s"] == pytest.approx((2.5 + 3.0) / 2)

    def test_the_steady_window_by_hand(self) -> None:
        # Two slots are busy from 1.0 s, when the slower has its first token, until 3.0 s, when the last request comes.
        requests = (request(0.0, 0.5, 1.5, 2.5), request(0.0, 1.0, 2.0, 3.0), request(2.5, 3.5, 4.0), request(3.0, 4.0))
        assert steady_window(measured(*requests), 2) == (1.0, 3.0)
        assert serving_values(measured(*requests), 2)["steady_output_tokens_per_s"] == 4 / 2.0
        assert steady_window(measured(*requests), 4) is None
        assert "steady_output_tokens_per_s" not in serving_values(measured(*requests), 4)

    def test_what_was_not_seen_is_absent(self) -> None:
        values = serving_values(measured(request(0.0, 0.5), request(0.0)), 1)
        assert values["ttft_p50_s"] == 0.5
        assert not [key for key in values if key.startswith(("tpot", "itl"))]
        assert "output_tokens_per_s" not in serving_values(measured(duration=0.0), 1)

    def test_rounded_times_give_no_negative_overhead(self) -> None:
        assert serving_values(measured(request(0.0, 1.0), engine=4.000001), 1)["harness_overhead"] == 0.0

    def test_every_value_is_in_the_table_and_every_timed_metric_has_a_value(self) -> None:
        values = serving_values(measured(request(0.0, 0.5, 1.0), request(0.8, 1.5, 2.0)), 1)
        timed = {metric.key for metric in of_scenario("serving")}
        assert set(values) == timed - {"decode_flops_per_token", "prefill_flops_per_token"}

    def test_flags(self) -> None:
        scenario = serving_scenario(requests=2, prompt_tokens=10, output_tokens=2)
        assert serving_flags(scenario, measured(request(0, 1, 2), request(0, 1, 2))) == []
        assert serving_flags(scenario, measured(request(0, 1, 2, cached=8), request(0, 1))) == [
            "a prefix cache answered 8 prompt tokens", "1 of 2 requests did not give 2 output tokens",
        ]
        flags = serving_flags(scenario, measured(request(0, 1, 2, prompt_tokens=9), duration=0))
        assert flags == [
            "1 of 2 requests were timed", "1 of 1 requests did not have 10 prompt tokens",
            "the cell's duration is not positive",
        ]


class TestTable:
    def test_keys_are_the_names_of_their_rows(self) -> None:
        assert all(key == metric.key for key, metric in METRICS.items())
        assert all(metric.title and metric.unit and metric.formula for metric in METRICS.values())

    def test_units_agree_with_names(self) -> None:
        for metric in METRICS.values():
            if metric.key.endswith("_bytes"):
                assert metric.unit == "bytes"
            if metric.key.endswith("_s") and not metric.key.endswith("_per_s"):
                assert metric.unit == "seconds"

    def test_nothing_heavy_is_imported(self) -> None:
        heavy = "torch, vllm, transformers, ray, lm_eval, pandas, scipy, plotly, rich"
        code = (
            "import sys, harness.compare, harness.export, harness.groups, harness.summarise, harness.wording;"
            f"print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestRepeats:
    def test_three_processes(self) -> None:
        rates = (990.0, 1000.0, 1010.0)
        summary = summary_of(*(serving_record(repeat=i, tokens_per_s=rate) for i, rate in enumerate(rates)))
        estimate = summary.estimate("output_tokens_per_s", POINT)
        assert estimate is not None
        assert estimate.value == pytest.approx(1000.0)
        # s = 10, t(0.975, 2) = 4.302653.
        assert estimate.high == pytest.approx(1000 + 4.302653 * 10 / math.sqrt(3))
        assert (estimate.n, estimate.basis) == (3, "t interval over 3 processes")
        assert estimate.values == pytest.approx(rates)
        assert set(estimate.sources) == set(summary.records) and len(summary.records) == 3

    def test_one_process_has_no_interval(self) -> None:
        estimate = summary_of(serving_record()).estimate("ttft_p50_s", POINT)
        assert estimate is not None and (estimate.low, estimate.high, estimate.n) == (None, None, 1)

    def test_the_order_of_the_records_does_not_matter(self) -> None:
        records = with_paths(small_suite_records())
        shuffled = records.copy()
        random.Random(3).shuffle(shuffled)
        assert summarise(shuffled) == summarise(records)

    def test_points_are_told_apart_and_sorted(self) -> None:
        long = serving_scenario(8, name="long", prompt_tokens=128)
        summary = summary_of(
            serving_record(concurrency=16), serving_record(scenario=long), serving_record(concurrency=2)
        )
        assert [point.key for point in summary.points] == [
            PointKey("chat", 32, 16, 2), PointKey("chat", 32, 16, 16), PointKey("long", 128, 16, 8),
        ]
        assert summary.point(POINT) is None
        assert summary.estimate("output_tokens_per_s", POINT) is None
        assert summary.estimate("output_tokens_per_s") is None

    def test_a_repeat_measured_again_counts_once_with_its_newest_value(self) -> None:
        old = serving_record(tokens_per_s=500.0)
        new = serving_record(tokens_per_s=1000.0, minutes=5)
        estimate = summary_of(new, old).estimate("output_tokens_per_s", POINT)
        assert estimate is not None and estimate.n == 1 and estimate.value == pytest.approx(1000.0)

    def test_newer_settings_win_and_older_ones_are_left_aside(self) -> None:
        old = [serving_record(repeat=i, tokens_per_s=500.0) for i in range(2)]
        new = serving_record(scenario=serving_scenario(8, requests=64), tokens_per_s=1000.0, minutes=5)
        summary = summary_of(*old, new)
        (point,) = summary.points
        assert (point.requests, point.estimates["output_tokens_per_s"].n) == (64, 1)
        assert "2 measurements of earlier settings are left aside" in summary.notes

    def test_a_time_without_a_zone_is_utc(self) -> None:
        old, new = serving_record(tokens_per_s=500.0), serving_record(tokens_per_s=1000.0, minutes=1)
        naive = new.model_copy(update={"started_at": new.started_at.replace(tzinfo=None)})
        summary = summary_of(old, naive)
        estimate = summary.estimate("output_tokens_per_s", POINT)
        assert estimate is not None
        assert estimate.value == pytest.approx(1000.0)
        assert summary.started_at == new.started_at

    def test_other_versions_of_the_engine_are_noted(self) -> None:
        newer = ENVIRONMENT.model_copy(update={"versions": {**ENVIRONMENT.versions, "vllm": "0.33.0"}})
        summary = summary_of(serving_record(), serving_record(repeat=1, minutes=1, environment=newer))
        assert summary.environment.versions["vllm"] == "0.33.0"
        assert summary.notes == ("measured with vllm 0.32.0 and 0.33.0",)


class TestArchitecture:
    def test_counts_of_a_mixtral_by_hand(self) -> None:
        # Embedding and head 2*96*48; per layer attention 48*(2*48 + 2*16), experts 8*3*48*64, router 48*8, norms 2*48.
        attention, expert = 48 * (2 * 48 + 2 * 16), 3 * 48 * 64
        total = 2 * 96 * 48 + 4 * (attention + 8 * expert + 48 * 8 + 2 * 48) + 48
        summary = summary_of(serving_record(model="moe-8x2"))
        assert summary.counts["total_parameters"].value == total
        assert summary.counts["active_parameters"].value == total - 4 * 6 * expert
        assert summary.counts["active_non_embedding_parameters"].value == total - 4 * 6 * expert - 2 * 96 * 48
        assert summary.counts["kv_bytes_per_token"].value == 4 * 2 * 2 * 8 * 2
        assert summary.counts["total_parameters"].basis == "counted"
        assert summary.is_moe is True and summary.uncounted == ""

    def test_flops_at_an_operating_point_by_hand(self) -> None:
        matrices = 4 * (48 * (2 * 48 + 2 * 16) + 2 * 3 * 48 * 64 + 48 * 8)
        head = 96 * 48
        summary = summary_of(serving_record(model="moe-8x2"))
        decode = summary.estimate("decode_flops_per_token", POINT)
        prefill = summary.estimate("prefill_flops_per_token", POINT)
        assert decode is not None and prefill is not None
        # Steps 1 .. 15 see 33 .. 47 tokens: 40 in the mean; 4 * heads * width a token of context and layer.
        assert decode.value == 2 * (matrices + head) + 4 * 4 * 48 * 40
        assert prefill.value == pytest.approx(2 * matrices + 2 * head / 32 + 4 * 4 * 48 * 33 / 2)

    @pytest.mark.parametrize("config", [{}, {"model_type": "unheard-of"}, {**CONFIGS["moe-8x2"], "hidden_size": -1}])
    def test_an_unknown_structure_is_not_counted_and_says_why(self, config: dict[str, object]) -> None:
        summary = summary_of(serving_record(config=config))
        assert summary.architecture is None and summary.parameters is None and summary.is_moe is None
        assert summary.uncounted
        assert summary.counts == {} and "decode_flops_per_token" not in summary.points[0].estimates
        assert summary.estimate("output_tokens_per_s", POINT) is not None

    def test_a_checkpoint_of_another_size_is_noted(self) -> None:
        total = int(summary_of(serving_record()).counts["total_parameters"].value)
        assert summary_of(memory_record(parameters=total)).notes == ()
        assert summary_of(memory_record(parameters=7)).notes == (
            f"{total} parameters are counted and the checkpoint holds 7",
        )

    @pytest.mark.parametrize(
        ("engine", "precision", "config", "expected"),
        [
            ({}, "bfloat16", {}, 2.0), ({}, "float32", {}, 4.0), ({"kv_cache_dtype": "fp8_e5m2"}, "bfloat16", {}, 1.0),
            ({}, "auto", {"torch_dtype": "float32"}, 4.0), ({}, "auto", {"dtype": "float16"}, 2.0),
            ({"kv_cache_dtype": "auto"}, "float16", {}, 2.0), ({}, "auto", {}, None),
            ({"kv_cache_dtype": "turbo"}, "bfloat16", {}, None),
        ],
    )
    def test_bytes_of_a_cached_value(
        self, engine: dict[str, object], precision: str, config: dict[str, object], expected: float | None
    ) -> None:
        assert cache_element_bytes(subject(engine=engine, precision=precision), config) == expected


class TestMemory:
    def test_weights_are_counted_and_the_resident_set_is_measured(self) -> None:
        sizes = (900_000_000, 906_000_000, 903_000_000)
        summary = summary_of(*(memory_record(repeat=i, resident_bytes=size) for i, size in enumerate(sizes)))
        weights, peak = summary.memory["weights_bytes"], summary.memory["resident_peak_bytes"]
        assert (weights.value, weights.low, weights.high, weights.basis) == (400_000, 400_000, 400_000, "counted")
        assert peak.value == 903_000_000
        assert peak.high == pytest.approx(903e6 + 4.302653 * 3e6 / math.sqrt(3))
        assert "device_peak_bytes" not in summary.memory

    def test_devices_add_up_without_what_others_used(self) -> None:
        outcome = memory_record(devices=(device_memory(), device_memory(25_000_000_000))).outcome
        assert isinstance(outcome, Completed) and outcome.measurement.kind == "memory"
        assert memory_values(outcome.measurement)["device_peak_bytes"] == 29e9 + 24e9


class TestScores:
    def test_accuracy_takes_the_items(self) -> None:
        summary = summary_of(quality_record(item_scores=(1.0, 0.0, 1.0, 1.0)))
        score = summary.scores["facts"]
        assert score.estimate.value == 0.75
        assert score.estimate.basis == "Wilson interval over 4 items"
        assert (score.chance, score.metric, len(score.items)) == (0.1, "exact_match,none", 4)
        assert score.estimate.sources == summary.records

    def test_repeats_average_each_item(self) -> None:
        summary = summary_of(
            quality_record(item_scores=(1.0, 0.0, 1.0, 1.0)),
            quality_record(item_scores=(1.0, 1.0, 1.0, 1.0), repeat=1, minutes=1),
        )
        score = summary.scores["facts"]
        assert sorted(score.items.values()) == [0.5, 1.0, 1.0, 1.0]
        assert (score.estimate.value, score.estimate.n) == (0.875, 4)

    def test_a_score_that_is_no_mean_of_its_items_is_taken_as_reported(self) -> None:
        record = quality_record()
        assert isinstance(record.outcome, Completed)
        found = record.outcome.measurement
        assert found.kind == "quality"
        scores = (found.scores[0].model_copy(update={"value": 0.5, "stderr": 0.1}),)
        altered = Completed(measurement=found.model_copy(update={"scores": scores}))
        score = summary_of(record.model_copy(update={"outcome": altered})).scores["facts"]
        assert score.estimate.value == 0.5
        assert score.estimate.high == pytest.approx(0.5 + 1.959964 * 0.1)

    def test_items_of_groups_and_repeated_items_keep_apart(self) -> None:
        record = quality_record()
        assert isinstance(record.outcome, Completed)
        found = record.outcome.measurement
        assert found.kind == "quality"
        samples = tuple(
            Sample(id=i, hash="same", subtask=task, scores={"exact_match,none": 1.0}, target="", response="")
            for i, task in enumerate(("a", "b", "b", None))
        )
        altered = Completed(measurement=found.model_copy(update={"samples": samples}))
        score = summary_of(record.model_copy(update={"outcome": altered})).scores["facts"]
        assert set(score.items) == {"a/same", "b/same", "b/same#2", "same"}

    def test_mean_over_tasks_by_hand(self) -> None:
        summary = summary_of(
            quality_record(task="facts", item_scores=(1.0,) * 60 + (0.0,) * 40),
            quality_record(task="sort", item_scores=(1.0,) * 80 + (0.0,) * 20),
        )
        assert summary.mean_score is not None and summary.mean_score.low is not None
        facts, sort = summary.scores["facts"].estimate, summary.scores["sort"].estimate
        assert facts.low is not None and sort.low is not None
        assert summary.mean_score.value == pytest.approx(0.7)
        assert summary.mean_score.low == pytest.approx(0.7 - math.hypot(0.6 - facts.low, 0.8 - sort.low) / 2)
        assert summary.estimate("mean_score") is summary.mean_score
        assert summary.estimate("score:sort") is sort
        assert len(summary.mean_score.sources) == 2

    def test_no_mean_where_a_task_is_missing(self) -> None:
        summary = summary_of(quality_record(task="facts"), tasks=TASKS)
        assert summary.mean_score is None and summary.no_mean_score == "not measured: sort"

    def test_a_task_that_another_model_has_counts_as_missing(self) -> None:
        records = [quality_record(task="facts"), quality_record(model="dense-active", task="sort")]
        assert [one.no_mean_score for one in summarise(with_paths(records))] == [
            "not measured: facts", "not measured: sort",
        ]

    def test_no_mean_of_what_is_no_score_from_0_to_1(self) -> None:
        summary = summary_of(quality_record(task="facts", item_scores=(12.0, 14.0)))
        assert summary.mean_score is None and summary.no_mean_score == "not a score from 0 to 1: facts"
        assert summary_of(serving_record()).no_mean_score == "the suite has no tasks"


class TestGaps:
    def test_a_failure_is_listed_with_its_reason(self) -> None:
        summary = summary_of(serving_record(concurrency=1), failed_record(repeat=2), refused_record(
            scenario=quality_scenario(), reason="too large",
        ))
        quality, serving = sorted(summary.gaps, key=lambda gap: gap.what)[::-1]
        assert (serving.what, serving.status, serving.error) == ("chat, 8 concurrent", "failed", "load")
        assert (serving.repeat, serving.reason, serving.measured_before) == (2, "no such file", False)
        assert serving.log_tail.endswith("no such file") and serving.source in summary.records
        assert (quality.what, quality.status, quality.error) == ("facts", "refused", "refused")
        assert quality.reason == "too large"
        assert summary.no_mean_score == "not measured: facts"

    def test_a_later_success_takes_the_failure_away(self) -> None:
        assert summary_of(failed_record(), serving_record(minutes=1)).gaps == ()

    def test_a_later_failure_is_listed_and_the_value_stands(self) -> None:
        summary = summary_of(serving_record(), failed_record(minutes=1))
        (gap,) = summary.gaps
        assert gap.measured_before
        assert summary.estimate("output_tokens_per_s", POINT) is not None

    def test_only_the_newest_failure_of_a_cell_is_listed(self) -> None:
        (gap,) = summary_of(failed_record(message="first"), failed_record(message="second", minutes=1)).gaps
        assert gap.reason == "second"

    def test_failures_of_earlier_settings_are_forgotten_once_new_ones_are_measured(self) -> None:
        other = serving_scenario(8, requests=64)
        assert summary_of(failed_record(scenario=other), serving_record(minutes=1)).gaps == ()
        assert len(summary_of(serving_record(), failed_record(scenario=other, minutes=1)).gaps) == 1

    def test_a_model_of_which_nothing_was_measured_still_has_a_summary(self) -> None:
        summary = summary_of(failed_record(), failed_record(scenario=quality_scenario(), config={}))
        assert (len(summary.gaps), summary.points, summary.scores, summary.memory) == (2, (), {}, {})
        assert summary.parameters is not None


class TestSubjects:
    def test_the_newest_measured_subject_wins_and_others_are_apart(self) -> None:
        old = [serving_record(repeat=i, tokens_per_s=500.0) for i in range(3)]
        faster = subject(accelerator="Example GPU", revision="sha256:other")
        new = serving_record(subject=faster, tokens_per_s=9000.0, minutes=5)
        summary = summary_of(*old, new)
        estimate = summary.estimate("output_tokens_per_s", POINT)
        assert estimate is not None and estimate.n == 1 and estimate.value == pytest.approx(9000.0)
        (other,) = summary.others
        assert other.differs == ("revision", "accelerator")
        assert (other.measured, other.subject.accelerator) == (3, "Example CPU")
        assert summary.records == (with_paths([new])[0][0],)

    def test_a_refusal_elsewhere_does_not_hide_measurements(self) -> None:
        small = subject(accelerator="Laptop")
        summary = summary_of(serving_record(), refused_record(subject=small, minutes=9))
        assert summary.subject.accelerator == "Example CPU" and summary.gaps == ()
        assert summary.others[0].gaps[0].reason == "needs 90 GB of 80 GB"


class TestGroups:
    def seeds(self) -> tuple[ModelSummary, ...]:
        shares = {"moe-s0": 60, "moe-s1": 70, "moe-s2": 80}
        records = [
            one
            for model, right in shares.items()
            for one in (
                quality_record(model=model, item_scores=(1.0,) * right + (0.0,) * (100 - right), group="moe"),
                *(serving_record(model=model, repeat=i, tokens_per_s=1000 + right + i, group="moe") for i in range(3)),
            )
        ]
        return summarise(with_paths([*records, serving_record(model="alone")]))

    def test_intervals_are_over_trainings(self) -> None:
        (group,) = group_summaries(self.seeds())
        assert (group.model, [member.model for member in group.members]) == ("moe", ["moe-s0", "moe-s1", "moe-s2"])
        score = group.scores["facts"]
        half = 4.302653 * 0.1 / math.sqrt(3)
        assert score.estimate.value == pytest.approx(0.7)
        assert score.estimate.low == pytest.approx(0.7 - half)
        assert score.estimate.basis == "t interval over 3 trainings"
        assert score.items == {}
        assert group.mean_score is not None and group.mean_score.value == pytest.approx(0.7)
        assert len(score.estimate.sources) == 3

    def test_speed_is_over_trainings_and_counts_have_no_spread(self) -> None:
        (group,) = group_summaries(self.seeds())
        speed, flops = (group.estimate(key, POINT) for key in ("output_tokens_per_s", "decode_flops_per_token"))
        assert speed is not None and flops is not None
        assert (speed.n, speed.value) == pytest.approx((3, 1071.0))
        assert flops.low == flops.high == flops.value
        assert group.counts["total_parameters"].value == group.members[0].counts["total_parameters"].value

    def test_members_of_other_sizes_are_not_counted(self) -> None:
        records = [serving_record(model=model, group="mixed") for model in ("moe-8x2", "dense-active")]
        (group,) = group_summaries(summarise(with_paths(records)))
        assert group.parameters is None and "differ" in group.uncounted and group.counts == {}

    def test_a_member_without_a_score_is_left_out_and_its_gap_is_listed(self) -> None:
        records = [
            quality_record(model="a", group="g"),
            quality_record(model="b", group="g", item_scores=(1.0, 1.0, 0.0, 0.0)),
            failed_record(model="c", group="g", scenario=quality_scenario()),
        ]
        (group,) = group_summaries(summarise(with_paths(records)))
        assert group.scores["facts"].estimate.n == 2
        assert [gap.model for gap in group.gaps] == ["c"]


def test_every_estimate_of_the_small_suite_leads_to_records_that_exist(tmp_path: Path) -> None:
    records = with_paths(small_suite_records(), tmp_path)
    known = {path for path, _ in records}
    summaries = summarise(records)
    assert [summary.model for summary in summaries] == sorted(CONFIGS)
    for summary in summaries:
        estimates = [
            *summary.memory.values(), *(score.estimate for score in summary.scores.values()),
            *(point.estimates["output_tokens_per_s"] for point in summary.points),
        ]
        assert all(estimate.sources and set(estimate.sources) <= known for estimate in estimates)
        assert summary.notes == () and summary.gaps == () and summary.mean_score is not None
