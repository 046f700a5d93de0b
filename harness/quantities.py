"""Numbers as a reader sees them: one scale a column, three significant digits, thin spaces, intervals as margins."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

THIN = "\u202f"
MINUS = "\u2212"

_FLOPS = (
    ("FLOPs", 1.0), ("kFLOPs", 1e3), ("MFLOPs", 1e6), ("GFLOPs", 1e9), ("TFLOPs", 1e12), ("PFLOPs", 1e15),
)
_COUNTS = (("", 1.0), ("k", 1e3), ("M", 1e6), ("B", 1e9), ("T", 1e12))
COUNT_WORDS = {"": "", "k": " thousand", "M": " million", "B": " billion", "T": " trillion"}
"""The units of `scale_of("parameters", ...)` as words that follow a number."""
_SECONDS = (("\u00b5s", 1e-6), ("ms", 1e-3), ("s", 1.0))
_JOULES = (("mJ", 1e-3), ("J", 1.0), ("kJ", 1e3), ("MJ", 1e6))
_WATTS = (("mW", 1e-3), ("W", 1.0), ("kW", 1e3))
_BYTES = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))
_PREFIXES = {
    "seconds": _SECONDS, "bytes": _BYTES, "FLOPs": _FLOPS, "parameters": _COUNTS, "joules": _JOULES, "watts": _WATTS,
}
_RATIO_DECIMALS = range(2, 6)
_SHORT = {"tokens per second": "tokens/s", "requests per second": "requests/s", "US dollars": "USD"}


@dataclass(frozen=True)
class Scale:
    """How a column shows base units: `value / divisor`, with `unit` in its header."""

    unit: str
    divisor: float


def scale_of(unit: str, values: Iterable[float]) -> Scale:
    """The scale in which the median of `values` has one to three digits before the point.

    `unit` is a base unit as `harness.metrics` words it. "1" (scores, shares) becomes percent where all values are
    within 0 and 1; "" stays without a unit, as for the scores of a task where lower is better, which are no shares.
    """
    known = list(values)
    sizes = sorted(abs(value) for value in known if value)
    middle = sizes[len(sizes) // 2] if sizes else 0.0
    if unit in _PREFIXES:
        return _pick(_PREFIXES[unit], middle)
    if unit == "1":
        return Scale("%", 0.01) if all(0 <= value <= 1 for value in known) else Scale("", 1.0)
    return Scale(_SHORT.get(unit, unit), 1.0)


def _pick(units: tuple[tuple[str, float], ...], size: float) -> Scale:
    if not size:
        return Scale(next(unit for unit, divisor in units if divisor == 1.0), 1.0)
    fitting = [entry for entry in units if size >= 0.9995 * entry[1]] or [units[0]]
    return Scale(*fitting[-1])


def decimals_of(value: float, digits: int = 3) -> int:
    """Digits after the point that give `digits` significant ones; never negative."""
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return max(0, digits - 1 - exponent)


def grouped(value: float, decimals: int) -> str:
    """A number with thin spaces between thousands and a true minus."""
    text = f"{value:,.{decimals}f}".replace(",", THIN)
    return text.replace("-", MINUS)


def significant(value: float, digits: int = 3) -> str:
    """`value` rounded to significant digits: 12345 gives "12 300", 0.01234 gives "0.0123"."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else f"{MINUS if value < 0 else ''}\u221e"
    if value and abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("-", MINUS)
    rounded = float(f"{value:.{digits - 1}e}")
    return grouped(rounded, decimals_of(rounded, digits))


def with_unit(unit: str, value: float, digits: int = 3) -> str:
    """One value with its unit, in the scale that suits it: "94.0 GB". `unit` is a base unit as for `scale_of`."""
    scale = scale_of(unit, [value])
    return f"{significant(value / scale.divisor, digits)} {scale.unit}".rstrip()


def signed_percent(fraction: float) -> str:
    """0.0123 as "+1.2", with a true minus, and "0.0" without a sign."""
    text = f"{100 * fraction:+.1f}".replace("-", MINUS)
    return text if text[1:] != "0.0" else "0.0"


def ratio_words(ratio: float) -> str:
    """The ratio of two quantities: "0.98\u00d7", with so many decimals that only equality looks like it.

    >>> ratio_words(1.0), ratio_words(0.9831), ratio_words(1.0042), ratio_words(1.0000004), ratio_words(12.345)
    ('1.00\u00d7', '0.98\u00d7', '1.004\u00d7', '\u22481.00\u00d7', '12.3\u00d7')
    """
    if not 0.1 <= ratio < 10:
        return f"{significant(ratio)}\u00d7"
    apart = [decimals for decimals in _RATIO_DECIMALS if ratio == 1 or round(ratio, decimals) != 1]
    return f"{ratio:.{apart[0]}f}\u00d7" if apart else "\u22481.00\u00d7"


def margin(value: float, low: float, high: float) -> str:
    """The interval around a value as "\u00b1 x", or as "+x \u2212y" where the sides differ by more than a quarter.

    Margins have two significant digits at most and no more decimals than `value` has in three, if that leaves one.
    """
    below, above = value - low, high - value
    larger, smaller = max(below, above), min(below, above)
    if larger <= 0:
        return "\u00b1 0"
    if smaller < 0.75 * larger:
        return f"+{_side(above, value)} {MINUS}{_side(below, value)}"
    return f"\u00b1 {_side(larger, value)}"


def _side(width: float, value: float) -> str:
    if width <= 0:
        return "0"
    rounded = float(f"{width:.1e}")
    decimals = min(decimals_of(rounded, 2), max(decimals_of(value), decimals_of(rounded, 1)))
    return grouped(rounded, decimals)


def without_margin(n: int) -> str:
    """What stands beside a value without an interval: how many values it is of, where that is known."""
    return f"n = {grouped(n, 0)}" if n else "no interval"


def count_of(number: int, thing: str, plural: str = "") -> str:
    """A number with its thing: 1 model, 3 models, 4 096 models, no models."""
    many = plural or f"{thing}s"
    return f"{grouped(number, 0) if number else 'no'} {thing if number == 1 else many}"


def listed(items: Iterable[str]) -> str:
    """Names as in a sentence: a, b and c."""
    names = list(items)
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def capitalised(text: str) -> str:
    """`text` with its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]


def plain(text: str, limit: int | None = None) -> str:
    """Foreign text for a page: control and direction characters become visible marks; cut at `limit` characters."""
    cut = text if limit is None or len(text) <= limit else text[: limit - 1] + "\u2026"
    return cut if cut.isprintable() else "".join(_visible(character) for character in cut)


_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Categories of characters that are not there to be seen, or that end lines where nobody looks for that."""


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _UNSEEN:
        return character
    return "\ufffd"
