"""Where a sweep over concurrency ends: when more requests in flight give no more output."""

from __future__ import annotations

from collections.abc import Sequence

from harness.record import Measurement, ServingMeasurement
from harness.scenario import ClosedLoop, Scenario, ServingScenario

LEAST_GAIN = 0.05
"""A step that raises the best output rate so far by less than this share gains nothing."""
STEPS_WITHOUT_GAIN = 2
"""So many in a row end the sweep: one alone may be noise, and the curve should show that it is flat."""


class Sweeps:
    """The sweeps of one job; `names` are the workloads that have one. Concurrencies come in rising order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._rates: dict[str, list[tuple[int, float]]] = {}

    def add(self, scenario: Scenario, measurement: Measurement) -> None:
        """Takes the output rate of one more point into account."""
        if isinstance(measurement, ServingMeasurement) and self._swept(scenario):
            assert isinstance(scenario, ServingScenario)
            assert scenario.concurrency is not None
            rate = measurement.output_tokens_per_s or 0.0
            self._rates.setdefault(scenario.name, []).append((scenario.concurrency, rate))

    def ended(self, scenario: Scenario) -> str:
        """Why a point need not be measured; empty where it is needed."""
        if not self._swept(scenario):
            return ""
        assert isinstance(scenario, ServingScenario)
        rates = self._rates.get(scenario.name, [])
        without_gain, best = 0, 0.0
        for _, rate in rates:
            without_gain = without_gain + 1 if rate < best * (1 + LEAST_GAIN) else 0
            best = max(best, rate)
        if without_gain < STEPS_WITHOUT_GAIN:
            return ""
        levels = " and ".join(str(level) for level, _ in rates[-STEPS_WITHOUT_GAIN:])
        return (
            f"past saturation: the output rate rose by less than {LEAST_GAIN:.0%} at {levels} concurrent requests"
        )

    def _swept(self, scenario: Scenario) -> bool:
        return (
            isinstance(scenario, ServingScenario) and isinstance(scenario.load, ClosedLoop)
            and scenario.name in self._names
        )
