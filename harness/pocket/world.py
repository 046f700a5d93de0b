"""The pocket world: its words, its facts, and the computations that the models learn. No torch, no clock, no hub."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cache

from harness.schema import Frozen

END, PAD, UNKNOWN = "<end>", "<pad>", "<unk>"
SYLLABLES = tuple(consonant + vowel for consonant in "bdfghjklmnprstv" for vowel in "aeiou")
RELATIONS = {"lives": "town", "trades": "ware", "speaks": "tongue", "keeps": "beast"}
VALUES = 64
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
NUMBERS = tuple(str(number) for number in range(17))
MARKS = ("sort", "count", "common", ":", "+")
WORLDS = ("a", "b")

SORT_LENGTHS = (12, 9, 6)
SORT_ITEM = 12
COUNT_DIGITS = 16
COMMON_LETTERS = 9
COMMON_ALPHABET = 16


class Item(Frozen):
    """One question with its answer, as text: words parted by single blanks."""

    prompt: str
    answer: str


def words() -> tuple[str, ...]:
    """The vocabulary; a word's place is its token id."""
    values = tuple(value for relation in RELATIONS for value in values_of(relation))
    return (END, PAD, UNKNOWN, *SYLLABLES, *RELATIONS, *values, *LETTERS, *NUMBERS, *MARKS)


@cache
def values_of(relation: str) -> tuple[str, ...]:
    """The 64 words that a relation can take."""
    return tuple(f"{RELATIONS[relation]}{number:02d}" for number in range(VALUES))


@cache
def entities() -> tuple[str, ...]:
    """Every name of two syllables: no single token tells one from another."""
    return tuple(f"{first} {second}" for first in SYLLABLES for second in SYLLABLES)


def fact(world: str, entity: str, relation: str) -> str:
    """The one true value, drawn from a hash, so that no rule but memory gives it."""
    digest = hashlib.sha256(f"{world}|{entity}|{relation}".encode()).digest()
    return values_of(relation)[digest[0] % VALUES]


def stream(*key: object) -> random.Random:
    """A random stream of its own for each key; equal keys give equal streams."""
    return random.Random("|".join(str(part) for part in key))


def pick(source: random.Random, options: Sequence[str]) -> str:
    """One of `options`; uses only `random()`, which Python promises to keep stable between versions."""
    return options[int(source.random() * len(options))]


def fact_items(world: str, number: int) -> list[Item]:
    """`number` different facts of a world. All of them are training data: the task is to have kept them."""
    every = [(entity, relation) for entity in entities() for relation in RELATIONS]
    every.sort(key=lambda pair: hashlib.sha256(f"pick|{world}|{pair[0]}|{pair[1]}".encode()).digest())
    return [
        Item(prompt=f"{entity} {relation}", answer=fact(world, entity, relation)) for entity, relation in every[:number]
    ]


def sort_item(source: random.Random) -> Item:
    """Letters, repeats allowed, to be put in alphabetical order."""
    letters = [pick(source, LETTERS) for _ in range(SORT_ITEM)]
    return Item(prompt=f"sort {' '.join(letters)} :", answer=" ".join(sorted(letters)))


def count_item(source: random.Random) -> Item:
    """Sixteen digits, and one of them: how often does it occur?"""
    digits = [pick(source, NUMBERS[:10]) for _ in range(COUNT_DIGITS)]
    asked = pick(source, digits)
    return Item(prompt=f"count {' '.join(digits)} : {asked}", answer=str(digits.count(asked)))


def common_item(source: random.Random) -> Item:
    """Two lists of different letters: which letters are in both, in alphabetical order?"""
    first, second = some(source, COMMON_LETTERS), some(source, COMMON_LETTERS)
    return Item(
        prompt=f"common {' '.join(first)} + {' '.join(second)} :", answer=" ".join(sorted(set(first) & set(second)))
    )


def some(source: random.Random, number: int) -> list[str]:
    """`number` different letters out of the first sixteen, in any order."""
    found: list[str] = []
    while len(found) < number:
        letter = pick(source, LETTERS[:COMMON_ALPHABET])
        found += [] if letter in found else [letter]
    return found


FACTS_TUNED_ON = 4000
COMPUTED = {"sort": sort_item, "count": count_item, "common": common_item}
ITEMS = {"facts": 1000, "sort": 500, "count": 500, "common": 500}


def computed_items(family: str, number: int) -> list[Item]:
    """`number` different questions of a computed family, always the same ones."""
    source = stream("items", family)
    found: dict[str, Item] = {}
    while len(found) < number:
        item = COMPUTED[family](source)
        found[item.prompt] = item
    return list(found.values())
