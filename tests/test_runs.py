from __future__ import annotations

from pathlib import Path

import builders
import nights
import sites

from harness.record import Origin, Record
from harness.runs import Run, runs_of
from harness.store_index import open_index


def runs(root: Path, records: list[Record], most: int | None = None) -> list[Run]:
    return runs_of(open_index(sites.store_of(root, records), builders.SUITE)[0], most)[0]


def test_newest_first_with_what_they_measured(tmp_path: Path) -> None:
    found = runs(tmp_path, nights.nightly_records(9))
    assert [run.id for run in found] == [f"night-{night:03d}" for night in reversed(range(9))]
    newest = found[0]
    assert newest.models == ("dense-active", "moe-8x2")
    assert newest.cells == {"completed": 8, "failed": 0, "refused": 0, "skipped": 0}
    assert newest.duration_s == 180 + 12.5
    assert newest.versions == {
        "moebench": ("0.1.0",), "vllm": ("0.33.0",), "torch": ("2.11.0",), "lm_eval": ("0.4.9",),
    }
    assert newest.commits == (f"{8:040x}",)
    assert newest.machines == ("Example CPU, 2 cores, 8.00 GB",)
    assert not newest.tools
    assert found[9 - 1 - nights.FAILURE].cells["failed"] == 1


def test_reasons_are_grouped(tmp_path: Path) -> None:
    records = [
        builders.failed_record(
            model=model, scenario=builders.serving_scenario(load), message=message, id=f"{model}{load}",
        )
        for model, load, message in (
            ("a", 1, "no such file"), ("a", 2, "no such file"), ("b", 1, "no such file"), ("b", 2, "another"),
        )
    ]
    records.append(builders.failed_record(model="a", scenario=builders.serving_scenario(1), repeat=1))
    records.append(builders.refused_record(model="c"))
    (run,) = runs(tmp_path, records)
    assert [(one.state, one.words, one.cells, one.models) for one in run.reasons] == [
        ("failed", "load: no such file", 3, ("a", "b")), ("failed", "load: another", 1, ("b",)),
        ("refused", "needs 90 GB of 80 GB", 1, ("c",)),
    ]
    assert [one.what for one in run.reasons] == [
        ("chat, concurrency 1", "chat, concurrency 2"), ("chat, concurrency 2",), ("chat, concurrency 8",),
    ]
    assert run.cells == {"completed": 0, "failed": 4, "refused": 1, "skipped": 0}


def test_what_records_of_a_run_do_not_agree_on_is_told(tmp_path: Path) -> None:
    other = builders.accelerated().model_copy(update={"commit": "fedcba+"})
    (run,) = runs(tmp_path, [builders.serving_record(), builders.memory_record(environment=other, minutes=1)])
    assert run.machines == ("Example CPU, 2 cores, 8.00 GB", "1 \u00d7 Example GPU, 2 cores, 8.00 GB")
    assert run.commits == (str(builders.ENVIRONMENT.commit), "fedcba+")


def test_imports_name_their_tools(tmp_path: Path) -> None:
    origin = Origin(tool="guidellm", version="0.3", file="x.json", fingerprint="sha256:" + "0" * 64)
    (run,) = runs(tmp_path, [builders.serving_record(origin=origin)])
    assert run.tools == ("guidellm 0.3",)


def test_only_the_newest_are_told(tmp_path: Path) -> None:
    index = open_index(sites.store_of(tmp_path, nights.nightly_records(5)), builders.SUITE)[0]
    found, known = runs_of(index, 2)
    assert [run.id for run in found] == ["night-004", "night-003"]
    assert known == 5
