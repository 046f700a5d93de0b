"""In what a sparse and a dense model are alike, the nearest dense baselines of every sparse one, and what to measure.

Six kinds: active parameters, all parameters, memory (weights and the cache of all requests in flight), FLOPs of a
decoded token, quality, and cost of the output. The first four are counted, the others measured. "Equal" is within 10 %
of each other, of scores within 2 points; what is not equal may still be the nearest there is, up to a factor of 2 or
10 points, beyond which two models are too unlike for any kind to describe the pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

from harness.accounting import PRECISIONS, flops_per_token, weight_bytes
from harness.catalog import CatalogModel
from harness.quantities import listed
from harness.sizes import Sizes, sequence_bytes, sizes_of
from harness.suite import MatchKind, Suite
from harness.summary import ModelSummary, PointKey, same_hardware

MATCH_KINDS: tuple[MatchKind, ...] = get_args(MatchKind)
TOLERANCE = 0.10
"""How far above 1 a ratio, or its inverse, may be for both sides to count as equal. Costs have the same:
repeats of a load differ by 2 to 5 %, so that a tenth is beyond their noise and still the same price to a reader."""
TOLERANCE_POINTS = 0.02
"""How far apart two mean scores may be: about what one standard error of a few hundred items is, and less than what
the better of two models of like size usually gains."""
FARTHEST = 2.0
"""The largest ratio, either way, at which a model is still the nearest baseline of another."""
FARTHEST_POINTS = 0.10
_SLACK = 1e-9
"""So that rounding does not decide what lies on a limit."""

_NOUNS: dict[MatchKind, str] = {
    "iso-active": "the active parameters", "iso-total": "the total parameters", "iso-memory": "the memory",
    "iso-flops": "the decode FLOPs/token", "iso-quality": "the score", "iso-cost": "the cost of an output token",
}


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

    @property
    def mismatch(self) -> float:
        """a / b, of scores a - b."""
        return self.a - self.b if self.kind == "iso-quality" else self.a / self.b

    @property
    def equal(self) -> bool:
        """Whether the two count as alike, whichever is named first."""
        if self.kind == "iso-quality":
            return abs(self.mismatch) <= TOLERANCE_POINTS + _SLACK
        return abs(math.log(self.mismatch)) <= math.log1p(TOLERANCE) + _SLACK

    @property
    def near(self) -> bool:
        """Whether b may be a baseline of a at all."""
        return _distance(self.kind, self.a, self.b) <= _farthest(self.kind)

    @property
    def words(self) -> str:
        """The mismatch from a's view: "0.98 × the active parameters", "2.1 points below the score"."""
        if self.kind != "iso-quality":
            return f"{self.mismatch:.2f} × {_NOUNS[self.kind]}"
        points = f"{100 * abs(self.mismatch):.1f}"
        return f"{points} points {'above' if self.mismatch > 0 else 'below'} the score" if float(points) else (
            "the same score"
        )


@dataclass(frozen=True)
class Matching:
    """How two models compare in every kind that is known, and why the others are not."""

    matches: tuple[Match, ...]
    unknown: Mapping[MatchKind, str] = field(default_factory=dict)

    def of(self, kind: MatchKind) -> Match | None:
        """The match of a kind, None where it is not known."""
        return next((match for match in self.matches if match.kind == kind), None)

    @property
    def kinds(self) -> tuple[MatchKind, ...]:
        """The kinds in which the two are equal."""
        return tuple(match.kind for match in self.matches if match.equal)

    @property
    def label(self) -> str:
        """The kinds in which the two are equal, "unmatched", or "not counted" where no parameters are known."""
        if self.kinds:
            return listed(self.kinds)
        return "not counted" if self.active_ratio is None else "unmatched"

    @property
    def mismatch(self) -> str:
        """Both ratios of parameters in words."""
        if self.active_ratio is None or self.total_ratio is None:
            return "parameters not counted"
        return f"{self.active_ratio:.2f} × the active and {self.total_ratio:.2f} × the total parameters"

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
    """Two models to be held against each other. Of automatic pairs a is sparse and b dense."""

    a: ModelSummary
    b: ModelSummary
    kinds: tuple[MatchKind, ...]
    """Those in which b is the nearest measured dense baseline of a."""
    named: bool = False
    """Whether the suite asks for the pair."""
    about: tuple[MatchKind, ...] = ()
    """The kinds that the suite says the pair is about."""


@dataclass(frozen=True)
class Suggestion:
    """A dense model that would be nearer to a sparse one than any that was measured."""

    sparse: str
    name: str
    """In the catalog."""
    match: Match
    """The sparse model beside it, counted."""

    @property
    def kind(self) -> MatchKind:
        """In which it is near."""
        return self.match.kind

    @property
    def mismatch(self) -> float:
        """Sparse / dense."""
        return self.match.mismatch


# Matches ---------------------------------------------------------------------------------------------------------


def match(a: ModelSummary, b: ModelSummary, at: PointKey | None = None, *, score: str = "mean_score") -> Matching:
    """How a and b compare in all kinds.

    Memory, FLOPs and cost are those `at` a load, by default at the largest closed loop that both were measured at and
    that has no flag. `score` is the key of the estimate by which quality is matched.
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
            matches.append(Match(kind, *found, load if kind in _AT_LOADS else None))
    return Matching(tuple(matches), unknown)


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
    if kind in _AT_LOADS and at is None:
        return "no load was measured on both"
    if kind == "iso-cost" and not same_hardware(a.summary, b.summary):
        return "measured on different or unknown hardware"
    one, other = _number(a, kind, at), _number(b, kind, at)
    if one is None or other is None:
        return _why_unknown(kind, a if one is None else b)
    if kind == "iso-quality" and a.asked != b.asked:
        return "the tasks were asked or scored differently"
    return one, other


def _number(sizes: Sizes, kind: MatchKind, at: PointKey | None) -> float | None:
    if kind in _AT_LOADS:
        load = sizes.loads.get(at) if at is not None else None
        return load.of(kind) if load is not None else None
    return {"iso-active": sizes.active, "iso-total": sizes.total}.get(kind, sizes.quality)


def _why_unknown(kind: MatchKind, sizes: Sizes) -> str:
    if kind == "iso-quality":
        reason = sizes.no_quality
    else:
        reason = _UNKNOWN.get(kind) or sizes.summary.uncounted or "not counted"
    return f"{sizes.summary.model}: {reason}"


_AT_LOADS = ("iso-memory", "iso-flops", "iso-cost")
_UNKNOWN: dict[MatchKind, str] = {
    "iso-memory": "the bytes of weights and cache at this load are not known", "iso-flops": "FLOPs are not counted",
    "iso-cost": "no cost is known at this load",
}


def _distance(kind: MatchKind, a: float, b: float) -> float:
    """How far apart two numbers are, either way: of scores the difference, of others the log of the ratio."""
    return abs(a - b) if kind == "iso-quality" else abs(math.log(a / b))


def _farthest(kind: MatchKind) -> float:
    return (FARTHEST_POINTS if kind == "iso-quality" else math.log(FARTHEST)) + _SLACK


# Which models are held against each other ------------------------------------------------------------------------


def named_pairs(suite: Suite | None) -> tuple[Named, ...]:
    """The pairs that a suite names."""
    comparisons = suite.comparisons if suite is not None else ()
    return tuple(Named(one.sparse, dense, one.matching) for one in comparisons for dense in one.dense)


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
    with random weights appear only where they are named. Named pairs of unknown models are left out.
    """
    by_name = {one.model: one for one in subjects}
    about = {(one.sparse, one.dense): one.kinds for one in named if {one.sparse, one.dense} <= by_name.keys()}
    kinds: dict[tuple[str, str], list[MatchKind]] = {pair: [] for pair in about}
    for sparse, kind, dense in _nearest(subjects, at, score):
        kinds.setdefault((sparse, dense), []).append(kind)
    return tuple(
        Pairing(by_name[a], by_name[b], tuple(found), (a, b) in about, about.get((a, b), ()))
        for (a, b), found in kinds.items()
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
                (_distance(kind, *numbers), index)
                for index, (one, load) in enumerate(zip(dense, loads, strict=True))
                if not isinstance(numbers := _numbers(kind, sparse, one, load), str)
            ]
            distance, index = min(found, default=(math.inf, 0))
            if distance <= _farthest(kind):
                yield sparse.summary.model, kind, dense[index].summary.model


# What nobody measured --------------------------------------------------------------------------------------------


_COUNTED: tuple[MatchKind, ...] = ("iso-active", "iso-total", "iso-memory", "iso-flops")


def suggestions(
    subjects: Sequence[ModelSummary], found: Iterable[Pairing], catalog: Iterable[CatalogModel]
) -> tuple[Suggestion, ...]:
    """For every sparse model and counted kind without an equal dense one: the nearest of the catalog, where nearer.

    `found` are the pairings of the subjects. Memory and FLOPs are counted at the largest closed loop of the sparse
    model, the weights of the catalog's in the precision of its checkpoint. Left out are models of the catalog with the
    name of a measured one, those beyond a factor of 2, and those with an encoder where the sparse one has none, or the
    other way round.
    """
    measured = {name for one in subjects for name in (one.model, one.group)}
    dense = _Baselines(one for one in catalog if one.kind == "dense" and one.name not in measured)
    nearest = {(pair.a.model, kind): pair.b for pair in found for kind in pair.kinds}
    suggested = []
    for sparse in (one for one in subjects if one.is_moe and has_evidence(one)):
        sizes = sizes_of(sparse, "mean_score")
        for kind in _COUNTED:
            partner = nearest.get((sparse.model, kind))
            has = match(sparse, partner).of(kind) if partner is not None else None
            best = None if has is not None and has.equal else _nearest_of_catalog(kind, sizes, dense)
            if best is not None and (has is None or _apart(best.match) < _apart(has)):
                suggested.append(best)
    return tuple(suggested)


def _apart(one: Match) -> float:
    return _distance(one.kind, one.a, one.b)


class _Baselines:
    """The numbers of the catalog's dense models, each counted once a kind and load."""

    def __init__(self, models: Iterable[CatalogModel]) -> None:
        self._models = [one for one in models if one.architecture is not None]
        self._known: dict[tuple[MatchKind, PointKey | None, bool], list[tuple[str, float]]] = {}

    def numbers(self, kind: MatchKind, at: PointKey | None, *, encoder: bool) -> list[tuple[str, float]]:
        """By name, of the models with an encoder or of those without one."""
        key = (kind, at, encoder)
        if key not in self._known:
            fitting = [
                one for one in self._models if one.architecture and (one.architecture.encoder is not None) == encoder
            ]
            counted = [(one.name, _counted(kind, one, at)) for one in fitting]
            self._known[key] = [(name, number) for name, number in counted if number is not None]
        return self._known[key]


def _nearest_of_catalog(kind: MatchKind, sparse: Sizes, dense: _Baselines) -> Suggestion | None:
    at = next((key for key in sparse.loads if key.concurrency), None)
    load = at if kind in _AT_LOADS else None
    own = _number(sparse, kind, load)
    if own is None:
        return None
    encoder = sparse.summary.architecture is not None and sparse.summary.architecture.encoder is not None
    numbers = dense.numbers(kind, load, encoder=encoder)
    name, nearest = min(numbers, key=lambda one: (_distance(kind, own, one[1]), one[0]), default=("", math.inf))
    found = Suggestion(sparse.summary.model, name, Match(kind, own, nearest, load))
    return found if name and found.match.near else None


def _counted(kind: MatchKind, model: CatalogModel, at: PointKey | None) -> float | None:
    """A number of a model of the catalog; None where it is not known."""
    architecture, parameters = model.architecture, model.parameters
    if architecture is None or parameters is None:
        return None
    if at is None or at.concurrency is None:
        return {"iso-active": parameters.active, "iso-total": parameters.total}.get(kind)
    if kind == "iso-flops":
        return flops_per_token(architecture, context=at.prompt_tokens + at.output_tokens / 2).total
    precision = model.weight_precision or PRECISIONS["bfloat16"]
    sequence = sequence_bytes(architecture, at, precision.bytes_per_cache_element)
    return weight_bytes(architecture, precision) + at.concurrency * sequence
