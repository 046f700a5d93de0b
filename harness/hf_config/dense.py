"""Families of dense decoders."""

from __future__ import annotations

from functools import partial

from harness.hf_config.attention import (
    GroupedQuery,
    biased,
    listed_windows,
    norm_all_heads,
    norm_each_head,
    one_window,
    upper_layers,
)
from harness.hf_config.family import Decoder, Family
from harness.hf_config.feed_forward import read_dense

_qwen_windows = partial(listed_windows, slides=upper_layers, default=4096, switch="use_sliding_window")

FAMILIES: dict[str, Family] = {
    "llama": Decoder(biased(kv_optional=True), partial(read_dense, bias_key="mlp_bias")),
    "mistral": Decoder(GroupedQuery(partial(one_window, default=4096)), read_dense),
    "qwen2": Decoder(GroupedQuery(_qwen_windows, bias=True), read_dense),
    "qwen3": Decoder(
        GroupedQuery(_qwen_windows, norm_each_head, bias_key="attention_bias", output_biased=True, head_dim=128),
        read_dense,
    ),
    "olmo": Decoder(biased(kv_optional=True), read_dense, scaled_norms=False),
    "olmo2": Decoder(biased(qk_norm=norm_all_heads, kv_optional=True), read_dense),
}
