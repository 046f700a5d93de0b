"""Pairs and tables of loads as a reader uses them, in headless Chromium, opened from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sites import Visit

pytestmark = pytest.mark.browser

PAIR = "pairs/loads-moe-8x2-dense-active.html"
MODEL = "models/loads/moe-8x2.html"


def test_a_card_leads_to_the_page_of_its_pair(visit: Visit) -> None:
    page = visit("pairs-loads.html")
    card = page.locator(".card", has_text="overtakes").first
    card.get_by_role("link", name="Curves and all effects").click()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert " beside " in page.title()
    assert page.locator(".lead.crossover").count() == 1
    page.locator(".head dt a").first.click()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert "/models/loads/" in page.url


def test_every_chart_of_a_pair_is_drawn_with_the_crossover_on_those_over_load(visit: Visit) -> None:
    page = visit(PAIR)
    charts = page.locator("[data-figure]")
    page.wait_for_function("document.querySelectorAll('[data-figure] .scatterlayer .trace').length >= 9")
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
    page.wait_for_function(f"({fill}) !== '{before}'")
    assert page.evaluate(fill) != before


def test_all_percentiles_open_from_the_keyboard(visit: Visit) -> None:
    page = visit(MODEL, viewport={"width": 360, "height": 740})
    table = page.get_by_role("region", name="All percentiles: Closed loops")
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
