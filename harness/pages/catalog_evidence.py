"""What stands behind every number of the catalog: what it was counted from, or who published it.

One file a model, `evidence/_catalog/<model>.js`, in the form of `harness.pages.evidence`. Values are in base units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.accounting import PRECISIONS, FlopCount
from harness.catalog import LMSYS_DATE, QUALITY_WORDS, CatalogModel
from harness.description import Description
from harness.description.build import FALLBACK_PRECISION
from harness.pages.catalog_columns import COLUMNS, REFERENCE_ACCELERATOR, REFERENCE_BATCH, Entry
from harness.pages.commands import shell_word
from harness.pages.counted import config_terms, flop_terms, sum_terms
from harness.pages.parts import EvidenceFile, Slugs, Terms
from harness.quantities import Scale, capitalised, count_of, grouped, plain, signed_percent, with_unit

_FOLDER = "_catalog"
"""No suite's slug begins with an underline."""
_COUNTED = "Counted from the model\u2019s structure"
_PUBLISHED = "Taken over, not counted"
_DIFFERENCE = "Counted beside what was published"

NAMES_BEFORE = ("", "", "total")
NAMES_AFTER = (
    "published_total", "total_deviation", "published_active", "active_deviation", "", "context", "", "arena_rank",
    "arena_rank_hard", "", "layers", "",
)
"""Last parts of the names of the columns beside COLUMNS; empty for those that hold no number."""


@dataclass(frozen=True)
class _Figure:
    """A number with what it is made of."""

    value: float
    basis: str
    terms: Terms


def column_names() -> tuple[str, ...]:
    """The last part of the name of each column's numbers, in the order of `columns_of_catalog`."""
    return (*NAMES_BEFORE, *(spec.key for spec in COLUMNS), *NAMES_AFTER)


def catalog_evidence(entries: Iterable[Entry], scales: Mapping[str, Scale]) -> dict[str, EvidenceFile]:
    """The file of each model by its name, with the `scales_of_catalog` that the table shows."""
    slugs, metrics = Slugs(), _metrics(scales)
    return {entry.model.name: _file(entry, f"{_FOLDER}.{slugs.of(entry.model.name, entry.model.name)}", metrics)
            for entry in entries}


def _file(entry: Entry, name: str, metrics: Mapping[str, dict[str, Any]]) -> EvidenceFile:
    model = entry.model
    found = dict(_figures(entry))
    bases = list(dict.fromkeys(one.basis for one in found.values()))
    again = (
        f"moebench describe {shell_word(model.name)} --batch {REFERENCE_BATCH} --accelerator {REFERENCE_ACCELERATOR}"
    )
    estimates = {
        key: {"value": one.value, "n": 1, "basis": bases.index(one.basis), "terms": [list(term) for term in one.terms],
              **({"counted": True} if one.basis == _COUNTED else {"from": True}),
              **({"again": again} if one.basis in (_COUNTED, _DIFFERENCE) and entry.total is not None else {})}
        for key, one in found.items()
    }
    return EvidenceFile(name, {
        "suite": {"title": "Catalog", "page": "catalog.html"},
        "title": plain(model.name, 120),
        "kind": entry.kind,
        "page": f"catalog.html#model-{model.name}",
        "method": "method.html",
        "about": "Model",
        "subject": _subject_terms(model),
        "notes": [capitalised(plain(note, 600)).rstrip(".") for note in entry.numbers.notes],
        "config": {"terms": config_terms(model.config), "file": f"suites/models/{model.name}.yaml"}
        if model.config else None,
        "metrics": {key: metrics[key] for key in found},
        "points": {},
        "estimates": estimates,
        "bases": bases,
        "sources": [],
        "records": [],
    })


def _subject_terms(model: CatalogModel) -> Terms:
    structure = [
        ("Structure", f"{model.source} ({QUALITY_WORDS[model.source_quality]})")
    ] if model.source and model.source_quality else []
    terms = [
        ("Weights", model.hf_repo or "not on the hub"), ("Revision", model.revision or "not known"),
        ("Checkpoint", model.precision or "precision not known"), *structure,
        ("File of the catalog", f"suites/models/{model.name}.yaml"),
    ]
    return [(term, plain(text, 1_000)) for term, text in terms]


# What the numbers mean -------------------------------------------------------------------------------------------


def _metrics(scales: Mapping[str, Scale]) -> dict[str, dict[str, Any]]:
    total = scales["total"]
    count, percent, place = "parameters", Scale("%", 0.01), Scale("", 1.0)
    arena = f"Place in the LMSYS Chatbot Arena of {LMSYS_DATE}"
    return {
        "total": _metric("Total parameters", "The elements of all tensors of the model", total, count),
        **{spec.key: _metric(spec.name, spec.help, scales[spec.key], "" if spec.unit == "1" else spec.unit)
           for spec in COLUMNS},
        "published_total": _metric("Published total parameters", "As it was published", total, count),
        "total_deviation": _metric("Total parameters, difference", "(counted \u2212 published) / published", percent),
        "published_active": _metric(
            "Published active parameters", "As it was published, by a convention of its own", total, count),
        "active_deviation": _metric("Active parameters, difference", "(counted \u2212 published) / published", percent),
        "context": _metric("Context", "The longest context that the authors support", Scale("tokens", 1.0)),
        "arena_rank": _metric("Arena rank", f"{arena}, all prompts", place),
        "arena_rank_hard": _metric("Arena rank, hard prompts", f"{arena}, hard prompts in English", place),
        "layers": _metric("Layers", "Layers of all stacks", Scale("layers", 1.0)),
    }


def _metric(title: str, formula: str, scale: Scale, base: str = "") -> dict[str, Any]:
    return {"title": title, "unit": scale.unit, "divisor": scale.divisor, "base": base, "formula": formula}


# What the numbers are made of ------------------------------------------------------------------------------------


def _figures(entry: Entry) -> Iterator[tuple[str, _Figure]]:
    """Every number of the model's row."""
    if entry.total is not None:
        yield "total", _Figure(entry.total, _COUNTED, _parts(entry, "total_parameters"))
    for spec in COLUMNS:
        value = spec.value(entry)
        if value is not None:
            yield spec.key, _Figure(value * spec.factor, _COUNTED, _terms(entry, spec.key))
    yield from _published(entry)
    model = entry.model
    if model.context_length is not None:
        yield "context", _Figure(model.context_length, _PUBLISHED, _from_file(model))
    if model.architecture is not None:
        yield "layers", _Figure(model.architecture.layers, _COUNTED, [])
    ranks = model.lmsys_2024_11_04
    if ranks is not None and ranks != "unranked":
        arena: Terms = [("source", f"the arena\u2019s table of {LMSYS_DATE}")]
        yield "arena_rank", _Figure(ranks.overall, _PUBLISHED, arena)
        yield "arena_rank_hard", _Figure(ranks.hard_prompts_english, _PUBLISHED, arena)


def _from_file(model: CatalogModel) -> Terms:
    return [("source", f"suites/models/{model.name}.yaml, which names none for it")]


def _published(entry: Entry) -> Iterator[tuple[str, _Figure]]:
    """What the authors state of the parameters, and how far the count is from it."""
    model, published = entry.model, entry.model.published
    told = [("source", published.source or ""), ("known", QUALITY_WORDS.get(published.source_quality or "", ""))]
    source = [(term, plain(text, 600)) for term, text in told if text]
    theirs = entry.numbers.deviation.active_in_their_convention
    inside = [("differs in their convention", f"{signed_percent(theirs)} %")] if theirs is not None else []
    reason = [("reason", plain(model.deviation, 1_000))] if model.deviation else []
    convention = [("convention", published.active_convention.replace("_", " "))] if published.active_convention else []
    counted = entry.numbers.parameters
    for key, stated, count, differs, more in (
        ("total", published.total, counted.total, model.total_deviation, []),
        ("active", published.active, counted.active, model.active_deviation, [*convention, *inside]),
    ):
        if stated is None:
            continue
        yield f"published_{key}", _Figure(stated, _PUBLISHED, [*source, *(convention if key == "active" else [])])
        if count is not None and differs is not None:
            sides = [("counted", grouped(count, 0)), ("published", grouped(stated, 0))]
            yield f"{key}_deviation", _Figure(differs, _DIFFERENCE, [*sides, *more, *reason])


def _parts(entry: Entry, key: str) -> Terms:
    count = entry.model.parameters
    return sum_terms(count, key) if count is not None else []


def _terms(entry: Entry, key: str) -> Terms:
    """What a number of COLUMNS is made of."""
    numbers = entry.numbers
    if key in ("active", "active_non_embedding"):
        return _parts(entry, f"{key}_parameters")
    if key in ("decode_flops", "prefill_flops"):
        return _arithmetic(numbers, key)
    if key in ("devices", "ceiling", "cost"):
        return _on_accelerator(numbers, key)
    precision = ("precision", numbers.precision or "not known")
    cache_bits = 8 * PRECISIONS[numbers.precision or FALLBACK_PRECISION].bytes_per_cache_element
    total, active = (grouped(size or 0, 0) for size in (numbers.parameters.total, numbers.parameters.active))
    found: dict[str, Terms] = {
        "share": [("active", active), ("total", total)],
        "weights": [precision, ("parameters", total)],
        "kv": [
            ("cache", f"{cache_bits:g} bits a value"),
            ("a token", with_unit("bytes", numbers.bytes.kv_per_token or 0, 4)),
        ],
        "state": [("state", f"{cache_bits:g} bits a value")],
    }
    return found[key]


def _arithmetic(numbers: Description, key: str) -> Terms:
    """The FLOPs of a token by component."""
    flops, tokens = numbers.flops_per_token, count_of(numbers.context_tokens, "token")
    if key == "decode_flops":
        return [("context", tokens), *flop_terms(flops.decode_by_component or FlopCount(), 1)]
    return [("prompt", tokens), *flop_terms(flops.prefill_by_component or FlopCount(), 1)]


def _on_accelerator(numbers: Description, key: str) -> Terms:
    """How many accelerators are needed, what they can do at most, and what that costs."""
    device = numbers.accelerator
    if device is None:
        return []
    step, sequences = device.decode, count_of(numbers.batch, "sequence")
    kept = (numbers.bytes.kv_per_sequence or 0) + (numbers.bytes.state_per_sequence or 0)
    found: dict[str, Terms] = {
        "devices": [
            ("weights", with_unit("bytes", numbers.bytes.weights or 0, 4)),
            (f"cache of {sequences} of {count_of(numbers.context_tokens, 'token')}",
             with_unit("bytes", numbers.batch * kept, 4)),
            (f"memory of one {device.title}", with_unit("bytes", device.memory_bytes, 4)),
            ("of which is used", f"{100 * device.usable_fraction:.0f} % at most"),
        ],
        "ceiling": [
            ("accelerators", str(device.devices_needed)), ("products in", device.compute),
            (f"a step of {count_of(numbers.batch, 'token')}", with_unit("seconds", step.step_s, 4)),
            ("time of its arithmetic", with_unit("seconds", step.compute_s, 4)),
            ("time of its memory traffic", with_unit("seconds", step.memory_s, 4)),
        ],
        "cost": [
            ("price of one, an hour", f"{device.price_usd_per_hour or 0:.2f} USD"),
            ("from", device.price_source or ""), ("read on", str(device.price_read_on or "not told")),
            ("accelerators", str(device.devices_needed)),
            ("ceiling", with_unit("tokens per second", step.tokens_per_s, 4)),
        ],
    }
    return [(term, plain(text, 400)) for term, text in found[key]]
