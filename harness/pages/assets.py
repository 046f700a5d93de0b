"""Style sheet, scripts and libraries of a site: ours from `templates/`, the others from installed packages."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError

_SCRIPTS = (
    "base", "state", "theme", "tips", "loads", "boxes", "tables", "pairs", "charts", "pareto", "pareto_words",
    "experts", "history", "standalone", "drawer", "nights", "print", "start",
)
"""Our scripts in order; they share one scope."""
_STYLES = (
    "base", "controls", "tables", "parts", "media", "drawer", "reach", "paper", "leaderboard", "pairs", "pareto",
    "runs", "numbers",
)
"""Our style sheets in order; of rules of equal weight the later one holds."""


def write_assets(folder: Path, own: Path) -> None:
    """Writes every asset into the new folder `folder`; `own` has ours. Raises InputError as `assets_of` does."""
    folder.mkdir()
    for name, text in assets_of(own):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def assets_of(own: Path) -> Iterator[tuple[str, str]]:
    """Every asset with its text: our styles and scripts from the folder `own`, DataTables, plotly.

    Raises InputError where a package is not installed or of another form than is known.
    """
    yield "moebench.css", own_style(own / "styles")
    yield "moebench.js", own_script(own / "scripts")
    bundle = _package_folder("itables") / "html" / "dt_bundle.js"
    yield "tables.js", classic_script(bundle.read_text(encoding="utf-8"), str(bundle))
    yield "tables.css", bundle.with_suffix(".css").read_text(encoding="utf-8")
    yield "plotly.min.js", (_package_folder("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def own_style(folder: Path) -> str:
    """Our style sheets as one."""
    return "\n".join((folder / f"{name}.css").read_text(encoding="utf-8") for name in _STYLES)


def own_script(folder: Path) -> str:
    """Our scripts as one, in a scope of their own."""
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return f'"use strict";\n(() => {{\n{chr(10).join(parts)}}})();\n'


def _package_folder(name: str) -> Path:
    """Where an installed package lies, found without importing it (itables alone would take most of a second)."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise InputError(f"the package {name!r} is not installed", hint=f"install it: pip install {name}")
    return Path(found.submodule_search_locations[0])


def classic_script(module: str, where: str) -> str:
    """An ES module as a script that sets `window.moebenchTables`: browsers load no modules from file:// addresses.

    The bundle imports nothing and ends in one export list, which becomes an object. Raises InputError otherwise.
    """
    exports = list(re.finditer(r"\bexport\s*\{([^{}]*)\}\s*;?", module))
    if len(exports) != 1:
        raise InputError("the table bundle has another form than expected", where=where, hint="use itables 2.5 to 2.9")
    entries = [entry.split(" as ") for entry in exports[0][1].split(",")]
    members = ",".join(f'"{entry[-1].strip()}":{entry[0].strip()}' for entry in entries)
    body = module[: exports[0].start()] + f"window.moebenchTables={{{members}}};" + module[exports[0].end() :]
    return f'(function(){{"use strict";{body}\n}})();\n'
