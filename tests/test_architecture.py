"""Structures: what they refuse, and that they survive storage."""

from __future__ import annotations

import subprocess
import sys

import pytest
from model_configs import TINY
from pydantic import ValidationError

from harness.architecture import (
    Architecture,
    DenseFeedForward,
    GroupedQueryAttention,
    LayerGroup,
    MoeFeedForward,
    Norms,
)
from harness.hf_config import architecture_from_config


@pytest.mark.parametrize("name", TINY)
def test_a_stored_architecture_reads_back_equal(name: str) -> None:
    architecture = architecture_from_config(TINY[name], name)
    assert Architecture.model_validate_json(architecture.model_dump_json()) == architecture


def test_groups_keep_the_order_of_the_layers() -> None:
    architecture = architecture_from_config(TINY["qwen3_moe-mixed"], "x")
    assert [group.feed_forwards[0].kind for group in architecture.each_layer()] == ["dense", "moe", "dense", "moe"]
    assert architecture.layers == 4
    assert architecture.is_moe
    assert not architecture_from_config(TINY["llama"], "x").is_moe


def test_equal_neighbours_share_a_group() -> None:
    architecture = architecture_from_config(TINY["gpt_oss-listed"], "x")
    assert [group.count for group in architecture.decoder.groups] == [2, 1, 1]


def test_a_token_cannot_use_more_experts_than_there_are() -> None:
    with pytest.raises(ValidationError, match="cannot use 5 of 4 experts"):
        MoeFeedForward(experts=4, experts_per_token=5, width=8)


def test_query_heads_share_key_value_heads_evenly() -> None:
    with pytest.raises(ValidationError, match="evenly"):
        GroupedQueryAttention(query_heads=6, kv_heads=4, head_dim=8)


@pytest.mark.parametrize("width", [0, -1, 10**9, True, "8", 8.0])
def test_sizes_are_whole_positive_and_possible(width: object) -> None:
    with pytest.raises(ValidationError):
        DenseFeedForward.model_validate({"width": width})


def test_a_group_needs_a_layer() -> None:
    attention = GroupedQueryAttention(query_heads=2, kv_heads=1, head_dim=8)
    with pytest.raises(ValidationError):
        LayerGroup(count=0, mixers=(attention,), feed_forwards=(), norms=Norms(count=2, width=16))


def test_norms_without_scale_have_no_parameters() -> None:
    assert Norms(count=2, width=16, scale=False).parameters == 0
    assert Norms(count=2, width=16, bias=True).parameters == 64


@pytest.mark.slow
def test_reading_models_needs_neither_torch_nor_numpy() -> None:
    program = (
        "import sys; import harness.catalog, harness.accounting;"
        "print([name for name in ('torch', 'transformers', 'numpy', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
