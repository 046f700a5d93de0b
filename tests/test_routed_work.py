"""Records of routing with the ids beside them, read back as what pages show."""

from __future__ import annotations

from collections.abc import Callable
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
from routings import drawn_ids

from harness.accounting import expected_distinct_experts
from harness.environment import Ceilings, ReadRate
from harness.record import Cell, Completed, Record, RoutedLayer, RoutingMeasurement
from harness.routed_work import distinct_experts, loads_of, served_as
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


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """Appends what is given to a store with three loads of serving, and summarises it."""
    store = Store(tmp_path)

    def keep(
        *works: tuple[ServedTokens | TaskTokens, Routing], attach: bool = True, counts: int = 0,
        ceilings: Ceilings | None = None,
    ) -> ModelSummary:
        environment = ENVIRONMENT.model_copy(update={"ceilings": ceilings})
        for concurrency in (1, 4, 8):
            record = serving_record(concurrency=concurrency)
            store.append(record.model_copy(update={"environment": environment, "config": CONFIGS["moe-8x2"]}))
        for number, (work, captured) in enumerate(works):
            content = pack(captured)
            if attach:
                store.attach(SUITE, fingerprint_of(content), content)
            store.append(routing_record(work, captured, content, number, counts))
        (summary,) = summarise(store.read(SUITE))
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
    loads = loads_of(work.summary)
    assert [one.layer for one in loads] == list(LAYERS)
    assert {int(one.load.sum()) for one in loads} == {2 * (PROMPTS + BATCH * STEPS)}


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


def test_without_its_file_the_work_is_left_out_and_named(stored: Stored) -> None:
    summary = stored((served(), routing()), attach=False)
    assert summary.routing == {}
    (note,) = [note for note in summary.notes if "routing" in note]
    assert note.startswith("the routing of chat is not shown: ")


def test_a_file_with_other_tokens_than_the_record_counts_is_left_out(stored: Stored) -> None:
    summary = stored((served(), routing()), counts=1)
    assert summary.routing == {}
    assert any("does not hold the tokens that the record counts" in note for note in summary.notes)


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
