"""One model -> its section "Roofline"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.pages import BlockTable, Figure
from harness.quantities import listed, significant
from harness.roofline_section.figure import roofline_figure
from harness.roofline_section.roofs import FAR_BELOW, PHASES, Placed, RoofLine, roof_words, roofs_of
from harness.roofline_section.table import roofline_table
from harness.suite_view import load_text
from harness.summary import ModelSummary


@dataclass(frozen=True)
class RooflineSection:
    """The plot and the table below it."""

    note: str
    figure: Figure
    table: BlockTable


def roofline_section(model: ModelSummary) -> RooflineSection | None:
    """The section of a model whose points could be held against ceilings; None without any."""
    placed = [Placed(point, phase) for point in model.points for phase in point.roofline]
    if not placed:
        return None
    roofs = roofs_of(model)
    figure, table = roofline_figure(model, placed, roofs), roofline_table(model, placed)
    return RooflineSection(_note(model, placed, roofs), figure, table)


def _note(model: ModelSummary, placed: Sequence[Placed], roofs: Sequence[RoofLine]) -> str:
    """How near the points come, and to what, in sentences."""
    reached, far = [], []
    for phase, words in PHASES:
        some = [one for one in placed if one.phase.phase == phase and not one.point.flags]
        if some:
            best = max(some, key=lambda one: one.phase.share)
            share = significant(100 * best.phase.share)
            load = load_text(best.point.key)
            reached.append(f"{words.lower()} comes to {share} % of the roof ({load}; {best.phase.bound} binds first)")
            far += [words.lower()] if best.phase.share < FAR_BELOW else []
    sentences = [f"At best, {listed(reached)}."] if reached else ["Every point is flagged."]
    if far:
        holds = f"holds {listed(far)} at every load, such as the engine's own work per step"
        sentences.append(f"Something else than the device's limits {holds}.")
    return f"{' '.join(sentences)} {roof_words(model, roofs)}"
