"""Families with state spaces: Mamba and Mamba 2, alone, among attention layers, or beside attention in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from harness.architecture import (
    MAX_LAYERS,
    Architecture,
    DenseFeedForward,
    FeedForward,
    Mixer,
    MoeFeedForward,
    SharedExpert,
)
from harness.config_keys import ConfigKeys, shown
from harness.hf_config.attention import GroupedQuery, biased, sees_all
from harness.hf_config.family import Decoder, Family
from harness.hf_config.feed_forward import read_dense, read_expert_count, read_routed
from harness.hf_config.hybrid_mixers import (
    FULL,
    LINEAR,
    StateSpaceKeys,
    check_kinds,
    check_unused,
    chosen,
    expanded,
    read_kinds,
    read_mamba,
    read_mamba2,
)
from harness.hf_config.listed import listed_layers

_COMMON_KEYS = StateSpaceKeys()
_MAMBA_KEYS = StateSpaceKeys(
    state="state_size",
    conv="conv_kernel",
    expand="expand",
    conv_bias="use_conv_bias",
    bias="use_bias",
    step_rank="time_step_rank",
    heads="num_heads",
    head_dim="head_dim",
    groups="n_groups",
)
_NEMOTRON_KEYS = StateSpaceKeys(
    state="ssm_state_size",
    conv="conv_kernel",
    expand="expand",
    conv_bias="use_conv_bias",
    bias="use_bias",
    heads="mamba_num_heads",
    head_dim="mamba_head_dim",
    groups="n_groups",
)
_attention = GroupedQuery(sees_all)
_biased_attention = biased(sees_all)


def _no_feed_forwards(config: ConfigKeys, layers: int) -> list[tuple[FeedForward, ...]]:
    return [()] * layers


# State spaces alone ----------------------------------------------------------------------------------------------


def _check_original_names(config: ConfigKeys, inner_width: int) -> None:
    """The names of the original code, which converted checkpoints still carry beside the common ones."""
    config.only("d_model", config.size("hidden_size"))
    config.only("n_layer", config.size("num_hidden_layers"))
    config.only("d_inner", inner_width)
    config.only("rms_norm", True)
    config.read |= {"fused_add_norm", "pad_vocab_size_multiple", "norm_before_gate", "chunk_size"}


def _mamba_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    """transformers takes a stated `intermediate_size` for the inner width and ignores `expand` then (Falcon Mamba)."""
    stated = config.optional_size("intermediate_size")
    check_unused(config, "expand")
    inner_width = expanded(config, _MAMBA_KEYS) if stated is None else stated
    _check_original_names(config, inner_width)
    read_kinds(config, layers, (LINEAR,), [LINEAR] * layers)
    return [read_mamba(config, _MAMBA_KEYS, inner_width)] * layers


def _mamba2_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    check_unused(config, "intermediate_size")
    config.read.add("time_step_rank")
    inner_width = expanded(config, _MAMBA_KEYS)
    _check_original_names(config, inner_width)
    read_kinds(config, layers, (LINEAR,), [LINEAR] * layers)
    return [read_mamba2(config, _MAMBA_KEYS, inner_width)] * layers


# Among attention layers ------------------------------------------------------------------------------------------


def _periodic(config: ConfigKeys, what: str, layers: int) -> list[bool]:
    period, offset = config.size(f"{what}_layer_period"), config.size(f"{what}_layer_offset", low=0)
    if offset >= period:
        raise config.error(f"{what}_layer_offset", f"is {offset}; it has to be smaller than the period of {period}")
    return [layer % period == offset for layer in range(layers)]


def _jamba_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    config.only("mamba_inner_layernorms", True)
    kinds = check_kinds(config, [FULL if full else LINEAR for full in _periodic(config, "attn", layers)])
    mamba = read_mamba(config, _COMMON_KEYS, expanded(config, _COMMON_KEYS), inner_norms=True)
    return chosen(kinds, _attention(config, layers), mamba)


def _jamba_feed_forwards(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Experts as wide as the dense feed-forwards between them; a single one means that all are dense."""
    experts = read_expert_count(config, "num_experts")
    dense = DenseFeedForward(width=config.size("intermediate_size"))
    check_unused(config, "num_experts_per_tok")
    sparse = [stands and experts > 1 for stands in _periodic(config, "expert", layers)]
    routed = read_routed(config, experts, "intermediate_size") if any(sparse) else dense
    return [routed if is_sparse else dense for is_sparse in sparse]


def _bamba_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    attends = listed_layers(config, "attn_layer_indices", layers) or [False] * layers
    kinds = check_kinds(config, [FULL if full else LINEAR for full in attends])
    mamba = read_mamba2(config, _COMMON_KEYS, expanded(config, _COMMON_KEYS))
    return chosen(kinds, _biased_attention(config, layers), mamba)


def _granite_mixers(config: ConfigKeys, layers: int) -> list[Mixer]:
    config.read |= {"attention_multiplier", "embedding_multiplier", "residual_multiplier", "position_embedding_type"}
    config.only("normalization_function", "rmsnorm")
    kinds = read_kinds(config, layers, (LINEAR, FULL))
    mamba = read_mamba2(config, _COMMON_KEYS, expanded(config, _COMMON_KEYS))
    return chosen(kinds, biased(sees_all, kv_optional=True)(config, layers), mamba)


def _granite_feed_forwards(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """A feed-forward for all tokens, beside experts where there are any."""
    width = config.size("shared_intermediate_size")
    experts = read_expert_count(config, "num_local_experts", low=0)
    check_unused(config, "intermediate_size", "num_experts_per_tok")
    if experts == 0:
        return [DenseFeedForward(width=width)] * layers
    return [read_routed(config, experts, "intermediate_size", shared=SharedExpert(width=width))] * layers


# Beside attention in each layer ----------------------------------------------------------------------------------


def _falcon_h1_mixers(config: ConfigKeys, layers: int) -> list[tuple[Mixer, ...]]:
    config.read |= {
        "mlp_expansion_factor", "mlp_multipliers", "key_multiplier", "embedding_multiplier", "lm_head_multiplier",
        "attention_in_multiplier", "attention_out_multiplier", "ssm_in_multiplier", "ssm_out_multiplier",
        "ssm_multipliers", "mamba_norm_before_gate",
    }  # fmt: skip
    check_unused(config, "mamba_expand")
    config.only("mamba_use_mlp", True)
    read_kinds(config, layers, ("hybrid",), ["hybrid"] * layers)
    if not config.has("mamba_d_ssm"):
        raise config.error("mamba_d_ssm", "is missing; null means 'mamba_expand' times the hidden size")
    inner_width = config.optional_size("mamba_d_ssm") or expanded(config, _COMMON_KEYS)
    mamba = read_mamba2(config, _COMMON_KEYS, inner_width, gate_norm=config.flag("mamba_rms_norm", False))
    if config.flag("projectors_bias", False) != mamba.projection_bias:
        raise config.unknown("projectors_bias", "differs from 'mamba_proj_bias', which no reader knows")
    return [(attention, mamba) for attention in _biased_attention(config, layers)]


# Layers with a single part ---------------------------------------------------------------------------------------

_LETTERS = {"M": LINEAR, "*": FULL, "E": "moe", "-": "mlp"}


@dataclass(frozen=True)
class _SinglePart:
    """Nemotron-H: each layer is a mixer or a feed-forward behind one norm, as a pattern of letters says."""

    own_names: Mapping[str, str] = field(
        default_factory=lambda: {
            "n_groups": "mamba_n_groups",
            "conv_kernel": "mamba_d_conv",
            "expand": "mamba_expand",
            "use_conv_bias": "mamba_conv_bias",
        }
    )

    def read(self, config: ConfigKeys) -> Architecture:
        """The structure; the pattern decides the number of layers, and a stated number has to agree."""
        kinds = self._kinds(config)
        config.only("tie_word_embeddings", False)
        config.read |= {
            "mtp_layers_block_type", "mtp_hybrid_override_pattern", "moe_shared_expert_overlap", "mamba_proj_bias",
            "mamba_dt_min", "mamba_dt_max", "mamba_dt_limit", "mamba_dt_init_floor", "mamba_dt_rank",
            "time_step_rank", "attention_bias", "chunk_size", "mamba_hidden_act",
        }  # fmt: skip
        decoder = Decoder(
            lambda keys, _: self._mixers(keys, kinds),
            lambda keys, _: self._feed_forwards(keys, kinds),
            own_names=self.own_names,
        )
        values = {**config.values, "num_hidden_layers": len(kinds)}
        return decoder.read(ConfigKeys(values, config.where, config.read))

    @staticmethod
    def _kinds(config: ConfigKeys) -> list[str]:
        """The list has precedence over the pattern of letters."""
        layers = config.optional_size("num_hidden_layers")
        pattern = config.get("hybrid_override_pattern")
        for key in ("layers_block_type", "layer_types"):
            stated = config.items(key)
            if stated is not None:
                kinds = read_kinds(config, layers or len(stated), tuple(_LETTERS.values()))
                break
        else:
            if not isinstance(pattern, str) or not pattern:
                raise config.error("hybrid_override_pattern", f"must be a row of letters, not {shown(pattern)}")
            for letter in pattern:
                if letter not in _LETTERS:
                    raise config.unknown("hybrid_override_pattern", f"has {letter!r}, which no reader knows")
            kinds = [_LETTERS[letter] for letter in pattern]
        if not kinds or len(kinds) > MAX_LAYERS or len(kinds) != (layers or len(kinds)):
            raise config.error("num_hidden_layers", f"is {layers}, but the pattern has {len(kinds)} layers")
        return kinds

    @staticmethod
    def _mixers(config: ConfigKeys, kinds: list[str]) -> list[tuple[Mixer, ...]]:
        config.only("attention_head_dim", config.optional_size("head_dim", 128))
        config.only("sliding_window")
        check_unused(config, "expand", "n_shared_experts", "num_nextn_predict_layers")
        mixers: dict[str, tuple[Mixer, ...]] = {}
        if LINEAR in kinds:
            mixers[LINEAR] = (read_mamba2(config, _NEMOTRON_KEYS, None),)
        if FULL in kinds:
            mixers[FULL] = (GroupedQuery(sees_all, head_dim=128)(config, 1)[0],)
        return [mixers.get(kind, ()) for kind in kinds]

    @staticmethod
    def _feed_forwards(config: ConfigKeys, kinds: list[str]) -> list[tuple[FeedForward, ...]]:
        """Two matrices each; the bias is that of dense and shared ones, the experts have none."""
        check_unused(config, "intermediate_size", "moe_intermediate_size", "moe_shared_expert_intermediate_size")
        check_unused(config, "num_experts_per_tok", "n_routed_experts", "moe_latent_size")
        bias = config.flag("mlp_bias", False)
        parts: dict[str, tuple[FeedForward, ...]] = {}
        if "mlp" in kinds:
            parts["mlp"] = (DenseFeedForward(width=config.size("intermediate_size"), matrices=2, bias=bias),)
        if "moe" in kinds:
            shared = SharedExpert(width=config.size("moe_shared_expert_intermediate_size"), bias=bias)
            experts = read_expert_count(config, "n_routed_experts")
            routed = read_routed(config, experts, "moe_intermediate_size", shared=shared)
            latent = config.optional_size("moe_latent_size")
            if latent is not None:
                config.only("mlp_bias", False)  # it would also be one of the latent projections
            details = {"matrices": 2, "latent_width": latent}
            parts["moe"] = (MoeFeedForward.model_validate({**routed.model_dump(), **details}),)
        return [parts.get(kind, ()) for kind in kinds]


FAMILIES: dict[str, Family] = {
    "mamba": Decoder(_mamba_mixers, _no_feed_forwards, tied=True),
    "falcon_mamba": Decoder(_mamba_mixers, _no_feed_forwards, tied=True),
    "mamba2": Decoder(_mamba2_mixers, _no_feed_forwards),
    "jamba": Decoder(_jamba_mixers, _jamba_feed_forwards),
    "bamba": Decoder(_bamba_mixers, partial(read_dense, bias_key="mlp_bias")),
    "granitemoehybrid": Decoder(_granite_mixers, _granite_feed_forwards),
    "falcon_h1": Decoder(_falcon_h1_mixers, partial(read_dense, bias_key="mlp_bias"), layer_norms=2),
    "nemotron_h": _SinglePart(),
}
