"""The method page names the numbers that the code uses."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import builders
import pytest
import sites

from harness import items, matching, paired, plan, plausibility, repeats, utilisation
from harness.compare import Family
from harness.measurements import serving, sweep
from harness.wording import MARKS


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("method")
    store = sites.store_of(folder / "results", builders.small_suite_records(repeats=1, items=20))
    page: Path = sites.render(store, folder / "site").parent / "method.html"
    return " ".join(page.read_text(encoding="utf-8").split())


def test_the_warm_up(text: str) -> None:
    assert f"outputs have at most {serving.WARMUP_OUTPUT_TOKENS} tokens" in text
    assert f"the last {serving.WINDOWS} windows are within {100 * serving.AGREEMENT:g} % of their mean" in text
    assert f"A window is at least {serving.WINDOW_S:g} s and one wave" in text
    assert f"warmed up at {serving.WARMUP_CONCURRENCY} requests in flight" in text
    assert f"offline runs at {serving.OFFLINE_WARMUP_CONCURRENCY}" in text


def test_adaptive_sweeps_and_repeats(text: str) -> None:
    assert sweep.STEPS_WITHOUT_GAIN == 2
    assert f"raise the best output rate so far by less than {100 * sweep.LEAST_GAIN:g} % end the sweep" in text
    assert f"with and without the last {repeats.FURTHER} repeats" in text


def test_the_rules_of_plausibility(text: str) -> None:
    assert f"more than {plausibility.SLOWEST:g} times that time" in text
    assert f"{1000 * plausibility.ENGINE_STEP_S:g} ms for every engine step" in text
    assert f"({1000 * plausibility.BUSY_STEP_S:g} ms on devices that are not listed, such as processors" in text


def test_the_concurrency_of_routing(text: str) -> None:
    assert f"<code>routing.concurrency</code>, else at its highest, or at {plan._USUAL_CONCURRENCY} " in text


def test_a_ceiling_that_was_beaten(text: str) -> None:
    assert utilisation.TOO_LOW in text
    assert "it is flagged, and the figure left out" not in text


def test_comparisons(text: str) -> None:
    assert matching.LIKENESS in text and f"within {100 * matching.TOLERANCE:g} %" in matching.LIKENESS
    assert all(f"{mark} {word}" in text for word, mark in MARKS.items())
    assert f"No verdict below {paired.MIN_PAIRED_ITEMS} items" in text
    assert f"up to a factor of {matching.FARTHEST:g} or {100 * matching.FARTHEST_POINTS:g} points" in text
    assert f"over {paired.RESAMPLES} resamples of the items" in text
    assert f"fewer than {items.MIN_SUBTASKS} subtasks" in text


def test_the_chance_of_any_false_verdict(text: str) -> None:
    assert "With 5 families the chance that such a pair has any false verdict at all is at most 25 % (Bonf" in text
    assert "22.6 % if the families were independent (1 − 0.95⁵)" in text


def test_every_family_is_named(text: str) -> None:
    assert "the mean score alone, the tasks, the output rate of closed loops and batches, latencies and goo" in text
    assert "The output rate of open loops and replays and the price of their tokens are those of the arrivals" in text
    assert get_args(Family) == ("mean score", "tasks", "speed", "latency", "memory and cost", "counted")
