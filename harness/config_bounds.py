"""Bounds of what a config.json may ask for, whatever its family: checked before a model is built from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from harness.architecture import MAX_LAYERS, MAX_SIZE
from harness.config_keys import shown
from harness.errors import InputError

_MAX_BUILT_LAYERS = 2000
"""Each layer takes milliseconds and memory for its modules; no published model has a tenth of these."""
_MAX_EXPERTS = 10**6
"""Experts of all layers together."""
_MAX_LISTED_EXPERTS = 10**5
"""The same for the types whose classes keep each expert as a module of its own."""
_LISTED = frozenset({"switch_transformers", "nllb-moe"})
_MAX_TABLED_POSITIONS = 10**6
_MAX_DEPTH = 20

_LAYER_KEY = re.compile(r"(layers?|blocks?|depths?|n_layer|num_hidden)$|^(n|num)_(\w+_)?(layers|blocks|stages)")
_NUMBER_KEY = re.compile(
    r"^(n|num)_(\w+_)?(layers?|heads?|experts)$|(hidden|vocab|intermediate|ffn|embedding)_size$|^(head|hidden)_dim$|_rank$"
)
EXPERT_COUNT = re.compile(r"^(moe_)?(n|num)(_local|_routed)?_experts$")
"""Keys that hold the number of routed experts."""
_TABLES_ON_CPU = frozenset({"xlm", "flaubert", "ctrl", "fsmt", "marian", "pegasus", "distilbert", "roformer"})
"""Types whose position tables are computed in Python, whatever the device."""


def check_bounds(config: Mapping[str, object], where: str) -> None:
    """Refuse what would take minutes or gigabytes to build, and sizes that are none.

    Raises InputError with the dotted key. What passes may still be impossible; only its cost is bounded.
    """
    layers = experts = 1
    for key, value in _numbers(config, "", where):
        name = key.rsplit(".", 1)[-1]
        place = f"{where}:{key}"
        if name.endswith(("_id", "_ids", "_index", "_token", "_tokens", "_length", "seed", "_theta")):
            continue
        if isinstance(value, bool | str | float):
            if _NUMBER_KEY.search(name) and not (isinstance(value, str) and not value.lstrip("-").isdigit()):
                raise InputError(f"{key!r} must be a whole number, not {shown(value)}", where=place)
            continue
        is_layers = bool(_LAYER_KEY.search(name))
        limit = MAX_LAYERS if is_layers else MAX_SIZE
        if abs(value) > limit:
            raise InputError(f"{key!r} must be at most {limit}, not {shown(value)}", where=place)
        if name in ("hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads") and value < 1:
            raise InputError(f"{key!r} must be at least 1, not {shown(value)}", where=place)
        layers = max(layers, value) if is_layers else layers
        experts = max(experts, value) if EXPERT_COUNT.match(name) else experts
        if name.endswith(("_positions", "_embeddings")) and value > _MAX_TABLED_POSITIONS:
            _check_table(config, key, value, where)
    most = _MAX_LISTED_EXPERTS if str(config.get("model_type")) in _LISTED else _MAX_EXPERTS
    if layers > _MAX_BUILT_LAYERS or layers * experts > most:
        raise InputError(f"has {layers} layers of up to {experts} experts, too many to build", where=where)


def _check_table(config: Mapping[str, object], key: str, value: int, where: str) -> None:
    if str(config.get("model_type")) in _TABLES_ON_CPU:
        raise InputError(f"{key!r} must be at most {_MAX_TABLED_POSITIONS}, not {value}", where=f"{where}:{key}")


def _numbers(value: object, path: str, where: str, depth: int = 0) -> Iterator[tuple[str, int | float | bool | str]]:
    """Every plain value with its dotted key, entries of lists under the list's own key."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{path!r} is nested too deeply", where=f"{where}:{path}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in ("id2label", "label2id", "quantization_config", "task_specific_params"):
                yield from _numbers(inner, f"{path}.{key}" if path else str(key), where, depth + 1)
    elif isinstance(value, list):
        if len(value) > MAX_LAYERS and _LAYER_KEY.search(path):
            raise InputError(f"{path!r} has {len(value)} entries", where=f"{where}:{path}")
        for inner in value:
            yield from _numbers(inner, path, where, depth + 1)
    elif isinstance(value, bool | int | float | str):
        yield path, value
