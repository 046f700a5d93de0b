"""Dense decoders: tiny ones with each option, and real shapes."""

from __future__ import annotations

from model_configs.tiny import Config, tiny

TINY: dict[str, Config] = {
    "llama": tiny("llama"),
    "llama-all-heads": tiny("llama", num_key_value_heads=None, tie_word_embeddings=True),
    "llama-biases": tiny("llama", attention_bias=True, mlp_bias=True, head_dim=10),
    "mistral": tiny("mistral", sliding_window=None),
    "mistral-default-window": tiny("mistral", head_dim=12),
    "qwen2": tiny("qwen2"),
    "qwen2-tied": tiny("qwen2", tie_word_embeddings=True, use_sliding_window=True, max_window_layers=2),
    "qwen3": tiny("qwen3"),
    "qwen3-biases": tiny("qwen3", head_dim=16, attention_bias=True),
    "olmo": tiny("olmo"),
    "olmo-biases": tiny("olmo", attention_bias=True, tie_word_embeddings=True, num_key_value_heads=None),
    "olmo2": tiny("olmo2"),
}

# Real shapes that the catalog does not hold, for what only they have: low-rank queries, windows, other tables.
REAL: dict[str, Config] = {
    "mistral-7b": {
        "model_type": "mistral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
    },
    "olmo-2-7b": {
        "model_type": "olmo2",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 100352,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    },
}

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {}
