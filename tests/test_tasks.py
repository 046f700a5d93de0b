"""Task files: their names, and what they read."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import yaml

from harness import tasks as tasks_module
from harness.tasks import LocalTask, local_tasks, shipped_task_folder, shipped_tasks

SHIPPED = Path(__file__).parents[1] / "suites/tasks"


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    facts = "task: facts\ncustom_dataset: !function rows.load\ndataset_kwargs:\n  file: facts.jsonl\n"
    return lay_out(tmp_path, {
        "a/facts.yaml": facts, "a/facts.jsonl": "{}\n", "a/rows.py": "def load(): ...\n", "a/other.jsonl": "{}\n",
        "a/other.py": "", "b/plain.yaml": "# none\nsettings: 1\n",
    })


def test_tasks_are_found_by_the_name_inside(folder: Path) -> None:
    (folder / "b/quoted.yaml").write_text('dataset_path: json\ntask: "pocket_sort-v1.2"  # a name\n')
    assert local_tasks(folder) == {
        "facts": LocalTask("facts", folder / "a/facts.yaml"),
        "pocket_sort-v1.2": LocalTask("pocket_sort-v1.2", folder / "b/quoted.yaml"),
    }
    assert local_tasks(folder / "nowhere") == {}


class TestFingerprint:
    def fingerprint(self, folder: Path) -> str:
        return local_tasks(folder)["facts"].fingerprint()

    def test_it_is_the_same_wherever_the_folder_is(self, folder: Path, tmp_path: Path) -> None:
        before = self.fingerprint(folder)
        assert before.startswith("sha256:") and len(before) == 7 + 64
        moved = folder.rename(tmp_path.with_name(tmp_path.name + "-moved"))
        assert self.fingerprint(moved) == before

    @pytest.mark.parametrize("name", ["facts.yaml", "facts.jsonl", "rows.py"])
    def test_every_file_that_the_task_names_counts(self, folder: Path, name: str) -> None:
        before = self.fingerprint(folder)
        with (folder / "a" / name).open("a") as file:
            file.write("# more\n")
        assert self.fingerprint(folder) != before

    @pytest.mark.parametrize("name", ["other.jsonl", "other.py"])
    def test_other_files_do_not(self, folder: Path, name: str) -> None:
        before = self.fingerprint(folder)
        (folder / "a" / name).write_text("changed")
        (folder / "a/new.txt").write_text("new")
        assert self.fingerprint(folder) == before


class _TaskLoader(yaml.SafeLoader):
    """Reads lm-eval's `!function` as text."""


_TaskLoader.add_constructor("!function", lambda loader, node: str(node.value))


def test_every_shipped_task_states_its_chance_and_its_title() -> None:
    found = local_tasks(SHIPPED)
    assert {"pocket_facts_a", "pocket_facts_b", "pocket_sort", "pocket_common"} <= set(found)
    for task in found.values():
        content = yaml.load(task.path.read_text(encoding="utf-8"), _TaskLoader)
        assert 0 <= content["metadata"]["chance"] < 1
        assert content["task_alias"] != task.name


class TestShippedWithLmEval:
    @pytest.fixture
    def lm_eval(self, tmp_path: Path) -> Path:
        return lay_out(tmp_path, {
            "mmlu/default/mmlu.yaml": "group: mmlu\ntask:\n  - mmlu_stem\n",
            "mmlu/default/biology.yaml": '"dataset_name": "biology"\ntask: mmlu_biology\ntag: mmlu_stem_tasks\n',
            "hellaswag/hellaswag.yaml": "tag:\n  - multiple_choice\ntask: hellaswag\n",
            "odd/harness.yaml": "group: all\ntask:\n  - group: inner\n    task: x\n",
        })

    def test_a_wanted_task_is_found_in_the_folder_of_its_name(self, lm_eval: Path) -> None:
        assert shipped_tasks(lm_eval, {"mmlu_biology"}) == {"mmlu", "mmlu_biology", "mmlu_stem_tasks"}
        assert "hellaswag" in shipped_tasks(lm_eval, {"hellaswag", "mmlu"})

    def test_a_task_elsewhere_and_an_unknown_one_bring_all_names(self, lm_eval: Path) -> None:
        for wanted in ("all", "helaswag"):
            assert {"mmlu", "mmlu_biology", "hellaswag", "all"} <= shipped_tasks(lm_eval, {wanted})

    def test_only_the_likely_folder_is_read(self, lm_eval: Path) -> None:
        (lm_eval / "hellaswag/broken.yaml").mkdir()
        assert "mmlu" in shipped_tasks(lm_eval, {"mmlu"})

    def test_the_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks_module, "find_spec", lambda name: None)
        assert shipped_task_folder() is None
        spec = ModuleSpec("lm_eval", None, is_package=True)
        monkeypatch.setattr(tasks_module, "find_spec", lambda name: spec)
        assert shipped_task_folder() is None
        spec.submodule_search_locations = ["/site/lm_eval"]
        assert shipped_task_folder() == Path("/site/lm_eval/tasks")

    def test_the_real_one_knows_the_tasks_of_the_open_weights_suite(self) -> None:
        folder = shipped_task_folder()
        if folder is None:
            pytest.skip("lm-eval is not installed")
        wanted = {"mmlu", "gsm8k", "arc_challenge", "hellaswag", "winogrande", "truthfulqa_mc2"}
        before = set(sys.modules)
        assert wanted <= shipped_tasks(folder, wanted)
        assert not {"lm_eval.tasks", "torch"} & (set(sys.modules) - before)
