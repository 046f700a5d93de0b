"""What the numbers of a suite say in words: facts, conditions, and what leads by how much."""

from __future__ import annotations

from collections.abc import Sequence

from harness.pages.parts import Link, best_of, in_words
from harness.pages.suite_view import (
    SuiteView,
    at_load,
    comparable,
    hardware_text,
    load_text,
    point_text,
    ranking,
    scale_for,
)
from harness.quantities import Scale, capitalised, count_of, listed, plain, significant
from harness.scenario import ServingScenario
from harness.summary import ModelSummary, PointKey, same_hardware


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
    engines = sorted({f"vLLM {model.environment.versions.get('vllm', 'of unknown version')}" for model in view.models})
    parts.append(f"Weights in {listed(precisions)}, engine {plain(listed(engines), 120)}. Intervals are 95 %.")
    if len({model.subject.accelerator for model in view.models}) > 1:
        parts.append("The models were measured on different hardware: compare their scores, not their speeds.")
    return " ".join(parts)


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
    recipes = [group for group in view.groups if comparable(group, view.score, view.point)]
    subjects = recipes if len(recipes) > 1 else list(view.models)
    noun = "recipe" if subjects is recipes else "model"
    sentences = [_score_sentence(view, subjects, noun) if view.tasks else ""]
    sentences.append(_speed_sentence(view, subjects))
    gaps = {
        (gap.model, gap.what) for model in view.models for gap in model.gaps
        if not gap.measured_before and gap.status != "skipped"
    }
    if gaps:
        names = sorted({plain(model, 60) for model, _ in gaps})
        sentences.append(f"Not measured: {count_of(len(gaps), 'cell')} of {_some(names)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def _score_sentence(view: SuiteView, subjects: Sequence[ModelSummary], noun: str) -> str:
    ranks, scale = ranking(subjects, view), scale_for(view, view.score)
    found = {name: one for model in subjects if (name := model.model) in ranks
             and (one := comparable(model, view.score, view.point))}
    if not found:
        return f"No {noun} has a {view.score_title} yet."
    ordered = sorted(found, key=lambda name: (ranks[name], -found[name].value))
    first, top = ordered[0], [name for name in ordered if ranks[name][0] == 1]
    title = view.score_title
    if len(ordered) == 1:
        return f"Only {plain(first, 80)} has a {title}: {in_words(found[first], scale)}."
    if len(top) == 1:
        gap = (found[first].value - found[ordered[1]].value) / scale.divisor
        unit = "points " if scale.unit == "%" else ""
        return (f"{plain(first, 80)} leads with a {title} of {in_words(found[first], scale)}, "
                f"{significant(abs(gap), 2)} {unit}ahead of {plain(ordered[1], 80)}.")
    values = sorted(found[name].value / scale.divisor for name in top)
    ends = dict.fromkeys([significant(values[0]), significant(values[-1])])
    span = " to ".join(ends) + (f" {scale.unit}" if scale.unit else "")
    everyone = len(top) == len(ordered)
    others = len(ordered) - len(top)
    rest = "" if everyone else f"; the other {noun} ranks" if others == 1 else f"; the other {others} {noun}s rank"
    rest += " below" if rest else ""
    who = f"All {len(top)} {noun}s" if everyone and len(top) > 2 else _some([plain(name, 60) for name in top])
    return f"{who} cannot be told apart by {title} ({span}){rest}."


def _speed_sentence(view: SuiteView, subjects: Sequence[ModelSummary]) -> str:
    key = "output_tokens_per_s"
    found = [(model, one) for model in subjects if (one := comparable(model, key, view.point))]
    if view.point and found and len(subjects) == 1:
        speed = in_words(found[0][1], Scale("tokens/s", 1.0))
        return f"{capitalised(at_load(view.point))} {plain(found[0][0].model, 60)} gives {speed}."
    if view.point is None or len(found) < 2 or not all(same_hardware(found[0][0], model) for model, _ in found):
        return ""
    found.sort(key=lambda entry: -entry[1].value)
    estimates, names = [one for _, one in found], [plain(model.model, 60) for model, _ in found]
    where = capitalised(at_load(view.point))
    if best_of(estimates, "higher") == 0:
        ratio = significant(estimates[0].value / estimates[1].value)
        return (f"{where} {names[0]} gives the most output, {significant(estimates[0].value)} tokens/s, "
                f"{ratio} × that of {names[1]}.")
    tied = [name for name, one in zip(names, estimates, strict=True) if best_of([estimates[0], one], "higher") is None]
    if not tied[1:]:
        return ""
    others = _some([name for name in dict.fromkeys(tied) if name != names[0]])
    return f"{where} {names[0]}, the fastest on average, cannot be told from {others}."


def _some(names: Sequence[str], limit: int = 3) -> str:
    if len(names) <= limit + 1:
        return listed(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def legend_of(view: SuiteView) -> str:
    """How to read the table."""
    return (
        f"Rank by {view.score_title}; models whose intervals overlap share ranks. \u00b1 is the 95 % interval, over "
        "repeats in fresh processes for speed and memory, over items for scores; what is counted has none, and n = 1 "
        "stands where there are too few repeats for one. Bold is the best of a column where it can be told from the "
        "second. \u2191 higher is better, \u2193 lower is better. The bar shows active parameters within the total. "
        "Marks explain themselves on focus; what is flagged is not ranked. The table scrolls sideways; Columns chooses "
        "what it shows."
    )
