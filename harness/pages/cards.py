"""A pair with all that is said of it, and the card that shows it in a few lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harness import wording as words
from harness.answer import Answer, answer, memory_effect, whole_score
from harness.compare import Comparison, Effect, compare
from harness.crossover import Crossover, crossovers
from harness.matching import MATCH_NOUNS, Match, Pairing
from harness.pages.parts import Link, Value
from harness.pages.suite_view import SuiteView, kind_of
from harness.quantities import capitalised, listed, plain
from harness.speed_words import speed_curve
from harness.suite import MatchKind

_REMARKS = 2
_NARROWEST = {"ratio": math.log(1.1), "difference": 0.02}
_WIDEST_RATIO = math.log(8.0)
"""How far bars reach at least, and those of ratios at most: one pair far off should not shrink all others to dots."""


@dataclass(frozen=True)
class Pair:
    """Two models that are held against each other, what is said of them, and their page."""

    pairing: Pairing
    comparison: Comparison
    crossings: tuple[Crossover, ...]
    answer: Answer
    path: str

    @property
    def kinds(self) -> tuple[MatchKind, ...]:
        """The kinds of matching that the pair is about: alike ones, those it is nearest in, those the suite names."""
        wanted = {*self.comparison.matching.kinds, *self.pairing.kinds, *self.pairing.about}
        return tuple(kind for kind in MATCH_NOUNS if kind in wanted)

    @property
    def is_sparse_against_dense(self) -> bool:
        """Whether the pair is one of a sparse and a dense model; those that a suite names may be any two."""
        return self.pairing.a.is_moe is True and self.pairing.b.is_moe is False


def pair_of(pairing: Pairing, path: str, score: str = "mean_score") -> Pair:
    """Everything that is said of a pair with its page at `path`; `score` is the key of the one for quality."""
    comparison = compare(pairing.a, pairing.b, score=score, about=pairing.about)
    crossings = crossovers(pairing.a, pairing.b)
    return Pair(pairing, comparison, crossings, answer(comparison, crossings), path)


class Shown(NamedTuple):
    """The effects that stand for a pair; None where they were not compared.

    The output rates are those at the lowest, a middle and the highest load of the workload with most shared loads.
    """

    quality: Effect | None
    low: Effect | None
    middle: Effect | None
    high: Effect | None
    memory: Effect | None
    cost: Effect | None


def shown_of(comparison: Comparison) -> Shown:
    """The effects that stand for a comparison."""
    curve = speed_curve(comparison)
    return Shown(
        whole_score(comparison),
        curve[0] if len(curve) > 1 else None,
        curve[len(curve) // 2] if len(curve) > 2 else None,
        curve[-1] if curve else None,
        memory_effect(comparison),
        comparison.effect("usd_per_million_output_tokens"),
    )


# Cards -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EffectBar:
    """One effect as a line around the middle, which means equal; positions are percent of the width."""

    title: str
    value: Value
    """Its evidence is without the beginnings of both names, which the card has."""
    verdict: str
    low: str
    high: str
    at: str


@dataclass(frozen=True)
class Card:
    """One pair: a sparse and a dense model, or any two that the suite names."""

    sparse: Link
    dense: Link
    kinds: tuple[str, str]
    """The shapes of both."""
    matching: str
    sentence: str
    crossover: str
    """Of workloads whose crossover the sentence does not tell."""
    href: str
    """The page of the pair."""
    effects: tuple[EffectBar, ...]
    missing: str
    sides: str
    """How the names of the evidence of both begin."""


def scale_of_bars(pairs: Iterable[Pair]) -> tuple[dict[str, float], str]:
    """How far the bars of all cards reach from the middle, by kind of effect, and the same in words.

    Ratios reach as far as their logarithm, which is cut at a factor of 8; differences in their own unit.
    """
    reach, told = dict(_NARROWEST), {"difference": "", "ratio": ""}
    widest: dict[str, tuple[float, Effect]] = {}
    for effect in (one for pair in pairs for one in shown_of(pair.comparison) if one is not None):
        if effect.kind not in widest or _reach(effect) > widest[effect.kind][0]:
            widest[effect.kind] = (_reach(effect), effect)
    for kind, (found, effect) in widest.items():
        reach[kind] = min(max(found, reach[kind]), _WIDEST_RATIO if kind == "ratio" else math.inf)
        ends = (math.exp(-reach[kind]), math.exp(reach[kind])) if kind == "ratio" else (-reach[kind], reach[kind])
        told[kind] = " to ".join(words.effect_size(effect, end) for end in ends) + words.unit_of(effect)
    return reach, " and ".join(part for part in told.values() if part)


def card_of(view: SuiteView, pair: Pair, reach: Mapping[str, float]) -> Card:
    """The card of a pair, its bars on a `scale_of_bars`."""
    effects = [one for one in shown_of(pair.comparison) if one is not None]
    return Card(
        sparse=view.link(pair.comparison.a),
        dense=view.link(pair.comparison.b),
        kinds=(kind_of(pair.comparison.a), kind_of(pair.comparison.b)),
        matching=matching_text(pair),
        sentence=plain(pair.answer.text, 1_200),
        crossover=plain(" ".join(pair.answer.crossovers), 900),
        href=pair.path,
        effects=tuple(_bar(one, reach[one.kind], rest_of_names(view, pair.comparison, one)) for one in effects),
        missing=_remarks(pair.comparison),
        sides=sides_of(view, pair.comparison),
    )


def _remarks(found: Comparison) -> str:
    """The first few of what was not compared, and of what to know of the rest, each in a sentence of its own."""
    missing, caveats = found.missing, tuple(dict.fromkeys(found.caveats))
    told, besides = missing[:_REMARKS], caveats[: max(0, _REMARKS - len(missing))]
    rest = len(missing) + len(caveats) - len(told) - len(besides)
    sentences = [f"Not compared: {plain('; '.join(told), 400)}."] if told else []
    sentences += [f"{capitalised(plain('; '.join(besides), 400))}."] if besides else []
    sentences += [f"{rest} more on its page."] if rest else []
    return " ".join(sentences)


def matching_text(pair: Pair) -> str:
    """In what a pair is alike, in what it is the nearest measured or asked for, and how far off its sizes are."""
    matching = pair.comparison.matching
    known = {match.kind: match for match in matching.matches}
    apart = [known[kind] for kind in pair.kinds if kind in known and kind not in matching.kinds]
    nearest, asked = ([one for one in apart if (one.kind in pair.pairing.kinds) == near] for near in (True, False))
    parts = [
        f"{likeness} {_with_mismatch(alike)}" for likeness in ("equal", "nearly equal")
        if (alike := [match for match in matching.matches if match.likeness == likeness])
    ]
    parts += [f"not equal but nearest measured in {_with_mismatch(nearest)}"] if nearest else []
    parts += [f"not equal but asked for in {_with_mismatch(asked)}"] if asked else []
    if not parts:
        parts = [f"{matching.label}: {matching.mismatch}"]
    return capitalised("; ".join(parts))


def _with_mismatch(matches: Iterable[Match]) -> str:
    return listed(f"{match.noun} ({match.size})" for match in matches)


def sides_of(view: SuiteView, pair: Comparison) -> str:
    """How the names of both models' evidence begin, parted by a blank; empty where either has none."""
    sides = [view.evidence_of.get((model.model, bool(model.members)), "") for model in (pair.a, pair.b)]
    return " ".join(sides) if all(sides) else ""


def rest_of_names(view: SuiteView, pair: Comparison, effect: Effect) -> str:
    """What follows `sides_of` in the names of both estimates of an effect; empty where they have none."""
    name = view.evidence(pair.a, effect.metric, effect.point) if sides_of(view, pair) else ""
    return name.split(".", 2)[2] if name else ""


def _bar(effect: Effect, reach: float, rest: str) -> EffectBar:
    contrast = effect.contrast
    low, high = (contrast.value if end is None else end for end in (contrast.low, contrast.high))
    shares = (max(-1.0, min(1.0, _distance(effect, end) / reach)) for end in (low, high, contrast.value))
    places = [f"{50 + 47 * share:.3g}" for share in shares]
    interval = "" if contrast.low is None or effect.exact else f"{words.interval(effect)}, "
    verdict = words.verdict_words(effect) + (", counted" if effect.exact else "")
    value = Value(words.effect_text(effect), interval, evidence=rest)
    return EffectBar(_effect_title(effect), value, verdict, *places)


def _effect_title(effect: Effect) -> str:
    at = f" at {effect.point.level:g}" if effect.point and effect.point.kind in ("closed", "open") else ""
    if effect.metric == "output_tokens_per_s" and effect.point:
        return f"Tokens/s{at}" if at else f"Tokens/s, {effect.point.words}"
    titles = {
        "weights_bytes": "Weights", "weights_and_cache_bytes": f"Memory{at}", "resident_peak_bytes": "Memory peak",
        "device_peak_bytes": "Memory peak", "usd_per_million_output_tokens": f"Cost{at}",
    }
    return titles.get(effect.metric, plain(effect.title, 40) + words.over_shared(effect))


def _distance(effect: Effect, end: float) -> float:
    return math.log(max(end, 1e-9)) if effect.kind == "ratio" else end


def _reach(effect: Effect) -> float:
    ends = (effect.contrast.low, effect.contrast.high, effect.contrast.value)
    return max(abs(_distance(effect, end)) for end in ends if end is not None)
