"""What stands behind every number of a model: its raw values, how it was made, its records, and how to get it again.

One file a model, `evidence/<suite>/<model>.js`, which a page loads when a reader first asks for a number: a script
that hands over plain data, since pages opened from a disk may not fetch. Values are in base units.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.accounting import flops_per_token, prefill_flops
from harness.architecture import Architecture
from harness.metrics import METRICS, Metric
from harness.pages.commands import lm_eval_command, run_command
from harness.pages.counted import PART_TITLES, config_terms, flop_terms, part_sizes, sum_terms, tensor_terms
from harness.pages.experts_section import counted_tables
from harness.pages.nights_evidence import nights_evidence
from harness.pages.parts import EvidenceFile
from harness.pages.point_table import few_requests
from harness.pages.provenance import environment_terms, subject_terms
from harness.pages.scores_table import chance_text
from harness.pages.suite_view import (
    MEMORY_AT_LOAD,
    PART,
    VARIATION,
    SuiteView,
    estimate_of,
    kind_of,
    load_text,
    point_text,
    scale_of_metric,
)
from harness.quantities import capitalised, count_of, grouped, plain, with_unit
from harness.sizes import memory_at
from harness.stats import NO_SPREAD, Estimate, counted
from harness.summary import ModelSummary, OperatingPoint, PointKey, TaskScore

FIRST_ITEMS = 20
"""Items of a task that are shown with their scores; the record has all."""
COUNTED = "counted"
"""The basis of what has no spread at all."""
_DIGITS = 9
_FEW = 12
"""Different scores of items up to which each is counted."""



def evidence_files(view: SuiteView) -> Iterator[EvidenceFile]:
    """The files of every model, recipe and history of a suite, one after the other: together they can be large."""
    for model in (*view.models, *view.groups):
        name = view.evidence_of.get((model.model, bool(model.members)))
        if name is not None:
            yield EvidenceFile(name, _Evidence(view, model, name).content())
    for name, content in nights_evidence(view):
        yield EvidenceFile(name, content)


@dataclass(frozen=True)
class _Named:
    """An estimate with what its drawer says besides."""

    key: str
    """Of its metric, as `SuiteView.metric` takes it."""
    estimate: Estimate
    more: Mapping[str, Any] = field(default_factory=dict)


class _Evidence:
    """The evidence of one model; texts and lists of records that many numbers share are kept once."""

    def __init__(self, view: SuiteView, model: ModelSummary, name: str) -> None:
        self._view, self._model, self._name = view, model, name
        self._bases: dict[str, int] = {}
        self._sources: dict[tuple[Path, ...], int] = {}
        self._records: dict[Path, int] = {}

    def content(self) -> dict[str, Any]:
        """All of it."""
        view, model = self._view, self._model
        found = dict(self._estimates())
        estimates = {name: self._estimate(name, one) for name, one in found.items()}
        return {
            "suite": {"title": view.title, "page": view.path},
            "title": plain(model.model, 120),
            "kind": kind_of(model),
            "page": view.link(model).href,
            "method": "method.html",
            "command": run_command(view.argument, model),
            "subject": subject_terms(model),
            "environment": environment_terms(model),
            "engine": plain(json.dumps(dict(model.subject.engine), sort_keys=True, ensure_ascii=False), 4_000),
            "notes": [plain(note, 600) for note in model.notes],
            "config": self._config,
            "tables": self._tables(),
            "metrics": self._metrics(found),
            "points": {view.point_names[point.key]: _point(point) for point in model.points},
            "estimates": estimates,
            "bases": list(self._bases),
            "sources": [[self._record(path) for path in paths] for paths in self._sources],
            "records": [self._record_row(path) for path in self._records],
        }

    # What is known -----------------------------------------------------------------------------------------------

    def _estimates(self) -> Iterator[tuple[str, _Named]]:
        """Every estimate by its name within the file."""
        model, view = self._model, self._view
        for key, estimate in (*model.counts.items(), *model.memory.items()):
            yield self._own_name(key), _Named(key, estimate, _counts(self._counted_from(key)))
        yield from self._parts()
        if model.mean_score is not None:
            yield self._own_name("mean_score"), _Named("mean_score", model.mean_score, self._tasks())
        for task, score in model.scores.items():
            key = f"score:{task}"
            more = _score(score, view.metric(key)) | self._lm_eval(score)
            yield self._own_name(key), _Named(key, score.estimate, more)
        for point in model.points:
            yield from self._at(point.key)
        if view.point is not None and model.point(view.point) is None:
            yield from self._at(view.point)

    def _parts(self) -> Iterator[tuple[str, _Named]]:
        """The parts of the parameters, each from its tensors."""
        model = self._model
        for part, size in part_sizes(model.parameters).items() if model.parameters else ():
            terms = tensor_terms(model.architecture, part) if model.architecture else []
            yield self._own_name(f"{PART}{part}"), _Named(f"{PART}{part}", counted(size), _counts(terms))

    def _at(self, key: PointKey) -> Iterator[tuple[str, _Named]]:
        """What was measured at one point, and what can be counted there although it was not."""
        point = self._model.point(key)
        metrics = [*point.estimates, VARIATION.key] if point else ["decode_flops_per_token"]
        needed = memory_at(self._model, key)
        if needed is not None:
            yield self._own_name(MEMORY_AT_LOAD, key), _Named(MEMORY_AT_LOAD, counted(needed), self._cache(needed, key))
        for metric in metrics:
            estimate = estimate_of(self._model, metric, key)
            if estimate is None:
                continue
            if metric == VARIATION.key and point:
                speeds = point.estimates["output_tokens_per_s"]
                basis = f"deviation over mean of the output rates of {count_of(speeds.n, 'repeat')}"
                estimate = Estimate(estimate.value, None, None, speeds.n, basis, (), speeds.sources)
            more = _counts(self._counted_at(metric, key))
            if point and (few := few_requests(metric, point)):
                more = more | {"notes": [few]}
            yield self._own_name(metric, key), _Named(metric, estimate, more)

    def _own_name(self, key: str, point: PointKey | None = None) -> str:
        return self._view.evidence(self._model, key, point).removeprefix(f"{self._name}.")

    def _estimate(self, name: str, named: _Named) -> dict[str, Any]:
        estimate = named.estimate
        repeats = 1 if estimate.basis == COUNTED else estimate.n
        told: dict[str, Any] = {"value": _rounded(estimate.value), **({"n": repeats} if repeats else {}), **named.more}
        told["basis"] = self._bases.setdefault(capitalised(plain(_basis(estimate), 600)), len(self._bases))
        if ends := _ends(estimate):
            told |= {"low": ends[0], "high": ends[1]}
        elif estimate.low is None or estimate.high is None or _repeats_agree(estimate):
            told["alone"] = True
        if estimate.values:
            told["values"] = [_rounded(value) for value in estimate.values]
        if not estimate.sources and self._config is not None:
            told["counted"] = True
        if estimate.sources:
            told["sources"] = self._sources.setdefault(estimate.sources, len(self._sources))
        members = [[plain(one.model, 80), f"{self._view.evidence_of.get((one.model, False), '')}.{name}"]
                   for one in self._model.members if self._has(one, named.key, name)]
        return told | ({"members": members} if members else {})

    def _has(self, member: ModelSummary, key: str, name: str) -> bool:
        if key in member.counts or key in member.memory or key == "mean_score" or key.startswith("score:"):
            return member.estimate(key) is not None
        if key.startswith(PART):
            return member.parameters is not None
        point = self._points.get(name.rpartition(".")[2])
        if key == MEMORY_AT_LOAD:
            return point is not None and member.point(point) is not None and memory_at(member, point) is not None
        return estimate_of(member, key, point) is not None

    @cached_property
    def _points(self) -> dict[str, PointKey]:
        return {name: key for key, name in self._view.point_names.items()}

    def _metrics(self, found: Mapping[str, _Named]) -> dict[str, dict[str, Any]]:
        """What the metrics mean, and one scale for all values of each."""
        values: dict[str, list[float]] = {}
        for name, one in found.items():
            values.setdefault(_metric_name(name, one.key), []).append(one.estimate.value)
        keys = {_metric_name(name, one.key): one.key for name, one in found.items()}
        return {name: self._metric(key, values[name]) for name, key in keys.items()}

    def _metric(self, key: str, values: Iterable[float]) -> dict[str, Any]:
        is_part = key.startswith(PART)
        metric = _part_metric(key) if is_part else self._view.metric(key)
        scale = scale_of_metric(metric, values)
        direction = {} if metric.better == "none" else {"better": metric.better}
        title = f"Score on {plain(metric.title, 100)}" if key.startswith("score:") else metric.title
        return {
            "title": title, "unit": scale.unit, "divisor": scale.divisor,
            "base": "" if metric.unit == "1" else metric.unit, "formula": capitalised(metric.formula), **direction,
        }

    # How it was counted ------------------------------------------------------------------------------------------

    def _counted_from(self, key: str) -> list[tuple[str, str]]:
        """The counts that a number about the architecture is made of."""
        count = self._model.parameters
        if count is None:
            return []
        if key in ("total_parameters", "active_parameters", "active_non_embedding_parameters"):
            return sum_terms(count, key)
        if key == "kv_bytes_per_token" and isinstance(self._model.architecture, Architecture):
            precision = plain(self._model.subject.precision, 40)
            return [("layers", str(self._model.architecture.layers)), ("precision", precision)]
        return []

    def _counted_at(self, metric: str, point: PointKey) -> list[tuple[str, str]]:
        architecture = self._model.architecture
        if not isinstance(architecture, Architecture):
            return []
        if metric == "decode_flops_per_token":
            context = point.prompt_tokens + point.output_tokens / 2
            flops = flops_per_token(architecture, context=context)
            seen = f"{grouped(context, 0)} tokens: the prompt and half the output"
            return [("context", seen), *flop_terms(flops, 1)]
        if metric == "prefill_flops_per_token":
            prefill = prefill_flops(architecture, max(1, round(point.prompt_tokens)))
            return [("prompt", f"{grouped(prefill.tokens, 0)} tokens"), *flop_terms(prefill.flops, prefill.tokens)]
        return []

    def _cache(self, needed: float, key: PointKey) -> dict[str, Any]:
        """The memory of a load in its two parts, where the weights were measured."""
        weights = self._model.memory.get("weights_bytes")
        if weights is None:
            return {}
        requests = count_of(key.concurrency or 0, "request")
        cache = with_unit("bytes", needed - weights.value, 4)
        return _counts([("weights", with_unit("bytes", weights.value, 4)), (f"cache of {requests}", cache)])

    def _tasks(self) -> dict[str, Any]:
        """The tasks of the mean score, each with the name of its estimate."""
        model = self._model
        tasks = model.mean_tasks or tuple(model.scores)
        return {"parts": [[plain(task, 80), self._view.evidence(model, f"score:{task}")] for task in tasks]}

    def _lm_eval(self, score: TaskScore) -> dict[str, Any]:
        command = "" if self._model.members else lm_eval_command(self._model.subject, score)
        return {"command": command} if command else {}

    @cached_property
    def _config(self) -> dict[str, Any] | None:
        """What of the configuration decides the structure, and the record that has it; None where nothing does."""
        model = self._model
        terms = config_terms(model.config) if model.architecture is not None and model.config else []
        record = model.config_record
        if not terms or record is None:
            return None
        return {"terms": terms, "sources": self._sources.setdefault((record,), len(self._sources))}

    def _tables(self) -> dict[str, Any]:
        """What was counted from recorded routing, table by table."""
        return {name: {
            "title": table.title,
            "columns": [[column.title, column.unit, column.help, column.direction] for column in table.columns],
            "rows": {str(number): list(row) for number, row in table.rows.items()},
            "each": name.startswith("balance"),
            "terms": table.terms,
            "sources": self._sources.setdefault(table.records, len(self._sources)),
        } for name, table in counted_tables(self._model, self._view.records).items()}

    # Records -----------------------------------------------------------------------------------------------------

    def _record(self, path: Path) -> int:
        return self._records.setdefault(path, len(self._records))

    def _record_row(self, path: Path) -> dict[str, Any]:
        link, fact = self._view.records.link(path, path.name), self._view.records.facts.get(path)
        row: dict[str, Any] = {"href": link.href, "text": plain(link.text, 120)}
        if fact is not None:
            row |= {"what": fact.what, "repeat": fact.repeat, "started": fact.started, "state": fact.state}
            row |= {"origin": fact.origin} if fact.origin else {}
        return row


def _metric_name(name: str, key: str) -> str:
    """A task's score and a part of the parameters are metrics of their own, named like the estimate."""
    return name if key.startswith(("score:", PART)) else key


def _part_metric(key: str) -> Metric:
    part = key.removeprefix(PART)
    return METRICS["total_parameters"].model_copy(update={
        "key": key, "title": f"Parameters: {PART_TITLES[part].lower()}", "better": "none",
        "formula": "the elements of all its tensors; those of experts of which a token uses k, k of them"
        if part == "routed_experts_used" else "the elements of all its tensors",
    })


def _point(point: OperatingPoint) -> dict[str, Any]:
    """A point in words, with what is to know of it."""
    key = point.key
    told: dict[str, Any] = {
        "title": plain(f"{plain(key.name, 60)}, {load_text(key)}", 160),
        "workload": f"{point_text(key)}, {count_of(point.requests, 'request')} a repeat at least",
    }
    for name, texts in (("flags", point.flags), ("notes", point.notes)):
        if texts:
            told[name] = [capitalised(plain(text, 600)) for text in texts]
    return told


def _rounded(value: float) -> float:
    """To nine significant digits, a whole number without a point."""
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _ends(estimate: Estimate) -> tuple[float, float] | None:
    """The ends of an estimate's interval where their digits show that it has a width."""
    if estimate.low is None or estimate.high is None:
        return None
    low, high = _rounded(estimate.low), _rounded(estimate.high)
    return (low, high) if low < high else None


def _repeats_agree(estimate: Estimate) -> bool:
    """Whether repeated values have ends that are one number, as where they differ in the last bits only."""
    known = estimate.low is not None and estimate.high is not None
    return known and estimate.n > 1 and estimate.basis != COUNTED and _ends(estimate) is None


def _basis(estimate: Estimate) -> str:
    """How an estimate was made; an interval without width is none, whatever it was made by."""
    if not _repeats_agree(estimate):
        return estimate.basis
    return f"{count_of(estimate.n, 'value')} {NO_SPREAD}, no interval can be told"


def _counts(terms: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {"terms": [list(term) for term in terms]} if terms else {}


def _score(score: TaskScore, metric: Metric) -> dict[str, Any]:
    """What a task's items got, and how it was asked."""
    scenario = score.scenario
    shots = "the task's own" if scenario.num_fewshot is None else str(scenario.num_fewshot)
    terms = [("score", plain(score.formula, 200)), ("lm-eval task", plain(scenario.lm_eval_task, 120)),
             ("metric", plain(score.metric, 120)), ("examples shown", shots)]
    if scenario.limit is not None:
        terms.append(("limited to", count_of(scenario.limit, "item")))
    if score.chance is not None:
        terms.append(("score of guessing", chance_text(score, metric)))
    told = _counts(terms)
    if score.items:
        told["items"] = {
            "count": len(score.items),
            "spread": _spread(list(score.items.values()), right=1.0 if metric.better == "higher" else 0.0),
            "first": [[plain(item, 100), _rounded(value)] for item, value in _first(score.items)],
        }
    return told


def _first(items: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for (item, value), _ in zip(items.items(), range(FIRST_ITEMS), strict=False):
        yield item, value


def _spread(values: Sequence[float], *, right: float = 1.0) -> list[list[Any]]:
    """How many items have each score where these are few, else least, quartiles and most."""
    found = Counter(values)
    if len(found) <= _FEW:
        named = {right: "right", 1.0 - right: "wrong"} if found.keys() <= {0.0, 1.0} else {}
        return [[named.get(value, f"score {value:.4g}"), count_of(found[value], "item")]
                for value in sorted(found, reverse=True)]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    titles = ("least", "lower quartile", "median", "upper quartile", "most")
    ends = (min(values), low, middle, high, max(values))
    return [[title, f"{value:.4g}"] for title, value in zip(titles, ends, strict=True)]
