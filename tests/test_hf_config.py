"""Reading config.json: what is read, and the one-line errors for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_configs import TINY, tiny

from harness.architecture import GroupedQueryAttention, LatentAttention
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import MODEL_TYPES, architecture_from_config, read_config

WHERE = "some/config.json"


def windows(config: dict[str, Any]) -> list[int | None]:
    """The window of every layer."""
    found = []
    for group in architecture_from_config(config, WHERE).each_layer():
        (attention,) = group.mixers
        assert isinstance(attention, GroupedQueryAttention)
        found.append(attention.window)
    return found


def test_every_model_type_has_a_tiny_configuration() -> None:
    assert {config["model_type"] for config in TINY.values()} == set(MODEL_TYPES)


def test_windows_follow_each_familys_defaults() -> None:
    assert windows(tiny("mistral")) == [4096] * 4
    assert windows(tiny("mistral", sliding_window=None)) == [None] * 4
    assert windows(TINY["mixtral"]) == [None] * 4
    assert windows({**TINY["mixtral"], "sliding_window": 16}) == [16] * 4
    assert windows(tiny("qwen3", sliding_window=16)) == [None] * 4
    assert windows(TINY["qwen2-tied"]) == [None, None, 4096, 4096]
    sliding = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 3}
    assert windows({**TINY["qwen2_moe"], **sliding}) == [16, None, 16, None]
    assert windows({**TINY["qwen3_moe"], "use_sliding_window": True, "sliding_window": 16}) == [16] * 4
    assert windows(TINY["gpt_oss"]) == [8, None, 8, None]
    assert windows(TINY["gpt_oss-listed"]) == [None, None, 128, None]


def test_head_width_is_stated_or_the_familys_or_derived() -> None:
    def width(config: dict[str, Any]) -> int:
        (attention,) = architecture_from_config(config, WHERE).decoder.groups[0].mixers
        assert isinstance(attention, GroupedQueryAttention)
        return attention.head_dim

    assert width(tiny("llama")) == 8
    assert width(tiny("llama", head_dim=None)) == 8
    assert width(tiny("llama", head_dim=10)) == 10
    assert width(tiny("qwen3")) == 128
    assert width(TINY["qwen3_moe"]) == 8
    assert width(TINY["gpt_oss-listed"]) == 64


def test_experts_stand_where_the_configuration_puts_them() -> None:
    def sparse(config: dict[str, Any]) -> list[bool]:
        layers = architecture_from_config(config, WHERE).each_layer()
        return [layer.moe is not None for layer in layers]

    assert sparse({**TINY["qwen2_moe"], "decoder_sparse_step": 2}) == [False, True, False, True]
    assert sparse(TINY["qwen2_moe-mixed"]) == [False, True, False, False]
    assert sparse({**TINY["qwen3_moe"], "num_experts": 0}) == [False] * 4
    assert sparse(TINY["deepseek_v2"]) == [False, True, True, True]
    assert sparse({**TINY["deepseek_v2"], "first_k_dense_replace": 9}) == [False] * 4


def test_latent_attention_keeps_its_ranks() -> None:
    (attention,) = architecture_from_config(TINY["deepseek_v2-direct"], WHERE).decoder.groups[0].mixers
    assert isinstance(attention, LatentAttention)
    assert (attention.query_rank, attention.kv_rank, attention.query_dim) == (None, 10, 16)


def test_rope_settings_of_both_styles_are_ignored() -> None:
    plain = architecture_from_config(tiny("llama"), WHERE)
    nested = {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}}
    flat = {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
    assert architecture_from_config(tiny("llama", **nested), WHERE) == plain
    assert architecture_from_config(tiny("llama", **flat), WHERE) == plain


def test_keys_without_influence_are_ignored() -> None:
    extra = {
        "architectures": ["LlamaForCausalLM"],
        "torch_dtype": "bfloat16",
        "transformers_version": "5.19.0",
        "use_cache": True,
        "pretraining_tp": 1,
        "attention_dropout": 0.1,
        "initializer_range": 0.02,
        "quantization_config": {"quant_method": "fp8"},
        "num_nextn_predict_layers": 0,
        "vision_config": None,
        "id2label": {"0": "a"},
    }
    assert architecture_from_config(tiny("llama", **extra), WHERE) == architecture_from_config(tiny("llama"), WHERE)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({**tiny("llama"), "model_type": "lama"}, "model_type"),
        ({**tiny("llama"), "model_type": ["llama"]}, "model_type"),
        (tiny("llama", num_nextn_predict_layers=1), "num_nextn_predict_layers"),
        (tiny("llama", num_local_experts=8), "num_local_experts"),
        (tiny("llama", vision_config={"hidden_size": 8}), "vision_config"),
        (tiny("llama", sliding_window=64), "sliding_window"),
        (tiny("mistral", attention_bias=True), "attention_bias"),
        (tiny("llama", architectures=["LlamaForSequenceClassification"]), "architectures"),
        (tiny("llama", is_encoder_decoder=True), "is_encoder_decoder"),
        (tiny("qwen3", layer_types=["linear_attention"] * 4), "layer_types"),
        ({**TINY["deepseek_v2"], "moe_layer_freq": 2}, "moe_layer_freq"),
        ({**TINY["qwen3_moe"], "use_qk_norm": False}, "use_qk_norm"),
        ({**TINY["mixtral"], "num_experts": 6}, "num_experts"),
        ({**TINY["mixtral"], "shared_expert_intermediate_size": 6}, "shared_expert_intermediate_size"),
    ],
)
def test_an_unknown_structure_is_named_and_not_counted(config: dict[str, Any], key: str) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        architecture_from_config(config, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
    assert repr(key) in raised.value.what
    assert "\n" not in raised.value.what


def test_the_nearest_model_type_is_suggested() -> None:
    with pytest.raises(UnknownStructureError, match="did you mean 'qwen3_moe'"):
        architecture_from_config({**TINY["qwen3_moe"], "model_type": "qwen3moe"}, WHERE)


REQUIRED = {
    "llama": [
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
    ],
    "mistral": ["num_key_value_heads"],
    "mixtral": ["num_local_experts", "num_experts_per_tok", "intermediate_size"],
    "qwen2_moe": ["num_experts", "moe_intermediate_size", "shared_expert_intermediate_size"],
    "deepseek_v2": ["kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "v_head_dim", "n_shared_experts"],
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in REQUIRED.items() for key in keys])
def test_a_missing_key_is_an_error_not_a_guess(name: str, key: str) -> None:
    config = {k: value for k, value in TINY[name].items() if k != key}
    with pytest.raises(InputError) as raised:
        architecture_from_config(config, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
    assert "is missing" in raised.value.what


BAD_SIZES = ["48", 48.0, True, -48, 0, 10**12, [48], {"a": 1}, float("nan")]


@pytest.mark.parametrize("value", BAD_SIZES, ids=repr)
@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size", "num_key_value_heads"])
def test_an_impossible_size_is_one_line_that_names_it(key: str, value: object) -> None:
    with pytest.raises(InputError) as raised:
        architecture_from_config(tiny("llama", **{key: value}), WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "key", "what"),
    [
        (tiny("llama", num_hidden_layers=10**9), "num_hidden_layers", "between 1 and 10000"),
        (tiny("llama", num_key_value_heads=4), "num_key_value_heads", "does not divide 6"),
        (tiny("llama", hidden_size=47), "hidden_size", "not a multiple of 6"),
        (tiny("llama", tie_word_embeddings="yes"), "tie_word_embeddings", "true or false"),
        (tiny("llama", attention_bias=1), "attention_bias", "true or false"),
        (tiny("qwen3", layer_types=["full_attention"]), "layer_types", "1 entries for 4 layers"),
        (tiny("qwen3", layer_types="full"), "layer_types", "must be a list"),
        (tiny("qwen3", layer_types=["sliding_attention"] * 4), "layer_types", "no window"),
        ({**TINY["mixtral"], "num_local_experts": 0}, "num_local_experts", "between 1"),
        ({**TINY["mixtral"], "num_experts_per_tok": 6}, "num_experts_per_tok", "more than the 5 experts"),
        ({**TINY["qwen3_moe"], "mlp_only_layers": [-1]}, "mlp_only_layers", "the layers are 0 to 3"),
        ({**TINY["qwen3_moe"], "mlp_only_layers": ["1"]}, "mlp_only_layers", "the layers are 0 to 3"),
        ({**TINY["qwen3_moe"], "decoder_sparse_step": 0}, "decoder_sparse_step", "between 1"),
        ({**TINY["deepseek_v2"], "num_key_value_heads": 2}, "num_key_value_heads", "latent attention"),
    ],
)
def test_a_contradiction_says_what_and_where(config: dict[str, Any], key: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as raised:
        architecture_from_config(config, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-2, 200) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(TINY)))
def test_any_change_gives_an_architecture_or_an_input_error(data: st.DataObject, name: str) -> None:
    known = sorted({*TINY[name], "head_dim", "layer_types", "sliding_window", "mlp_only_layers", "num_experts"})
    config = {**TINY[name], data.draw(st.sampled_from(known)): data.draw(ANYTHING)}
    try:
        architecture = architecture_from_config(config, WHERE)
    except InputError as error:
        assert error.where.startswith(WHERE)
        assert "\n" not in error.what
    else:
        # some families have their own name for it
        assert architecture.layers == config.get("num_hidden_layers", architecture.layers)


def test_sizes_whose_product_is_impossible_are_an_input_error() -> None:
    config = {**TINY["deepseek_v2"], "moe_intermediate_size": 10**8, "n_shared_experts": 10**8}
    with pytest.raises(InputError) as raised:
        architecture_from_config(config, WHERE)
    assert raised.value.where == WHERE


def test_a_file_or_its_folder_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(TINY["llama"]), encoding="utf-8")
    assert read_config(file) == read_config(tmp_path) == TINY["llama"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1]", b"\xff\xfe", b"", b"[" * 100_000, b"9" * 9999],
    ids=["open", "list", "bytes", "empty", "deep", "long"],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_config(file)
    assert raised.value.where == str(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_config(tmp_path / "absent.json")
