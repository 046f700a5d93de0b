"""A whole site in one file: its first page in sight, the others as inert text that standalone.js swaps in.

An address in the file is `#/models/x.html`; a place on the page follows as `#place`, the page's state after `?`.
Nothing is asked of the file's neighbours or of a network: styles, scripts, libraries and the smaller exports are
inside, and what is not, such as the record files, is named as text.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape, unescape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from harness.errors import InputError
from harness.pages.assets import assets_of
from harness.pages.exported import export_files
from harness.pages.inlining import inert_file, inert_page, inline_script, inline_style
from harness.pages.render import chosen_suites, jinja_environment, script_json
from harness.resources import Folders
from harness.store import Store

if TYPE_CHECKING:
    from jinja2 import Environment

    from harness.pages.parts import EvidenceFile, Page
    from harness.pages.site import Site
    from harness.suite import Suite

_ENDINGS = (".html", ".htm")
LARGE_BYTES = 50_000_000
"""Beyond this a report is slow to open and to send; the folder is the better form."""
EXPORT_LIMIT_BYTES = 5_000_000
"""A larger export is named in the file but not put into it."""

_MARKER = "<!-- Written by `moebench report --standalone`, which replaces this file as a whole. -->"
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_NO_SCRIPT = (
    '<noscript><p class="page small">The other pages of this report are inside this file and need JavaScript.</p>'
    "</noscript>\n"
)
_BEGIN, _END = "<!-- page -->\n", "<!-- end of the page -->\n"
_LINK = re.compile(r'<a\b[^>]*?\shref="#/([^"#?]*)[^"]*"[^>]*>(.*?)</a>', re.DOTALL)
_STYLE = re.compile(r'<link rel="stylesheet" href="#/assets/([^"]+)">\n')
_SCRIPT = re.compile(r'<script (?:defer|type="text/plain" data-after="\w+") src="#/assets/([^"]+)"></script>\n')


def render_standalone(
    store: Store,
    out: Path,
    suites: Sequence[str] | None = None,
    *,
    folders: Folders,
    definitions: Mapping[str, Suite] | None = None,
) -> Path:
    """Writes the pages of `suites` (None: all that have records) into the one file `out` and returns it.

    The arguments are those of `render_site`. The file is written under another name and renamed, so that a failure
    leaves the old one as it was. The same results give the same bytes. Raises InputError where nothing is recorded,
    a suite is unknown, or `out` is a folder, or a file that is no such report.
    """
    from harness.pages.site import build_site

    target = _checked_file(out)
    chosen = chosen_suites(store, suites)
    site = build_site(store, chosen, named=bool(suites), definitions=definitions, suites_dir=folders.suites)
    with _renamed_to(target) as file:
        for piece in pieces_of(site, folders.templates):
            file.write(piece.encode("utf-8"))
    return out


def size_warning(report: Path) -> str:
    """What to say of a report that is slow to open; empty for others."""
    size = report.stat().st_size
    if size <= LARGE_BYTES:
        return ""
    return (
        f"{report} has {size / 1e6:.0f} MB and will be slow to open; without --standalone the same site is a folder "
        "whose pages load one by one, and --suite leaves suites out"
    )


def pieces_of(site: Site, templates_dir: Path) -> Iterator[str]:
    """The text of the file, piece by piece: what has to be read first comes first."""
    environment = jinja_environment(templates_dir)
    files = dict(_files_of(site))
    known = {page.path for page in site.pages} | files.keys()
    first, *others = site.pages
    assets = dict(assets_of(templates_dir / "assets"))
    html = _rendered(first, environment, known)
    used = set(_SCRIPT.findall(html))
    before, content, after = _split(html, first.path)
    yield _head(before, first, assets) + content + _NO_SCRIPT
    for page in others:
        html = _rendered(page, environment, known)
        used.update(_SCRIPT.findall(html))
        yield inert_page(page.path, _title(html), _split(html, page.path)[1])
    for path, content_of_file in files.items():
        yield inert_file(path, content_of_file)
    for file in site.evidence_files():
        yield _evidence(file)
    for name, text in assets.items():
        if name in used:
            yield f"<script>{inline_script(text)}</script>\n"
    yield after


# Pages -----------------------------------------------------------------------------------------------------------


class _InOneFile:
    """A page whose links lead to places in the file instead of to other files."""

    root = "#/"

    def __init__(self, page: Page) -> None:
        self._page = page

    def __getattr__(self, name: str) -> Any:
        return getattr(self._page, name)


def _rendered(page: Page, environment: Environment, known: set[str]) -> str:
    """A page as HTML, with links only to what is in the file."""
    html = environment.get_template(page.template).render(page=_InOneFile(page))
    return _LINK.sub(lambda found: found[0] if unquote(unescape(found[1])) in known else _named(found), html)


def _named(link: re.Match[str]) -> str:
    """What stands for a link to a file that is not inside: the same words, with the file's place behind them."""
    path = escape(unquote(unescape(link[1])))
    place = "results/" + path.removeprefix("records/") if path.startswith("records/") else f"not in this file: {path}"
    words = f'{link[2]}<span class="unseen">: {place}</span>'
    return f'<button type="button" class="mark plain" data-tip="{place}">{words}</button>'


def _split(html: str, path: str) -> tuple[str, str, str]:
    """What stands before the page's own part, that part, and what follows. Raises InputError for another template."""
    before, begin, rest = html.partition(_BEGIN)
    content, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError(f"the template has no {_BEGIN.strip()} and {_END.strip()}", where=path)
    return before, content, after


def _title(html: str) -> str:
    found = re.search(r"<title>(.*?)</title>", html, re.DOTALL)
    return unescape(found[1]) if found else ""


def _head(before: str, first: Page, assets: Mapping[str, str]) -> str:
    """The document's beginning with its styles inside and no script from elsewhere."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    head = _SCRIPT.sub("", _STYLE.sub(lambda found: f"<style>{inline_style(assets[found[1]])}</style>\n", before))
    head = head.replace('<html lang="en"', f'{_MARKER}\n<html lang="en" data-first="{escape(first.path)}"', 1)
    return head.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{policy}', 1)


def _files_of(site: Site) -> Iterator[tuple[str, bytes]]:
    """The exports that are small enough, each with its place in the site."""
    for suite in site.suites:
        yield from (one for one in export_files(suite.view) if len(one[1]) <= EXPORT_LIMIT_BYTES)


def _evidence(file: EvidenceFile) -> str:
    """What stands behind numbers, where drawer.js finds it."""
    return f'<script type="application/json" id="{escape(file.element)}">{script_json(file.content)}</script>\n'


# The file --------------------------------------------------------------------------------------------------------


def _checked_file(out: Path) -> Path:
    """The real file behind `out`, once it is certain that replacing it destroys nothing of somebody else's."""
    target = out.resolve()
    if target.is_dir():
        raise InputError("this is a folder, not a file for a report", where=str(out), hint="give --out report.html")
    if out.suffix.lower() not in _ENDINGS:
        hint = f"give --out {out.name}.html"
        raise InputError("browsers show a file as a page only if its name ends in .html", where=str(out), hint=hint)
    if target.exists() and _MARKER not in _beginning(target):
        raise InputError(
            "this file was not written by moebench report --standalone, so it is not replaced", where=str(out),
            hint="give another --out, or remove the file yourself",
        )
    return target


def _beginning(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(500).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"cannot read what is there: {error.strerror}", where=str(path)) from error


@contextmanager
def _renamed_to(target: Path) -> Iterator[IO[bytes]]:
    """A new file beside `target` that takes its place when the block ends well, and vanishes when it does not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise InputError(f"cannot write the report: {error.strerror}", where=str(target.parent)) from error
    try:
        new = workshop / "new"
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except OSError as error:
        raise InputError(f"cannot write the report: {error}", where=str(target)) from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
