"""What decoders with experts share: which layers have them, and what stands in each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from harness.architecture import DenseFeedForward, FeedForward, Mixer, MoeFeedForward, SharedExpert
from harness.config_keys import ConfigKeys, shown
from harness.hf_config.attention import GroupedQuery, Windows, no_qk_norm, norm_each_head
from harness.hf_config.feed_forward import read_expert_count

SparseLayers = Callable[[ConfigKeys, int], list[bool]]
"""Which layers have experts."""

# The modules that predict further tokens stand behind the model and take no part in a step; they are not counted.
NEXT_TOKENS = ("num_nextn_predict_layers", "num_mtp_layers")


def all_sparse(config: ConfigKeys, layers: int) -> list[bool]:
    """Every layer."""
    return [True] * layers


def sparse_after(
    config: ConfigKeys, layers: int, key: str = "first_k_dense_replace", default: int | None = None
) -> list[bool]:
    """All but the first layers, whose number stands under `key`."""
    first = config.size(key, low=0) if default is None else config.size_unless_absent(key, default, low=0)
    sparse = [layer >= first for layer in range(layers)]
    config.only("moe_layer_freq", 1, [int(one) for one in sparse])
    return sparse


def sparse_but_first(config: ConfigKeys, layers: int) -> list[bool]:
    """All but the first layer, whatever other keys say."""
    sparse = [layer > 0 for layer in range(layers)]
    config.only("first_k_dense_replace", 1)
    config.only("moe_layer_freq", 1, [int(one) for one in sparse])
    return sparse


def each_nth_sparse(config: ConfigKeys, layers: int, key: str, default: int | None = None) -> list[bool]:
    """Every layer whose number, counted from 1, is a multiple of the one under `key`."""
    step = config.size(key) if default is None else config.size_unless_absent(key, default)
    return [(layer + 1) % step == 0 for layer in range(layers)]


def typed_layers(config: ConfigKeys, layers: int, fallback: SparseLayers) -> list[bool]:
    """As `mlp_layer_types` lists them; as the other keys say where it is absent."""
    kinds = config.items("mlp_layer_types")
    config.read.add("first_k_dense_replace")
    if kinds is None:
        return fallback(config, layers)
    if len(kinds) != layers:
        raise config.error("mlp_layer_types", f"has {len(kinds)} entries for {layers} layers")
    for kind in kinds:
        if kind not in ("sparse", "dense"):
            raise config.unknown("mlp_layer_types", f"has {shown(kind)}, which no reader knows")
    sparse = [kind == "sparse" for kind in kinds]
    config.only("moe_layer_freq", 1, [int(one) for one in sparse])
    return sparse


def each_layer_size(config: ConfigKeys, key: str, layers: int, default: int | None = None) -> list[int]:
    """A whole number a layer: listed, or one for all; `default` where it is absent or null."""
    value = config.get(key)
    if not isinstance(value, list):
        size = config.optional_size(key, default)
        if size is None:
            raise config.error(key, "is missing")
        return [size] * layers
    if len(value) != layers:
        raise config.error(key, f"has {len(value)} entries for {layers} layers")
    name = config.name(key)
    return [ConfigKeys({name: one}, config.where).size(name) for one in value]


@dataclass(frozen=True)
class Experts:
    """Reads a dense or a sparse feed-forward for every layer, all of them gated.

    The fields are the keys of the number of experts, of their width, and of the dense width. Shared experts are read
    as a number of experts of that width (`shared_count`, null for none) or as their joint width (`shared_width`, 0
    and absent for none). `bias_key` switches the biases of dense and shared experts. `correction_bias` is for families
    whose class holds it as a parameter; in most (DeepSeek-V3) it is a buffer, and buffers do not count.
    """

    layers: SparseLayers = all_sparse
    count: str = "num_experts"
    width: str = "moe_intermediate_size"
    dense_width: str = "intermediate_size"
    shared_count: str | None = None
    shared_width: str | None = None
    bias_key: str | None = None
    correction_bias: bool = False

    def __call__(self, config: ConfigKeys, layers: int) -> list[FeedForward]:
        """One feed-forward a layer."""
        sparse = self.layers(config, layers)
        bias = self.bias_key is not None and config.flag(self.bias_key, False)
        config.get(self.dense_width)
        dense = None if all(sparse) else DenseFeedForward(width=config.size(self.dense_width), bias=bias)
        experts = read_expert_count(config, self.count)
        used = config.size("num_experts_per_tok")
        if used > experts:
            raise config.error("num_experts_per_tok", f"is {used}, more than the {experts} experts")
        shared = self._shared_width(config, bias)
        routed = MoeFeedForward(
            experts=experts,
            experts_per_token=used,
            width=config.size(self.width),
            correction_bias=self.correction_bias,
            shared=SharedExpert(width=shared, bias=bias) if shared else None,
        )
        return [part for one in sparse if (part := routed if one else dense) is not None]

    def _shared_width(self, config: ConfigKeys, bias: bool) -> int:
        if self.shared_width is not None:
            return config.optional_size(self.shared_width, 0, low=0) or 0
        if self.shared_count is None:
            return 0
        if not config.has(self.shared_count):
            raise config.error(self.shared_count, "is missing; null means none")
        count = config.optional_size(self.shared_count, 0, low=0) or 0
        if bias and not count:
            raise config.unknown(self.shared_count, "is none, but classes of the family may keep their last bias")
        return count * config.size(self.width)


def norms_if_flagged(reader: GroupedQuery) -> Callable[[ConfigKeys, int], list[Mixer]]:
    """The same attention with a norm on each head of queries and keys where `use_qk_norm` says so."""

    def read(config: ConfigKeys, layers: int) -> list[Mixer]:
        norm = norm_each_head if config.flag("use_qk_norm", False) else no_qk_norm
        return replace(reader, qk_norm=norm)(config, layers)

    return read


def group_heads(
    windows: Windows, head_dim: int | None = None, *, output_biased: bool = True, kv_optional: bool = False
) -> GroupedQuery:
    """Attention with a norm on each head of queries and keys, and biases after `attention_bias`."""
    return GroupedQuery(
        windows,
        norm_each_head,
        bias_key="attention_bias",
        output_biased=output_biased,
        head_dim=head_dim,
        kv_optional=kv_optional,
    )


typed_but_first = partial(typed_layers, fallback=sparse_but_first)
typed_after = partial(typed_layers, fallback=sparse_after)
typed_all = partial(typed_layers, fallback=all_sparse)
