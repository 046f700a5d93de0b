"""Records of routing with the ids beside them, read back as what pages show."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import (
    CONFIGS,
    ENVIRONMENT,
    SUITE,
    fixed_lengths,
    point,
    quality_scenario,
    serving_record,
    subject,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from routings import drawn_ids

from harness.accounting import expected_distinct_experts
from harness.environment import Ceilings, ReadRate
from harness.errors import StoreError
from harness.exports.model_rows import model_table
from harness.exports.parts import Exported
from harness.record import Cell, Completed, Record, RoutedLayer, RoutingMeasurement
from harness.routed_work import distinct_experts, routed_work, served_as
from harness.routing.tokens import Routing, StackTokens, fingerprint_of, pack
from harness.scenario import RoutingScenario, ServedTokens, TaskTokens
from harness.store import Store
from harness.summarise import summarise
from harness.summary import ModelSummary

LAYERS = tuple(RoutedLayer(index=index, experts=8, top_k=2) for index in range(4))
PROMPTS, BATCH, STEPS = 64, 8, 20


def routing(skew: float = 1.0, seed: int = 0) -> Routing:
    """One step of prompts, then decode steps of eight tokens."""
    random = np.random.default_rng(seed)
    tokens = PROMPTS + BATCH * STEPS
    step = np.r_[np.zeros(PROMPTS), np.repeat(np.arange(1, STEPS + 1), BATCH)].astype(np.int32)
    numbers = np.arange(tokens, dtype=np.int32)
    stack = StackTokens(step=step, decode=step > 0, request=numbers % BATCH, position=numbers, token=numbers % 5)
    return Routing.of(LAYERS, {"decoder": stack}, [drawn_ids(random, tokens, layer, skew) for layer in LAYERS])


def served(name: str = "chat") -> ServedTokens:
    return ServedTokens(name=name, lengths=fixed_lengths(), concurrency=BATCH, requests=2 * BATCH)


Stored = Callable[..., ModelSummary]
Spoil = Callable[[bytes], bytes | None]
"""What lies beside the record in place of its file; None for nothing."""


def whole(content: bytes) -> bytes:
    return content


def missing(_: bytes) -> None:
    return None


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """Appends what is given to a store with three loads of serving, and summarises it."""
    store = Store(tmp_path)

    def keep(
        *works: tuple[ServedTokens | TaskTokens, Routing], spoil: Spoil = whole, counts: int = 0,
        ceilings: Ceilings | None = None, layers: tuple[RoutedLayer, ...] = LAYERS, tasks: Sequence[str] | None = None,
    ) -> ModelSummary:
        environment = ENVIRONMENT.model_copy(update={"ceilings": ceilings})
        for concurrency in (1, 4, 8):
            record = serving_record(concurrency=concurrency)
            store.append(record.model_copy(update={"environment": environment, "config": CONFIGS["moe-8x2"]}))
        for number, (work, captured) in enumerate(works):
            content = pack(captured)
            kept = spoil(content)
            if kept is not None:
                store.attach(SUITE, fingerprint_of(content), kept)
            record = routing_record(work, captured, content, number, counts)
            assert isinstance(record.outcome, Completed)
            told = record.outcome.measurement.model_copy(update={"layers": layers})
            store.append(record.model_copy(update={"outcome": Completed(measurement=told)}))
        (summary,) = summarise(store.read(SUITE), tasks=tasks)
        return summary

    return keep


def routing_record(
    work: ServedTokens | TaskTokens, captured: Routing, content: bytes, number: int = 0, more: int = 0
) -> Record:
    measurement = RoutingMeasurement(
        method="capture hook", layers=captured.layers, prefill_tokens=captured.count("prefill") + more,
        decode_tokens=captured.count("decode"), passes=STEPS + 1, recomputed_tokens=3, duration_s=0.5,
        tokens_file=fingerprint_of(content), tokens_file_bytes=len(content),
    )
    base = serving_record()
    cell = Cell(subject=subject(), scenario=RoutingScenario(work=work), seed=0)
    changes = {"id": f"{number:012x}", "cell": cell, "outcome": Completed(measurement=measurement)}
    return base.model_copy(update=changes)


def test_a_workload_is_summarised_with_its_notes_and_its_record(stored: Stored) -> None:
    summary = stored((served(), routing()))
    work = summary.routing["chat"]
    assert (work.source, work.tokens_method) == ("serving", "capture hook")
    assert work.note == "3 tokens that the engine worked on again are left out"
    assert work.records[0] in summary.records
    phases = work.summary.phases
    counted = {name: (phase.tokens, phase.steps) for name, phase in phases.items()}
    assert counted == {"prefill": (PROMPTS, 1), "decode": (BATCH * STEPS, STEPS)}
    assert summary.specialisation is None


def test_loads_of_both_phases_add_up_to_every_token(stored: Stored) -> None:
    work = stored((served(), routing())).routing["chat"]
    assert list(work.loads) == list(LAYERS)
    assert {int(load.sum()) for load in work.loads.values()} == {2 * (PROMPTS + BATCH * STEPS)}


def test_points_of_the_workload_know_their_distinct_experts(stored: Stored) -> None:
    summary = stored((served(), routing()))
    at = {load: summary.point(point(load)) for load in (1, 4, 8)}
    values = {load: found.estimates["distinct_experts"].value for load, found in at.items() if found}
    assert values[1] == 2.0 < values[4] < values[8] < 8.0
    one = at[4]
    assert one is not None
    assert one.estimates["expected_distinct_experts"].value == expected_distinct_experts(8, 2, 4)
    assert one.estimates["expert_load_max_over_mean"].value > 1
    assert one.estimates["distinct_experts"].sources == summary.routing["chat"].records


def test_another_workload_is_not_taken_for_it(stored: Stored) -> None:
    summary = stored((served("code"), routing()))
    assert served_as(list(summary.routing.values()), point(4)) is None
    assert all("distinct_experts" not in one.estimates for one in summary.points)


def test_beyond_the_largest_recorded_step_nothing_is_known(stored: Stored) -> None:
    work = stored((served(), routing())).routing["chat"]
    assert distinct_experts(work, "decode", BATCH) is not None
    assert distinct_experts(work, "decode", BATCH + 1) is None


def test_tasks_are_compared_and_workloads_come_first(stored: Stored) -> None:
    tasks = [(TaskTokens(quality=quality_scenario(name)), routing(seed=seed)) for seed, name in enumerate("ab")]
    summary = stored(*tasks, (served(), routing(seed=9)))
    assert list(summary.routing) == ["chat", "a", "b"]
    assert summary.specialisation is not None
    assert summary.specialisation.names == ("a", "b")
    assert 0 < summary.specialisation.divergence[0, 1] <= 1


def test_a_task_named_like_a_workload_keeps_a_place_of_its_own(stored: Stored) -> None:
    summary = stored((served(), routing()), (TaskTokens(quality=quality_scenario("chat")), routing(seed=1)))
    assert {work.source for work in summary.routing.values()} == {"serving", "task"}


def test_tasks_come_in_the_order_of_the_suite(stored: Stored) -> None:
    works = [(TaskTokens(quality=quality_scenario(name)), routing(seed=seed)) for seed, name in enumerate("abcd")]
    summary = stored(*works, (served("z"), routing(seed=9)), tasks=("c", "a", "d"))
    assert list(summary.routing) == ["z", "c", "a", "d", "b"]
    assert summary.specialisation is not None and summary.specialisation.names == ("c", "a", "d", "b")


class TestUnread:
    """What was measured and whose ids cannot be read."""

    def reason(self, summary: ModelSummary) -> str:
        assert summary.routing == {}
        (work,) = summary.unread
        assert work.name == "chat"
        return work.reason

    def test_without_its_file_the_work_is_named_with_the_next_step(self, stored: Stored, tmp_path: Path) -> None:
        summary = stored((served(), routing()), spoil=missing)
        reason = self.reason(summary)
        assert re.fullmatch(
            rf"the file is missing \({SUITE}/attachments/[0-9a-f]{{32}}\.zip\); remove the record "
            rf"{SUITE}/[0-9a-f]{{16}}/"
            r"\S+\.json, so that it is measured again", reason,
        )
        (row,) = model_table(Exported(SUITE, (summary,), None, "mean_score")).rows
        assert reason in str(row["notes"])
        assert str(tmp_path) not in repr(row)

    @given(st.data())
    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_a_damaged_byte_is_noticed_wherever_it_is(self, tmp_path: Path, data: st.DataObject) -> None:
        captured, store = routing(), Store(tmp_path)
        content = pack(captured)
        place, mask = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
        file = store.attach(SUITE, fingerprint_of(content), content)
        file.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        record = routing_record(served(), captured, content)
        with pytest.raises(StoreError, match="the file is damaged"):
            routed_work(store.path_of(record), record, None)

    def test_a_damaged_head_of_an_array_ends_nothing(self, stored: Stored) -> None:
        at = re.compile(rb"NUMPY.*?\(", re.DOTALL)

        def headless(content: bytes) -> bytes:
            buffer = io.BytesIO()
            with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
                for name in old.namelist():
                    new.writestr(name, at.sub(lambda found: found[0][:-1] + b"'", old.read(name)))
            return buffer.getvalue()

        assert self.reason(stored((served(), routing()), spoil=headless)).startswith("the file is damaged")

    def test_another_file_with_as_many_tokens_is_noticed(self, stored: Stored) -> None:
        assert "damaged" in self.reason(stored((served(), routing()), spoil=lambda _: pack(routing(seed=1))))

    def test_other_layers_than_the_records_are_noticed(self, stored: Stored) -> None:
        others = tuple(layer.model_copy(update={"index": layer.index + 1}) for layer in LAYERS)
        assert "does not hold the layers that the record names" in self.reason(
            stored((served(), routing()), layers=others)
        )

    def test_other_tokens_than_the_record_counts_are_noticed(self, stored: Stored) -> None:
        reason = self.reason(stored((served(), routing()), counts=1))
        assert "does not hold the tokens that the record counts" in reason

    def test_what_does_not_fit_into_memory_is_named(self, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr("harness.routed_work.summarise_routing", full)
        assert "more memory than there is" in self.reason(stored((served(), routing())))

    def test_a_folder_in_the_files_place_is_named(self, stored: Stored, tmp_path: Path) -> None:
        def folder(content: bytes) -> None:
            Store(tmp_path).attachment(SUITE, fingerprint_of(content)).mkdir(parents=True)

        assert self.reason(stored((served(), routing()), spoil=folder)).startswith("the file cannot be read: ")


class TestUtilisation:
    CEILINGS = Ceilings(
        reads=(ReadRate(working_set_bytes=1 << 20, bytes_per_s=1e10),), matmul_flops_per_s={"bfloat16": 1e12},
        duration_s=1.0,
    )

    def test_measured_experts_lie_between_active_and_total(self, stored: Stored) -> None:
        summary = stored((served(), routing()), ceilings=self.CEILINGS)
        for load in (1, 4, 8):
            found = summary.point(point(load))
            assert found is not None
            mbu = {name: found.estimates[f"decode_mbu_{name}"].value for name in ("active", "measured", "total")}
            assert 0 < mbu["active"] <= mbu["measured"] <= mbu["total"]
            assert found.estimates["decode_mbu"].value == mbu["measured"] <= 1
            assert {one.phase for one in found.roofline} == {"prefill", "decode"}

    def test_without_routing_the_expectation_stands_in(self, stored: Stored) -> None:
        found = stored(ceilings=self.CEILINGS).point(point(4))
        assert found is not None
        assert "decode_mbu_measured" not in found.estimates
        assert found.estimates["decode_mbu"].value == found.estimates["decode_mbu_expected"].value

    def test_without_ceilings_there_is_none_and_the_point_says_why(self, stored: Stored) -> None:
        summary = stored((served(), routing()))
        assert summary.ceilings is None
        for one in summary.points:
            assert "decode_mbu" not in one.estimates and one.roofline == ()
            assert "no utilisation: the ceilings of the device were not measured" in one.notes
