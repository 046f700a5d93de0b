from __future__ import annotations

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import builders
import nights
import numpy as np
import pytest
import sites
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history import (
    CellHistory,
    Histories,
    Latest,
    ModelHistory,
    Series,
    _with_ends,
    environment_changes,
    latest_of,
)
from harness.record import Record
from harness.stats import mean_estimate
from harness.store_index import read_needed
from harness.summarise import summarise


def histories_of(root: Path, records: list[Record]) -> dict[str, ModelHistory | None]:
    store = sites.store_of(root, records)
    index, entries = read_needed(store, builders.SUITE, [])
    histories = Histories(index)
    return {model.model: histories.of(model) for model in summarise(entries, seen=index.seen_ceilings())}


def history_of(root: Path, records: list[Record], model: str = "moe-8x2") -> ModelHistory:
    found = histories_of(root, records)[model]
    assert found is not None
    return found


def served(history: ModelHistory, concurrency: int = 8) -> CellHistory:
    return next(cell for cell in history.cells if cell.point and cell.point.concurrency == concurrency)


def test_every_night_has_its_own_value(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(9))
    assert history.runs == tuple(f"night-{night:03d}" for night in range(9))
    assert list(history.times) == sorted(history.times)
    values = served(history).series["output_tokens_per_s"].values
    expected = [np.nan if night == nights.FAILURE else nights.rate("moe-8x2", night, 0) for night in range(9)]
    assert values.tolist() == pytest.approx(expected, nan_ok=True)
    assert np.isnan(served(history).series["output_tokens_per_s"].margins).all()


def test_repeats_have_a_mean_and_an_interval(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(3, repeats=3))
    series = served(history).series["output_tokens_per_s"]
    for night in range(3):
        estimate = mean_estimate([nights.rate("moe-8x2", night, repeat) for repeat in range(3)], "processes")
        assert estimate.high is not None
        assert series.values[night] == pytest.approx(estimate.value)
        assert series.margins[night] == pytest.approx(estimate.high - estimate.value)


def test_places_have_their_own_figures(tmp_path: Path) -> None:
    cells = {cell.place[0]: cell for cell in history_of(tmp_path, nights.nightly_records(2)).cells}
    assert set(cells["quality"].series) == {"score"}
    assert cells["quality"].place == ("quality", "facts")
    assert "ttft_p99_s" in cells["serving"].series
    assert cells["memory"].series["resident_peak_bytes"].values.tolist() == [900_000_000, 901_000_000]


def test_a_failed_night_is_marked_with_its_reason(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(9))
    assert served(history).failed == {nights.FAILURE: "engine: CUDA error"}
    assert served(history, 1).failed == {}


def test_a_night_of_which_a_repeat_failed_has_a_value(tmp_path: Path) -> None:
    records = nights.nightly_records(2)
    records.append(builders.failed_record(
        scenario=builders.serving_scenario(8), repeat=1, run_id="night-001", minutes=1500.0, id="x",
    ))
    assert served(history_of(tmp_path, records)).failed == {}


def test_what_was_not_needed_is_no_failure(tmp_path: Path) -> None:
    records = nights.nightly_records(2)
    records.append(builders.skipped_record(
        scenario=builders.serving_scenario(8), run_id="night-x", minutes=9000.0, id="x",
    ))
    assert served(history_of(tmp_path, records)).failed == {}


def test_changes_are_told_where_they_came(tmp_path: Path) -> None:
    assert history_of(tmp_path, nights.nightly_records(9)).changes == {nights.UPGRADE: ("vllm 0.32.0 \u2192 0.33.0",)}


def test_one_night_is_no_history(tmp_path: Path) -> None:
    found = histories_of(tmp_path, nights.nightly_records(1, repeats=3))
    assert set(found.values()) == {None}


def test_earlier_settings_are_not_drawn(tmp_path: Path) -> None:
    other = builders.serving_scenario(8, requests=64)
    old = [
        builders.serving_record(scenario=other, minutes=-1440.0 * night, run_id=f"old-{night}", id=f"old{night}")
        for night in range(1, 4)
    ]
    history = history_of(tmp_path, [*nights.nightly_records(3), *old])
    assert history.runs == ("night-000", "night-001", "night-002")


def test_the_newest_of_two_attempts_in_a_night_counts(tmp_path: Path) -> None:
    records = nights.nightly_records(2, models=("moe-8x2",))
    records.append(builders.serving_record(
        scenario=builders.serving_scenario(8), tokens_per_s=77.0, run_id="night-001", minutes=1500.0, id="again",
    ))
    series = served(history_of(tmp_path, records)).series["output_tokens_per_s"]
    assert series.values[1] == pytest.approx(77.0)
    assert np.isnan(series.margins[1])


class TestChanges:
    def test_a_commit_is_none(self) -> None:
        one, other = (builders.ENVIRONMENT.model_copy(update={"commit": commit}).model_dump() for commit in ("a", "b"))
        assert environment_changes(one, other) == ()

    def test_versions_driver_machine_and_system(self) -> None:
        before = builders.accelerated().model_copy(update={"driver": "570.1"}).model_dump()
        now = {
            **before, "driver": "580.2", "memory_bytes": 16_000_000_000, "system": "Linux-7",
            "versions": {"vllm": "0.33.0", "torch": "2.11.0"},
        }
        assert environment_changes(before, now) == (
            "vllm 0.32.0 \u2192 0.33.0", "lm_eval 0.4.9 \u2192 none", "moebench 0.1.0 \u2192 none",
            "python 3.11.9 \u2192 none", "driver 570.1 \u2192 580.2",
            "machine 1 \u00d7 Example GPU, 2 cores, 8.00 GB \u2192 1 \u00d7 Example GPU, 2 cores, 16.0 GB",
            "system Linux-6.1-x86_64 \u2192 Linux-7",
        )


class TestLatest:
    def series(self, *values: float | None) -> Series:
        found = np.asarray([np.nan if value is None else value for value in values])
        return Series(found, np.full(len(found), np.nan))

    def test_the_newest_beside_those_before(self) -> None:
        latest = latest_of(self.series(99, 1, 2, 3, 4, 5, None, 6, 7, 8, None))
        assert latest == Latest(9, 8.0, None, (1, 2, 3, 4, 5, 6, 7), 8, None)
        assert (latest.previous, latest.median) == (7.0, 4.0)

    def test_a_single_night(self) -> None:
        latest = latest_of(self.series(None, 3))
        assert latest == Latest(1, 3.0, None, (), None, None)
        assert latest.previous is latest.median is None and not latest.apart

    def test_both_intervals_are_those_of_their_nights(self) -> None:
        latest = latest_of(Series(np.array([1.0, 2.0, np.nan, 3.0]), np.array([0.1, 0.2, np.nan, np.nan])))
        assert latest is not None and (latest.margins, latest.previous_margins, latest.previous_night) == (
            None, (0.2, 0.2), 1,
        )

    @pytest.mark.parametrize(("values", "apart"), [
        ((1, 2, 3, 5), False), ((1, 2, 3, 5.1), True), ((1, 2, 3, -1), False), ((1, 2, 3, -1.1), True),
        ((2, 2, 2, 2), False), ((2, 2, 2, 2.1), True), ((1, 2, 9), False), ((None, 1, 2, None, 3, 6), True),
    ])
    def test_apart_is_beyond_the_range_before_by_more_than_its_width(
        self, values: tuple[float | None, ...], apart: bool
    ) -> None:
        latest = latest_of(self.series(*values))
        assert latest is not None and latest.apart == apart

    def test_nothing_measured(self) -> None:
        assert latest_of(self.series(None, None)) is None

    @given(st.lists(st.none() | st.floats(0, 1e9), max_size=30))
    def test_the_median_is_of_nights_that_measured(self, values: list[float | None]) -> None:
        known = [value for value in values if value is not None]
        latest = latest_of(self.series(*values))
        if not known:
            assert latest is None
            return
        assert latest is not None
        assert latest.value == known[-1]
        assert latest.previous == (known[-2] if len(known) > 1 else None)
        assert latest.median == (statistics.median(known[-8:-1]) if len(known) > 1 else None)


@settings(max_examples=25)
@given(st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(100, 900), st.booleans()), min_size=1, max_size=25,
))
def test_a_night_is_the_mean_of_its_newest_repeats(attempts: list[tuple[int, int, int, bool]]) -> None:
    """Whatever order they came in: of each repeat of a night the last one that measured."""
    scenario = builders.serving_scenario(2)
    records, wanted = [], {}
    for minute, (night, repeat, speed, good) in enumerate(attempts):
        common: dict[str, Any] = {
            "repeat": repeat, "run_id": str(night), "minutes": float(minute), "id": f"{minute:03d}",
        }
        if good:
            wanted[night, repeat] = float(speed)
            records.append(builders.serving_record(scenario=scenario, tokens_per_s=speed, **common))
        else:
            records.append(builders.failed_record(scenario=scenario, **common))
    with TemporaryDirectory() as folder:
        history = histories_of(Path(folder), records)["moe-8x2"]
    runs = {str(night) for night, *_ in attempts}
    if len(runs) < 2 or not wanted:
        assert history is None
        return
    assert history is not None
    (cell,) = history.cells
    for place, run in enumerate(history.runs):
        values = [speed for (night, _), speed in wanted.items() if str(night) == run]
        found = cell.series["output_tokens_per_s"].values[place]
        assert found == pytest.approx(statistics.fmean(values)) if values else np.isnan(found)
        assert (place in cell.failed) == (not values)


@pytest.mark.parametrize("repeats", [1, 2])
def test_scores_have_the_interval_of_their_items(tmp_path: Path, repeats: int) -> None:
    store = sites.store_of(tmp_path, nights.nightly_records(2, repeats=repeats))
    index, entries = read_needed(store, builders.SUITE, [])
    model = next(one for one in summarise(entries, seen=index.seen_ceilings()) if one.model == "moe-8x2")
    history = Histories(index).of(model)
    assert history is not None
    task, score = next(iter(model.scores.items()))
    series = next(cell.series["score"] for cell in history.cells if cell.place[:2] == ("quality", task))
    estimate = score.estimate
    assert estimate.low is not None and estimate.high is not None and series.above is not None
    assert series.values[-1] == pytest.approx(estimate.value)
    assert series.margins[-1] == pytest.approx(estimate.value - estimate.low)
    assert series.above[-1] == pytest.approx(estimate.high - estimate.value)


def test_a_night_has_an_interval_where_each_of_its_scores_has() -> None:
    scores = Series(np.array([0.5, 0.65]), np.array([np.nan, np.nan]))
    low, high = np.array([0.4, 0.4, np.nan]), np.array([0.6, 0.6, np.nan])
    found = _with_ends(scores, low, high, np.array([0, 1, 1]))
    assert found.above is not None
    assert np.allclose(found.margins, [0.1, np.nan], equal_nan=True)
    assert np.allclose(found.above, [0.1, np.nan], equal_nan=True)
