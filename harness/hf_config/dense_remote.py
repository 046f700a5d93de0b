"""Dense decoders whose model classes come with their checkpoints: transformers has none of its own.

Their structure is that of vLLM's model classes where it has one (internlm2, chatglm, exaone, minicpm, orion), else that
of the classes which were published with the models.
"""

from __future__ import annotations

from functools import partial

from harness.architecture import DenseFeedForward, FeedForward
from harness.config_keys import ConfigKeys
from harness.hf_config.attention import EqualHeads, GroupedQuery, optional_kv_heads
from harness.hf_config.family import Chosen, Decoder, Family
from harness.hf_config.feed_forward import Dense, read_dense

_llama_heads = EqualHeads(kv_heads=optional_kv_heads)


def _must_state(config: ConfigKeys, key: str) -> None:
    """Refuse a file without `key`, which readers of these models take for different values."""
    if config.get(key) is None:
        raise config.error(key, "is missing")


def _internlm(config: ConfigKeys) -> Decoder:
    bias = config.flag("bias", True)
    return Decoder(EqualHeads(qkv_bias=bias, output_bias=bias), read_dense)


def _internlm2(config: ConfigKeys) -> Decoder:
    _must_state(config, "bias")
    bias = config.flag("bias", False)
    return Decoder(EqualHeads(qkv_bias=bias, output_bias=bias, kv_heads=optional_kv_heads), read_dense)


def _read_qwen_halves(config: ConfigKeys, layers: int, bias: bool) -> list[FeedForward]:
    """`intermediate_size` is the width of the gate and of the other half together."""
    width = config.size("intermediate_size")
    if width % 2:
        raise config.error("intermediate_size", f"is {width}, which has no half")
    return [DenseFeedForward(width=width // 2, bias=bias)] * layers


def _check_channels(config: ConfigKeys) -> None:
    """Refuse heads that are not the hidden size together: the classes add their output to it."""
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    config.only("kv_channels", hidden // heads)


def _qwen(config: ConfigKeys) -> Decoder:
    _check_channels(config)
    bias = not config.flag("no_bias", True)
    return Decoder(
        EqualHeads(qkv_bias=True, output_bias=bias),
        partial(_read_qwen_halves, bias=bias),
        ignored=("attn_dropout_prob", "layer_norm_epsilon", "scale_attn_weights", "use_flash_attn", "use_logn_attn"),
    )


def _chatglm_keys(config: ConfigKeys, queries: int) -> int:
    if not config.flag("multi_query_attention", False):
        config.get("multi_query_group_num")
        return queries
    keys = config.size("multi_query_group_num")
    if queries % keys:
        raise config.error("multi_query_group_num", f"is {keys}, which does not divide {queries} attention heads")
    return keys


def _chatglm(config: ConfigKeys) -> Decoder:
    for key in ("num_layers", "padded_vocab_size", "tie_word_embeddings"):
        _must_state(config, key)
    _check_channels(config)
    config.only("rmsnorm", True)
    config.only("post_layer_norm", True)
    config.only("pre_seq_len", 0)
    bias = config.flag("add_bias_linear", False)
    return Decoder(
        EqualHeads(
            qkv_bias=config.flag("add_qkv_bias", False) or bias, output_bias=bias, kv_heads=_chatglm_keys
        ),
        Dense(bias=bias, width_key="ffn_hidden_size"),
        own_names={
            "num_hidden_layers": "num_layers",
            "vocab_size": "padded_vocab_size",
            "max_position_embeddings": "seq_length",
        },
        ignored=(
            "apply_query_key_layer_scaling", "apply_residual_connection_post_layernorm", "attention_softmax_in_fp32",
            "bias_dropout_fusion", "fp32_residual_connection", "layernorm_epsilon", "prefix_projection",
        ),
        classes=("ChatGLMModel", "ChatGLMForConditionalGeneration"),
    )


FAMILIES: dict[str, Family] = {
    "aquila": Decoder(_llama_heads, read_dense),
    "baichuan": Decoder(EqualHeads(), read_dense, own_names={"max_position_embeddings": "model_max_length"}),
    "chatglm": Chosen(_chatglm),
    "exaone": Decoder(
        GroupedQuery(kv_optional=True),
        read_dense,
        tied=True,
        own_names={"num_hidden_layers": "num_layers"},
        ignored=("layer_norm_epsilon",),
    ),
    "internlm": Chosen(_internlm),
    "internlm2": Chosen(_internlm2),
    "minicpm": Decoder(_llama_heads, read_dense, tied=True, ignored=("scale_depth", "dim_model_base")),
    "orion": Decoder(_llama_heads, read_dense, biased_norms=True),
    "qwen": Chosen(_qwen),
    "xverse": Decoder(_llama_heads, read_dense),
}
