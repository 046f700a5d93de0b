"""Readers of attention: heads, windows, norms on queries and keys, biases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.architecture import GroupedQueryAttention, LatentAttention, Mixer
from harness.config_keys import ConfigKeys, shown


def read_heads(config: ConfigKeys, kv_optional: bool) -> tuple[int, int]:
    """Query and key-value heads; null means as many as there are query heads, and absence too where `kv_optional`."""
    queries = config.size("num_attention_heads")
    if not config.has("num_key_value_heads") and not kv_optional:
        raise config.error("num_key_value_heads", "is missing")
    keys = config.optional_size("num_key_value_heads", queries)
    if keys is None or queries % keys:
        raise config.error("num_key_value_heads", f"is {keys}, which does not divide {queries} attention heads")
    return queries, keys


def read_head_dim(config: ConfigKeys, heads: int, default: int | None) -> int:
    """The width of a head: as stated, else the family's default, else the hidden size by heads."""
    stated = config.optional_size("head_dim", default if not config.has("head_dim") else None)
    if stated is not None:
        return stated
    hidden = config.size("hidden_size")
    if hidden % heads:
        raise config.error(
            "hidden_size", f"is {hidden}, not a multiple of {heads} attention heads; 'head_dim' is absent"
        )
    return hidden // heads


QkNorm = Callable[[int, int, int, int], int]
"""Hidden size, query heads, key-value heads, width of a head -> parameters of the norms on queries and keys."""
Windows = Callable[[ConfigKeys, int], list[int | None]]


def no_qk_norm(hidden: int, queries: int, keys: int, head_dim: int) -> int:
    """Queries and keys as projected."""
    return 0


def norm_each_head(hidden: int, queries: int, keys: int, head_dim: int) -> int:
    """Every head by itself, with common weights."""
    return 2 * head_dim


def norm_all_heads(hidden: int, queries: int, keys: int, head_dim: int) -> int:
    """All heads of a token together."""
    return (queries + keys) * head_dim


def norm_hidden(hidden: int, queries: int, keys: int, head_dim: int) -> int:
    """As wide as the hidden size, whatever the heads (OLMoE)."""
    return hidden + hidden // queries * keys


def sees_all(config: ConfigKeys, layers: int) -> list[int | None]:
    """Every layer sees all; `layer_types` is not read: the family's class does not know it, or another reader does."""
    return [None] * layers


def no_window(config: ConfigKeys, layers: int) -> list[int | None]:
    """Every layer sees all, and `layer_types` may say only that."""
    config.only("layer_types", ["full_attention"] * layers)
    return sees_all(config, layers)


def one_window(config: ConfigKeys, layers: int, default: int | None, switch: str | None = None) -> list[int | None]:
    """The same window in every layer; with `switch`, only where that flag is on."""
    fallback = default if not config.has("sliding_window") else None
    if switch is not None and not config.flag(switch, False):
        config.optional_size("sliding_window", low=-1)
        return [None] * layers
    return [config.optional_size("sliding_window", fallback)] * layers


def upper_layers(config: ConfigKeys, layer: int, default: int = 28) -> bool:
    """From `max_window_layers` on (Qwen, whose default it is)."""
    first = config.optional_size("max_window_layers", default, low=0)
    return first is not None and layer >= first


def every_other_lower_layer(config: ConfigKeys, layer: int) -> bool:
    """Every second layer below `max_window_layers` (Qwen2-MoE)."""
    return layer % 2 == 0 and not upper_layers(config, layer)


def every_other_layer(config: ConfigKeys, layer: int) -> bool:
    """The first layer and every second one behind it."""
    return layer % 2 == 0


def each_layer(config: ConfigKeys, layer: int) -> bool:
    """All of them."""
    return True


def not_each_fourth_layer(config: ConfigKeys, layer: int) -> bool:
    """Three layers, then one that sees all."""
    return (layer + 1) % 4 != 0


def not_first_of_four_layers(config: ConfigKeys, layer: int) -> bool:
    """One layer that sees all, then three."""
    return layer % 4 != 0


def by_pattern(config: ConfigKeys, layer: int, default: int, key: str = "sliding_window_pattern") -> bool:
    """All but each n-th, where n stands under `key`."""
    period = config.optional_size(key, default)
    return (layer + 1) % (period or default) != 0


def listed_windows(
    config: ConfigKeys,
    layers: int,
    slides: Callable[[ConfigKeys, int], bool],
    default: int | None,
    switch: str | None = None,
) -> list[int | None]:
    """A window in the layers that `layer_types` names, or in those where `slides` holds if it is absent."""
    kinds = config.items("layer_types")
    window = one_window(config, 1, default, switch)[0]
    if kinds is None:
        return [window if slides(config, layer) else None for layer in range(layers)]
    if len(kinds) != layers:
        raise config.error("layer_types", f"has {len(kinds)} entries for {layers} layers")
    for kind in kinds:
        if kind not in ("sliding_attention", "full_attention"):
            raise config.unknown("layer_types", f"has {shown(kind)}, which no reader knows")
    if "sliding_attention" in kinds and window is None:
        raise config.error("layer_types", "names sliding layers, but no window is set")
    return [window if kind == "sliding_attention" else None for kind in kinds]


@dataclass(frozen=True)
class GroupedQuery:
    """Reads grouped-query attention. `bias_key` and its default switch the biases of queries, keys and values.

    The output has a bias where they have one and `output_biased`, or where `output_bias_key` says so.
    """

    windows: Windows = no_window
    qk_norm: QkNorm = no_qk_norm
    bias_key: str | None = None
    bias: bool = False
    output_biased: bool = False
    output_bias_key: str | None = None
    head_dim: int | None = None
    kv_optional: bool = False
    sinks: bool = False

    def __call__(self, config: ConfigKeys, layers: int) -> list[Mixer]:
        """One attention a layer."""
        queries, keys = read_heads(config, self.kv_optional)
        head_dim = read_head_dim(config, queries, self.head_dim)
        biased = self.bias if self.bias_key is None else config.flag(self.bias_key, self.bias)
        if self.bias_key is None:
            config.only("qkv_bias", self.bias)
        output_biased = biased and self.output_biased
        if self.output_bias_key is not None:
            output_biased = config.flag(self.output_bias_key, False)
        norm_parameters = self.qk_norm(config.size("hidden_size"), queries, keys, head_dim)
        config.only("use_qk_norm", bool(norm_parameters))
        config.only("qk_norm", bool(norm_parameters))
        return [
            GroupedQueryAttention(
                query_heads=queries,
                kv_heads=keys,
                head_dim=head_dim,
                qkv_bias=biased,
                output_bias=output_biased,
                norm_parameters=norm_parameters,
                window=window,
                sinks=self.sinks,
            )
            for window in self.windows(config, layers)
        ]


@dataclass(frozen=True)
class EqualHeads:
    """Reads attention whose query heads divide the hidden size evenly, whatever 'head_dim' says.

    `kv_heads` gives the key-value heads where they are not as many, from the configuration and the query heads.
    """

    qkv_bias: bool = False
    output_bias: bool = False
    windows: Windows = no_window
    qk_norm: QkNorm = no_qk_norm
    kv_heads: Callable[[ConfigKeys, int], int] | None = None

    def __call__(self, config: ConfigKeys, layers: int) -> list[Mixer]:
        """One attention a layer."""
        config.get("head_dim")
        hidden, queries = config.size("hidden_size"), config.size("num_attention_heads")
        if hidden % queries:
            raise config.error("hidden_size", f"is {hidden}, not a multiple of {queries} attention heads")
        keys = queries
        if self.kv_heads is None:
            config.only("num_key_value_heads", queries)
        else:
            keys = self.kv_heads(config, queries)
        return [
            GroupedQueryAttention(
                query_heads=queries,
                kv_heads=keys,
                head_dim=hidden // queries,
                qkv_bias=self.qkv_bias,
                output_bias=self.output_bias,
                norm_parameters=self.qk_norm(hidden, queries, keys, hidden // queries),
                window=window,
            )
            for window in self.windows(config, layers)
        ]


def gated_output(reader: GroupedQuery, *, bias_as_queries: bool) -> Callable[[ConfigKeys, int], list[Mixer]]:
    """The same attention with one gate for every value of its output.

    `bias_as_queries`: the query projection also makes the gates, and they have a bias where queries have one
    (Qwen3-Next); else they come from a projection without bias (AFMoE).
    """

    def read(config: ConfigKeys, layers: int) -> list[Mixer]:
        gates: list[Mixer] = []
        for part in reader(config, layers):
            assert isinstance(part, GroupedQueryAttention)
            gate = {"gate_width": part.query_heads * part.head_dim, "gate_bias": bias_as_queries and part.qkv_bias}
            gates.append(part.model_copy(update=gate))
        return gates

    return read


def stated_kv_heads(config: ConfigKeys, queries: int) -> int:
    """The stated key-value heads, which must be there; null means as many as there are query heads."""
    return read_heads(config, False)[1]


def optional_kv_heads(config: ConfigKeys, queries: int) -> int:
    """The stated key-value heads, as many as there are query heads where they are not stated."""
    return read_heads(config, True)[1]


def read_latent(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Multi-head latent attention. `head_dim` is ignored: transformers overwrites it."""
    config.get("head_dim")
    heads, keys = read_heads(config, True)
    if heads != keys:
        raise config.error("num_key_value_heads", f"is {keys}; latent attention has one for each of {heads} heads")
    if not config.has("q_lora_rank"):
        raise config.error("q_lora_rank", "is missing; null means that queries are projected directly")
    attention = LatentAttention(
        heads=heads,
        query_rank=config.optional_size("q_lora_rank"),
        kv_rank=config.size("kv_lora_rank"),
        nope_dim=config.size("qk_nope_head_dim"),
        rope_dim=config.size("qk_rope_head_dim"),
        v_head_dim=config.size("v_head_dim"),
        bias=config.flag("attention_bias", False),
    )
    config.only("qk_head_dim", attention.query_dim)
    return [attention] * layers


def biased(windows: Windows = no_window, qk_norm: QkNorm = no_qk_norm, kv_optional: bool = False) -> GroupedQuery:
    """Attention whose four biases follow `attention_bias`, off by default."""
    return GroupedQuery(windows, qk_norm, bias_key="attention_bias", output_biased=True, kv_optional=kv_optional)
