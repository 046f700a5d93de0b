"""The optimizer: Muon for the matrices, AdamW for the rest. Imported inside functions only."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.pocket.network import Network
from harness.pocket.recipe import Run

ORTHOGONAL = (3.4445, -4.775, 2.0315)
MATRICES = (".attention", ".up", ".down")


class Optimizer:
    """Muon for the matrices of attention and feed-forward, each expert on its own; AdamW without decay for the rest."""

    def __init__(self, network: Network, run: Run) -> None:
        self.network, self.run = network, run
        self.momenta = [torch.zeros_like(part) for part in self.matrices(gradient=False)]
        named = [(name, part) for name, part in network.named_parameters() if not name.endswith(MATRICES)]
        plain = [part for name, part in named if not name.endswith(".router")]
        router = [part for name, part in named if name.endswith(".router")]
        base = run.training.table_rate
        self.rates = [base, base * run.training.router_factor]
        groups = [{"params": part} for part in (plain, router) if part]
        self.adam = torch.optim.AdamW(groups, lr=base, betas=(0.9, 0.95), weight_decay=0.0, foreach=True)

    def matrices(self, *, gradient: bool) -> list[Tensor]:
        """The matrices, or their gradients, stacked: views [number, height, width] into the parameters."""
        shape = self.network.shape
        routed = shape.experts * shape.expert_width
        found = []
        for block in self.network.layers():
            attention, up, down = (side(part, gradient) for part in (block.attention, block.up, block.down))
            found.append(attention)
            for columns, number in ((slice(0, routed), shape.experts), (slice(routed, None), 1)):
                parts = [up[0, columns], up[1, columns], down[columns]]
                found += [part.reshape(number, -1, shape.width) for part in parts if part.numel()]
        return found

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Applies the gradients, scaled by the schedule's factor, and clears them."""
        momentum = self.run.training.momentum
        gradients, weights = self.matrices(gradient=True), self.matrices(gradient=False)
        forms: dict[tuple[int, ...], list[int]] = {}
        for place, (mean, gradient) in enumerate(zip(self.momenta, gradients, strict=True)):
            mean.lerp_(gradient, 1 - momentum)
            forms.setdefault(tuple(gradient.shape[1:]), []).append(place)
        for places in forms.values():
            stacked = torch.cat([gradients[place].lerp(self.momenta[place], momentum) for place in places])
            turned, start = orthogonal(stacked), 0
            for place in places:
                number = len(weights[place])
                weights[place].sub_(turned[start : start + number], alpha=self.run.rate * factor)
                start += number
        for group, base in zip(self.adam.param_groups, self.rates, strict=False):
            group["lr"] = base * factor
        self.adam.step()
        self.network.zero_grad(set_to_none=True)


def side(part: Tensor, gradient: bool) -> Tensor:
    """A parameter's gradient, or its values."""
    values = part.grad if gradient else part.detach()
    assert values is not None
    return values


def orthogonal(updates: Tensor) -> Tensor:
    """The nearest matrices with singular values near one, by Newton-Schulz, scaled to a root mean square of 1/8.

    The scale makes one learning rate mean the same step for every form of matrix.
    """
    high, wide = updates.shape[1:]
    work = updates.mT if high > wide else updates
    work = work / (work.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    first, second, third = ORTHOGONAL
    for _ in range(5):
        square = work @ work.mT
        work = first * work + (second * square + third * square @ square) @ work
    scaled: Tensor = work * (max(high, wide) ** 0.5 / 8)
    return scaled.mT if high > wide else scaled
