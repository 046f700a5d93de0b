"""Comparisons: sizes, effects, verdicts, their words, and the frontier."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from builders import (
    CONFIGS,
    closed_loop,
    failed_record,
    memory_record,
    point,
    quality_record,
    quality_scenario,
    record,
    serving_record,
    serving_scenario,
    small_suite_records,
    subject,
    with_paths,
)
from hypothesis import given
from hypothesis import strategies as st

from harness.compare import Comparison, Effect, compare, match, pareto_frontier
from harness.groups import group_summaries
from harness.record import Completed, Record
from harness.scenario import Offline
from harness.summarise import summarise
from harness.summary import ModelSummary, PointKey
from harness.wording import comparison_table, effect_size, in_points, sentence, significant

A, B = "moe-8x2", "dense-active"


def summaries(*records: Record) -> dict[str, ModelSummary]:
    return {summary.model: summary for summary in summarise(with_paths(list(records)))}


def speeds(model: str, *rates: float, **changes: object) -> list[Record]:
    return [
        serving_record(model=model, repeat=i, tokens_per_s=rate, **changes)  # type: ignore[arg-type]
        for i, rate in enumerate(rates)
    ]


def compared(*records: Record) -> Comparison:
    found = summaries(*records)
    return compare(found[A], found[B])


def effect(comparison: Comparison, metric: str) -> Effect:
    found = comparison.effect(metric)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def small() -> dict[str, ModelSummary]:
    return summaries(*small_suite_records())


class TestMatch:
    @pytest.mark.parametrize(
        ("sparse", "dense", "label"),
        [
            ("moe-8x2", "dense-active", "iso-active"), ("moe-8x2", "dense-total", "iso-total"),
            ("moe-fine", "dense-total", "iso-total"), ("dense-active", "dense-total", "unmatched"),
            ("moe-8x2", "moe-fine", "iso-active and iso-total"),
        ],
    )
    def test_labels(self, small: dict[str, ModelSummary], sparse: str, dense: str, label: str) -> None:
        assert match(small[sparse], small[dense]).label == label

    def test_ratios_are_sparse_over_dense(self, small: dict[str, ModelSummary]) -> None:
        matching = match(small["moe-8x2"], small["dense-active"])
        assert matching.active_ratio == pytest.approx(109_488 / 107_952)
        assert matching.total_ratio == pytest.approx(330_672 / 107_952)
        assert matching.mismatch == "1.01 × the active and 3.06 × the total parameters"

    def test_an_unknown_structure_is_not_matched(self) -> None:
        found = summaries(serving_record(model=A), serving_record(model=B, config={}))
        matching = match(found[A], found[B])
        assert (matching.label, matching.active_ratio) == ("not counted", None)
        assert "could not be counted" in sentence(compare(found[A], found[B]))


class TestVerdicts:
    def test_a_clear_ratio(self) -> None:
        found = compared(*speeds(A, 1390, 1400, 1410), *speeds(B, 990, 1000, 1010))
        speed = effect(found, "output_tokens_per_s")
        assert speed.contrast.value == pytest.approx(1.4)
        assert speed.contrast.low is not None and 1.36 < speed.contrast.low < 1.4
        assert (speed.verdict, speed.kind, speed.exact) == ("better", "ratio", False)
        # The token times are scaled by the rate: lower is better for latency.
        latency = effect(found, "tpot_p50_s")
        assert latency.contrast.value == pytest.approx(1 / 1.4, rel=1e-3) and latency.verdict == "better"

    def test_the_view_can_be_turned(self) -> None:
        found = summaries(*speeds(A, 1390, 1400, 1410), *speeds(B, 990, 1000, 1010))
        there, back = compare(found[A], found[B]), compare(found[B], found[A])
        assert [one.verdict for one in there.effects if not one.exact] == ["better"] * 3
        assert [one.verdict for one in back.effects if not one.exact] == ["worse"] * 3
        forth, reverse = effect(there, "ttft_p50_s").contrast, effect(back, "ttft_p50_s").contrast
        assert forth.value == pytest.approx(1 / reverse.value)

    def test_noise_is_indistinguishable(self) -> None:
        found = compared(*speeds(A, 900, 1000, 1130), *speeds(B, 950, 1010, 1060))
        assert effect(found, "output_tokens_per_s").verdict == "indistinguishable"

    def test_one_repeat_is_insufficient(self) -> None:
        found = compared(*speeds(A, 2000), *speeds(B, 1000))
        speed = effect(found, "output_tokens_per_s")
        assert (speed.verdict, speed.adjusted_p, speed.contrast.value) == ("insufficient data", None, 2.0)

    def test_holm_counts_every_tested_effect(self) -> None:
        # One effect with p between 0.05 / 3 and 0.05: certain alone, not among three.
        found = compared(*speeds(A, 1020, 1060, 1100), *speeds(B, 960, 980, 1000))
        speed = effect(found, "output_tokens_per_s")
        assert speed.contrast.p_value is not None and speed.adjusted_p is not None
        assert 0.05 / 3 < speed.contrast.p_value < 0.05 < speed.adjusted_p
        assert speed.contrast.low is not None and speed.contrast.low > 1
        assert speed.verdict == "indistinguishable"
        assert "not certain among 3 effects" in sentence(found)

    def test_counts_need_no_test(self) -> None:
        found = compared(memory_record(model=A, weights_bytes=600), memory_record(model=B, weights_bytes=200))
        weights = effect(found, "weights_bytes")
        assert (weights.verdict, weights.exact, weights.contrast.value) == ("worse", True, 3.0)
        assert effect(found, "kv_bytes_per_token").verdict == "indistinguishable"

    def test_better_and_worse_always_have_an_interval_off_equality(self, small: dict[str, ModelSummary]) -> None:
        for a in small.values():
            for b in small.values():
                for one in compare(a, b).effects:
                    low, high = one.contrast.low, one.contrast.high
                    assert low is not None and high is not None and low <= one.contrast.value <= high
                    if one.verdict in ("better", "worse"):
                        assert not low <= one.null <= high
                    if a is b:
                        assert one.verdict == "indistinguishable" and one.contrast.value == pytest.approx(one.null)


class TestScores:
    def right(self, model: str, *scores: float, **changes: object) -> Record:
        return quality_record(model=model, item_scores=scores, **changes)  # type: ignore[arg-type]

    def test_paired_on_the_same_items(self) -> None:
        a, b = (1.0,) * 70 + (0.0,) * 30, (1.0,) * 55 + (0.0,) * 45
        found = compared(self.right(A, *a), self.right(B, *b))
        facts = effect(found, "score:facts")
        assert facts.contrast.basis == "paired on 100 items, McNemar's exact test"
        assert facts.contrast.value == pytest.approx(0.15)
        assert facts.contrast.p_value == pytest.approx(2 * 0.5**15)
        assert (facts.verdict, facts.title, facts.kind) == ("better", "facts", "difference")
        mean = effect(found, "mean_score")
        assert mean.contrast.value == pytest.approx(0.15)
        assert mean.contrast.low == pytest.approx(facts.contrast.low)

    def test_paired_on_the_items_of_the_smaller(self) -> None:
        found = compared(self.right(A, *(1.0,) * 50), self.right(B, *(0.0,) * 20, *(1.0,) * 180))
        facts = effect(found, "score:facts")
        assert facts.contrast.basis.startswith("paired on 50 items")
        assert facts.contrast.value == pytest.approx(0.4)

    def test_other_items_are_compared_unpaired(self) -> None:
        found = compared(
            self.right(A, *(1.0,) * 90, *(0.0,) * 10),
            quality_record(model=B, task="sort", item_scores=(1.0,) * 50 + (0.0,) * 50, scenario=quality_scenario()),
        )
        facts = effect(found, "score:facts")
        assert facts.contrast.basis == "unpaired, from both intervals"
        assert facts.verdict == "better"

    def test_tasks_asked_differently_are_not_compared(self) -> None:
        shots = quality_scenario(num_fewshot=5)
        found = compared(self.right(A, 1.0, 0.0), self.right(B, 1.0, 1.0, scenario=shots))
        assert found.missing == ("facts: asked or scored differently",)
        assert found.effect("score:facts") is None

    def test_a_task_on_one_side_is_missing(self) -> None:
        found = compared(self.right(A, 1.0), serving_record(model=B))
        assert found.missing == (
            "chat, concurrency 8: moe-8x2 was not measured", "facts: dense-active was not scored",
        )
        assert "Quality could not be compared: dense-active: not measured: facts" in sentence(found)

    def test_groups_are_compared_over_their_trainings(self) -> None:
        records = [
            quality_record(model=f"{kind}-{seed}", group=kind, item_scores=(1.0,) * right + (0.0,) * (100 - right))
            for kind, shares in {"moe": (80, 82, 84), "dense": (60, 62, 64)}.items()
            for seed, right in enumerate(shares)
        ]
        groups = {one.model: one for one in group_summaries(summarise(with_paths(records)))}
        found = compare(groups["moe"], groups["dense"])
        facts = effect(found, "score:facts")
        assert facts.contrast.basis == "Welch interval over 3 and 3 trainings"
        # Standard errors 0.02 / sqrt 3 on both sides, 4 degrees of freedom.
        assert facts.contrast.high == pytest.approx(0.2 + 2.776445 * 0.02 * (2 / 3) ** 0.5, rel=1e-6)
        assert facts.verdict == "better" and effect(found, "mean_score").verdict == "better"

    def test_a_group_and_a_single_training_are_insufficient(self) -> None:
        records = [
            quality_record(model=f"moe-{seed}", group="moe", item_scores=(1.0,) * 80 + (0.0,) * (20 + seed))
            for seed in range(3)
        ]
        models = summarise(with_paths([*records, quality_record(model=B)]))
        (group,) = group_summaries(models)
        single = next(model for model in models if model.model == B)
        assert effect(compare(group, single), "score:facts").verdict == "insufficient data"


class TestConditions:
    def test_other_hardware_is_not_compared_in_speed(self) -> None:
        elsewhere = subject(B, accelerator="Example GPU")
        found = compared(*speeds(A, 1, 2), *speeds(B, 1, 2, subject=elsewhere))
        assert found.effect("output_tokens_per_s") is None
        assert found.missing == ("speed and memory: measured on different hardware (Example CPU and Example GPU)",)
        assert "no speed that could be compared" in sentence(found)

    def test_hardware_that_is_not_stated_is_not_taken_as_the_same(self) -> None:
        one, other = (subject(name, accelerator="not stated") for name in (A, B))
        found = compared(*speeds(A, 1, 2, subject=one), *speeds(B, 1, 2, subject=other))
        assert found.effect("output_tokens_per_s") is None
        assert found.missing == ("speed and memory: measured on unknown hardware (not stated and not stated)",)

    def test_the_same_point_asked_otherwise_is_told(self) -> None:
        longer = serving_scenario(8, min_duration_s=30.0)
        found = compared(serving_record(model=A), serving_record(model=B, scenario=longer))
        assert "chat, concurrency 8: requests, duration or warm-up were asked differently" in found.caveats

    def test_caveats(self) -> None:
        dummy = subject(B, weights="dummy", precision="float32")
        found = compared(*speeds(A, 1, 2), *speeds(B, 1, 2, subject=dummy))
        assert found.caveats == (
            "precision differs: bfloat16 and float32", "weights differs: checkpoint and dummy",
            "dense-active has dummy weights, which route unevenly",
        )

    def test_scores_of_dummy_weights_are_not_compared(self) -> None:
        dummy = subject(B, weights="dummy")
        found = compared(quality_record(model=A), quality_record(model=B, subject=dummy))
        assert found.missing == ("scores: dummy weights know nothing",)
        assert found.effect("mean_score") is None
        assert "Quality could not be compared" in sentence(found)

    def test_spoiled_points_are_not_compared(self) -> None:
        measured = closed_loop(serving_scenario(8))
        longer = tuple(one.model_copy(update={"asked_output_tokens": 20}) for one in measured.requests)
        spoiled = Completed(measurement=measured.model_copy(update={"requests": longer}))
        found = compared(*speeds(A, 1, 2), record(serving_scenario(8), spoiled, model=B))
        assert found.effect("output_tokens_per_s") is None
        assert found.missing == (
            ("chat, concurrency 8: dense-active: 32 of 32 requests did not give the output tokens that were asked"),
        )

    def test_a_failed_side_is_missing(self) -> None:
        found = compared(*speeds(A, 1, 2), failed_record(model=B))
        assert found.missing == ("chat, concurrency 8: dense-active was not measured",)

    def test_other_versions_of_the_scenario_are_not_compared(self) -> None:
        earlier = serving_scenario(8, version=1)
        found = compared(*speeds(A, 1, 2), *speeds(B, 1, 2, scenario=earlier))
        assert found.effect("output_tokens_per_s") is None and len(found.missing) == 2


class TestWords:
    def test_both_certain(self, small: dict[str, ModelSummary]) -> None:
        text = sentence(compare(small["moe-8x2"], small["dense-active"]))
        pattern = (
            r"With 1\.01 × the active and 3\.06 × the total parameters of dense-active \(iso-active\), moe-8x2 gives "
            r"0\.901 times the output tokens/s of dense-active at 16 concurrent requests "
            r"\(95 % interval 0\.\d{3} to 0\.\d{3}\)\. Its mean score is higher by 8\.8 points "
            r"\(95 % interval \+\d\.\d to \+\d+\.\d\)\."
        )
        assert re.fullmatch(pattern, text)

    def test_uncertain_and_insufficient_are_said(self) -> None:
        noisy = compared(
            *speeds(A, 900, 1000, 1130), *speeds(B, 950, 1010, 1060), quality_record(model=A), quality_record(model=B)
        )
        text = sentence(noisy)
        assert "cannot be told from dense-active in output tokens/s at 8 concurrent requests" in text
        assert "Its mean score cannot be told from the other's" in text
        single = sentence(compared(*speeds(A, 2000), *speeds(B, 1000)))
        assert "with too few repeats for an interval" in single and "gives" not in single

    def test_only_differences_of_shares_are_told_in_points(self, small: dict[str, ModelSummary]) -> None:
        effect = compare(small["moe-8x2"], small["dense-active"]).effect("mean_score")
        assert effect is not None and in_points(effect)
        assert effect_size(effect, -0.0312) == "\u22123.1"
        # a score that is no share, such as a perplexity
        other = replace(effect, a=replace(effect.a, value=12.5))
        assert not in_points(other) and effect_size(other, -0.0312) == "\u22120.031"

    def test_terminal_table(self, small: dict[str, ModelSummary]) -> None:
        from rich.console import Console

        comparison = compare(small["moe-8x2"], small["dense-total"])
        table = comparison_table(comparison)
        assert table.row_count == len(comparison.effects)
        console = Console(file=io.StringIO(), width=160)
        console.print(table)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert "moe-8x2 against dense-total" in text and "iso-total" in text and "exact" in text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.0, "0"), (1.0, "1.00"), (0.012345, "0.0123"), (999.6, "1000"), (1234.0, "1230"), (9999.0, "10.0 k"),
            (12_345.0, "12.3 k"), (661_344.0, "661 k"), (47e9, "47.0 G"), (1.5e12, "1.50 T"), (-2.5e6, "-2.50 M"),
        ],
    )
    def test_significant_digits(self, value: float, text: str) -> None:
        assert significant(value) == text


POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12)


class TestFrontier:
    def test_by_hand(self) -> None:
        points = [(1.0, 0.5), (2.0, 0.7), (2.0, 0.6), (3.0, 0.7), (4.0, 0.9), (0.5, 0.1)]
        assert pareto_frontier(points) == [5, 0, 1, 4]
        assert pareto_frontier([]) == []
        assert pareto_frontier([(1, 1), (1, 1)]) == [0, 1]

    @given(POINTS)
    def test_exactly_the_points_that_none_beats(self, points: list[tuple[float, float]]) -> None:
        def beaten(index: int) -> bool:
            x, y = points[index]
            return any(other != (x, y) and other[0] <= x and other[1] >= y for other in points)

        assert sorted(pareto_frontier(points)) == [index for index in range(len(points)) if not beaten(index)]


def test_the_highest_shared_load_leads() -> None:
    records = [serving_record(model=A, concurrency=c, repeat=i) for c in (1, 4, 16) for i in range(2)]
    records += [serving_record(model=B, concurrency=c, repeat=i) for c in (1, 4) for i in range(2)]
    offline = serving_scenario(name="all", load=Offline())
    records += [serving_record(model=model, scenario=offline, repeat=i) for model in (A, B) for i in range(2)]
    found = compared(*records)
    assert effect(found, "output_tokens_per_s").point == point(4)
    assert found.effect("output_tokens_per_s", point(1)) is not None
    assert found.effect("output_tokens_per_s", PointKey.of(offline)) is not None
    assert found.missing == ("chat, concurrency 16: dense-active was not measured",)
    assert set(CONFIGS) >= {A, B}
