"""`moebench pocket` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.errors import InputError
from harness.pocket import commands, tasks

RUNNER = CliRunner()


def test_data_writes_every_file(tmp_path: Path) -> None:
    found = RUNNER.invoke(commands.app, ["data", "--out", str(tmp_path)])
    assert found.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == set(tasks.tables())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "moe-8x3"], "did you mean 'moe-8x2'"),
        (["--world", "c"], "known: a, b"),
        (["--seed", "-1"], "negative"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], message: str) -> None:
    found = RUNNER.invoke(commands.app, ["train", *arguments])
    assert isinstance(found.exception, InputError)
    assert message in str(found.exception)


def test_a_missing_suite_is_explained(tmp_path: Path) -> None:
    found = RUNNER.invoke(commands.app, ["card", "--suite", str(tmp_path)])
    assert isinstance(found.exception, InputError)
    assert "--suite" in str(found.exception)


@pytest.mark.torch
def test_train_writes_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(commands, "COMPILED", False)
    arguments = ["train", "--kind", "dense-active", "--seed", "4", "--steps", "2", "--out", str(tmp_path)]
    found = RUNNER.invoke(commands.app, arguments)
    assert found.exit_code == 0, found.output
    assert (tmp_path / "dense-active-s4" / "model.safetensors").stat().st_size > 100_000
