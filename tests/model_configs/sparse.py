"""Decoders with experts: tiny ones with each option, and real shapes."""

from __future__ import annotations

from model_configs.tiny import Config, tiny

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


TINY: dict[str, Config] = {
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
}

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {}
