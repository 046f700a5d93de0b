"""lm-eval task files: which are there, and what they read. lm-eval itself is not imported."""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"""^(?:-\s*)?(?:task|group|tag):[ \t]*["']?([\w.-]+)""", re.MULTILINE)


class LocalTask(NamedTuple):
    """A task file of the suites folder."""

    name: str
    path: Path

    def fingerprint(self) -> str:
        """`sha256:...` over the task file and every file beside it that it names."""
        text = self.path.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode())
        for path in sorted(self.path.parent.iterdir()):
            named = path.name in text or (path.suffix == ".py" and f"!function {path.stem}." in text)
            if path.is_file() and path != self.path and named:
                digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
        return f"sha256:{digest.hexdigest()}"


def local_tasks(folder: Path) -> dict[str, LocalTask]:
    """The task files under a folder, by task name."""
    tasks = {}
    for path in sorted(folder.rglob("*.yaml")):
        match = _NAME.search(path.read_text(encoding="utf-8"))
        if match:
            tasks[match[1]] = LocalTask(match[1], path)
    return tasks


def shipped_task_folder() -> Path | None:
    """The folder of the tasks that lm-eval ships, None where it is not installed."""
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "tasks"


def shipped_tasks(folder: Path, wanted: set[str]) -> set[str]:
    """The names of tasks, groups and tags in lm-eval's folder: those wanted, and all others if one is not found.

    The folder has over 10,000 files, so folders named like a wanted task are read first.
    """
    likely = {path for name in wanted for path in folder.glob(f"{name.split('_')[0]}*/**/*.yaml")}
    found = _names(likely)
    return found if wanted <= found else found | _names(set(folder.rglob("*.yaml")))


def _names(paths: set[Path]) -> set[str]:
    return {name for path in paths for name in _NAME.findall(path.read_text(encoding="utf-8", errors="replace"))}
