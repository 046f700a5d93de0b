"""Dense decoders: tiny ones with each option, and real shapes."""

from __future__ import annotations

from typing import Any

from model_configs.tiny import Config, tiny

_GPT_SHAPE: Config = {
    "vocab_size": 96,
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _gpt(model_type: str, **changes: Any) -> Config:
    """A model of the GPT line, whose class takes neither key-value heads nor, mostly, the width of the feed-forward."""
    return {"model_type": model_type, **_GPT_SHAPE, **changes}


def _falcon(**changes: Any) -> Config:
    return _gpt("falcon", max_position_embeddings=128, **changes)


def _windowed(model_type: str, **changes: Any) -> Config:
    """A model some of whose layers see eight tokens, fewer than the tests use."""
    return tiny(model_type, **{"sliding_window": 8, **changes})


_MIXED = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
_LATENT: Config = {
    "num_key_value_heads": 6,
    "kv_lora_rank": 10,
    "q_lora_rank": 14,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 4,
    "v_head_dim": 9,
}

_LLAMA_LIKE: dict[str, Config] = {
    "llama": tiny("llama"),
    "llama-all-heads": tiny("llama", num_key_value_heads=None, tie_word_embeddings=True),
    "llama-biases": tiny("llama", attention_bias=True, mlp_bias=True, head_dim=10),
    "mistral": tiny("mistral", sliding_window=None),
    "mistral-default-window": tiny("mistral", head_dim=12),
    "ministral": _windowed("ministral", head_dim=10),
    "ministral-listed": _windowed("ministral", head_dim=8, layer_types=_MIXED),
    "ministral3": tiny("ministral3"),
    "ministral3-window": _windowed("ministral3", head_dim=10, tie_word_embeddings=True),
    "qwen2": tiny("qwen2"),
    "qwen2-tied": tiny("qwen2", tie_word_embeddings=True, use_sliding_window=True, max_window_layers=2),
    "qwen3": tiny("qwen3"),
    "qwen3-biases": tiny("qwen3", head_dim=16, attention_bias=True),
    "phi3": tiny("phi3"),
    "phi3-window": _windowed("phi3", num_key_value_heads=None, tie_word_embeddings=True),
    "granite": tiny("granite", embedding_multiplier=12.0, residual_multiplier=0.2),
    "granite-biases": tiny("granite", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "granite_swa": _windowed("granite_swa"),
    "granite_swa-biases": _windowed(
        "granite_swa", attention_bias=True, mlp_bias=True, layer_types=_MIXED, tie_word_embeddings=False
    ),
    "hyperclovax": tiny("hyperclovax"),
    "hyperclovax-biases": tiny(
        "hyperclovax", use_post_norm=False, attention_bias=True, mlp_bias=True, head_dim=10, num_key_value_heads=None
    ),
    "smollm3": tiny("smollm3"),
    "smollm3-windows": _windowed(
        "smollm3", use_sliding_window=True, no_rope_layers=[0, 1, 0, 1], attention_bias=True, mlp_bias=True
    ),
    "smollm3-interval": _windowed(
        "smollm3", use_sliding_window=True, no_rope_layer_interval=3, tie_word_embeddings=False
    ),
    "seed_oss": tiny("seed_oss", head_dim=10),
    "seed_oss-other-biases": tiny("seed_oss", attention_bias=False, attention_out_bias=True, mlp_bias=True),
    "cwm": _windowed("cwm", head_dim=10),
    "cwm-listed": _windowed("cwm", layer_types=_MIXED, tie_word_embeddings=True),
    "ernie4_5": tiny("ernie4_5", head_dim=10),
    "ernie4_5-biases": tiny("ernie4_5", use_bias=True, tie_word_embeddings=False, num_key_value_heads=None),
    "helium": tiny("helium", head_dim=8),
    "helium-biases": tiny("helium", head_dim=8, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "hunyuan_v1_dense": tiny("hunyuan_v1_dense", head_dim=8),
    "hunyuan_v1_dense-biases": tiny(
        "hunyuan_v1_dense", head_dim=10, attention_bias=True, tie_word_embeddings=True, num_key_value_heads=None
    ),
}

_GEMMAS: dict[str, Config] = {
    "gemma": tiny("gemma"),
    "gemma-biases": tiny("gemma", head_dim=10, attention_bias=True, tie_word_embeddings=False),
    "gemma2": _windowed("gemma2"),
    "gemma2-listed": _windowed(
        "gemma2", head_dim=10, attention_bias=True, layer_types=_MIXED, tie_word_embeddings=False
    ),
    "gemma3_text": _windowed("gemma3_text", head_dim=10),
    "gemma3_text-pattern": _windowed("gemma3_text", sliding_window_pattern=2, attention_bias=True),
    "gemma3_text-listed": tiny("gemma3_text", layer_types=_MIXED, tie_word_embeddings=False),
    "vaultgemma": _windowed("vaultgemma"),
    "vaultgemma-listed": _windowed("vaultgemma", head_dim=10, attention_bias=True, layer_types=_MIXED),
}

_OTHER_NORMS: dict[str, Config] = {
    "olmo": tiny("olmo"),
    "olmo-biases": tiny("olmo", attention_bias=True, tie_word_embeddings=True, num_key_value_heads=None),
    "olmo2": tiny("olmo2"),
    "olmo3": _windowed("olmo3"),
    "olmo3-listed": _windowed("olmo3", attention_bias=True, layer_types=_MIXED, num_key_value_heads=None),
    "exaone4": _windowed("exaone4"),
    "exaone4-pattern": _windowed("exaone4", sliding_window_pattern=2, head_dim=10, tie_word_embeddings=True),
    "exaone4-full": tiny("exaone4", sliding_window=None, layer_types=["full_attention"] * 4),
    "exaone4-listed": _windowed("exaone4", sliding_window_pattern="LLLG", layer_types=_MIXED),
    "glm": tiny("glm"),
    "glm-unbiased": tiny("glm", head_dim=10, attention_bias=False, tie_word_embeddings=True),
    "glm4": tiny("glm4"),
    "glm4-unbiased": tiny("glm4", head_dim=10, attention_bias=False, tie_word_embeddings=True),
    "cohere": tiny("cohere"),
    "cohere-norms": tiny(
        "cohere", use_qk_norm=True, attention_bias=True, num_key_value_heads=None, tie_word_embeddings=False
    ),
    "cohere2": _windowed("cohere2"),
    "cohere2-pattern": _windowed("cohere2", sliding_window_pattern=2, attention_bias=True, tie_word_embeddings=False),
    "cohere2-listed": _windowed("cohere2", head_dim=10, layer_types=_MIXED, num_key_value_heads=None),
    "bitnet": tiny("bitnet"),
    "bitnet-biases": tiny("bitnet", attention_bias=True, tie_word_embeddings=True, num_key_value_heads=None),
    "minicpm3": tiny("minicpm3", **_LATENT),
    "minicpm3-biases": tiny(
        "minicpm3",
        **{**_LATENT, "v_head_dim": None, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    ),
    "minicpm3-direct": tiny("minicpm3", **{**_LATENT, "q_lora_rank": None}),
    "youtu": tiny("youtu", **_LATENT),
    "youtu-biases": tiny("youtu", **_LATENT, attention_bias=True, tie_word_embeddings=False),
}

_WITHOUT_GATE: dict[str, Config] = {
    "arcee": tiny("arcee"),
    "arcee-biases": tiny("arcee", head_dim=10, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "apertus": tiny("apertus"),
    "apertus-silu": tiny("apertus", hidden_act="silu", attention_bias=True, tie_word_embeddings=True),
    "nanochat": tiny("nanochat"),
    "nanochat-biases": tiny("nanochat", attention_bias=True, tie_word_embeddings=True, num_key_value_heads=None),
    "nemotron": tiny("nemotron"),
    "nemotron-biases": tiny("nemotron", head_dim=10, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "jais2": tiny("jais2"),
    "jais2-unbiased": tiny("jais2", head_dim=10, attention_bias=False, mlp_bias=False, tie_word_embeddings=True),
    "starcoder2": _windowed("starcoder2"),
    "starcoder2-unbiased": tiny("starcoder2", use_bias=False, tie_word_embeddings=False, head_dim=10),
}

_GPT_LINE: dict[str, Config] = {
    "gpt2": _gpt("gpt2", n_positions=128),
    "gpt2-own-names": {
        "model_type": "gpt2",
        "vocab_size": 96,
        "n_embd": 48,
        "n_layer": 4,
        "num_hidden_layers": 4,
        "n_head": 6,
        "n_inner": 40,
        "n_positions": 128,
        "n_ctx": 128,
        "tie_word_embeddings": False,
        "scale_attn_by_inverse_layer_idx": True,
    },
    "gpt_bigcode": _gpt("gpt_bigcode", n_positions=128),
    "gpt_bigcode-all-heads": _gpt(
        "gpt_bigcode", n_positions=128, n_inner=40, multi_query=False, tie_word_embeddings=False
    ),
    "gptj": _gpt("gptj", n_positions=128, rotary_dim=4),
    "gptj-inner": _gpt("gptj", n_positions=128, rotary_dim=4, n_inner=40),
    "codegen": _gpt("codegen", n_positions=128, rotary_dim=4, num_attention_heads=4),
    "codegen-inner": _gpt("codegen", n_positions=128, rotary_dim=4, num_attention_heads=8, n_inner=40),
    "gpt_neo": _gpt("gpt_neo", max_position_embeddings=128, attention_types=[[["global", "local"], 2]], window_size=16),
    "gpt_neo-width": _gpt(
        "gpt_neo",
        max_position_embeddings=128,
        intermediate_size=40,
        attention_types=[[["local"], 1], [["global"], 3]],
        tie_word_embeddings=False,
    ),
    "gpt_neox": _gpt("gpt_neox", max_position_embeddings=128, intermediate_size=40),
    "gpt_neox-serial": _gpt(
        "gpt_neox",
        max_position_embeddings=128,
        intermediate_size=40,
        attention_bias=False,
        use_parallel_residual=False,
        tie_word_embeddings=True,
    ),
    "opt": _gpt("opt", max_position_embeddings=128, ffn_dim=40, word_embed_proj_dim=48),
    "opt-unbiased": _gpt(
        "opt", max_position_embeddings=128, ffn_dim=40, enable_bias=False, layer_norm_elementwise_affine=False
    ),
    "opt-untied": _gpt("opt", max_position_embeddings=128, ffn_dim=40, tie_word_embeddings=False, layerdrop=0.1),
    "bloom": _gpt("bloom"),
    "bloom-untied": _gpt("bloom", tie_word_embeddings=False, apply_residual_connection_post_layernorm=True),
    "falcon": _falcon(),
    "falcon-serial": _falcon(
        multi_query=False, parallel_attn=False, bias=True, alibi=True, tie_word_embeddings=False
    ),
    "falcon-new": _falcon(new_decoder_architecture=True, num_kv_heads=2, ffn_hidden_size=40),
    "falcon-new-one-norm": _falcon(
        new_decoder_architecture=True, num_kv_heads=3, num_ln_in_parallel_attn=1, bias=True
    ),
    "mpt": _gpt("mpt", max_seq_len=128),
    "mpt-untied": _gpt("mpt", max_seq_len=128, tie_word_embeddings=False, attn_config={"alibi": True, "clip_qkv": 8.0}),
    "phi": tiny("phi"),
    "phi-norms": tiny("phi", qk_layernorm=True, num_key_value_heads=None),
    "persimmon": _gpt("persimmon", max_position_embeddings=128, intermediate_size=40),
    "persimmon-no-norms": _gpt(
        "persimmon", max_position_embeddings=128, intermediate_size=40, qk_layernorm=False, tie_word_embeddings=True
    ),
    "stablelm": tiny("stablelm", partial_rotary_factor=0.5),
    "stablelm-norms": tiny(
        "stablelm", partial_rotary_factor=0.5, qk_layernorm=True, use_qkv_bias=True, tie_word_embeddings=True
    ),
    "stablelm-parallel": tiny("stablelm", partial_rotary_factor=0.5, use_parallel_residual=True, qk_layernorm=True),
    "biogpt": _gpt("biogpt", max_position_embeddings=128, intermediate_size=40),
    "biogpt-untied": _gpt("biogpt", max_position_embeddings=128, intermediate_size=40, tie_word_embeddings=False),
    "xglm": _gpt("xglm", max_position_embeddings=128, ffn_dim=40),
    "xglm-untied": _gpt("xglm", max_position_embeddings=128, ffn_dim=40, tie_word_embeddings=False),
}

TINY: dict[str, Config] = {**_LLAMA_LIKE, **_GEMMAS, **_OTHER_NORMS, **_WITHOUT_GATE, **_GPT_LINE}

# Real shapes that the catalog does not hold, for what only they have: other tables, norms, heads and windows.
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
    "gemma-7b": {
        "model_type": "gemma",
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
    },
    "gemma-2-9b": {
        "model_type": "gemma2",
        "hidden_size": 3584,
        "intermediate_size": 14336,
        "num_hidden_layers": 42,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
    "gemma-3-1b": {
        "model_type": "gemma3_text",
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "num_hidden_layers": 26,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262144,
        "max_position_embeddings": 32768,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "query_pre_attn_scalar": 256,
    },
    "phi-2": {
        "model_type": "phi",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 51200,
        "max_position_embeddings": 2048,
        "partial_rotary_factor": 0.4,
        "qk_layernorm": False,
        "tie_word_embeddings": False,
    },
    "phi-3-mini": {
        "model_type": "phi3",
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
        "max_position_embeddings": 4096,
        "sliding_window": 2047,
        "attention_bias": False,
        "tie_word_embeddings": False,
    },
    "starcoder2-7b": {
        "model_type": "starcoder2",
        "hidden_size": 4608,
        "intermediate_size": 18432,
        "num_hidden_layers": 32,
        "num_attention_heads": 36,
        "num_key_value_heads": 4,
        "vocab_size": 49152,
        "max_position_embeddings": 16384,
        "sliding_window": 4096,
        "norm_type": "layer_norm",
        "mlp_type": "default",
        "use_bias": True,
    },
    "gpt2-small": {
        "model_type": "gpt2",
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_positions": 1024,
        "n_ctx": 1024,
        "vocab_size": 50257,
    },
    "pythia-6.9b": {
        "model_type": "gpt_neox",
        "hidden_size": 4096,
        "intermediate_size": 16384,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 50432,
        "max_position_embeddings": 2048,
        "rotary_pct": 0.25,
        "use_parallel_residual": True,
        "tie_word_embeddings": False,
    },
    "gpt-j-6b": {
        "model_type": "gptj",
        "n_embd": 4096,
        "n_layer": 28,
        "n_head": 16,
        "n_inner": None,
        "n_positions": 2048,
        "rotary_dim": 64,
        "vocab_size": 50400,
        "tie_word_embeddings": False,
    },
    "opt-6.7b": {
        "model_type": "opt",
        "hidden_size": 4096,
        "ffn_dim": 16384,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 50272,
        "max_position_embeddings": 2048,
        "word_embed_proj_dim": 4096,
        "do_layer_norm_before": True,
    },
    "bloom-7b1": {
        "model_type": "bloom",
        "hidden_size": 4096,
        "n_layer": 30,
        "num_attention_heads": 32,
        "vocab_size": 250880,
        "skip_bias_add": True,
        "bias_dropout_fusion": True,
        "masked_softmax_fusion": True,
        "attention_softmax_in_fp32": True,
    },
    "falcon-7b": {
        "model_type": "falcon",
        "max_position_embeddings": 2048,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "vocab_size": 65024,
        "multi_query": True,
        "new_decoder_architecture": False,
        "parallel_attn": True,
        "alibi": False,
        "bias": False,
    },
    "falcon-40b": {
        "model_type": "falcon",
        "max_position_embeddings": 2048,
        "hidden_size": 8192,
        "num_hidden_layers": 60,
        "num_attention_heads": 128,
        "num_kv_heads": 8,
        "vocab_size": 65024,
        "new_decoder_architecture": True,
        "parallel_attn": True,
        "alibi": False,
        "bias": False,
    },
    "mpt-7b": {
        "model_type": "mpt",
        "d_model": 4096,
        "n_layers": 32,
        "n_heads": 32,
        "expansion_ratio": 4,
        "max_seq_len": 2048,
        "vocab_size": 50432,
        "no_bias": True,
        "attn_config": {"attn_type": "multihead_attention", "attn_impl": "torch", "alibi": True, "qk_ln": False},
    },
    "command-r-plus": {
        "model_type": "cohere",
        "hidden_size": 12288,
        "intermediate_size": 33792,
        "num_hidden_layers": 64,
        "num_attention_heads": 96,
        "num_key_value_heads": 8,
        "vocab_size": 256000,
        "max_position_embeddings": 131072,
        "logit_scale": 0.8333333333333334,
        "use_qk_norm": True,
    },
    "glm-4-9b": {
        "model_type": "glm",
        "hidden_size": 4096,
        "intermediate_size": 13696,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "vocab_size": 151552,
        "max_position_embeddings": 131072,
        "attention_bias": True,
        "tie_word_embeddings": False,
    },
}

_GPT_NAMES = [
    ("wte", "embedding"), ("wpe", "embedding"), ("ln_", "norm"), ("mlp.", "dense_ffn"), ("attn.", "attention")
]
_FAIRSEQ_NAMES = [("embed_positions", "embedding"), ("fc1", "dense_ffn"), ("fc2", "dense_ffn")]

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {
    "apertus": [("act_fn", "other")],
    "biogpt": [*_FAIRSEQ_NAMES, ("output_projection", "head")],
    "bloom": [("layernorm", "norm"), ("word_embeddings", "embedding"), ("ln_f", "norm"), ("attention", "attention")],
    "codegen": _GPT_NAMES,
    "falcon": [("layernorm", "norm"), ("word_embeddings", "embedding"), ("ln_", "norm"), ("attention", "attention")],
    "gpt2": _GPT_NAMES,
    "gpt_bigcode": _GPT_NAMES,
    "gpt_neo": _GPT_NAMES,
    "gpt_neox": [("embed_in", "embedding"), ("layernorm", "norm"), ("attention.", "attention")],
    "gptj": _GPT_NAMES,
    "mpt": [("wte", "embedding"), ("norm_", "norm"), ("attn.", "attention"), ("ffn.", "dense_ffn")],
    "opt": _FAIRSEQ_NAMES,
    "xglm": _FAIRSEQ_NAMES,
}
