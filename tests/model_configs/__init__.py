"""Configurations of every family that can be counted: tiny ones with each option, and those of real models."""

from __future__ import annotations

from model_configs import dense, hybrid, seq2seq, sparse
from model_configs.tiny import Config, tiny

__all__ = ["COMPONENTS", "REAL", "TINY", "Config", "tiny"]

TINY: dict[str, Config] = {**dense.TINY, **sparse.TINY, **hybrid.TINY, **seq2seq.TINY}
REAL: dict[str, Config] = {**dense.REAL, **sparse.REAL, **hybrid.REAL, **seq2seq.REAL}

# model_type -> where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {
    **dense.COMPONENTS, **sparse.COMPONENTS, **hybrid.COMPONENTS, **seq2seq.COMPONENTS,
}
