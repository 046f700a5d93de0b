"""The pieces of work whose routing was measured, and what chance alone would show in samples of their size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.quantities import grouped, plain
from harness.record import RoutedLayer
from harness.routing.summary import LayerLoad, PhaseRouting
from harness.routing.tokens import PHASES, Phase
from harness.summary import ModelSummary, RoutedWork

NAME_LIMIT = 60
PHASE_WORDS: Mapping[Phase, str] = {"prefill": "Prefill", "decode": "Decode"}


class PartOfWork(NamedTuple):
    """One phase of a piece of work: a row or a block of most tables."""

    work: RoutedWork
    phase: Phase
    routing: PhaseRouting


def works_of(model: ModelSummary) -> tuple[RoutedWork, ...]:
    """What was measured, in the summary's order: serving workloads first, then tasks."""
    return tuple(sorted(model.routing.values(), key=lambda work: work.source != "serving"))


def parts_of(works: Sequence[RoutedWork]) -> list[PartOfWork]:
    """Every phase that has tokens, prefill first."""
    return [
        PartOfWork(work, phase, work.summary.phases[phase])
        for work in works for phase in PHASES if phase in work.summary.phases
    ]


def by_name(works: Sequence[RoutedWork]) -> dict[str, RoutedWork]:
    """The works by the names that `Specialisation` has; a task goes before a workload of the same name."""
    return {work.name: work for work in works}


def title_of(work: RoutedWork) -> str:
    """The name of a piece of work as it is shown."""
    return plain(work.name, NAME_LIMIT)


def layer_title(layer: RoutedLayer, layers: Sequence[RoutedLayer]) -> str:
    """A layer by its place in its stack; the stack is named where there are two."""
    several = len({one.stack for one in layers}) > 1
    return f"{layer.stack} {layer.index}" if several else str(layer.index)


def experts_text(layers: Sequence[RoutedLayer]) -> str:
    """How many experts a layer has: "128", or "64 to 128" where layers differ."""
    counts = sorted({layer.experts for layer in layers})
    return grouped(counts[0], 0) if len(counts) == 1 else f"{grouped(counts[0], 0)} to {grouped(counts[-1], 0)}"


# What chance would show ------------------------------------------------------------------------------------------


def chance_variation(layers: Sequence[LayerLoad]) -> float:
    """The coefficient of variation of loads under uniform routing of as many independent tokens, mean over layers.

    An expert's load is binomial with p = k/N, so that it is sqrt((1 - p) / (T p)). More is a preference of the router.
    """
    return float(np.mean([
        math.sqrt(max(0.0, 1 - (p := one.layer.top_k / one.layer.experts)) / (one.tokens * p)) for one in layers
    ]))


def chance_dead(layers: Sequence[LayerLoad]) -> float:
    """Experts without a token under uniform routing of as many independent tokens: the sum of N (1 - k/N)^T."""
    return sum(one.layer.experts * (1 - one.layer.top_k / one.layer.experts) ** one.tokens for one in layers)


def chance_information(works: Sequence[RoutedWork], layer: RoutedLayer) -> float | None:
    """Bits of mutual information of expert and work that samples of these sizes show where routing is the same.

    The leading term for independent tokens and equal weights w = 1/M: sum of w (1 - w) (N - k) / assignments over
    2 ln 2; of two works it is their expected Jensen-Shannon divergence. None where one has no token in the layer.
    """
    assigned = [int(work.loads[layer].sum()) for work in works if layer in work.loads]
    if len(assigned) < len(works) or not all(assigned) or len(works) < 2:
        return None
    weight = 1 / len(works)
    spread = sum(weight * (1 - weight) * (layer.experts - layer.top_k) / count for count in assigned)
    return spread / (2 * math.log(2))


def chance_divergence(works: Sequence[RoutedWork], layers: Sequence[RoutedLayer]) -> float | None:
    """`chance_information`, mean over layers; None where it is not known of one."""
    known = [chance_information(works, layer) for layer in layers]
    values = [one for one in known if one is not None]
    return float(np.mean(values)) if values and len(values) == len(known) else None
