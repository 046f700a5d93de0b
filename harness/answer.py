"""The answer of a comparison in a sentence or two: its condition, what is certain, what is not, what was not measured.

Every number comes from the comparison. "Scores", "needs", "serves", "costs" and "is" are said only of effects whose
verdict is certain or which are counted, "overtakes" only where the interval of the crossover is closed. Else a model
"cannot be told from" the other, with what the interval excludes, or it "scored", "needed" or "gave" without a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.compare import Comparison, Effect
from harness.crossover import Crossover
from harness.quantities import capitalised, count_of, listed, plain
from harness.speed_words import Told, crossovers_told, speed_told
from harness.suite import MatchKind
from harness.wording import (
    ABOUT,
    certain,
    effect_size,
    effect_text,
    interval,
    load_words,
    named,
    ratio_words,
    undecided,
    unit_of,
)

_ONE_SENTENCE = 330
_REMARK = 400
_TOLD = 4
"""How many tasks are listed; of more the number is told."""


@dataclass(frozen=True)
class Answer:
    """A comparison in words."""

    sentences: tuple[str, ...]
    """The first begins with the condition: in what the two are alike, or how far they are not."""
    crossovers: tuple[str, ...]
    """One a workload whose crossover the sentences do not tell."""

    @property
    def text(self) -> str:
        """The sentences as one text."""
        return " ".join(self.sentences)


def answer(comparison: Comparison, crossings: Sequence[Crossover] = ()) -> Answer:
    """What a comparison says from a's view; `crossings` are those of the same two models."""
    speed, main = speed_told(comparison, crossings)
    parts = (_quality(comparison), _memory(comparison), _cost(comparison), speed)
    clauses = [clause for part in parts for clause in part.clauses]
    missing = [sentence for part in parts for sentence in part.missing]
    others = [one for one in crossings if one is not main]
    told = crossovers_told(comparison, others, several=len(crossings) > 1)
    return Answer((*_sentences(comparison, clauses), *missing), told)


def answer_lines(comparison: Comparison, crossings: Sequence[Crossover]) -> tuple[str, ...]:
    """What the terminal prints under the table: the answer, how far the two match, what limits the comparison."""
    told, matching = answer(comparison, crossings), comparison.matching
    matches = [
        ("equal: " if match.equal else "not equal: ") + match.words
        + (f" {load_words(match.at)}" if match.at else "") for match in matching.matches
    ]
    remarks = (*comparison.missing, *dict.fromkeys(comparison.caveats))
    return (
        told.text, *told.crossovers, "", "Matching", *(f"- {one}" for one in matches),
        *(["", "To hold against it"] if remarks else []), *(f"- {plain(remark, _REMARK)}" for remark in remarks),
    )


def _sentences(comparison: Comparison, clauses: Sequence[str]) -> tuple[str, ...]:
    """The clauses as one sentence, or two where that would be long."""
    condition, a, b = condition_words(comparison), named(comparison.a.model), named(comparison.b.model)
    if not clauses:
        return (f"{condition}, {a} and {b} have no measurement that could be compared.",)
    if not any(b in clause for clause in clauses):
        condition = f"Against {b}, {condition[0].lower()}{condition[1:]}"
    whole = f"{condition}, {a} {_row(clauses)}."
    if len(whole) <= _ONE_SENTENCE or len(clauses) == 1:
        return (whole,)
    return f"{condition}, {a} {_row(clauses[:-1])}.", f"It {clauses[-1]}."


def _row(clauses: Sequence[str]) -> str:
    return listed(clauses) if len(clauses) < 3 else f"{', '.join(clauses[:-1])}, and {clauses[-1]}"


# The condition ---------------------------------------------------------------------------------------------------


def condition_words(comparison: Comparison) -> str:
    """In what two models are alike, or how far they are not: "At equal active parameters (0.98×)".

    Parameters go before what depends on the load; of quality the sentence itself speaks.
    """
    matching = comparison.matching
    equal = {match.kind: ratio_words(match.mismatch) for match in matching.matches if match.equal}
    unlike = _unlike(comparison)
    sizes = [(noun, equal[kind]) for kind, noun in _SIZES.items() if kind in equal]
    if len(sizes) > 1:
        return f"At equal {listed(f'{noun} ({ratio})' for noun, ratio in sizes)} parameters{unlike}"
    if sizes:
        return f"At equal {sizes[0][0]} parameters ({sizes[0][1]}){unlike}"
    unequal = "with parameters that could not be counted"
    if matching.active_ratio is not None and matching.total_ratio is not None:
        active, total = ratio_words(matching.active_ratio), ratio_words(matching.total_ratio)
        unequal = f"with {active} the active and {total} the total parameters"
    loads = [f"{noun} ({equal[kind]})" for kind, noun in _AT_A_LOAD.items() if kind in equal]
    return capitalised(f"at equal {loads[0]} and {unequal}" if loads else unequal) + unlike


def _unlike(comparison: Comparison) -> str:
    """In what the two were served differently, as far as that says what is compared."""
    a, b = comparison.a.subject, comparison.b.subject
    found = [
        f"{named(one)} against {named(other)}"
        for one, other in ((a.precision, b.precision), (a.quantization or "none", b.quantization or "none"))
        if one != other
    ]
    if a.tensor_parallel != b.tensor_parallel:
        found.append(f"{a.tensor_parallel} against {count_of(b.tensor_parallel, 'device')}")
    return f" but {listed(found)}" if found else ""


_SIZES: dict[MatchKind, str] = {"iso-active": "active", "iso-total": "total"}
_AT_A_LOAD: dict[MatchKind, str] = {"iso-memory": "memory", "iso-flops": "decode FLOPs/token", "iso-cost": "cost"}


# Quality ---------------------------------------------------------------------------------------------------------


def whole_score(comparison: Comparison) -> Effect | None:
    """The mean score, or the score of the only task."""
    tasks = [effect for effect in comparison.effects if effect.metric.startswith("score:")]
    return comparison.effect("mean_score") or (tasks[0] if len(tasks) == 1 else None)


def _quality(comparison: Comparison) -> Told:
    whole = whole_score(comparison)
    tasks = [effect for effect in comparison.effects if effect.metric.startswith("score:")]
    if whole is not None:
        return Told((_score_clause(comparison, whole),))
    if tasks:
        why = _why_no_score(comparison)
        return Told((_tasks_clause(comparison, tasks),), (f"Mean scores were not compared: {why}.",) if why else ())
    return Told((), (f"Quality was not compared: {_why_no_score(comparison) or 'the two share no task'}.",))


def _score_clause(comparison: Comparison, effect: Effect) -> str:
    """One score of a beside b's."""
    b, mean = named(comparison.b.model), effect.metric == "mean_score"
    name = "mean score" if mean else f"score on {named(effect.title)}"
    lower = ", where lower is better" if effect.better == "lower" else ""
    if effect.verdict == "indistinguishable":
        return f"cannot be told from {b} in {name} ({undecided(comparison, effect)}){lower}"
    value = effect_size(effect, abs(effect.contrast.value)).lstrip("+") + unit_of(effect)
    side = "above" if effect.contrast.value > 0 else "below"
    told = f"{value} {side} {b}" if effect.contrast.value else f"the same as {b}"
    where = "in mean score" if mean else f"on {named(effect.title)}"
    if not certain(effect):
        return f"scored {told} {where}{lower}, with too little data for an interval"
    return f"scores {told} {where}{lower} (95 % {_without_sign(effect)})"


def _without_sign(effect: Effect) -> str:
    """The interval of a certain difference as distances from 0, the smaller first."""
    ends = sorted(abs(end) for end in (effect.contrast.low, effect.contrast.high) if end is not None)
    return " to ".join(effect_size(effect, end).lstrip("+") for end in ends)


def _tasks_clause(comparison: Comparison, tasks: Sequence[Effect]) -> str:
    """Tasks by their verdicts, where there is no mean of them."""
    b, parts = named(comparison.b.model), list[str]()
    for verdict, words in _TASK_WORDS.items():
        found = [effect for effect in tasks if effect.verdict == verdict]
        if found:
            parts.append(words.format(b if not parts else "it", _tasks(found, len(tasks), verdict)))
    return _row(parts)


_TASK_WORDS = {
    "better": "is better than {} on {}",
    "worse": "is worse than {} on {}",
    "indistinguishable": "cannot be told from {} on {}",
    "insufficient data": "has too little data for a comparison with {} on {}",
}


def _tasks(found: Sequence[Effect], number: int, verdict: str) -> str:
    if number > _TOLD:
        return f"{len(found)} of {count_of(number, 'task')}"
    if verdict == "insufficient data":
        return listed(named(effect.title) for effect in found)
    return listed(f"{named(effect.title)} ({effect_text(effect)}, 95 % {interval(effect)})" for effect in found)


def _why_no_score(comparison: Comparison) -> str:
    a, b = comparison.a, comparison.b
    reasons = [f"{named(one.model)}: {one.no_mean_score}" for one in (a, b) if one.no_mean_score]
    if a.no_mean_score == b.no_mean_score:
        reasons = [a.no_mean_score] if a.no_mean_score else []
    scores = [reason for reason in comparison.missing if reason.startswith("scores: ")]
    return "; ".join(scores + reasons)


# Memory ----------------------------------------------------------------------------------------------------------

_MEMORY = {
    "device_peak_bytes": "memory at its peak", "weights_and_cache_bytes": "memory for weights and cache",
    "weights_bytes": "memory for its weights", "resident_peak_bytes": "memory of the host at its peak",
}


def memory_effect(comparison: Comparison) -> Effect | None:
    """What says most of the memory needed, of what is known of both.

    The devices' measured peak, the counted weights and cache of the largest shared load, the weights alone, the host's
    measured peak.
    """
    return next((effect for key in _MEMORY if (effect := comparison.effect(key))), None)


def _memory(comparison: Comparison) -> Told:
    effect = memory_effect(comparison)
    if effect is None:
        return Told((), ("Memory was not compared.",))
    what = _MEMORY[effect.metric]
    if effect.exact:
        load = f" {load_words(effect.point)}" if effect.point else ""
        ratio = effect.contrast.value
        if abs(ratio - 1) < ABOUT:
            return Told((f"needs {'as much' if ratio == 1 else 'about as much'} {what}{load}",))
        return Told((f"needs {effect_text(effect)} the {what}{load}",))
    return Told((_ratio_clause(comparison, effect, ("needs", "needed"), what),))


def _cost(comparison: Comparison) -> Told:
    """The price of the output at the largest shared load, where it is known."""
    effect = comparison.effect("usd_per_million_output_tokens")
    if effect is None or effect.point is None:
        return Told()
    what = f"cost of an output token {load_words(effect.point)}"
    return Told((_ratio_clause(comparison, effect, ("has", "had"), what),))


def _ratio_clause(comparison: Comparison, effect: Effect, verbs: tuple[str, str], what: str) -> str:
    """A measured ratio of one thing; the first verb claims, the second only tells."""
    if certain(effect):
        return f"{verbs[0]} {effect_text(effect)} the {what} (95 % {interval(effect)})"
    if effect.verdict == "indistinguishable":
        return f"cannot be told from {named(comparison.b.model)} in {what} ({undecided(comparison, effect)})"
    return f"{verbs[1]} {effect_text(effect)} the {what}, with too few repeats for an interval"
