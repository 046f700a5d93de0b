"""Decoders with recurrent layers: tiny ones with each option, and real shapes."""

from __future__ import annotations

from model_configs.tiny import Config, tiny

_LINEAR, _FULL = "linear_attention", "full_attention"
_ROUTED: Config = {"num_experts_per_tok": 3, "moe_intermediate_size": 24}
_DELTA: Config = {
    "head_dim": 12,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 10,
    "linear_value_head_dim": 7,
    "linear_conv_kernel_dim": 3,
}


def _alone(model_type: str, **changes: object) -> Config:
    """A model without attention and feed-forwards."""
    absent = ("num_attention_heads", "num_key_value_heads", "intermediate_size", "max_position_embeddings")
    sizes = {key: value for key, value in tiny(model_type).items() if key not in absent}
    return {**sizes, "expand": 3, "state_size": 5, "conv_kernel": 4, **changes}


_MAMBA2: Config = {
    "mamba_n_heads": 8,
    "mamba_d_head": 12,
    "mamba_n_groups": 2,
    "mamba_d_state": 5,
    "mamba_d_conv": 3,
    "mamba_expand": 2,
}
_JAMBA: Config = {
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "attn_layer_period": 3,
    "attn_layer_offset": 2,
    "mamba_d_state": 5,
    "mamba_d_conv": 4,
    "mamba_expand": 3,
    "mamba_dt_rank": 7,
}
_NEMOTRON: Config = {
    "head_dim": 10,
    "ssm_state_size": 5,
    "mamba_num_heads": 6,
    "mamba_head_dim": 9,
    "n_groups": 3,
    "conv_kernel": 4,
    "n_routed_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 28,
}
_KIMI: Config = {
    **_ROUTED,
    "num_key_value_heads": 6,
    "kv_lora_rank": 10,
    "q_lora_rank": None,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 4,
    "v_head_dim": 9,
    "num_experts": 7,
    "num_shared_experts": 2,
    "first_k_dense_replace": 1,
}
_LFM2: Config = {"conv_L_cache": 3, "layer_types": ["conv", _FULL, "conv", "conv"]}

TINY: dict[str, Config] = {
    "mamba": _alone("mamba", time_step_rank="auto"),
    "mamba-biases": _alone(
        "mamba", time_step_rank=6, use_bias=True, use_conv_bias=False, tie_word_embeddings=False, intermediate_size=56
    ),
    "falcon_mamba": _alone("falcon_mamba", time_step_rank=7, tie_word_embeddings=False),
    "falcon_mamba-inner": _alone("falcon_mamba", time_step_rank="auto", intermediate_size=80, use_bias=True),
    "mamba2": _alone("mamba2", num_heads=9, head_dim=16, n_groups=3),
    "mamba2-biases": _alone(
        "mamba2", num_heads=8, head_dim=18, n_groups=1, use_bias=True, use_conv_bias=False, tie_word_embeddings=True
    ),
    "jamba": tiny("jamba", **_JAMBA),
    "jamba-biases": tiny(
        "jamba", **{**_JAMBA, "mamba_dt_rank": "auto", "mamba_conv_bias": False, "mamba_proj_bias": True}, head_dim=10
    ),
    "jamba-dense": tiny("jamba", **{**_JAMBA, "num_experts": 1}, num_key_value_heads=6, tie_word_embeddings=True),
    "bamba": tiny("bamba", **_MAMBA2, attn_layer_indices=[1, 3]),
    "bamba-biases": tiny(
        "bamba",
        **{**_MAMBA2, "mamba_d_head": "auto", "mamba_n_heads": 6, "mamba_proj_bias": True, "mamba_conv_bias": False},
        attn_layer_indices=[2],
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
    ),
    "granitemoehybrid": tiny(
        "granitemoehybrid",
        **_MAMBA2,
        num_local_experts=5,
        num_experts_per_tok=2,
        shared_intermediate_size=28,
        layer_types=["mamba", "attention", "mamba", "mamba"],
        position_embedding_type="nope",
    ),
    "granitemoehybrid-dense": tiny(
        "granitemoehybrid",
        **{**_MAMBA2, "mamba_d_head": "auto", "mamba_proj_bias": True},
        num_local_experts=0,
        num_experts_per_tok=0,
        shared_intermediate_size=28,
        layers_block_type=[_LINEAR, _FULL, _FULL, _LINEAR],
        position_embedding_type="rope",
        attention_bias=True,
        tie_word_embeddings=True,
        num_key_value_heads=None,
    ),
    "falcon_h1": tiny("falcon_h1", **{**_MAMBA2, "mamba_d_head": 7}, mamba_d_ssm=56, head_dim=10),
    "falcon_h1-biases": tiny(
        "falcon_h1",
        **{**_MAMBA2, "mamba_d_head": "auto", "mamba_proj_bias": True, "mamba_conv_bias": False},
        mamba_d_ssm=None,
        mamba_rms_norm=True,
        projectors_bias=True,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
    ),
    "nemotron_h": tiny("nemotron_h", **_NEMOTRON, num_hidden_layers=6, hybrid_override_pattern="MEM*-E"),
    "nemotron_h-latent": tiny(
        "nemotron_h",
        **{**_NEMOTRON, "use_bias": True, "use_conv_bias": False, "head_dim": None},
        layers_block_type=["mamba", "moe", "attention", "mamba"],
        moe_latent_size=20,
    )
    | {"head_dim": 8},
    "nemotron_h-dense": tiny(
        "nemotron_h", **_NEMOTRON, num_hidden_layers=5, hybrid_override_pattern="M-M*-", mlp_bias=True
    ),
    "nemotron_h-moe-biases": tiny("nemotron_h", **_NEMOTRON, hybrid_override_pattern="*EEM", mlp_bias=True),
    "qwen3_next": tiny("qwen3_next", **_DELTA, **_ROUTED, num_experts=7, shared_expert_intermediate_size=56),
    "qwen3_next-mixed": tiny(
        "qwen3_next",
        **_DELTA,
        **_ROUTED,
        num_experts=7,
        shared_expert_intermediate_size=56,
        mlp_only_layers=[1],
        decoder_sparse_step=2,
        full_attention_interval=3,
        attention_bias=True,
        tie_word_embeddings=True,
    ),
    "qwen3_5_text": tiny("qwen3_5_text", **_DELTA, full_attention_interval=2),
    "qwen3_5_text-biases": tiny(
        "qwen3_5_text",
        **_DELTA,
        attention_bias=True,
        tie_word_embeddings=True,
        mtp_num_hidden_layers=1,
        layer_types=[_FULL, _LINEAR, _LINEAR, _FULL],
    ),
    "qwen3_5_moe_text": tiny(
        "qwen3_5_moe_text", **_DELTA, **_ROUTED, num_experts=7, shared_expert_intermediate_size=56
    ),
    "qwen3_5_moe_text-biases": tiny(
        "qwen3_5_moe_text",
        **_DELTA,
        **_ROUTED,
        num_experts=7,
        shared_expert_intermediate_size=56,
        attention_bias=True,
        full_attention_interval=2,
        mlp_only_layers=[],
    ),
    "olmo_hybrid": tiny("olmo_hybrid", linear_conv_kernel_dim=4),
    "olmo_hybrid-sizes": tiny(
        "olmo_hybrid",
        **{key: value for key, value in _DELTA.items() if key != "head_dim"},
        num_key_value_heads=None,
        attention_bias=True,
        tie_word_embeddings=True,
        layer_types=[_LINEAR, _FULL, _LINEAR, _FULL],
    ),
    "kimi_linear": tiny(
        "kimi_linear",
        **_KIMI,
        linear_attn_config={
            "head_dim": 8,
            "num_heads": 5,
            "short_conv_kernel_size": 3,
            "full_attn_layers": [2, 4],
            "kda_layers": [1, 3],
        },
    ),
    "kimi_linear-listed": tiny(
        "kimi_linear",
        **{**_KIMI, "q_lora_rank": 14, "attention_bias": True},
        linear_head_dim=9,
        linear_num_heads=4,
        linear_conv_kernel_dim=4,
        layer_types=[_LINEAR, _FULL, _LINEAR, _LINEAR],
        mlp_layer_types=["sparse", "dense", "dense", "sparse"],
    ),
    "minimax": tiny(
        "minimax", num_local_experts=5, num_experts_per_tok=2, layer_types=[_LINEAR, _LINEAR, _FULL, _LINEAR]
    ),
    "minimax-head-dim": tiny(
        "minimax",
        num_local_experts=5,
        num_experts_per_tok=2,
        head_dim=10,
        sliding_window=8,
        tie_word_embeddings=True,
        layer_types=[_FULL, _LINEAR, _LINEAR, _FULL],
        attn_type_list=[1, 0, 0, 1],
    ),
    "lfm2": tiny("lfm2", **_LFM2, block_multiple_of=16, block_ffn_dim_multiplier=1.3),
    "lfm2-biases": tiny(
        "lfm2",
        conv_L_cache=4,
        full_attn_idxs=[0, 2],
        conv_bias=True,
        block_ff_dim=44,
        block_auto_adjust_ff_dim=False,
        tie_embedding=False,
    ),
    "lfm2-two-thirds": tiny("lfm2", **_LFM2, block_ffn_dim_multiplier=2, num_key_value_heads=6),
    "lfm2_moe": tiny("lfm2_moe", **_LFM2, **_ROUTED, num_experts=7, num_dense_layers=1),
    "lfm2_moe-biases": tiny(
        "lfm2_moe",
        **_LFM2,
        **_ROUTED,
        num_experts=7,
        num_dense_layers=2,
        conv_bias=True,
        use_expert_bias=False,
        tie_word_embeddings=False,
    ),
}

REAL: dict[str, Config] = {}

_MAMBA_BLOCK = [("norm", "norm"), ("embeddings.", "embedding"), ("mixer.", "attention")]
_BESIDE_MAMBA = [
    ("norm", "norm"),
    ("mamba.", "attention"),
    ("feed_forward.experts.", "routed_experts"),
    ("feed_forward.router.", "router"),
    ("feed_forward.", "dense_ffn"),
]
_DELTA_NET = [("norm", "norm"), ("linear_attn.", "attention")]
_SHORT_CONVOLUTION = [
    ("norm", "norm"),
    ("conv.", "attention"),
    ("feed_forward.experts.", "routed_experts"),
    ("feed_forward.gate.", "router"),
    ("feed_forward.expert_bias", "router"),
    ("feed_forward.", "dense_ffn"),
]

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {
    "mamba": _MAMBA_BLOCK,
    "falcon_mamba": _MAMBA_BLOCK,
    "mamba2": _MAMBA_BLOCK,
    "jamba": _BESIDE_MAMBA,
    "bamba": _BESIDE_MAMBA,
    "falcon_h1": _BESIDE_MAMBA,
    "granitemoehybrid": [
        ("norm", "norm"),
        ("mamba.", "attention"),
        ("block_sparse_moe.experts.", "routed_experts"),
        ("block_sparse_moe.router.", "router"),
        ("shared_mlp.", "shared_experts"),
    ],
    "nemotron_h": [
        ("norm", "norm"),
        ("embeddings.", "embedding"),
        ("mixer.experts.", "routed_experts"),
        ("mixer.gate.", "router"),
        ("mixer.shared_experts.", "shared_experts"),
        ("latent_proj.", "shared_experts"),
        ("mixer.up_proj.", "dense_ffn"),
        ("mixer.down_proj.", "dense_ffn"),
        ("mixer.", "attention"),
    ],
    "qwen3_next": _DELTA_NET,
    "qwen3_5_text": _DELTA_NET,
    "qwen3_5_moe_text": _DELTA_NET,
    "olmo_hybrid": _DELTA_NET,
    "lfm2": _SHORT_CONVOLUTION,
    "lfm2_moe": _SHORT_CONVOLUTION,
}
