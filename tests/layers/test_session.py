"""The process of benchmarks: what it is given, how its file is read, and what its failures say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from layer_reports import SHAPE

from harness.errors import EngineError
from harness.layers import session
from harness.layers.session import run_session, timings_of
from harness.layers.task import LayerTask

TASK = LayerTask(shape=SHAPE, tokens=(1, 4), threads=2)
BENCHMARK = {
    "name": "test_layer[4-1-sparse]",
    "params": {"tokens": 4, "turn": 1, "variant": "sparse"},
    "extra_info": {"distinct_experts": 6.5, "copies": 3, "kernel": "torch grouped_mm"},
    "stats": {"data": [0.25, 0.5], "min": 0.25},
}


class Played:
    """A process that writes what it is told to and ends with a code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = 0, output: str = "") -> None:
        self._answer = SimpleNamespace(returncode=code, stdout=output)
        self.environment: dict[str, str] = {}
        self.task: LayerTask | None = None
        monkeypatch.setattr(subprocess, "run", self._run)

    def _run(self, command: list[str], **options: Any) -> SimpleNamespace:
        self.environment = options["env"]
        self.task = LayerTask.model_validate_json(Path(self.environment["MOEBENCH_LAYER_TASK"]).read_text())
        Path(command[command.index("--benchmark-json") + 1]).write_text(json.dumps({"benchmarks": [BENCHMARK]}))
        return self._answer


def test_the_file_of_pytest_benchmark_is_read() -> None:
    (found,) = timings_of({"benchmarks": [BENCHMARK]}, 7)
    assert (found.process, found.tokens, found.turn, found.variant) == (7, 4, 1, "sparse")
    assert (found.times_s, found.distinct_experts, found.copies) == ((0.25, 0.5), 6.5, 3)


def test_the_process_gets_its_task_and_none_of_the_callers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n 4")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    played = Played(monkeypatch)
    (found,) = run_session(TASK, 3)
    assert found.process == 3 and played.task == TASK
    assert not {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"} & set(played.environment)
    assert played.environment["OMP_NUM_THREADS"] == "2"
    assert played.environment["MOEBENCH_LAYER_PROCESS"] == "3"
    assert played.environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] == "1"


@pytest.mark.parametrize(
    ("code", "output", "message"),
    [
        (-8, "benchmarks.py::test_layer[1-0-sparse] PASSED\nbenchmarks.py::test_layer[16-2-total] ",
         "ended by SIGFPE while total was timed with 16 tokens"),
        (-9, "", "ended by SIGKILL\n"),
        (1, "test_layer[4-0-active] FAILED\nE   RuntimeError: no kernel\nmore\n",
         "while active was timed with 4 tokens: RuntimeError: no kernel"),
        (4, "ERROR: no such module\n", "failed: ERROR: no such module"),
        (4, "", "failed: exit code 4"),
    ],
)
def test_a_failure_says_what_was_timed_and_why(
    monkeypatch: pytest.MonkeyPatch, code: int, output: str, message: str
) -> None:
    Played(monkeypatch, code, output)
    with pytest.raises(EngineError) as failed:
        run_session(TASK, 0)
    assert message in str(failed.value)
    assert len(str(failed.value).splitlines()) == 2


def test_the_module_that_is_named_is_there() -> None:
    from importlib.util import find_spec

    assert find_spec(session.MODULE) is not None
