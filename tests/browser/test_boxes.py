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


PHONE = {"width": 390, "height": 844}
FROM_THE_START = """(box) => { const { left, right } = box.getBoundingClientRect();
  return [...box.querySelectorAll("tbody tr:has(td)")].filter((row) => {
    const [name, number] = [row.cells[0], row.cells[1]].map((one) => one.getBoundingClientRect());
    return name.left < left - 1 || number.right > right + 1; }).map((row) => row.textContent); }"""
AT_THE_END = """(box) => { box.scrollLeft = box.scrollWidth; const { left, right } = box.getBoundingClientRect();
  return [...box.querySelectorAll("tbody th")].map((head) => head.querySelector("span") || head).filter((name) => {
    const at = name.getBoundingClientRect();
    return at.left < left - 1 || at.right > right + 1; }).map((name) => name.textContent); }"""


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


@pytest.mark.parametrize(("path", "what"), [
    ("pairs/loads-moe-8x2-dense-active.html", "All effects"),
    ("models/loads/moe-8x2.html", "All percentiles: Closed loops"),
])
def test_on_a_phone_rows_in_blocks_keep_their_names_and_begin_with_a_number(
    visit: Visit, path: str, what: str
) -> None:
    page = visit(path, viewport=PHONE)
    page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
    box = page.get_by_role("group", name=what)
    assert box.evaluate("(box) => box.scrollWidth > box.clientWidth")
    assert box.evaluate(FROM_THE_START) == []
    assert box.evaluate(AT_THE_END) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_title_of_a_block_is_the_head_of_its_rows(visit: Visit) -> None:
    page = visit("pairs/loads-moe-8x2-dense-active.html")
    bodies = page.locator("#effects tbody")
    assert bodies.count() > 3
    for body in bodies.all():
        first, *rows = body.locator("tr").all()
        (title,) = first.locator("> *").all()
        assert title.get_attribute("scope") == "rowgroup" and title.inner_text()
        assert {row.locator("> *").first.get_attribute("scope") for row in rows} == {"row"}
        columns = {row.locator("> *").count() for row in rows}
        assert columns == {int(title.get_attribute("colspan") or 1)} == {page.locator("#effects thead th").count()}
