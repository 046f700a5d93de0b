"""Summaries as flat rows, one a model or group, with units in the names of the columns.

Columns: what names the model (`model`, `kind`, `license`, `revision`, ...); counts; memory; what a workload has at
every load alike: the arithmetic of a token, and the balance of the experts (`expert_load_max_over_mean`,
`expert_load_variation`, `expert_load_gini`, `expert_load_entropy`, `dead_experts`); the leading speeds at one load, the
leaderboard's; scores. An estimate has `_low` and `_high`, the ends of its 95 % interval, where some row has them:
counts have none. Missing values are empty, never zero, and a column that would be empty in every row is left out.

Schema 5: `load_s`, which was a mean over loads from disk and from memory, is gone. `startup_cold_s` and
`startup_warm_s` are the two apart, importing the engine included; records that do not tell which they were have
`startup_unknown_s`. Loads whose arrivals are given have `arrivals_per_s`.

Schema 4: models have their `license`; a load has its model's `kind` and what else its speeds depend on (`weights`,
`precision`, `accelerator`, ...); a column whose metric was asked for stays where no row has a value.

Schema 3: every load is a row of a table of its own (`load_rows`), no longer a hundred columns of this one; of what does
not depend on the load there is one column a workload; columns without any value are left out; names that would have
given two columns one name are numbered; the JSON document has both tables and describes each column, which took the
place of `units`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from harness.exports.identity import ALL, identity_fields
from harness.exports.load_rows import ONCE, load_ending, origin_words
from harness.exports.parts import (
    ENDS,
    Column,
    DataTable,
    Exported,
    Field,
    distinct,
    estimated,
    key_of,
    table_of,
    with_ends,
    word,
)
from harness.metrics import METRICS, of_scenario
from harness.stats import Estimate
from harness.summary import ModelSummary, PointKey

LEADING = ("output_tokens_per_s", "ttft_p50_s", "tpot_p50_s")
"""The speeds that a model's row has, at the leading load."""


def model_table(exported: Exported, metrics: Sequence[str] = ()) -> DataTable:
    """The rows of all models and groups; of `metrics`, by key, where some are given, else of all.

    Columns of the leading load end in `_c<concurrency>`, `_rate<requests/s>`, `_replay<speed>` or `_offline`; those of
    a workload, where there are several, in `_<name>_p<prompt tokens>_o<output tokens>`. Scores are `score_<task>`.
    """
    fields = _fields(exported, metrics or LEADING)
    if not metrics:
        return table_of(exported.summaries, list(fields))
    return table_of(exported.summaries, [
        replace(field, kept=True) if field.column.statistic is not None else field
        for field in fields if field.column.statistic is None or key_of(field.column) in metrics
    ])


def model_columns(exported: Exported) -> Iterator[Column]:
    """Every column that a row of a model may have."""
    return (column for field in _fields(exported, list(METRICS)) for column in with_ends(field.column))


def _fields(exported: Exported, speeds: Sequence[str]) -> Iterator[Field[ModelSummary]]:
    yield from identity_fields(exported, ALL, lambda summary: summary)
    for metric in (*of_scenario("architecture"), *of_scenario("memory")):
        yield Field(estimated(metric), partial(_estimate, key=metric.key))
    yield from _workload_fields(exported.summaries)
    if exported.point is not None:
        yield from _leading_fields(exported.point, speeds)
    yield Field(estimated(METRICS["mean_score"]), partial(_estimate, key="mean_score"))
    tasks = exported.tasks
    words = distinct([word(task) for task in tasks], ("", *(end for end, _ in ENDS)))
    for task, name in zip(tasks, words, strict=True):
        metric = exported.metric(f"score:{task}")
        yield Field(estimated(metric, f"score_{name}", task=task), partial(_estimate, key=metric.key))


def _estimate(summary: ModelSummary, *, key: str, point: PointKey | None = None) -> Estimate | None:
    return summary.estimate(key, point)


# What was served -------------------------------------------------------------------------------------------------


def _workload_fields(summaries: Sequence[ModelSummary]) -> Iterator[Field[ModelSummary]]:
    """What every load of a workload has alike."""
    keys = {point.key.workload: point.key for summary in summaries for point in summary.points}
    known = [keys[workload] for workload in sorted(keys)]
    endings = distinct([_workload_ending(key) for key in known]) if len(known) > 1 else [""] * len(known)
    for key, ending in zip(known, endings, strict=True):
        for metric in ONCE:
            column = estimated(METRICS[metric], f"{metric}{ending}", workload=workload_words(key))
            yield Field(column, partial(_anywhere, key=metric, workload=key.workload))


def _workload_ending(key: PointKey) -> str:
    return f"_{word(key.name)}_p{_tokens(key.prompt_tokens)}_o{_tokens(key.output_tokens)}"


def _tokens(mean: float) -> str:
    return f"{mean:.1f}".removesuffix(".0").replace(".", "p")


def workload_words(key: PointKey) -> str:
    """A workload with the lengths of its requests, in words."""
    return f"{key.name}, {key.prompt} prompt tokens, {key.output} output tokens"


def _anywhere(summary: ModelSummary, *, key: str, workload: tuple[object, ...]) -> Estimate | None:
    """The estimate at the load of a workload that has most behind it: of a group not all may have served at each."""
    found = (point.estimates.get(key) for point in summary.points if point.key.workload == workload)
    return max((one for one in found if one is not None), key=lambda one: one.n, default=None)


def _leading_fields(point: PointKey, speeds: Sequence[str]) -> Iterator[Field[ModelSummary]]:
    """The speeds at the leading load, and why they should not be trusted."""
    ending = load_ending(point)
    where = {"workload": workload_words(point), "load": point.words}
    served = (metric.key for metric in METRICS.values() if metric.scenario in ("serving", "routing"))
    for key in (key for key in served if key in speeds and key not in ONCE):
        yield Field(estimated(METRICS[key], f"{key}{ending}", **where), partial(_estimate, key=key, point=point))
    flags = Column(
        name=f"flags{ending}", kind="text", title="Flags", formula="why these timings should not be trusted", **where
    )
    tool = "the tool that timed it, where it was another than moebench"
    origin = Column(name=f"origin{ending}", kind="text", title="Origin", formula=tool, **where)
    yield Field(flags, partial(_flags, point=point))
    yield Field(origin, partial(_origin, point=point))


def _flags(summary: ModelSummary, *, point: PointKey) -> str | None:
    at = summary.point(point)
    return "; ".join(at.flags) or None if at else None


def _origin(summary: ModelSummary, *, point: PointKey) -> str | None:
    at = summary.point(point)
    return origin_words(at) if at else None
