"""What the device does at most: reads by working set, dense matrix products by precision, in a few seconds.

Every trial is short and its best of many rounds counts, since a shared machine is at its fastest only for moments: on
one with AMX the same bfloat16 product took 1.0 or 2.7 times as long within a second. So the rounds go over all trials,
each time in another order, and do not finish one before the next.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from harness.backends.vllm import ask_for_amx
from harness.environment import Ceilings, ReadRate
from harness.machine import available_memory_bytes

if TYPE_CHECKING:
    from torch import Tensor

MIB = 2**20
SMALLEST_BYTES = MIB
"""Of the working sets: less is read within some microseconds, which a call takes anyway."""
LARGEST_BYTES = {"cpu": 1024 * MIB, "cuda": 4096 * MIB}
"""Beyond the caches of any processor, and of any accelerator."""
GROWTH = {"cpu": 2, "cuda": 4}
"""From one working set to the next; a processor has three levels of caches to tell apart."""
USABLE = 0.25
"""The share of the memory that is free which the largest working set may take."""
SIDES = {"cpu": (256, 512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Rows and columns of the matrices, rising: which size is fastest depends on caches and cores."""
SLICE_S = 0.005
"""What a trial lasts at least, but the first one, in which nothing is known yet."""
MOST_S = 0.2
"""A matrix product that would take longer is left out: a smaller one has to do."""
_ROW = 1024

Key = int | str
"""A working set in bytes, or a precision."""


@dataclass
class Trial:
    """One kernel on one size: how to run it, what one run does (bytes or FLOPs), and the best rate so far."""

    key: Key
    run: Callable[[], object]
    amount: float
    repeats: int = 1
    best_per_s: float = 0.0


def measure_ceilings(device: Literal["cpu", "cuda"], threads: int | None, budget_s: float = 4.0) -> Ceilings:
    """The ceilings of one accelerator, or of `threads` threads of the processor (None: all that torch takes).

    Sets the number of threads of this process, which should be one of its own that does nothing else meanwhile. Takes
    `budget_s` and what is needed to fill the memory and to go over all trials once. On an accelerator the launch of a
    kernel takes longer than reading some tens of MiB, so that its caches may be faster than is seen here.
    """
    import torch

    began = time.perf_counter()
    if device == "cpu":
        ask_for_amx()
        if threads is not None:
            torch.set_num_threads(threads)
        free, finish = available_memory_bytes(), _nothing
    else:
        free, finish = torch.cuda.mem_get_info()[0], torch.cuda.synchronize
    with torch.inference_mode():
        trials = [*read_trials(device, working_sets(device, int(USABLE * free))), *product_trials(device)]
        run_rounds(trials, finish, budget_s, time.perf_counter)
    best = best_rates(trials)
    return Ceilings(
        reads=falling({size: rate for size, rate in best.items() if isinstance(size, int)}),
        matmul_flops_per_s={name: _digits(rate) for name, rate in best.items() if isinstance(name, str)},
        duration_s=round(time.perf_counter() - began, 3),
    )


def _nothing() -> None:
    """A processor has finished when a call returns."""


def _digits(rate: float) -> float:
    return float(f"{rate:.6g}")


# Rounds ----------------------------------------------------------------------------------------------------------


def run_rounds(
    trials: Sequence[Trial], finish: Callable[[], object], budget_s: float, clock: Callable[[], float]
) -> None:
    """Runs all trials, over and over and each time in another order, until `budget_s` have passed; once at least.

    `finish` waits for what was started. A trial whose kernel the device or this torch does not take keeps a rate of 0,
    and so does a matrix product that is too large for so slow a device.
    """
    start, order, round_number = clock(), list(trials), 0
    while order and (round_number == 0 or clock() - start < budget_s):
        refused = {id(trial) for trial in order if not _ran(trial, trials, finish, clock)}
        order = [trial for trial in order if id(trial) not in refused]
        round_number += 1
        random.Random(round_number).shuffle(order)


def _ran(
    trial: Trial, trials: Sequence[Trial], finish: Callable[[], object], clock: Callable[[], float]
) -> bool:
    """Runs a trial as often as fills a slice, and keeps its rate if it is the best. Whether it can run again."""
    known_per_s = max(other.best_per_s for other in trials if other.key == trial.key)
    if isinstance(trial.key, str) and known_per_s and trial.amount > MOST_S * known_per_s:
        return False
    start = clock()
    try:
        for _ in range(trial.repeats):
            trial.run()
        finish()
    except (RuntimeError, ValueError, TypeError, AttributeError):  # what torch raises for kernels that are not there
        return False
    took = clock() - start
    if took > 0:
        trial.best_per_s = max(trial.best_per_s, trial.repeats * trial.amount / took)
        trial.repeats = max(1, round(SLICE_S * trial.best_per_s / trial.amount))
    else:
        trial.repeats *= 2
    return True


def best_rates(trials: Iterable[Trial]) -> dict[Key, float]:
    """The best rate of each key, in the order of the trials; without those that no trial could run."""
    best: dict[Key, float] = {}
    for trial in trials:
        if trial.best_per_s > 0:
            best[trial.key] = max(best.get(trial.key, 0.0), trial.best_per_s)
    return best


def falling(rates: Mapping[int, float]) -> tuple[ReadRate, ...]:
    """By rising working set: whoever reads a larger one at some rate reads a smaller one at least as fast."""
    found: list[ReadRate] = []
    fastest = 0.0
    for size in sorted(rates, reverse=True):
        fastest = max(fastest, rates[size])
        found.append(ReadRate(working_set_bytes=size, bytes_per_s=_digits(fastest)))
    return tuple(reversed(found))


# Reads -----------------------------------------------------------------------------------------------------------


def working_sets(device: Literal["cpu", "cuda"], most_bytes: int) -> list[int]:
    """The sizes to read, rising; the largest takes no more than `most_bytes`, but for the smallest, which is small."""
    sizes = [SMALLEST_BYTES]
    while sizes[-1] * GROWTH[device] <= min(LARGEST_BYTES[device], most_bytes):
        sizes.append(sizes[-1] * GROWTH[device])
    return sizes


def read_trials(device: str, sizes: Sequence[int]) -> Iterator[Trial]:
    """Kernels that read every byte of a working set once and write next to nothing.

    The scalar product reads from two places at once, which is fastest beyond the second cache; the sum is sometimes
    faster within it, and the product of a matrix and a vector on accelerators. In bfloat16 processors are slower.
    """
    import torch

    whole = torch.ones(max(sizes) // 4, device=device)
    vector = torch.ones(_ROW, device=device)
    for size in sizes:
        part = whole[: size // 4]
        halves, rows = part.view(2, -1), part.view(-1, _ROW)
        yield Trial(size, partial(torch.dot, halves[0], halves[1]), size)
        yield Trial(size, part.sum, size)
        if device == "cuda":
            yield Trial(size, partial(torch.mv, rows, vector), size)


# Matrix products -------------------------------------------------------------------------------------------------


def product_trials(device: str) -> Iterator[Trial]:
    """Dense square products, by the precision of their factors: the keys are those of `DensePeaks`.

    Of random numbers, since accelerators keep a higher clock on numbers that are all alike. FP4 is left out: its
    products need scales for each block, in a layout of the device.
    """
    import torch

    plain = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    for side in SIDES[device]:
        numbers = torch.randn(side, side, device=device)
        for name, kind in plain.items():
            factor = numbers.to(kind)
            product = torch.empty_like(factor)
            yield _product(name, side, partial(_multiply, factor, product, "highest"))
            if device == "cuda" and name == "float32":
                yield _product("tf32", side, partial(_multiply, factor, product, "high"))
        if device == "cuda":
            yield _product("fp8", side, _fp8_product(numbers))
            yield _product("int8", side, _int8_product(numbers))


def _product(name: str, side: int, run: Callable[[], object]) -> Trial:
    return Trial(name, run, 2.0 * side**3)


def _multiply(factor: Tensor, product: Tensor, precision: str) -> Tensor:
    import torch

    torch.set_float32_matmul_precision(precision)
    return torch.mm(factor, factor, out=product)


def _fp8_product(numbers: Tensor) -> Callable[[], object]:
    """In FP8 with one scale a matrix, as engines multiply; the type is not in every torch."""
    import torch

    factors: list[Tensor] = []

    def run() -> object:
        if not factors:
            factors.append(numbers.to(torch.float8_e4m3fn))
        one = numbers.new_ones(())
        # the second factor has to lie by columns
        return torch._scaled_mm(  # noqa: SLF001 - torch has no other name for it
            factors[0], factors[0].t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True
        )

    return run


def _int8_product(numbers: Tensor) -> Callable[[], object]:
    import torch

    factor = (numbers * 30).to(torch.int8)
    return lambda: torch._int_mm(factor, factor.t())  # noqa: SLF001 - as above
