"""A Hugging Face `config.json` -> `Architecture`, by structure.

A model type selects a reader in one of the tables of families; nothing else depends on names. Defaults are those of
transformers 5 for that type, and only where checkpoints rely on them: a size that the file does not state is an error,
never a guess. A key that may change the structure and that the reader does not know is an error too, so every count is
exact or absent.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import ValidationError

from harness.architecture import Architecture
from harness.config_keys import ConfigKeys, shown
from harness.errors import InputError, UnknownStructureError, nearest
from harness.hf_config import dense, hybrid, seq2seq, sparse
from harness.hf_config.family import Family

_FAMILIES: dict[str, Family] = {**dense.FAMILIES, **sparse.FAMILIES, **hybrid.FAMILIES, **seq2seq.FAMILIES}

MODEL_TYPES: Collection[str] = tuple(sorted(_FAMILIES))
"""The model types that can be counted from their configuration alone."""

__all__ = ["MODEL_TYPES", "architecture_from_config", "keys_read", "read_config"]


def read_config(path: Path) -> dict[str, object]:
    """The JSON object in `path`, which may be a checkpoint's folder. Raises InputError with the file's place."""
    file = path / "config.json" if path.is_dir() else path
    if file.exists() and not file.is_file():
        # a pipe would be waited for, and a device has no end
        raise InputError("is no ordinary file", where=str(file), hint="give a config.json or a checkpoint's folder")
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError("no such file", where=str(file), hint="give a config.json or a checkpoint's folder") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = "a number has too many digits" if "set_int_max_str_digits" in str(error) else error
        hint = "give a config.json or a checkpoint's folder"
        if file.suffix in (".yaml", ".yml"):
            hint += "; a model of the catalog goes by its name"
        raise InputError(f"cannot be read as JSON: {reason}", where=str(file), hint=hint) from None
    if not isinstance(value, dict):
        raise InputError(f"must hold a JSON object, not {shown(value)}", where=str(file))
    return value


def architecture_from_config(config: Mapping[str, object], where: str) -> Architecture:
    """The structure that `config` describes; `where` is the file it came from, for messages.

    Raises UnknownStructureError for a model type or a key that no reader knows, and InputError for a missing or
    impossible value. Each message names the key. Source: the configuration and model classes of transformers 5.
    """
    return _read(ConfigKeys(config, where))


def keys_read(config: Mapping[str, object], where: str) -> tuple[str, ...]:
    """The keys of `config`, in its order, that the reader of its family looks at and that say something.

    Raises as `architecture_from_config` does.
    """
    keys = ConfigKeys(config, where)
    _read(keys)
    return tuple(key for key, value in config.items() if key in keys.read and value is not None)


def _read(keys: ConfigKeys) -> Architecture:
    model_type = keys.get("model_type")
    if model_type is None:
        raise keys.error("model_type", "is missing")
    family = _FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise UnknownStructureError(
            f"unknown 'model_type' {shown(model_type)}",
            where=f"{keys.where}:model_type",
            hint=nearest(model_type if isinstance(model_type, str) else "", _FAMILIES),
        )
    try:
        architecture = family.read(keys)
    except ValidationError as error:
        # Each size is checked when it is read; what remains are products of them that no model can have.
        raise InputError(error.errors()[0]["msg"], where=keys.where) from None
    keys.refuse_unread()
    return architecture
