"""The index of a suite's records: a derived file that can be deleted at any time, and is made again from the records.

Nightly runs measure the same cells over and over, so that a suite has many times the records that its summaries need.
`results/<suite>/index.parquet` has a row for each (`harness.index_rows`). It is brought up to date whenever it is
opened: files that are new or of another size are read, those that are gone leave it. From its rows follows which few
records `harness.summarise` needs, and only these are read. A file that is no record is tried again each time.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from harness.environment import Ceilings
from harness.errors import StoreError
from harness.index_rows import rows_of, schema, table_of
from harness.quantities import grouped
from harness.record import Record
from harness.record_file import read_record
from harness.roof import Device, Seen
from harness.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FILE = "index.parquet"
_CHUNK = 500
"""Files that are read at a time."""
_MANY = 4000
"""New files from which on several processes read them, and a note says so."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreIndex:
    """The rows of one suite in the order of `Store.files`, without files that cannot be read."""

    folder: Path
    """The suite's own."""
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def paths(self) -> list[str]:
        """The files below the suite's folder."""
        return [os.fsdecode(path) for path in self.table.column("path").to_pylist()]

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the records."""
        found: list[str] = self.table.column("id").to_pylist()
        return found

    @cached_property
    def _row_of_path(self) -> dict[str, int]:
        return {path: row for row, path in enumerate(self.paths)}

    def row_of(self, file: Path) -> int | None:
        """The row of a record file of this store."""
        return self._row_of_path.get(f"{file.parent.name}/{file.name}")

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """A column of words as numbers, one a row, and the words that they stand for."""
        import numpy as np

        column = self.table.column(name).chunk(0)
        return column.indices.to_numpy().astype(np.int64), column.dictionary.to_pylist()

    def words(self, name: str) -> list[str]:
        """A column of words, one a row."""
        codes, words = self.codes(name)
        return [words[code] for code in codes.tolist()]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers; NaN where a row has none."""
        import numpy as np

        found: NDArray[np.float64] = self.table.column(name).to_numpy().astype(np.float64, copy=False)
        return found

    @cached_property
    def started_us(self) -> NDArray[np.int64]:
        """When each record was begun, in microseconds since 1970."""
        found: NDArray[np.int64] = self.table.column("started_us").to_numpy()
        return found

    def needed(self) -> list[int]:
        """The rows of the records whose summaries are those of all records, in the order of their files.

        Of each repeat of a cell the newest attempt and the newest measurement; of each subject the newest measurement
        that is no import, which puts it before imported ones, and the newest with a model's configuration, measured
        ones first. What devices did at most in other runs is in `seen_ceilings`.
        """
        columns = [self.codes(name)[0].tolist() for name in ("cell", "repeat", "subject")]
        done, own = self._are("status", "completed"), self._are("origin", "")
        configured = self.table.column("has_config").to_pylist()
        when = list(zip(self.started_us.tolist(), self.ids, strict=True))
        newest: dict[tuple[object, ...], tuple[object, int]] = {}

        def offer(key: tuple[object, ...], rank: object, row: int) -> None:
            best = newest.get(key)
            if best is None or (rank, row) > best:
                newest[key] = (rank, row)

        for row, (cell, number, subject) in enumerate(zip(*columns, strict=True)):
            offer(("tried", cell, number), when[row], row)
            if done[row]:
                offer(("measured", cell, number), when[row], row)
                if own[row]:
                    offer(("own", subject), when[row], row)
            if configured[row]:
                offer(("config", subject), (done[row], when[row]), row)
        return sorted({row for _, row in newest.values()})

    def _are(self, name: str, word: str) -> list[bool]:
        codes, words = self.codes(name)
        wanted = words.index(word) if word in words else -1
        return [code == wanted for code in codes.tolist()]

    def seen_ceilings(self) -> Seen:
        """What each kind of device did at most in each run."""
        import numpy as np

        (of_subject, subjects), (of_run, runs), (of_text, texts) = (
            self.codes(name) for name in ("subject", "run_id", "ceilings")
        )
        parsed = {code: Ceilings.model_validate_json(text) for code, text in enumerate(texts) if text}
        devices = [_device(subject) for subject in subjects]
        seen: Seen = {}
        for met in np.unique((of_subject * len(runs) + of_run) * len(texts) + of_text).tolist():
            pair, code = divmod(met, len(texts))
            subject, run = divmod(pair, len(runs))
            if code in parsed:
                seen.setdefault(devices[subject], {})[runs[run], texts[code]] = parsed[code]
        return seen


def _device(subject: str) -> Device:
    fields = json.loads(subject)
    return fields["accelerator"], fields["threads"]


# Opening it ------------------------------------------------------------------------------------------------------


def read_needed(store: Store, suite: str, problems: list[StoreError]) -> tuple[StoreIndex, list[tuple[Path, Record]]]:
    """The index of a suite, up to date, and those of its records that summaries are made from, each with its file.

    Files that cannot be read are added to `problems`.
    """
    doubtful: set[str] = set()
    while True:
        index, broken = open_index(store, suite, again=doubtful)
        entries, found = [], set()
        for row in index.needed():
            path = index.folder / index.paths[row]
            try:
                record = read_record(path)
            except StoreError:
                found.add(index.paths[row])
                continue
            entries.append((path, record))
            if record.id != index.ids[row]:
                found.add(index.paths[row])
        if found <= doubtful:
            problems.extend(broken)
            return index, entries
        doubtful |= found


def open_index(store: Store, suite: str, *, again: Iterable[str] = ()) -> tuple[StoreIndex, list[StoreError]]:
    """The index of a suite, up to date with its files, and what is wrong with those that are no records.

    `again` are files that are read whether they seem known or not. What cannot be written is kept in memory only.
    """
    folder = store.root / suite
    listed = dict(_listed(folder))
    old = _stored(folder / FILE)
    kept, known = _still_there(old, listed, set(again))
    new = sorted(((path, size) for path, size in listed.items() if path not in known), key=_by_parts)
    tables, broken = [kept], []
    for table, unread in _rows(folder, new):
        tables.append(table)
        broken += unread
    if len(new) == len(broken) and kept is old:
        return StoreIndex(folder, kept), _problems(folder, broken)
    table = _in_order(tables)
    _write(table, folder / FILE)
    return StoreIndex(folder, table), _problems(folder, broken)


def _listed(folder: Path) -> Iterator[tuple[str, int]]:
    """Every record file below a suite's folder with its size, as `Store.files` finds them."""
    for inner in _entries(folder):
        if inner.is_dir():
            for entry in _entries(inner.path):
                if entry.name.endswith(".json"):
                    yield f"{inner.name}/{entry.name}", _size(entry)


def _entries(folder: Path | str) -> Sequence[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1


def _by_parts(entry: tuple[str, int]) -> list[str]:
    return entry[0].split("/")


def _problems(folder: Path, broken: Iterable[str]) -> list[StoreError]:
    """What is wrong with files that are no records."""
    found = []
    for path in broken:
        try:
            read_record(folder / path)
        except StoreError as error:
            found.append(error)
    return found


def _still_there(old: pa.Table, listed: dict[str, int], again: set[str]) -> tuple[pa.Table, set[str]]:
    """The rows whose files are there as they were, and these files."""
    paths = [os.fsdecode(path) for path in old.column("path").to_pylist()]
    sizes = old.column("bytes").to_pylist()
    fits = [path not in again and listed.get(path) == size for path, size in zip(paths, sizes, strict=True)]
    known = {path for path, fit in zip(paths, fits, strict=True) if fit}
    return (old if len(known) == len(paths) else old.filter(fits)), known


def _in_order(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows in the order of their files, each word stored once."""
    import pyarrow as pa

    table = _whole(pa.concat_tables(tables))
    paths = [os.fsdecode(path).split("/") for path in table.column("path").to_pylist()]
    return _whole(table.take(pa.array(sorted(range(len(paths)), key=paths.__getitem__), pa.int64())))


def _whole(table: pa.Table) -> pa.Table:
    """The table with every column in one piece."""
    if all(column.num_chunks == 1 for column in table.columns):
        return table
    if not table.num_rows:
        return table_of([])
    return table.unify_dictionaries().combine_chunks()


# Reading records, several at a time ------------------------------------------------------------------------------


def _rows(folder: Path, files: Sequence[tuple[str, int]]) -> Iterator[tuple[pa.Table, list[str]]]:
    """The rows of some files and those that are no records, a chunk at a time."""
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    if len(files) < _MANY:
        yield from map(rows_of, repeat(folder), chunks)
        return
    _LOG.info("reading %s new records of %r into its index", grouped(len(files), 0), folder.name)
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    done = 0
    # a fresh interpreter: forking one that has threads, as arrow's, may hang
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for number, found in enumerate(_in_turn(pool, folder, chunks), 1):
            yield found
            if 5 * number // len(chunks) > done:
                done = 5 * number // len(chunks)
                _LOG.info("%d %% read", 20 * done)


def _in_turn(
    pool: Executor, folder: Path, chunks: Sequence[Sequence[tuple[str, int]]]
) -> Iterator[tuple[pa.Table, list[str]]]:
    """The rows of every chunk in order; read here where processes cannot be started or are killed."""
    number = 0
    with suppress(BrokenProcessPool, OSError):
        for found in pool.map(rows_of, repeat(folder), chunks):
            yield found
            number += 1
        return
    yield from map(rows_of, repeat(folder), chunks[number:])


# The file --------------------------------------------------------------------------------------------------------


def _stored(file: Path) -> pa.Table:
    """What is in an index; nothing where it is missing, damaged, or made by other rules."""
    import pyarrow as pa
    from pyarrow import parquet

    with suppress(pa.ArrowException, OSError, ValueError, KeyError):
        told = parquet.read_schema(file).metadata or {}
        if told.get(b"moebench") == schema().metadata[b"moebench"]:
            table = parquet.read_table(file, page_checksum_verification=True)
            if table.schema.equals(schema()):
                return _whole(table)
    return table_of([])


def _write(table: pa.Table, file: Path) -> None:
    """Replaces the index as a whole; where it cannot be written, a warning says that it will be made again."""
    from pyarrow import parquet

    # not the process's number: two machines that share the folder may have the same
    temporary = file.with_name(f".{file.name}.{uuid4().hex}.tmp")
    try:
        parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = error.strerror or error
        _LOG.warning("%s: cannot keep the index (%s); the next command makes it again from the records", file, reason)
