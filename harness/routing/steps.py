"""The batches that experts saw: each phase's part of an engine step, and how many of its tokens each expert got."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.routing.tokens import Ids, Phase, StackTokens

Counts = NDArray[np.int64]
_CELLS = 1 << 18
"""Steps x experts that are counted at once: tables of this size stay in a processor's cache."""
_TOKENS = 1 << 17


@dataclass(frozen=True)
class Steps:
    """One phase's tokens of one stack by engine step; a step with both phases has a part in each."""

    rows: Counts
    """The tokens' places in the stack, step after step."""
    numbers: Counts
    """Which engine steps, rising."""
    sizes: Counts
    """Tokens of each."""

    @property
    def tokens(self) -> int:
        """Tokens of all steps."""
        return len(self.rows)

    @property
    def first_half(self) -> int:
        """How many steps make up the first half."""
        return len(self.sizes) // 2


class Block(NamedTuple):
    """Some steps in a row."""

    first: int
    """Place of the first one in `Steps.sizes`."""
    sizes: Counts
    loads: Counts
    """Tokens by expert and step: what is done for every step runs along the memory."""


def steps_of(tokens: StackTokens, phase: Phase) -> Steps:
    """The steps of a phase, those without a token of it left out."""
    rows = np.flatnonzero(tokens.of_phase(phase))
    rows = rows[np.argsort(tokens.step[rows], kind="stable")]
    numbers, sizes = np.unique(tokens.step[rows], return_counts=True)
    return Steps(rows, numbers.astype(np.int64), sizes.astype(np.int64))


def blocks_of(steps: Steps, columns: Ids, experts: int) -> Iterator[Block]:
    """The loads of all steps, in order and in parts that take little memory.

    `columns` are the expert ids of `steps.rows`, top-k x tokens.
    """
    ends = np.cumsum(steps.sizes)
    first, begin = 0, 0
    while first < len(ends):
        last = min(first + _CELLS // experts, int(np.searchsorted(ends, begin + _TOKENS)))
        last = max(first + 1, min(last, len(ends)))
        end = int(ends[last - 1])
        sizes = steps.sizes[first:last]
        base = np.repeat(np.arange(len(sizes)) * experts, sizes)
        loads = counted(base, columns[:, begin:end], (len(sizes), experts))
        yield Block(first, sizes, np.ascontiguousarray(loads.T))
        first, begin = last, end


def columns_of(ids: Ids, rows: Counts) -> Ids:
    """Some rows of a layer's ids, turned: top-k x rows."""
    return np.ascontiguousarray(np.take(ids, rows, axis=0).T)


def counted(base: Counts, columns: Ids, shape: tuple[int, int]) -> Counts:
    """How often each expert (second axis) occurs in each row, where `base` is the row's first place of each token."""
    found = np.zeros(shape[0] * shape[1], dtype=np.int64)
    for column in columns:
        # one column at a time stays in a processor's cache
        found += np.bincount(base + column, minlength=len(found))
    return found.reshape(shape)
