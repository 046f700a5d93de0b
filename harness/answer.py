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
from harness.matching import MATCH_NOUNS, MEASURED, Match, likeness_of
from harness.quantities import capitalised, count_of, listed, plain, ratio_words
from harness.speed_words import Told, crossovers_told, speed_told, why_other_hardware
from harness.suite import MatchKind
from harness.summary import sample_unit
from harness.wording import (
    certain,
    effect_size,
    effect_text,
    interval,
    load_words,
    named,
    over_shared,
    undecided,
    unit_of,
    without_interval,
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
    names_other = any(part.names_other for part in parts if part.clauses)
    missing = [sentence for part in parts for sentence in part.missing]
    others = [one for one in crossings if one is not main]
    told = crossovers_told(comparison, others, several=len(crossings) > 1)
    return Answer((*_sentences(comparison, clauses, names_other=names_other), *missing), told)


def answer_lines(comparison: Comparison, crossings: Sequence[Crossover]) -> tuple[str, ...]:
    """What the terminal prints under the table: the answer, how far the two match, what limits the comparison."""
    told, matching = answer(comparison, crossings), comparison.matching
    matches = [
        f"{match.likeness}{', as estimated' if match.kind in MEASURED and match.equal else ''}: {match.words}"
        + (f" {load_words(match.at)}" if match.at else "") for match in matching.matches
    ]
    remarks = (*comparison.missing, *dict.fromkeys(comparison.caveats))
    return (
        told.text, *told.crossovers, "", "Matching", *(f"- {one}" for one in matches),
        *(["", "To hold against it"] if remarks else []), *(f"- {plain(remark, _REMARK)}" for remark in remarks),
    )


def _sentences(comparison: Comparison, clauses: Sequence[str], *, names_other: bool) -> tuple[str, ...]:
    """The clauses as one sentence, or two where that would be long; `names_other` says whether they have b's name."""
    condition, a, b = condition_words(comparison), named(comparison.a.model), named(comparison.b.model)
    if not clauses:
        return (f"{condition}, {a} and {b} have no measurement that could be compared.",)
    if not names_other:
        condition = f"Against {b}, {condition[0].lower()}{condition[1:]}"
    whole = f"{condition}, {a} {_row(clauses)}."
    if len(whole) <= _ONE_SENTENCE or len(clauses) == 1:
        return (whole,)
    return f"{condition}, {a} {_row(clauses[:-1])}.", f"It {clauses[-1]}."


def _row(clauses: Sequence[str]) -> str:
    return listed(clauses) if len(clauses) < 3 else f"{', '.join(clauses[:-1])}, and {clauses[-1]}"


# The condition ---------------------------------------------------------------------------------------------------


def condition_words(comparison: Comparison) -> str:
    """In what two models are alike, or how far they are not: "At nearly equal active parameters (0.98×)".

    First what the suite asks the pair to be alike in. Where it does not say, parameters go before what depends on the
    load; of quality the sentence itself speaks.
    """
    matching = comparison.matching
    if comparison.about:
        return capitalised(_as_asked(comparison)) + _unlike(comparison)
    alike = {match.kind: match for match in matching.matches if match.equal}
    sizes = [alike[kind] for kind in _SIZES if kind in alike]
    if sizes:
        return capitalised(f"at {_alike(sizes)}") + _unlike(comparison)
    unequal = "with parameters that could not be counted"
    if matching.active_ratio is not None and matching.total_ratio is not None:
        active, total = ratio_words(matching.active_ratio), ratio_words(matching.total_ratio)
        unequal = f"with {active} the active and {total} the total parameters"
    loads = [alike[kind] for kind in _AT_A_LOAD if kind in alike]
    return capitalised(f"at {_alike(loads[:1])} and {unequal}" if loads else unequal) + _unlike(comparison)


def _as_asked(comparison: Comparison) -> str:
    """What the suite asks a pair to be alike in, and in which of it the pair is not."""
    found = {kind: comparison.matching.of(kind) for kind in comparison.about}
    known = [match for match in found.values() if match is not None]
    alike, apart = ([match for match in known if match.equal == equal] for equal in (True, False))
    unknown = [MATCH_NOUNS[kind] for kind, match in found.items() if match is None]
    parts = [f"at {_alike(alike)}"] if alike else []
    parts += [f"with {listed(map(_apart, apart))} where the suite asks for equal"] if apart else []
    parts += [f"with unknown {listed(unknown)} where the suite asks for equal"] if unknown else []
    return listed(parts)


def _alike(matches: Sequence[Match]) -> str:
    """Kinds in which two are alike: "nearly equal active parameters (1.01×) and equal total parameters (1.00×)"."""
    words, before = [], ""
    for match in matches:
        measured = "measured " if match.kind == "iso-cost" else ""
        likeness = "" if match.likeness == before else f"{match.likeness} "
        words.append(f"{likeness}{measured}{named(match.noun)} ({match.size})")
        before = match.likeness
    return listed(words)


def _apart(match: Match) -> str:
    """A kind in which two are not alike: "2.10× the memory", "a mean score 4.2 points below"."""
    if match.kind != "iso-quality":
        return f"{match.size} the {match.noun}"
    side = "above" if match.mismatch > 0 else "below"
    return f"a {named(match.noun)} {100 * abs(match.mismatch):.1f} points {side}"


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


_SIZES: tuple[MatchKind, ...] = ("iso-active", "iso-total")
_AT_A_LOAD: tuple[MatchKind, ...] = ("iso-memory", "iso-flops", "iso-cost")


# Quality ---------------------------------------------------------------------------------------------------------


def whole_score(comparison: Comparison) -> Effect | None:
    """The score that stands for quality, else the mean score, or the score of the only task."""
    tasks = [effect for effect in comparison.effects if effect.metric.startswith("score:")]
    found = comparison.effect(comparison.score) or comparison.effect("mean_score")
    return found or (tasks[0] if len(tasks) == 1 else None)


def _quality(comparison: Comparison) -> Told:
    whole = whole_score(comparison)
    tasks = [effect for effect in comparison.effects if effect.metric.startswith("score:")]
    if whole is not None:
        return Told((_score_clause(comparison, whole),), names_other=True)
    if tasks:
        why = _why_no_score(comparison)
        missing = (f"Mean scores were not compared: {why}.",) if why else ()
        return Told((_tasks_clause(comparison, tasks),), missing, names_other=True)
    return Told((), (f"Quality was not compared: {_why_no_score(comparison) or 'the two share no task'}.",))


def _score_clause(comparison: Comparison, effect: Effect) -> str:
    """One score of a beside b's."""
    b, mean = named(comparison.b.model), effect.metric == "mean_score"
    name = "mean score" if mean else f"score on {named(effect.title)}"
    lower = over_shared(effect) + (", where lower is better" if effect.better == "lower" else "")
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
        return Told((), (f"Memory was not compared: {_why_no_memory(comparison)}.",))
    what = _MEMORY[effect.metric]
    if effect.exact:
        load = f" {load_words(effect.point)}" if effect.point else ""
        likeness = likeness_of(effect.contrast.value)
        if likeness != "not equal":
            return Told((f"needs {likeness} {what}{load} ({effect_text(effect)})",))
        return Told((f"needs {effect_text(effect)} the {what}{load}",))
    return _ratio_told(comparison, effect, ("needs", "needed"), what)


def _why_no_memory(comparison: Comparison) -> str:
    """Why no memory could be compared."""
    if why := why_other_hardware(comparison):
        return why
    models = (comparison.a, comparison.b)
    known = [{key for key in _MEMORY if one.estimate(key) is not None} for one in models]
    unknown = [named(one.model) for one, keys in zip(models, known, strict=True) if not keys]
    if unknown:
        return f"none is known of {unknown[0] if len(unknown) == 1 else 'either'}"
    if known[0] & known[1] == {"device_peak_bytes"}:
        return "the devices' peaks are what the engines were told to reserve, which was not the same known cache"
    return "no figure of it is known of both"


def _cost(comparison: Comparison) -> Told:
    """The price of the output at the largest shared load, where it is known."""
    effect = comparison.effect("usd_per_million_output_tokens")
    if effect is None or effect.point is None:
        return Told()
    what = f"cost of an output token {load_words(effect.point)}"
    return _ratio_told(comparison, effect, ("has", "had"), what)


def _ratio_told(comparison: Comparison, effect: Effect, verbs: tuple[str, str], what: str) -> Told:
    """A measured ratio of one thing; the first verb claims, the second only tells."""
    if certain(effect):
        return Told((f"{verbs[0]} {effect_text(effect)} the {what} (95 % {interval(effect)})",))
    if effect.verdict == "indistinguishable":
        b = named(comparison.b.model)
        return Told((f"cannot be told from {b} in {what} ({undecided(comparison, effect)})",), names_other=True)
    few = f"with {without_interval([effect], sample_unit(comparison.a, comparison.b))}"
    return Told((f"{verbs[1]} {effect_text(effect)} the {what}, {few}",))
