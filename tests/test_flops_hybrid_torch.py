"""FLOPs and states of recurrent mixers against what torch counts in transformers' models.

torch's counter sees matrix products and convolutions, and no elementwise products, wherever they are summed. The models
write recurrences partly in those, partly in chunks that multiply more than the recurrence does. What it sees beyond or
below the convention of `harness.accounting.parts` is stated here for every kind as a formula, and has to be exact.
What a state costs it sees little of: for that every recurrence is written once more, in matrix products.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

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


# One token of each recurrence in matrix products -----------------------------------------------------------------

STEPS = 3
Step = Callable[[Any, int], tuple[Any, Any]]


class Recurrence(NamedTuple):
    """A mixer's recurrence over STEPS tokens of random inputs, from a random state (lightning attention: none).

    `step` takes a state and the number of a token, and gives the output and the next state; it sums by matrix
    products only. `outputs` and `final` are what the functions of transformers make of the same inputs.
    """

    step: Step
    start: Any
    outputs: Any
    final: Any


def random_values(*shape: int) -> Any:
    import torch

    return torch.randn(*shape)


def delta_step(decays: Any, writes: Any, queries: Any, keys: Any, values: Any) -> Step:
    """A delta rule: decay the state, read it at the key, write what the value differs by, read it at the query.

    All are [token, head, width], decays of one width or one a channel of the key; a state is [head, key, value].
    """

    def step(state: Any, token: int) -> tuple[Any, Any]:
        state = decays[token, :, :, None] * state
        difference = values[token, :, None] - keys[token, :, None] @ state
        state = state + keys[token, :, :, None] @ (writes[token, :, :, None] * difference)
        return (queries[token, :, None] @ state)[:, 0], state

    return step


def gated_delta_rule(part: GatedDeltaNet) -> Recurrence:
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule

    heads, group = part.value_heads, part.value_heads // part.key_heads
    # every key head serves a group of value heads
    queries, keys = (random_values(STEPS, part.key_heads, part.key_dim).repeat_interleave(group, 1) for _ in range(2))
    values, start = random_values(STEPS, heads, part.value_dim), random_values(heads, part.key_dim, part.value_dim)
    log_decays, writes = -random_values(STEPS, heads).exp(), random_values(STEPS, heads).sigmoid()
    outputs, final = torch_recurrent_gated_delta_rule(
        queries[None], keys[None], values[None], log_decays[None], writes[None], start[None], output_final_state=True
    )
    step = delta_step(
        log_decays.exp()[..., None], writes[..., None], queries / part.key_dim**0.5, keys, values
    )
    return Recurrence(step, start, outputs[0], final[0])


def kimi_delta_rule(part: KimiDeltaAttention) -> Recurrence:
    from transformers.models.kimi_linear.modeling_kimi_linear import recurrent_kimi_delta_attention

    shape = STEPS, part.heads, part.head_dim
    queries, keys, values = (random_values(*shape) for _ in range(3))
    start = random_values(part.heads, part.head_dim, part.head_dim)
    log_decays, writes = -random_values(*shape).exp(), random_values(STEPS, part.heads).sigmoid()
    outputs, final = recurrent_kimi_delta_attention(
        queries[None], keys[None], values[None], log_decays[None], writes[None], start[None], output_final_state=True
    )
    step = delta_step(log_decays.exp(), writes[..., None], queries / part.head_dim**0.5, keys, values)
    return Recurrence(step, start, outputs[0], final[0])


def mamba_scan(part: Mamba) -> Recurrence:
    """Each channel has a state of its own, with its own decays; all are written at one vector and read at another."""
    import torch
    from transformers.models.mamba.modeling_mamba import mamba_selective_state_update

    inputs, times = random_values(STEPS, part.inner_width), random_values(STEPS, part.inner_width).exp()
    rates = -random_values(part.inner_width, part.state_size).exp()
    writes, reads = random_values(2, STEPS, part.state_size)
    start = random_values(part.inner_width, part.state_size)

    def step(state: Any, token: int) -> tuple[Any, Any]:
        written = (times[token] * inputs[token])[:, None] @ writes[token][None]
        state = (times[token][:, None] * rates).exp() * state + written
        return (state @ reads[token][:, None])[:, 0], state

    final = start[None].clone()
    outputs = [
        mamba_selective_state_update(
            final, inputs[token][None], times[token][None], rates, writes[token][None], reads[token][None]
        )[0]
        for token in range(STEPS)
    ]
    return Recurrence(step, start, torch.stack(outputs), final[0])


def mamba2_scan(part: Mamba2) -> Recurrence:
    """Each head has one decay, and each group of heads one vector to write at and one to read at."""
    import torch
    from transformers.models.mamba2.modeling_mamba2 import mamba2_selective_state_update

    width, size = part.head_dim, part.state_size
    inputs, times = random_values(STEPS, part.heads, width), random_values(STEPS, part.heads).exp()
    rates = -random_values(part.heads).exp()
    of_groups = random_values(2, STEPS, part.state_groups, size)
    writes, reads = of_groups.repeat_interleave(part.heads // part.state_groups, dim=2)
    start = random_values(part.heads, width, size)

    def step(state: Any, token: int) -> tuple[Any, Any]:
        written = (times[token, :, None] * inputs[token])[..., None] @ writes[token, :, None]
        state = (times[token] * rates).exp()[:, None, None] * state + written
        return (state @ reads[token, :, :, None])[..., 0], state

    final = start[None].clone()
    outputs = [
        mamba2_selective_state_update(
            final, inputs[token][None], times[token, :, None].expand(-1, width)[None],
            rates[:, None, None].expand(-1, width, size), of_groups[0, token][None], of_groups[1, token][None],
        )[0]
        for token in range(STEPS)
    ]  # fmt: skip
    return Recurrence(step, start, torch.stack(outputs), final[0])


def lightning_attention(part: LightningAttention) -> Recurrence:
    """Linear attention with a fixed decay a head: the class itself, without its projections, its norm and its gate."""
    import torch
    from transformers import MiniMaxConfig
    from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention

    class Open(torch.nn.Module):
        def forward(self, hidden: Any) -> Any:
            return torch.full_like(hidden[..., :1], torch.inf)

    module = MiniMaxLightningAttention(MiniMaxConfig(**CONFIGS["minimax"], block_size=STEPS - 1), layer_idx=0)
    module.qkv_proj = module.act_fn = module.norm = module.out_proj = torch.nn.Identity()
    module.output_gate = Open()
    queries, keys, values = random_values(3, STEPS, part.heads, part.head_dim)
    together = torch.cat([queries, keys, values], dim=-1).flatten(1)
    outputs, final = module(together[None], None, None)
    decays = torch.exp(-module.slope_rate)

    def step(state: Any, token: int) -> tuple[Any, Any]:
        state = decays * state + keys[token, :, :, None] @ values[token, :, None]
        return (queries[token, :, None] @ state)[:, 0], state

    start = torch.zeros(part.heads, part.head_dim, part.head_dim)
    return Recurrence(step, start, outputs[0].unflatten(-1, (part.heads, part.head_dim)), final[0])


RECURRENCES: dict[str, tuple[type, Callable[[Any], Recurrence]]] = {
    "qwen3_next": (GatedDeltaNet, gated_delta_rule),
    "kimi_linear": (KimiDeltaAttention, kimi_delta_rule),
    "mamba": (Mamba, mamba_scan),
    "mamba2": (Mamba2, mamba2_scan),
    "minimax": (LightningAttention, lightning_attention),
}


@pytest.mark.parametrize("name", RECURRENCES)
def test_a_recurrence_in_matrix_products_gives_the_same_result_at_the_counted_cost(name: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    kind, recurrence_of = RECURRENCES[name]
    architecture = architecture_from_config(CONFIGS[name], name)
    parts = [part for layer in architecture.each_layer() for part in layer.mixers if isinstance(part, kind)]
    recurrence = recurrence_of(parts[0])
    reached, outputs = recurrence.start, []
    with FlopCounterMode(display=False) as counter:
        for token in range(STEPS):
            output, reached = recurrence.step(reached, token)
            outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs), recurrence.outputs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(reached, recurrence.final, rtol=1e-4, atol=1e-4)
    assert reached.numel() == state(parts[0])
    counted = flops_per_token(architecture, context=1).attention_state
    assert STEPS * counted == len(parts) * counter.get_total_flops()
    assert counted > 0
