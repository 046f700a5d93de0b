"""Summaries as flat rows, one a model or group, with units in the names of the columns.

Columns: what names the model (`model`, `kind`, `group`, `revision`, ...); counts; memory; what a workload has at every
load alike: the arithmetic of a token, and the balance of the experts (`expert_load_max_over_mean`,
`expert_load_variation`, `expert_load_gini`, `expert_load_entropy`, `dead_experts`); the leading speeds at one load, the
leaderboard's; scores. An estimate has `_low` and `_high`, the ends of its 95 % interval, where some row has them:
counts have none. Missing values are empty, never zero, and a column that would be empty in every row is left out.

Schema 3: every load is a row of a table of its own (`load_rows`), no longer a hundred columns of this one; of what does
not depend on the load there is one column a workload; columns without any value are left out; names that would have
given two columns one name are numbered; the JSON document has both tables and describes each column, which took the
place of `units`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from harness.exports.load_rows import ONCE, load_ending, origin_words
from harness.exports.parts import (
    ENDS,
    Column,
    DataTable,
    Exported,
    Field,
    Scalar,
    distinct,
    estimated,
    table_of,
    word,
)
from harness.metrics import METRICS, of_scenario
from harness.stats import Estimate
from harness.summary import ModelSummary, PointKey

_TEXTS: dict[str, tuple[str, str]] = {
    "model": ("Model", "the name under which the suite lists it; of a group its own"),
    "kind": ("Kind", "moe where some layer routes tokens to experts, else dense; empty where that is not known"),
    "group": ("Group", "the recipe of which it is one training"),
    "members": ("Members", "the trainings that a group is made of, separated by blanks"),
    "source": ("Source", "path:<folder>, hub:<organisation>/<name>, or import:<name> as another tool had it"),
    "revision": ("Revision", "a commit of the hub, or the SHA-256 of a local checkpoint's files"),
    "weights": ("Weights", "checkpoint, or dummy where they are random: then speeds and scores mean nothing"),
    "precision": ("Precision", "of the weights"),
    "quantization": ("Quantization", "its method; empty where there is none"),
    "backend": ("Backend", "what served the model"),
    "accelerator": ("Accelerator", "the device; on a machine without one the processor"),
    "tensor_parallel": ("Tensor parallel", "devices over which each layer is spread"),
    "expert_parallel": ("Expert parallel", "whether experts are spread over the devices"),
    "vllm_version": ("vLLM", "its version at the newest measurement"),
    "newest_record_at": ("Newest record", "when the newest measurement began, ISO 8601"),
    "failed_cells": ("Failed cells", "cells whose newest attempt failed"),
    "refused_cells": ("Refused cells", "cells that did not fit the machine and were not tried"),
    "notes": ("Notes", "what to know of the model and its operating points"),
    "records": ("Records", "the record files as suite/cell/file, separated by blanks"),
}
_UNITS = {"failed_cells": "cells", "refused_cells": "cells", "tensor_parallel": "devices"}
_TRUTHS = ("expert_parallel",)
LEADING = ("output_tokens_per_s", "ttft_p50_s", "tpot_p50_s")
"""The speeds that a model's row has, at the leading load."""


def model_table(exported: Exported, metrics: Sequence[str] = ()) -> DataTable:
    """The rows of all models and groups; of `metrics`, by key, where some are given, else of all.

    Columns of the leading load end in `_c<concurrency>`, `_rate<requests/s>`, `_replay<speed>` or `_offline`; those of
    a workload, where there are several, in `_<name>_p<prompt tokens>_o<output tokens>`. Scores are `score_<task>`.
    """
    wanted = [field for field in _fields(exported, metrics or LEADING) if not metrics or _asked(field, metrics)]
    return table_of(exported.summaries, wanted)


def _asked(field: Field[ModelSummary], metrics: Sequence[str]) -> bool:
    column = field.column
    return column.statistic is None or column.metric in metrics or f"score:{column.task}" in metrics


def _fields(exported: Exported, speeds: Sequence[str]) -> Iterator[Field[ModelSummary]]:
    yield from _identity_fields()
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


# What names a model ----------------------------------------------------------------------------------------------


def _identity_fields() -> Iterator[Field[ModelSummary]]:
    for name, (title, formula) in _TEXTS.items():
        kind = "integer" if name in _UNITS else "truth" if name in _TRUTHS else "text"
        column = Column.model_validate(
            {"name": name, "kind": kind, "title": title, "unit": _UNITS.get(name), "formula": formula}
        )
        yield Field(column, partial(_fact, name=name), kept=True)


def _fact(summary: ModelSummary, *, name: str) -> Scalar:
    if name in ("failed_cells", "refused_cells"):
        return sum(gap.status == name.removesuffix("_cells") for gap in summary.gaps)
    facts: dict[str, Scalar] = {
        "model": summary.model,
        "kind": {True: "moe", False: "dense", None: None}[summary.is_moe],
        "group": summary.group,
        "members": " ".join(member.model for member in summary.members) or None,
        "vllm_version": summary.environment.versions.get("vllm"),
        "newest_record_at": summary.started_at.isoformat(),
        "notes": "; ".join(dict.fromkeys(_notes(summary))) or None,
        "records": " ".join("/".join(path.parts[-3:]) for path in summary.records) or None,
    }
    found: Scalar = facts[name] if name in facts else getattr(summary.subject, name)
    return found


def _notes(summary: ModelSummary) -> list[str]:
    """What to know of a model, and of its operating points."""
    unread = (f"the routing of {work.name} is not shown: {work.reason}" for work in summary.unread)
    return [*summary.notes, *unread, *(note for point in summary.points for note in point.notes)]


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
