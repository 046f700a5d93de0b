"""One model -> its section "Roofline"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.pages.parts import BlockTable, Figure, Mark
from harness.pages.roofline_section.figure import roofline_figure
from harness.pages.roofline_section.roofs import FAR_BELOW, PHASES, Placed, RoofLine, roof_words, roofs_of
from harness.pages.roofline_section.table import Named, experts_table, roofline_table
from harness.pages.suite_view import NO_UTILISATION, load_text
from harness.quantities import capitalised, listed, plain, significant
from harness.summary import ModelSummary


@dataclass(frozen=True)
class RooflineSection:
    """The plot and the table below it, as far as anything can be shown, and why the rest cannot."""

    note: str
    figure: Figure | None
    """None where no load has a place under the ceilings."""
    table: BlockTable | None
    """None where none beat them either."""
    experts: BlockTable | None
    """The MBU by how experts are counted; None of a dense model."""
    missing: Mark | None
    """Why the use of the device is not known, of some loads or of all."""


def roofline_section(model: ModelSummary, named: Named = lambda _key, _point: "") -> RooflineSection | None:
    """The section of a model that was served, None of others; `named` gives the names of its estimates' evidence."""
    placed = [Placed(point, phase) for point in model.points for phase in point.roofline]
    missing = _missing(model)
    shown = [point for point in model.points if point.roofline or point.beaten]
    if not shown and missing is None:
        return None
    roofs = roofs_of(model) if placed else ()
    return RooflineSection(
        note=_note(model, placed, roofs) if placed else "",
        figure=roofline_figure(model, placed, roofs) if placed else None,
        table=roofline_table(shown, named) if shown else None,
        experts=experts_table(shown, named) if shown and model.is_moe else None,
        missing=missing,
    )


def _missing(model: ModelSummary) -> Mark | None:
    """What the points say of why their use of the device is not known; loads are named where others are known."""
    reasons: dict[str, list[str]] = {}
    for point in model.points:
        for note in point.notes:
            if note.startswith(NO_UTILISATION):
                reasons.setdefault(note.removeprefix(NO_UTILISATION), []).append(load_text(point.key))
    if not reasons:
        return None
    several = any(len(loads) < len(model.points) for loads in reasons.values())
    told = [f"{why} ({listed(dict.fromkeys(loads))})" if several else why for why, loads in reasons.items()]
    return Mark("missing", "not known", capitalised(plain("; ".join(told), 600)) + ".")


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
