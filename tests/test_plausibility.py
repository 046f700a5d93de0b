"""Every rule of plausibility, violated once and just not; and that no real run can be below the least time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from builders import CONFIGS, closed_loop, fixed_lengths, memory_record, record, serving_scenario, subject
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.accelerators import Accelerators
from harness.accounting import PRECISIONS, decode_bytes, decode_roofline, flops_per_token, kv_read_bytes, prefill_flops
from harness.accounting.roofline import Limits
from harness.architecture import Architecture
from harness.catalog import Catalog
from harness.environment import Ceilings, ReadRate
from harness.hf_config import architecture_from_config
from harness.plausibility import (
    BUSY_STEP_S,
    ENGINE_STEP_S,
    MARGIN,
    SLOWEST,
    least_duration_s,
    roofline_flags,
    serving_flags,
)
from harness.record import Completed, DeviceSamples, Record, ReportedMeasurement, ServingMeasurement
from harness.roof import Roof
from harness.scenario import ClosedLoop, Load, Offline, OpenLoop, Replay

SUITES = Path(__file__).resolve().parent.parent / "suites"
SCENARIO = serving_scenario(2, min_duration_s=1.0)
"""8 requests of 32 and 16 tokens."""


def measured(tokens_per_s: float = 100.0, **changes: Any) -> ServingMeasurement:
    """128 output tokens, in 1.28 s unless told otherwise."""
    return closed_loop(SCENARIO, tokens_per_s=tokens_per_s).model_copy(update=changes)


def with_first(**changes: Any) -> ServingMeasurement:
    """The first request altered."""
    first, *others = measured().requests
    return measured(requests=(first.model_copy(update=changes), *others))


def throttled(*reasons: str) -> ServingMeasurement:
    return measured(devices=(
        DeviceSamples(name="a", times_s=(0.0, 1.0), throttled=reasons), DeviceSamples(name="b", times_s=(0.0, 1.0)),
    ))


class TestServingFlags:
    def test_a_run_that_did_the_work_has_none(self) -> None:
        assert serving_flags(SCENARIO, measured()) == []

    @pytest.mark.parametrize(
        ("one", "flag"),
        [
            (with_first(finish_reason="stop"), "1 request failed or ended early"),
            (with_first(finish_reason=None), "1 request failed or ended early"),
            (with_first(cached_tokens=16), "a prefix cache answered 16 prompt tokens"),
            (measured(requests=measured().requests[1:]), "7 of 8 requests were timed"),
            (
                with_first(asked_output_tokens=17),
                "1 of 8 requests did not give the output tokens that were asked",
            ),
            (with_first(tokens=()), "1 of 8 requests did not give the output tokens that were asked"),
            (with_first(prompt_tokens=33), "1 of 8 requests did not have the prompt tokens that were sent"),
            (measured(duration_s=0.0), "the cell's duration is not positive"),
            (measured(duration_s=0.999), "ran for 0.999 s, not the least of 1 s"),
            (throttled("HwThermalSlowdown", "GpuIdle"), "the device lowered its clock: HwThermalSlowdown"),
        ],
    )
    def test_each_rule_alone(self, one: ServingMeasurement, flag: str) -> None:
        assert serving_flags(SCENARIO, one) == [flag]

    @pytest.mark.parametrize(
        "one",
        [
            with_first(finish_reason="length", cached_tokens=0),
            measured(requests=(*measured().requests, measured().requests[0])),
            with_first(asked_prompt_tokens=33, prompt_tokens=33),
            measured(duration_s=1.0),
            throttled("GpuIdle", "SwPowerCap", "ApplicationsClocksSetting"),
        ],
    )
    def test_what_just_keeps_each_rule(self, one: ServingMeasurement) -> None:
        assert serving_flags(SCENARIO, one) == []

    def test_all_that_is_wrong_is_said(self) -> None:
        one = with_first(finish_reason="stop", cached_tokens=1).model_copy(update={"duration_s": 0.5})
        assert len(serving_flags(SCENARIO, one)) == 3

    def test_of_what_another_tool_reported_only_failures_are_known(self) -> None:
        assert serving_flags(SCENARIO, ReportedMeasurement(values={}, duration_s=0.1)) == []
        failed = ReportedMeasurement(values={}, failed_requests=2)
        assert serving_flags(SCENARIO, failed) == ["2 requests failed or ended early"]


@cache
def device(name: str = "h100-sxm") -> Roof:
    return Roof.of_sheet(Accelerators(SUITES).load(name))


PROCESSOR = Roof.of_ceilings("Example CPU", Ceilings(
    reads=(
        ReadRate(working_set_bytes=2**20, bytes_per_s=90e9), ReadRate(working_set_bytes=2**26, bytes_per_s=20e9),
        ReadRate(working_set_bytes=2**33, bytes_per_s=12e9),
    ),
    matmul_flops_per_s={"float32": 150e9, "bfloat16": 1000e9}, duration_s=4.0,
))


@cache
def mixtral() -> Architecture:
    """Mixtral-8x7B: large enough for a device to be busy with it."""
    found = Catalog(SUITES).load("mixtral-8x7b").architecture
    assert found is not None
    return found


def least(one: ServingMeasurement, architecture: Architecture | None = None, **changes: Any) -> float | None:
    return least_duration_s(one, architecture or mixtral(), subject(**changes), device())


def decoded(*lengths: tuple[int, int]) -> ServingMeasurement:
    """Requests of these prompt and output tokens, which all start at once and make a token each step."""
    template = measured().requests[0]
    requests = tuple(
        template.model_copy(update={"prompt_tokens": prompt, "tokens": ((0, output, 1),)}) for prompt, output in lengths
    )
    return measured(requests=requests, steps_s=tuple(map(float, range(max(output for _, output in lengths)))))


PROMPTS = st.one_of(st.integers(1, 200), st.integers(8100, 8300), st.integers(1, 20_000))
"""Around a window of 64 and a chunk of 8192, and any."""


class TestLeastDuration:
    def test_by_hand(self) -> None:
        one = measured()
        # 4 waves of 2 requests: 16 steps each, of which the first ends the prefill
        assert len(one.steps_s) == 64
        bfloat16 = PRECISIONS["bfloat16"]
        step = decode_bytes(mixtral(), 1, 1, precision=bfloat16)
        read = 64 * (step.non_expert_weights + step.expert_weights) + 8 * 15 * kv_read_bytes(mixtral(), 32)
        flops = 8 * prefill_flops(mixtral(), 32).total + 120 * flops_per_token(mixtral(), context=32).total
        assert least(one) == pytest.approx(max(read / 3.35e12, flops / 989.4e12))
        # about 26 GB of the 93 are read in each of the 64 steps
        assert least(one) == pytest.approx(64 * 25.5e9 / 3.35e12, rel=0.02)

    def test_a_large_prefill_is_bound_by_its_arithmetic(self) -> None:
        scenario = serving_scenario(8, prompt_tokens=4000, output_tokens=2)
        one = closed_loop(scenario)
        flops = 32 * prefill_flops(mixtral(), 4000).total + 32 * flops_per_token(mixtral(), context=4000).total
        assert least(one) == pytest.approx(flops / 989.4e12)

    def test_devices_share_the_work(self) -> None:
        one, two = least(measured()), least(measured(), tensor_parallel=2)
        assert one is not None and two == pytest.approx(one / 2)

    @pytest.mark.parametrize(
        "changes", [{"precision": "other"}, {"precision": "nvfp4"}, {"quantization": "awq"}]
    )
    def test_precisions_that_are_not_known_or_that_the_device_lacks_have_none(self, changes: dict[str, Any]) -> None:
        assert least(measured(), **changes) is None

    def test_a_run_without_tokens_needs_no_time(self) -> None:
        empty = tuple(one.model_copy(update={"tokens": ()}) for one in measured().requests)
        assert least(measured(requests=empty, steps_s=())) == 0.0

    def test_encoders_are_left_out(self) -> None:
        t5 = Catalog(SUITES).load("t5-base").architecture
        assert t5 is not None and least(measured(), t5) is None

    def test_a_cache_of_fewer_bits_is_read_in_less_time(self) -> None:
        long = decoded((30_000, 2000))
        whole, half, unknown = (
            least(long, engine={"kv_cache_dtype": dtype}) for dtype in ("auto", "fp8_e5m2", "nvfp4")
        )
        assert whole is not None and half is not None and unknown is not None
        assert whole > half > unknown

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(PROMPTS, st.integers(1, 12)), min_size=1, max_size=8), st.booleans())
    def test_unequal_requests_need_no_less_than_that(self, lengths: list[tuple[int, int]], chunked: bool) -> None:
        """Each token at its own context takes at least as much arithmetic and reading."""
        architecture = chunks() if chunked else windows()
        flops = cache_bytes = 0.0
        for prompt, output in lengths:
            flops += prefill_flops(architecture, prompt).total
            for context in range(prompt + 1, prompt + output):
                flops += flops_per_token(architecture, context=context).total
                cache_bytes += kv_read_bytes(architecture, context)
        step = decode_bytes(architecture, 1, 1)
        steps = max(output for _, output in lengths)
        read = steps * (step.non_expert_weights + step.expert_weights) + cache_bytes
        found = least(decoded(*lengths), architecture)
        assert found is not None and found <= max(flops / 989.4e12, read / 3.35e12) * (1 + 1e-9)

    @pytest.mark.parametrize("batch", [1, 64])
    @pytest.mark.slow
    def test_no_model_of_the_catalog_needs_more_than_its_roofline_expects(self, batch: int) -> None:
        scenario = serving_scenario(batch, prompt_tokens=1000, output_tokens=16, requests=batch)
        one = closed_loop(scenario)
        limits = Limits(peak_flops_per_s=989.4e12, bandwidth_bytes_per_s=3.35e12)
        for entry in Catalog(SUITES):
            if entry.architecture is None or entry.architecture.encoder is not None:
                continue
            step = decode_bytes(entry.architecture, 1, 1)
            reading_s = (step.non_expert_weights + step.expert_weights) / 3.35e12
            expected_s = max(batch * prefill_flops(entry.architecture, 1000).total / 989.4e12, reading_s)
            for context in range(1001, 1016):
                expected_s += decode_roofline(
                    entry.architecture, batch, context, precision=PRECISIONS["bfloat16"], limits=limits
                ).step_s
            found = least(one, entry.architecture)
            assert found is not None and 0 < found <= expected_s * (1 + 1e-9), entry.name


@cache
def windows() -> Architecture:
    """Layers with and without a window."""
    return architecture_from_config({
        **CONFIGS["dense-active"], "model_type": "mistral", "sliding_window": 64, "max_position_embeddings": 10_000,
    }, "windows")


@cache
def chunks() -> Architecture:
    """Layers that see their own chunk alone."""
    found = Catalog(SUITES).load("llama-4-scout").architecture
    assert found is not None
    return found


def run_of(one: ServingMeasurement, load: Load | None = None, **changes: Any) -> Record:
    scenario = serving_scenario(2, lengths=fixed_lengths(), load=load)
    fields: dict[str, Any] = {"config": {}, "subject": subject(accelerator="H100"), **changes}
    return record(scenario, Completed(measurement=one), **fields)


def flags_of(one: ServingMeasurement, load: Load | None = None, **changes: Any) -> list[str]:
    return roofline_flags(run_of(one, load, **changes), mixtral(), device())


class TestRooflineFlags:
    LEAST_S = least(measured()) or 0.0

    def test_faster_than_the_device_is_flagged_and_as_fast_is_not(self) -> None:
        (flag,) = flags_of(measured(duration_s=0.99 * self.LEAST_S))
        assert flag == (
            f"above the roofline: took {0.99 * self.LEAST_S:.3g} s, while NVIDIA H100 SXM needs at least "
            f"{self.LEAST_S:.3g} s for this work"
        )
        assert flags_of(measured(duration_s=self.LEAST_S)) == []

    def test_far_slower_is_flagged_and_just_not_is_not(self) -> None:
        slowest_s = SLOWEST * self.LEAST_S + 64 * ENGINE_STEP_S
        (flag,) = flags_of(measured(duration_s=slowest_s * 1.01))
        times = slowest_s * 1.01 / self.LEAST_S
        assert flag == f"implausibly slow: {times:.3g} times the least time that NVIDIA H100 SXM needs for this work"
        assert flags_of(measured(duration_s=slowest_s * 0.99)) == []

    @pytest.mark.parametrize(
        ("load", "judged"),
        [
            (ClosedLoop(concurrency=2), True), (Offline(), True), (OpenLoop(requests_per_s=0.01), False),
            (Replay(), False),
        ],
    )
    def test_slowness_is_judged_where_the_load_asks_for_all(self, load: Load, judged: bool) -> None:
        assert bool(flags_of(measured(duration_s=1e4), load)) == judged
        assert flags_of(measured(duration_s=1e-6), load)

    def test_a_checkpoint_that_is_quantised_is_not_judged(self) -> None:
        quantised = {"quantization_config": {"quant_method": "mxfp4"}}
        assert flags_of(measured(duration_s=1e-6), config=quantised) == []
        assert flags_of(measured(duration_s=1e-6), config={"text_config": quantised}) == []

    def test_other_records_are_not_judged(self) -> None:
        reported = run_of(measured()).model_copy(
            update={"outcome": Completed(measurement=ReportedMeasurement(values={}))}
        )
        for one in (reported, memory_record()):
            assert roofline_flags(one, mixtral(), device()) == []
        assert flags_of(measured(duration_s=0.0)) == []


class TestOnAProcessor:
    """Mixtral reads 25.5 GB a step, at the rate of the largest working set that was measured."""

    LEAST_S = least_duration_s(measured(), mixtral(), subject(), PROCESSOR) or 0.0

    def flags(self, duration_s: float, **changes: Any) -> list[str]:
        return roofline_flags(run_of(measured(duration_s=duration_s), **changes), mixtral(), PROCESSOR)

    def test_the_least_time_is_that_of_the_measured_rates(self) -> None:
        step = decode_bytes(mixtral(), 1, 1)
        read = 64 * (step.non_expert_weights + step.expert_weights) + 8 * 15 * kv_read_bytes(mixtral(), 32)
        assert pytest.approx(read / 12e9) == self.LEAST_S

    def test_devices_read_their_part_of_the_weights(self) -> None:
        # a quarter of 25.5 GB is less than the largest working set
        quarter = least_duration_s(measured(), mixtral(), subject(tensor_parallel=4), PROCESSOR)
        assert quarter == pytest.approx(self.LEAST_S / 4 * 12e9 / 20e9)

    def test_a_small_model_is_read_as_fast_as_the_caches_give(self) -> None:
        small = architecture_from_config(CONFIGS["dense-active"], "small")
        step = decode_bytes(small, 1, 1)
        cache = 8 * 15 * kv_read_bytes(small, 32)
        read = 64 * step.non_expert_weights + cache
        flops = 8 * prefill_flops(small, 32).total + 120 * flops_per_token(small, context=32).total
        found = least_duration_s(measured(), small, subject(), PROCESSOR)
        assert found == pytest.approx(max(read / 90e9, flops / 1000e9))

    def test_faster_than_measured_is_flagged_beyond_the_margin(self) -> None:
        (flag,) = self.flags(0.99 * self.LEAST_S / MARGIN)
        assert flag == (
            f"above the roofline: took {0.99 * self.LEAST_S / MARGIN:.3g} s, while Example CPU, as fast as it was "
            f"measured to be, needs at least {self.LEAST_S:.3g} s for this work"
        )
        assert self.flags(1.01 * self.LEAST_S / MARGIN) == []

    def test_far_slower_is_flagged_but_a_busy_processor_has_more_time_for_each_step(self) -> None:
        slowest_s = SLOWEST * self.LEAST_S + 64 * BUSY_STEP_S
        (flag,) = self.flags(slowest_s * 1.01)
        times = slowest_s * 1.01 / self.LEAST_S
        assert flag == f"implausibly slow: {times:.3g} times the least time that Example CPU needs for this work"
        assert self.flags(slowest_s * 0.99) == []

    def test_a_precision_that_was_not_measured_is_not_judged(self) -> None:
        assert self.flags(1e-6, subject=subject(precision="float16")) == []
