"""The site as a reader uses it, in headless Chromium, opened from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sites

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from sites import Visit

pytestmark = pytest.mark.browser


def _column(page: Page, title: str) -> list[str]:
    """The sort values of a column, in the order of the shown rows."""
    values: list[str] = page.evaluate(
        """(title) => {
          const heads = [...document.querySelectorAll("#leaderboard-table thead tr:last-child th")];
          const index = heads.findIndex((head) => head.dataset.label === title);
          const rows = [...document.querySelectorAll("#leaderboard-table tbody tr")];
          return rows.map((row) => row.children[index].dataset.order);
        }""",
        title,
    )
    return values


def _names(page: Page) -> list[str]:
    return page.locator("#leaderboard-table tbody .name").all_inner_texts()


def _sort(page: Page, title: str, direction: str) -> None:
    head = f'#leaderboard-table th[data-label="{title}"]'
    page.locator(f"{head} .dt-column-title").click()
    page.wait_for_selector(f'{head}[aria-sort="{direction}"]')


def _is_sorted(values: list[str], *, falling: bool) -> bool:
    """Numbers in order, cells without one at the end."""
    known = [float(value) for value in values if value]
    return values[: len(known)] == [value for value in values if value] and known == sorted(known, reverse=falling)


def test_the_model_stays_in_sight_while_the_table_scrolls(visit: Visit) -> None:
    page = visit(viewport={"width": 1000, "height": 800})
    box = page.locator("#leaderboard .box")
    box.evaluate("box => { box.scrollLeft = box.scrollWidth }")
    page.wait_for_timeout(100)
    ends = [
        page.locator(f"#leaderboard-table {place}").first.bounding_box()
        for place in ("tbody .name", 'th[data-label="Memory peak"]')
    ]
    assert all(end and end["x"] >= 0 and end["x"] + end["width"] <= 1000 for end in ends)


def test_a_numeric_column_sorts_by_value_with_missing_ones_last(visit: Visit) -> None:
    page = visit()
    _sort(page, "Output", "descending")
    falling = _column(page, "Output")
    assert _is_sorted(falling, falling=True)
    assert falling[-1] == ""
    assert _names(page)[0] == "dummy-moe"
    _sort(page, "Output", "ascending")
    rising = _column(page, "Output")
    assert _is_sorted(rising, falling=False)
    assert rising[-1] == ""
    _sort(page, "TTFT p50", "ascending")
    assert _is_sorted(_column(page, "TTFT p50"), falling=False)


def test_sorting_works_from_the_keyboard(visit: Visit) -> None:
    page = visit()
    control = page.locator('#leaderboard-table th[data-label="Total"] .dt-column-order')
    control.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector('#leaderboard-table th[data-label="Total"][aria-sort="ascending"]')
    assert _is_sorted(_column(page, "Total"), falling=False)
    assert (control.get_attribute("aria-label") or "").startswith("Total")


def test_filters_by_kind(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Dense", exact=True).click()
    assert sorted(_names(page)) == ["dense-active", "dense-total"]
    assert page.locator("#leaderboard-tools .count").inner_text() == "2 of 8 models"
    page.get_by_role("button", name="Sparse", exact=True).click()
    assert "moe-8x2" in _names(page)
    assert "dense-total" not in _names(page)
    page.get_by_role("button", name="All", exact=True).click()
    assert len(_names(page)) == 8


def test_searches_names_and_kinds(visit: Visit) -> None:
    page = visit()
    sites.search(page, "top-3")
    assert _names(page) == ["moe-fine"]
    sites.search(page, "nothing like this")
    assert page.get_by_text("No model matches.").is_visible()
    sites.search(page, "")
    assert len(_names(page)) == 8


def test_columns_can_be_hidden_and_shown(visit: Visit) -> None:
    page = visit()
    head = page.locator('#leaderboard-table th[data-label="TTFT p50"]')
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection").get_by_text("TTFT p50", exact=True).click()
    assert head.count() == 0
    page.locator(".dt-button-collection").get_by_text("TTFT p50", exact=True).click()
    assert head.is_visible()


def _near_the_chart(page: Page) -> Locator:
    """Scrolls to the chart, which is not drawn before; returns the title of its horizontal axis."""
    title = page.locator("#pareto .xtitle")
    page.locator("#pareto").scroll_into_view_if_needed()
    title.wait_for(state="attached")
    return title


def test_the_theme_switches_and_is_remembered(visit: Visit) -> None:
    page = visit(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    label = """document.querySelector("#pareto .xtitle").style.fill"""
    _near_the_chart(page)
    before, label_before = page.evaluate(ground), page.evaluate(label)
    page.get_by_role("button", name="Dark theme").click()
    sites.until(page, f"({label}) !== {json.dumps(label_before)}")
    assert page.evaluate(ground) != before
    sites.follow(page, page.locator("#leaderboard-table .name").first)
    assert page.evaluate(ground) != before
    assert page.get_by_role("button", name="Light theme").is_visible()


@pytest.mark.parametrize("path", ["index.html", "models/small/broken.html"])
def test_a_mark_explains_itself(visit: Visit, path: str) -> None:
    page = visit(path, reduced_motion="reduce")
    tip = page.locator("#tip")
    assert not tip.is_visible()
    place = page.locator("#leaderboard-table tr", has_text="broken") if path == "index.html" else page.locator("main")
    mark = place.locator(".mark.failed:is([data-why], [data-tip])").first
    if path == "index.html":
        mark.scroll_into_view_if_needed()
        page.wait_for_timeout(100)  # what a page that still scrolls shows is hidden again
        mark.hover()
    else:
        mark.focus()
    tip.wait_for()
    assert "needed more than there is" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_the_scatter_plot_waits_for_a_reader_and_its_axes_can_be_chosen(visit: Visit) -> None:
    page = visit(viewport={"width": 1000, "height": 500})
    assert page.evaluate("window.Plotly") is None
    assert page.locator("#pareto-missing").inner_text().startswith("On the frontier")
    foot = page.locator("footer").evaluate("one => one.offsetTop")
    title = _near_the_chart(page)
    assert "FLOPs" in (title.text_content() or "")
    assert page.locator("footer").evaluate("one => one.offsetTop") == foot, "the chart moves nothing"
    page.get_by_label("Horizontal").select_option("output_tokens_per_s")
    sites.until(page, """document.querySelector("#pareto .xtitle").textContent.includes("Output tokens/s")""")
    assert page.locator("#pareto .scatterlayer .trace").count() >= 3


def test_one_axis_twice_is_no_error(visit: Visit) -> None:
    page = visit()
    _near_the_chart(page)
    page.get_by_label("Horizontal").select_option("mean_score")
    sites.until(page, """document.querySelector("#pareto .xtitle").textContent.includes("Mean score")""")


def test_a_model_page_leads_to_its_records(visit: Visit, site: Path) -> None:
    page = visit()
    sites.follow(page, page.get_by_role("link", name="moe-8x2", exact=True).first)
    assert page.locator("h1").inner_text() == "moe-8x2"
    assert page.locator(".chart .main-svg").count() >= 2
    page.locator("#scores").get_by_role("link", name="r0").first.click()
    page.wait_for_load_state()
    assert json.loads(page.locator("pre").inner_text())["schema_version"] == 3
    assert page.url.startswith((site / "records").as_uri())


def test_recipes_open_to_their_trainings(visit: Visit) -> None:
    page = visit("suite-seeds.html")
    summary = page.locator("#recipes summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#recipes details[open] a").count() == 3
    assert page.locator("#recipes .chart .main-svg").count() >= 1


def test_hostile_names_are_text_in_tables_and_charts(visit: Visit) -> None:
    page = visit("suite-hostile.html")
    assert all(name.startswith("</script>") for name in _names(page))
    page.get_by_role("button", name="Columns").click()
    assert page.locator(".dt-button-collection").get_by_text("</script>").count() == 1
    page.keyboard.press("Escape")
    sites.search(page, "onerror")
    assert len(_names(page)) == 4
    assert page.locator("img").count() == 0
    sites.follow(page, page.locator("#leaderboard-table .name", has_text="</script>").first)
    assert "{{ 7*7 }}" in page.locator("h1").inner_text()
    page = visit("pairs-hostile.html")
    sites.follow(page, page.get_by_role("link", name="Curves and all effects").first)
    assert "</script>" in page.locator("h1").inner_text()
    assert page.locator("[data-figure] .main-svg").count() >= 2
    assert page.locator("img").count() == 0


def test_the_table_can_be_read_without_scripts(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator("#leaderboard-table tbody tr").count() == 8
    assert page.locator("#leaderboard-table tbody tr").first.is_visible()


def test_print_leaves_the_controls_out(visit: Visit) -> None:
    page = visit(color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("#leaderboard-tools").is_visible()
    assert page.locator("#leaderboard-table").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
