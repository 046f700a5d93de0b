"""From which token count on the sparse layer is faster, and that in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Literal

from harness.crossover import Crossover, Rates, crossover_of
from harness.layers.result import Against, Change, Comparison, Measured, paired_ratio
from harness.quantities import count_of, grouped, listed
from harness.stats import CONFIDENCE, holm

Lead = Literal["sparse", "dense", ""]
_NAMES = ("sparse", "dense")
_WORKLOAD = ("layer", 0.0, 0.0, "", "", 0)
"""A crossover is one of a workload; a layer has none."""


def comparison_of(measured: Measured, against: Against) -> Comparison:
    """Where the lead changes between the sparse layer and the dense one of equal `against` width.

    Between each two neighbouring token counts at which different sides lead for certain lies one change, placed by
    `crossover_of` with the ratio of a process as the rate of the sparse layer and exactly 1 as that of the dense one:
    so the processes are paired, where two models in a suite are not. Where only one side ever leads for certain, the
    other may still lead beyond one end of its lead: then there is one change with an open interval.
    """
    rates = [(tokens, ratios, [1.0] * len(ratios)) for tokens, ratios in _ratios(measured, against)]
    leads = leads_of(rates)
    certain = [index for index, lead in enumerate(leads) if lead]
    flips = [(i, j) for i, j in pairwise(certain) if leads[i] != leads[j]]
    found = [crossover_of(rates[i : j + 1], _NAMES, _WORKLOAD) for i, j in flips]
    if not flips:
        found = [crossover_of(rates, _NAMES, _WORKLOAD)]
    changes = tuple(_change(one) for one in found if one.concurrency is not None)
    words = Words(measured.task.tokens, against, leads, changes)
    sentence = words.sentence() if measured.processes > 1 else words.without_interval()
    return Comparison(against=against, leads=tuple(leads), changes=changes, sentence=sentence)


def leads_of(rates: Sequence[Rates]) -> list[Lead]:
    """The certain leader at each token count, by Holm's p over all of them."""
    contrasts = [paired_ratio(list(ratios)) for _, ratios, _ in rates]
    adjusted = holm([1.0 if one.p_value is None else one.p_value for one in contrasts])
    return [
        ("sparse" if one.value > 1 else "dense") if p_value < 1 - CONFIDENCE else ""
        for one, p_value in zip(contrasts, adjusted, strict=True)
    ]


def _ratios(measured: Measured, against: Against) -> list[tuple[int, list[float]]]:
    return [(tokens, measured.speedups(tokens, against)) for tokens in measured.task.tokens]


def _change(found: Crossover) -> Change:
    assert found.concurrency is not None
    return Change(
        faster="sparse" if found.overtakes == "sparse" else "dense", tokens=found.concurrency, low=found.low,
        high=found.high,
    )


class Words:
    """A comparison in one sentence, never stronger than its intervals."""

    def __init__(
        self, tokens: Sequence[int], against: Against, leads: Sequence[Lead],
        changes: Sequence[Change],
    ) -> None:
        self._tokens = tokens
        self._leads = leads
        self._changes = changes
        self._dense = f"the dense one of equal {against} width"

    def sentence(self) -> str:
        """From where on which is faster, or that nothing changes within what was measured."""
        if not self._changes:
            return self._without_change()
        last = self._changes[-1]
        if last.faster == "sparse":
            text = f"From {self._place(last)} on the sparse layer {self._verb(last)} faster than {self._dense}"
        else:
            text = f"Up to {self._place(last)} the sparse layer {self._verb(last)} faster than {self._dense}"
        return f"{text} ({self._interval(last)}){self._before(self._changes[:-1])}."

    def _before(self, earlier: Sequence[Change]) -> str:
        """What the other changes of the lead are; usually there is none, or a lead with few tokens."""
        if [one.faster for one in earlier] == ["dense"]:
            return f", and so it is up to {self._place(earlier[0])} ({self._interval(earlier[0])})"
        told = [f"the {one.faster} one from {self._place(one)} on ({self._interval(one)})" for one in earlier]
        return f"; before that the faster is {listed(told)}" if told else ""

    def without_interval(self) -> str:
        """What a single process says: nothing that is certain."""
        return f"One process gives no interval: whether the sparse layer is faster than {self._dense} is not known."

    def _without_change(self) -> str:
        span = f"within {grouped(self._tokens[0], 0)} to {count_of(self._tokens[-1], 'token')}"
        if len(self._tokens) == 1:
            span = f"with {count_of(self._tokens[0], 'token')}"
        certain = {lead for lead in self._leads if lead}
        if len(certain) == 1:
            how = "faster" if certain == {"sparse"} else "slower"
            text = f"The sparse layer is {how} than {self._dense}"
            if len(self._tokens) == 1:
                return f"{text} {span}."
            counts = len(self._leads)
            if all(self._leads):
                return f"{text} at {'both' if counts == 2 else f'all {counts}'} token counts {span}."
            told = sum(bool(lead) for lead in self._leads)
            rest = "other" if told == counts - 1 else "others"
            return (
                f"{text} at {told} of {counts} token counts ({self._led()}); at the {rest} the two cannot be told "
                "apart."
            )
        if certain:
            return f"The sparse layer and {self._dense} change the lead {span}, at no single place."
        return f"The sparse layer and {self._dense} cannot be told apart {span}."

    def _led(self) -> str:
        """The token counts with a certain leader; neighbouring ones as a span."""
        runs = [list(run) for led, run in groupby(range(len(self._leads)), lambda i: bool(self._leads[i])) if led]
        ends = [[grouped(self._tokens[index], 0) for index in sorted({run[0], run[-1]})] for run in runs]
        return listed(" to ".join(run) for run in ends)

    def _place(self, change: Change) -> str:
        if any(math.isclose(change.tokens, tokens, rel_tol=1e-9) for tokens in self._tokens):
            return count_of(round(change.tokens), "token")
        return f"about {count_of(_whole(change.tokens, round), 'token')}"

    @staticmethod
    def _verb(change: Change) -> str:
        return "may be" if change.low is None or change.high is None else "is"

    def _interval(self, change: Change) -> str:
        low = self._tokens[0] if change.low is None else _whole(change.low, math.floor)
        high = self._tokens[-1] if change.high is None else _whole(change.high, math.ceil)
        less, more = " or less" if change.low is None else "", " or more" if change.high is None else ""
        return f"interval {grouped(low, 0)}{less} to {grouped(high, 0)}{more}"


def _whole(tokens: float, rounded: Callable[[float], int]) -> int:
    """Tokens as a whole number of two digits that count."""
    step: int = 10 ** max(0, math.floor(math.log10(tokens)) - 1)
    return step * rounded(tokens / step)
