"""What `moebench layer` found: raw times of every process, and what follows from them. The JSON that it writes."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Literal, get_args

from harness.accounting import expected_distinct_experts
from harness.environment import Environment
from harness.layers.task import VARIANTS, LayerTask, Timing, Variant
from harness.schema import Frozen
from harness.stats import Contrast, ratio_of_means

Against = Literal["active", "total"]
"""The dense layer of equal active, and that of equal total width."""
DENSE: tuple[Against, ...] = get_args(Against)


class Measured(Frozen):
    """The raw observations. `name` is the model's, empty for sizes that were given; `scale` made the shape smaller.

    Each of the `processes` was a fresh one. `benchmark_version` is that of pytest-benchmark.
    """

    name: str
    scale: float
    notes: tuple[str, ...]
    task: LayerTask
    processes: int
    started_at: str
    environment: Environment
    benchmark_version: str | None
    timings: tuple[Timing, ...]

    def medians_s(self, tokens: int, variant: Variant) -> dict[int, float]:
        """The median time of the calls of all turns, by process."""
        times: dict[int, list[float]] = {}
        for one in self.timings:
            if one.tokens == tokens and one.variant == variant:
                times.setdefault(one.process, []).extend(one.times_s)
        return {process: median(found) for process, found in times.items()}

    def speedups(self, tokens: int, against: Variant) -> list[float]:
        """Time of a dense layer over that of the sparse one, one ratio a process: above 1 the sparse one is faster."""
        sparse, other = self.medians_s(tokens, "sparse"), self.medians_s(tokens, against)
        return [other[process] / time for process, time in sparse.items() if process in other]


class Speedup(Frozen):
    """How many times as fast the sparse layer is as the dense one of equal `against` width, with its 95 % interval.

    From the ratios of the processes, each of two medians that were taken side by side: what slows a whole process
    cancels. None with a single process.
    """

    against: Against
    value: float
    low: float | None
    high: float | None


class Point(Frozen):
    """One token count. Times are means over the processes' medians, in seconds.

    `distinct_experts` is the mean number of experts that a call used, `expected_distinct_experts` that of uniform
    routing. `weights_read_bytes` are the router's, the shared experts' and those of the experts used; a dense layer
    reads all of its weights.
    """

    tokens: int
    sparse_s: float
    active_s: float
    total_s: float
    distinct_experts: float
    expected_distinct_experts: float
    weights_read_bytes: dict[Variant, float]
    speedups: tuple[Speedup, ...]

    def speedup(self, against: Variant) -> Speedup:
        """That over the dense layer of equal active or total width."""
        return next(one for one in self.speedups if one.against == against)


class Change(Frozen):
    """The token count from which `faster` is faster; its 95 % interval, None at an end that was not measured."""

    faster: Literal["sparse", "dense"]
    tokens: float
    low: float | None
    high: float | None


class Comparison(Frozen):
    """Where the sparse layer wins against one dense layer: every change of the lead, and one sentence.

    `leads` has the certain leader at each token count (Holm's correction over all of them), empty where there is none.
    """

    against: Against
    leads: tuple[Literal["sparse", "dense", ""], ...]
    changes: tuple[Change, ...]
    sentence: str


class LayerReport(Frozen):
    """Everything, as `--json` writes it. A change of meaning or a field that goes is a new `schema_version`."""

    schema_version: Literal[1] = 1
    measured: Measured
    points: tuple[Point, ...]
    comparisons: tuple[Comparison, ...]


def points_of(measured: Measured) -> tuple[Point, ...]:
    """One point a token count, in rising order."""
    return tuple(_point(measured, tokens) for tokens in measured.task.tokens)


def paired_ratio(ratios: list[float]) -> Contrast:
    """The mean of paired ratios with a t interval on its logarithm, as that of a sample against exactly 1."""
    return ratio_of_means(ratios, [1.0] * len(ratios))


def _point(measured: Measured, tokens: int) -> Point:
    task, shape = measured.task, measured.task.shape
    times = {variant: _mean(measured.medians_s(tokens, variant).values()) for variant in VARIANTS}
    used = _mean(
        one.distinct_experts for one in measured.timings if one.tokens == tokens and one.distinct_experts is not None
    )
    ratios = {against: paired_ratio(measured.speedups(tokens, against)) for against in DENSE}
    return Point(
        tokens=tokens, sparse_s=times["sparse"], active_s=times["active"], total_s=times["total"],
        distinct_experts=used,
        expected_distinct_experts=expected_distinct_experts(shape.experts, shape.top_k, tokens),
        weights_read_bytes={
            "sparse": task.element_bytes * shape.parameters_read(used),
            "active": task.element_bytes * shape.dense_parameters(shape.active_width),
            "total": task.element_bytes * shape.dense_parameters(shape.total_width),
        },
        speedups=tuple(
            Speedup(against=against, value=one.value, low=one.low, high=one.high)
            for against, one in ratios.items()
        ),
    )


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
