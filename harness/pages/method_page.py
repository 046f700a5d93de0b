"""How everything is measured and computed: the page of the formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from harness.compare import Family
from harness.items import MIN_SUBTASKS
from harness.matching import FARTHEST, FARTHEST_POINTS, LIKENESS
from harness.metrics import METRICS, Metric
from harness.pages.parts import Page
from harness.paired import MIN_PAIRED_ITEMS, MOST_BOOTSTRAPPED, RESAMPLES
from harness.plausibility import BUSY_STEP_S, ENGINE_STEP_S, MARGIN, SLOWEST
from harness.quantities import grouped, listed
from harness.stats import CONFIDENCE
from harness.wording import MARKS


@dataclass(frozen=True, kw_only=True)
class MethodPage(Page):
    """How everything is measured and computed."""

    metrics: tuple[Metric, ...]
    slowest: str
    """How many times the least time a run may take before it counts as implausibly slow."""
    engine_step_ms: str
    busy_step_ms: str
    margin: str
    least_subtasks: int
    likeness: str
    """What the words on how two compare mean."""
    marks: str
    """The marks of those words."""
    farthest: str
    """The largest ratio of a model and its nearest baseline."""
    farthest_points: str
    resamples: int
    most_bootstrapped: str
    least_items: int
    families: int
    """How many families of effects of a pair are tested apart."""
    any_false_percent: str
    """The chance of any false verdict on a pair that differs in nothing, at most, and if families were independent."""
    any_false_independent_percent: str


def method_page() -> MethodPage:
    """The page; nothing on it depends on results."""
    families, level = len(get_args(Family)) - 1, 1 - CONFIDENCE  # what is counted is not tested
    return MethodPage(
        path="method.html", template="method.html", title="Method", menu="Method", metrics=tuple(METRICS.values()),
        slowest=f"{SLOWEST:g}", engine_step_ms=f"{1000 * ENGINE_STEP_S:g}",
        busy_step_ms=f"{1000 * BUSY_STEP_S:g}", margin=f"{MARGIN:g}", least_subtasks=MIN_SUBTASKS,
        likeness=LIKENESS, marks=listed(f"{mark} {word}" for word, mark in MARKS.items()), farthest=f"{FARTHEST:g}",
        farthest_points=f"{100 * FARTHEST_POINTS:g}", resamples=RESAMPLES,
        most_bootstrapped=grouped(MOST_BOOTSTRAPPED, 0), least_items=MIN_PAIRED_ITEMS,
        families=families, any_false_percent=f"{100 * families * level:.3g}",
        any_false_independent_percent=f"{100 * (1 - CONFIDENCE**families):.3g}",
    )
