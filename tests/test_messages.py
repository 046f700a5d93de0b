"""What the commands answer to mistakes: one message that says what, where and what next, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import builders
import pytest
import sites
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of one suite in `results`, an empty folder, a file that is no suite, one that lacks keys."""
    root = tmp_path_factory.mktemp("messages")
    sites.store_of(root / "results", builders.small_suite_records(repeats=1, items=20))
    (root / "empty").mkdir()
    (root / "junk.txt").write_text("junk", encoding="utf-8")
    (root / "bad.yaml").write_text("name: x\n", encoding="utf-8")
    return root


@pytest.mark.parametrize(("arguments", "words"), [
    (("plan", "pockt"), ("pockt: no such suite", "did you mean 'pocket'", "a path to a file works too")),
    (("plan", "bad.yaml"), ("bad.yaml:title: this key is required", "1 more to mend")),
    (("plan", "junk.txt"), ("junk.txt: a suite is a mapping of keys", "for an example")),
    (("plan", "empty"), ("empty: a folder, not a suite file", ".yaml")),
    (("plan", "pocket", "--model", "moe-8x"), ("no model 'moe-8x'", "did you mean 'moe-8x2'")),
    (("report", "--results", "empty"), ("empty: there are no records to report", "moebench run")),
    (("report", "--suite", "smal"), ("no records of a suite 'smal'", "did you mean 'small'")),
    (("report", "--suite", "suites/nothing.yaml"), ("suites/nothing.yaml: no such suite file", "records: small")),
    (("compare", "a", "b", "--suite", "nothing.yaml"), ("nothing.yaml: no such suite file", "records: small")),
    (("report", "--standalone", "--out", "site"), ("site: browsers show", "--out site.html")),
    (("report", "--out", "junk.txt"), ("junk.txt: this is a file", "--out")),
    (("report", "--standalone", "--out", "empty"), ("empty: this is a folder", "--out")),
    (("compare", "moe-8x", "dense-total"), ("no model 'moe-8x' in suite 'small'", "did you mean 'moe-8x2'")),
    (("compare", "moe-8x2", "moe-8x2"), ("'moe-8x2' is held against itself", "name two models")),
    (("compare", "moe-8x2", "dense-total", "--suite", "smal"), ("no records of a suite 'smal'", "'small'")),
    (("compare", "moe-8x2", "dense-total", "--results", "empty"), ("empty: no records here", "moebench run pocket")),
    (("export", "--results", "empty"), ("empty: no records here", "moebench run pocket")),
    (("export", "--suite", "bad.yaml"), ("bad.yaml:title: this key is required",)),
    (("export", "--out", "empty"), ("empty: cannot write", "--out")),
    (("import", "junk.txt", "--suite", "a", "--model", "b"), ("junk.txt: is no JSON",)),
    (("import", "nothing.json", "--suite", "a", "--model", "b"), ("nothing.json: cannot be read",)),
    (("models", "--sort", "nam"), ("--sort: no column 'nam'", "did you mean 'name'")),
    (("describe", "mixtral"), ("no model 'mixtral' in the catalog", "did you mean")),
    (("layer",), ("no --hidden", "name a model")),
])
def test_a_mistake_gets_what_where_and_what_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, InputError), result.output
    assert result.exception.exit_code == 2
    message = str(result.exception)
    assert [word for word in words if word not in message] == []


def test_results_that_are_a_file_are_refused_before_anything_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("harness.cli._require_engine", lambda environment: None)
    result = CliRunner().invoke(app, ["run", "pocket", "--results", "junk.txt"])
    assert isinstance(result.exception, InputError) and "this is a file, not a folder" in str(result.exception)


@pytest.mark.parametrize("command", [
    "plan", "run", "report", "compare", "export", "import", "models", "describe", "layer", "doctor",
])
def test_help_shows_no_markup(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0 and "`" not in result.output
