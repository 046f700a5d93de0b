"""What every page of a suite has around its content: the menu, the footer, the exports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.pages.parts import Link, NavigationLink, Page
from harness.pages.suite_view import SuiteView
from harness.quantities import capitalised, count_of, listed, plain
from harness.resources import own_version


def framed(pages: Sequence[Page], view: SuiteView, common: Sequence[Page], exports: Sequence[Link]) -> list[Page]:
    """The pages of one suite with menu and footer; the menu has those that name themselves for it, and `common`."""
    menu = [page for page in (*pages, *(one for one in common if one not in pages)) if page.menu]
    footer = _footer(view)
    return [
        replace(
            page, footer=footer, exports=tuple(exports),
            navigation=tuple(NavigationLink(one.path, one.menu, one.path == page.path) for one in menu),
        )
        for page in pages
    ]


def _footer(view: SuiteView) -> tuple[str, ...]:
    engines = {
        name: sorted({model.environment.versions[name] for model in view.models if name in model.environment.versions})
        for name in ("moebench", "vllm", "torch", "lm_eval")
    }
    measured = ", ".join(f"{name} {listed(found)}" for name, found in engines.items() if found)
    used = {path for model in view.models for path in model.records}
    records, cells = len(used), {path.parent for path in used}  # a cell's repeats lie in one folder
    newest = f"{view.newest:%Y-%m-%d %H:%M} UTC"
    version = own_version() or "from a checkout"
    lines = [
        (f"Written by moebench {version} from {count_of(records, 'record')} of {count_of(len(cells), 'cell')}, each "
         f"cell\u2019s newest repeats, the last of {newest}."),
        f"Measured with {plain(measured, 300) or 'unknown versions'}.",
    ]
    if view.problems:
        shown = plain("; ".join(view.problems[:5]), 1_000)
        lines.append(capitalised(f"{count_of(len(view.problems), 'record file')} could not be read: {shown}."))
    return tuple(lines)
