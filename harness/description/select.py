"""Which models of a list are wanted, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from harness.accelerators import AcceleratorSpec
from harness.accounting import devices_needed
from harness.description.build import USABLE_FRACTION
from harness.description.values import Description
from harness.description.words import kind_words
from harness.errors import InputError, nearest

_MULTIPLES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_WHOLE = re.compile(r"(-?)(\d{1,400}(?:\.\d{1,99})?)\s*([kmb]?)", re.IGNORECASE | re.ASCII)
_COUNT = re.compile(r"(\d+(?:\.\d*)?(?:e\d{1,2})?)\s*([kmbt]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Filter:
    """What a model must fulfil; None: anything. Texts are compared in small letters, all but `kind` in part.

    `search` looks into name, repository and family. Sizes are in parameters: where nothing was counted, the published
    figure is compared, and a model without either is left out. `fits` needs a counted model whose weights, in the
    checkpoint's precision, fit into the usable memory of one device.
    """

    kind: str | None = None
    family: str | None = None
    status: str | None = None
    license: str | None = None
    search: str | None = None
    max_total: float | None = None
    max_active: float | None = None
    fits: AcceleratorSpec | None = None

    def accepts(self, described: Description) -> bool:
        """Whether the model fulfils all of it."""
        facts = described.model
        return (
            (self.kind is None or facts.kind == self.kind)
            and _holds(self.family, facts.family)
            and (self.status is None or facts.status == self.status)
            and _holds(self.license, facts.license)
            and _holds(self.search, described.name, facts.hf_repo, facts.family)
            and _at_most(total_of(described), self.max_total)
            and _at_most(active_of(described), self.max_active)
            and (self.fits is None or _fits(described, self.fits))
        )


def checked_choice(value: str | None, known: Iterable[str], where: str, *, part: bool = False) -> str | None:
    """`value` in small letters. Raises InputError with the nearest of `known` unless it is one (`part`: in one)."""
    if value is None:
        return None
    folded, options = value.casefold(), {one.casefold(): one for one in known}
    if folded in options or (part and any(folded in one for one in options)):
        return folded
    near = nearest(folded, options) if options else "no model states one"
    raise InputError(f"no model has {value!r}", where=where, hint=near)


def parse_parameters(text: str | None, where: str) -> float | None:
    """A number of parameters from `4B`, `800M`, `1.5T` or plain digits. Raises InputError for anything else."""
    if text is None:
        return None
    match = _COUNT.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise InputError(f"{text!r} is no number of parameters", where=where, hint="such as 4B, 800M or 1.5T")
    return float(match[1]) * _MULTIPLES[match[2].upper()]


def parse_whole(text: str | None, where: str) -> int | None:
    """A whole number from `4096`, `4k` (4000) or `1.5M`. Raises InputError for anything else, not for a bad range."""
    if text is None:
        return None
    match = _WHOLE.fullmatch(text.strip())
    value = Fraction(match[2]) * int(_MULTIPLES[match[3].upper()]) if match else Fraction(1, 2)
    if match is None or value.denominator != 1:
        raise InputError(f"{text!r} is no whole number", where=where, hint="such as 4096, 4k (4000) or 1M (1000000)")
    return -int(value) if match[1] else int(value)


def total_of(described: Description) -> int | None:
    """All parameters: counted, else published, else None."""
    counted = described.parameters.total
    return described.published.total if counted is None else counted


def active_of(described: Description) -> int | None:
    """The parameters that a token uses: counted, else published, else None."""
    counted = described.parameters.active
    return described.published.active if counted is None else counted


def active_share(described: Description) -> float | None:
    """Active over total parameters, from 0 to 1; None where either is not known."""
    return share_of(active_of(described), total_of(described))


def share_of(part: float | None, whole: float | None) -> float | None:
    """`part` of `whole`, from 0 to 1; None where either is not known, or the whole is nothing."""
    return None if part is None or not whole else part / whole


def arena_rank(described: Description) -> int | None:
    """The place among all prompts of the LMSYS arena; None where it has none."""
    ranks = described.model.lmsys_2024_11_04
    return None if ranks is None or ranks == "unranked" else ranks.overall


Key = float | str | None

SORT_KEYS: dict[str, Callable[[Description], Key]] = {
    "name": lambda one: one.name,
    "kind": kind_words,
    "family": lambda one: one.model.family,
    "status": lambda one: one.model.status,
    "total": total_of,
    "active": active_of,
    "share": active_share,
    "flops": lambda one: one.flops_per_token.decode,
    "kv": lambda one: one.bytes.kv_per_token,
    "weights": lambda one: one.bytes.weights,
    "context": lambda one: one.model.context_length,
    "released": lambda one: one.model.released,
    "license": lambda one: one.model.license,
    "published": lambda one: one.published.total,
    "deviation": lambda one: one.deviation.total,
    "rank": arena_rank,
}
"""The columns that models can be sorted by, by the name that `--sort` takes."""


def ordered(models: Sequence[Description], column: str, *, reverse: bool = False) -> list[Description]:
    """The models by one column, ascending; equal ones keep their order, and those without a value come last.

    A `-` before the column, or `reverse`, makes it descending; both together cancel. Raises InputError with the nearest
    columns, and all of them, for an unknown one.
    """
    name = column.removeprefix("-").casefold()
    if name not in SORT_KEYS:
        near = nearest(name, SORT_KEYS)
        close = f"{near} " if near.startswith("did you mean") else ""
        raise InputError(f"no column {column!r}", where="--sort", hint=f"{close}columns: {', '.join(SORT_KEYS)}")
    descending = reverse != column.startswith("-")
    keyed = [(SORT_KEYS[name](one), one) for one in models]
    numbers = [(key, one) for key, one in keyed if isinstance(key, int | float)]
    texts = [(key.casefold(), one) for key, one in keyed if isinstance(key, str)]
    return [
        *(one for _, one in sorted(numbers, key=lambda pair: pair[0], reverse=descending)),
        *(one for _, one in sorted(texts, key=lambda pair: pair[0], reverse=descending)),
        *(one for key, one in keyed if key is None),
    ]


def _holds(wanted: str | None, *texts: str | None) -> bool:
    return wanted is None or any(wanted.casefold() in text.casefold() for text in texts if text)


def _at_most(value: float | None, limit: float | None) -> bool:
    return limit is None or (value is not None and value <= limit)


def _fits(described: Description, device: AcceleratorSpec) -> bool:
    weights = described.bytes.weights
    return weights is not None and devices_needed(weights, device.memory_bytes, USABLE_FRACTION) == 1
