"""A Hugging Face `config.json` -> `Architecture`, by structure.

A model type selects a reader in `_FAMILIES`; nothing else depends on names. Defaults are those of transformers 5 for
that type, and only where checkpoints rely on them: a size that the file does not state is an error, never a guess. A
key that may change the structure and that the reader does not know is an error too, so every count is exact or absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError

from harness.architecture import (
    MAX_LAYERS,
    Architecture,
    Attention,
    DenseFeedForward,
    FeedForward,
    GroupedQueryAttention,
    LatentAttention,
    LayerGroup,
    MoeFeedForward,
    Norms,
    SharedExpert,
)
from harness.config_keys import ConfigKeys, shown
from harness.errors import InputError, UnknownStructureError, nearest


@dataclass(frozen=True)
class _Family:
    """How one model type is read. The two readers give one entry a layer."""

    attention: Callable[[ConfigKeys, int], list[Attention]]
    feed_forward: Callable[[ConfigKeys, int], list[FeedForward]]
    scaled_norms: bool = True


def _heads(config: ConfigKeys, kv_optional: bool) -> tuple[int, int]:
    """Query and key-value heads; null means as many as there are query heads, and absence too where `kv_optional`."""
    queries = config.size("num_attention_heads")
    if "num_key_value_heads" not in config.values and not kv_optional:
        raise config.error("num_key_value_heads", "is missing")
    keys = config.optional_size("num_key_value_heads", queries)
    if keys is None or queries % keys:
        raise config.error("num_key_value_heads", f"is {keys}, which does not divide {queries} attention heads")
    return queries, keys


def _head_dim(config: ConfigKeys, heads: int, default: int | None) -> int:
    """The width of a head: as stated, else the family's default, else the hidden size by heads."""
    stated = config.optional_size("head_dim", default if "head_dim" not in config.values else None)
    if stated is not None:
        return stated
    hidden = config.size("hidden_size")
    if hidden % heads:
        raise config.error(
            "hidden_size", f"is {hidden}, not a multiple of {heads} attention heads; 'head_dim' is absent"
        )
    return hidden // heads


_QkNorm = Callable[[int, int, int, int], tuple[int, int]]
_Windows = Callable[[ConfigKeys, int], list[int | None]]


def _no_qk_norm(hidden: int, queries: int, keys: int, head_dim: int) -> tuple[int, int]:
    return 0, 0


def _norm_each_head(hidden: int, queries: int, keys: int, head_dim: int) -> tuple[int, int]:
    return head_dim, head_dim


def _norm_all_heads(hidden: int, queries: int, keys: int, head_dim: int) -> tuple[int, int]:
    return queries * head_dim, keys * head_dim


def _norm_hidden(hidden: int, queries: int, keys: int, head_dim: int) -> tuple[int, int]:
    return hidden, hidden // queries * keys


def _no_window(config: ConfigKeys, layers: int) -> list[int | None]:
    config.only("layer_types", ["full_attention"] * layers)
    return [None] * layers


def _one_window(config: ConfigKeys, layers: int, default: int | None, switch: str | None = None) -> list[int | None]:
    """The same window in every layer; with `switch`, only where that flag is on."""
    fallback = default if "sliding_window" not in config.values else None
    if switch is not None and not config.flag(switch, False):
        config.get("sliding_window")
        return [None] * layers
    return [config.optional_size("sliding_window", fallback)] * layers


def _upper_layers(config: ConfigKeys, layer: int) -> bool:
    first = config.optional_size("max_window_layers", 28, low=0)
    return first is not None and layer >= first


def _every_other_lower_layer(config: ConfigKeys, layer: int) -> bool:
    return layer % 2 == 0 and not _upper_layers(config, layer)


def _every_other_layer(config: ConfigKeys, layer: int) -> bool:
    return layer % 2 == 0


def _listed_windows(
    config: ConfigKeys,
    layers: int,
    slides: Callable[[ConfigKeys, int], bool],
    default: int | None,
    switch: str | None = None,
) -> list[int | None]:
    """A window in the layers that `layer_types` names, or in those where `slides` holds if it is absent."""
    kinds = config.items("layer_types")
    window = _one_window(config, 1, default, switch)[0]
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
class _GroupedQuery:
    """Reads grouped-query attention. `bias_key` and its default switch the biases of queries, keys and values."""

    windows: _Windows = _no_window
    qk_norm: _QkNorm = _no_qk_norm
    bias_key: str | None = None
    bias: bool = False
    output_biased: bool = False
    head_dim: int | None = None
    kv_optional: bool = False
    sinks: bool = False

    def __call__(self, config: ConfigKeys, layers: int) -> list[Attention]:
        queries, keys = _heads(config, self.kv_optional)
        head_dim = _head_dim(config, queries, self.head_dim)
        biased = self.bias if self.bias_key is None else config.flag(self.bias_key, self.bias)
        if self.bias_key is None:
            config.only("qkv_bias", self.bias)
        widths = self.qk_norm(config.size("hidden_size"), queries, keys, head_dim)
        config.only("use_qk_norm", widths != (0, 0))
        return [
            GroupedQueryAttention(
                query_heads=queries,
                kv_heads=keys,
                head_dim=head_dim,
                qkv_bias=biased,
                output_bias=biased and self.output_biased,
                query_norm_width=widths[0],
                key_norm_width=widths[1],
                window=window,
                sinks=self.sinks,
            )
            for window in self.windows(config, layers)
        ]


def _latent(config: ConfigKeys, layers: int) -> list[Attention]:
    """Multi-head latent attention. `head_dim` is ignored: transformers overwrites it."""
    config.get("head_dim")
    heads, keys = _heads(config, True)
    if heads != keys:
        raise config.error("num_key_value_heads", f"is {keys}; latent attention has one for each of {heads} heads")
    if "q_lora_rank" not in config.values:
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


def _dense(config: ConfigKeys, layers: int, bias_key: str | None = None) -> list[FeedForward]:
    bias = bias_key is not None and config.flag(bias_key, False)
    return [DenseFeedForward(width=config.size("intermediate_size"), bias=bias)] * layers


def _expert_count(config: ConfigKeys, key: str, low: int = 1) -> int:
    """The number of routed experts under `key` or another name: transformers 5 saves some models under an alias."""
    names = [key, *(name for name in ("num_experts", "num_local_experts") if name != key)]
    stated = [name for name in names if config.get(name) is not None]
    count = config.size(stated[0] if stated else key, low=low)
    for name in stated:
        config.only(name, count)
    return count


def _routed(
    config: ConfigKeys, experts: int, width_key: str, *, bias: bool = False, shared: SharedExpert | None = None
) -> MoeFeedForward:
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


def _sparse(config: ConfigKeys, layers: int, count_key: str, bias: bool = False) -> list[FeedForward]:
    """Experts of `intermediate_size` in every layer."""
    return [_routed(config, _expert_count(config, count_key), "intermediate_size", bias=bias)] * layers


def _sparse_steps(config: ConfigKeys, layers: int, with_shared: bool) -> list[FeedForward]:
    """Experts in every `decoder_sparse_step`-th layer but those in `mlp_only_layers` (Qwen)."""
    step = config.optional_size("decoder_sparse_step", 1)
    dense_layers = config.items("mlp_only_layers") or []
    for layer in dense_layers:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < layers:
            raise config.error("mlp_only_layers", f"has {shown(layer)}; the layers are 0 to {layers - 1}")
    experts = _expert_count(config, "num_experts", low=0)
    sparse = [bool(experts) and layer not in dense_layers and (layer + 1) % (step or 1) == 0 for layer in range(layers)]
    config.read |= {"intermediate_size", "moe_intermediate_size", "num_experts_per_tok"}
    config.read |= {"shared_expert_intermediate_size"} if with_shared else set()
    dense = None if all(sparse) else DenseFeedForward(width=config.size("intermediate_size"))
    routed = None
    if any(sparse):
        shared = None
        if with_shared:
            shared = SharedExpert(width=config.size("shared_expert_intermediate_size"), sigmoid_gate=True)
        routed = _routed(config, experts, "moe_intermediate_size", shared=shared)
    return [part for is_sparse in sparse if (part := routed if is_sparse else dense) is not None]


def _sparse_after(config: ConfigKeys, layers: int) -> list[FeedForward]:
    """Dense layers first, then experts with shared ones (DeepSeek). `mlp_bias` is for the dense and the shared."""
    first = config.optional_size("first_k_dense_replace", 0, low=0) or 0
    config.only("moe_layer_freq", 1)
    bias = config.flag("mlp_bias", False)
    width = config.size("moe_intermediate_size")
    if "n_shared_experts" not in config.values:
        raise config.error("n_shared_experts", "is missing; null means none")
    count = config.optional_size("n_shared_experts", 0, low=0)
    shared = SharedExpert(width=width * count, bias=bias) if count else None
    routed = _routed(config, _expert_count(config, "n_routed_experts"), "moe_intermediate_size", shared=shared)
    dense_layers = min(first, layers)
    config.read.add("intermediate_size")
    dense = [DenseFeedForward(width=config.size("intermediate_size"), bias=bias)] if dense_layers else []
    return [*dense * dense_layers, *[routed] * (layers - dense_layers)]


def _biased(windows: _Windows = _no_window, qk_norm: _QkNorm = _no_qk_norm, kv_optional: bool = False) -> _GroupedQuery:
    """Attention whose four biases follow `attention_bias`, off by default."""
    return _GroupedQuery(windows, qk_norm, bias_key="attention_bias", output_biased=True, kv_optional=kv_optional)


_qwen_windows = partial(_listed_windows, slides=_upper_layers, default=4096, switch="use_sliding_window")
_qwen2_moe_windows = partial(
    _listed_windows, slides=_every_other_lower_layer, default=4096, switch="use_sliding_window"
)
_qwen3_moe_windows = partial(_one_window, default=4096, switch="use_sliding_window")

_FAMILIES: dict[str, _Family] = {
    "llama": _Family(_biased(kv_optional=True), partial(_dense, bias_key="mlp_bias")),
    "mistral": _Family(_GroupedQuery(partial(_one_window, default=4096)), _dense),
    "qwen2": _Family(_GroupedQuery(_qwen_windows, bias=True), _dense),
    "qwen3": _Family(
        _GroupedQuery(_qwen_windows, _norm_each_head, bias_key="attention_bias", output_biased=True, head_dim=128),
        _dense,
    ),
    "olmo": _Family(_biased(kv_optional=True), _dense, scaled_norms=False),
    "olmo2": _Family(_biased(qk_norm=_norm_all_heads, kv_optional=True), _dense),
    "mixtral": _Family(
        _GroupedQuery(partial(_one_window, default=None)), partial(_sparse, count_key="num_local_experts")
    ),
    "qwen2_moe": _Family(
        _GroupedQuery(_qwen2_moe_windows, bias_key="qkv_bias", bias=True), partial(_sparse_steps, with_shared=True)
    ),
    "qwen3_moe": _Family(_biased(_qwen3_moe_windows, _norm_each_head), partial(_sparse_steps, with_shared=False)),
    "olmoe": _Family(_biased(qk_norm=_norm_hidden, kv_optional=True), partial(_sparse, count_key="num_experts")),
    "deepseek_v2": _Family(_latent, _sparse_after),
    "gpt_oss": _Family(
        _GroupedQuery(
            partial(_listed_windows, slides=_every_other_layer, default=128),
            bias_key="attention_bias",
            bias=True,
            output_biased=True,
            head_dim=64,
            sinks=True,
        ),
        partial(_sparse, count_key="num_local_experts", bias=True),
    ),
}

MODEL_TYPES: Collection[str] = tuple(sorted(_FAMILIES))
"""The model types that can be counted."""


def read_config(path: Path) -> dict[str, object]:
    """The JSON object in `path`, which may be a checkpoint's folder. Raises InputError with the file's place."""
    file = path / "config.json" if path.is_dir() else path
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", where=str(file), hint="give a config.json or a checkpoint's folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read as JSON: {error}", where=str(file)) from None
    if not isinstance(value, dict):
        raise InputError(f"must hold a JSON object, not {shown(value)}", where=str(file))
    return value


def architecture_from_config(config: Mapping[str, object], where: str) -> Architecture:
    """The structure that `config` describes; `where` is the file it came from, for messages.

    Raises UnknownStructureError for a model type or a key that no reader knows, and InputError for a missing or
    impossible value. Each message names the key. Source: the configuration and model classes of transformers 5.
    """
    keys = ConfigKeys(config, where)
    model_type = keys.get("model_type")
    family = _FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise UnknownStructureError(
            f"unknown 'model_type' {shown(model_type)}",
            where=f"{where}:model_type",
            hint=nearest(str(model_type), _FAMILIES),
        )
    _check_task(keys)
    try:
        architecture = _assemble(keys, family)
    except ValidationError as error:
        # Each size is checked when it is read; what remains are products of them that no model can have.
        raise InputError(error.errors()[0]["msg"], where=where) from None
    keys.refuse_unread()
    return architecture


def _assemble(keys: ConfigKeys, family: _Family) -> Architecture:
    hidden = keys.size("hidden_size")
    layers = keys.size("num_hidden_layers", high=MAX_LAYERS)
    norms = Norms(count=2, width=hidden, scale=family.scaled_norms)
    per_layer = zip(family.attention(keys, layers), family.feed_forward(keys, layers), strict=True)
    return Architecture(
        vocab_size=keys.size("vocab_size"),
        hidden_size=hidden,
        tied_embeddings=keys.flag("tie_word_embeddings", False),
        max_context=keys.optional_size("max_position_embeddings"),
        groups=tuple(
            LayerGroup(count=len(list(run)), attention=attention, feed_forward=feed_forward, norms=norms)
            for (attention, feed_forward), run in groupby(per_layer)
        ),
        final_norm=Norms(count=1, width=hidden, scale=family.scaled_norms),
    )


def _check_task(keys: ConfigKeys) -> None:
    """Refuse encoder-decoder models and classifiers: their stacks and heads differ from a language model's."""
    keys.only("is_encoder_decoder", False)
    for name in keys.items("architectures") or []:
        if not isinstance(name, str) or not name.endswith("ForCausalLM"):
            raise keys.unknown("architectures", f"has {shown(name)}, which is not a causal language model")
