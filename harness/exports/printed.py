"""The few columns that fit a page, on one scale a column, with intervals: what Markdown and LaTeX lay out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.exports.parts import Exported
from harness.metrics import Better, Metric
from harness.quantities import Scale, capitalised, grouped, margin, plain, scale_of, significant, without_margin
from harness.ranking import contests
from harness.stats import Estimate
from harness.summary import ModelSummary, OperatingPoint

SIZES = ("total_parameters", "active_parameters")
SERVED = ("weights_bytes", "output_tokens_per_s", "ttft_p50_s", "tpot_p50_s", "decode_flops_per_token")
"""The columns of a table whose metrics nobody chose, before the scores."""
MOST_TASKS = 6
"""Up to so many, each task has a column; with more the mean of all stands for them."""
MOST_ON_A_PAGE = 4
"""The same on paper: with them and the sizes a table is as wide as a landscape A4 page at 10 pt takes."""
_SHORT = {"Time to first token": "TTFT", "Time per output token": "TPOT", "Inter-token latency": "ITL"}
_LONGEST_NAME = 120
_LONGEST_NOTE = 300


@dataclass(frozen=True)
class PrintedColumn:
    """The head of a column; `unit` is empty where the title says it."""

    title: str
    unit: str
    better: Better
    numeric: bool = True


@dataclass(frozen=True)
class PrintedCell:
    """A value with its margin, both as text; `text` is empty where it is missing. `best`: stands apart as the best."""

    text: str = ""
    margin: str = ""
    best: bool = False


@dataclass(frozen=True)
class PrintedRow:
    """One model; `notes` are the numbers of what is to know of it."""

    name: str
    kind: str
    cells: tuple[PrintedCell, ...]
    notes: tuple[int, ...]


@dataclass(frozen=True)
class Printed:
    """A table for readers. Text is plain, with neither control characters nor line ends, and yet to be escaped."""

    caption: str
    columns: tuple[PrintedColumn, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...]


def printed(exported: Exported, metrics: Sequence[str] = ()) -> Printed:
    """The table of all models and groups, of `metrics` by key where some are given, else of the headline's."""
    keys = metrics or (*SIZES, *SERVED, *_scores(exported, MOST_TASKS))
    return _table(exported, keys, kept=bool(metrics))


def printed_parts(exported: Exported) -> tuple[Printed, ...]:
    """The headline's columns in two tables that each fit a page: sizes with scores, then memory and speeds.

    What says why timings should not be trusted is in the second alone; one without any column is left out.
    """
    first = _table(replace(exported, point=None), (*SIZES, *_scores(exported, MOST_ON_A_PAGE)), kept=False)
    second = _table(exported, SERVED, kept=False)
    return tuple(one for one in (first, second) if one.columns) or (first,)


def _table(exported: Exported, keys: Sequence[str], *, kept: bool) -> Printed:
    """The table of metrics by key; a column in which no row has a value is `kept` or not."""
    asked = [exported.metric(key) for key in keys]
    estimates = [(metric, [one.estimate(metric.key, exported.point) for one in exported.summaries]) for metric in asked]
    known = [(metric, found) for metric, found in estimates if kept or any(found)]
    columns = [_column(exported, metric, found) for metric, found in known]
    notes = {text: number for number, text in enumerate(dict.fromkeys(
        text for one in exported.summaries for text in _notes(one, exported)), 1)}
    rows = [
        PrintedRow(
            one_line(one.model, _LONGEST_NAME), kind_words(one),
            tuple(cells[index] for _, cells in columns),
            tuple(notes[text] for text in dict.fromkeys(_notes(one, exported))),
        )
        for index, one in enumerate(exported.summaries)
    ]
    return Printed(_caption(exported), tuple(head for head, _ in columns), tuple(rows), tuple(notes))


def _scores(exported: Exported, most: int) -> list[str]:
    """The mean score where there are several tasks, and each task's where these are not more than `most`."""
    tasks = exported.tasks
    mean = ["mean_score"] if len(tasks) > 1 else []
    return [*mean, *(f"score:{task}" for task in tasks if len(tasks) <= most)]


def _column(
    exported: Exported, metric: Metric, found: Sequence[Estimate | None]
) -> tuple[PrintedColumn, list[PrintedCell]]:
    """The head of a metric and its cells in the order of the summaries."""
    best = {id(summary) for summary in best_of(exported, metric)}
    return column_of(metric, found, [id(summary) in best for summary in exported.summaries])


def column_of(
    metric: Metric, found: Sequence[Estimate | None], best: Sequence[bool]
) -> tuple[PrintedColumn, list[PrintedCell]]:
    """The head of a metric and a cell an estimate, on one scale; `best` says which of them stand apart."""
    title, scale = title_of(metric), scale_of(metric.unit, [one.value for one in found if one is not None])
    head = PrintedColumn(title, "" if title.endswith(scale.unit) else scale.unit, metric.better)
    cells = [
        PrintedCell() if one is None else PrintedCell(*value_texts(one, scale), best=stands_apart)
        for one, stands_apart in zip(found, best, strict=True)
    ]
    return head, cells


def title_of(metric: Metric) -> str:
    """The title of a metric at the head of a column."""
    title = one_line(metric.title, _LONGEST_NAME)
    for words, short in _SHORT.items():
        title = title.replace(words, short) if metric.scenario == "serving" else title
    return title


def kind_words(summary: ModelSummary) -> str:
    """The kind of a model in a row."""
    return {True: "MoE", False: "dense", None: "unknown"}[summary.is_moe]


def value_texts(estimate: Estimate, scale: Scale) -> tuple[str, str]:
    """A value and its margin on a scale; the margin is empty where there is none, `n = 1` where none is known."""
    value = estimate.value / scale.divisor
    if estimate.low is None or estimate.high is None:
        return significant(value), without_margin(estimate.n)
    if estimate.low == estimate.high:
        return significant(value), ""
    return significant(value), margin(value, estimate.low / scale.divisor, estimate.high / scale.divisor)


def best_of(exported: Exported, metric: Metric) -> tuple[ModelSummary, ...]:
    """The model that stands apart as the best of the single models, and the group that does of the groups.

    Neither where its interval touches that of another; see `harness.ranking` for who competes.
    """
    found = (one.best for one in contests(exported.summaries, metric, exported.point))
    return tuple(one for one in found if one is not None)


def _notes(summary: ModelSummary, exported: Exported) -> Iterator[str]:
    """What a reader of the row has to know, a sentence each."""
    yield from notes_at(summary, summary.point(exported.point) if exported.point else None)
    for gap in summary.gaps:
        if gap.status != "skipped" and not gap.measured_before:
            reason = gap.reason if gap.status == "refused" else f"{gap.error}: {gap.reason}"
            yield one_line(f"{capitalised(gap.status)} ({gap.what}): {reason}.", _LONGEST_NOTE)


def notes_at(summary: ModelSummary, point: OperatingPoint | None) -> Iterator[str]:
    """What a reader has to know of a model's numbers, and of those at a load, a sentence each."""
    if summary.members:
        number = len(summary.members)
        yield f"A recipe: the mean over {number} trainings, with intervals over these; ranked among recipes."
    if summary.subject.weights == "dummy":
        yield "Random weights: speeds and scores say nothing of a trained model."
    for flag in point.flags if point else ():
        yield one_line(f"Not to be trusted: {flag}.", _LONGEST_NOTE)


def _caption(exported: Exported) -> str:
    """The suite and, in words, where the speeds were measured."""
    where = ""
    if exported.point is not None:
        key = exported.point
        load = f"{grouped(key.concurrency, 0)} concurrent requests" if key.concurrency else key.words
        at = "at " if key.kind in ("closed", "open") else ""
        where = f"; speeds of {key.name}, {key.prompt} prompt and {key.output} output tokens, {at}{load}"
    return one_line(f"Suite {exported.suite}{where}. Margins are 95 % intervals.", _LONGEST_NOTE)


def one_line(text: str, limit: int) -> str:
    """Foreign text on one line, its control and direction characters as visible marks, cut at `limit` characters."""
    return plain(" ".join(text.split()), limit)
