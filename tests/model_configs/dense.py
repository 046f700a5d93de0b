"""Dense decoders: tiny ones with each option, and real shapes."""

from __future__ import annotations

from typing import Any

from model_configs import dense_older
from model_configs.tiny import Config, tiny


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

# Those of which transformers has the model classes.
KNOWN: dict[str, Config] = {**_LLAMA_LIKE, **_GEMMAS, **_OTHER_NORMS, **_WITHOUT_GATE, **dense_older.TINY}

_LARGE: Config = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}

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
    "phi-4-mini": {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "vocab_size": 200064,
        "max_position_embeddings": 131072,
        "sliding_window": 262144,
        "partial_rotary_factor": 0.75,
        "full_attn_mod": 1,
        "interpolate_factor": 1,
        "attention_bias": False,
        "lm_head_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
    },
    "command-r7b": {
        "model_type": "cohere2",
        "architectures": ["Cohere2ForCausalLM"],
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "sliding_window": 4096,
        "sliding_window_pattern": 4,
        "layer_switch": 4,
        "order_of_interleaved_layers": "local_attn_first",
        "position_embedding_type": "rope_gptj",
        "use_embedding_sharing": True,
        "use_gated_activation": True,
        "use_parallel_block": True,
        "use_parallel_embedding": False,
    },
    **dense_older.REAL,
}

# Published with their model classes, of which transformers has none: they are counted by hand in hf_config/test_dense.
RELEASED: dict[str, Config] = {
    "internlm-7b": {**_LARGE, "model_type": "internlm", "vocab_size": 103168, "bias": True},
    "internlm2-7b": {
        **_LARGE,
        "model_type": "internlm2",
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "vocab_size": 92544,
        "bias": False,
    },
    "baichuan-7b": {**_LARGE, "model_type": "baichuan", "vocab_size": 64000},
    "baichuan2-7b": {**_LARGE, "model_type": "baichuan", "vocab_size": 125696, "model_max_length": 4096},
    "qwen-7b": {
        **_LARGE,
        "model_type": "qwen",
        "architectures": ["QWenLMHeadModel"],
        "intermediate_size": 22016,
        "vocab_size": 151936,
        "kv_channels": 128,
        "no_bias": True,
        "attn_dropout_prob": 0.0,
        "layer_norm_epsilon": 1e-06,
        "scale_attn_weights": True,
        "use_flash_attn": "auto",
        "use_logn_attn": True,
    },
    "chatglm3-6b": {
        "model_type": "chatglm",
        "architectures": ["ChatGLMModel"],
        "hidden_size": 4096,
        "ffn_hidden_size": 13696,
        "num_layers": 28,
        "num_hidden_layers": 28,
        "num_attention_heads": 32,
        "multi_query_attention": True,
        "multi_query_group_num": 2,
        "kv_channels": 128,
        "padded_vocab_size": 65024,
        "seq_length": 8192,
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "rmsnorm": True,
        "layernorm_epsilon": 1e-05,
        "post_layer_norm": True,
        "pre_seq_len": None,
        "bias_dropout_fusion": True,
        "attention_softmax_in_fp32": True,
        "tie_word_embeddings": False,
    },
    "exaone-3.5-7.8b": {
        **_LARGE,
        "model_type": "exaone",
        "intermediate_size": 14336,
        "num_layers": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 102400,
        "tie_word_embeddings": False,
    },
    "exaone-3.5-2.4b": {
        "model_type": "exaone",
        "hidden_size": 2560,
        "intermediate_size": 7168,
        "num_layers": 30,
        "num_hidden_layers": 30,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 80,
        "vocab_size": 102400,
        "tie_word_embeddings": True,
    },
    "minicpm-2b": {
        "model_type": "minicpm",
        "hidden_size": 2304,
        "intermediate_size": 5760,
        "num_hidden_layers": 40,
        "num_attention_heads": 36,
        "num_key_value_heads": 36,
        "vocab_size": 122753,
        "scale_emb": 12,
        "dim_model_base": 256,
        "scale_depth": 1.4,
    },
    "orion-14b": {
        "model_type": "orion",
        "hidden_size": 5120,
        "intermediate_size": 15360,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 40,
        "vocab_size": 84608,
        "tie_word_embeddings": False,
    },
    "xverse-13b": {
        "model_type": "xverse",
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "vocab_size": 100278,
    },
    "aquila-7b": {**_LARGE, "model_type": "aquila", "vocab_size": 100008},
}

TINY: dict[str, Config] = {**KNOWN, **RELEASED}

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {"apertus": [("act_fn", "other")], **dense_older.COMPONENTS}
