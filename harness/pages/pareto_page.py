"""Any two metrics against each other: which models no other beats on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.pages.figures import pareto_data
from harness.pages.parts import Page
from harness.pages.suite_view import SuiteView, at_load, point_text
from harness.quantities import count_of

_KINDS = (("sparse", "Sparse"), ("dense", "Dense"), ("unknown", "Not counted"))


@dataclass(frozen=True, kw_only=True)
class ParetoPage(Page):
    """The explorer of one suite."""

    heading: str
    lead: str
    conditions: str
    kinds: Sequence[tuple[str, str]]
    """Those that models are of, with their titles."""
    plot: dict[str, Any]


def pareto_page(view: SuiteView) -> ParetoPage | None:
    """The page; None where no two metrics are known of two models."""
    plot = pareto_data(view, every=True)
    if plot is None:
        return None
    models, metrics = len(plot["points"]), len(plot["metrics"])
    present = {point["kind"] for point in plot["points"]}
    lead = (
        f"{count_of(models, 'model')} on any two of {count_of(metrics, 'metric')}. A model is on the frontier where no "
        "other is at least as good on both axes and better on one."
    )
    return ParetoPage(
        path=view.file("pareto"),
        template="pareto.html",
        title=f"Pareto explorer, {view.title}",
        menu="Pareto",
        heading="Pareto explorer",
        lead=lead,
        conditions=_conditions(view),
        kinds=tuple(kind for kind in _KINDS if kind[0] in present),
        plot=plot,
    )


def _conditions(view: SuiteView) -> str:
    """Under which load the speeds were measured, and what stands for what."""
    parts = [f"Speeds and latencies {at_load(view.point)}, {point_text(view.point)}." if view.point else ""]
    parts.append("Trainings of one recipe stand together as one model." if view.groups else "")
    parts.append(
        "Flagged timings and scores or speeds of random weights are left out, and what cannot be held against the "
        "others: timings and memory of other hardware, scores of other questions."
    )
    return " ".join(part for part in parts if part)
