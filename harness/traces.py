"""Traces of requests: one JSON object a line with prompt and output tokens, and when it arrived.

Two spellings are read: `prompt_tokens`, `output_tokens`, `arrival_s`; and that of published serving traces,
`input_length`, `output_length`, `timestamp` in milliseconds. Other keys of a line are ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, nearest
from harness.scenario import TraceLengths

_PROMPT, _OUTPUT = ("prompt_tokens", "input_length"), ("output_tokens", "output_length")
_ARRIVAL = {"arrival_s": 1.0, "timestamp": 1e-3}
"""Keys of the arrival, each with its unit in seconds."""
_LARGEST = 100_000_000


@dataclass(frozen=True)
class Trace:
    """The rows of a trace: columns of equal length, arrivals from 0 and rising; None where the file has none."""

    path: Path
    fingerprint: str
    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    arrivals_s: tuple[float, ...] | None
    lines: tuple[int, ...]
    """Of each row in the file, from 1."""

    @property
    def lengths(self) -> TraceLengths:
        """What a scenario keeps of it."""
        rows = len(self.prompt_tokens)
        return TraceLengths(
            file=self.path.name, fingerprint=self.fingerprint, rows=rows,
            prompt_mean=sum(self.prompt_tokens) / rows, output_mean=sum(self.output_tokens) / rows,
            longest=self.total(self.longest_row),
        )

    @property
    def longest_row(self) -> int:
        """The index of the row with the most tokens."""
        return max(range(len(self.prompt_tokens)), key=self.total)

    def total(self, row: int) -> int:
        """Prompt and output tokens of a row."""
        return self.prompt_tokens[row] + self.output_tokens[row]


def read_trace(path: Path) -> Trace:
    """Reads and checks a trace; empty lines are passed over.

    Raises InputError with `file:line` for a line that is no JSON object, lacks a length, has one that is no whole
    number above 0, or arrives before the line above it; with the file for one that cannot be read or has no row.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot read the trace: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("the trace is not UTF-8 text", where=str(path)) from error
    rows = [_row(line, f"{path}:{number}", number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not rows:
        raise InputError("the trace is empty", where=str(path), hint="give one JSON object a line")
    prompts, outputs, arrivals, lines = zip(*rows, strict=True)
    return Trace(
        path, "sha256:" + hashlib.sha256(content).hexdigest(), prompts, outputs, _arrivals(path, arrivals, lines), lines
    )


def _row(line: str, where: str, number: int) -> tuple[int, int, float | None, int]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where=where) from None
    if not isinstance(row, dict):
        raise InputError("a line of a trace is a JSON object", where=where)
    return _length(row, _PROMPT, where), _length(row, _OUTPUT, where), _arrival(row, where), number


def _length(row: dict[str, Any], keys: Sequence[str], where: str) -> int:
    key = next((key for key in keys if key in row), None)
    if key is None:
        near = nearest(keys[0], row)
        raise InputError(f"lacks {keys[0]}", where=where, hint=near if near.startswith("did you mean") else "")
    value = row[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
        raise InputError(f"{key} is a whole number above 0 (given: {value!r})", where=where)
    return value


def _arrival(row: dict[str, Any], where: str) -> float | None:
    for key, unit_s in _ARRIVAL.items():
        if key in row:
            value = row[key]
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
                raise InputError(f"{key} is a number from 0 on (given: {value!r})", where=where)
            return float(value) * unit_s
    return None


def _arrivals(path: Path, given: Sequence[float | None], lines: Sequence[int]) -> tuple[float, ...] | None:
    """From 0 on. None where no row has one; all must have one, in order, where any has."""
    known = list(_known(given))
    if not known:
        return None
    before = known[0]
    for value, line in zip(given, lines, strict=True):
        if value is None:
            raise InputError("lacks arrival_s, which other lines have", where=f"{path}:{line}")
        if value < before:
            raise InputError("arrives before the line above it", where=f"{path}:{line}", hint="sort the trace by time")
        before = value
    return tuple(value - known[0] for value in known)


def _known(values: Sequence[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)
