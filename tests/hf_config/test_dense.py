"""Dense decoders: windows, heads and norms of each family, counts by hand, published totals, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meta_models import build
from model_configs import TINY, dense
from model_configs.tiny import tiny

from harness.accounting import count_parameters, kv_bytes, kv_bytes_per_token
from harness.architecture import Architecture, GroupedQueryAttention
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import architecture_from_config

WHERE = "some/config.json"


def read(config: dict[str, Any]) -> Architecture:
    return architecture_from_config(config, WHERE)


def attentions(config: dict[str, Any]) -> list[GroupedQueryAttention]:
    """The attention of every layer."""
    found = []
    for group in read(config).each_layer():
        (attention,) = group.mixers
        assert isinstance(attention, GroupedQueryAttention)
        found.append(attention)
    return found


def windows(config: dict[str, Any]) -> list[int | None]:
    return [attention.window for attention in attentions(config)]


def without(name: str, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in dense.TINY[name].items() if key not in keys}


WINDOWS: list[tuple[dict[str, Any], list[int | None]]] = [
    (dense.TINY["gemma2"], [8, None, 8, None]),
    (without("gemma2", "sliding_window"), [4096, None, 4096, None]),
    (dense.TINY["gemma2-listed"], [None, 8, 8, None]),
    ({**dense.TINY["gemma2"], "sliding_window": None}, [None] * 4),
    (dense.TINY["vaultgemma"], [8, None, 8, None]),
    ({**dense.TINY["gemma3_text"], "num_hidden_layers": 7}, [8, 8, 8, 8, 8, None, 8]),
    (dense.TINY["gemma3_text-pattern"], [8, None, 8, None]),
    (dense.TINY["gemma3_text-listed"], [None, 4096, 4096, None]),
    (dense.TINY["gemma"], [None] * 4),
    (dense.TINY["cohere2"], [8, 8, 8, None]),
    (dense.TINY["cohere2-pattern"], [8, None, 8, None]),
    (dense.TINY["olmo3"], [8, 8, 8, None]),
    (without("olmo3", "sliding_window"), [4096, 4096, 4096, None]),
    (dense.TINY["exaone4"], [8, 8, 8, None]),
    (dense.TINY["exaone4-full"], [None] * 4),
    (dense.TINY["cwm"], [None, 8, 8, 8]),
    (without("cwm", "sliding_window"), [None, 8192, 8192, 8192]),
    (dense.TINY["granite_swa"], [None, 8, 8, 8]),
    (without("granite_swa", "sliding_window"), [None, 128, 128, 128]),
    (dense.TINY["smollm3"], [None] * 4),
    (dense.TINY["smollm3-windows"], [8, None, 8, None]),
    (dense.TINY["smollm3-interval"], [None, None, 8, None]),
    ({**dense.TINY["smollm3-windows"], "use_sliding_window": False}, [None] * 4),
    (dense.TINY["ministral"], [8] * 4),
    (tiny("ministral", sliding_window=None), [None] * 4),
    (dense.TINY["ministral3"], [None] * 4),
    (dense.TINY["ministral3-window"], [8] * 4),
    (dense.TINY["phi3"], [None] * 4),
    (dense.TINY["phi3-window"], [8] * 4),
    (dense.TINY["starcoder2"], [8] * 4),
    (dense.TINY["starcoder2-unbiased"], [None] * 4),
    (dense.TINY["gpt_neo"], [None, 16, None, 16]),
    (dense.TINY["gpt_neo-width"], [256, None, None, None]),
]


@pytest.mark.parametrize(("config", "expected"), WINDOWS, ids=lambda value: str(value)[:60])
def test_windows_follow_each_familys_defaults(config: dict[str, Any], expected: list[int | None]) -> None:
    assert windows(config) == expected


@pytest.mark.torch
@pytest.mark.parametrize("name", dense.KNOWN)
def test_windows_are_those_of_the_models_modules(name: str) -> None:
    model = build(dense.KNOWN[name], "meta")
    modules = [module for module in model.modules() if hasattr(module, "sliding_window")]
    if modules:
        sliding = [module.sliding_window if getattr(module, "is_sliding", True) else None for module in modules]
        assert windows(dense.KNOWN[name]) == sliding
    elif model.config.model_type != "gpt_neo":
        window = getattr(model.config, "sliding_window", None)
        assert all(getattr(group.mixers[0], "window", None) == window for group in read(dense.KNOWN[name]).each_layer())


@pytest.mark.torch
@pytest.mark.parametrize("name", dense.KNOWN)
def test_the_class_that_transformers_names_is_accepted(name: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config = dense.KNOWN[name]
    classes: Any = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config["model_type"]]
    for name_of_class in [classes] if isinstance(classes, str) else classes:
        assert read({**config, "architectures": [name_of_class]}) == read(config)


def test_a_window_bounds_the_cache_of_its_layers_only() -> None:
    architecture = read(dense.REAL["gemma-2-9b"])
    of_layer = 2 * 8 * 256 * 2
    assert kv_bytes(architecture, 10_000) == 21 * (4096 + 10_000) * of_layer
    assert kv_bytes(architecture, 1_000) == 42 * 1_000 * of_layer


@pytest.mark.parametrize(
    ("config", "layers", "heads", "width"),
    [
        (dense.REAL["falcon-7b"], 32, 1, 64),
        (dense.REAL["falcon-40b"], 60, 8, 64),
        (dense.REAL["command-r-plus"], 64, 8, 128),
        (dense.REAL["mpt-7b"], 32, 32, 128),
        (dense.TINY["gpt_bigcode"], 4, 1, 8),
        (dense.TINY["gpt_bigcode-all-heads"], 4, 6, 8),
        (dense.TINY["stablelm"], 4, 2, 8),
        (dense.RELEASED["chatglm3-6b"], 28, 2, 128),
        (dense.RELEASED["exaone-3.5-2.4b"], 30, 8, 80),
        (dense.RELEASED["qwen-7b"], 32, 32, 128),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else str(value),
)
def test_the_cache_holds_the_key_value_heads(config: dict[str, Any], layers: int, heads: int, width: int) -> None:
    assert kv_bytes_per_token(read(config)) == layers * 2 * heads * width * 2


def test_the_cache_of_latent_attention_holds_one_vector_a_token() -> None:
    assert kv_bytes_per_token(read(dense.TINY["minicpm3"])) == 4 * (10 + 4) * 2


# The totals that are published with the weights: the sums over the tensors of their files, or the models' papers.
PUBLISHED = {
    "gemma-7b": 8_537_680_896,
    "gemma-2-9b": 9_241_705_984,
    "gemma-3-1b": 999_885_952,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "starcoder2-7b": 7_173_923_840,
    "gpt2-small": 124_439_808,
    "pythia-6.9b": 6_857_302_016,
    "gpt-j-6b": 6_050_882_784,
    "opt-6.7b": 6_658_473_984,
    "bloom-7b1": 7_069_016_064,
    "mpt-7b": 6_649_286_656,
    "command-r-plus": 103_810_674_688,
    "command-r7b": 8_028_033_024,
    "phi-4-mini": 3_836_021_760,
    "starcoder": 15_517_456_384,
    "glm-4-9b": 9_399_951_360,
    "mistral-7b": 7_241_732_096,
    "internlm2-7b": 7_737_708_544,
    "baichuan-7b": 7_000_559_616,
    "baichuan2-7b": 7_505_973_248,
    "qwen-7b": 7_721_324_544,
    "chatglm3-6b": 6_243_584_000,
    "exaone-3.5-7.8b": 7_818_448_896,
    "exaone-3.5-2.4b": 2_405_327_360,
    "minicpm-2b": 2_724_880_896,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_are_the_published_ones(name: str) -> None:
    assert count_parameters(read({**dense.REAL, **dense.RELEASED}[name])).total == PUBLISHED[name]


# Of each released model, what its class adds to the bare shape of Llama: the width of keys, the width of the gate,
# biases on queries, keys and values, on the output and on the feed-forward, values a norm has, and tied tables.
RELEASED_BY_HAND = {
    "internlm-7b": (4096, 11008, True, True, False, 1, False),
    "internlm2-7b": (1024, 14336, False, False, False, 1, False),
    "baichuan-7b": (4096, 11008, False, False, False, 1, False),
    "baichuan2-7b": (4096, 11008, False, False, False, 1, False),
    "qwen-7b": (4096, 11008, True, False, False, 1, False),
    "chatglm3-6b": (256, 13696, True, False, False, 1, False),
    "exaone-3.5-7.8b": (1024, 14336, False, False, False, 1, False),
    "exaone-3.5-2.4b": (640, 7168, False, False, False, 1, True),
    "minicpm-2b": (2304, 5760, False, False, False, 1, True),
    "orion-14b": (5120, 15360, False, False, False, 2, False),
    "xverse-13b": (5120, 13824, False, False, False, 1, False),
    "aquila-7b": (4096, 11008, False, False, False, 1, False),
}
OPTIONS: list[tuple[str, dict[str, Any], tuple[int, int, bool, bool, bool, int, bool]]] = [
    *((name, {}, facts) for name, facts in RELEASED_BY_HAND.items()),
    ("internlm-7b", {"bias": False}, (4096, 11008, False, False, False, 1, False)),
    ("internlm2-7b", {"bias": True, "num_key_value_heads": None}, (4096, 14336, True, True, False, 1, False)),
    ("qwen-7b", {"no_bias": False, "intermediate_size": 96}, (4096, 48, True, True, True, 1, False)),
    ("chatglm3-6b", {"add_bias_linear": True}, (256, 13696, True, True, True, 1, False)),
    ("chatglm3-6b", {"multi_query_attention": False}, (4096, 13696, True, False, False, 1, False)),
    ("chatglm3-6b", {"add_qkv_bias": False}, (256, 13696, False, False, False, 1, False)),
    ("minicpm-2b", {"tie_word_embeddings": False}, (2304, 5760, False, False, False, 1, False)),
    ("minicpm-2b", {"num_key_value_heads": 4}, (256, 5760, False, False, False, 1, True)),
    ("aquila-7b", {"num_key_value_heads": 8}, (1024, 11008, False, False, False, 1, False)),
]


@pytest.mark.parametrize(("name", "changes", "facts"), OPTIONS)
def test_released_models_are_counted_as_by_hand(
    name: str, changes: dict[str, Any], facts: tuple[int, int, bool, bool, bool, int, bool]
) -> None:
    config = {**dense.RELEASED[name], **changes}
    keys, inner, qkv_bias, output_bias, inner_bias, norm_values, tied = facts
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    vocabulary = config.get("padded_vocab_size", config.get("vocab_size"))
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner + 2 * hidden * norm_values
    layer += qkv_bias * (hidden + 2 * keys) + output_bias * hidden + inner_bias * (2 * inner + hidden)
    expected = layers * layer + hidden * norm_values + vocabulary * hidden * (1 if tied else 2)
    assert count_parameters(read(config)).total == expected


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({**dense.TINY["gpt2"], "intermediate_size": 40}, "intermediate_size"),
        ({**dense.TINY["falcon"], "intermediate_size": 40}, "intermediate_size"),
        ({**dense.TINY["opt"], "word_embed_proj_dim": 24}, "word_embed_proj_dim"),
        ({**dense.TINY["opt"], "do_layer_norm_before": False}, "do_layer_norm_before"),
        ({**dense.TINY["opt"], "_remove_final_layer_norm": True}, "_remove_final_layer_norm"),
        ({**dense.TINY["gpt2"], "add_cross_attention": True}, "add_cross_attention"),
        ({**dense.TINY["xglm"], "add_cross_attention": True}, "add_cross_attention"),
        ({**dense.TINY["mpt"], "no_bias": False}, "no_bias"),
        ({**dense.TINY["mpt"], "expansion_ratio": 3}, "expansion_ratio"),
        ({**dense.TINY["mpt"], "attn_config": {"attn_type": "multiquery_attention"}}, "attn_config:attn_type"),
        ({**dense.TINY["mpt"], "attn_config": {"qk_ln": True}}, "attn_config:qk_ln"),
        ({**dense.TINY["mpt"], "attn_config": {"kv_n_heads": 2}}, "attn_config:kv_n_heads"),
        ({**dense.TINY["bloom"], "n_inner": 40}, "n_inner"),
        ({**dense.TINY["falcon-new"], "parallel_attn": False}, "parallel_attn"),
        ({**dense.TINY["falcon"], "num_ln_in_parallel_attn": 2}, "num_ln_in_parallel_attn"),
        ({**dense.TINY["falcon-serial"], "num_kv_heads": 2}, "num_kv_heads"),
        ({**dense.TINY["gpt_neo"], "attention_layers": ["global"] * 4}, "attention_layers"),
        ({**dense.TINY["gpt_neo"], "attention_types": [[["global", "other"], 2]]}, "attention_types"),
        ({**dense.TINY["gemma2"], "use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({**dense.TINY["gemma3_text"], "use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({**dense.TINY["cohere2"], "layer_types": ["chunked_attention"] * 4}, "layer_types"),
        ({**dense.TINY["ministral3"], "layer_types": ["sliding_attention"] * 4}, "layer_types"),
        ({**dense.TINY["helium"], "head_dim": 16}, "head_dim"),
        ({**dense.TINY["apertus"], "hidden_act": "prelu"}, "hidden_act"),
        ({**dense.TINY["arcee"], "hidden_act": "xielu"}, "hidden_act"),
        ({**dense.TINY["falcon"], "activation": "prelu"}, "activation"),
        ({**dense.TINY["gpt2"], "activation_function": "prelu"}, "activation_function"),
        ({**dense.TINY["phi"], "architectures": ["PhiForTokenClassification"]}, "architectures"),
        ({**dense.RELEASED["chatglm3-6b"], "architectures": ["ChatGLMForSequenceClassification"]}, "architectures"),
        ({**dense.RELEASED["chatglm3-6b"], "pre_seq_len": 128}, "pre_seq_len"),
        ({**dense.RELEASED["chatglm3-6b"], "rmsnorm": False}, "rmsnorm"),
        ({**dense.RELEASED["chatglm3-6b"], "kv_channels": 64}, "kv_channels"),
        ({**dense.RELEASED["chatglm3-6b"], "vision_config": {"layers": 3}}, "vision_config"),
        ({**dense.RELEASED["qwen-7b"], "kv_channels": 64}, "kv_channels"),
        ({**dense.RELEASED["minicpm-2b"], "num_experts": 8}, "num_experts"),
        ({**dense.RELEASED["xverse-13b"], "num_experts": 64}, "num_experts"),
        ({**dense.RELEASED["exaone-3.5-7.8b"], "bias": True}, "bias"),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else value,
)
def test_what_cannot_be_counted_is_refused_by_name(config: dict[str, Any], key: str) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        read(config)
    assert raised.value.where == f"{WHERE}:{key}"


@pytest.mark.parametrize(
    ("config", "key", "what"),
    [
        (without("gpt_neo", "attention_types"), "attention_types", "is missing"),
        ({**dense.TINY["gpt_neo"], "attention_types": [[["global"], 3]]}, "attention_types", "3 layers of 4"),
        ({**dense.TINY["gpt_neo"], "attention_types": [["global", 10**9]]}, "attention_types", "in place of"),
        ({**dense.TINY["gpt_neo"], "attention_types": [[["global"], 10**9]]}, "attention_types", "in place of"),
        ({**dense.TINY["gpt2-own-names"], "hidden_size": 40}, "n_embd", "means the same"),
        (without("gpt2-own-names", "n_embd"), "n_embd", "is missing"),
        ({**dense.TINY["gpt2"], "num_attention_heads": 5}, "hidden_size", "not a multiple of 5"),
        ({**dense.TINY["falcon-new"], "num_kv_heads": 5}, "num_kv_heads", "does not divide 6"),
        (without("opt", "ffn_dim"), "ffn_dim", "is missing"),
        (without("gemma2", "num_key_value_heads"), "num_key_value_heads", "is missing"),
        (without("ernie4_5", "num_key_value_heads"), "num_key_value_heads", "is missing"),
        ({**dense.TINY["falcon-new"], "parallel_attn": None}, "parallel_attn", "true or false"),
        (without("chatglm3-6b", "padded_vocab_size"), "padded_vocab_size", "is missing"),
        (without("minicpm3", "q_lora_rank"), "q_lora_rank", "is missing"),
        (without("phi", "intermediate_size"), "intermediate_size", "is missing"),
        ({**dense.TINY["mpt"], "attn_config": [1]}, "attn_config", "must be an object"),
        ({**dense.TINY["smollm3-windows"], "no_rope_layers": [1, 0]}, "no_rope_layers", "fewer than"),
        ({**dense.TINY["exaone4"], "sliding_window_pattern": "LLLG"}, "sliding_window_pattern", "whole number"),
        (without("internlm2-7b", "bias"), "bias", "is missing"),
        (without("chatglm3-6b", "tie_word_embeddings"), "tie_word_embeddings", "is missing"),
        ({**dense.RELEASED["chatglm3-6b"], "multi_query_group_num": 5}, "multi_query_group_num", "does not divide"),
        ({**dense.RELEASED["qwen-7b"], "intermediate_size": 11007}, "intermediate_size", "no half"),
    ],
)
def test_a_contradiction_says_what_and_where(config: dict[str, Any], key: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as raised:
        read(config)
    assert raised.value.where == f"{WHERE}:{key}"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 200) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
MORE_KEYS = ["head_dim", "num_kv_heads", "attn_config", "no_rope_layers", "sliding_window_pattern", "hidden_act"]


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(dense.TINY)))
def test_any_change_gives_an_architecture_or_an_input_error(data: st.DataObject, name: str) -> None:
    key = data.draw(st.sampled_from(sorted({*dense.TINY[name], *MORE_KEYS})))
    try:
        architecture = read({**dense.TINY[name], key: data.draw(ANYTHING)})
    except InputError as error:
        assert error.where.startswith(WHERE)
        assert "\n" not in error.what
    else:
        assert count_parameters(architecture).total > 0


# Keys of released files that no class has a use for --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("gpt2", {"_num_labels": 1}),
        ("bart", {"_num_labels": 3}),
        ("gemma2", {"sliding_window": 12, "sliding_window_size": 12}),
        ("cohere2", {"use_parallel_embedding": True}),
        (
            "starcoder2",
            {
                "attention_softmax_in_fp32": True, "scale_attention_softmax_in_fp32": True, "scale_attn_weights": True,
                "layer_norm_epsilon": 1e-5,
            },
        ),
        ("stablelm", {"num_heads": TINY["stablelm"]["num_attention_heads"]}),
        ("granitemoehybrid", {"normalization_function": "rmsnorm"}),
        ("hunyuan_v1_dense", {"enable_lm_head_fp32": True, "text_start_id": 6, "text_end_id": 7}),
        ("glm_moe_dsa", {"index_share_for_mtp_iteration": True, "moe_router_dtype": "float32"}),
        ("nemotron_h", {"time_step_rank": 512}),
        ("umt5", {"scalable_attention": True}),
        ("ernie4_5_moe", {"fuse_rms_norm": True}),
    ],
)
def test_harmless_keys_of_released_files_change_nothing(name: str, harmless: dict[str, Any]) -> None:
    without_them = {key: value for key, value in {**TINY[name], **harmless}.items() if key in TINY[name]}
    assert read({**TINY[name], **harmless}) == read(without_them)


@pytest.mark.parametrize(
    ("name", "change", "key"),
    [
        ("gemma2", {"sliding_window": 12, "sliding_window_size": 13}, "sliding_window_size"),
        ("stablelm", {"num_heads": 7}, "num_heads"),
        ("granitemoehybrid", {"normalization_function": "layernorm"}, "normalization_function"),
        ("falcon", {"n_head": 7}, "n_head"),
        ("falcon", {"n_layer": 7}, "n_layer"),
    ],
)
def test_a_second_name_that_says_something_else_is_refused(name: str, change: dict[str, Any], key: str) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        read({**TINY[name], **change})
    assert raised.value.where == f"{WHERE}:{key}"


def test_falcon_may_state_heads_and_layers_under_both_names() -> None:
    config = {**dense.TINY["falcon"], "num_attention_heads": 6, "num_hidden_layers": 4}
    assert read({**config, "n_head": 6, "n_layer": 4}) == read(config)
