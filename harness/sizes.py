"""The numbers by which a model is matched with another: parameters, memory, FLOPs, quality and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.accounting import kv_bytes, state_bytes, weight_bytes
from harness.architecture import Architecture
from harness.cache_form import cache_element_bytes
from harness.quantities import listed, plain
from harness.suite import MatchKind
from harness.summary import ModelSummary, PointKey, TaskScore
from harness.utilisation import served_model


@dataclass(frozen=True)
class LoadSizes:
    """What a model needs at one load; None where that is not known."""

    memory: float | None
    flops: float | None
    cost: float | None

    def of(self, kind: MatchKind) -> float | None:
        """The number of a kind that depends on the load."""
        return self.memory if kind == "iso-memory" else self.flops if kind == "iso-flops" else self.cost


@dataclass(frozen=True)
class Sizes:
    """The numbers by which one model is matched, counted once; loads are the points that it was measured at."""

    summary: ModelSummary
    active: float | None
    total: float | None
    quality: float | None
    no_quality: str
    scores: Mapping[str, TaskScore]
    """The tasks of the score."""
    asked: tuple[object, ...]
    """How they were asked: only scores of the same questions are matched."""
    loads: Mapping[PointKey, LoadSizes]
    """By the points that it was measured at, the most concurrent closed loop first, other loads last."""
    flagged: frozenset[PointKey]
    """The points whose timings should not be trusted."""


def sizes_of(summary: ModelSummary, score: str) -> Sizes:
    """The numbers of a model; `score` is the key of the estimate that is its quality."""
    quality, no_quality = _quality(summary, score)
    counts, weights = summary.parameters, _weights(summary)
    sequences: dict[tuple[float, float], float | None] = {}
    loads = {}
    for point in sorted(summary.points, key=lambda one: (one.key.kind == "closed", one.key.level), reverse=True):
        key = point.key
        lengths = (key.prompt_tokens, key.output_tokens)
        if lengths not in sequences:
            sequences[lengths] = _sequence_bytes(summary, key)
        cost = None if point.flags else _value(summary, "usd_per_million_output_tokens", key)
        flops = _value(summary, "decode_flops_per_token", key)
        loads[key] = LoadSizes(_memory(weights, sequences[lengths], key), flops, cost)
    scores = scores_of(summary, score)
    return Sizes(
        summary, counts.active if counts else None, counts.total if counts else None, quality, no_quality, scores,
        tuple((task, one.asked) for task, one in scores.items()), loads,
        frozenset(point.key for point in summary.points if point.flags),
    )


def _value(summary: ModelSummary, key: str, point: PointKey | None = None) -> float | None:
    found = summary.estimate(key, point)
    return found.value if found is not None and found.value > 0 else None


def memory_at(summary: ModelSummary, at: PointKey) -> float | None:
    """Bytes of the weights and of the cache of all requests in flight, each with its whole prompt and output.

    weights + concurrency * (cache of prompt + output tokens + recurrent state of a sequence). Weights are those of the
    checkpoint as measured, else counted in the precision that was served. None where the load has no concurrency, or
    the structure or the form of weights or cache is not known. Source: definition; see `accounting.kv_bytes`.
    """
    return _memory(_weights(summary), _sequence_bytes(summary, at), at)


def _memory(weights: float | None, sequence: float | None, at: PointKey) -> float | None:
    if weights is None or sequence is None or at.concurrency is None:
        return None
    return weights + at.concurrency * sequence


def _weights(summary: ModelSummary) -> float | None:
    measured = _value(summary, "weights_bytes")
    if measured is not None:
        return measured
    model, _ = served_model(summary.subject, summary.config, summary.architecture)
    return weight_bytes(model.architecture, model.precision) if model else None


def _sequence_bytes(summary: ModelSummary, at: PointKey) -> float | None:
    element = cache_element_bytes(summary.subject, summary.config)
    if summary.architecture is None or element is None:
        return None
    return sequence_bytes(summary.architecture, at, element)


def sequence_bytes(architecture: Architecture, at: PointKey, element_bytes: float) -> float:
    """Bytes that one request keeps in the cache when its output ends, its recurrent state included."""
    context = at.prompt_tokens + at.output_tokens
    return kv_bytes(architecture, context, element_bytes) + state_bytes(architecture, element_bytes)


def _quality(summary: ModelSummary, score: str) -> tuple[float | None, str]:
    """The score from 0 to 1, or why there is none."""
    if summary.subject.weights == "dummy":
        return None, "dummy weights know nothing"
    found = summary.estimate(score)
    if found is None:
        return None, summary.no_mean_score if score == "mean_score" else "not scored"
    task = summary.scores.get(score.removeprefix("score:"))
    if task is not None and not task.higher_is_better:
        return None, "a score of which less is better"
    if not 0 <= found.value <= 1:
        return None, "not a score from 0 to 1"
    return found.value, ""


# Scores of the same questions ------------------------------------------------------------------------------------


def scores_of(summary: ModelSummary, score: str) -> dict[str, TaskScore]:
    """The tasks that make up a score by its key, `mean_score` or `score:<task>`."""
    tasks = summary.mean_tasks if score == "mean_score" else (score.removeprefix("score:"),)
    return {task: summary.scores[task] for task in tasks if task in summary.scores}


def shared_items(a: TaskScore, b: TaskScore) -> list[str]:
    """The items that both were asked, in order, where the items of one include those of the other.

    Empty where they do not, or where the scores are not the same mean of their items, and for groups of trainings:
    these cannot be paired.
    """
    if a.forms or b.forms:
        return []
    shared = a.items.keys() & b.items.keys()
    included = bool(shared) and len(shared) == min(len(a.items), len(b.items))
    return sorted(shared) if included and a.weighting == b.weighting != "reported" else []


def asked_differently(a: TaskScore, b: TaskScore, *, ranked: bool = False) -> str:
    """In what two scores of a task were asked or scored differently, with both values; empty where in nothing.

    A task file is told by its name and by what it holds. Of groups every form that a training was asked counts, and
    their shares have to be the same. Whole values are held against each other; only what is shown of them is cut.
    More items are no difference where those that both were asked can be paired, unless it is for ranks, of which the
    values themselves decide.
    """
    if a.asked == b.asked:
        return ""
    paired = not ranked and bool(shared_items(a, b))
    found = []
    for place, words in enumerate(_ASKED[:-1] if paired else _ASKED):
        one, other = ({asked[place] for asked, _ in score.asked} for score in (a, b))
        if one != other:
            shown, beside = (listed(sorted({_said(value, words) for value in side})) for side in (one, other))
            beside = beside if beside != shown else "another that begins alike"
            found.append(f"{words} {shown} against {beside}")
    if found or paired:
        return listed(found)
    forms, others = ({asked for asked, _ in score.asked} for score in (a, b))
    if forms == others:
        return "the same forms in other shares of the trainings"
    return "the same settings in other combinations"


def tasks_differ(a: Mapping[str, TaskScore], b: Mapping[str, TaskScore], *, ranked: bool = False) -> str:
    """In what the tasks of two scores (`scores_of`) differ, in words; empty where they are of the same questions.

    `ranked` as for `asked_differently`.
    """
    if a.keys() != b.keys():
        return "not of the same tasks"
    found = ((task, asked_differently(a[task], b[task], ranked=ranked)) for task in a)
    return "; ".join(f"{plain(task, 60)}: {words}" for task, words in found if words)


_ASKED = ("metric", "better", "examples", "chat template", "task", "task file", "task version", "items")
"""The fields of `Asked` in words, in their order."""


def _said(value: object, field: str) -> str:
    if field == "better":
        return "higher" if value else "lower"
    if field == "task file":
        return "unknown" if value is None else plain(str(value).removeprefix("sha256:"), 12)
    if field == "items" and value is None:
        return "not told"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "as the task says" if value is None else plain(str(value), 60)
