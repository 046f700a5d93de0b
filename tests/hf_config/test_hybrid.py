"""Reading configurations of families with recurrent layers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_configs import hybrid

from harness.accounting import count_parameters, kv_bytes, state_bytes
from harness.architecture import GroupedQueryAttention, Mamba, Mamba2, ShortConvolution
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import architecture_from_config

WHERE = "some/config.json"
TINY = hybrid.TINY
# The one letter a mixer or feed-forward of a layer is shown as.
LETTERS = {
    "gqa": "*", "mla": "*", "mamba": "m", "mamba2": "M", "gated_delta_net": "D", "kimi_delta": "K", "lightning": "L",
    "short_convolution": "C", "dense": "-", "moe": "E",
}  # fmt: skip


def pattern(config: dict[str, Any]) -> str:
    """The parts of each layer as letters."""
    layers = architecture_from_config(config, WHERE).each_layer()
    return " ".join("".join(LETTERS[part.kind] for part in (*one.mixers, *one.feed_forwards)) for one in layers)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mamba", "m m m m"),
        ("mamba2", "M M M M"),
        ("jamba", "m- mE *- mE"),
        ("jamba-dense", "m- m- *- m-"),
        ("bamba", "M- *- M- *-"),
        ("granitemoehybrid", "ME *E ME ME"),
        ("granitemoehybrid-dense", "M- *- *- M-"),
        ("falcon_h1", "*M- *M- *M- *M-"),
        ("nemotron_h", "M E M * - E"),
        ("nemotron_h-latent", "M E * M"),
        ("qwen3_next", "DE DE DE *E"),
        ("qwen3_next-mixed", "D- D- *- DE"),
        ("qwen3_5_text", "D- *- D- *-"),
        ("qwen3_5_text-biases", "*- D- D- *-"),
        ("qwen3_5_moe_text", "DE DE DE *E"),
        ("olmo_hybrid", "D- D- D- *-"),
        ("kimi_linear", "K- *E KE *E"),
        ("kimi_linear-listed", "KE *- K- KE"),
        ("minimax", "LE LE *E LE"),
        ("lfm2", "C- *- C- C-"),
        ("lfm2-biases", "*- C- *- C-"),
        ("lfm2_moe", "C- *E CE CE"),
    ],
)
def test_parts_stand_where_the_configuration_puts_them(name: str, expected: str) -> None:
    assert pattern(TINY[name]) == expected


# Parameters that the makers state in the name or the card of a model, and how far they round.
PUBLISHED = {
    "mamba-2.8b": (2.8e9, 0.02),
    "falcon-mamba-7b": (7.27e9, 0.001),
    "mamba-codestral-7b": (7_285_403_648, 0.0),
    "bamba-9b": (9.78e9, 0.001),
    "granite-4.0-h-tiny": (7e9, 0.01),
    "nemotron-3-nano-30b-a3b": (31.6e9, 0.001),
    "qwen3-next-80b-a3b": (80e9, 0.005),
    "kimi-linear-48b-a3b": (48e9, 0.03),
    "lfm2-1.2b": (1_170_340_608, 0.0),
    "lfm2-8b-a1b": (8.3e9, 0.005),
}


@pytest.mark.parametrize("name", hybrid.REAL)
def test_real_models_have_the_size_that_their_makers_state(name: str) -> None:
    stated, rounded = PUBLISHED[name]
    total = count_parameters(architecture_from_config(hybrid.REAL[name], name)).total
    assert total == pytest.approx(stated, rel=rounded, abs=0)


def test_jambas_cache_has_the_published_size() -> None:
    # 4 GB at 256K tokens in 16 bits: arXiv 2403.19887, table 1
    sizes = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    periods = {"attn_layer_period": 8, "attn_layer_offset": 4}
    jamba = architecture_from_config({**TINY["jamba"], **sizes, **periods}, WHERE)
    assert kv_bytes(jamba, 256 * 1024) == 4 * 2**30
    mamba = next(part for layer in jamba.each_layer() for part in layer.mixers if isinstance(part, Mamba))
    assert state_bytes(jamba, 1.0) == 28 * mamba.inner_width * (mamba.state_size + mamba.conv_width - 1)


def test_windows_are_those_of_the_attention_layers() -> None:
    mixers = [layer.mixers[0] for layer in architecture_from_config(TINY["minimax-head-dim"], WHERE).each_layer()]
    assert [getattr(part, "window", 0) for part in mixers] == [8, 0, 0, 8]


def test_the_step_rank_is_stated_or_a_sixteenth_of_the_hidden_size() -> None:
    def rank(config: dict[str, Any]) -> int:
        part = architecture_from_config(config, WHERE).decoder.groups[0].mixers[0]
        assert isinstance(part, Mamba)
        return part.step_rank

    assert rank(TINY["jamba"]) == 7
    assert rank({**TINY["jamba"], "mamba_dt_rank": "auto"}) == 3
    assert rank({**TINY["jamba"], "mamba_dt_rank": "auto", "hidden_size": 54}) == 4


def test_a_stated_inner_width_has_precedence_over_its_multiple_of_the_hidden_size() -> None:
    # falcon-mamba-7b states an `expand` of 16 beside an inner width of twice the hidden size
    part = architecture_from_config(hybrid.REAL["falcon-mamba-7b"], WHERE).decoder.groups[0].mixers[0]
    assert isinstance(part, Mamba) and part.inner_width == 8192


def test_heads_of_mamba2_fill_the_inner_width() -> None:
    part = architecture_from_config(TINY["bamba-biases"], WHERE).decoder.groups[0].mixers[0]
    assert isinstance(part, Mamba2) and (part.heads, part.head_dim) == (6, 16)


def test_a_gated_output_is_as_wide_as_the_queries() -> None:
    part = architecture_from_config(TINY["qwen3_next-mixed"], WHERE).decoder.groups[1].mixers[0]
    assert isinstance(part, GroupedQueryAttention)
    assert (part.gate_width, part.gate_bias) == (6 * 12, True)


def test_lfm2_takes_two_thirds_of_the_width_rounded_up() -> None:
    def width(**changes: Any) -> int:
        (part,) = architecture_from_config({**TINY["lfm2"], **changes}, WHERE).decoder.groups[0].feed_forwards
        return part.width

    assert width() == 48  # 1.3 * 26 = 33, in steps of 16
    assert width(block_ffn_dim_multiplier=1.0) == 32
    assert width(intermediate_size=12288, block_multiple_of=256, block_ffn_dim_multiplier=1.0) == 8192
    assert width(block_ff_dim=12288, block_multiple_of=256, block_ffn_dim_multiplier=1.0) == 8192
    assert width(block_auto_adjust_ff_dim=False) == 40


def test_the_original_names_of_minimax_layers_are_read() -> None:
    config = {**TINY["minimax"], "layer_types": None, "attn_type_list": [0, 0, 1, 0]}
    assert architecture_from_config(config, WHERE) == architecture_from_config(TINY["minimax"], WHERE)


def test_old_and_new_names_of_layers_mean_the_same() -> None:
    new = {**TINY["nemotron_h"], "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"]}
    old = {**TINY["nemotron_h"], "layers_block_type": ["mamba", "moe", "attention", "mlp"]}
    letters = {**TINY["nemotron_h"], "hybrid_override_pattern": "ME*-"}
    read = [architecture_from_config({**one, "num_hidden_layers": 4}, WHERE) for one in (new, old, letters)]
    assert read[0] == read[1] == read[2]


def test_layers_that_predict_further_tokens_are_left_out() -> None:
    config = TINY["qwen3_5_moe_text"]
    more = {**config, "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": True}
    assert architecture_from_config(more, WHERE) == architecture_from_config(config, WHERE)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({**TINY["jamba"], "mamba_inner_layernorms": False}, "mamba_inner_layernorms"),
        ({**TINY["jamba"], "layer_types": ["recurrent"] * 4}, "layer_types"),
        ({**TINY["jamba"], "layer_types": [["mamba"]] * 4}, "layer_types"),
        ({**TINY["granitemoehybrid"], "layer_types": ["mlp"] * 4}, "layer_types"),
        ({**TINY["falcon_h1"], "mamba_use_mlp": False}, "mamba_use_mlp"),
        ({**TINY["falcon_h1"], "projectors_bias": True}, "projectors_bias"),
        ({**TINY["mamba2"], "rms_norm": False}, "rms_norm"),
        ({**TINY["mamba"], "d_inner": 95}, "d_inner"),
        ({**TINY["nemotron_h"], "hybrid_override_pattern": "MEM*-X"}, "hybrid_override_pattern"),
        ({**TINY["nemotron_h"], "attention_head_dim": 64}, "attention_head_dim"),
        ({**TINY["nemotron_h-latent"], "mlp_bias": True}, "mlp_bias"),
        ({**TINY["nemotron_h"], "tie_word_embeddings": True}, "tie_word_embeddings"),
        ({**TINY["nemotron_h"], "sliding_window": 64}, "sliding_window"),
        ({**TINY["qwen3_next"], "attn_output_gate": False}, "attn_output_gate"),
        ({**TINY["qwen3_5_moe_text"], "mlp_only_layers": [1]}, "mlp_only_layers"),
        ({**TINY["qwen3_5_text"], "layer_types": ["sliding_attention"] * 4}, "layer_types"),
        ({**TINY["kimi_linear"], "moe_layer_freq": 2}, "moe_layer_freq"),
        ({**TINY["kimi_linear-listed"], "mlp_layer_types": ["moe"] * 4}, "mlp_layer_types"),
        ({**TINY["minimax"], "shared_intermediate_size": 8}, "shared_intermediate_size"),
        ({**TINY["minimax"], "attn_type_list": [0, 0, 2, 0]}, "attn_type_list"),
        ({**TINY["lfm2"], "conv_dim": 40}, "conv_dim"),
        ({**TINY["lfm2"], "block_use_swiglu": False}, "block_use_swiglu"),
    ],
)
def test_an_unknown_structure_is_named_and_not_counted(config: dict[str, Any], key: str) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        architecture_from_config(config, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"


KIMI_LINEAR = TINY["kimi_linear"]["linear_attn_config"]


@pytest.mark.parametrize(
    ("config", "key", "what"),
    [
        ({**TINY["jamba"], "attn_layer_offset": 3}, "attn_layer_offset", "smaller than the period of 3"),
        ({**TINY["jamba"], "layers_block_type": ["mamba"] * 4}, "layers_block_type", "contradicts"),
        ({**TINY["jamba"], "mamba_dt_rank": "full"}, "mamba_dt_rank", "whole number"),
        ({**TINY["jamba"], "num_experts_per_tok": 6}, "num_experts_per_tok", "more than the 5 experts"),
        ({**TINY["bamba"], "attn_layer_indices": [4]}, "attn_layer_indices", "the layers are 0 to 3"),
        ({**TINY["bamba"], "mamba_d_head": 10}, "mamba_d_head", "inner width of 96"),
        ({**TINY["bamba"], "mamba_n_groups": 3}, "mamba_n_groups", "does not divide 8 heads"),
        ({**TINY["bamba-biases"], "mamba_n_heads": 7}, "mamba_n_heads", "does not divide the inner width of 96"),
        ({**TINY["granitemoehybrid"], "layer_types": ["mamba"]}, "layer_types", "1 entries for 4 layers"),
        ({**TINY["granitemoehybrid"], "layer_types": None}, "layer_types", "is missing"),
        ({**TINY["granitemoehybrid"], "layers_block_type": ["mamba"] * 4}, "layers_block_type", "contradicts"),
        ({**TINY["nemotron_h"], "num_hidden_layers": 5}, "num_hidden_layers", "6 layers"),
        ({**TINY["nemotron_h"], "hybrid_override_pattern": ""}, "hybrid_override_pattern", "row of letters"),
        ({**TINY["nemotron_h"], "layers_block_type": []}, "num_hidden_layers|layers_block_type", "0"),
        ({**TINY["qwen3_next"], "linear_num_value_heads": 3}, "linear_num_value_heads", "not a multiple of 2"),
        ({**TINY["kimi_linear"], "linear_attn_config": [1]}, "linear_attn_config", "must be an object"),
        (
            {**TINY["kimi_linear"], "linear_attn_config": {**KIMI_LINEAR, "kda_layers": [1, 2]}},
            "linear_attn_config",
            "each of 4 layers once",
        ),
        (
            {**TINY["kimi_linear"], "linear_attn_config": {**KIMI_LINEAR, "head_dim": 0}},
            "linear_attn_config:head_dim",
            "between 1",
        ),
        ({**TINY["kimi_linear-listed"], "mlp_layer_types": ["dense"]}, "mlp_layer_types", "1 entries for 4"),
        ({**TINY["minimax"], "attn_type_list": [0, 0, 0, 1]}, "attn_type_list", "contradicts"),
        ({**TINY["minimax"], "layer_types": None, "attn_type_list": [0]}, "attn_type_list", "1 entries for 4"),
        ({**TINY["lfm2"], "block_ffn_dim_multiplier": "2"}, "block_ffn_dim_multiplier", "must be a number"),
        ({**TINY["lfm2"], "block_ffn_dim_multiplier": float("nan")}, "block_ffn_dim_multiplier", "must be a number"),
        ({**TINY["lfm2"], "tie_word_embeddings": True, "tie_embedding": False}, "tie_embedding", "means the same"),
    ],
)
def test_a_contradiction_says_what_and_where(config: dict[str, Any], key: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as raised:
        architecture_from_config(config, WHERE)
    assert raised.value.where in [f"{WHERE}:{one}" for one in key.split("|")]


REQUIRED = {
    "mamba": ["state_size", "conv_kernel", "time_step_rank", "expand"],
    "mamba2": ["num_heads", "head_dim", "n_groups"],
    "jamba": ["attn_layer_period", "expert_layer_offset", "num_experts", "mamba_d_state", "num_key_value_heads"],
    "falcon_h1": ["mamba_d_ssm"],
    "nemotron_h": ["mamba_num_heads", "moe_shared_expert_intermediate_size", "hybrid_override_pattern"],
    "qwen3_next": ["linear_num_key_heads", "linear_conv_kernel_dim", "shared_expert_intermediate_size"],
    "kimi_linear-listed": ["linear_num_heads", "kv_lora_rank", "num_experts"],
    "minimax": ["layer_types", "num_local_experts"],
    "lfm2": ["conv_L_cache", "layer_types"],
    "lfm2_moe": ["num_dense_layers", "num_experts"],
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in REQUIRED.items() for key in keys])
def test_a_missing_size_is_an_error_not_a_guess(name: str, key: str) -> None:
    config = {k: value for k, value in TINY[name].items() if k != key}
    with pytest.raises(InputError) as raised:
        architecture_from_config(config, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-2, 200) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
EXTRA = {
    "layer_types", "layers_block_type", "hybrid_override_pattern", "attn_type_list", "linear_attn_config", "head_dim",
    "full_attn_idxs", "full_attention_interval", "block_multiple_of", "mlp_layer_types", "num_experts", "mamba_d_ssm",
}  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.data(), st.sampled_from(sorted(TINY)))
def test_any_change_gives_an_architecture_or_an_input_error(data: st.DataObject, name: str) -> None:
    config = {**TINY[name], data.draw(st.sampled_from(sorted({*TINY[name], *EXTRA}))): data.draw(ANYTHING)}
    try:
        architecture = architecture_from_config(config, WHERE)
    except InputError as error:
        assert error.where.startswith(WHERE)
        assert "\n" not in error.what
    else:
        assert architecture.layers == config["num_hidden_layers"] or config["num_hidden_layers"] is None


def test_short_convolutions_have_their_width() -> None:
    part = architecture_from_config(TINY["lfm2-biases"], WHERE).decoder.groups[1].mixers[0]
    assert part == ShortConvolution(conv_width=4, bias=True)
