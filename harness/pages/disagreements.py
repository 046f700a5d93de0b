"""On which items two models disagree, with what each of them answered, read from the record files behind the scores.

Which items are shown follows from the scores alone. What was answered is read afterwards, for all pairs of a suite at
once, so that each record is read once and no more is kept of it than is shown. What a site reads for this is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.compare import Comparison
from harness.metrics import item_keys
from harness.quantities import plain
from harness.summary import ModelSummary, TaskScore

ITEMS = 20
"""Items a side and task."""
TASKS = 8
"""Tasks of a pair whose items are shown: those with most disagreement."""
BUDGET_BYTES = 100_000_000
"""Record files of more than this in all are not read for a suite's pairs; their pages say so."""
_TEXT = 160


@dataclass(frozen=True)
class Answers:
    """One item that one model gets and the other misses. Foreign text, ready for a page."""

    item: str
    target: str
    a: str
    b: str


@dataclass(frozen=True)
class Disagreement:
    """One task on whose items two models disagree."""

    task: str
    graded: bool
    """Whether scores are more than right and wrong, so that one model is better at an item, not alone right."""
    only_a: int
    only_b: int
    for_a: tuple[Answers, ...]
    """Of the items that a alone gets; the first by their order, of graded ones those with the largest difference."""
    for_b: tuple[Answers, ...]
    unread: str = ""
    """Why no answers are shown; empty where they are."""


class _Chosen(NamedTuple):
    """The items of a task to be shown, by key, and the record files of both models."""

    task: str
    graded: bool
    counts: tuple[int, int]
    """Of all items on which a does better, and b."""
    sides: tuple[tuple[str, ...], tuple[str, ...]]
    """Those that are shown."""
    files: tuple[Path, Path]


class _Said(NamedTuple):
    """What a record says of one item."""

    id: int
    target: str
    response: str


def disagreements(pairs: Sequence[Comparison]) -> list[tuple[Disagreement, ...]]:
    """Of each pair the tasks on whose items the two disagree, most disagreement first, `TASKS` at most."""
    chosen = [_chosen(pair) for pair in pairs]
    wanted: dict[Path, set[str]] = {}
    for one in (one for found in chosen for one in found):
        for path in one.files:
            wanted.setdefault(path, set()).update(*one.sides)
    said = _read(wanted)
    return [tuple(_disagreement(one, said) for one in found) for found in chosen]


def _chosen(pair: Comparison) -> tuple[_Chosen, ...]:
    found = []
    for task in (effect.metric.removeprefix("score:") for effect in pair.effects if effect.metric.startswith("score:")):
        one, other = pair.a.scores[task], pair.b.scores[task]
        files = _file_of(one, pair.a), _file_of(other, pair.b)
        sides = _sides(one, other)
        if files[0] is not None and files[1] is not None and any(sides):
            graded = any(score not in (0.0, 1.0) for score in (*one.items.values(), *other.items.values()))
            shown = (sides[0][:ITEMS], sides[1][:ITEMS])
            found.append(_Chosen(task, graded, (len(sides[0]), len(sides[1])), shown, (files[0], files[1])))
    return tuple(sorted(found, key=lambda one: -sum(one.counts))[:TASKS])


def _file_of(score: TaskScore, model: ModelSummary) -> Path | None:
    """The newest record of a score; files begin with the time at which they were started. None for groups."""
    return max(score.estimate.sources, key=lambda path: path.name, default=None) if not model.members else None


def _sides(a: TaskScore, b: TaskScore) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys of the items that a does better at, and those that b does: the largest differences first, in order."""
    sign = 1 if a.higher_is_better else -1
    differences = {key: sign * (a.items[key] - b.items[key]) for key in a.items if key in b.items}
    ahead = sorted((key for key, size in differences.items() if size > 0), key=lambda key: -differences[key])
    behind = sorted((key for key, size in differences.items() if size < 0), key=lambda key: differences[key])
    return tuple(ahead), tuple(behind)


# What was answered -----------------------------------------------------------------------------------------------


def _read(wanted: Mapping[Path, set[str]]) -> dict[Path, dict[str, _Said]]:
    """What the files say of the wanted items; files that cannot be read or are beyond the budget are left out."""
    said: dict[Path, dict[str, _Said]] = {}
    left = BUDGET_BYTES
    for path, keys in wanted.items():
        try:
            left -= path.stat().st_size
            if left < 0:
                break
            said[path] = _answers(json.loads(path.read_bytes()), keys)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the page says that the answers are not there
    return said


def _answers(record: Mapping[str, Any], keys: set[str]) -> dict[str, _Said]:
    """The wanted items of a record as it lies in its file, by the keys of `metrics.item_keys`.

    Records are not validated again here, which takes five times as long as reading them: they were when summarised.
    """
    found: dict[str, _Said] = {}
    samples = record["outcome"]["measurement"]["samples"]
    names = item_keys((sample.get("subtask"), sample["hash"]) for sample in samples)
    for name, sample in zip(names, samples, strict=True):
        if name in keys:
            said = (plain(str(sample[field]), _TEXT) for field in ("target", "response"))
            found[name] = _Said(int(sample["id"]), *said)
    return found


def _disagreement(chosen: _Chosen, said: Mapping[Path, Mapping[str, _Said]]) -> Disagreement:
    of_a, of_b = (said.get(path) for path in chosen.files)
    if of_a is None or of_b is None:
        reason = "The answers are in the record files, which could not all be read for this page."
        return Disagreement(chosen.task, chosen.graded, *chosen.counts, (), (), reason)
    for_a, for_b = (tuple(_answers_to(keys, of_a, of_b)) for keys in chosen.sides)
    return Disagreement(chosen.task, chosen.graded, *chosen.counts, for_a, for_b)


def _answers_to(keys: Sequence[str], a: Mapping[str, _Said], b: Mapping[str, _Said]) -> Iterator[Answers]:
    for key in keys:
        if key in a and key in b:
            subtask = key.rpartition("/")[0]
            item = f"{plain(subtask, 60)} {a[key].id}" if subtask else str(a[key].id)
            yield Answers(item, a[key].target, a[key].response, b[key].response)
