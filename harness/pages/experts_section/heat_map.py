"""The heat map layer x expert: loads as typed arrays, what the browser needs to draw them, and each choice in words."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.pages.experts_section.works import layer_title, title_of
from harness.quantities import count_of, grouped, plain, significant
from harness.record import RoutedLayer
from harness.routing.tokens import PHASES
from harness.summary import RoutedWork

_ROW_PX = (9, 26)
_HEIGHT_PX = 576
_AXES_PX = 64
_CELL_PX = 44
_SIDE_PX = 88
_MOST_DOUBLINGS = 5
_COVERED = 99.5
_AT_ONCE = 256

Loads = Mapping[RoutedLayer, NDArray[np.int64]]


@dataclass(frozen=True)
class Choice:
    """One piece of work: an entry of the selector, with its data in an element of its own."""

    id: str
    name: str
    """By which an address names it: "serving.chat"."""
    title: str
    group: str
    content: dict[str, Any]


@dataclass(frozen=True)
class HeatMap:
    """One figure whose data the reader chooses."""

    choices: tuple[Choice, ...]
    phases: tuple[tuple[str, str], ...]
    ranges: tuple[tuple[int, str], ...]
    """First expert and title of each stretch that can be looked at alone; empty where all fit."""
    span: int
    """Experts in a stretch."""
    ticks: tuple[str, ...]
    """Of the colour scale, from its low end to its high one."""
    doublings: int
    height_px: int
    width_px: int
    dead: bool
    """Whether any expert got no token in some choice."""

    @property
    def groups(self) -> tuple[tuple[str, tuple[Choice, ...]], ...]:
        """The choices by kind of work."""
        kinds = dict.fromkeys(choice.group for choice in self.choices)
        return tuple((kind, tuple(one for one in self.choices if one.group == kind)) for kind in kinds)


def heat_map(works: Sequence[RoutedWork]) -> HeatMap:
    """The heat map of at least one piece of work."""
    by_phase = [_by_phase(work) for work in works]
    choices = tuple(_choice(number, *one) for number, one in enumerate(zip(works, by_phase, strict=True)))
    rows = max(len(work.summary.layers) for work in works)
    experts = max(layer.experts for work in works for layer in work.summary.layers)
    row = min(max(_HEIGHT_PX // rows, _ROW_PX[0]), _ROW_PX[1])
    loads = [load for phases in by_phase for found in phases.values() for load in found.values()]
    doublings = _doublings(loads)
    return HeatMap(
        choices=choices,
        phases=tuple((key, title) for key, title in _PHASES if any(key in one.content["words"] for one in choices)),
        ranges=_ranges(experts),
        span=_AT_ONCE,
        ticks=tuple(_tick(power) for power in range(-doublings, doublings + 1)),
        doublings=doublings,
        height_px=row * rows + _AXES_PX,
        width_px=experts * _CELL_PX + _SIDE_PX,
        dead=any(bool((load == 0).any()) for load in loads),
    )


_PHASES = (("both", "both"), ("prefill", "prefill"), ("decode", "decode"))


def packed(values: NDArray[np.int64]) -> dict[str, str]:
    """Whole numbers as plotly's typed arrays, little-endian in base64, in the smallest type that holds them."""
    most = int(values.max(initial=0))
    kind = "u1" if most < 2**8 else "u2" if most < 2**16 else "u4"
    return {"dtype": kind, "bdata": base64.b64encode(values.astype(f"<{kind}").tobytes()).decode("ascii")}


def _choice(number: int, work: RoutedWork, by_phase: Mapping[str, Loads]) -> Choice:
    """Layers by place; per phase the places that have tokens, with the loads of each."""
    layers = work.summary.layers
    place = {layer: row for row, layer in enumerate(layers)}
    phases = {
        phase: {"rows": [place[layer] for layer in loads], "loads": [packed(load) for load in loads.values()]}
        for phase, loads in by_phase.items() if phase != "both"
    }
    content = {
        "layers": [[layer_title(layer, layers), layer.experts, layer.top_k] for layer in layers],
        "phases": phases,
        "words": {phase: _words(work, phase, loads) for phase, loads in by_phase.items()},
    }
    group = "Serving workloads" if work.source == "serving" else "Tasks"
    name = plain(f"{work.source}.{work.name}")
    return Choice(f"experts-map-{number}", name, title_of(work), group, content)


def _by_phase(work: RoutedWork) -> dict[str, Loads]:
    """The loads of each phase, and of both where there are two."""
    found: dict[str, Loads] = {
        phase: {one.layer: one.load for one in work.summary.phases[phase].layers}
        for phase in PHASES if phase in work.summary.phases
    }
    return found if len(found) < 2 else {"both": work.loads, **found}


def _words(work: RoutedWork, phase: str, loads: Loads) -> str:
    """What a choice shows, for those who do not see it: tokens, the busiest expert, those without a token."""
    phases = work.summary.phases
    tokens = work.summary.tokens if phase == "both" else next(v.tokens for k, v in phases.items() if k == phase)
    busiest = max(loads, key=lambda layer: float(_relative(loads[layer]).max()))
    top = float(_relative(loads[busiest]).max())
    dead, experts = (sum(int(n) for n in one) for one in zip(
        *(((load == 0).sum(), len(load)) for load in loads.values()), strict=True,
    ))
    where = f"layer {layer_title(busiest, work.summary.layers)}, expert {int(loads[busiest].argmax())}"
    silent = f"{grouped(dead, 0) if dead else 'none'} of {grouped(experts, 0)} experts"
    return (
        f"{title_of(work)}: {count_of(tokens, 'token')}. Busiest: {where}, {significant(top)} times an even share. "
        f"Without a token: {silent}."
    )


def _relative(load: NDArray[np.int64]) -> NDArray[np.float64]:
    """Loads over an even share."""
    return load.astype(np.float64) * (len(load) / max(int(load.sum()), 1))


def _doublings(loads: Sequence[NDArray[np.int64]]) -> int:
    """How far the colours reach on either side of an even share: so that they cover nearly all cells of all choices."""
    relative = np.concatenate([_relative(load) for load in loads])
    powers = np.abs(np.log2(relative[relative > 0]))
    reach = float(np.percentile(powers, _COVERED, method="higher")) if powers.size else 1.0
    return min(max(math.ceil(reach), 1), _MOST_DOUBLINGS)


def _tick(power: int) -> str:
    return f"1/{2**-power}" if power < 0 else str(2**power)


def _ranges(experts: int) -> tuple[tuple[int, str], ...]:
    if experts <= _AT_ONCE:
        return ()
    return tuple(
        (start, f"{grouped(start, 0)} to {grouped(min(start + _AT_ONCE, experts) - 1, 0)}")
        for start in range(0, experts, _AT_ONCE)
    )
