"""A site with everything that can go wrong on it, and pages that fail a test when they log, throw or reach outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import builders
import pytest
import sites

from harness.pages.render import render_site
from harness.resources import Folders
from harness.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page
    from sites import Visit

_MEDIA = ("color_scheme", "forced_colors", "reduced_motion")
_VIEWPORT = {"width": 1280, "height": 720}
SITE_SUITES = ["small", "seeds", "hostile", "loads"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small suite with awkward models as index.html; beside it suites of seeds, of hostile names, of all loads."""
    folder = tmp_path_factory.mktemp("browser")
    records = [*builders.small_suite_records(), *sites.awkward_records(), *sites.seed_records()]
    records += [*sites.hostile_records(), *sites.load_records()]
    store = sites.store_of(folder / "results", records)
    return sites.render(store, folder / "site", SITE_SUITES, catalog=True).parent


@pytest.fixture(scope="session")
def varied(site: Path) -> Path:
    """The site of a suite whose models differ in everything by which they can be chosen, in a folder of its own."""
    folder = site.parent / "varied"
    store = sites.store_of(folder / "results", sites.varied_records())
    folders, suite = Folders(sites.TEMPLATES, None), sites.varied_suite()
    return render_site(store, folder / "site", ["varied"], folders=folders, definitions={"varied": suite}).parent


@pytest.fixture(scope="session")
def report(site: Path) -> Path:
    """The same suites in one file, in a folder of its own."""
    from harness.pages.standalone import render_standalone

    out = site.parent / "alone" / "report.html"
    folders = Folders(sites.TEMPLATES, sites.SUITES)
    return render_standalone(Store(site.parent / "results"), out, SITE_SUITES, folders=folders)


@pytest.fixture(scope="session")
def profiles(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., BrowserContext]]:
    """A context for each set of options, kept for all tests: its pages share a process and the scripts compiled there.

    The process lives as long as the empty page that is the context's first. Pages take 40 % of the work that they need
    in contexts of their own.
    """
    empty = tmp_path_factory.mktemp("empty") / "empty.html"
    empty.write_text("<!doctype html><title>empty</title>")
    made: dict[str, BrowserContext] = {}

    def profile(**options: Any) -> BrowserContext:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = browser.new_context(**options)
            made[key].new_page().goto(empty.as_uri())
        return made[key]

    yield profile
    for context in made.values():
        context.close()


@pytest.fixture
def visit(profiles: Callable[..., BrowserContext], site: Path) -> Iterator[Visit]:
    """Opens a page of the site from disk and waits for it; keyword arguments are those of a browser context.

    A page is named by its path, which may have a hash, or by its whole address, as one in the report of one file.
    Any console message of a warning or worse, any exception, dialog or request beyond the folder fails the test. Each
    page is a new one; what a test stores in the browser is gone after it.
    """
    used: list[BrowserContext] = []
    pages: list[Page] = []
    faults: list[str] = []

    def watch(page: Page) -> None:
        pages.append(page)
        page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: None if _inside(request.url, site) else faults.append(request.url))

    def opened(path: str = "index.html", **options: Any) -> Page:
        media = {name: options.pop(name) for name in _MEDIA if name in options}
        viewport = options.pop("viewport", _VIEWPORT)
        context = profiles(**options)
        if context not in used:
            used.append(context)
            context.on("page", watch)
        page = context.new_page()
        page.set_viewport_size(viewport)
        page.emulate_media(**media)
        page.set_default_timeout(15_000)
        page.goto(path if "://" in path else f"{site.as_uri()}/{path}")
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready][data-drawn]", state="attached")
        return page

    yield opened
    for page in pages:
        page.close()
    for context in used:
        context.remove_listener("page", watch)
        context.pages[0].evaluate("localStorage.clear()")
    assert not faults, "; ".join(faults)


def _inside(url: str, site: Path) -> bool:
    """Whether a request stays in the site's folder, in the report's file, or on a test's own server."""
    folder, alone = f"file://{site}/", f"file://{site.parent}/alone/report.html"
    varied = f"file://{site.parent}/varied/site/"
    return url.startswith(("data:", "blob:", "http://127.0.0.1:")) or unquote(url).startswith((folder, alone, varied))
