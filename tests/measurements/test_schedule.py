"""Which requests are sent when: from the scenario and the seed alone."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from builders import fixed_lengths
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measurements.schedule import Request, schedule
from harness.scenario import (
    ClosedLoop,
    FixedLength,
    LogNormalLength,
    Offline,
    OpenLoop,
    RandomLengths,
    ServingScenario,
    UniformLength,
)


def scenario(**changes: Any) -> ServingScenario:
    fields: dict[str, Any] = {
        "name": "chat", "lengths": fixed_lengths(), "load": OpenLoop(requests_per_s=5.0), "requests": 1000,
    }
    return ServingScenario(**{**fields, **changes})


def drawn(seed: int = 0, number: int = 20_000, **changes: Any) -> list[Request]:
    return list(islice(schedule(scenario(**changes), seed), number))


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gaps_between_arrivals_are_gamma_distributed(burstiness: float) -> None:
    load = OpenLoop(requests_per_s=5.0, burstiness=burstiness)
    gaps = np.diff([request.arrival_s for request in drawn(load=load, requests=20_000)])
    assert gaps.mean() == pytest.approx(0.2, rel=0.05)
    # the coefficient of variation of a gamma distribution of shape k is 1 / sqrt(k): 1 for the Poisson process
    assert gaps.std() / gaps.mean() == pytest.approx(burstiness**-0.5, rel=0.05)


def test_poisson_counts_vary_as_their_mean() -> None:
    arrivals = np.asarray([request.arrival_s for request in drawn(requests=20_000)])
    counts, _ = np.histogram(arrivals, np.arange(0, 4000, 2.0))
    assert counts.var() == pytest.approx(counts.mean(), rel=0.1)


def test_an_open_loop_lasts_for_its_requests_and_its_time() -> None:
    by_requests = drawn(requests=100, min_duration_s=1.0)
    assert len(by_requests) == 100 and by_requests[-1].arrival_s > 1.0
    by_time = drawn(requests=10, min_duration_s=100.0)
    assert len(by_time) == pytest.approx(500, rel=0.2) and by_time[-2].arrival_s < 100.0 <= by_time[-1].arrival_s


@pytest.mark.parametrize("rate", [0.5, 4.0, 30.0])
def test_no_open_loop_ends_before_its_least_time(rate: float) -> None:
    for seed in range(50):
        found = drawn(seed, load=OpenLoop(requests_per_s=rate), requests=8, min_duration_s=10.0)
        assert found[-1].arrival_s >= 10.0 and len(found) >= 8


def test_the_other_loads() -> None:
    closed = drawn(load=ClosedLoop(concurrency=2), requests=3)
    assert len(closed) == 20_000 and {request.arrival_s for request in closed} == {0.0}
    assert drawn(load=Offline(), requests=3) == [Request(0.0, 32, 16)] * 3


def test_lengths_have_the_mean_that_the_scenario_states() -> None:
    for length in (
        UniformLength(low=3, high=40), LogNormalLength(median=200, sigma=0.8, high=100_000),
        LogNormalLength(median=200, sigma=0.8, low=100, high=400), FixedLength(tokens=7),
    ):
        found = [r.prompt_tokens for r in drawn(
            load=Offline(), requests=20_000, lengths=RandomLengths(prompt=length, output=FixedLength(tokens=2)),
        )]
        assert np.mean(found) == pytest.approx(length.mean, rel=0.03)
        assert max(found) <= length.longest


LENGTHS = st.one_of(
    st.builds(FixedLength, tokens=st.integers(1, 99)),
    st.builds(UniformLength, low=st.integers(1, 9), high=st.integers(9, 99)),
    st.builds(LogNormalLength, median=st.integers(5, 9), sigma=st.floats(0.1, 3), low=st.integers(1, 5),
              high=st.integers(9, 99)),
)


@settings(max_examples=40)
@given(prompt=LENGTHS, output=LENGTHS, seed=st.integers(0, 2**31 - 1), number=st.integers(1, 5000))
def test_laws(prompt: Any, output: Any, seed: int, number: int) -> None:
    lengths = RandomLengths(prompt=prompt, output=output)
    found = drawn(seed, number, lengths=lengths, requests=number)
    assert found == drawn(seed, number, lengths=lengths, requests=number)
    # fewer of the same are the first of them
    assert found[: number // 2] == drawn(seed, number // 2, lengths=lengths, requests=number)
    assert all(1 <= one.prompt_tokens <= prompt.longest and 1 <= one.output_tokens <= output.longest for one in found)
    arrivals = [one.arrival_s for one in found]
    assert arrivals == sorted(arrivals) and arrivals[0] == 0.0
