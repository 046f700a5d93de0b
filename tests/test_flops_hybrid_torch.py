"""FLOPs and states of recurrent mixers against what torch counts in transformers' models.

torch's counter sees matrix products and convolutions, and no elementwise products, wherever they are summed. The models
write recurrences partly in those, partly in chunks that multiply more than the recurrence does. What it sees beyond or
below the convention of `harness.accounting.parts` is stated here for every kind as a formula, and has to be exact.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from meta_models import build
from model_configs import hybrid

from harness.accounting import flops_per_token, prefill_flops, state_bytes
from harness.accounting.parts import account
from harness.architecture import (
    Architecture,
    GatedDeltaNet,
    GroupedQueryAttention,
    KimiDeltaAttention,
    LatentAttention,
    LightningAttention,
    Mamba,
    Mamba2,
    Mixer,
    ShortConvolution,
)
from harness.hf_config import architecture_from_config

pytestmark = pytest.mark.torch

TOKENS = 12
# It does not divide the tokens: transformers fills up Mamba 2's last chunk, and cuts that of lightning attention.
CHUNK = 5
CHUNKS = 3
CONFIGS = hybrid.TINY
# One model for each kind of mixer.
KINDS = [
    "mamba", "mamba2", "jamba-biases", "falcon_h1", "qwen3_next", "kimi_linear", "minimax", "lfm2", "olmo_hybrid",
]  # fmt: skip


def convolution(part: Mixer, hidden_size: int) -> tuple[int, int]:
    """Channels and width of the causal convolution in a mixer; 0 channels where there is none."""
    if isinstance(part, Mamba):
        return part.inner_width, part.conv_width
    if isinstance(part, Mamba2):
        return part.inner_width + 2 * part.state_groups * part.state_size, part.conv_width
    if isinstance(part, GatedDeltaNet):
        return 2 * part.key_heads * part.key_dim + part.value_heads * part.value_dim, part.conv_width
    if isinstance(part, KimiDeltaAttention):
        return 3 * part.heads * part.head_dim, part.conv_width
    if isinstance(part, ShortConvolution):
        return hidden_size, part.conv_width
    return 0, 1


def state(part: Mixer) -> int:
    """The values of the recurrent state of a mixer."""
    if isinstance(part, Mamba):
        return part.inner_width * part.state_size
    if isinstance(part, Mamba2):
        return part.heads * part.head_dim * part.state_size
    if isinstance(part, GatedDeltaNet):
        return part.value_heads * part.key_dim * part.value_dim
    if isinstance(part, KimiDeltaAttention | LightningAttention):
        return part.heads * part.head_dim**2
    return 0


def chunked_mamba2(part: Mamba2) -> int:
    """The matrix products of transformers' chunked scan, over chunks filled up with zeros.

    In each chunk the scores between all its positions (over the state) and their sums of values (over the head's
    width), the state it adds, and what each position reads from the state before it; then each chunk's state from
    those of all chunks and the initial one.
    """
    scores = CHUNKS * CHUNK**2 * part.heads * (part.state_size + part.head_dim)
    return 2 * (scores + 2 * CHUNKS * CHUNK * state(part) + (CHUNKS + 1) ** 2 * state(part))


def seen_in_prefill(part: Mixer, hidden_size: int) -> int:
    """What torch counts of a mixer's prefill less what the convention counts."""
    counted = account(part, hidden_size)
    if isinstance(part, GroupedQueryAttention | LatentAttention):
        # eager attention multiplies all pairs and masks half of them
        return counted.prefill_score_flops * (TOKENS**2 - counted.reach.causal_pairs(TOKENS))
    # Depthwise convolutions count right: channels * width products for each output. But they are padded on both sides,
    # so that there are TOKENS + width - 1 outputs, of which the last width - 1 are cut off.
    channels, width = convolution(part, hidden_size)
    padding = 2 * channels * width * (width - 1)
    if isinstance(part, Mamba):
        # tokens one by one: reading from the state is a matrix product, decaying and writing is elementwise
        return padding - 2 * state(part) * TOKENS
    if isinstance(part, Mamba2):
        return padding + chunked_mamba2(part) - 4 * state(part) * TOKENS
    if isinstance(part, GatedDeltaNet | KimiDeltaAttention):
        # with the recurrent function in place of the chunked one, all three passes over the state are elementwise
        return padding - 6 * state(part) * TOKENS
    if isinstance(part, LightningAttention):
        # In blocks, scores and their sums of values come on top of writing and reading the state.
        blocks = [CHUNK, CHUNK, TOKENS - 2 * CHUNK]
        return sum(4 * part.heads * part.head_dim * block**2 for block in blocks)
    return padding


def seen_in_decoding(part: Mixer, hidden_size: int, whole_cache: bool) -> int:
    """What torch counts of the step of token TOKENS + 1 less what the convention counts."""
    counted = account(part, hidden_size)
    context = TOKENS + 1
    if isinstance(part, GroupedQueryAttention):
        # the cache of MiniMax keeps what lies before a window and masks it
        return whole_cache * counted.decode_score_flops * int(context - counted.reach.seen(context, 0))
    if isinstance(part, LatentAttention):
        # transformers expands the latent vectors instead of absorbing the expansion into queries and outputs
        again = 2 * part.kv_rank * part.heads * (part.nope_dim + part.v_head_dim) * (context - 1)
        return again + (counted.prefill_score_flops - counted.decode_score_flops) * context
    # The convolution runs over width + 1 columns, so that it has two outputs, of which the first is cut off.
    channels, width = convolution(part, hidden_size)
    padding = 2 * channels * width
    if isinstance(part, Mamba | Mamba2):
        return padding - 2 * state(part)
    if isinstance(part, GatedDeltaNet | KimiDeltaAttention):
        return padding - 6 * state(part)
    # Lightning attention writes and reads its state by matrix products; a short convolution has no other state.
    return padding


def use_recurrent_functions(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    """Lets the delta rules of a model's module prefill token by token, with its own function for that."""
    module = importlib.import_module(type(model).__module__)
    pairs = [
        ("torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule"),
        ("chunk_kimi_delta_attention", "recurrent_kimi_delta_attention"),
    ]
    for chunked, recurrent in pairs:
        if hasattr(module, chunked):
            monkeypatch.setattr(module, chunked, getattr(module, recurrent))


def ready(name: str) -> tuple[Any, Architecture]:
    """A model with eager attention and experts, and its structure."""
    import torch

    torch.manual_seed(0)
    chunks = {"chunk_size": CHUNK, "mamba_chunk_size": CHUNK, "block_size": CHUNK}
    model = build({**CONFIGS[name], **chunks}, "cpu", attn_implementation="eager")
    architecture = architecture_from_config(CONFIGS[name], name)
    if architecture.is_moe:
        model.set_experts_implementation("eager")
    return model, architecture


def step(model: Any, ids: Any, cache: Any = None) -> tuple[Any, Any]:
    """The logits of the last of `ids`, and the cache behind them."""
    import torch

    key = "cache_params" if model.config.model_type in ("mamba", "mamba2", "falcon_mamba") else "past_key_values"
    with torch.no_grad():
        output = model(ids, use_cache=True, logits_to_keep=1, **{key: cache})
    return output.logits[:, -1], output[key]


def some_ids() -> Any:
    """TOKENS tokens and one more."""
    import torch

    return torch.randint(3, 96, (1, TOKENS + 1), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CONFIGS)
def test_flops_differ_from_those_that_torch_counts_as_stated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, architecture = ready(name)
    use_recurrent_functions(monkeypatch, model)
    ids, hidden = some_ids(), architecture.hidden_size
    with FlopCounterMode(display=False) as prefill:
        _, cache = step(model, ids[:, :TOKENS])
    with FlopCounterMode(display=False) as decode:
        step(model, ids[:, TOKENS:], cache)
    mixers = [part for layer in architecture.each_layer() for part in layer.mixers]
    expected = prefill_flops(architecture, TOKENS).total + sum(seen_in_prefill(part, hidden) for part in mixers)
    assert prefill.get_total_flops() == expected
    whole = model.config.model_type == "minimax"
    more = sum(seen_in_decoding(part, hidden, whole) for part in mixers)
    assert decode.get_total_flops() == flops_per_token(architecture, context=TOKENS + 1).total + more


@pytest.mark.parametrize("name", CONFIGS)
def test_states_are_those_of_the_caches_less_one_column_of_each_convolution(name: str) -> None:
    model, architecture = ready(name)
    _, cache = step(model, some_ids())
    mixers = [part for layer in architecture.each_layer() for part in layer.mixers]
    # transformers keeps `width` columns of a convolution's input, of which the next step needs only width - 1
    columns = sum(convolution(part, architecture.hidden_size)[0] for part in mixers)
    kept = [tensor for layer in cache.layers for tensor in states_of(layer)]
    kept += [tensor for tensor in getattr(cache, "linear_cache", []) if len(tensor)]
    assert sum(tensor.numel() for tensor in kept) - columns == state_bytes(architecture, 1.0)


def states_of(layer: Any) -> list[Any]:
    """The tensors of a layer of a cache that do not grow."""
    convolutions, recurrences = getattr(layer, "conv_states", {}), getattr(layer, "recurrent_states", {})
    return [tensor for tensor in [*convolutions.values(), *recurrences.values()] if tensor is not None]


@pytest.mark.parametrize("name", KINDS)
def test_the_chunked_form_gives_what_the_recurrent_one_gives(name: str) -> None:
    import torch

    model, _ = ready(name)
    ids = some_ids()
    expected, _ = step(model, ids)
    result, cache = step(model, ids[:, :1])
    for token in range(1, TOKENS + 1):
        result, cache = step(model, ids[:, token : token + 1], cache)
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)
