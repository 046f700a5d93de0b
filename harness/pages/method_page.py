"""How everything is measured and computed: the page of the formulas."""

from __future__ import annotations

from dataclasses import dataclass

from harness.metrics import METRICS, Metric
from harness.pages.parts import Page
from harness.plausibility import BUSY_STEP_S, ENGINE_STEP_S, MARGIN, SLOWEST


@dataclass(frozen=True, kw_only=True)
class MethodPage(Page):
    """How everything is measured and computed."""

    metrics: tuple[Metric, ...]
    slowest: str
    """How many times the least time a run may take before it counts as implausibly slow."""
    engine_step_ms: str
    busy_step_ms: str
    margin: str


def method_page() -> MethodPage:
    """The page; nothing on it depends on results."""
    return MethodPage(
        path="method.html", template="method.html", title="Method", menu="Method", metrics=tuple(METRICS.values()),
        slowest=f"{SLOWEST:g}", engine_step_ms=f"{1000 * ENGINE_STEP_S:g}",
        busy_step_ms=f"{1000 * BUSY_STEP_S:g}", margin=f"{MARGIN:g}",
    )
