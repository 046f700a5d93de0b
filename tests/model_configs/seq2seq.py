"""Encoder-decoder models: tiny ones with each option, and real shapes."""

from __future__ import annotations

from model_configs.tiny import Config

TINY: dict[str, Config] = {}

REAL: dict[str, Config] = {}

# Where a tensor belongs, by the first part of its name that matches; tried before the common list.
COMPONENTS: dict[str, list[tuple[str, str]]] = {}
