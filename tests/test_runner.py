"""The runner with an executor that plays its outcomes: what is run, what is stored, and what a second run does."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from builders import ENVIRONMENT, closed_loop, failed_record
from engines import toy_job

from harness.environment import Ceilings, ReadRate
from harness.errors import StoreError
from harness.plan import Job, Plan, Refusal
from harness.record import Cell, Completed, Failed, Record, Refused, Skipped
from harness.runner import Tally, new_run, run_plan
from harness.scenario import ServingScenario
from harness.store import Store
from harness.suite import Repeats
from harness.worker import Attachment, CellStarted, Event, MeasuringCeilings, NotNeeded, Run, Scribe

RUN = Run("run-1", "small", ENVIRONMENT)
CEILINGS = Ceilings(
    reads=(ReadRate(working_set_bytes=1, bytes_per_s=1e10),), matmul_flops_per_s={"float32": 1e11}, duration_s=1.0
)


def prompt_of(cell: Cell) -> int:
    assert isinstance(cell.scenario, ServingScenario)
    return round(cell.scenario.lengths.prompt_mean)


class Sweeping:
    """Skips every cell of a prompt length, as an adaptive sweep does; completes the others at a rate of its own."""

    def __init__(self, skipped: int | None = None, rates: dict[str, list[float]] | None = None) -> None:
        self.skipped = skipped
        self.rates = rates or {}
        self.ran: list[tuple[str, int, list[int]]] = []

    def ceilings(self, job: Job) -> Ceilings | None:
        return CEILINGS

    def run(self, job: Job, run: Run) -> Generator[Event, None, None]:
        self.ran.append((job.subject.model, job.repeat, [prompt_of(cell) for cell in job.cells]))
        scribe = Scribe.of(job, run)
        for cell in job.cells:
            yield CellStarted(cell)
            if prompt_of(cell) == self.skipped:
                yield scribe.record(cell, Skipped(reason="past saturation"))
                continue
            assert isinstance(cell.scenario, ServingScenario)
            rates = self.rates.get(job.subject.model, [1000.0])
            rate = rates[min(job.repeat, len(rates) - 1)]
            yield scribe.record(cell, Completed(measurement=closed_loop(cell.scenario, tokens_per_s=rate)))


class Played:
    """Completes every cell but those whose model or prompt length `failing` knows: they fail with that kind."""

    def __init__(self, failing: dict[str | int, str] | None = None) -> None:
        self.failing = failing or {}
        self.ran: list[tuple[str, int, list[int]]] = []
        self.closed = 0

    def ceilings(self, job: Job) -> Ceilings | None:
        return CEILINGS

    def run(self, job: Job, run: Run) -> Generator[Event, None, None]:
        prompts = [prompt_of(cell) for cell in job.cells]
        self.ran.append((job.subject.model, job.repeat, prompts))
        scribe = Scribe.of(job, run)
        try:
            yield CellStarted(None)
            for cell in job.cells:
                if self.failing.get(job.subject.model) not in BEFORE_ANY_CELL:
                    yield CellStarted(cell)
                yield scribe.record(cell, self._outcome(cell))
        finally:
            self.closed += 1

    def _outcome(self, cell: Cell) -> Completed | Failed:
        assert isinstance(cell.scenario, ServingScenario)
        error = self.failing.get(cell.subject.model) or self.failing.get(prompt_of(cell))
        return Failed(error=error, message="x") if error else Completed(measurement=closed_loop(cell.scenario))


BEFORE_ANY_CELL = ("load", "out-of-memory", "killed", "timeout")
"""Failures of a played model that come while it loads."""


class Interrupts:
    """A listener that is interrupted at its n-th event."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, job: Job, event: Event) -> None:
        self.at -= 1
        if self.at == 0:
            raise KeyboardInterrupt


def silent(job: Job, event: Event) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def plan(repeats: int = 2, models: tuple[str, ...] = ("moe", "dense"), refused: tuple[str, ...] = ()) -> Plan:
    jobs = tuple(toy_job([10, 20], model=name, repeat=repeat) for repeat in range(repeats) for name in models)
    refusals = tuple(
        Refusal(cell=cell, group="large", config={"model_type": "x"}, reason="too large")
        for name in refused for cell in toy_job([10], model=name).cells
    )
    return Plan(suite="small", jobs=jobs, refusals=refusals)


def stored(store: Store) -> list[Record]:
    return [record for _, record in store.read("small")]


def test_everything_is_run_in_order_and_stored_as_it_comes(store: Store) -> None:
    counts: list[int] = []
    executor = Played()
    tally = run_plan(plan(), store, executor, RUN, lambda _, event: counts.append(len(store.files("small"))))
    both = [10, 20]
    assert executor.ran == [("moe", 0, both), ("dense", 0, both), ("moe", 1, both), ("dense", 1, both)]
    # the ceilings, a load, then for each cell its start and its record: when a record is heard, it is on the disk
    assert counts[:7] == [0, 0, 0, 1, 1, 2, 2] and counts[-1] == 8
    assert tally.outcomes == {"completed": 8} and tally.skipped == 0 and tally.failures == []


def test_what_is_done_is_skipped_to_the_cell(store: Store) -> None:
    whole = plan()
    scribe = Scribe(RUN, 0, None, {})
    cell = whole.jobs[0].cells[0]
    assert isinstance(cell.scenario, ServingScenario)
    store.append(scribe.record(cell, Completed(measurement=closed_loop(cell.scenario))))
    executor = Played()
    tally = run_plan(whole, store, executor, RUN, silent)
    assert executor.ran[0] == ("moe", 0, [20])
    assert (tally.skipped, tally.outcomes["completed"]) == (1, 7)
    again = Played()
    tally = run_plan(whole, store, again, RUN, silent)
    assert again.ran == [] and tally.skipped == 8
    assert tally.sentence() == "cells: 8 done before"


def test_a_failed_cell_is_run_again_in_the_next_run(store: Store) -> None:
    tally = run_plan(plan(1), store, Played({20: "task"}), RUN, silent)
    assert tally.outcomes == {"completed": 2, "failed": 2}
    assert [record.cell.subject.model for record in tally.failures] == ["moe", "dense"]
    executor = Played()
    tally = run_plan(plan(1), store, executor, RUN, silent)
    assert executor.ran == [("moe", 0, [20]), ("dense", 0, [20])]
    assert len(stored(store)) == 6


def test_a_refusal_is_recorded_once_over_two_runs(store: Store) -> None:
    for _ in range(2):
        tally = run_plan(plan(1, refused=("huge",)), store, Played(), RUN, silent)
        assert tally.outcomes["refused"] == 1
    (found,) = [record for record in stored(store) if isinstance(record.outcome, Refused)]
    assert found.outcome == Refused(reason="too large")
    assert (found.group, found.config, found.run_id) == ("large", {"model_type": "x"}, "run-1")


def test_a_refusal_with_another_reason_is_recorded(store: Store) -> None:
    first = plan(1, models=(), refused=("huge",))
    other = first.model_copy(update={"refusals": (first.refusals[0].model_copy(update={"reason": "too long"}),)})
    for one in (first, other, first):
        run_plan(one, store, Played(), RUN, silent)
    assert len(stored(store)) == 2


@pytest.mark.parametrize("error", ["load", "out-of-memory", "killed", "timeout"])
def test_a_model_that_cannot_load_is_not_tried_again_and_the_others_go_on(store: Store, error: str) -> None:
    executor = Played({"moe": error})
    tally = run_plan(plan(3), store, executor, RUN, silent)
    assert [run[:2] for run in executor.ran] == [("moe", 0), ("dense", 0), ("dense", 1), ("dense", 2)]
    assert tally.outcomes == {"failed": 2, "completed": 6}


def test_the_next_run_tries_it_again(store: Store) -> None:
    run_plan(plan(2), store, Played({"moe": "load"}), RUN, silent)
    executor = Played()
    run_plan(plan(2), store, executor, RUN, silent)
    assert [(name, repeat) for name, repeat, _ in executor.ran] == [("moe", 0), ("moe", 1)]


@pytest.mark.parametrize("failing", [{"moe": "task"}, {"moe": "internal"}, {20: "engine"}])
def test_a_model_that_loaded_is_tried_again_though_its_cells_failed(
    store: Store, failing: dict[str | int, str]
) -> None:
    executor = Played(failing)
    run_plan(plan(2), store, executor, RUN, silent)
    assert [(name, repeat) for name, repeat, _ in executor.ran] == [("moe", 0), ("dense", 0), ("moe", 1), ("dense", 1)]


@pytest.mark.parametrize("at", range(1, 21))
def test_an_interrupt_keeps_what_was_stored_and_the_second_run_completes(store: Store, at: int) -> None:
    first, second = Played(), Played()
    with pytest.raises(KeyboardInterrupt) as held:
        run_plan(plan(), store, first, RUN, Interrupts(at + 1))  # after that of the ceilings
    # although the traceback still holds the runner's frame, the job has been told to end
    assert first.closed == len(first.ran) and held.tb is not None
    kept = len(stored(store))
    # five events a job, of which the third and the fifth are records
    jobs, events = divmod(at, 5)
    assert kept == 2 * jobs + (events >= 3)
    tally = run_plan(plan(), store, second, RUN, silent)
    assert (tally.skipped, tally.outcomes["completed"]) == (kept, 8 - kept)
    found = [(record.cell.id, record.repeat) for record in stored(store)]
    assert len(found) == len(set(found)) == 8


def test_what_a_sweep_skips_is_skipped_in_every_repeat_and_in_the_next_run(store: Store) -> None:
    executor, heard = Sweeping(skipped=20), list[NotNeeded]()

    def listen(_: Job, event: Event) -> None:
        heard.extend([event] if isinstance(event, NotNeeded) else [])

    tally = run_plan(plan(2), store, executor, RUN, listen)
    assert executor.ran == [("moe", 0, [10, 20]), ("dense", 0, [10, 20]), ("moe", 1, [10]), ("dense", 1, [10])]
    assert [[prompt_of(cell) for cell in one.cells] for one in heard] == [[20], [20]]
    assert tally.outcomes == {"completed": 4, "skipped": 2}
    again = Sweeping()
    assert run_plan(plan(2), store, again, RUN, silent).skipped == 8
    assert again.ran == []


def test_repeats_end_for_each_model_when_its_intervals_are_narrow(store: Store) -> None:
    policy = Repeats(at_least=3, at_most=8, until_within=0.05)
    adaptive = plan(8).model_copy(update={"repeats": policy})
    unsteady = [1000.0, 1300.0, 700.0, 1100.0, 900.0, 1000.0, 1000.0, 1000.0]
    executor = Sweeping(rates={"moe": [1000.0, 1001.0, 999.0], "dense": unsteady})
    run_plan(adaptive, store, executor, RUN, silent)
    repeats = {name: sum(ran[0] == name for ran in executor.ran) for name in ("moe", "dense")}
    assert repeats["moe"] < repeats["dense"] == 8
    # a second run has nothing to add
    again = Sweeping(rates=executor.rates)
    run_plan(adaptive, store, again, RUN, silent)
    assert again.ran == []


def test_a_store_that_cannot_be_written_stops_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(record: Record) -> Path:
        raise StoreError("cannot write the record: No space left on device")

    monkeypatch.setattr(store, "append", full)
    executor = Played()
    with pytest.raises(StoreError, match="No space left"):
        run_plan(plan(), store, executor, RUN, silent)
    assert (len(executor.ran), executor.closed) == (1, 1)


def test_a_damaged_record_does_not_stop_a_run(store: Store) -> None:
    run_plan(plan(1), store, Played(), RUN, silent)
    store.files("small")[0].write_text("{")
    executor = Played()
    run_plan(plan(1), store, executor, RUN, silent)
    assert len(executor.ran) == 1 and len(executor.ran[0][2]) == 1


def test_an_empty_plan(store: Store) -> None:
    tally = run_plan(plan(0), store, Played(), RUN, silent)
    assert tally.sentence() == "cells: none"


def test_a_tally_in_one_line() -> None:
    tally = Tally(skipped=3)
    for make in (failed_record, failed_record):
        tally.add(make())
    tally.outcomes["completed"] += 4
    assert tally.sentence() == "cells: 4 completed, 2 failed, 3 done before"


def test_runs_have_ids_that_sort_by_time_and_differ() -> None:
    runs = [new_run("small", ENVIRONMENT) for _ in range(20)]
    assert all(re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", run.id) for run in runs)
    assert len({run.id for run in runs}) == 20
    assert (runs[0].suite, runs[0].environment) == ("small", ENVIRONMENT)


class Attaching(Played):
    """Hands over a file before each record; measures no ceilings."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_for_ceilings = 0

    def ceilings(self, job: Job) -> Ceilings | None:
        self.asked_for_ceilings += 1
        return None

    def run(self, job: Job, run: Run) -> Generator[Event, None, None]:
        for event in super().run(job, run):
            if isinstance(event, Record):
                yield Attachment("sha256:" + event.cell.id, event.cell.id.encode())
            yield event


def test_what_belongs_to_a_record_is_on_the_disk_before_it(store: Store) -> None:
    seen: list[int] = []

    def listen(_: Job, event: Event) -> None:
        if isinstance(event, Record):
            file = store.attachment("small", "sha256:" + event.cell.id)
            seen.append(len(file.read_bytes()))

    tally = run_plan(plan(), store, Attaching(), RUN, listen)
    assert seen == [64] * 8 and tally.outcomes == {"completed": 8}


def test_the_devices_ceilings_are_in_every_record_and_measured_only_where_something_is_left(store: Store) -> None:
    run_plan(plan(), store, Played(), RUN, silent)
    assert all(record.environment == ENVIRONMENT.model_copy(update={"ceilings": CEILINGS}) for record in stored(store))
    again = Attaching()
    run_plan(plan(), store, again, RUN, silent)
    assert again.asked_for_ceilings == 0
    run_plan(plan(repeats=3), store, again, RUN, silent)
    assert again.asked_for_ceilings == 1


def test_ceilings_that_could_not_be_measured_are_told(store: Store) -> None:
    heard: list[Event] = []
    run_plan(plan(), store, Attaching(), RUN, lambda _, event: heard.append(event))
    assert heard[:2] == [MeasuringCeilings(), MeasuringCeilings(failed=True)]
    assert {record.environment.ceilings for record in stored(store)} == {None}


def test_the_routing_of_a_model_that_did_not_load_is_tried_for_itself(store: Store) -> None:
    timed = toy_job([10, 20], model="moe")
    routing = toy_job([30], model="moe", kind="routing")
    executor = Played({"moe": "load"})
    run_plan(Plan(suite="small", jobs=(timed, routing), refusals=()), store, executor, RUN, silent)
    assert [prompts for _, _, prompts in executor.ran] == [[10, 20], [30]]
    assert len(stored(store)) == 3
