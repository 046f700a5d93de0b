"""The report of `moebench layer` in a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.layers.result import DENSE, LayerReport
from harness.layers.task import Variant
from harness.machine import accelerator_name
from harness.quantities import MINUS, count_of, grouped, scale_of, significant, with_unit

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 80
"""Neither table is wider."""


def heading(report: LayerReport) -> list[str]:
    """What was timed, on what, and how, a line each."""
    measured = report.measured
    task, shape = measured.task, measured.task.shape
    name = f"{measured.name}: " if measured.name else ""
    scaled = f" (scaled by {measured.scale:g}: not the model's own sizes)" if measured.scale != 1 else ""
    threads = f" with {count_of(task.threads, 'thread')}" if task.threads is not None else ""
    kernels = dict.fromkeys(one.kernel for one in measured.timings if one.variant == "sparse")
    weights = "weights from memory" if task.cold else "weights that may stay in the cache"
    where = f"{task.precision} on {accelerator_name(measured.environment)}{threads}"
    active, total = (grouped(width, 0) for width in (shape.active_width, shape.total_width))
    sizes = (
        f"dense: equal active width {active}, {_size(report, 'active')}; equal total width {total}, "
        f"{_size(report, 'total')}"
    )
    return [
        f"{name}{shape.words}{scaled}",
        f"{where}; {', '.join(kernels)}; {task.routing} routing; {weights}",
        sizes,
        *measured.notes,
    ]


def times(report: LayerReport) -> Table:
    """One row a token count: the experts used, the weights read, and the times; each unit is in the heading."""
    points = report.points
    read = scale_of("bytes", [point.weights_read_bytes["sparse"] for point in points])
    took = scale_of("seconds", [time for point in points for time in (point.sparse_s, point.active_s, point.total_s)])
    uniform = report.measured.task.routing == "uniform"
    expected = () if uniform else ("expected\nof uniform",)
    drawn = _drawn(
        "tokens", "experts\nused", *expected, f"weights\nread, {read.unit}", f"sparse,\n{took.unit}",
        f"dense, active\nwidth, {took.unit}", f"dense, total\nwidth, {took.unit}",
    )
    for point in points:
        drawn.add_row(
            grouped(point.tokens, 0), short(point.distinct_experts),
            *(() if uniform else (short(point.expected_distinct_experts),)),
            short(point.weights_read_bytes["sparse"] / read.divisor),
            *(short(time / took.divisor) for time in (point.sparse_s, point.active_s, point.total_s)),
        )
    return drawn


def ratios(report: LayerReport) -> Table:
    """One row a token count: how many times as fast as either dense layer, with the interval and who leads for certain.

    A single process has neither interval nor leader.
    """
    several = report.measured.processes > 1
    titles = [
        f"{title}{width}" for width in DENSE
        for title in ("\u00d7 dense\n", *(("low\n", "high\n", "faster\n") if several else ()))
    ]
    drawn = _drawn("tokens", *titles)
    for index, point in enumerate(report.points):
        cells: list[str] = []
        for comparison in report.comparisons:
            speedup = point.speedup(comparison.against)
            cells.append(short(speedup.value))
            if several:
                cells += [_end(speedup.low), _end(speedup.high), comparison.leads[index] or "open"]
        drawn.add_row(grouped(point.tokens, 0), *cells)
    return drawn


def notes(report: LayerReport) -> list[str]:
    """What the columns mean, a paragraph each."""
    measured = report.measured
    of = "Means of the medians" if measured.processes > 1 else "Medians"
    processes = count_of(measured.processes, "fresh process", "fresh processes")
    ratio = "\u00d7 is the time of the dense layer over that of the sparse one: above 1 the sparse layer is faster."
    told = [f"{of} of {processes}. {ratio}"]
    if measured.processes > 1 and len(report.points) > 1:
        told.append(
            "low and high are the ends of the 95 % interval of that one ratio. The column faster and the sentences are "
            "corrected for the number of token counts: they leave open what a single interval may seem to decide."
        )
    elif measured.processes > 1:
        told.append("low and high are the ends of the 95 % interval.")
    return told


def short(value: float, digits: int = 3) -> str:
    """Significant digits in at most seven characters, up to two of them in six: 0.0123, 12 300, 1.2e6."""
    if value and math.isfinite(value) and not 1e-3 <= abs(value) < 99_950:
        power = f"{value:.{1 if digits > 2 else 0}e}"
        return power.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-").replace("-", MINUS)
    return significant(value, digits)


def _drawn(*titles: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    drawn = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        drawn.add_column(title, justify="right", no_wrap=True)
    return drawn


def _end(value: float | None) -> str:
    """Two digits, and three or four near 1, so that an interval that leaves out 1 shows it."""
    if value is None:
        return "none"
    return short(value, 4 if 0.995 < value < 1.005 else 3 if 0.9 < value < 1.1 else 2)


def _size(report: LayerReport, variant: Variant) -> str:
    return with_unit("bytes", report.points[0].weights_read_bytes[variant])
