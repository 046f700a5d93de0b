"""The loads at which the leaderboard's columns of speed can be read, and what each puts into their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.pages.facets import fits_at, fits_words
from harness.pages.leaderboard import cells_of
from harness.pages.leaderboard_columns import Spec, speed_columns, speed_heading
from harness.pages.parts import Value
from harness.pages.suite_view import SuiteView, load_text, workload_titles
from harness.quantities import Scale, capitalised, count_of
from harness.summary import PointKey

MOST_LOADS = 30
"""At so many loads at most the table can show its speeds: they are all in the page, whose size has a limit."""
_KINDS = ("closed", "open", "offline", "replay")


@dataclass(frozen=True)
class Load:
    """A load, and what the columns of speed hold at it. The one that leads is in the table already, and has nothing."""

    id: str
    """Its name in an address; empty for the one that leads."""
    title: str
    workload: str
    heading: str
    columns: tuple[tuple[Value, ...], ...] = ()
    """By column of speed every model's value, in the order of the view."""
    evidence: tuple[str, ...] = ()
    """By column the last part of the names of its estimates."""
    fits: tuple[bool, ...] = ()
    """Which models the preset `facets.FITS` takes, in the order of the view."""
    fits_words: str = ""


@dataclass(frozen=True)
class Loads:
    """What a reader can choose from; `more` says what is left out, in words."""

    known: tuple[Load, ...]
    more: str = ""

    @property
    def workloads(self) -> list[tuple[str, list[Load]]]:
        """The loads by workload."""
        titles = dict.fromkeys(load.workload for load in self.known)
        return [(title, [load for load in self.known if load.workload == title]) for title in titles]


def loads_of(view: SuiteView, specs: Sequence[Spec], scales: Sequence[Scale]) -> Loads | None:
    """Every load that any model was measured at, the table's workload first; None where there is only one."""
    keys, leading = Counter(point.key for model in view.models for point in model.points), view.point
    speeds = speed_columns(view, specs)
    places = [place for place, spec in enumerate(specs) if spec in speeds]
    if leading is None or not places or not set(keys) - {leading}:
        return None
    often = sorted(set(keys) - {leading}, key=lambda key: (-keys[key], key))
    titles = workload_titles([leading, *keys])
    chosen = sorted([leading, *often[:MOST_LOADS]], key=lambda key: (
        key.workload != leading.workload, titles[key.workload], _KINDS.index(key.kind), key))
    shown = [specs[place] for place in places], [scales[place] for place in places]
    left = len(often) - len(often[:MOST_LOADS])
    return Loads(
        tuple(_load(view, key, titles[key.workload], *shown) for key in chosen),
        f"{count_of(left, 'more load')}: see the models' pages" if left else "",
    )


def _load(view: SuiteView, key: PointKey, workload: str, specs: Sequence[Spec], scales: Sequence[Scale]) -> Load:
    """One load; numbers keep the scale of the load that leads, so that a column has one unit whatever is chosen."""
    title, heading = capitalised(load_text(key)), speed_heading(key)
    if key == view.point:
        return Load("", title, workload, heading)
    there = [replace(spec, point=key) for spec in specs]
    return Load(
        id=view.point_names[key],
        title=title,
        workload=workload,
        heading=heading,
        columns=tuple(
            tuple(cells_of(view, spec, scale, view.models)) for spec, scale in zip(there, scales, strict=True)
        ),
        evidence=evidence_rests(view, there),
        fits=tuple(fits_at(view, key)),
        fits_words=fits_words(key),
    )


def evidence_rests(view: SuiteView, specs: Sequence[Spec]) -> tuple[str, ...]:
    """By column what follows the model in the names of its estimates."""
    first = next(iter(view.models))
    start = view.evidence_of.get((first.model, False), "") + "."
    return tuple(view.evidence(first, spec.key, spec.point).removeprefix(start) for spec in specs)
