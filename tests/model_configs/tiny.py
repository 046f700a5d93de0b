"""The sizes that tiny configurations share."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

_SHAPE: Config = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny(model_type: str, **changes: Any) -> Config:
    """A model of a few thousand parameters, whose sizes all differ."""
    return {"model_type": model_type, **_SHAPE, **changes}
