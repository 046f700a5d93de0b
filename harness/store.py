"""`results/`: one file a record, appended and never rewritten; only a damaged attachment is put right.

Layout: `results/<suite>/<first 16 digits of the cell's id>/<start time>-r<repeat>-<record id>.json`, and
`results/<suite>/attachments/<first 32 digits of the SHA-256>.zip` for what is too large for a record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError, StoreError, nearest
from harness.record import Cell, Completed, Record, ServingMeasurement, Skipped
from harness.record_file import read_record


@dataclass
class Done:
    """What the records of a suite say is done, so that nothing is measured twice."""

    measured: set[tuple[str, int]] = field(default_factory=set)
    """Cell ids with their repeats."""
    skipped: set[str] = field(default_factory=set)
    """Cell ids that an adaptive sweep did not need, in no repeat."""
    output_rates: dict[str, dict[int, float]] = field(default_factory=dict)
    """Output tokens/s of each serving cell by repeat."""
    measuring_s: float = 0.0
    """What all records took together, loading left out."""

    def add(self, record: Record) -> None:
        """Takes one more record into account."""
        outcome, cell = record.outcome, record.cell.id
        self.measuring_s += record.duration_s
        if isinstance(outcome, Skipped):
            self.skipped.add(cell)
        if not isinstance(outcome, Completed):
            return
        self.measured.add((cell, record.repeat))
        if isinstance(outcome.measurement, ServingMeasurement) and outcome.measurement.output_tokens_per_s:
            self.output_rates.setdefault(cell, {})[record.repeat] = outcome.measurement.output_tokens_per_s

    def covers(self, cell: Cell, repeat: int) -> bool:
        """Whether this repeat of a cell need not be measured."""
        return cell.id in self.skipped or (cell.id, repeat) in self.measured


class Store:
    """The records under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def append(self, record: Record) -> Path:
        """Writes a record and returns its file; after this returns, a power cut does not lose it.

        Raises StoreError where the folder cannot be written, or a record of this name is there already.
        """
        path = self.path_of(record)
        try:
            _write(path, (record.model_dump_json() + "\n").encode())
        except FileExistsError as error:
            raise StoreError("a record of this name is there already", where=str(path)) from error
        except OSError as error:
            raise StoreError(f"cannot write the record: {error.strerror}", where=str(path)) from error
        return path

    def attach(self, suite: str, fingerprint: str, content: bytes) -> Path:
        """Writes what a record names by its `sha256:...`, and returns its file; before the record, as safely.

        A file of that name with other content is damaged, since the name is the content's, and is replaced.
        Raises StoreError where the folder cannot be written.
        """
        path = self.attachment(suite, fingerprint)
        try:
            if not (path.is_file() and path.read_bytes() == content):
                _write(path, content, os.replace)
        except OSError as error:
            raise StoreError(f"cannot write what a record refers to: {error.strerror}", where=str(path)) from error
        return path

    def attachment(self, suite: str, fingerprint: str) -> Path:
        """The file of an attachment, whether it has been written or not."""
        return self.root / suite / "attachments" / f"{fingerprint.removeprefix('sha256:')[:32]}.zip"

    def path_of(self, record: Record) -> Path:
        """The file of a record, whether it has been written or not."""
        stamp = record.started_at.strftime("%Y%m%dT%H%M%S")
        name = f"{stamp}-r{record.repeat}-{record.id}.json"
        return self.root / record.suite / record.cell.id[:16] / name

    def suites(self) -> list[str]:
        """The names of the suites that have records, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(folder.name for folder in self.root.iterdir() if any(folder.glob("*/*.json")))

    def suite_named(self, given: str) -> str:
        """`given`, a suite that has records. Raises InputError, naming what is near, or that there is no such file."""
        known = self.suites()
        if given in known:
            return given
        if given.endswith((".yaml", ".yml")) or "/" in given:
            hint = f"suites with records: {', '.join(known) or 'none'}"
            raise InputError("no such suite file", where=given, hint=hint)
        raise InputError(f"no records of a suite {given!r}", where=str(self.root), hint=nearest(given, known))

    def files(self, suite: str) -> list[Path]:
        """The record files of a suite, in a stable order."""
        return sorted((self.root / suite).glob("*/*.json"))

    def read(self, suite: str, problems: list[StoreError] | None = None) -> Iterator[tuple[Path, Record]]:
        """Every record of a suite with its file.

        A file that cannot be read raises StoreError, or is added to `problems` where a list is given, so that one
        damaged file does not hide the others.
        """
        for path in self.files(suite):
            try:
                yield path, read_record(path)
            except StoreError as error:
                if problems is None:
                    raise
                problems.append(error)

    def done(self, suite: str) -> Done:
        """What is done of a suite; damaged files count as not measured."""
        done = Done()
        for _, record in self.read(suite, []):
            done.add(record)
        return done


def attachment_beside(record: Path, fingerprint: str) -> Path:
    """The file of an attachment of a record that lies in a store, by the record's file."""
    return Store(record.parent.parent.parent).attachment(record.parent.parent.name, fingerprint)


def _write(path: Path, content: bytes, publish: Callable[[Path, Path], None] = os.link) -> None:
    """A file, whole or not at all; after this returns, a power cut does not lose it. Raises OSError.

    `publish` gives the written file its name: `os.link` refuses a name that is taken, `os.replace` takes it.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
        temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError:
        _discard(temporary)
        raise


def _discard(temporary: Path) -> None:
    """Removes what a failed write left; where that fails too, the first failure is the one to report."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
