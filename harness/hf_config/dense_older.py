"""Dense decoders of the GPT line: biased norms, feed-forwards without a gate, learned positions, parallel residuals."""

from __future__ import annotations

from collections.abc import Mapping

from harness.architecture import DenseFeedForward, FeedForward
from harness.config_keys import ConfigKeys, shown
from harness.hf_config.attention import EqualHeads, GroupedQuery, norm_all_heads, stated_kv_heads
from harness.hf_config.family import Chosen, Decoder, Family
from harness.hf_config.feed_forward import Dense, read_dense

_GPT_NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}
_GPT_KEYS = (
    "attn_pdrop", "layer_norm_epsilon", "scale_attn_weights", "scale_attn_by_inverse_layer_idx",
    "reorder_and_upcast_attn", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "rotary_dim",
)
_FAIRSEQ_KEYS = ("attention_probs_dropout_prob", "hidden_dropout_prob", "layerdrop", "scale_embedding")
_two_biased = Dense(matrices=2, bias=True)
_two_of_inner_width = Dense(matrices=2, bias=True, times_hidden=4, width_key="n_inner")


def _positions(config: ConfigKeys) -> int:
    return config.size("max_position_embeddings")


def _positions_and_two(config: ConfigKeys) -> int:
    """Two more rows than positions: the table begins behind the special tokens (fairseq's habit)."""
    return config.size("max_position_embeddings") + 2


def _norm_each_head_with_bias(hidden: int, queries: int, keys: int, head_dim: int) -> int:
    """Scale and bias for each value of a query's and of a key's head, which divides the hidden size."""
    return 4 * (hidden // queries)


def _phi(config: ConfigKeys) -> Decoder:
    attention = GroupedQuery(bias=True, output_biased=True, kv_optional=True)
    if config.flag("qk_layernorm", False):
        attention = GroupedQuery(
            qk_norm=_norm_each_head_with_bias, bias=True, output_biased=True, kv_optional=True
        )
    return Decoder(attention, _two_biased, layer_norms=1, biased_norms=True, head_bias=True)


def _persimmon(config: ConfigKeys) -> Decoder:
    attention = EqualHeads(qkv_bias=True, output_bias=True)
    if config.flag("qk_layernorm", True):
        attention = EqualHeads(qkv_bias=True, output_bias=True, qk_norm=_norm_each_head_with_bias)
    return Decoder(attention, _two_biased, biased_norms=True)


def _stablelm(config: ConfigKeys) -> Decoder:
    bias = config.flag("use_qkv_bias", False)
    config.only("num_heads", config.get("num_attention_heads"))
    attention = EqualHeads(qkv_bias=bias, kv_heads=stated_kv_heads)
    if config.flag("qk_layernorm", False):
        # every head has its own norm, without bias
        attention = EqualHeads(qkv_bias=bias, kv_heads=stated_kv_heads, qk_norm=norm_all_heads)
    norms = 1 if config.flag("use_parallel_residual", False) else 2
    return Decoder(attention, read_dense, layer_norms=norms, biased_norms=True)


def _gpt_neox(config: ConfigKeys) -> Decoder:
    bias = config.flag("attention_bias", True)
    return Decoder(
        EqualHeads(qkv_bias=bias, output_bias=bias),
        _two_biased,
        biased_norms=True,
        # both norms are there with a parallel residual too
        ignored=("use_parallel_residual", "is_decoder"),
    )


def _gpt_bigcode_keys(config: ConfigKeys, queries: int) -> int:
    config.get("num_key_value_heads")  # what transformers saves under this name does not reach the model
    return 1 if config.flag("multi_query", True) else queries


def _gpt_neo_windows(config: ConfigKeys, layers: int) -> list[int | None]:
    """'local' layers see a window: `attention_types` is a list of [kinds, times], as in [[["global", "local"], 12]]."""
    kinds = _gpt_neo_kinds(config)
    if len(kinds) != layers:
        raise config.error("attention_types", f"describes {len(kinds)} layers of {layers}")
    config.only("attention_layers", kinds)
    window = config.optional_size("window_size", 256)
    return [window if kind == "local" else None for kind in kinds]


def _gpt_neo_kinds(config: ConfigKeys) -> list[object]:
    runs = config.items("attention_types")
    if runs is None:
        raise config.error("attention_types", "is missing")
    kinds: list[object] = []
    for run in runs:
        match run:
            case [list(names), int(times)] if 0 <= times * len(names) <= config.size("num_hidden_layers"):
                kinds += names * times
            case _:
                raise config.error("attention_types", f"has {shown(run)} in place of [kinds, times]")
    for kind in kinds:
        if kind not in ("global", "local"):
            raise config.unknown("attention_types", f"has {shown(kind)}, which no reader knows")
    return kinds


def _opt(config: ConfigKeys) -> Decoder:
    config.only("do_layer_norm_before", True)
    config.only("_remove_final_layer_norm", False)
    config.only("word_embed_proj_dim", config.size("hidden_size"))
    bias = config.flag("enable_bias", True)
    learned = config.flag("layer_norm_elementwise_affine", True)
    return Decoder(
        EqualHeads(qkv_bias=bias, output_bias=bias),
        Dense(matrices=2, bias=bias, width_key="ffn_dim"),
        scaled_norms=learned,
        biased_norms=learned,
        tied=True,
        positions=_positions_and_two,
        ignored=("layerdrop",),
    )


def _read_four_times(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Four times the hidden size, with biases; the class takes no other width (BLOOM)."""
    width = 4 * config.size("hidden_size")
    config.only("intermediate_size", width)
    config.only("n_inner", width)
    return [DenseFeedForward(width=width, matrices=2, bias=True)] * layers


def _read_four_times_plain(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Four times the hidden size, without biases; the class takes no other ratio (MPT)."""
    width = 4 * config.size("hidden_size")
    config.only("intermediate_size", width)
    config.only("expansion_ratio", 4)
    return [DenseFeedForward(width=width, matrices=2)] * layers


def _mpt(config: ConfigKeys) -> Decoder:
    config.only("no_bias", True)
    stated = config.get("attn_config")
    if stated is not None and not isinstance(stated, Mapping):
        raise config.error("attn_config", f"must be an object, not {shown(stated)}")
    inner = ConfigKeys(stated or {}, f"{config.where}:attn_config")
    inner.only("attn_type", "multihead_attention")
    inner.only("qk_ln", False)
    inner.only("prefix_lm", False)
    inner.only("alibi", True)
    inner.read |= {"attn_pdrop", "attn_impl", "attn_uses_sequence_id", "alibi_bias_max", "softmax_scale"}
    inner.refuse_unread()
    return Decoder(
        EqualHeads(),
        _read_four_times_plain,
        tied=True,
        own_names={
            "hidden_size": "d_model",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "max_position_embeddings": "max_seq_len",
        },
        # the class has linear biases in place of learned positions, and one kind of norm
        ignored=("learned_pos_emb", "embedding_fraction", "norm_type", "layer_norm_epsilon"),
    )


def _falcon_keys(config: ConfigKeys, queries: int) -> int:
    if not config.flag("new_decoder_architecture", False):
        if config.flag("multi_query", True):
            config.get("num_kv_heads")
            return 1
        config.only("num_kv_heads", queries)
        return queries
    keys = config.optional_size("num_kv_heads", queries) or queries
    if queries % keys:
        raise config.error("num_kv_heads", f"is {keys}, which does not divide {queries} attention heads")
    return keys


def _falcon(config: ConfigKeys) -> Decoder:
    norms = 1 if config.flag("parallel_attn", True) else 2
    if config.flag("new_decoder_architecture", False):
        config.only("parallel_attn", True)
        config.only("num_ln_in_parallel_attn", 1, 2)
        norms = config.optional_size("num_ln_in_parallel_attn", 2) or 2
    else:
        config.only("num_ln_in_parallel_attn", 1)
    config.only("activation", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu")
    bias = config.flag("bias", False)
    config.get("multi_query")
    config.only("n_head", config.get("num_attention_heads"))
    config.only("n_layer", config.get("num_hidden_layers"))
    return Decoder(
        EqualHeads(qkv_bias=bias, output_bias=bias, kv_heads=_falcon_keys),
        Dense(matrices=2, bias=bias, times_hidden=4, width_key="ffn_hidden_size"),
        layer_norms=norms,
        biased_norms=True,
        tied=True,
        ignored=("layer_norm_epsilon", "apply_residual_connection_post_layernorm"),
    )


_all_biased = EqualHeads(qkv_bias=True, output_bias=True)
_gpt2 = Decoder(
    _all_biased,
    _two_of_inner_width,
    biased_norms=True,
    tied=True,
    positions=_positions,
    own_names=_GPT_NAMES,
    ignored=_GPT_KEYS,
)

# CodeGen has the structure of GPT-J
_GPTJ = Decoder(
    EqualHeads(),
    _two_of_inner_width,
    layer_norms=1,
    biased_norms=True,
    head_bias=True,
    own_names=_GPT_NAMES,
    ignored=_GPT_KEYS,
)

FAMILIES: dict[str, Family] = {
    "gpt2": _gpt2,
    "gpt-sw3": _gpt2,
    "gpt_bigcode": Decoder(
        EqualHeads(qkv_bias=True, output_bias=True, kv_heads=_gpt_bigcode_keys),
        _two_of_inner_width,
        biased_norms=True,
        tied=True,
        positions=_positions,
        own_names=_GPT_NAMES,
        ignored=_GPT_KEYS,
    ),
    "gptj": _GPTJ,
    "codegen": _GPTJ,
    "gpt_neo": Decoder(
        EqualHeads(output_bias=True, windows=_gpt_neo_windows),
        Dense(matrices=2, bias=True, times_hidden=4),
        biased_norms=True,
        tied=True,
        positions=_positions,
        own_names={"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"},
        ignored=("layer_norm_epsilon",),
    ),
    "gpt_neox": Chosen(_gpt_neox),
    "opt": Chosen(_opt),
    "bloom": Decoder(
        _all_biased,
        _read_four_times,
        outer_norms=2,
        biased_norms=True,
        tied=True,
        own_names={"hidden_size": "n_embed", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
        ignored=(
            "layer_norm_epsilon", "apply_residual_connection_post_layernorm", "attention_softmax_in_fp32",
            "masked_softmax_fusion", "bias_dropout_fusion", "skip_bias_add", "skip_bias_add_qkv",
        ),
    ),
    "falcon": Chosen(_falcon),
    "mpt": Chosen(_mpt),
    "phi": Chosen(_phi),
    "persimmon": Chosen(_persimmon),
    "stablelm": Chosen(_stablelm),
    "biogpt": Decoder(
        _all_biased,
        _two_biased,
        biased_norms=True,
        tied=True,
        positions=_positions_and_two,
        ignored=_FAIRSEQ_KEYS,
    ),
    "xglm": Decoder(
        _all_biased,
        Dense(matrices=2, bias=True, width_key="ffn_dim"),
        biased_norms=True,
        tied=True,
        own_names={
            "hidden_size": "d_model",
            "num_hidden_layers": "num_layers",
            "num_attention_heads": "attention_heads",
        },
        ignored=_FAIRSEQ_KEYS,
    ),
}
