"""Families with recurrent layers: state spaces, linear attention, convolutions."""

from __future__ import annotations

from harness.hf_config import hybrid_linear, hybrid_state_space
from harness.hf_config.family import Family

FAMILIES: dict[str, Family] = {**hybrid_state_space.FAMILIES, **hybrid_linear.FAMILIES}
