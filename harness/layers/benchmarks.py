"""The benchmarks of `moebench layer`, run by pytest-benchmark in a process of its own.

`MOEBENCH_LAYER_TASK` names a file with the task, and `MOEBENCH_LAYER_PROCESS` the number of the process.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from harness.layers.bench import Bench, Call, TorchBench
from harness.layers.task import TURNS, LayerTask, Variant

TASK, PROCESS = "MOEBENCH_LAYER_TASK", "MOEBENCH_LAYER_PROCESS"
MOST_ROUNDS = 2000
"""Of one turn."""


def the_task() -> tuple[LayerTask, int]:
    """The task of this process, and the process's number."""
    return LayerTask.model_validate_json(Path(os.environ[TASK]).read_text(encoding="utf-8")), int(os.environ[PROCESS])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One benchmark for each token count, turn and variant, in this process's order."""
    task, process = the_task()
    metafunc.parametrize(("tokens", "turn", "variant"), task.order(process))


@pytest.fixture(scope="session")
def bench() -> Bench:
    """The layers, made once."""
    return TorchBench(*the_task())


@pytest.fixture(scope="session")
def durations() -> dict[tuple[int, Variant], float]:
    """About how long a call takes, once that is known, so that every turn has as many."""
    return {}


def test_layer(
    benchmark: Any, bench: Bench, durations: dict[tuple[int, Variant], float], case: tuple[int, int, Variant]
) -> None:
    """Times the passes of one variant, after one at least to warm up."""
    tokens, _, variant = case
    share_s = the_task()[0].seconds / TURNS
    call = bench.call(tokens, variant)
    if (tokens, variant) not in durations:
        durations[tokens, variant] = duration_of(call, share_s)
    call()
    rounds = math.ceil(share_s / durations[tokens, variant])
    benchmark.group = f"{tokens} tokens"
    benchmark.extra_info.update(bench.facts(tokens, variant))
    benchmark.pedantic(call, rounds=min(MOST_ROUNDS, max(1, rounds)), iterations=1)


@pytest.fixture
def case(tokens: int, turn: int, variant: Variant) -> tuple[int, int, Variant]:
    """What a benchmark is of."""
    return tokens, turn, variant


def duration_of(call: Call, enough_s: float) -> float:
    """Seconds of a call: the least of three, the first of which warms up; of fewer where they take `enough_s`."""
    took: list[float] = []
    while len(took) < 3 and sum(took) < enough_s:
        began = time.perf_counter()
        call()
        took.append(max(time.perf_counter() - began, 1e-9))
    return min(took)
