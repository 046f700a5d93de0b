"""In what a sparse and a dense model are alike, and the nearest dense baselines of every sparse one.

Six kinds: active parameters, all parameters, memory (weights and the cache of all requests in flight), FLOPs of a
decoded token, quality, and cost of the output. The first four are counted, the others measured. Two models count as
alike within 10 % of each other, of scores within 2 points, and are called nearly equal, since any difference of counts
is real; of quality and cost that is decided by the estimates, whatever their intervals. What is not alike may still be
the nearest there is, up to a factor of 2 or 10 points, beyond which no kind describes the pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from harness.quantities import listed, plain, ratio_words, signed_percent
from harness.sizes import Sizes, sizes_of, tasks_differ
from harness.suite import MatchKind, Suite
from harness.summary import ModelSummary, PointKey, same_hardware

MATCH_KINDS: tuple[MatchKind, ...] = get_args(MatchKind)
TOLERANCE = 0.10
"""How far above 1 a ratio, or its inverse, may be for both sides to count as alike. Costs have the same:
repeats of a load differ by 2 to 5 %, so that a tenth is beyond their noise and still the same price to a reader."""
TOLERANCE_POINTS = 0.02
"""How far apart two mean scores may be: about what one standard error of a few hundred items is, and less than what
the better of two models of like size usually gains."""
FARTHEST = 2.0
"""The largest ratio, either way, at which a model is still the nearest baseline of another."""
FARTHEST_POINTS = 0.10
_SLACK = 1e-9
"""So that rounding does not decide what lies on a limit."""

MATCH_NOUNS: dict[MatchKind, str] = {
    "iso-active": "active parameters", "iso-total": "total parameters", "iso-memory": "memory",
    "iso-flops": "decode FLOPs/token", "iso-quality": "score", "iso-cost": "cost",
}
"""In what two models are alike, in words."""
MEASURED: tuple[MatchKind, ...] = ("iso-quality", "iso-cost")
"""The kinds that are told by estimates; the others are counted."""
Likeness = Literal["equal", "nearly equal", "not equal"]
LIKENESS = (
    f"Equal is the same count. Nearly equal is within {100 * TOLERANCE:.0f} %, of scores within "
    f"{100 * TOLERANCE_POINTS:.0f} points: counts so near are called neither better nor worse; scores and costs are "
    "nearly equal by their estimates, and may all the same be told apart."
)
"""What the words on how two compare mean, wherever they are used."""


def likeness_of(ratio: float) -> Likeness:
    """What two counts are called, by their ratio, whichever is named first."""
    if ratio == 1:
        return "equal"
    return "nearly equal" if 1 / (1 + TOLERANCE) - _SLACK <= ratio <= 1 + TOLERANCE + _SLACK else "not equal"


def score_words(score: str) -> str:
    """A score by its key in words: "mean score", "score on facts"."""
    return "mean score" if score == "mean_score" else f"score on {plain(score.removeprefix('score:'), 60)}"


@dataclass(frozen=True, slots=True)
class Match:
    """How two models compare in one kind: a is the sparse one. Base units: parameters, bytes, FLOPs, dollars, shares.

    Memory is weights and cache in bytes, cost in US dollars per million output tokens.
    """

    kind: MatchKind
    a: float
    b: float
    at: PointKey | None = None
    """The load of memory, FLOPs and cost."""
    score: str = ""
    """The key of the score by which quality is matched."""
    difference: float | None = None
    """Of scores as it was tested, where that is known."""
    over_shared: bool = False
    """Whether the difference is over the items that both were asked, of which one was asked more."""

    @property
    def noun(self) -> str:
        """In what the two are compared, of quality with the score that stands for it."""
        return score_words(self.score) if self.score else MATCH_NOUNS[self.kind]

    @property
    def mismatch(self) -> float:
        """a / b, of scores a - b, where that was tested over the items that both were asked."""
        if self.kind == "iso-quality":
            return self.a - self.b if self.difference is None else self.difference
        return self.a / self.b

    @property
    def likeness(self) -> Likeness:
        """As every page words it; two estimates are at most nearly equal."""
        if self.kind not in MEASURED and self.a == self.b:
            return "equal"
        return "nearly equal" if self.equal else "not equal"

    @property
    def equal(self) -> bool:
        """Whether the two count as alike, whichever is named first."""
        if self.kind == "iso-quality":
            return abs(self.mismatch) <= TOLERANCE_POINTS + _SLACK
        return likeness_of(self.mismatch) != "not equal"

    @property
    def size(self) -> str:
        """The mismatch as a number with its unit: "0.98\u00d7", "+1.2 points"; estimates are never shown as equal."""
        quality = self.kind == "iso-quality"
        text = f"{signed_percent(self.mismatch)} points" if quality else ratio_words(self.mismatch)
        return f"\u2248{text}" if self.kind in MEASURED and text in ("0.0 points", "1.00\u00d7") else text

    @property
    def near(self) -> bool:
        """Whether b may be a baseline of a at all."""
        return distance_of(self.kind, self.a, self.b) <= farthest_of(self.kind)

    @property
    def words(self) -> str:
        """The mismatch from a's view: "0.98× the active parameters", "mean score 2.1 points below"."""
        if self.kind != "iso-quality":
            return f"{self.size} the {self.noun}"
        points = f"{100 * abs(self.mismatch):.1f}"
        over = " over the shared items" if self.over_shared else ""
        side = f"{points} points {'above' if self.mismatch > 0 else 'below'}" if float(points) else self.size
        return f"{self.noun} {side}{over}"


@dataclass(frozen=True)
class Matching:
    """How two models compare in every kind that is known, and why the others are not."""

    matches: tuple[Match, ...]
    unknown: Mapping[MatchKind, str] = field(default_factory=dict)
    load: PointKey | None = None
    """At which memory, FLOPs and cost are compared; None where the two share none."""

    def of(self, kind: MatchKind) -> Match | None:
        """The match of a kind, None where it is not known."""
        return next((match for match in self.matches if match.kind == kind), None)

    @property
    def kinds(self) -> tuple[MatchKind, ...]:
        """The kinds in which the two are alike."""
        return tuple(match.kind for match in self.matches if match.equal)

    @property
    def label(self) -> str:
        """The kinds in which the two are alike, "unmatched", or "not counted" where no parameters are known."""
        if self.kinds:
            return listed(self.kinds)
        return "not counted" if self.active_ratio is None else "unmatched"

    @property
    def mismatch(self) -> str:
        """Both ratios of parameters in words."""
        if self.active_ratio is None or self.total_ratio is None:
            return "parameters not counted"
        return f"{ratio_words(self.active_ratio)} the active and {ratio_words(self.total_ratio)} the total parameters"

    @property
    def active_ratio(self) -> float | None:
        """Active parameters, sparse / dense."""
        return self._ratio("iso-active")

    @property
    def total_ratio(self) -> float | None:
        """Total parameters, sparse / dense."""
        return self._ratio("iso-total")

    def _ratio(self, kind: MatchKind) -> float | None:
        match = self.of(kind)
        return match.mismatch if match else None


class Named(NamedTuple):
    """A pair that a suite names, and the kinds that it says the pair is about."""

    sparse: str
    dense: str
    kinds: tuple[MatchKind, ...] = ()


@dataclass(frozen=True)
class Pairing:
    """Two models to be held against each other. Where one is sparse and one dense, a is the sparse one."""

    a: ModelSummary
    b: ModelSummary
    kinds: tuple[MatchKind, ...]
    """Those in which b is the nearest measured dense baseline of a."""
    named: bool = False
    """Whether the suite asks for the pair."""
    about: tuple[MatchKind, ...] = ()
    """The kinds that the suite says the pair is about."""


# Matches ---------------------------------------------------------------------------------------------------------


def match(a: ModelSummary, b: ModelSummary, at: PointKey | None = None, *, score: str = "mean_score") -> Matching:
    """How a and b compare in all kinds.

    Memory, FLOPs and cost are those `at` a load, by default at the first of `Sizes.loads` (the largest closed loop
    first) that both were measured at without a flag, else at the first with one. `score` is the key of the estimate by
    which quality is matched.
    """
    one, other = sizes_of(a, score), sizes_of(b, score)
    load = _shared(one, other, at)
    matches: list[Match] = []
    unknown: dict[MatchKind, str] = {}
    for kind in MATCH_KINDS:
        found = _numbers(kind, one, other, load)
        if isinstance(found, str):
            unknown[kind] = found
        else:
            at_load, key = load if kind in AT_LOADS else None, score if kind == "iso-quality" else ""
            matches.append(Match(kind, *found, at_load, key))
    return Matching(tuple(matches), unknown, load)


def _shared(a: Sizes, b: Sizes, at: PointKey | None) -> PointKey | None:
    """The load at which two models are matched, None where they share none."""
    if at is not None:
        return at if at in a.loads and at in b.loads else None
    flagged = None
    for key in a.loads:
        if key in b.loads:
            if key not in a.flagged and key not in b.flagged:
                return key
            flagged = flagged or key
    return flagged


def _numbers(kind: MatchKind, a: Sizes, b: Sizes, at: PointKey | None) -> tuple[float, float] | str:
    """The numbers of both models in a kind, or why they cannot be told."""
    if kind in AT_LOADS and at is None:
        return "no load was measured on both"
    if kind == "iso-cost" and not same_hardware(a.summary, b.summary):
        return "measured on different or unknown hardware"
    one, other = number_of(a, kind, at), number_of(b, kind, at)
    if one is None or other is None:
        return _why_unknown(kind, a if one is None else b)
    if kind == "iso-quality" and a.asked != b.asked and (differs := tasks_differ(a.scores, b.scores)):
        return f"asked or scored differently: {differs}"
    return one, other


def number_of(sizes: Sizes, kind: MatchKind, at: PointKey | None) -> float | None:
    """The number of a model in a kind; None where it is not known."""
    if kind in AT_LOADS:
        load = sizes.loads.get(at) if at is not None else None
        return load.of(kind) if load is not None else None
    return {"iso-active": sizes.active, "iso-total": sizes.total}.get(kind, sizes.quality)


def _why_unknown(kind: MatchKind, sizes: Sizes) -> str:
    if kind == "iso-quality":
        reason = sizes.no_quality
    else:
        reason = _UNKNOWN.get(kind) or sizes.summary.uncounted or "not counted"
    return f"{sizes.summary.model}: {reason}"


AT_LOADS = ("iso-memory", "iso-flops", "iso-cost")
"""The kinds that depend on the load."""
_UNKNOWN: dict[MatchKind, str] = {
    "iso-memory": "the bytes of weights and cache at this load are not known", "iso-flops": "FLOPs are not counted",
    "iso-cost": "no cost is known at this load",
}


def distance_of(kind: MatchKind, a: float, b: float) -> float:
    """How far apart two numbers are, either way: of scores the difference, of others the log of the ratio."""
    return abs(a - b) if kind == "iso-quality" else abs(math.log(a / b))


def farthest_of(kind: MatchKind) -> float:
    """The largest distance at which one may still be the baseline of the other."""
    return (FARTHEST_POINTS if kind == "iso-quality" else math.log(FARTHEST)) + _SLACK


# Which models are held against each other ------------------------------------------------------------------------


def named_pairs(suite: Suite | None) -> tuple[Named, ...]:
    """The pairs that a suite names."""
    comparisons = suite.comparisons if suite is not None else ()
    return tuple(Named(one.sparse, dense, one.matching) for one in comparisons for dense in one.dense)


def about_of(named: Iterable[Named]) -> dict[frozenset[str], tuple[MatchKind, ...]]:
    """What each pair that a suite names is about, by the names of both, whichever is named first.

    A suite names no pair twice; of entries that do, the first counts.
    """
    found: dict[frozenset[str], tuple[MatchKind, ...]] = {}
    for one in named:
        found.setdefault(frozenset((one.sparse, one.dense)), one.kinds)
    return found


def left_out(
    named: Iterable[Named], subjects: Sequence[ModelSummary], models: Sequence[ModelSummary]
) -> tuple[tuple[Named, str], ...]:
    """The named pairs that are not held against each other, each with why, as the end of a sentence."""
    known = {one.model for one in subjects}
    found = []
    for one in named:
        reasons = [_why_absent(name, models) for name in (one.sparse, one.dense) if name not in known]
        if reasons:
            found.append((one, " and ".join(reasons)))
    return tuple(found)


def _why_absent(name: str, models: Sequence[ModelSummary]) -> str:
    """Why what a suite names is no subject of comparisons, where it is none."""
    trainings = [one.model for one in models if one.group == name]
    if trainings:
        return f"{name} is a recipe of which one training is known, {trainings[0]}"
    group = next((one.group for one in models if one.model == name), None)
    return f"{name} is a training of {group}, which is compared as a whole" if group else f"{name} has no results"


def has_evidence(model: ModelSummary) -> bool:
    """Whether anything was measured of a model that has learnt something."""
    return bool(model.points or model.scores) and model.subject.weights != "dummy"


def partners_of(model: ModelSummary, pairs: Iterable[Pairing]) -> tuple[ModelSummary, ...]:
    """What a model, or its recipe, is held against."""
    names = {model.model, model.group} - {None}
    found = [pair.b if pair.a.model in names else pair.a for pair in pairs if {pair.a.model, pair.b.model} & names]
    return tuple({one.model: one for one in found}.values())


def unmatched(subjects: Sequence[ModelSummary], pairs: Iterable[Pairing]) -> tuple[ModelSummary, ...]:
    """The measured sparse models that are held against nothing."""
    paired = {pair.a.model for pair in pairs}
    return tuple(one for one in subjects if one.is_moe and one.model not in paired and has_evidence(one))


def pairings(
    subjects: Sequence[ModelSummary],
    named: Iterable[Named] = (),
    at: PointKey | None = None,
    *,
    score: str = "mean_score",
) -> tuple[Pairing, ...]:
    """The named pairs, then every sparse model with its nearest dense baseline in each kind, each pair once.

    The nearest is the one with the least mismatch, as long as that is not beyond a factor of 2 (10 points of the
    score); of equally near ones the first by name. `at` and `score` as for `match`. Models without any measurement or
    with random weights appear only where they are named. Named pairs of unknown models are left out; see `left_out`.
    """
    by_name = {one.model: one for one in subjects}
    asked = [one for one in named if {one.sparse, one.dense} <= by_name.keys()]
    about = about_of(asked)
    sides: dict[frozenset[str], tuple[ModelSummary, ModelSummary]] = {}
    for one in asked:
        a, b = by_name[one.sparse], by_name[one.dense]
        turned = a.is_moe is False and bool(b.is_moe)
        sides.setdefault(frozenset((a.model, b.model)), (b, a) if turned else (a, b))
    kinds: dict[frozenset[str], list[MatchKind]] = {pair: [] for pair in sides}
    for sparse, kind, dense in _nearest(subjects, at, score):
        pair = frozenset((sparse, dense))
        sides.setdefault(pair, (by_name[sparse], by_name[dense]))
        kinds.setdefault(pair, []).append(kind)
    return tuple(
        Pairing(*sides[pair], tuple(found), pair in about, about.get(pair, ())) for pair, found in kinds.items()
    )


def _nearest(
    subjects: Sequence[ModelSummary], at: PointKey | None, score: str
) -> Iterator[tuple[str, MatchKind, str]]:
    """Each sparse model with a kind and the name of its nearest dense baseline in it."""
    sizes = [sizes_of(one, score) for one in subjects if has_evidence(one)]
    dense = sorted((one for one in sizes if one.summary.is_moe is False), key=lambda one: one.summary.model)
    for sparse in (one for one in sizes if one.summary.is_moe):
        loads = [_shared(sparse, one, at) for one in dense]
        for kind in MATCH_KINDS:
            found = [
                (distance_of(kind, *numbers), index)
                for index, (one, load) in enumerate(zip(dense, loads, strict=True))
                if not isinstance(numbers := _numbers(kind, sparse, one, load), str)
            ]
            distance, index = min(found, default=(math.inf, 0))
            if distance <= farthest_of(kind):
                yield sparse.summary.model, kind, dense[index].summary.model
