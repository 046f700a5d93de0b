"""What `moebench describe` tells about a model: one versioned value, all of it JSON."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from harness.accounting import FlopCount
from harness.catalog import ArenaRanks, Published, Quality, Stated
from harness.schema import Frozen

Number = int | float
"""A whole number wherever the quantity is exact."""


class ModelFacts(Frozen):
    """What is known beside the structure; None where it is not. The fields are those of `CatalogModel`.

    A model that is not in the catalog has its name, its repository and its family (the configuration's model type).
    """

    name: str
    hf_repo: str | None = None
    revision: str | None = None
    family: str | None = None
    kind: Literal["moe", "dense"] | None = None
    status: Literal["released", "on-request", "unreleased"] | None = None
    released: str | None = None
    released_source_quality: Quality | None = None
    license: str | None = None
    license_source_quality: Quality | None = None
    gated: bool | None = None
    context_length: int | None = None
    precision: str | None = None
    source: str | None = None
    source_quality: Quality | None = None
    stated: Stated | None = None
    lmsys_2024_11_04: ArenaRanks | Literal["unranked"] | None = None
    notes: str | None = None


class Layers(Frozen):
    """How many layers have the same part, and what it is in a few words."""

    layers: int
    what: str


class Shape(Frozen):
    """The structure in short words. Encoder layers are those of an encoder-decoder model, 0 elsewhere.

    `attention` are all mixers of tokens, in the order in which they first appear; a layer may have two.
    `max_context_tokens` is the configuration's.
    """

    layers: int
    encoder_layers: int
    hidden_size: int
    vocab_size: int
    tied_embeddings: bool
    max_context_tokens: int | None
    attention: tuple[Layers, ...]
    feed_forward: tuple[Layers, ...]


class Parameters(Frozen):
    """Parameters by component, as `accounting.ParameterCount` has them; None where they were not counted.

    The nine components from `embedding` on add up to `total`; `routed_experts_used` is the part of `routed_experts`
    that one token uses.
    """

    total: int | None = None
    active: int | None = None
    active_non_embedding: int | None = None
    active_without_input_embedding: int | None = None
    embedding: int | None = None
    head: int | None = None
    attention: int | None = None
    dense_ffn: int | None = None
    shared_experts: int | None = None
    routed_experts: int | None = None
    routed_experts_used: int | None = None
    router: int | None = None
    norm: int | None = None
    other: int | None = None


class FlopsPerToken(Frozen):
    """FLOPs a token: `prefill` of the mean token of a prompt of `context_tokens`, `decode` of one at that context.

    The components add up to them. Under an encoder, prefill encodes a source of `context_tokens`, and a decoded token
    sees as many of the source as of its own.
    """

    prefill: Number | None = None
    decode: Number | None = None
    prefill_by_component: FlopCount | None = None
    decode_by_component: FlopCount | None = None


class DecodeStep(Frozen):
    """Bytes that a decode step of `batch` sequences moves from and to memory, as `accounting.DecodeBytes`; their sum.

    Weights and cache are read; `state` is read and written back: twice `state_per_sequence` a sequence.
    """

    non_expert_weights: Number
    expert_weights: Number
    kv_cache: Number
    state: Number
    total: Number


class Bytes(Frozen):
    """Bytes under `precision`; None where they were not counted. `kv_` is the cache of keys and values.

    `kv_per_token` is what a token adds while no window is full, `kv_per_sequence` what `context_tokens` tokens keep,
    with as many of the source under an encoder, of which each takes `kv_per_source_token`. `state_per_sequence` is
    that of recurrent layers. `weights_by_precision` has the weights under every precision, if that was asked for.
    """

    weights: Number | None = None
    kv_per_token: Number | None = None
    kv_per_source_token: Number | None = None
    kv_per_sequence: Number | None = None
    state_per_sequence: Number | None = None
    decode_step: DecodeStep | None = None
    weights_by_precision: dict[str, Number] = {}


class Experts(Frozen):
    """Layers with the same routed experts, and how many of one layer's experts a decode step of `batch` tokens uses.

    `part` tells feed-forward experts from the attention experts of JetMoE. `shared` counts shared experts in widths of
    a routed one where that is whole, else they are one. `expected_distinct` is the mean under uniform, independent
    routing, `distinct_bounds` the fewest and the most that are possible. A decode step does not run encoder layers.
    """

    part: Literal["feed_forward", "attention"]
    layers: int
    experts: int
    per_token: int
    shared: int
    width: int
    shared_width: int
    expected_distinct: float
    distinct_bounds: tuple[int, int]


class Deviation(Frozen):
    """(counted - published) / published, None without either figure, and our explanation where that is large.

    `active` holds all that a token touches against the published figure, whatever that includes.
    `active_in_their_convention` counts by `published.active_convention`; None where that is not known.
    """

    total: float | None = None
    active: float | None = None
    active_in_their_convention: float | None = None
    explanation: str | None = None


class Ceiling(Frozen):
    """The roofline of a step. `bound` is what takes longer.

    No engine can be faster with a dense model, nor with a sparse one whose routing is uniform: tokens that agree on
    experts read fewer of them. `tokens_per_s` are those of all sequences and all devices together.
    """

    tokens_per_s: float
    bound: Literal["compute", "memory"]
    step_s: float
    compute_s: float
    memory_s: float


class OnAccelerator(Frozen):
    """The model on one kind of accelerator.

    `devices_needed` is the smallest number whose usable memory (`usable_fraction` of it) holds `needed_bytes`: the
    weights and, for `batch` sequences of `context_tokens`, cache and state. Both ceilings are for that number:
    `decode` of one step of the batch, `prefill` of `batch` prompts of `context_tokens`. `compute` is the precision of
    the products. Prices are those of one device and of all that are needed, None where the table has none.
    """

    name: str
    title: str
    memory_bytes: int
    usable_fraction: float
    needed_bytes: Number
    devices_needed: int
    devices_needed_without_cache: int
    compute: str
    price_usd_per_hour: float | None
    price_usd_per_hour_of_all: float | None
    price_source: str | None
    price_read_on: date | None
    price_quality: str | None
    decode: Ceiling
    prefill: Ceiling


class Description(Frozen):
    """A model in numbers. `not_counted` says why fields are None; `notes` what was assumed.

    `source` is where the structure comes from: the catalog, a configuration on disk, or a model hub. `experts` is one
    value where all sparse layers have the same experts, a list where they differ, None without any.
    """

    schema_version: Literal[1] = 1
    name: str
    source: Literal["catalog", "config", "hub"]
    model: ModelFacts
    architecture: Shape | None
    context_tokens: int = Field(ge=1)
    batch: int = Field(ge=1)
    precision: str | None
    parameters: Parameters
    flops_per_token: FlopsPerToken
    bytes: Bytes
    experts: Experts | tuple[Experts, ...] | None
    published: Published
    deviation: Deviation
    accelerator: OnAccelerator | None
    not_counted: str | None
    notes: tuple[str, ...]

    @property
    def kinds_of_experts(self) -> tuple[Experts, ...]:
        """`experts` as a list, whatever their number."""
        if self.experts is None:
            return ()
        return self.experts if isinstance(self.experts, tuple) else (self.experts,)
