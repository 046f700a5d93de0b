"""Decoders with experts: tiny ones with each option, and real shapes."""

from __future__ import annotations

from typing import Any

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
_V3: Config = {**_ROUTED, **_LATENT, "num_nextn_predict_layers": 1}
_GROUPS: Config = {
    **_ROUTED,
    "head_dim": 8,
    "n_routed_experts": 7,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_COUNTED: Config = {**_ROUTED, "head_dim": 8, "num_experts": 7, "num_shared_experts": 2}
_LOCAL: Config = {"num_local_experts": 5, "num_experts_per_tok": 2}


def _dbrx(top_k: int, **changes: Any) -> Config:
    config = {
        "model_type": "dbrx",
        "d_model": 48,
        "n_heads": 6,
        "n_layers": 3,
        "max_seq_len": 128,
        "vocab_size": 96,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 500000},
        "ffn_config": {"ffn_hidden_size": 40, "moe_num_experts": 5, "moe_top_k": top_k},
    }
    return {**config, **changes}


# Decoders whose classes transformers has.
KNOWN: dict[str, Config] = {
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
    "flex_olmo": tiny("flex_olmo", num_experts=7, num_experts_per_tok=3),
    "flex_olmo-biases": tiny("flex_olmo", num_experts=7, num_experts_per_tok=2, attention_bias=True, head_dim=10),
    "deepseek_v3": tiny("deepseek_v3", **_V3),
    "deepseek_v3-direct": tiny(
        "deepseek_v3", **{**_V3, "q_lora_rank": None, "attention_bias": True, "first_k_dense_replace": 2}
    ),
    "glm4_moe_lite": tiny("glm4_moe_lite", **_V3),
    "glm4_moe_lite-listed": tiny(
        "glm4_moe_lite",
        **{**_V3, "mlp_layer_types": ["dense", "sparse", "dense", "sparse"], "tie_word_embeddings": True},
    ),
    "glm4_moe": tiny("glm4_moe", **_GROUPS, num_nextn_predict_layers=1),
    "glm4_moe-biases": tiny(
        "glm4_moe", **{**_GROUPS, "head_dim": 12, "attention_bias": True, "use_qk_norm": True}
    ),
    "dots1": tiny("dots1", **_GROUPS, sliding_window=8, max_window_layers=2),
    "dots1-biases": tiny("dots1", **{**_GROUPS, "head_dim": 12, "attention_bias": True, "sliding_window": None}),
    "solar_open": tiny("solar_open", **{**_GROUPS, "first_k_dense_replace": 0}),
    "solar_open-biases": tiny(
        "solar_open",
        **{**_GROUPS, "first_k_dense_replace": 0, "head_dim": 12, "attention_bias": True, "tie_word_embeddings": True},
    ),
    "llama4_text": tiny("llama4_text", **_LOCAL, intermediate_size_mlp=56, head_dim=8),
    "llama4_text-mixed": tiny(
        "llama4_text",
        **_LOCAL,
        intermediate_size_mlp=56,
        head_dim=12,
        interleave_moe_layer_step=2,
        attention_chunk_size=8,
        no_rope_layer_interval=2,
        attention_bias=True,
        tie_word_embeddings=True,
        use_qk_norm=False,
    ),
    "llama4_text-listed": tiny(
        "llama4_text",
        num_local_experts=5,
        num_experts_per_tok=1,
        intermediate_size_mlp=56,
        moe_layers=[0, 3],
        no_rope_layers=[1, 0, 0, 1],
        attention_chunk_size=5,
    ),
    "granitemoe": tiny("granitemoe", **_LOCAL, tie_word_embeddings=True),
    "granitemoe-biases": tiny("granitemoe", **_LOCAL, attention_bias=True, num_key_value_heads=None),
    "granitemoeshared": tiny("granitemoeshared", **_LOCAL, shared_intermediate_size=56),
    "granitemoeshared-none": tiny("granitemoeshared", **_LOCAL, shared_intermediate_size=0, attention_bias=True),
    "granitemoe_swa": tiny("granitemoe_swa", **_LOCAL, sliding_window=8),
    "granitemoe_swa-listed": tiny(
        "granitemoe_swa",
        **_LOCAL,
        shared_intermediate_size=56,
        attention_bias=True,
        layer_types=["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
    ),
    "phimoe": tiny("phimoe", **_LOCAL, sliding_window=8),
    "phimoe-biases": tiny("phimoe", **_LOCAL, attention_bias=True, lm_head_bias=True, head_dim=10),
    "ernie4_5_moe": tiny(
        "ernie4_5_moe",
        moe_intermediate_size=24,
        moe_num_experts=7,
        moe_k=3,
        moe_num_shared_experts=2,
        moe_layer_start_index=1,
        num_nextn_predict_layers=1,
    ),
    "ernie4_5_moe-mixed": tiny(
        "ernie4_5_moe",
        num_hidden_layers=6,
        moe_intermediate_size=24,
        moe_num_experts=7,
        moe_k=3,
        moe_num_shared_experts=1,
        moe_layer_start_index=0,
        moe_layer_end_index=4,
        moe_layer_interval=2,
        use_bias=True,
        head_dim=12,
        tie_word_embeddings=False,
    ),
    "minimax_m2": tiny("minimax_m2", **_LOCAL, head_dim=8),
    "minimax_m2-default-heads": tiny("minimax_m2", **_LOCAL, tie_word_embeddings=True),
    "exaone_moe": tiny("exaone_moe", **_COUNTED, sliding_window=8, sliding_window_pattern=2, first_k_dense_replace=1),
    "exaone_moe-listed": tiny(
        "exaone_moe",
        **_COUNTED,
        mlp_layer_types=["dense", "sparse", "dense", "sparse"],
        layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
        tie_word_embeddings=True,
    ),
    "afmoe": tiny("afmoe", **_COUNTED, num_dense_layers=1, sliding_window=8),
    "afmoe-mixed": tiny(
        "afmoe",
        **{**_COUNTED, "head_dim": 12, "num_shared_experts": 1},
        num_dense_layers=2,
        global_attn_every_n_layers=2,
        attention_bias=True,
        tie_word_embeddings=True,
    ),
    "cohere2_moe": tiny(
        "cohere2_moe", num_experts=7, num_experts_per_tok=3, num_shared_experts=0, head_dim=8, sliding_window=8
    ),
    "cohere2_moe-mixed": tiny(
        "cohere2_moe",
        num_experts=7,
        num_experts_per_tok=3,
        num_shared_experts=2,
        head_dim=12,
        first_k_dense_replace=2,
        prefix_dense_intermediate_size=56,
        prefix_dense_sliding_window_pattern=2,
        sliding_window=8,
        sliding_window_pattern=2,
        attention_bias=True,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        num_key_value_heads=None,
    ),
    "laguna": tiny(
        "laguna",
        **_ROUTED,
        num_experts=7,
        shared_expert_intermediate_size=56,
        head_dim=8,
        num_attention_heads_per_layer=[6, 4, 2, 8],
    ),
    "laguna-gates": tiny(
        "laguna",
        **_ROUTED,
        num_experts=7,
        shared_expert_intermediate_size=56,
        head_dim=12,
        gating="per-element",
        attention_bias=True,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        mlp_layer_types=["sparse", "dense", "dense", "sparse"],
    ),
    "mellum": tiny("mellum", **_ROUTED, num_experts=7),
    "mellum-mixed": tiny(
        "mellum",
        **_ROUTED,
        num_experts=7,
        head_dim=12,
        attention_bias=True,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        mlp_layer_types=["sparse", "dense", "dense", "sparse"],
    ),
    "mimo_v2_flash": tiny(
        "mimo_v2_flash",
        **_ROUTED,
        num_hidden_layers=7,
        num_attention_heads=8,
        n_routed_experts=7,
        n_group=1,
        topk_group=1,
        head_dim=12,
        v_head_dim=8,
        sliding_window=8,
    ),
    "mimo_v2_flash-listed": tiny(
        "mimo_v2_flash",
        **_ROUTED,
        num_attention_heads=8,
        n_routed_experts=7,
        n_group=1,
        topk_group=1,
        head_dim=8,
        v_head_dim=12,
        attention_bias=True,
        layer_types=["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
        mlp_layer_types=["sparse", "dense", "dense", "sparse"],
    ),
    "hy_v3": tiny("hy_v3", **_COUNTED),
    "hy_v3-biases": tiny(
        "hy_v3",
        **{**_COUNTED, "head_dim": 12},
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        mlp_layer_types=["sparse", "dense", "dense", "sparse"],
    ),
    "jetmoe": tiny("jetmoe", **_LOCAL, kv_channels=10, num_attention_heads=4),
    "jetmoe-untied": tiny(
        "jetmoe",
        num_local_experts=5,
        num_experts_per_tok=3,
        kv_channels=8,
        num_attention_heads=6,
        tie_word_embeddings=False,
    ),
    "dbrx": _dbrx(2),
    "dbrx-one": _dbrx(1, n_heads=4),
    "hunyuan_v1_moe": tiny("hunyuan_v1_moe", num_experts=7, moe_topk=3, head_dim=8),
    "hunyuan_v1_moe-biases": tiny(
        "hunyuan_v1_moe",
        num_experts=7,
        moe_topk=2,
        head_dim=12,
        attention_bias=True,
        tie_word_embeddings=True,
        num_key_value_heads=None,
    ),
}

# Decoders that only their authors' released code defines; test_sparse counts them by hand.
RELEASED: dict[str, Config] = {
    "kimi_k2": {**KNOWN["deepseek_v3"], "model_type": "kimi_k2"},
    "deepseek": tiny("deepseek", **{**_GROUPS, "moe_layer_freq": 1}),
    "hunyuan": tiny(
        "hunyuan",
        num_experts=7,
        moe_topk=3,
        num_shared_expert=2,
        use_mixed_mlp_moe=True,
        use_qk_norm=True,
        use_cla=True,
        cla_share_factor=2,
        attention_bias=False,
        attention_head_dim=10,
        tie_word_embeddings=True,
    ),
    "arctic": tiny(
        "arctic", **_LOCAL, moe_layer_frequency=2, parallel_attn_mlp_res=True, use_residual=True, intermediate_size=40
    ),
    "skywork_moe": tiny("skywork_moe", num_experts=[7], moe_expert_interval=2),
    "skywork": tiny("skywork", num_experts=[7], moe_2layer_gate=False),
    "grok-1": tiny("grok-1", num_experts=7, num_experts_per_tok=3),
    "grok-1-residual": tiny(
        "grok-1", **_LOCAL, moe_intermediate_size=24, residual_moe=True, head_dim=10, tie_word_embeddings=False
    ),
    "openmoe": tiny(
        "openmoe", num_experts=7, router_topk=3, moe_layer_interval=2, head_dim=10, hidden_act="swiglu"
    ),
    "fairseq_moe_lm": tiny(
        "fairseq_moe_lm",
        num_key_value_heads=None,
        num_experts=7,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        moe_freq=2,
    ),
}

TINY: dict[str, Config] = {**KNOWN, **RELEASED}

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
COMPONENTS: dict[str, list[tuple[str, str]]] = {
    "llama4_text": [
        ("feed_forward.experts.", "routed_experts"),
        ("feed_forward.shared_expert.", "shared_experts"),
        ("feed_forward.router.", "router"),
        ("feed_forward.", "dense_ffn"),
    ],
    **dict.fromkeys(
        ("granitemoe", "granitemoeshared", "granitemoe_swa"),
        [
            ("block_sparse_moe.experts.", "routed_experts"),
            ("block_sparse_moe.router.", "router"),
            ("shared_mlp.", "shared_experts"),
        ],
    ),
    "afmoe": [("mlp.expert_bias", "router")],
    "hunyuan_v1_moe": [("mlp.shared_mlp.", "shared_experts")],
    "jetmoe": [
        ("mlp.bias", "other"),
        ("mlp.router.", "router"),
        ("mlp.", "routed_experts"),
        ("self_attention.experts.bias", "attention"),
        ("self_attention.experts.router.", "router"),
        ("self_attention.experts.", "routed_experts"),
        ("self_attention.kv_proj.", "attention"),
    ],
    "dbrx": [
        ("transformer.wte.", "embedding"),
        (".norm_attn_norm.attn.", "attention"),
        ("ffn.router.", "router"),
        ("ffn.experts.", "routed_experts"),
    ],
}
