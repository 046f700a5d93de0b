"""Encoder-decoder models against transformers and torch's counter: arithmetic, cache, and what a decode step reads.

The counter sees the router in float32 like any other product, only the experts that are chosen, and neither lookups
of positions nor norms. A source of as many tokens as the experts' capacities allow is dropped by none of them.
"""

from __future__ import annotations

from typing import Any

import pytest
from meta_models import build
from model_configs import seq2seq

from harness.accounting import (
    PRECISIONS,
    decode_bytes,
    flops_per_token,
    kv_bytes,
    kv_bytes_per_token,
    prefill_flops,
    state_bytes,
)
from harness.errors import InputError
from harness.hf_config import architecture_from_config

pytestmark = pytest.mark.torch

CONFIGS = seq2seq.KNOWN
SPARSE = {name: config for name, config in CONFIGS.items() if "num_experts" in config}
SOURCE, STEPS = 13, 4


def chosen_experts(self: Any, hidden_states: Any, _: Any, router_probs: Any) -> Any:
    """Every expert of NLLB-MoE on the tokens that chose it.

    In transformers 5.19 the class takes the mask of the first choice for numbers of experts, so that it runs two of
    the experts on all tokens, most of them with weight 0, instead of the two that each token chose.
    """
    import torch

    result = torch.zeros_like(hidden_states)
    for number in range(self.num_experts):
        tokens = router_probs[:, number].nonzero().flatten()
        if len(tokens):
            weighted = self[f"expert_{number}"](hidden_states[tokens]) * router_probs[tokens, number, None]
            result.index_add_(0, tokens, weighted)
    return result


@pytest.fixture(params=CONFIGS)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    from transformers.models.nllb_moe import modeling_nllb_moe

    monkeypatch.setattr(modeling_nllb_moe.NllbMoeExperts, "forward", chosen_experts)
    return str(request.param)


def tokens(count: int) -> Any:
    import torch

    return torch.randint(3, 90, (1, count), generator=torch.Generator().manual_seed(0))


def held(cache: Any) -> int:
    return sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)


def run(model: Any) -> tuple[int, list[int], list[tuple[int, int]]]:
    """FLOPs of the encoder, FLOPs of each decode step, and the cache behind each: (self, cross) elements."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    flops: list[int] = []
    elements: list[tuple[int, int]] = []
    cache: Any = None
    with torch.no_grad():
        with FlopCounterMode(display=False) as encoder:
            encoded = model.get_encoder()(tokens(SOURCE))
        for token in tokens(STEPS).split(1, dim=1):
            with FlopCounterMode(display=False) as step:
                output = model(
                    encoder_outputs=encoded, decoder_input_ids=token, past_key_values=cache, use_cache=True
                )
            cache = output.past_key_values
            flops.append(step.get_total_flops())
            elements.append((held(cache.self_attention_cache), held(cache.cross_attention_cache)))
    return encoder.get_total_flops(), flops, elements


def test_flops_equal_those_that_torch_counts(name: str) -> None:
    architecture = architecture_from_config(CONFIGS[name], name)
    encoder, steps, _ = run(build(CONFIGS[name], "cpu", attn_implementation="eager"))
    counted = [
        flops_per_token(architecture, context=context, source=SOURCE).total for context in range(1, STEPS + 1)
    ]
    # The first step also projects the keys and values of the source, which the prefill counts.
    assert steps[1:] == counted[1:]
    assert encoder + steps[0] - counted[0] == prefill_flops(architecture, SOURCE).total
    assert encoder < prefill_flops(architecture, SOURCE).total
    assert prefill_flops(architecture, SOURCE).flops.head == 0


def test_the_cache_holds_as_much_as_counted(name: str) -> None:
    architecture = architecture_from_config(CONFIGS[name], name)
    _, _, elements = run(build(CONFIGS[name], "cpu", attn_implementation="eager"))
    for context, (own, cross) in enumerate(elements, start=1):
        assert kv_bytes(architecture, context, 2.0, source=SOURCE) == 2 * (own + cross)
        assert kv_bytes(architecture, context, 2.0, source=0) == 2 * own
        assert kv_bytes_per_token(architecture) == 2 * own / context
    assert kv_bytes(architecture, SOURCE) == kv_bytes(architecture, SOURCE, source=SOURCE)
    assert state_bytes(architecture) == 0


def read_in_a_step(model: Any) -> tuple[int, int]:
    """Elements of the decoder and the head that a step of one sequence reads: experts of one each, and the others."""
    experts = others = 0
    for name, tensor in model.get_decoder().named_parameters():
        cross = any(part in name for part in ("EncDecAttention", "encoder_attn.", "cross_attention."))
        projects_source = cross and any(part in name for part in (".k.", ".v.", ".k_proj.", ".v_proj."))
        if "experts.expert_" in name:
            experts += tensor.numel()
        elif "embed_positions" in name:
            others += tensor.shape[1]
        elif not projects_source and "embed_tokens" not in name:
            others += tensor.numel()
    head = model.get_output_embeddings().weight
    # A tied head reads the whole table, in which the token's own row is.
    own_row = 0 if head is model.get_input_embeddings().weight else head.shape[1]
    return experts, others + head.numel() + own_row


def test_a_decode_step_reads_the_decoder_and_not_the_encoder(name: str) -> None:
    config = CONFIGS[name]
    architecture = architecture_from_config(config, name)
    experts, others = read_in_a_step(build(config, "meta"))
    read = decode_bytes(architecture, 1, 7, precision=PRECISIONS["bfloat16"])
    assert read.non_expert_weights == 2 * others
    used = seq2seq.EXPERTS_PER_TOKEN.get(config["model_type"], 0)
    assert read.expert_weights == pytest.approx(2 * experts * used / config.get("num_experts", 1))
    assert read.kv_cache == kv_bytes(architecture, 7)


@pytest.mark.parametrize("sparse", SPARSE)
def test_a_token_uses_as_many_experts_as_counted(sparse: str) -> None:
    import torch

    model = build(SPARSE[sparse], "cpu", attn_implementation="eager")
    chosen: list[int] = []
    for module in model.modules():
        if type(module).__name__.endswith("Router"):
            # Both give each token's weights for the experts: a mask of them, or the weights of the chosen.
            hook = {"switch_transformers": 0, "nllb-moe": 1}[SPARSE[sparse]["model_type"]]
            module.register_forward_hook(lambda _, __, output, hook=hook: chosen.append(int((output[hook] > 0).sum())))
    with torch.no_grad():
        model(tokens(SOURCE), decoder_input_ids=tokens(STEPS))
    architecture = architecture_from_config(SPARSE[sparse], sparse)
    assert architecture.encoder is not None
    expected = [
        used * group.moe.experts_per_token
        for stack, used in ((architecture.encoder, SOURCE), (architecture.decoder, STEPS))
        for group in stack.groups
        for _ in range(group.count)
        if group.moe is not None
    ]
    assert chosen == expected
    assert {part.experts_per_token for _, part in architecture.moe_groups} == {
        seq2seq.EXPERTS_PER_TOKEN[SPARSE[sparse]["model_type"]]
    }


def test_a_source_is_as_long_as_the_context_unless_given() -> None:
    architecture = architecture_from_config(seq2seq.TINY["t5"], "t5")
    assert flops_per_token(architecture, context=9) == flops_per_token(architecture, context=9, source=9)
    longer = flops_per_token(architecture, context=9, source=10)
    # 3 decoder layers of 6 heads of 10 values, for scores and sums.
    assert longer.attention_scores - flops_per_token(architecture, context=9).attention_scores == 3 * 4 * 6 * 10
    with pytest.raises(InputError, match="source must be at least 1"):
        flops_per_token(architecture, context=9, source=0)
