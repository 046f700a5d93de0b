"""Experts and roofline on a model's page as a reader uses them, in headless Chromium, opened from disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import axe
import builders
import numpy as np
import pytest
import routed
import sites

import harness.suite_results
from harness.environment import Ceilings, ReadRate
from harness.scenario import RoutingScenario, ServedTokens
from harness.stats import Estimate
from harness.summarise import summarise
from harness.summary import ModelSummary
from harness.utilisation import RooflinePoint

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sites import Visit

pytestmark = pytest.mark.browser

SMALL, LARGE, HOSTILE = (f"models/small/{name}.html" for name in ("moe-8x2", "large", "moe-fine"))
_HOSTILE_TEXTS = (sites.HOSTILE, "\u202eabc", "x" * 10_000, "\n\t ", "</code>")


def _routed(model: ModelSummary) -> ModelSummary:
    """The model with routing, and with points under a roof."""
    works = {
        "moe-8x2": lambda: [
            routed.work(), routed.work("facts", "task", seed=2, tokens={"prefill": 900}),
            routed.work("sort", "task", seed=3),
        ],
        "large": lambda: [routed.work(shape=routed.Shape(64, 2048, 8, 1.0), tokens={"prefill": 9000, "decode": 3000})],
        "moe-fine": lambda: [routed.work(sites.HOSTILE, shape=routed.Shape(4, 16, 3), texts=_HOSTILE_TEXTS),
                             routed.work("facts", "task", shape=routed.Shape(4, 16, 3), seed=5)],
    }
    if model.model not in works:
        return model
    found = [routed.recorded(work, *model.records[:1]) for work in works[model.model]()]
    return replace(
        model, routing={work.name: work for work in found}, ceilings=_CEILINGS,
        specialisation=routed.specialisation_of(found[-2:]) if len(found) > 1 else None,
        points=tuple(replace(
            point, roofline=(_point("prefill", 40.0), _point("decode", 0.5 + (point.concurrency or 1))),
            estimates={**point.estimates, "decode_mbu": Estimate(0.2, 0.19, 0.21, 3, "t")},
        ) for point in model.points),
    )


_CEILINGS = Ceilings(
    reads=(ReadRate(working_set_bytes=1 << 28, bytes_per_s=1e10),),
    matmul_flops_per_s={"float32": 9e10, "bfloat16": 4e11}, duration_s=2.0,
)


def _point(phase: Any, intensity: float) -> RooflinePoint:
    achieved = 0.04 * 1e10 * intensity
    return RooflinePoint(phase, intensity, achieved, mfu=achieved / 4e11, mbu=0.04)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small suite with routing; a model of 64 layers x 2 048 experts; one whose routing failed."""
    folder = tmp_path_factory.mktemp("experts")
    scenario = RoutingScenario(
        work=ServedTokens(name="chat", lengths=builders.fixed_lengths(), concurrency=8, requests=16)
    )
    records = [
        *builders.small_suite_records(),
        *(builders.serving_record(model=name) for name in ("large", "failing")),
        builders.failed_record(model="failing", scenario=scenario, error="routing", message=sites.HOSTILE),
    ]
    store = sites.store_of(folder / "results", records)

    def summarised(*given: Any, **named: Any) -> tuple[ModelSummary, ...]:
        return tuple(_routed(model) for model in summarise(*given, **named))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.suite_results, "summarise", summarised)
        yield sites.render(store, folder / "site").parent


def _drawn(page: Page) -> dict[str, Any]:
    """What the heat map shows."""
    found: dict[str, Any] = page.evaluate(
        """() => {
          const { data, layout } = document.querySelector("[data-experts]");
          const [map, dead] = data;
          return {
            z: map.z.map((row) => [...row]), text: map.text.map((row) => [...row]),
            x0: map.x0, dx: map.dx, zmax: map.zmax,
            dead: dead ? dead.z.flat().filter(Boolean).length : 0, title: layout.xaxis.title.text,
            scale: map.colorscale.map(([, colour]) => colour),
          };
        }"""
    )
    return found


def _words(page: Page) -> str:
    return page.locator("#experts-words").inner_text()


def test_the_map_shows_every_load_over_an_even_share(visit: Visit) -> None:
    page = visit(SMALL)
    found = _drawn(page)
    phases = routed.work().summary.phases.values()
    loads = [np.sum([phase.layers[row].load for phase in phases], axis=0) for row in range(2)]
    for row, load in zip(found["z"], loads, strict=True):
        assert row == pytest.approx(np.clip(np.log2(load * 8 / load.sum()), -found["zmax"], found["zmax"]))
    assert found["text"][0][0].startswith("layer 1, expert 0<br>")
    assert f"({int(loads[0][0])})" in found["text"][0][0].replace("\u202f", "")
    assert found["dead"] == 0


def test_work_phase_and_order_are_chosen_from_the_keyboard(visit: Visit) -> None:
    page = visit(SMALL)
    assert _words(page).startswith("chat: 6\u202f000 tokens.")
    before = _drawn(page)
    page.locator("#experts-order").focus()
    page.keyboard.press("ArrowDown")
    after = _drawn(page)
    assert after["title"] == "Place by load"
    assert all(row == sorted(row, reverse=True) for row in after["z"])
    assert sorted(after["z"][0]) == sorted(before["z"][0])
    page.locator("#experts-phase").focus()
    page.keyboard.press("ArrowDown")
    assert _words(page).startswith("chat: 4\u202f000 tokens.")
    page.locator("#experts-work").focus()
    page.keyboard.press("ArrowDown")
    assert _words(page).startswith("facts: 900 tokens.")


def test_a_phase_that_a_task_has_not_is_not_offered(visit: Visit) -> None:
    page = visit(SMALL)
    page.locator("#experts-phase").select_option("decode")
    page.locator("#experts-work").select_option("facts")
    assert page.locator("#experts-phase").input_value() == "prefill"
    assert page.locator("#experts-phase option:disabled").all_inner_texts() == ["both", "decode"]


def test_the_address_keeps_what_is_chosen_and_back_undoes_it(visit: Visit) -> None:
    page = visit(SMALL)
    page.locator("#experts-order").select_option("load")
    page.locator("#experts-work").select_option(label="facts")
    assert "order=load&phase=prefill&work=task.facts" in page.url
    words, again = _words(page), visit(f"{SMALL}#{page.url.partition('#')[2]}")
    again.locator("[data-experts] .main-svg").first.wait_for()
    assert _words(again) == words and _drawn(again) == _drawn(page)
    page.go_back()
    sites.until(page, "document.getElementById('experts-words').textContent.startsWith('chat')")
    assert page.locator("#experts-order").input_value() == "load" and "order=load" in page.url
    page.go_back()
    sites.becomes(page, page.locator("#experts-order").input_value, "id")
    assert "?" not in page.url


def test_what_a_browser_selects_again_is_not_what_the_page_proposes(visit: Visit) -> None:
    page = visit(SMALL)
    page.locator("#experts-order").select_option("load")
    sites.follow(page, page.get_by_role("link", name="Method").first)
    page.go_back()
    page.locator("[data-experts] .main-svg").first.wait_for()
    sites.becomes(page, page.locator("#experts-order").input_value, "load")
    page.locator("#experts-order").select_option("id")
    assert "?" not in page.url


@pytest.mark.parametrize(("asked", "left"), [
    ("order=load&work=task.nothing", "order=load"), ("phase=decode&work=task.facts", "work=task.facts"),
])
def test_what_an_address_has_that_cannot_be_shown_leaves_it(visit: Visit, asked: str, left: str) -> None:
    page = visit(f"{SMALL}#?{asked}")
    page.locator("[data-experts] .main-svg").first.wait_for()
    assert page.url.endswith(f"#?{left}")
    assert _words(page).startswith("facts: 900" if "facts" in left else "chat: 6")
    assert page.locator("#experts-phase").input_value() == ("prefill" if "facts" in left else "both")


def test_two_thousand_experts_share_columns_or_are_shown_in_stretches(visit: Visit) -> None:
    page = visit(LARGE, viewport={"width": 1280, "height": 900})
    found = _drawn(page)
    assert (len(found["z"]), len(found["z"][0]), found["dx"]) == (64, 1024, 2)
    assert page.locator("#experts-bins").inner_text() == "Each column shows the busiest of 2 experts."
    page.locator("#experts-range").select_option("1\u202f792 to 2\u202f047")
    found = _drawn(page)
    assert (len(found["z"][0]), found["dx"], found["x0"]) == (256, 1, 1792)
    assert "expert 1792<br>" in found["text"][5][0]
    assert page.locator("#experts-bins").inner_text() == ""


def test_a_narrow_window_begins_with_the_first_stretch(visit: Visit) -> None:
    page = visit(LARGE, viewport={"width": 390, "height": 800})
    assert page.locator("#experts-range").input_value() == "0"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_experts_without_a_token_have_a_colour_of_their_own(visit: Visit) -> None:
    page = visit(LARGE)
    page.locator("#experts-range").select_option("0")
    page.locator("#experts-phase").select_option("decode")
    assert _drawn(page)["dead"] > 0
    assert page.locator("#experts .swatch.dead").is_visible()


def test_a_theme_changes_the_colours_of_the_map(visit: Visit) -> None:
    page = visit(SMALL, color_scheme="light")
    before = _drawn(page)["scale"]
    page.get_by_role("button", name="Dark theme").click()
    assert all(a != b for a, b in zip(before, _drawn(page)["scale"], strict=True))


def test_pointing_at_a_cell_explains_it(visit: Visit) -> None:
    page = visit(SMALL, viewport={"width": 1280, "height": 1000})
    page.locator("[data-experts]").scroll_into_view_if_needed()
    box = page.locator("[data-experts] .nsewdrag").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 16, box["y"] + box["height"] / 4)
    label = page.locator("[data-experts] .hovertext")
    label.wait_for(state="attached")
    assert "layer 1, expert 0" in (label.text_content() or "")


def test_all_charts_are_drawn(visit: Visit) -> None:
    page = visit(SMALL)
    boxes = "#experts [data-figure], #roofline [data-figure]"
    sites.until(
        page, f"[...document.querySelectorAll('{boxes}')].every((box) => box.querySelector('.trace'))"
    )
    ids = page.locator(boxes).evaluate_all(
        "boxes => boxes.map((box) => box.dataset.figure)"
    )
    assert ids == ["figure-distinct-decode", "figure-distinct-prefill", "figure-roofline"]
    tables = page.locator("#roofline table")
    # a row a phase and load, in the first table one more for both
    assert [tables.nth(number).locator("tbody tr:has(td)").count() for number in (0, 1)] == [3 * 3, 3 * 2]


def test_a_figure_shows_what_it_was_counted_from_and_its_layers(visit: Visit) -> None:
    page = visit(SMALL)
    page.locator("#experts table button.number").first.click()
    drawer = page.get_by_role("dialog", name="Busiest, all layers: Balance of the experts' load, chat, prefill")
    layers = drawer.locator("section", has_text="Each layer").locator("button.number")
    layers.first.wait_for()
    assert layers.count() == 2 and "capture hook" in drawer.inner_text()
    assert drawer.locator(".records a").count() == 1
    layers.first.click()
    page.get_by_role("dialog", name="Busiest, layer 1: Balance of the experts' load, chat, prefill").wait_for()
    assert "routing.balance-chat-prefill-1-0" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(visit: Visit, scheme: str) -> None:
    page = visit(HOSTILE, color_scheme=scheme)
    page.locator("#experts details").evaluate_all("all => all.forEach((one) => { one.open = true })")
    assert page.evaluate(sites.POOR_CONTRAST) == []
    cells = page.locator("table.heat td[style]").evaluate_all(
        "cells => cells.map((cell) => [cell, document.body].map((one) => getComputedStyle(one).backgroundColor))"
    )
    assert cells and all(shaded != ground for shaded, ground in cells)


def test_nothing_overflows_on_a_phone(visit: Visit) -> None:
    for path in (SMALL, HOSTILE):
        page = visit(path, viewport={"width": 360, "height": 740})
        page.locator("#experts details").evaluate_all("all => all.forEach((one) => { one.open = true })")
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_hostile_tokens_and_names_are_text(visit: Visit) -> None:
    page = visit(HOSTILE)
    texts = page.locator("#experts code.token").all_inner_texts()
    assert "</script><script>alert(1)</script" [:31] + "\u2026" in texts
    assert {"\ufffdabc", "\u23ce\u21e5\u2423", "</code>", "x" * 31 + "\u2026"} <= set(texts)
    assert page.locator("#experts img, #experts code code").count() == 0
    assert "</script>" in page.locator("#experts-work option").first.inner_text()
    assert "</script>" in _words(page)


def test_a_failure_of_routing_stands_where_the_experts_would(visit: Visit) -> None:
    page = visit("models/small/failing.html")
    section = page.locator("#experts")
    assert section.locator(".mark.failed").count() == 1
    assert "</script>" in section.inner_text()
    assert page.locator("#figure-roofline, #roofline table, [data-experts]").count() == 0


def test_the_numbers_are_there_without_scripts(visit: Visit) -> None:
    page = visit(SMALL, java_script_enabled=False)
    assert page.get_by_role("group", name="Balance of the experts' load").is_visible()
    assert page.get_by_role("group", name="Expert parallelism", exact=True).is_visible()


def test_dense_models_have_no_experts(visit: Visit) -> None:
    page = visit("models/small/dense-active.html")
    assert page.locator("#experts").count() == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing_on_experts_and_roofline(visit: Visit, scheme: str, width: int) -> None:
    page = visit(SMALL, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.wait_for_selector("html[data-drawn]", state="attached")
    page.evaluate("""() => { for (const one of document.querySelectorAll("main details")) one.open = true; }""")
    assert axe.findings(page) == []
