"""Attention of families with experts: which layers see what, and layers whose heads differ from others'."""

from __future__ import annotations

from functools import partial

from harness.architecture import GroupedQueryAttention, Indexer, LatentAttention, Mixer
from harness.config_keys import ConfigKeys, shown
from harness.hf_config.attention import (
    by_pattern,
    listed_windows,
    norm_each_head,
    not_first_of_four_layers,
    read_head_dim,
    read_heads,
    read_latent,
    sees_all,
    upper_layers,
)
from harness.hf_config.sparse_layers import each_layer_size


def minimax(config: ConfigKeys, layers: int) -> list[int | None]:
    """Every layer sees all (MiniMax-M2), and `attn_type_list`, a key of older models, may say only that."""
    config.only("attn_type_list", [1] * layers)
    config.only("qk_norm_type", "per_layer")
    return sees_all(config, layers)


def _never(config: ConfigKeys, layer: int) -> bool:
    return False


def _not_first_nor_each_sixth(config: ConfigKeys, layer: int) -> bool:
    return layer != 0 and (layer + 1) % 6 != 0


dots = partial(listed_windows, slides=partial(upper_layers, default=62), default=4096)
granite = partial(listed_windows, slides=not_first_of_four_layers, default=128)
afmoe = partial(listed_windows, slides=partial(by_pattern, default=4, key="global_attn_every_n_layers"), default=1024)
mellum = partial(listed_windows, slides=_never, default=1024)


def exaone(config: ConfigKeys, layers: int) -> list[int | None]:
    """A window in all but every `sliding_window_pattern`-th layer (EXAONE 4.5 MoE); none with a null window."""
    config.read.add("sliding_window_pattern")
    if config.has("sliding_window") and config.get("sliding_window") is None:
        return listed_windows(config, layers, _never, None)
    return listed_windows(config, layers, partial(by_pattern, default=4), 4096)


def cohere(config: ConfigKeys, layers: int) -> list[int | None]:
    """Windows by two patterns: one for the dense layers at the start, another that begins behind them (Cohere 2)."""
    dense = config.optional_size("first_k_dense_replace", 0, low=0) or 0
    prefix = config.optional_size("prefix_dense_sliding_window_pattern", 1) or 1
    step = config.optional_size("sliding_window_pattern", 4) or 4

    def slides(keys: ConfigKeys, layer: int) -> bool:
        return (layer + 1) % prefix != 0 if layer < dense else (layer - dense + 1) % step != 0

    return listed_windows(config, layers, slides, 4096)


def read_llama4_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Attention in chunks where positions are rotated, and over everything elsewhere (Llama 4).

    `layer_types` names the layers; without it `no_rope_layers` has a 1 for a rotated one, and without both every
    `no_rope_layer_interval`-th is not rotated. Norms on queries and keys have no parameters here.
    """
    queries, keys = read_heads(config, False)
    config.read |= {"use_qk_norm", "attn_temperature_tuning", "attn_scale"}
    bias = config.flag("attention_bias", False)
    fallback = 8192 if not config.has("attention_chunk_size") else None
    chunk = config.optional_size("attention_chunk_size", fallback)
    full = GroupedQueryAttention(
        query_heads=queries,
        kv_heads=keys,
        head_dim=read_head_dim(config, queries, 128),
        qkv_bias=bias,
        output_bias=bias,
    )
    chunked = full.model_copy(update={"chunk": chunk})
    return [chunked if one else full for one in _llama4_chunked(config, layers)]


def _llama4_chunked(config: ConfigKeys, layers: int) -> list[bool]:
    rotated = config.items("no_rope_layers") or []
    step = config.optional_size("no_rope_layer_interval", 4) or 4
    kinds = config.items("layer_types")
    if kinds is None and not rotated:
        return [(layer + 1) % step != 0 for layer in range(layers)]
    key, listed = ("no_rope_layers", rotated) if kinds is None else ("layer_types", kinds)
    if len(listed) != layers:
        raise config.error(key, f"has {len(listed)} entries for {layers} layers")
    known: dict[object, bool] = {"chunked_attention": True, "full_attention": False} if kinds else {1: True, 0: False}
    for one in listed:
        if isinstance(one, (list, dict, bool)) or one not in known:
            raise config.unknown(key, f"has {shown(one)}, which no reader knows")
    return [known[one] for one in listed]


def read_laguna_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Attention with a gate on its output and a number of query heads for each layer (Laguna)."""
    config.only("gating", True, "per-head", "per-element")
    config.only("moe_apply_router_weight_on_input", False)
    _, keys = read_heads(config, False)
    stated = "num_attention_heads_per_layer"
    queries = each_layer_size(config, stated, layers, config.size("num_attention_heads"))
    head_dim = read_head_dim(config, queries[0], 128)
    bias = config.flag("attention_bias", False)
    each_value = config.get("gating") == "per-element"
    parts: list[Mixer] = []
    for heads, window in zip(queries, listed_windows(config, layers, _never, 512), strict=True):
        if heads % keys:
            raise config.error(stated, f"has {heads}, not a multiple of {keys} key-value heads")
        parts.append(
            GroupedQueryAttention(
                query_heads=heads,
                kv_heads=keys,
                head_dim=head_dim,
                qkv_bias=bias,
                output_bias=bias,
                norm_parameters=norm_each_head(0, heads, keys, head_dim),
                gate_width=heads * head_dim if each_value else heads,
                window=window,
            )
        )
    return parts


def read_indexed(config: ConfigKeys, layers: int) -> list[tuple[Mixer, ...]]:
    """Latent attention over the positions that an indexer selects (DeepSeek-V3.2)."""
    config.only("layer_types", ["indexed_attention"] * layers)
    config.only("mlp_bias", False)
    (latent,) = read_latent(config, 1)
    if not isinstance(latent, LatentAttention) or latent.query_rank is None:
        raise config.error("q_lora_rank", "is null, but the indexer's queries come from those of this rank")
    indexer = Indexer(
        heads=config.size("index_n_heads"), head_dim=config.size("index_head_dim"), query_rank=latent.query_rank
    )
    selective = latent.model_copy(update={"selected": config.size("index_topk")})
    return [(selective, indexer)] * layers


def read_shared_indexed(config: ConfigKeys, layers: int) -> list[tuple[Mixer, ...]]:
    """The same, where layers may use what the indexer of an earlier one selected (GLM-5).

    `indexer_types` names the layers that do. Without it they follow a pattern of F and S, or every
    `index_topk_freq`-th layer from `index_skip_topk_offset` on has an indexer, and all before it.
    """
    parts = read_indexed(config, layers)
    return [part if own else part[:1] for part, own in zip(parts, _own_indexers(config, layers), strict=True)]


def _own_indexers(config: ConfigKeys, layers: int) -> list[bool]:
    kinds, pattern = config.items("indexer_types"), config.get("index_topk_pattern")
    step = config.optional_size("index_topk_freq", 1) or 1
    offset = config.optional_size("index_skip_topk_offset", 2, low=0) or 0
    if kinds is None and pattern is None:
        return [max(layer - offset + 1, 0) % step == 0 for layer in range(layers)]
    key, listed = ("indexer_types", kinds) if kinds is not None else ("index_topk_pattern", pattern)
    named = {"full": True, "shared": False, **({"F": True, "S": False} if isinstance(listed, str) else {})}
    if not isinstance(listed, (list, str)) or len(listed) != layers:
        raise config.error(key, f"must have an entry for each of {layers} layers")
    for one in listed:
        if not isinstance(one, str) or one not in named:
            raise config.unknown(key, f"has {shown(one)}, which no reader knows")
    if not named[str(listed[0])]:
        raise config.error(key, "lets the first layer use an earlier indexer")
    return [named[str(one)] for one in listed]


def read_mimo_attention(config: ConfigKeys, layers: int) -> list[Mixer]:
    """Layers with a window have twice the key-value heads and sinks (MiMo-V2-Flash).

    The keys that released files state beside transformers' own must agree with that.
    """
    queries, keys = read_heads(config, False)
    head_dim, value_dim = config.size("head_dim"), config.size("v_head_dim")
    windows = listed_windows(config, layers, _not_first_nor_each_sixth, 128)
    if queries % (2 * keys):
        raise config.error("num_key_value_heads", f"is {keys}; twice that does not divide {queries} attention heads")
    for key, value in {
        "swa_num_attention_heads": queries,
        "swa_num_key_value_heads": 2 * keys,
        "swa_head_dim": head_dim,
        "swa_v_head_dim": value_dim,
        "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": False,
        "hybrid_layer_pattern": [int(window is not None) for window in windows],
        "sliding_window_size": next((window for window in windows if window), None),
    }.items():
        config.only(key, value)
    config.read |= {"attention_value_scale", "attention_chunk_size", "hybrid_block_size"}
    bias = config.flag("attention_bias", False)
    return [
        GroupedQueryAttention(
            query_heads=queries,
            kv_heads=2 * keys if window else keys,
            head_dim=head_dim,
            v_head_dim=value_dim,
            qkv_bias=bias,
            window=window,
            sinks=window is not None,
        )
        for window in windows
    ]
