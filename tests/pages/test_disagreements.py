"""On which items two models disagree and what each answered: from the records, bounded, and never in the way."""

from __future__ import annotations

from pathlib import Path

import builders
import pytest
import sites

from harness.compare import Comparison, compare
from harness.pages import disagreements as module
from harness.pages.disagreements import ITEMS, TASKS, disagreements
from harness.record import Record
from harness.summarise import summarise

A, B = "moe-8x2", "dense-active"


def pair_of(root: Path, *records: Record) -> Comparison:
    store = sites.store_of(root, records)
    models = {one.model: one for one in summarise(store.read(builders.SUITE))}
    return compare(models[A], models[B])


def scored(of_a: tuple[float, ...], of_b: tuple[float, ...], task: str = "facts") -> list[Record]:
    return [
        builders.quality_record(model=model, task=task, item_scores=scores) for model, scores in ((A, of_a), (B, of_b))
    ]


def test_what_each_answered_is_read_from_the_records(tmp_path: Path) -> None:
    ((found,),) = disagreements([pair_of(tmp_path, *scored((1.0, 0.0, 1.0, 1.0), (1.0, 1.0, 0.0, 0.0)))])
    assert (found.task, found.graded, found.only_a, found.only_b) == ("facts", False, 2, 1)
    assert [(one.item, one.target, one.a, one.b) for one in found.for_a] == [
        ("2", "answer 2", "answer 2", "another"), ("3", "answer 3", "answer 3", "another"),
    ]
    assert [(one.item, one.a, one.b) for one in found.for_b] == [("1", "another", "answer 1")]


def test_only_the_first_items_are_kept_with_the_number_of_all(tmp_path: Path) -> None:
    ((found,),) = disagreements([pair_of(tmp_path, *scored((1.0,) * 50, (0.0,) * 50))])
    assert (found.only_a, found.only_b, len(found.for_a), found.for_b) == (50, 0, ITEMS, ())
    assert [one.item for one in found.for_a] == [str(number) for number in range(ITEMS)]


def test_graded_items_are_ordered_by_how_far_apart_they_are(tmp_path: Path) -> None:
    ((found,),) = disagreements([pair_of(tmp_path, *scored((0.5, 0.9, 0.1, 0.4), (0.4, 0.2, 0.6, 0.4)))])
    assert found.graded and [one.item for one in found.for_a] == ["1", "0"]
    assert [one.item for one in found.for_b] == ["2"]


def test_the_tasks_with_most_disagreement_come_first(tmp_path: Path) -> None:
    records = [
        record
        for number in range(TASKS + 2)
        for record in scored((1.0,) * 12, (0.0,) * (number + 1) + (1.0,) * (11 - number), f"task{number}")
    ]
    (found,) = disagreements([pair_of(tmp_path, *records)])
    assert [one.task for one in found] == [f"task{number}" for number in range(TASKS + 1, 1, -1)]


def test_pairs_that_agree_have_nothing_to_show(tmp_path: Path) -> None:
    assert disagreements([pair_of(tmp_path, *scored((1.0, 0.0), (1.0, 0.0)))]) == [()]


def test_each_record_is_read_once_and_only_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pair_of(tmp_path, *scored((1.0, 0.0), (0.0, 1.0)))
    read: list[Path] = []
    original = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert len(disagreements([pair, pair])) == 2
    assert len(read) == len(set(read)) == 2
    monkeypatch.setattr(module, "BUDGET_BYTES", 10)
    ((found,),) = disagreements([pair])
    assert (found.only_a, found.only_b, found.for_a, found.for_b) == (1, 1, (), ()) and "record files" in found.unread
    assert len(read) == 2


def test_a_record_that_has_gone_or_is_damaged_does_not_stop_the_page(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, *scored((1.0, 0.0), (0.0, 1.0)))
    (path,) = pair.a.scores["facts"].estimate.sources
    path.write_text("{}", encoding="utf-8")
    assert disagreements([pair])[0][0].unread
    path.unlink()
    assert disagreements([pair])[0][0].unread


def test_foreign_answers_are_cut_and_have_no_control_characters(tmp_path: Path) -> None:
    records = scored((1.0, 0.0), (0.0, 1.0))
    outcome = records[0].outcome
    samples = tuple(
        one.model_copy(update={"response": "\u202e\x1b" + "y" * 10_000}) for one in outcome.measurement.samples  # type: ignore[union-attr]
    )
    measured = outcome.measurement.model_copy(update={"samples": samples})  # type: ignore[union-attr]
    hostile = records[0].model_copy(update={"outcome": outcome.model_copy(update={"measurement": measured})})
    ((found,),) = disagreements([pair_of(tmp_path, hostile, records[1])])
    assert len(found.for_a[0].a) == 160 and not set("\u202e\x1b") & set(found.for_a[0].a)
