"""Crossovers: figures computed by hand, laws, reasons, and their words."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from builders import serving_record, serving_scenario, small_suite_records, subject, with_paths
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from harness.crossover import Crossover, Rates, crossover_of, crossovers
from harness.record import Record
from harness.scenario import OpenLoop
from harness.summarise import summarise
from harness.summary import ModelSummary

A, B = "moe-8x2", "dense-active"
CHAT = ("chat", 32.0, 16.0, "32", "16", 2)
STEADY = (99.0, 100.0, 101.0)


def rates(*log_ratios: float, spread: float = 1.0, n: int = 3) -> list[Rates]:
    """Loads 1, 2, 4, ... at which the log of the ratio of both means is as given, with a standard deviation of 1 %."""
    steps = [100 + spread * step for step in (-1.0, 0.0, 1.0)][:n]
    return [(2**index, [math.exp(ratio) * one for one in steps], steps) for index, ratio in enumerate(log_ratios)]


def crossed(*log_ratios: float, spread: float = 1.0, n: int = 3) -> Crossover:
    return crossover_of(rates(*log_ratios, spread=spread, n=n), ("a", "b"), CHAT)


class TestEstimate:
    def test_between_two_loads_by_hand(self) -> None:
        # the log ratio falls from 0.2 at 1 to -0.6 at 2: it is 0 after a quarter of a doubling
        found = crossed(0.2, -0.6)
        assert found.concurrency == pytest.approx(2**0.25)
        assert (found.first, found.last, found.overtakes, found.reason) == ("a", "b", "b", "")
        assert (found.lowest, found.highest, found.name) == (1, 2, "chat")

    def test_the_interval_by_hand(self) -> None:
        # all four samples have a relative standard error of 0.01 / sqrt 3: at a share w between the loads the variance
        # is 2 ((1-w)² + w²) / 30000, with 4 ((1-w)² + w²)² / ((1-w)⁴ + w⁴) degrees of freedom
        found = crossed(0.2, -0.6)
        assert found.low is not None and found.high is not None
        for end, side in ((found.low, 1), (found.high, -1)):
            w = math.log2(end)
            squares, fourths = (1 - w) ** 2 + w**2, (1 - w) ** 4 + w**4
            half = float(student.ppf(0.975, 4 * squares**2 / fourths)) * math.sqrt(2 * squares / 30_000)
            assert side * (0.2 - 0.8 * w) == pytest.approx(half, abs=0.8 / 2000)

    def test_the_loads_count_by_their_logarithm(self) -> None:
        wide = [(4**index, a, b) for index, (_, a, b) in enumerate(rates(0.2, -0.6))]
        assert crossover_of(wide, ("a", "b"), CHAT).concurrency == pytest.approx(4**0.25)

    def test_loads_without_any_spread_tell_nothing(self) -> None:
        alike: list[Rates] = [(load, [a[0]] * 5, [b[0]] * 5) for load, a, b in rates(0.2, -0.6)]
        found = crossover_of(alike, ("a", "b"), CHAT)
        assert (found.concurrency, found.reason) == (None, "repeats that do not differ at all")
        rest: list[Rates] = [(load * 4, a, b) for load, a, b in rates(0.2, -0.6)]
        assert crossover_of([*alike, *rest], ("a", "b"), CHAT) == crossover_of(rest, ("a", "b"), CHAT)
        one_sided: list[Rates] = [(load, [a[0]] * 5, b) for load, a, b in rates(0.2, -0.6)]
        assert crossover_of(one_sided, ("a", "b"), CHAT).low is not None

    def test_on_a_load(self) -> None:
        found = crossed(-0.3, 0.0, 0.3)
        assert found.concurrency == pytest.approx(2.0)
        assert found.overtakes == "a"
        assert found.low is not None and found.high is not None
        assert math.log2(found.low) == pytest.approx(2 - math.log2(found.high), abs=1e-3)

    def test_of_several_roots_that_cannot_be_told_apart_the_middle_one(self) -> None:
        found = crossed(-0.5, -0.004, 0.004, -0.004, 0.004, 0.5)
        assert found.concurrency == pytest.approx(2**2.5)
        assert found.low is not None and found.low < 2 and found.high is not None and found.high > 16

    def test_an_interval_that_reaches_the_end_of_the_range_is_open(self) -> None:
        late = crossed(0.5, 0.3, -0.005)
        assert late.low is not None and (late.first, late.last, late.high, late.overtakes) == ("a", "", None, "b")
        early = crossed(0.005, -0.3, -0.5)
        assert early.high is not None and (early.first, early.last, early.low, early.overtakes) == ("", "b", None, "b")

    @settings(deadline=None)
    @given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=7), st.floats(0, 8))
    def test_the_view_can_be_turned(self, log_ratios: list[float], spread: float) -> None:
        there = crossed(*log_ratios, spread=spread)
        turned = [(load, b, a) for load, a, b in rates(*log_ratios, spread=spread)]
        back = crossover_of(turned, ("b", "a"), CHAT)
        assert replace(back, a="a", b="b", concurrency=there.concurrency, low=there.low, high=there.high) == there
        for one, other in ((there.concurrency, back.concurrency), (there.low, back.low), (there.high, back.high)):
            assert one == other or one == pytest.approx(other, rel=1e-3)

    @settings(deadline=None)
    @given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=7), st.floats(0, 8), st.randoms())
    def test_the_interval_holds_the_estimate_within_the_range(
        self, log_ratios: list[float], spread: float, order: object
    ) -> None:
        given_rates = rates(*log_ratios, spread=spread)
        found = crossover_of(given_rates, ("a", "b"), CHAT)
        assert crossover_of(given_rates[::-1], ("a", "b"), CHAT) == found
        assert (found.concurrency is None) == bool(found.reason)
        if found.concurrency is None:
            assert found.low is found.high is None and not found.overtakes
        else:
            low, high = found.low or found.lowest, found.high or found.highest
            slack = 1 + 1e-3
            assert found.lowest <= low <= found.concurrency * slack
            assert found.concurrency <= high * slack <= found.highest * slack**2
            # one end at least is where the other was ahead for certain
            assert found.low is not None or found.high is not None


class TestReasons:
    @pytest.mark.parametrize(
        ("log_ratios", "reason"),
        [
            ((0.2, 0.3, 0.1), "a is ahead at every measured load"),
            ((-0.2, -0.3), "b is ahead at every measured load"),
            ((0.2, 0.3, 0.005), "a is ahead wherever they can be told apart"),
            ((0.2, -0.005, 0.2), "a is ahead wherever they can be told apart"),
            ((-0.005, 0.2, -0.005), "a is ahead wherever they can be told apart"),
            ((0.001, -0.001, 0.002), "they cannot be told apart at any load"),
            ((0.0, 0.0), "they cannot be told apart at any load"),
            ((0.2, -0.2, 0.2), "they cross several times"),
            ((0.2,), "fewer than two shared loads"),
            ((), "fewer than two shared loads"),
        ],
    )
    def test_no_crossing(self, log_ratios: tuple[float, ...], reason: str) -> None:
        found = crossed(*log_ratios)
        assert (found.reason, found.concurrency, found.low, found.high) == (reason, None, None, None)

    def test_single_repeats(self) -> None:
        found = crossed(0.2, -0.2, n=1)
        assert (found.reason, found.lowest, found.highest) == ("too few repeats", 1, 2)
        mixed = [*rates(0.2, -0.2, n=1), *((4 * load, a, b) for load, a, b in rates(-0.2, -0.3))]
        assert crossover_of(mixed, ("a", "b"), CHAT).reason == "b is ahead at every measured load"

    def test_a_rate_of_nothing_is_left_out(self) -> None:
        assert crossover_of([(1, [0.0, 1.0], [1.0, 1.0]), *rates(0.2)], ("a", "b"), CHAT).reason.startswith("fewer")

    def test_many_loads_raise_what_counts_as_certain(self) -> None:
        # p is 0.03 at the first load: certain alone, not as one of four
        loads = rates(0.018, 0.0, 0.0, 0.0, spread=0.6)
        assert crossover_of(loads, ("a", "b"), CHAT).reason == "they cannot be told apart at any load"
        assert crossover_of([loads[0], (2, *loads[0][1:])], ("a", "b"), CHAT).first == "a"


def summaries(*records: Record) -> tuple[ModelSummary, ModelSummary]:
    found = {summary.model: summary for summary in summarise(with_paths(list(records)))}
    return found[A], found[B]


def sweep(model: str, speeds: dict[int, float], **changes: object) -> list[Record]:
    return [
        serving_record(model=model, repeat=i, concurrency=load, tokens_per_s=speed * one, **changes)  # type: ignore[arg-type]
        for load, speed in speeds.items() for i, one in enumerate((0.99, 1.0, 1.01))
    ]


class TestSummaries:
    def test_the_curves_of_two_models(self) -> None:
        (found,) = crossovers(*summaries(*sweep(A, {1: 100, 4: 350, 16: 700}), *sweep(B, {1: 80, 4: 300, 16: 900})))
        assert (found.a, found.b, found.workload, found.lowest, found.highest) == (A, B, CHAT, 1, 16)
        # log(350 / 300) and log(700 / 900) at 4 and 16
        share = math.log(350 / 300) / (math.log(350 / 300) + math.log(900 / 700))
        assert found.concurrency == pytest.approx(4 * 4**share, rel=1e-6)
        assert found.overtakes == B

    def test_only_shared_loads_count(self) -> None:
        (found,) = crossovers(*summaries(*sweep(A, {1: 100, 4: 300}), *sweep(B, {4: 200, 16: 900})))
        assert (found.reason, found.lowest, found.highest) == ("fewer than two shared loads", 4, 4)

    def test_flagged_points_are_left_out(self) -> None:
        spoiled = serving_scenario(16, min_duration_s=1e6)
        others = sweep(B, {1: 80, 4: 300}) + [
            serving_record(model=B, repeat=i, scenario=spoiled, tokens_per_s=900.0) for i in range(3)
        ]
        a, b = summaries(*sweep(A, {1: 100, 4: 350, 16: 700}), *others)
        assert any(point.flags for point in b.points)
        (found,) = crossovers(a, b)
        assert (found.highest, found.reason) == (4, f"{A} is ahead at every measured load")

    def test_other_hardware_has_no_crossover(self) -> None:
        elsewhere = sweep(B, {1: 80, 4: 300}, subject=subject(B, accelerator="Example GPU"))
        assert crossovers(*summaries(*sweep(A, {1: 100, 4: 350}), *elsewhere)) == ()

    def test_one_a_workload_and_none_for_open_loops(self) -> None:
        records = [
            serving_record(model=model, repeat=i, scenario=scenario)
            for model in (A, B) for i in range(2)
            for scenario in (
                serving_scenario(1), serving_scenario(2), serving_scenario(2, name="long"),
                serving_scenario(name="open", load=OpenLoop(requests_per_s=2.0)),
            )
        ]
        assert [one.name for one in crossovers(*summaries(*records))] == ["chat", "long"]

    def test_the_small_suite(self) -> None:
        models = {summary.model: summary for summary in summarise(with_paths(small_suite_records()))}
        (found,) = crossovers(models["moe-8x2"], models["dense-total"])
        assert found.reason == "moe-8x2 is ahead at every measured load"
