from __future__ import annotations

from pathlib import Path

import builders
import nights
import pytest
import sites

from harness.pages import runs_page
from harness.pages.parts import Link
from harness.pages.runs_page import RunRow, RunsPage, duration_text
from harness.pages.site import build_site
from harness.record import Origin, Record

pytestmark = pytest.mark.slow


def page_of(root: Path, records: list[Record]) -> RunsPage:
    store = sites.store_of(root, records)
    pages = build_site(store, [builders.SUITE], named=False).pages
    return next(page for page in pages if isinstance(page, RunsPage))


def cells(page: RunsPage, row: RunRow) -> dict[str, str]:
    models = ", ".join(link.text for link in row.models.links)
    values = [
        row.started, *(one.text for one in row.before), models, row.measured.text, row.failed,
        *(one.text for one in row.after),
    ]
    return dict(zip([column.title for column in page.columns], values, strict=True))


def test_a_row_a_run_newest_first(tmp_path: Path) -> None:
    page = page_of(tmp_path, nights.nightly_records(9))
    assert page.menu == "Runs"
    assert page.path == "runs.html"
    assert [row.id for row in page.rows] == [f"night-{night:03d}" for night in reversed(range(9))]
    assert cells(page, page.rows[0]) == {
        "Started": "2026-01-13 08:01", "Duration": "3 min 12 s", "Models": "dense-active, moe-8x2", "Measured": "8",
        "Failed": "0",
        "Refused": "0", "Skipped": "0", "Machine": "Example CPU, 2 cores, 8.00 GB", "moebench": "0.1.0",
        "vLLM": "0.33.0", "torch": "2.11.0", "lm-eval": "0.4.9", "Commit": "0000000000",
    }
    assert page.lead == (
        "9 runs are recorded. The newest, of 2026-01-13 08:01 UTC, measured 8 cells of 2 models. "
        "One of the runs listed had cells that failed."
    )
    assert not page.cut


def test_failures_tell_why(tmp_path: Path) -> None:
    page = page_of(tmp_path, nights.nightly_records(9))
    (row,) = (row for row in page.rows if row.reasons)
    assert (row.id, row.failed, row.failed_order) == (f"night-{nights.FAILURE:03d}", "1", "1")
    (reason,) = row.reasons
    assert (reason.count, reason.state, reason.words, reason.what) == (
        "1 cell", "failed", "engine: CUDA error", "chat, concurrency 8",
    )
    assert reason.models.links == (Link("models/small/moe-8x2.html", "moe-8x2"),)


def test_models_are_links_and_many_are_cut(tmp_path: Path) -> None:
    def run(number: int, *models: str) -> list[Record]:
        return [
            builders.serving_record(model=model, run_id=f"run-{number}", minutes=number, id=f"{number}{model}")
            for model in models
        ]

    names = [f"m{number}" for number in range(8)]
    page = page_of(tmp_path, [*run(1, *names), *run(2, "m3"), *run(3, *names[1:])])
    some, one, everything = (row.models for row in page.rows)
    assert everything.links == (Link("index.html", "all 8"),) and not everything.more
    assert one.links == (Link("models/small/m3.html", "m3"),) and not one.more
    assert [link.text for link in some.links] == names[1:6] and some.more == "2 more models"
    assert [row.models.order for row in page.rows] == ["7", "1", "8"]
    index = sites.render(sites.store_of(tmp_path / "again", run(2, "m3")), tmp_path / "site")
    text = index.with_name("runs.html").read_text(encoding="utf-8")
    assert "<small>run-2</small>" in text
    assert '<td class="text models" data-order="1"><a href="models/small/m3.html">m3</a></td>' in text


def test_many_reasons_and_models_are_cut_with_their_number(tmp_path: Path) -> None:
    records = [
        builders.failed_record(model=f"model-{number}", message=f"reason {max(0, number - 7)}", id=f"f{number}")
        for number in range(25)
    ]
    page = page_of(tmp_path, [*records, builders.serving_record()])
    (row,) = page.rows
    assert row.more == "and 6 more reasons"
    first = row.reasons[0]
    assert [link.text for link in first.models.links] == [f"model-{number}" for number in range(5)]
    assert first.models.more == "3 more models" and first.what == "chat, concurrency 8"


def test_imports_are_marked_with_their_tool(tmp_path: Path) -> None:
    origin = Origin(tool="guidellm", version="0.3", file="x.json", fingerprint="sha256:" + "0" * 64)
    page = page_of(tmp_path, [builders.serving_record(origin=origin)])
    assert page.rows[0].tools == "guidellm 0.3"


def test_only_the_newest_runs_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_page, "MOST", 3)
    page = page_of(tmp_path, nights.nightly_records(5))
    assert len(page.rows) == 3
    assert page.cut == "Listed are the newest 3 of 5 runs."


def test_a_year_of_runs_is_lean(tmp_path: Path) -> None:
    index = sites.render(sites.store_of(tmp_path / "results", nights.nightly_records(40)), tmp_path / "site")
    page = index.with_name("runs.html").read_text(encoding="utf-8")
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    assert len(table) * 365 / 40 < 400_000


def test_hostile_words_are_text(tmp_path: Path) -> None:
    environment = builders.ENVIRONMENT.model_copy(update={
        "versions": {"vllm": sites.HOSTILE}, "commit": sites.HOSTILE, "processor": sites.HOSTILE,
    })
    record = builders.failed_record(
        error=sites.HOSTILE, message=sites.HOSTILE, run_id=sites.HOSTILE, environment=environment, model=sites.HOSTILE,
    )
    index = sites.render(sites.store_of(tmp_path / "results", [record, builders.serving_record()]), tmp_path / "site")
    page = index.with_name("runs.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "{{ 7*7 }}" in page


@pytest.mark.parametrize(("seconds", "text"), [
    (-3, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (725, "12 min 05 s"), (3599.6, "1 h 00 min"),
    (11_220, "3 h 07 min"), (4_000_000, "1\u202f111 h 06 min"),
])
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
