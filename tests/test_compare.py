"""Comparisons: effects, families, verdicts, and the frontier."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, get_args

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
from sites import with_point

from harness.compare import Comparison, Effect, Family, compare
from harness.groups import group_summaries
from harness.record import Completed, QualityMeasurement, Record
from harness.scenario import Offline, OpenLoop
from harness.stats import counted, holm, mean_estimate
from harness.summarise import summarise
from harness.summary import ModelSummary, PointKey

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


class TestOpenLoops:
    def test_waiting_is_compared_but_not_the_rate_of_the_arrivals(self) -> None:
        scenario = serving_scenario(load=OpenLoop(requests_per_s=2.0), requests=8)
        found = summaries(*(
            one for model in (A, B)
            for one in (*speeds(model, 990, 1000, 1010), *speeds(model, 990, 1000, 1011, scenario=scenario))
        ))
        priced = {key: with_price(found[key]) for key in (A, B)}
        effects = compare(priced[A], priced[B]).effects
        kinds = {kind: {one.metric for one in effects if one.point and one.point.kind == kind and not one.exact}
                 for kind in ("closed", "open")}
        assert kinds["closed"] - kinds["open"] == {"output_tokens_per_s", "usd_per_million_output_tokens"}
        assert kinds["open"] == {"ttft_p50_s", "tpot_p50_s"}

    def test_they_take_no_power_from_the_closed_loops(self) -> None:
        closed = [*speeds(A, 1390, 1400, 1410), *speeds(B, 990, 1000, 1010)]
        loops = [serving_scenario(load=OpenLoop(requests_per_s=n), requests=8) for n in range(1, 13)]
        opened = [
            one for loop in loops for model in (A, B) for one in speeds(model, 990, 1000, 1010, scenario=loop)
        ]
        alone, among = compared(*closed), compared(*closed, *opened)
        assert (alone.tested("speed"), among.tested("speed")) == (1, 1)
        assert effect(alone, "output_tokens_per_s").adjusted_p == effect(among, "output_tokens_per_s").adjusted_p


def with_price(model: ModelSummary) -> ModelSummary:
    """A model each of whose points has a price."""
    for key, estimates in [(one.key, one.estimates) for one in model.points]:
        model = with_point(model, key, {**estimates, "usd_per_million_output_tokens": estimates["output_tokens_per_s"]})
    return model


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

    def test_holm_counts_every_tested_effect_of_a_family(self) -> None:
        # p between 0.05 / 2 and 0.05: certain for the output rate, which is alone, and not for two latencies.
        found = compared(*speeds(A, 1020, 1060, 1100), *speeds(B, 955, 977, 1000))
        speed, latency = effect(found, "output_tokens_per_s"), effect(found, "tpot_p50_s")
        assert latency.contrast.p_value is not None and latency.adjusted_p is not None
        assert 0.05 / 2 < latency.contrast.p_value < 0.05 < latency.adjusted_p
        assert latency.contrast.high is not None and latency.contrast.high < 1
        assert (speed.verdict, latency.verdict) == ("better", "indistinguishable")
        assert (found.tested("speed"), found.tested("latency")) == (1, 2)

    def test_families_are_corrected_apart(self, small: dict[str, ModelSummary]) -> None:
        found = compare(small["moe-8x2"], small["dense-active"])
        tested = {"mean score": 1, "tasks": 2, "speed": 3, "latency": 6, "memory and cost": 1, "counted": 0}
        assert {family: found.tested(family) for family in get_args(Family)} == tested
        mean = effect(found, "mean_score")
        assert mean.adjusted_p == mean.contrast.p_value
        for family in ("tasks", "speed", "latency"):
            members = [one for one in found.effects if one.family == family]
            adjusted = holm([one.contrast.p_value or 0.0 for one in members])
            assert [one.adjusted_p for one in members] == adjusted

    def test_counts_need_no_test(self) -> None:
        found = compared(memory_record(model=A, weights_bytes=600), memory_record(model=B, weights_bytes=200))
        weights = effect(found, "weights_bytes")
        assert (weights.verdict, weights.exact, weights.contrast.value) == ("worse", True, 3.0)
        assert effect(found, "kv_bytes_per_token").verdict == "indistinguishable"

    def test_trainings_of_other_sizes_are_a_mean_with_an_interval(self) -> None:
        records = [
            memory_record(model=f"{name}-{i}", weights_bytes=size, group=name)
            for name, sizes in (("moe", (300, 500, 700)), ("dense", (440, 450, 460))) for i, size in enumerate(sizes)
        ]
        groups = {one.model: one for one in group_summaries(summarise(with_paths(records)))}
        weights = effect(compare(groups["moe"], groups["dense"]), "weights_bytes")
        assert (weights.verdict, weights.exact) == ("indistinguishable", False)
        low, high = weights.contrast.low, weights.contrast.high
        assert low is not None and high is not None and low < 1 < high
        alike = compare(groups["dense"], groups["dense"]).effect("weights_bytes")
        assert alike is not None and not alike.exact

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
        assert facts.contrast.basis == "paired on 100 items, McNemar's mid-p test"
        assert facts.contrast.value == pytest.approx(0.15)
        assert facts.contrast.p_value == pytest.approx(0.5**15)
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
        assert found.missing == ("facts: asked or scored differently (examples 0 against 5)",)
        assert found.effect("score:facts") is None

    @pytest.mark.parametrize(("changes", "words"), [
        ({"lm_eval_task": "pocket_facts_b"}, "task pocket_facts against pocket_facts_b"),
        ({"task_fingerprint": "sha256:0123456789abcdef"}, "task file 0694aacb66d\u2026 against 0123456789a\u2026"),
        ({"task_fingerprint": None}, "task file .* against unknown"),
        ({"apply_chat_template": True}, "chat template no against yes"),
    ])
    def test_tasks_of_other_files_are_not_compared(self, changes: dict[str, Any], words: str) -> None:
        other = quality_scenario(**changes)
        found = compared(self.right(A, *(1.0,) * 20), self.right(B, *(0.0,) * 20, scenario=other))
        assert [one.metric for one in found.effects if "score" in one.metric] == []
        assert re.match(rf"facts: asked or scored differently \({words}\)", found.missing[0])
        assert words[:9] in found.matching.unknown["iso-quality"]

    def test_other_versions_of_a_task_are_not_compared(self) -> None:
        newer = self.right(B, *(0.0,) * 20)
        assert isinstance(newer.outcome, Completed) and isinstance(newer.outcome.measurement, QualityMeasurement)
        measured = newer.outcome.measurement.model_copy(update={"task_version": "2.0"})
        newer = newer.model_copy(update={"outcome": Completed(measurement=measured)})
        found = compared(self.right(A, *(1.0,) * 20), newer)
        assert found.missing[0] == "facts: asked or scored differently (task version 1.0 against 2.0)"

    def test_fewer_than_ten_items_are_too_few(self) -> None:
        for n, verdict in ((9, "insufficient data"), (10, "better")):
            pair = compared(self.right(A, *(1.0,) * n), self.right(B, *(0.0,) * n))
            assert effect(pair, "mean_score").verdict == verdict
        apart = quality_record(model=B, task="sort", item_scores=(0.0,) * 9, scenario=quality_scenario())
        facts = effect(compared(self.right(A, *(1.0,) * 9), apart), "score:facts")
        assert (facts.verdict, facts.contrast.basis) == (
            "insufficient data", "unpaired, 9 items on a side, too few for an interval",
        )

    def test_a_pair_has_one_difference_of_scores(self) -> None:
        found = compared(self.right(A, *(1.0,) * 50), self.right(B, *(0.0,) * 20, *(1.0,) * 180))
        facts, match = effect(found, "score:facts"), found.matching.of("iso-quality")
        assert match is not None and facts.over_shared
        # 1 - 0.9 over all items, 1 - 0.6 over those that both were asked
        assert match.mismatch == facts.contrast.value == pytest.approx(0.4) and not match.equal
        assert match.words == "mean score 40.0 points above over the shared items"
        alike = effect(compared(self.right(A, *(1.0,) * 50), self.right(B, *(1.0,) * 50)), "score:facts")
        assert not alike.over_shared

    def test_the_mean_of_tasks_is_over_their_shared_items(self) -> None:
        asked = {A: (1.0,) * 50, B: (*(1.0,) * 50, *(0.0,) * 150)}
        records = [quality_record(model=model, task=task, item_scores=scores)
                   for model, scores in asked.items() for task in ("facts", "sort")]
        mean = effect(compared(*records), "mean_score")
        # the 50 items that both were asked are answered alike; over all of them b has a quarter
        assert (mean.a.value, mean.b.value, mean.contrast.value) == (1.0, 0.25, 0.0)
        assert mean.over_shared and mean.verdict not in ("better", "worse")

    def test_a_task_on_one_side_is_missing(self) -> None:
        found = compared(self.right(A, 1.0), serving_record(model=B))
        assert found.missing == (
            "chat, concurrency 8: moe-8x2 was not measured", "facts: dense-active was not scored",
        )

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
            quality_record(model=f"moe-{seed}", group="moe", item_scores=(1.0,) * (80 - seed) + (0.0,) * (20 + seed))
            for seed in range(3)
        ]
        models = summarise(with_paths([*records, quality_record(model=B, item_scores=(1.0, 0.0) * 50)]))
        (group,) = group_summaries(models)
        single = next(model for model in models if model.model == B)
        assert effect(compare(group, single), "score:facts").verdict == "insufficient data"


    def test_a_task_alone_has_the_verdict_of_the_mean(self) -> None:
        found = compared(self.right(A, *(1.0,) * 8, *(0.0,) * 92), self.right(B, *(0.0,) * 7, 1.0, *(0.0,) * 92))
        facts, mean = effect(found, "score:facts"), effect(found, "mean_score")
        assert (facts.contrast, facts.adjusted_p, facts.verdict) == (mean.contrast, mean.adjusted_p, mean.verdict)

    def test_items_of_subtasks_are_clustered(self) -> None:
        found = compared(grouped(A, (8, 8, 9, 9, 8, 9)), grouped(B, (6, 5, 7, 7, 6, 6)))
        facts = effect(found, "score:facts")
        assert facts.contrast.basis == "paired on 60 items, clustered in 6 subtasks"
        assert facts.verdict == "better"
        assert facts.a.basis == "Wilson interval over 60 items clustered in 6 subtasks"

    def test_subtasks_of_the_same_weight(self) -> None:
        """lm-eval may give the mean of the subtasks' means: then so is the difference."""
        sizes = (10, 30)
        found = compared(grouped(A, (10, 15), 0.75, sizes), grouped(B, (8, 15), 0.65, sizes))
        facts = effect(found, "score:facts")
        assert facts.a.value == pytest.approx(0.75) and facts.contrast.value == pytest.approx(0.1)
        assert facts.contrast.basis == "paired, mean of 2 subtasks as they are"

    def test_a_score_that_is_no_mean_of_its_items_is_not_paired(self) -> None:
        found = compared(grouped(A, (8, 8), 0.9), grouped(B, (5, 5), 0.3))
        facts = effect(found, "score:facts")
        assert facts.contrast.basis == "unpaired, from both intervals"
        assert facts.contrast.value == pytest.approx(0.6)

    def test_a_mean_of_other_tasks_is_not_compared(self) -> None:
        both = summaries(self.right(A, 1.0, 0.0), quality_record(model=A, task="sort"))
        (one,) = summarise(with_paths([self.right(B, 1.0, 1.0)]))
        found = compare(both[A], one)
        assert found.effect("mean_score") is None
        assert found.missing == ("sort: dense-active was not scored", "mean score: not of the same tasks")


class TestGroups:
    def trainings(self, kind: str, forms: str, right: int) -> list[Record]:
        """One training of a kind for each form of the task that it was asked."""
        return [
            quality_record(
                model=f"{kind}-{seed}", group=kind, item_scores=(1.0,) * (right + seed) + (0.0,) * (100 - right - seed),
                scenario=quality_scenario(lm_eval_task=f"facts_{form}", task_fingerprint=f"sha256:{form}"),
            )
            for seed, form in enumerate(forms)
        ]

    def of(self, *records: Record) -> dict[str, ModelSummary]:
        models = summarise(with_paths(list(records)))
        return {one.model: one for one in (*group_summaries(models), *models)}

    def test_trainings_asked_the_same_forms_in_the_same_shares(self) -> None:
        found = self.of(*self.trainings("moe", "aab", 80), *self.trainings("dense", "baabaa", 60))
        pair = compare(found["moe"], found["dense"])
        assert effect(pair, "score:facts").verdict == "better"
        assert pair.caveats[0] == (
            "facts is a mean over trainings that were asked facts_a (67 %) and facts_b (33 %), in the same shares on "
            "both sides"
        )
        single = compare(found["moe-0"], found["dense-0"])
        assert single.missing[0].startswith("facts: asked or scored differently (task facts_a against facts_b and ")
        assert not compare(found["moe-0"], found["dense-1"]).missing

    def test_other_shares_are_not_compared(self) -> None:
        found = self.of(*self.trainings("moe", "aab", 80), *self.trainings("dense", "abb", 60))
        reason = "facts: asked or scored differently (the same forms in other shares of the trainings)"
        assert compare(found["moe"], found["dense"]).missing[0] == reason

    def test_a_training_beside_a_group_is_one_value_whatever_its_repeats(self) -> None:
        def rates(kind: str, *values: float, group: str | None) -> list[Record]:
            return [one for seed, rate in enumerate(values) for one in speeds(
                f"{kind}-{seed}", rate, 1.01 * rate, 0.99 * rate, group=group)]

        found = self.of(*rates("moe", 900, 1000, 1100, group="moe"), *rates("dense", 500, 510, 520, group="dense"))
        speed = effect(compare(found["moe"], found["dense"]), "output_tokens_per_s")
        assert speed.contrast.basis == "Welch interval of the log ratio over 3 and 3 trainings"
        beside = effect(compare(found["moe"], found["dense-0"]), "output_tokens_per_s")
        assert (beside.verdict, beside.contrast.low) == ("insufficient data", None)
        assert beside.contrast.value == pytest.approx(2.0)
        alone = effect(compare(found["moe-0"], found["dense-0"]), "output_tokens_per_s")
        assert alone.contrast.basis.endswith("over 3 and 3 repeats") and alone.verdict == "better"


def test_quality_is_matched_by_the_score_that_is_asked_for() -> None:
    found = summaries(*small_suite_records())
    for score, words in (("mean_score", "mean score"), ("score:sort", "score on sort")):
        pair = compare(found[A], found[B], score=score)
        match = pair.matching.of("iso-quality")
        assert match is not None and match.noun == words and match.a == effect(pair, score).a.value


def test_counted_effects_are_at_the_load_of_the_matching(small: dict[str, ModelSummary]) -> None:
    points = tuple(replace(one, flags=("too fast",)) if one.key == point(16) else one for one in small[A].points)
    pair = compare(replace(small[A], points=points), small[B])
    memory, match = effect(pair, "weights_and_cache_bytes"), pair.matching.of("iso-memory")
    assert match is not None and memory.point == match.at == pair.matching.load == point(4)
    assert memory.contrast.value == pytest.approx(match.mismatch)


def grouped(
    model: str, right: tuple[int, ...], value: float | None = None, sizes: tuple[int, ...] = (10,) * 9
) -> Record:
    """A group of subtasks of these sizes, of which so many items are right; `value` is the score that lm-eval gives."""
    names = [f"facts_{g}" for g, (_, size) in enumerate(zip(right, sizes, strict=False)) for _ in range(size)]
    scores = tuple(float(i < count) for count, size in zip(right, sizes, strict=False) for i in range(size))
    whole = quality_record(model=model, item_scores=scores)
    assert isinstance(whole.outcome, Completed) and isinstance(whole.outcome.measurement, QualityMeasurement)
    measured = whole.outcome.measurement
    samples = tuple(
        one.model_copy(update={"subtask": name}) for name, one in zip(names, measured.samples, strict=True)
    )
    listed = measured.scores[0]
    scored = listed.model_copy(update={"value": listed.value if value is None else value})
    measured = measured.model_copy(update={"samples": samples, "scores": (scored,)})
    return whole.model_copy(update={"outcome": Completed(measurement=measured)})


class TestConditions:
    def test_other_hardware_is_not_compared_in_speed(self) -> None:
        elsewhere = subject(B, accelerator="Example GPU")
        found = compared(*speeds(A, 1, 2), *speeds(B, 1, 2, subject=elsewhere))
        assert found.effect("output_tokens_per_s") is None
        assert found.missing == ("speed and memory: measured on different hardware (Example CPU and Example GPU)",)

    def test_hardware_that_is_not_stated_is_not_taken_as_the_same(self) -> None:
        one, other = (subject(name, accelerator="not stated") for name in (A, B))
        found = compared(*speeds(A, 1, 2, subject=one), *speeds(B, 1, 2, subject=other))
        assert found.effect("output_tokens_per_s") is None
        assert found.missing == ("speed and memory: measured on unknown hardware (not stated and not stated)",)

    def test_scores_of_dummy_weights_are_not_compared(self) -> None:
        dummy = subject(B, weights="dummy")
        found = compared(quality_record(model=A), quality_record(model=B, subject=dummy))
        assert found.missing == ("scores: dummy weights know nothing",)
        assert found.effect("mean_score") is None

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


class TestCosts:
    """Cost, energy, goodput, and the memory at the load."""

    def measured(self, model: str, cost: float, goodput: float) -> ModelSummary:
        (found,) = summarise(with_paths([serving_record(model=model, repeat=i) for i in range(3)]))
        values = {"usd_per_million_output_tokens": cost, "joules_per_output_token": 2 * cost,
                  "goodput_requests_per_s": goodput}
        estimates = {
            key: mean_estimate([value * share for share in (0.99, 1.0, 1.01)], "processes")
            for key, value in values.items()
        }
        return with_point(found, point(8), {**found.points[0].estimates, **estimates})

    def test_are_compared_where_both_have_them(self) -> None:
        found = compare(self.measured(A, 1.0, 5.0), self.measured(B, 2.0, 4.0))
        cost, energy = effect(found, "usd_per_million_output_tokens"), effect(found, "joules_per_output_token")
        assert (cost.contrast.value, energy.contrast.value) == pytest.approx((0.5, 0.5))
        assert (cost.verdict, cost.family, energy.family) == ("better", "memory and cost", "memory and cost")
        goodput = effect(found, "goodput_requests_per_s")
        assert (goodput.verdict, goodput.family) == ("better", "latency")

    def test_no_request_within_the_limits_has_no_ratio(self) -> None:
        found = compare(self.measured(A, 1.0, 0.0), self.measured(B, 2.0, 4.0))
        assert found.effect("goodput_requests_per_s") is None
        assert "chat, concurrency 8: goodput, as a repeat has no request within the limits" in found.missing

    def test_memory_is_counted_at_the_largest_shared_load(self, small: dict[str, ModelSummary]) -> None:
        memory = effect(compare(small["moe-8x2"], small["dense-active"]), "weights_and_cache_bytes")
        assert (memory.point, memory.exact, memory.verdict, memory.family) == (point(16), True, "worse", "counted")
        assert memory.a == counted(2 * 330_672 + 16 * 48 * 256)


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
