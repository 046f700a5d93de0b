"""Observations of `moebench layer` that are made up, so that what follows from them is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builders import ENVIRONMENT

from harness.layers.measure import report_of
from harness.layers.result import LayerReport, Measured
from harness.layers.shape import LayerShape
from harness.layers.task import VARIANTS, LayerTask, Timing, Variant

SHAPE = LayerShape(hidden=1024, expert_width=512, experts=16, top_k=2)
SPREAD = (0.99, 1.0, 1.01)
"""What the processes differ by in the time of the sparse layer."""


def timing(process: int, tokens: int, variant: Variant, *times_s: float, turn: int = 0) -> Timing:
    sparse = variant == "sparse"
    return Timing(
        process=process, tokens=tokens, turn=turn, variant=variant, times_s=times_s,
        distinct_experts=2.0 * tokens if sparse else None, copies=1, kernel="torch grouped_mm" if sparse else "torch",
    )


def measured(
    speedups: Mapping[int, tuple[float, float]], *, spread: Sequence[float] = SPREAD, shape: LayerShape = SHAPE,
    **task: Any,
) -> Measured:
    """Times whose ratios to the active and to the total dense layer are as given by token count, but for the spread."""
    timings = []
    for process, factor in enumerate(spread):
        for tokens, (active, total) in speedups.items():
            times: dict[Variant, float] = {"sparse": 1e-3 * factor, "active": 1e-3 * active, "total": 1e-3 * total}
            timings += [timing(process, tokens, variant, times[variant]) for variant in VARIANTS]
    return Measured(
        name="", scale=1.0, notes=(), task=LayerTask(shape=shape, tokens=tuple(speedups), **task),
        processes=len(spread), started_at="2026-01-01T00:00:00+00:00", environment=ENVIRONMENT,
        benchmark_version="5.3.1", timings=tuple(timings),
    )


def report(*total: float, spread: Sequence[float] = SPREAD, **task: Any) -> LayerReport:
    """Token counts 1, 2, 4, ... at which the sparse layer is so many times as fast as that of equal total width.

    Against the one of equal active width it is a tenth as fast throughout.
    """
    return report_of(measured({2**i: (0.1, ratio) for i, ratio in enumerate(total)}, spread=spread, **task))
