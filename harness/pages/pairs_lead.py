"""What the pairs of a suite say together: verdicts on the score and on the output rate over all loads, new leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from harness.compare import Effect
from harness.pages.cards import Pair
from harness.quantities import count_of, listed
from harness.speed_words import changes_lead, speed_curve
from harness.wording import MARKS, certain, effect_text, two_digits, verdict_words

NOT_COMPARED = "not compared"
_BOTH = "better at some and worse at other loads"
_OVER_LOADS = (
    "better at every compared load", "better at some loads", _BOTH, "worse at some loads",
    "worse at every compared load", "not told apart at any load", "too little data", NOT_COMPARED,
)


def pairs_lead(pairs: Sequence[Pair], scores: Sequence[Effect | None]) -> str:
    """The sentences; `scores` are the pairs' effects on the score that stands for quality.

    Pairs that a suite names and that are not of a sparse and a dense model are told of, but not counted.
    """
    counted = [(pair, score) for pair, score in zip(pairs, scores, strict=True) if pair.is_sparse_against_dense]
    told = _verdicts([pair for pair, _ in counted], [score for _, score in counted])
    if pairs and not counted:
        told = "No sparse model is held against a dense one."
    return " ".join(filter(None, (told, _not_counted(pairs))))


def _not_counted(pairs: Sequence[Pair]) -> str:
    """How many pairs are of which other models."""
    kinds = [(pair.pairing.a.is_moe, pair.pairing.b.is_moe) for pair in pairs if not pair.is_sparse_against_dense]
    both: dict[tuple[bool | None, bool | None], str]
    both = {(False, False): "two dense models", (True, True): "two sparse models"}
    found = Counter(both.get(kind, "models not both known to be sparse or dense") for kind in kinds)
    parts = [f"{count_of(number, 'named pair')} of {words}" for words, number in found.items()]
    return f"Not counted here: {listed(parts)}." if parts else ""


def _verdicts(pairs: Sequence[Pair], scores: Sequence[Effect | None]) -> str:
    words = [NOT_COMPARED if one is None else verdict_words(one) for one in scores]
    curves = [speed_curve(pair.comparison) for pair in pairs]
    over_loads = [over_loads_words(curve) for curve in curves]
    sentences = [_counted("Score of the sparse model", words, (*MARKS, NOT_COMPARED))]
    told = _counted(f"Its output tokens/s{_span_of_loads(curves)}", over_loads, _OVER_LOADS)
    told = told if sentences[0] else told.replace("Its output tokens/s", "Output tokens/s of the sparse model", 1)
    if told:
        sentences.append(f"{told[:-1]}{_range(curves)}{_changes(pairs, curves)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def over_loads_words(curve: Sequence[Effect]) -> str:
    """The verdicts of one pair over its loads in a few words."""
    sure = [effect.verdict for effect in curve if certain(effect)]
    if len(set(sure)) > 1:
        return _BOTH
    if sure:
        return f"{sure[0]} at {'every compared load' if len(sure) == len(curve) else 'some loads'}"
    if not curve:
        return NOT_COMPARED
    tested = any(effect.verdict == "indistinguishable" for effect in curve)
    return "not told apart at any load" if tested else "too little data"


def _counted(start: str, words: Sequence[str], order: Sequence[str]) -> str:
    """How many pairs have which words; nothing where none was compared."""
    found = [word for word in order if word in words]
    if not found or found == [NOT_COMPARED]:
        return ""
    counts = [f"{word} in {words.count(word)}" for word in found]
    counts[0] += f" of {count_of(len(words), 'pair')}"
    return f"{start}: {listed(counts)}."


def _span_of_loads(curves: Sequence[Sequence[Effect]]) -> str:
    """From where to where the loads of all pairs reach, where they are numbers of concurrent requests."""
    points = [effect.point for curve in curves for effect in curve if effect.point]
    if not points or any(point.kind != "closed" for point in points):
        return ""
    low, high = min(point.level for point in points), max(point.level for point in points)
    span = f"{low:g} to " if low < high else ""
    return f" at {span}{high:g} concurrent request{'' if high == 1 else 's'}"


def _range(curves: Sequence[Sequence[Effect]]) -> str:
    """The least and the largest ratio that is certain."""
    sure = sorted((one for curve in curves for one in curve if certain(one)), key=lambda one: one.contrast.value)
    if not sure:
        return ""
    ends = dict.fromkeys((effect_text(sure[0]), effect_text(sure[-1])))
    return f"; where they are told apart, it serves {' to '.join(ends)} the tokens"


class _Change(NamedTuple):
    """A change of the lead that is certain."""

    overtakes: bool
    at: float


def _changes(pairs: Sequence[Pair], curves: Sequence[Sequence[Effect]]) -> str:
    """In how many pairs the lead changes for sure on the workload of the curve, and at how many requests in flight."""
    found = []
    for pair, curve in zip(pairs, curves, strict=True):
        workloads = {effect.point.workload for effect in curve if effect.point}
        crossings = [one for one in pair.crossings if one.concurrency is not None and one.workload in workloads]
        sure = [one for one in crossings if changes_lead(pair.comparison, one)]
        found += [_Change(one.overtakes == one.a, one.concurrency or 0.0) for one in sure[:1]]
    text = ""
    for overtakes, verb in ((True, "overtakes"), (False, "is overtaken")):
        places = sorted(one.at for one in found if one.overtakes == overtakes)
        if places:
            ends = dict.fromkeys(two_digits(place, round) for place in (places[0], places[-1]))
            text += f"; it {verb} in {len(places)}, at about {' to '.join(ends)} concurrent requests"
    return text
