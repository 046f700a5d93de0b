"""Why an engine failed or cannot tell its experts, in words that fit a record; and which layer a module belongs to."""

from __future__ import annotations

import re

from harness.errors import EngineError

_LONGEST = 600


def failed(error: BaseException, otherwise: str, where: str = "") -> EngineError:
    """An engine's exception with its message on one line: of the kind `out-of-memory`, or `otherwise`."""
    name, text = type(error).__name__, " ".join(str(error).split())
    words = f"{name} {text}".lower()
    without_memory = "out of memory" in words or "outofmemory" in words or "memoryerror" in words
    what = f"{name}: {text[:_LONGEST]}" if text else name
    return EngineError(what, kind="out-of-memory" if without_memory else otherwise, where=where)


def unroutable(what: str, hint: str) -> EngineError:
    """Why the experts of a model cannot be told, and what to do."""
    return EngineError(what, kind="routing", where="routing", hint=hint)


def layer_number(name: str) -> int:
    """The layer of a module by the first number in its name; 0 without any."""
    numbers = re.findall(r"(?:^|\.)(\d+)(?:\.|$)", name)
    return int(numbers[0]) if numbers else 0
