"""Which models are held against each other, and the card that shows each pair."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness import wording as words
from harness.compare import Comparison, Effect, compare, match
from harness.pages.parts import Link, Value
from harness.pages.suite_view import SuiteView
from harness.quantities import capitalised, plain
from harness.summary import ModelSummary

_REMARKS = 3
_NARROWEST_RATIO = math.log(1.1)
_NARROWEST_DIFFERENCE = 0.02
_WORDS = {
    "better": "better", "worse": "worse", "indistinguishable": "no difference shown",
    "insufficient data": "too few repeats",
}


@dataclass(frozen=True)
class EffectBar:
    """One effect as a line around the middle, which means equal; positions are percent of the width."""

    title: str
    value: Value
    verdict: str
    low: str
    high: str
    at: str


@dataclass(frozen=True)
class Card:
    """One pair of a sparse and a dense model."""

    sparse: Link
    dense: Link
    matching: str
    sentence: str
    crossover: str
    """Where one overtakes the other; empty where no workload was measured on both in closed loops."""
    href: str
    """The page of the pair."""
    effects: tuple[EffectBar, ...]
    missing: str


def pairs_of(
    subjects: Sequence[ModelSummary], named: Iterable[tuple[str, str]] = ()
) -> tuple[Comparison, ...]:
    """The named pairs, then every sparse model with the dense one nearest in active and the one nearest in total size.

    Nearest by counted parameters, and within 10 %, beyond which nothing is matched. Models without any measurement, or
    with random weights, are matched only where they are named.
    """
    by_name = {one.model: one for one in subjects}
    subjects = [one for one in subjects if _has_evidence(one)]
    pairs = {(a, b): None for a, b in named if a in by_name and b in by_name}
    dense = [one for one in subjects if one.is_moe is False]
    for sparse in (one for one in subjects if one.is_moe):
        for kind in ("iso-active", "iso-total"):
            fitting = [(one, match(sparse, one)) for one in dense if kind in match(sparse, one).kinds]
            if fitting:
                nearest = min(fitting, key=lambda entry: _mismatch(entry[1].active_ratio, entry[1].total_ratio, kind))
                pairs.setdefault((sparse.model, nearest[0].model))
    return tuple(compare(by_name[a], by_name[b]) for a, b in pairs)


def _has_evidence(model: ModelSummary) -> bool:
    return bool(model.points or model.scores) and model.subject.weights != "dummy"


def _mismatch(active: float | None, total: float | None, kind: str) -> float:
    ratio = active if kind == "iso-active" else total
    return abs(math.log(ratio)) if ratio else math.inf


def partners_of(model: ModelSummary, pairs: Iterable[Comparison]) -> tuple[ModelSummary, ...]:
    """What a model, or its recipe, is held against."""
    names = {model.model, model.group} - {None}
    found = [pair.b if pair.a.model in names else pair.a for pair in pairs if {pair.a.model, pair.b.model} & names]
    return tuple({one.model: one for one in found}.values())


def unmatched_note(subjects: Sequence[ModelSummary], pairs: Iterable[Comparison]) -> str:
    """Which sparse models have no dense partner."""
    paired = {pair.a.model for pair in pairs}
    alone = [plain(one.model, 60) for one in subjects if one.is_moe and one.model not in paired and _has_evidence(one)]
    return f"No dense model is within 10 % of the active or total parameters of {', '.join(alone)}." if alone else ""


def card_of(view: SuiteView, pair: Comparison, crossovers: Sequence[str], href: str) -> Card:
    """The card of one comparison, whose page is at `href`; `crossovers` are sentences."""
    effects = _chosen_effects(view, pair)
    widest = max((_reach(one) for one in effects if one.kind == "ratio"), default=0.0)
    remarks = [*pair.missing, *dict.fromkeys(pair.caveats)]
    more = f"; {len(remarks) - _REMARKS} more on its page" if len(remarks) > _REMARKS else ""
    return Card(
        sparse=view.link(pair.a),
        dense=view.link(pair.b),
        matching=matching_text(pair),
        sentence=plain(words.sentence(pair), 900),
        crossover=" ".join(crossovers),
        href=href,
        effects=tuple(_bar(one, widest) for one in effects),
        missing=plain("; ".join(remarks[:_REMARKS]), 700) + f"{more}." if remarks else "",
    )


def matching_text(pair: Comparison) -> str:
    """How far two models match in size, in words."""
    words = {"iso-active": "equal active parameters", "iso-total": "equal total parameters"}
    label = " and ".join(words[kind] for kind in pair.matching.kinds) or pair.matching.label
    return capitalised(f"{label}: {pair.matching.mismatch}")


def _chosen_effects(view: SuiteView, pair: Comparison) -> list[Effect]:
    """Quality; output speed at the lowest, a middle and the highest shared load; memory; FLOPs."""
    speed = [one for one in pair.effects if one.metric == "output_tokens_per_s"]
    if view.point:
        speed = [one for one in speed if one.point and one.point.workload == view.point.workload] or speed
    speed = [one for one in speed if one.point and one.point.kind == "closed"] or speed
    speed.sort(key=lambda one: one.point.level if one.point else 0)
    middle = {0, len(speed) // 2, len(speed) - 1}
    score = pair.effect(view.score) or pair.effect("mean_score")
    rest = [pair.effect(key) for key in ("device_peak_bytes", "resident_peak_bytes", "weights_bytes")]
    memory = next(([one] for one in rest[:2] if one), []) + [one for one in rest[2:] if one]
    flops = pair.effect("decode_flops_per_token")
    chosen = [score, *(one for index, one in enumerate(speed) if index in middle), *memory, flops]
    return [one for one in chosen if one is not None]


def _bar(effect: Effect, widest: float) -> EffectBar:
    contrast = effect.contrast
    low, high = (contrast.value if end is None else end for end in (contrast.low, contrast.high))
    reach = max(widest, _NARROWEST_RATIO) if effect.kind == "ratio" else max(_reach(effect), _NARROWEST_DIFFERENCE)
    places = [f"{50 + 47 * _distance(effect, end) / reach:.2f}" for end in (low, high, contrast.value)]
    interval = "" if contrast.low is None or effect.exact else f"{words.interval(effect)}, "
    value = Value(effect_value(effect), interval)
    verdict = verdict_words(effect) + (", counted" if effect.exact else "")
    return EffectBar(_effect_title(effect), value, verdict, *places)


def effect_value(effect: Effect) -> str:
    """An effect with its unit: "1.32 ×", "+2.1 points"."""
    unit = "\u202f\u00d7" if effect.kind == "ratio" else " points" if words.in_points(effect) else ""
    return words.effect_size(effect, effect.contrast.value) + unit


def verdict_words(effect: Effect) -> str:
    """A verdict as the pages word it."""
    return _WORDS[effect.verdict]


def _effect_title(effect: Effect) -> str:
    if effect.metric == "output_tokens_per_s" and effect.point:
        concurrency = effect.point.concurrency
        return f"Tokens/s, {effect.point.words}" if concurrency is None else f"Tokens/s at {concurrency}"
    return {"weights_bytes": "Weights", "decode_flops_per_token": "FLOPs/token", "resident_peak_bytes": "Memory peak",
            "device_peak_bytes": "Memory peak"}.get(effect.metric, plain(effect.title, 40))


def _distance(effect: Effect, end: float) -> float:
    return math.log(max(end, 1e-9)) if effect.kind == "ratio" else end


def _reach(effect: Effect) -> float:
    ends = (effect.contrast.low, effect.contrast.high, effect.contrast.value)
    return max(abs(_distance(effect, end)) for end in ends if end is not None)

