from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builders
import nights
import numpy as np
import pytest
import sites
from hypothesis import given
from hypothesis import strategies as st

from harness.pages import history_section as section
from harness.pages.history_section import HistorySection
from harness.pages.model_page import ModelPage
from harness.pages.render import script_json
from harness.pages.site import build_site
from harness.record import Completed, Record, RoutingMeasurement
from harness.scenario import RoutingScenario, ServedTokens

pytestmark = pytest.mark.slow


def page_of(root: Path, records: list[Record], model: str = "moe-8x2") -> ModelPage:
    store = sites.store_of(root, records)
    pages = build_site(store, [builders.SUITE], named=False).pages
    return next(page for page in pages if isinstance(page, ModelPage) and page.heading == model)


def history_of(root: Path, records: list[Record], model: str = "moe-8x2") -> HistorySection:
    found = page_of(root, records, model).history
    assert found is not None
    return found


def unpacked(data: dict[str, Any], name: str) -> list[float | None]:
    """What history.js makes of a series."""
    packed = data["series"][name]
    values = packed["values"] if isinstance(packed["values"], list) else [packed["values"]] * len(data["times"])
    return [None if value is None else value * 10.0 ** packed["power"] for value in values]


def test_one_night_has_no_section(tmp_path: Path) -> None:
    page = page_of(tmp_path, nights.nightly_records(1))
    assert page.history is None


def test_nights_of_routing_alone_have_no_section(tmp_path: Path) -> None:
    measured = RoutingMeasurement(
        method="capture hook", layers=(), prefill_tokens=32, decode_tokens=16, passes=17, recomputed_tokens=0,
        duration_s=0.5, tokens_file=f"sha256:{'0' * 64}", tokens_file_bytes=10,
    )
    work = ServedTokens(name="chat", lengths=builders.fixed_lengths(), concurrency=8, requests=4)
    done = Completed(measurement=measured)
    records = [
        builders.record(RoutingScenario(work=work), done, run_id=f"night-{night}", minutes=1440.0 * night)
        for night in range(2)
    ]
    assert page_of(tmp_path, records).history is None


def test_the_leading_figure_is_chosen_and_every_figure_can_be(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(3))
    assert history.chosen == "output_tokens_per_s.chat-concurrency-8"
    titles = [title for title, _ in history.choices]
    assert "8 concurrent requests" in titles[0] and "1 concurrent request" in titles[1]
    assert titles[2:] == ["Scores", "Memory"]
    ids = [choice.id for _, choices in history.choices for choice in choices]
    assert sorted(ids) == sorted(history.data["series"])
    assert len(set(ids)) == len(ids)
    assert "score.facts" in ids and "resident_peak_bytes" in ids


def test_values_keep_five_digits(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(9))
    found = unpacked(history.data, history.chosen)
    for night, value in enumerate(found):
        if night == nights.FAILURE:
            assert value is None
        else:
            assert value == pytest.approx(nights.rate("moe-8x2", night, 0), rel=5e-5)
    cell = history.data["series"][history.chosen]["cell"]
    assert history.data["failed"][cell] == [[nights.FAILURE, "engine: CUDA error"]]
    assert history.data["changes"] == [[nights.UPGRADE, "vllm 0.33.0", "vllm 0.32.0 \u2192 0.33.0"]]
    assert history.changes == (("2026-01-09 08:01", "vllm 0.32.0 \u2192 0.33.0"),)


def test_several_changes_share_a_line() -> None:
    words = ("vllm 0.32.0 \u2192 0.33.0", "driver 570 \u2192 580", "system a \u2192 b")
    assert section._label(words) == "vllm 0.33.0 +2"
    assert section._label(("machine a, 2 cores \u2192 b, 4 cores",)) == "machine b, 4 cores"


def test_what_never_changes_is_one_number(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(4))
    assert isinstance(history.data["series"]["weights_bytes"]["values"], int)
    assert unpacked(history.data, "weights_bytes") == pytest.approx([400.0] * 4)  # kB


def test_bars_of_scores_are_those_of_their_items(tmp_path: Path) -> None:
    note = history_of(tmp_path, nights.nightly_records(3)).note
    assert ". The bar of a score is the 95 % interval over its items." in note and "repeats" not in note


def test_repeats_have_margins(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(3, repeats=2))
    assert len(history.data["series"][history.chosen]["margins"]) == 3
    assert ", its bar the 95 % interval over them, of a score the one over its items. " in history.note
    served = [one for one in nights.nightly_records(3, repeats=2) if one.cell.scenario.kind != "quality"]
    assert "its bar the 95 % interval over them. " in history_of(tmp_path / "served", served).note
    assert "margins" not in history_of(tmp_path / "single", nights.nightly_records(3)).data["series"][history.chosen]


def test_the_latest_beside_the_previous_and_the_median(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(9))
    rows = {row.title: [cell.text for cell in row.cells] for row in history.latest.rows}
    rates = [nights.rate("moe-8x2", night, 0) for night in range(9) if night != nights.FAILURE]
    latest, measured, previous, _, median, change = rows["Output tokens/s, 8 concurrent requests"]
    assert measured == "2026-01-13"
    assert latest.endswith("tokens/s")
    assert float(previous.split(" ")[0].replace("\u202f", "")) == pytest.approx(rates[-2], rel=5e-3)
    middle = float(np.median(rates[:-1]))
    assert float(median.split(" ")[0].replace("\u202f", "")) == pytest.approx(middle, rel=5e-3)
    assert change == f"{100 * (rates[-1] / middle - 1):+.1f} %".replace("-", "\u2212")
    assert rows["Score on facts"][-1].endswith(" points")
    assert "Resident peak" in rows


def test_latest_values_have_intervals_and_lead_to_their_nights(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(9, repeats=3))
    row = next(row for row in history.latest.rows if row.title == "Output tokens/s, 8 concurrent requests")
    latest, _, previous = row.cells[:3]
    assert latest.margin.startswith("\u00b1 ") and previous.margin
    times = history.data["times"]
    assert latest.evidence == f"small.moe-8x2.{history.chosen}@{times[-1]}"
    assert previous.evidence == f"small.moe-8x2.{history.chosen}@{times[-2]}"
    assert history.data["evidence"] == "small.moe-8x2"


def test_what_stands_apart_comes_first_of_all_figures(tmp_path: Path) -> None:
    records = nights.nightly_records(9)
    slower = builders.serving_record(
        scenario=builders.serving_scenario(1), tokens_per_s=nights.rate("moe-8x2", 8, 0) / 80, minutes=60 * 24 * 9,
        run_id="night-009", environment=nights.environment(9),
    )
    history = history_of(tmp_path, [*records, slower])
    apart = [row.title for row in history.latest.rows if row.marks]
    assert {"Output tokens/s, 1 concurrent request", "Time to first token p50, 1 concurrent request"} < set(apart[:6])
    assert len(apart) == section.APART and " of " in history.latest_note
    assert all(row.marks for row in history.latest.rows[: len(apart)])
    titles = [row.title for row in history.latest.rows]
    assert titles.index("Output tokens/s, 8 concurrent requests") >= len(apart)


def test_a_night_that_failed_since_is_told_beside_the_latest(tmp_path: Path) -> None:
    history = history_of(tmp_path, nights.nightly_records(nights.FAILURE + 1))
    measured = {row.title: row.cells[1].text for row in history.latest.rows}
    assert measured["Output tokens/s, 8 concurrent requests"] == "2026-01-10 (1 night since failed)"
    assert measured["Score on facts"] == "2026-01-11"


def test_only_the_newest_nights_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "NIGHTS", 4)
    history = history_of(tmp_path, nights.nightly_records(9))
    assert len(history.data["times"]) == 4
    assert unpacked(history.data, history.chosen)[-1] == pytest.approx(nights.rate("moe-8x2", 8, 0), rel=5e-5)
    assert "The newest 4 are drawn" in history.note
    assert history.data["failed"][history.data["series"][history.chosen]["cell"]] == [[1, "engine: CUDA error"]]
    assert history.data["changes"] == []
    assert len(history.changes) == 1


def test_where_there_are_many_other_loads_have_their_main_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(section, "NUMBERS", 150)
    choices = dict(history_of(tmp_path, nights.nightly_records(3)).choices)
    leading, other = list(choices.values())[:2]
    assert len(leading) > 20
    assert [one.title for one in other] == [
        "Output tokens/s", "Time to first token p50", "Time to first token p99", "Time per output token p50",
        "End-to-end latency p50",
    ]


def test_a_year_of_fifty_figures_is_lean() -> None:
    generator = np.random.default_rng(1)
    series = {
        f"figure-{number}": {
            "title": "Time to first token p50", "unit": "ms", "power": -2, "cell": 0, "where": "at 8",
            "better": "lower",
            "values": section._whole(100 * generator.lognormal(0, 0.1, 365), -2),
        }
        for number in range(50)
    }
    times = [29_000_000 + 1440 * night for night in range(365)]
    assert len(script_json({"times": times, "series": series})) < 150_000


@given(st.lists(st.none() | st.floats(0, 1e12), min_size=1, max_size=20))
def test_packing_keeps_what_it_can(values: list[float | None]) -> None:
    given_values = np.asarray([np.nan if value is None else value for value in values])
    power = section._power(given_values)
    packed = section._whole(given_values, power)
    whole = packed if isinstance(packed, list) else [packed] * len(values)
    for value, kept in zip(values, whole, strict=True):
        if value is None:
            assert kept is None
        else:
            assert kept is not None
            assert abs(kept * 10.0**power - value) <= 0.51 * 10.0**power
            assert abs(kept) <= 10**section.DIGITS


def test_hostile_words_are_text(tmp_path: Path) -> None:
    records = []
    for record in nights.nightly_records(9):
        versions = record.environment.versions | {"vllm": sites.HOSTILE + record.environment.versions["vllm"]}
        environment = record.environment.model_copy(update={"versions": versions})
        records.append(record.model_copy(update={"environment": environment}))
    records.append(builders.failed_record(
        scenario=builders.serving_scenario(8), message=sites.HOSTILE, minutes=60_000.0, run_id=sites.HOSTILE,
    ))
    history = history_of(tmp_path, records)
    text = json.dumps(history.data)
    assert "<" not in text
    assert "\\u202e" not in text
    assert "&lt;script&gt;" in text
