"""The parts of an architecture in a few words each, and what those words mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import singledispatch

from harness.architecture import (
    Architecture,
    DenseFeedForward,
    GatedDeltaNet,
    GroupedQueryAttention,
    Indexer,
    KimiDeltaAttention,
    LatentAttention,
    LightningAttention,
    Mamba,
    Mamba2,
    MixtureOfAttention,
    MoeFeedForward,
    ShortConvolution,
)
from harness.description.values import Description, Layers, Shape

MEANINGS = {
    "MHA": "multi-head attention: heads × width of a head",
    "GQA": "grouped-query attention: query heads / key-value heads × width of a head",
    "MQA": "multi-query attention: query heads / key-value heads × width of a head",
    "MLA": "latent attention: keys and values are expanded from one cached vector a token",
    "indexer": "scores all earlier positions and selects those that the attention beside it sees",
    "cross-attention": "the decoder looks at the encoder's output",
    "attention experts": "experts that project queries and outputs, of which a token uses k",
    "window": "a token sees only the last so many",
    "chunks": "a token sees only its own block of so many",
    "sinks": "each head has a learned score for attending to nothing",
    "Mamba": "a state-space layer: a state of fixed size in place of a cache",
    "delta net": "linear attention with a delta rule: a state of fixed size in place of a cache",
    "lightning attention": "linear attention with fixed decays: a state of fixed size in place of a cache",
    "top-k": "the k routed experts that each token uses",
    "shared": "experts that every token uses",
}
"""What the words of `Shape` and `experts_words` mean, by a part that they contain."""


PRECISION_MEANINGS = {
    "fp8": "8-bit floats, one scale a matrix",
    "fp8-block": "8-bit floats, a 32-bit scale for each block of 128 × 128",
    "int8": "8-bit integers, a 32-bit scale for each output",
    "int4-g128": "4-bit integers; 128 of them share a scale and a zero point",
    "nvfp4": "4-bit floats; 16 of them share an 8-bit scale",
    "mxfp4-experts": "routed experts alone: 4-bit floats, 32 share an 8-bit scale",
}
"""What a precision quantises to; routers, norms and the two tables stay in 16 bits, as in `accounting.PRECISIONS`."""


def grouped_by_thousands(number: int) -> str:
    """A whole number with thin spaces between thousands, as `quantities.grouped`, which lies above this layer."""
    return f"{number:,}".replace(",", "\u202f")


def meanings(texts: Iterable[str]) -> list[tuple[str, str]]:
    """The words of `MEANINGS` that occur in `texts`, in its order, with their meanings."""
    joined = "\n".join(texts)
    return [(word, meaning) for word, meaning in MEANINGS.items() if word.removesuffix("k") in joined]


@singledispatch
def part_words(part: object) -> str:
    """A mixer or feed-forward in a few words; every kind registers its own, and goes by its class's name without."""
    return type(part).__name__


@part_words.register
def _grouped_query(part: GroupedQueryAttention) -> str:
    width = f"{part.head_dim}" if part.value_dim == part.head_dim else f"{part.head_dim}, values {part.value_dim}"
    if part.query_heads == part.kv_heads:
        heads = f"MHA {part.query_heads} × {width}"
    else:
        heads = f"{'MQA' if part.kv_heads == 1 else 'GQA'} {part.query_heads}/{part.kv_heads} × {width}"
    extras = [
        f"window {part.window}" if part.window else "",
        f"chunks of {part.chunk}" if part.chunk else "",
        "sinks" if part.sinks else "",
        "keys and values of an earlier layer" if part.keys == "shared" else "",
    ]
    words = ", ".join([heads, *filter(None, extras)])
    return f"cross-attention, {words}" if part.keys == "encoder" else words


@part_words.register
def _latent(part: LatentAttention) -> str:
    selected = f", at most {part.selected} positions" if part.selected else ""
    return f"MLA {part.heads} heads, {part.kv_rank} + {part.rope_dim} values cached{selected}"


@part_words.register
def _indexer(part: Indexer) -> str:
    return f"indexer {part.heads} × {part.head_dim}"


@part_words.register
def _mixture_of_attention(part: MixtureOfAttention) -> str:
    return f"attention experts {part.experts} × top-{part.experts_per_token}, {part.kv_heads} × {part.head_dim} each"


@part_words.register
def _mamba(part: Mamba) -> str:
    return f"Mamba, width {part.inner_width}, state {part.state_size}"


@part_words.register
def _mamba2(part: Mamba2) -> str:
    return f"Mamba-2, {part.heads} × {part.head_dim}, state {part.state_size}"


@part_words.register
def _gated_delta_net(part: GatedDeltaNet) -> str:
    return f"gated delta net, keys {part.key_heads} × {part.key_dim}, values {part.value_heads} × {part.value_dim}"


@part_words.register
def _kimi_delta(part: KimiDeltaAttention) -> str:
    return f"Kimi delta net, {part.heads} × {part.head_dim}"


@part_words.register
def _lightning(part: LightningAttention) -> str:
    return f"lightning attention, {part.heads} × {part.head_dim}"


@part_words.register
def _short_convolution(part: ShortConvolution) -> str:
    return f"convolution over {part.conv_width} tokens"


@part_words.register
def _dense(part: DenseFeedForward) -> str:
    return f"dense, width {part.width}"


@part_words.register
def _moe(part: MoeFeedForward) -> str:
    return f"{experts_words(part)}, width {part.width}"


def shared_experts(part: MoeFeedForward) -> int:
    """The shared experts in widths of a routed one where that is whole, else 1; 0 without any."""
    if part.shared is None:
        return 0
    count, rest = divmod(part.shared.width, part.width)
    alike = part.shared.matrices in (None, part.matrices)
    return count if alike and not rest else 1


def experts_words(part: MoeFeedForward) -> str:
    """The experts of a feed-forward: `64 × top-8 + 1 shared`."""
    return _experts_words(part.experts, part.experts_per_token, shared_experts(part))


def _experts_words(experts: int, per_token: int, shared: int) -> str:
    return f"{experts} × top-{per_token}" + (f" + {shared} shared" if shared else "")


def experts_text(described: Description) -> str:
    """The feed-forward experts of a layer, `64 × top-8 + 1 shared`; several kinds with a slash; empty without any.

    Where the structure was not counted, the experts that are stated.
    """
    kinds = [kind for kind in described.kinds_of_experts if kind.part == "feed_forward"]
    words = dict.fromkeys(_experts_words(kind.experts, kind.per_token, kind.shared) for kind in kinds)
    stated = described.model.stated
    if not words and stated is not None and stated.experts is not None and stated.experts_per_token is not None:
        return _experts_words(stated.experts, stated.experts_per_token, 0)
    return " / ".join(words)


def kind_words(described: Description) -> str:
    """`experts_text`, or what the model is without it: `dense`."""
    without = {"moe": "experts, not stated", "dense": "dense", None: "unknown"}
    return experts_text(described) or without[described.model.kind]


def shape_of(architecture: Architecture) -> Shape:
    """The structure in short words, equal parts of all stacks counted together."""
    mixers: Counter[str] = Counter()
    feed_forwards: Counter[str] = Counter()
    for stack in architecture.stacks:
        for group in stack.groups:
            for mixer in group.mixers:
                mixers[part_words(mixer)] += group.count
            for feed_forward in group.feed_forwards:
                feed_forwards[part_words(feed_forward)] += group.count
    return Shape(
        layers=architecture.layers,
        encoder_layers=0 if architecture.encoder is None else architecture.encoder.layers,
        hidden_size=architecture.hidden_size,
        vocab_size=architecture.vocab_size,
        tied_embeddings=architecture.tied_embeddings,
        max_context_tokens=architecture.max_context,
        attention=tuple(Layers(layers=count, what=what) for what, count in mixers.items()),
        feed_forward=tuple(Layers(layers=count, what=what) for what, count in feed_forwards.items()),
    )
