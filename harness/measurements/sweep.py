"""Where a sweep over concurrency ends: when more requests in flight give no more output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.record import Measurement, ServingMeasurement
from harness.scenario import Scenario, ServingScenario

LEAST_GAIN = 0.05
"""A step that raises the best output rate so far by less than this share gains nothing."""
STEPS_WITHOUT_GAIN = 2
"""So many in a row end the sweep: one alone may be noise, and the curve should show that it is flat."""


class Sweeps:
    """The sweeps of one job: of the workloads `names`, whose concurrencies come in rising order.

    `known` are output tokens/s that were measured before, by workload and concurrency: an earlier repeat, or this one
    before it was interrupted. What was measured once is measured in every repeat.
    """

    def __init__(self, names: Sequence[str], known: Mapping[str, Mapping[int, float]] | None = None) -> None:
        self._known = known or {}
        self._rates = {name: dict(self._known.get(name, {})) for name in names}

    def add(self, scenario: Scenario, measurement: Measurement) -> None:
        """Takes the output rate of one more point into account."""
        if isinstance(scenario, ServingScenario) and isinstance(measurement, ServingMeasurement):
            rates, level = self._rates.get(scenario.name), scenario.concurrency
            if rates is not None and level is not None:
                rates.setdefault(level, measurement.output_tokens_per_s or 0.0)

    def ended(self, scenario: Scenario) -> str:
        """Why a point need not be measured; empty where it is needed."""
        if not isinstance(scenario, ServingScenario) or scenario.concurrency is None:
            return ""
        level, rates = scenario.concurrency, self._rates.get(scenario.name, {})
        if level in self._known.get(scenario.name, {}):
            return ""
        below = sorted(one for one in rates if one < level)
        without_gain, best = 0, 0.0
        for one in below:
            without_gain = without_gain + 1 if rates[one] < best * (1 + LEAST_GAIN) else 0
            best = max(best, rates[one])
        if without_gain < STEPS_WITHOUT_GAIN:
            return ""
        last = " and ".join(map(str, below[-STEPS_WITHOUT_GAIN:]))
        return f"past saturation: the output rate rose by less than {LEAST_GAIN:.0%} at {last} concurrent requests"
