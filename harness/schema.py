"""The base of every stored type, canonical JSON, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value: unknown fields, NaN and infinity are refused, strings are not turned into numbers."""

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
