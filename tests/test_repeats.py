"""When a model has been repeated enough, and that stopping then leaves the interval its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from engines import toy_job
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plan import Job, Plan
from harness.record import Cell
from harness.repeats import FIRST_LOOK, FURTHER, enough, settled
from harness.scenario import MemoryScenario
from harness.stats import mean_estimate
from harness.store import Done
from harness.suite import Repeats

POLICY = Repeats(at_least=3, at_most=20, until_within=0.05)
STEADY = [1000.0, 1001.0, 999.0, 1000.0, 1002.0, 998.0]
UNSTEADY = [1000.0, 1300.0, 700.0, 1100.0, 900.0, 1000.0]


def asked(repeat: int, *rates: list[float], policy: Repeats | int = POLICY, elapsed_s: float = 0.0) -> bool:
    """Whether repeat number `repeat` need not run, where the cells' output rates were these so far."""
    job = toy_job(list(range(10, 10 + len(rates))), repeat=repeat)
    known = {cell.id: dict(enumerate(of_cell)) for cell, of_cell in zip(job.cells, rates, strict=True)}
    done = Done(output_rates=known, measuring_s=elapsed_s)
    return enough(job, Plan(suite="small", jobs=(), refusals=(), repeats=policy), done)


class TestEnough:
    def test_narrow_intervals_are_enough(self) -> None:
        assert asked(6, STEADY) and asked(6, STEADY, STEADY)

    def test_one_wide_interval_is_not(self) -> None:
        assert not asked(6, UNSTEADY)
        assert not asked(6, STEADY, UNSTEADY)

    def test_a_fixed_number_of_repeats_is_kept(self) -> None:
        assert not asked(6, STEADY, policy=10, elapsed_s=1e9)

    def test_the_least_number_comes_first_whatever_the_time(self) -> None:
        policy = Repeats(at_least=8, budget_s=1)
        assert not asked(7, [*STEADY, 1000.0], policy=policy, elapsed_s=100)
        assert asked(8, [*STEADY, 1000.0, 1000.0], policy=policy)

    def test_no_model_ends_before_the_sixth_repeat_but_for_the_time(self) -> None:
        assert FIRST_LOOK + FURTHER == 6
        assert not asked(5, STEADY[:5])
        hurried = Repeats(budget_s=60)
        assert not asked(5, STEADY[:5], policy=hurried, elapsed_s=59)
        assert asked(3, UNSTEADY[:3], policy=hurried, elapsed_s=60)

    def test_a_cell_that_failed_in_every_repeat_is_not_waited_for(self) -> None:
        assert asked(6, STEADY, [])

    def test_a_cell_that_failed_in_some_repeats_is(self) -> None:
        assert not asked(6, STEADY, STEADY[:4])

    def test_only_serving_is_asked(self) -> None:
        job = toy_job([10], repeat=6)
        memory = Cell(subject=job.subject, scenario=MemoryScenario(), seed=0)
        left: Job = job.model_copy(update={"cells": (memory,)})
        assert enough(left, Plan(suite="small", jobs=(), refusals=(), repeats=POLICY), Done())

    def test_repeats_count_in_their_order_not_in_that_of_their_records(self) -> None:
        # the first three agree, the last three do not: looked at backwards, the last would come first
        rates = [1000.0, 1000.0, 1001.0, 1060.0, 960.0, 1000.0, 1000.0]
        job = toy_job([10], repeat=7)
        plan = Plan(suite="small", jobs=(), refusals=(), repeats=POLICY)
        forth, back = ({job.cells[0].id: dict(order)} for order in (enumerate(rates), [*enumerate(rates)][::-1]))
        assert enough(job, plan, Done(output_rates=forth)) == enough(job, plan, Done(output_rates=back))

    @settings(deadline=None)
    @given(st.lists(st.floats(900, 1100), min_size=6, max_size=12))
    def test_what_is_settled_is_narrow(self, rates: list[float]) -> None:
        estimate = mean_estimate(rates, "processes")
        if min(rates) == max(rates):
            assert settled(rates, POLICY) and estimate.high is None
        elif settled(rates, POLICY):
            assert estimate.high is not None
            assert estimate.high - estimate.value <= 0.05 * estimate.value * (1 + 1e-9)


@pytest.mark.slow
class TestCoverage:
    """The interval over the repeats that the rule asks for holds the truth as often as that of a fixed number."""

    TRIALS = 2000

    def hits(self, spread: float, loads: int) -> list[bool]:
        """Whether the interval of the first load does, trial by trial; all have this coefficient of variation."""
        generator, found = np.random.default_rng(round(1000 * spread)), []
        for rates in (1 + spread * generator.standard_normal((self.TRIALS, loads, POLICY.at_most))).tolist():
            after = range(FIRST_LOOK + FURTHER, POLICY.at_most)
            n = next((n for n in after if all(settled(one[:n], POLICY) for one in rates)), POLICY.at_most)
            estimate = mean_estimate(rates[0][:n], "processes")
            assert estimate.low is not None
            assert estimate.high is not None
            found.append(estimate.low <= 1 <= estimate.high)
        return found

    @pytest.mark.parametrize("loads", [1, 4])
    def test_stopping_when_narrow(self, loads: int) -> None:
        hits = [hit for spread in (0.02, 0.03, 0.05, 0.08, 0.1) for hit in self.hits(spread, loads)]
        assert 0.93 <= sum(hits) / len(hits) <= 0.97
