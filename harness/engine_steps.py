"""What each engine step of a serving run worked on: for how long, on how many tokens of prompts, on which contexts.

A record keeps when each step ended and in which steps each request's tokens were made. From that follows the rest, for
all steps at once: seventeen million tokens take about a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.record import RequestTiming, ServingMeasurement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]
    Numbers = NDArray[np.int64]

_DIGITS = 6
"""Kept of the tokens of a step: sums of shares of prompts are not exact."""


@dataclass(frozen=True)
class EngineSteps:
    """The steps that made tokens, one value a step in every array.

    A step is a prefill step from the one that first works on some prompt to the one that makes its first token.
    """

    time_s: Column
    """From the end of the step before, or from the start of work where the engine had none, to its own end."""
    prefill: NDArray[np.bool_]
    prompt_tokens: Column
    """Tokens of prompts; a prompt that takes several steps is spread evenly over them."""
    decoded: Column
    """Tokens that the model had made and reads again."""
    costs: Column
    """Steps x columns of the table of costs: the sums over the decoded tokens of the row of each one's context."""

    @property
    def tokens(self) -> Column:
        """All tokens that go through the model; a step has at least one."""
        everything: Column = np.maximum(self.prompt_tokens + self.decoded, 1.0)
        return everything


def prompt_of(request: RequestTiming) -> int:
    """Tokens of its prompt as the engine counted them; as it was sent where it did not end."""
    return request.prompt_tokens or request.asked_prompt_tokens


def longest_context(requests: Sequence[RequestTiming]) -> int:
    """The most tokens that any token sees, itself included: all of a request."""
    return max((prompt_of(request) + request.output_tokens for request in requests), default=1)


def engine_steps(measurement: ServingMeasurement, costs: Column) -> EngineSteps | None:
    """The steps of one run; None where it does not tell when requests were started, or made no token.

    `costs` has one row a context, from 0 to `longest_context`: what a decoded token costs that sees so many tokens.
    What the engine did again, after it had put a request aside, does not show and is not counted.
    """
    requests = [request for request in measurement.requests if request.tokens]
    if not requests or any(request.started_s is None for request in requests):
        return None
    ends = np.asarray(measurement.steps_s, dtype=float)
    started = np.asarray([request.started_s for request in requests], dtype=float)
    first = np.asarray([request.tokens[0][0] for request in requests])
    last = np.asarray([request.tokens[-1][0] + request.tokens[-1][1] - 1 for request in requests])
    begun = np.minimum(np.searchsorted(ends, started, side="right"), first)
    decoded, sums = _decoded(requests, len(ends), costs)
    uncached = np.asarray([max(0, prompt_of(request) - request.cached_tokens) for request in requests], dtype=float)
    shares = _covered(begun, first, uncached / (first - begun + 1), len(ends))
    return EngineSteps(
        time_s=_durations(ends, started, begun, last),
        prefill=_covered(begun, first, np.ones(len(first)), len(ends)) > 0.5,
        prompt_tokens=np.round(shares, _DIGITS),
        decoded=decoded,
        costs=sums,
    )


def _durations(ends: Column, started: Column, begun: Numbers, last: Numbers) -> Column:
    """Seconds of each step. Where no request is under way between two steps, the second begins with its first one."""
    begins = np.concatenate([[-np.inf], ends[:-1]])
    several = last > begun
    under_way = _covered(begun[several] + 1, last[several], np.ones(int(several.sum())), len(ends)) > 0.5
    earliest = np.full(len(ends), np.inf)
    np.minimum.at(earliest, begun, started)
    fresh = ~under_way & np.isfinite(earliest)
    begins[fresh] = np.maximum(begins[fresh], earliest[fresh])
    begins[~np.isfinite(begins)] = ends[0]
    durations: Column = np.maximum(ends - begins, 0.0)
    return durations


def _covered(first: Numbers, last: Numbers, weights: Column, steps: int) -> Column:
    """The sum of the weights of the stretches first..last that each step lies in."""
    changes = np.zeros(steps + 1)
    np.add.at(changes, first, weights)
    np.add.at(changes, last + 1, -weights)
    sums: Column = np.cumsum(changes)[:steps]
    return sums


def _decoded(requests: Sequence[RequestTiming], steps: int, costs: Column) -> tuple[Column, Column]:
    """Of each step the number of decoded tokens, and the sums of their costs."""
    sums = np.zeros((steps, costs.shape[1]))
    changes = np.zeros(steps + 1, dtype=np.int64)
    for request in requests:
        prompt = prompt_of(request)
        for first, length, each, index in _decoded_runs(request):
            rows = costs[prompt + index : prompt + index + length * each]
            if each > 1:
                rows = rows.reshape(length, each, -1).sum(axis=1)
            sums[first : first + length] += rows
            changes[first] += each
            changes[first + length] -= each
    return np.cumsum(changes)[:steps].astype(float), sums


def _decoded_runs(request: RequestTiming) -> Iterator[tuple[int, int, int, int]]:
    """First step, steps, tokens a step and the first one's place in the output: all but token 0.

    Token 0 comes from the prompt; token i has been made by reading token i - 1, and sees prompt + i tokens.
    """
    made = 0
    for first, length, each in request.tokens:
        if made:
            yield first, length, each, made
        else:
            if each > 1:
                yield first, 1, each - 1, 1
            if length > 1:
                yield first + 1, length - 1, each, each
        made += length * each
