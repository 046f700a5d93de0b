"""Foreign text in a real browser: it is shown, runs nothing, asks for nothing, and fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hostile
import pytest
import sites

from harness.pages.parts import Slugs
from harness.quantities import plain

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from sites import Visit

pytestmark = pytest.mark.browser

# What sticks out of the page, unless it is in a box that scrolls or cuts.
_OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth;
  const held = (element) => {
    for (let at = element.parentElement; at; at = at.parentElement) {
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  const found = [...document.querySelectorAll("body *")].filter((element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.right > width + 1 && !held(element);
  });
  return [document.documentElement.scrollWidth > width, found.map((element) => element.outerHTML.slice(0, 100))];
}"""
# Elements that no template has.
_FOREIGN = "img, iframe, object, embed, form, base, svg [onload], [onerror], [onmouseover], a[href^='javascript:' i]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite in which all foreign text is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    store = sites.store_of(folder / "results", hostile.records(hostile.TEXTS.values()))
    return sites.render(store, folder / "site").parent


def _model_path(name: str) -> str:
    """The page of a model: the models are read in the order of their names."""
    slugs = Slugs()
    paths = {one: slugs.of(one, one) for one in sorted(hostile.TEXTS.values())}
    return f"models/{hostile.SUITE}/{paths[name]}.html"


def _pages(site: Path) -> list[str]:
    """One page of each kind, and the models whose names are hardest to lay out."""
    pairs = sorted(path.relative_to(site).as_posix() for path in (site / "pairs").glob("*.html"))
    models = [_model_path(hostile.TEXTS[name]) for name in ("script", "long", "words", "lines", "emoji")]
    return [*sorted(path.name for path in site.glob("*.html")), *pairs[:2], *models]


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_overflows_or_runs_anything(visit: Visit, site: Path, width: int) -> None:
    for path in _pages(site):
        page = visit(path, viewport={"width": width, "height": 900})
        scrolls, outside = page.evaluate(_OVERFLOWING)
        assert not scrolls and not outside, (path, outside)
        assert page.locator(_FOREIGN).count() == 0, path
        page.close()


@pytest.mark.parametrize("name", [
    "script", "attribute", "style", "template", "entity", "control", "bidi", "latex", "plotly",
])
def test_names_are_shown_letter_by_letter(visit: Visit, name: str) -> None:
    text = hostile.TEXTS[name]
    page = visit(_model_path(text))
    assert page.locator("h1").text_content().strip().startswith(plain(text, 200).strip())  # type: ignore[union-attr]
    assert page.title() == f"{' '.join(plain(text, 120).split())} · moebench"


def test_charts_and_their_menus_show_text(visit: Visit) -> None:
    page = visit("pareto.html")
    options = page.locator("select option").all_text_contents()
    assert any("<img src=x onerror" in one for one in options)
    labels = " ".join(page.locator(".main-svg text").all_text_contents())
    assert "</script><script>" in labels
    assert page.locator(_FOREIGN).count() == 0


def test_search_and_columns_take_text_for_text(visit: Visit) -> None:
    page = visit("index.html")
    sites.search(page, "onerror=alert(1)")
    sites.until(page, "document.querySelectorAll('#leaderboard-table tbody tr').length < 10")
    assert page.locator("#leaderboard-table tbody").get_by_text("<img src=x").count() >= 1
    page.get_by_role("button", name="Columns").first.click()
    assert page.locator(_FOREIGN).count() == 0


def test_the_drawer_shows_text(visit: Visit) -> None:
    page = visit(_model_path(hostile.TEXTS["attribute"]))
    page.locator("button.number").first.click()
    drawer = page.locator("[role=dialog], dialog").first
    drawer.wait_for(state="visible")
    sites.until(
        page, "document.querySelector('[role=dialog], dialog').textContent.includes('onmouseover=alert(1)')"
    )
    assert page.locator(_FOREIGN).count() == 0


def test_files_for_elsewhere_open_as_what_they_are(
    visit: Visit, browser: Browser, site: Path
) -> None:
    page = visit(_model_path(hostile.TEXTS["script"]))
    links = page.locator("#take a")
    assert links.count() == 2 and all(link.get_attribute("download") == "" for link in links.all())
    context = browser.new_context()
    picture = context.new_page()
    dialogs: list[str] = []
    picture.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for path in sorted((site / "models").rglob("*.svg")):
        picture.goto(path.as_uri())
        fits = picture.evaluate("""() => {
          const root = document.documentElement, width = root.viewBox.baseVal.width;
          const right = [...root.querySelectorAll("text")].map((one) => one.getBBox().x + one.getBBox().width);
          return right.every((one) => one <= width) && !root.querySelector("script, foreignObject, image");
        }""")
        assert fits, path.name
    context.close()
    assert dialogs == []
