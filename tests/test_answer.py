"""The answer in words: never stronger than verdicts and intervals, every number the comparison's own, one condition."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache

import builders
import pytest
import sites
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.answer import answer, condition_words
from harness.compare import Comparison, Effect, Verdict, compare
from harness.crossover import Crossover, crossovers
from harness.groups import group_summaries
from harness.quantities import MINUS
from harness.record import Record
from harness.scenario import Load, Offline, OpenLoop, Replay
from harness.speed_words import changes_lead, speed_curve
from harness.stats import Contrast, Estimate
from harness.summarise import summarise
from harness.summary import ModelSummary

A, B = "moe-8x2", "dense-active"


def summaries(*records: Record) -> dict[str, ModelSummary]:
    return {one.model: one for one in summarise(builders.with_paths(list(records)))}


def speeds(model: str, *rates: float, **changes: object) -> list[Record]:
    return [
        builders.serving_record(model=model, repeat=i, tokens_per_s=rate, **changes)  # type: ignore[arg-type]
        for i, rate in enumerate(rates)
    ]


def compared(*records: Record) -> Comparison:
    found = summaries(*records)
    return compare(found[A], found[B])


def text_of(*records: Record) -> str:
    return answer(compared(*records)).text


@cache
def small() -> dict[str, ModelSummary]:
    return summaries(*builders.small_suite_records())


@cache
def loads() -> dict[str, ModelSummary]:
    return summaries(*sites.load_records(6))


class TestSmallSuite:
    def test_condition_quality_memory_and_speed(self) -> None:
        text = answer(compare(small()[A], small()[B])).text
        assert re.fullmatch(
            r"At nearly equal active parameters \(1\.01×\), moe-8x2 scores 8\.8 points above dense-active in mean "
            r"score \(95 % \d\.\d to 1\d\.\d\) and needs 2\.\d\d× the memory for weights and cache at 16 concurrent "
            r"requests\. It serves 0\.\d\d× to 0\.\d\d× the output tokens/s of dense-active at 1 to 16 concurrent "
            r"requests of 32 → 16 tokens \(95 % 0\.\d\d to 0\.\d\d at \d+, 0\.\d\d to 0\.\d\d at \d+\)\.", text,
        )

    def test_the_crossover_ends_the_sentence_on_speed(self) -> None:
        a, b = loads()[A], loads()[B]
        told = answer(compare(a, b), crossovers(a, b))
        assert re.search(r"; it overtakes at about \d+(\.\d)? \(95 % [\d.]+ to [\d.]+\)\.", told.text)
        assert told.crossovers == ()
        turned = answer(compare(b, a), crossovers(b, a))
        assert "; it is overtaken at about " in turned.text and "it overtakes" not in turned.text

    def test_only_what_is_certain_is_in_the_range(self) -> None:
        found = summaries(*sites.load_records(2))
        text = answer(compare(found[A], found[B]), crossovers(found[A], found[B])).text
        assert " and cannot be told from it at " in text
        assert "; it may overtake at about " in text

    def test_no_crossover_is_no_lead_where_the_verdicts_show_none(self) -> None:
        found = summaries(*sites.load_records(3))
        a, b = found["moe-fine"], found[B]
        (crossing,) = crossovers(a, b)
        assert crossing.reason == "dense-active is ahead at every measured load"
        comparison = compare(a, b)
        assert answer(comparison, [crossing]).crossovers[0].endswith(f"{crossing.reason}.")
        lowest = comparison.effect("output_tokens_per_s", builders.point(1))
        doubtful = tuple(
            replace(one, verdict="indistinguishable") if one is lowest else one for one in comparison.effects
        )
        assert answer(replace(comparison, effects=doubtful), [crossing]).crossovers[0].endswith(
            "dense-active is ahead wherever they can be told apart."
        )

    def test_unequal_sizes_are_the_condition(self) -> None:
        text = answer(compare(small()["dense-active"], small()["dense-total"])).text
        assert text.startswith("With 0.33× the active and 0.33× the total parameters, dense-active ")
        both = answer(compare(small()["moe-fine"], small()["moe-8x2"])).text
        assert both.startswith("At nearly equal active parameters (1.02×) and total parameters (1.06×), moe-fine ")


class TestWhatIsNotCertain:
    def test_what_cannot_be_told_apart_says_what_is_excluded(self) -> None:
        text = text_of(
            *speeds(A, 900, 1000, 1130), *speeds(B, 950, 1010, 1060),
            builders.quality_record(model=A, item_scores=(1.0, 0.0) * 50),
            builders.quality_record(model=B, item_scores=(0.0, 1.0) * 50),
        )
        assert re.search(
            r"cannot be told from dense-active in mean score \(0\.0 points, 95 % −(\d+\.\d) to \+\1: more than \1 "
            r"points either way is excluded\)", text,
        )
        assert re.search(
            r"cannot be told from dense-active in output tokens/s at 8 concurrent requests of 32 → 16 tokens "
            r"\(1\.00×, 95 % 0\.\d\d to 1\.\d\d\)", text,
        )

    def test_a_single_value_has_no_interval(self) -> None:
        text = text_of(*speeds(A, 2000), *speeds(B, 1000))
        assert "gave 2.00× the output tokens/s of dense-active at 8 concurrent requests" in text
        assert "with too few repeats for an interval" in text and "serves" not in text

    def test_a_single_request_in_flight(self) -> None:
        text = text_of(*speeds(A, 2000, concurrency=1), *speeds(B, 1000, concurrency=1))
        assert "at 1 concurrent request of 32 → 16 tokens" in text

    @pytest.mark.parametrize(("load", "words"), [
        (OpenLoop(requests_per_s=2.0), "both were served at given arrivals alone, of which the output rate is theirs."),
        (Replay(), "both were served at given arrivals alone, of which the output rate is theirs."),
        (Offline(), "dense-active offline, with too few repeats"),
    ])
    def test_every_load_fits_the_sentence(self, load: Load, words: str) -> None:
        scenario = builders.serving_scenario(load=load)
        assert words in text_of(*(builders.serving_record(model=name, scenario=scenario) for name in (A, B)))

    def test_a_correction_that_takes_certainty_is_named(self) -> None:
        found = compared(*speeds(A, 900, 1000, 1130), *speeds(B, 950, 1010, 1060))
        changed = replace(speed_curve(found)[0], contrast=Contrast(1.2, 1.1, 1.3, 0.03, ""), adjusted_p=0.09)
        text = answer(replace(found, effects=(changed,))).text
        assert "(1.20×, 95 % 1.10 to 1.30, which excludes equality, but not after correction for " in text


class TestWhatIsMissing:
    def test_a_reason_that_both_share_is_told_once(self) -> None:
        text = text_of(*(builders.serving_record(model=name) for name in (A, B)))
        assert text.endswith("Quality was not compared: the suite has no tasks.")

    def test_one_side_that_was_not_scored(self) -> None:
        text = text_of(builders.serving_record(model=A), builders.quality_record(model=A), *speeds(B, 1, 2))
        assert "Quality was not compared: dense-active: not measured: facts." in text

    def test_different_hardware_has_no_speed(self) -> None:
        other = builders.subject(B, accelerator="Other CPU")
        text = text_of(*speeds(A, 1, 2), *speeds(B, 1, 2, subject=other))
        assert "Speed was not compared: measured on different hardware (Example CPU and Other CPU)." in text
        assert "serves" not in text and "tokens/s" not in text

    def test_a_flagged_load_is_not_in_the_range(self) -> None:
        text = answer(compare(loads()["moe-fine"], loads()[B])).text
        assert ", and was not compared at 4" in text

    def test_what_was_served_differently_is_part_of_the_condition(self) -> None:
        other = builders.subject(B, precision="fp8", tensor_parallel=2)
        text = text_of(*speeds(A, 1, 2), *speeds(B, 1, 2, subject=other))
        start = "At nearly equal active parameters (1.01×) but bfloat16 against fp8 and 1 against 2 devices, "
        assert text.startswith(start)

    def test_models_that_share_nothing(self) -> None:
        found = compared(*speeds(A, 1, 2), builders.failed_record(model=B, config={}))
        text = answer(found).text
        assert text.startswith("With parameters that could not be counted, moe-8x2 and dense-active have no ")
        assert "Speed was not compared: chat, concurrency 8: dense-active was not measured." in text
        assert "Memory was not compared: none is known of either." in text

    def test_counted_memory_alone_names_the_other(self) -> None:
        records = [builders.memory_record(model=model, weights_bytes=size) for model, size in ((A, 300), (B, 100))]
        text = text_of(*records)
        assert text.startswith(
            "Against dense-active, at nearly equal active parameters (1.01×), moe-8x2 needs 3.00× the memory for its "
            "weights. "
        )
        assert "Speed was not compared: neither was served." in text


class TestWhatTheSuiteAsks:
    def test_the_sentence_begins_with_it(self) -> None:
        a, b = small()["moe-8x2"], small()["dense-total"]
        told = [condition_words(compare(a, b, about=about)) for about in (
            ("iso-memory",), ("iso-total", "iso-memory"), ("iso-active",), ("iso-memory", "iso-active"), ("iso-cost",),
        )]
        assert [re.sub(r"\d\.\d{2,3}", "#", one) for one in told] == [
            "At nearly equal memory (#×)", "At nearly equal total parameters (#×) and memory (#×)",
            "With #× the active parameters where the suite asks for equal",
            "At nearly equal memory (#×) and with #× the active parameters where the suite asks for equal",
            "With unknown cost where the suite asks for equal",
        ]
        near = condition_words(compare(small()["moe-fine"], b, about=("iso-quality",)))
        assert near == f"At nearly equal mean score ({MINUS}1.8 points)"
        apart = condition_words(compare(a, small()[B], about=("iso-quality",)))
        assert apart == "With a mean score 8.8 points above where the suite asks for equal"

    def test_the_score_that_ranks_is_the_one_that_is_told(self) -> None:
        text = answer(compare(small()[A], small()[B], score="score:facts")).text
        assert " above dense-active on facts (95 % " in text and "mean score" not in text


class TestNames:
    @pytest.mark.parametrize("name", ["memory", "a", "the"])
    def test_a_name_that_is_a_word_of_the_sentence_is_still_said(self, name: str) -> None:
        records = [builders.memory_record(model=model, weights_bytes=size) for model, size in ((A, 300), (B, 100))]
        found = compared(*records)
        text = answer(replace(found, b=replace(found.b, model=name))).text
        assert text.startswith(f"Against {name}, at nearly equal active parameters (1.01×), moe-8x2 needs ")


class TestTasks:
    def test_a_task_whose_lower_scores_are_better(self) -> None:
        found = compare(small()[A], small()[B])
        score = replace(_first(found, "score:facts"), better="lower", verdict="worse")
        text = answer(replace(found, effects=(score,))).text
        assert " above dense-active on facts, where lower is better (95 % " in text

    def test_several_tasks_without_a_mean_are_told_by_verdict(self) -> None:
        found = compare(small()[A], small()["dense-total"])
        tasks = [replace(_first(found, "score:facts"), verdict=verdict, metric=f"score:{name}", title=name)
                 for name, verdict in _VERDICTS.items()]
        text = answer(replace(found, effects=tuple(tasks[:2]))).text
        assert "is better than dense-active on" not in text
        assert re.search(r"is better than dense-total on up \([^)]+\) and is worse than it on down \(", text)
        many = [replace(tasks[n % 4], metric=f"score:{n}", title=f"t{n}") for n in range(10)]
        text = answer(replace(found, effects=tuple(many))).text
        assert "is better than dense-total on 3 of 10 tasks, is worse than it on 3 of 10 tasks" in text
        assert "cannot be told from it on 2 of 10 tasks" in text

    def test_groups_of_trainings(self) -> None:
        text = _of_groups(sites.seed_records())
        assert text.startswith("At nearly equal active parameters (1.01×), moe-8x2 cannot be told from dense-active ")
        assert "either way is excluded) and needs " in text
        assert "It serves 0.88× to 0.89× the output tokens/s of dense-active at 1 to 16 concurrent requests" in text

    def test_groups_whose_trainings_are_equally_fast(self) -> None:
        text = _of_groups(sites.seed_records(speed_spread=0.0))
        assert text.endswith("with trainings that do not differ at all and so no interval.")


def _of_groups(records: list[Record]) -> str:
    groups = {one.model: one for one in group_summaries(summarise(builders.with_paths(records)))}
    return answer(compare(groups[A], groups[B])).text


_VERDICTS: dict[str, Verdict] = {
    "up": "better", "down": "worse", "same": "indistinguishable", "short": "insufficient data",
}


def _first(comparison: Comparison, metric: str) -> Effect:
    found = comparison.effect(metric)
    assert found is not None
    return found


def test_foreign_names_cannot_fill_or_turn_a_sentence() -> None:
    found = compare(small()[A], small()[B])
    a, b = replace(found.a, model="x\u202e" + "y" * 10_000), replace(found.b, model="a\nb\x1b[2J")
    hostile = replace(found, a=a, b=b)
    text = answer(hostile, crossovers(hostile.a, hostile.b)).text
    assert len(text) < 1_000 and not set("\u202e\n\x1b") & set(text)


# Laws ------------------------------------------------------------------------------------------------------------

_KEYS = tuple(builders.point(concurrency) for concurrency in (1, 2, 4, 8, 16, 32))
_NUMBER = re.compile(r"[\d.]*\d")


@st.composite
def contrasts(draw: st.DrawFn, *, ratio: bool) -> tuple[Contrast, Verdict, bool]:
    """A contrast, a verdict that its interval allows, and whether more is better."""
    spread = st.floats(0.0005, 0.6)
    middle = draw(st.floats(-0.9, 0.9))
    ends = (middle - draw(spread), middle + draw(spread))
    value, low, high = (math.exp(x) if ratio else x / 2 for x in (middle, *ends))
    null, more = (1.0 if ratio else 0.0), draw(st.booleans())
    if draw(st.integers(0, 4)) == 0:
        return Contrast(value, None, None, None, "a single value on a side"), "insufficient data", more
    if low <= null <= high or draw(st.booleans()):
        return Contrast(value, low, high, 0.01, ""), "indistinguishable", more
    return Contrast(value, low, high, 0.001, ""), "better" if (low > null) == more else "worse", more


class Drawn:
    """A comparison with a crossover or none, shown in a failure as its words."""

    def __init__(self, pair: Comparison, crossing: tuple[Crossover, ...]) -> None:
        self.pair, self.crossing = pair, crossing

    def __repr__(self) -> str:
        return _told(self.pair, self.crossing)


@cache
def pair_of(a: str, b: str) -> Comparison:
    return compare(small()[a], small()[b])


@st.composite
def comparisons(draw: st.DrawFn) -> Drawn:
    """The small suite's pair with other effects: some loads, tasks, a mean or none, memory measured or counted."""
    pair = pair_of(draw(st.sampled_from((A, "moe-fine"))), draw(st.sampled_from((B, "dense-total"))))
    speed, mean = (_first(pair_of(A, B), metric) for metric in ("output_tokens_per_s", "mean_score"))
    effects = []
    for key in draw(st.lists(st.sampled_from(_KEYS), unique=True)):
        contrast, verdict, _ = draw(contrasts(ratio=True))
        if verdict in ("better", "worse"):
            verdict = "better" if contrast.value > 1 else "worse"
        effects.append(replace(speed, point=key, contrast=contrast, verdict=verdict, adjusted_p=0.04))
    for name in draw(st.lists(st.sampled_from(("mean_score", "score:ab", "score:cd", "score:ef")), unique=True)):
        contrast, verdict, more = draw(contrasts(ratio=False))
        share = Estimate(draw(st.sampled_from((0.5, 12.5))), None, None, 1, "")
        effects.append(replace(
            mean, metric=name, title=name.removeprefix("score:"), contrast=contrast, verdict=verdict, a=share,
            better="higher" if more else "lower", adjusted_p=0.04,
        ))
    if draw(st.booleans()):
        contrast, verdict, _ = draw(contrasts(ratio=True))
        effects.append(replace(speed, metric="device_peak_bytes", title="Device peak", point=None, contrast=contrast,
                               verdict=verdict, better="lower"))
    return Drawn(replace(pair, effects=tuple(effects)), tuple(draw(st.lists(crossings(), max_size=1))))


@st.composite
def crossings(draw: st.DrawFn) -> Crossover:
    at = draw(st.floats(1.5, 30.0))
    low = draw(st.none() | st.floats(1.0, at))
    high = draw(st.none() | st.floats(at, 32.0))
    return Crossover(A, B, _KEYS[0].workload, 1, 32, overtakes=draw(st.sampled_from((A, B))), concurrency=at, low=low,
                     high=high)


def _told(pair: Comparison, crossing: tuple[Crossover, ...]) -> str:
    told = answer(pair, crossing)
    text = " ".join((told.text, *told.crossovers))
    for name in (pair.a.model, pair.b.model):
        text = text.replace(name, "_")
    return text


@given(comparisons())
def test_nothing_is_claimed_beyond_the_verdicts(drawn: Drawn) -> None:
    pair, crossing = drawn.pair, drawn.crossing
    text = _told(pair, crossing)
    verdicts = {effect.verdict for effect in pair.effects}
    speed = {effect.verdict for effect in pair.effects if effect.metric == "output_tokens_per_s"}
    scores = [effect for effect in pair.effects if effect.kind == "difference"]
    whole = [one for one in scores if one.metric == "mean_score"] or (scores if len(scores) == 1 else [])
    claims = set(re.findall(r"\b(scores|serves|better|worse|overtakes|is overtaken)\b(?! were)", text))
    assert ("serves" in claims) == bool(speed & {"better", "worse"})
    assert ("scores" in claims) == any(one.verdict in ("better", "worse") for one in whole)
    told_alone = {one.verdict for one in scores} if not whole else set()
    lower = any(one.better == "lower" for one in whole)
    assert ("better" in claims) == ("better" in told_alone or lower)
    assert ("worse" in claims) == ("worse" in told_alone)
    sure = [one for one in crossing if one.low is not None and one.high is not None and {"better", "worse"} <= speed]
    assert [one for one in crossing if changes_lead(pair, one)] == sure
    assert bool(claims & {"overtakes", "is overtaken"}) == bool(sure)
    assert ("may overtake" in text or "may be overtaken" in text) == bool(crossing and not sure)
    if "indistinguishable" not in verdicts:
        assert "cannot be told" not in text


@given(comparisons())
def test_the_direction_is_that_of_the_numbers(drawn: Drawn) -> None:
    pair = drawn.pair
    mean = pair.effect("mean_score")
    assume(mean is not None and mean.contrast.value != 0)
    text = _told(pair, ())
    if mean is not None and mean.verdict != "indistinguishable":
        assert f"points {'above' if mean.contrast.value > 0 else 'below'} _ in mean score" in text or (
            (mean.a.value > 1 or mean.better == "lower")
            and f"{'above' if mean.contrast.value > 0 else 'below'} _ in mean score" in text
        )


@given(comparisons())
def test_every_number_is_one_of_the_comparison(drawn: Drawn) -> None:
    pair, crossing = drawn.pair, drawn.crossing
    known = [95.0, 32.0, 16.0, pair.matching.active_ratio or 0.0, pair.matching.total_ratio or 0.0]
    known += [match.mismatch for match in pair.matching.matches]
    known += [float(key.level) for key in _KEYS]
    known += [float(number) for number in range(len(pair.effects) + 1)]
    for effect in pair.effects:
        for one in (effect.contrast.value, effect.contrast.low, effect.contrast.high):
            known += [] if one is None else [abs(one), abs(100 * one)]
    at = [one for crossing in crossing for one in (crossing.concurrency, crossing.low, crossing.high, 1.0, 32.0)]
    for text in _NUMBER.findall(_told(pair, crossing)):
        digits = len(text.partition(".")[2])
        near = any(abs(float(text) - one) <= 0.5000001 * 10.0**-digits for one in known)
        rounded = any(one is not None and abs(float(text) - one) <= 0.1 * one for one in at)
        assert near or rounded, text


@given(comparisons())
def test_the_condition_comes_first_and_both_are_named(drawn: Drawn) -> None:
    pair, crossing = drawn.pair, drawn.crossing
    first = answer(pair, crossing).sentences[0]
    assert condition_words(pair)[1:] in first.replace("Against", "")
    assert pair.a.model in first and pair.b.model in answer(pair, crossing).text
    equal = {match.kind for match in pair.matching.matches if match.equal}
    assert ("equal active" in first) == ("iso-active" in equal)
    assert ("with " in first.lower().split(",")[0] or "equal" in first) and first.endswith(".")
