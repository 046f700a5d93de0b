"""Two summaries held against each other: how far they match in size, and what differs by how much for certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.caveats import caveats_of
from harness.items import subtask_of
from harness.matching import Matching, match
from harness.metrics import METRICS, Better
from harness.paired import MIN_PAIRED_ITEMS, paired_difference
from harness.quantities import count_of
from harness.sizes import asked_differently, memory_at, shared_items
from harness.stats import (
    CONFIDENCE,
    Contrast,
    Estimate,
    counted,
    difference_of_estimates,
    difference_of_means,
    holm,
    mean_of_contrasts,
    ratio_of_means,
)
from harness.suite import MatchKind
from harness.summary import ModelSummary, OperatingPoint, PointKey, TaskScore, same_hardware, samples_of

_TIMED = (
    "output_tokens_per_s", "ttft_p50_s", "tpot_p50_s", "goodput_requests_per_s", "usd_per_million_output_tokens",
    "joules_per_output_token",
)
_OF_ARRIVALS = ("output_tokens_per_s", "usd_per_million_output_tokens")
"""What arrivals set where these are given, in open loops and replays, whatever is served: comparing it there would only
cost the others power."""
_COSTS = ("usd_per_million_output_tokens", "joules_per_output_token", "device_peak_bytes", "resident_peak_bytes")
_MEMORY = ("device_peak_bytes", "resident_peak_bytes")
_COUNTED = ("weights_bytes", "kv_bytes_per_token")
_ROUNDING = 1e-6

Verdict = Literal["better", "worse", "indistinguishable", "insufficient data"]
Family = Literal["mean score", "tasks", "speed", "latency", "memory and cost", "counted"]
"""What is tested together; see `compare`. Counted effects need no test."""


@dataclass(frozen=True)
class Effect:
    """One metric of a beside b. `contrast` is a / b where `kind` is ratio, a - b where it is difference."""

    metric: str
    """A key of `METRICS`, or `score:<task>`."""
    title: str
    point: PointKey | None
    kind: Literal["ratio", "difference"]
    better: Better
    a: Estimate
    b: Estimate
    contrast: Contrast
    exact: bool
    """Whether both sides are counted, so that any difference is real."""
    adjusted_p: float | None
    """Holm's p over all tested effects of the family."""
    verdict: Verdict
    """Of a."""
    family: Family = "counted"

    @property
    def null(self) -> float:
        """The contrast of two equal sides."""
        return 1.0 if self.kind == "ratio" else 0.0

    @property
    def over_shared(self) -> bool:
        """Whether a difference is over the items that both were asked, of which one was asked more than the other."""
        apart = self.contrast.value - (self.a.value - self.b.value)
        return self.kind == "difference" and abs(apart) > _ROUNDING


@dataclass(frozen=True)
class Comparison:
    """Everything in which two summaries can be compared, and what cannot be, with the reason."""

    a: ModelSummary
    b: ModelSummary
    matching: Matching
    effects: tuple[Effect, ...]
    missing: tuple[str, ...]
    caveats: tuple[str, ...]
    score: str = "mean_score"
    """The key of the score that stands for quality."""
    about: tuple[MatchKind, ...] = ()
    """The kinds in which the suite means the two to be alike; empty where it does not say."""

    def effect(self, metric: str, point: PointKey | None = None) -> Effect | None:
        """The effect on a metric; for a serving metric without a point, at the highest shared concurrency."""
        found = [one for one in self.effects if one.metric == metric and point in (None, one.point)]
        return max(found, key=_load_of, default=None)

    def tested(self, family: Family) -> int:
        """How many effects of a family were tested, for which Holm's p makes up."""
        return sum(one.family == family and one.adjusted_p is not None for one in self.effects)


def _load_of(effect: Effect) -> int:
    """The concurrency of an effect, 0 where it has none."""
    return (effect.point.concurrency or 0) if effect.point else 0


def compare(
    a: ModelSummary, b: ModelSummary, *, score: str = "mean_score", about: Sequence[MatchKind] = ()
) -> Comparison:
    """Compares a with b, from a's view; `score` is the key of the one that stands for quality.

    Speed, memory and cost are ratios of means over repeats; scores are differences, paired on the same items where one
    model's items include the other's. Not compared are timings on different accelerators, flagged points, the output
    rate and its price in open loops and replays, which are those of the arrivals, scores of dummy weights, and scores
    of other task files or otherwise asked. Models or groups of trainings can be given; a group's spread is over its
    trainings, of which a single model beside it is one (`samples_of`). `about` are the kinds of matching that the suite
    asks for.

    An effect is better or worse only where its 95 % interval excludes equality and Holm's p over the tested effects of
    its family is below 0.05. The families are the questions that a reader puts to a pair, each of which may be answered
    wrongly once in twenty times however many effects are asked for its answer: the mean score alone (the one figure
    for quality, named before anything was measured, so that it need not share its chances with the tasks), the tasks,
    speed (the output rate of closed loops and batches), latency (what a single request sees at every load, and
    goodput), and memory and cost. The correction stays within a pair: a verdict may not depend on what else a site
    shows, or two pages, or a page and the terminal, would contradict each other over the same records. So of many pairs
    without a difference one in twenty still has a false verdict in a given family; which pairs are looked at is the
    reader's choice, and Holm's p is there to be corrected further.
    """
    missing: list[str] = []
    matching = match(a, b, score=score)
    effects = _counted_effects(a, b, matching.load)
    if same_hardware(a, b):
        effects += _memory_effects(a, b) + _timed_effects(a, b, missing)
    else:
        hardware = f"{a.subject.accelerator} and {b.subject.accelerator}"
        kind = "different" if a.subject.accelerator != b.subject.accelerator else "unknown"
        missing.append(f"speed and memory: measured on {kind} hardware ({hardware})")
    effects += _score_effects(a, b, missing)
    matching = _as_tested(matching, effects)
    return Comparison(
        a, b, matching, _judged(effects), tuple(missing), tuple(caveats_of(a, b)), score, tuple(about),
    )


def score_effect(a: ModelSummary, b: ModelSummary, score: str) -> Effect | None:
    """The effect on one score by its key alone: one question, whose p needs no correction. None without one."""
    found = [effect for effect in _score_effects(a, b, []) if effect.metric == score]
    return _judged(found)[0] if found else None


def on_same_items(a: ModelSummary, b: ModelSummary, score: str) -> bool:
    """Whether a score of two models is of exactly the same items, which are known."""
    tasks = a.mean_tasks if score == "mean_score" else (score.removeprefix("score:"),)
    scores = [(a.scores.get(task), b.scores.get(task)) for task in tasks]
    return bool(scores) and all(one and other and one.items and one.items.keys() == other.items.keys()
                                for one, other in scores)


def _as_tested(matching: Matching, effects: Sequence[Effect]) -> Matching:
    """The matching whose difference of scores is that of the effect, so that a pair has one, also when rounded."""
    tested = {effect.metric: effect for effect in effects}
    return replace(matching, matches=tuple(
        replace(one, difference=tested[one.score].contrast.value, over_shared=tested[one.score].over_shared)
        if one.score in tested else one for one in matching.matches
    ))


def _effect(metric: str, a: Estimate, b: Estimate, contrast: Contrast, point: PointKey | None = None) -> Effect:
    known = METRICS[metric.split(":", 1)[0]]
    return Effect(
        metric=metric,
        title=metric.removeprefix("score:") if metric.startswith("score:") else known.title,
        point=point,
        kind="difference" if known.scenario == "quality" else "ratio",
        better=known.better,
        a=a,
        b=b,
        contrast=contrast,
        exact=False,
        adjusted_p=None,
        verdict="insufficient data",
        family=_family(metric),
    )


def _family(metric: str) -> Family:
    if metric == "mean_score":
        return "mean score"
    if metric.startswith("score:"):
        return "tasks"
    if metric == "output_tokens_per_s":
        return "speed"
    return "memory and cost" if metric in _COSTS else "latency" if metric in _TIMED else "counted"


def _counted_effects(a: ModelSummary, b: ModelSummary, at: PointKey | None) -> list[Effect]:
    """Weights and cache a token; at the load of the matching FLOPs, and memory with all requests."""
    rows: list[tuple[str, PointKey | None, Estimate | None, Estimate | None]]
    rows = [(metric, None, a.estimate(metric), b.estimate(metric)) for metric in _COUNTED]
    if at is not None:
        flops = "decode_flops_per_token"
        rows.append((flops, at, a.estimate(flops, at), b.estimate(flops, at)))
        rows.append(("weights_and_cache_bytes", at, _memory_estimate(a, at), _memory_estimate(b, at)))
    effects = []
    for metric, point, of_a, of_b in rows:
        if of_a is None or of_b is None or not of_b.value:
            continue
        if _varies(of_a) or _varies(of_b):  # trainings of a recipe that are not of one size
            effect = _ratio_effect(metric, (a, b), (of_a, of_b), point)
            effects += [effect] if effect else []
            continue
        ratio = of_a.value / of_b.value
        contrast = Contrast(ratio, ratio, ratio, None, "counted on both sides")
        effects.append(replace(_effect(metric, of_a, of_b, contrast, point), exact=True))
    return effects


def _varies(estimate: Estimate) -> bool:
    """Whether a count is a mean of different counts."""
    return len(set(estimate.values)) > 1


def _memory_estimate(model: ModelSummary, at: PointKey) -> Estimate | None:
    weights, found = model.memory.get("weights_bytes"), memory_at(model, at)
    return None if found is None or (weights is not None and _varies(weights)) else counted(found)


def _ratio_effect(
    metric: str, models: tuple[ModelSummary, ModelSummary], estimates: tuple[Estimate, Estimate],
    point: PointKey | None = None,
) -> Effect | None:
    of_a, of_b, unit = samples_of(*models, *estimates)
    if not of_a or not of_b or min(*of_a, *of_b) <= 0:
        return None
    return _effect(metric, *estimates, ratio_of_means(of_a, of_b, unit), point)


def _memory_effects(a: ModelSummary, b: ModelSummary) -> list[Effect]:
    """The devices' peak where both have one, else the host's.

    A device's peak says what the engine was told to reserve, unless both were given the same key-value cache.
    """
    for metric in _MEMORY:
        if metric == "device_peak_bytes" and (a.cache_given is None or a.cache_given != b.cache_given):
            continue
        one, other = a.estimate(metric), b.estimate(metric)
        effect = _ratio_effect(metric, (a, b), (one, other)) if one and other else None
        if effect:
            return [effect]
    return []


def _timed_effects(a: ModelSummary, b: ModelSummary, missing: list[str]) -> list[Effect]:
    effects = []
    for key in sorted({point.key for point in (*a.points, *b.points)}):
        at_a, at_b = a.point(key), b.point(key)
        if at_a is None or at_b is None or at_a.flags or at_b.flags:
            reason = _why_no_speed(a.model, at_a) or _why_no_speed(b.model, at_b)
            missing.append(f"{key.name}, {key.words}: {reason}")
            continue
        for metric in _TIMED:
            if key.at_given_arrivals and metric in _OF_ARRIVALS:
                continue
            one, other = at_a.estimates.get(metric), at_b.estimates.get(metric)
            effect = _ratio_effect(metric, (a, b), (one, other), key) if one and other else None
            if effect:
                effects.append(effect)
            elif one and other and metric == "goodput_requests_per_s":
                missing.append(f"{key.name}, {key.words}: goodput, as a repeat has no request within the limits")
    return effects


def _why_no_speed(model: str, point: OperatingPoint | None) -> str:
    """Why a point's timings cannot be compared; empty where they can. A spoiled measurement compares other work."""
    if point is None:
        return f"{model} was not measured"
    return f"{model}: {'; '.join(point.flags)}" if point.flags else ""


def _score_effects(a: ModelSummary, b: ModelSummary, missing: list[str]) -> list[Effect]:
    """One effect a shared task, and the mean score where both have one of the same tasks."""
    if "dummy" in (a.subject.weights, b.subject.weights):
        missing.append("scores: dummy weights know nothing")
        return []
    effects: dict[str, Effect] = {}
    for task in dict.fromkeys((*a.scores, *b.scores)):
        one, other = a.scores.get(task), b.scores.get(task)
        if one is None or other is None:
            missing.append(f"{task}: {a.model if one is None else b.model} was not scored")
        elif differs := asked_differently(one, other):
            missing.append(f"{task}: asked or scored differently ({differs})")
        else:
            better: Better = "higher" if one.higher_is_better else "lower"
            contrast = _score_contrast(a, b, one, other)
            effect = _effect(f"score:{task}", one.estimate, other.estimate, contrast)
            effects[task] = replace(effect, better=better)
    if a.mean_score and b.mean_score:
        tasks = [effects[task] for task in a.mean_tasks if task in effects]
        if a.mean_tasks != b.mean_tasks:
            missing.append("mean score: not of the same tasks")
        elif len(tasks) == len(a.mean_tasks):
            contrast = _mean_contrast(a, b, a.mean_score, b.mean_score, tasks)
            return [*effects.values(), _effect("mean_score", a.mean_score, b.mean_score, contrast)]
    return list(effects.values())


def _score_contrast(a: ModelSummary, b: ModelSummary, one: TaskScore, other: TaskScore) -> Contrast:
    """Paired where both scores are the same mean of the same items, or where one model's items include the other's."""
    if a.members or b.members:
        return _between_trainings(a, b, one.estimate, other.estimate)
    shared = shared_items(one, other)
    if not shared or one.weighting == "reported":
        return _unpaired(one.estimate, other.estimate)
    subtasks = [subtask_of(key) for key in shared]
    of_a, of_b = ([side.items[key] for key in shared] for side in (one, other))
    return paired_difference(of_a, of_b, subtasks, one.weighting)


def _unpaired(a: Estimate, b: Estimate) -> Contrast:
    """From both intervals; with as few items as a paired test would refuse there is none either."""
    fewest = min((n for n in (a.n, b.n) if n), default=MIN_PAIRED_ITEMS)  # 0 where the number is not known
    if fewest < MIN_PAIRED_ITEMS:
        basis = f"unpaired, {count_of(fewest, 'item')} on a side, too few for an interval"
        return Contrast(a.value - b.value, None, None, None, basis)
    return difference_of_estimates(a, b)


def _between_trainings(a: ModelSummary, b: ModelSummary, one: Estimate, other: Estimate) -> Contrast:
    return difference_of_means(*samples_of(a, b, one, other))


def _mean_contrast(
    a: ModelSummary, b: ModelSummary, one: Estimate, other: Estimate, tasks: list[Effect]
) -> Contrast:
    """From the tasks' own differences where both are plain means of the tasks, so that pairs and shared items stay."""
    if a.members or b.members:
        return _between_trainings(a, b, one, other)
    contrasts = [task.contrast for task in tasks]
    if len(tasks) == 1:
        return contrasts[0]
    sums = sum(task.a.value for task in tasks), sum(task.b.value for task in tasks)
    of_tasks = zip((one, other), sums, strict=True)
    if all(abs(side.value - total / len(tasks)) <= _ROUNDING for side, total in of_tasks):
        basis = f"unweighted mean of {len(tasks)} tasks' differences, their variances added"
        return mean_of_contrasts(contrasts, basis)
    return difference_of_estimates(one, other)


def _judged(effects: list[Effect]) -> tuple[Effect, ...]:
    """The effects with Holm's p within their families and their verdicts."""
    families: dict[Family, list[int]] = {}
    for index, effect in enumerate(effects):
        if effect.contrast.p_value is not None:
            families.setdefault(effect.family, []).append(index)
    adjusted: dict[int, float] = {}
    for tested in families.values():
        adjusted |= zip(tested, holm([effects[i].contrast.p_value or 0.0 for i in tested]), strict=True)
    return tuple(
        replace(effect, adjusted_p=adjusted.get(index), verdict=_verdict(effect, adjusted.get(index)))
        for index, effect in enumerate(effects)
    )


def _verdict(effect: Effect, adjusted_p: float | None) -> Verdict:
    low, high = effect.contrast.low, effect.contrast.high
    if low is None or high is None or (adjusted_p is None and not effect.exact):
        return "insufficient data"
    if low <= effect.null <= high or (adjusted_p is not None and adjusted_p >= 1 - CONFIDENCE):
        return "indistinguishable"
    return "better" if (low > effect.null) == (effect.better == "higher") else "worse"
