from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign_files import RECORDINGS, content

from harness.imports import Given, import_file
from harness.record import Record
from harness.store import Store

Take = Callable[..., list[Record]]


@pytest.fixture
def recorded() -> Callable[[str], Any]:
    """The content of a recorded file."""
    return content


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Imports a recording by its name, or content that is written to a file first; returns the records."""

    def taken(source: Any, **given: Any) -> list[Record]:
        path = RECORDINGS / source if isinstance(source, str) else tmp_path / "given.json"
        if not isinstance(source, str):
            path.write_text(json.dumps(source), encoding="utf-8")
        imported = import_file(path, Given(suite="published", model="moe", **given), Store(tmp_path / "results"))
        return [record for _, record in imported.written]

    return taken
