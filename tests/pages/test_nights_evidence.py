"""What stands behind the nights of a history: every record of every night is named, and nothing is told twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nights
import pytest
import sites

from harness.pages import nights_evidence as module
from harness.pages.evidence import evidence_files
from harness.pages.nights_evidence import nights_evidence
from harness.pages.render import script_json
from harness.pages.site import build_site
from harness.pages.suite_view import SuiteView
from harness.record import Record

pytestmark = pytest.mark.slow


def view_of(root: Path, records: list[Record]) -> SuiteView:
    store = sites.store_of(root, records)
    return build_site(store, [records[0].suite], named=False).suites[0].view


def files_of(root: Path, records: list[Record]) -> dict[str, dict[str, Any]]:
    return dict(nights_evidence(view_of(root, records)))


def test_one_night_has_none(tmp_path: Path) -> None:
    assert files_of(tmp_path, nights.nightly_records(1)) == {}


def test_every_record_of_every_night_is_named_and_there(tmp_path: Path) -> None:
    records = nights.nightly_records(9, repeats=2)
    files = files_of(tmp_path, records)
    assert list(files) == ["small.dense-active.nights", "small.moe-8x2.nights", "small.__runs"]
    runs = files["small.__runs"]
    named: dict[str, str] = {}
    for name in list(files)[:2]:
        content = files[name]
        for folder, by_night in content["cells"]:
            assert len(by_night) == len(content["runs"]) == len(content["environments"]) == 9
            for night, some in enumerate(by_night):
                run = runs["ids"][content["runs"][night]]
                named |= {f"{runs['folder']}/{folder}/{file}.json": run for file in some}
    assert all((tmp_path / path).is_file() for path in named)
    assert len(named) == len(records)
    expected = {record.id: record.run_id for record in records}
    assert {json.loads((tmp_path / path).read_text())["id"]: run for path, run in named.items()} == expected


def test_a_night_has_its_commit_and_its_versions(tmp_path: Path) -> None:
    files = files_of(tmp_path, nights.nightly_records(nights.UPGRADE + 2))
    content, runs = files["small.moe-8x2.nights"], files["small.__runs"]
    for night, code in enumerate(content["environments"]):
        commit, machine = runs["environments"][code]
        assert commit == nights.environment(night).commit
        versions = dict(runs["machines"][machine])["Versions"]
        assert ("vllm 0.33.0" in versions) == (night >= nights.UPGRADE)
    assert len(runs["machines"]) == 2


def test_a_failed_night_names_what_failed(tmp_path: Path) -> None:
    content = files_of(tmp_path, nights.nightly_records(9))["small.moe-8x2.nights"]
    assert all(len(some) == 1 for _, by_night in content["cells"] for some in by_night)


def test_only_the_nights_that_are_drawn_have_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NIGHTS", 4)
    files = files_of(tmp_path, nights.nightly_records(9))
    content = files["small.moe-8x2.nights"]
    assert [files["small.__runs"]["ids"][run] for run in content["runs"]] == [f"night-{n:03d}" for n in range(5, 9)]


def test_they_lie_below_their_model_and_no_model_takes_the_place_of_the_runs(tmp_path: Path) -> None:
    view = view_of(tmp_path, nights.nightly_records(3))
    paths = [file.path for file in evidence_files(view)]
    assert paths[-3:] == [
        "evidence/small/dense-active/nights.js", "evidence/small/moe-8x2/nights.js", "evidence/small/__runs.js",
    ]
    assert len(set(paths)) == len(paths)


def test_a_night_of_a_cell_is_some_forty_bytes(tmp_path: Path) -> None:
    found = [files_of(tmp_path / str(n), nights.nightly_records(n))["small.moe-8x2.nights"] for n in (5, 25)]
    few, many = (len(script_json(content)) for content in found)
    assert (many - few) / (20 * 4) < 60


def test_the_same_results_give_the_same_files(tmp_path: Path) -> None:
    view = view_of(tmp_path, nights.nightly_records(5))
    assert json.dumps(list(nights_evidence(view))) == json.dumps(list(nights_evidence(view)))
