"""The store: appends, never rewrites, survives damage, interruption and a second writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import SUITE, failed_record, quality_record, refused_record, serving_record, skipped_record

from harness.errors import StoreError
from harness.store import Done, Store, attachment_beside

WRITER = """
import sys
from pathlib import Path
from builders import serving_record
from harness.errors import StoreError
from harness.store import Done, Store
store, first = Store(Path(sys.argv[1])), int(sys.argv[2])
refused = 0
for repeat in range(first, first + 20):
    try:
        store.append(serving_record(repeat=repeat))
    except StoreError:
        refused += 1
print(refused)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_what_was_appended_is_read(store: Store) -> None:
    records = [serving_record(), serving_record(repeat=1), quality_record(), failed_record(repeat=2)]
    paths = [store.append(record) for record in records]
    read = dict(store.read(SUITE))
    assert [read[path] for path in paths] == records
    assert store.files(SUITE) == sorted(paths)
    assert store.suites() == [SUITE]


def test_the_layout_says_suite_cell_time_and_repeat(store: Store) -> None:
    record = serving_record(repeat=2, minutes=3)
    path = store.append(record)
    assert path == store.path_of(record)
    assert path.relative_to(store.root).as_posix() == (
        f"{SUITE}/{record.cell.id[:16]}/20260105T080300-r2-{record.id}.json"
    )


def test_a_record_is_never_rewritten(store: Store) -> None:
    record = serving_record(tokens_per_s=1000.0)
    path = store.append(record)
    before = path.read_bytes()
    other = record.model_copy(update={"duration_s": 99.0})
    with pytest.raises(StoreError, match="already") as caught:
        store.append(other)
    assert caught.value.where == str(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_read_from_an_empty_store(store: Store) -> None:
    assert store.suites() == [] and store.files("none") == [] and list(store.read("none")) == []
    assert store.done("none") == Done()


def test_what_failed_or_was_refused_is_not_done(store: Store) -> None:
    done = serving_record(repeat=0, tokens_per_s=500.0)
    for record in (done, failed_record(repeat=1), refused_record(repeat=2)):
        store.append(record)
    assert store.done(SUITE).measured == {(done.cell.id, 0)}
    store.append(serving_record(repeat=1, minutes=1, tokens_per_s=600.0))
    found = store.done(SUITE)
    assert found.measured == {(done.cell.id, 0), (done.cell.id, 1)}
    assert found.output_rates == {done.cell.id: {0: pytest.approx(500.0), 1: pytest.approx(600.0)}}
    assert [found.covers(done.cell, repeat) for repeat in range(3)] == [True, True, False]


def test_what_a_sweep_did_not_need_is_done_for_all_repeats(store: Store) -> None:
    skipped = skipped_record()
    store.append(skipped)
    found = store.done(SUITE)
    assert found.measured == set()
    assert all(found.covers(skipped.cell, repeat) for repeat in range(3))


def test_a_damaged_file_does_not_hide_the_others(store: Store) -> None:
    good = store.append(serving_record())
    damaged = store.append(serving_record(repeat=1))
    damaged.write_text(damaged.read_text(encoding="utf-8")[:100], encoding="utf-8")
    problems: list[StoreError] = []
    assert [path for path, _ in store.read(SUITE, problems)] == [good]
    assert [problem.where for problem in problems] == [str(damaged)]
    assert {repeat for _, repeat in store.done(SUITE).measured} == {0}
    with pytest.raises(StoreError, match="no JSON"):
        list(store.read(SUITE))


def test_what_an_interrupted_write_left_is_not_read(store: Store) -> None:
    path = store.append(serving_record())
    path.with_suffix(".123.tmp").write_text("{", encoding="utf-8")
    assert store.files(SUITE) == [path]
    assert len(list(store.read(SUITE))) == 1


def test_a_folder_that_cannot_be_written_is_named(store: Store) -> None:
    store.root.parent.mkdir(exist_ok=True)
    store.root.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot write the record"):
        store.append(serving_record())


def test_a_failed_write_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.append(serving_record())
    monkeypatch.undo()
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_two_writers_at_once(store: Store) -> None:
    """Two processes append 20 records each, of which 10 have the same names: each name is written once and whole."""
    search = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    command = [sys.executable, "-c", WRITER, str(store.root)]
    writers = [
        subprocess.Popen(
            [*command, str(first)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": search}
        )
        for first in (0, 10)
    ]
    refused = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    assert sum(refused) == 10
    assert sorted(record.repeat for _, record in store.read(SUITE)) == list(range(30))
    assert not list(store.root.rglob("*.tmp"))


class TestAttachments:
    NAME = "sha256:" + "ab" * 32

    def test_it_lies_beside_the_records_and_is_no_record(self, store: Store) -> None:
        path, record = store.attach(SUITE, self.NAME, b"ids"), store.append(serving_record())
        assert path.read_bytes() == b"ids"
        assert path == store.attachment(SUITE, self.NAME) == attachment_beside(record, self.NAME)
        assert path.relative_to(store.root).as_posix() == f"{SUITE}/attachments/{'ab' * 16}.zip"
        assert store.files(SUITE) == [record] and store.suites() == [SUITE]

    def test_the_same_content_twice_is_one_file(self, store: Store) -> None:
        assert store.attach(SUITE, self.NAME, b"ids") == store.attach(SUITE, self.NAME, b"ids")
        assert [path.name for path in (store.root / SUITE / "attachments").iterdir()] == [f"{'ab' * 16}.zip"]

    @pytest.mark.parametrize("damaged", [b"", b"idz", b"ids and more"])
    def test_a_damaged_file_is_put_right(self, store: Store, damaged: bytes) -> None:
        path = store.attach(SUITE, self.NAME, b"ids")
        path.write_bytes(damaged)
        assert store.attach(SUITE, self.NAME, b"ids").read_bytes() == b"ids"
        assert list(path.parent.iterdir()) == [path]

    def test_what_is_whole_is_not_written_again(self, store: Store) -> None:
        before = store.attach(SUITE, self.NAME, b"ids").stat()
        assert store.attach(SUITE, self.NAME, b"ids").stat() == before

    def test_a_folder_that_cannot_be_written_is_named(self, store: Store) -> None:
        store.root.parent.mkdir(exist_ok=True)
        store.root.write_text("a file where the folder should be", encoding="utf-8")
        with pytest.raises(StoreError, match="cannot write what a record refers to"):
            store.attach(SUITE, self.NAME, b"ids")
