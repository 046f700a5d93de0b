"""Records -> summaries, with figures computed by hand."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from builders import (
    CONFIGS,
    ENVIRONMENT,
    TASKS,
    failed_record,
    memory_record,
    point,
    quality_record,
    quality_scenario,
    refused_record,
    serving_record,
    serving_scenario,
    skipped_record,
    small_suite_records,
    subject,
    with_paths,
)

from harness.accelerators import Accelerators
from harness.cache_form import cache_element_bytes
from harness.record import Completed, Origin, Record
from harness.scenario import ClosedLoop, Load, Offline, OpenLoop, Replay, TraceLengths
from harness.stats import wilson_ends
from harness.suite_serving import Limits
from harness.summarise import summarise
from harness.summary import ModelSummary, PointKey
from harness.terms import Terms

POINT = point()
SUITES = Path(__file__).resolve().parent.parent / "suites"


def summary_of(*records: Record, **options: Any) -> ModelSummary:
    (summary,) = summarise(with_paths(list(records)), **options)
    return summary


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
        assert [one.key for one in summary.points] == [point(2), point(16), PointKey.of(long)]
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

    def test_versions_of_a_scenario_never_share_a_point(self) -> None:
        earlier = serving_scenario(8, version=1)
        summary = summary_of(
            *(serving_record(repeat=i, tokens_per_s=1000.0) for i in range(2)),
            *(serving_record(scenario=earlier, repeat=i, tokens_per_s=500.0, minutes=9) for i in range(2)),
        )
        assert [one.key.version for one in summary.points] == [1, 2] and summary.notes == ()
        old, new = (one.estimates["output_tokens_per_s"] for one in summary.points)
        assert (old.n, new.n) == (2, 2) and (old.value, new.value) == pytest.approx((500.0, 1000.0))

    def test_kinds_of_load_never_share_a_point(self) -> None:
        loads: tuple[Load, ...] = (
            ClosedLoop(concurrency=2), OpenLoop(requests_per_s=2), OpenLoop(requests_per_s=2, burstiness=0.5),
            Replay(speed=2), Offline(),
        )
        summary = summary_of(*(serving_record(scenario=serving_scenario(load=load)) for load in loads))
        assert len(summary.points) == len(loads)
        assert [one.concurrency for one in summary.points if one.key.kind != "closed"] == [None] * 4
        assert {one.key.workload for one in summary.points} == {POINT.workload}

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
        # Wilson's over 25 items, which have that error
        assert score.estimate.high == pytest.approx(0.5 + 1.959964 * (0.25 / (25 + 1.959964**2)) ** 0.5)
        assert score.error == 0.1

    def test_mean_over_tasks_by_hand(self) -> None:
        summary = summary_of(
            quality_record(task="facts", item_scores=(1.0,) * 60 + (0.0,) * 40),
            quality_record(task="sort", item_scores=(1.0,) * 80 + (0.0,) * 20),
        )
        assert summary.mean_score is not None and summary.mean_score.low is not None
        sort = summary.scores["sort"].estimate
        assert summary.mean_score.value == pytest.approx(0.7)
        # s\u00b2 / n with n - 1 in s: 99 items' worth; two more at the mean
        shares = [(99 * p + 2 * 0.7) / 101 for p in (0.6, 0.8)]
        items = 0.7 * 0.3 / (math.fsum(q * (1 - q) / 99 for q in shares) / 4)
        assert summary.mean_score.low == pytest.approx(wilson_ends(0.7, items, 1.959964)[0], abs=1e-6)
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

    def test_a_cell_that_a_sweep_did_not_need_is_a_gap_and_no_failure(self) -> None:
        summary = summary_of(serving_record(concurrency=8), skipped_record(scenario=serving_scenario(16)))
        (gap,) = summary.gaps
        assert (gap.status, gap.error, gap.reason) == ("skipped", "skipped", "past saturation")
        assert gap.what == "chat, 16 concurrent" and gap.log_tail == ""
        assert [one.concurrency for one in summary.points] == [8]

    def test_what_an_earlier_run_measured_stands_beside_a_later_skip(self) -> None:
        summary = summary_of(serving_record(), skipped_record(minutes=1))
        assert summary.estimate("output_tokens_per_s", POINT) is not None
        assert [(gap.status, gap.measured_before) for gap in summary.gaps] == [("skipped", True)]

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


class TestTerms:
    def test_goodput_counts_the_requests_within_the_limits_of_their_workload(self) -> None:
        # the first token of each request comes after 0.25 s
        records = [serving_record(repeat=i, tokens_per_s=100.0, ttft_s=0.25) for i in range(2)]

        def share(workload: str, limit_s: float) -> float | None:
            terms = Terms(limits={workload: Limits(ttft_s=limit_s)})
            estimate = summary_of(*records, terms=terms).estimate("goodput_share", POINT)
            return estimate.value if estimate else None

        assert (share("chat", 0.3), share("chat", 0.2), share("other", 0.3)) == (1.0, 0.0, None)

    def test_the_interval_of_a_share_ends_at_the_whole(self) -> None:
        waits = enumerate((0.1, 0.4, 0.1))
        records = [serving_record(repeat=i, tokens_per_s=100.0, ttft_s=first_s) for i, first_s in waits]
        terms = Terms(limits={"chat": Limits(ttft_s=0.3)})
        estimate = summary_of(*records, terms=terms).estimate("goodput_share", POINT)
        assert estimate is not None and estimate.value == pytest.approx(2 / 3)
        assert (estimate.low, estimate.high) == (0.0, 1.0)

    def test_cost_follows_from_the_price_of_all_devices(self) -> None:
        asked = subject(accelerator="H100", tensor_parallel=2)
        records = [serving_record(subject=asked, tokens_per_s=rate, repeat=i) for i, rate in enumerate((990.0, 1010.0))]
        priced = Terms(accelerators=Accelerators(SUITES), prices_usd_per_hour={"h100-sxm": 1.8})
        cost = summary_of(*records, terms=priced).estimate("usd_per_million_output_tokens", POINT)
        assert cost is not None and cost.has_interval
        assert cost.value == pytest.approx((3.6 / 3600 / 990 + 3.6 / 3600 / 1010) / 2 * 1e6)
        listed = summary_of(*records, terms=Terms(accelerators=Accelerators(SUITES)))
        at_list_price = listed.estimate("usd_per_million_output_tokens", POINT)
        assert at_list_price is not None and at_list_price.value > cost.value

    def test_a_processor_has_the_price_of_its_machine(self) -> None:
        records = [serving_record(subject=subject(threads=2), repeat=i) for i in range(2)]
        cost = summary_of(*records, terms=Terms(host_usd_per_hour=0.36)).points[0].estimates
        assert cost["usd_per_million_output_tokens"].value == pytest.approx(0.36 / 3600 / 1000 * 1e6)

    def test_without_a_price_the_point_says_so(self) -> None:
        (one,) = summary_of(serving_record()).points
        assert "usd_per_million_output_tokens" not in one.estimates
        assert any(note.startswith("no cost: ") for note in one.notes)

    def test_a_known_device_is_held_against_its_roofline(self) -> None:
        fast = serving_record(subject=subject(accelerator="H100"), tokens_per_s=1e12)
        assert summary_of(fast).points[0].flags == ()
        (flag,) = summary_of(fast, terms=Terms(accelerators=Accelerators(SUITES))).points[0].flags
        assert flag.startswith("above the roofline: ")


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


IMPORTED = Origin(tool="vllm bench throughput", file="a.json", fingerprint="sha256:0")


class TestImported:
    def test_results_of_another_tool_never_replace_ones_own(self) -> None:
        own = [serving_record(minutes=0), quality_record(minutes=0)]
        foreign = subject(source="import:x", accelerator="not stated")
        other = serving_record(subject=foreign, tokens_per_s=9000.0, minutes=60, origin=IMPORTED)
        summary = summary_of(*own, other)
        assert summary.subject.source != "import:x"
        assert summary.scores and summary.points
        assert [one.subject.source for one in summary.others] == ["import:x"]
        assert summary_of(other).subject.source == "import:x"

    def test_its_runs_are_not_called_processes(self) -> None:
        runs = [serving_record(repeat=i, tokens_per_s=1000.0 + i, origin=IMPORTED) for i in range(3)]
        estimate = summary_of(*runs).estimate("output_tokens_per_s", POINT)
        assert estimate is not None and estimate.basis == "t interval over 3 imported runs"


class TestOtherWorkIsAnotherPoint:
    def test_offline_runs_of_other_sizes(self) -> None:
        few, many = (serving_scenario(load=Offline(), requests=number) for number in (8, 1024))
        assert PointKey.of(few) != PointKey.of(many)

    def test_traces_of_one_name_with_other_content(self) -> None:
        fields = {"file": "day.jsonl", "rows": 2, "prompt_mean": 9.0, "output_mean": 9.0, "longest": 20}
        one, other = (
            serving_scenario(load=Replay(), lengths=TraceLengths(fingerprint=f"sha256:{digit * 64}", **fields))
            for digit in "ab"
        )
        assert PointKey.of(one) != PointKey.of(other)
