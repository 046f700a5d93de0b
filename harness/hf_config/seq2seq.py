"""Families of encoder-decoder models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.architecture import (
    MAX_LAYERS,
    Architecture,
    DenseFeedForward,
    FeedForward,
    GroupedQueryAttention,
    MoeFeedForward,
    Norms,
    Stack,
)
from harness.config_keys import ConfigKeys, shown
from harness.hf_config.family import Family, Parts, grouped
from harness.hf_config.feed_forward import read_routed

LayerFeedForwards = tuple[FeedForward, ...]
FeedForwards = Callable[[ConfigKeys, str, int], Sequence[LayerFeedForwards]]
"""Configuration, "encoder" or "decoder", number of its layers -> the feed-forwards of each layer."""

_HEADS = ("ForConditionalGeneration", "T5WithLMHeadModel", "MarianMTModel", "BartModel")

# What these files state beside the structure: old switches that today's classes ignore, and training.
_WITHOUT_INFLUENCE = """
    layer_norm_epsilon add_router_probs batch_prioritized_routing router_type router_dtype router_ignore_padding_tokens
    normalize_router_prob_before_dropping moe_eval_capacity_token_fraction moe_token_dropout
    relative_attention_max_distance scale_embedding encoder_layerdrop decoder_layerdrop add_bias_logits
    add_final_layer_norm normalize_before normalize_embedding layernorm_variant extra_pos_embeddings
    static_position_embeddings do_blenderbot_90_layernorm save_step
""".split()  # noqa: SIM905 -- a list takes a line for each name


def check_translator(config: ConfigKeys) -> None:
    """Refuse everything but an encoder under a decoder with a head over the vocabulary."""
    config.only("is_encoder_decoder", True)
    for key in ("is_decoder", "add_cross_attention", "tie_encoder_decoder"):
        config.only(key, False)
    for name in config.items("architectures") or []:
        if not isinstance(name, str) or not name.endswith(_HEADS):
            raise config.unknown("architectures", f"has {shown(name)}, which is not an encoder-decoder model")
    config.read.update(_WITHOUT_INFLUENCE)


def _stack(layers: Sequence[Parts], outer: Norms, positions: int = 0) -> Stack:
    """Layers with one norm at each mixer and feed-forward; `outer` are those around the layers."""
    return Stack(
        groups=grouped(
            layers, lambda one: Norms(count=len(one[0]) + len(one[1]), width=outer.width, bias=outer.bias)
        ),
        norms=outer,
        positions=positions,
    )


# Relative positions: T5 and its descendants ----------------------------------------------------------------------

_T5_NAMES = {
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_attention_heads": "num_heads",
    "num_hidden_layers": "num_layers",
    "head_dim": "d_kv",
    "num_experts_per_tok": "num_selected_experts",
}


@dataclass(frozen=True)
class RelativePositions:
    """The T5 family: norms without bias, no other biases, and learned biases of relative positions in each stack.

    They stand in the first layer, whose values all others reuse, or in every one (`everywhere`, UMT5).
    """

    feed_forwards: FeedForwards
    everywhere: bool = False
    tied: bool = True
    as_deep: bool = True
    """Whether the decoder has as many layers as the encoder where the file says nothing; null always means that."""

    def read(self, config: ConfigKeys) -> Architecture:
        """The structure of an encoder and a decoder that share one input table."""
        check_translator(config)
        config.read.add("scalable_attention")  # UMT5 states it, and no class has it
        keys = config.with_names(_T5_NAMES)
        hidden = keys.size("hidden_size")
        encoder = keys.size("num_hidden_layers", high=MAX_LAYERS)
        as_deep = keys.get("num_decoder_layers") is None and (self.as_deep or keys.has("num_decoder_layers"))
        decoder = encoder if as_deep else keys.size("num_decoder_layers", high=MAX_LAYERS)
        outer = Norms(count=1, width=hidden)
        return Architecture(
            vocab_size=keys.size("vocab_size"),
            hidden_size=hidden,
            tied_embeddings=self._tied(keys),
            max_context=None,
            encoder=_stack(self._layers(keys, "encoder", encoder), outer),
            decoder=_stack(self._layers(keys, "decoder", decoder), outer),
        )

    def _tied(self, keys: ConfigKeys) -> bool:
        # transformers 5 saves a T5 model whose head is its own as tied; what stays of the old key is the scaling
        # of the decoder's output, which only tied heads have.
        return keys.flag("tie_word_embeddings", self.tied) and keys.flag("scale_decoder_outputs", True)

    def _layers(self, keys: ConfigKeys, stack: str, layers: int) -> list[Parts]:
        heads, head_dim = keys.size("num_attention_heads"), keys.size("head_dim")
        buckets = keys.optional_size("relative_attention_num_buckets", 32) or 0
        first, other = (
            GroupedQueryAttention(query_heads=heads, kv_heads=heads, head_dim=head_dim, position_buckets=learned)
            for learned in (buckets, buckets * self.everywhere)
        )
        cross = GroupedQueryAttention(query_heads=heads, kv_heads=heads, head_dim=head_dim, keys="encoder")
        below = (cross,) if stack == "decoder" else ()
        return [
            ((other if layer else first, *below), feed_forwards)
            for layer, feed_forwards in enumerate(self.feed_forwards(keys, stack, layers))
        ]


def _is_gated(keys: ConfigKeys, default: str) -> bool:
    """Whether `feed_forward_proj` has a gate: "gated-" before the activation."""
    stated = keys.get("feed_forward_proj")
    words = str(default if stated is None else stated).split("-")
    if not isinstance(stated, str | None) or len(words) > 2 or words[:-1] not in ([], ["gated"]):
        raise keys.unknown("feed_forward_proj", f"is {shown(stated)}, which no reader knows")
    keys.only("is_gated_act", len(words) == 2)
    return len(words) == 2


def _dense(width: int, gated: bool) -> DenseFeedForward:
    return DenseFeedForward(width=width, matrices=3 if gated else 2)


@dataclass(frozen=True)
class T5FeedForwards:
    """The same feed-forward in every layer; `default` is the activation where the file names none."""

    default: str

    def __call__(self, keys: ConfigKeys, stack: str, layers: int) -> list[LayerFeedForwards]:
        """One feed-forward a layer."""
        keys.get("dense_act_fn")
        return [(_dense(keys.size("intermediate_size"), _is_gated(keys, self.default)),)] * layers


def _sparse_step(keys: ConfigKeys, stack: str, layers: int) -> int:
    """The distance of the sparse layers of a stack, of which the file gives the number."""
    key = f"num_sparse_{stack}_layers"
    sparse = keys.size(key, high=layers)
    if layers % sparse:
        raise keys.error(key, f"is {sparse}, which does not divide {layers} layers")
    step = layers // sparse
    keys.only(f"{stack}_sparse_step", step)
    return step


def switch_feed_forwards(keys: ConfigKeys, stack: str, layers: int) -> list[LayerFeedForwards]:
    """One expert a token in every n-th layer of a stack, from its second on (Switch Transformers).

    The experts of switch-xxl-128 are gated, as its file says; the class of transformers lacks that gate, but the
    checkpoint has it, so it counts.
    """
    activation = keys.get("dense_act_fn")
    gated = isinstance(activation, str) and activation.startswith("gated-")
    gated = _is_gated(keys, "gated-gelu" if gated or keys.get("is_gated_act") is True else "relu") or gated
    step = _sparse_step(keys, stack, layers)
    keys.only("num_experts_per_tok", 1)
    width = keys.size("intermediate_size")
    routed = MoeFeedForward(
        experts=keys.size("num_experts"),
        experts_per_token=1,
        width=width,
        matrices=3 if gated else 2,
        router_bias=keys.flag("router_bias", False),
    )
    return [(routed if step == 1 or layer % step == 1 else _dense(width, gated),) for layer in range(layers)]


def st_moe_feed_forwards(keys: ConfigKeys, stack: str, layers: int) -> list[LayerFeedForwards]:
    """Gated experts, and a dense feed-forward behind them, in every n-th layer of a stack (ST-MoE).

    The second feed-forward of a sparse layer has its own norm. Sources: arXiv 2202.08906; google/flaxformer,
    configs/moe/models/st_moe_base.gin and architectures/moe/moe_architecture.py.
    """
    step = _sparse_step(keys, stack, layers)
    dense = _dense(keys.size("intermediate_size"), _is_gated(keys, "gated-gelu"))
    if dense.matrices != 3:
        raise keys.unknown("feed_forward_proj", "has no gate, and ST-MoE always has one")
    routed = read_routed(keys, keys.size("num_experts"), "intermediate_size")
    return [(routed, dense) if layer % step == step - 1 else (dense,) for layer in range(layers)]


# Absolute positions: BART and its relatives ----------------------------------------------------------------------

_BART_NAMES = {
    "hidden_size": "d_model",
    "num_attention_heads": "encoder_attention_heads",
    "num_hidden_layers": "encoder_layers",
}


@dataclass(frozen=True)
class AbsolutePositions:
    """The BART family: biases everywhere, norms with bias, and one table for input, decoder and head.

    `outer_norms` stand around the layers of each stack: one on the embeddings, one on the output, both or none.
    A table of positions has `extra_rows` more than there are positions; it counts where the class holds it as a
    parameter, learned or frozen (Pegasus, Marian), and is None where sinusoids are computed. The bias that some add to
    the logits is no parameter but a buffer, mostly of zeros.
    """

    feed_forwards: FeedForwards
    outer_norms: int
    extra_rows: int | None = None

    def read(self, config: ConfigKeys) -> Architecture:
        """The structure of an encoder and a decoder of common width. Each has its own heads and feed-forwards."""
        check_translator(config)
        keys = config.with_names(_BART_NAMES)
        # Without them a checkpoint has up to four tables, depending on the version that saved it.
        for key in ("tie_word_embeddings", "share_encoder_decoder_embeddings"):
            keys.only(key, True)
        vocabulary, hidden = keys.size("vocab_size"), keys.size("hidden_size")
        keys.only("decoder_vocab_size", vocabulary)
        keys.size("num_hidden_layers", high=MAX_LAYERS)
        keys.size("num_attention_heads")
        longest = keys.size("max_position_embeddings")
        positions = 0 if self.extra_rows is None else longest + self.extra_rows
        outer = Norms(count=self.outer_norms, width=hidden, bias=True)
        return Architecture(
            vocab_size=vocabulary,
            hidden_size=hidden,
            tied_embeddings=True,
            max_context=longest,
            encoder=_stack(self._layers(keys, "encoder", hidden), outer, positions),
            decoder=_stack(self._layers(keys, "decoder", hidden), outer, positions),
        )

    def _layers(self, keys: ConfigKeys, stack: str, hidden: int) -> list[Parts]:
        layers = keys.size(f"{stack}_layers", high=MAX_LAYERS)
        heads = keys.size(f"{stack}_attention_heads")
        if hidden % heads:
            raise keys.error(f"{stack}_attention_heads", f"is {heads}, which does not divide {hidden} values")
        own = GroupedQueryAttention(
            query_heads=heads, kv_heads=heads, head_dim=hidden // heads, qkv_bias=True, output_bias=True
        )
        cross = own.model_copy(update={"keys": "encoder"})
        mixers = (own, cross) if stack == "decoder" else (own,)
        return [(mixers, feed_forwards) for feed_forwards in self.feed_forwards(keys, stack, layers)]


def bart_feed_forwards(keys: ConfigKeys, stack: str, layers: int) -> list[LayerFeedForwards]:
    """A feed-forward of two matrices and biases in every layer."""
    return [(DenseFeedForward(width=keys.size(f"{stack}_ffn_dim"), matrices=2, bias=True),)] * layers


def nllb_feed_forwards(keys: ConfigKeys, stack: str, layers: int) -> list[LayerFeedForwards]:
    """Two experts a token in every n-th layer of a stack (NLLB-MoE); a step of 0 means none.

    Tokens beyond an expert's capacity would use fewer; the published model has room for all of them.
    """
    keys.only("second_expert_policy", "all", "sampling")
    keys.only("num_experts_per_tok", 2)
    step = keys.size(f"{stack}_sparse_step", low=0)
    width = keys.size(f"{stack}_ffn_dim")
    experts = keys.size("num_experts", low=2)
    routed = MoeFeedForward(
        experts=experts,
        experts_per_token=2,
        width=width,
        matrices=2,
        bias=True,
        router_bias=keys.flag("router_bias", False),
    )
    dense = DenseFeedForward(width=width, matrices=2, bias=True)
    return [(routed if step and (layer + 1) % step == 0 else dense,) for layer in range(layers)]


_ungated, _gated = T5FeedForwards("relu"), T5FeedForwards("gated-gelu")

FAMILIES: dict[str, Family] = {
    "t5": RelativePositions(_ungated),
    "mt5": RelativePositions(_gated),
    "umt5": RelativePositions(_gated, everywhere=True),
    "switch_transformers": RelativePositions(switch_feed_forwards, as_deep=False),
    "st_moe": RelativePositions(st_moe_feed_forwards, tied=False),
    "bart": AbsolutePositions(bart_feed_forwards, outer_norms=1, extra_rows=2),
    "plbart": AbsolutePositions(bart_feed_forwards, outer_norms=1, extra_rows=2),
    "mbart": AbsolutePositions(bart_feed_forwards, outer_norms=2, extra_rows=2),
    "blenderbot": AbsolutePositions(bart_feed_forwards, outer_norms=1, extra_rows=0),
    "blenderbot-small": AbsolutePositions(bart_feed_forwards, outer_norms=1, extra_rows=0),
    "pegasus": AbsolutePositions(bart_feed_forwards, outer_norms=1, extra_rows=0),
    "marian": AbsolutePositions(bart_feed_forwards, outer_norms=0, extra_rows=0),
    "m2m_100": AbsolutePositions(bart_feed_forwards, outer_norms=1),
    "nllb-moe": AbsolutePositions(nllb_feed_forwards, outer_norms=1),
}
