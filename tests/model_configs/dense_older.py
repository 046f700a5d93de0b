"""Dense decoders of the GPT line: tiny ones with each option, and real shapes."""

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


TINY: dict[str, Config] = {
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
    "gpt-sw3": _gpt("gpt-sw3", n_positions=64, n_inner=40),
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

REAL: dict[str, Config] = {
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
    "gpt2-small": {
        "model_type": "gpt2",
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_positions": 1024,
        "n_ctx": 1024,
        "vocab_size": 50257,
    },
    "starcoder": {
        "model_type": "gpt_bigcode",
        "architectures": ["GPTBigCodeForCausalLM"],
        "n_embd": 6144,
        "n_layer": 40,
        "n_head": 48,
        "n_inner": 24576,
        "n_positions": 8192,
        "vocab_size": 49152,
        "multi_query": True,
        "attn_pdrop": 0.1,
        "attention_softmax_in_fp32": True,
        "scale_attention_softmax_in_fp32": True,
        "scale_attn_weights": True,
        "max_batch_size": None,
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
}

_GPT_NAMES = [
    ("wte", "embedding"), ("wpe", "embedding"), ("ln_", "norm"), ("mlp.", "dense_ffn"), ("attn.", "attention")
]
_FAIRSEQ_NAMES = [("embed_positions", "embedding"), ("fc1", "dense_ffn"), ("fc2", "dense_ffn")]

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {
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
