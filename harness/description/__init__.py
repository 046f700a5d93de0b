"""A model in numbers: parameters, arithmetic, memory, experts, and what an accelerator allows. Pure functions."""

from harness.description.build import (
    DEFAULT_CONTEXT_TOKENS,
    USABLE_FRACTION,
    Options,
    active_in_convention,
    compute_precision,
    describe,
)
from harness.description.known_model import KnownModel, find_model, model_from_catalog, model_from_config
from harness.description.select import (
    SORT_KEYS,
    Filter,
    active_of,
    active_share,
    arena_rank,
    checked_choice,
    ordered,
    parse_parameters,
    parse_whole,
    share_of,
    total_of,
)
from harness.description.stored import stored_precision
from harness.description.values import Description, Experts, Layers, ModelFacts, OnAccelerator, Parameters
from harness.description.words import PRECISION_MEANINGS, experts_text, experts_words, kind_words, meanings

__all__ = [
    "DEFAULT_CONTEXT_TOKENS",
    "PRECISION_MEANINGS",
    "SORT_KEYS",
    "USABLE_FRACTION",
    "Description",
    "Experts",
    "Filter",
    "KnownModel",
    "Layers",
    "ModelFacts",
    "OnAccelerator",
    "Options",
    "Parameters",
    "active_in_convention",
    "active_of",
    "active_share",
    "arena_rank",
    "checked_choice",
    "compute_precision",
    "describe",
    "experts_text",
    "experts_words",
    "find_model",
    "kind_words",
    "meanings",
    "model_from_catalog",
    "model_from_config",
    "ordered",
    "parse_parameters",
    "parse_whole",
    "share_of",
    "stored_precision",
    "total_of",
]
