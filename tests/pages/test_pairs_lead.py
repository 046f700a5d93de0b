"""What the pairs say together: verdicts over all loads, the range where they are told apart, where the lead changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import builders
import pytest
import sites

from harness.compare import Effect
from harness.matching import Pairing
from harness.pages.cards import Pair, pair_of
from harness.pages.pairs_lead import over_loads_words, pairs_lead
from harness.speed_words import speed_curve
from harness.stats import Contrast
from harness.summarise import summarise


@cache
def pair() -> Pair:
    found = {one.model: one for one in summarise(builders.with_paths(sites.load_records(6)))}
    return pair_of(Pairing(found["moe-8x2"], found["dense-active"], ()), "pairs/x.html")


def curve(*verdicts: Any) -> list[Effect]:
    known = speed_curve(pair().comparison)
    return [replace(one, verdict=verdict) for one, verdict in zip(known, verdicts, strict=False)]


@pytest.mark.parametrize(("verdicts", "words"), [
    (("better", "better"), "better at every compared load"), (("worse", "indistinguishable"), "worse at some loads"),
    (("better", "worse"), "better at some and worse at other loads"),
    (("indistinguishable", "insufficient data"), "not told apart at any load"),
    (("insufficient data",), "too little data"), ((), "not compared"),
])
def test_one_pair_over_its_loads(verdicts: tuple[str, ...], words: str) -> None:
    assert over_loads_words(curve(*verdicts)) == words


def test_the_range_and_the_place_of_the_new_lead_are_told() -> None:
    text = pairs_lead([pair()], [None])
    ratios = [one.contrast.value for one in speed_curve(pair().comparison) if one.verdict in ("better", "worse")]
    start = "Output tokens/s of the sparse model at 1 to 32 concurrent requests: "
    assert text.startswith(f"{start}better at some and worse at other loads in 1 of 1 pair; ")
    assert f"it serves {min(ratios):.2f}× to {max(ratios):.2f}× the tokens; it overtakes in 1, at about " in text
    assert " requests." in text and "arrival" not in text


def test_a_new_lead_on_another_workload_is_not_told_of_this_curve() -> None:
    other = tuple(replace(one, workload=("other", *one.workload[1:])) for one in pair().crossings)
    assert "overtakes" in pairs_lead([pair()], [None])
    assert "overtakes" not in pairs_lead([replace(pair(), crossings=other)], [None])


def test_named_pairs_of_one_kind_are_told_of_and_not_counted() -> None:
    found = {one.model: one for one in summarise(builders.with_paths(sites.load_records(3)))}
    named = [
        pair_of(Pairing(found[a], found[b], (), named=True), "pairs/y.html")
        for a, b in (("dense-active", "dense-total"), ("moe-8x2", "moe-fine"), ("dense-total", "dense-active"))
    ]
    uncounted = replace(found["moe-8x2"], architecture=None)
    unknown = pair_of(Pairing(uncounted, found["dense-active"], (), named=True), "pairs/z.html")
    alone = pairs_lead([pair()], [None])
    assert pairs_lead([named[0], pair()], [None, None]) == (
        f"{alone} Not counted here: 1 named pair of two dense models."
    )
    assert pairs_lead([*named, unknown], [None] * 4) == (
        "No sparse model is held against a dense one. Not counted here: 2 named pairs of two dense models, 1 named "
        "pair of two sparse models and 1 named pair of models not both known to be sparse or dense."
    )


def test_without_a_certain_load_there_is_no_range() -> None:
    even = Contrast(1.0, 0.9, 1.1, 0.9, "x")
    effects = tuple(replace(one, contrast=even, verdict="indistinguishable") for one in pair().comparison.effects)
    flat = replace(pair(), comparison=replace(pair().comparison, effects=effects))
    assert pairs_lead([flat, flat], [None, None]) == (
        "Output tokens/s of the sparse model at 1 to 32 concurrent requests: not told apart at any load in 2 of 2 "
        "pairs."
    )
