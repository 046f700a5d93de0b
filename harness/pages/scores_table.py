"""A model's scores -> the table of them: every task of the suite, how it was asked, and the mean."""

from __future__ import annotations

from harness.metrics import Metric
from harness.pages.parts import Column, Mark, Table, TableRow, Value, absence, on_own_scale, partial_marks
from harness.pages.suite_view import SuiteView, gaps_of, scale_of_metric
from harness.quantities import capitalised, grouped, plain, significant
from harness.summary import ModelSummary, TaskScore


def scores_table(view: SuiteView, model: ModelSummary) -> Table | None:
    """The table of a model's scores by task and their mean; None where nothing is scored in the suite."""
    if not view.tasks:
        return None
    columns = (
        Column("Task", classes="text frozen"), Column("Score"), Column("Items", help="Items scored"),
        Column("Chance", help="The score of guessing, where the task states it"), Column("Metric", classes="text"),
        Column("lm-eval task", classes="text"), Column("Examples shown", help="Few-shot examples in the prompt"),
        Column("Records", classes="text"),
    )
    rows = [_score_row(view, model, task) for task in view.tasks]
    if len(view.tasks) > 1:
        missing = Mark("missing", "incomplete", capitalised(plain(model.no_mean_score or "not measured", 400)))
        mean = on_own_scale(model.mean_score, "1", missing, evidence=view.evidence(model, "mean_score"))
        rows.append(TableRow("Mean", (mean, *(Value("\u2013") for _ in columns[2:]))))
    return Table(columns, tuple(rows))


def _score_row(view: SuiteView, model: ModelSummary, task: str) -> TableRow:
    gaps = gaps_of(model, f"score:{task}", None)
    score = model.scores.get(task)
    title = plain(task, 120)
    if score is None:
        links = view.records.links(gap.source for gap in gaps)
        cells = [Value(marks=(absence(model, title, gaps),)), *(Value("\u2013") for _ in range(5))]
        return TableRow(title, (*cells, Value(links=links) if links else Value("none")))
    scenario = score.scenario
    shots = "task's own" if scenario.num_fewshot is None else str(scenario.num_fewshot)
    limit = (Mark("note", "limited", f"Only the first {scenario.limit} items were asked."),) if scenario.limit else ()
    marks, none = (*partial_marks(gaps), *limit), Mark("missing", "not measured", "")
    metric = view.metric(f"score:{task}")
    title += "\u00a0\u2193" if metric.better == "lower" else ""
    cell = on_own_scale(score.estimate, metric.unit, none, marks, view.evidence(model, metric.key))
    return TableRow(title, (
        cell,
        Value(grouped(number, 0) if (number := _items(score)) else "\u2013", evidence=cell.evidence if number else ""),
        Value(chance_text(score, metric), evidence=cell.evidence if score.chance is not None else ""),
        Value(plain(score.metric, 80)),
        Value(plain(scenario.lm_eval_task, 120)),
        Value(shots),
        Value(links=view.records.links(score.estimate.sources)),
    ))


def _items(score: TaskScore) -> int:
    """How many items were scored; 0 where another tool does not tell."""
    return len(score.items) or score.estimate.n


def chance_text(score: TaskScore, metric: Metric) -> str:
    """The score of guessing on the scale of the score."""
    if score.chance is None:
        return "not stated"
    scale = scale_of_metric(metric, [score.estimate.value, score.chance])
    return f"{significant(score.chance / scale.divisor)} {scale.unit}".strip()
