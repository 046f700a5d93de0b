"""What stands behind every night of a model's history: its records, its run, its commit, versions and machine.

Two kinds of files, loaded when a reader first asks for a night. `evidence/<suite>/<model>/nights.js` has of every cell
its folder and the names of each night's records, one list a night, and numbers in `evidence/<suite>/__runs.js`, which
all models of the suite share: the ids of runs, and environments. A year of 4 cells is about 50 kB a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from harness.environment import Environment
from harness.history import Histories, NightRecords
from harness.pages.history_section import NIGHTS
from harness.pages.provenance import machine_terms
from harness.pages.suite_view import SuiteView
from harness.quantities import plain

NIGHTS_NAME, RUNS_NAME = "nights", "__runs"
"""The last parts of the names of the files; no model's begins with two underlines."""


def nights_evidence(view: SuiteView) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and content of each file of a suite, that of the runs at the end; none without a model of two nights."""
    histories = view.histories
    if histories is None:
        return
    suite = ""
    for model in view.models:
        name = view.evidence_of.get((model.model, False))
        found = histories.records_of(model) if name is not None else None
        if name is not None and found is not None:
            suite = name.partition(".")[0]
            yield f"{name}.{NIGHTS_NAME}", _nights(histories, found)
    if suite:
        yield f"{suite}.{RUNS_NAME}", _runs(histories)


def _nights(histories: Histories, found: NightRecords) -> dict[str, Any]:
    """Of the nights that are drawn: records of each cell by name, and the numbers of runs and environments."""
    paths, first = histories.index.paths, max(0, len(found.runs) - NIGHTS)
    cells = []
    for nights in found.cells:
        files = [[paths[row] for row in rows] for rows in nights[first:]]
        folder = next((file.partition("/")[0] for some in files for file in some), "")
        names = [[file[len(folder) + 1 :].removesuffix(".json") for file in some] for some in files]
        cells.append([folder, names])
    return {"runs": list(found.runs[first:]), "environments": list(found.environments[first:]), "cells": cells}


def _runs(histories: Histories) -> dict[str, Any]:
    """Ids of runs and environments by their numbers; of these the commit, and the number of all else."""
    ids, environments = (histories.index.codes(name)[1] for name in ("run_id", "environment"))
    machines: dict[str, int] = {}
    terms: list[list[tuple[str, str]]] = []
    rows = []
    for text in environments:
        fields = json.loads(text)
        commit = fields.pop("commit", None)
        key = json.dumps(fields, sort_keys=True)
        if key not in machines:
            machines[key] = len(machines)
            terms.append(machine_terms(Environment.model_validate_json(text)))
        rows.append([plain(str(commit or "not known"), 80), machines[key]])
    return {
        "folder": histories.index.folder.name, "ids": [plain(one, 120) for one in ids], "environments": rows,
        "machines": terms,
    }
