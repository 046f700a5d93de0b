"""Families of decoders with experts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from harness.architecture import FeedForward, Mixer, MixtureOfAttention, MoeFeedForward
from harness.config_keys import ConfigKeys
from harness.hf_config import sparse_attention, sparse_released
from harness.hf_config.attention import (
    GroupedQuery,
    biased,
    every_other_layer,
    every_other_lower_layer,
    gated_output,
    listed_windows,
    norm_all_heads,
    norm_each_head,
    norm_hidden,
    one_window,
    read_latent,
    sees_all,
)
from harness.hf_config.family import Chosen, Decoder, Family, Parts
from harness.hf_config.feed_forward import read_sparse, read_sparse_after, read_sparse_steps
from harness.hf_config.listed import listed_layers
from harness.hf_config.sparse_layers import (
    NEXT_TOKENS,
    Experts,
    all_sparse,
    each_nth_sparse,
    group_heads,
    norms_if_flagged,
    sparse_after,
    typed_after,
    typed_all,
    typed_but_first,
    typed_layers,
)

_qwen2_moe_windows = partial(listed_windows, slides=every_other_lower_layer, default=4096, switch="use_sliding_window")
_qwen3_moe_windows = partial(one_window, default=4096, switch="use_sliding_window")
_one_stated_window = partial(one_window, default=None)
_local_experts = partial(read_sparse, count_key="num_local_experts")


class _BehindExperts(Decoder):
    """A decoder with one more norm, behind the experts, in layers that have them (A.X K1)."""

    def _count(self, parts: Parts) -> int:
        return super()._count(parts) + any(isinstance(part, MoeFeedForward) for part in parts[1])


def _latent_v3(config: ConfigKeys, layers: int) -> list[Mixer]:
    config.only("mlp_bias", False)
    return read_latent(config, layers)


def _latent_lite(config: ConfigKeys, layers: int) -> list[Mixer]:
    # transformers takes head_dim for another name of this width
    config.only("head_dim", config.size("qk_rope_head_dim"))
    return read_latent(config, layers)


def _phimoe(config: ConfigKeys) -> Decoder:
    decoder = Decoder(biased(_one_stated_window), _local_experts, biased_norms=True)
    return replace(decoder, head_bias=config.flag("lm_head_bias", False))


def _ernie_layers(config: ConfigKeys, layers: int) -> list[bool]:
    first = config.optional_size("moe_layer_start_index", low=0)
    if first is None:
        raise config.error("moe_layer_start_index", "is missing")
    config.only("moe_use_aux_free", True)
    last = layers - 1 if config.get("moe_layer_end_index") in (None, -1) else config.size("moe_layer_end_index", low=0)
    step = each_nth_sparse(config, layers, "moe_layer_interval", 1)
    return [in_step and first <= layer <= last for layer, in_step in enumerate(step)]


def _ernie(config: ConfigKeys) -> Decoder:
    return Decoder(
        GroupedQuery(bias_key="use_bias", output_biased=True),
        Experts(_ernie_layers, shared_count="moe_num_shared_experts", bias_key="use_bias", correction_bias=True),
        tied=True,
        head_bias=config.flag("use_bias", False),
        own_names={"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"},
        ignored=("moe_capacity", "moe_gate", "moe_norm_min", *NEXT_TOKENS),
    )


def _llama4_layers(config: ConfigKeys, layers: int) -> list[bool]:
    stepped = each_nth_sparse(config, layers, "interleave_moe_layer_step", 1)
    listed = listed_layers(config, "moe_layers", layers)
    return stepped if listed is None else listed


def _cohere_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    prefix = "prefix_dense_intermediate_size"
    return Experts(
        partial(typed_layers, fallback=partial(sparse_after, default=0)),
        width="intermediate_size",
        dense_width="intermediate_size" if config.get(prefix) is None else prefix,
        shared_count="num_shared_experts",
    )(config, layers)


def _laguna_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    shared = "shared_expert_intermediate_size"
    config.size(shared, low=0)
    return Experts(typed_but_first, shared_width=shared, correction_bias=True)(config, layers)


def _jetmoe_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    attention = MixtureOfAttention(
        experts=config.size("num_local_experts"),
        experts_per_token=config.size("num_experts_per_tok"),
        kv_heads=config.size("num_key_value_heads"),
        head_dim=config.size("head_dim"),
    )
    config.only("num_attention_heads", attention.kv_heads * attention.experts_per_token)
    return [attention] * layers


def _jetmoe_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    config.only("glu", True)
    config.only("bias", True)
    config.only("num_layers", layers)
    routed = Experts(count="num_local_experts", width="intermediate_size")(config, layers)
    return [part.model_copy(update={"output_bias": True}) for part in routed if part.kind == "moe"]


def _hy_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    # the class takes a shared expert of no width for one of the dense width
    config.size("num_shared_experts")
    return replace(_TYPED_SHARED, bias_key="mlp_bias")(config, layers)


_AFTER_FIRST = Experts(sparse_after, "n_routed_experts", shared_count="n_shared_experts")
_DEEPSEEK_V3 = Decoder(_latent_v3, _AFTER_FIRST, ignored=NEXT_TOKENS)
_TYPED_SHARED = Experts(typed_but_first, shared_count="num_shared_experts")
_MULTIPLIERS = ("attention_multiplier", "embedding_multiplier", "residual_multiplier")
_GRANITE_SHARED = Experts(
    count="num_local_experts", width="intermediate_size", shared_width="shared_intermediate_size"
)

FAMILIES: dict[str, Family] = {
    "mixtral": Decoder(GroupedQuery(_one_stated_window), _local_experts),
    "qwen2_moe": Decoder(
        GroupedQuery(_qwen2_moe_windows, bias_key="qkv_bias", bias=True), partial(read_sparse_steps, with_shared=True)
    ),
    "qwen3_moe": Decoder(biased(_qwen3_moe_windows, norm_each_head), partial(read_sparse_steps, with_shared=False)),
    "olmoe": Decoder(biased(qk_norm=norm_hidden, kv_optional=True), partial(read_sparse, count_key="num_experts")),
    "flex_olmo": Decoder(
        biased(qk_norm=norm_all_heads, kv_optional=True), partial(read_sparse, count_key="num_experts")
    ),
    "deepseek_v2": Decoder(read_latent, read_sparse_after),
    "deepseek_v3": _DEEPSEEK_V3,
    # Kimi-K2 has the class and the keys of DeepSeek-V3
    "kimi_k2": _DEEPSEEK_V3,
    "deepseek_v32": Decoder(
        sparse_attention.read_indexed,
        replace(_AFTER_FIRST, layers=typed_after),
        layer_norms=2,
        ignored=NEXT_TOKENS,
    ),
    "glm_moe_dsa": Decoder(
        sparse_attention.read_shared_indexed,
        replace(_AFTER_FIRST, layers=typed_after),
        layer_norms=2,
        ignored=(*NEXT_TOKENS, "index_share_for_mtp_iteration"),
    ),
    "axk1": _BehindExperts(_latent_v3, _AFTER_FIRST, ignored=NEXT_TOKENS),
    "glm4_moe_lite": Decoder(
        _latent_lite,
        replace(_AFTER_FIRST, layers=typed_but_first),
        ignored=NEXT_TOKENS,
    ),
    "glm4_moe": Decoder(norms_if_flagged(GroupedQuery(bias_key="attention_bias")), _AFTER_FIRST, ignored=NEXT_TOKENS),
    "dots1": Decoder(group_heads(sparse_attention.dots), _AFTER_FIRST),
    # its class has experts in every layer
    "solar_open": Decoder(
        GroupedQuery(bias_key="attention_bias", head_dim=128),
        replace(_AFTER_FIRST, layers=all_sparse),
        ignored=("intermediate_size", "first_k_dense_replace"),
    ),
    "gpt_oss": Decoder(
        GroupedQuery(
            partial(listed_windows, slides=every_other_layer, default=128),
            bias_key="attention_bias",
            bias=True,
            output_biased=True,
            head_dim=64,
            sinks=True,
        ),
        partial(read_sparse, count_key="num_local_experts", bias=True),
    ),
    "llama4_text": Decoder(sparse_attention.read_llama4_attention, Experts(
            _llama4_layers,
            "num_local_experts",
            "intermediate_size",
            dense_width="intermediate_size_mlp",
            shared_width="intermediate_size",
        )),
    "granitemoe": Decoder(biased(kv_optional=True), _local_experts, ignored=_MULTIPLIERS),
    "granitemoeshared": Decoder(biased(kv_optional=True), _GRANITE_SHARED, ignored=_MULTIPLIERS),
    "granitemoe_swa": Decoder(
        replace(biased(sparse_attention.granite, kv_optional=True), sinks=True),
        _GRANITE_SHARED,
        ignored=("layer_rope_theta", *_MULTIPLIERS),
    ),
    "aria_text": Decoder(
        biased(kv_optional=True),
        Experts(width="intermediate_size", shared_count="moe_num_shared_experts", bias_key="mlp_bias"),
        own_names={"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_topk"},
    ),
    "phimoe": Chosen(_phimoe),
    "ernie4_5_moe": Chosen(_ernie),
    "minimax_m2": Decoder(
        GroupedQuery(sparse_attention.minimax, norm_all_heads, head_dim=128),
        Experts(count="num_local_experts", width="intermediate_size"),
        ignored=(
            *("layernorm_full_attention_beta", "layernorm_linear_attention_beta", "layernorm_mlp_beta"),
            *("mlp_intermediate_size", "num_mtp_modules", "mtp_transformer_layers", "shared_moe_mode", "use_mtp"),
            *("rotary_dim", "use_routing_bias", *NEXT_TOKENS),
        ),
    ),
    "exaone_moe": Decoder(
        GroupedQuery(sparse_attention.exaone, norm_each_head),
        replace(_TYPED_SHARED, layers=typed_after),
        ignored=NEXT_TOKENS,
    ),
    "afmoe": Decoder(
        gated_output(group_heads(sparse_attention.afmoe, 128, kv_optional=True), bias_as_queries=False),
        Experts(
            partial(sparse_after, key="num_dense_layers"), shared_count="num_shared_experts", correction_bias=True
        ),
        norms_per_part=2,
        ignored=("global_attn_every_n_layers", "num_expert_groups", "num_limited_groups", "route_norm"),
    ),
    # attention and feed-forward stand beside each other, behind one norm
    "cohere2_moe": Decoder(
        replace(biased(sparse_attention.cohere, kv_optional=True), head_dim=128),
        _cohere_experts,
        layer_norms=1,
        tied=True,
        ignored=("shared_expert_combination_strategy", "expert_selection_fn"),
    ),
    "laguna": Decoder(
        sparse_attention.read_laguna_attention,
        _laguna_experts,
        ignored=("moe_routed_scaling_factor", "moe_router_logit_softcapping"),
    ),
    "mellum": Decoder(group_heads(sparse_attention.mellum, 128), Experts(typed_all)),
    "mimo_v2_flash": Decoder(
        sparse_attention.read_mimo_attention,
        Experts(typed_but_first, "n_routed_experts"),
        ignored=("layernorm_epsilon", "n_shared_experts", *NEXT_TOKENS),
    ),
    "hy_v3": Decoder(
        group_heads(sees_all, 128),
        _hy_experts,
        ignored=("enable_moe_fp32_combine", "router_scaling_factor", *NEXT_TOKENS),
    ),
    "jetmoe": Decoder(
        _jetmoe_attention,
        _jetmoe_experts,
        tied=True,
        own_names={
            "head_dim": "kv_channels",
            "intermediate_size": "ffn_hidden_size",
            "max_position_embeddings": "n_positions",
            "num_experts_per_tok": "moe_top_k",
            "num_local_experts": "moe_num_experts",
        },
        ignored=("layer_norm_epsilon",),
    ),
    **sparse_released.FAMILIES,
}
