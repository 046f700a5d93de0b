"""Feed-forwards with random weights in plain torch, dense and sparse, to be timed beside each other.

Imported inside functions only, since it needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, cycle
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.architecture import MoeFeedForward
from harness.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DENSE_SLICE = 32768
"""The widest part of a dense feed-forward that is multiplied at once.

oneDNN's kernel for AMX in torch 2.13 divides by zero where 16 tokens meet a sum over 98304 values in bfloat16, and the
inner values of a wide layer would take gigabytes. No layer of a published dense model is as wide.
"""
STEER = 32.0
"""What is added to the logits of the experts that a token is to use: beyond any logit of random weights."""
_POOL = 1048573
"""Random values that are drawn; a prime, so that no two experts of a usual size begin at the same one."""


class Place(NamedTuple):
    """Where and in which precision tensors are made."""

    device: torch.device
    dtype: torch.dtype
    generator: torch.Generator

    def normal(self, *size: int, deviation: float) -> Tensor:
        """Random values of this standard deviation; those of large tensors repeat, which no kernel notices."""
        values = torch.empty(*size, device=self.device, dtype=self.dtype)
        flat = values.view(-1)
        pool = torch.randn(min(_POOL, len(flat)), generator=self.generator).mul_(deviation).to(self.device, self.dtype)
        for start in range(0, len(flat), len(pool)):
            part = flat[start : start + len(pool)]
            part.copy_(pool[: len(part)])
        return values


def place(device: str, precision: str, seed: int) -> Place:
    """A place of this name ("cpu", "cuda") and precision ("bfloat16", ...), its random values from `seed`."""
    return Place(torch.device(device), getattr(torch, precision), torch.Generator().manual_seed(seed))


def activated(inner: Tensor, gated: bool) -> Tensor:
    """SiLU of the first half of the inner values times the second half, or SiLU of all without gates. Overwrites."""
    if not gated:
        return functional.silu(inner, inplace=True)
    half = inner.shape[-1] // 2
    return functional.silu(inner[..., :half], inplace=True).mul_(inner[..., half:])


# Dense -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dense:
    """A dense feed-forward in slices of its width: `up` is [2 * width or width, hidden], `down` [hidden, width]."""

    slices: tuple[tuple[Tensor, Tensor], ...]
    gated: bool

    def __call__(self, hidden: Tensor) -> Tensor:
        """[tokens, hidden size] -> the same."""
        (up, down), *others = self.slices
        output = functional.linear(activated(functional.linear(hidden, up), self.gated), down)
        for up, down in others:
            output.add_(functional.linear(activated(functional.linear(hidden, up), self.gated), down))
        return output

    def copy(self) -> Dense:
        """The same weights at other addresses."""
        return Dense(tuple((up.clone(), down.clone()) for up, down in self.slices), self.gated)


def dense(hidden: int, width: int, gated: bool, at: Place) -> Dense:
    """A dense feed-forward whose outputs vary about as much as its inputs."""
    widths = [min(DENSE_SLICE, width - start) for start in range(0, width, DENSE_SLICE)]
    return Dense(
        tuple(
            (
                at.normal((1 + gated) * part, hidden, deviation=hidden**-0.5),
                at.normal(hidden, part, deviation=width**-0.5),
            )
            for part in widths
        ),
        gated,
    )


# Sparse ----------------------------------------------------------------------------------------------------------


class Kernels(Protocol):
    """What chooses the experts of tokens, and what multiplies by them."""

    name: str

    def choose(self, hidden: Tensor, logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        """Weights that add up to 1 and experts of each token, [tokens, top_k], from logits [tokens, experts]."""

    def multiply(self, hidden: Tensor, chosen: tuple[Tensor, Tensor], up: Tensor, down: Tensor) -> Tensor:
        """The weighted sum of each token's experts; `up` and `down` as in `Sparse`."""


class TorchKernels:
    """Tokens sorted by expert, one grouped matrix product up and one down.

    `torch.nn.functional.grouped_mm` wherever this torch has it and the rows of both matrices begin at multiples of 16
    bytes, which it asks for; else one product after another. On a processor (bfloat16, float32; 16 to 128 experts;
    1 to 4096 tokens) the grouped product was as fast or up to a third faster from 4 tokens on and a tenth slower only
    with one token and small experts; a batched product over gathered matrices was 2.5 to 16 times slower than both.
    """

    def __init__(self, hidden: int, layer: MoeFeedForward, at: Place) -> None:
        aligned = all(size * at.dtype.itemsize % 16 == 0 for size in (hidden, layer.width))
        self._grouped = aligned and hasattr(functional, "grouped_mm")
        if at.device.type == "cuda" and not self._grouped:
            raise EngineError(
                f"hidden size {hidden} and expert width {layer.width} do not suit the kernels for CUDA", kind="kernel",
                hint="give multiples of 8, and with float32 of 4",
            )
        self._gated = layer.matrices == 3
        self._experts = torch.arange(layer.experts, device=at.device)
        self.name = "torch grouped_mm" if self._grouped else "torch, one product an expert"

    def choose(self, hidden: Tensor, logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        """See `Kernels.choose`."""
        weights, experts = logits.softmax(-1, dtype=torch.float32).topk(top_k, -1)
        return weights.div_(weights.sum(-1, keepdim=True)).to(hidden.dtype), experts

    def multiply(self, hidden: Tensor, chosen: tuple[Tensor, Tensor], up: Tensor, down: Tensor) -> Tensor:
        """See `Kernels.multiply`."""
        weights, experts = (values.flatten() for values in chosen)
        ordered, order = experts.sort()
        # counts by bincount would be fetched from an accelerator, which a CUDA graph does not allow
        ends = torch.searchsorted(ordered, self._experts, right=True, out_int32=True)
        rows = order // chosen[1].shape[1]
        # index_select and index_add_: indexing by a tensor was 2 to 5 times slower, and so was a product with weights
        given = hidden.index_select(0, rows)
        products = self._grouped_products if self._grouped else self._products
        outputs = products(given, ends, up, down)
        outputs.mul_(weights.index_select(0, order)[:, None])
        return torch.zeros_like(hidden).index_add_(0, rows, outputs)

    def _grouped_products(self, given: Tensor, ends: Tensor, up: Tensor, down: Tensor) -> Tensor:
        inner = functional.grouped_mm(given, up.transpose(1, 2), offs=ends)
        return functional.grouped_mm(activated(inner, self._gated), down.transpose(1, 2), offs=ends)

    def _products(self, given: Tensor, ends: Tensor, up: Tensor, down: Tensor) -> Tensor:
        outputs, start = torch.empty_like(given), 0
        for expert, end in enumerate(ends.tolist()):
            if end > start:
                inner = activated(functional.linear(given[start:end], up[expert]), self._gated)
                outputs[start:end] = functional.linear(inner, down[expert])
                start = end
        return outputs


@dataclass(frozen=True)
class Sparse:
    """A sparse feed-forward. `router` is [experts, hidden], `up` [experts, 2 * width or width, hidden], `down`
    [experts, hidden, width]; `shared` are the experts that every token uses.
    """

    router: Tensor
    up: Tensor
    down: Tensor
    shared: Dense | None
    top_k: int
    kernels: Kernels

    def __call__(self, hidden: Tensor, steer: Tensor) -> Tensor:
        """[tokens, hidden size] -> the same; `steer` is added to the router's logits."""
        chosen = self.kernels.choose(hidden, self.logits(hidden, steer), self.top_k)
        output = self.kernels.multiply(hidden, chosen, self.up, self.down)
        return output if self.shared is None else output.add_(self.shared(hidden))

    def logits(self, hidden: Tensor, steer: Tensor) -> Tensor:
        """[tokens, experts]: the router's product, onto `steer`."""
        return torch.addmm(steer, hidden, self.router.t())

    def experts_of(self, hidden: Tensor, steer: Tensor) -> NDArray[np.int64]:
        """The experts that the router chooses, [tokens, top_k]."""
        experts = self.kernels.choose(hidden, self.logits(hidden, steer), self.top_k)[1]
        found: NDArray[np.int64] = experts.cpu().numpy().astype(np.int64)
        return found

    def copy(self) -> Sparse:
        """The same weights at other addresses."""
        return replace(
            self, router=self.router.clone(), up=self.up.clone(), down=self.down.clone(),
            shared=None if self.shared is None else self.shared.copy(),
        )


def sparse(hidden: int, layer: MoeFeedForward, kernels: Kernels, at: Place) -> Sparse:
    """A sparse feed-forward whose outputs vary about as much as those of a dense one."""
    gated = layer.matrices == 3
    return Sparse(
        router=at.normal(layer.experts, hidden, deviation=hidden**-0.5),
        up=at.normal(layer.experts, (1 + gated) * layer.width, hidden, deviation=hidden**-0.5),
        down=at.normal(layer.experts, hidden, layer.width, deviation=layer.width**-0.5),
        shared=None if layer.shared is None else dense(hidden, layer.shared.width, gated, at),
        top_k=layer.experts_per_token,
        kernels=kernels,
    )


def steer(experts: NDArray[np.int64], of: int, at: Place) -> Tensor:
    """What makes a router of `of` experts choose `experts` [tokens, top_k], [tokens, of]."""
    values = torch.zeros(len(experts), of, device=at.device, dtype=at.dtype)
    return values.scatter_(1, torch.from_numpy(experts).to(at.device), STEER)


# Calls -----------------------------------------------------------------------------------------------------------


def prepare(threads: int | None) -> None:
    """Makes this process ready to time: so many threads on a processor, and nothing kept for gradients."""
    torch.set_grad_enabled(False)
    if threads is not None:
        torch.set_num_threads(threads)


def device_sizes() -> tuple[int, int] | None:
    """Bytes of an accelerator's cache and of its free memory; None where torch finds none."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(0).L2_cache_size), torch.cuda.mem_get_info()[0]


def in_turns(pass_of: Callable[[int], Tensor], turns: int, at: Place) -> Callable[[], None]:
    """One pass a call, of turn 0, 1, 2, ..., complete when the call returns; on CUDA of the first `turns` in circles.

    On CUDA each turn is a graph, as engines run a decode step: otherwise the start of the many kernels of a sparse
    layer would be timed, not the kernels.
    """
    if at.device.type != "cuda":
        turn = count()
        return lambda: _drop(pass_of(next(turn)))
    # the graphs overwrite each other's outputs, which nobody reads
    pool = torch.cuda.graph_pool_handle()
    graphs = cycle([_captured(partial(pass_of, turn), pool) for turn in range(turns)])

    def replay() -> None:
        next(graphs).replay()
        torch.cuda.synchronize()

    return replay


def _drop(_: Tensor) -> None:
    """Nothing: a call that is timed returns nothing that would have to be kept."""


def _captured(call: Callable[[], Tensor], pool: Any) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # what a first call compiles and sets up must not be in the graph
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        call()
    return graph
