"""Readers of feed-forwards: dense ones, experts, and which layer has which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.architecture import DenseFeedForward, FeedForward, MoeFeedForward, SharedExpert
from harness.config_keys import ConfigKeys
from harness.hf_config.listed import listed_layers


def read_dense(config: ConfigKeys, layers: int, bias_key: str | None = None) -> list[FeedForward]:
    """Gated feed-forwards of `intermediate_size` in every layer."""
    bias = bias_key is not None and config.flag(bias_key, False)
    return [DenseFeedForward(width=config.size("intermediate_size"), bias=bias)] * layers


@dataclass(frozen=True)
class Dense:
    """Reads one dense feed-forward a layer. `bias_key` and its default switch the biases.

    Its width stands under `width_key`; where that is not stated, it is `times_hidden` the hidden size.
    """

    matrices: Literal[2, 3, 4] = 3
    bias_key: str | None = None
    bias: bool = False
    inner_norm: bool = False
    times_hidden: int | None = None
    width_key: str = "intermediate_size"

    def __call__(self, config: ConfigKeys, layers: int) -> list[FeedForward]:
        """The same in every layer."""
        if self.times_hidden is None or config.get(self.width_key) is not None:
            width = config.size(self.width_key)
        else:
            width = self.times_hidden * config.size("hidden_size")
        bias = self.bias if self.bias_key is None else config.flag(self.bias_key, self.bias)
        return [DenseFeedForward(width=width, matrices=self.matrices, bias=bias, inner_norm=self.inner_norm)] * layers


def read_expert_count(config: ConfigKeys, key: str, low: int = 1) -> int:
    """The number of routed experts under `key` or another name: transformers 5 saves some models under an alias."""
    names = [key, *(name for name in ("num_experts", "num_local_experts") if name != key)]
    stated = [name for name in names if config.get(name) is not None]
    count = config.size(stated[0] if stated else key, low=low)
    for name in stated:
        config.only(name, count)
    return count


def read_routed(
    config: ConfigKeys, experts: int, width_key: str, *, bias: bool = False, shared: SharedExpert | None = None
) -> MoeFeedForward:
    """Gated experts whose width stands under `width_key`; `bias` is theirs and the router's."""
    used = config.size("num_experts_per_tok")
    if used > experts:
        raise config.error("num_experts_per_tok", f"is {used}, more than the {experts} experts")
    config.only("experts_per_token", used)
    return MoeFeedForward(
        experts=experts,
        experts_per_token=used,
        width=config.size(width_key),
        bias=bias,
        router_bias=bias,
        shared=shared,
    )


def read_routed_and_shared(config: ConfigKeys, experts: int) -> MoeFeedForward:
    """Experts beside a shared one whose output has a learned gate (Qwen)."""
    shared = SharedExpert(width=config.size("shared_expert_intermediate_size"), sigmoid_gate=True)
    return read_routed(config, experts, "moe_intermediate_size", shared=shared)


def read_sparse(config: ConfigKeys, layers: int, count_key: str, bias: bool = False) -> list[FeedForward]:
    """Experts of `intermediate_size` in every layer."""
    return [read_routed(config, read_expert_count(config, count_key), "intermediate_size", bias=bias)] * layers


def read_sparse_steps(config: ConfigKeys, layers: int, with_shared: bool) -> list[FeedForward]:
    """Experts in every `decoder_sparse_step`-th layer but those in `mlp_only_layers` (Qwen)."""
    step = config.size_unless_absent("decoder_sparse_step", 1)
    is_dense = listed_layers(config, "mlp_only_layers", layers) or [False] * layers
    experts = read_expert_count(config, "num_experts", low=0)
    sparse = [bool(experts) and not is_dense[layer] and (layer + 1) % step == 0 for layer in range(layers)]
    unused = ("intermediate_size", "moe_intermediate_size", "num_experts_per_tok")
    for key in (*unused, "shared_expert_intermediate_size") if with_shared else unused:
        config.optional_size(key, low=0)
    dense = None if all(sparse) else DenseFeedForward(width=config.size("intermediate_size"))
    routed = None
    if any(sparse) and with_shared:
        routed = read_routed_and_shared(config, experts)
    elif any(sparse):
        routed = read_routed(config, experts, "moe_intermediate_size")
    return [part for is_sparse in sparse if (part := routed if is_sparse else dense) is not None]


def read_sparse_after(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Dense layers first, then experts with shared ones (DeepSeek-V2). `mlp_bias` is for the dense and the shared.

    Not `sparse_layers.Experts`: this class takes a bias without shared experts, and no list for `moe_layer_freq`.
    """
    first = config.size_unless_absent("first_k_dense_replace", 0, low=0)
    config.only("moe_layer_freq", 1)
    bias = config.flag("mlp_bias", False)
    width = config.size("moe_intermediate_size")
    if not config.has("n_shared_experts"):
        raise config.error("n_shared_experts", "is missing; null means none")
    count = config.optional_size("n_shared_experts", 0, low=0)
    if count == 0 and bias and config.get("n_shared_experts") is not None:
        raise config.unknown("n_shared_experts", "is 0 with 'mlp_bias': shared experts of no width that have a bias")
    shared = SharedExpert(width=width * count, bias=bias) if count else None
    routed = read_routed(config, read_expert_count(config, "n_routed_experts"), "moe_intermediate_size", shared=shared)
    dense_layers = min(first, layers)
    config.optional_size("intermediate_size", low=0)
    dense = [DenseFeedForward(width=config.size("intermediate_size"), bias=bias)] if dense_layers else []
    return [*dense * dense_layers, *[routed] * (layers - dense_layers)]
