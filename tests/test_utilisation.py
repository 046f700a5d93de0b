"""MFU and MBU against sums that go over steps and tokens one by one, and the laws that hold for every run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import CONFIGS, closed_loop, serving_scenario, subject, timed_requests
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.accelerators import Accelerators
from harness.accounting import PRECISIONS, decode_bytes, flops_per_token, kv_read_bytes, prefill_flops
from harness.architecture import Architecture
from harness.catalog import Catalog
from harness.engine_steps import engine_steps, longest_context
from harness.environment import ReadRate
from harness.hf_config import architecture_from_config
from harness.record import Completed, ServingMeasurement, WarmUp
from harness.record_file import read_record
from harness.roof import Roof
from harness.utilisation import (
    TOO_LOW,
    Distinct,
    PhaseUse,
    ServedModel,
    Utilisation,
    ceilings_beaten,
    roofline_points,
    served_model,
    utilisation_of,
    utilisation_values,
)

SUITES = Path(__file__).resolve().parent.parent / "suites"
GOLDEN = sorted((Path(__file__).parent / "golden").glob("record-*.json"))
BFLOAT16 = PRECISIONS["bfloat16"]
NAMES = (
    "qwen3-30b-a3b", "gpt-oss-20b", "llama-4-scout", "deepseek-v3", "llama-3.1-8b", "jamba-1.5-mini", "jetmoe-8b",
)
"""Experts, windows, chunks, latent attention with dense layers, no experts, a state beside the cache, and attention
that is experts too."""


@cache
def structure(name: str) -> Architecture:
    found = Catalog(SUITES).load(name).architecture
    assert found is not None
    return found


def roof_of(peak: float = 1e12, *rates: tuple[int, float]) -> Roof:
    reads = tuple(ReadRate(working_set_bytes=size, bytes_per_s=rate) for size, rate in rates or ((1, 1e11),))
    return Roof("this device", {"bfloat16": peak}, reads)


def run_of(starts: list[float], token_times_s: list[list[float]], prompts: list[int]) -> ServingMeasurement:
    """Requests with their prompts, their starts and the time of every token."""
    steps, requests = timed_requests(token_times_s, starts)
    asked = tuple(
        request.model_copy(update={"prompt_tokens": prompt, "asked_prompt_tokens": prompt})
        for request, prompt in zip(requests, prompts, strict=True)
    )
    return ServingMeasurement(
        duration_s=max(steps), step_time_s=max(steps), steps_s=steps, requests=asked,
        warmup=WarmUp(duration_s=0.0, requests=0),
    )


TWO = run_of([0.0, 2.0], [[1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0]], [100, 40])
"""Steps of a second. Prefill in the first and the third; the third and the fourth decode as well."""


def phase(use: Utilisation | None, name: str) -> PhaseUse:
    assert use is not None
    return next(one for one in use.phases if one.phase == name)


def use_of(
    measurement: ServingMeasurement = TWO, name: str = "qwen3-30b-a3b", roof: Roof | None = None,
    distinct: Distinct | None = None, devices: int = 1,
) -> Utilisation:
    found = utilisation_of(
        measurement, ServedModel(structure(name), BFLOAT16, devices), roof or roof_of(1e15, (1, 1e15)), distinct
    )
    assert found is not None
    return found


class TestByHand:
    def test_the_phases_have_their_steps_and_times(self) -> None:
        use = use_of()
        prefill, decode = phase(use, "prefill"), phase(use, "decode")
        assert (prefill.steps, prefill.time_s, prefill.tokens) == (2, 2.0, 100 + 41)
        assert (decode.steps, decode.time_s, decode.tokens) == (3, 3.0, 1 + 2 + 1)
        assert utilisation_values([use])[0]["prefill_time_share"] == pytest.approx(0.4)

    @pytest.mark.parametrize("name", NAMES)
    def test_flops_are_those_of_every_prompt_and_every_decoded_token(self, name: str) -> None:
        use, one = use_of(name=name), structure(name)
        decoded = {context: flops_per_token(one, context=context).total for context in (101, 102, 103, 41, 42)}
        prompts = prefill_flops(one, 100).total + prefill_flops(one, 40).total
        assert phase(use, "prefill").flops == pytest.approx(prompts + decoded[102], rel=1e-12)
        expected = decoded[101] + decoded[103] + decoded[41] + decoded[42]
        assert phase(use, "decode").flops == pytest.approx(expected, rel=1e-12)

    def test_what_a_prefix_cache_answered_is_not_multiplied(self) -> None:
        first, second = TWO.requests
        cached = TWO.model_copy(update={"requests": (first.model_copy(update={"cached_tokens": 60}), second)})
        saved = phase(use_of(), "prefill").flops - phase(use_of(cached), "prefill").flops
        assert saved == pytest.approx(prefill_flops(structure("qwen3-30b-a3b"), 60).total)

    @pytest.mark.parametrize("name", NAMES)
    def test_bytes_are_those_of_every_step(self, name: str) -> None:
        use, one = use_of(name=name), structure(name)
        # steps two, four and five: a token that sees 101, two that see 103 and 41, and one that sees 42
        steps = [decode_bytes(one, 1, 101).total, decode_bytes(one, 1, 42).total]
        fourth = decode_bytes(one, 2, 1)
        cache = kv_read_bytes(one, 103) + kv_read_bytes(one, 41)
        steps.append(fourth.non_expert_weights + fourth.expert_weights + fourth.state + cache)
        assert phase(use, "decode").bytes["expected"] == pytest.approx(sum(steps), rel=1e-12)

    def test_a_prefill_step_reads_the_experts_of_all_its_tokens(self) -> None:
        use, one = use_of(name="qwen3-30b-a3b"), structure("qwen3-30b-a3b")
        first, third = decode_bytes(one, 100, 1), decode_bytes(one, 41, 1)
        weights = sum(step.non_expert_weights + step.expert_weights for step in (first, third))
        assert phase(use, "prefill").bytes["expected"] == pytest.approx(weights + kv_read_bytes(one, 102), rel=1e-12)

    def test_the_ratios_are_the_least_time_over_the_time(self) -> None:
        use = use_of(roof=roof_of(1e13, (1, 1e13)), devices=2)
        decode, values = phase(use, "decode"), utilisation_values([use])[0]
        assert values["decode_mfu"] == pytest.approx(decode.flops / (3.0 * 1e13 * 2))
        assert values["decode_mbu"] == pytest.approx(decode.bytes["expected"] / (3.0 * 1e13 * 2))
        assert values["mbu"] == pytest.approx(0.4 * values["prefill_mbu"] + 0.6 * values["decode_mbu"])
        assert values["mfu"] == pytest.approx(0.4 * values["prefill_mfu"] + 0.6 * values["decode_mfu"])

    def test_the_read_rate_is_that_of_what_each_step_reads(self) -> None:
        one = structure("qwen3-30b-a3b")
        single = decode_bytes(one, 1, 101).total  # 6.7 GB; two tokens read more
        roof = roof_of(1e15, (1, 4e12), (int(single * 1.05), 1e12))
        decode = phase(use_of(roof=roof), "decode")
        alone = single + decode_bytes(one, 1, 42).total
        expected_s = alone / 4e12 + (decode.bytes["expected"] - alone) / 1e12
        assert decode.memory_s["expected"] == pytest.approx(expected_s)
        # on two devices each reads half of it
        halved = phase(use_of(roof=roof, devices=2), "decode")
        assert halved.memory_s["expected"] == pytest.approx(decode.bytes["expected"] / 2 / 4e12)

    def test_the_kinds_of_counting_experts(self) -> None:
        use = use_of(distinct=lambda phase_name, tokens: {"prefill": 40.0, "decode": 5.0 + 4 * tokens}[phase_name])
        decode, one = phase(use, "decode"), structure("qwen3-30b-a3b")
        each = decode_bytes(one, 1, 1, distinct_experts=1).expert_weights
        # 8 of 128 experts a token, and so of every single one; three steps of 1, 2 and 1 tokens
        rest = decode.bytes["active"] - 3 * 8 * each
        assert decode.bytes["total"] - rest == pytest.approx(3 * 128 * each)
        assert decode.bytes["measured"] - rest == pytest.approx((8 + 13 + 8) * each)
        assert decode.bytes["expected"] - rest == pytest.approx((8 + 15.5 + 8) * each)
        assert (decode.experts, phase(use, "prefill").experts) == ("measured", "measured")

    def test_what_cannot_be_measured_is_brought_within_bounds(self) -> None:
        few = use_of(distinct=lambda _phase, _tokens: 0.0)
        many = use_of(distinct=lambda _phase, _tokens: 1000.0)
        for name in ("prefill", "decode"):
            assert phase(few, name).bytes["measured"] == phase(few, name).bytes["active"]
            assert phase(many, name).bytes["measured"] <= phase(many, name).bytes["total"]
        # at most 16 of two tokens with 8 each
        each = decode_bytes(structure("qwen3-30b-a3b"), 1, 1, distinct_experts=1).expert_weights
        surplus = phase(many, "decode").bytes["measured"] - phase(few, "decode").bytes["measured"]
        assert surplus == pytest.approx(8 * each)

    def test_a_phase_beyond_what_was_measured_has_the_expectation(self) -> None:
        use = use_of(distinct=lambda _phase, tokens: 9.0 if tokens <= 2 else None)
        assert phase(use, "decode").experts == "measured"
        assert phase(use, "prefill").experts == "expected"
        assert "prefill_mbu_measured" not in utilisation_values([use])[0]


class TestModels:
    def test_a_plain_checkpoint(self) -> None:
        model, reason = served_model(subject(tensor_parallel=2), {}, structure("qwen3-30b-a3b"))
        assert (model, reason) == (ServedModel(structure("qwen3-30b-a3b"), BFLOAT16, 2), "")

    def test_the_cache_has_its_own_form(self) -> None:
        model, _ = served_model(subject(engine={"kv_cache_dtype": "fp8"}), {}, structure("qwen3-30b-a3b"))
        assert model is not None and model.precision.bytes_per_cache_element == 1.0

    def test_a_precision_that_the_file_names(self) -> None:
        model, _ = served_model(subject(precision="auto"), {"torch_dtype": "float16"}, structure("qwen3-30b-a3b"))
        assert model is not None and model.precision == PRECISIONS["float16"]
        config = {"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "mxfp4"}}
        model, _ = served_model(subject(), config, structure("gpt-oss-20b"))
        assert model is not None and model.precision == PRECISIONS["mxfp4-experts"]

    @pytest.mark.parametrize(
        ("changes", "config", "reason"),
        [
            ({"precision": "fp6"}, {}, "the precision fp6 is not known"),
            ({"quantization": "bitsandbytes"}, {}, "how the engine stores weights as bitsandbytes is not known"),
            (
                {}, {"quantization_config": {"quant_method": "awq", "bits": 3}},
                'the quantisation "awq" of the file is not known in this form',
            ),
            ({}, {"torch_dtype": "int8"}, 'the precision "int8" of the file is not known'),
            ({"engine": {"kv_cache_dtype": "nvfp4"}}, {}, "the form of the cache is not known"),
        ],
    )
    def test_what_is_not_known_is_said(self, changes: dict[str, Any], config: dict[str, Any], reason: str) -> None:
        assert served_model(subject(**changes), config, structure("qwen3-30b-a3b")) == (None, reason)

    def test_without_a_structure_or_with_an_encoder_there_is_none(self) -> None:
        assert served_model(subject(), {}, None) == (None, "the model's structure is not known")
        reason = "steps of an encoder and a decoder are not told apart"
        assert served_model(subject(), {}, structure("t5-base")) == (None, reason)


class TestRatios:
    def test_what_cannot_be_is_left_out_and_said(self) -> None:
        def slow_reads(factor: float) -> Utilisation:
            def distinct(_phase: str, _tokens: float) -> float:
                return 12.0

            decode = phase(use_of(distinct=distinct), "decode")
            rate = factor * decode.bytes["measured"] / decode.time_s
            return use_of(roof=roof_of(1e15, (1, rate)), distinct=distinct)

        possible = utilisation_values([slow_reads(1.001)])[0]
        assert possible["decode_mbu"] == possible["decode_mbu_measured"] == pytest.approx(1 / 1.001)
        beaten = slow_reads(0.8)
        values = utilisation_values([beaten])[0]
        assert not {"decode_mbu", "decode_mbu_measured", "mbu"} & set(values)
        assert ceilings_beaten([beaten])["decode"] == (
            f"above the ceiling: decode read 1.25 times as fast as the device could; {TOO_LOW}, and the figure is left "
            "out"
        )
        assert all(one.phase != "decode" for one in roofline_points([beaten]))

    def test_products_that_are_too_fast_are_left_out_too(self) -> None:
        use = use_of(roof=roof_of(phase(use_of(), "prefill").flops / 2.0 / 1.5, (1, 1e15)))
        (words,) = ceilings_beaten([use]).values()
        assert words.startswith("above the ceiling: prefill multiplied 1.5 times as fast as the device could; the ceil")
        (words,) = ceilings_beaten([use], measured=False).values()
        assert "the device could; more than its data sheet promises cannot be" in words
        values = utilisation_values([use])[0]
        assert "prefill_mfu" not in values and "mfu" not in values and values["mbu"] > 0

    def test_an_expectation_that_cannot_be_proves_no_ceiling_wrong(self) -> None:
        two = run_of([0.0, 0.0], [[1.0, 2.0], [1.0, 2.0]], [5, 5])
        decode = phase(use_of(two), "decode")
        between = (decode.bytes["active"] + decode.bytes["expected"]) / 2 / decode.time_s
        use = use_of(two, roof=roof_of(1e15, (1, between)))
        values = utilisation_values([use])[0]
        assert not {"decode_mbu", "decode_mbu_expected"} & set(values) and "decode_mbu_active" in values
        words = ceilings_beaten([use])["decode"]
        assert "decode read the experts that uniform routing expects" in words
        assert f"; fewer experts than that were read, or {TOO_LOW}" in words

    def test_all_experts_may_be_more_than_can_be_read(self) -> None:
        decode = phase(use_of(), "decode")
        use = use_of(roof=roof_of(1e15, (1, decode.bytes["expected"] / decode.time_s * 1.1)))
        values = utilisation_values([use])[0]
        assert values["decode_mbu"] < 1 < values["decode_mbu_total"]

    def test_without_a_peak_or_a_roof_the_rest_is_told(self) -> None:
        only_reads = use_of(roof=Roof("device", {"float32": 1e12}, roof_of(1e12, (1, 1e15)).reads))
        values = utilisation_values([only_reads])[0]
        assert "mbu" in values and "mfu" not in values and "decode_mfu" not in values
        assert roofline_points([only_reads]) == ()
        bare = utilisation_of(TWO, ServedModel(structure("qwen3-30b-a3b"), BFLOAT16), None)
        assert bare is not None and utilisation_values([bare])[0] == {"prefill_time_share": pytest.approx(0.4)}
        assert phase(bare, "decode").flops > 0

    def test_a_run_of_one_phase(self) -> None:
        use = use_of(run_of([0.0], [[1.0]], [10]))
        values = utilisation_values([use])[0]
        assert [one.phase for one in use.phases] == ["prefill"]
        assert values["mfu"] == values["prefill_mfu"] and values["prefill_time_share"] == 1.0

    def test_points_under_the_roof(self) -> None:
        use = use_of(roof=roof_of(1e15, (1, 1e13)))
        prefill, decode = roofline_points([use])
        used = phase(use, "decode")
        read = used.bytes["expected"]
        assert decode.phase == "decode"
        assert decode.intensity_flops_per_byte == pytest.approx(used.flops / read)
        assert decode.achieved_flops_per_s == pytest.approx(used.flops / 3.0)
        assert (decode.mfu, decode.mbu) == pytest.approx((used.flops / 1e15 / 3.0, read / 1e13 / 3.0))
        assert (decode.bound, decode.share) == ("memory", decode.mbu)
        busy = roofline_points([use_of(roof=roof_of(1e12, (1, 1e15)))])[0]
        assert (busy.phase, busy.bound, busy.share) == ("prefill", "compute", busy.mfu)
        assert prefill.intensity_flops_per_byte > decode.intensity_flops_per_byte

    def test_steps_that_took_no_time_have_no_ratio(self) -> None:
        use = use_of(run_of([0.0], [[0.0, 0.0]], [10]))
        assert utilisation_values([use])[0] == {} and roofline_points([use]) == () and ceilings_beaten([use]) == {}

    def test_a_run_without_starts_says_nothing(self) -> None:
        requests = tuple(one.model_copy(update={"started_s": None}) for one in TWO.requests)
        untold = TWO.model_copy(update={"requests": requests})
        assert utilisation_of(untold, ServedModel(structure("qwen3-30b-a3b"), BFLOAT16), roof_of()) is None


@cache
def tiny(name: str) -> Architecture:
    if name == "windows":
        return architecture_from_config({**CONFIGS["moe-8x2"], "sliding_window": 24}, name)
    return architecture_from_config(CONFIGS[name], name)


tiny_names = st.sampled_from(["moe-8x2", "moe-fine", "dense-active", "windows"])
times = st.floats(1e-6, 1.0)


@st.composite
def runs(draw: st.DrawFn) -> ServingMeasurement:
    """Requests that start at steps of one engine and make a token a step from then on, some of them later."""
    ends = [0.0]
    for took in draw(st.lists(times, min_size=4, max_size=12)):
        ends.append(round(ends[-1] + took, 6))
    starts, tokens, prompts = [], [], []
    for _ in range(draw(st.integers(1, 5))):
        first = draw(st.integers(0, len(ends) - 2))
        token = draw(st.integers(first + 1, min(first + 3, len(ends) - 1)))
        starts.append(ends[first])
        tokens.append(ends[token : draw(st.integers(token + 1, len(ends)))])
        prompts.append(draw(st.integers(1, 200)))  # the tables have 96 rows
    return run_of(starts, tokens, prompts)


roofs = st.builds(
    lambda peak, sizes, rates: roof_of(
        peak, *zip(sorted(sizes), sorted(rates, reverse=True)[: len(sizes)], strict=False)
    ),
    st.floats(1e3, 1e13), st.sets(st.integers(1, 2**22), min_size=1, max_size=4),
    st.lists(st.floats(1e3, 1e13), min_size=4, max_size=4),
)
curves = st.none() | st.builds(
    lambda scale, reach: lambda _phase, tokens: scale * tokens if tokens <= reach else None,
    st.floats(0.1, 20.0), st.integers(1, 200),
)


class TestLaws:
    @settings(max_examples=150)
    @given(runs(), tiny_names, roofs, curves, st.integers(1, 3))
    def test_no_ratio_exceeds_one(
        self, one: ServingMeasurement, name: str, roof: Roof, distinct: Distinct | None, devices: int
    ) -> None:
        use = utilisation_of(one, ServedModel(tiny(name), BFLOAT16, devices), roof, distinct)
        assert use is not None
        values = utilisation_values([use])[0]
        assert all(0 <= value <= 1 for key, value in values.items() if not key.endswith("_mbu_total"))
        assert all(0 < point.share <= 1 for point in roofline_points([use]))
        for part in use.phases:
            if f"{part.phase}_mbu" not in values and "measured" in part.bytes and part.time_s > 0:
                assert f"{part.phase} read" in ceilings_beaten([use])[part.phase]

    @settings(max_examples=150)
    @given(runs(), tiny_names, roofs, curves)
    def test_more_experts_are_more_bytes_and_more_time(
        self, one: ServingMeasurement, name: str, roof: Roof, distinct: Distinct | None
    ) -> None:
        use = utilisation_of(one, ServedModel(tiny(name), BFLOAT16), roof, distinct)
        assert use is not None
        for part in use.phases:
            for counts in (part.bytes, part.memory_s):
                for name_of in {"expected", "measured"} & set(counts):
                    between = counts[name_of]  # type: ignore[index]
                    assert counts["active"] <= between * (1 + 1e-12)
                    assert between <= counts["total"] * (1 + 1e-12)
            if not tiny(name).is_moe:
                assert len(set(part.bytes.values())) == 1 and set(part.bytes) >= {"measured", "total"}

    @settings(max_examples=60)
    @given(runs(), tiny_names)
    def test_the_work_is_the_sum_over_all_tokens(self, one: ServingMeasurement, name: str) -> None:
        use = utilisation_of(one, ServedModel(tiny(name), BFLOAT16), None)
        assert use is not None
        flops = 0.0
        for request in one.requests:
            flops += prefill_flops(tiny(name), request.prompt_tokens).total
            for index in range(1, request.output_tokens):
                flops += flops_per_token(tiny(name), context=request.prompt_tokens + index).total
        assert sum(part.flops for part in use.phases) == pytest.approx(flops, rel=1e-9)
        steps = engine_steps(one, np.zeros((longest_context(one.requests) + 1, 1)))
        assert steps is not None
        read = 0.0
        for tokens in steps.tokens:
            step = decode_bytes(tiny(name), float(tokens), 1)
            read += step.non_expert_weights + step.expert_weights
        for request in one.requests:
            for index in range(1, request.output_tokens):
                read += kv_read_bytes(tiny(name), request.prompt_tokens + index)
        assert sum(part.bytes["expected"] for part in use.phases) == pytest.approx(read, rel=1e-9)
        assert sum(part.steps for part in use.phases) == len(one.steps_s)
        assert sum(part.time_s for part in use.phases) <= one.duration_s * (1 + 1e-9)


    @settings(max_examples=150)
    @given(st.lists(runs(), min_size=1, max_size=3), tiny_names, roofs, curves)
    def test_every_figure_of_a_load_is_a_mean_over_all_its_repeats(
        self, several: list[ServingMeasurement], name: str, roof: Roof, distinct: Distinct | None
    ) -> None:
        model = ServedModel(tiny(name), BFLOAT16)
        uses = [use for one in several if (use := utilisation_of(one, model, roof, distinct)) is not None]
        values, points = utilisation_values(uses), {one.phase: one for one in roofline_points(uses)}
        beaten = ceilings_beaten(uses)
        for name_of in ("prefill", "decode"):
            parts = [one for use in uses for one in use.phases if one.phase == name_of]
            mfu, mbu = ([one[key] for one in values if key in one] for key in (f"{name_of}_mfu", f"{name_of}_mbu"))
            assert len(mfu) in (0, len(parts)) and len(mbu) in (0, len(parts))
            assert (name_of in points) == bool(mfu and mbu)
            assert (name_of in beaten) == (bool(parts) and not (mfu and mbu))
            if name_of in points:
                point = points[name_of]
                assert point.share == pytest.approx(max(np.mean(mfu), np.mean(mbu)))
                assert point.achieved_flops_per_s == pytest.approx(
                    np.mean([one.flops / one.time_s for one in parts])
                )
                assert point.achieved_flops_per_s <= roof.peaks["bfloat16"] * (1 + 1e-9)


class TestRepeats:
    def test_one_that_beats_the_ceiling_takes_the_figure_from_all(self) -> None:
        decode = phase(use_of(), "decode")
        rate = decode.bytes["active"] / decode.time_s * 0.9
        slow = TWO.model_copy(update={
            "steps_s": tuple(3 * end for end in TWO.steps_s),
            "requests": tuple(one.model_copy(update={"started_s": 3 * (one.started_s or 0)}) for one in TWO.requests),
        })
        uses = [use_of(slow, roof=roof_of(1e15, (1, rate))), use_of(roof=roof_of(1e15, (1, rate)))]
        (alone,) = utilisation_values(uses[:1])
        assert "decode_mbu" in alone and roofline_points(uses[:1])[-1].phase == "decode"
        for values in utilisation_values(uses):
            assert not {"decode_mbu", "mbu"} & set(values) and {"decode_mfu", "mfu"} <= set(values)
        assert all(one.phase != "decode" for one in roofline_points(uses))
        assert "in 1 of 2 repeats" in ceilings_beaten(uses)["decode"]

    def test_experts_count_alike_in_all(self) -> None:
        uses = [use_of(distinct=lambda _phase, _tokens: 9.0), use_of()]
        first, second = utilisation_values(uses)
        assert "decode_mbu_measured" not in {*first, *second}
        assert first["decode_mbu"] == second["decode_mbu"] == second["decode_mbu_expected"]


@settings(max_examples=30)
@given(st.sampled_from(NAMES), st.integers(1, 20_000), st.integers(2, 12))
def test_long_contexts_cost_what_the_accounting_says(name: str, prompt: int, outputs: int) -> None:
    """Costs come from a few contexts of each stretch: across windows, chunks and selections they are the same."""
    one = run_of([0.0], [[float(number) for number in range(1, outputs + 1)]], [prompt])
    use, architecture = use_of(one, name), structure(name)
    contexts = range(prompt + 1, prompt + outputs)
    flops = sum(flops_per_token(architecture, context=context).total for context in contexts)
    assert phase(use, "prefill").flops == pytest.approx(prefill_flops(architecture, prompt).total, rel=1e-9)
    assert phase(use, "decode").flops == pytest.approx(flops, rel=1e-9)
    read = sum(decode_bytes(architecture, 1, context).total for context in contexts)
    assert phase(use, "decode").bytes["expected"] == pytest.approx(read, rel=1e-9)


def test_a_real_accelerator_and_a_real_model() -> None:
    """Qwen3-30B-A3B on an H100 at 8 sequences and 611 tokens/s reads 0.6 of what the memory gives (ml-energy)."""
    one = closed_loop(serving_scenario(8, prompt_tokens=200, output_tokens=400, requests=8), tokens_per_s=611)
    roof = Roof.of_sheet(Accelerators(SUITES).load("h100-sxm"))
    values = utilisation_values([use_of(one, roof=roof)])[0]
    assert values["decode_mbu_expected"] == pytest.approx(0.60, abs=0.02)
    assert values["decode_mbu_active"] == pytest.approx(0.15, abs=0.02)
    assert values["decode_mbu_total"] == pytest.approx(1.41, abs=0.03)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_every_golden_record(file: Path) -> None:
    record = read_record(file)
    measurement = record.outcome.measurement if isinstance(record.outcome, Completed) else None
    model, reason = served_model(record.cell.subject, record.config, tiny("moe-8x2"))
    if model is None or not isinstance(measurement, ServingMeasurement):
        assert reason or not isinstance(measurement, ServingMeasurement)
        return
    use = utilisation_of(measurement, model, roof_of(1e9, (1, 1e9)))
    untold = any(request.tokens and request.started_s is None for request in measurement.requests)
    assert (use is None) == untold
    if use is not None:
        assert all(value <= 1 for key, value in utilisation_values([use])[0].items() if not key.endswith("_mbu_total"))
