"""The report in one file, and the folder from a static host: what a reader does from page to page."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import sites

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser

INSIDE = """() => [...document.querySelectorAll("script[data-page]")].map((element) => element.dataset.page)"""
MODEL = "models/loads/moe-8x2.html"


def _path(page: Page) -> str:
    """The page that the address names."""
    return urlsplit(page.url).fragment.lstrip("/").split("?")[0].split("#")[0]


def _go(page: Page, hash_: str) -> None:
    """Follows an address within the file and waits for its page."""
    page.evaluate("""(hash) => { delete document.documentElement.dataset.drawn; location.hash = hash; }""", hash_)
    page.wait_for_selector("html[data-drawn]", state="attached")


def _menu(page: Page) -> str:
    return page.locator("nav[aria-label=Pages] [aria-current=page]").inner_text()


# Pages -----------------------------------------------------------------------------------------------------------


def test_every_page_opens_with_its_charts_and_tables(visit: Visit, report: Path) -> None:
    page = visit(report.as_uri())
    for path in page.evaluate(INSIDE):
        _go(page, f"#/{path}")
        assert page.locator("h1").count() == 1, path
        assert page.locator("#main").is_visible(), path
        assert page.title().endswith("moebench"), path
        for late in page.locator("[data-late]").all():
            late.scroll_into_view_if_needed()
            late.locator(".main-svg").first.wait_for()
        for kind, drawn in (("[data-figure], [data-experts], [data-pareto]", ".main-svg"), ("[data-table]", "thead")):
            bare = page.locator(kind).evaluate_all(f"all => all.filter(one => !one.querySelector('{drawn}')).length")
            assert bare == 0, path
        assert page.locator(".dt-container").count() == page.locator("[data-table]").count(), path


def test_links_menu_title_and_focus_follow(visit: Visit, report: Path) -> None:
    page = visit(report.as_uri())
    first = page.title()
    page.locator("#leaderboard-table .name", has_text="moe-8x2").first.click()
    sites.until(page, "title => document.title !== title", arg=first)
    assert _path(page) == "models/small/moe-8x2.html"
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Catalog").click()
    page.wait_for_selector("#catalog-table, main table[data-table]")
    assert _menu(page) == "Catalog"
    assert page.evaluate("scrollY") == 0


def test_back_and_forward_lead_through_the_pages_and_their_places(visit: Visit, report: Path) -> None:
    page = visit(report.as_uri(), viewport={"width": 1000, "height": 500})
    page.evaluate("scrollTo(0, 400)")
    sites.until(page, "scrollY === 400")
    # the page is told of it before the next frame
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.locator("#leaderboard-table .name", has_text="moe-fine").first.click()
    sites.until(page, "location.hash.includes('moe-fine')")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Method").click()
    sites.until(page, "location.hash.includes('method')")
    page.go_back()
    sites.until(page, "document.querySelector('h1').textContent.includes('moe-fine')")
    page.go_back()
    page.wait_for_selector("#leaderboard-table")
    sites.until(page, "scrollY > 300")
    page.go_forward()
    sites.until(page, "document.querySelector('h1').textContent.includes('moe-fine')")
    assert _path(page) == "models/small/moe-fine.html"


def test_a_link_opens_the_page_its_place_and_its_state(visit: Visit, report: Path) -> None:
    page = visit(f"{report.as_uri()}#/{MODEL}#provenance")
    assert "moe-8x2" in page.locator("h1").inner_text()
    assert page.locator("#provenance").evaluate("one => one.getBoundingClientRect().top") < 200
    page = visit(f"{report.as_uri()}#/nowhere.html")
    assert page.locator("h1").inner_text() == "This page is not in the file"
    page.get_by_role("link", name="To the first page").click()
    page.wait_for_selector("#leaderboard-table")


def test_what_was_chosen_stays_with_its_page_and_comes_back(visit: Visit, report: Path) -> None:
    page = visit(report.as_uri())
    sites.search(page, "fine")
    shown = page.locator("#leaderboard-table tbody .name").all_inner_texts()
    assert shown == ["moe-fine"]
    tasks = page.get_by_role("button", name="Tasks")
    tasks.click()
    sites.until(page, "location.hash.includes('cols=')")
    address = page.url
    page.locator("#leaderboard-table .name").first.click()
    sites.until(page, "document.querySelector('h1').textContent.includes('moe-fine')")
    assert "?" not in page.url
    page.go_back()
    page.wait_for_selector("#leaderboard-table.dataTable")
    assert page.url == address and tasks.get_attribute("aria-pressed") == "true"
    assert page.locator("#leaderboard-table tbody .name").all_inner_texts() == shown
    page.evaluate("scrollTo({ top: 200, behavior: 'instant' })")
    page.go_back()
    sites.becomes(page, lambda: tasks.get_attribute("aria-pressed"), "false")
    assert "q=fine" in page.url
    assert page.evaluate("scrollY") == 200
    page = visit(address)
    assert page.locator("#leaderboard-table tbody .name").all_inner_texts() == shown


@pytest.mark.parametrize("alone", [True, False])
def test_the_skip_link_keeps_what_was_chosen(visit: Visit, report: Path, alone: bool) -> None:
    page = visit(report.as_uri() if alone else "index.html")
    sites.search(page, "fine")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    sites.until(page, "location.hash.includes('main?')")
    assert "fine" in page.url
    assert page.get_by_role("searchbox").first.input_value() == "fine"


# What happens once -----------------------------------------------------------------------------------------------


def test_listeners_are_not_doubled(visit: Visit, report: Path) -> None:
    page = visit(report.as_uri(), color_scheme="light")
    for path in (MODEL, "index.html", "catalog.html", "index.html"):
        _go(page, f"#/{path}")
    page.locator("button.theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    head = page.locator('#leaderboard-table th[data-label="Total"]')
    for way in ("ascending", "descending"):
        head.locator(".dt-column-title").click()
        page.wait_for_selector(f'#leaderboard-table th[data-label="Total"][aria-sort="{way}"]')
    assert page.locator("#leaderboard-tools").count() == 1
    assert page.evaluate("moebenchTables.jQuery.fn.dataTable.tables().length") == page.locator("[data-table]").count()


def test_an_export_is_saved_from_the_file(visit: Visit, report: Path, site: Path) -> None:
    page = visit(report.as_uri())
    for ending in ("csv", "json", "parquet"):
        link = page.locator(f"footer a[href$='data.{ending}']")
        if link.count() == 0:
            continue
        with page.expect_download() as saved:
            link.click()
        assert saved.value.suggested_filename == f"data.{ending}"
        assert Path(saved.value.path()).read_bytes() == (site / f"data.{ending}").read_bytes()
    assert page.locator("#leaderboard-table").is_visible()


def test_a_number_of_a_page_inside_has_its_evidence(visit: Visit, report: Path) -> None:
    page = visit(f"{report.as_uri()}#/{MODEL}")
    number = page.locator("main [data-evidence]").first
    number.click()
    page.wait_for_selector("dialog[open]")
    words = page.locator("dialog[open]").inner_text()
    assert "results/loads/" in words
    assert "not in this file" not in words
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_a_record_is_named_by_its_path(visit: Visit, report: Path) -> None:
    page = visit(f"{report.as_uri()}#/{MODEL}")
    record = page.locator("button[data-tip^='results/loads/']").first
    record.focus()
    assert page.locator("#tip").inner_text().startswith("results/loads/")


def test_hostile_names_are_text_in_the_file(visit: Visit, report: Path) -> None:
    page = visit(f"{report.as_uri()}#/suite-hostile.html")
    page.locator("#leaderboard-table .name", has_text="</script>").first.click()
    sites.until(page, "document.querySelector('h1').textContent.includes('{{ 7*7 }}')")
    assert "models/hostile/" in page.url
    assert page.locator("img").count() == 0


def test_the_leaderboard_of_the_file_can_be_read_without_scripts(visit: Visit, report: Path) -> None:
    page = visit(report.as_uri(), java_script_enabled=False)
    assert page.locator("#leaderboard-table tbody tr").count() == 8
    assert page.locator("#leaderboard-table tbody tr").first.is_visible()
    assert page.locator("noscript p").is_visible()


def test_the_theme_of_the_file_is_remembered(visit: Visit, report: Path) -> None:
    page = visit(f"{report.as_uri()}#/{MODEL}", color_scheme="dark")
    ink = """document.querySelector(".main-svg .xtitle").style.fill"""
    sites.until(page, f"{ink} !== undefined")
    before = page.evaluate(ink)
    page.get_by_role("button", name="Light theme").click()
    sites.until(page, f"{ink} !== {json.dumps(before)}")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert page.evaluate("document.documentElement.classList.contains('dark')") is False
    assert _path(page) == MODEL


# A static host ---------------------------------------------------------------------------------------------------


class _Quiet(SimpleHTTPRequestHandler):
    """A static host that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@pytest.fixture
def host(site: Path) -> Iterator[str]:
    """The address under which a static host offers the site, in a folder of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{site.name}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_folder_works_from_a_static_host(visit: Visit, host: str) -> None:
    asked: list[str] = []
    page = visit(f"{host}/index.html")
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: asked.append("missing") if response.status >= 400 else None)
    sites.follow(page, page.locator("#leaderboard-table .name", has_text="moe-8x2").first)
    page.locator("main [data-evidence]").first.click()
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    sites.until(page, "!location.href.includes('n=')")
    sites.follow(page, page.locator(".bar .brand"))
    page.wait_for_selector("#leaderboard-table")
    for name in ("Catalog", "Method"):
        sites.follow(page, page.get_by_role("navigation", name="Pages").get_by_role("link", name=name))
        assert _menu(page) == name
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((f"{host}/", "data:"))] == []


def test_the_file_works_from_a_static_host(visit: Visit, host: str, report: Path) -> None:
    page = visit(f"{host.rsplit('/', 1)[0]}/{report.parent.name}/{report.name}#/{MODEL}")
    assert page.locator("h1").is_visible()
    assert page.evaluate("performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:'))") == []
    assert page.evaluate(sites.POOR_CONTRAST) == []
