"""Which experts the tokens use: drawn under a rule, since random weights would route in a way of their own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from harness.layers.shape import LayerShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Experts = NDArray[np.int64]

Routing = Literal["uniform", "balanced", "skewed", "same"]
ROUTINGS: tuple[Routing, ...] = get_args(Routing)
FEWEST_DRAWS, MOST_DRAWS = 4, 64


def draw(routing: Routing, shape: LayerShape, tokens: int, generator: np.random.Generator) -> Experts:
    """The experts of each token, [tokens, top_k], all of a token different.

    `uniform`: every subset is as likely, each token on its own. `balanced`: one after another, so that no expert has
    two tokens more than another. `skewed`: without replacement by weights 1 / rank (Zipf's law), the ranks shuffled.
    `same`: one subset for all tokens. Source of the weighted draw: Efraimidis and Spirakis 2006, Information
    Processing Letters 97:181.
    """
    experts, k = shape.experts, shape.top_k
    if routing == "balanced":
        first = int(generator.integers(experts))
        row: Experts = generator.permutation(experts)[(first + np.arange(tokens * k)) % experts]
        return row.reshape(tokens, k)
    rows = 1 if routing == "same" else tokens
    keys = generator.standard_exponential((rows, experts))
    if routing == "skewed":
        keys *= 1 + generator.permutation(experts)
    chosen: Experts = np.argpartition(keys, k - 1, axis=1)[:, :k]
    return np.repeat(chosen, tokens, axis=0) if routing == "same" else chosen


def draws_for(shape: LayerShape, tokens: int) -> int:
    """How many draws take turns: with few tokens so many that nearly every expert is used in one of them.

    Calls that read the same few experts again would find them in the processor's cache. experts / (top_k * tokens)
    draws use each expert once on average; twice that, between 4 and 64.
    """
    return min(MOST_DRAWS, max(FEWEST_DRAWS, math.ceil(2 * shape.experts / (shape.top_k * tokens))))


def distinct(draws: list[Experts]) -> float:
    """The mean number of different experts of a draw."""
    return sum(len(np.unique(one)) for one in draws) / len(draws)
