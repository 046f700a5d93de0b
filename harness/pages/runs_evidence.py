"""What stands behind the counts of a run: its records, cell by cell, with the machine and the versions.

One file a run, `evidence/_runs/<run>.js` (of a further suite `_runs-<suite>`), in the form of `harness.pages.evidence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.pages.commands import shell_word
from harness.pages.parts import EvidenceFile, Slugs, Terms
from harness.pages.suite_view import SuiteView
from harness.quantities import count_of, listed, plain
from harness.runs import SOFTWARE, STATES, Run, RunFile, files_of

RUNS = 60
"""The newest runs, whose records are listed; those of older nights are behind the points of each model's history."""
_TITLES = {"completed": "Measured cells", "failed": "Failed cells", "refused": "Refused cells",
           "skipped": "Skipped cells"}
_FORMULAS = {
    "completed": "Cells of which a repeat was measured", "failed": "Cells of which a repeat failed",
    "refused": "Cells that were refused before they began, with the reason in their record",
    "skipped": "Cells that were not needed, such as loads past saturation",
}


def runs_evidence(view: SuiteView, runs: Sequence[Run]) -> dict[str, EvidenceFile]:
    """The files of the newest `RUNS` of these, by the ids of the runs. The view has histories."""
    if view.histories is None:
        return {}
    slugs, folder = Slugs(), f"_{view.file('runs').removesuffix('.html')}"
    inside = {path for model in view.models for path in model.records}
    found = {}
    newest = runs[:RUNS]
    for run, files in zip(newest, files_of(view.histories.index, newest), strict=True):
        content = _content(view, run, files, inside)
        found[run.id] = EvidenceFile(f"{folder}.{slugs.of(run.id, run.id)}", content)
    return found


def _content(view: SuiteView, run: Run, files: dict[str, list[RunFile]], inside: set[Path]) -> dict[str, Any]:
    states = [state for state in STATES if run.cells[state]]
    records: list[dict[str, Any]] = []
    sources = []
    for state in states:
        sources.append(list(range(len(records), len(records) + len(files[state]))))
        records += [_row(view, run, file, inside) for file in files[state]]
    return {
        "suite": {"title": view.title, "page": view.path},
        "title": f"Run of {run.started:%Y-%m-%d %H:%M} UTC",
        "kind": "",
        "page": view.file("runs"),
        "method": "method.html",
        "command": f"moebench run {shell_word(view.argument)} --results again",
        "about": "Run",
        "subject": _terms(run),
        "notes": [],
        "config": None,
        "metrics": {state: {"title": _TITLES[state], "unit": "cells", "divisor": 1, "base": "",
                            "formula": _FORMULAS[state]} for state in states},
        "points": {},
        "estimates": {state: {"value": run.cells[state], "n": 1, "basis": 0, "sources": number}
                      for number, state in enumerate(states)},
        "bases": ["Counted from the records of the run, whatever their repeats"],
        "sources": sources,
        "records": records,
    }


def _terms(run: Run) -> Terms:
    terms = [
        ("Run", run.id), ("Models", count_of(len(run.models), "model")), ("Machine", "; ".join(run.machines)),
        ("Versions", ", ".join(f"{name} {listed(run.versions[name])}" for name in SOFTWARE if run.versions[name])),
        ("Commit", ", ".join(run.commits)),
    ]
    return [(term, plain(text, 1_000) or "not known") for term, text in terms]


def _row(view: SuiteView, run: Run, file: RunFile, inside: set[Path]) -> dict[str, Any]:
    """A record with a link where the report has it inside."""
    path = view.records.root / file.path
    row = {"text": f"results/{plain(file.path, 160)}", "what": plain(f"{file.model}, {file.what}", 160)}
    row |= {"href": view.records.link(path).href} if path in inside else {}
    return row | ({"origin": plain(listed(run.tools), 200)} if run.tools else {})
