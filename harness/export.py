"""Summaries as flat rows with units in the column names: CSV, JSON and Markdown.

Columns: what names the model (`model`, `kind`, `group`, `revision`, ...); counts; memory; serving, one column a metric
and operating point, `flags` for why its timings should not be trusted and `origin` for the tool that measured it where
that was another; routing, in the columns of the operating points of the workload that was routed: `distinct_experts`
beside `expected_distinct_experts`, `expert_load_max_over_mean`, `expert_load_variation`, `expert_load_gini`,
`expert_load_entropy` and `dead_experts`; `notes`; scores. Every estimate has `_low` and `_high`, the ends of its 95 %
interval, empty where there is none, but for counts, which have no spread; those of routing differ between the trainings
of a group, and have ends where there is a group. Missing values are empty, never zero.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from harness.metrics import COUNTED, METRICS
from harness.record import Origin
from harness.stats import Estimate
from harness.summary import ModelSummary, PointKey

EXPORT_SCHEMA = 2
"""Changes when a column changes its name or meaning."""

Row = dict[str, Any]
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")
_IDENTITY = (
    "model", "kind", "group", "members", "source", "revision", "weights", "precision", "quantization", "backend",
    "accelerator", "tensor_parallel", "expert_parallel", "vllm_version", "newest_record_at", "failed_cells",
    "refused_cells", "notes", "records",
)
_HEADLINE = (
    "model", "kind", "total_parameters", "active_parameters", "weights_bytes", "output_tokens_per_s", "ttft_p50_s",
    "tpot_p50_s", "decode_flops_per_token", "mean_score", "score_", "failed_cells", "refused_cells", "flags",
)
_ENDS = ("_low", "_high")


def export_rows(summaries: Sequence[ModelSummary]) -> list[Row]:
    """One row a model, all with the same columns in the same order; None where a value is missing.

    Serving columns end in `_c<concurrency>`, `_rate<requests/s>`, `_replay<speed>` or `_offline`, where there are
    several workloads after `_<name>_p<prompt tokens>_o<output tokens>`. Score columns are `score_<task>`. `records` are
    the record files, as suite/cell/file, separated by blanks.
    """
    points = suffixes(sorted({point.key for summary in summaries for point in summary.points}))
    tasks = list(dict.fromkeys(task for summary in summaries for task in summary.scores))
    grouped = any(summary.members for summary in summaries)
    rows = [{**_identity(one), **_values(one, points, tasks, grouped=grouped)} for one in summaries]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    kept = [column for column in columns if column in _IDENTITY or any(row.get(column) is not None for row in rows)]
    return [{column: row.get(column) for column in _with_ends(kept, columns)} for row in rows]


def _with_ends(kept: list[str], columns: list[str]) -> list[str]:
    """The kept columns in order, with the ends of every kept estimate even where all are empty."""
    wanted = set(kept) | {f"{column}{end}" for column in kept for end in ("_low", "_high")}
    return [column for column in columns if column in wanted]


def _identity(summary: ModelSummary) -> Row:
    subject = summary.subject
    kinds = {True: "moe", False: "dense", None: None}
    values = {
        "model": summary.model,
        "kind": kinds[summary.is_moe],
        "group": summary.group,
        "members": " ".join(member.model for member in summary.members) or None,
        "vllm_version": summary.environment.versions.get("vllm"),
        "newest_record_at": summary.started_at.isoformat(),
        "failed_cells": sum(gap.status == "failed" for gap in summary.gaps),
        "refused_cells": sum(gap.status == "refused" for gap in summary.gaps),
        "notes": "; ".join(dict.fromkeys(_notes(summary))) or None,
        "records": " ".join("/".join(path.parts[-3:]) for path in summary.records),
    }
    return {column: values[column] if column in values else getattr(subject, column) for column in _IDENTITY}


def _notes(summary: ModelSummary) -> list[str]:
    """What to know of a model, and of its operating points."""
    unread = (f"the routing of {work.name} is not shown: {work.reason}" for work in summary.unread)
    return [*summary.notes, *unread, *(note for point in summary.points for note in point.notes)]


def _values(summary: ModelSummary, points: Mapping[PointKey, str], tasks: Sequence[str], *, grouped: bool) -> Row:
    """The estimates of one row; `grouped` says whether some row is over trainings."""
    row: Row = {}
    for metric in METRICS.values():
        if metric.scenario in ("architecture", "memory"):
            _put(row, metric.key, summary.estimate(metric.key), spread=metric.key not in COUNTED)
    for key, suffix in points.items():
        point = summary.point(key)
        row[f"flags{suffix}"] = "; ".join(point.flags) or None if point else None
        row[f"origin{suffix}"] = "; ".join(map(_origin, point.origins)) or None if point else None
        for metric in METRICS.values():
            if metric.scenario in ("serving", "routing"):
                estimate = summary.estimate(metric.key, key)
                if metric.scenario == "routing":
                    _put_counted(row, metric.key + suffix, estimate, grouped=grouped)
                else:
                    _put(row, metric.key + suffix, estimate, spread=metric.key not in COUNTED)
    _put(row, "mean_score", summary.mean_score)
    for task in tasks:
        _put(row, f"score_{_word(task)}", summary.estimate(f"score:{task}"))
    return row


def _put(row: Row, column: str, estimate: Estimate | None, *, spread: bool = True) -> None:
    row[column] = estimate.value if estimate else None
    if spread:
        row[f"{column}_low"] = estimate.low if estimate else None
        row[f"{column}_high"] = estimate.high if estimate else None


def _put_counted(row: Row, column: str, estimate: Estimate | None, *, grouped: bool) -> None:
    """What is counted in one recording: of a model it has no ends, of a group those over its trainings."""
    spread = estimate if estimate and estimate.basis != "counted" else None
    row[column] = estimate.value if estimate else None
    if grouped:
        row[f"{column}_low"] = spread.low if spread else None
        row[f"{column}_high"] = spread.high if spread else None


def _origin(origin: Origin) -> str:
    return f"{origin.tool} {origin.version or 'of unknown version'}, {origin.file}"


def suffixes(points: Sequence[PointKey]) -> dict[PointKey, str]:
    """How the columns of each operating point end; no two points share an ending."""
    one_workload = len({key.workload for key in points}) <= 1
    workloads: dict[tuple[object, ...], str] = {}
    for key in points:
        word = f"_{_word(key.name)}_p{_tokens(key.prompt_tokens)}_o{_tokens(key.output_tokens)}"
        taken = {used for workload, used in workloads.items() if workload != key.workload}
        numbered = (word, *(f"{word}_{number}" for number in range(2, len(taken) + 3)))
        workloads.setdefault(key.workload, next(one for one in numbered if one not in taken))
    return {key: ("" if one_workload else workloads[key.workload]) + _load(key) for key in points}


def _tokens(mean: float) -> str:
    return f"{mean:.1f}".removesuffix(".0").replace(".", "p")


def _load(key: PointKey) -> str:
    load = {"closed": "_c", "open": "_rate", "replay": "_replay", "offline": "_offline"}[key.kind]
    level = "" if key.kind == "offline" else f"{key.level:g}".replace(".", "p")
    shape = "" if key.burstiness == 1 else f"_burstiness{key.burstiness:g}".replace(".", "p")
    return f"{load}{level}{shape}"


def _word(name: str) -> str:
    """A name as a part of a column: letters, digits and underscores."""
    return re.sub(r"\W+", "_", name)


def headline(rows: Sequence[Mapping[str, Any]], concurrency: int | None = None) -> list[Row]:
    """The rows with the few columns that fit a page; the speed is that at `concurrency`, by default the highest.

    Loads without a concurrency are there where nothing else is.
    """
    columns = list(rows[0]) if rows else []
    loads = {column: int(found[1]) for column in columns if (found := re.search(r"_c(\d+)$", column))}
    if loads:
        columns = [column for column in columns if not re.search(r"_(rate|replay)[\dp]+|_offline$", column)]
    wanted = max(loads.values(), default=None) if concurrency is None else concurrency
    kept = [
        column
        for column in columns
        if column.startswith(_HEADLINE) and loads.get(column, wanted) == wanted and not column.endswith(_ENDS)
    ]
    return [{column: row[column] for column in kept} for row in rows]


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV (RFC 4180, header first), empty where a value is missing; "" for no rows.

    Text that a spreadsheet would take for a formula (it starts with = + - @, a tab or a carriage return) gets a leading
    apostrophe; numbers do not.
    """
    if not rows:
        return ""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([_harmless(column) for column in rows[0]])
    writer.writerows([[_harmless(value) for value in row.values()] for row in rows])
    return buffer.getvalue()


def _harmless(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA_START):
        return "'" + value
    return value


def to_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as one JSON object: `schema` (2), `generator`, `confidence` of the intervals, `units`, `rows`.

    `units` gives the unit of every numeric column in words, "1" for scores and ratios. Missing values are null.
    """
    columns = list(rows[0]) if rows else []
    units = {column: unit for column in columns if (unit := unit_of(column)) is not None}
    document = {
        "schema": EXPORT_SCHEMA,
        "generator": _generator(),
        "confidence": 0.95,
        "units": units,
        "rows": [dict(row) for row in rows],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _generator() -> str:
    try:
        return f"moebench {version('moebench')}"
    except PackageNotFoundError:
        return "moebench"


def unit_of(column: str) -> str | None:
    """The unit of a column in words; None for one that is no metric."""
    base = re.sub(r"_(low|high)$", "", column)
    if base.startswith("score_"):
        return METRICS["score"].unit
    found = max((key for key in METRICS if base == key or base.startswith(f"{key}_")), key=len, default=None)
    return METRICS[found].unit if found else None


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table, numbers right-aligned and to six significant digits; "" for no rows."""
    if not rows:
        return ""
    columns = list(rows[0])
    numeric = [any(_is_number(row[column]) for row in rows) for column in columns]
    lines = [
        _line([_cell(column) for column in columns]),
        _line(["---:" if number else "---" for number in numeric]),
        *(_line([_cell(row[column]) for column in columns]) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    """A cell whose text ends neither the cell nor the line, and starts no markup."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return re.sub(r"([\\|\[`<])", r"\\\1", re.sub(r"[\r\n]+", " ", str(value)))
