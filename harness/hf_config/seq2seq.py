"""Families of encoder-decoder models."""

from __future__ import annotations

from harness.hf_config.family import Family

FAMILIES: dict[str, Family] = {}
