"""What every format is made from: the columns of flat rows, how these are filled, and the names of columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Generic, Literal, TypeVar

from pydantic import ConfigDict

from harness.metrics import Better, Metric, metric_of
from harness.resources import own_version
from harness.schema import Frozen
from harness.stats import Estimate
from harness.summary import ModelSummary, PointKey

EXPORT_SCHEMA = 5
"""Of CSV, JSON and Parquet: changes when a column changes its name or meaning, or the document its shape."""
LONGEST_WORD = 60
"""Characters that a foreign name adds to the name of a column, at most."""

Scalar = str | int | float | bool | None
Row = Mapping[str, Scalar]
ENDS: tuple[tuple[str, Literal["low", "high"]], ...] = (("_low", "low"), ("_high", "high"))
"""How the columns of an interval's ends end."""
Item = TypeVar("Item")


class Column(Frozen):
    """One column of the flat rows, and of what each of its values is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """The key of its values in a row; letters, digits and underscores."""
    kind: Literal["text", "integer", "number", "truth"]
    """The type of its values; each of them may be null."""
    title: str
    """What a reader would call it."""
    unit: str | None = None
    """In words, such as "seconds"; "1" for scores and shares; null where it is no quantity."""
    better: Better = "none"
    """Which direction is better: "higher", "lower" or "none"."""
    formula: str = ""
    """How it is derived, in words."""
    statistic: Literal["value", "low", "high"] | None = None
    """The value itself, or an end of its 95 % interval; null where it is no quantity."""
    metric: str | None = None
    """The key of the metric; "score" for the score of any task."""
    task: str | None = None
    """The task that was scored."""
    workload: str | None = None
    """The workload that was served, with the tokens of a request; null where rows of several are in the table."""
    load: str | None = None
    """The load at which it was, in words."""


@dataclass(frozen=True)
class DataTable:
    """Flat rows, each with every column; None where a value is missing."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]


@dataclass(frozen=True)
class Exported:
    """What is known of one suite, as an export sees it."""

    suite: str
    summaries: tuple[ModelSummary, ...]
    """Models, then groups of trainings."""
    point: PointKey | None
    """The operating point of the speeds that are shown where only one is; None where nothing was served."""
    score: str
    """The key of the score that ranks: `mean_score` or `score:<task>`."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """By model, where anybody states one."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task that any model was scored on."""
        return tuple(dict.fromkeys(task for summary in self.summaries for task in summary.scores))

    def licence(self, summary: ModelSummary) -> str | None:
        """The licence of a model, or the one that all members of a group have; None where that is not known."""
        found = {self.licences.get(one.model) for one in summary.members or (summary,)}
        return found.pop() if len(found) == 1 else None

    def metric(self, key: str) -> Metric:
        """The metric behind a key, as `harness.metrics.metric_of` has it. Raises KeyError."""
        return metric_of(key, self.summaries)


@dataclass(frozen=True)
class Field(Generic[Item]):
    """A column, and what it holds of each thing that has a row."""

    column: Column
    of: Callable[[Item], Estimate | Scalar]
    kept: bool = False
    """Whether the column stays where no row has a value."""


def table_of(items: Sequence[Item], fields: Sequence[Field[Item]]) -> DataTable:
    """One row an item, with the columns that are kept or of which some row has a value.

    An estimate gives three columns, its value and the ends of its interval; what was counted has no ends.
    """
    found = [{name: value for field in fields for name, value in _cells(field, item)} for item in items]
    used = {name for row in found for name, value in row.items() if value is not None}
    used |= {field.column.name for field in fields if field.kept}
    columns = tuple(column for field in fields for column in with_ends(field.column) if column.name in used)
    return DataTable(columns, tuple({column.name: row.get(column.name) for column in columns} for row in found))


def _cells(field: Field[Item], item: Item) -> Iterator[tuple[str, Scalar]]:
    name, value = field.column.name, field.of(item)
    if not isinstance(value, Estimate):
        yield name, value
        return
    yield name, _finite(value.value)
    if value.basis != "counted":
        for (end, _), at in zip(ENDS, (value.low, value.high), strict=True):
            yield f"{name}{end}", _finite(at)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def with_ends(column: Column) -> Iterator[Column]:
    """A column, and those of the ends of its interval where it is a quantity."""
    yield column
    if column.statistic is not None:
        for end, statistic in ENDS:
            yield column.model_copy(update={"name": f"{column.name}{end}", "statistic": statistic})


def estimated(metric: Metric, name: str = "", **more: str) -> Column:
    """The column of a metric, of that name where it is given another than its key."""
    key = "score" if metric.key.startswith("score:") else metric.key
    return Column(
        name=name or metric.key, kind="number", title=metric.title, unit=metric.unit or "1", better=metric.better,
        formula=metric.formula, statistic="value", metric=key, **more,
    )


def key_of(column: Column) -> str | None:
    """The key of the metric that a column is about, `score:<task>` among them; None where it is no quantity."""
    return column.metric if column.task is None else f"score:{column.task}"


def generator() -> str:
    """The program that wrote an export, with its version."""
    return f"moebench {own_version()}".rstrip()


def word(name: str) -> str:
    """A foreign name as a part of a column's: letters, digits and underscores, not too many."""
    return re.sub(r"\W+", "_", name)[:LONGEST_WORD]


def distinct(words: Sequence[str], endings: Sequence[str] = ("",)) -> list[str]:
    """The words, with a number where one with any of the `endings` would be another with any of them."""
    taken: set[str] = set()
    chosen = []
    for base in words:
        numbered = chain((base,), (f"{base}_{number}" for number in count(2)))
        found = next(one for one in numbered if not any(f"{one}{ending}" in taken for ending in endings))
        taken |= {f"{found}{ending}" for ending in endings}
        chosen.append(found)
    return chosen
