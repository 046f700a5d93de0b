"""A model's nights and a suite's runs as a reader uses them, in headless Chromium, opened from disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import builders
import nights
import pytest
import sites
from sites import POOR_CONTRAST

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from sites import Visit

pytestmark = pytest.mark.browser

MODEL = "models/small/moe-8x2.html"


@pytest.fixture(scope="module")
def nightly(site: Path) -> str:
    """The address of a site of nine nights, in a folder below the one that pages may ask."""
    folder = site / "nightly"
    records = nights.nightly_records(9, repeats=2)
    records.append(builders.failed_record(
        model="dense-active", scenario=builders.serving_scenario(8), error=sites.HOSTILE, message=sites.HOSTILE,
        minutes=20_000.0, run_id="night-009", environment=nights.environment(9, driver=sites.HOSTILE),
    ))
    store = sites.store_of(site.parent / "nightly-results", records)
    return sites.render(store, folder).parent.as_uri()


def chart(page: Page) -> Locator:
    return page.locator("[data-history]")


def drawn(page: Page) -> list[float | None]:
    """The values that plotly shows."""
    found: list[float | None] = chart(page).evaluate("(box) => box.data[0].y")
    return found


def choose(page: Page, figure: str) -> None:
    page.locator("#history-figure").select_option(figure)


def test_the_leading_figure_is_drawn_with_changes_and_failures(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    values = drawn(page)
    assert len(values) == 9
    expected = [nights.rate("moe-8x2", 0, repeat) for repeat in range(2)]
    assert values[0] == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert chart(page).evaluate("(box) => box.layout.annotations.map((one) => one.text)") == ["vllm 0.33.0"]
    words = page.locator("#history-words").inner_text()
    assert words.startswith("Output tokens/s at 8 concurrent requests, 8 of 9 nights: from")
    assert "1 night tried and measured nothing." in words
    margins = chart(page).evaluate("(box) => box.data[0].error_y.array")
    assert [margin is None for margin in margins] == [night == nights.FAILURE for night in range(9)]


def test_another_figure_is_kept_in_the_address(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    choose(page, "resident_peak_bytes")
    sites.until(page, "document.querySelector('[data-history]').data[0].y[1] === 901")
    assert page.url.endswith("#?history=resident_peak_bytes")
    again = visit(page.url)
    assert again.locator("#history-figure").input_value() == "resident_peak_bytes"
    assert drawn(again) == [float(900 + night) for night in range(9)]
    choose(again, "output_tokens_per_s.chat-concurrency-8")
    assert "history" not in again.url


def test_an_unknown_figure_in_the_address_is_passed_over(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}#?history=nonsense&load=c1&n=.")
    assert len(drawn(page)) == 9
    assert "?" not in page.url and "history=nonsense" in page.get_by_role("status").first.inner_text()


def test_back_undoes_the_choice_of_a_figure(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    first, values = page.locator("#history-figure").input_value(), drawn(page)
    choose(page, "resident_peak_bytes")
    page.go_back()
    sites.until(page, "document.querySelector('[data-history]').data[0].y[1] !== 901")
    assert (page.locator("#history-figure").input_value(), drawn(page)) == (first, values)
    page.go_forward()
    sites.until(page, "document.querySelector('[data-history]').data[0].y[1] === 901")


def test_all_values_are_there_as_a_table(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    page.get_by_text("All values of this figure").click()
    rows = page.locator("#history-values tbody tr")
    rows.nth(8).wait_for()
    assert rows.count() == 9
    assert rows.first.inner_text().startswith("2026-01-13 08:01")
    assert "\u00b1" in rows.first.inner_text()
    failed = rows.nth(8 - nights.FAILURE).inner_text()
    assert "failed" in failed and "engine: CUDA error" in failed
    assert "vllm 0.32.0 \u2192 0.33.0" in rows.nth(8 - nights.UPGRADE).inner_text()
    choose(page, "score.facts")
    sites.until(page, "document.querySelector('#history-values thead').textContent.includes('%')")
    assert rows.nth(8 - nights.FAILURE).locator("td").first.inner_text() != "failed"


def test_a_point_opens_the_records_of_its_night(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    chart(page).locator(".scatterlayer .trace").first.locator("path.point").nth(2).click(force=True)
    drawer = page.get_by_role("dialog", name="Output tokens/s at 8 concurrent requests, 2026-01-07")
    drawer.locator("article").wait_for()
    text = drawer.inner_text()
    assert "95 % interval" in text and "night-002" in text and "vllm 0.32.0" in text and f"{2:040x}" in text
    records = drawer.locator(".records li").all_inner_texts()
    assert len(records) == 2 and all(one.startswith("results/small/") and one.endswith(".json") for one in records)
    assert "moebench run" in text
    again = visit(page.url)
    again.wait_for_selector("dialog.drawer[open] article")
    assert "night-002" in again.locator("dialog.drawer").inner_text()


def test_latest_values_of_all_figures_are_there_by_place(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    page.locator("#history-latest > summary").click()
    places = page.locator("#history-latest details > summary")
    places.first.wait_for()
    assert places.count() == 4 and places.nth(2).inner_text() == "Scores: 1 figure"
    first = page.locator("#history-latest details[open] tbody tr").first
    shown = page.locator("#history .box.fitted tbody tr").first
    assert first.locator("td").nth(3).inner_text() == shown.locator("td").nth(3).inner_text()
    button = first.locator("button.number").first
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.drawer[open] article")
    assert "night-008" in page.locator("dialog.drawer").inner_text()
    assert "results/small/" in page.locator("dialog.drawer .records a").first.inner_text()


def test_a_failed_night_says_why(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    page.get_by_text("All values of this figure").click()
    page.locator("#history-values button.number", has_text="failed").click()
    page.wait_for_selector("dialog.drawer[open] article")
    assert "Not measured: engine: CUDA error" in page.locator("dialog.drawer").inner_text()


def test_a_few_nights_have_dates_under_them_and_no_hours(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    ticks = chart(page).locator(".xaxislayer-above text").all_text_contents()
    assert 2 <= len(ticks) <= 10 and not any(":" in tick for tick in ticks)


def test_on_a_phone_the_newest_night_has_its_date(visit: Visit, site: Path) -> None:
    store = sites.store_of(site.parent / "few-results", nights.nightly_records(4, repeats=2))
    address = sites.render(store, site / "few").parent.as_uri()
    page = visit(f"{address}/{MODEL}", viewport={"width": 390, "height": 844})
    labels = chart(page).locator(".xtick text")
    shown = [one.text_content() for one in labels.all() if one.is_visible() and one.text_content()]
    assert shown[-1] == "2026-01-08" and len(shown) > 1
    right, edge = (one.bounding_box() for one in (labels.last, chart(page)))
    assert right and edge and right["x"] + right["width"] <= edge["x"] + edge["width"]
    # level, as they meet none beside them
    boxes = [one.bounding_box() for one in labels.all() if one.text_content()]
    assert all(box and box["height"] < 25 for box in boxes)


def test_hostile_words_are_shown_as_text(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/models/small/dense-active.html")
    page.get_by_text("All values of this figure").click()
    assert "<script>alert(1)</script>" in page.locator("#history-values tbody tr").first.inner_text()
    marker = chart(page).locator(".scatterlayer .trace").nth(1).locator("path.point").last
    marker.hover(force=True)
    page.wait_for_selector(".hoverlayer .hovertext")
    assert "alert(1)" in chart(page).locator(".hoverlayer").inner_html()
    assert page.locator(".hoverlayer img, .hoverlayer script, .annotation img").count() == 0


def test_dark_is_readable_and_a_phone_does_not_overflow(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}", color_scheme="dark")
    assert page.evaluate(POOR_CONTRAST) == []
    for name in (MODEL, "runs.html"):
        phone = visit(f"{nightly}/{name}", viewport={"width": 360, "height": 800})
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360


class TestRuns:
    def test_rows_sort_and_the_address_keeps_it(self, visit: Visit, nightly: str) -> None:
        page = visit(f"{nightly}/runs.html")
        first = page.locator("table.runs tbody tr th").first
        assert first.inner_text().startswith("2026-01-19")
        page.locator("th[data-key=started]").click()
        page.wait_for_selector("th[data-key=started].dt-ordering-asc")
        assert first.inner_text().startswith("2026-01-05")
        assert "sort=started" in page.url
        again = visit(page.url)
        assert again.locator("table.runs tbody tr th").first.inner_text().startswith("2026-01-05")

    def test_numbers_sort_as_numbers(self, visit: Visit, nightly: str) -> None:
        page = visit(f"{nightly}/runs.html")
        page.locator("th[data-key=measured]").click()
        page.wait_for_selector("th[data-key=measured].dt-ordering-asc")
        orders = page.locator("table.runs tbody tr td:nth-child(4)").evaluate_all(
            "(cells) => cells.map((cell) => Number(cell.dataset.order))"
        )
        assert orders == sorted(orders)
        assert len(set(orders)) > 1

    def test_search_finds_versions_and_reasons(self, visit: Visit, nightly: str) -> None:
        page = visit(f"{nightly}/runs.html")
        sites.search(page, "CUDA error", "Search runs")
        assert page.locator("#runs-tools .count").inner_text() == "1 of 10 runs"
        sites.search(page, "0.32.0", "Search runs")
        assert page.locator("#runs-tools .count").inner_text() == f"{nights.UPGRADE} of 10 runs"
        assert "q=0.32.0" in page.url

    def test_a_failure_opens(self, visit: Visit, nightly: str) -> None:
        page = visit(f"{nightly}/runs.html")
        page.locator("table.runs details", has_text="CUDA error").locator("summary").click()
        assert page.get_by_text("2 cells failed: engine: CUDA error").or_(
            page.get_by_text("1 cell failed: engine: CUDA error")
        ).is_visible()
        assert page.evaluate(POOR_CONTRAST) == []


def test_ticks_stand_at_the_nights(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    ticks = chart(page).evaluate("(box) => box._fullLayout.xaxis._vals.map((one) => one.x)")
    nights_at = chart(page).evaluate("(box) => box.data[0].x.map((one) => box._fullLayout.xaxis.d2c(one))")
    assert ticks == nights_at
    shown = [one for one in page.locator("[data-history] .xtick").all_text_contents() if one]
    assert shown[0] == "2026-01-05" and len(shown) > 3


def test_scores_have_their_intervals_wherever_they_stand(visit: Visit, nightly: str) -> None:
    page = visit(f"{nightly}/{MODEL}")
    choose(page, page.locator("#history-figure option", has_text="Score on").first.get_attribute("value") or "")
    texts, above, below = chart(page).evaluate("""(box) => [box.data[0].text, box.data[0].error_y.array,
        box.data[0].error_y.arrayminus]""")
    assert len(texts) == 9 and all(re.search("\u00b1|\u2212", text) for text in texts)
    assert all(low > 0 and high > 0 for low, high in zip(below, above, strict=True))
    page.get_by_text("All values of this figure").click()
    sites.becomes(page, page.locator("#history-values .margin").count, 9)
    page.locator("#history-values button.number").first.click()
    page.wait_for_selector("dialog.drawer[open] article")
    assert "95 % interval" in page.locator("dialog.drawer").inner_text()
