"""Counts against the model classes of transformers: parameters on the meta device, FLOPs by torch's own counter."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from meta_models import build, count_by_names
from model_configs import REAL, TINY, dense, seq2seq, sparse

from harness.accounting import (
    count_parameters,
    flops_per_token,
    prefill_flops,
)
from harness.accounting.parts import group_accounts
from harness.architecture import Architecture, LatentAttention
from harness.hf_config import architecture_from_config, read_config

pytestmark = pytest.mark.torch

RELEASED = {**dense.RELEASED, **sparse.RELEASED, **seq2seq.RELEASED}
CONFIGS = {name: config for name, config in {**TINY, **REAL}.items() if name not in RELEASED}
DECODERS = {**dense.KNOWN, **sparse.KNOWN}
TOKENS = 12
# The model types whose attention modules or configuration say which window a layer has.
WINDOWED = {"mistral", "qwen2", "qwen3", "mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "llama"}
WINDOWED |= {"afmoe", "cohere2_moe", "dots1", "granitemoe_swa", "laguna", "mellum", "mimo_v2_flash", "phimoe"}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_component_equals_the_tensors_of_the_model(name: str) -> None:
    expected = count_by_names(build(CONFIGS[name], "meta"))
    assert count_parameters(architecture_from_config(CONFIGS[name], name)) == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_what_transformers_saves_is_read_as_the_same_structure(name: str, tmp_path: Path) -> None:
    from transformers import AutoConfig

    saved = AutoConfig.for_model(**CONFIGS[name])
    saved.save_pretrained(tmp_path)
    expected = architecture_from_config(CONFIGS[name], name)
    assert architecture_from_config(read_config(tmp_path), name) == expected
    assert architecture_from_config(saved.to_dict(), name) == expected


@pytest.mark.parametrize("name", [name for name in DECODERS if DECODERS[name]["model_type"] in WINDOWED])
def test_layers_have_the_windows_of_the_model(name: str) -> None:
    model = build(DECODERS[name], "meta")
    groups = architecture_from_config(DECODERS[name], name).each_layer()
    for layer, group in zip(model.model.layers, groups, strict=True):
        window = getattr(layer.self_attn, "sliding_window", getattr(model.config, "sliding_window", None)) or None
        assert getattr(group.mixers[0], "window", None) == window


def square_instead_of_causal(architecture: Architecture) -> int:
    """What an eager prefill multiplies beyond the causal pairs: it computes all TOKENS x TOKENS and masks half."""
    square = sum(
        group.count * part.prefill_score_flops * (TOKENS**2 - part.reach.causal_pairs(TOKENS))
        for group, parts in group_accounts(architecture.decoder, architecture.hidden_size)
        for part in parts
    )
    for group in architecture.each_layer():
        part = group.mixers[0]
        if isinstance(part, LatentAttention) and part.selected:
            # its class masks what is not selected, and scores expanded heads
            expanded = 2 * part.heads * (part.query_dim + part.v_head_dim)
            square += (expanded - 2 * part.heads * (2 * part.kv_rank + part.rope_dim)) * TOKENS**2
    return square


def expanded_instead_of_absorbed(architecture: Architecture, context: int) -> int:
    """What transformers' decoding of latent attention costs beyond the absorbed form.

    It expands the whole cache again at every step, then scores expanded heads.
    """
    extra = 0
    for group in architecture.each_layer():
        part = group.mixers[0]
        if isinstance(part, LatentAttention):
            expand = 2 * part.kv_rank * part.heads * (part.nope_dim + part.v_head_dim) * (context - 1)
            expanded = 2 * part.heads * (part.query_dim + part.v_head_dim) * context
            seen = min(context, part.selected or context)
            absorbed = 2 * part.heads * (2 * part.kv_rank + part.rope_dim) * seen
            extra += expand + expanded - absorbed
    return extra


def all_experts_instead_of_chosen(architecture: Architecture) -> int:
    """What Llama 4's class multiplies a token beyond the chosen experts: it weights the others by nothing."""
    return sum(
        group.count * 2 * (tensor.copies - tensor.used) * tensor.size
        for group, parts in group_accounts(architecture.decoder, architecture.hidden_size)
        for part in parts
        for tensor in part.tensors
        if tensor.component == "routed_experts"
    )


def cached_instead_of_seen(architecture: Architecture, context: int) -> int:
    """What decoding scores beyond a token's own chunk: the cache has the last positions, of which most are masked.

    For selected positions `expanded_instead_of_absorbed` says it.
    """
    return sum(
        group.count * part.decode_score_flops * int(part.reach.kept(context, 0) - part.reach.seen(context, 0))
        for group, parts in group_accounts(architecture.decoder, architecture.hidden_size)
        for part in parts
        if part.reach.chunk is not None
    )


@pytest.mark.parametrize("name", DECODERS)
def test_flops_equal_those_that_torch_counts(name: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # without gradients, because DBRX hands parameters from module to module, which the counter cannot follow then
    model = build(DECODERS[name], "cpu", attn_implementation="eager").requires_grad_(False)
    architecture = architecture_from_config(DECODERS[name], name)
    if architecture.is_moe:
        # The eager loop multiplies each expert by its own tokens only, as grouped kernels do.
        model.set_experts_implementation("eager")
    ids = torch.randint(3, 96, (1, TOKENS + 1), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), FlopCounterMode(display=False) as prefill:
        output = model(ids[:, :TOKENS], use_cache=True, logits_to_keep=1)
    with torch.no_grad(), FlopCounterMode(display=False) as decode:
        model(ids[:, TOKENS:], past_key_values=output.past_key_values, use_cache=True, logits_to_keep=1)
    others = all_experts_instead_of_chosen(architecture) if model.config.model_type == "llama4_text" else 0
    expected = prefill_flops(architecture, TOKENS).total + square_instead_of_causal(architecture)
    assert prefill.get_total_flops() == expected + others * TOKENS
    expected = flops_per_token(architecture, context=TOKENS + 1).total
    expected += others + cached_instead_of_seen(architecture, TOKENS + 1)
    assert decode.get_total_flops() == expected + expanded_instead_of_absorbed(architecture, TOKENS + 1)


def test_the_absorbed_form_gives_the_same_result_at_the_counted_cost() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    heads, nope, rope, rank, value, context = 6, 12, 4, 10, 9, 13
    torch.manual_seed(0)
    up_keys, up_values = torch.randn(heads, nope, rank).double(), torch.randn(heads, value, rank).double()
    latent, positions = torch.randn(context, rank).double(), torch.randn(context, rope).double()
    query, query_rope = torch.randn(heads, 1, nope).double(), torch.randn(heads, 1, rope).double()

    keys, values = latent @ up_keys.transpose(1, 2), latent @ up_values.transpose(1, 2)
    weights = torch.softmax(query @ keys.transpose(1, 2) + query_rope @ positions.T, dim=-1)
    expected = weights @ values
    with FlopCounterMode(display=False) as before:
        absorbed = query @ up_keys
    with FlopCounterMode(display=False) as scores:
        weights = torch.softmax(absorbed @ latent.T + query_rope @ positions.T, dim=-1)
        summed = weights @ latent
    with FlopCounterMode(display=False) as after:
        result = summed @ up_values.transpose(1, 2)
    torch.testing.assert_close(result, expected)

    config = TINY["deepseek_v2"]
    architecture = architecture_from_config(config, "deepseek_v2")
    counted = flops_per_token(architecture, context=context).attention_scores
    assert scores.get_total_flops() == counted / config["num_hidden_layers"]
    assert before.get_total_flops() + after.get_total_flops() == 2 * rank * heads * (nope + value)


@pytest.mark.parametrize(
    "name",
    ["mixtral", "olmoe", "gpt_oss", "deepseek_v2", "deepseek_v3", "ernie4_5_moe", "hunyuan_v1_moe", "afmoe", "phimoe"],
)
def test_a_decode_step_uses_as_many_experts_as_stated(name: str) -> None:
    import torch

    model = build(TINY[name], "cpu", attn_implementation="eager")
    model.set_experts_implementation("eager")
    chosen: list[int] = []
    for module in model.modules():
        if type(module).__name__.endswith("Experts"):
            # Every expert module takes the hidden states, then the chosen experts of each token.
            module.register_forward_pre_hook(lambda _, inputs: chosen.append(inputs[1].shape[-1]))
    with torch.no_grad():
        model(torch.tensor([[5]]))
    parts = [layer.moe for layer in architecture_from_config(TINY[name], name).each_layer()]
    assert chosen == [part.experts_per_token for part in parts if part is not None]
    assert math.prod(chosen) > 0
