"""Several trainings of one recipe -> one summary over them, with figures computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import routed
from builders import (
    device_memory,
    failed_record,
    memory_record,
    point,
    quality_record,
    quality_scenario,
    serving_record,
    subject,
    with_paths,
)

from harness.compare import compare
from harness.environment import Ceilings, ReadRate
from harness.groups import group_summaries
from harness.metrics import METRICS
from harness.ranking import contest
from harness.record import Completed, Record
from harness.stats import counted
from harness.summarise import summarise
from harness.summary import ModelSummary, UnreadWork


class TestCaches:
    def groups(self, *given: int | None, reserved: tuple[int, ...] = (0, 0)) -> ModelSummary:
        """Two trainings with a device peak each, whose engines were given or chose such caches."""
        records = []
        for index, (cache, size) in enumerate(zip(given, reserved, strict=True)):
            engine = {"max_model_len": 256} | ({} if cache is None else {"kv_cache_memory_bytes": cache})
            record = memory_record(
                model=f"moe-{index}", group="moe", devices=(device_memory(),),
                subject=subject(f"moe-{index}", engine=engine),
            )
            assert isinstance(record.outcome, Completed)
            kept = record.outcome.measurement.model_copy(update={"kv_cache_bytes": 10**9 + size})
            records.append(record.model_copy(update={"outcome": Completed(measurement=kept)}))
        (group,) = group_summaries(summarise(with_paths(records)))
        return group

    @pytest.mark.parametrize(("given", "reserved", "words"), [
        ((10**9, 2 * 10**9), (0, 0), "1000000000 bytes as given against 2000000000 bytes as given"),
        ((10**9, None), (0, 0), "1000000000 bytes as fitted against 1000000000 bytes as given"),
        ((None, None), (0, 5), "1000000000 bytes as fitted against 1000000005 bytes as fitted"),
    ])
    def test_peaks_with_other_caches_are_not_pooled(
        self, given: tuple[int | None, ...], reserved: tuple[int, ...], words: str
    ) -> None:
        group = self.groups(*given, reserved=reserved)
        assert group.estimate("device_peak_bytes") is None and group.estimate("weights_bytes") is not None
        note = f"the devices' peaks are not pooled: the caches differ ({words})"
        assert group.peak_not_pooled == note and not group.not_pooled
        metric = METRICS["device_peak_bytes"]
        assert contest([group], metric, None, lambda one: one.estimate(metric.key)).out == {"moe": note}

    @pytest.mark.parametrize(("given", "reserved"), [((10**9, 10**9), (0, 5)), ((None, None), (0, 0))])
    def test_peaks_with_the_same_cache_are(self, given: tuple[int | None, ...], reserved: tuple[int, ...]) -> None:
        group = self.groups(*given, reserved=reserved)
        peak = group.estimate("device_peak_bytes")
        assert peak is not None and (peak.n, peak.value) == (2, 29e9) and not group.peak_not_pooled


class TestItems:
    def test_trainings_asked_another_number_are_other_forms(self) -> None:
        def group(name: str, *numbers: int) -> list[Record]:
            return [
                quality_record(model=f"{name}-{i}", group=name, item_scores=(1.0, 0.0) * (number // 2))
                for i, number in enumerate(numbers)
            ]

        found = group_summaries(summarise(with_paths([
            *group("cut", 100, 100), *group("mixed", 100, 200), *group("other", 200, 100), *group("whole", 200, 200),
        ])))
        metric = METRICS["score"].model_copy(update={"key": "score:facts"})
        assert not contest(found, metric, None, lambda one: one.estimate("score:facts")).out.keys() & {"mixed", "other"}
        cut, mixed, other, whole = found
        assert compare(cut, whole).missing[0] == "facts: asked or scored differently (items 100 against 200)"
        caveat = "facts is a mean over trainings that were asked 100 items of pocket_facts (50 %) and 200 items of"
        assert any(one.startswith(caveat) for one in compare(mixed, other).caveats)


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
        speed, flops = (group.estimate(key, point()) for key in ("output_tokens_per_s", "decode_flops_per_token"))
        assert speed is not None and flops is not None
        assert (speed.n, speed.value) == pytest.approx((3, 1071.0))
        assert flops.low == flops.high == flops.value
        assert group.counts["total_parameters"].value == group.members[0].counts["total_parameters"].value

    def test_members_of_other_sizes_are_not_counted(self) -> None:
        records = [serving_record(model=model, group="mixed") for model in ("moe-8x2", "dense-active")]
        (group,) = group_summaries(summarise(with_paths(records)))
        assert group.parameters is None and "differ" in group.uncounted and group.counts == {}

    def test_a_group_has_no_routing_of_its_own(self) -> None:
        works = [routed.work("a", "task"), routed.work("b", "task", seed=2)]
        named, unread = {work.name: work for work in works}, (UnreadWork("c", "the file is missing"),)
        differ = routed.specialisation_of(works)
        (group,) = group_summaries([
            replace(one, routing=named, specialisation=differ, unread=unread) for one in self.seeds()
        ])
        assert (group.routing, group.unread, group.specialisation) == ({}, (), None)

    def test_ceilings_are_those_that_all_members_have(self) -> None:
        slow, fast = (
            Ceilings(
                reads=(ReadRate(working_set_bytes=1, bytes_per_s=rate),), matmul_flops_per_s={}, duration_s=1.0
            ) for rate in (1.0, 2.0)
        )
        members = [one for one in self.seeds() if one.group]
        (alike,) = group_summaries([replace(one, ceilings=slow) for one in members])
        (apart,) = group_summaries([
            replace(one, ceilings=ceilings) for one, ceilings in zip(members, (slow, fast, fast), strict=True)
        ])
        assert (alike.ceilings, apart.ceilings) == (slow, None)

    @pytest.mark.parametrize(("key", "values", "ends"), [
        ("expert_load_gini", (0.01, 0.02, 0.3), (0.0, None)), ("expert_load_entropy", (0.99, 0.98, 0.7), (None, 1.0)),
        ("dead_experts", (0.0, 0.0, 5.0), (0.0, None)), ("expert_load_max_over_mean", (1.1, 1.1, 2.0), (1.0, None)),
    ])
    def test_intervals_stay_within_what_can_be(
        self, key: str, values: tuple[float, ...], ends: tuple[float | None, float | None]
    ) -> None:
        members = [
            replace(one, points=(replace(one.points[0], estimates={key: counted(value)}),))
            for one, value in zip([one for one in self.seeds() if one.group], values, strict=True)
        ]
        (group,) = group_summaries(members)
        found = group.points[0].estimates[key]
        assert found.low is not None and found.high is not None
        assert found.low < found.value < found.high
        assert all(end in (None, real) for end, real in zip(ends, (found.low, found.high), strict=True))

    def test_a_reason_that_all_share_is_told_once(self) -> None:
        records = [quality_record(model=f"m{seed}", group="g") for seed in range(3)]
        (group,) = group_summaries(summarise(with_paths(records), tasks=()))
        assert group.no_mean_score == "the suite has no tasks"
        lacking = [quality_record(model="m3", task="other", group="g"), *records]
        (group,) = group_summaries(summarise(with_paths(lacking), tasks=("facts", "sort")))
        assert group.no_mean_score == "m0, m1 and m2: not measured: sort; m3: not measured: facts, sort"

    def test_a_member_without_a_score_is_left_out_and_its_gap_is_listed(self) -> None:
        records = [
            quality_record(model="a", group="g"),
            quality_record(model="b", group="g", item_scores=(1.0, 1.0, 0.0, 0.0)),
            failed_record(model="c", group="g", scenario=quality_scenario()),
        ]
        (group,) = group_summaries(summarise(with_paths(records)))
        assert group.scores["facts"].estimate.n == 2
        assert [gap.model for gap in group.gaps] == ["c"]

    def test_the_mean_score_is_of_the_members_that_have_one(self) -> None:
        records = [quality_record(model=model, task=task, group="g") for model in "ab" for task in ("facts", "sort")]
        records += [
            quality_record(model="c", group="g", minutes=90),
            failed_record(model="c", group="g", scenario=quality_scenario("sort"), minutes=91),
        ]
        members = summarise(with_paths(records), tasks=("facts", "sort"))
        (group,) = group_summaries(members)
        assert group.mean_score is not None
        assert (group.mean_score.n, group.mean_tasks) == (2, ("facts", "sort"))
        other = [replace(one, mean_tasks=("facts",)) if one.model == "b" else one for one in members]
        (mixed,) = group_summaries(other)
        assert (mixed.mean_score, mixed.mean_tasks) == (None, ())
        assert mixed.no_mean_score == (
            "the trainings' mean scores are not of the same tasks: a of facts and sort; b of facts"
        )

    @pytest.mark.parametrize(("field", "value", "words"), [
        ("accelerator", "Other CPU", "accelerator (Example CPU against Other CPU)"),
        ("precision", "float32", "precision (bfloat16 against float32)"),
        ("tensor_parallel", 2, "number of accelerators (1 against 2)"),
        ("weights", "dummy", "weights (checkpoint against dummy)"),
    ])
    def test_what_was_measured_otherwise_is_not_pooled(self, field: str, value: object, words: str) -> None:
        first, *rest = [one for one in self.seeds() if one.group]
        last = replace(rest[-1], subject=rest[-1].subject.model_copy(update={field: value}))
        (group,) = group_summaries([first, *rest[:-1], last])
        assert group.points == () and group.memory == {}
        assert group.notes[0] == f"speed and memory are not pooled: the trainings differ in {words}"
        assert group.scores["facts"].estimate.n == (2 if field == "weights" else 3)
        assert group.counts["total_parameters"] == first.counts["total_parameters"]
        assert group.subject.weights == "checkpoint"
        if field in ("accelerator", "precision"):
            assert str(value) in getattr(group.subject, field) and " / " in getattr(group.subject, field)
        speed = METRICS["output_tokens_per_s"]
        assert contest([group], speed, point(), lambda one: one.estimate(speed.key, point())).out == {
            "moe": group.notes[0],
        }
        (twin,) = group_summaries([first, *rest[:-1], last])
        assert f"moe: {group.notes[0]}" in compare(group, replace(twin, model="twin")).caveats
