"""The names that vLLM takes, read without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import engine_arguments
from harness.engine_arguments import engine_argument_names

SOURCE = """
class EngineArgs:
    dtype: str = "auto"
    max_model_len: int | None = None

    def later(self, other: int) -> None: ...
"""


def test_the_installed_engine_takes_what_the_plan_gives() -> None:
    from harness.plan import CPU_DEFAULTS, CUDA_DEFAULTS, ENGINE_DEFAULTS

    known = engine_argument_names()
    assert {*ENGINE_DEFAULTS, *CPU_DEFAULTS, *CUDA_DEFAULTS, "max_model_len", "seed"} <= known
    assert "tensor_paralel_size" not in known


@pytest.mark.slow
def test_vllm_is_not_imported() -> None:
    program = (
        "import sys; from harness.engine_arguments import engine_argument_names; engine_argument_names(); "
        "print('vllm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_fields_are_read_and_methods_are_not(tmp_path: Path) -> None:
    path = tmp_path / "arg_utils.py"
    path.write_text(SOURCE, encoding="utf-8")
    assert engine_arguments._fields(path, "EngineArgs") == {"dtype", "max_model_len"}
    assert engine_arguments._fields(path, "Other") == set()
    assert engine_arguments._fields(tmp_path / "none.py", "EngineArgs") == set()


def test_without_vllm_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_arguments, "find_spec", lambda name: None)
    engine_argument_names.cache_clear()
    assert engine_argument_names() == frozenset()
    engine_argument_names.cache_clear()
