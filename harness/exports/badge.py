"""A badge for a README: one figure of a model, or who leads a suite, as an SVG that needs nothing else."""

from __future__ import annotations

import re
from html import escape

from harness.errors import InputError, nearest
from harness.exports.glyphs import text_width
from harness.exports.parts import Exported
from harness.exports.printed import one_line, value_texts
from harness.metrics import METRICS, Metric
from harness.quantities import Scale, count_of, grouped, scale_of, significant
from harness.ranking import SHARED, Contest, Lead, contests, is_timed, singles_of
from harness.stats import Estimate
from harness.summary import ModelSummary

_FALLBACKS = ("output_tokens_per_s", "active_parameters", "weights_bytes")
_LABEL = "#3b4148"
_COLOURS = {True: "#0072b2", False: "#b34a00", None: "#5b636b"}
"""Behind the value: sparse, dense, neither. White text on each has a contrast above 5."""
_SIZE = 11
_PADDING = 6
_HEIGHT = 20
_LONGEST = 60
_REASON = 200
_LEADS: dict[Lead, str] = {
    "leads": "{} leads", "first of those alike": "{} is first of those asked alike", "only one": "only {} is measured",
    "only one ranked": "only {} can be ranked", "first of those not flagged": "{} is first of those not flagged",
}


def has_badge(exported: Exported, summary: ModelSummary | None = None) -> bool:
    """Whether there is something to tell of a model, or of a suite, by default."""
    if summary is not None:
        return _default(exported, summary) is not None
    return bool(_leading(exported, exported.metric(exported.score)).entrants)


def model_badge(exported: Exported, summary: ModelSummary, key: str | None = None) -> str:
    """The badge of one figure of a model; by default of the score that ranks, else of what was measured.

    Raises InputError, naming what is near, where the model has no such figure.
    """
    key = key or _default(exported, summary)
    estimate = summary.estimate(key, exported.point) if key is not None else None
    name = one_line(summary.model, _LONGEST)
    if key is None or estimate is None:
        known = [one for one in _keys(exported) if summary.estimate(one, exported.point) is not None]
        raise InputError(f"{name} has no {key or 'figures'}", where="--metric", hint=nearest(key or "", known))
    metric = exported.metric(key)
    scale = scale_of(metric.unit, [estimate.value])
    text, around = value_texts(estimate, scale)
    shown = " ".join(part for part in (text, scale.unit, around) if part)
    label = f"{one_line(exported.suite, _LONGEST)}: {_what(exported, metric)}"
    return _svg(label, shown, f"{name}, {label}: {_in_words(estimate, scale)}", _COLOURS[summary.is_moe])


def suite_badge(exported: Exported, key: str | None = None) -> str:
    """The badge of what leads a suite by a metric, by default the score that ranks; a shared rank is told as such.

    Of several groups of trainings the best one, else of the single models. Raises InputError where no model has the
    metric, it has no better end, was measured on different hardware, or was asked in as many ways.
    """
    key = key or exported.score
    metric = exported.metric(key)
    found = _leading(exported, metric)
    timed = found.unlike if is_timed(metric) or metric.scenario == "memory" else ""
    if metric.better == "none" or not found.entrants or timed:
        what = "has no better end" if metric.better == "none" else "is known of no model"
        if metric.better != "none" and found.unlike:
            what = f"has no leader: {one_line(found.unlike, _REASON)}"
        hint = "choose another --metric, or a --model"
        raise InputError(f"{one_line(key, _LONGEST)} {what}", where="--metric", hint=hint)
    first, number = found.first, len(found.entrants)
    thing = "recipe" if first[0][0].members else "model"
    label = f"{one_line(exported.suite, _LONGEST)}: {_what(exported, metric)}"
    names = ", ".join(one_line(summary.model, _LONGEST) for summary, _ in first[:5])
    if len(first) > 1:
        shown = f"{len(first)} of {count_of(number, thing)} share rank 1"
        why = SHARED[found.why_shared]
        return _svg(label, shown, f"{label}: {shown}, {why}, among them {names}", _COLOURS[None])
    summary, estimate = first[0]
    scale = scale_of(metric.unit, [estimate.value])
    text, around = value_texts(estimate, scale)
    shown = " ".join(part for part in (names, text, scale.unit, around) if part)
    of = "of the recipes, " if summary.members and singles_of(exported.summaries) else ""
    what = f"{of}{_LEADS[found.lead].format(names)}"
    return _svg(label, shown, f"{label}: {what}, {_in_words(estimate, scale)}", _COLOURS[summary.is_moe])


def _leading(exported: Exported, metric: Metric) -> Contest:
    """Who competes for the badge of a suite: recipes where there are several, else models."""
    found = contests(exported.summaries, metric, exported.point)
    return found[0] if found else Contest((), metric.better, {})


def _default(exported: Exported, summary: ModelSummary) -> str | None:
    """The metric of a badge for which none was asked: random weights have neither score nor speed."""
    trained = (exported.score, *_FALLBACKS[:1]) if summary.subject.weights != "dummy" else ()
    keys = (*trained, *_FALLBACKS[1:])
    return next((key for key in keys if summary.estimate(key, exported.point) is not None), None)


def _keys(exported: Exported) -> list[str]:
    return [*(key for key in METRICS if key != "score"), *(f"score:{task}" for task in exported.tasks)]


def _what(exported: Exported, metric: Metric) -> str:
    """The metric in words, with the load where it depends on that."""
    title = one_line(metric.title, _LONGEST)
    title = title if title[1:2].isupper() or metric.key.startswith("score:") else title[:1].lower() + title[1:]
    if metric.scenario not in ("serving", "routing") or exported.point is None:
        return title
    load = exported.point.concurrency
    return f"{title}, {f'{grouped(load, 0)} concurrent' if load else one_line(exported.point.words, _LONGEST)}"


def _in_words(estimate: Estimate, scale: Scale) -> str:
    unit = f" {scale.unit}" if scale.unit else ""
    text = f"{significant(estimate.value / scale.divisor)}{unit}"
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return text
    low, high = (significant(end / scale.divisor) for end in (estimate.low, estimate.high))
    return f"{text} (95 % interval {low} to {high})"


def _svg(label: str, shown: str, title: str, colour: str) -> str:
    """Two fields side by side; `textLength` makes the text fit whatever font the reader has."""
    label, shown, title = (_legal(text) for text in (label, shown, title))
    widths = [text_width(text, _SIZE) for text in (label, shown)]
    left, right = (round(width) + 2 * _PADDING for width in widths)
    total = left + right
    texts = "".join(
        f'<text x="{x}" y="14" textLength="{round(width)}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        for x, width, text in ((_PADDING, widths[0], label), (left + _PADDING, widths[1], shown))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{_HEIGHT}" viewBox="0 0 {total} {_HEIGHT}" '
        f'role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f'<rect width="{total}" height="{_HEIGHT}" rx="3" fill="{colour}"/>'
        f'<path d="M3 0H{left}V{_HEIGHT}H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="{_LABEL}"/>'
        f'<g fill="#fff" font-family="Helvetica,Arial,\'Liberation Sans\',sans-serif" font-size="{_SIZE}" '
        f'xml:space="preserve">{texts}</g></svg>\n'
    )


def _legal(text: str) -> str:
    """`text` without what XML 1.0 cannot carry."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
