"""Encoder-decoder models: where experts and learned positions stand, what is refused, and counts by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meta_models import build, count_by_names, count_on_meta, few_and_more
from model_configs import TINY, Config, seq2seq

from harness.accounting import ParameterCount, count_parameters
from harness.architecture import Architecture, GroupedQueryAttention, Stack
from harness.catalog import Catalog
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import architecture_from_config

WHERE = "some/config.json"


def read(name: str, **changes: Any) -> Architecture:
    return architecture_from_config({**TINY[name], **changes}, WHERE)


def counted(config: Config) -> ParameterCount:
    return count_parameters(architecture_from_config(config, WHERE))


def stacks(architecture: Architecture) -> tuple[Stack, Stack]:
    assert architecture.encoder is not None
    return architecture.encoder, architecture.decoder


def sparse(architecture: Architecture) -> list[list[bool]]:
    """For each stack, which of its layers have experts."""
    return [
        [group.moe is not None for group in stack.groups for _ in range(group.count)]
        for stack in stacks(architecture)
    ]


def buckets(architecture: Architecture) -> list[list[int]]:
    """For each stack, the learned relative positions of each layer's own attention; crossing ones have none."""
    found: list[list[int]] = []
    for stack in stacks(architecture):
        found.append([])
        for group in stack.groups:
            parts = [part for part in group.mixers if isinstance(part, GroupedQueryAttention)]
            assert [part.keys for part in parts] == ["own", "encoder"][: len(parts)]
            assert not any(part.position_buckets for part in parts[1:])
            found[-1] += [parts[0].position_buckets] * group.count
    return found


# Where things stand ----------------------------------------------------------------------------------------------


def test_learned_relative_positions_stand_in_the_first_layer_or_in_all() -> None:
    assert buckets(read("t5")) == [[8, 0, 0, 0], [8, 0, 0]]
    assert [group.count for group in read("t5").decoder.groups] == [1, 2]
    assert buckets(read("umt5")) == [[8] * 4, [8] * 3]
    assert buckets(read("switch_transformers")) == [[8, 0, 0, 0], [8, 0, 0]]
    assert buckets(read("t5", relative_attention_num_buckets=None))[0] == [32, 0, 0, 0]


def test_as_many_decoder_layers_as_encoder_layers_unless_stated() -> None:
    assert [stack.layers for stack in stacks(read("t5", num_decoder_layers=None))] == [4, 4]
    assert [stack.layers for stack in stacks(read("t5", num_decoder_layers=9))] == [4, 9]


def test_experts_stand_where_the_number_of_sparse_layers_puts_them() -> None:
    assert sparse(read("switch_transformers")) == [[False, True, False, True], [False, True, False]]
    assert sparse(read("switch_transformers-all-sparse")) == [[True] * 4, [True] * 3]
    every_fourth = [False, True, False, False, False, True, False, False]
    assert sparse(read("switch_transformers", num_layers=8)) == [every_fourth, [False, True, False]]
    assert sparse(read("st_moe", num_layers=8)) == [[False, False, False, True] * 2, [False, False, True]]
    assert sparse(read("nllb-moe")) == [[False, True, False, True], [False, False, True]]
    assert sparse(read("nllb-moe-dense-decoder")) == [[False, True, False, True], [False] * 3]


def test_the_head_is_tied_as_the_file_says() -> None:
    assert read("t5").tied_embeddings and read("switch_transformers").tied_embeddings and read("bart").tied_embeddings
    assert not read("t5", tie_word_embeddings=False).tied_embeddings
    assert not read("mt5", tie_word_embeddings=False).tied_embeddings
    assert not read("st_moe").tied_embeddings


def test_a_feed_forward_has_a_gate_where_its_activation_says_so() -> None:
    def matrices(architecture: Architecture) -> set[int]:
        return {part.matrices for group in architecture.each_layer() for part in group.feed_forwards}

    assert matrices(read("t5")) == {2}
    assert matrices(read("t5", feed_forward_proj="gated-silu")) == {3}
    assert matrices(read("mt5")) == {3}
    assert matrices(read("switch_transformers", dense_act_fn="gelu_new")) == {2}
    gated = read("switch_transformers", dense_act_fn="gated-gelu")
    assert matrices(gated) == {3}
    t5_style = {"dense_act_fn": "gelu_new", "feed_forward_proj": "gated-gelu", "is_gated_act": True}
    assert read("switch_transformers", **t5_style) == read("switch_transformers", is_gated_act=True) == gated


def test_positions_are_learned_or_fixed() -> None:
    absolute = [name for name in TINY if "decoder_layers" in TINY[name]]
    rows = {name: [stack.positions for stack in stacks(read(name))] for name in absolute}
    assert {name for name, each in rows.items() if each == [66, 66]} == {"bart", "plbart", "mbart"}
    exact = {"blenderbot", "blenderbot-small", "pegasus", "marian"}
    assert {name for name, each in rows.items() if each == [64, 64]} == exact
    assert all(rows[name] == [0, 0] for name in ("m2m_100", "nllb-moe"))


def test_real_files_state_much_that_does_not_matter() -> None:
    t5 = {
        "architectures": ["T5WithLMHeadModel"], "layer_norm_epsilon": 1e-6, "n_positions": 512, "output_past": True,
        "relative_attention_max_distance": 128, "dense_act_fn": "relu", "is_gated_act": False,
        "task_specific_params": {"summarization": {"num_beams": 4}}, "is_encoder_decoder": True,
    }
    assert read("t5", **t5) == read("t5")
    bart = {
        "architectures": ["BartModel"], "num_hidden_layers": 4, "add_final_layer_norm": False, "scale_embedding": True,
        "normalize_embedding": True, "normalize_before": True, "encoder_layerdrop": 0.05, "classif_dropout": 0.1,
        "extra_pos_embeddings": 2, "static_position_embeddings": True, "save_step": 27, "init_std": 0.02,
    }
    assert read("bart", **bart) == read("bart")
    nllb = {
        "router_dtype": "float32", "router_ignore_padding_tokens": False, "batch_prioritized_routing": False,
        "second_expert_policy": "all", "normalize_router_prob_before_dropping": False, "moe_token_dropout": 0.2,
        "moe_eval_capacity_token_fraction": 1.0, "expert_capacity": 64, "router_z_loss_coef": 0.001,
    }
    assert read("nllb-moe", **nllb) == read("nllb-moe")


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("t5", {"architectures": ["T5EncoderModel"]}, "architectures"),
        ("bart", {"architectures": ["BartForSequenceClassification"]}, "architectures"),
        ("t5", {"is_encoder_decoder": False}, "is_encoder_decoder"),
        ("t5", {"feed_forward_proj": "gated-gelu-new"}, "feed_forward_proj"),
        ("t5", {"feed_forward_proj": "open-gelu"}, "feed_forward_proj"),
        ("t5", {"feed_forward_proj": ["relu"]}, "feed_forward_proj"),
        ("t5", {"is_gated_act": True}, "is_gated_act"),
        ("t5", {"num_experts": 4}, "num_experts"),
        ("switch_transformers", {"feed_forward_proj": "relu", "is_gated_act": True}, "is_gated_act"),
        ("switch_transformers", {"num_selected_experts": 2}, "num_selected_experts"),
        ("switch_transformers", {"encoder_sparse_step": 4}, "encoder_sparse_step"),
        ("st_moe", {"feed_forward_proj": "relu"}, "feed_forward_proj"),
        ("bart", {"tie_word_embeddings": False}, "tie_word_embeddings"),
        ("marian", {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings"),
        ("marian", {"decoder_vocab_size": 95}, "decoder_vocab_size"),
        ("nllb-moe", {"second_expert_policy": "random"}, "second_expert_policy"),
        ("nllb-moe", {"num_experts_per_tok": 1}, "num_experts_per_tok"),
    ],
)
def test_an_unknown_structure_is_named_and_not_counted(name: str, changes: Config, key: str) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        read(name, **changes)
    assert raised.value.where == f"{WHERE}:{key}"


@pytest.mark.parametrize(
    ("name", "changes", "key", "what"),
    [
        ("t5", {"d_kv": None}, "d_kv", "is missing"),
        ("t5", {"num_decoder_layers": 10**8}, "num_decoder_layers", "between 1 and 10000"),
        ("switch_transformers", {"num_sparse_encoder_layers": 3}, "num_sparse_encoder_layers", "does not divide 4"),
        # The class of transformers makes one sparse layer of none.
        ("switch_transformers", {"num_sparse_decoder_layers": 0}, "num_sparse_decoder_layers", "between 1 and 3"),
        ("st_moe", {"num_selected_experts": 6}, "num_selected_experts", "more than the 5 experts"),
        ("nllb-moe", {"decoder_sparse_step": None}, "decoder_sparse_step", "is missing"),
        ("nllb-moe", {"num_experts": 1}, "num_experts", "between 2"),
        ("bart", {"decoder_attention_heads": 5}, "decoder_attention_heads", "does not divide 48"),
        ("bart", {"num_hidden_layers": 5}, "encoder_layers", "means the same"),
    ],
)
def test_a_contradiction_says_what_and_where(name: str, changes: Config, key: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as raised:
        read(name, **changes)
    assert raised.value.where == f"{WHERE}:{key}"


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2, 100), st.floats(), st.text(max_size=5),
    st.sampled_from(["gated-gelu", "relu"]), st.lists(st.integers(), max_size=2), st.just({"a": 1}),
)


@settings(deadline=None, max_examples=400)
@given(st.data(), st.sampled_from(sorted(seq2seq.TINY)))
def test_any_change_gives_two_stacks_or_an_input_error(data: st.DataObject, name: str) -> None:
    others = {"feed_forward_proj", "dense_act_fn", "is_gated_act", "tie_word_embeddings", "num_experts", "router_bias"}
    key = data.draw(st.sampled_from(sorted({*seq2seq.TINY[name], *others})))
    config = {**seq2seq.TINY[name], key: data.draw(ANYTHING)}
    try:
        encoder, decoder = stacks(architecture_from_config(config, WHERE))
    except InputError as error:
        assert error.where.startswith(WHERE)
        assert "\n" not in error.what
    else:
        stated = [config[key] for key in ("num_layers", "encoder_layers") if key in config]
        assert [encoder.layers] == stated
        assert decoder.layers == (config.get("num_decoder_layers") or config.get("decoder_layers") or encoder.layers)


# Counts that no class of transformers gives ----------------------------------------------------------------------


def test_st_moe_by_hand() -> None:
    """4 + 3 layers, 2 + 1 of them with 5 experts and a dense feed-forward with a norm of its own behind them."""
    hidden, attention, feed_forward = 48, 4 * 48 * 60, 3 * 48 * 40
    parameters = counted(TINY["st_moe"])
    assert parameters == ParameterCount(
        embedding=96 * hidden,
        head=96 * hidden,
        attention=(4 + 2 * 3) * attention + 2 * 8 * 6,
        dense_ffn=7 * feed_forward,
        routed_experts=3 * 5 * feed_forward,
        routed_experts_used=3 * 2 * feed_forward,
        router=3 * 5 * hidden,
        norm=(4 * 2 + 2 + 3 * 3 + 1 + 2) * hidden,
    )


@pytest.mark.torch
def test_gated_switch_experts_equal_a_class_with_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class of transformers with one more matrix in each feed-forward, as the checkpoint of switch-xxl-128 has."""
    import torch
    from transformers.models.switch_transformers import modeling_switch_transformers

    feed_forward: Any = modeling_switch_transformers.SwitchTransformersDenseActDense
    ungated_init = feed_forward.__init__

    def gated_init(self: Any, config: Any) -> None:
        config.dense_act_fn = "gelu_new"
        ungated_init(self, config)
        self.wi_1 = torch.nn.Linear(config.d_model, config.d_ff, bias=False)

    gated = {**TINY["switch_transformers-own-head"], "dense_act_fn": "gated-gelu"}
    ungated = count_by_names(build(TINY["switch_transformers-own-head"], "meta"))
    monkeypatch.setattr(feed_forward, "__init__", gated_init)
    expected = count_by_names(build(gated, "meta"))
    assert counted(gated) == expected
    assert 2 * expected.routed_experts == 3 * ungated.routed_experts


@pytest.mark.torch
@pytest.mark.parametrize("name", ["t5-own-head", "mt5"])
def test_a_head_of_its_own_is_counted_though_the_class_ties_it(name: str) -> None:
    untied = {**TINY[name], "tie_word_embeddings": False}
    expected = count_by_names(build(untied, "meta"))
    assert expected.head == expected.embedding == 96 * 48
    assert counted(untied) == expected


@pytest.mark.torch
@pytest.mark.parametrize("name", ["switch_transformers", "switch_transformers-all-sparse", "nllb-moe-router-bias"])
@pytest.mark.parametrize("experts", [4, 5, 19])
def test_every_count_is_linear_in_the_number_of_experts(name: str, experts: int) -> None:
    few, more, many = (
        count_by_names(build({**TINY[name], "num_experts": number}, "meta")) for number in (2, 3, experts)
    )
    assert few_and_more(few, more, experts - 2) == many == counted({**TINY[name], "num_experts": experts})


@pytest.mark.torch
def test_two_thousand_experts_equal_the_class_by_extrapolation() -> None:
    config = Catalog(Path(__file__).parents[2] / "suites").load("switch-c-2048").config
    assert config is not None and config["num_experts"] == 2048
    assert counted(dict(config)) == count_on_meta(dict(config))
