"""Behind the counts of a run lie its records."""

from __future__ import annotations

from pathlib import Path

import builders
import nights
import pytest
import sites

from harness.pages import runs_evidence
from harness.pages.runs_page import RunsPage
from harness.pages.site import Site, build_site
from harness.record import Record


def _site(root: Path, records: list[Record]) -> Site:
    return build_site(sites.store_of(root, records), [builders.SUITE], named=False)


def _page(site: Site) -> RunsPage:
    return next(page for page in site.pages if isinstance(page, RunsPage))


def test_every_count_of_a_run_opens_its_records(tmp_path: Path) -> None:
    records = nights.nightly_records(9)
    site = _site(tmp_path, records)
    page = _page(site)
    files = {file.name: file.content for file in page.evidence_files}
    assert len(files) == len(page.rows) == 9
    seen: list[str] = []
    for row in page.rows:
        for cell in (row.measured, *row.after):
            if cell.evidence:
                name, _, state = cell.evidence.rpartition(".")
                assert files[name]["estimates"][state]["value"] == int(cell.order)
        (content,) = [files[row.measured.evidence.rpartition(".")[0]]]
        told = [content["records"][index] for indices in content["sources"] for index in indices]
        assert dict(content["subject"])["Run"] == row.id
        seen += [one["text"] for one in told]
    assert len(seen) == len(set(seen)) == len(records)
    assert all((tmp_path / text.removeprefix("results/")).is_file() for text in seen)


def test_a_failed_cell_leads_to_its_record(tmp_path: Path) -> None:
    page = _page(_site(tmp_path, nights.nightly_records(9)))
    (row,) = (row for row in page.rows if row.reasons)
    name, _, state = row.evidence.rpartition(".")
    (content,) = (file.content for file in page.evidence_files if file.name == name)
    (index,) = content["sources"][content["estimates"][state]["sources"]]
    assert content["records"][index]["what"] == "moe-8x2, chat, concurrency 8"
    assert all(not other.evidence for other in page.rows if other is not row)


def test_only_records_that_the_site_has_are_links(tmp_path: Path) -> None:
    site = _site(tmp_path, nights.nightly_records(4))
    copied = {place for _, place in site.suites[0].record_copies}
    rows = [row for file in _page(site).evidence_files for row in file.content["records"]]
    linked = {row["href"] for row in rows if "href" in row}
    assert linked and linked <= copied
    assert len(linked) < len(rows)


def test_of_many_runs_the_newest_have_their_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_evidence, "RUNS", 3)
    page = _page(_site(tmp_path, nights.nightly_records(5)))
    assert [bool(row.measured.evidence) for row in page.rows] == [True] * 3 + [False] * 2
