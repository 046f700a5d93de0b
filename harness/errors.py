"""The errors that moebench raises on purpose: each says what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MoebenchError(Exception):
    """Base of every expected error. The command line prints it as one message, without a traceback.

    `where` is a place that the reader can open (`file:key` or `file:line`); `hint` is the next step.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        message = f"{self.where}: {self.what}" if self.where else self.what
        return f"{message}\n  {self.hint}" if self.hint else message


class InputError(MoebenchError):
    """A file or an argument that the user gave is wrong."""

    exit_code = 2


class UnknownStructureError(InputError):
    """A model's structure is not known exactly, so it is not counted at all."""


class EngineError(MoebenchError):
    """An engine could not load a model or broke while it ran. Becomes a failed record."""

    def __init__(self, what: str, *, kind: str = "engine", where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.kind = kind


class StoreError(MoebenchError):
    """A record under `results/` cannot be read or written."""


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """A hint that names the known values closest to `name`, or all of them where they are few."""
    options = sorted(set(known))
    close = get_close_matches(name, options, n=limit, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(option) for option in close) + "?"
    if not options:
        return "no value is known here"
    shown = ", ".join(options[:12])
    return f"known: {shown}" + (f" and {len(options) - 12} more" if len(options) > 12 else "")


def require(holds: bool, otherwise: str) -> None:
    """Raises InputError with the message `otherwise` unless `holds`."""
    if not holds:
        raise InputError(otherwise)
