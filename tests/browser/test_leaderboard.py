"""The leaderboard's controls as a reader uses them: what is chosen, what the address keeps, what keys reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import sites

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser

TABLE = "#leaderboard-table"
FACETS = {
    "size": "Total parameters", "active": "Active parameters", "licence": "Licence", "precision": "Precision",
    "hardware": "Hardware", "engine": "Engine",
}


@pytest.fixture
def board(visit: Visit, varied: Path) -> Visit:
    """Opens the leaderboard of varied models; the first argument is the hash."""
    def opened(chosen: str = "", **options: object) -> Page:
        return visit(f"{(varied / 'index.html').as_uri()}{chosen}", **options)

    return opened


def _names(page: Page) -> list[str]:
    return page.locator(f"{TABLE} tbody .name").all_inner_texts()


def _heads(page: Page) -> list[str]:
    keys: list[str] = page.locator(f"{TABLE} thead tr:last-child th").evaluate_all(
        "heads => heads.map((head) => head.dataset.key)")
    return keys


def _count(page: Page) -> str:
    return page.locator("#leaderboard-tools .count").inner_text()


def _hash(page: Page) -> str:
    return urlsplit(page.url).fragment


def _column(page: Page, key: str) -> list[str]:
    orders: list[str] = page.locator(TABLE).evaluate(
        """(table, key) => {
          const place = [...table.tHead.rows].pop().querySelector(`[data-key="${key}"]`).cellIndex;
          return [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.order);
        }""", key)
    return orders


def _open(page: Page, facet: str) -> None:
    page.locator(f'[data-facet="{facet}"] summary').click()


def _snapshot(page: Page) -> tuple[list[str], list[str], str, str]:
    pressed = page.locator("#leaderboard-tools [aria-pressed=true]").all_inner_texts()
    return _names(page), _heads(page), page.get_by_role("searchbox").input_value(), " ".join(pressed)


# What is chosen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("facet", FACETS)
def test_every_value_of_a_facet_shows_its_models_and_no_others(board: Visit, facet: str) -> None:
    page = board()
    _open(page, facet)
    choices = page.locator(f'[data-facet="{facet}"] label')
    assert page.locator(f'[data-facet="{facet}"] legend').text_content() == FACETS[facet]
    seen: list[str] = []
    for choice in choices.all():
        number = choice.locator(".n").inner_text()
        choice.locator("input").check()
        assert _count(page) == f"{number} of 24 models"
        assert len(_names(page)) == int(number)
        seen += _names(page)
        choice.locator("input").uncheck()
    assert sorted(seen) == sorted(_names(page)) and len(seen) == 24


def test_values_of_one_facet_add_up_and_facets_narrow_each_other(board: Visit) -> None:
    page = board()
    _open(page, "licence")
    page.get_by_label("MIT").check()
    only = set(_names(page))
    page.get_by_label("Apache-2.0").check()
    both = set(_names(page))
    assert only < both and len(both) == 16
    _open(page, "precision")
    page.get_by_label("float16", exact=False).last.check()
    assert set(_names(page)) < both
    assert not page.locator('[data-facet="licence"]').evaluate("menu => menu.open")


def test_presets_hold_all_at_once(board: Visit) -> None:
    page = board()
    fits = page.get_by_role("button", name="Fits one 80 GB GPU")
    fits.click()
    assert _count(page) == f"{fits.locator('.n').inner_text()} of 24 models"
    first = set(_names(page))
    assert not any(name.startswith(("varied-00", "varied-05", "varied-10")) for name in first)
    page.get_by_role("button", name="Only ranked").click()
    assert set(_names(page)) < first
    assert "80 GB together" in (fits.get_attribute("title") or "")
    fits.click()
    assert fits.get_attribute("aria-pressed") == "false"


def test_an_empty_table_says_what_to_loosen(board: Visit) -> None:
    page = board("#?q=moe-8x2&kind=dense&licence=mit")
    assert _names(page) == []
    assert page.get_by_text("No model matches.").is_visible()
    said = page.locator(".loosen")
    assert said.is_visible()
    assert said.get_by_role("button").all_inner_texts() == [
        "Without the search: 4", "Without Kind: 2", "Without Licence: 0",
    ]
    said.get_by_role("button", name="Without the search").click()
    assert len(_names(page)) == 4
    assert not said.is_visible()
    assert "q=" not in _hash(page)


def test_reset_takes_everything_back(board: Visit) -> None:
    page = board()
    plain = _snapshot(page)
    reset = page.get_by_role("button", name="Reset")
    assert reset.is_disabled()
    sites.search(page, "moe")
    page.get_by_role("button", name="Tasks").click()
    page.get_by_role("button", name="Only ranked").click()
    page.locator(f'{TABLE} th[data-key="weights_bytes"] .dt-column-title').click()
    assert reset.is_enabled()
    assert _snapshot(page) != plain
    reset.click()
    assert _snapshot(page) == plain
    assert _hash(page) == ""
    assert reset.is_disabled()


# Columns ---------------------------------------------------------------------------------------------------------


def test_the_picker_has_every_column_under_its_heading_and_works_from_the_keyboard(board: Visit) -> None:
    page = board()
    page.get_by_role("button", name="Columns").focus()
    page.keyboard.press("Enter")
    menu = page.locator(".dt-button-collection")
    columns = menu.locator(".buttons-columnVisibility").count()
    assert columns == page.locator(TABLE).evaluate(
        "table => window.moebenchTables.jQuery(table).DataTable().columns().count()") - 2
    assert columns > 50
    menu.locator(".buttons-columnVisibility", has_text="TTFT p99").first.focus()
    page.keyboard.press("Enter")
    assert "ttft_p99_s" in _heads(page)
    assert "ttft_p99_s" in _hash(page)
    values = _column(page, "ttft_p99_s")
    assert any(values) and len(values) == 24
    heading = menu.locator(".heading", has_text="Parameters").first
    heading.focus()
    page.keyboard.press("Enter")
    assert not {"total_parameters", "active_parameters"} & set(_heads(page))
    page.keyboard.press("Escape")
    assert not menu.is_visible()


def test_a_column_of_the_picker_sorts_by_value(board: Visit) -> None:
    page = board("#?cols=e2e_p90_s")
    assert _heads(page) == ["rank", "model", "e2e_p90_s"]
    page.locator(f'{TABLE} th[data-key="e2e_p90_s"] .dt-column-title').click()
    page.wait_for_selector(f'{TABLE} th[data-key="e2e_p90_s"][aria-sort="ascending"]')
    values = _column(page, "e2e_p90_s")
    known = [float(value) for value in values if value]
    assert known == sorted(known) and len(known) == 21
    assert values[len(known):] == [""] * 3
    assert page.locator(f"{TABLE} tbody tr").last.locator(".mark").last.inner_text() == "failed"


def test_tasks_are_behind_one_button(board: Visit) -> None:
    page = board()
    tasks = page.get_by_role("button", name="Tasks")
    assert not any(key.startswith("task-") for key in _heads(page))
    tasks.click()
    assert {"task-facts", "task-sort"} <= set(_heads(page))
    assert tasks.get_attribute("aria-pressed") == "true"
    tasks.click()
    assert not any(key.startswith("task-") for key in _heads(page))


def test_another_load_takes_the_place_of_the_first(board: Visit) -> None:
    page = board()
    before, heads, names = _column(page, "output_tokens_per_s"), _heads(page), _names(page)
    heading = page.locator(f"{TABLE} .groups th", has_text="Speed at")
    first = heading.inner_text()
    behind = page.locator(f'{TABLE} th[data-key="output_tokens_per_s"]').get_attribute("data-evidence")
    assert first.startswith("Speed at 16 concurrent requests, 32")
    page.get_by_label("Speed at").select_option(label="1 concurrent request")
    assert (_heads(page), _names(page)) == (heads, names)
    after = _column(page, "output_tokens_per_s")
    assert before.count("") == 3 and after.count("") == 0
    assert heading.inner_text() == first.replace("16 concurrent requests", "1 concurrent request")
    now = page.locator(f'{TABLE} th[data-key="output_tokens_per_s"]').get_attribute("data-evidence")
    assert now and behind and now != behind and now.split(".")[0] == behind.split(".")[0]
    fits = page.get_by_role("button", name="Fits one 80 GB GPU")
    assert "of 1 request in flight" in (fits.get_attribute("title") or "")
    page.locator(f'{TABLE} th[data-key="output_tokens_per_s"] .dt-column-title').click()
    page.wait_for_selector(f'{TABLE} th[data-key="output_tokens_per_s"][aria-sort="descending"]')
    known = [float(value) for value in _column(page, "output_tokens_per_s")]
    assert known == sorted(known, reverse=True) and sorted(known) == sorted(map(float, after))
    page.go_back()
    page.go_back()
    sites.becomes(page, lambda: _column(page, "output_tokens_per_s"), before)
    assert heading.inner_text() == first and _hash(page) == ""
    page.go_forward()
    sites.becomes(page, lambda: _column(page, "output_tokens_per_s"), after)
    again = board(f"#{_hash(page)}")
    assert again.get_by_label("Speed at").locator("option:checked").inner_text() == "1 concurrent request"
    assert _column(again, "output_tokens_per_s") == after


# The address -----------------------------------------------------------------------------------------------------


def test_an_address_brings_everything_back(board: Visit) -> None:
    page = board()
    sites.search(page, "moe")
    page.get_by_role("button", name="Sparse", exact=True).click()
    page.get_by_role("button", name="Only ranked").click()
    _open(page, "licence")
    page.get_by_label("Own & odd <licence>").check()
    page.get_by_label("MIT").check()
    _open(page, "size")
    page.locator('[data-facet="size"]').get_by_label("under 1 M").check()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Tasks").click()
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection").get_by_text("Weights", exact=True).click()
    page.keyboard.press("Escape")
    head = page.locator(f'{TABLE} th[data-key="task-sort"] .dt-column-title')
    head.click()
    page.wait_for_selector(f'{TABLE} th[data-key="task-sort"][aria-sort="descending"]')
    there = _snapshot(page)
    assert 0 < len(there[0]) < 8
    again = board(f"#{_hash(page)}")
    assert _snapshot(again) == there
    assert again.get_by_label("MIT").is_checked()
    again.reload()
    again.wait_for_selector("html[data-ready]", state="attached")
    assert _snapshot(again) == there
    again.locator(f"{TABLE} .name").first.click()
    again.wait_for_selector("h1:has-text('varied-')")
    again.go_back()
    again.wait_for_selector(f"html[data-ready] {TABLE}.dataTable")
    assert _snapshot(again) == there


def test_back_undoes_one_choice_after_the_other(board: Visit) -> None:
    page = board()
    seen = [_snapshot(page)]
    search = page.get_by_role("searchbox")
    acts: list[Callable[[], object]] = [
        lambda: search.press_sequentially("moe"),
        lambda: page.get_by_role("button", name="Only ranked").click(),
        lambda: page.get_by_role("button", name="Tasks").click(),
        lambda: page.locator(f'{TABLE} th[data-key="weights_bytes"] .dt-column-title').click(),
        lambda: page.get_by_role("button", name="Reset").click(),
    ]
    for act in acts:
        act()
        sites.becomes(page, lambda: _snapshot(page) != seen[-1], True)
        page.wait_for_timeout(50)
        seen.append(_snapshot(page))
    assert seen[-1] == seen[0]
    for before in seen[-2::-1]:
        page.go_back()
        sites.becomes(page, lambda: _snapshot(page), before)
    for after in seen[1:]:
        page.go_forward()
        sites.becomes(page, lambda: _snapshot(page), after)


def test_a_changed_address_changes_the_page(board: Visit) -> None:
    page = board()
    page.evaluate("location.hash = '#?kind=dense&sort=-output_tokens_per_s'")
    page.wait_for_selector(f'{TABLE} th[data-key="output_tokens_per_s"][aria-sort="descending"]')
    assert len(_names(page)) == 12
    known = [float(value) for value in _column(page, "output_tokens_per_s") if value]
    assert known == sorted(known, reverse=True)
    page.evaluate("location.hash = ''")
    sites.until(page, "document.querySelectorAll('#leaderboard-table tbody .name').length === 24")


@pytest.mark.parametrize("chosen", [
    "#?kind=purple&licence=none.such&preset=x&cols=nothing&sort=nothing.-nothing&colour=red",
    "#?cols=<img src=x>&sort=__proto__&kind=constructor&size=%00",
])
def test_what_an_address_names_and_nobody_knows_is_passed_over(board: Visit, chosen: str) -> None:
    page = board(chosen)
    assert _snapshot(page) == _snapshot(board())
    assert _hash(page) == ""
    assert page.get_by_role("button", name="Reset").is_disabled()


def test_what_is_not_known_leaves_the_address_and_is_said_until_the_next_choice(board: Visit) -> None:
    page = board("#?load=c128&preset=foo.ranked&columns=foo&kind=dense&cols=weights_bytes.nope&x=weights_bytes")
    assert _hash(page) == "?cols=weights_bytes&kind=dense&preset=ranked&x=weights_bytes"
    assert page.evaluate("history.length") == 2  # the empty page and this one
    said = page.locator(".loosen")
    assert said.is_visible() and said.get_attribute("role") == "status"
    assert "load=c128" in said.inner_text() and "columns=foo" in said.inner_text() and "kind" not in said.inner_text()
    page.get_by_role("button", name="Sparse", exact=True).click()
    assert not said.is_visible()
    page.evaluate("location.hash = '#?kind=dense&y=odd'")
    said.get_by_text("y=odd").wait_for()
    assert _hash(page) == "?kind=dense" and len(_names(page)) == 12
    sites.search(page, "nobody")
    assert said.get_by_role("button").count() > 0 and "odd" not in said.inner_text()


def test_the_link_is_copied(board: Visit) -> None:
    page = board("#?kind=dense")
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.written = text; }")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("window.written") == page.url


# A phone ---------------------------------------------------------------------------------------------------------


def test_on_a_phone_the_table_begins_on_the_first_screen_and_the_model_stays_in_sight(board: Visit) -> None:
    page = board(viewport={"width": 390, "height": 844})
    top = "element => element.getBoundingClientRect().top"
    assert page.locator(TABLE).evaluate(top) - page.locator("#leaderboard").evaluate(top) < 130
    assert _heads(page)[:4] == ["rank", "model", "mean_score", "output_tokens_per_s"]
    facet, filters = page.locator('[data-facet="licence"]'), page.get_by_role("button", name="Filters")
    search = page.get_by_role("searchbox")
    assert not facet.is_visible() and not page.get_by_role("button", name="Columns").is_visible()
    assert search.evaluate("one => one.offsetTop") == filters.evaluate("one => one.offsetTop")
    left = "(cell) => cell.getBoundingClientRect().left"
    cells = page.locator(f"{TABLE} tbody tr").first.locator("> *")
    page.locator("#leaderboard .box").evaluate("box => { box.scrollLeft = 300; }")
    assert cells.nth(1).evaluate(left) >= 0 > cells.nth(0).evaluate(left)
    assert [cells.nth(place).evaluate("cell => getComputedStyle(cell).position") for place in range(3)] == [
        "static", "sticky", "static",
    ]
    filters.click()
    assert facet.is_visible() and filters.get_attribute("aria-expanded") == "true"
    page.get_by_role("button", name="Only ranked").click()
    assert filters.inner_text() == "Filters 1"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    conditions = page.locator(".conditions")
    cut = conditions.evaluate("one => one.scrollHeight > one.clientHeight")
    page.get_by_role("button", name="All conditions").click()
    assert cut and conditions.evaluate("one => one.scrollHeight <= one.clientHeight")


# The keyboard ----------------------------------------------------------------------------------------------------


def test_the_table_is_one_stop_and_arrows_walk_it(board: Visit) -> None:
    page = board()
    stops = page.locator(f"{TABLE} tbody").evaluate(
        "body => [...body.querySelectorAll('*')].filter((element) => element.tabIndex >= 0).length")
    assert stops == 1
    page.locator("#leaderboard .box").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    at = "[document.activeElement.parentElement.sectionRowIndex, document.activeElement.cellIndex]"
    assert page.evaluate(at) == [0, 0]
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate(at) == [1, 1]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('tbody')") is None
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.querySelector('#leaderboard-table td.focus')") is None


def test_enter_opens_a_model_and_what_is_behind_a_number(board: Visit) -> None:
    page = board()
    page.locator(f"{TABLE} tbody tr td").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.cellIndex") == 4
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('varied-')")


def test_a_cell_says_why_it_has_no_number(board: Visit) -> None:
    page = board("#?q=varied-03")
    page.locator(f"{TABLE} tbody td:has(.mark.failed)").first.click()
    page.mouse.move(0, 0)
    page.locator(f"{TABLE} tbody tr td").first.focus()
    tip = page.locator("#tip")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        if tip.is_visible():
            break
    assert "out-of-memory: too large" in tip.inner_text()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "tip"


def test_a_menu_closes_with_escape_and_gives_the_focus_back(board: Visit) -> None:
    page = board()
    _open(page, "hardware")
    page.locator('[data-facet="hardware"] input').first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert not page.locator('[data-facet="hardware"]').evaluate("menu => menu.open")
    assert page.evaluate("document.activeElement.closest('[data-facet]').dataset.facet") == "hardware"


@pytest.mark.parametrize("path", ["index.html", "catalog.html", "runs.html"])
def test_escape_in_the_menu_of_columns_gives_the_focus_back_to_its_button(visit: Visit, path: str) -> None:
    page = visit(path)
    button, menu = page.get_by_role("button", name="Columns"), page.locator(".dt-button-collection")
    for key in ("Enter", "Space"):
        button.focus()
        page.keyboard.press(key)
        menu.locator("button.buttons-columnVisibility").nth(1).focus()
        page.wait_for_timeout(50)  # the menu listens once it is open
        page.keyboard.press("Escape")
        page.wait_for_selector(".dt-button-collection", state="detached")
        assert page.evaluate("document.activeElement.classList.contains('buttons-colvis')")
    button.click()
    menu.locator("button.buttons-columnVisibility").first.click()
    page.wait_for_timeout(50)
    page.keyboard.press("Escape")
    page.wait_for_selector(".dt-button-collection", state="detached")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.classList.contains('buttons-colvis')")


# How it stands on the page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_open_menus_fit_a_phone_and_can_be_read(board: Visit, scheme: str) -> None:
    page = board(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.get_by_role("button", name="Filters").click()
    for facet in FACETS:
        _open(page, facet)
        box = page.locator(f'[data-facet="{facet}"] fieldset').bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(sites.POOR_CONTRAST) == []


def test_nothing_moves_when_the_scripts_take_over(board: Visit) -> None:
    page = board()
    page.wait_for_selector("html[data-drawn]", state="attached")
    moved = page.evaluate(
        """() => new Promise((done) => new PerformanceObserver((list) => done(
          list.getEntries().reduce((sum, entry) => sum + (entry.hadRecentInput ? 0 : entry.value), 0)))
          .observe({ type: "layout-shift", buffered: true }) || setTimeout(() => done(0), 500))""")
    assert moved < 0.01


def test_without_scripts_the_table_has_heads_for_what_is_seen_and_no_controls(board: Visit) -> None:
    page = board(java_script_enabled=False)
    assert not page.locator("#leaderboard-tools").is_visible()
    heads = [head for head in page.locator(f"{TABLE} thead tr:last-child th").all() if head.is_visible()]
    cells = page.locator(f"{TABLE} tbody tr").first.locator("td, th")
    assert len(heads) == cells.count() > 10
    spans = page.locator(f"{TABLE} .groups th:not(.later)")
    assert sum(int(span.get_attribute("colspan") or 1) for span in spans.all()) == len(heads)


def test_many_cells_stay_small(varied: Path) -> None:
    text = (varied / "index.html").read_text(encoding="utf-8")
    start = text.index("<tbody>", text.index('id="leaderboard-table"'))
    cells = text[start:text.index("</section>", text.index("leaderboard-more", start))]
    columns = text.count(" data-key=")
    assert columns > 50
    # a page of 200 models and 80 columns is then about 1 MB, with its plot below 2
    assert len(cells.encode()) / (24 * columns) < 70
