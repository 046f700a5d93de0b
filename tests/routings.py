"""Routings of any shape, drawn for tests, and the tokens of one stack written out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.record import RoutedLayer
from harness.routing.steps import Block
from harness.routing.tokens import Ids, Routing, StackTokens, id_type

LOADS = st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any).map(np.asarray)
"""Tokens by expert, of one at least."""


def stack_tokens(
    step: Sequence[int], decode: Sequence[bool] | None = None, token: Sequence[int] | None = None
) -> StackTokens:
    """Tokens of one request; prompt tokens unless said otherwise."""
    numbers = np.arange(len(step), dtype=np.int32)
    return StackTokens(
        step=np.asarray(step, dtype=np.int32),
        decode=np.zeros(len(step), dtype=bool) if decode is None else np.asarray(decode, dtype=bool),
        request=np.zeros_like(numbers), position=numbers,
        token=numbers if token is None else np.asarray(token, dtype=np.int32),
    )


def drawn_ids(random: np.random.Generator, tokens: int, layer: RoutedLayer, skew: float = 1.0) -> Ids:
    """Top-k of a popularity with noise for every token, rising within a row; 0 is uniform routing."""
    scores = skew * random.normal(0, 1, layer.experts) + random.normal(0, 1, (tokens, layer.experts))
    best = np.argsort(-scores, axis=1, kind="stable")[:, : layer.top_k]
    ids: Ids = np.sort(best, axis=1).astype(id_type(layer.experts))
    return ids


@st.composite
def layers(draw: st.DrawFn, index: int = 0, most: int = 12) -> RoutedLayer:
    experts = draw(st.integers(1, most))
    return RoutedLayer(index=index, experts=experts, top_k=draw(st.integers(1, min(experts, 4))))


@st.composite
def blocks(draw: st.DrawFn) -> tuple[RoutedLayer, Block, NDArray[np.int64]]:
    """A layer, the loads of some steps, and the expert ids (top-k x tokens) that they are of."""
    layer = draw(layers())
    sizes = np.asarray(draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    ids = drawn_ids(random, int(sizes.sum()), layer, draw(st.floats(0, 3)))
    parts = np.split(ids, np.cumsum(sizes)[:-1])
    loads = np.asarray([np.bincount(part.ravel(), minlength=layer.experts) for part in parts])
    return layer, Block(0, sizes, loads.T), ids.T.astype(np.int64)


@st.composite
def routings(draw: st.DrawFn, *, encoder: bool = False) -> Routing:
    """Some layers and steps of prefill, decode or both; with an encoder, prefill is its and decode the decoder's."""
    found = [draw(layers(index)) for index in range(draw(st.integers(1, 3)))]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    skew = draw(st.floats(0, 3))
    stacks = {"decoder": _drawn_tokens(draw, random, decode=True if encoder else None)}
    if encoder:
        stacks["encoder"] = _drawn_tokens(draw, random, decode=False)
        found += [layer.model_copy(update={"stack": "encoder"}) for layer in found]
    ids = [drawn_ids(random, len(stacks[layer.stack]), layer, skew) for layer in found]
    return Routing.of(found, stacks, ids, {token: f"t{token}" for token in range(5)})


def _drawn_tokens(draw: st.DrawFn, random: np.random.Generator, *, decode: bool | None) -> StackTokens:
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    gaps = draw(st.lists(st.integers(1, 3), min_size=len(sizes), max_size=len(sizes)))
    step = np.repeat(np.cumsum(gaps), sizes)
    chosen = random.random(len(step)) < draw(st.sampled_from([0.0, 0.4, 1.0]))
    if decode is not None:
        chosen[:] = decode
    return stack_tokens(step.tolist(), chosen.tolist(), random.integers(0, 5, len(step)).tolist())
