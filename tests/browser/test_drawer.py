"""The drawer behind the numbers, in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sites

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from sites import Visit

MODEL = "models/small/moe-8x2.html"
WIDTHS = (360, 1280)


def _opened(page: Page, selector: str) -> None:
    page.locator(selector).first.click()
    _filled(page)


def _filled(page: Page) -> None:
    page.wait_for_selector("dialog.drawer[open] article")


def _opened_cell(page: Page) -> None:
    """A cell of the leaderboard with what stands behind it."""
    heads = page.locator("#leaderboard-table thead tr").last.locator("th")
    labels = heads.evaluate_all("all => all.map((one) => one.dataset.label)")
    page.locator("#leaderboard-table tbody tr").first.locator("td, th").nth(labels.index("TTFT p50")).click()
    _filled(page)


def _closed(page: Page) -> None:
    page.wait_for_selector("dialog.drawer", state="hidden")


def test_a_number_shows_its_raw_values_and_their_records(visit: Visit) -> None:
    page = visit(MODEL)
    _opened(page, "#serving button.number")
    drawer = page.get_by_role("dialog", name="Output tokens/s, chat, 1 concurrent request")
    rows = drawer.locator("section", has_text="Raw values").locator("tbody tr")
    assert rows.count() == 3
    values = [float(row.locator("td").nth(1).inner_text().split()[0]) for row in rows.all()]
    shown = page.locator("#serving button.number").first.inner_text()
    assert sum(values) / 3 == pytest.approx(float(shown.split(" ")[0]), rel=5e-3)
    text = drawer.inner_text()
    assert "T interval over 3 processes" in text
    assert "moebench run '<the file of the suite small>' --model moe-8x2" in text
    assert "sha256:" in text and "Example CPU" in text and "0123456789abcdef" in text
    rows.first.get_by_role("link").click()
    page.wait_for_url("**/records/small/**.json")
    assert '"kind":"serving"' in page.content()


def test_it_opens_and_closes_by_keys_and_gives_the_focus_back(visit: Visit) -> None:
    page = visit(MODEL)
    number = page.locator("#scores button.number").first
    number.focus()
    page.keyboard.press("Enter")
    _filled(page)
    assert page.evaluate("document.activeElement.id") == "drawer-title"
    assert "n=" in page.url
    for _ in range(12):
        page.keyboard.press("Tab")
        inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog.drawer')"
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    _closed(page)
    sites.until(page, "document.activeElement.matches('#scores button.number')")
    sites.until(page, "!location.href.includes('n=')")


def test_it_closes_by_its_button_and_by_a_click_beside_it(visit: Visit) -> None:
    page = visit(MODEL)
    _opened(page, "#memory button.number")
    page.get_by_role("button", name="Close").click()
    _closed(page)
    _opened(page, "#memory button.number")
    page.mouse.click(20, 400)
    _closed(page)


def test_a_cell_of_the_leaderboard_leads_to_its_evidence(visit: Visit) -> None:
    page = visit()
    row = page.locator("#leaderboard-table tbody tr", has_text="moe-fine").first
    heads = page.locator("#leaderboard-table thead tr").last.locator("th")
    labels = [head.get_attribute("data-label") for head in heads.all()]
    row.locator("td, th").nth(labels.index("TTFT p50")).click()
    _filled(page)
    assert page.get_by_role("dialog", name="Time to first token p50, chat, 16 concurrent requests").is_visible()
    assert page.locator("dialog.drawer h3").inner_text() == "moe-fine"


def test_enter_on_a_cell_of_the_leaderboard_opens_it_and_brings_the_focus_back(visit: Visit) -> None:
    page = visit()
    page.locator("#leaderboard-table tbody [tabindex='0']").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    total = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    _filled(page)
    assert page.get_by_role("dialog", name="Total parameters").is_visible()
    page.keyboard.press("ArrowDown")  # the table behind it does not move
    page.keyboard.press("Escape")
    _closed(page)
    sites.until(page, "document.activeElement.matches('#leaderboard-table td')")
    assert page.evaluate("document.activeElement.textContent") == total


def test_an_address_opens_the_same_number(visit: Visit) -> None:
    page = visit(MODEL)
    _opened(page, "#scores button.number")
    address, title = page.url, page.locator("#drawer-title").inner_text()
    again = visit(f"{MODEL}#{address.partition('#')[2]}")
    _filled(again)
    assert again.locator("#drawer-title").inner_text() == title
    again.keyboard.press("Escape")
    _closed(again)
    sites.until(again, "document.activeElement.matches('#scores button.number')")


@pytest.mark.parametrize("name", ["../../x.y.z", "small.moe-8x2", "small.moe-8x2.no_such_metric", "<img>.a.b"])
def test_an_address_that_names_nothing_is_no_error(visit: Visit, name: str) -> None:
    page = visit(f"{MODEL}#?n={name}")
    if name.endswith("no_such_metric"):
        _filled(page)
        assert f"has no {name}" in page.locator("dialog.drawer article").inner_text()
    else:
        assert page.locator("dialog.drawer[open]").count() == 0


def test_a_pair_shows_both_sides(visit: Visit, site: Path) -> None:
    paths = sorted((site / "pairs").glob("*.html"))
    page = visit(paths[0].relative_to(site).as_posix())
    _opened(page, "#effects button.number[data-evidence*=' ']")
    assert page.locator("dialog.drawer article").count() == 2
    assert page.locator("dialog.drawer .basis").inner_text()
    names = [head.inner_text() for head in page.locator("dialog.drawer h3").all()]
    assert len(set(names)) == 2


def test_a_part_of_the_parameters_shows_its_tensors_and_the_configuration(visit: Visit) -> None:
    page = visit(MODEL)
    number = page.locator("#parameters tbody tr", has_text="Attention").locator("button.number")
    number.first.click()
    _filled(page)
    drawer = page.get_by_role("dialog", name="Parameters: attention")
    assert "matrices of" in drawer.locator("section", has_text="Counted from").first.inner_text()
    told = drawer.locator("section", has_text="Configuration of the model")
    assert "hidden_size" in told.inner_text()
    assert (told.get_by_role("link").get_attribute("href") or "").endswith(".json")
    page.keyboard.press("Escape")
    _closed(page)
    number.nth(1).click()  # its share: the part beside the total
    _filled(page)
    assert page.locator("#drawer-title").inner_text() == "Parameters: attention and Total parameters"
    assert page.locator("dialog.drawer article").count() == 2


def test_verdicts_and_cards_show_both_sides(visit: Visit) -> None:
    page = visit("pairs.html")
    for selector in ("#pairs-table button.number", ".card button.number"):
        _opened(page, selector)
        assert page.locator("dialog.drawer article").count() == 2
        assert "moe-" in page.locator("dialog.drawer .basis").inner_text()
        address = page.url
        page.keyboard.press("Escape")
        _closed(page)
        sites.until(page, "document.activeElement.matches('button.number[data-rest]')")
    again = visit(address)
    _filled(again)
    assert again.locator("dialog.drawer article").count() == 2


def test_which_numbers_open_is_told_and_seen(visit: Visit) -> None:
    for path in (MODEL, "pairs.html", "pareto.html", "index.html"):
        page = visit(path)
        assert page.locator(".opens").first.is_visible()
    page = visit(MODEL)
    number = page.locator("#scores button.number").first
    assert number.evaluate("(one) => getComputedStyle(one).textDecorationLine") == "underline"
    number.focus()
    assert number.get_attribute("aria-haspopup") == "dialog"


def test_a_recipe_leads_to_its_trainings(visit: Visit) -> None:
    page = visit("suite-seeds.html")
    _opened(page, "#recipes button.number[data-evidence*='mean_score']")
    page.locator("dialog.drawer section", has_text="Each training").locator("button.number").first.click()
    sites.until(page, "document.querySelector('dialog.drawer h3')?.textContent.includes('-seed')")
    assert page.locator("dialog.drawer section", has_text="Made of").locator("tbody tr").count() == 2
    page.keyboard.press("Escape")
    _closed(page)
    sites.until(page, "document.activeElement.matches('#recipes button.number')")


def test_the_command_is_copied_or_selected(visit: Visit) -> None:
    page = visit(MODEL)
    _opened(page, "#serving button.number")
    page.get_by_role("button", name="Copy").click()
    sites.until(page, "/Copied|Selected/.test(document.querySelector('.command .button').textContent)")
    assert page.locator(".drawer-status").inner_text()


def test_hostile_text_stays_text(visit: Visit, site: Path) -> None:
    page_path = min((site / "models" / "hostile").glob("*.html"))
    page = visit(page_path.relative_to(site).as_posix())
    for selector in ("#serving button.number", "#scores button.number"):
        _opened(page, selector)
        assert "<script>alert(1)</script>" in page.locator("dialog.drawer").inner_text()
        assert page.locator("dialog.drawer img, dialog.drawer script").count() == 0
        page.keyboard.press("Escape")
        _closed(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_can_be_read(visit: Visit, scheme: str, width: int) -> None:
    page = visit(MODEL, color_scheme=scheme, viewport={"width": width, "height": 740})
    for selector in ("#scores button.number", "#serving button.number"):
        _opened(page, selector)
        page.locator("dialog.drawer details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
        box = page.locator("dialog.drawer").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] <= 740
        assert page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('dialog.drawer'))")
        poor = page.evaluate(sites.POOR_CONTRAST)
        assert poor == []
        page.keyboard.press("Escape")
        _closed(page)


def test_a_missing_file_is_told(browser: Browser, site: Path, tmp_path: Path) -> None:
    copied = tmp_path / "site"
    shutil.copytree(site, copied, ignore=shutil.ignore_patterns("evidence", "records"))
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((copied / MODEL).as_uri())
    page.locator("#serving button.number").first.click()
    page.wait_for_selector("dialog.drawer .command")
    text = page.locator("dialog.drawer").inner_text()
    page.close()
    assert "evidence/small/moe-8x2.js of this report is missing" in text and "moebench report" in text
    assert errors == []


def test_paper_shows_no_drawer(visit: Visit) -> None:
    page = visit(MODEL)
    _opened(page, "#serving button.number")
    page.emulate_media(media="print")
    assert not page.locator("dialog.drawer").is_visible()


def _steps(page: Page) -> int:
    found: int = page.evaluate("history.length")
    return found


@pytest.mark.parametrize("alone", [False, True])
def test_back_closes_it_and_stays_on_the_page(visit: Visit, report: Path, alone: bool) -> None:
    page = visit(f"{report.as_uri()}#/{MODEL}" if alone else MODEL)
    address, title = page.url, page.title()
    page.evaluate("scrollTo({ top: 300, behavior: 'instant' }); document.querySelector('main').dataset.same = '1'")
    number = page.locator("#parameters button.number").first
    number.click()
    _filled(page)
    opened = page.url
    page.go_back()
    _closed(page)
    assert (page.url, page.title()) == (address, title)
    sites.until(page, "document.activeElement.matches('#parameters button.number')")
    page.go_forward()
    _filled(page)
    assert page.url == opened
    page.keyboard.press("Escape")
    _closed(page)
    sites.until(page, "address => location.href === address", arg=address)
    assert page.locator("main[data-same]").count() == 1, "the page was made again"


@pytest.mark.parametrize("alone", [False, True])
def test_closing_it_piles_no_steps_up_and_keeps_forward(visit: Visit, report: Path, alone: bool) -> None:
    page = visit(f"{report.as_uri()}#/{MODEL}" if alone else MODEL)
    address, before = page.url, _steps(page)
    for close in ("Escape", "button", "Escape"):
        _opened(page, "#memory button.number")
        if close == "button":
            page.get_by_role("button", name="Close").click()
        else:
            page.keyboard.press(close)
        _closed(page)
        sites.until(page, "address => location.href === address", arg=address)
    assert _steps(page) == before + 1
    page.go_forward()
    _filled(page)


def test_a_number_within_it_is_no_step_more(visit: Visit) -> None:
    page = visit("suite-seeds.html")
    address = page.url
    _opened(page, "#recipes button.number[data-evidence*='mean_score']")
    page.locator("dialog.drawer section", has_text="Each training").locator("button.number").first.click()
    sites.until(page, "document.querySelector('dialog.drawer h3')?.textContent.includes('-seed')")
    page.go_back()
    _closed(page)
    assert page.url == address


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("edit", "kept"), [
    ("location.hash.replace(/[?].*/, '') + (location.hash.startsWith('#/') ? '#main' : 'main')", ""),
    ("location.hash + '&q=moe'", "q=moe"),
    ("location.hash + '+more'", ""),
    ("location.hash.replace(/n=[^&]*/, 'n=nothing')", ""),
    ("location.hash.replace(/n=[^&]*/, 'q=moe')", "q=moe"),
])
def test_an_address_edited_by_hand_has_no_number_once_it_is_closed(
    visit: Visit, report: Path, alone: bool, edit: str, kept: str
) -> None:
    page = visit(f"{report.as_uri()}#/index.html" if alone else "index.html")
    _opened_cell(page)
    page.evaluate(f"location.hash = {edit}")
    page.wait_for_timeout(300)
    page.keyboard.press("Escape")
    _closed(page)
    _left_without_a_number(page, kept)


def _left_without_a_number(page: Page, kept: str) -> None:
    """Whether the drawer stays closed and the address has what else was chosen, and no number."""
    sites.until(page, "() => !location.href.includes('n=')")
    page.wait_for_timeout(300)
    assert "n=" not in page.url and kept in page.url
    assert page.locator("dialog.drawer[open]").count() == 0


_SORTED = "window.moebenchTables.jQuery('#leaderboard-table').DataTable().order([1, 'desc']).draw()"


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("when", ["open", "closing"])
def test_a_step_of_the_table_in_between_leaves_no_number(visit: Visit, report: Path, alone: bool, when: str) -> None:
    page = visit(f"{report.as_uri()}#/index.html" if alone else "index.html")
    _opened_cell(page)
    if when == "open":
        page.evaluate(_SORTED)
    else:
        page.evaluate(f"document.querySelector('dialog.drawer').addEventListener('close', () => {{ {_SORTED} }})")
    page.keyboard.press("Escape")
    _closed(page)
    _left_without_a_number(page, "sort=" if when == "open" else "")


@pytest.mark.parametrize("alone", [False, True])
def test_an_address_with_more_than_a_number_closes_too(visit: Visit, report: Path, alone: bool) -> None:
    start = f"{report.as_uri()}#/{MODEL}" if alone else MODEL
    page = visit(start)
    _opened(page, "#scores button.number")
    again = visit(f"{start if alone else MODEL + '#'}?n={page.url.partition('n=')[2]}+more")
    _filled(again)
    again.keyboard.press("Escape")
    _closed(again)
    _left_without_a_number(again, "")


def test_one_that_an_address_brought_closes_in_place(visit: Visit) -> None:
    page = visit(MODEL)
    _opened(page, "#scores button.number")
    again = visit(f"{MODEL}#{page.url.partition('#')[2]}")
    _filled(again)
    before = _steps(again)
    again.keyboard.press("Escape")
    _closed(again)
    sites.until(again, "!location.href.includes('n=')")
    assert _steps(again) == before and again.locator("h1").inner_text() == "moe-8x2"


def test_a_page_left_from_it_comes_back_with_it(visit: Visit, report: Path) -> None:
    page = visit(f"{report.as_uri()}#/index.html")
    heads = page.locator("#leaderboard-table thead tr").last.locator("th")
    labels = [head.get_attribute("data-label") for head in heads.all()]
    page.locator("#leaderboard-table tbody tr").first.locator("td, th").nth(labels.index("TTFT p50")).click()
    _filled(page)
    title = page.locator("#drawer-title").inner_text()
    page.locator("dialog.drawer h3 a").click()
    sites.until(page, "location.hash.includes('models/')")
    _closed(page)
    page.go_back()
    page.wait_for_selector("#leaderboard-table")
    _filled(page)
    assert page.locator("#drawer-title").inner_text() == title


@pytest.mark.parametrize("selector", ["#memory button.number", "#parameters button.number", "#scores button.number"])
def test_no_line_parts_a_number_from_its_unit(visit: Visit, selector: str) -> None:
    page = visit(MODEL)
    for text in page.locator(selector).all_text_contents():
        number, *unit = text.split(" ")[0].split("\u00a0")
        assert unit or number.replace(".", "").replace("\u202f", "").isdigit(), text
    _opened(page, selector)
    figure = page.locator("dialog.drawer .figure").first.text_content() or ""
    assert " " not in figure
