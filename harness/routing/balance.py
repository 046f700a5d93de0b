"""How evenly tokens are spread over the experts of a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Balance(NamedTuple):
    """How evenly a load is spread over experts; of a layer, or the mean over layers (`dead` is their sum)."""

    max_over_mean: float
    variation: float
    """Coefficient of variation: standard deviation over mean, of all experts."""
    gini: float
    """0 where all are alike, 1 - 1/N where one has all."""
    entropy: float
    """Of the load's shares, over log N: 1 where all are alike, 0 where one has all."""
    dead: int
    """Experts that no token chose."""


def balance_of(load: NDArray[np.int64]) -> Balance:
    """The balance of one layer from its tokens by expert, of which there is at least one.

    Gini: sum over the experts by rising load of (2i - N - 1) n_i, over N times all tokens. A single expert is
    balanced. Source: Gini's mean difference; Pielou 1966, J. Theoretical Biology 13:131, for the entropy's norm.
    """
    experts, total = len(load), int(load.sum())
    ordered = np.sort(load)
    ranks = 2 * np.arange(1, experts + 1) - experts - 1
    shares = ordered[ordered > 0] / total
    entropy = -float(shares @ np.log(shares)) / math.log(experts) if experts > 1 else 1.0
    return Balance(
        max_over_mean=int(ordered[-1]) * experts / total,
        variation=float(np.std(load)) * experts / total,
        gini=int(ranks @ ordered) / (experts * total),
        entropy=min(max(entropy, 0.0), 1.0),
        dead=experts - len(shares),
    )


def mean_balance(balances: Sequence[Balance]) -> Balance:
    """The mean over layers, each with the same weight, and the dead experts of all of them."""
    layers = len(balances)
    return Balance(
        max_over_mean=math.fsum(one.max_over_mean for one in balances) / layers,
        variation=math.fsum(one.variation for one in balances) / layers,
        gini=math.fsum(one.gini for one in balances) / layers,
        entropy=math.fsum(one.entropy for one in balances) / layers,
        dead=sum(one.dead for one in balances),
    )
