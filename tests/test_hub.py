"""Where a configuration comes from: a file, a folder, or the hub's cache. No test asks the network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from model_configs import TINY

from harness.errors import InputError
from harness.hub import resolve_config

CONFIG = TINY["mixtral"]
pytest.importorskip("huggingface_hub")


def cached(home: Path, repository: str, config: dict[str, Any]) -> None:
    """A repository in the hub's own layout below HF_HOME, as if its config.json had been fetched."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit, encoding="utf-8")
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text(json.dumps(config), encoding="utf-8")


def resolve_offline(argument: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Resolves in a process of its own, because the library reads its settings once."""
    code = (
        "import json, sys\n"
        "from harness.errors import InputError\n"
        "from harness.hub import resolve_config\n"
        "try:\n"
        "    print(json.dumps(resolve_config(sys.argv[1])))\n"
        "except InputError as error:\n"
        "    sys.exit(str(error))\n"
    )
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path.cwd())}
    environment = {name: value for name, value in environment.items() if name not in {"HF_HUB_CACHE", "HF_TOKEN"}}
    return subprocess.run(
        [sys.executable, "-c", code, argument], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_file_and_its_folder_are_read_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG), encoding="utf-8")
    assert resolve_config(str(file)) == resolve_config(str(tmp_path)) == (CONFIG, str(file))


def test_a_path_wins_over_a_repository_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    assert resolve_config("owner/name") == (CONFIG, str(Path("owner/name/config.json")))


def test_a_repository_is_read_from_the_cache_without_a_network(tmp_path: Path) -> None:
    cached(tmp_path, "some-owner/some.model_1", CONFIG)
    done = resolve_offline("some-owner/some.model_1", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [CONFIG, "some-owner/some.model_1/config.json"]


def test_offline_without_the_repository_says_so(tmp_path: Path) -> None:
    done = resolve_offline("some-owner/other", tmp_path)
    what, hint = done.stderr.strip().split("\n")
    assert what == (
        "some-owner/other: no such file; HF_HUB_OFFLINE is set and the cache does not hold this repository"
    )
    assert "give the path of a config.json" in hint


def hub_error(name: str, status: int | None = None) -> Exception:
    """One of the library's errors as it would come from the network."""
    from huggingface_hub import errors

    kind: type[Exception] = getattr(errors, name)
    error = kind.__new__(kind)
    if status is not None:
        error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "what", "hint"),
    [
        (hub_error("GatedRepoError", 403), "gated", "accept its terms"),
        (hub_error("RepositoryNotFoundError", 401), "no such repository", "HF_TOKEN"),
        (hub_error("RemoteEntryNotFoundError", 404), "has no config.json", "path of a config.json"),
        (hub_error("LocalEntryNotFoundError"), "cannot be reached", "path of a config.json"),
        (hub_error("HFValidationError"), "neither a file nor", "owner/name"),
        (hub_error("HfHubHTTPError", 403), "HTTP 403", "HF_TOKEN"),
        (hub_error("HfHubHTTPError", 503), "HTTP 503", "try again later"),
        (OSError("no space left"), "cannot be reached", "path of a config.json"),
    ],
)
def test_what_the_hub_answers_becomes_one_line_with_the_next_step(
    error: Exception, what: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    def fail(*arguments: object, **options: object) -> None:
        raise error

    for name in ("hf_hub_download", "get_hf_file_metadata"):
        monkeypatch.setattr(huggingface_hub, name, fail)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(InputError) as raised:
        resolve_config("owner/name")
    assert raised.value.where == "owner/name"
    assert what in raised.value.what
    assert hint in raised.value.hint
    assert "\n" not in raised.value.what + raised.value.hint


@pytest.mark.parametrize("argument", ["nothing", "a/b/c", "../owner/name", "", "x" * 5000, "a\0b/c", "--/x", "a/b\n"])
def test_what_is_neither_a_path_nor_a_name_is_one_line(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("the hub was asked")

    for name in ("hf_hub_download", "get_hf_file_metadata"):
        monkeypatch.setattr(huggingface_hub, name, fail)
    with pytest.raises(InputError) as raised:
        resolve_config(argument)
    assert raised.value.where
    assert "\n" not in raised.value.what + raised.value.where
    assert len(raised.value.what) < 200


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="is not installed") as raised:
        resolve_config("owner/name")
    assert raised.value.hint.startswith("pip install huggingface_hub")
