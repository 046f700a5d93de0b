"""All pairs of a sparse and a dense model, one card each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.pages.cards import Card
from harness.pages.parts import Page
from harness.pages.suite_view import SuiteView

_LEGEND = (
    "Matched by counted parameters, within 10 %. The middle line means equal; bars are 95 % intervals. A verdict "
    "is corrected for the number of effects of its pair (Holm): an interval that only just leaves the line shows "
    "no difference yet."
)


@dataclass(frozen=True, kw_only=True)
class PairsPage(Page):
    """The cards of one suite."""

    heading: str
    note: str
    cards: tuple[Card, ...]


def pairs_page(view: SuiteView, cards: Sequence[Card], unmatched: str) -> PairsPage:
    """The page; `unmatched` says which sparse models have no dense partner."""
    return PairsPage(
        path=view.file("pairs"),
        template="pairs.html",
        title=f"Sparse vs dense: {view.title}",
        menu="Sparse vs dense",
        heading="Sparse vs dense",
        note=f"{_LEGEND} {unmatched}".strip(),
        cards=tuple(cards),
    )
