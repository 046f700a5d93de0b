"""Several trainings of one recipe -> one summary over them, with figures computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import routed
from builders import failed_record, point, quality_record, quality_scenario, serving_record, with_paths

from harness.environment import Ceilings, ReadRate
from harness.groups import group_summaries
from harness.stats import counted
from harness.summarise import summarise
from harness.summary import ModelSummary, UnreadWork


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

    def test_a_member_without_a_score_is_left_out_and_its_gap_is_listed(self) -> None:
        records = [
            quality_record(model="a", group="g"),
            quality_record(model="b", group="g", item_scores=(1.0, 1.0, 0.0, 0.0)),
            failed_record(model="c", group="g", scenario=quality_scenario()),
        ]
        (group,) = group_summaries(summarise(with_paths(records)))
        assert group.scores["facts"].estimate.n == 2
        assert [gap.model for gap in group.gaps] == ["c"]
