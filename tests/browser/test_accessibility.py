"""Every page for everyone: what axe-core finds, the keyboard, a phone, paper, the reader's own colours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import axe
import nights
import pytest
import sites

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser

PAGES = (
    "index.html", "suite-seeds.html", "suite-hostile.html", "suite-loads.html", "pairs.html",
    "pairs/moe-8x2-dense-active.html", "pairs/loads-moe-8x2-dense-active.html", "models/small/moe-8x2.html",
    "models/small/broken.html", "models/loads/moe-8x2.html", "models/loads/imported-moe.html", "pareto.html",
    "runs-loads.html", "catalog.html", "method.html",
)
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}

# What reaches beyond the paper or the window, outside of what scrolls in its own box
OVERFLOW = """(boxes) => [...document.querySelectorAll("body *")]
  .filter((one) => one.checkVisibility() && !one.closest(".unseen, .skip, #tip, dialog, svg"))
  .filter((one) => !(boxes && one.closest(boxes)))
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((one) => `${one.tagName}.${one.className}`)"""

# Where the keyboard goes from the top, each as a short name with whether focus can be seen there
FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const seen = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  const label = one.getAttribute("aria-label") || one.textContent.trim().slice(0, 40);
  const name = `${one.tagName}.${one.className} ${label}`;
  one.dataset.stop ||= String(document.querySelectorAll("[data-stop]").length);
  return { seen, name, body: one === document.body, inside: !one.closest("[hidden], [aria-hidden=true]"),
    stop: one.dataset.stop };
}"""


# The places of what is folded, among all that can be
FOLDED = """() => [...document.querySelectorAll("main details")].flatMap((one, at) => (one.open ? [] : [at]))"""

FOLD = """(places) => {
  for (const at of places) document.querySelectorAll("main details")[at].open = false;
}"""


def _open_all(page: Page) -> None:
    for details in page.locator("main details:not(.facet)").all():
        details.evaluate("one => { one.open = true; }")


def _open(visit: Visit, path: str, **options: Any) -> Page:
    page = visit(path, **options)
    page.wait_for_selector("html[data-drawn]", state="attached")
    return page


# axe-core --------------------------------------------------------------------------------------------------------


def test_a_fault_is_found(visit: Visit) -> None:
    page = _open(visit, "method.html", color_scheme="light", viewport=PHONE)
    assert axe.findings(page) == []
    page.evaluate(
        """() => document.querySelector("main").insertAdjacentHTML("beforeend", `<p style="color:#ccc">pale</p>
          <button></button><div style="overflow:auto;height:20px;width:90px"><pre>${"x ".repeat(400)}</pre></div>
          <a href="#main" style="font-size:8px">a</a><a href="#main" style="font-size:8px">b</a><h5>deep</h5>`)"""
    )
    found = {one.split()[0] for one in axe.findings(page)}
    assert {"color-contrast", "button-name", "scrollable-region-focusable", "target-size", "heading-order"} <= found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_opens(visit: Visit, scheme: str) -> None:
    page = _open(visit, "models/loads/moe-8x2.html", color_scheme=scheme, viewport=DESK)
    page.locator("main [data-evidence]").first.click()
    page.wait_for_selector("dialog[open]")
    assert axe.findings(page) == []
    page.keyboard.press("Escape")
    page = _open(visit, "index.html", color_scheme=scheme, viewport=DESK)
    page.get_by_role("button", name="Columns").click()
    page.wait_for_selector(".dt-button-collection")
    # the open menu lies over a part of the button that it belongs to
    assert [one for one in axe.findings(page) if one != "target-size (serious): .buttons-collection"] == []
    assert page.locator(".dt-button-collection [aria-pressed=true]").count() > 3
    page.keyboard.press("Escape")
    page = _open(visit, "models/small/broken.html", color_scheme=scheme, viewport=DESK)
    page.locator("main button.mark").first.focus()
    page.wait_for_selector("#tip:not([hidden])")
    # what explains a mark belongs to it, and to no part of the page
    assert [one for one in axe.findings(page) if one != "region (moderate): #tip"] == []


@pytest.mark.parametrize(("scheme", "size"), [("light", PHONE), ("dark", DESK)], ids=["light-phone", "dark-desk"])
def test_axe_finds_nothing_in_the_file_of_all_pages(
    visit: Visit, report: Path, scheme: str, size: dict[str, int]
) -> None:
    page = _open(visit, report.as_uri(), color_scheme=scheme, viewport=size)
    assert axe.findings(page) == []
    for path in ("models/loads/moe-8x2.html", "pairs.html"):
        page.evaluate("path => { delete document.documentElement.dataset.drawn; location.hash = `#/${path}`; }", path)
        page.wait_for_selector("html[data-drawn]", state="attached")
        assert axe.findings(page) == []


@pytest.fixture(scope="module")
def nightly(site: Path) -> Path:
    """The site of a suite that was measured on nine nights."""
    folder = site / "nightly"  # within what `visit` lets a page ask for
    return sites.render(sites.store_of(site.parent / "nights", nights.nightly_records()), folder).parent


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["light-desk", "dark-phone"])
def test_history_and_runs_are_for_everyone(visit: Visit, nightly: Path, scheme: str, size: dict[str, int]) -> None:
    for path in ("models/small/moe-8x2.html", "runs.html"):
        page = _open(visit, (nightly / path).as_uri(), color_scheme=scheme, viewport=size)
        page.evaluate("""() => { for (const one of document.querySelectorAll("main details")) one.open = true; }""")
        assert axe.findings(page) == []
        assert page.evaluate(OVERFLOW, ".box, pre, .chart") == []
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 700, "height": 1000})
        assert page.evaluate(OVERFLOW, None) == []


# The keyboard ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["index.html", "pairs.html", "models/loads/moe-8x2.html", "pareto.html", "catalog.html"]
)
def test_tab_reaches_everything_and_shows_where_it_is(visit: Visit, path: str) -> None:
    page = _open(visit, path)
    reachable = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
          .filter((one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility()).length"""
    )
    stops, unseen = set(), []
    for _ in range(reachable + 5):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if at["body"]:
            break
        stops.add(at["stop"])
        assert at["inside"], at
        if not at["seen"]:
            unseen.append(at["name"])
    assert unseen == []
    assert len(stops) == reachable


def test_the_skip_link_is_first_and_leads_past_the_menu(visit: Visit) -> None:
    page = _open(visit, "index.html")
    page.keyboard.press("Tab")
    assert page.locator(".skip").evaluate("one => one === document.activeElement")
    sites.until(page, "document.querySelector('.skip').getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_escape_closes_what_is_open_and_focus_returns(visit: Visit) -> None:
    page = _open(visit, "models/loads/moe-8x2.html")
    number = page.locator("main [data-evidence]").first
    number.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert number.evaluate("one => one === document.activeElement")
    page = _open(visit, "index.html")
    columns = page.get_by_role("button", name="Columns")
    columns.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".dt-button-collection")
    page.keyboard.press("Escape")
    page.wait_for_selector(".dt-button-collection", state="detached")


def test_what_changes_is_said(visit: Visit) -> None:
    page = _open(visit, "index.html")
    count = page.locator("#leaderboard-tools .count")
    assert count.get_attribute("aria-live") == "polite"
    before = count.inner_text()
    sites.search(page, "fine")
    changed = "before => document.querySelector('#leaderboard-tools .count').textContent !== before"
    sites.until(page, changed, arg=before)
    head = page.locator('#leaderboard-table th[data-label="Total"]')
    head.locator(".dt-column-order").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector('#leaderboard-table th[data-label="Total"][aria-sort]')


# A desk, a phone and paper: each page is opened twice, as that is most of the time ---------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_shows_all_within_its_width_to_everyone(visit: Visit, path: str) -> None:
    page = _open(visit, path, color_scheme="dark", viewport=PHONE, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(OVERFLOW, ".box, pre, .chart") == []
    frozen = page.evaluate(
        """() => {
          const wide = [...document.querySelectorAll(".box")].filter((box) => box.scrollWidth > box.clientWidth + 1);
          return wide.map((box) => {
            box.scrollLeft = box.scrollWidth;
            const left = box.getBoundingClientRect().left;
            const stuck = [...box.querySelectorAll("tbody .frozen")]
              .filter((one) => getComputedStyle(one).position === "sticky");
            const ends = stuck.map((one) => one.getBoundingClientRect().right - left);
            box.scrollLeft = 0;
            return [box.getAttribute("aria-label"), Math.max(0, ...ends), box.clientWidth];
          }).filter(([, end, width]) => end > 0.5 * width || end <= 0);
        }"""
    )
    assert frozen == []
    _open_all(page)
    assert page.evaluate(sites.POOR_CONTRAST) == []
    assert axe.findings(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_desk_shows_all_to_everyone_and_paper_cuts_nothing_off(visit: Visit, path: str) -> None:
    page = _open(visit, path, color_scheme="light", viewport=DESK)
    assert page.title().endswith("moebench")
    assert page.locator("h1").count() == 1
    folded = page.evaluate(FOLDED)
    _open_all(page)
    assert page.evaluate(sites.POOR_CONTRAST) == []
    assert axe.findings(page) == []
    page.evaluate(FOLD, folded)
    page.emulate_media(color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 1000})
    assert page.evaluate(OVERFLOW, None) == []
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".box, .chart, pre")]
          .filter((one) => one.scrollWidth > one.clientWidth + 2)
          .map((one) => `${one.className} ${one.getAttribute("aria-label")} ${one.scrollWidth} ${one.clientWidth}`)"""
    )
    assert cut == []
    assert page.locator("main details:not([open]):not(.toolbar *)").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".theme, .toolbar input, nav[aria-label=Pages]").first.is_visible()
    ink = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
    for chart in page.locator(".main-svg .xtitle").all():
        assert chart.evaluate("one => getComputedStyle(one).fill") == ink


def test_after_printing_the_page_is_as_before(visit: Visit) -> None:
    page = _open(visit, "models/loads/moe-8x2.html", color_scheme="dark", viewport=DESK)
    look = """() => [document.querySelectorAll("details[open]").length, document.documentElement.className,
      document.querySelector(".main-svg").clientWidth, document.querySelector(".main-svg .xtitle").style.fill,
      [...document.querySelectorAll("table")].map((one) => one.style.zoom).join("")]"""
    before = page.evaluate(look)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(look) != before
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(look) == before


# The reader's settings -------------------------------------------------------------------------------------------


def test_shapes_and_bars_stay_in_the_readers_own_colours(visit: Visit) -> None:
    page = _open(visit, "index.html", forced_colors="active")
    fills = page.evaluate(
        """() => [".shape.sparse", ".shape.dense", ".twotone i"]
          .map((name) => document.querySelector(`main ${name}`))
          .map((one) => getComputedStyle(one).backgroundColor)"""
    )
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground not in fills
    assert fills[0] != fills[1]


def test_nothing_moves_where_a_reader_wants_no_motion(visit: Visit) -> None:
    page = _open(visit, "index.html", reduced_motion="reduce")
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].map((one) => [one.className, getComputedStyle(one)])
          .filter(([, { scrollBehavior, transitionDuration, animationName }]) =>
            scrollBehavior === "smooth" || parseFloat(transitionDuration) > 0.01 || animationName !== "none")
          .map(([name]) => name)"""
    )
    assert moving == []


def test_the_theme_of_the_system_is_there_from_the_start(visit: Visit) -> None:
    page = visit("index.html", color_scheme="dark")
    first = """() => [document.documentElement.className, getComputedStyle(document.body).backgroundColor]"""
    page.add_init_script(
        "addEventListener('readystatechange', () => { window.early ??= document.documentElement.className; }, true)"
    )
    page.reload()
    assert page.evaluate("window.early") == "dark"
    assert page.evaluate(first) == ["dark", "rgb(20, 23, 26)"]
    page.emulate_media(color_scheme="light")
    sites.until(page, "!document.documentElement.classList.contains('dark')")
    assert page.evaluate(first) == ["", "rgb(255, 255, 255)"]
