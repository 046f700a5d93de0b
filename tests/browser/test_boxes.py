"""Tables wider than their place: an edge that fades where they go on, and added columns that come in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser

BOX = "#leaderboard .box"
INSIDE = """(head) => { const box = head.closest(".box").getBoundingClientRect(), at = head.getBoundingClientRect();
  return at.left >= box.left - 1 && at.right <= box.right + 1; }"""


def fades(page: Page) -> bool:
    return bool(page.locator(BOX).evaluate("(box) => getComputedStyle(box).maskImage !== 'none'"))


def test_the_edge_fades_until_the_end_is_reached(visit: Visit) -> None:
    page = visit("index.html", viewport={"width": 800, "height": 700})
    page.wait_for_selector(f"{BOX}.goes-on")
    assert fades(page)
    page.locator(BOX).evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    page.wait_for_selector(f"{BOX}:not(.goes-on)")
    assert not fades(page)


def test_a_table_that_fits_has_no_faded_edge(visit: Visit) -> None:
    page = visit("pairs-loads.html", viewport={"width": 1900, "height": 900})
    page.wait_for_timeout(100)
    assert page.locator("#verdicts .box.goes-on").count() == 0


def test_columns_that_are_added_come_in_sight(visit: Visit) -> None:
    page = visit("index.html", viewport={"width": 1024, "height": 768})
    page.get_by_role("button", name="Tasks").click()
    heads = page.locator("#leaderboard-table thead th[data-key^=task-]")
    assert heads.count() > 1
    assert all(head.evaluate(INSIDE) for head in heads.all())
    page.get_by_role("button", name="Tasks").click()
    page.locator(BOX).evaluate("(box) => { box.scrollLeft = 0; }")
    again = visit(f"index.html{page.url[page.url.index('#'):] if '#' in page.url else ''}")
    assert again.locator(BOX).evaluate("(box) => box.scrollLeft") == 0
