"""How fast routing is summarised. `make bench` takes a million tokens, the tests a small part of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.slow


def test_routing_of_a_million_tokens(benchmark: BenchmarkFixture) -> None:
    """64 layers of 128 experts, top-8, read from their file and summarised within 2 GB, in a process of its own."""
    program = Path(__file__).with_name("large_routing.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(program.parents[1]), str(program.parents[2])])}
    tokens, layers = (20_000, 2) if benchmark.disabled else (1_000_000, 64)

    def run() -> dict[str, float]:
        command = [sys.executable, str(program), str(tokens), str(layers)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    found = benchmark.pedantic(run, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(found)
    assert found["assignments"] == tokens * layers * 8
    assert found["peak_bytes"] < 2 * 10**9
