"""Costs by context: what is known of every context from a few is what the accounting says of it."""

from __future__ import annotations

import pytest
from builders import CONFIGS, timed_requests
from hypothesis import given
from hypothesis import strategies as st

from harness.accounting import flops_per_token, kv_read_bytes, prefill_flops
from harness.architecture import Architecture
from harness.context_costs import prompt_flops, token_costs
from harness.hf_config import architecture_from_config


def structure(window: int | None) -> Architecture:
    """A sparse model, all of whose layers see so many tokens."""
    config = CONFIGS["moe-8x2"] if window is None else {**CONFIGS["moe-8x2"], "sliding_window": window}
    return architecture_from_config(config, "moe-8x2")


WINDOWS = st.none() | st.integers(1, 300)


@given(WINDOWS, st.integers(1, 400), st.sampled_from([1.0, 2.0]))
def test_a_decoded_token_costs_what_the_accounting_says_at_every_context(
    window: int | None, longest: int, element: float
) -> None:
    architecture = structure(window)
    costs = token_costs(architecture, element, longest)
    assert costs.shape == (longest + 1, 2)
    assert costs[0].tolist() == [0.0, 0.0]
    for context in {1, longest // 2, longest} - {0}:
        flops = flops_per_token(architecture, context=context).total
        assert costs[context, 0] == pytest.approx(flops, rel=1e-9)
        assert costs[context, 1] == pytest.approx(kv_read_bytes(architecture, context, element), rel=1e-9)


@given(WINDOWS, st.integers(1, 300), st.integers(0, 300))
def test_prompts_cost_what_no_prefix_cache_answered(window: int | None, prompt: int, cached: int) -> None:
    architecture = structure(window)
    _, (one, other) = timed_requests([[1.0, 2.0], [2.0, 3.0]], [0.0, 0.0], prompt_tokens=prompt)
    requests = (one, other.model_copy(update={"cached_tokens": cached}), one.model_copy(update={"tokens": ()}))
    whole = prefill_flops(architecture, prompt).total
    left_out = prefill_flops(architecture, cached).total if 0 < cached < prompt else 0.0 if not cached else whole
    assert prompt_flops(architecture, requests) == pytest.approx(2 * whole - left_out, rel=1e-9)
