"""`moebench layer` on the command line: what it refuses, what it writes, and once in earnest at a tiny size."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from layer_reports import timing
from typer.testing import CliRunner

from harness import machine
from harness.cli import app
from harness.errors import InputError
from harness.layers import command, measure
from harness.layers.result import LayerReport
from harness.layers.task import LayerTask, Timing

TINY = ["layer", "--hidden", "64", "--expert-width", "32", "--experts", "4", "--top-k", "2", "--hot", "--threads", "1"]


def run(*arguments: str) -> str:
    """What it prints. An error is the message that `main` would print."""
    found = CliRunner().invoke(app, [*TINY, "--device", "cpu", *arguments], env={"COLUMNS": "120"})
    if isinstance(found.exception, InputError):
        return str(found.exception)
    assert found.exception is None, found.output
    return found.output


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Processes that find the sparse layer faster from 2 tokens on; their numbers."""
    processes: list[int] = []

    def session(task: LayerTask, process: int) -> tuple[Timing, ...]:
        processes.append(process)
        factor, dense = 1 + process / 100, 1 + process / 10_000  # the whole process is slower, and the dense ones more
        took = {"sparse": 1.0, "active": 0.1 * dense, "total": 0.6 * dense}
        return tuple(
            timing(process, tokens, variant, took[variant] * factor * (tokens if variant == "total" else 1))
            for tokens, turn, variant in task.order(process) if turn == 0
        )

    monkeypatch.setattr(measure, "run_session", session)
    return processes


def test_it_prints_the_shape_the_table_and_two_sentences(played: list[int]) -> None:
    text = run("--tokens", "1,2,4", "--processes", "3")
    assert played == [0, 1, 2]
    assert "hidden size 64, 4 experts of width 32, 2 a token" in text
    assert "process 3 of 3" in text
    assert "slower than the dense one of equal active width at all 3 token counts within 1 to 4 tokens" in text
    assert "From about 2 tokens on the sparse layer is faster than the dense one of equal total width" in text


def test_the_file_has_everything(played: list[int], tmp_path: Path) -> None:
    file = tmp_path / "layer.json"
    run("--tokens", "1,2", "--processes", "2", "--json", str(file))
    assert json.loads(file.read_text())["schema_version"] == 1
    found = LayerReport.model_validate_json(file.read_text())
    assert len(found.measured.timings) == 2 * 2 * 3
    assert found.measured.environment.threads == 1
    assert found.points[0].sparse_s == pytest.approx(1.005)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "0"], "--tokens: '0' is no token count\n  whole numbers from 1 to"),
        (["--tokens", "1,,2"], "--tokens: a token count is missing in '1,,2'"),
        (["--tokens", ""], "--tokens: a token count is missing in ''\n"),
        (["--tokens", "1,2M"], "--tokens: '2M' is no token count"),
        (["--tokens", "two"], "--tokens: 'two' is no whole number"),
        (["--scale", "1e-9"], "--scale: 1e-09 makes the expert width 32 less than 32\n  leave it out"),
        (["--precision", "fp8"], "--precision: 'fp8' is not known\n  known: bfloat16"),
        (["--routing", "uniforn"], "--routing: 'uniforn' is not known\n  did you mean 'uniform'"),
        (["--device", "gpu"], "--device: 'gpu' is not known"),
        (["--threads", "100000"], "--threads: 100000 threads on"),
        (["--scale", "2"], "--scale: 2 is no scale"),
        (["--top-k", "5"], "--top-k: a token cannot use 5 of 4 experts\n  at most 4"),
        (["--json", "/nowhere/layer.json"], "--json /nowhere/layer.json: its folder does not exist"),
        (["--json", "/"], "--json /: a folder, not a file"),
    ],
)
def test_wrong_arguments_are_explained_before_anything_runs(
    played: list[int], arguments: list[str], message: str
) -> None:
    assert message in run(*arguments)
    assert played == []


def test_what_does_not_fit_in_memory_is_refused(played: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "available_memory_bytes", lambda: 10**6)
    assert "are free" in run("--hidden", "4096")
    assert played == []


def test_without_pytest_benchmark_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pytest_benchmark" else there(name))
    assert run().splitlines() == [
        "pytest_benchmark is not installed, so nothing can be timed", "  run `make setup`, or see `moebench doctor`",
    ]


def test_stopping_it_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(task: LayerTask, process: int) -> tuple[Timing, ...]:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "run_session", interrupted)
    found = CliRunner().invoke(app, [*TINY, "--device", "cpu"])
    assert found.exit_code == 130
    assert "stopped; nothing was kept\n  quicker: --processes 2 --tokens 1,16,256" in found.output


@pytest.mark.parametrize("seconds", ["61", "inf", "nan", "0"])
def test_no_time_and_more_than_a_minute_for_each_are_refused(played: list[int], seconds: str) -> None:
    found = CliRunner().invoke(app, [*TINY, "--device", "cpu", "--seconds", seconds])
    assert found.exit_code == 2 and "--seconds" in found.output
    assert played == []


@pytest.mark.parametrize(("columns", "widest"), [(40, 100), (80, 100), (150, 150)])
def test_what_is_piped_is_100_columns_wide_at_least(played: list[int], columns: int, widest: int) -> None:
    found = CliRunner().invoke(
        app, [*TINY, "--device", "cpu", "--tokens", "1,2", "--processes", "2"], env={"COLUMNS": str(columns)}
    )
    assert widest - 20 < max(map(len, found.output.splitlines())) <= widest
    assert "\u2026" not in found.output


def test_cuda_without_an_accelerator_is_refused(played: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "list_accelerators", lambda: ((), None))
    assert "NVML names no accelerator" in run("--device", "cuda")
    assert played == []


def test_auto_is_the_engines_device(monkeypatch: pytest.MonkeyPatch, played: list[int]) -> None:
    monkeypatch.setattr(machine, "device_kind", lambda: "cuda")
    monkeypatch.setattr(measure, "list_accelerators", lambda: ((), None))
    assert "NVML names no accelerator" in run("--device", "auto")


@pytest.mark.parametrize(
    ("text", "counts"), [("1", (1,)), ("4,1,2,2", (1, 2, 4)), ("1,16,1k", (1, 16, 1000)), (" 8 , 4 ", (4, 8))]
)
def test_token_counts(text: str, counts: tuple[int, ...]) -> None:
    assert command.token_counts(text) == counts


@pytest.mark.slow
def test_in_earnest(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "layer.json"
    text = run("--tokens", "1,8", "--processes", "2", "--seconds", "0.01", "--shared-width", "32", "--json", str(file))
    assert "shared experts of width 32" in text and "equal total width" in text
    found = LayerReport.model_validate_json(file.read_text())
    assert {(one.process, one.tokens, one.turn, one.variant) for one in found.measured.timings} == {
        (process, *case) for process in (0, 1) for case in found.measured.task.order(process)
    }
    assert all(time > 0 for one in found.measured.timings for time in one.times_s)
    assert found.points[0].distinct_experts == 2.0 and 2 < found.points[1].distinct_experts <= 4
    assert found.measured.benchmark_version
