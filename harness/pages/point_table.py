"""The operating points of one model as tables, one for each kind of load: speeds, latencies, and how repeats differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics import METRICS
from harness.pages.curves import model_figures
from harness.pages.parts import (
    Block,
    BlockTable,
    Column,
    Figure,
    Mark,
    Table,
    TableRow,
    Value,
    absence,
    flag_marks,
    partial_marks,
    shown,
)
from harness.pages.suite_view import (
    NOTED,
    VARIATION,
    SuiteView,
    load_text,
    point_text,
    scale_of_metric,
    variation_of,
    why_unknown,
    workload_titles,
)
from harness.quantities import Scale, capitalised, count_of, grouped, listed, plain
from harness.scenario import ServingScenario
from harness.serving_metrics import PERCENTILES
from harness.stats import Estimate, counted
from harness.summary import Gap, LoadKind, ModelSummary, OperatingPoint, PointKey

_COSTS = ("joules_per_output_token", "usd_per_million_output_tokens")
_GOOD = ("goodput_requests_per_s", "goodput_share")
_OF_REQUESTS = re.compile(r"^(?!itl_).*_p(\d+)_s$")
"""Latencies of requests; those between tokens are of many more."""


@dataclass(frozen=True)
class _Kind:
    """One kind of load: the loads that belong to it, and its columns with the metric that has to be there first."""

    title: str
    words: str
    loads: tuple[LoadKind, ...]
    metrics: tuple[str, ...]


_KINDS = (
    _Kind(
        "Closed loops", "A fixed number of requests is in flight: one that ends lets the next arrive.", ("closed",),
        ("output_tokens_per_s", "steady_output_tokens_per_s", "requests_per_s", "ttft_p50_s", "ttft_p99_s",
         "tpot_p50_s", "tpot_p99_s", "itl_p99_s", "e2e_p50_s", *_GOOD, "longest_context_tokens", *_COSTS),
    ),
    _Kind(
        "Offline", "All requests are there at the start: the most output that the engine gives.", ("offline",),
        ("output_tokens_per_s", "steady_output_tokens_per_s", "total_tokens_per_s", "requests_per_s", "tpot_p50_s",
         "tpot_p99_s", "itl_p99_s", *_COSTS),
    ),
    _Kind(
        "Open loops and replays",
        "Requests arrive whatever the engine does. Latencies count from the scheduled arrival, so that waiting shows.",
        ("open", "replay"),
        ("requests_per_s", "arrivals_per_s", "output_tokens_per_s", "queue_p50_s", "queue_p95_s", "queue_p99_s",
         "ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "tpot_p50_s", "tpot_p99_s", "e2e_p50_s", "e2e_p99_s", *_GOOD,
         *_COSTS),
    ),
)
_TITLES = {
    "output_tokens_per_s": "Output", "steady_output_tokens_per_s": "Steady", "total_tokens_per_s": "Prompt and output",
    "requests_per_s": "Served", "arrivals_per_s": "Arrived", "goodput_requests_per_s": "Goodput",
    "goodput_share": "Within limits", VARIATION.key: VARIATION.title,
    "joules_per_output_token": "Energy", "usd_per_million_output_tokens": "Cost",
}
_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "End to end", "queue": "Queueing"}
_STATISTICS = ("mean", *(f"p{percent}" for percent in PERCENTILES))


@dataclass(frozen=True)
class LoadSection:
    """What is known of one model under one kind of load."""

    id: str
    title: str
    note: str
    table: Table
    left_out: str
    """Which columns nothing is known of, and why; empty where all are there."""
    percentiles: BlockTable | None
    figures: tuple[Figure, ...]


def column_title(key: str) -> str:
    """The title of a serving metric as a column's head: "TTFT p50", "Output"."""
    for start, short in _LATENCIES.items():
        if key.startswith(f"{start}_"):
            return f"{short} {key.split('_')[1]}"
    return _TITLES[key] if key in _TITLES else METRICS[key].title


def load_sections(
    view: SuiteView, model: ModelSummary, partners: Sequence[ModelSummary] = ()
) -> tuple[LoadSection, ...]:
    """Every operating point that any model of the suite was asked for, by kind of load; kinds without any left out."""
    gaps = [gap for gap in model.gaps if isinstance(gap.scenario, ServingScenario)]
    failed = {PointKey.of(gap.scenario) for gap in gaps if isinstance(gap.scenario, ServingScenario)}
    asked = {point.key for other in view.models for point in other.points}
    every = sorted({*(point.key for point in model.points), *failed, *asked})
    sections = []
    for kind in _KINDS:
        keys = [key for key in every if key.kind in kind.loads]
        if keys:
            sections.append(_Section(view, model, kind, keys).section(partners))
    return tuple(sections)


class _Section:
    """The points of one model under one kind of load, on common scales."""

    def __init__(self, view: SuiteView, model: ModelSummary, kind: _Kind, keys: Sequence[PointKey]) -> None:
        self._view, self._model, self._kind, self._keys = view, model, kind, keys
        self._points = [point for key in keys if (point := model.point(key))]
        self._titles = workload_titles(keys)
        wanted = (*kind.metrics, VARIATION.key)
        self._known = {key: found for key in wanted if (found := self._values(key)) or key == kind.metrics[0]}
        self._unknown = [key for key in wanted if key not in self._known and self._points]
        self._scales = {key: scale_of_metric(view.metric(key), found) for key, found in self._known.items()}

    def section(self, partners: Sequence[ModelSummary]) -> LoadSection:
        """All of it, with the curves of the model beside its partners."""
        first = self._kind.loads[0]
        figures = model_figures(first, self._model, partners)
        note = " ".join(part for part in (self._kind.words, self._workloads(), self._few_requests()) if part)
        return LoadSection(
            f"serving-{first}", self._kind.title, note, self._table(), self._left_out(), self._percentiles(), figures
        )

    def _values(self, key: str) -> list[float]:
        return [one.value for point in self._points if (one := _estimate(point, key))]

    def _workloads(self) -> str:
        lengths = {key.workload: f"{plain(key.name, 60)}, {point_text(key)}" for key in self._keys}
        return f"Workload{'s' if len(lengths) > 1 else ''}: {'; '.join(lengths.values())}."

    def _few_requests(self) -> str:
        """At which loads a p99 says little; empty where it does at none."""
        few = [point.key for point in self._points if few_requests("ttft_p99_s", point)]
        if not few:
            return ""
        where = "every load here" if len(few) == len(self._points) else listed(map(load_text, few))
        if len(few) < len(self._points) and self._kind.loads == ("closed",):
            loads = list(dict.fromkeys(str(key.concurrency) for key in few))
            where = f"{listed(loads)} concurrent request{'' if loads == ['1'] else 's'}"
        return f"A p99 of fewer than 100 requests, as at {where}, is little more than the slowest of them."

    def _title(self, key: PointKey) -> str:
        load = load_text(key) if key.concurrency is None else f"{key.concurrency}"
        return self._of_workload(key, load)

    def _of_workload(self, key: PointKey, load: str) -> str:
        return f"{self._titles[key.workload]}, {load}" if len(self._titles) > 1 else capitalised(load)

    @property
    def _head(self) -> str:
        return "Concurrent requests" if self._kind.loads == ("closed",) else "Load"

    def _table(self) -> Table:
        columns = [Column(self._head, classes="text frozen")]
        for key, scale in self._scales.items():
            metric = self._view.metric(key)
            direction = "" if metric.better == "none" else metric.better
            columns.append(Column(column_title(key), scale.unit, direction, capitalised(metric.formula)))
        columns += [Column("Requests", "per repeat, at least"), Column("Records", classes="text")]
        return Table(tuple(columns), tuple(self._row(key) for key in self._keys))

    def _row(self, key: PointKey) -> TableRow:
        point, gaps = self._model.point(key), self._gaps(key)
        sources = [gap.source for gap in gaps]
        if point is None:
            missing = absence(self._model, "this point", gaps)
            cells = [Value(marks=(missing,)), *(Value("\u2013") for _ in range(len(self._scales)))]
            marks: tuple[Mark, ...] = ()
        else:
            cells = [self._cell(point, metric, scale) for metric, scale in self._scales.items()]
            cells.append(self._requests(point))
            measured = [path for estimate in point.estimates.values() for path in estimate.sources]
            marks = (*flag_marks(point.flags), *self._view.records.imported(measured), *note_marks(point))
            marks += partial_marks(gaps)
            sources += measured
        links = self._view.records.links(sources)
        return TableRow(self._title(key), (*cells, Value(links=links) if links else Value("none")), marks=marks)

    def _gaps(self, key: PointKey) -> list[Gap]:
        return [
            gap for gap in self._model.gaps
            if isinstance(gap.scenario, ServingScenario) and PointKey.of(gap.scenario) == key
        ]

    def _cell(self, point: OperatingPoint, key: str, scale: Scale) -> Value:
        estimate = _estimate(point, key)
        if estimate is None:
            return Value(marks=(Mark("plain", "none", capitalised(why_unknown(key, [point])) + "."),))
        return shown(estimate, scale, evidence=self._view.evidence(self._model, key, point.key))

    def _requests(self, point: OperatingPoint) -> Value:
        found = self._kind.metrics[0] if self._kind.metrics[0] in point.estimates else next(iter(point.estimates), "")
        name = self._view.evidence(self._model, found, point.key) if found else ""
        basis = "The requests of the repeat that sent fewest; each is in the record of its repeat." if name else ""
        return Value(grouped(point.requests, 0), order=str(point.requests), evidence=name, basis=basis)

    def _left_out(self) -> str:
        reasons: dict[str, list[str]] = {}
        for key in self._unknown:
            reasons.setdefault(why_unknown(key, self._points), []).append(column_title(key))
        parts = [f"{listed(titles)} ({reason})" for reason, titles in reasons.items()]
        return plain(f"Left out, as no row has it: {'; '.join(parts)}.", 1_000) if parts else ""

    def _percentiles(self) -> BlockTable | None:
        """Mean and every percentile of every latency, in milliseconds; None where nothing is known."""
        keys = [f"{start}_{statistic}_s" for start in _LATENCIES for statistic in _STATISTICS]
        known = {key.split("_")[0] for point in self._points for key in keys if key in point.estimates}
        if not known:
            return None
        columns = (
            Column("Load", classes="text frozen"), Column("Latency", classes="text"),
            *(Column(statistic, "ms", "lower") for statistic in _STATISTICS),
        )
        return BlockTable(columns, tuple(
            Block(self._of_workload(point.key, load_text(point.key)), tuple(
                TableRow(title, tuple(self._latency(point, f"{start}_{name}_s") for name in _STATISTICS))
                for start, title in _LATENCIES.items() if start in known
            ))
            for point in self._points
        ))

    def _latency(self, point: OperatingPoint, key: str) -> Value:
        estimate = point.estimates.get(key)
        if estimate is None:
            return Value("\u2013")
        return shown(estimate, Scale("ms", 1e-3), evidence=self._view.evidence(self._model, key, point.key))


def few_requests(key: str, point: OperatingPoint) -> str:
    """What to know of a percentile of so few requests that it is about their slowest; empty for all else."""
    found = _OF_REQUESTS.match(key)
    if found is None or key not in point.estimates or point.requests * (100 - int(found[1])) >= 100:
        return ""
    if point.requests == 1:
        return "A percentile of 1 request is that request"
    return (
        f"A p{found[1]} of {count_of(point.requests, 'request')} lies between the slowest two of them: how bad the "
        "rare ones are is not known from so few"
    )


def note_marks(point: OperatingPoint) -> tuple[Mark, ...]:
    """What to know of a point beside its numbers; why columns are empty stands under the table, and why nothing
    is known of the device's use in the section on the roofline.
    """
    notes = [note for note in point.notes if not note.startswith(NOTED)]
    return (Mark("plain", "note", capitalised(plain("; ".join(notes), 400)) + "."),) if notes else ()


def _estimate(point: OperatingPoint, key: str) -> Estimate | None:
    if key == VARIATION.key:
        spread = variation_of(point.estimates.get("output_tokens_per_s"))
        return None if spread is None else counted(spread)
    return point.estimates.get(key)

