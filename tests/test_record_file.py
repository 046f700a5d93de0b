"""Records as files: every version that was ever written, and messages for what is no record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders import serving_record

from harness.errors import StoreError
from harness.migrations import MIGRATIONS
from harness.record import SCHEMA_VERSION, Completed, ServingMeasurement
from harness.record_file import parse_record, read_record
from harness.scenario import ServingScenario
from harness.timeline import token_times

GOLDEN = sorted((Path(__file__).parent / "golden").glob("record-v*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_stored_records_can_be_read_for_ever(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    record = parse_record(text, where=path.name)
    if json.loads(text)["schema_version"] == SCHEMA_VERSION:
        assert json.loads(record.model_dump_json()) == json.loads(text)


def test_every_schema_version_has_golden_files_and_a_migration() -> None:
    kinds = {json.loads(path.read_text(encoding="utf-8"))["schema_version"] for path in GOLDEN}
    assert kinds == set(range(1, SCHEMA_VERSION + 1))
    assert set(MIGRATIONS) == set(range(1, SCHEMA_VERSION))


def test_a_record_of_version_1_keeps_every_time_and_is_no_cell_of_today() -> None:
    text = GOLDEN[0].with_name("record-v1.json").read_text(encoding="utf-8")
    old, record = json.loads(text), parse_record(text, where="v1")
    assert isinstance(record.cell.scenario, ServingScenario)
    assert isinstance(record.outcome, Completed)
    assert record.cell.scenario.version == 1
    measured = record.outcome.measurement
    assert isinstance(measured, ServingMeasurement)
    before = old["outcome"]["measurement"]
    steps = np.asarray(measured.steps_s)
    for now, then in zip(measured.requests, before["requests"], strict=True):
        assert token_times(now.tokens, steps).tolist() == then["token_times_s"]
        assert now.arrival_s == now.submitted_s == then["arrival_s"]
    assert measured.step_time_s + measured.submit_time_s == pytest.approx(before["engine_time_s"])
    today = record.cell.model_copy(update={"scenario": record.cell.scenario.model_copy(update={"version": 2})})
    assert today.id != record.cell.id


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{", '{"schema_version": '])
def test_what_is_no_record_is_named(text: str) -> None:
    with pytest.raises(StoreError, match="no JSON with a schema_version") as caught:
        parse_record(text, where="results/a.json")
    assert caught.value.where == "results/a.json"


@pytest.mark.parametrize("version", [0, -1, SCHEMA_VERSION + 1, "1", None, 1.5])
def test_unknown_versions_are_refused_with_the_next_step(version: object) -> None:
    raw = {**json.loads(serving_record().model_dump_json()), "schema_version": version}
    with pytest.raises(StoreError, match="upgrade this one"):
        parse_record(json.dumps(raw), where="here")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"repeat": "0"}, "repeat"), ({"surplus": 1}, "surplus"), ({"outcome": {"status": "lost"}}, "outcome"),
        ({"environment": {}}, "environment.processor"), ({"duration_s": None}, "duration_s"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], place: str) -> None:
    raw = {**json.loads(serving_record().model_dump_json()), **change}
    with pytest.raises(StoreError) as caught:
        parse_record(json.dumps(raw), where="here")
    assert caught.value.what.startswith(place)


def test_a_missing_key_is_named() -> None:
    raw = json.loads(serving_record().model_dump_json())
    del raw["cell"]["subject"]["revision"]
    with pytest.raises(StoreError, match=r"cell\.subject\.revision: Field required"):
        parse_record(json.dumps(raw), where="here")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (binary, tmp_path / "absent.json"):
        with pytest.raises(StoreError) as caught:
            read_record(path)
        assert caught.value.where == str(path)
