"""How the configuration of one family of models is read: its mixers, its feed-forwards, and what stands around them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from harness.architecture import MAX_LAYERS, Architecture, FeedForward, LayerGroup, Mixer, Norms, Stack
from harness.config_keys import ConfigKeys, shown

_HEAD = re.compile(r"(ForCausalLM|(With)?LMHeadModel|ForConditionalGeneration|MTModel)$")
_OTHER_STEMS = {
    "gpt-sw3": "gpt2",
    "grok-1": "grok1model",
    "hunyuan_v1_dense": "hunyuandensev1",
    "hunyuan_v1_moe": "hunyuanmoev1",
    "kimi_k2": "deepseekv3",
}
"""Model types whose classes begin with another name."""

Parts = tuple[tuple[Mixer, ...], tuple[FeedForward, ...]]
"""What one layer consists of."""


class Family(Protocol):
    """A reader of one or more model types."""

    def read(self, config: ConfigKeys) -> Architecture:
        """The structure, with every key that decides it read. Raises InputError and UnknownStructureError."""


@dataclass(frozen=True)
class Decoder:
    """A family of decoder-only models. The two readers give one entry a layer.

    Norms stand `norms_per_part` times at each mixer and feed-forward, unless `layer_norms` gives the number of a layer
    (as where both share one). `own_names` are the family's own names of common keys, such as n_embd for hidden_size.
    `positions` gives the rows of a learned table of positions, `tied` whether head and input table are one where the
    file does not say. `other_parameters` are learned values of a layer beside its parts. Keys that sound structural and
    that the family's model class ignores are `ignored`; `classes` are names of it that do not end as others do.
    """

    mixers: Callable[[ConfigKeys, int], Sequence[Mixer | tuple[Mixer, ...]]]
    feed_forwards: Callable[[ConfigKeys, int], Sequence[FeedForward | tuple[FeedForward, ...]]]
    norms_per_part: int = 1
    layer_norms: int | None = None
    outer_norms: int = 1
    scaled_norms: bool = True
    biased_norms: bool = False
    tied: bool = False
    head_bias: bool = False
    positions: Callable[[ConfigKeys], int] | None = None
    own_names: Mapping[str, str] = field(default_factory=dict)
    other_parameters: int = 0
    ignored: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def read(self, config: ConfigKeys) -> Architecture:
        """The structure of a decoder with a head over the vocabulary."""
        check_causal(config, self.classes)
        config.read.update(self.ignored)
        keys = config.with_names(self.own_names)
        hidden = keys.size("hidden_size")
        layers = keys.size("num_hidden_layers", high=MAX_LAYERS)
        parts = [
            (mixer if isinstance(mixer, tuple) else (mixer,), part if isinstance(part, tuple) else (part,))
            for mixer, part in zip(self.mixers(keys, layers), self.feed_forwards(keys, layers), strict=True)
        ]
        return Architecture(
            vocab_size=keys.size("vocab_size"),
            hidden_size=hidden,
            tied_embeddings=keys.flag("tie_word_embeddings", self.tied),
            max_context=keys.optional_size("max_position_embeddings"),
            decoder=Stack(
                groups=grouped(parts, lambda one: self._norms(self._count(one), hidden), self.other_parameters),
                norms=self._norms(self.outer_norms, hidden),
                positions=self.positions(keys) if self.positions else 0,
            ),
            head_bias=self.head_bias,
        )

    def _count(self, parts: Parts) -> int:
        if self.layer_norms is not None:
            return self.layer_norms
        return self.norms_per_part * (len(parts[0]) + len(parts[1]))

    def _norms(self, count: int, width: int) -> Norms:
        return Norms(count=count, width=width, scale=self.scaled_norms, bias=self.biased_norms)


@dataclass(frozen=True)
class Chosen:
    """A family whose keys decide which decoder it is: `choose` reads them and gives its reader."""

    choose: Callable[[ConfigKeys], Decoder]

    def read(self, config: ConfigKeys) -> Architecture:
        """The structure of the chosen decoder."""
        return self.choose(config).read(config)


def grouped(
    layers: Sequence[Parts], norms: Callable[[Parts], Norms], other_parameters: int = 0
) -> tuple[LayerGroup, ...]:
    """Neighbours of equal structure as groups, with the norms of each."""
    return tuple(
        LayerGroup(
            count=len(list(run)),
            mixers=parts[0],
            feed_forwards=parts[1],
            norms=norms(parts),
            other_parameters=other_parameters,
        )
        for parts, run in groupby(layers)
    )


def check_causal(config: ConfigKeys, classes: tuple[str, ...] = ()) -> None:
    """Refuse encoder-decoder models and classifiers: their stacks and heads differ from a language model's."""
    config.only("is_encoder_decoder", False)
    check_heads(config, ("ForCausalLM", "LMHeadModel", *classes), "a causal language model")


def check_heads(config: ConfigKeys, ending: str | tuple[str, ...], what: str) -> None:
    """Refuse model classes whose name does not end in `ending`, or does not begin as the model type does.

    A class of another name may have another structure under the same keys. Without any, `what` is taken for granted.
    """
    model_type = str(config.get("model_type"))
    for name in config.items("architectures") or []:
        if not isinstance(name, str) or not name.endswith(ending):
            raise config.unknown("architectures", f"has {shown(name)}, which is not {what}")
        if name in ending or _letters(_HEAD.sub("", name)) in _stems(model_type):
            continue
        raise config.unknown("architectures", f"has {shown(name)}, which is no class of type {model_type!r}")


def _stems(model_type: str) -> tuple[str, str, str]:
    """How the names of a type's classes may begin; the text part of a model with towers bears the whole's name."""
    stem = _letters(model_type)
    return stem, stem.removesuffix("text"), _OTHER_STEMS.get(model_type, stem)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
