"""A model in numbers: parameters, arithmetic, memory, experts, and what an accelerator allows. Pure functions."""

from harness.description.build import DEFAULT_CONTEXT_TOKENS, USABLE_FRACTION, Options, compute_precision, describe
from harness.description.select import (
    SORT_KEYS,
    Filter,
    active_of,
    active_share,
    arena_rank,
    checked_choice,
    ordered,
    parse_parameters,
    total_of,
)
from harness.description.stored import stored_precision
from harness.description.subject import Subject, find_subject, subject_from_config, subject_of
from harness.description.values import Description, Experts, Layers, ModelFacts, OnAccelerator, Parameters
from harness.description.words import experts_text, kind_words, meanings

__all__ = [
    "DEFAULT_CONTEXT_TOKENS",
    "SORT_KEYS",
    "USABLE_FRACTION",
    "Description",
    "Experts",
    "Filter",
    "Layers",
    "ModelFacts",
    "OnAccelerator",
    "Options",
    "Parameters",
    "Subject",
    "active_of",
    "active_share",
    "arena_rank",
    "checked_choice",
    "compute_precision",
    "describe",
    "experts_text",
    "find_subject",
    "kind_words",
    "meanings",
    "ordered",
    "parse_parameters",
    "stored_precision",
    "subject_from_config",
    "subject_of",
    "total_of",
]
