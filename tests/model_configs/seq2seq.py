"""Encoder-decoder models: tiny ones with each option, and real shapes."""

from __future__ import annotations

from typing import Any

from model_configs.tiny import Config


def _t5(model_type: str, **changes: Any) -> Config:
    """A model with relative positions, whose sizes all differ."""
    shape = {
        "vocab_size": 96, "d_model": 48, "d_kv": 10, "d_ff": 40, "num_heads": 6, "num_layers": 4,
        "num_decoder_layers": 3, "relative_attention_num_buckets": 8, "decoder_start_token_id": 0,
    }
    return {"model_type": model_type, **shape, **changes}


def _bart(model_type: str, **changes: Any) -> Config:
    """A model with absolute positions, whose sizes all differ."""
    shape = {
        "vocab_size": 96, "d_model": 48, "encoder_layers": 4, "decoder_layers": 3, "encoder_attention_heads": 6,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 56, "max_position_embeddings": 64,
        "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "forced_eos_token_id": 2,
        "decoder_start_token_id": 2,
    }
    return {"model_type": model_type, **shape, **changes}


def _nllb(**changes: Any) -> Config:
    return _bart("nllb-moe", **{"num_experts": 5, "encoder_sparse_step": 2, "decoder_sparse_step": 3, **changes})


def _switch(**changes: Any) -> Config:
    sparse = {"num_experts": 5, "num_sparse_encoder_layers": 2, "num_sparse_decoder_layers": 1}
    return _t5("switch_transformers", **{**sparse, **changes})


KNOWN: dict[str, Config] = {
    "t5": _t5("t5"),
    "t5-gated": _t5("t5", feed_forward_proj="gated-gelu", num_decoder_layers=None),
    "t5-own-head": _t5("t5", feed_forward_proj="gated-silu", tie_word_embeddings=False, num_decoder_layers=5),
    "t5-one-layer": _t5("t5", num_layers=1, num_decoder_layers=1),
    "mt5": _t5("mt5"),
    "mt5-ungated": _t5("mt5", feed_forward_proj="relu"),
    "umt5": _t5("umt5"),
    "switch_transformers": _switch(),
    "switch_transformers-own-head": _switch(tie_word_embeddings=False, num_decoder_layers=None),
    "switch_transformers-all-sparse": _switch(
        num_sparse_encoder_layers=4, num_sparse_decoder_layers=3, router_bias=True
    ),
    "switch_transformers-four": _switch(num_layers=8, num_sparse_decoder_layers=3),
    "bart": _bart("bart"),
    "plbart": _bart("plbart", decoder_layers=2),
    "mbart": _bart("mbart", encoder_layers=3),
    "blenderbot": _bart("blenderbot", encoder_layers=1),
    "blenderbot-small": _bart("blenderbot-small"),
    "pegasus": _bart("pegasus", pad_token_id=0),
    "marian": _bart("marian", pad_token_id=95),
    "m2m_100": _bart("m2m_100"),
    "nllb-moe": _nllb(),
    "nllb-moe-router-bias": _nllb(router_bias=True, encoder_sparse_step=1),
    "nllb-moe-dense-decoder": _nllb(decoder_sparse_step=0),
}

# Without a class in transformers: counted by hand.
RELEASED: dict[str, Config] = {
    "st_moe": _t5(
        "st_moe", num_experts=5, num_selected_experts=2, num_sparse_encoder_layers=2, num_sparse_decoder_layers=1
    ),
}

TINY = {**KNOWN, **RELEASED}

# Real shapes that the catalog does not hold.
REAL: dict[str, Config] = {
    "bart-large": {
        "model_type": "bart", "architectures": ["BartModel"], "vocab_size": 50265, "d_model": 1024,
        "encoder_layers": 12, "decoder_layers": 12, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
        "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "max_position_embeddings": 1024, "num_hidden_layers": 12,
    },
    "pegasus-xsum": {
        "model_type": "pegasus", "architectures": ["PegasusForConditionalGeneration"], "vocab_size": 96103,
        "d_model": 1024, "encoder_layers": 16, "decoder_layers": 16, "encoder_attention_heads": 16,
        "decoder_attention_heads": 16, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096,
        "max_position_embeddings": 512, "num_hidden_layers": 16,
    },
    "nllb-200-3.3b": {
        "model_type": "m2m_100", "architectures": ["M2M100ForConditionalGeneration"], "vocab_size": 256206,
        "d_model": 2048, "encoder_layers": 24, "decoder_layers": 24, "encoder_attention_heads": 16,
        "decoder_attention_heads": 16, "encoder_ffn_dim": 8192, "decoder_ffn_dim": 8192,
        "max_position_embeddings": 1024, "num_hidden_layers": 24, "tie_word_embeddings": True,
    },
}

# The experts that a token uses where the configuration of transformers has no key for them, as the class is made so.
EXPERTS_PER_TOKEN = {"switch_transformers": 1, "nllb-moe": 2}

_T5_PARTS = [
    ("shared.weight", "embedding"),
    ("norm", "norm"),
    ("Attention.", "attention"),
    ("DenseReluDense.", "dense_ffn"),
]
_BART_PARTS = [
    ("shared.weight", "embedding"),
    ("embed_positions.", "embedding"),
    ("norm", "norm"),
    ("_attn.", "attention"),
    ("cross_attention.", "attention"),
    (".fc", "dense_ffn"),
]

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {
    **dict.fromkeys(("t5", "mt5", "umt5", "switch_transformers"), _T5_PARTS),
    **dict.fromkeys(
        ("bart", "plbart", "mbart", "blenderbot", "blenderbot-small", "pegasus", "marian", "m2m_100"), _BART_PARTS
    ),
    "nllb-moe": [("ffn.router.", "router"), ("ffn.experts.", "routed_experts"), *_BART_PARTS],
}
