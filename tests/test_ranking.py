"""Who is ranked by what, and why others are not."""

from __future__ import annotations

from dataclasses import replace

import builders
import pytest
import sites

from harness.compare import compare
from harness.groups import group_summaries
from harness.metrics import METRICS, Metric
from harness.ranking import Contest, contest, contests, singles_of
from harness.record import NOT_STATED
from harness.stats import Estimate, mean_estimate
from harness.summarise import summarise
from harness.summary import ModelSummary

MEAN, SPEED, WEIGHTS = (METRICS[key] for key in ("mean_score", "output_tokens_per_s", "weights_bytes"))
AT = builders.point(16)


@pytest.fixture(scope="module")
def small() -> tuple[ModelSummary, ...]:
    return summarise(builders.with_paths(builders.small_suite_records()))


def ranked(models: tuple[ModelSummary, ...], metric: Metric) -> Contest:
    return contest(models, metric, AT, lambda one: one.estimate(metric.key, AT))


def flagged(model: ModelSummary) -> ModelSummary:
    return replace(model, points=tuple(replace(one, flags=("too fast",)) for one in model.points))


def on(model: ModelSummary, accelerator: str) -> ModelSummary:
    return replace(model, subject=model.subject.model_copy(update={"accelerator": accelerator}))


def scored(model: ModelSummary, low: float, high: float) -> ModelSummary:
    return replace(model, mean_score=Estimate((low + high) / 2, low, high, 9, "x"))


def test_a_flagged_timing_leaves_the_ranking_by_timing_alone(small: tuple[ModelSummary, ...]) -> None:
    models = (flagged(small[0]), *small[1:])
    assert ranked(models, MEAN).ranks == ranked(small, MEAN).ranks and len(ranked(models, MEAN).ranks) == 4
    by_speed = ranked(models, SPEED)
    assert set(by_speed.ranks) == {one.model for one in small[1:]}
    assert by_speed.out == {small[0].model: "its timing is flagged: too fast"}
    assert len(ranked(models, WEIGHTS).ranks) == 4


def test_random_weights_have_neither_score_nor_speed(small: tuple[ModelSummary, ...]) -> None:
    dummy = replace(small[0], subject=small[0].subject.model_copy(update={"weights": "dummy"}))
    for metric, number in ((MEAN, 3), (SPEED, 3), (WEIGHTS, 4)):
        assert len(ranked((dummy, *small[1:]), metric).entrants) == number
    assert ranked((dummy, *small[1:]), MEAN).out[dummy.model] == "its weights are random"


def test_groups_and_models_are_never_in_one_ranking() -> None:
    models = summarise(builders.with_paths(sites.seed_records()))
    groups = group_summaries(models)
    with pytest.raises(ValueError, match="not ranked together"):
        ranked((*groups, *models), MEAN)
    first, second = contests((*models, *groups), MEAN, AT)
    assert all(one.members for one, _ in first.entrants) and len(first.entrants) == len(groups)
    assert not any(one.members for one, _ in second.entrants) and len(second.entrants) == len(models)
    # a single group leads nothing
    alone = contests((*models, groups[0]), MEAN, AT)
    assert [bool(one.entrants[0][0].members) for one in alone] == [False, True]


def test_of_several_kinds_of_hardware_nothing_is_the_best(small: tuple[ModelSummary, ...]) -> None:
    fast = sites.with_point(small[0], AT, {"output_tokens_per_s": mean_estimate([9e3, 9.1e3, 9.2e3], "processes")})
    assert ranked((fast, *small[1:]), SPEED).best is fast
    elsewhere = (fast, on(small[1], "Other CPU"), *small[2:])
    found = ranked(elsewhere, SPEED)
    assert found.best is None and len(found.ranks) == 3
    assert found.out[small[1].model] == (
        "measured on other hardware than those that are ranked (Other CPU against Example CPU)"
    )
    best = ranked(small, WEIGHTS).best
    assert best is not None and best.model == "dense-active"
    moved = ranked((on(best, "Other CPU"), *(one for one in small if one is not best)), WEIGHTS).best
    assert moved is not None and moved.model == best.model


def test_scores_of_other_questions_are_left_out(small: tuple[ModelSummary, ...]) -> None:
    facts = small[3].scores["facts"]
    other = replace(facts, scenario=facts.scenario.model_copy(update={"lm_eval_task": "facts_b"}))
    asked = (*small[:3], replace(small[3], scores={**small[3].scores, "facts": other}))
    found = ranked(asked, MEAN)
    assert len(found.ranks) == 3 and found.best is None
    assert found.out == {
        small[3].model: "asked otherwise than those that are ranked (facts: task facts_b against pocket_facts)",
    }
    assert ranked(asked, WEIGHTS).ranks.keys() == {one.model for one in small}


def test_scores_of_fewer_items_are_left_out(small: tuple[ModelSummary, ...]) -> None:
    facts = small[3].scores["facts"]
    cut = replace(facts, items=dict(list(facts.items.items())[:50]), items_asked=50)
    models = (*small[:3], replace(small[3], scores={**small[3].scores, "facts": cut}))
    found = ranked(models, MEAN)
    assert found.out == {small[3].model: "asked otherwise than those that are ranked (facts: items 50 against 200)"}
    assert found.best is None and len(found.ranks) == 3
    # two of them are compared all the same, over the items that both were asked
    effect = compare(small[0], models[3]).effect("score:facts")
    assert effect is not None and effect.over_shared
    untold = replace(facts, items={}, items_asked=None, weighting="reported")
    apart = compare(small[0], replace(small[3], scores={"facts": untold}))
    assert apart.effect("score:facts") is None
    assert "facts: asked or scored differently (items 200 against not told)" in apart.missing


def test_lower_is_better_where_the_task_says_so(small: tuple[ModelSummary, ...]) -> None:
    def loss(model: ModelSummary, value: float) -> ModelSummary:
        score = replace(model.scores["facts"], higher_is_better=False, estimate=Estimate(value, value, value, 9, "x"))
        return replace(model, scores={"facts": score})

    models = tuple(loss(one, value) for one, value in zip(small, (3.0, 2.0, 4.0, 5.0), strict=True))
    metric = METRICS["score"].model_copy(update={"key": "score:facts"})
    found = ranked(models, metric)
    assert found.best is models[1] and found.ranks[models[3].model] == (4, 4)


def test_runs_that_agree_to_the_last_digit_are_not_certain(small: tuple[ModelSummary, ...]) -> None:
    def copied(model: ModelSummary, rate: float, n: int) -> ModelSummary:
        return sites.with_point(model, AT, {"output_tokens_per_s": mean_estimate([rate] * n, "imported runs")})

    for n in (2, 4):
        pair = tuple(copied(one, rate, n) for one, rate in zip(small[:2], (100.0, 200.0), strict=True))
        assert ranked(pair, SPEED).best is None and set(ranked(pair, SPEED).ranks.values()) == {(1, 2)}


def test_overlapping_intervals_share_ranks_and_the_first_is_all_of_them(small: tuple[ModelSummary, ...]) -> None:
    models = (scored(small[0], 0.5, 0.6), scored(small[1], 0.58, 0.7), scored(small[2], 0.1, 0.2))
    found = ranked(models, MEAN)
    assert list(found.ranks.values()) == [(1, 2), (1, 2), (3, 3)]
    assert [one.model for one, _ in found.first] == [one.model for one in models[:2]] and found.best is None


@pytest.mark.parametrize("order", [1, -1])
def test_of_equally_many_asked_in_two_ways_none_is_ranked(small: tuple[ModelSummary, ...], order: int) -> None:
    moved = tuple(on(one, "Other CPU") for one in small[2:])
    found = ranked((*small[:2], *moved)[::order], SPEED)
    assert found.entrants == () and found.best is None and found.lead == "none" and found.others == 4
    assert found.out[small[0].model] == (
        "measured on other hardware than others, no way being the most common, so that none is ranked "
        "(Example CPU against Other CPU)"
    )
    assert found.out.keys() == {one.model for one in small}


def test_unknown_hardware_competes_with_nobody(small: tuple[ModelSummary, ...]) -> None:
    unknown = tuple(on(one, NOT_STATED) for one in small)
    found = ranked((*unknown[:3], small[3]), SPEED)
    assert found.lead == "only one ranked" and found.unlike
    assert set(found.out.values()) == {"on what hardware it was measured is not stated"}
    assert ranked(unknown, SPEED).entrants == ()
    assert ranked(unknown[:1], SPEED).lead == "only one"


def test_device_peaks_are_ranked_only_with_the_same_cache(small: tuple[ModelSummary, ...]) -> None:
    def peaked(model: ModelSummary, cache: int | None, peak: float) -> ModelSummary:
        subject = model.subject.model_copy(update={"engine": {"kv_cache_memory_bytes": cache} if cache else {}})
        estimate = Estimate(peak, peak - 1, peak + 1, 3, "x", (peak - 1, peak, peak + 1))
        return replace(model, subject=subject, memory={"device_peak_bytes": estimate})

    metric = METRICS["device_peak_bytes"]
    caches = ((None, None), (10, 10), (10, 20))
    for first, second in caches:
        pair = (peaked(small[0], first, 100.0), peaked(small[1], second, 50.0))
        tested = compare(*pair).effect("device_peak_bytes") is not None
        assert bool(ranked(pair, metric).entrants) is tested is (first == second == 10)
    by_chance = ranked((peaked(small[0], None, 100.0), peaked(small[1], None, 50.0)), metric)
    assert set(by_chance.out.values()) == {"its devices' peak is what the engine chose to reserve for the cache"}
    others = ranked((peaked(small[0], 10, 100.0), peaked(small[1], 10, 50.0), peaked(small[2], 20, 1.0)), metric)
    assert others.out[small[2].model] == (
        "measured with another cache than those that are ranked (20 against 10 bytes)"
    )


def test_the_reason_of_a_shared_rank_is_the_true_one(small: tuple[ModelSummary, ...]) -> None:
    ends = {"equal": ((0.5, 0.5), (0.5, 0.5)), "overlap": ((0.4, 0.6), (0.5, 0.7))}
    for reason, intervals in ends.items():
        pair = tuple(scored(one, *both) for one, both in zip(small[:2], intervals, strict=True))
        assert (ranked(pair, MEAN).lead, ranked(pair, MEAN).why_shared) == ("shared", reason)
    bare = tuple(replace(one, mean_score=Estimate(0.5, None, None, 9, "x")) for one in small[:2])
    assert ranked(bare, MEAN).why_shared == "no interval"


def test_what_is_said_of_the_first(small: tuple[ModelSummary, ...]) -> None:
    apart = (scored(small[0], 0.5, 0.6), scored(small[1], 0.1, 0.2))
    dummy = replace(apart[1], subject=small[1].subject.model_copy(update={"weights": "dummy"}))
    facts = small[2].scores["facts"]
    other = replace(facts, scenario=facts.scenario.model_copy(update={"lm_eval_task": "facts_b"}))
    otherwise = replace(small[2], scores={**small[2].scores, "facts": other})
    assert ranked(apart, MEAN).lead == "leads"
    assert ranked(apart[:1], MEAN).lead == "only one"
    assert ranked((apart[0], dummy), MEAN).lead == "only one ranked"
    assert ranked((*apart, otherwise), MEAN).lead == "first of those alike"


def test_what_is_first_beside_a_flagged_timing_is_said_to_be_no_more(small: tuple[ModelSummary, ...]) -> None:
    fast = sites.with_point(small[0], AT, {"output_tokens_per_s": mean_estimate([9e3, 9.1e3, 9.2e3], "processes")})
    assert ranked((fast, *small[1:]), SPEED).lead == "leads"
    flagged = replace(small[1], points=tuple(
        replace(point, flags=("too fast",)) if point.key == AT else point for point in small[1].points
    ))
    found = ranked((fast, flagged, *small[2:]), SPEED)
    assert found.best is fast and found.lead == "first of those not flagged"


def test_single_models_are_those_of_no_group() -> None:
    models = summarise(builders.with_paths([*sites.seed_records(), builders.serving_record(model="alone")]))
    groups = group_summaries(models)
    assert [one.model for one in singles_of((*groups, *models))] == ["alone"]
    assert singles_of(models) == list(models)
