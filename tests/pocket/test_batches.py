"""Training batches hold what they should, and no evaluated question."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.pocket import batches, world
from harness.pocket.batches import ID, LENGTH, PAD, Batches, Mix

WORDS = world.words()
SMALL = Mix(facts=3, sort=2, count=2, common=2)


def documents(row: batches.Tokens) -> list[list[str]]:
    """The documents of a row, as words, without padding."""
    text = [WORDS[token] for token in row if token != PAD]
    parts: list[list[str]] = [[]]
    for word in text:
        if word == world.END:
            parts.append([])
        else:
            parts[-1].append(word)
    assert not parts.pop()
    return parts


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(world.WORLDS), st.integers(0, 1000))
def test_documents_are_true(name: str, seed: int) -> None:
    tokens, _ = next(iter(Batches(name, seed, SMALL)))
    assert tokens.shape == (SMALL.rows, LENGTH)
    for line in tokens:
        for words in documents(line):
            check(name, words)


def check(name: str, words: list[str]) -> None:
    """Recomputes what a document says."""
    if words[0] not in world.MARKS:
        entity, pairs = " ".join(words[:2]), words[2:]
        assert sorted(pairs[::2]) == sorted(world.RELATIONS)
        assert all(
            world.fact(name, entity, relation) == value for relation, value in zip(pairs[::2], pairs[1::2], strict=True)
        )
        return
    mark = words.index(":")
    given_words, answer = words[1:mark], words[mark + 1 :]
    if words[0] == "sort":
        assert answer == sorted(given_words)
    elif words[0] == "count":
        assert [int(number) for number in answer[1::2]] == [given_words.count(digit) for digit in answer[::2]]
        assert len(set(answer[::2])) == batches.COUNTS_ASKED
    else:
        first, second = given_words[: world.COMMON_LETTERS], given_words[world.COMMON_LETTERS + 1 :]
        assert answer == sorted(set(first) & set(second))


def test_same_seed_same_batches() -> None:
    first, second = (list(islice(Batches("a", 7, SMALL), 3)) for _ in range(2))
    other = list(islice(Batches("a", 8, SMALL), 3))
    for left, right in zip(first, second, strict=True):
        assert np.array_equal(left[0], right[0])
        assert np.array_equal(left[1], right[1])
    assert not np.array_equal(first[0][0], other[0][0])


def test_weight_lies_on_answer_places_only() -> None:
    places = batches.answer_places(Mix())
    assert len(set(places.tolist())) == len(places)
    for _, weights in islice(Batches("b", 3, Mix()), 30):
        assert not weights[:, 0].any()
        shifted = weights[:, 1:].flatten()
        assert shifted[places].sum() == shifted.sum() > 0


def test_every_fact_comes_once_an_epoch() -> None:
    mix = Mix(facts=40, sort=0, count=0, common=0)
    entities = len(world.entities())
    rows = Batches("a", 1, mix).fact_rows()
    per = mix.facts * batches.FACTS_A_ROW
    seen = [
        tuple(name) for tokens, _ in islice(rows, entities // per) for name in tokens.reshape(-1, 11)[:, :2].tolist()
    ]
    assert len(seen) == len(set(seen)) == entities // per * per


def test_evaluated_facts_are_training_facts() -> None:
    names, _, answers = batches.fact_table("b")
    known = {
        (*name, relation): answer
        for name, row in zip(names.tolist(), answers.tolist(), strict=True)
        for relation, answer in zip([ID[word] for word in world.RELATIONS], row, strict=True)
    }
    for item in world.fact_items("b", world.ITEMS["facts"]):
        assert known[tuple(ID[word] for word in item.prompt.split())] == ID[item.answer]


def test_held_out_questions_are_drawn_again() -> None:
    source = Batches("a", 1, SMALL)
    item = world.computed_items("count", 1)[0]
    digits = np.array([[int(word) for word in item.prompt.split()[1 : 1 + world.COUNT_DIGITS]]])
    fresh = np.zeros_like(digits)
    answers = iter([digits, digits, fresh])
    assert np.array_equal(source.draw(1, lambda _rows: next(answers).copy()), fresh)


@pytest.mark.parametrize("family", sorted(world.COMPUTED))
def test_held_out_holds_every_computed_item(family: str) -> None:
    assert len(batches.held_out()) == sum(world.ITEMS[name] for name in world.COMPUTED)
    for item in world.computed_items(family, world.ITEMS[family]):
        given_words = item.prompt.removeprefix(family).split(":")[0].replace("+", "").split()
        known = world.NUMBERS if family == "count" else world.LETTERS
        row = np.array([known.index(word) for word in given_words], dtype=np.int64)
        assert row.tobytes() in batches.held_out()


def test_drawn_rows_have_the_form_of_the_held_out_ones() -> None:
    source = Batches("a", 1, SMALL)
    letters, digits = source.numbers(26, world.SORT_ITEM, 1), source.numbers(10, world.COUNT_DIGITS, 1)
    sizes = {len(part) for part in batches.held_out()}
    assert {len(row.tobytes()) for row in (letters[0], digits[0], source.two_lists(1)[0])} == sizes
