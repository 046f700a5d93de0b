"""How a site grows with its store: seconds of processors at three sizes, in processes of their own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Benchmark = Callable[..., Any]

pytestmark = pytest.mark.slow

SMALL, SIZES = 2, (50, 100, 200)
"""Models; what the smallest store takes is what any does. The others are large enough for several processes."""
NIGHTS = 30
STEEPEST = 1.3
"""Of cost over size, both as logarithms: 1 is linear, 2 quadratic. Times of one run differ by up to a third."""


def measured(models: int, nights: int) -> dict[str, float]:
    """What large_site.py tells of a store of this size."""
    program = Path(__file__).with_name("large_site.py")
    folders = os.pathsep.join([str(program.parents[1]), str(program.parents[2])])
    done = subprocess.run(
        [sys.executable, str(program), str(models), str(nights)],
        env=os.environ | {"PYTHONPATH": folders}, capture_output=True, text=True, check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def exponent(sizes: tuple[int, ...], costs: list[float]) -> float:
    """The slope of the least squares line through log cost over log size."""
    xs, ys = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def test_a_site_of_some_nights_is_measured() -> None:
    found = measured(SMALL, 3)
    assert found["index_html_bytes"] < 2e6
    assert min(found["index_cpu_s"], found["report_cpu_s"], found["report_peak_bytes"]) > 0


def test_the_cost_of_a_site_grows_with_its_models(benchmark: Benchmark) -> None:
    if benchmark.disabled:  # type: ignore[attr-defined]
        pytest.skip("times are for `make bench`")

    def run() -> dict[int, dict[str, float]]:
        return {models: measured(models, NIGHTS) for models in (SMALL, *SIZES)}

    found = benchmark.pedantic(run, rounds=1)  # type: ignore[attr-defined]
    for part in ("index_cpu_s", "report_cpu_s"):
        costs = [found[models][part] - found[SMALL][part] for models in SIZES]
        benchmark.extra_info[f"{part}_by_size"] = [found[models][part] for models in SIZES]  # type: ignore[attr-defined]
        grows = exponent(SIZES, costs)
        benchmark.extra_info[f"{part}_exponent"] = round(grows, 3)  # type: ignore[attr-defined]
        assert grows < STEEPEST, (part, costs)
    largest = found[SIZES[-1]]
    benchmark.extra_info |= largest  # type: ignore[attr-defined]
    assert largest["report_peak_bytes"] < 4e9
    assert largest["index_html_bytes"] < 2e6
