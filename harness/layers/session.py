"""One process of benchmarks: starts pytest with nothing but pytest-benchmark, and reads what that wrote."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.errors import EngineError
from harness.layers.task import LayerTask, Timing

MODULE = "harness.layers.benchmarks"
_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""glibc's allocator keeps what was freed. Otherwise each pass of many tokens gets its inner values as new pages, which
cost more than the products: engines keep them too (vLLM asks for tcmalloc)."""


def run_session(task: LayerTask, process: int) -> tuple[Timing, ...]:
    """The timings of one fresh process. Raises EngineError where it ended otherwise, with its reason."""
    with TemporaryDirectory(prefix="moebench-layer-") as scratch:
        folder = Path(scratch)
        (folder / "task.json").write_text(task.model_dump_json(), encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # the caller's own settings stay out
        done = subprocess.run(
            _command(folder), env=_environment(task, process, folder, os.environ), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )
        if done.returncode != 0:
            raise _failure(done.returncode, done.stdout)
        found = json.loads((folder / "benchmarks.json").read_text(encoding="utf-8"))
    return timings_of(found, process)


def timings_of(report: Mapping[str, Any], process: int) -> tuple[Timing, ...]:
    """What a JSON file of pytest-benchmark says, in the order of its benchmarks."""
    return tuple(
        Timing(
            process=process, **one["params"], **one["extra_info"],
            times_s=tuple(one["stats"]["data"]),
        )
        for one in report["benchmarks"]
    )


def _command(folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "pytest", "--pyargs", MODULE, "-c", str(folder / "pytest.ini"), "--rootdir", str(folder),
        "--import-mode=importlib", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", "-x", "-v", "--tb=short",
        "--benchmark-only", "--benchmark-disable-gc", "--benchmark-json", str(folder / "benchmarks.json"),
    ]


def _environment(task: LayerTask, process: int, folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    from harness.layers.benchmarks import PROCESS, TASK

    # options and plugins of a pytest around this one, or its being a worker of many, would change what is measured
    kept = {key: value for key, value in given.items() if not key.startswith("PYTEST_")}
    threads = {} if task.threads is None else {"OMP_NUM_THREADS": str(task.threads)}
    return {
        **kept, **threads, **_ALLOCATOR, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        TASK: str(folder / "task.json"), PROCESS: str(process),
    }


def _failure(code: int, output: str) -> EngineError:
    """The reason of a session that failed: its last error, or the signal and what was being timed."""
    started = re.findall(r"test_layer\[(\d+)-\d+-(\w+)\]", output)
    during = f" while {started[-1][1]} was timed with {started[-1][0]} tokens" if started else ""
    if code < 0:
        return EngineError(
            f"the process of benchmarks was ended by {signal.Signals(-code).name}{during}", kind="crash",
            hint="a kernel of this torch crashed or memory ran out: try other --tokens, --precision or --scale",
        )
    errors = re.findall(r"^E\s+(\S.*)$", output, re.MULTILINE)
    lines = output.strip().splitlines()
    reason = errors[-1] if errors else lines[-1] if lines else f"exit code {code}"
    return EngineError(f"the benchmarks failed{during}: {reason}", kind="kernel", hint="see `moebench doctor`")
