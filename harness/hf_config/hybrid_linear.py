"""Families with linear attention or short convolutions among their attention layers."""

from __future__ import annotations

import math
from functools import partial

from harness.architecture import (
    DenseFeedForward,
    FeedForward,
    KimiDeltaAttention,
    LightningAttention,
    Mixer,
    SharedExpert,
    ShortConvolution,
)
from harness.config_keys import ConfigKeys, shown
from harness.hf_config.attention import (
    GroupedQuery,
    biased,
    gated_output,
    norm_all_heads,
    norm_each_head,
    one_window,
    read_head_dim,
    read_heads,
    read_latent,
    sees_all,
)
from harness.hf_config.family import Decoder, Family
from harness.hf_config.feed_forward import (
    read_dense,
    read_expert_count,
    read_routed,
    read_routed_and_shared,
    read_sparse,
    read_sparse_steps,
)
from harness.hf_config.hybrid_mixers import (
    FULL,
    LINEAR,
    DeltaNetSizes,
    check_unused,
    chosen,
    read_delta_net,
    read_kinds,
)
from harness.hf_config.sparse_layers import typed_after

# Delta rules -----------------------------------------------------------------------------------------------------


def _qwen_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Every fourth layer attends with a gated output, unless the file says otherwise; the others follow a delta rule.

    The layers that predict further tokens (`mtp_num_hidden_layers`) are no part of the language model.
    """
    config.only("attn_output_gate", True)
    config.read |= {"mtp_num_hidden_layers", "mtp_use_dedicated_embeddings", "mamba_ssm_dtype"}
    interval = config.optional_size("full_attention_interval", 4) or 4
    default = [LINEAR if (layer + 1) % interval else FULL for layer in range(layers)]
    attention = GroupedQuery(
        sees_all, norm_each_head, bias_key="attention_bias", output_biased=True, head_dim=256
    )
    kinds = read_kinds(config, layers, (LINEAR, FULL), default)
    gated = gated_output(attention, bias_as_queries=True)
    return chosen(kinds, gated(config, layers), read_delta_net(config))


def _qwen_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Experts with a shared one in every layer."""
    config.only("mlp_only_layers", [])
    config.only("decoder_sparse_step", 1)
    check_unused(config, "intermediate_size")  # of dense layers, of which there are none
    return [read_routed_and_shared(config, read_expert_count(config, "num_experts"))] * layers


def _olmo_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Sizes of the delta rule that are not stated follow from the heads, as in transformers."""
    default = [FULL if layer % 4 == 3 else LINEAR for layer in range(layers)]
    if FULL not in default:
        default[-1] = FULL
    kinds = read_kinds(config, layers, (LINEAR, FULL), default)
    config.read |= {"linear_a_log_min", "linear_a_log_max", "linear_allow_neg_eigval"}
    config.read |= {"linear_dt_min", "linear_dt_max", "linear_dt_init_floor"}
    heads = config.size("num_attention_heads")
    key_heads = config.optional_size("linear_num_key_heads", heads) or heads
    derived = max(1, int(0.75 * config.size("hidden_size") / key_heads))
    key_dim = config.optional_size("linear_key_head_dim", derived) or derived
    delta = read_delta_net(config, DeltaNetSizes(key_heads, heads, key_dim, 2 * key_dim))
    attention = biased(sees_all, norm_all_heads, kv_optional=True)
    return chosen(kinds, attention(config, layers), delta)


def _kimi_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Checkpoints state the linear layers in `linear_attn_config`, which has precedence; layers count from 1 there."""
    linear = _kimi_linear(config)
    default = _kimi_kinds(config, linear, layers)
    kinds = read_kinds(config, layers, (LINEAR, FULL), default)
    check_unused(config, "linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim")

    def size(key: str, other: str) -> int:
        return linear.size(key) if linear.get(key) is not None else config.size(other)

    delta = KimiDeltaAttention(
        heads=size("num_heads", "linear_num_heads"),
        head_dim=size("head_dim", "linear_head_dim"),
        conv_width=size("short_conv_kernel_size", "linear_conv_kernel_dim"),
    )
    linear.refuse_unread()
    return chosen(kinds, read_latent(config, layers), delta)


def _kimi_linear(config: ConfigKeys) -> ConfigKeys:
    values = config.get("linear_attn_config")
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise config.error("linear_attn_config", f"must be an object, not {shown(values)}")
    return ConfigKeys(values, f"{config.where}:linear_attn_config")


def _kimi_kinds(config: ConfigKeys, linear: ConfigKeys, layers: int) -> list[str] | None:
    full, other = linear.items("full_attn_layers"), linear.items("kda_layers")
    if full is None or other is None:
        return None
    kinds = {number: kind for numbers, kind in ((full, FULL), (other, LINEAR)) for number in map(shown, numbers)}
    if len(full) + len(other) != layers or set(kinds) != {str(layer + 1) for layer in range(layers)}:
        raise config.error("linear_attn_config", f"has to name each of {layers} layers once, counted from 1")
    return [kinds[str(layer + 1)] for layer in range(layers)]


def _kimi_feed_forwards(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Dense layers first, then experts whose choice a bias corrects, unless `mlp_layer_types` says otherwise."""
    config.only("tie_word_embeddings", False)
    config.only("moe_layer_freq", 1)
    check_unused(config, "first_k_dense_replace")
    config.read |= {"moe_router_activation_func", "moe_renormalize", "num_expert_group"}
    sparse = typed_after(config, layers)
    dense = DenseFeedForward(width=config.size("intermediate_size"))
    shared = SharedExpert(width=config.size("moe_intermediate_size") * config.size("n_shared_experts"))
    routed = read_routed(config, read_expert_count(config, "num_experts"), "moe_intermediate_size", shared=shared)
    return [routed if is_sparse else dense for is_sparse in sparse]


# Lightning attention ---------------------------------------------------------------------------------------------


def _minimax_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    """`attn_type_list` is how the original checkpoints state the layers: 1 attends to all, 0 is linear."""
    config.read |= {"block_size"} | {
        f"{part}_{factor}_factor" for part in ("full_attn", "linear_attn", "mlp") for factor in ("alpha", "beta")
    }
    default = None
    types = config.items("attn_type_list")
    if types is not None:
        for kind in types:
            if isinstance(kind, bool) or kind not in (0, 1):
                raise config.unknown("attn_type_list", f"has {shown(kind)}, which no reader knows")
        default = [FULL if kind == 1 else LINEAR for kind in types]
        if len(default) != layers:
            raise config.error("attn_type_list", f"has {len(default)} entries for {layers} layers")
    kinds = read_kinds(config, layers, (LINEAR, FULL), default)
    if default is not None and kinds != default:
        raise config.error("attn_type_list", "contradicts 'layer_types'")
    heads, _ = read_heads(config, False)
    lightning = LightningAttention(heads=heads, head_dim=read_head_dim(config, heads, None))
    return chosen(kinds, GroupedQuery(partial(one_window, default=None))(config, layers), lightning)


# Short convolutions ----------------------------------------------------------------------------------------------


def _lfm2_kinds(config: ConfigKeys, layers: int) -> list[str]:
    full = config.items("full_attn_idxs")
    default = None if full is None else [FULL if layer in full else "conv" for layer in range(layers)]
    return read_kinds(config, layers, (FULL, "conv"), default)


def _lfm2_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    hidden = config.size("hidden_size")
    for key in ("block_dim", "conv_dim", "conv_dim_out"):
        config.only(key, hidden)
    config.only("num_heads", config.size("num_attention_heads"))
    config.only("block_use_swiglu", True)
    config.read |= {
        "block_norm_eps", "block_mlp_init_scale", "block_out_init_scale", "block_use_xavier_init",
        "conv_use_xavier_init",
    }  # fmt: skip
    convolution = ShortConvolution(conv_width=config.size("conv_L_cache"), bias=config.flag("conv_bias", False))
    attention = GroupedQuery(sees_all, norm_each_head)
    return chosen(_lfm2_kinds(config, layers), attention(config, layers), convolution)


def _lfm2_feed_forwards(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """The width is two thirds of the stated one, times a factor, rounded up to a multiple, unless that is off."""
    stated = config.optional_size("block_ff_dim")
    check_unused(config, "intermediate_size")
    width = config.size("intermediate_size") if stated is None else stated
    multiple = config.optional_size("block_multiple_of", 256) or 256
    factor = _factor(config)
    if config.flag("block_auto_adjust_ff_dim", True):
        width = multiple * math.ceil(int(factor * int(2 * width / 3)) / multiple)
    return [DenseFeedForward(width=width)] * layers


def _factor(config: ConfigKeys) -> float:
    key = "block_ffn_dim_multiplier"
    factor = config.get(key) if config.has(key) else 1.0
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= 64:
        raise config.error(key, f"must be a number up to 64, not {shown(factor)}")
    return factor


def _lfm2_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Dense layers first, then experts."""
    first = config.size("num_dense_layers", low=0)
    check_unused(config, "intermediate_size")
    dense = [DenseFeedForward(width=config.size("intermediate_size"))] if first else []
    routed = read_routed(config, read_expert_count(config, "num_experts"), "moe_intermediate_size")
    config.flag("use_expert_bias", True)  # a buffer, which does not count
    return [*dense * min(first, layers), *[routed] * (layers - first)]


_LFM2_NAMES = {"tie_word_embeddings": "tie_embedding"}
_KIMI_NAMES = {
    "max_position_embeddings": "model_max_length",
    "num_experts_per_tok": "num_experts_per_token",
    "n_shared_experts": "num_shared_experts",
}

FAMILIES: dict[str, Family] = {
    "qwen3_next": Decoder(_qwen_mixers, partial(read_sparse_steps, with_shared=True)),
    "qwen3_5_text": Decoder(_qwen_mixers, read_dense),
    "qwen3_5_moe_text": Decoder(_qwen_mixers, _qwen_experts),
    "olmo_hybrid": Decoder(_olmo_mixers, read_dense),
    "kimi_linear": Decoder(_kimi_mixers, _kimi_feed_forwards, own_names=_KIMI_NAMES),
    "minimax": Decoder(_minimax_mixers, partial(read_sparse, count_key="num_local_experts")),
    "lfm2": Decoder(_lfm2_mixers, _lfm2_feed_forwards, tied=True, own_names=_LFM2_NAMES),
    "lfm2_moe": Decoder(_lfm2_mixers, _lfm2_experts, tied=True, own_names=_LFM2_NAMES),
}
