"""What runs are held against: the vendor's promise, or the fastest of what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.accelerators import Accelerators
from harness.environment import Ceilings, ReadRate
from harness.roof import Roof, best_ceilings

SUITES = Path(__file__).resolve().parent.parent / "suites"


def ceilings_of(reads: dict[int, float], products: dict[str, float] | None = None) -> Ceilings:
    found = tuple(ReadRate(working_set_bytes=size, bytes_per_s=rate) for size, rate in sorted(reads.items()))
    return Ceilings(reads=found, matmul_flops_per_s=products or {}, duration_s=4.0)


some_ceilings = st.builds(
    lambda sizes, rates, products: ceilings_of(
        dict(zip(sorted(sizes), sorted(rates, reverse=True)[: len(sizes)], strict=False)), products
    ),
    st.sets(st.integers(1, 40), min_size=1, max_size=5),
    st.lists(st.floats(1.0, 1e6), min_size=5, max_size=5),
    st.dictionaries(st.sampled_from(["float32", "bfloat16"]), st.floats(1.0, 1e6)),
)


def test_the_sheet_promises_one_rate_for_every_working_set() -> None:
    device = Accelerators(SUITES).load("h100-sxm")
    roof = Roof.of_sheet(device)
    assert (roof.title, roof.measured) == ("NVIDIA H100 SXM", False)
    assert roof.peaks["bfloat16"] == 989.4e12
    assert "fp4" not in roof.peaks
    assert roof.bytes_per_s(np.asarray([0.5, 1e6, 1e15])).tolist() == [3.35e12] * 3


@given(some_ceilings, st.lists(st.floats(0, 60) | st.integers(0, 41).map(float), min_size=1))
def test_a_working_set_has_the_rate_of_the_largest_that_is_no_larger(ceilings: Ceilings, sizes: list[float]) -> None:
    roof = Roof.of_ceilings("here", ceilings)
    first, *_ = ceilings.reads
    for size, rate in zip(sizes, roof.bytes_per_s(np.asarray(sizes)).tolist(), strict=True):
        fitting = [one for one in ceilings.reads if one.working_set_bytes <= size]
        nearest = max(fitting, key=lambda one: one.working_set_bytes, default=first)
        assert rate == nearest.bytes_per_s
    assert roof.measured


def test_working_sets_between_below_and_beyond_those_that_were_measured() -> None:
    roof = Roof.of_ceilings("here", ceilings_of({2: 90.0, 4: 20.0}))
    assert roof.bytes_per_s(np.asarray([1.0, 2.0, 3.9, 4.0, 100.0])).tolist() == [90.0, 90.0, 90.0, 20.0, 20.0]


def test_the_fastest_of_each_counts() -> None:
    a = ceilings_of({1: 90.0, 4: 20.0}, {"float32": 5.0, "bfloat16": 7.0})
    b = ceilings_of({1: 50.0, 2: 40.0, 4: 30.0, 8: 10.0}, {"bfloat16": 9.0, "fp8": 11.0})
    best = best_ceilings([a, b])
    assert best is not None
    assert {one.working_set_bytes: one.bytes_per_s for one in best.reads} == {1: 90.0, 2: 40.0, 4: 30.0, 8: 10.0}
    assert best.matmul_flops_per_s == {"float32": 5.0, "bfloat16": 9.0, "fp8": 11.0}


def test_whoever_read_more_at_a_higher_rate_reads_less_at_that_rate_too() -> None:
    best = best_ceilings([ceilings_of({1: 10.0, 2: 5.0}), ceilings_of({4: 30.0})])
    assert best is not None
    assert [one.bytes_per_s for one in best.reads] == [30.0, 30.0, 30.0]


@pytest.mark.parametrize("seen", [[], [ceilings_of({})]])
def test_without_reads_there_are_no_ceilings(seen: list[Ceilings]) -> None:
    assert best_ceilings(seen) is None


@given(st.lists(some_ceilings, min_size=1, max_size=4), st.integers(1, 60))
def test_no_measurement_was_faster_than_the_best(seen: list[Ceilings], size: int) -> None:
    best = best_ceilings(seen)
    assert best is not None
    rates = [one.bytes_per_s for one in best.reads]
    assert rates == sorted(rates, reverse=True)
    for one in seen:
        sizes = np.asarray([float(read.working_set_bytes) for read in one.reads])
        reached = Roof.of_ceilings("here", best).bytes_per_s(sizes)
        assert (reached >= np.asarray([read.bytes_per_s for read in one.reads])).all()
        for name, peak in one.matmul_flops_per_s.items():
            assert best.matmul_flops_per_s[name] >= peak
    assert best_ceilings([best, *seen]) == best.model_copy(update={"duration_s": 2 * best.duration_s})
