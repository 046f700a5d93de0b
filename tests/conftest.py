"""Fixtures of every test: the checkout's folder, and a browser that is found or installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from harness.doctor import BROWSERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--process-per-site",
]
INSTALL_TIMEOUT_S = 420

# A deadline would time the machine, which is shared. As hypothesis's own profile for CI does, what gates a change tries
# the same examples every time; elsewhere each run tries others.
hypothesis.settings.register_profile("moebench", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.register_profile("fast", deadline=None, max_examples=10)
hypothesis.settings.load_profile("moebench")


def pytest_configure(config: pytest.Config) -> None:
    """Workers that share the cores compute with one thread each: more wait for each other, routing twice as long."""
    if config.getoption("numprocesses", None):
        for library in ("OMP", "OPENBLAS"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Whatever asks for a browser is marked so, and `make test-fast` leaves it out; what takes longest begins first.

    Otherwise one worker would still run an engine when the others are done. Within each group the order stays random.
    """
    for item in items:
        if {"chromium_path", "browser", "page"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.browser)
    yield
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("engine", "slow")])


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """A Chromium: MOEBENCH_CHROMIUM, one on PATH, Playwright's own, or one installed now. Fails where there is none."""
    if os.environ.get("MOEBENCH_CHROMIUM"):
        chosen = shutil.which(os.environ["MOEBENCH_CHROMIUM"])
        return chosen or pytest.fail(f"MOEBENCH_CHROMIUM={os.environ['MOEBENCH_CHROMIUM']} is no program")
    lock_file = Path(tempfile.gettempdir()) / f"moebench-browser-{os.getuid()}.lock"
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _present_browser() or _installed_browser()


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One headless browser for all tests of the session."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path, args=BROWSER_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; the test fails where the page logs an error, throws, or asks for anything beyond local files."""
    faults: list[str] = []
    context = browser.new_context()
    opened = context.new_page()
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: None if _is_local(request.url) else faults.append(f"network: {request.url}"))
    yield opened
    context.close()
    assert not faults, "the page is not clean: " + "; ".join(faults)


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:", "about:"))


def _present_browser() -> str | None:
    on_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return on_path or _playwright_browser()


def _playwright_browser() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


def _installed_browser() -> str:
    """Debian's package where apt-get may be used, else Playwright's own."""
    attempts: list[list[list[str]]] = []
    if os.getuid() == 0 and shutil.which("apt-get"):
        attempts.append([["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]])
    attempts.append([[sys.executable, "-m", "playwright", "install", "chromium"]])
    faults: list[str] = []
    for commands in attempts:
        for command in commands:
            faults += _fault_of(command)
        found = _present_browser()
        if found:
            return found
    pytest.fail(
        "no Chromium was found and none could be installed; install one (Debian: apt-get install chromium) or name it "
        "in MOEBENCH_CHROMIUM\n" + "\n".join(faults)
    )


def _fault_of(command: list[str]) -> list[str]:
    """Runs a command; nothing where it went well, else what it said last."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=INSTALL_TIMEOUT_S, check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"{' '.join(command)}: {error}"]
    if done.returncode == 0:
        return []
    return [f"{' '.join(command)} (exit {done.returncode}): {(done.stderr or done.stdout).strip()[-400:]}"]
