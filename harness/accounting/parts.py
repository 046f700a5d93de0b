"""What each kind of token mixer and feed-forward consists of: its tensors, its scores, its cache.

Every kind has one function here (`account`); parameters, FLOPs and bytes are all sums over what it returns, so they
cannot disagree. A multiplication and its addition are two FLOPs. Only products that are summed count: matrices,
convolutions, attention scores, and writing to and reading from a recurrent state. Norms, activations, biases, rotary
positions, decays, softmax and the weighting of experts do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, singledispatch

from harness.accounting.inventory import Account, Component, Reach, Tensor
from harness.architecture import (
    Architecture,
    DenseFeedForward,
    GatedDeltaNet,
    GroupedQueryAttention,
    Indexer,
    KimiDeltaAttention,
    LatentAttention,
    LayerGroup,
    LightningAttention,
    Mamba,
    Mamba2,
    MixtureOfAttention,
    MoeFeedForward,
    ShortConvolution,
    Stack,
)


def _matrix(component: Component, inputs: int, outputs: int) -> Tensor:
    return Tensor(component, outputs, inputs, "matrix")


def _vector(component: Component, width: int) -> Tensor:
    return Tensor(component, width)


@singledispatch
def account(part: object, hidden_size: int) -> Account:
    """The tensors and costs of one part of a layer; every kind registers its own."""
    raise NotImplementedError(f"no counting function for {type(part).__name__}")


@account.register
def _grouped_query(part: GroupedQueryAttention, hidden_size: int) -> Account:
    query, output = part.query_heads * part.head_dim, part.query_heads * part.value_dim
    key, value = part.kv_heads * part.head_dim, part.kv_heads * part.value_dim
    has_keys = part.keys != "shared"
    tensors = [_matrix("attention", hidden_size, query), _matrix("attention", output, hidden_size)]
    biases = part.qkv_bias * query + part.output_bias * hidden_size
    if has_keys:
        on_source = part.keys == "encoder"
        tensors += [
            Tensor("attention", width, hidden_size, "matrix", on_source=on_source) for width in (key, value)
        ]
        tensors.append(Tensor("attention", part.qkv_bias * (key + value), on_source=on_source))
    if part.gate_width:
        tensors.append(_matrix("attention", hidden_size, part.gate_width))
    biases += part.gate_bias * part.gate_width
    biases += part.query_heads * (part.sinks + part.position_buckets)
    tensors += [_vector("attention", biases), _vector("norm", part.norm_parameters)]
    score_flops = 2 * part.query_heads * (part.head_dim + part.value_dim)
    return Account(
        tuple(tensors),
        decode_score_flops=score_flops,
        prefill_score_flops=score_flops,
        reach=Reach(part.window, part.chunk, part.keys == "encoder"),
        cache_elements=(key + value) * has_keys,
        borrowed_elements=(key + value) * (not has_keys),
    )


@account.register
def _latent(part: LatentAttention, hidden_size: int) -> Account:
    cached = part.kv_rank + part.rope_dim
    query, output = part.heads * part.query_dim, part.heads * part.v_head_dim
    tensors = [_matrix("attention", hidden_size, cached), _matrix("attention", output, hidden_size)]
    if part.query_rank:
        tensors += [_matrix("attention", hidden_size, part.query_rank), _matrix("attention", part.query_rank, query)]
    else:
        tensors.append(_matrix("attention", hidden_size, query))
    # Absorbed decoding multiplies queries and outputs by the two halves of the key-value up-projection instead of
    # expanding the cache: the same products a token, so both forms differ only in their scores.
    tensors.append(_matrix("attention", part.kv_rank, part.heads * (part.nope_dim + part.v_head_dim)))
    rank = part.query_rank or 0
    tensors += [
        _vector("attention", part.bias * (rank + cached + hidden_size)),
        _vector("norm", rank + part.kv_rank),
    ]
    absorbed = 2 * part.heads * (2 * part.kv_rank + part.rope_dim)
    return Account(
        tuple(tensors),
        decode_score_flops=absorbed,
        prefill_score_flops=absorbed if part.selected else 2 * part.heads * (part.query_dim + part.v_head_dim),
        reach=Reach(selected=part.selected),
        cache_elements=cached,
    )


@account.register
def _indexer(part: Indexer, hidden_size: int) -> Account:
    # the products of queries and keys, and the weighted sum over heads
    score_flops = 2 * part.heads * (part.head_dim + 1)
    return Account(
        (
            _matrix("attention", part.query_rank, part.heads * part.head_dim),
            _matrix("attention", hidden_size, part.head_dim),
            _matrix("attention", hidden_size, part.heads),
            # a layer norm on the key
            _vector("norm", 2 * part.head_dim),
        ),
        decode_score_flops=score_flops,
        prefill_score_flops=score_flops,
        cache_elements=part.head_dim,
    )


@account.register
def _mixture_of_attention(part: MixtureOfAttention, hidden_size: int) -> Account:
    width = part.kv_heads * part.head_dim
    score_flops = 4 * part.experts_per_token * width
    return Account(
        (
            Tensor("routed_experts", width, hidden_size, "matrix", part.experts, part.experts_per_token),
            Tensor("routed_experts", hidden_size, width, "matrix", part.experts, part.experts_per_token),
            _matrix("router", hidden_size, part.experts),
            _matrix("attention", hidden_size, 2 * width),
            _vector("attention", part.output_bias * hidden_size),
        ),
        decode_score_flops=score_flops,
        prefill_score_flops=score_flops,
        cache_elements=2 * width,
    )


@account.register
def _mamba(part: Mamba, hidden_size: int) -> Account:
    inner, state, rank = part.inner_width, part.state_size, part.step_rank
    biases = part.projection_bias * (2 * inner + hidden_size) + part.conv_bias * inner
    return Account(
        (
            _matrix("attention", hidden_size, 2 * inner),
            Tensor("attention", inner, part.conv_width, "convolution"),
            _matrix("attention", inner, rank + 2 * state),
            _matrix("attention", rank, inner),
            _matrix("attention", inner, hidden_size),
            # the bias of the time step, the decays, and the skip connection
            _vector("attention", biases + inner + inner * state + inner),
            _vector("norm", part.inner_norms * (rank + 2 * state)),
        ),
        state_flops=4 * inner * state,
        state_elements=inner * state + inner * (part.conv_width - 1),
    )


@account.register
def _mamba2(part: Mamba2, hidden_size: int) -> Account:
    inner = part.inner_width
    channels = inner + 2 * part.state_groups * part.state_size
    projected = inner + channels + part.heads
    biases = part.projection_bias * (projected + hidden_size) + part.conv_bias * channels
    state = inner * part.state_size
    return Account(
        (
            _matrix("attention", hidden_size, projected),
            Tensor("attention", channels, part.conv_width, "convolution"),
            _matrix("attention", inner, hidden_size),
            # of each head: the bias of the time step, the decay, and the skip connection
            _vector("attention", biases + 3 * part.heads),
            _vector("norm", part.gate_norm * inner),
        ),
        state_flops=4 * state,
        state_elements=state + channels * (part.conv_width - 1),
    )


@account.register
def _gated_delta_net(part: GatedDeltaNet, hidden_size: int) -> Account:
    keys, values = part.key_heads * part.key_dim, part.value_heads * part.value_dim
    channels = 2 * keys + values
    state = part.value_heads * part.key_dim * part.value_dim
    return Account(
        (
            _matrix("attention", hidden_size, channels + values),
            _matrix("attention", hidden_size, 2 * part.value_heads),
            Tensor("attention", channels, part.conv_width, "convolution"),
            _matrix("attention", values, hidden_size),
            _vector("attention", 2 * part.value_heads),
            _vector("norm", part.value_dim),
        ),
        # the state is read at the key, written, and read at the query
        state_flops=6 * state,
        state_elements=state + channels * (part.conv_width - 1),
    )


@account.register
def _kimi_delta(part: KimiDeltaAttention, hidden_size: int) -> Account:
    width = part.heads * part.head_dim
    state = width * part.head_dim
    return Account(
        (
            _matrix("attention", hidden_size, 3 * width),
            Tensor("attention", 3 * width, part.conv_width, "convolution"),
            # decays and output gates, each through the width of a head
            _matrix("attention", hidden_size, 2 * part.head_dim),
            _matrix("attention", part.head_dim, width),
            _matrix("attention", part.head_dim, width),
            # how much of each token is written
            _matrix("attention", hidden_size, part.heads),
            _matrix("attention", width, hidden_size),
            # the bias of the time step of each channel, and the decay of each head
            _vector("attention", width + part.heads),
            _vector("norm", part.head_dim),
        ),
        # the state is read at the key, written, and read at the query
        state_flops=6 * state,
        state_elements=state + 3 * width * (part.conv_width - 1),
    )


@account.register
def _lightning(part: LightningAttention, hidden_size: int) -> Account:
    width = part.heads * part.head_dim
    state = width * part.head_dim
    return Account(
        (
            _matrix("attention", hidden_size, 3 * width),
            _matrix("attention", hidden_size, width),
            _matrix("attention", width, hidden_size),
            _vector("norm", width),
        ),
        state_flops=4 * state,
        state_elements=state,
    )


@account.register
def _short_convolution(part: ShortConvolution, hidden_size: int) -> Account:
    return Account(
        (
            _matrix("attention", hidden_size, 3 * hidden_size),
            Tensor("attention", hidden_size, part.conv_width, "convolution"),
            _matrix("attention", hidden_size, hidden_size),
            _vector("attention", part.bias * 5 * hidden_size),
        ),
        state_elements=hidden_size * (part.conv_width - 1),
    )


@account.register
def _dense(part: DenseFeedForward, hidden_size: int) -> Account:
    tensors = _feed_forward("dense_ffn", hidden_size, part.width, part.matrices, bias=part.bias)
    return Account((*tensors, _vector("norm", part.inner_norm * part.width)))


@account.register
def _moe(part: MoeFeedForward, hidden_size: int) -> Account:
    inside = part.latent_width or hidden_size
    tensors = [
        Tensor(one.component, one.rows, one.columns, one.kind, part.experts, part.experts_per_token)
        for one in _feed_forward("routed_experts", inside, part.width, part.matrices, bias=part.bias)
    ]
    tensors.append(_matrix("router", part.router_width or hidden_size, part.experts))
    if part.router_width:
        tensors.append(_matrix("router", hidden_size, part.router_width))
    tensors.append(_vector("router", part.experts * (part.router_bias + part.correction_bias)))
    tensors.append(_vector("other", part.output_bias * hidden_size))
    if part.latent_width:
        # what leads into the experts and out again is used by every token, like a shared expert
        tensors += [
            _matrix("shared_experts", hidden_size, part.latent_width),
            _matrix("shared_experts", part.latent_width, hidden_size),
        ]
    shared = part.shared
    if shared is not None:
        matrices = shared.matrices or part.matrices
        tensors += _feed_forward("shared_experts", hidden_size, shared.width, matrices, bias=shared.bias)
        if shared.sigmoid_gate:
            tensors.append(_matrix("shared_experts", hidden_size, 1))
    return Account(tuple(tensors))


def _feed_forward(
    component: Component, hidden_size: int, width: int, matrices: int, *, bias: bool
) -> Iterator[Tensor]:
    for _ in range(matrices - 1):
        yield _matrix(component, hidden_size, width)
    yield _matrix(component, width, hidden_size)
    if bias:
        yield _vector(component, (matrices - 1) * width + hidden_size)


# From parts to the whole model -----------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def group_accounts(stack: Stack, hidden_size: int) -> tuple[tuple[LayerGroup, tuple[Account, ...]], ...]:
    """Every group of a stack with the accounts of its mixers and feed-forwards, of one layer each."""
    return tuple(
        (group, tuple(account(part, hidden_size) for part in (*group.mixers, *group.feed_forwards)))
        for group in stack.groups
    )


def part_accounts(architecture: Architecture, stack: Stack) -> Iterator[tuple[int, Account]]:
    """The account of every mixer and feed-forward of a stack with the number of layers that have it."""
    for group, parts in group_accounts(stack, architecture.hidden_size):
        yield from ((group.count, part) for part in parts)


def outer_tensors(architecture: Architecture) -> Iterator[Tensor]:
    """The tensors outside of the layers: the tables, the head, the norms around the stacks."""
    vocabulary, hidden = architecture.vocab_size, architecture.hidden_size
    yield Tensor("embedding", vocabulary, hidden, "table")
    if not architecture.tied_embeddings:
        yield _matrix("head", hidden, vocabulary)
    yield _vector("other", architecture.head_bias * vocabulary)
    for stack in architecture.stacks:
        on_source = stack is not architecture.decoder
        yield Tensor("embedding", stack.positions, hidden, "table", on_source=on_source)
        yield Tensor("norm", stack.norms.parameters, on_source=on_source)


def layer_tensors(architecture: Architecture, stacks: tuple[Stack, ...]) -> Iterator[tuple[int, Tensor]]:
    """The tensors of the layers of `stacks`, each with the number of layers that have it."""
    for stack in stacks:
        for group, accounts in group_accounts(stack, architecture.hidden_size):
            for part in accounts:
                yield from ((group.count, tensor) for tensor in part.tensors)
            yield group.count, _vector("norm", group.norms.parameters)
            yield group.count, _vector("other", group.other_parameters)
