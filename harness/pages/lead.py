"""What the numbers of a suite say in words: facts, conditions, and what leads by how much."""

from __future__ import annotations

from collections.abc import Sequence

from harness.compare import Effect, on_same_items, score_effect
from harness.pages.facets import engine_text
from harness.pages.parts import Link, in_words
from harness.pages.suite_view import (
    SuiteView,
    at_load,
    contest_of,
    hardware_text,
    load_text,
    point_text,
    scale_for,
)
from harness.quantities import Scale, capitalised, count_of, listed, plain, significant
from harness.ranking import ASKED_OTHERWISE, SHARED, Contest, Entrant, best_of, leading, singles_of
from harness.record import NOT_STATED
from harness.scenario import ServingScenario
from harness.summary import PointKey, sample_unit
from harness.wording import certain, effect_size, effect_text, in_points, interval, unit_of


def facts_of(view: SuiteView) -> tuple[Link, ...]:
    """The line under the title: date, hardware, models, failed cells with the section that lists them."""
    hardware = sorted({hardware_text(model) for model in view.models})
    gaps = [gap for model in view.models for gap in model.gaps if not gap.measured_before]
    cells = {state: len({(g.model, g.what) for g in gaps if g.status == state}) for state in ("failed", "refused")}
    facts = [
        f"Newest record {view.newest:%Y-%m-%d}",
        " and ".join(hardware) if len(hardware) < 3 else f"{len(hardware)} kinds of hardware",
        count_of(len(view.models), "model") + (f" of {count_of(len(view.groups), 'recipe')}" if view.groups else ""),
    ]
    told = [state for state in cells if state == "failed" or cells[state]]
    lists = [Link("#failures" if cells[state] else "", count_of(cells[state], f"{state} cell")) for state in told]
    return (*(Link("", fact) for fact in facts), *lists)


def conditions_of(view: SuiteView) -> str:
    """What is compared under which conditions, in a line."""
    parts = [view.description] if view.description else []
    repeats = sorted(_repeats(view))
    if view.point and repeats:
        span = str(repeats[0]) if repeats[0] == repeats[-1] else f"{repeats[0]} to {repeats[-1]}"
        parts.append(f"{_load_words(view, view.point)}; mean of {span} fresh process{'es' if span != '1' else ''}.")
    precisions = sorted({plain(model.subject.precision, 40) for model in view.models})
    parts.append(f"Weights in {listed(precisions)}, engine {_engines(view)}. Intervals are 95 %.")
    if len({model.subject.accelerator for model in view.models}) > 1:
        parts.append("The models were measured on different hardware: compare their scores, not their speeds.")
    return " ".join(parts)


def _engines(view: SuiteView) -> str:
    """By what the models were run, as their rows have it."""
    engines = sorted({engine_text(model) for model in view.models})
    known = [engine for engine in engines if engine != NOT_STATED]
    return plain(listed([*known, f"one that is {NOT_STATED}"] if known != engines and known else engines), 120)


def _load_words(view: SuiteView, point: PointKey) -> str:
    """The load of the table's speed: arrivals, lengths, how many requests, least duration, warm-up."""
    parts = [f"Speed: {_arrivals(point)}, {point_text(point)} each"]
    scenario = _scenario_at(view, point)
    if scenario is None:
        return parts[0]
    least = "at least " if scenario.load.kind in ("closed", "open") and scenario.min_duration_s else ""
    span = f" and {scenario.min_duration_s:g} s" if scenario.min_duration_s else ""
    parts.append(f"{least}{count_of(scenario.requests, 'request')}{span} a run")
    if scenario.warmup_s:
        parts.append(f"after a warm-up until the output rate is steady, of at most {scenario.warmup_s:g} s")
    return ", ".join(parts)


def _scenario_at(view: SuiteView, point: PointKey) -> ServingScenario | None:
    """The scenario of a record behind the table's speeds; None where nothing was measured."""
    speeds = [one for model in view.models if (one := model.estimate("output_tokens_per_s", point))]
    facts = (view.records.facts.get(path) for one in speeds for path in one.sources)
    return next((fact.serving for fact in facts if fact is not None), None)


def _arrivals(point: PointKey) -> str:
    if point.kind == "closed":
        return f"{load_text(point)}, each followed by the next"
    if point.kind == "open":
        return f"{'Poisson' if point.burstiness == 1 else 'gamma'} arrivals at {load_text(point)}"
    return "arrivals as the trace says" if point.kind == "replay" else "all requests there at the start"


def _repeats(view: SuiteView) -> set[int]:
    found = (model.estimate("output_tokens_per_s", view.point) for model in view.models)
    return {estimate.n for estimate in found if estimate is not None}


def lead_of(view: SuiteView) -> str:
    """What leads, by how much, what is tied, what was not measured: generated from the numbers."""
    sentences = [_score_sentence(view) if view.tasks else "", _speed_sentence(view)]
    gaps = {
        (gap.model, gap.what) for model in view.models for gap in model.gaps
        if not gap.measured_before and gap.status != "skipped"
    }
    if gaps:
        names = sorted({plain(model, 60) for model, _ in gaps})
        sentences.append(f"Not measured: {count_of(len(gaps), 'cell')} of {_some(names)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def _score_sentence(view: SuiteView) -> str:
    """Who leads by the score, or whose intervals overlap, and what a test of the first against the second says."""
    standing, title = leading(view.recipe_standing, view.standing), view.score_title
    if not standing.entrants:
        ways = "the models were asked in several ways, none of which is the most common"
        return f"No model leads by {title}: {ways}." if standing.unlike else f"No model has a {title} yet."
    noun = "recipe" if standing.entrants[0][0].members else "model"
    sign = -1 if standing.better == "higher" else 1
    ordered = sorted(standing.entrants, key=lambda one: (sign * one[1].value, one[0].model))
    first, scale = plain(ordered[0][0].model, 80), scale_for(view, view.score)
    apart, beside = _asked_otherwise(standing, noun), _beside(view, standing, view.score)
    value = in_words(ordered[0][1], scale)
    if len(ordered) == 1:
        has = "has a" if standing.lead == "only one" else "can be ranked by its"
        return f"Only {first} {has} {title}: {value}.{apart}{beside}"
    if standing.lead != "shared":
        side = "ahead of" if standing.better == "higher" else "below"
        leads = "leads" if standing.lead == "leads" else f"is first of the {noun}s that were asked alike"
        return (f"{_of_recipes(view, standing)}{first} {leads} with a {title} of {value}, "
                f"{_gap(view, ordered, scale)} {side} {plain(ordered[1][0].model, 80)}.{apart}{beside}")
    return f"{_overlap(view, standing, ordered, noun)}{_against_second(view, ordered)}{apart}{beside}"


def _of_recipes(view: SuiteView, standing: Contest) -> str:
    """The beginning of a sentence about what leads where single models are ranked apart from it; else empty."""
    return "Of the recipes, " if standing.entrants[0][0].members and singles_of((*view.groups, *view.models)) else ""


def _beside(view: SuiteView, standing: Contest, key: str) -> str:
    """What is best of the single models where the sentence before is about recipes."""
    singles = singles_of((*view.groups, *view.models))
    if not singles or not standing.entrants[0][0].members:
        return ""
    found = contest_of(singles, key, view.point)
    if not found.entrants or found.unlike:
        return ""
    sign = -1 if found.better == "higher" else 1
    model, best = min(found.entrants, key=lambda one: (sign * one[1].value, one[0].model))
    who = f"Ranked apart is the single model {plain(model.model, 80)}"
    if len(found.entrants) > 1:
        end = "highest" if found.better == "higher" else "lowest"
        who = f"Of {count_of(len(found.entrants), 'single model')}, ranked apart, {plain(model.model, 80)} is {end}"
    return f" {who} with {in_words(best, scale_for(view, key))}."


def _gap(view: SuiteView, ordered: Sequence[Entrant], scale: Scale) -> str:
    """By how much the first is ahead of the second, as the page of the pair has it."""
    (first, best), (second, next_) = ordered[:2]
    effect = score_effect(first, second, view.score)
    if effect is not None and in_points(effect):
        return _size(effect)
    gap = abs(best.value - next_.value) / scale.divisor
    return f"{significant(gap, 2)}{' points' if scale.unit == '%' else ''}"


def _size(effect: Effect) -> str:
    return effect_size(effect, abs(effect.contrast.value)).lstrip("+") + unit_of(effect)


def _overlap(view: SuiteView, standing: Contest, ordered: Sequence[Entrant], noun: str) -> str:
    """Whose intervals overlap, so that they share the first rank; how many rank below."""
    top = [entrant for entrant in ordered if standing.ranks[entrant[0].model][0] == 1]
    scale, title = scale_for(view, view.score), view.score_title
    values = sorted(one.value / scale.divisor for _, one in top)
    ends = dict.fromkeys([significant(values[0]), significant(values[-1])])
    span = " to ".join(ends) + (f" {scale.unit}" if scale.unit else "")
    others = len(ordered) - len(top)
    rest = f"; the other {noun} ranks below" if others == 1 else f"; the other {others} {noun}s rank below"
    everyone = not others and len(top) > 2
    who = f"all {len(top)} {noun}s" if everyone else _some([plain(model.model, 60) for model, _ in top])
    told = f"The 95 % intervals of {who} overlap in {title}"
    if standing.why_shared != "overlap":
        told = f"{capitalised(who)} share rank 1 by {title}, {SHARED[standing.why_shared]}"
    return f"{told} ({span}){rest if others else ''}."


def _against_second(view: SuiteView, ordered: Sequence[Entrant]) -> str:
    """The verdict on the two highest, which may be told apart where their intervals overlap.

    Only where both were asked the same items, or are groups of trainings. That the first was chosen for being first
    does not make its test against the second err more often than 5 %. Source: Hung and Fithian 2019, Annals of
    Statistics 47:758.
    """
    (first, _), (second, _) = ordered[:2]
    effect = score_effect(first, second, view.score)
    grouped = sample_unit(first, second) == "trainings"
    if effect is None or effect.verdict == "insufficient data" or not (
        grouped or on_same_items(first, second, view.score)
    ):
        return ""
    where = "Over their trainings" if grouped else "On the same items"
    return f" {where} {plain(first.model, 60)} {_told(effect, plain(second.model, 60))}."


def _told(effect: Effect, other: str) -> str:
    """An effect on the second of two, as what follows the first one's name."""
    if not certain(effect):
        return f"cannot be told from {other} ({effect_text(effect)}, 95 % {interval(effect)})"
    side = "above" if effect.contrast.value > 0 else "below"
    return f"is {_size(effect)} {side} {other} (95 % {interval(effect)})"


def _asked_otherwise(standing: Contest, noun: str) -> str:
    """How many have a score that is not ranked with the others."""
    number = sum(reason.startswith(ASKED_OTHERWISE) for reason in standing.out.values())
    if not number:
        return ""
    verb = "is" if number == 1 else "are"
    return f" {capitalised(count_of(number, f'more {noun}'))} {verb} not ranked, having been asked otherwise."


def _speed_sentence(view: SuiteView) -> str:
    parts = (contest_of(some, "output_tokens_per_s", view.point) for some in (view.groups, view.models))
    standing = leading(*parts)
    if view.point is None or not standing.entrants or standing.unlike:
        return ""
    found = sorted(standing.entrants, key=lambda entrant: -entrant[1].value)
    estimates, names = [one for _, one in found], [plain(model.model, 60) for model, _ in found]
    where, beside = capitalised(at_load(view.point)), _beside(view, standing, "output_tokens_per_s")
    if len(found) == 1:
        alone = f"{where} {names[0]} gives {in_words(estimates[0], Scale('tokens/s', 1.0))}."
        return alone if len(view.models) == 1 else ""
    first = f"{where}{_among(standing, beside)} {names[0]}"
    if best_of(estimates, "higher") == 0:
        ratio = significant(estimates[0].value / estimates[1].value)
        return (f"{first} gives the most output, {significant(estimates[0].value)} tokens/s, "
                f"{ratio} \u00d7 that of {names[1]}.{beside}")
    near = [name for name, one in zip(names[1:], estimates[1:], strict=True)
            if best_of([estimates[0], one], "higher") is None]
    if all(one.has_interval for one in estimates):
        whose = "that" if len(near) == 1 else "those"
        return f"{first} is the fastest on average; its interval overlaps {whose} of {_some(near)}.{beside}"
    return f"{first} is the fastest on average; for lack of repeats not all have an interval.{beside}"


def _among(standing: Contest, beside: str) -> str:
    """Of which it is said who is first, where that is not all; empty where it is."""
    noun = "recipes" if standing.entrants[0][0].members else "models"
    if not standing.has_flagged and (noun == "models" or not beside):
        return ""
    return f", of the {noun}{' without a flag' if standing.has_flagged else ''},"


def _some(names: Sequence[str], limit: int = 3) -> str:
    if len(names) <= limit + 1:
        return listed(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def legend_of(view: SuiteView) -> str:
    """How to read the table."""
    return (
        f"Rank by {view.score_title}; models whose intervals overlap share ranks. \u00b1 is the 95 % interval, over "
        "repeats in fresh processes for speed and memory, over items for scores; what is counted has none, and n = 1 "
        "stands where there are too few repeats for one. Bold is the best of a column where its interval overlaps no "
        "other; where it does, the page of a pair may still tell the two apart on the same items. \u2191 higher is "
        "better, \u2193 lower is better. The bar shows active parameters within the total. Marks explain themselves on "
        "focus; a flagged timing is never bold. The table scrolls sideways; Columns chooses "
        "what it shows."
    )
