"""What holds of every chart: no tick loses its label where there is little room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sites import Visit

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
UNSEEN = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((box) => {
  const { left, right } = box.getBoundingClientRect();
  return [...box.querySelectorAll(".xtick text, .ytick text")].filter((one) => {
    const at = one.getBoundingClientRect();
    return one.textContent && (!one.checkVisibility() || at.left < left || at.right > right);
  }).map((one) => `${one.textContent} of ${box.getAttribute("aria-label")}`); })"""
# the charts with an axis of output as far as some round number, as a fast machine has it
FAR = """() => { for (const box of document.querySelectorAll("[data-figure]")) {
  const axis = JSON.parse(document.getElementById(box.dataset.figure).textContent).layout.xaxis;
  if (axis.type !== "log" || !axis.range) continue;
  window.Plotly.relayout(box, { "xaxis.range": [axis.range[0], 6.005], "xaxis.tickvals": [1000, 1000000],
    "xaxis.ticktext": ["1\u202f000", "1\u202f000\u202f000"] });
} }"""


@pytest.mark.parametrize("path", [
    "models/loads/moe-8x2.html", "pairs/loads-moe-8x2-dense-active.html", "pareto.html", "catalog.html",
])
def test_on_a_phone_every_tick_has_its_label(visit: Visit, path: str) -> None:
    page = visit(path, viewport=PHONE)
    page.wait_for_selector(".js-plotly-plot .xtick text", state="attached")
    assert page.evaluate(UNSEEN) == []


def test_a_label_at_the_very_end_of_an_axis_is_shown(visit: Visit) -> None:
    page = visit("models/loads/moe-8x2.html", viewport=PHONE)
    page.evaluate(FAR)
    page.wait_for_selector(".xtick text:text-is('1\u202f000\u202f000')", state="attached")
    assert page.evaluate(UNSEEN) == []
