"""The operating points of one model as a table: speeds and latencies at every load, and how much repeats differ."""

from __future__ import annotations

from statistics import stdev

from harness.metrics import METRICS
from harness.pages import Column, Mark, Table, TableRow, Value, absence, partial_marks, shown
from harness.quantities import Scale, capitalised, listed, plain, scale_of, significant
from harness.scenario import ServingScenario
from harness.stats import Estimate
from harness.suite_view import SuiteView, load_text, point_text
from harness.summary import ModelSummary, PointKey

NO_STEADY_STATE = Mark(
    "plain", "none", "No slot was given a second request, or all were handed over before each slot had its first token."
)
_POINT_METRICS = (
    "output_tokens_per_s", "steady_output_tokens_per_s", "ttft_p50_s", "ttft_p99_s", "tpot_p50_s", "tpot_p99_s",
    "itl_p99_s", "e2e_p50_s",
)


def serving_note(model: ModelSummary) -> str:
    """What the loads were, and what the numbers are means of."""
    loads = dict.fromkeys(f"{plain(point.key.name, 60)} ({point_text(point.key)})" for point in model.points)
    if not loads:
        return ""
    return (f"Closed loop with a fixed number of requests in flight: {listed(loads)}. Percentiles are over the "
            "requests of a repeat; values are means over repeats in fresh processes with 95 % intervals.")


def points_table(view: SuiteView, model: ModelSummary) -> Table | None:
    """Every operating point that any model of the suite was asked for; None where nothing was served."""
    failed = {PointKey.of(gap.scenario): None for gap in model.gaps if isinstance(gap.scenario, ServingScenario)}
    asked = {point.key: None for other in view.models for point in other.points}
    keys = sorted({**{point.key: None for point in model.points}, **failed, **asked})
    if not keys:
        return None
    scales = {key: scale_of(METRICS[key].unit, _known(model, key)) for key in _POINT_METRICS}
    columns = [
        Column("Concurrent requests", classes="text frozen"), Column("Requests", "per repeat"),
        Column("Variation", "%", "lower", "Coefficient of variation of the output speed over repeats: s / mean"),
    ]
    for key in _POINT_METRICS:
        metric = METRICS[key]
        columns.append(Column(_short(metric.title), scales[key].unit, metric.better, capitalised(metric.formula)))
    columns.append(Column("Records", classes="text"))
    several = len({key.workload for key in keys}) > 1
    return Table(tuple(columns), tuple(_point_row(view, model, key, scales, several) for key in keys))


def _known(model: ModelSummary, key: str) -> list[float]:
    return [point.estimates[key].value for point in model.points if key in point.estimates]


def _short(title: str) -> str:
    names = {
        "Steady output tokens/s": "Steady", "Output tokens/s": "Output", "Requests/s": "Requests",
        "Time to first token": "TTFT", "Time per output token": "TPOT", "End-to-end latency": "End to end",
        "Inter-token latency": "ITL",
    }
    for long, short in names.items():
        title = title.replace(long, short)
    return title


def _point_row(
    view: SuiteView, model: ModelSummary, key: PointKey, scales: dict[str, Scale], several: bool
) -> TableRow:
    point = model.point(key)
    gaps = [g for g in model.gaps if isinstance(g.scenario, ServingScenario) and PointKey.of(g.scenario) == key]
    title = f"{load_text(key)}, {plain(key.name, 60)} {point_text(key)}" if several else load_text(key)
    sources = [gap.source for gap in gaps]
    cells = [Value(str(point.requests))] if point else [Value(marks=(absence(model, "this point", gaps),))]
    cells.append(_variation(point.estimates.get("output_tokens_per_s")) if point else Value("\u2013"))
    for index, metric in enumerate(_POINT_METRICS):
        estimate = point.estimates.get(metric) if point else None
        if point is None:
            cells.append(Value("\u2013"))
        elif estimate is None:
            why = NO_STEADY_STATE if metric == "steady_output_tokens_per_s" and not gaps else None
            cells.append(Value(marks=(why or absence(model, METRICS[metric].title, gaps),)))
        else:
            flags = [Mark("note", "flagged", capitalised(plain("; ".join(point.flags), 400)))] if point.flags else []
            marks = [*partial_marks(gaps), *flags] if index == 0 else []
            cells.append(shown(estimate, scales[metric], marks=marks))
            sources += estimate.sources
    cells.append(Value(links=view.records.links(sources)) if sources else Value("none"))
    return TableRow(title, tuple(cells))


def _variation(speed: Estimate | None) -> Value:
    """The standard deviation over repeats by their mean, in percent."""
    if speed is None or len(speed.values) < 2 or not speed.value:
        return Value(marks=(Mark("missing", "one repeat", "A variation needs at least two repeats."),))
    share = stdev(speed.values) / abs(speed.value)
    return Value(significant(100 * share, 2), order=repr(share))
