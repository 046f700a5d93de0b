"""Records: round trips, ids, and messages for what is no record."""

from __future__ import annotations

from pathlib import Path

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

from harness.record import Cell, Record
from harness.record_file import parse_record, read_record
from harness.scenario import (
    ClosedLoop,
    FixedLength,
    LogNormalLength,
    Offline,
    OpenLoop,
    RandomLengths,
    Replay,
    TraceLengths,
    UniformLength,
)

GOLDEN = sorted((Path(__file__).parent / "golden").glob("record-v*.json"))


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


def test_infinities_are_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        serving_record(duration_s=float("inf"))


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ENVIRONMENT.cores = 4  # type: ignore[misc]
