"""What axe-core finds on a page. Its file comes with axe-playwright-python, of which nothing else is used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Under all of WCAG 2.2 A and AA and axe-core's own advice, as "rule (impact): elements"; minor ones are left out.
_FINDINGS = """async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const rules = { "target-size": { enabled: true } };
  const found = await axe.run(document, { runOnly: { type: "tag", values: tags }, rules, preload: false });
  return found.violations.filter((one) => one.impact !== "minor")
    .map((one) => `${one.id} (${one.impact}): ${one.nodes.slice(0, 3).map((node) => node.target.join(" "))}`);
}"""


def findings(page: Page) -> list[str]:
    """Every moderate, serious or critical violation on the page as it is now."""
    if page.evaluate("window.axe === undefined"):
        page.add_script_tag(path=str(_script()))
    found: list[str] = page.evaluate(_FINDINGS)
    return found


def _script() -> Path:
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None, "axe-playwright-python is missing: install the dev extra"
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "axe.min.js"
