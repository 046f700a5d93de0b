"""Effects as text, the same in the terminal and on the pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness.compare import Comparison, Effect
from harness.matching import likeness_of
from harness.quantities import MINUS, count_of, plain, ratio_words, significant
from harness.stats import CONFIDENCE, NO_SPREAD
from harness.summary import PointKey

_PREFIXES = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k"))
_NAME = 60
_RATIO_DECIMALS, _POINT_DECIMALS, _OTHER_DECIMALS = 2, 1, 3
_FURTHER_DECIMALS = 3
"""How many more there may be."""
MARKS = {
    "better": "\u25b2", "worse": "\u25bc", "not told apart": "\u25c7", "equal": "=", "nearly equal": "\u2248",
    "not equal": "\u2260", "too little data": "?",
}
"""One mark for every word on how two compare, so that colour is not all that tells them apart."""


def short_number(value: float, digits: int = 3) -> str:
    """`value` to three significant digits, from ten thousand on with the prefixes k, M, G, T: a terminal is narrow.

    >>> short_number(1234.0), short_number(0.012345), short_number(47_000_000_000.0), short_number(float("inf"))
    ('1230', '0.0123', '47.0 G', '∞')
    """
    if not math.isfinite(value):
        return significant(value)
    rounded = float(f"{value:.{digits - 1}e}")
    for factor, prefix in _PREFIXES:
        if abs(rounded) >= factor:
            # Ten thousand starts k, so that four-digit numbers stay whole.
            scale = factor if factor != 1e4 else 1e3
            return _plain(rounded / scale, digits) + prefix
    return _plain(rounded, digits)


def _plain(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def named(text: str) -> str:
    """A foreign name within a sentence: no control characters, and not longer than a line."""
    return plain(text, _NAME).replace("\n", " ")


def two_digits(value: float, rounded: Callable[[float], int]) -> str:
    """A number to two significant digits, of which `rounded` makes the last one."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{rounded(value / unit) * unit:.15g}"


def load_words(key: PointKey) -> str:
    """A load within a sentence: "at 64 concurrent requests", "at 2 requests/s", "offline"."""
    if key.concurrency is not None:
        return f"at {count_of(key.concurrency, 'concurrent request')}"
    return f"at {key.words}" if key.kind == "open" else key.words


# Effects ---------------------------------------------------------------------------------------------------------


def in_points(effect: Effect) -> bool:
    """Whether a difference is one of shares, such as accuracies, which are told in points of a hundredth.

    Where lower is better a value from 0 to 1 is no share: bits a byte, say.
    """
    shares = effect.kind == "difference" and effect.better == "higher"
    return shares and all(0 <= one.value <= 1 for one in (effect.a, effect.b))


def effect_size(effect: Effect, value: float) -> str:
    """An end of an effect without its unit: differences with their sign, in points where they are of shares.

    Two decimals for ratios near 1, one for points; all numbers of an effect have as many more as it takes for the ends
    of its interval to differ from each other and not to look like equality.
    """
    if effect.kind == "ratio" and effect.exact:
        return ratio_words(value).removesuffix("\u00d7")
    if effect.kind == "ratio" and not 0.1 <= value < 10:
        return short_number(value)
    factor, decimals = _form(effect)
    if effect.kind == "ratio":
        return f"{value:.{decimals}f}"
    text = f"{factor * value:+.{decimals}f}".replace("-", MINUS)
    return text if float(f"{factor * value:.{decimals}f}") else text[1:]


def _form(effect: Effect) -> tuple[float, int]:
    """By how much the numbers of an effect are multiplied, and their decimals."""
    points = in_points(effect)
    least = _RATIO_DECIMALS if effect.kind == "ratio" else _POINT_DECIMALS if points else _OTHER_DECIMALS
    factor = 100.0 if points else 1.0
    ends = {factor * one for one in (effect.contrast.low, effect.contrast.high) if one is not None}
    away = ends - {factor * effect.null}
    for decimals in range(least, least + (0 if effect.exact else _FURTHER_DECIMALS)):
        apart = len({round(end, decimals) for end in ends}) == len(ends)
        if apart and all(round(one, decimals) != factor * effect.null for one in away):
            return factor, decimals
    return factor, least if effect.exact else least + _FURTHER_DECIMALS


def over_shared(effect: Effect) -> str:
    """Of which items a difference is, where that is not the difference of the two scores beside it."""
    return " over the shared items" if effect.over_shared else ""


def effect_text(effect: Effect) -> str:
    """An effect with its unit: "1.32×", "+2.1 points"."""
    return effect_size(effect, effect.contrast.value) + unit_of(effect)


def unit_of(effect: Effect) -> str:
    """What follows the number of an effect."""
    return "×" if effect.kind == "ratio" else " points" if in_points(effect) else ""


def interval(effect: Effect) -> str:
    """The 95 % interval of an effect, or that there is none."""
    low, high = effect.contrast.low, effect.contrast.high
    if low is None or high is None:
        return "no interval"
    return f"{effect_size(effect, low)} to {effect_size(effect, high)}"


_VERDICTS = {
    "better": "better", "worse": "worse", "indistinguishable": "not told apart",
    "insufficient data": "too little data",
}


def verdict_words(effect: Effect) -> str:
    """A verdict as the pages and the terminal word it: counts that are alike are called what a matching calls them."""
    likeness = likeness_of(effect.contrast.value) if effect.exact else "not equal"
    return likeness if likeness != "not equal" else _VERDICTS[effect.verdict]


LIMIT = round(1 - CONFIDENCE, 6)
"""Below which Holm's p has to be for an effect to be better or worse."""


def p_text(p: float) -> str:
    """Holm's p in digits that are on the same side of the limit as it is: "< 0.001", "0.012", "< 0.05", "0.32"."""
    if p < 0.001:
        return "< 0.001"
    text = f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
    return f"< {LIMIT:.2f}" if p < LIMIT <= float(text) else text


def certain(effect: Effect) -> bool:
    """Whether an effect is better or worse for sure."""
    return effect.verdict in ("better", "worse")


def without_interval(effects: Sequence[Effect], unit: str) -> str:
    """Why effects have no interval: "too few repeats for an interval"."""
    alike = bool(effects) and all(NO_SPREAD in effect.contrast.basis for effect in effects)
    return f"{unit} {NO_SPREAD} and so no interval" if alike else f"too few {unit} for an interval"


def undecided(comparison: Comparison, effect: Effect) -> str:
    """Value, interval and what that excludes, for an effect that cannot be told from equality."""
    low, high = effect.contrast.low, effect.contrast.high
    text = f"{effect_text(effect)}, 95 % {interval(effect)}"
    if low is None or high is None:
        return text
    if not low <= effect.null <= high:
        tested = count_of(comparison.tested(effect.family), "effect")
        return f"{text}, which excludes equality, but not after correction for {tested}"
    if effect.kind == "ratio":
        return text
    most = effect_size(effect, max(abs(low), abs(high))).lstrip("+")
    return f"{text}: more than {most}{unit_of(effect)} either way is excluded"
