"""One model -> its section "Experts"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.pages.experts_section.figures import distinct_figures, information_figure, information_words
from harness.pages.experts_section.heat_map import HeatMap, heat_map
from harness.pages.experts_section.matrix import Matrix, matrix_of
from harness.pages.experts_section.tables import (
    balance_table,
    capacity_table,
    distinct_table,
    layer_table,
    parallel_table,
)
from harness.pages.experts_section.tokens import WorkTokens, tokens_of
from harness.pages.experts_section.words import lead_of
from harness.pages.experts_section.works import PartOfWork, by_name, parts_of, title_of, works_of
from harness.pages.parts import REASON_LIMIT, BlockTable, Figure, Mark, RecordIndex, gap_mark
from harness.quantities import capitalised, plain
from harness.scenario import RoutingScenario
from harness.summary import Gap, ModelSummary, RoutedWork, UnreadWork


@dataclass(frozen=True)
class State:
    """A piece of work whose routing was not measured, or not by its newest attempt, or cannot be read."""

    what: str
    mark: Mark


@dataclass(frozen=True)
class ByLayer:
    """The layers of one piece of work."""

    title: str
    table: BlockTable


@dataclass(frozen=True)
class Measured:
    """Everything that is drawn where anything was measured."""

    lead: tuple[str, ...]
    notes: tuple[str, ...]
    heat_map: HeatMap
    balance: BlockTable
    layers: tuple[ByLayer, ...]
    distinct: tuple[Figure, ...]
    distinct_table: BlockTable | None
    matrix: Matrix | None
    information: Figure | None
    information_words: str
    """The same in words, where there are too few layers for a chart."""
    tokens: tuple[WorkTokens, ...]
    capacity: BlockTable | None
    parallel: BlockTable | None
    parallel_rest: BlockTable | None
    """Of the pieces of work behind the first."""


@dataclass(frozen=True)
class ExpertsSection:
    """What is known of a sparse model's experts; `measured` is None where nothing is."""

    states: tuple[State, ...]
    marks: tuple[Mark, ...]
    measured: Measured | None
    missing: Mark | None
    """Why there is nothing, where no attempt tells."""


def experts_section(model: ModelSummary, records: RecordIndex) -> ExpertsSection | None:
    """The section of a sparse model; None for one that routes nothing, as far as is known."""
    gaps = [(gap, gap.scenario) for gap in model.gaps if isinstance(gap.scenario, RoutingScenario)]
    works = [work for work in works_of(model) if parts_of([work])]
    lost = {work.name for work in model.unread}
    states = (*(_state(gap, scenario.work.name in lost) for gap, scenario in gaps), *map(_unread, model.unread))
    if not works and not states and not model.is_moe:
        return None
    missing = None
    if not works and not states:
        why = f"No record of routing for {plain(model.model, 120)}. A suite asks for it with the key `routing`."
        missing = Mark("missing", "not measured", why)
    random = model.subject.weights == "dummy"
    why = "The weights are random: this is no trained router's choice of experts."
    return ExpertsSection(
        states=states,
        marks=(Mark("note", "random weights", why),) if works and random else (),
        measured=_measured(model, works, records) if works else None,
        missing=missing,
    )


def _state(gap: Gap, lost: bool) -> State:
    """Of a gap; `lost` says whether what was measured before cannot be read."""
    mark = gap_mark(gap)
    if gap.measured_before and not lost:
        mark = Mark(mark.state, f"{mark.label} since", f"An earlier attempt is shown. {capitalised(mark.reason)}")
    return State(plain(capitalised(gap.what), 120), mark)


def _unread(work: UnreadWork) -> State:
    mark = Mark("failed", "not readable", plain(f"Measured, but {work.reason}.", REASON_LIMIT))
    return State(plain(f"Routing, {work.name}", 120), mark)


def _measured(model: ModelSummary, works: Sequence[RoutedWork], records: RecordIndex) -> Measured:
    parts, first, found = parts_of(works), parts_of(works[:1]), model.specialisation
    distinct = distinct_figures(parts)
    return Measured(
        lead=lead_of(_main(first), works, found),
        notes=tuple(plain(f"{title_of(work)}: {work.note}", 400) for work in works if work.note),
        heat_map=heat_map(works),
        balance=balance_table(parts, records),
        layers=tuple(ByLayer(title_of(work), layer_table(work, parts_of([work]))) for work in works),
        distinct=distinct,
        distinct_table=distinct_table(parts) if distinct else None,
        matrix=matrix_of(found, by_name(works)) if found else None,
        information=information_figure(found, by_name(works)) if found else None,
        information_words=information_words(found) if found else "",
        tokens=tuple(tokens for work in works if (tokens := tokens_of(work))),
        capacity=capacity_table(parts),
        parallel=parallel_table(first),
        parallel_rest=parallel_table([part for part in parts if part.work is not works[0]]),
    )


def _main(parts: Sequence[PartOfWork]) -> PartOfWork:
    """What the first sentences are about: decoding, where there is any."""
    return next((part for part in parts if part.phase == "decode"), parts[0])
