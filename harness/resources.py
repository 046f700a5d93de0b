"""Where the shipped files are: at the top of a checkout, inside the package of an installed wheel."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.errors import InputError, nearest

_PACKAGE = Path(__file__).resolve().parent

ACCELERATORS_FILE = "accelerators.yaml"
"""The one file beside the suites that is none."""


@dataclass(frozen=True)
class Folders:
    """What a site is made with besides records: its templates, and the suites' folder, which holds the catalog.

    Without `suites` a site has no page of the catalog.
    """

    templates: Path
    suites: Path | None = None


def own_version() -> str:
    """The installed moebench's version; empty where it runs from a checkout that is not installed."""
    try:
        return version("moebench")
    except PackageNotFoundError:
        return ""


def shipped_folders() -> Folders:
    """The folders that are shipped."""
    return Folders(templates_dir(), suites_dir())


def suites_dir() -> Path:
    """The folder of suites, models, tasks and pocket checkpoints."""
    return _shipped("suites")


def suite_files() -> dict[str, Path]:
    """The shipped suites by name: every YAML file of `suites_dir` but the table of accelerators."""
    return {file.stem: file for file in sorted(suites_dir().glob("*.yaml")) if file.name != ACCELERATORS_FILE}


def templates_dir() -> Path:
    """The folder of page templates."""
    return _shipped("templates")


def _shipped(name: str) -> Path:
    packaged = _PACKAGE / "_data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def find_suite(argument: str) -> Path:
    """A suite file from a path, or from the name of a shipped suite (`pocket`).

    Raises InputError, naming the shipped suites nearest to it.
    """
    path = Path(argument)
    if path.is_file():
        return path
    if argument and path.is_dir():
        raise InputError("a folder, not a suite file", where=argument, hint="name one of its .yaml files")
    shipped = suite_files()
    if argument in shipped:
        return shipped[argument]
    name = path.stem if path.suffix == ".yaml" else argument
    if path.suffix == ".yaml" and path.parent.name == "suites" and name in shipped and not path.exists():
        return shipped[name]
    raise InputError("no such suite", where=argument, hint=nearest(name, shipped) + " (a path to a file works too)")
