"""Records as files: JSON text of any schema version that was ever written -> a record of the present one."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from harness.errors import StoreError
from harness.migrations import MIGRATIONS
from harness.record import SCHEMA_VERSION, Record

_PRESENT = f'{{"schema_version":{SCHEMA_VERSION},'
"""How a record of the present version begins, as it is written: it is read once, not twice."""


def parse_record(text: str, *, where: str) -> Record:
    """A record from JSON text, brought to the present schema version.

    Raises StoreError, naming `where`, for text that is no record or of a version newer than this moebench.
    """
    if not text.startswith(_PRESENT):
        text = _migrated(text, where)
    try:
        return Record.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise StoreError("not a record: no JSON with a schema_version", where=where) from error
        raise StoreError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=where) from error


def _migrated(text: str, where: str) -> str:
    """The text of an older record in the present version."""
    try:
        raw = json.loads(text)
        version = raw["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("not a record: no JSON with a schema_version", where=where) from error
    if not isinstance(version, int) or version > SCHEMA_VERSION or version < 1:
        raise StoreError(
            f"schema version {version!r} is not known here (1 to {SCHEMA_VERSION})",
            where=where, hint="a newer moebench wrote it: upgrade this one",
        )
    try:
        for step in range(version, SCHEMA_VERSION):
            raw = MIGRATIONS[step](raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"a record of version {version} that lacks {error}", where=where) from error
    return json.dumps(raw)


def read_record(path: Path) -> Record:
    """The record in a file. Raises StoreError, naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read: {error}", where=str(path)) from error
    return parse_record(text, where=str(path))
