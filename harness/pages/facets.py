"""By what the models of a leaderboard can be chosen: facets whose values occur, and ready-made questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from harness.pages.parts import Slugs
from harness.pages.suite_view import SuiteView, hardware_text, kind_of, point_text
from harness.quantities import count_of, plain
from harness.record import NOT_STATED
from harness.sizes import memory_at
from harness.summary import ModelSummary, PointKey

GPU_BYTES = 80e9
"""The memory of the accelerators of which a preset speaks, in its vendor's decimal gigabytes."""
FITS = "fits-80gb"
"""The preset that depends on the load."""
FEW_ACTIVE = 4e9
_EDGES = (1e6, 1e7, 1e8, 1e9, 3e9, 1e10, 3e10, 1e11, 3e11, 1e12)
"""Where ranges of parameters meet; finer among the sizes that people choose between."""
_UNKNOWN = "not counted"
_LIMIT = 80


@dataclass(frozen=True)
class Choice:
    """One value of a facet and how many models have it. `id` names it in an address."""

    id: str
    title: str
    count: int
    help: str = ""


@dataclass(frozen=True)
class Facet:
    """A property by whose values the models can be chosen."""

    id: str
    title: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Filters:
    """All that a reader can choose by, and what each model has of it."""

    kinds: tuple[Choice, ...]
    facets: tuple[Facet, ...]
    presets: tuple[Choice, ...]
    tokens: tuple[str, ...]
    """One text a model, in the order of the view: its `facet:choice` words with spaces between."""


def filters_of(view: SuiteView) -> Filters:
    """The facets of a suite. Every value occurs; presets are always the same."""
    found = [_facet(view, *one) for one in (
        ("size", "Total parameters", _total), ("active", "Active parameters", _active),
        ("licence", "Licence", licence_text), ("precision", "Precision", _precision),
        ("hardware", "Hardware", _hardware), ("engine", "Engine", _engine),
    )]
    kinds = _facet(view, "kind", "Kind", lambda _view, model: kind_of(model))
    presets = _presets(view)
    words = [[f"{kinds[0].id}:{kinds[1][index]}"] for index in range(len(view.models))]
    for facet, ids in found:
        for row, id_ in zip(words, ids, strict=True):
            row.append(f"{facet.id}:{id_}")
    for choice, holds in presets:
        for row, held in zip(words, holds, strict=True):
            if held:
                row.append(f"preset:{choice.id}")
    return Filters(
        kinds=kinds[0].choices,
        facets=tuple(facet for facet, _ in found),
        presets=tuple(choice for choice, _ in presets),
        tokens=tuple(" ".join(row) for row in words),
    )


def _facet(
    view: SuiteView, key: str, title: str, value: Callable[[SuiteView, ModelSummary], str]
) -> tuple[Facet, list[str]]:
    """A facet, and the id of every model's value. Sizes stay in their order, other values go by name."""
    titles = [value(view, model) for model in view.models]
    slugs = Slugs()
    order = _KINDS if key == "kind" else _RANGES if key in ("size", "active") else {NOT_STATED: 1}
    occurring = sorted(set(titles), key=lambda one: (order.get(one, 0), one.casefold(), one))
    ids = {one: slugs.of(one, one) for one in occurring}
    choices = tuple(Choice(ids[one], one, titles.count(one)) for one in occurring)
    return Facet(key, title, choices), [ids[one] for one in titles]


# Values of facets ------------------------------------------------------------------------------------------------


def _size_text(size: float) -> str:
    for unit, word in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if size >= unit:
            return f"{size / unit:g} {word}"
    return f"{size:g}"


_TITLES = (
    f"under {_size_text(_EDGES[0])}",
    *(f"{_size_text(low)} to {_size_text(high)}" for low, high in pairwise(_EDGES)),
    f"{_size_text(_EDGES[-1])} and more",
)
_KINDS = {"sparse": 0, "dense": 1, "unknown": 2}
_RANGES = {title: index for index, title in enumerate((*_TITLES, _UNKNOWN))}


def range_of(parameters: float) -> str:
    """The range of sizes that a number of parameters is in; its lower end is within."""
    return _TITLES[sum(parameters >= edge for edge in _EDGES)]


def _total(_view: SuiteView, model: ModelSummary) -> str:
    return range_of(model.parameters.total) if model.parameters else _UNKNOWN


def _active(_view: SuiteView, model: ModelSummary) -> str:
    return range_of(model.parameters.active) if model.parameters else _UNKNOWN


def licence_text(view: SuiteView, model: ModelSummary) -> str:
    """The licence of a model, or that nobody states one."""
    return plain(view.licences.get(model.model, NOT_STATED), _LIMIT)


def _precision(_view: SuiteView, model: ModelSummary) -> str:
    return precision_text(model)


def precision_text(model: ModelSummary) -> str:
    """In what the weights were served: "bfloat16", or "bfloat16, fp8" where they are quantised."""
    subject = model.subject
    return plain(f"{subject.precision}, {subject.quantization}" if subject.quantization else subject.precision, _LIMIT)


def _hardware(_view: SuiteView, model: ModelSummary) -> str:
    return hardware_text(model)


def _engine(_view: SuiteView, model: ModelSummary) -> str:
    return _ENGINES[model.subject.backend]


_ENGINES = {"vllm": "vLLM", "transformers": "transformers", "other": NOT_STATED}


def engine_text(model: ModelSummary) -> str:
    """By what a model was run, with its version; an import may not say it."""
    backend = model.subject.backend
    if backend == "other":
        return NOT_STATED
    version = model.environment.versions.get(backend, "of unknown version")
    return plain(f"{_ENGINES[backend]} {version}", _LIMIT)


# Presets ---------------------------------------------------------------------------------------------------------


def _presets(view: SuiteView) -> list[tuple[Choice, list[bool]]]:
    """The ready-made questions with their meaning, and which models fulfil each."""
    fits = fits_at(view, view.point)
    few = [bool(model.parameters and model.parameters.active < FEW_ACTIVE) for model in view.models]
    ranked = [model.model in view.ranks for model in view.models]
    return [
        (Choice(FITS, "Fits one 80 GB GPU", sum(fits), fits_words(view.point)), fits),
        (Choice("active-4b", "Active < 4 B", sum(few), "A token uses fewer than 4 billion parameters"), few),
        (Choice("ranked", "Only ranked", sum(ranked), (
            f"With a {view.score_title} of trained weights to the questions that most models were asked, whatever the "
            "load")), ranked),
    ]


def _counted_load(point: PointKey) -> PointKey:
    """The load whose requests in flight are counted: where their number is not given, one."""
    return point if point.concurrency is not None else point._replace(kind="closed", level=1.0)


def fits_at(view: SuiteView, point: PointKey | None) -> list[bool]:
    """Which of the view's models fit the accelerators of the preset `FITS` at a load."""
    return [_fits(model, point) for model in view.models]


def _fits(model: ModelSummary, point: PointKey | None) -> bool:
    needed = memory_at(model, _counted_load(point)) if point is not None else None
    if point is None:
        weights = model.estimate("weights_bytes")
        needed = weights.value if weights is not None else None
    return needed is not None and needed <= GPU_BYTES


def fits_words(point: PointKey | None) -> str:
    """What the preset `FITS` asks for at a load."""
    if point is None:
        return "The weights, as the checkpoint stores them, take at most 80 GB"
    requests = _counted_load(point).concurrency or 1
    return (f"Weights and, as counted, the cache of {count_of(requests, 'request')} in flight of {point_text(point)} "
            "each take at most 80 GB together; models whose cache cannot be counted are left out")
