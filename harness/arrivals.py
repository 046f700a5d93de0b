"""How far the arrivals of an open loop can be from the rate that was asked for: a short run draws few of them."""

from __future__ import annotations

import math

from harness.quantities import grouped
from harness.scenario import OpenLoop, ServingScenario, scenario_words

MOST_OFF = 0.10
"""The largest share by which the rate may be expected to be off before a reader is told."""


def rate_error(load: OpenLoop, requests: float) -> float:
    """The share by which the rate of so many drawn arrivals is expected to differ from the one asked for.

    1 / sqrt(b (n - 1)) for n requests of burstiness b, one standard deviation: the n - 1 gaps have a coefficient of
    variation of 1 / sqrt(b) each, their mean one of that over sqrt(n - 1), and the rate is the mean's inverse, with the
    same relative error (delta method). Infinite for a single request, which has no rate.
    """
    gaps = max(0.0, requests - 1)
    return 1 / math.sqrt(load.burstiness * gaps) if gaps else math.inf


def requests_needed(load: OpenLoop, error: float = MOST_OFF) -> int:
    """The fewest requests of which the rate is expected to be off by at most `error`."""
    return math.ceil(round(1 / (load.burstiness * error**2), 6)) + 1


def few_arrivals(scenario: ServingScenario, requests: int | None = None) -> str:
    """What to know of an open loop whose rate is expected to be off by more than `MOST_OFF`; empty for any other load.

    `requests` are those that were sent; before a run, those that the scenario is expected to send.
    """
    load = scenario.load
    if not isinstance(load, OpenLoop):
        return ""
    about = "" if requests is not None else "about "
    number = expected_requests(scenario, load) if requests is None else requests
    error = rate_error(load, number)
    if error <= MOST_OFF:
        return ""
    needed = requests_needed(load)
    enough = f"{grouped(needed, 0)}, in {(needed - 1) / load.requests_per_s:.3g} s, by {100 * MOST_OFF:.0f} %"
    if math.isinf(error):
        return f"a single arrival has no rate; several are expected to miss the one that was asked for, {enough}"
    who = f"{about}{grouped(number, 0)} arrivals"
    return f"{who} are expected to miss the rate that was asked for by {100 * error:.0f} %, and {enough}"


def expected_requests(scenario: ServingScenario, load: OpenLoop) -> int:
    """How many requests an open loop sends on average: until both its number and its time are reached."""
    return max(scenario.requests, math.ceil(load.requests_per_s * scenario.min_duration_s) + 1)


def arrivals_told(scenario: ServingScenario) -> str:
    """The same before a run, with the cell and what to change in the suite; empty where the arrivals are enough."""
    found = few_arrivals(scenario)
    return f"{scenario_words(scenario)}: {found} (min_requests, min_duration_s)" if found else ""
