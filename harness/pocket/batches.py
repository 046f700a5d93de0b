"""Training batches as integer arrays: facts of one world, and sorting, counting and comparing made on the fly.

Weights say how much each token counts in the loss: answers do, questions do not. Answers stand in the same columns in
every batch (`answer_places`), so that no other logits need be computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from harness.pocket import world as w
from harness.schema import Frozen

Tokens = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]

LENGTH = 66
FACT_WORDS = 11
FACTS_A_ROW = LENGTH // FACT_WORDS
COUNT_WEIGHT = np.float32(2.5)

ID = {word: place for place, word in enumerate(w.words())}
PAD = ID[w.PAD]
ABSENT = len(ID)
COUNTS_ASKED = 7
LETTER, NUMBER = ID[w.LETTERS[0]], ID[w.NUMBERS[0]]


class Mix(Frozen):
    """Rows of each family in every batch."""

    facts: int = 44
    sort: int = 10
    count: int = 6
    common: int = 4

    @property
    def rows(self) -> int:
        """Rows a batch."""
        return self.facts + self.sort + self.count + self.common


class Batches:
    """An endless stream of (tokens, weights of each token in the loss), the same for the same world and seed."""

    def __init__(self, world: str, seed: int, mix: Mix) -> None:
        self.world, self.mix = world, mix
        self.random = np.random.default_rng([w.WORLDS.index(world), seed])
        self.held_out = held_out()

    def __iter__(self) -> Iterator[tuple[Tokens, Weights]]:
        facts = self.fact_rows()
        while True:
            parts = [next(facts), self.sort_rows(), self.count_rows(), self.common_rows()]
            yield np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def fact_rows(self) -> Iterator[tuple[Tokens, Weights]]:
        """Six entities a row, each with its four facts in a fresh order; every entity once before any comes twice."""
        names, relations, answers = fact_table(self.world)
        need = self.mix.facts * FACTS_A_ROW
        queue = np.empty(0, dtype=np.int64)
        while True:
            if len(queue) < need:
                queue = np.concatenate([queue, self.random.permutation(len(names))])
            chosen, queue = queue[:need], queue[need:]
            order = np.argsort(self.random.random((need, len(relations))), axis=1)
            tokens = np.full((need, FACT_WORDS), ID[w.END], dtype=np.int64)
            tokens[:, 0:2] = names[chosen]
            tokens[:, 2:10:2] = relations[order]
            tokens[:, 3:11:2] = np.take_along_axis(answers[chosen], order, axis=1)
            weights = np.zeros(tokens.shape, dtype=np.float32)
            weights[:, 3:11:2] = 1
            yield tokens.reshape(-1, LENGTH), weights.reshape(-1, LENGTH)

    def draw(self, rows: int, make: Callable[[int], Tokens]) -> Tokens:
        """What `make(rows)` gives; a row that is one of the held-out questions is drawn again."""
        found = make(rows)
        while again := [place for place, row in enumerate(found) if row.tobytes() in self.held_out]:
            found[again] = make(len(again))
        return found

    def numbers(self, high: int, width: int, rows: int) -> Tokens:
        """Integers [rows, width] below `high`."""
        return self.random.integers(0, high, (rows, width))

    def sort_rows(self) -> tuple[Tokens, Weights]:
        """A question of twelve, of nine and of six letters in each row."""
        parts = []
        for length in w.SORT_LENGTHS:
            letters = self.draw(self.mix.sort, partial(self.numbers, len(w.LETTERS), length))
            parts.append(document("sort", [letters + LETTER], np.sort(letters, axis=1) + LETTER))
        return row(parts)

    def count_rows(self) -> tuple[Tokens, Weights]:
        """Two questions a row; seven digits are asked in each, those that occur before those that do not."""
        parts = []
        for _ in range(2):
            digits = self.draw(self.mix.count, partial(self.numbers, 10, w.COUNT_DIGITS))
            counts = (digits[:, :, None] == np.arange(10)).sum(axis=1)
            asked = np.argsort(self.random.random(counts.shape) + (counts == 0), axis=1)[:, :COUNTS_ASKED]
            answers = np.stack([asked, np.take_along_axis(counts, asked, axis=1)], axis=2).reshape(len(asked), -1)
            tokens, weights = document("count", [digits + NUMBER], answers + NUMBER)
            weights[:, w.COUNT_DIGITS + 2 :: 2] = 0
            weights[:, w.COUNT_DIGITS + 3 :: 2] = COUNT_WEIGHT
            parts.append((tokens, weights))
        return row(parts)

    def common_rows(self) -> tuple[Tokens, Weights]:
        """Two questions a row."""
        parts = []
        for _ in range(2):
            lists = self.draw(self.mix.common, self.two_lists)
            first, second = lists[:, : w.COMMON_LETTERS], lists[:, w.COMMON_LETTERS :]
            shared = (first[:, :, None] == second[:, None, :]).any(axis=2)
            answers = np.sort(np.where(shared, first + LETTER, ABSENT), axis=1)
            parts.append(document("common", [first + LETTER, second + LETTER], answers))
        return row(parts)

    def two_lists(self, rows: int) -> Tokens:
        """Two lists [rows, 2 x 9] of different letters each."""
        orders = np.argsort(self.random.random((rows, 2, w.COMMON_ALPHABET)), axis=2)
        return orders[:, :, : w.COMMON_LETTERS].reshape(rows, -1)


def answer_columns() -> dict[str, list[int]]:
    """The columns of a row, by family, in which an answer may stand."""
    count, common = w.COUNT_DIGITS + 3, 2 * w.COMMON_LETTERS + 3
    found: dict[str, list[int]] = {
        "facts": [column for column in range(LENGTH) if column % FACT_WORDS in (3, 5, 7, 9)],
        "sort": [],
        "count": [start + 2 * place for start in (count, 2 * count + 14) for place in range(COUNTS_ASKED)],
        "common": [start + place for start in (common, 2 * common + 10) for place in range(w.COMMON_LETTERS + 1)],
    }
    start = 0
    for length in w.SORT_LENGTHS:
        found["sort"] += range(start + length + 2, start + 2 * length + 3)
        start += 2 * length + 3
    return found


def answer_places(mix: Mix) -> Tokens:
    """The same as indices into the flattened tokens of a batch without their first column."""
    columns, places, row = answer_columns(), [], 0
    for family in ("facts", "sort", "count", "common"):
        for _ in range(getattr(mix, family)):
            places += [row * (LENGTH - 1) + column - 1 for column in columns[family]]
            row += 1
    return np.array(places)


@cache
def fact_table(world: str) -> tuple[Tokens, Tokens, Tokens]:
    """Token ids: names [entity, 2], relations [4] and the values [entity, 4] of a world."""
    names = np.array([[ID[part] for part in entity.split()] for entity in w.entities()])
    relations = np.array([ID[relation] for relation in w.RELATIONS])
    answers = np.array([[ID[w.fact(world, entity, relation)] for relation in w.RELATIONS] for entity in w.entities()])
    return names, relations, answers


@cache
def held_out() -> frozenset[bytes]:
    """What the evaluated questions ask, as the bytes that a drawn row would have: training never draws them."""
    found = set()
    for family in w.COMPUTED:
        for item in w.computed_items(family, w.ITEMS[family]):
            body = item.prompt.split()[1:]
            if family == "count":
                body = body[: w.COUNT_DIGITS]
            base = NUMBER if family == "count" else LETTER
            found.add(np.array([ID[word] - base for word in body if word not in w.MARKS], dtype=np.int64).tobytes())
    return frozenset(found)


def document(head: str, given: list[Tokens], answer: Tokens) -> tuple[Tokens, Weights]:
    """`head given + given : answer <end>`, one document a row; the answer and the end count in full.

    Answers may end in `ABSENT`: those places hold the end and then padding.
    """
    rows = len(answer)
    column = {mark: np.full((rows, 1), ID[mark], dtype=np.int64) for mark in (head, "+", ":")}
    parts = [column[head], given[0]]
    for other in given[1:]:
        parts += [column["+"], other]
    start = sum(part.shape[1] for part in parts) + 1
    ended = np.concatenate([answer, np.full((rows, 1), ABSENT)], axis=1)
    absent = ended == ABSENT
    ended[absent] = PAD
    ended[np.arange(rows), absent.argmax(axis=1)] = ID[w.END]
    tokens = np.concatenate([*parts, column[":"], ended], axis=1)
    weights = np.zeros(tokens.shape, dtype=np.float32)
    weights[:, start:] = ended != PAD
    return tokens, weights


def row(parts: list[tuple[Tokens, Weights]]) -> tuple[Tokens, Weights]:
    """Documents side by side, filled up with padding that counts for nothing."""
    tokens = np.concatenate([part[0] for part in parts], axis=1)
    weights = np.concatenate([part[1] for part in parts], axis=1)
    spare = ((0, 0), (0, LENGTH - tokens.shape[1]))
    return np.pad(tokens, spare, constant_values=PAD), np.pad(weights, spare)
