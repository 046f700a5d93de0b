"""A file of another tool: its text as JSON, and typed access that names file and key for everything that is wrong."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import InputError, nearest

_SHOWN = 60
_MOST, _MOST_COUNTED = 1e100, 10**12
"""Larger numbers are no measurements, and their sums might not be finite."""


@dataclass(frozen=True)
class Document:
    """A file that was read."""

    path: Path
    fingerprint: str
    """`sha256:...` of its bytes."""
    changed_at: datetime
    """When it was last written, for results that do not say when they were taken."""
    values: tuple[Any, ...]
    """Its JSON value; several where a tool appended one run a line."""


def read_document(path: Path) -> Document:
    """Reads a file of one JSON value, or of one on each line.

    Raises InputError with the file, or `file:line`, where it cannot be read, is empty, no JSON or nested too deeply.
    """
    try:
        content = path.read_bytes()
        changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=str(path)) from None
    if not text.strip():
        raise InputError("is empty", where=str(path))
    return Document(path, "sha256:" + hashlib.sha256(content).hexdigest(), changed_at, _values(text, str(path)))


def _values(text: str, where: str) -> tuple[Any, ...]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        return (_parsed(text, where),)
    except InputError:
        try:
            first = _parsed(lines[0][1], where)
        except InputError:
            first = None
        if first is None or len(lines) == 1:
            raise
    return (first, *(_parsed(line, f"{where}:{number}") for number, line in lines[1:]))


def _parsed(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # half of a character cannot be stored: it becomes a question mark
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        return value
    except RecursionError:
        raise InputError("is nested too deeply to be a result", where=where) from None
    except ValueError as error:
        raise InputError(f"is no JSON: {error}", where=where) from None


def read_lines(path: Path) -> list[Node]:
    """The objects of a JSONL file. Raises InputError with `file:line` for a line that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    lines = [(f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [Node.of(_parsed(line, where), where) for where, line in lines]


class Node:
    """A JSON object and where it stands. Every reading method raises InputError with `file:key`."""

    def __init__(self, value: dict[str, Any], file: str, place: str = "") -> None:
        self._value = value
        self.file = file
        self._place = place

    @classmethod
    def of(cls, value: Any, file: str, place: str = "") -> Node:
        """The node of a value, which has to be an object."""
        if not isinstance(value, dict):
            where = f"{file}:{place}" if place else file
            raise InputError(f"is no JSON object (given: {shown(value)})", where=where)
        return cls(value, file, place)

    def at(self, key: str) -> str:
        """Where a key of this object stands, for messages."""
        name = key if key.isprintable() else repr(key)
        return f"{self.file}:{self._path(name)}"

    def _path(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name

    def __iter__(self) -> Iterator[str]:
        """Its keys, in the file's order."""
        return iter(self._value)

    def has(self, *keys: str) -> bool:
        """Whether it has all these keys, none of them null."""
        return all(self._value.get(key) is not None for key in keys)

    def raw(self, key: str) -> Any:
        """What stands under a key, unchecked; None where it is missing."""
        return self._value.get(key)

    def required(self, key: str) -> Any:
        """What stands under a key, which may be null but not missing."""
        if key not in self._value:
            near = nearest(key, self._value)
            raise InputError("is missing", where=self.at(key), hint=near if near.startswith("did you mean") else "")
        return self._value[key]

    def node(self, key: str) -> Node:
        """The object under a key."""
        return Node.of(self.required(key), self.file, self._path(key))

    def nodes(self, key: str) -> list[Node]:
        """The objects of the list under a key."""
        return [Node.of(one, self.file, self._path(f"{key}[{n}]")) for n, one in enumerate(self.items(key))]

    def items(self, key: str) -> list[Any]:
        """The list under a key."""
        found = self.required(key)
        if not isinstance(found, list):
            raise InputError(f"is no list (given: {shown(found)})", where=self.at(key))
        return found

    def text(self, key: str) -> str:
        """The text under a key."""
        found = self.required(key)
        if not isinstance(found, str):
            raise InputError(f"is no text (given: {shown(found)})", where=self.at(key))
        return found

    def number(self, key: str, least: float = 0.0) -> float:
        """The finite number under a key."""
        return finite(self.required(key), self.at(key), least)

    def positive(self, key: str) -> float:
        """The number above 0 under a key."""
        found = self.number(key)
        if found == 0:
            raise InputError("is 0, so nothing was measured", where=self.at(key))
        return found

    def whole(self, key: str, least: int = 0) -> int:
        """The whole number under a key; 4.0 is one."""
        found = self.number(key, least)
        if found != int(found) or found > _MOST_COUNTED:
            raise InputError(f"is no whole number up to {_MOST_COUNTED} (given: {shown(found)})", where=self.at(key))
        return int(found)

    def moment(self, key: str) -> datetime:
        """The time that a number of seconds since 1970 gives."""
        try:
            return datetime.fromtimestamp(self.number(key), UTC)
        except (OverflowError, ValueError, OSError):
            raise InputError(f"is no time (given: {shown(self.raw(key))})", where=self.at(key)) from None

    def numbers(self, key: str) -> list[float]:
        """The finite numbers from 0 on of the list under a key."""
        return [finite(one, self.at(f"{key}[{index}]")) for index, one in enumerate(self.items(key))]


def finite(value: Any, where: str, least: float = 0.0) -> float:
    """`value` as a finite number of at least `least`. Raises InputError, naming `where`, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"is no number (given: {shown(value)})", where=where)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _MOST:
        raise InputError(f"is no finite number of sensible size (given: {shown(value)})", where=where)
    if number < least:
        raise InputError(f"is below {least:g} (given: {shown(value)})", where=where)
    return number


def shown(value: Any) -> str:
    """A foreign value in a message: its kind where it is large, else itself in one line."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def of_one_length(columns: Mapping[str, Sequence[Any]], node: Node) -> int:
    """How many rows columns of the same rows have. Raises InputError for the first that has another number."""
    first, *others = columns
    for name in others:
        if len(columns[name]) != len(columns[first]):
            raise InputError(
                f"has {len(columns[name])} values where {first} has {len(columns[first])}", where=node.at(name)
            )
    return len(columns[first])
