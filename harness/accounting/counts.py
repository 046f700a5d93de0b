"""Parameters and FLOPs of an architecture, by component."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from harness.accounting.inventory import Tensor
from harness.accounting.parts import layer_tensors, outer_tensors, part_accounts
from harness.architecture import Architecture
from harness.errors import require
from harness.schema import Frozen


class ParameterCount(Frozen):
    """Parameters by component; every parameter is in exactly one of the nine.

    `attention` are all token mixers with their biases and sinks, `norm` includes the norms inside of them,
    `embedding` tables of positions, `shared_experts` their gate and what leads into latent experts, `router` its
    biases, and `other` learned scalars and the bias of the head. `routed_experts_used` is the part of `routed_experts`
    that one token uses.
    """

    embedding: int = 0
    head: int = 0
    attention: int = 0
    dense_ffn: int = 0
    shared_experts: int = 0
    routed_experts: int = 0
    router: int = 0
    norm: int = 0
    other: int = 0
    routed_experts_used: int = 0

    @property
    def total(self) -> int:
        """All parameters; tied tables count once."""
        return (
            self.embedding
            + self.head
            + self.attention
            + self.dense_ffn
            + self.shared_experts
            + self.routed_experts
            + self.router
            + self.norm
            + self.other
        )

    @property
    def active(self) -> int:
        """All parameters that a token touches: the total without the routed experts that it does not use."""
        return self.total - self.routed_experts + self.routed_experts_used

    @property
    def active_non_embedding(self) -> int:
        """`active` without the input table and the output head, the convention of some vendors (GLM-4.5, Granite)."""
        return self.active - self.embedding - self.head

    @property
    def active_without_input_embedding(self) -> int:
        """`active` without the input table where it is only looked up, the convention of gpt-oss and DeepSeek-V2.

        A table of positions goes with it. A tied table stays: the output head multiplies by it.
        """
        return self.active - self.embedding if self.head else self.active


class FlopCount(Frozen):
    """FLOPs by component. `attention_state` is what recurrent mixers write to and read from their state."""

    attention_projections: int | float = 0
    attention_scores: int | float = 0
    attention_state: int | float = 0
    dense_ffn: int | float = 0
    shared_experts: int | float = 0
    routed_experts: int | float = 0
    router: int | float = 0
    head: int | float = 0

    @property
    def total(self) -> int | float:
        """The sum of the components, FLOPs."""
        return (
            self.attention_projections
            + self.attention_scores
            + self.attention_state
            + self.dense_ffn
            + self.shared_experts
            + self.routed_experts
            + self.router
            + self.head
        )


class PrefillFlops(Frozen):
    """The arithmetic of a prompt of `tokens` tokens: `flops` for all of them together."""

    tokens: int
    flops: FlopCount

    @property
    def total(self) -> int | float:
        """FLOPs of the whole prompt."""
        return self.flops.total

    @property
    def per_token(self) -> float:
        """FLOPs of the mean token of the prompt."""
        return self.flops.total / self.tokens


def count_parameters(architecture: Architecture) -> ParameterCount:
    """Parameters by component, equal to the number of elements of the checkpoint's tensors.

    A gated feed-forward has 3 * hidden * width parameters and an attention hidden * (2 * q * h + 2 * kv * h), plus
    biases and norms. Units: parameters. Source: the model classes of Hugging Face transformers 5, to the parameter.
    """
    sums: Counter[str] = Counter()
    outer = ((1, tensor) for tensor in outer_tensors(architecture))
    for layers, tensor in (*outer, *layer_tensors(architecture, architecture.stacks)):
        sums[tensor.component] += layers * tensor.parameters
        if tensor.component == "routed_experts":
            sums["routed_experts_used"] += layers * tensor.parameters_used
    return ParameterCount(**sums)


def flops_per_token(
    architecture: Architecture, *, context: float, source: float | None = None, sampled: bool = True
) -> FlopCount:
    """The arithmetic of one decoded token that sees `context` tokens, itself included.

    2 * (matrix parameters a token uses) + sum over layers of 4 * q * h * min(context, window); latent attention in its
    absorbed form, 2 * heads * (2 * kv_rank + rope_dim) a token of context; recurrent mixers 2 for every value of their
    state that is read or written, whatever the context. Under an encoder the token also sees `source` tokens (as many
    as `context` unless given), whose keys and values are there already. The input table is looked up and costs nothing;
    the head counts where a token is `sampled`. Units: FLOPs. Source: Kaplan et al. 2020 (arXiv 2001.08361, section 2.1)
    with the router and every layer's own attention added.
    """
    require(context >= 1, f"the context must be at least 1 token, not {context}")
    seen = _source(architecture, context, source)
    flops: defaultdict[str, float] = defaultdict(int, head=_head_flops(architecture) * sampled)
    for layers, part in part_accounts(architecture, architecture.decoder):
        _add_matrices(flops, layers, (tensor for tensor in part.tensors if not tensor.on_source))
        flops["attention_state"] += layers * part.state_flops
        if part.decode_score_flops:
            flops["attention_scores"] += layers * part.decode_score_flops * part.reach.seen(context, seen)
    return FlopCount(**flops)


def prefill_flops(architecture: Architecture, tokens: int, *, sampled: int = 1) -> PrefillFlops:
    """The arithmetic of a causal prefill of one sequence of `tokens` tokens, of which `sampled` positions get logits.

    tokens * 2 * (matrix parameters a token uses) + sum over layers of 4 * q * h * (sum of the contexts), where token i
    sees min(i, window): a mean context of (tokens + 1) / 2 without a window. Latent attention in its expanded form,
    2 * heads * (nope + rope + v) a token of context, but in the absorbed one where an indexer selects positions, whose
    own scores count over the whole context; recurrent mixers token by token (the chunked forms that kernels use
    multiply more). An encoder-decoder model encodes the prompt, where every token sees all, and projects the keys and
    values that its decoder will look at; decoding starts behind that, so no head counts. Units: FLOPs. Source: as for
    `flops_per_token`.
    """
    require(tokens >= 1, f"a prefill needs at least 1 token, not {tokens}")
    require(0 <= sampled <= tokens, f"cannot sample {sampled} positions of {tokens} tokens")
    flops: defaultdict[str, float] = defaultdict(int)
    if architecture.encoder is None:
        flops["head"] = sampled * _head_flops(architecture)
        for layers, part in part_accounts(architecture, architecture.decoder):
            _add_matrices(flops, layers * tokens, part.tensors)
            flops["attention_state"] += layers * tokens * part.state_flops
            flops["attention_scores"] += layers * part.prefill_score_flops * part.reach.causal_pairs(tokens)
    else:
        for layers, part in part_accounts(architecture, architecture.encoder):
            _add_matrices(flops, layers * tokens, part.tensors)
            flops["attention_scores"] += layers * part.prefill_score_flops * tokens**2
        for layers, part in part_accounts(architecture, architecture.decoder):
            _add_matrices(flops, layers * tokens, (tensor for tensor in part.tensors if tensor.on_source))
    return PrefillFlops(tokens=tokens, flops=FlopCount(**flops))


def _add_matrices(flops: defaultdict[str, float], times: int, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        if tensor.flops:
            name = "attention_projections" if tensor.component == "attention" else tensor.component
            flops[name] += times * tensor.flops


def _head_flops(architecture: Architecture) -> int:
    return 2 * architecture.vocab_size * architecture.hidden_size


def _source(architecture: Architecture, context: float, source: float | None) -> float:
    if source is None:
        return context
    require(architecture.encoder is not None, "only a model with an encoder has a source")
    require(source >= 1, f"the source must be at least 1 token, not {source}")
    return source
