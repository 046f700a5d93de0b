"""Several trainings of one recipe -> one summary over them, with figures computed by hand."""

from __future__ import annotations

import math

import pytest
from builders import failed_record, point, quality_record, quality_scenario, serving_record, with_paths

from harness.groups import group_summaries
from harness.summarise import summarise
from harness.summary import ModelSummary


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

    def test_a_member_without_a_score_is_left_out_and_its_gap_is_listed(self) -> None:
        records = [
            quality_record(model="a", group="g"),
            quality_record(model="b", group="g", item_scores=(1.0, 1.0, 0.0, 0.0)),
            failed_record(model="c", group="g", scenario=quality_scenario()),
        ]
        (group,) = group_summaries(summarise(with_paths(records)))
        assert group.scores["facts"].estimate.n == 2
        assert [gap.model for gap in group.gaps] == ["c"]
