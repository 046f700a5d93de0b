"""Tables on paper: none is shrunk until it cannot be read, none loses a column, and the screen is as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser

HEADS = """() => [...document.querySelectorAll("main table")].filter((one) => one.checkVisibility())
  .flatMap((one) => [...one.querySelectorAll("thead tr:last-child > *")])
  .filter((one) => !one.classList.contains("frozen")).map((one) => one.textContent.trim())"""
SMALL = """() => [...document.querySelectorAll("main table")]
  .filter((one) => one.checkVisibility())
  .map((one) => [Number(one.style.zoom || 1), one.closest(".box")?.getAttribute("aria-label")])
  .filter(([zoom]) => zoom < 0.88)"""
PARTS = "() => [...document.querySelectorAll('table.part')].map((one) => one.querySelectorAll('tbody tr').length)"


def to_paper(page: Page) -> None:
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")


@pytest.mark.parametrize(
    "path", ["index.html", "pairs-loads.html", "pairs/loads-moe-8x2-dense-active.html", "models/loads/moe-8x2.html"]
)
def test_wide_tables_come_in_parts_that_can_be_read(visit: Visit, path: str) -> None:
    page = visit(path)
    page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
    before = page.evaluate(HEADS)
    to_paper(page)
    assert page.evaluate(SMALL) == []
    # what names the rows of a table without frozen columns stands in all its parts
    assert sorted(set(page.evaluate(HEADS))) == sorted(set(before))


def test_the_leaderboard_has_all_its_columns_once_and_is_whole_again(visit: Visit) -> None:
    page = visit("index.html")
    before, rows = page.evaluate(HEADS), page.locator("#leaderboard-table tbody tr").count()
    to_paper(page)
    assert page.evaluate(HEADS) == before
    assert not page.locator("#leaderboard-table").is_visible()
    parts = page.evaluate(PARTS)
    assert len(parts) > 1 and set(parts) == {rows}
    assert page.locator("[id=leaderboard-table]").count() == 1
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(PARTS) == [] and page.locator("#leaderboard-table").is_visible()


def test_headings_over_columns_go_with_them(visit: Visit) -> None:
    page = visit("index.html")
    to_paper(page)
    spans = page.evaluate(
        """() => [...document.querySelectorAll("table.part thead")].map((head) => [...head.rows].map(
          (row) => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0)))"""
    )
    assert spans and all(len(set(rows)) == 1 for rows in spans)
