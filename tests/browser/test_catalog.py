"""The catalog as a reader uses it, in headless Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sites

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser


def names(page: Page) -> list[str]:
    return page.locator("#catalog-table tbody .name").all_inner_texts()


def order(page: Page, title: str) -> list[str]:
    """The sort values of a column, by its title, in the order of the shown rows."""
    found: list[str] = page.evaluate(
        """(title) => {
          const heads = [...document.querySelectorAll("#catalog-table thead tr:last-child th")];
          const index = heads.findIndex((head) => head.dataset.label === title);
          const rows = [...document.querySelectorAll("#catalog-table tbody tr")];
          return rows.map((row) => row.children[index].dataset.order);
        }""",
        title,
    )
    return found


def sort(page: Page, title: str, direction: str) -> None:
    head = f'#catalog-table th[data-label="{title}"]'
    page.locator(f"{head} .dt-column-title").first.click()
    page.wait_for_selector(f'{head}[aria-sort="{direction}"]')


def test_the_catalog_is_reached_from_every_page(visit: Visit) -> None:
    page = visit("models/small/moe-8x2.html")
    sites.follow(page, page.get_by_role("link", name="Catalog", exact=True))
    assert page.locator("h1").inner_text() == "Catalog"
    assert page.locator('nav a[aria-current="page"]').inner_text() == "Catalog"


def test_models_sort_by_number_with_uncounted_ones_last(visit: Visit) -> None:
    page = visit("catalog.html")
    assert names(page)[0] == "switch-c-2048"
    sort(page, "Weights", "ascending")
    values = order(page, "Weights")
    known = [float(value) for value in values if value]
    assert known == sorted(known)
    assert len(known) < len(values) and not any(values[len(known) :])
    sort(page, "Share", "ascending")
    assert names(page)[0] == "switch-c-2048"


def test_search_and_kinds_narrow_the_table(visit: Visit) -> None:
    page = visit("catalog.html")
    everything = len(names(page))
    page.get_by_role("button", name="Dense", exact=True).click()
    assert 20 < len(names(page)) < everything
    assert "mixtral-8x7b" not in names(page)
    page.get_by_role("button", name="All", exact=True).click()
    sites.search(page, "mixtral")
    assert sorted(names(page)) == ["mixtral-8x22b", "mixtral-8x7b"]
    assert page.locator("#catalog-tools .count").inner_text() == f"2 of {everything} models"


def test_a_difference_explains_itself(visit: Visit) -> None:
    page = visit("catalog.html")
    mark = page.locator("#model-gpt-oss-20b .mark", has_text="why").first
    mark.focus()
    assert "input table" in page.locator("#tip").inner_text()


def test_the_axes_can_be_chosen_and_a_point_leads_to_its_row(visit: Visit) -> None:
    page = visit("catalog.html")
    page.wait_for_selector(".chart .points path", state="attached")
    page.get_by_label("Vertical").select_option("kv")
    sites.until(page, "document.querySelector('.chart .ytitle').textContent.startsWith('KV cache')")
    drawn = page.evaluate("document.querySelector('.chart').data.flatMap((trace) => trace.customdata || [])")
    assert "#model-deepseek-v3" in drawn
    assert page.locator("#model-deepseek-v3").count() == 1


def test_a_number_opens_what_it_is_counted_from(visit: Visit) -> None:
    page = visit("catalog.html")
    heads = page.locator("#catalog-table thead tr:last-child th")
    index = heads.evaluate_all("(heads) => heads.findIndex((head) => head.dataset.evidence === 'active')")
    page.locator("#model-mixtral-8x7b td").nth(index - 1).click()
    page.wait_for_selector("dialog.drawer[open] article")
    drawer = page.get_by_role("dialog", name="Active parameters")
    told = drawer.inner_text()
    assert "12.88\xa0B" in told and "12\u202f879\u202f925\u202f248" in told
    assert "Routed experts, used by a token" in told and "num_local_experts" in told
    assert "moebench describe mixtral-8x7b" in told and "suites/models/mixtral-8x7b.yaml" in told
    assert "Environment" not in told
    address = page.url
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.drawer", state="hidden")
    sites.until(page, "!location.href.includes('n=')")
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("dialog.drawer[open] article")
    assert "12.88\xa0B" in page.locator("dialog.drawer").inner_text()


def test_a_published_figure_opens_its_source(visit: Visit) -> None:
    page = visit("catalog.html#?n=_catalog.mixtral-8x7b.published_total")
    page.wait_for_selector("dialog.drawer[open] article")
    told = page.locator("dialog.drawer").inner_text()
    assert "As it was published" in told and "source" in told and "Counted from" not in told


def test_numbers_are_opened_from_the_keyboard(visit: Visit) -> None:
    page = visit("catalog.html")
    page.wait_for_selector("#catalog-table tbody [tabindex='0']")
    page.locator("#catalog-table tbody [tabindex='0']").first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("getComputedStyle(document.activeElement).textDecorationLine") == "underline"
    cell = page.evaluate("document.activeElement.dataset.order")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.drawer[open] article")
    assert page.locator("dialog.drawer h2").inner_text() == "Active parameters"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.drawer", state="hidden")
    assert page.evaluate("document.activeElement.dataset.order") == cell


def test_what_is_no_number_does_not_open(visit: Visit) -> None:
    page = visit("catalog.html")
    heads = page.locator("#catalog-table thead tr:last-child th")
    index = heads.evaluate_all("(heads) => heads.findIndex((head) => head.dataset.label === 'Licence')")
    cell = page.locator("#model-mixtral-8x7b td").nth(index - 1)
    assert cell.evaluate("(one) => getComputedStyle(one).cursor") != "pointer"
    cell.click()
    assert page.locator("dialog.drawer[open]").count() == 0


def test_the_heading_of_a_number_leads_to_its_row(visit: Visit, report: Path) -> None:
    for path in ("catalog.html", f"{report.as_uri()}#/catalog.html"):
        page = visit(path)
        page.locator("#deviations button.number").first.click()
        page.wait_for_selector("dialog.drawer[open] article")
        page.locator("dialog.drawer h3 a").click()
        page.wait_for_selector("dialog.drawer", state="hidden")
        page.wait_for_timeout(200)
        assert "model-" in page.url and "n=" not in page.url
        assert not page.evaluate("document.activeElement.matches('#deviations button')")
