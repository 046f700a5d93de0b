"""Trains one pocket model: the same kind, world, seed, steps and rate give the same weights on the same machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.pocket.batches import Batches, answer_places
from harness.pocket.recipe import SHAPES, Run, Training

if TYPE_CHECKING:
    from harness.pocket.network import Network


def need_torch() -> None:
    """Raises InputError where torch is missing."""
    try:
        import torch  # noqa: F401  (only its presence matters)
    except ImportError:
        raise InputError("training a pocket model needs torch", hint="install the engine: make setup") from None


def need_compiler() -> None:
    """Raises InputError where torch would find no C++ compiler to make the training step fast with."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        raise InputError("training a pocket model needs a C++ compiler", hint="install g++, or name one in CXX")


def train(run: Run, tell: Callable[[int, float], None] | None = None) -> Network:
    """Trains on one thread and returns the network; `tell` hears every loss.

    Raises InputError where torch or, for a compiled run, a C++ compiler is missing.
    """
    need_torch()
    if run.compiled:
        need_compiler()
    import torch

    from harness.pocket.network import Network
    from harness.pocket.optimizer import Optimizer

    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    network = Network(SHAPES[run.kind])
    loss_of = torch.compile(network.loss, dynamic=False) if run.compiled else network.loss
    optimizer = Optimizer(network, run)
    places = torch.from_numpy(answer_places(run.training.mix))
    batches = iter(Batches(run.world, run.seed, run.training.mix))
    for step in range(run.training.steps):
        tokens, weights = next(batches)
        loss = loss_of(torch.from_numpy(tokens), torch.from_numpy(weights), places)
        torch.autograd.backward(loss)
        optimizer.step(schedule(step, run.training))
        if tell is not None:
            tell(step, loss.item())
    return network


def schedule(step: int, training: Training) -> float:
    """The factor on every learning rate: a short warm-up, flat, then a straight line to zero."""
    left = (training.steps - step) / (training.steps * training.decay)
    return min(1.0, (step + 1) / training.warmup, left)
