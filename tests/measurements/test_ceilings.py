"""How the best of many short trials is found, with a clock and kernels that are played; and once with torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measurements import ceilings
from harness.measurements.ceilings import (
    MIB,
    MOST_S,
    SLICE_S,
    Trial,
    best_rates,
    falling,
    measure_ceilings,
    product_trials,
    read_trials,
    run_rounds,
    working_sets,
)


class Device:
    """Kernels that take as long as they are told to, on a clock that they move."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ran: list[str] = []
        self.finished = 0

    def __call__(self) -> float:
        return self.now_s

    def finish(self) -> None:
        self.finished += 1

    def kernel(self, name: str, *seconds: float) -> Callable[[], None]:
        """One that takes these seconds, the last of them for ever."""
        left = list(seconds)

        def run() -> None:
            self.ran.append(name)
            self.now_s += left.pop(0) if len(left) > 1 else left[0]
        return run


def broken() -> None:
    raise RuntimeError("not implemented for 'Half'")


def test_the_fastest_moment_of_a_trial_counts() -> None:
    device = Device()
    trial = Trial(MIB, device.kernel("read", 0.010, 0.008, 0.002, 0.009), 100.0)
    run_rounds([trial], device.finish, 0.03, device)
    assert best_rates([trial]) == {MIB: pytest.approx(100.0 / 0.002)}


def test_of_several_kernels_the_fastest_counts() -> None:
    device = Device()
    seconds = {"a": 0.05, "b": 0.025, "c": 0.1}
    trials = [Trial("float32", device.kernel(name, took), 2.0) for name, took in seconds.items()]
    run_rounds(trials, device.finish, 0.0, device)
    assert best_rates(trials) == {"float32": pytest.approx(80.0)}


def test_a_round_goes_over_all_trials_and_no_two_in_the_same_order() -> None:
    device, names = Device(), "abcdefgh"
    trials = [Trial(number, device.kernel(name, SLICE_S), 1.0) for number, name in enumerate(names)]
    run_rounds(trials, device.finish, 3 * len(names) * SLICE_S, device)
    rounds = [device.ran[start : start + len(names)] for start in range(0, len(device.ran), len(names))]
    assert len(rounds) == 3
    assert all(sorted(one) == list(names) for one in rounds)
    assert len({tuple(one) for one in rounds}) == 3
    assert device.finished == len(device.ran)


def test_a_short_kernel_is_repeated_until_it_fills_a_slice() -> None:
    device = Device()
    trial = Trial(MIB, device.kernel("read", SLICE_S / 40), 1.0)
    run_rounds([trial], device.finish, 1.5 * SLICE_S, device)
    # once to learn how long it takes, then two slices
    assert len(device.ran) == 81
    assert device.finished == 3


def test_a_clock_that_stands_still_is_waited_for() -> None:
    class Coarse(Device):
        def __call__(self) -> float:
            return math.floor(self.now_s / 0.1) * 0.1

    device = Coarse()
    trial = Trial(MIB, device.kernel("read", 0.03), 3.0)
    run_rounds([trial], device.finish, 5.0, device)
    assert best_rates([trial])[MIB] == pytest.approx(100.0, rel=0.5)


def test_what_the_device_does_not_take_is_left_out_and_not_tried_again() -> None:
    device = Device()
    tried = []

    def missing() -> None:
        tried.append(1)
        broken()

    trials = [Trial("fp8", missing, 1.0), Trial("float32", device.kernel("a", 0.125), 5.0)]
    run_rounds(trials, device.finish, 0.375, device)
    assert best_rates(trials) == {"float32": 40.0}
    assert (len(tried), len(device.ran)) == (1, 3)


def test_without_any_kernel_it_ends() -> None:
    trials = [Trial("fp8", broken, 1.0)]
    run_rounds(trials, lambda: None, 10.0, lambda: 0.0)
    assert best_rates(trials) == {}


def test_a_product_that_would_take_too_long_is_left_out() -> None:
    device = Device()
    small = Trial("float16", device.kernel("small", 0.01), 1.0)
    just = Trial("float16", device.kernel("just", MOST_S), 100 * MOST_S * 0.999)
    large = Trial("float16", device.kernel("large", 30.0), 100 * MOST_S * 1.001)
    other = Trial("float32", device.kernel("other", 1.0), 1000.0)
    run_rounds([small, just, large, other], device.finish, 0.0, device)
    assert device.ran == ["small", "just", "other"]


def test_a_large_read_takes_the_time_that_it_needs() -> None:
    device = Device()
    trials = [Trial(MIB, device.kernel("a", 0.001), 1.0), Trial(1024 * MIB, device.kernel("b", 3.0), 1024.0)]
    run_rounds(trials, device.finish, 0.0, device)
    assert set(best_rates(trials)) == {MIB, 1024 * MIB}


@given(st.dictionaries(st.integers(1, 2**40), st.floats(1e6, 1e13), min_size=1, max_size=12))
def test_no_working_set_is_read_faster_than_a_smaller_one(rates: dict[int, float]) -> None:
    found = falling(rates)
    assert [one.working_set_bytes for one in found] == sorted(rates)
    assert all(a.bytes_per_s >= b.bytes_per_s for a, b in pairwise(found))
    for one in found:
        larger = [rate for size, rate in rates.items() if size >= one.working_set_bytes]
        assert one.bytes_per_s == pytest.approx(max(larger), rel=1e-5)


@given(st.sampled_from(["cpu", "cuda"]), st.integers(0, 2**36))
def test_working_sets_grow_until_the_memory_ends(device: str, most_bytes: int) -> None:
    sizes = working_sets(device, most_bytes)  # type: ignore[arg-type]
    assert sizes[0] == MIB
    growth = ceilings.GROWTH[device]
    assert all(b == growth * a for a, b in pairwise(sizes))
    limit = min(most_bytes, ceilings.LARGEST_BYTES[device])
    assert sizes[-1] <= max(MIB, limit) < max(sizes[-1] * growth, MIB * growth)


@pytest.mark.torch
class TestTorch:
    def test_every_read_reads_all_of_its_working_set(self) -> None:
        sizes = [MIB, 2 * MIB]
        trials = list(read_trials("cpu", sizes))
        assert {trial.key for trial in trials} == set(sizes)
        for trial in trials:
            assert trial.amount == trial.key
            # of ones: the sum of n elements is n, the product of two halves n / 2
            assert float(trial.run()) in (trial.amount / 4, trial.amount / 8)  # type: ignore[arg-type]

    def test_every_product_is_that_of_its_matrices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        monkeypatch.setitem(ceilings.SIDES, "cpu", (8, 16))
        trials = list(product_trials("cpu"))
        assert [trial.key for trial in trials] == 2 * ["float32", "bfloat16", "float16"]
        for trial, side in zip(trials, (8, 8, 8, 16, 16, 16), strict=True):
            assert isinstance(trial.run, partial)
            factor, product, _ = trial.run.args
            assert (trial.amount, str(factor.dtype)) == (2 * side**3, f"torch.{trial.key}")
            assert trial.run() is product
            torch.testing.assert_close(product.float(), factor.float() @ factor.float(), rtol=0.02, atol=0.02)

    def test_the_processor_has_ceilings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        monkeypatch.setitem(ceilings.SIDES, "cpu", (64,))
        monkeypatch.setitem(ceilings.LARGEST_BYTES, "cpu", 4 * MIB)
        found = measure_ceilings("cpu", 1, 0.02)
        assert torch.get_num_threads() == 1
        assert [one.working_set_bytes for one in found.reads] == [MIB, 2 * MIB, 4 * MIB]
        assert set(found.matmul_flops_per_s) == {"float32", "bfloat16", "float16"}
        # slower than the slowest processor in use, or faster than the fastest, would be a mistake of units
        assert all(1e8 < one.bytes_per_s < 1e14 for one in found.reads)
        assert all(1e7 < rate < 1e15 for rate in found.matmul_flops_per_s.values())
        assert found.duration_s > 0
