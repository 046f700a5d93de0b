"""Families of decoders with experts."""

from __future__ import annotations

from functools import partial

from harness.hf_config.attention import (
    GroupedQuery,
    biased,
    every_other_layer,
    every_other_lower_layer,
    listed_windows,
    norm_each_head,
    norm_hidden,
    one_window,
    read_latent,
)
from harness.hf_config.family import Decoder, Family
from harness.hf_config.feed_forward import read_sparse, read_sparse_after, read_sparse_steps

_qwen2_moe_windows = partial(listed_windows, slides=every_other_lower_layer, default=4096, switch="use_sliding_window")
_qwen3_moe_windows = partial(one_window, default=4096, switch="use_sliding_window")

FAMILIES: dict[str, Family] = {
    "mixtral": Decoder(
        GroupedQuery(partial(one_window, default=None)), partial(read_sparse, count_key="num_local_experts")
    ),
    "qwen2_moe": Decoder(
        GroupedQuery(_qwen2_moe_windows, bias_key="qkv_bias", bias=True), partial(read_sparse_steps, with_shared=True)
    ),
    "qwen3_moe": Decoder(biased(_qwen3_moe_windows, norm_each_head), partial(read_sparse_steps, with_shared=False)),
    "olmoe": Decoder(biased(qk_norm=norm_hidden, kv_optional=True), partial(read_sparse, count_key="num_experts")),
    "deepseek_v2": Decoder(read_latent, read_sparse_after),
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
}
