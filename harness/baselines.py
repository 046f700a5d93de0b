"""What nobody measured: dense models of the catalog that would be nearer to a sparse one than any that was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.accounting import PRECISIONS, flops_per_token, weight_bytes
from harness.catalog import CatalogModel
from harness.matching import AT_LOADS, Match, Pairing, distance_of, has_evidence, match, number_of
from harness.sizes import Sizes, sequence_bytes, sizes_of
from harness.suite import MatchKind
from harness.summary import ModelSummary, PointKey

_COUNTED: tuple[MatchKind, ...] = ("iso-active", "iso-total", "iso-memory", "iso-flops")


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


def suggestions(
    subjects: Sequence[ModelSummary], found: Iterable[Pairing], catalog: Iterable[CatalogModel],
    *, score: str = "mean_score",
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
        sizes = sizes_of(sparse, score)
        for kind in _COUNTED:
            partner = nearest.get((sparse.model, kind))
            has = match(sparse, partner, score=score).of(kind) if partner is not None else None
            best = None if has is not None and has.equal else _nearest_of_catalog(kind, sizes, dense)
            if best is not None and (has is None or _apart(best.match) < _apart(has)):
                suggested.append(best)
    return tuple(suggested)


def _apart(one: Match) -> float:
    return distance_of(one.kind, one.a, one.b)


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
    load = at if kind in AT_LOADS else None
    own = number_of(sparse, kind, load)
    if own is None:
        return None
    encoder = sparse.summary.architecture is not None and sparse.summary.architecture.encoder is not None
    numbers = dense.numbers(kind, load, encoder=encoder)
    name, nearest = min(numbers, key=lambda one: (distance_of(kind, own, one[1]), one[0]), default=("", math.inf))
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
