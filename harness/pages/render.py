"""Page models and templates -> a site: one folder that works from disk, swapped in whole."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, StoreError
from harness.pages.assets import write_assets
from harness.resources import Folders
from harness.store import Store

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from harness.pages.parts import EvidenceFile
    from harness.pages.site import Site, SuitePages
    from harness.suite import Suite

MARKER = ".moebench-site"
_MARKER_TEXT = "Written by `moebench report`, which replaces this folder as a whole.\n"


def render_site(
    store: Store,
    out: Path,
    suites: Sequence[str] | None = None,
    *,
    folders: Folders,
    definitions: Mapping[str, Suite] | None = None,
) -> Path:
    """Writes the pages of `suites` (None: all that have records) to `out` and returns its index.html.

    The first named suite, or the one with the newest record, becomes index.html. The folder is built beside `out` and
    swapped in, so that nothing stale stays and a failure leaves the old site as it was. The same results give the same
    bytes. `definitions` are the suite files that are known, by name: they give titles, named comparisons and the
    leading load and score, and nothing else. Raises InputError where nothing is recorded, a suite is unknown, or `out`
    is a folder that is no site.
    """
    from harness.pages.site import build_site

    target = _checked_target(out, store)
    chosen = chosen_suites(store, suites)
    site = build_site(store, chosen, named=bool(suites), definitions=definitions, suites_dir=folders.suites)
    with _swapped_in(target) as folder:
        write_site(site, folder, folders.templates)
    return out / "index.html"


def write_site(site: Site, folder: Path, templates_dir: Path) -> None:
    """Writes every page, asset, export and record of a site into an existing empty folder."""
    (folder / MARKER).write_text(_MARKER_TEXT, encoding="utf-8")
    environment = jinja_environment(templates_dir)
    for page in site.pages:
        path = folder / page.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(environment.get_template(page.template).render(page=page), encoding="utf-8", newline="\n")
    write_assets(folder / "assets", templates_dir / "assets")
    for file in site.evidence_files():
        _write_evidence(file, folder)
    for suite in site.suites:
        _write_exports(suite, folder)
        _copy_records(suite, folder)


def jinja_environment(templates_dir: Path) -> Environment:
    """Templates that escape everything and refuse names that a page model does not have."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates_dir), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )
    environment.filters["json"] = script_json
    environment.filters["joined"] = joined
    return environment


_BEFORE_UNIT = re.compile(
    "(?<=[0-9]) (?=(?:%|points?|tokens/s|requests/s|USD|[kMGTP]?FLOPs|[kMGT]?B|[\u00b5m]?s|[mkM]?[JW]|[kMT])"
    "(?![\\w/-]))"
)


def joined(text: str) -> str:
    """`text` with spaces that no line breaks at between a number and its unit, and behind \u00b1."""
    return _BEFORE_UNIT.sub("\u00a0", text).replace("\u00b1 ", "\u00b1\u00a0")


def script_json(value: Any) -> Markup:
    """`value` as JSON that cannot leave a script element: <, >, & and line separators are escaped."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
    escaped = re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return Markup(escaped)  # noqa: S704 - nothing in it can end the script element


# What is rendered, and where to ----------------------------------------------------------------------------------


def chosen_suites(store: Store, suites: Sequence[str] | None) -> list[str]:
    """The suites to render, each once: `suites`, or all of the store. Raises InputError as `render_site` does."""
    known = store.suites()
    if not known:
        raise InputError(
            "there are no records to report", where=str(store.root), hint="first run: moebench run suites/pocket.yaml"
        )
    return list(dict.fromkeys(map(store.suite_named, suites))) if suites else known


def _checked_target(out: Path, store: Store) -> Path:
    """The real folder behind `out`, once it is certain that replacing it destroys nothing of somebody else's."""
    target, results = out.resolve(), store.root.resolve()
    if target == results or target.is_relative_to(results) or results.is_relative_to(target):
        raise InputError("the site and the records cannot share a folder", where=str(out), hint="give another --out")
    if target.is_dir():
        if any(target.iterdir()) and not (target / MARKER).is_file():
            raise InputError(
                "this folder is not empty and was not written by moebench report, so it is not replaced",
                where=str(out), hint="give another --out, or empty the folder yourself",
            )
    elif target.exists():
        raise InputError("this is a file, not a folder for a site", where=str(out), hint="give another --out")
    return target


@contextmanager
def _swapped_in(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place when the block ends well, and vanishes when it does not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise InputError(f"cannot write the site: {error.strerror}", where=str(target.parent)) from error
    try:
        new, old = workshop / "new", workshop / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise InputError(f"cannot write the site: {error}", where=str(target)) from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


# Exports, records ------------------------------------------------------------------------------------------------


def _write_exports(suite: SuitePages, folder: Path) -> None:
    """Writes the exports of a suite below `folder`."""
    from harness.pages.exported import export_files

    for path, content in export_files(suite.view):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _write_evidence(file: EvidenceFile, folder: Path) -> None:
    """Writes what stands behind numbers as a script that `drawer.js` loads when it is asked for."""
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    text = f"moebenchEvidence({script_json(file.name)},{script_json(file.content)});\n"
    target.write_text(text, encoding="utf-8", newline="\n")


def _copy_records(suite: SuitePages, folder: Path) -> None:
    for source, relative in suite.record_copies:
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise StoreError(f"cannot copy the record: {error.strerror}", where=str(source)) from error
