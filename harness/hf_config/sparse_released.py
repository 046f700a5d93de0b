"""Families with experts that only their authors' released code defines, and DBRX, whose keys are nested.

Catalog entries state some of them in common terms instead of the authors' own; the readers take both.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from harness.architecture import (
    DenseFeedForward,
    FeedForward,
    GroupedQueryAttention,
    Mixer,
    MoeFeedForward,
    SharedExpert,
)
from harness.config_keys import ConfigKeys, shown
from harness.hf_config.attention import GroupedQuery, biased, norm_each_head, read_head_dim, read_heads, sees_all
from harness.hf_config.family import Chosen, Decoder, Family
from harness.hf_config.sparse_layers import (
    NEXT_TOKENS,
    Experts,
    each_layer_size,
    each_nth_sparse,
    group_heads,
    sparse_after,
)

Parts = list[FeedForward | tuple[FeedForward, ...]]


# DBRX ------------------------------------------------------------------------------------------------------------


def _nested(config: ConfigKeys, key: str) -> ConfigKeys:
    value = config.get(key)
    if not isinstance(value, dict):
        raise config.error(key, "is missing" if value is None else f"must be an object, not {shown(value)}")
    return ConfigKeys(value, f"{config.where}:{key}")


def _dbrx_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    inner = _nested(config, "attn_config")
    inner.read.update(("attn_pdrop", "clip_qkv"))
    hidden, queries, keys = config.size("hidden_size"), config.size("num_attention_heads"), inner.size("kv_n_heads")
    config.only("num_key_value_heads", keys)
    if hidden % queries:
        raise config.error("hidden_size", f"is {hidden}, not a multiple of {queries} attention heads")
    if queries % keys:
        raise inner.error("kv_n_heads", f"is {keys}, which does not divide {queries} attention heads")
    inner.refuse_unread()
    return [GroupedQueryAttention(query_heads=queries, kv_heads=keys, head_dim=hidden // queries)] * layers


def _dbrx_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    inner = _nested(config, "ffn_config").with_names({"num_experts_per_tok": "moe_top_k"})
    inner.read.update(("ffn_act_fn", "moe_jitter_eps", "moe_loss_weight", "moe_normalize_expert_weights"))
    inner.only("hidden_size", config.size("hidden_size"))
    parts = Experts(count="moe_num_experts", width="ffn_hidden_size", dense_width="ffn_hidden_size")(inner, layers)
    inner.refuse_unread()
    return parts


# Hunyuan ---------------------------------------------------------------------------------------------------------

# What these configurations state for layers of another kind, which the switches below keep out.
_HUNYUAN_OTHERS = ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "dense_list",
                   "pool_type", "class_num", "moe_drop_tokens", "moe_random_routing_dropped_token", "org_vocab_size",
                   "num_media_embeds", "anyres_pooling_size", "anyres_vit_max_image_size", "position_embedding_xdrope",
                   "use_rotary_pos_emb", "group_limited_greedy")  # fmt: skip


def _check_hunyuan(config: ConfigKeys) -> None:
    for switch in ("use_mla", "add_classification_head", "mamba", "mlp_bias"):
        config.only(switch, False)
    config.only("norm_type", "rms", "hf_rms")
    # transformers takes the one for the other
    config.only("num_local_experts", config.get("num_experts"))
    config.only("moe_layer_num_skipped", 0)


def _hunyuan_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Of each `cla_share_factor` layers the first has keys and values, which the others use (arXiv 2405.12981).

    Every layer normalises queries and the keys it uses with weights of its own.
    """
    queries, keys = read_heads(config, True)
    head_dim = config.optional_size("attention_head_dim") or read_head_dim(config, queries, None)
    config.only("head_dim", head_dim)
    bias = config.flag("attention_bias", False)
    own = GroupedQueryAttention(
        query_heads=queries,
        kv_heads=keys,
        head_dim=head_dim,
        qkv_bias=bias,
        output_bias=bias,
        norm_parameters=norm_each_head(0, queries, keys, head_dim) if config.flag("use_qk_norm", False) else 0,
    )
    shared = own.model_copy(update={"keys": "shared"})
    factor = config.optional_size("cla_share_factor", 1) or 1
    if not config.flag("use_cla", False):
        factor = 1
    return [shared if layer % factor else own for layer in range(layers)]


def _hunyuan_v1_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    config.only("use_cla", False)
    config.read.add("cla_share_factor")
    config.only("attention_head_dim", config.get("head_dim"))
    return group_heads(sees_all, kv_optional=True)(config, layers)


def _hunyuan_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Experts, and with `use_mixed_mlp_moe` a shared feed-forward of `num_shared_expert` times the dense width."""
    _check_hunyuan(config)
    width = config.size("intermediate_size")
    counts = each_layer_size(config, "num_shared_expert", layers, 1)
    mixed = config.flag("use_mixed_mlp_moe", config.has("n_shared_experts"))
    config.only("n_shared_experts", counts[0])
    config.only("shared_expert_intermediate_size", width * counts[0])
    if 1 in each_layer_size(config, "num_experts", layers):
        raise config.unknown("num_experts", "is 1 in some layer, which the released code makes a dense one")
    return _hunyuan_layers(config, [width * count if mixed else 0 for count in counts])


def _hunyuan_v1_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Experts and one shared feed-forward, all of `intermediate_size` (transformers' class)."""
    _check_hunyuan(config)
    width = config.size("intermediate_size")
    config.only("use_mixed_mlp_moe", True)
    config.only("moe_intermediate_size", width, [width] * layers)
    config.only("num_shared_expert", 1, [1] * layers)
    return _hunyuan_layers(config, [width] * layers)


def _hunyuan_layers(config: ConfigKeys, shared_widths: list[int]) -> list[FeedForward]:
    """Each layer by itself, because every number may be a list."""
    layers, width = len(shared_widths), config.size("intermediate_size")
    sizes = zip(
        each_layer_size(config, "num_experts", layers),
        each_layer_size(config, "num_experts_per_tok", layers),
        each_layer_size(config, "moe_intermediate_size", layers, width),
        shared_widths,
        strict=True,
    )
    names = ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "shared_width")
    one = Experts(shared_width="shared_width")
    return [one(ConfigKeys(dict(zip(names, layer, strict=True)), config.where), 1)[0] for layer in sizes]


# Layers with a dense feed-forward beside the experts -------------------------------------------------------------


def _beside(dense: FeedForward, parts: list[FeedForward]) -> Parts:
    """`dense` beside every sparse part."""
    return [(part, dense) if isinstance(part, MoeFeedForward) else part for part in parts]


def _arctic(config: ConfigKeys, layers: int) -> Parts:
    """A dense feed-forward as wide as the hidden size beside the experts, with a norm of its own (Arctic)."""
    flags = [config.flag(key, True) for key in ("parallel_attn_mlp_res", "use_residual") if config.has(key)]
    if not flags:
        raise config.error("parallel_attn_mlp_res", "is missing")
    if len(set(flags)) > 1:
        raise config.unknown("use_residual", "and 'parallel_attn_mlp_res' contradict each other")
    hidden, width = config.size("hidden_size"), config.size("intermediate_size")
    config.only("moe_intermediate_size", width)
    config.only("n_shared_experts", int(flags[0]))
    config.only("shared_expert_intermediate_size", hidden)
    frequency = partial(each_nth_sparse, key="moe_layer_frequency")
    parts = Experts(frequency, "num_local_experts", "intermediate_size")(config, layers)
    return _beside(DenseFeedForward(width=hidden), parts) if flags[0] else [*parts]


def _grok(config: ConfigKeys, layers: int) -> Parts:
    """Experts of `moe_intermediate_size`, and with `residual_moe` a dense feed-forward whose output is added (Grok-2).

    Both see the same norm. Sources: xai-org/grok-1 model.py; the Grok-1 and Grok-2 classes of vLLM and SGLang.
    """
    width = "intermediate_size" if config.get("moe_intermediate_size") is None else "moe_intermediate_size"
    config.only("n_shared_experts", 1)
    stated = config.optional_size("shared_expert_intermediate_size")
    residual = config.flag("residual_moe", config.get("n_shared_experts") is not None)
    config.only("sliding_window_size", -1)
    config.only("global_attn_every_n", 1)
    parts = Experts(width=width)(config, layers)
    return _beside(DenseFeedForward(width=stated or config.size("intermediate_size")), parts) if residual else [*parts]


def _openmoe(config: ConfigKeys, layers: int) -> Parts:
    """Feed-forwards whose gate is twice as wide, and a dense one behind the experts with its own norm (OpenMoE).

    Source: modeling_openmoe.py of ColossalAI, which is the released code.
    """
    config.only("mlp_gated", True)
    config.only("hidden_act", "swiglu")
    config.only("mlp_bias", False)
    config.only("n_shared_experts", 1)
    width = config.size("intermediate_size")
    for key in ("moe_intermediate_size", "shared_expert_intermediate_size"):
        config.only(key, width)
    dense = DenseFeedForward(width=width, matrices=4)
    sparse = partial(each_nth_sparse, key="moe_layer_interval")
    parts = Experts(sparse, width="intermediate_size")(config, layers)
    wide = [part.model_copy(update={"matrices": 4}) for part in parts]
    return _beside(dense, wide)


# Others ----------------------------------------------------------------------------------------------------------


def _openmoe_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    queries, keys = read_heads(config, False)
    config.only("attention_bias", False)
    return [GroupedQueryAttention(query_heads=queries, kv_heads=keys, head_dim=config.size("head_dim"))] * layers


def _bailing_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Norms on queries and keys are layer norms unless `use_rmsnorm` (Ling; vLLM's bailing_moe.py)."""
    config.only("use_bias", False)
    queries, keys = read_heads(config, False)
    head_dim = read_head_dim(config, queries, None)
    vectors = 1 if config.flag("use_rmsnorm", False) else 2
    norm_parameters = 2 * vectors * head_dim if config.flag("use_qk_norm", False) else 0
    one = GroupedQueryAttention(
        query_heads=queries,
        kv_heads=keys,
        head_dim=head_dim,
        qkv_bias=config.flag("use_qkv_bias", False),
        norm_parameters=norm_parameters,
    )
    return [one] * layers


def _bailing_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    config.flag("moe_router_enable_expert_bias", False)  # a buffer, which does not count
    count = config.size("num_shared_experts", low=0)
    width = config.optional_size("moe_shared_expert_intermediate_size", config.size("moe_intermediate_size")) or 0
    shared = SharedExpert(width=count * width) if count else None
    parts = Experts(sparse_after)(config, layers)
    return [part.model_copy(update={"shared": shared}) if part.kind == "moe" else part for part in parts]


def _skywork(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Two experts of `intermediate_size` a token, behind a router of two layers unless the file says otherwise.

    Its hidden layer has eight values an expert. Source: skywork_moe.py in the vLLM fork of SkyworkAI.
    """
    experts = config.get("num_experts")
    count = experts[0] if isinstance(experts, list) and len(experts) == 1 else experts
    values = {**config.values, "num_experts": count, "num_experts_per_tok": config.get("num_experts_per_tok") or 2}
    keys = ConfigKeys(values, config.where, config.read)
    config.only("moe_intermediate_size", config.size("intermediate_size"))
    step = partial(each_nth_sparse, key="moe_expert_interval", default=1)
    parts = Experts(step, width="intermediate_size")(keys, layers)
    if not config.flag("moe_2layer_gate", True):
        return parts
    return [
        part.model_copy(update={"router_width": 8 * part.experts}) if isinstance(part, MoeFeedForward) else part
        for part in parts
    ]


def _fairseq_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    queries, keys = read_heads(config, True)
    config.only("num_key_value_heads", queries)
    head_dim = read_head_dim(config, queries, None)
    one = GroupedQueryAttention(
        query_heads=queries, kv_heads=keys, head_dim=head_dim, qkv_bias=True, output_bias=True
    )
    return [one] * layers


def _fairseq_experts(config: ConfigKeys, layers: int) -> list[FeedForward]:
    parts = Experts(partial(each_nth_sparse, key="moe_freq"))(config, layers)
    return [part.model_copy(update={"matrices": 2, "bias": True}) for part in parts]


_SKYWORK = Decoder(
    GroupedQuery(kv_optional=True),
    _skywork,
    ignored=("moe_use_mixtral_gating", "moe_use_logits_norm", "moe_gate_norm_std", "moe_feature_no_mul_topk"),
    classes=("SkyworkForCausalLM", "SkyworkMoeForCausalLM"),
)
_BAILING = Decoder(
    _bailing_attention,
    _bailing_experts,
    ignored=("norm_head", "norm_softmax", "moe_router_topk_scaling_factor", "num_expert_groups", "router_dtype",
             *NEXT_TOKENS),
    classes=("BailingMoeForCausalLM", "BailingMoeV2ForCausalLM"),
)  # fmt: skip
# Four norms a layer: before and behind the attention, before and behind the feed-forwards.
_GROK = Decoder(
    GroupedQuery(),
    _grok,
    layer_norms=4,
    tied=True,
    ignored=("attn_output_multiplier", "attn_temperature_len", "attn_factor", "attn_logit_softcapping",
             "max_attn_value", "embedding_multiplier_scale", "router_logit_softcapping"),
)  # fmt: skip



def _git(config: ConfigKeys) -> Decoder:
    """Grok-2's files state the model type of another model, GIT, and only their class tells them apart."""
    if config.items("architectures") != ["Grok1ForCausalLM"]:
        raise config.unknown("model_type", "is read for Grok-2 alone, whose class is Grok1ForCausalLM")
    return replace(_GROK, tied=False, classes=("Grok1ForCausalLM",))


FAMILIES: dict[str, Family] = {
    "dbrx": Decoder(
        _dbrx_attention,
        _dbrx_experts,
        own_names={
            "hidden_size": "d_model",
            "max_position_embeddings": "max_seq_len",
            "num_attention_heads": "n_heads",
            "num_hidden_layers": "n_layers",
        },
    ),
    "deepseek": Decoder(
        biased(kv_optional=True),
        Experts(sparse_after, "n_routed_experts", shared_count="n_shared_experts"),
        ignored=NEXT_TOKENS,
    ),
    "bailing_moe": _BAILING,
    "bailing_moe_v2": _BAILING,
    "hunyuan": Decoder(
        _hunyuan_attention,
        _hunyuan_experts,
        own_names={"num_experts_per_tok": "moe_topk"},
        ignored=_HUNYUAN_OTHERS,
    ),
    "hunyuan_v1_moe": Decoder(
        _hunyuan_v1_attention,
        _hunyuan_v1_experts,
        own_names={"num_experts_per_tok": "moe_topk"},
        ignored=_HUNYUAN_OTHERS,
    ),
    "arctic": Decoder(
        biased(kv_optional=True),
        _arctic,
        ignored=("moe_train_capacity_factor", "moe_eval_capacity_factor", "moe_min_capacity", "moe_token_dropping",
                 "enable_expert_tensor_parallelism"),
    ),
    "skywork_moe": _SKYWORK,
    # the name in the released configuration
    "skywork": _SKYWORK,
    "grok-1": _GROK,
    "git": Chosen(_git),
    "openmoe": Decoder(
        _openmoe_attention,
        _openmoe,
        own_names={"num_experts_per_tok": "router_topk"},
        ignored=("dropout_rate", "enable_comm_overlap", "enable_hierarchical_alltoall", "enable_kernel",
                 "enable_load_balance", "expert_parallel", "layer_norm_epsilon", "load_balance_beam_width",
                 "load_balance_group_swap_factor", "router_aux_loss_factor", "router_capacity_factor_eval",
                 "router_capacity_factor_train", "router_drop_tks", "router_min_capacity", "router_noisy_policy",
                 "router_z_loss_factor"),
        classes=("HFOpenMoeForCausalLM",),
    ),
    # GPT-3's structure with sinusoidal positions (arXiv 2112.10684, section 3.1), which have no parameters
    "fairseq_moe_lm": Decoder(_fairseq_attention, _fairseq_experts, biased_norms=True, tied=True),
}  # fmt: skip
