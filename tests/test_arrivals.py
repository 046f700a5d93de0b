"""How far few arrivals are from the rate that was asked for, against drawn schedules."""

from __future__ import annotations

import math
from statistics import stdev

import builders
import pytest
from builders import serving_scenario
from hypothesis import given
from hypothesis import strategies as st

from harness.arrivals import MOST_OFF, few_arrivals, rate_error, requests_needed
from harness.measurements.schedule import schedule
from harness.record import Completed, Record, ServingMeasurement
from harness.scenario import OpenLoop, Replay
from harness.serving_metrics import arrival_rate
from harness.summarise import summarise


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 4.0])
def test_drawn_schedules_are_off_by_as_much_as_is_told(burstiness: float) -> None:
    load = OpenLoop(requests_per_s=16.0, burstiness=burstiness)
    scenario = serving_scenario(load=load, requests=201)
    rates = [arrival_rate([one.arrival_s for one in schedule(scenario, seed)]) or 0.0 for seed in range(400)]
    assert stdev(rates) / 16 == pytest.approx(rate_error(load, 201), rel=0.15)


@given(st.floats(0.01, 1000), st.floats(0.01, 1.0))
def test_as_many_as_are_needed_and_one_less(burstiness: float, error: float) -> None:
    load = OpenLoop(requests_per_s=1.0, burstiness=burstiness)
    needed = requests_needed(load, error)
    assert rate_error(load, needed) <= error * (1 + 1e-6)
    assert needed == 2 or rate_error(load, needed - 1) > error * (1 - 1e-6)


def test_one_request_has_no_rate() -> None:
    load = OpenLoop(requests_per_s=2.0)
    assert rate_error(load, 1) == math.inf
    assert few_arrivals(serving_scenario(load=load), 1) == (
        "a single arrival has no rate; several are expected to miss the one that was asked for, 101, in 50 s, by 10 %"
    )


def test_other_loads_and_enough_arrivals_say_nothing() -> None:
    enough = serving_scenario(load=OpenLoop(requests_per_s=16.0), requests=8, min_duration_s=10.0)
    assert [few_arrivals(one) for one in (serving_scenario(4), serving_scenario(load=Replay()), enough)] == [""] * 3
    assert few_arrivals(enough, 100) and not few_arrivals(enough, 101)
    assert MOST_OFF == 0.1


def test_a_measured_load_says_so_beside_its_rate() -> None:
    scenario = serving_scenario(load=OpenLoop(requests_per_s=16.0), requests=8)
    records = [builders.serving_record(scenario=scenario, repeat=repeat) for repeat in range(3)]
    measured = [one.model_copy(update={"outcome": _spread(one)}) for one in records]
    ((point,),) = [one.points for one in summarise(builders.with_paths(measured))]
    rate = point.estimates["arrivals_per_s"]
    assert (rate.value, rate.basis) == (4.0, "counted")  # the same draws in every repeat
    assert [note for note in point.notes if "arrivals" in note] == [few_arrivals(scenario, 8)]


def _spread(record: Record) -> Completed:
    """The record's requests, due 0.25 s after each other."""
    assert isinstance(record.outcome, Completed)
    found = record.outcome.measurement
    assert isinstance(found, ServingMeasurement)
    due = tuple(one.model_copy(update={"arrival_s": 0.25 * place}) for place, one in enumerate(found.requests))
    return Completed(measurement=found.model_copy(update={"requests": due}))
