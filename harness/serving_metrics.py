"""The serving metrics of one repeat, from its raw timings. Everything is computed over columns of all requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.record import DeviceSamples, ReportedMeasurement, ServingMeasurement
from harness.scenario import OpenLoop, Replay, ServingScenario
from harness.stats import percentiles
from harness.suite_serving import Limits
from harness.timeline import token_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]

PERCENTILES = (50, 90, 95, 99)


class Timings:
    """The requests of one measurement as columns of seconds; those that made no token are left out of latencies."""

    def __init__(self, measurement: ServingMeasurement) -> None:
        self.steps = np.asarray(measurement.steps_s, dtype=float)
        requests = measurement.requests
        made = [request for request in requests if request.tokens]
        spans = [measurement.span_of(request) or (0.0, 0.0) for request in made]
        self.runs = [request.tokens for request in made]
        self.arrival = np.asarray([request.arrival_s for request in made], dtype=float)
        self.first = np.asarray([first for first, _ in spans], dtype=float)
        self.last = np.asarray([last for _, last in spans], dtype=float)
        self.tokens = np.asarray([request.output_tokens for request in made], dtype=float)
        self.started = np.asarray(
            [request.submitted_s if request.started_s is None else request.started_s for request in made], dtype=float
        )
        waits = [r.started_s - r.arrival_s for r in requests if r.started_s is not None]
        self.queue = np.asarray(waits, dtype=float)

    @property
    def ttft(self) -> Column:
        """First token's time minus the arrival."""
        waited: Column = self.first - self.arrival
        return waited

    @property
    def tpot(self) -> Column:
        """(Last - first token's time) / (tokens - 1), of requests with at least two."""
        several = self.tokens > 1
        each: Column = (self.last - self.first)[several] / (self.tokens[several] - 1)
        return each

    @property
    def e2e(self) -> Column:
        """Last token's time minus the arrival."""
        took: Column = self.last - self.arrival
        return took

    def itl(self) -> Column:
        """The time between consecutive tokens of a request, of all requests."""
        gaps = [np.diff(token_times(runs, self.steps)) for runs in self.runs]
        return np.concatenate(gaps) if gaps else np.empty(0)

    def within(self, limits: Limits) -> int:
        """How many requests kept every limit."""
        good = np.ones(len(self.first), dtype=bool)
        if limits.ttft_s is not None:
            good &= self.ttft <= limits.ttft_s
        if limits.tpot_s is not None:
            good &= (self.last - self.first) <= limits.tpot_s * np.maximum(self.tokens - 1, 1)
        if limits.e2e_s is not None:
            good &= self.e2e <= limits.e2e_s
        return int(good.sum())

    def steady_window(self) -> tuple[float, float] | None:
        """While the batch was full, in seconds; None where it never was for any time.

        From when every request that started before the first one ended has made its first token, so that none waits
        for its prompt alone, until the last request starts, behind which slots drain. Source: the steady state of
        ML.ENERGY (arXiv 2505.06371).
        """
        if not len(self.first):
            return None
        start = float(self.first[self.started < self.last.min()].max())
        end = float(self.started.max())
        return (start, end) if end > start else None

    def made_between(self, start: float, end: float) -> float:
        """Output tokens seen after `start` until `end`."""
        total = 0.0
        for runs in self.runs:
            for first, length, each in runs:
                low, high = np.searchsorted(self.steps[first : first + length], (start, end), side="right")
                total += each * float(high - low)
        return total


def serving_values(
    scenario: ServingScenario,
    measurement: ServingMeasurement | ReportedMeasurement,
    limits: Limits | None = None,
    usd_per_hour: float | None = None,
) -> dict[str, float]:
    """Every timed serving metric of one repeat by key; a statistic of no observations is left out.

    Percentiles interpolate linearly (type 7). Units as in `METRICS`. A duration of 0 gives no rates. `limits` are those
    of the goodput, `usd_per_hour` the price of all devices.
    """
    if isinstance(measurement, ReportedMeasurement):
        return dict(measurement.values) | _cost(measurement.values, usd_per_hour)
    timings = Timings(measurement)
    values = _rates(measurement, timings, limits)
    arrivals_given = isinstance(scenario.load, OpenLoop | Replay)
    arrived = arrival_rate([request.arrival_s for request in measurement.requests]) if arrivals_given else None
    if arrived is not None:
        values["arrivals_per_s"] = arrived
    window = None if arrivals_given else timings.steady_window()
    if window is not None:
        start, end = window
        made = timings.made_between(start, end)
        values["steady_output_tokens_per_s"] = made / (end - start)
        energy = energy_j(measurement.devices, start, end)
        if energy is not None and made:
            values["steady_joules_per_output_token"] = energy / made
    values |= _cost(values, usd_per_hour)
    for key in ("ttft", "tpot", "e2e", "queue"):
        values |= statistics(key, getattr(timings, key))
    return values | statistics("itl", timings.itl())


def arrival_rate(arrivals_s: Sequence[float]) -> float | None:
    """At how many a second the requests were due; None where fewer than two moments are known.

    The gaps over their sum, (n - 1) / (last - first arrival): the first arrival begins the clock, and what came after
    the last one is no gap. Of gamma-distributed gaps of a known shape, those of a Poisson process among them, this is
    the maximum likelihood estimate of the rate (Cox and Lewis 1966, The Statistical Analysis of Series of Events). The
    gaps are drawn with the cell's seed, which is the suite's: all models and all repeats get the same ones, so that a
    comparison of two models is fair whatever they are, and repeats do not average them out.
    """
    span = max(arrivals_s) - min(arrivals_s) if arrivals_s else 0.0
    return (len(arrivals_s) - 1) / span if span > 0 else None


def _rates(measurement: ServingMeasurement, timings: Timings, limits: Limits | None) -> dict[str, float]:
    requests, duration = measurement.requests, measurement.duration_s
    if duration <= 0:
        return {}
    output, prompt = measurement.output_tokens, sum(request.prompt_tokens for request in requests)
    inside = measurement.step_time_s + measurement.submit_time_s + measurement.idle_time_s
    values = {
        "output_tokens_per_s": output / duration,
        "total_tokens_per_s": (prompt + output) / duration,
        "requests_per_s": len(requests) / duration,
    }
    if measurement.step_time_s:  # 0 where another tool timed from outside the engine
        values["harness_overhead"] = max(0.0, 1 - inside / duration)
        values["submit_share"] = measurement.submit_time_s / duration
    if limits is not None and requests:
        good = timings.within(limits)
        values |= {"goodput_requests_per_s": good / duration, "goodput_share": good / len(requests)}
    energy = energy_j(measurement.devices, 0.0, duration)
    if energy is not None and output:
        values |= {"joules_per_output_token": energy / output, "mean_power_w": energy / duration}
    return values


def _cost(values: Mapping[str, float], usd_per_hour: float | None) -> dict[str, float]:
    rate = values.get("output_tokens_per_s")
    return {"usd_per_million_output_tokens": usd_per_hour / 3600 / rate * 1e6} if usd_per_hour and rate else {}


def energy_j(devices: tuple[DeviceSamples, ...], start_s: float, end_s: float) -> float | None:
    """What all devices used from `start_s` to `end_s` of the cell's clock, in joules; None where one does not tell.

    The driver's energy counter, read between its samples by linear interpolation; where there is none or it goes back,
    the integral of the power samples by the trapezoidal rule.
    """
    total = 0.0
    for device in devices:
        times, used = np.asarray(device.times_s, dtype=float), _used_j(device)
        if used is None or len(times) < 2:
            return None
        low, high = np.interp((start_s, end_s), times, used)
        total += float(high - low)
    return total if devices else None


def _used_j(device: DeviceSamples) -> Column | None:
    """What one device had used at each sample, in joules since some moment; None where it does not tell."""
    if device.energy_j is not None:
        counter = np.asarray(device.energy_j, dtype=float)
        if (np.diff(counter) >= 0).all():
            return counter
    if device.power_w is None:
        return None
    times, power = np.asarray(device.times_s, dtype=float), np.asarray(device.power_w, dtype=float)
    integral: Column = np.concatenate([[0.0], np.cumsum(np.diff(times) * (power[1:] + power[:-1]) / 2)])
    return integral


def statistics(key: str, observations: Column) -> dict[str, float]:
    """Mean and percentiles of the observations, in seconds, under the metrics' keys; nothing for none."""
    if not len(observations):
        return {}
    values = {f"{key}_mean_s": float(observations.mean())}
    cuts = percentile_values(observations)
    return values | {f"{key}_p{percent}_s": value for percent, value in cuts.items()}


def percentile_values(observations: Column) -> dict[int, float]:
    """All `PERCENTILES` of some observations."""
    return dict(zip(PERCENTILES, percentiles(observations, PERCENTILES), strict=True))
