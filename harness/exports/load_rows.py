"""What was served as flat rows, one a model or group and load; no column is named after what a suite holds.

Columns: the model and what else its speeds depend on (`kind`, `weights`, `precision`, `accelerator`, ...), the
workload, the load; `requests`, `flags` for why the timings should not be trusted, `notes`, and `origin` for the tool
that measured it where that was another; every metric of serving, and `distinct_experts` beside
`expected_distinct_experts`. Estimates have `_low` and `_high`, as in `model_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from harness.exports.identity import OF_A_LOAD, identity_fields
from harness.exports.parts import Column, DataTable, Exported, Field, Scalar, estimated, table_of, with_ends
from harness.metrics import METRICS, Metric
from harness.stats import Estimate
from harness.summary import ModelSummary, OperatingPoint, PointKey

ONCE = (
    "decode_flops_per_token", "prefill_flops_per_token", "expert_load_max_over_mean", "expert_load_variation",
    "expert_load_gini", "expert_load_entropy", "dead_experts",
)
"""Metrics of an operating point that are the same at every load of its workload: they are in the rows of models."""


class Served(NamedTuple):
    """One model at one load."""

    summary: ModelSummary
    point: OperatingPoint


_FACTS: tuple[tuple[str, str, str, str | None, str, Callable[[Served], Scalar]], ...] = (
    ("trainings", "integer", "Trainings", "trainings", "that the row is over: 1 for a model, of a group its members",
     lambda one: max(1, len(one.summary.members))),
    ("workload", "text", "Workload", None, "its name in the suite", lambda one: one.point.key.name),
    ("prompt", "text", "Prompt", "tokens", "of a request, in words", lambda one: one.point.key.prompt),
    ("output", "text", "Output", "tokens", "of a request, in words", lambda one: one.point.key.output),
    ("prompt_tokens", "number", "Prompt tokens", "tokens", "of a request, on average",
     lambda one: one.point.key.prompt_tokens),
    ("output_tokens", "number", "Output tokens", "tokens", "of a request, on average",
     lambda one: one.point.key.output_tokens),
    ("scenario_version", "integer", "Version", None, "of how it is measured; rows of two are not comparable",
     lambda one: one.point.key.version),
    ("load", "text", "Load", None,
     ("closed: so many requests in flight; open: so many arrive a second; replay: as in the trace, so many times as "
      "fast; offline: all at once"), lambda one: one.point.key.kind),
    ("level", "number", "Level", None, "of the load: requests in flight, requests per second, speed, or all requests",
     lambda one: one.point.key.level),
    ("burstiness", "number", "Burstiness", "1", "of the arrivals of an open load; 1 is a Poisson process",
     lambda one: one.point.key.burstiness if one.point.key.kind == "open" else None),
    ("requests", "integer", "Requests", "requests", "of the repeat that sent fewest", lambda one: one.point.requests),
    ("flags", "text", "Flags", None, "why the timings should not be trusted",
     lambda one: "; ".join(one.point.flags) or None),
    ("notes", "text", "Notes", None, "what else to know of the timings",
     lambda one: "; ".join(one.point.notes) or None),
    ("origin", "text", "Origin", None, "the tool that measured it, where it was another than moebench",
     lambda one: origin_words(one.point)),
)
_OPTIONAL = ("burstiness", "flags", "notes", "origin")


def load_table(exported: Exported, metrics: Sequence[str] = ()) -> DataTable:
    """The rows of every load of all models and groups; of `metrics`, by key, where some are given, else of all."""
    served = [Served(one, point) for one in exported.summaries for point in one.points]
    return table_of(served, list(_fields(exported, metrics)))


def load_columns(exported: Exported) -> Iterator[Column]:
    """Every column that a row of a load may have."""
    return (column for field in _fields(exported, list(METRICS)) for column in with_ends(field.column))


def load_metrics(metrics: Sequence[str] = ()) -> list[Metric]:
    """The metrics of a row of a load: of `metrics`, by key, where some are given, else those that loads differ in."""
    of_loads = [metric for metric in METRICS.values() if metric.scenario in ("serving", "routing")]
    return [metric for metric in of_loads if (metric.key in metrics if metrics else metric.key not in ONCE)]


def _fields(exported: Exported, metrics: Sequence[str]) -> Iterator[Field[Served]]:
    yield from identity_fields(exported, OF_A_LOAD, lambda one: one.summary)
    for name, kind, title, unit, formula, of in _FACTS:
        column = Column.model_validate({"name": name, "kind": kind, "title": title, "unit": unit, "formula": formula})
        yield Field(column, of, kept=name not in _OPTIONAL)
    for metric in load_metrics(metrics):
        yield Field(estimated(metric), partial(_estimate, key=metric.key), kept=bool(metrics))


def _estimate(served: Served, *, key: str) -> Estimate | None:
    return served.point.estimates.get(key)


def origin_words(point: OperatingPoint) -> str | None:
    """The other tools that measured a point, with their versions and files; None where moebench did."""
    tools = (f"{one.tool} {one.version or 'of unknown version'}, {one.file}" for one in point.origins)
    return "; ".join(tools) or None


def load_ending(key: PointKey) -> str:
    """How the columns of a load end: `_c8`, `_rate2p5`, `_replay2`, `_offline`."""
    load = {"closed": "_c", "open": "_rate", "replay": "_replay", "offline": "_offline"}[key.kind]
    level = "" if key.kind == "offline" else _number(key.level)
    shape = "" if key.burstiness == 1 else f"_burstiness{_number(key.burstiness)}"
    return f"{load}{level}{shape}"


def _number(value: float) -> str:
    """A number in a column's name: 2.5 as 2p5."""
    return repr(value).removesuffix(".0").replace("-", "m").replace("+", "").replace(".", "p")
