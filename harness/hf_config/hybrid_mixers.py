"""Readers of recurrent token mixers, and of the lists that say which layer has which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.architecture import GatedDeltaNet, Mamba, Mamba2, Mixer
from harness.config_keys import ConfigKeys, shown

LINEAR, FULL = "linear_attention", "full_attention"
_OLD_NAMES = {"mamba": LINEAR, "attention": FULL}
# They set values and kernels, never the shape of a tensor.
_VALUES_ONLY = frozenset(
    f"time_step_{name}" for name in ("limit", "min", "max", "floor", "scale", "init_scheme")
) | {
    "mamba_chunk_size", "mamba_ssm_cache_dtype", "rescale_prenorm_residual", "residual_in_fp32", "use_mamba_kernels",
    "layer_norm_epsilon", "mixer_rms_eps", "num_logits_to_keep",
}  # fmt: skip


@dataclass(frozen=True)
class StateSpaceKeys:
    """How a family calls the sizes of a state-space layer. The three last are Mamba 2's."""

    state: str = "mamba_d_state"
    conv: str = "mamba_d_conv"
    expand: str = "mamba_expand"
    conv_bias: str = "mamba_conv_bias"
    bias: str = "mamba_proj_bias"
    step_rank: str = "mamba_dt_rank"
    heads: str = "mamba_n_heads"
    head_dim: str = "mamba_d_head"
    groups: str = "mamba_n_groups"


def read_kinds(
    config: ConfigKeys, layers: int, known: Sequence[str], default: list[str] | None = None
) -> list[str]:
    """The kind of each layer, from `layer_types` or `layers_block_type`; `default` where neither is there."""
    found = None
    for key in ("layer_types", "layers_block_type"):
        stated = config.items(key)
        if stated is None:
            continue
        kinds = [_OLD_NAMES.get(kind, kind) if isinstance(kind, str) else shown(kind) for kind in stated]
        for kind in kinds:
            if kind not in known:
                raise config.unknown(key, f"has {shown(kind)}, which no reader knows")
        if len(kinds) != layers:
            raise config.error(key, f"has {len(kinds)} entries for {layers} layers")
        if found is not None and kinds != found:
            raise config.error(key, "contradicts 'layer_types'")
        found = kinds
    if found is None and default is None:
        raise config.error("layer_types", "is missing")
    return found or default or []


def check_kinds(config: ConfigKeys, derived: list[str]) -> list[str]:
    """The kinds that other keys decide; a list of kinds beside them has to agree."""
    if read_kinds(config, len(derived), (LINEAR, FULL), derived) != derived:
        key = "layer_types" if config.get("layer_types") is not None else "layers_block_type"
        raise config.error(key, "contradicts the keys that decide which layers are recurrent")
    return derived


def chosen(kinds: Sequence[str], full: Sequence[Mixer], linear: Mixer) -> list[Mixer]:
    """The attention of each layer that is a full one, `linear` in the others."""
    return [attention if kind == FULL else linear for kind, attention in zip(kinds, full, strict=True)]


def check_unused(config: ConfigKeys, *keys: str) -> None:
    """Sizes that mean nothing in this model: 0, absent or any size."""
    for key in keys:
        config.optional_size(key, low=0)


def read_mamba(config: ConfigKeys, names: StateSpaceKeys, inner_width: int, *, inner_norms: bool = False) -> Mamba:
    """A selective state space; a step rank of "auto" is a sixteenth of the hidden size, rounded up."""
    config.read |= _VALUES_ONLY | {"use_mambapy", "use_falcon_mambapy", "use_associative_scan"}
    is_auto = config.get(names.step_rank) == "auto"
    return Mamba(
        inner_width=inner_width,
        state_size=config.size(names.state),
        conv_width=config.size(names.conv),
        step_rank=math.ceil(config.size("hidden_size") / 16) if is_auto else config.size(names.step_rank),
        conv_bias=config.flag(names.conv_bias, True),
        projection_bias=config.flag(names.bias, False),
        inner_norms=inner_norms,
    )


def read_mamba2(
    config: ConfigKeys, names: StateSpaceKeys, inner_width: int | None, *, gate_norm: bool = True
) -> Mamba2:
    """A state space with heads, which have to fill `inner_width` where it is given; "auto" is the width that does."""
    config.read |= _VALUES_ONLY
    heads = config.size(names.heads)
    if inner_width is not None and config.get(names.head_dim) == "auto":
        if inner_width % heads:
            raise config.error(names.heads, f"is {heads}, which does not divide the inner width of {inner_width}")
        head_dim = inner_width // heads
    else:
        head_dim = config.size(names.head_dim)
    if inner_width is not None and heads * head_dim != inner_width:
        raise config.error(names.head_dim, f"is {head_dim}; {heads} heads have to fill an inner width of {inner_width}")
    groups = config.size(names.groups)
    if heads % groups:
        raise config.error(names.groups, f"is {groups}, which does not divide {heads} heads")
    return Mamba2(
        heads=heads,
        head_dim=head_dim,
        state_size=config.size(names.state),
        state_groups=groups,
        conv_width=config.size(names.conv),
        conv_bias=config.flag(names.conv_bias, True),
        projection_bias=config.flag(names.bias, False),
        gate_norm=gate_norm,
    )


def expanded(config: ConfigKeys, names: StateSpaceKeys) -> int:
    """The inner width of a state space as a multiple of the hidden size."""
    return config.size(names.expand) * config.size("hidden_size")


@dataclass(frozen=True)
class DeltaNetSizes:
    """What a family takes for sizes of a delta rule's layer that the file does not state; None: it has to."""

    key_heads: int | None = None
    value_heads: int | None = None
    key_dim: int | None = None
    value_dim: int | None = None


def read_delta_net(config: ConfigKeys, default: DeltaNetSizes | None = None) -> GatedDeltaNet:
    """A gated delta rule, whose value heads share key heads evenly."""
    default = default or DeltaNetSizes()

    def size(key: str, other: int | None) -> int:
        return config.size(key) if other is None else config.optional_size(key, other) or other

    part = GatedDeltaNet(
        key_heads=size("linear_num_key_heads", default.key_heads),
        value_heads=size("linear_num_value_heads", default.value_heads),
        key_dim=size("linear_key_head_dim", default.key_dim),
        value_dim=size("linear_value_head_dim", default.value_dim),
        conv_width=config.size("linear_conv_kernel_dim"),
    )
    if part.value_heads % part.key_heads:
        raise config.error(
            "linear_num_value_heads", f"is {part.value_heads}, not a multiple of {part.key_heads} key heads"
        )
    return part
