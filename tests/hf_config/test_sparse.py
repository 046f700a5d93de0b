"""Decoders with experts: released families counted by hand, windows and chunks, and keys that are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_configs import REAL, TINY, sparse, tiny

from harness.accounting import (
    ParameterCount,
    count_parameters,
    decode_bytes,
    flops_per_token,
    kv_bytes,
    kv_read_bytes,
    prefill_flops,
)
from harness.architecture import GroupedQueryAttention
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import architecture_from_config

WHERE = "some/config.json"


def counted(config: dict[str, Any]) -> ParameterCount:
    """The parameters of `config`."""
    return count_parameters(architecture_from_config(config, WHERE))


def attention_layers(config: dict[str, Any]) -> list[GroupedQueryAttention]:
    """The attention of every layer."""
    found = []
    for group in architecture_from_config(config, WHERE).each_layer():
        (part,) = group.mixers
        assert isinstance(part, GroupedQueryAttention)
        found.append(part)
    return found


# The tiny models: vocabulary 96, hidden 48, feed-forward 40, 6 query and 2 key-value heads of 8, four layers.
TABLE = 96 * 48
ATTENTION = 48 * (6 * 8) + 2 * 48 * (2 * 8) + (6 * 8) * 48
DENSE = 3 * 48 * 40
WIDE = 4 * 48 * 40
# name -> all parameters, those of one token (with both tables)
BY_HAND: dict[str, tuple[int, int]] = {
    # one dense layer, three with 7 experts of 24 (3 used) and two shared ones
    "deepseek": (
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + DENSE + 3 * (9 * 3 * 48 * 24 + 48 * 7) + 48,
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + DENSE + 3 * (5 * 3 * 48 * 24 + 48 * 7) + 48,
    ),
    "bailing_moe": (
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + DENSE + 3 * (9 * 3 * 48 * 24 + 48 * 7) + 48,
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + DENSE + 3 * (5 * 3 * 48 * 24 + 48 * 7) + 48,
    ),
    # heads of 10 with norms, biases of queries, keys and values; two shared experts of 20
    "bailing_moe_v2": (
        2 * TABLE
        + 4 * (2 * 48 * 60 + 2 * 48 * 20 + 60 + 2 * 20 + 2 * 10 + 2 * 48)
        + DENSE
        + 3 * (7 * 3 * 48 * 24 + 2 * 3 * 48 * 20 + 48 * 7)
        + 48,
        2 * TABLE
        + 4 * (2 * 48 * 60 + 2 * 48 * 20 + 60 + 2 * 20 + 2 * 10 + 2 * 48)
        + DENSE
        + 3 * (3 * 3 * 48 * 24 + 2 * 3 * 48 * 20 + 48 * 7)
        + 48,
    ),
    # heads of 10; layers 1 and 3 have queries and outputs alone, and both norms; two shared experts of 40
    "hunyuan": (
        TABLE + 4 * (2 * 48 * 60 + 2 * 10 + 2 * 48 + 9 * DENSE + 48 * 7) + 2 * 2 * 48 * 20 + 48,
        TABLE + 4 * (2 * 48 * 60 + 2 * 10 + 2 * 48 + 5 * DENSE + 48 * 7) + 2 * 2 * 48 * 20 + 48,
    ),
    # layers 1 and 3: 5 experts (2 used), a feed-forward of the hidden size and its norm; layers 0 and 2 are dense
    "arctic": (
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + 2 * DENSE + 2 * (5 * DENSE + 48 * 5 + 3 * 48 * 48 + 48) + 48,
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + 2 * DENSE + 2 * (2 * DENSE + 48 * 5 + 3 * 48 * 48 + 48) + 48,
    ),
    # layers 1 and 3: 7 experts (2 used) behind a router of 48 -> 56 -> 7
    "skywork_moe": (
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + 2 * DENSE + 2 * (7 * DENSE + 48 * 56 + 56 * 7) + 48,
        2 * TABLE + 4 * (ATTENTION + 2 * 48) + 2 * DENSE + 2 * (2 * DENSE + 48 * 56 + 56 * 7) + 48,
    ),
    "skywork": (
        2 * TABLE + 4 * (ATTENTION + 2 * 48 + 7 * DENSE + 48 * 7) + 48,
        2 * TABLE + 4 * (ATTENTION + 2 * 48 + 2 * DENSE + 48 * 7) + 48,
    ),
    "grok-1": (
        TABLE + 4 * (ATTENTION + 4 * 48 + 7 * DENSE + 48 * 7) + 48,
        TABLE + 4 * (ATTENTION + 4 * 48 + 3 * DENSE + 48 * 7) + 48,
    ),
    # heads of 10; 5 experts of 24 (2 used) beside a dense feed-forward of 40, both behind the same norm
    "grok-1-residual": (
        2 * TABLE + 4 * (2 * 48 * 60 + 2 * 48 * 20 + 4 * 48 + 5 * 3 * 48 * 24 + 48 * 5 + DENSE) + 48,
        2 * TABLE + 4 * (2 * 48 * 60 + 2 * 48 * 20 + 4 * 48 + 2 * 3 * 48 * 24 + 48 * 5 + DENSE) + 48,
    ),
    # heads of 10, four matrices; layers 1 and 3: 7 experts (3 used), then a dense feed-forward behind a third norm
    "openmoe": (
        2 * TABLE + 4 * (2 * 48 * 60 + 2 * 48 * 20 + 2 * 48) + 4 * WIDE + 2 * (7 * WIDE + 48 * 7 + 48) + 48,
        2 * TABLE + 4 * (2 * 48 * 60 + 2 * 48 * 20 + 2 * 48) + 4 * WIDE + 2 * (3 * WIDE + 48 * 7 + 48) + 48,
    ),
    # every matrix and norm has a bias, the router has none; layers 1 and 3: 7 experts of 24 (2 used)
    "fairseq_moe_lm": (
        TABLE
        + 4 * (4 * 48 * 48 + 4 * 48 + 2 * 2 * 48)
        + 2 * (2 * 48 * 40 + 40 + 48)
        + 2 * (7 * (2 * 48 * 24 + 24 + 48) + 48 * 7)
        + 2 * 48,
        TABLE
        + 4 * (4 * 48 * 48 + 4 * 48 + 2 * 2 * 48)
        + 2 * (2 * 48 * 40 + 40 + 48)
        + 2 * (2 * (2 * 48 * 24 + 24 + 48) + 48 * 7)
        + 2 * 48,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_released_families_equal_the_count_by_hand(name: str) -> None:
    count = counted(TINY[name])
    assert (count.total, count.active) == BY_HAND[name]


def test_every_released_family_is_counted_by_hand() -> None:
    assert {*BY_HAND, "kimi_k2", "git"} == set(sparse.RELEASED)


def test_kimi_has_the_structure_of_deepseek() -> None:
    kimi = architecture_from_config(TINY["kimi_k2"], WHERE)
    assert kimi == architecture_from_config(TINY["deepseek_v3"], WHERE)


def test_grok_2_is_told_from_git_by_its_class() -> None:
    assert counted(TINY["git"]) == counted(TINY["grok-1-residual"])
    with pytest.raises(UnknownStructureError, match="read for Grok-2 alone"):
        architecture_from_config({**TINY["git"], "architectures": ["GitForCausalLM"]}, WHERE)


def test_options_of_released_families_by_hand() -> None:
    """What each option adds to or takes from a tiny model."""

    def added(name: str, **changes: Any) -> int:
        return counted({**TINY[name], **changes}).total - counted(TINY[name]).total

    assert added("hunyuan", use_cla=False) == 2 * 2 * 48 * 20
    # of three layers two use the keys of the first
    assert added("hunyuan", cla_share_factor=3) == 0
    assert added("hunyuan", cla_share_factor=4) == -2 * 48 * 20
    assert added("hunyuan", use_qk_norm=False) == -4 * 2 * 10
    assert added("hunyuan", use_mixed_mlp_moe=False) == -4 * 2 * DENSE
    assert added("hunyuan", tie_word_embeddings=False) == TABLE
    # queries of 60, outputs of 48, and in every other layer keys and values of 20
    assert added("hunyuan", attention_bias=True) == 4 * (60 + 48) + 2 * 2 * 20
    assert added("hunyuan", moe_intermediate_size=[40, 40, 40, 41]) == 7 * 3 * 48
    assert added("hunyuan", num_experts=[7, 7, 7, 8]) == DENSE + 48
    no_residual = {"parallel_attn_mlp_res": False, "use_residual": False}
    assert added("arctic", **no_residual) == -2 * (3 * 48 * 48 + 48)
    assert added("bailing_moe_v2", use_rmsnorm=False) == 4 * 2 * 10
    assert added("bailing_moe", num_shared_experts=0) == -3 * 2 * 3 * 48 * 24
    assert added("deepseek", n_shared_experts=None) == -3 * 2 * 3 * 48 * 24
    assert added("deepseek", attention_bias=True) == 4 * (48 + 2 * 16 + 48)
    assert added("grok-1-residual", residual_moe=False) == -4 * DENSE
    assert added("openmoe", tie_word_embeddings=True) == -TABLE
    assert added("skywork", moe_2layer_gate=True) == 4 * (48 * 56 + 56 * 7 - 48 * 7)


def test_catalog_terms_mean_what_the_authors_keys_do() -> None:
    def same(name: str, dropped: set[str], **instead: Any) -> bool:
        stated = {key: value for key, value in TINY[name].items() if key not in dropped}
        common = architecture_from_config({**stated, **instead}, WHERE)
        return common == architecture_from_config(TINY[name], WHERE)

    assert same(
        "hunyuan",
        {"moe_topk", "num_shared_expert", "use_mixed_mlp_moe"},
        num_experts_per_tok=3,
        num_shared_expert=2,
        n_shared_experts=2,
        shared_expert_intermediate_size=80,
        moe_intermediate_size=40,
    )
    assert same(
        "arctic",
        {"use_residual", "num_local_experts"},
        num_experts=5,
        n_shared_experts=1,
        shared_expert_intermediate_size=48,
    )
    assert same("skywork", set(), num_experts=7, num_experts_per_tok=2, moe_intermediate_size=40)
    assert same(
        "grok-1-residual", {"residual_moe"}, n_shared_experts=1, shared_expert_intermediate_size=40
    )
    assert same(
        "openmoe",
        {"router_topk", "hidden_act"},
        num_experts_per_tok=3,
        n_shared_experts=1,
        shared_expert_intermediate_size=40,
    )
    assert same(
        "jetmoe",
        {"intermediate_size", "num_local_experts", "num_experts_per_tok", "max_position_embeddings"},
        ffn_hidden_size=40,
        moe_num_experts=5,
        moe_top_k=2,
        n_positions=128,
        num_layers=4,
        glu=True,
        layer_norm_epsilon=1e-5,
    )


# What published files state beside the sizes, as far as it sounds structural.
BESIDE: dict[str, dict[str, Any]] = {
    "bailing_moe": {
        "architectures": ["BailingMoeForCausalLM"], "norm_softmax": False, "embedding_dropout": 0.0,
        "output_dropout": 0.0, "pretraining_tp": 1,
    },
    "dbrx": {
        "architectures": ["DbrxForCausalLM"], "emb_pdrop": 0.0, "resid_pdrop": 0.0, "router_aux_loss_coef": 0.05,
        "ffn_config": {**TINY["dbrx"]["ffn_config"], "moe_jitter_eps": 0.01, "moe_loss_weight": 0.05},
    },
    "deepseek_v3": {
        "architectures": ["DeepseekV3ForCausalLM"], "ep_size": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "seq_aux": True, "aux_loss_alpha": 0.001,
    },
    "git": {
        "attn_factor": 1.0, "attn_logit_softcapping": 30.0, "attn_temperature_len": 1024, "beta_fast": 8,
        "embedding_multiplier_scale": 90.5, "final_logit_softcapping": 50, "output_multiplier_scale": 0.5,
        "router_logit_softcapping": 30.0, "scaling_factor": 16.0,
    },
    "granitemoe": {
        "architectures": ["GraniteMoeForCausalLM"], "attention_multiplier": 0.015625, "embedding_multiplier": 12.0,
        "logits_scaling": 6.0, "residual_multiplier": 0.22,
    },
    "hunyuan_v1_moe": {
        "architectures": ["HunYuanMoEV1ForCausalLM"], "attention_head_dim": 8, "cla_share_factor": 2, "use_cla": False,
        "moe_intermediate_size": [40] * 4, "moe_topk": [3] * 4, "num_shared_expert": [1] * 4, "norm_type": "rms",
        "dense_list": [48, 0], "use_mixed_mlp_moe": True, "use_mla": False, "q_lora_rank": 12, "pool_type": "last",
    },
    "jetmoe": {"architectures": ["JetMoEForCausalLM"], "glu": True, "layer_norm_epsilon": 1e-5, "num_layers": 4},
    "mimo_v2_flash": {
        "add_full_attention_sink_bias": False, "add_swa_attention_sink_bias": True, "attention_chunk_size": 8,
        "attention_value_scale": 0.707, "hybrid_layer_pattern": [0, 1, 1, 1, 1, 0, 1], "layernorm_epsilon": 1e-5,
        "moe_layer_freq": [0] + [1] * 6, "sliding_window_size": 8, "swa_head_dim": 12, "swa_num_attention_heads": 8,
        "swa_num_key_value_heads": 4, "swa_v_head_dim": 8,
    },
    "minimax_m2": {
        "attn_type_list": [1] * 4, "layernorm_mlp_beta": 1.0, "mlp_intermediate_size": 72, "mtp_transformer_layers": 1,
        "num_mtp_modules": 3, "qk_norm_type": "per_layer", "rotary_dim": 4, "shared_intermediate_size": 0,
        "shared_moe_mode": "sigmoid", "use_mtp": True, "use_qk_norm": True, "use_routing_bias": True,
    },
    "openmoe": {
        "architectures": ["HFOpenMoeForCausalLM"], "layer_norm_epsilon": 1e-6, "load_balance_beam_width": 8,
        "mlp_gated": True, "mlp_bias": False, "router_capacity_factor_eval": 2.0, "router_min_capacity": 4,
    },
    "phimoe": {
        "architectures": ["PhiMoEForCausalLM"], "hidden_dropout": 0.0, "input_jitter_noise": 0.01,
        "router_jitter_noise": 0.01, "original_max_position_embeddings": 4096, "rope_scaling": {"type": "longrope"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_what_published_files_state_beside_the_sizes_changes_nothing(name: str) -> None:
    stated = architecture_from_config({**TINY[name], **BESIDE[name]}, WHERE)
    assert stated == architecture_from_config(TINY[name], WHERE)


# Published sizes ------------------------------------------------------------------------------------------------


def test_grok_2_is_its_checkpoint_to_the_parameter() -> None:
    """The total that the checkpoint's metadata states: 269,515,497,472."""
    config = {
        "model_type": "grok-1",
        "hidden_size": 8192,
        "intermediate_size": 32768,
        "moe_intermediate_size": 16384,
        "num_hidden_layers": 64,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "residual_moe": True,
        "vocab_size": 131072,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
    }
    assert counted(config).total == 269_515_497_472


@pytest.mark.parametrize(
    ("name", "total", "active", "tables"),
    [
        # model cards of microsoft/Phi-3.5-MoE-instruct, zai-org/GLM-4.5-Air, meta-llama/Llama-4-Maverick-17B-128E and
        # MiniMaxAI/MiniMax-M2; the second and the last leave both tables out of the parameters of one token
        ("phi-3.5-moe", 42e9, 6.6e9, 0),
        ("glm-4.5-air", 106e9, 12e9, 2),
        ("llama-4-maverick", 400e9, 17e9, 0),
        ("minimax-m2", 230e9, 10e9, 2),
    ],
)
def test_published_sizes_come_out(name: str, total: float, active: float, tables: int) -> None:
    count = counted(REAL[name])
    assert count.total == pytest.approx(total, rel=0.01)
    assert count.active - tables * count.embedding == pytest.approx(active, rel=0.02)


# Windows, chunks, heads and gates of layers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "windows"),
    [
        ("dots1", {}, [None, None, 8, 8]),
        ("dots1-biases", {}, [None] * 4),
        ("exaone_moe", {}, [8, None, 8, None]),
        ("exaone_moe", {"sliding_window_pattern": 3}, [8, 8, None, 8]),
        ("exaone_moe", {"sliding_window": None}, [None] * 4),
        ("exaone_moe-listed", {}, [None, 4096, 4096, None]),
        ("afmoe", {}, [8, 8, 8, None]),
        ("afmoe-mixed", {}, [1024, None, 1024, None]),
        ("cohere2_moe", {}, [8, 8, 8, None]),
        ("cohere2_moe-mixed", {}, [8, None, 8, None]),
        ("cohere2_moe-mixed", {"first_k_dense_replace": 1}, [8, 8, None, 8]),
        ("granitemoe_swa", {}, [None, 8, 8, 8]),
        ("granitemoe_swa-listed", {}, [128, None, None, 128]),
        ("laguna", {}, [None] * 4),
        ("laguna-gates", {}, [8, None, 8, None]),
        ("mellum", {}, [None] * 4),
        ("mellum-mixed", {}, [8, None, 8, None]),
        ("mimo_v2_flash", {}, [None, 8, 8, 8, 8, None, 8]),
        ("phimoe", {}, [8] * 4),
        ("phimoe-biases", {}, [None] * 4),
    ],
)
def test_windows_follow_each_familys_pattern(name: str, changes: dict[str, Any], windows: list[int | None]) -> None:
    assert [part.window for part in attention_layers({**TINY[name], **changes})] == windows


@pytest.mark.parametrize(
    ("changes", "chunks"),
    [
        ({}, [8192, 8192, 8192, None]),
        ({"attention_chunk_size": 5, "no_rope_layer_interval": 3}, [5, 5, None, 5]),
        ({"attention_chunk_size": 5, "no_rope_layers": [1, 0, 0, 1]}, [5, None, None, 5]),
        ({"attention_chunk_size": 5, "no_rope_layers": []}, [5, 5, 5, None]),
        ({"attention_chunk_size": None}, [None] * 4),
        ({"layer_types": ["full_attention", "chunked_attention"] * 2}, [None, 8192] * 2),
    ],
)
def test_llama_4_sees_chunks_where_positions_are_rotated(changes: dict[str, Any], chunks: list[int | None]) -> None:
    assert [part.chunk for part in attention_layers({**TINY["llama4_text"], **changes})] == chunks


def test_a_chunk_bounds_what_is_scored() -> None:
    """At context 13 the newest token is the fifth of its chunk of 8; every fourth layer sees all."""
    config = {**TINY["llama4_text"], "attention_chunk_size": 8}
    scores = flops_per_token(architecture_from_config(config, WHERE), context=13).attention_scores
    assert scores == 2 * 2 * 6 * 8 * (3 * 5 + 13)


def test_layers_with_a_window_have_other_heads_in_mimo() -> None:
    layers = attention_layers(TINY["mimo_v2_flash"])
    assert [(part.kv_heads, part.sinks) for part in layers[:2]] == [(2, False), (4, True)]


def test_laguna_has_heads_and_gates_of_each_layer() -> None:
    layers = attention_layers(TINY["laguna"])
    assert [(part.query_heads, part.gate_width) for part in layers] == [(6, 6), (4, 4), (2, 2), (8, 8)]
    assert attention_layers(TINY["laguna-gates"])[0].gate_width == 6 * 12


def test_layers_that_share_keys_have_no_cache_of_their_own() -> None:
    assert [part.keys for part in attention_layers(TINY["hunyuan"])] == ["own", "shared"] * 2


def test_an_indexer_scores_all_and_attention_sees_what_it_selects() -> None:
    """At context 13, of which 5 are selected: 3 index heads of 8, 6 heads over a latent of 10 and 4 rotated values."""
    architecture = architecture_from_config(TINY["deepseek_v32"], WHERE)
    index, attention = 2 * 3 * (8 + 1), 2 * 6 * (2 * 10 + 4)
    assert flops_per_token(architecture, context=13).attention_scores == 4 * (13 * index + 5 * attention)
    # tokens 1 to 5 see all before them, the others five
    pairs = 5 * 6 // 2 + 8 * 5
    assert prefill_flops(architecture, 13).flops.attention_scores == 4 * (13 * 14 // 2 * index + pairs * attention)


def test_all_is_cached_and_what_is_selected_is_read() -> None:
    architecture = architecture_from_config(TINY["deepseek_v32"], WHERE)
    assert kv_bytes(architecture, 13) == 2 * 4 * 13 * (8 + 10 + 4)
    assert kv_read_bytes(architecture, 13) == 2 * 4 * (13 * 8 + 5 * (10 + 4))
    assert decode_bytes(architecture, 3, 13).kv_cache == 3 * kv_read_bytes(architecture, 13)
    windowed = architecture_from_config(TINY["mellum-mixed"], WHERE)
    assert kv_read_bytes(windowed, 13) == kv_bytes(windowed, 13)


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({}, [True] * 4),
        ({"index_topk_freq": 2}, [True, True, False, True]),
        ({"index_topk_freq": 2, "index_skip_topk_offset": 1}, [True, False, True, False]),
        ({"index_topk_pattern": "FSSF"}, [True, False, False, True]),
        ({"index_topk_pattern": ["full", "shared", "full", "shared"]}, [True, False, True, False]),
        ({"indexer_types": ["full"] * 4, "index_topk_pattern": "FSSS"}, [True] * 4),
    ],
)
def test_layers_may_use_an_earlier_selection(changes: dict[str, Any], own: list[bool]) -> None:
    layers = architecture_from_config({**TINY["glm_moe_dsa"], **changes}, WHERE).each_layer()
    assert [len(group.mixers) == 2 for group in layers] == own


# What cannot be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("arctic", {"use_residual": False}, "use_residual"),
        ("arctic", {"sliding_window": 64}, "sliding_window"),
        ("dbrx", {"attn_config": {"kv_n_heads": 2, "qk_norm_width": 8}}, "attn_config:qk_norm_width"),
        ("deepseek_v3", {"mlp_bias": True}, "mlp_bias"),
        ("deepseek_v32", {"layer_types": ["full_attention"] * 4}, "layer_types"),
        ("deepseek_v32", {"q_lora_rank": None}, "q_lora_rank"),
        ("glm_moe_dsa", {"indexer_types": ["shared"] + ["full"] * 3}, "indexer_types"),
        ("glm_moe_dsa", {"index_topk_pattern": "FXFF"}, "index_topk_pattern"),
        ("glm_moe_dsa", {"index_topk_pattern": "FF"}, "index_topk_pattern"),
        ("ernie4_5_moe", {"moe_use_aux_free": False}, "moe_use_aux_free"),
        ("glm4_moe_lite", {"head_dim": 8}, "head_dim"),
        ("glm4_moe_lite", {"first_k_dense_replace": 2}, "first_k_dense_replace"),
        ("glm4_moe_lite", {"mlp_layer_types": ["dense"] * 3 + ["moe"]}, "mlp_layer_types"),
        ("grok-1-residual", {"global_attn_every_n": 4}, "global_attn_every_n"),
        ("grok-1-residual", {"sliding_window_size": 64}, "sliding_window_size"),
        ("hunyuan", {"use_mla": True}, "use_mla"),
        ("hunyuan", {"num_experts": 1, "moe_topk": 1}, "num_experts"),
        ("hunyuan", {"moe_layer_num_skipped": 1}, "moe_layer_num_skipped"),
        ("hunyuan_v1_moe", {"use_cla": True}, "use_cla"),
        ("hunyuan_v1_moe", {"moe_intermediate_size": 24}, "moe_intermediate_size"),
        ("hunyuan_v1_moe", {"use_qk_norm": False}, "use_qk_norm"),
        ("hunyuan_v1_moe", {"num_local_experts": 0}, "num_local_experts"),
        ("hy_v3", {"num_shared_experts": 0}, "num_shared_experts"),
        ("aria_text-biases", {"moe_num_shared_experts": 0}, "moe_num_shared_experts"),
        ("jetmoe", {"num_attention_heads": 6}, "num_attention_heads"),
        ("laguna", {"gating": False}, "gating"),
        ("llama4_text", {"layer_types": ["sliding_attention"] * 4}, "layer_types"),
        ("llama4_text", {"no_rope_layers": [1, 1, 2, 0]}, "no_rope_layers"),
        ("mimo_v2_flash", {"swa_num_key_value_heads": 2}, "swa_num_key_value_heads"),
        ("mimo_v2_flash", {"hybrid_layer_pattern": [0] * 7}, "hybrid_layer_pattern"),
        ("minimax_m2", {"attn_type_list": [0, 1, 0, 1]}, "attn_type_list"),
        ("openmoe", {"mlp_gated": False}, "mlp_gated"),
        ("openmoe", {"hidden_act": "silu"}, "hidden_act"),
        ("skywork", {"num_experts": [7, 8]}, "num_experts"),
        ("solar_open", {"use_qk_norm": True}, "use_qk_norm"),
    ],
)
def test_an_unknown_structure_is_named_and_not_counted(name: str, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as raised:
        architecture_from_config({**TINY[name], **changes}, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
    assert "\n" not in raised.value.what


REQUIRED = [
    ("afmoe", "num_dense_layers"),
    ("afmoe", "num_shared_experts"),
    ("arctic", "moe_layer_frequency"),
    ("dbrx", "attn_config"),
    ("dbrx", "n_layers"),
    ("deepseek_v3", "first_k_dense_replace"),
    ("deepseek_v3", "n_routed_experts"),
    ("deepseek_v32", "index_topk"),
    ("dots1", "num_key_value_heads"),
    ("ernie4_5_moe", "moe_layer_start_index"),
    ("ernie4_5_moe", "moe_num_experts"),
    ("exaone_moe", "first_k_dense_replace"),
    ("fairseq_moe_lm", "moe_freq"),
    ("glm4_moe", "n_shared_experts"),
    ("hunyuan", "moe_topk"),
    ("jetmoe", "kv_channels"),
    ("laguna", "shared_expert_intermediate_size"),
    ("llama4_text", "intermediate_size"),
    ("mimo_v2_flash", "v_head_dim"),
    ("openmoe", "head_dim"),
    ("openmoe", "moe_layer_interval"),
]


@pytest.mark.parametrize(("name", "key"), REQUIRED)
def test_a_missing_size_is_an_error_not_a_guess(name: str, key: str) -> None:
    config = {k: value for k, value in TINY[name].items() if k != key}
    with pytest.raises(InputError, match="is missing"):
        architecture_from_config(config, WHERE)


@pytest.mark.parametrize("inner", ["kv_n_heads", "ffn_hidden_size", "moe_num_experts", "moe_top_k"])
def test_nested_keys_are_checked_at_their_place(inner: str) -> None:
    outer = "attn_config" if inner == "kv_n_heads" else "ffn_config"
    for value, what in ((None, "is missing"), ("2", "whole number"), (0, "between")):
        config = {**TINY["dbrx"], outer: {**TINY["dbrx"][outer], inner: value}}
        with pytest.raises(InputError, match=what) as raised:
            architecture_from_config(config, WHERE)
        assert raised.value.where == f"{WHERE}:{outer}:{inner}"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-2, 50) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(sorted(sparse.TINY)))
def test_any_change_gives_an_architecture_or_an_input_error(data: st.DataObject, name: str) -> None:
    listed = {"layer_types", "mlp_layer_types", "no_rope_layers", "moe_layers", "num_attention_heads_per_layer"}
    config = {**TINY[name], data.draw(st.sampled_from(sorted({*TINY[name], *listed}))): data.draw(ANYTHING)}
    try:
        architecture_from_config(config, WHERE)
    except InputError as error:
        assert error.where.startswith(WHERE)
        assert "\n" not in error.what


def test_an_unknown_kind_is_an_unknown_structure() -> None:
    with pytest.raises(UnknownStructureError):
        architecture_from_config(tiny("mellum", layer_types=["linear_attention"] * 4, **sparse._ROUTED), WHERE)
