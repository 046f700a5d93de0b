"""The shape of a sparse layer: from a model or from numbers, made smaller, and what its weights take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import model_validator

from harness.architecture import Flag, MoeFeedForward, OptionalSize, SharedExpert, Size
from harness.catalog import Catalog
from harness.description import find_model
from harness.errors import InputError
from harness.quantities import count_of
from harness.schema import Frozen

WIDTH_STEP = 32
"""Scaled widths are multiples of this, which every kernel takes without padding in 16 and in 32 bits."""


_SCALED = {"hidden": "hidden size", "expert_width": "expert width", "shared_width": "shared width"}


class LayerShape(Frozen):
    """`experts` feed-forwards of `expert_width` on the hidden size, of which a token uses `top_k`.

    Beside them are shared experts of the joint `shared_width`, 0 where there are none. Widths count inner values; a
    `gated` feed-forward has three matrices, another two.
    """

    hidden: Size
    expert_width: Size
    experts: Size
    top_k: Size
    shared_width: OptionalSize = 0
    gated: Flag = True

    @model_validator(mode="after")
    def _enough_experts(self) -> LayerShape:
        if self.top_k > self.experts:
            raise ValueError(f"a token cannot use {self.top_k} of {count_of(self.experts, 'expert')}")
        return self

    @property
    def active_width(self) -> int:
        """The width of the dense layer that has the matrices which one token uses: top_k * expert_width + shared."""
        return self.top_k * self.expert_width + self.shared_width

    @property
    def total_width(self) -> int:
        """The width of the dense layer that has all matrices: experts * expert_width + shared."""
        return self.experts * self.expert_width + self.shared_width

    @property
    def matrices(self) -> int:
        """Of one expert."""
        return 3 if self.gated else 2

    @property
    def feed_forward(self) -> MoeFeedForward:
        """The same as a part of an architecture."""
        return MoeFeedForward(
            experts=self.experts, experts_per_token=self.top_k, width=self.expert_width,
            matrices=3 if self.gated else 2,
            shared=SharedExpert(width=self.shared_width) if self.shared_width else None,
        )

    def dense_parameters(self, width: int) -> int:
        """Parameters of a dense feed-forward of `width`: matrices * hidden * width."""
        return self.matrices * self.hidden * width

    def parameters_read(self, distinct_experts: float) -> float:
        """Parameters that the sparse layer reads when its tokens use so many experts, the router's included."""
        width = distinct_experts * self.expert_width + self.shared_width
        return self.hidden * self.experts + self.matrices * self.hidden * width

    def scaled(self, scale: float) -> LayerShape:
        """Hidden size and widths times `scale`, as multiples of 32; experts and top_k stay, and with them the routing.

        Raises InputError unless 0 < scale <= 1, and for a scale that makes one of them less than 32.
        """
        if not 0 < scale <= 1:
            raise InputError(f"{scale:g} is no scale", where="--scale", hint="give 0.5 to halve all widths; at most 1")
        if scale == 1:
            return self
        smallest = self._smallest
        if scale < WIDTH_STEP / getattr(self, smallest):
            least = self.least_scale
            raise InputError(
                f"{scale:g} makes the {_SCALED[smallest]} {getattr(self, smallest)} less than {WIDTH_STEP}",
                where="--scale", hint="leave it out" if least == 1 else f"give at least {least:g}",
            )
        widths = {
            key: WIDTH_STEP * math.floor(getattr(self, key) * scale / WIDTH_STEP + 0.5)
            for key in _SCALED if getattr(self, key)
        }
        return self.model_copy(update=widths)

    @property
    def least_scale(self) -> float:
        """The least that `scaled` takes, rounded up to three digits after the point; 1 where it takes no other."""
        smallest: int = getattr(self, self._smallest)
        return min(1.0, math.ceil(1000 * WIDTH_STEP / smallest) / 1000)

    @property
    def _smallest(self) -> str:
        return min((key for key in _SCALED if getattr(self, key)), key=lambda key: int(getattr(self, key)))

    @property
    def words(self) -> str:
        """Such as "hidden size 2048, 128 experts of width 768, 8 a token"."""
        shared = f", shared experts of width {self.shared_width}" if self.shared_width else ""
        kind = "" if self.gated else ", without gates"
        return (
            f"hidden size {self.hidden}, {count_of(self.experts, 'expert')} of width {self.expert_width}, "
            f"{self.top_k} a token{shared}{kind}"
        )


class Named(NamedTuple):
    """A shape with what it is of, and what has to be said about it."""

    name: str
    shape: LayerShape
    notes: tuple[str, ...] = ()


SIZES = {"hidden": "--hidden", "expert_width": "--expert-width", "experts": "--experts", "top_k": "--top-k"}
"""The numbers that make a shape, and their options."""


def shape_of(model: str | None, sizes: Mapping[str, int | None], catalog: Catalog) -> Named:
    """The layer of a model (as `find_model` finds it), or that of `sizes`: hidden, expert_width, ... of `LayerShape`.

    Raises InputError where both or neither are given, and for a model without a sparse layer that can be timed.
    """
    given = {key: value for key, value in sizes.items() if value is not None}
    if model is not None:
        if given:
            option = "--" + next(iter(given)).replace("_", "-")
            raise InputError(f"{option} beside the model {model!r}", hint="give either; --scale shrinks a model")
        return _of_model(model, catalog)
    missing = [option for key, option in SIZES.items() if key not in given]
    if missing:
        raise InputError(
            f"no {', no '.join(missing)}",
            hint="name a model (moebench layer qwen3-30b-a3b) or give --hidden, --expert-width, --experts and --top-k",
        )
    if given["top_k"] > given["experts"]:
        raise InputError(
            f"a token cannot use {given['top_k']} of {count_of(given['experts'], 'expert')}", where="--top-k",
            hint=f"at most {given['experts']}, or raise --experts",
        )
    return Named("", LayerShape(**given))


def _of_model(model: str, catalog: Catalog) -> Named:
    known = find_model(model, catalog)
    name, architecture = known.facts.name, known.architecture
    give = "give --hidden, --expert-width, --experts and --top-k instead"
    if architecture is None:
        raise InputError(f"the structure of {name} is not known", hint=give)
    if not architecture.is_moe:
        raise InputError(f"{name} has no sparse layer", hint="name a model with experts: moebench models --kind moe")
    layers, sparse = max(architecture.moe_groups, key=lambda group: group[0])
    unusual = _unusual(sparse)
    if unusual:
        raise InputError(f"the experts of {name} {unusual}, which is not timed", hint=give)
    shape = LayerShape(
        hidden=architecture.hidden_size, expert_width=sparse.width, experts=sparse.experts,
        top_k=sparse.experts_per_token, shared_width=sparse.shared.width if sparse.shared else 0,
        gated=sparse.matrices == 3,
    )
    others = sum(count for count, other in architecture.moe_groups if other != sparse)
    notes = (f"{others} of its {others + layers} sparse layers have another shape",) if others else ()
    return Named(name, shape, (*notes, *_left_out(sparse)))


def _unusual(sparse: MoeFeedForward) -> str:
    """What keeps a sparse feed-forward from being timed as it is; empty where nothing does."""
    if sparse.latent_width is not None:
        return "work on a projection of the hidden size"
    if sparse.matrices == 4:
        return "have gates of twice their width"
    if sparse.shared is not None and sparse.shared.matrices not in (None, sparse.matrices):
        return "and its shared experts have different numbers of matrices"
    return ""


def _left_out(sparse: MoeFeedForward) -> list[str]:
    """Small parts of a sparse feed-forward that are not timed."""
    parts = {
        "biases": sparse.bias or sparse.router_bias or sparse.output_bias,
        "the router's second matrix": sparse.router_width is not None,
        "the gate on the shared experts": sparse.shared is not None and sparse.shared.sigmoid_gate,
    }
    found = [part for part, there in parts.items() if there]
    return [f"left out: {', '.join(found)}"] if found else []
