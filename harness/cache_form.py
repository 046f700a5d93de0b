"""In which form an engine keeps keys and values."""

from __future__ import annotations

from collections.abc import Mapping

from harness.record import Subject

_CACHE_BYTES = {"bfloat16": 2.0, "float16": 2.0, "half": 2.0, "float32": 4.0, "float": 4.0}


def cache_element_bytes(subject: Subject, config: Mapping[str, object]) -> float | None:
    """Bytes of one cached key or value: the engine's `kv_cache_dtype`, else the model's precision; None if unknown."""
    named = str(subject.engine.get("kv_cache_dtype", "auto"))
    if named.startswith("fp8"):
        return 1.0
    if named == "auto":
        named = subject.precision
    if named == "auto":
        named = str(config.get("dtype") or config.get("torch_dtype") or "")
    return _CACHE_BYTES.get(named)
