"""Matchings: the six kinds, the nearest baselines, what nobody measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from builders import (
    CONFIGS,
    memory_record,
    point,
    quality_record,
    quality_scenario,
    serving_record,
    serving_scenario,
    small_suite_records,
    subject,
    with_paths,
)
from hypothesis import given
from hypothesis import strategies as st

from harness.accounting import flops_per_token
from harness.groups import group_summaries
from harness.hf_config import architecture_from_config
from harness.matching import (
    MATCH_KINDS,
    Match,
    Named,
    about_of,
    match,
    named_pairs,
    pairings,
    partners_of,
    unmatched,
)
from harness.record import Record
from harness.scenario import Offline
from harness.sizes import memory_at
from harness.stats import Estimate, counted
from harness.suite import MatchKind, parse_suite
from harness.summarise import summarise
from harness.summary import ModelSummary
from harness.terms import Terms

A, B = "moe-8x2", "dense-active"


def summaries(*records: Record, terms: Terms | None = None) -> dict[str, ModelSummary]:
    return {summary.model: summary for summary in summarise(with_paths(list(records)), terms=terms)}


@pytest.fixture(scope="module")
def small() -> dict[str, ModelSummary]:
    return summaries(*small_suite_records())


def priced(model: ModelSummary, usd: float) -> ModelSummary:
    """The model with this cost of a million output tokens at every load."""
    points = tuple(
        replace(one, estimates={**one.estimates, "usd_per_million_output_tokens": counted(usd)}) for one in model.points
    )
    return replace(model, points=points)


def scored(model: ModelSummary, share: float) -> ModelSummary:
    return replace(model, mean_score=counted(share))


class TestKinds:
    @pytest.mark.parametrize(
        ("sparse", "dense", "kinds"),
        [
            ("moe-8x2", "dense-active", ("iso-active", "iso-flops")),
            ("moe-8x2", "dense-total", ("iso-total", "iso-memory")),
            ("moe-fine", "dense-total", ("iso-total", "iso-memory", "iso-quality")),
            ("dense-active", "dense-total", ()),
        ],
    )
    def test_of_the_small_suite(
        self, small: dict[str, ModelSummary], sparse: str, dense: str, kinds: tuple[MatchKind, ...]
    ) -> None:
        matching = match(small[sparse], small[dense])
        assert matching.kinds == kinds
        assert [one.kind for one in matching.matches] == [kind for kind in MATCH_KINDS if kind != "iso-cost"]
        assert dict(matching.unknown) == {"iso-cost": f"{sparse}: no cost is known at this load"}

    def test_ratios_are_sparse_over_dense(self, small: dict[str, ModelSummary]) -> None:
        matching = match(small["moe-8x2"], small["dense-active"])
        assert matching.active_ratio == pytest.approx(109_488 / 107_952)
        assert matching.total_ratio == pytest.approx(330_672 / 107_952)
        assert matching.mismatch == "1.01× the active and 3.06× the total parameters"
        assert matching.label == "iso-active and iso-flops"
        active = matching.of("iso-active")
        assert active is not None and active.words == "1.01× the active parameters" and active.at is None

    def test_memory_is_weights_and_the_cache_of_all_requests(self, small: dict[str, ModelSummary]) -> None:
        # 4 layers of 2 heads of width 8, keys and values, 2 bytes: 256 bytes a token; 16 requests of 48 tokens.
        found = match(small["moe-8x2"], small["dense-total"]).of("iso-memory")
        assert found is not None and found.at == point(16)
        assert found.a == 2 * 330_672 + 16 * 48 * 256
        assert memory_at(small["moe-8x2"], point(4)) == 2 * 330_672 + 4 * 48 * 256

    def test_weights_that_were_not_measured_are_counted(self) -> None:
        found = summaries(serving_record(model=A))
        assert memory_at(found[A], point(8)) == 2 * 330_672 + 8 * 48 * 256

    def test_memory_of_an_unknown_form_is_not_known(self) -> None:
        odd = subject(A, quantization="new-kind", precision="auto")
        found = summaries(serving_record(model=A, subject=odd), serving_record(model=B))
        assert memory_at(found[A], point(8)) is None
        unknown = match(found[A], found[B]).unknown
        assert unknown["iso-memory"] == "moe-8x2: the bytes of weights and cache at this load are not known"

    def test_flops_are_those_of_a_decoded_token(self, small: dict[str, ModelSummary]) -> None:
        found = match(small["moe-8x2"], small["dense-active"], point(4)).of("iso-flops")
        assert found is not None and found.at == point(4)
        assert found.a == flops_per_token(architecture_from_config(CONFIGS[A], A), context=40).total

    def test_cost_and_quality(self, small: dict[str, ModelSummary]) -> None:
        a, b = priced(scored(small[A], 0.71), 2.0), priced(scored(small[B], 0.75), 1.9)
        matching = match(a, b)
        cost, quality = matching.of("iso-cost"), matching.of("iso-quality")
        assert cost is not None and quality is not None and not matching.unknown
        assert cost.mismatch == pytest.approx(2 / 1.9) and (cost.equal, cost.at) == (True, point(16))
        assert quality.mismatch == pytest.approx(-0.04) and (quality.equal, quality.near) == (False, True)
        assert (cost.words, quality.words) == ("1.05× the cost", "mean score 4.0 points below")

    def test_quality_by_the_score_that_ranks(self, small: dict[str, ModelSummary]) -> None:
        found = match(small[A], small[B], score="score:sort").of("iso-quality")
        assert found is not None and found.a == small[A].scores["sort"].estimate.value

    @given(st.floats(0.3, 3), st.floats(1, 1e12))
    def test_equal_is_within_a_tenth_and_near_within_a_factor_of_2(self, ratio: float, b: float) -> None:
        one = Match("iso-total", ratio * b, b)
        assert one.equal == (1 / 1.1 - 1e-9 <= one.mismatch <= 1.1 + 1e-9) == Match("iso-total", b, ratio * b).equal
        assert one.near == (0.5 * (1 - 1e-9) <= one.mismatch <= 2 * (1 + 1e-9))

    def test_words_of_the_same_score(self) -> None:
        assert Match("iso-quality", 0.7001, 0.7).words == "score \u22480.0 points"
        assert Match("iso-quality", 0.72, 0.7).equal and not Match("iso-quality", 0.721, 0.7).equal


class TestUnknown:
    def test_structure(self) -> None:
        found = summaries(serving_record(model=A), serving_record(model=B, config={}))
        matching = match(found[A], found[B])
        assert (matching.label, matching.active_ratio, matching.matches) == ("not counted", None, ())
        assert matching.unknown["iso-active"] == "dense-active: no record has the model's configuration"

    def test_no_shared_load(self) -> None:
        found = summaries(serving_record(model=A, concurrency=4), serving_record(model=B, concurrency=8))
        matching = match(found[A], found[B])
        assert {matching.unknown[kind] for kind in ("iso-memory", "iso-flops", "iso-cost")} == {
            "no load was measured on both"
        }
        assert matching.kinds == ("iso-active",)

    def test_a_load_without_concurrency_has_no_memory(self) -> None:
        offline = serving_scenario(load=Offline())
        found = summaries(serving_record(model=A, scenario=offline), serving_record(model=B, scenario=offline))
        matching = match(found[A], found[B])
        assert "iso-memory" in matching.unknown and matching.of("iso-flops") is not None

    def test_scores(self) -> None:
        shots = quality_scenario(num_fewshot=5)
        asked = summaries(quality_record(model=A), quality_record(model=B, scenario=shots))
        assert match(asked[A], asked[B]).unknown["iso-quality"] == (
            "asked or scored differently: facts: examples 0 against 5"
        )
        dummy = summaries(quality_record(model=A, subject=subject(A, weights="dummy")), quality_record(model=B))
        assert match(dummy[A], dummy[B]).unknown["iso-quality"] == "moe-8x2: dummy weights know nothing"
        other = summaries(quality_record(model=A), serving_record(model=B))
        assert match(other[A], other[B]).unknown["iso-quality"] == "dense-active: not measured: facts"
        scale = summaries(quality_record(model=A, item_scores=(12.0, 30.0)), quality_record(model=B))
        reason = "moe-8x2: not a score from 0 to 1"
        assert match(scale[A], scale[B], score="score:facts").unknown["iso-quality"] == reason

    def test_costs_on_other_hardware(self, small: dict[str, ModelSummary]) -> None:
        elsewhere = replace(small[B], subject=subject(B, accelerator="Example GPU"))
        reason = match(priced(small[A], 1.0), priced(elsewhere, 1.0)).unknown["iso-cost"]
        assert reason == "measured on different or unknown hardware"

    def test_flagged_loads_are_the_last_to_be_chosen(self, small: dict[str, ModelSummary]) -> None:
        points = tuple(replace(one, flags=("too fast",)) if one.key == point(16) else one for one in small[A].points)
        flagged = replace(small[A], points=points)
        found = match(flagged, small[B]).of("iso-flops")
        assert found is not None and found.at == point(4)
        only = replace(flagged, points=points[-1:])
        found = match(only, small[B]).of("iso-flops")
        assert found is not None and found.at == point(16)


class TestPairings:
    def test_each_sparse_model_with_its_nearest_in_every_kind(self, small: dict[str, ModelSummary]) -> None:
        found = {(pair.a.model, pair.b.model): pair for pair in pairings(list(small.values()))}
        assert list(found) == [
            ("moe-8x2", "dense-active"), ("moe-8x2", "dense-total"),
            ("moe-fine", "dense-active"), ("moe-fine", "dense-total"),
        ]
        assert found["moe-8x2", "dense-active"].kinds == ("iso-active", "iso-flops")
        assert found["moe-8x2", "dense-total"].kinds == ("iso-total", "iso-memory", "iso-quality")
        assert not any(pair.named for pair in found.values())

    def test_named_pairs_lead_and_keep_what_they_are_about(self, small: dict[str, ModelSummary]) -> None:
        named = (
            Named("moe-fine", "dense-total", ("iso-memory",)), Named("moe-8x2", "moe-fine"), Named("moe-8x2", "none"),
        )
        found = pairings(list(small.values()), named)
        assert [(pair.a.model, pair.b.model, pair.named) for pair in found][:3] == [
            ("moe-fine", "dense-total", True), ("moe-8x2", "moe-fine", True), ("moe-8x2", "dense-active", False),
        ]
        assert found[0].about == ("iso-memory",) and "iso-total" in found[0].kinds
        assert (found[1].about, found[1].kinds) == ((), ())

    @pytest.mark.parametrize("turned", [False, True])
    def test_a_pair_is_once_with_the_sparse_model_first_whichever_is_named_first(
        self, small: dict[str, ModelSummary], turned: bool
    ) -> None:
        names = ("dense-active", "moe-8x2") if turned else ("moe-8x2", "dense-active")
        found = pairings(list(small.values()), iter([Named(*names, ("iso-total",))]))
        same = [pair for pair in found if {pair.a.model, pair.b.model} == set(names)]
        assert [(pair.a.model, pair.b.model, pair.named) for pair in same] == [("moe-8x2", "dense-active", True)]
        assert (same[0].about, same[0].kinds) == (("iso-total",), ("iso-active", "iso-flops"))

    def test_what_a_pair_is_about_is_told_by_both_names_in_any_order(self) -> None:
        named = (Named("a", "b", ("iso-cost",)), Named("b", "a", ("iso-total",)), Named("a", "c"))
        assert about_of(named) == {frozenset("ab"): ("iso-cost",), frozenset("ac"): ()}

    def test_a_suite_names_them(self) -> None:
        text = """
            {name: s, title: S, models: [{name: a, path: a}, {name: b, path: b}, {name: c, path: c}],
             comparisons: [{sparse: a, dense: [b, c], matching: [iso-memory, iso-cost]}], quality: {tasks: [t]}}
        """
        assert named_pairs(parse_suite(text, where="s")) == (
            Named("a", "b", ("iso-memory", "iso-cost")), Named("a", "c", ("iso-memory", "iso-cost")),
        )
        assert named_pairs(None) == ()

    def test_beyond_a_factor_of_2_nothing_is_near(self, small: dict[str, ModelSummary]) -> None:
        far = [small["moe-8x2"], replace(small["dense-active"], scores={}, mean_score=None)]
        assert {kind for pair in pairings(far) for kind in pair.kinds} == {"iso-active", "iso-flops"}
        assert unmatched([small["moe-8x2"]], ()) == (small["moe-8x2"],)

    def test_the_nearest_need_not_be_equal(self, small: dict[str, ModelSummary]) -> None:
        larger = replace(small["dense-total"], model="larger", points=(), mean_score=None)
        # 1.6 times the total parameters of the sparse one
        table = small["dense-total"].parameters
        assert table is not None
        grown = table.model_copy(update={"other": table.other + round(0.6 * table.total)})
        (pair,) = pairings([small["moe-8x2"], replace(larger, parameters=grown)])
        assert pair.kinds == ("iso-total",)
        found = match(pair.a, pair.b).of("iso-total")
        assert found is not None and not found.equal and found.near

    def test_of_equally_near_ones_the_first_by_name(self, small: dict[str, ModelSummary]) -> None:
        twin = replace(small["dense-active"], model="a-twin")
        for order in ([small["moe-8x2"], small["dense-active"], twin], [twin, small["dense-active"], small["moe-8x2"]]):
            assert {pair.b.model for pair in pairings(order)} == {"a-twin"}

    def test_random_weights_and_unmeasured_models_only_where_named(self, small: dict[str, ModelSummary]) -> None:
        dummy = replace(small["dense-active"], subject=subject("dense-active", weights="dummy"))
        empty = replace(small["dense-total"], points=(), scores={})
        subjects = [small["moe-8x2"], dummy, empty]
        assert pairings(subjects) == ()
        named = (Named("moe-8x2", "dense-active"), Named("moe-8x2", "dense-total"))
        assert [pair.b.model for pair in pairings(subjects, named)] == ["dense-active", "dense-total"]

    def test_groups_are_subjects(self) -> None:
        records = [
            one
            for model in (A, B)
            for seed in range(2)
            for one in (
                quality_record(model=f"{model}-{seed}", group=model, config=CONFIGS[model]),
                serving_record(model=f"{model}-{seed}", group=model, config=CONFIGS[model]),
            )
        ]
        models = summarise(with_paths(records))
        (pair,) = pairings(group_summaries(models))
        assert (pair.a.model, pair.b.model) == (A, B)
        assert pair.kinds == ("iso-active", "iso-flops", "iso-quality")
        assert partners_of(models[-1], [pair]) == (pair.b if models[-1].group == A else pair.a,)

    def test_partners_of_both_sides(self, small: dict[str, ModelSummary]) -> None:
        found = pairings(list(small.values()))
        assert [one.model for one in partners_of(small["dense-total"], found)] == ["moe-8x2", "moe-fine"]
        assert [one.model for one in partners_of(small["moe-8x2"], found)] == ["dense-active", "dense-total"]


def test_a_hundred_by_a_hundred(small: dict[str, ModelSummary]) -> None:
    """Every sparse model finds the dense one that was made for it, however many there are."""
    def sized(model: ModelSummary, name: str, factor: float) -> ModelSummary:
        assert model.parameters is not None
        other = round((factor - 1) * model.parameters.total)
        return replace(
            model, model=name, parameters=model.parameters.model_copy(update={"other": max(0, other)}),
            points=(), mean_score=Estimate(0.5, 0.4, 0.6, 10, ""),
        )

    steps = [1.02 ** index for index in range(100)]
    sparse = [sized(small["moe-8x2"], f"sparse-{i:03}", 2 * factor) for i, factor in enumerate(steps)]
    dense = [sized(small["dense-total"], f"dense-{i:03}", 2 * factor) for i, factor in enumerate(steps)]
    found = pairings([*sparse, *dense])
    by_total = {pair.a.model: pair.b.model for pair in found if "iso-total" in pair.kinds}
    assert len(by_total) == 100
    totals = {one.model: one.parameters.total for one in (*sparse, *dense) if one.parameters is not None}
    for a, b in by_total.items():
        nearest = min(abs(math.log(totals[a] / totals[one.model])) for one in dense)
        assert abs(math.log(totals[a] / totals[b])) == nearest


def test_memory_records_lead_over_counts() -> None:
    found = summaries(memory_record(model=A, weights_bytes=1_000_000), serving_record(model=A))
    assert memory_at(found[A], point(8)) == 1_000_000 + 8 * 48 * 256
