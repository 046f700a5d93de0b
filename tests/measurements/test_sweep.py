"""Adaptive sweeps: when a higher concurrency is not needed."""

from __future__ import annotations

import pytest
from builders import closed_loop, memory_record, serving_scenario

from harness.measurements.sweep import Sweeps
from harness.record import Completed
from harness.scenario import MemoryScenario, Offline


def ended_after(rates: list[float], names: tuple[str, ...] = ("chat",)) -> str:
    sweeps = Sweeps(names)
    for power, rate in enumerate(rates):
        scenario = serving_scenario(2**power)
        sweeps.add(scenario, closed_loop(scenario, tokens_per_s=rate))
    return sweeps.ended(serving_scenario(2 ** len(rates)))


@pytest.mark.parametrize(
    "rates", [[], [100], [100, 190, 350], [100, 101], [100, 190, 191], [100, 90, 200], [100, 101, 120, 121]]
)
def test_it_goes_on_while_more_requests_give_more_output(rates: list[float]) -> None:
    assert ended_after(rates) == ""


@pytest.mark.parametrize("rates", [[100, 101, 102], [100, 190, 191, 150], [100, 200, 100, 205]])
def test_two_steps_in_a_row_without_gain_end_it(rates: list[float]) -> None:
    reason = ended_after(rates)
    assert "past saturation: the output rate rose by less than 5%" in reason
    assert f"{2 ** (len(rates) - 2)} and {2 ** (len(rates) - 1)} concurrent requests" in reason


def test_only_named_workloads_and_closed_loops_are_swept() -> None:
    flat = [100.0, 100.0, 100.0]
    assert ended_after(flat, names=("other",)) == ""
    sweeps = Sweeps(("chat",))
    for power in range(4):
        scenario = serving_scenario(2**power)
        sweeps.add(scenario, closed_loop(scenario, tokens_per_s=100))
    assert sweeps.ended(serving_scenario(16)) != ""
    assert sweeps.ended(serving_scenario(load=Offline())) == ""
    assert sweeps.ended(MemoryScenario()) == ""


def test_other_measurements_are_passed_over() -> None:
    sweeps = Sweeps(("chat",))
    outcome = memory_record().outcome
    assert isinstance(outcome, Completed)
    for _ in range(4):
        sweeps.add(MemoryScenario(), outcome.measurement)
    assert sweeps.ended(serving_scenario(4)) == ""


def test_what_was_measured_once_is_measured_in_every_repeat() -> None:
    """This repeat is flat where the first was not: its loads are needed all the same, so that each has its repeats."""
    sweeps = Sweeps(("chat",), {"chat": {1: 100.0, 2: 190.0, 4: 350.0, 8: 600.0}})
    for level in (1, 2, 4, 8):
        assert sweeps.ended(serving_scenario(level)) == ""
        sweeps.add(serving_scenario(level), closed_loop(serving_scenario(level), tokens_per_s=100.0))
    assert sweeps.ended(serving_scenario(16)) == ""


def test_an_interrupted_sweep_goes_on_from_what_it_knew() -> None:
    sweeps = Sweeps(("chat",), {"chat": {1: 100.0, 2: 101.0, 4: 102.0}})
    assert "2 and 4 concurrent requests" in sweeps.ended(serving_scenario(8))
