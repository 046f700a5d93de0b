"""Records: round trips, ids, and messages for what is no record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders import (
    ENVIRONMENT,
    accelerated,
    failed_record,
    memory_record,
    quality_record,
    quality_scenario,
    refused_record,
    serving_record,
    serving_scenario,
    skipped_record,
    subject,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import StoreError
from harness.migrations import MIGRATIONS
from harness.record import (
    SCHEMA_VERSION,
    Cell,
    Completed,
    Record,
    ServingMeasurement,
    parse_record,
    read_record,
)
from harness.scenario import (
    ClosedLoop,
    FixedLength,
    LogNormalLength,
    Offline,
    OpenLoop,
    RandomLengths,
    Replay,
    ServingScenario,
    TraceLengths,
    UniformLength,
)
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


def test_golden_ids_stay() -> None:
    """A cell's id names its results for ever: a change of the schema must not move it."""
    names = ("1", "2", "3", "3-routing", "3-routing-task")
    ids = {name: read_record(GOLDEN[0].with_name(f"record-v{name}.json")).cell.id for name in names}
    assert ids == {
        "3": "dcf7df216c8ef1675a84877073657edb48a02cda2e804a63b7cd0db1a89da92f",
        "3-routing": "19b111477bc7c1c7765a230a25c54591e36293ac09377c9ec71e042a025a0a70",
        "3-routing-task": "34a812a197fbcde3afaaa76f19bc976b8c49c29a370ac7a39c8cec97d2e9f0e7",
        "1": "18d7d7419321bbd8462a609ed0f93fdd6304a393d236501ae4b04a030b7e3f3c",
        "2": "dcf7df216c8ef1675a84877073657edb48a02cda2e804a63b7cd0db1a89da92f",
    }


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


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LENGTHS = st.one_of(
    st.builds(FixedLength, tokens=st.integers(1, 10**6)),
    st.builds(UniformLength, low=st.integers(1, 10), high=st.integers(10, 10**6)),
    st.builds(LogNormalLength, median=st.integers(5, 9), sigma=st.floats(0.1, 9), high=st.integers(10, 10**6)),
)
RECORDS = st.one_of(
    st.builds(
        lambda rate, repeat, load: serving_record(tokens_per_s=rate, repeat=repeat, concurrency=load),
        st.floats(1e-3, 1e9), st.integers(0, 99), st.integers(1, 9),
    ),
    st.builds(
        lambda scores, chance: quality_record(item_scores=tuple(scores), chance=chance),
        st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=5), st.none() | st.floats(0, 1),
    ),
    st.builds(lambda size: memory_record(weights_bytes=size), st.integers(0, 2**62)),
    st.builds(lambda error, message: failed_record(error=error, message=message), TEXT, TEXT),
    st.builds(lambda reason: refused_record(reason=reason), TEXT),
    st.builds(lambda reason: skipped_record(reason=reason), TEXT),
    st.builds(
        lambda load, lengths: failed_record(scenario=serving_scenario(load=load, lengths=lengths)),
        st.one_of(
            st.builds(ClosedLoop, concurrency=st.integers(1, 99)), st.just(Offline()),
            st.builds(OpenLoop, requests_per_s=st.floats(1e-3, 1e6), burstiness=st.floats(0.01, 1000)),
            st.builds(Replay, speed=st.floats(1e-3, 1e6)),
        ),
        st.one_of(
            st.builds(RandomLengths, prompt=LENGTHS, output=LENGTHS),
            st.builds(
                TraceLengths, file=TEXT, fingerprint=TEXT, rows=st.integers(1, 99), prompt_mean=st.floats(1, 1e6),
                output_mean=st.floats(1, 1e6), longest=st.integers(2, 10**6),
            ),
        ),
    ),
)


@given(RECORDS)
def test_round_trip(record: Record) -> None:
    again = parse_record(record.model_dump_json(), where="here")
    assert again == record
    assert again.cell.id == record.cell.id


def test_the_id_is_of_what_was_asked_and_nothing_else() -> None:
    one = serving_record()
    same = [
        serving_record(tokens_per_s=1.0, repeat=2, minutes=9, environment=accelerated(), config={}, group="g"),
        failed_record(),
    ]
    assert {record.cell.id for record in same} == {one.cell.id}
    others = [
        Cell(subject=subject(), scenario=serving_scenario(), seed=1),
        Cell(subject=subject(precision="float32"), scenario=serving_scenario(), seed=0),
        Cell(subject=subject(engine={"max_model_len": 512}), scenario=serving_scenario(), seed=0),
        Cell(subject=subject(), scenario=serving_scenario(4), seed=0),
        Cell(subject=subject(), scenario=quality_scenario(), seed=0),
    ]
    ids = {one.cell.id, *(cell.id for cell in others)}
    assert len(ids) == len(others) + 1
    assert all(len(found) == 64 and int(found, 16) >= 0 for found in ids)


def test_the_order_of_engine_arguments_does_not_matter() -> None:
    one, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    cells = [Cell(subject=subject(engine=engine), scenario=serving_scenario(), seed=0) for engine in (one, other)]
    assert cells[0].id == cells[1].id


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


def test_infinities_are_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        serving_record(duration_s=float("inf"))


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ENVIRONMENT.cores = 4  # type: ignore[misc]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (binary, tmp_path / "absent.json"):
        with pytest.raises(StoreError) as caught:
            read_record(path)
        assert caught.value.where == str(path)
