"""Families of dense decoders with gated feed-forwards and their descendants."""

from __future__ import annotations

from functools import partial

from harness.architecture import Mixer
from harness.config_keys import ConfigKeys
from harness.hf_config import dense_older, dense_remote
from harness.hf_config.attention import (
    GroupedQuery,
    biased,
    by_pattern,
    each_layer,
    every_other_layer,
    listed_windows,
    norm_all_heads,
    norm_each_head,
    not_each_fourth_layer,
    not_first_of_four_layers,
    one_window,
    read_latent,
    upper_layers,
)
from harness.hf_config.family import Chosen, Decoder, Family
from harness.hf_config.feed_forward import Dense, read_dense

_qwen_windows = partial(listed_windows, slides=upper_layers, default=4096, switch="use_sliding_window")
_alternating_windows = partial(listed_windows, slides=every_other_layer, default=4096)
_bias_by_mlp_key = Dense(bias_key="mlp_bias")
_two_by_mlp_key = Dense(matrices=2, bias_key="mlp_bias")
_default_width = partial(GroupedQuery, bias_key="attention_bias", output_biased=True)
_PATTERN_KEYS = ("sliding_window_pattern", "_sliding_window_pattern")
_GEMMA_KEYS = ("query_pre_attn_scalar", "attn_logit_softcapping")
_SCALES = ("embedding_multiplier", "residual_multiplier", "attention_multiplier")


def _cohere(config: ConfigKeys) -> Decoder:
    norm = norm_all_heads if config.flag("use_qk_norm", False) else None
    attention = biased(qk_norm=norm, kv_optional=True) if norm else biased(kv_optional=True)
    return Decoder(attention, read_dense, layer_norms=1, tied=True)


def _has_no_rotation(config: ConfigKeys, layer: int) -> bool:
    """Whether a layer is without rotary positions: those are the layers with a window (SmolLM3)."""
    rotated = config.items("no_rope_layers")
    if rotated is None:
        return (layer + 1) % (config.optional_size("no_rope_layer_interval", 4) or 4) == 0
    if layer >= len(rotated):
        raise config.error("no_rope_layers", f"has {len(rotated)} entries, fewer than there are layers")
    return not rotated[layer]


def _apertus(config: ConfigKeys) -> Decoder:
    # xIELU learns two scalars in each layer; what another activation learns is checked with the unread keys
    learned = config.values.get("hidden_act", "xielu") == "xielu"
    return Decoder(
        biased(qk_norm=norm_each_head, kv_optional=True),
        Dense(matrices=2),
        other_parameters=2 if learned else 0,
        ignored=("qk_norm", "post_norm", *(["hidden_act"] if learned else [])),
    )


def _hyperclovax(config: ConfigKeys) -> Decoder:
    return Decoder(
        biased(kv_optional=True),
        _bias_by_mlp_key,
        norms_per_part=2 if config.flag("use_post_norm", True) else 1,
        ignored=_SCALES,
    )


def _read_helium(config: ConfigKeys, layers: int) -> list[Mixer]:
    mixers = GroupedQuery(bias_key="attention_bias", head_dim=128)(config, layers)
    heads, hidden = config.size("num_attention_heads"), config.size("hidden_size")
    width = config.optional_size("head_dim", 128 if not config.has("head_dim") else hidden // heads)
    if width is None or heads * width != hidden:
        # the output projection is hidden size by hidden size, whatever the heads
        raise config.unknown("head_dim", f"is {width}: {heads} heads of it are not the hidden size {hidden}")
    return mixers


def _read_minicpm3(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Latent attention whose value heads divide the hidden size where their width is not stated."""
    if config.get("v_head_dim") is None:
        width = config.size("hidden_size") // config.size("num_attention_heads")
        config = ConfigKeys({**config.values, "v_head_dim": width}, config.where, config.read)
    return read_latent(config, layers)


def _norm_output(hidden: int, queries: int, keys: int, head_dim: int) -> int:
    """A norm before the output projection (BitNet)."""
    return hidden


def _gemma2(config: ConfigKeys) -> Decoder:
    # released files state the window twice
    config.only("sliding_window_size", config.get("sliding_window"))
    return Decoder(
        _default_width(_alternating_windows, head_dim=256), read_dense, norms_per_part=2, tied=True,
        ignored=_GEMMA_KEYS,
    )


_GEMMAS: dict[str, Family] = {
    "gemma": Decoder(_default_width(head_dim=256), read_dense, tied=True),
    "gemma2": Chosen(_gemma2),
    "gemma3_text": Decoder(
        _default_width(
            partial(listed_windows, slides=partial(by_pattern, default=6), default=4096), norm_each_head, head_dim=256
        ),
        read_dense,
        norms_per_part=2,
        tied=True,
        ignored=(*_GEMMA_KEYS, *_PATTERN_KEYS),
    ),
    "vaultgemma": Decoder(
        _default_width(_alternating_windows, head_dim=256), read_dense, tied=True, ignored=_GEMMA_KEYS
    ),
}

_LLAMA_LIKE: dict[str, Family] = {
    "llama": Decoder(biased(kv_optional=True), partial(read_dense, bias_key="mlp_bias")),
    "mistral": Decoder(GroupedQuery(partial(one_window, default=4096)), read_dense),
    "ministral": Decoder(GroupedQuery(partial(listed_windows, slides=each_layer, default=4096)), read_dense),
    "ministral3": Decoder(GroupedQuery(partial(one_window, default=None), head_dim=128), read_dense),
    "qwen2": Decoder(GroupedQuery(_qwen_windows, bias=True), read_dense),
    "qwen3": Decoder(_default_width(_qwen_windows, norm_each_head, head_dim=128), read_dense),
    "phi3": Decoder(
        GroupedQuery(partial(one_window, default=None), kv_optional=True), read_dense, ignored=("full_attn_mod",)
    ),
    "granite": Decoder(biased(kv_optional=True), _bias_by_mlp_key, ignored=_SCALES),
    "granite_swa": Decoder(
        _default_width(
            partial(listed_windows, slides=not_first_of_four_layers, default=128), sinks=True
        ),
        _bias_by_mlp_key,
        tied=True,
        ignored=(*_SCALES, "layer_rope_theta"),
    ),
    "hyperclovax": Chosen(_hyperclovax),
    "smollm3": Decoder(
        biased(partial(listed_windows, slides=_has_no_rotation, default=None, switch="use_sliding_window")),
        _bias_by_mlp_key,
        tied=True,
        ignored=("no_rope_layers", "no_rope_layer_interval"),
    ),
    "seed_oss": Decoder(
        GroupedQuery(
            bias_key="attention_bias",
            bias=True,
            output_bias_key="attention_out_bias",
            head_dim=128,
        ),
        _bias_by_mlp_key,
    ),
    "cwm": Decoder(
        GroupedQuery(partial(listed_windows, slides=not_first_of_four_layers, default=8192), head_dim=128),
        _bias_by_mlp_key,
    ),
    "ernie4_5": Decoder(
        GroupedQuery(bias_key="use_bias", output_biased=True, head_dim=128),
        Dense(bias_key="use_bias"),
        tied=True,
    ),
    "helium": Decoder(_read_helium, _bias_by_mlp_key),
    "hunyuan_v1_dense": Decoder(
        biased(qk_norm=norm_each_head, kv_optional=True),
        read_dense,
        ignored=("attention_head_dim", "cla_share_factor", "dense_list", "norm_type", "org_vocab_size"),
    ),
}

_OTHER_NORMS: dict[str, Family] = {
    "olmo": Decoder(biased(kv_optional=True), read_dense, scaled_norms=False),
    "olmo2": Decoder(biased(qk_norm=norm_all_heads, kv_optional=True), read_dense),
    "olmo3": Decoder(
        biased(partial(listed_windows, slides=not_each_fourth_layer, default=4096), norm_all_heads, kv_optional=True),
        read_dense,
    ),
    "exaone4": Decoder(
        GroupedQuery(partial(listed_windows, slides=partial(by_pattern, default=4), default=4096), norm_each_head),
        read_dense,
        ignored=_PATTERN_KEYS,
    ),
    "glm": Decoder(GroupedQuery(bias_key="attention_bias", bias=True, head_dim=128), read_dense),
    "glm4": Decoder(GroupedQuery(bias_key="attention_bias", bias=True, head_dim=128), read_dense, norms_per_part=2),
    "cohere": Chosen(_cohere),
    "cohere2": Decoder(
        biased(partial(listed_windows, slides=partial(by_pattern, default=4), default=4096), kv_optional=True),
        read_dense,
        layer_norms=1,
        tied=True,
        # the class has one form of each of these
        ignored=(
            *_PATTERN_KEYS, "layer_switch", "order_of_interleaved_layers", "position_embedding_type",
            "use_embedding_sharing", "use_gated_activation",
        ),
    ),
    "bitnet": Decoder(biased(qk_norm=_norm_output), Dense(inner_norm=True)),
    "minicpm3": Decoder(_read_minicpm3, _bias_by_mlp_key, tied=True, ignored=("scale_depth", "dim_model_base")),
    "youtu": Decoder(read_latent, read_dense, tied=True),
}

_WITHOUT_GATE: dict[str, Family] = {
    "arcee": Decoder(biased(kv_optional=True), _two_by_mlp_key),
    "apertus": Chosen(_apertus),
    "nanochat": Decoder(biased(kv_optional=True), Dense(matrices=2), scaled_norms=False),
    "nemotron": Decoder(biased(), _two_by_mlp_key, biased_norms=True),
    "jais2": Decoder(
        _default_width(bias=True, kv_optional=True),
        Dense(matrices=2, bias_key="mlp_bias", bias=True),
        biased_norms=True,
    ),
    "starcoder2": Decoder(
        GroupedQuery(partial(one_window, default=None), bias_key="use_bias", bias=True, output_biased=True),
        Dense(matrices=2, bias_key="use_bias", bias=True),
        biased_norms=True,
        tied=True,
        ignored=("norm_epsilon", "layer_norm_epsilon", "norm_type", "mlp_type"),
    ),
}

FAMILIES: dict[str, Family] = {
    **_GEMMAS,
    **_LLAMA_LIKE,
    **_OTHER_NORMS,
    **_WITHOUT_GATE,
    **dense_older.FAMILIES,
    **dense_remote.FAMILIES,
}
