"""Where the shipped files are, and suites by path or name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import resources
from harness.errors import InputError
from harness.resources import find_suite, suites_dir, templates_dir


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder in a checkout with two suites; the present folder is another one."""
    (tmp_path / "checkout/harness").mkdir(parents=True)
    (tmp_path / "checkout/suites").mkdir()
    for name in ("pocket", "open-weights"):
        (tmp_path / f"checkout/suites/{name}.yaml").write_text("name: x\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "checkout/harness")
    return tmp_path / "checkout/harness"


def test_a_checkout_has_them_at_its_top(package: Path) -> None:
    assert (suites_dir(), templates_dir()) == (package.parent / "suites", package.parent / "templates")


def test_a_wheel_has_them_inside(package: Path) -> None:
    (package / "_data/suites").mkdir(parents=True)
    assert suites_dir() == package / "_data/suites"


def test_this_checkout_has_both(repo_root: Path) -> None:
    assert suites_dir() == repo_root / "suites" and (suites_dir() / "pocket.yaml").is_file()
    assert templates_dir().is_dir()


class TestSuite:
    def test_a_path(self, package: Path) -> None:
        Path("own.yaml").write_text("name: own\n")
        assert find_suite("own.yaml") == Path("own.yaml")

    def test_a_name(self, package: Path) -> None:
        assert find_suite("pocket") == package.parent / "suites/pocket.yaml"

    def test_the_usual_path_outside_a_checkout(self, package: Path) -> None:
        assert find_suite("suites/pocket.yaml") == package.parent / "suites/pocket.yaml"

    def test_a_file_of_that_name_goes_before_the_shipped_suite(self, package: Path) -> None:
        Path("suites").mkdir()
        Path("suites/pocket.yaml").write_text("name: own\n")
        assert find_suite("suites/pocket.yaml") == Path("suites/pocket.yaml")

    @pytest.mark.parametrize(("argument", "hint"), [
        ("pockets", "did you mean 'pocket'? (a path to a file works too)"),
        ("suites/pockets.yaml", "did you mean 'pocket'? (a path to a file works too)"),
        ("my/pocket.yaml", "did you mean 'pocket'? (a path to a file works too)"),
        ("zzz", "known: open-weights, pocket (a path to a file works too)"),
        ("", "known: open-weights, pocket (a path to a file works too)"),
    ])
    def test_none(self, package: Path, argument: str, hint: str) -> None:
        with pytest.raises(InputError, match="no such suite") as caught:
            find_suite(argument)
        assert (caught.value.where, caught.value.hint) == (argument, hint)

    def test_a_folder(self, package: Path) -> None:
        with pytest.raises(InputError, match="a folder, not a suite file"):
            find_suite(".")
