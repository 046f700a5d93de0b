"""One model -> its section "Experts"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.pages.experts_section.figures import distinct_figures, information_figure, information_words
from harness.pages.experts_section.heat_map import HeatMap, heat_map
from harness.pages.experts_section.matrix import Matrix, matrix_of
from harness.pages.experts_section.numbers import CountedTable, Numbers
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


def experts_section(
    model: ModelSummary, records: RecordIndex, asked: bool | None = None, *, name: str = ""
) -> ExpertsSection | None:
    """The section of a sparse model; None for one that routes nothing, as far as is known.

    `asked`: whether the suite's file asks for routing; None where that is not known. `name` is how the names of the
    model's evidence begin, empty where it has none.
    """
    gaps = [(gap, gap.scenario) for gap in model.gaps if isinstance(gap.scenario, RoutingScenario)]
    works = [work for work in works_of(model) if parts_of([work])]
    lost = {work.name for work in model.unread}
    states = (*(_state(gap, scenario.work.name in lost) for gap, scenario in gaps), *map(_unread, model.unread))
    if not works and not states and not model.is_moe:
        return None
    missing = None
    if not works and not states:
        missing = Mark("missing", "not measured", f"No record of routing for {plain(model.model, 120)}. {_HOW[asked]}")
    random = model.subject.weights == "dummy"
    why = "The weights are random: this is no trained router's choice of experts."
    return ExpertsSection(
        states=states,
        marks=(Mark("note", "random weights", why),) if works and random else (),
        measured=_measured(model, works, records, Numbers(name)) if works else None,
        missing=missing,
    )


_HOW = {
    True: "The suite's file asks for it, but it has not been run since: the next run of the suite measures it.",
    False: "The suite's file does not ask for it: give it the key routing, and run the suite again.",
    None: "It is measured where the suite's file has the key routing, when that is run.",
}
"""What to do about it, by whether the suite asks for routing."""


def _state(gap: Gap, lost: bool) -> State:
    """Of a gap; `lost` says whether what was measured before cannot be read."""
    mark = gap_mark(gap)
    if gap.measured_before and not lost:
        mark = Mark(mark.state, f"{mark.label} since", f"An earlier attempt is shown. {capitalised(mark.reason)}")
    return State(plain(capitalised(gap.what), 120), mark)


def _unread(work: UnreadWork) -> State:
    mark = Mark("failed", "not readable", plain(f"Measured, but {work.reason}.", REASON_LIMIT))
    return State(plain(f"Routing, {work.name}", 120), mark)


def counted_tables(model: ModelSummary, records: RecordIndex) -> dict[str, CountedTable]:
    """The numbers of all tables of the section, by the middle of their names; none where nothing was measured."""
    numbers = Numbers("")
    works = [work for work in works_of(model) if parts_of([work])]
    if works:
        _tables_of(model, works, records, numbers)
    return numbers.tables


class _Tables(NamedTuple):
    balance: BlockTable
    layers: tuple[ByLayer, ...]
    distinct: BlockTable
    capacity: BlockTable | None
    parallel: BlockTable | None
    parallel_rest: BlockTable | None
    matrix: Matrix | None
    tokens: tuple[WorkTokens, ...]


def _tables_of(
    model: ModelSummary, works: Sequence[RoutedWork], records: RecordIndex, numbers: Numbers
) -> _Tables:
    parts, first, found = parts_of(works), parts_of(works[:1]), model.specialisation
    return _Tables(
        balance=balance_table(parts, records, numbers),
        layers=tuple(ByLayer(title_of(work), layer_table(work, parts_of([work]), numbers)) for work in works),
        distinct=distinct_table(parts, numbers),
        capacity=capacity_table(parts, numbers),
        parallel=parallel_table(first, numbers),
        parallel_rest=parallel_table([part for part in parts if part.work is not works[0]], numbers),
        matrix=matrix_of(found, by_name(works), numbers) if found else None,
        tokens=tuple(tokens for work in works if (tokens := tokens_of(work, numbers))),
    )


def _measured(
    model: ModelSummary, works: Sequence[RoutedWork], records: RecordIndex, numbers: Numbers
) -> Measured:
    parts, first, found = parts_of(works), parts_of(works[:1]), model.specialisation
    distinct, tables = distinct_figures(parts), _tables_of(model, works, records, numbers)
    return Measured(
        lead=lead_of(_main(first), works, found),
        notes=tuple(plain(f"{title_of(work)}: {work.note}", 400) for work in works if work.note),
        heat_map=heat_map(works),
        balance=tables.balance,
        layers=tables.layers,
        distinct=distinct,
        distinct_table=tables.distinct if distinct else None,
        matrix=tables.matrix,
        information=information_figure(found, by_name(works)) if found else None,
        information_words=information_words(found) if found else "",
        tokens=tables.tokens,
        capacity=tables.capacity,
        parallel=tables.parallel,
        parallel_rest=tables.parallel_rest,
    )


def _main(parts: Sequence[PartOfWork]) -> PartOfWork:
    """What the first sentences are about: decoding, where there is any."""
    return next((part for part in parts if part.phase == "decode"), parts[0])
