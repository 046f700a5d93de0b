from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import builders
import pyarrow as pa
import pytest
import sites
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from harness import index_rows, store_index
from harness.environment import Ceilings, Environment, ReadRate
from harness.errors import StoreError
from harness.index_rows import FIGURES, row_of, time_of
from harness.metrics import METRICS
from harness.places import Entry
from harness.record import Completed, Origin, QualityMeasurement, Record
from harness.scenario import MemoryScenario
from harness.store import Store
from harness.store_index import FILE, StoreIndex, open_index, read_needed
from harness.summarise import summarise

pytestmark = pytest.mark.slow

SUITE = builders.SUITE


def ceilings_of(run: int) -> Environment:
    seen = Ceilings(
        reads=(ReadRate(working_set_bytes=1 << 20, bytes_per_s=1e10 + run),),
        matmul_flops_per_s={"bfloat16": 1e12 - run}, duration_s=0.1 * run,
    )
    return builders.ENVIRONMENT.model_copy(update={"ceilings": seen})


def needed_of(store: Store) -> list[tuple[Path, Record]]:
    problems: list[StoreError] = []
    entries = read_needed(store, SUITE, problems)[1]
    assert not problems
    return entries


# The law: the chosen records say what all say --------------------------------------------------------------------

ORIGIN = Origin(tool="guidellm", file="one.json", fingerprint="sha256:" + "0" * 64)
ENGINES = ({"max_model_len": 256}, {"max_model_len": 512})


@st.composite
def attempts(draw: st.DrawFn) -> dict[str, Any]:
    """What one record of a history may be; few choices, so that cells, repeats, times and runs meet."""
    model = draw(st.sampled_from(["moe-8x2", "dense-active"]))
    run = draw(st.integers(0, 3))
    return {
        "kind": draw(st.sampled_from(["serving", "short", "memory", "facts", "sort"])),
        "outcome": draw(st.sampled_from(["completed", "completed", "failed", "refused", "skipped"])),
        "value": draw(st.integers(1, 5)),
        "changes": {
            "subject": builders.subject(model, engine=draw(st.sampled_from(ENGINES))),
            "repeat": draw(st.integers(0, 1)), "minutes": float(draw(st.integers(0, 9))), "run_id": f"run-{run}",
            "config": draw(st.sampled_from([builders.CONFIGS[model], {}])),
            "origin": draw(st.sampled_from([None, None, ORIGIN])),
            "environment": draw(st.sampled_from([builders.ENVIRONMENT, ceilings_of(run)])),
        },
    }


def record_of(number: int, attempt: dict[str, Any]) -> Record:
    scenarios: dict[str, Any] = {
        "serving": builders.serving_scenario(2), "short": builders.serving_scenario(2, requests=9),
        "memory": MemoryScenario(), "facts": builders.quality_scenario("facts"),
        "sort": builders.quality_scenario("sort"),
    }
    kind, value, changes = attempt["kind"], attempt["value"], {**attempt["changes"], "id": f"{number:012x}"}
    scenario = scenarios[kind]
    if attempt["outcome"] != "completed":
        make: Callable[..., Record] = {
            "failed": builders.failed_record, "refused": builders.refused_record, "skipped": builders.skipped_record,
        }[attempt["outcome"]]
        return make(scenario=scenario, **changes)
    if kind == "memory":
        return builders.memory_record(resident_bytes=900_000_000 + value, **changes)
    if kind in ("facts", "sort"):
        return builders.quality_record(task=kind, item_scores=(float(value > 2), 1.0, 0.0), **changes)
    return builders.serving_record(scenario=scenario, tokens_per_s=100.0 * value, **changes)


@settings(max_examples=60)
@given(st.lists(attempts(), min_size=1, max_size=30))
def test_the_needed_records_say_what_all_say(history: list[dict[str, Any]]) -> None:
    records = [record_of(number, attempt) for number, attempt in enumerate(history)]
    with TemporaryDirectory() as folder:
        store = sites.store_of(Path(folder), records)
        everything = list(store.read(SUITE))
        index, entries = read_needed(store, SUITE, [])
        assert summarise(entries, seen=index.seen_ceilings()) == summarise(everything)
        assert summarise(entries, tasks=("facts",), seen=index.seen_ceilings()) == summarise(
            everything, tasks=("facts",)
        )
        assert len(index) == len(records)


def test_of_many_nights_only_the_newest_is_needed(tmp_path: Path) -> None:
    nights = [
        builders.serving_record(minutes=1440.0 * night, repeat=repeat, run_id=f"night-{night}", id=f"{night}-{repeat}")
        for night in range(20) for repeat in range(3)
    ]
    entries = needed_of(sites.store_of(tmp_path, nights))
    assert sorted(record.id for _, record in entries) == ["19-0", "19-1", "19-2"]


def test_a_failure_keeps_the_measurement_before_it(tmp_path: Path) -> None:
    records = [
        builders.serving_record(minutes=0, id="old"), builders.serving_record(minutes=1, id="good"),
        builders.failed_record(scenario=builders.serving_scenario(8), minutes=2, id="bad"),
    ]
    entries = needed_of(sites.store_of(tmp_path, records))
    assert sorted(record.id for _, record in entries) == ["bad", "good"]


# Rows ------------------------------------------------------------------------------------------------------------


def test_a_row_has_the_figures_of_its_record() -> None:
    row = row_of(builders.serving_record(tokens_per_s=123.0, minutes=3))
    assert row["output_tokens_per_s"] == pytest.approx(123.0)
    assert row["ttft_p99_s"] > 0
    assert time_of(row["started_us"]) == builders.serving_record(minutes=3).started_at
    assert row["model"] == "moe-8x2"
    assert row["cell"] == builders.serving_record().cell.id
    memory = row_of(builders.memory_record(resident_bytes=77_000_000, devices=(builders.device_memory(),)))
    assert memory["resident_peak_bytes"] == 77_000_000
    assert memory["device_peak_bytes"] == 29_000_000_000
    assert row_of(builders.quality_record(item_scores=(1.0, 0.0, 0.0, 1.0)))["score"] == 0.5


def test_a_row_without_a_measurement_says_why() -> None:
    row = row_of(builders.failed_record(error="timeout", message="x" * 5000))
    assert (row["status"], row["error"], len(row["reason"])) == ("failed", "timeout", index_rows.REASON_LIMIT)
    assert not set(row) & set(FIGURES)


def test_every_figure_is_a_metric() -> None:
    assert set(FIGURES) <= set(METRICS)


def test_a_score_without_a_listed_one_is_that_of_the_items() -> None:
    record = builders.quality_record(item_scores=(1.0, 0.0, 1.0, 1.0))
    assert isinstance(record.outcome, Completed)
    assert isinstance(record.outcome.measurement, QualityMeasurement)
    measured = record.outcome.measurement.model_copy(update={"scores": ()})
    assert index_rows.main_score(measured) == 0.75
    assert index_rows.main_score(measured.model_copy(update={"samples": ()})) is None


# Keeping it up to date -------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return sites.store_of(tmp_path / "results", builders.small_suite_records(repeats=2, items=5))


def file_of(store: Store) -> Path:
    return store.root / SUITE / FILE


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read into the index."""
    seen: list[str] = []
    rows_of = index_rows.rows_of

    def spy(suite: Path, files: list[tuple[str, int]]) -> Any:
        seen.extend(path for path, _ in files)
        return rows_of(suite, files)

    monkeypatch.setattr(store_index, "rows_of", spy)
    return seen


def as_read(store: Store) -> list[tuple[Path, str]]:
    return [(path, record.cell.id) for path, record in store.read(SUITE, [])]


def rows(index: StoreIndex) -> list[tuple[Path, str]]:
    return [(index.folder / path, cell) for path, cell in zip(index.paths, index.words("cell"), strict=True)]


def test_it_has_every_record_in_the_order_of_the_files(store: Store) -> None:
    index, problems = open_index(store, SUITE)
    assert rows(index) == as_read(store)
    assert not problems
    assert store.suites() == [SUITE]
    assert file_of(store) not in store.files(SUITE)


def test_only_new_files_are_read(store: Store, read: list[str]) -> None:
    open_index(store, SUITE)
    assert len(read) == len(store.files(SUITE))
    read.clear()
    open_index(store, SUITE)
    assert read == []
    added = store.append(builders.serving_record(model="another", minutes=9))
    index, _ = open_index(store, SUITE)
    assert read == [f"{added.parent.name}/{added.name}"]
    assert rows(index) == as_read(store)


def test_nothing_is_written_where_nothing_changed(store: Store) -> None:
    open_index(store, SUITE)
    before = file_of(store).stat().st_mtime_ns, file_of(store).stat().st_ino
    open_index(store, SUITE)
    assert (file_of(store).stat().st_mtime_ns, file_of(store).stat().st_ino) == before
    assert [file.name for file in (store.root / SUITE).iterdir() if file.is_file()] == [FILE]


def test_removed_files_leave_it(store: Store) -> None:
    open_index(store, SUITE)
    for file in store.files(SUITE)[::3]:
        file.unlink()
    assert rows(open_index(store, SUITE)[0]) == as_read(store)
    for file in store.files(SUITE):
        file.unlink()
    assert len(open_index(store, SUITE)[0]) == 0


def test_a_file_of_another_size_is_read_again(store: Store) -> None:
    open_index(store, SUITE)
    file = store.files(SUITE)[0]
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"run_id":"run-1"', '"run_id":"another"'), encoding="utf-8")
    assert open_index(store, SUITE)[0].words("run_id")[0] == "another"


def test_damaged_records_are_told_and_tried_again(store: Store) -> None:
    file = store.files(SUITE)[1]
    text = file.read_text(encoding="utf-8")
    file.write_text("{", encoding="utf-8")
    for _ in range(2):
        index, problems = open_index(store, SUITE)
        assert [problem.where for problem in problems] == [str(file)]
        assert rows(index) == as_read(store)
    file.write_text(text, encoding="utf-8")
    assert not open_index(store, SUITE)[1]


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_a_damaged_index_is_made_again(store: Store, content: bytes) -> None:
    file_of(store).write_bytes(content)
    assert rows(open_index(store, SUITE)[0]) == as_read(store)
    assert parquet.read_metadata(file_of(store)).num_rows == len(store.files(SUITE))


def test_another_programs_file_is_made_again(store: Store) -> None:
    parquet.write_table(pa.table({"path": ["other"]}), file_of(store))
    assert parquet.read_schema(file_of(store)).metadata is None
    assert rows(open_index(store, SUITE)[0]) == as_read(store)


def test_a_damaged_byte_anywhere_never_changes_what_it_says(store: Store) -> None:
    open_index(store, SUITE)
    whole, wanted = file_of(store).read_bytes(), as_read(store)
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file_of(store).write_bytes(bytes(damaged))
        assert rows(open_index(store, SUITE)[0]) == wanted


def test_other_rules_make_it_again(store: Store, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    open_index(store, SUITE)
    read.clear()
    monkeypatch.setattr(index_rows, "VERSION", 99)
    index_rows.rules.cache_clear()
    index_rows.schema.cache_clear()
    try:
        open_index(store, SUITE)
    finally:
        monkeypatch.undo()
        index_rows.rules.cache_clear()
        index_rows.schema.cache_clear()
    assert len(read) == len(store.files(SUITE))


def test_it_is_kept_in_memory_where_nothing_can_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(parquet, "write_table", refuse)
    assert rows(open_index(store, SUITE)[0]) == as_read(store)
    assert not file_of(store).exists()
    assert f"{file_of(store)}: cannot keep the index (no)" in caplog.text


def test_a_folder_of_its_name_is_in_nobodys_way(store: Store) -> None:
    file_of(store).mkdir()
    assert rows(open_index(store, SUITE)[0]) == as_read(store)
    assert not [file for file in (store.root / SUITE).iterdir() if file.name.endswith(".tmp")]


def test_a_record_that_broke_since_gives_way_to_the_one_before(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, [
        builders.serving_record(minutes=minute, id=f"at-{minute}") for minute in range(3)
    ])
    open_index(store, SUITE)
    newest = store.files(SUITE)[-1]
    newest.write_bytes(b"x" * newest.stat().st_size)
    problems: list[StoreError] = []
    index, entries = read_needed(store, SUITE, problems)
    assert [record.id for _, record in entries] == ["at-1"]
    assert [problem.where for problem in problems] == [str(newest)]
    assert len(index) == 2


def test_a_record_that_became_another_of_its_size_is_seen(tmp_path: Path) -> None:
    records = [builders.serving_record(minutes=minute, id=f"at-{minute}") for minute in range(3)]
    store = sites.store_of(tmp_path, records)
    open_index(store, SUITE)
    first, newest = store.files(SUITE)[0], store.files(SUITE)[-1]
    text = first.read_text(encoding="utf-8").replace('"at-0"', '"xx-0"')
    newest.write_text(text + " " * (newest.stat().st_size - len(text)), encoding="utf-8")
    assert [record.id for _, record in needed_of(store)] == ["at-1"]


def test_several_processes_give_the_same_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "harness")
    one = open_index(store, SUITE)[0]
    file_of(store).unlink()
    monkeypatch.setattr(store_index, "_MANY", 2)
    monkeypatch.setattr(store_index, "_CHUNK", 7)
    several = open_index(store, SUITE)[0]
    assert several.table.equals(one.table)
    assert "new records of 'small' into its index" in caplog.text


def test_names_that_are_no_text_are_kept(store: Store) -> None:
    file = store.files(SUITE)[0]
    odd = file.with_name(os.fsdecode(b"\xff\xfe.json"))
    file.rename(odd)
    open_index(store, SUITE)
    assert rows(open_index(store, SUITE)[0]) == as_read(store)


# What it is for --------------------------------------------------------------------------------------------------


def site_of(store: Store, out: Path) -> dict[str, bytes]:
    folder = sites.render(store, out).parent
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_pages_are_the_same_with_and_without_it(tmp_path: Path) -> None:
    nights = [
        record.model_copy(update={
            "id": f"{night}{record.id[:10]}", "run_id": f"night-{night}",
            "started_at": record.started_at.replace(day=5 + night),
        })
        for night in range(3) for record in builders.small_suite_records(repeats=2, items=5)
    ]
    store = sites.store_of(tmp_path / "results", nights)
    fresh = site_of(store, tmp_path / "a")
    assert file_of(store).is_file()
    assert site_of(store, tmp_path / "b") == fresh
    file_of(store).unlink()
    assert site_of(store, tmp_path / "c") == fresh


def test_entries_and_rows_agree_on_age() -> None:
    naive = builders.serving_record().model_copy(update={"started_at": builders.START.replace(tzinfo=None)})
    assert time_of(row_of(naive)["started_us"]) == Entry(Path("x"), naive, "").when[0]
