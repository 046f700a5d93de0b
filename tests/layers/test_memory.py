"""What the layers take, what is refused, and how many copies take turns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_reports import SHAPE

from harness.errors import InputError
from harness.layers.memory import (
    UNKNOWN_CACHE_BYTES,
    cache_bytes_of_processor,
    check_memory,
    copies_for,
    weight_bytes,
)
from harness.layers.shape import LayerShape
from harness.layers.task import VARIANTS, LayerTask, Variant

TASK = LayerTask(shape=SHAPE, tokens=(1, 16))
QWEN = LayerTask(shape=LayerShape(hidden=2048, expert_width=768, experts=128, top_k=8), tokens=(1, 1024))


def test_weights_by_hand() -> None:
    assert weight_bytes(SHAPE, "active", 2) == 2 * 3 * 1024 * 1024
    assert weight_bytes(SHAPE, "total", 2) == 2 * 3 * 1024 * 8192
    assert weight_bytes(SHAPE, "sparse", 4) == 4 * (3 * 1024 * 8192 + 1024 * 16)


def test_what_fits_is_not_refused() -> None:
    check_memory(QWEN, 8 * 10**9)


@pytest.mark.parametrize("available", [2 * 10**9, 3 * 10**8])
def test_what_does_not_fit_is_refused_with_a_scale_that_fits(available: int) -> None:
    with pytest.raises(InputError) as refused:
        check_memory(QWEN, available)
    message = str(refused.value)
    assert "2.49 GB of weights" in message and "1\u202f024 tokens" in message and len(message.splitlines()) == 2
    (scale,) = re.findall(r"--scale (\S+) takes", message)
    check_memory(QWEN.model_copy(update={"shape": QWEN.shape.scaled(float(scale))}), available)


def test_the_scale_of_the_hint_counts_from_the_model() -> None:
    half = QWEN.model_copy(update={"shape": QWEN.shape.scaled(0.5)})
    with pytest.raises(InputError) as refused:
        check_memory(half, 3 * 10**8, scale=0.5)
    (scale,) = re.findall(r"--scale (\S+) takes", str(refused.value))
    assert float(scale) < 0.5


def test_where_no_scale_fits_fewer_tokens_are_asked_for() -> None:
    with pytest.raises(InputError, match="fewer --tokens"):
        check_memory(QWEN, 10**5)


@given(st.sampled_from(VARIANTS), st.integers(1, 10**10), st.integers(10**9, 10**12))
def test_copies_leave_the_cache_behind_where_memory_allows(variant: Variant, cache: int, memory: int) -> None:
    copies, size = copies_for(TASK, variant, cache, memory), weight_bytes(SHAPE, variant, 2)
    assert copies == 1 or copies * size <= memory / 6
    assert copies * size >= min(2 * cache, memory / 6 - size)
    assert copies == 1 or (copies - 1) * size < 2 * cache


def test_hot_weights_have_one_copy() -> None:
    assert copies_for(TASK.model_copy(update={"cold": False}), "active", 10**9, 10**12) == 1


def test_the_last_cache_of_the_processor(tmp_path: Path) -> None:
    assert cache_bytes_of_processor(tmp_path) == UNKNOWN_CACHE_BYTES
    for index, size in enumerate(("48K", "2048K", "32M", "?")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(f"{size}\n")
    assert cache_bytes_of_processor(tmp_path) == 32 << 20
