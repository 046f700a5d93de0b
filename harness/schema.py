"""The base of every stored type, canonical JSON, fingerprints, and one message for a value that breaks its type."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import InputError, nearest


class Frozen(BaseModel):
    """An immutable value: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def canonical_json(value: BaseModel | dict[str, Any] | list[Any]) -> str:
    """`value` as JSON with sorted keys and no spare blanks: equal values give equal text.

    Raises ValueError for NaN and infinity, which JSON cannot carry.
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: BaseModel | dict[str, Any] | list[Any]) -> str:
    """The SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


Value = TypeVar("Value", bound=BaseModel)


def parse_strictly(kind: type[Value], raw: object, *, where: str) -> Value:
    """`raw` (what YAML or JSON gave) as a `kind`, with no conversion: "8" is no number and 1 no truth value.

    Raises InputError with `where:key`, the first problem, and how many more there are.
    """
    try:
        text = json.dumps(raw, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"holds what JSON cannot carry: {error}", where=where) from error
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = _told_once([_placed(one, json.loads(text)) for one in error.errors(include_url=False)])
        more = f"{len(problems) - 1} more to mend in this file" if len(problems) > 1 else ""
        place = f"{where}:{_dotted(problems[0]['loc'])}".rstrip(":")
        raise InputError(_problem_text(kind, problems[0]), where=place, hint=more) from error


def _placed(problem: ErrorDetails, given: Any) -> ErrorDetails:
    """The problem at a place of the file: pydantic also names the alternative of a type that it tried."""
    place: list[str | int] = []
    *parents, last = problem["loc"] or ("",)
    for part in (*parents, last):
        inside = isinstance(given, list) if isinstance(part, int) else isinstance(given, dict) and part in given
        if inside:
            given = given[part]
        if inside or (part == last and problem["type"] == "missing"):
            place.append(part)
    return {**problem, "loc": tuple(place)}


def _told_once(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """One problem a place, unknown keys first.

    Of several alternatives of a type, the one that the value was meant as: it found more wrong than the kind of value,
    or knows a word that is close.
    A list whose only value is wrong is also called too short: what is wrong inside goes before what contains it.
    """
    by_place: dict[tuple[str | int, ...], ErrorDetails] = {}
    for problem in sorted(problems, key=_far_off):
        by_place.setdefault(problem["loc"], problem)
    kept = [one for one in by_place.values() if not any(_inside(other, one["loc"]) for other in by_place)]
    return sorted(kept, key=lambda found: found["type"] != "extra_forbidden")


def _far_off(problem: ErrorDetails) -> int:
    """0 where an alternative fits the kind of the value, 1 where it is near to a word that one knows, else 2."""
    if not problem["type"].endswith(("_type", "literal_error")):
        return 0
    known, given = _words_of(problem), problem["input"]
    return 1 if known and isinstance(given, str) and nearest(given, known).startswith("did you mean") else 2


def _words_of(problem: ErrorDetails) -> list[str]:
    """The words that could stand in place of what was given, where only some can."""
    if problem["type"] != "literal_error":
        return []
    return re.findall("'([^']*)'", str(problem.get("ctx", {}).get("expected", "")))


def _inside(location: tuple[str | int, ...], outer: tuple[str | int, ...]) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _problem_text(kind: type[BaseModel], problem: ErrorDetails) -> str:
    given, message = problem["input"], problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = _known_keys(kind.model_json_schema(), problem["loc"][:-1])
        return f"unknown key {problem['loc'][-1]!r}; {nearest(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return "this key is required"
    if problem["type"] == "literal_error" and isinstance(given, str):
        return f"unknown value {given!r}; {nearest(given, _words_of(problem))}"
    if problem["type"] != "value_error" and isinstance(given, str | int | float | bool):
        return f"{message} (given: {given!r})"
    return message


def _known_keys(schema: dict[str, Any], location: tuple[str | int, ...]) -> list[str]:
    """The keys that the JSON schema knows at `location`; an index steps into an array's items."""
    nodes = _resolve(schema, schema)
    for part in location:
        inner = [n["items"] for n in nodes if "items" in n] if isinstance(part, int) else []
        inner = inner or [n["properties"][part] for n in nodes if part in n.get("properties", {})]
        nodes = [resolved for node in inner for resolved in _resolve(node, schema)]
    return [key for node in nodes for key in node.get("properties", {})]


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives that a schema node stands for, references followed."""
    if "$ref" in node:
        return _resolve(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    choices = node.get("anyOf") or node.get("oneOf")
    return [resolved for choice in choices for resolved in _resolve(choice, schema)] if choices else [node]


def _dotted(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
