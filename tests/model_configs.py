"""Configurations of every family that can be counted: tiny ones with each option, and those of real models."""

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
_ROUTED: Config = {"num_experts_per_tok": 3, "moe_intermediate_size": 24}
_LATENT: Config = {
    "num_key_value_heads": 6,
    "kv_lora_rank": 10,
    "q_lora_rank": 14,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 4,
    "v_head_dim": 9,
    "n_routed_experts": 7,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "n_group": 1,
    "topk_group": 1,
}


def tiny(model_type: str, **changes: Any) -> Config:
    """A model of a few thousand parameters, whose sizes all differ."""
    return {"model_type": model_type, **_SHAPE, **changes}


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
    "mixtral": tiny("mixtral", num_local_experts=5, num_experts_per_tok=2),
    "mixtral-head-dim": tiny("mixtral", num_local_experts=5, num_experts_per_tok=1, head_dim=10),
    "qwen2_moe": tiny("qwen2_moe", num_experts=7, shared_expert_intermediate_size=56, **_ROUTED),
    "qwen2_moe-mixed": tiny(
        "qwen2_moe",
        num_experts=7,
        shared_expert_intermediate_size=56,
        decoder_sparse_step=2,
        mlp_only_layers=[3],
        qkv_bias=False,
        tie_word_embeddings=True,
        **_ROUTED,
    ),
    "qwen3_moe": tiny("qwen3_moe", num_experts=7, **_ROUTED),
    "qwen3_moe-mixed": tiny(
        "qwen3_moe", num_experts=7, head_dim=16, attention_bias=True, mlp_only_layers=[0, 2], **_ROUTED
    ),
    "olmoe": tiny("olmoe", num_experts=7, num_experts_per_tok=3),
    "olmoe-biases": tiny("olmoe", num_experts=7, num_experts_per_tok=3, attention_bias=True, num_key_value_heads=6),
    "deepseek_v2": tiny("deepseek_v2", **{**_ROUTED, **_LATENT}),
    "deepseek_v2-direct": tiny(
        "deepseek_v2", **{**_ROUTED, **_LATENT, "q_lora_rank": None, "attention_bias": True, "mlp_bias": True}
    ),
    "gpt_oss": tiny("gpt_oss", num_local_experts=5, num_experts_per_tok=2, head_dim=8, sliding_window=8),
    "gpt_oss-listed": tiny(
        "gpt_oss",
        num_local_experts=5,
        num_experts_per_tok=2,
        attention_bias=False,
        layer_types=["full_attention", "full_attention", "sliding_attention", "full_attention"],
    ),
}


# Real shapes that the catalog does not hold, for what only they have: low-rank queries, windows, other tables.
REAL: dict[str, Config] = {
    "deepseek-v2": {
        "model_type": "deepseek_v2",
        "hidden_size": 5120,
        "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
        "num_hidden_layers": 60,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "n_routed_experts": 160,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "first_k_dense_replace": 1,
        "n_group": 8,
        "topk_group": 3,
        "topk_method": "group_limited_greedy",
        "routed_scaling_factor": 16.0,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "vocab_size": 102400,
        "max_position_embeddings": 163840,
        "tie_word_embeddings": False,
    },
    "qwen2-57b-a14b": {
        "model_type": "qwen2_moe",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "moe_intermediate_size": 2560,
        "shared_expert_intermediate_size": 20480,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "num_experts": 64,
        "num_experts_per_tok": 8,
        "decoder_sparse_step": 1,
        "vocab_size": 151936,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
    },
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
