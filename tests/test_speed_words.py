"""Loads and crossovers in words."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import builders
import sites

from harness.answer import answer
from harness.compare import Comparison, compare
from harness.comparison_json import comparison_json
from harness.crossover import Crossover, crossovers
from harness.scenario import OpenLoop
from harness.speed_words import crossover_sentence, speed_curve, speed_told
from harness.stats import Contrast
from harness.summarise import summarise
from harness.summary import ModelSummary

A, B = "moe-8x2", "dense-active"
CHAT = ("chat", 32.0, 16.0, "32", "16", 2)


@cache
def loads() -> dict[str, ModelSummary]:
    return {one.model: one for one in summarise(builders.with_paths(sites.load_records(6)))}


def compared(*rates: tuple[int, tuple[float, ...], tuple[float, ...]]) -> Comparison:
    records = [
        builders.serving_record(model=model, concurrency=concurrency, repeat=repeat, tokens_per_s=rate)
        for concurrency, *sides in rates
        for model, found in zip((A, B), sides, strict=True) for repeat, rate in enumerate(found)
    ]
    models = {one.model: one for one in summarise(builders.with_paths(records))}
    return compare(models[A], models[B])


def told(comparison: Comparison) -> str:
    found, crossing = speed_told(comparison, ())
    assert crossing is None and not found.missing
    return found.clauses[0]


class TestCurve:
    def test_closed_loops_go_before_others_by_rising_load(self) -> None:
        curve = speed_curve(compare(loads()[A], loads()[B]))
        assert [effect.point.level for effect in curve if effect.point] == [1, 2, 4, 8, 16, 32]
        assert {effect.point.kind for effect in curve if effect.point} == {"closed"}

    def test_open_loops_tell_nothing_of_a_model(self) -> None:
        scenario = builders.serving_scenario(load=OpenLoop(requests_per_s=2.0))
        models = {one.model: one for one in summarise(builders.with_paths(
            [builders.serving_record(model=model, scenario=scenario) for model in (A, B)]
        ))}
        comparison = compare(models[A], models[B])
        found, _ = speed_told(comparison, ())
        assert speed_curve(comparison) == () and not found.clauses
        assert found.missing == (
            ("Speed was not compared: both were served at given arrivals alone, of which the output rate is theirs."),
        )


class TestLoads:
    STEADY = (1000.0, 1001.0, 1002.0, 999.0)
    FASTER = (1300.0, 1301.0, 1299.0, 1300.5)
    NOISY = (700.0, 1300.0, 1000.0, 1050.0)

    def test_the_range_is_of_certain_loads_and_the_others_are_named(self) -> None:
        text = told(compared(
            (1, self.NOISY, self.STEADY), (4, self.FASTER, self.STEADY), (8, self.FASTER, self.STEADY),
        ))
        assert text.startswith("serves 1.299× the output tokens/s of dense-active at 4 and 8 concurrent requests of ")
        assert " and cannot be told from it at 1 (1.0" in text

    def test_a_run_of_loads_is_a_range_and_many_apart_are_counted(self) -> None:
        fast, noise = (self.FASTER, self.STEADY), (self.NOISY, self.STEADY)
        assert " at 1 to 8 concurrent requests" in told(compared((1, *fast), (2, *fast), (4, *fast), (8, *fast)))
        text = told(compared(*((2**n, *(noise if n == 3 else fast)) for n in range(7))))
        assert " at 6 loads from 1 to 64 concurrent requests" in text and "cannot be told from it at 8 (" in text

    def test_what_the_correction_takes_is_said(self) -> None:
        found = compared((1, self.NOISY, self.STEADY), (4, self.NOISY, self.STEADY))
        effects = tuple(
            replace(one, verdict="indistinguishable", adjusted_p=0.08, contrast=Contrast(1.2, low, 1.6, 0.04, ""))
            for one, low in zip(speed_curve(found), (0.9, 1.1), strict=True)
        )
        text = told(replace(found, effects=effects))
        reach = "reach from 0.90× to 1.60×; some exclude equality, but not after correction"
        assert f"{reach} for 2 numbers of concurrent requests)" in text
        rates = [one for one in compare(loads()[A], loads()[B]).effects if one.metric == "output_tokens_per_s"]
        batch = next(one for one in rates if one.point and one.point.kind == "offline")
        text = told(replace(found, effects=(*effects, replace(batch, adjusted_p=0.5))))
        assert "for 2 numbers of concurrent requests and 1 batch)" in text

    def test_repeats_without_spread_are_not_called_few(self) -> None:
        text = told(compared((1, (900.0,) * 5, (1000.0,) * 5)))
        assert text.endswith(", with repeats that do not differ at all and so no interval") and "0.90×" in text

    def test_a_lead_on_both_sides_spans_equality(self) -> None:
        text = told(compared((1, self.STEADY, self.FASTER), (8, self.FASTER, self.STEADY)))
        assert text.startswith("serves 0.770× to 1.299× the output tokens/s of dense-active at 1 and 8 concurrent ")
        assert " at 1, 1." in text and text.endswith(" at 8)")


class TestCrossovers:
    AHEAD, BEHIND = (1300.0, 1301.0, 1299.0, 1300.5), (850.0, 908.0, 913.0, 855.0)
    EVEN = (990.0, 1010.0, 1000.0, 995.0)
    OTHER = (1000.0, 1001.0, 1002.0, 999.0)

    def crossed(self, others: int) -> tuple[Comparison, str]:
        """Three loads of which a is behind at the middle one for certain, unless `others` are tested as well."""
        at = {1: self.AHEAD, 4: self.BEHIND, 16: self.AHEAD}
        chat = [(builders.serving_scenario(load), rates) for load, rates in at.items()]
        more = [(builders.serving_scenario(2 + n, name="long"), self.EVEN) for n in range(others)]
        models = {one.model: one for one in summarise(builders.with_paths([
            builders.serving_record(model=model, scenario=scenario, repeat=repeat, tokens_per_s=rate)
            for scenario, rates in (*chat, *more) for model, found in ((A, rates), (B, self.OTHER))
            for repeat, rate in enumerate(found)
        ]))}
        found = compare(models[A], models[B])
        return found, " ".join(answer(found, crossovers(found.a, found.b)).crossovers)

    def test_several_crossings_are_claimed_only_where_the_verdicts_have_them(self) -> None:
        found, text = self.crossed(0)
        assert [one.verdict for one in speed_curve(found)] == ["better", "worse", "better"]
        assert text.endswith("concurrent requests: they cross several times.")
        found, text = self.crossed(12)
        chat = [one for one in found.effects if one.family == "speed" and one.point and one.point.name == "chat"]
        assert [one.verdict for one in chat] == ["better", "indistinguishable", "better"]
        assert "16 concurrent requests: they may cross several times." in text
        told = json.loads(comparison_json(found, crossovers(found.a, found.b)))["crossovers"]
        assert "they may cross several times" in [one["reason"] for one in told]

    def of(self, **changes: object) -> str:
        fields = {"concurrency": 11.26, "low": 6.04, "high": 22.1, "overtakes": "a", "first": "b", "last": "a"}
        return crossover_sentence(Crossover("a", "b", CHAT, 1, 64, **fields | changes))  # type: ignore[arg-type]

    def test_a_closed_interval_is_a_statement(self) -> None:
        assert self.of() == "a overtakes b at about 11 concurrent requests (95 % 6 to 23)."
        assert self.of(overtakes="b").startswith("b overtakes a at ")

    def test_ends_are_rounded_outwards(self) -> None:
        assert "at about 3.4 concurrent requests (95 % 2.9 to 130)" in self.of(concurrency=3.449, low=2.99, high=121.0)

    def test_an_open_interval_is_not(self) -> None:
        assert self.of(high=None) == "a may overtake b at about 11 concurrent requests (95 % 6 to 64 or more)."
        assert "may overtake b at about 11 concurrent requests (95 % 1 or less to 23)" in self.of(low=None)

    def test_no_crossing_says_why(self) -> None:
        without = {"concurrency": None, "low": None, "high": None, "overtakes": ""}
        assert self.of(**without, reason="they cross several times") == (
            "No single crossover of a and b is found from 1 to 64 concurrent requests: they cross several times."
        )
        alone = Crossover("a", "b", CHAT, 4, 4, reason="fewer than two shared loads")
        assert crossover_sentence(alone) == "No single crossover of a and b is found: fewer than two shared loads."

    def test_workloads_are_named_where_there_are_several(self) -> None:
        (found,) = crossovers(loads()[A], loads()[B])
        other = replace(found, workload=("long", *found.workload[1:]))
        told = answer(compare(loads()[A], loads()[B]), [found, other])
        assert [one.partition(" may ")[0] for one in told.crossovers] == ["long: moe-8x2"]

    def test_no_crossover_is_not_told_twice(self) -> None:
        same = (900.0, 1000.0, 1130.0)
        found = compared((1, same, same), (8, same, same))
        crossing = crossovers(found.a, found.b)
        assert crossing[0].reason == "they cannot be told apart at any load"
        assert answer(found, crossing).crossovers == ()
