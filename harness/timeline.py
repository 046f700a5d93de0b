"""When tokens were made, without a number for each: an engine step's tokens share one time.

A request's tokens are runs (first step, steps, tokens a step) over the list of the steps' ends. A hundred thousand
requests then take megabytes instead of gigabytes, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Run = tuple[int, int, int]
"""First step, how many steps in a row, tokens of the request in each."""


def runs_of(steps: Iterable[Sequence[str]]) -> dict[str, list[Run]]:
    """Each request's runs, from the requests of every token of every step in turn."""
    runs: dict[str, list[Run]] = {}
    for number, tokens in enumerate(steps):
        counts: dict[str, int] = {}
        for request in tokens:
            counts[request] = counts.get(request, 0) + 1
        for request, count in counts.items():
            known = runs.setdefault(request, [])
            if known:
                first, length, each = known[-1]
                if first + length == number and each == count:
                    known[-1] = (first, length + 1, each)
                    continue
            known.append((number, 1, count))
    return runs


def from_times(times: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], list[tuple[Run, ...]]]:
    """Steps and runs of requests whose tokens have a time each: tokens of one time are of one step."""
    steps = tuple(sorted({stamp for one in times for stamp in one}))
    numbers = {stamp: number for number, stamp in enumerate(steps)}
    made: list[list[str]] = [[] for _ in steps]
    for index, one in enumerate(times):
        for stamp in one:
            made[numbers[stamp]].append(str(index))
    runs = runs_of(made)
    return steps, [tuple(runs.get(str(index), ())) for index in range(len(times))]


def token_count(runs: Sequence[Run]) -> int:
    """How many tokens a request made."""
    return sum(steps * each for _, steps, each in runs)


def token_times(runs: Sequence[Run], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The time of every token of one request, in seconds; `steps` are the ends of all engine steps, in order."""
    import numpy as np

    parts = [np.repeat(steps[first : first + length], each) for first, length, each in runs]
    return np.concatenate(parts) if parts else np.empty(0)


def first_and_last(runs: Sequence[Run], steps: Sequence[float]) -> tuple[float, float] | None:
    """When the first and the last token of a request were made, in seconds; None without a token."""
    if not runs:
        return None
    return steps[runs[0][0]], steps[runs[-1][0] + runs[-1][1] - 1]
