"""The tasks' data files and the YAML files beside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.pocket import tasks, world

FOLDER = Path(__file__).parents[2] / "suites" / "tasks" / "pocket"
FILES = sorted(FOLDER.glob("*.yaml"))


class Loader(yaml.SafeLoader):
    """Reads `!function` as its text."""


Loader.add_constructor("!function", lambda _loader, node: str(node.value))


def read(path: Path) -> dict[str, Any]:
    """A task file, without resolving functions."""
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    return found


def test_data_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    written = tasks.write(tmp_path)
    assert {path.name for path in written} == {path.name for path in FOLDER.glob("*.jsonl")}
    for path in written:
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name


def test_data_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 1_000_000
    assert all(len(rows) <= 1000 for rows in tasks.tables().values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_task_files(path: Path) -> None:
    task = read(path)
    assert task["task"] == path.stem
    assert task["task_alias"]
    assert task["metadata"]["version"] == 1
    rows = tasks.tables()[task["dataset_kwargs"]["file"]]
    if task["output_type"] == "multiple_choice":
        assert task["metadata"]["chance"] == 1 / tasks.CHOICES
        return
    answers = [row["answer"] for row in rows]
    longest = max(len(answer.split()) for answer in answers)
    room = task["generation_kwargs"]["max_gen_toks"]
    assert room == 1 if longest == 1 else room > longest, "an answer of several words must also be ended"
    assert task["generation_kwargs"]["until"] == [world.END]
    common = Counter(answers).most_common(1)[0][1] / len(rows)
    expected = 1 / world.VALUES if "facts" in path.stem else common if longest == 1 else 0.0
    assert task["metadata"]["chance"] == pytest.approx(expected, abs=5e-4)


def test_each_data_file_has_its_task() -> None:
    assert sorted(read(path)["dataset_kwargs"]["file"] for path in FILES) == sorted(tasks.tables())


def test_choices_hold_the_true_value_once() -> None:
    for name in world.WORLDS:
        rows = tasks.tables()[f"facts_choice_{name}.jsonl"]
        assert 0.15 < sum(row["label"] == 0 for row in rows) / len(rows) < 0.35
        for row in rows:
            *entity, relation = row["prompt"].split()
            options = row["choices"]
            assert len(set(options)) == tasks.CHOICES
            assert options[row["label"]] == world.fact(name, " ".join(entity), relation)


@pytest.mark.torch
def test_lm_eval_finds_the_data_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm_eval_tasks = pytest.importorskip("lm_eval.tasks")
    monkeypatch.chdir(tmp_path)
    manager = lm_eval_tasks.TaskManager(include_path=str(FOLDER.parent), include_defaults=False)
    names = [path.stem for path in FILES]
    loaded = manager.load(names)["tasks"]
    for path in FILES:
        docs = loaded[path.stem].test_docs()
        assert len(docs) == len(tasks.tables()[read(path)["dataset_kwargs"]["file"]])
