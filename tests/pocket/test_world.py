"""The pocket world: facts, questions and their answers."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pocket import world
from harness.pocket.world import Item


def test_words_are_single_and_different() -> None:
    words = world.words()
    assert len(set(words)) == len(words)
    assert all(word and not set(word) & set(" \t\n") for word in words)


def test_every_question_is_made_of_known_words() -> None:
    known = set(world.words())
    items = [item for family in world.COMPUTED for item in world.computed_items(family, 50)]
    items += [item for name in world.WORLDS for item in world.fact_items(name, 50)]
    for item in items:
        assert set(item.prompt.split()) | set(item.answer.split()) <= known


def test_facts_have_one_value_of_their_relation() -> None:
    for name in world.WORLDS:
        items = world.fact_items(name, 1000)
        assert len({item.prompt for item in items}) == len(items)
        for item in items:
            *entity, relation = item.prompt.split()
            assert " ".join(entity) in set(world.entities())
            assert item.answer in world.values_of(relation)
            assert item.answer == world.fact(name, " ".join(entity), relation)


def test_entities_are_different() -> None:
    assert len(set(world.entities())) == len(world.SYLLABLES) ** 2


def test_worlds_agree_by_chance_only() -> None:
    pairs = [(entity, relation) for entity in world.entities() for relation in world.RELATIONS]
    same = sum(world.fact("a", *pair) == world.fact("b", *pair) for pair in pairs) / len(pairs)
    assert abs(same - 1 / world.VALUES) < 0.005


def test_values_are_even() -> None:
    seen = Counter(world.fact("a", entity, "lives") for entity in world.entities())
    assert len(seen) == world.VALUES
    expected = len(world.entities()) / world.VALUES
    statistic = sum((number - expected) ** 2 / expected for number in seen.values())
    assert statistic < 120  # chi-squared with 63 degrees of freedom exceeds it once in 10^5


@pytest.mark.parametrize("family", sorted(world.COMPUTED))
def test_items_do_not_repeat_and_never_change(family: str) -> None:
    items = world.computed_items(family, 100)
    assert len({item.prompt for item in items}) == 100
    assert items == world.computed_items(family, 200)[:100]


@given(st.integers())
def test_sort_answers(seed: int) -> None:
    item = world.sort_item(world.stream(seed))
    head, *letters, mark = item.prompt.split()
    assert (head, mark, len(letters)) == ("sort", ":", world.SORT_ITEM)
    assert item.answer.split() == sorted(letters)


@given(st.integers())
def test_count_answers(seed: int) -> None:
    item = world.count_item(world.stream(seed))
    head, *digits, mark, asked = item.prompt.split()
    assert (head, mark, len(digits)) == ("count", ":", world.COUNT_DIGITS)
    assert item.answer == str(digits.count(asked)) != "0"


@given(st.integers())
def test_common_answers(seed: int) -> None:
    item = world.common_item(world.stream(seed))
    left, right = item.prompt.removeprefix("common ").removesuffix(" :").split(" + ")
    first, second = left.split(), right.split()
    assert len(set(first)) == len(set(second)) == world.COMMON_LETTERS == len(first) == len(second)
    assert item.answer.split() == [letter for letter in sorted(first) if letter in second]
    assert item.answer


@given(st.text(), st.text())
def test_streams_are_kept_apart(left: str, right: str) -> None:
    same = world.stream("x", left).random() == world.stream("x", right).random()
    assert same == (left == right)


def test_items_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Item(prompt="a", answer="b").prompt = "c"  # type: ignore[misc]  # the point of the test
