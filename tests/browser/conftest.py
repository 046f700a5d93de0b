"""A site with everything that can go wrong on it, and pages that fail a test when they log, throw or reach outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import builders
import pytest
import sites

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page
    from sites import Visit


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small suite with awkward models as index.html; beside it suites of seeds, of hostile names, of all loads."""
    folder = tmp_path_factory.mktemp("browser")
    records = [*builders.small_suite_records(), *sites.awkward_records(), *sites.seed_records()]
    records += [*sites.hostile_records(), *sites.load_records()]
    store = sites.store_of(folder / "results", records)
    return sites.render(store, folder / "site", ["small", "seeds", "hostile", "loads"], catalog=True).parent


@pytest.fixture
def visit(browser: Browser, site: Path) -> Iterator[Visit]:
    """Opens a page of the site from disk and waits for it; keyword arguments are those of a browser context.

    Any console message of a warning or worse, any exception, dialog or request beyond the folder fails the test.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def watch(page: Page) -> None:
        page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: None if _inside(request.url, site) else faults.append(request.url))

    def opened(path: str = "index.html", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.on("page", watch)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto((site / path).as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults, "; ".join(faults)


def _inside(url: str, site: Path) -> bool:
    """Whether a request stays in the site's folder."""
    return url.startswith(("data:", "blob:")) or unquote(url).startswith(f"file://{site}/")
