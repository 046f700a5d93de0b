"""Pairs and tables of loads as a reader uses them, in headless Chromium, opened from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sites
from sites import POOR_CONTRAST

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser

PAIR = "pairs/loads-moe-8x2-dense-active.html"
MODEL = "models/loads/moe-8x2.html"


def shown_cards(page: Page) -> list[str]:
    """The text of every card that is not hidden, also of one that is not drawn yet as it was out of sight."""
    return [card.text_content() or "" for card in page.locator(".card").all() if card.is_visible()]


def test_a_card_leads_to_the_page_of_its_pair(visit: Visit) -> None:
    page = visit("pairs-loads.html")
    card = page.locator(".card", has_text="overtake").first
    sites.follow(page, card.get_by_role("link", name="Curves and all effects"))
    assert " beside " in page.title()
    assert "overtake" in page.locator(".lead").first.inner_text()
    sites.follow(page, page.locator(".head dt a").first)
    assert "/models/loads/" in page.url


def test_a_phone_shows_a_verdict_beside_the_pair(visit: Visit) -> None:
    page = visit("pairs-loads.html", viewport={"width": 390, "height": 844})
    cell = page.locator("#pairs-table tbody tr").first.locator("td.numeric").first
    box, at = page.locator("#verdicts .box").bounding_box(), cell.bounding_box()
    assert box is not None and at is not None and at["x"] + at["width"] <= box["x"] + box["width"]
    assert page.locator("#pairs-table thead th[data-key=matching]").count() == 0


def test_the_table_of_verdicts_sorts_and_leads_to_the_pairs(visit: Visit) -> None:
    page = visit("pairs-loads.html")
    cells = page.locator("#pairs-table tbody td:nth-child(7)")
    page.locator("#pairs-table thead th[data-key=memory]").click()
    page.wait_for_selector("#pairs-table thead th[data-key=memory][aria-sort]")
    orders = [float(one.get_attribute("data-order") or "nan") for one in cells.all()]
    assert orders == sorted(orders) and len(set(orders)) > 1
    assert "sort=" in page.url
    sites.follow(page, page.locator("#pairs-table tbody th a").first)
    assert "/pairs/" in page.url


def test_search_and_facets_choose_rows_and_cards_and_the_address_keeps_them(visit: Visit) -> None:
    page = visit("pairs-loads.html")
    everything = len(shown_cards(page))
    sites.search(page, "moe-fine")
    assert all("moe-fine" in text for text in shown_cards(page))
    assert page.locator("#pairs-tools .count").inner_text() == f"{len(shown_cards(page))} of {everything} pairs"
    page.locator("summary", has_text="Matching").click()
    page.get_by_label("Total parameters").check()
    (card,) = shown_cards(page)
    assert "moe-fine" in card and "dense-total" in card
    address = page.url
    assert "q=moe-fine" in address and "matching=iso-total" in address
    again = visit(f"pairs-loads.html{address[address.index('#'):]}")
    assert len(shown_cards(again)) == 1
    again.get_by_role("button", name="Reset").click()
    assert len(shown_cards(again)) == everything


def test_nothing_found_says_what_to_loosen(visit: Visit) -> None:
    page = visit("pairs-loads.html")
    sites.search(page, "nobody")
    assert "No pair matches." in page.locator("#pairs-table").inner_text()
    assert page.locator(".loosen").is_visible() and not shown_cards(page)


def test_verdicts_and_cards_are_there_without_script(visit: Visit) -> None:
    page = visit("pairs-loads.html", java_script_enabled=False)
    rows = page.locator("#pairs-table tbody tr")
    assert rows.count() == page.locator(".card:visible").count() == 6
    assert not page.locator("#pairs-tools").is_visible()
    assert {mark.strip() for mark in page.locator("#pairs-table .unseen").all_text_contents()} >= {"better", "worse"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_verdicts_can_be_read_on_a_phone(visit: Visit, scheme: str) -> None:
    page = visit("pairs-loads.html", viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(POOR_CONTRAST) == []


def test_what_each_answered_opens_from_the_keyboard(visit: Visit) -> None:
    page = visit("pairs/moe-8x2-dense-active.html", viewport={"width": 360, "height": 740})
    first = page.locator("#items details").first
    assert not first.locator("table").first.is_visible()
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    table = first.locator("table").first
    assert table.is_visible()
    texts = [cell.inner_text() for cell in table.locator("tbody tr").first.locator("td").all()]
    assert texts[0] == texts[1] != texts[2]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_differences_by_task_are_drawn_around_equality(visit: Visit) -> None:
    page = visit("pairs/moe-8x2-dense-active.html")
    page.wait_for_selector("[data-figure=figure-tasks] .scatterlayer .point", state="attached")
    figure = page.locator("[data-figure=figure-tasks]")
    assert figure.locator(".point").count() == 3
    assert figure.locator(".shapelayer path").count() == 1


def test_every_chart_of_a_pair_is_drawn_with_the_crossover_on_those_over_load(visit: Visit) -> None:
    page = visit(PAIR)
    charts = page.locator("[data-figure]")
    sites.until(page, "document.querySelectorAll('[data-figure] .scatterlayer .trace').length >= 9")
    assert charts.count() == 5
    shapes = [charts.nth(index).locator(".shapelayer path").count() for index in range(5)]
    assert shapes == [2, 3, 0, 0, 0]
    band = page.locator("[data-figure='figure-0-throughput'] .shapelayer path").first
    box = band.bounding_box()
    assert box and 2 < box["width"] < 200 and box["height"] > 50


def test_a_theme_changes_the_colours_of_the_band(visit: Visit) -> None:
    page = visit(PAIR, color_scheme="light")
    fill = """getComputedStyle(document.querySelector("[data-figure] .shapelayer path")).fill"""
    page.wait_for_selector(".shapelayer path", state="attached")
    before = page.evaluate(fill)
    page.get_by_role("button", name="Dark theme").click()
    sites.until(page, f"({fill}) !== '{before}'")
    assert page.evaluate(fill) != before


def test_all_percentiles_open_from_the_keyboard(visit: Visit) -> None:
    page = visit(MODEL, viewport={"width": 360, "height": 740})
    table = page.get_by_role("group", name="All percentiles: Closed loops")
    assert not table.is_visible()
    page.locator("details.more > summary").first.focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    assert table.locator("th[scope=rowgroup]").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_marks_of_rows_explain_themselves(visit: Visit) -> None:
    page = visit("models/loads/dense-total.html")
    page.get_by_role("button", name="past saturation").focus()
    assert "rose by less than 5%" in page.locator("#tip").inner_text()
    page = visit("models/loads/imported-moe.html")
    page.locator("#serving th .mark").first.focus()
    assert "bench.json" in page.locator("#tip").inner_text()


def test_further_columns_of_speed_are_hidden_until_they_are_asked_for(visit: Visit) -> None:
    page = visit("suite-loads.html")
    head = page.locator('#leaderboard-table th[data-label="Variation"]')
    assert head.count() == 0
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection").get_by_text("Variation", exact=True).click()
    assert head.is_visible()
