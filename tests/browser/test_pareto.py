"""The explorer of any two metrics, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sites

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

DRAWN = "[data-pareto][data-ready] .main-svg"


def _explorer(visit: Visit, hash_: str = "", **options: Any) -> Page:
    page = visit(f"pareto.html{hash_}", **options)
    page.wait_for_selector(DRAWN)
    return page


def _plot(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.locator("#pareto-data").text_content() or "")
    return found


def _rows(page: Page) -> list[str]:
    return [row.inner_text() for row in page.locator("#pareto-values > .box tbody th").all()]


def _ends(column: dict[str, list[Any]], index: int, *, higher: bool) -> tuple[float, float, float]:
    """What an estimate is worth, at least and at most, more being better."""
    value = column["v"][index]
    low, high = (column["lo"][index], column["hi"][index]) if "lo" in column else (value, value)
    known = low is not None and high is not None
    least, most = (low, high) if known else (-float("inf"), float("inf"))
    return (value, least, most) if higher else (-value, -most, -least)


def _expected(plot: dict[str, Any], x: str, y: str) -> tuple[set[str], set[str]]:
    """The frontier, and what is certainly beaten, by trying every pair of points."""
    metrics = {one["key"]: one for one in plot["metrics"]}
    columns = [(plot["columns"][key], metrics[key]["direction"] == "higher") for key in (x, y)]
    points = [
        (point["name"], [_ends(column, index, higher=higher) for column, higher in columns])
        for index, point in enumerate(plot["points"])
        if all(column["v"][index] is not None for column, _ in columns)
    ]
    frontier = {
        name for name, at in points
        if not any(
            all(o[0] >= p[0] for o, p in zip(other, at, strict=True)) and [o[0] for o in other] != [p[0] for p in at]
            for _, other in points
        )
    }
    beaten = {
        name for name, at in points
        if any(
            all(o[1] >= p[2] for o, p in zip(other, at, strict=True))
            and any(o[1] > p[2] for o, p in zip(other, at, strict=True))
            for other_name, other in points if other_name != name
        )
    }
    return frontier, beaten


AXES = (
    "mean_score", "decode_flops_per_token", "output_tokens_per_s", "ttft_p50_s", "total_parameters",
    "resident_peak_bytes",
)


@pytest.mark.parametrize("path", ["pareto.html", "pareto-loads.html", "pareto-seeds.html"])
def test_the_frontier_is_what_no_other_model_beats(visit: Visit, path: str) -> None:
    page = visit(path)
    page.wait_for_selector(DRAWN)
    plot = _plot(page)
    keys = [key for key in AXES if key in plot["columns"]]
    for x, y in ((x, y) for x in keys for y in keys):
        page.evaluate("""([x, y]) => {
          for (const [id, key] of [['pareto-x', x], ['pareto-y', y]]) document.getElementById(id).value = key;
          document.getElementById('pareto-y').dispatchEvent(new Event('change'));
        }""", [x, y])
        frontier, beaten = _expected(plot, x, y)
        assert set(_rows(page)) == frontier, (x, y)
        page.evaluate("(one => { if (one) one.open = true; })(document.querySelector('#pareto-values details'))")
        sites.until(page, "!document.querySelector('#pareto-values details:not(:has(table))')")
        others = page.locator("#pareto-values details tbody tr").all_inner_texts()
        assert {row.split("\t")[0].strip() for row in others if "certainly beaten" in row} == beaten - frontier, (x, y)


def test_the_choice_of_axes_is_in_the_address(visit: Visit) -> None:
    page = _explorer(visit)
    page.locator("#pareto-x").select_option("ttft_p50_s")
    page.locator("#pareto-y").select_option("output_tokens_per_s")
    page.get_by_label("logarithmic, vertical axis").check()
    page.get_by_role("button", name="Sparse").click()
    address = page.url.partition("#")[2]
    assert address == "?kind=sparse&x=ttft_p50_s&y=output_tokens_per_s&ylog=1"
    again = _explorer(visit, f"#{address}")
    assert again.locator("#pareto-x").input_value() == "ttft_p50_s"
    assert again.get_by_label("logarithmic, vertical axis").is_checked()
    assert again.get_by_role("button", name="Sparse").get_attribute("aria-pressed") == "true"
    assert "Time to first token p50" in (again.locator(".xtitle").text_content() or "")
    assert again.evaluate("document.querySelector('[data-pareto]').layout.yaxis.type") == "log"
    again.get_by_role("button", name="All").click()
    again.locator("#pareto-x").select_option("decode_flops_per_token")
    again.locator("#pareto-y").select_option("mean_score")
    assert "?" not in again.url


def test_an_address_changes_the_plot_that_is_open(visit: Visit) -> None:
    page = _explorer(visit)
    page.evaluate("location.hash = '#?x=resident_peak_bytes'")
    sites.until(page, "document.querySelector('.xtitle').textContent.includes('Resident peak')")


def test_axes_that_are_not_there_are_the_proposed_ones(visit: Visit) -> None:
    page = _explorer(visit, "#?x=nothing&y=%3Cscript%3E&kind=odd")
    assert page.locator("#pareto-x").input_value() == "decode_flops_per_token"
    assert page.locator("#pareto-y").input_value() == "mean_score"
    assert "?" not in page.url
    assert "x=nothing" in page.get_by_role("status").inner_text()


@pytest.mark.parametrize("whole", [False, True])
def test_back_undoes_one_choice_after_the_other(visit: Visit, report: Path, whole: bool) -> None:
    page = visit(f"{report.as_uri()}#/pareto.html") if whole else _explorer(visit)
    page.wait_for_selector(DRAWN)

    def seen() -> list[Any]:
        shown: list[Any] = page.evaluate("""() => {
          const { xaxis, yaxis } = document.querySelector("[data-pareto]").layout;
          return [xaxis.title.text, xaxis.type, yaxis.title.text, yaxis.type,
            document.querySelector("[data-pareto-kind][aria-pressed=true]").textContent,
            document.getElementById("pareto-missing").textContent]; }""")
        return shown

    steps = [(page.url, seen())]
    acts: list[Callable[[], object]] = [
        lambda: page.locator("#pareto-y").select_option("weights_bytes"),
        lambda: page.locator("#pareto-y").select_option("ttft_p50_s"),
        lambda: page.get_by_label("logarithmic, vertical axis").click(),
        lambda: page.get_by_role("button", name="Swap axes").click(),
        lambda: page.get_by_role("button", name="Dense").click(),
    ]
    for act in acts:
        act()
        assert seen() != steps[-1][1]
        steps.append((page.url, seen()))
    for address, before in steps[-2::-1]:
        page.go_back()
        sites.becomes(page, lambda: (page.url, seen()), (address, before))
    for address, after in steps[1:]:
        page.go_forward()
        sites.becomes(page, lambda: (page.url, seen()), (address, after))


def test_the_axes_are_swapped(visit: Visit) -> None:
    page = _explorer(visit)
    before = _rows(page)
    page.get_by_role("button", name="Swap axes").click()
    sites.until(page, "document.querySelector('.xtitle').textContent.includes('Mean score')")
    assert set(_rows(page)) == set(before)


def test_kinds_are_told_apart_by_shape_and_filtered(visit: Visit) -> None:
    page = _explorer(visit)
    symbols = page.evaluate("""document.querySelector('[data-pareto]').data.filter((one) => one.mode === 'markers+text')
      .map((one) => [one.name, one.marker.symbol[0]])""")
    assert symbols == [["sparse (MoE)", "circle"], ["dense", "square"]]
    page.get_by_role("button", name="Dense").click()
    assert {"dense-active", "dense-total"} >= set(_rows(page)) != set()


def test_words_say_what_has_no_value(visit: Visit) -> None:
    page = _explorer(visit)
    words = page.locator("#pareto-missing").inner_text()
    assert "On the frontier: " in words
    assert "dummy-moe" in words.partition("Without a value here: ")[2]


def test_a_logarithm_is_offered_only_of_positive_values(visit: Visit) -> None:
    page = _explorer(visit, "#?x=total_parameters")
    box = page.get_by_label("logarithmic, horizontal axis")
    assert box.is_enabled()
    page.locator("#pareto-x").select_option("submit_share")
    assert box.is_enabled() == all(v is None or v > 0 for v in _plot(page)["columns"]["submit_share"]["v"])


def test_numbers_and_points_lead_to_their_evidence(visit: Visit) -> None:
    page = _explorer(visit)
    page.locator("#pareto-values button.number").first.click()
    page.wait_for_selector("dialog.drawer article")
    assert page.get_by_role("dialog", name="Mean score").is_visible()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.drawer", state="hidden")
    page.locator("[data-pareto] .points path").last.click(force=True)
    page.wait_for_selector("dialog.drawer article")
    assert page.locator("dialog.drawer article").count() == 2
    assert [one.inner_text() for one in page.locator("dialog.drawer .which").all()] == [
        "Mean score", "Decode FLOPs/token, chat, 16 concurrent requests",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(visit: Visit, scheme: str) -> None:
    axes, phone = "#?x=output_tokens_per_s&y=resident_peak_bytes", {"width": 360, "height": 740}
    page = _explorer(visit, axes, color_scheme=scheme, viewport=phone)
    page.locator("#pareto-values summary").click()
    page.wait_for_selector("#pareto-values details table")
    assert page.evaluate("document.documentElement.scrollWidth <= 360")
    assert page.evaluate(sites.POOR_CONTRAST) == []


def test_labels_meet_no_point_and_no_other_label(visit: Visit) -> None:
    page = _explorer(visit)
    boxes = page.evaluate("""() => {
      const rectangle = (one) => { const r = one.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
      const texts = [...document.querySelectorAll('[data-pareto] .textpoint text')].filter((one) => one.textContent);
      const points = [...document.querySelectorAll('[data-pareto] .points path')];
      return { texts: texts.map(rectangle), points: points.map(rectangle) };
    }""")
    assert boxes["texts"]

    def meet(a: list[float], b: list[float]) -> bool:
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

    texts = boxes["texts"]
    assert not any(meet(a, b) for i, a in enumerate(texts) for b in texts[:i])
    assert not any(meet(text, point) for text in texts for point in boxes["points"])


def test_the_plot_of_the_leaderboard_keeps_its_axes_too(visit: Visit) -> None:
    page = visit("index.html#?x=weights_bytes")
    page.locator("#pareto").scroll_into_view_if_needed()
    page.wait_for_selector(DRAWN)
    assert "Weights" in (page.locator(".xtitle").text_content() or "")


_TWO_POINTS = """(both) => {
  const data = document.querySelector("[data-pareto]").paretoData;
  const column = (pairs) => Object.fromEntries([["v", 0], ["lo", -1], ["hi", 1]].map(([end, way]) => [
    end, data.points.map((_, i) => (pairs[i] ? pairs[i][0] + way * pairs[i][1] : null))]));
  Object.assign(data.columns, { decode_flops_per_token: column(both), mean_score: column([[1, 0], [2, 0]]) });
  document.getElementById("pareto-x").dispatchEvent(new Event("change"));
}"""


@pytest.mark.parametrize(("first", "second", "shown", "alike"), [
    ((2.001, 0.0), (2.004, 0.0), ["2.001", "2.004"], 0),
    ((100.1, 0.05), (100.4, 0.05), ["100.1", "100.4"], 0),
    ((2.001, 0.3), (2.009, 0.3), ["2.00", "2.01"], 0),
    ((2.001, 0.3), (2.004, 0.3), ["2.00", "2.00"], 1),
    ((2.0, 0.0), (1000.5, 0.0), ["2.00", "1\u202f000"], 0),
])
def test_neighbours_on_the_frontier_differ_as_far_as_intervals_justify(
    visit: Visit, first: tuple[float, float], second: tuple[float, float], shown: list[str], alike: int
) -> None:
    page = _explorer(visit, "#?x=decode_flops_per_token&y=mean_score")
    page.evaluate(_TWO_POINTS, [first, second])
    rows = page.locator("#pareto-values > .box tbody tr")
    texts = [rows.nth(index).locator("td").nth(1).inner_text().split(" ")[0] for index in range(2)]
    assert (texts, page.get_by_text("to its digits the same as the one above").count()) == (shown, alike)
