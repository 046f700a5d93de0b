"""The report of `moebench layer` in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.layers.result import DENSE, LayerReport, Point, Speedup
from harness.layers.task import Variant
from harness.machine import accelerator_name
from harness.quantities import count_of, grouped, significant, with_unit

if TYPE_CHECKING:
    from rich.table import Table


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


def table(report: LayerReport) -> Table:
    """One row a token count: the experts used, the weights read, the times, and how many times as fast."""
    from rich.box import SIMPLE
    from rich.table import Table

    drawn = Table(box=SIMPLE, pad_edge=False, caption_justify="left", caption=_caption(report))
    for title in (
        "tokens", "experts\nused", "weights\nread", "sparse", "dense,\nactive", "dense,\ntotal", "× dense,\nactive",
        "× dense,\ntotal",
    ):
        drawn.add_column(title, justify="right", no_wrap=True)
    for point in report.points:
        drawn.add_row(
            grouped(point.tokens, 0), _experts(point, report),
            *(with_unit("bytes", point.weights_read_bytes["sparse"]), with_unit("seconds", point.sparse_s)),
            *(with_unit("seconds", time) for time in (point.active_s, point.total_s)),
            *(_ratio(point.speedup(against)) for against in DENSE),
        )
    return drawn


def _caption(report: LayerReport) -> str:
    measured = report.measured
    intervals = ", with its 95 % interval" if measured.processes > 1 else ""
    expected = "; in brackets: expected of uniform routing" if measured.task.routing != "uniform" else ""
    return (
        f"Means of the medians of {count_of(measured.processes, 'fresh process', 'fresh processes')}. × is the time of "
        f"the dense layer over that of the sparse one{intervals}: above 1 the sparse layer is faster{expected}."
    )


def _experts(point: Point, report: LayerReport) -> str:
    used = significant(point.distinct_experts)
    if report.measured.task.routing == "uniform":
        return used
    return f"{used} ({significant(point.expected_distinct_experts)})"


def _ratio(speedup: Speedup) -> str:
    if speedup.low is None or speedup.high is None:
        return significant(speedup.value)
    return f"{significant(speedup.value)} ({_end(speedup.low)}\u2013{_end(speedup.high)})"


def _end(value: float) -> str:
    """Two digits, and three near 1, so that an interval that leaves out 1 shows it."""
    return significant(value, 4 if 0.995 < value < 1.005 else 3 if 0.9 < value < 1.1 else 2)


def _size(report: LayerReport, variant: Variant) -> str:
    return with_unit("bytes", report.points[0].weights_read_bytes[variant])
