"""What the terminal shows: the estimate's arithmetic, lines for logs, and foreign names as text."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from builders import ENVIRONMENT, closed_loop, quality_scenario
from engines import FakeClock, toy_job
from rich.console import Console

from harness import progress
from harness.plan import Job, Plan
from harness.progress import Estimator, ProgressDisplay, step_text
from harness.record import Cell, Completed, Failed, Record, Skipped
from harness.scenario import MemoryScenario, ServingScenario
from harness.worker import CellStarted, NotNeeded, Run, Scribe

RUN = Run("run-1", "small", ENVIRONMENT)
HOSTILE = "[red]x[/red] [link=file:///etc]y[/link] [/] \\"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    played = FakeClock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=played))
    return played


def plan(*jobs: Job) -> Plan:
    return Plan(suite="small", jobs=jobs, refusals=())


def record(job: Job, cell: Cell, seconds: float = 0.0, failed: str | None = None) -> Record:
    if failed is not None:
        outcome: Completed | Failed = Failed(error="load", message=failed)
    else:
        assert isinstance(cell.scenario, ServingScenario)
        outcome = Completed(measurement=closed_loop(cell.scenario))
    return Scribe.of(job, RUN).record(cell, outcome).model_copy(update={"duration_s": seconds})


def display_on(jobs: list[Job], *, terminal: bool = False) -> tuple[ProgressDisplay, Callable[[], str]]:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=terminal, color_system=None, legacy_windows=False)
    return ProgressDisplay(plan(*jobs), console), out.getvalue


class TestEstimator:
    def job(self, repeat: int = 0) -> Job:
        return toy_job([10, MemoryScenario(), quality_scenario("sort")], repeat=repeat)

    def test_nothing_is_known_before_the_first_step(self) -> None:
        assert Estimator(plan(self.job())).left_s() is None

    def test_a_step_that_has_not_run_is_taken_as_the_mean_of_those_that_have(self) -> None:
        estimator = Estimator(plan(self.job()))
        estimator.finished("loading", 10.0)
        assert estimator.left_s() == 30.0
        estimator.finished("chat, concurrency 2", 2.0)
        # memory and sort at (10 + 2) / 2 each
        assert estimator.left_s() == 12.0

    def test_a_step_that_has_run_is_taken_as_its_own_mean(self) -> None:
        estimator = Estimator(plan(self.job(), self.job(1), self.job(2)))
        for seconds in (10.0, 6.0):
            estimator.finished("loading", seconds)
        # one load at 8; three each of serving, memory, sort at 8
        assert estimator.left_s() == 8.0 + 9 * 8.0
        for seconds in (1.0, 3.0):
            estimator.finished("memory", seconds)
        # loads 8, memory 2, the others (8 + 2) / 2: one load, one memory, six others
        assert estimator.left_s() == 8.0 + 2.0 + 6 * 5.0

    def test_all_done(self) -> None:
        estimator = Estimator(plan(toy_job([10])))
        estimator.finished("loading", 1.0)
        estimator.finished("chat, concurrency 2", 1.0)
        assert estimator.left_s() == 0.0

    def test_a_dropped_step_is_no_example(self) -> None:
        estimator = Estimator(plan(self.job()))
        estimator.finished("loading", 10.0)
        estimator.dropped("memory")
        estimator.dropped("memory")
        assert estimator.left_s() == 20.0

    def test_a_step_that_was_not_planned_changes_no_count(self) -> None:
        estimator = Estimator(plan(toy_job([10])))
        estimator.finished("other", 4.0)
        assert estimator.left_s() == 8.0


class TestLines:
    """Without a terminal: a line a cell, so that a log stays readable."""

    def test_a_line_a_cell_with_what_is_left(self, clock: FakeClock) -> None:
        jobs = [toy_job([10, 20]), toy_job([10, 20], repeat=1)]
        display, text = display_on(jobs)
        with display:
            for job in jobs:
                display.listen(job, CellStarted(None))
                clock.advance(100.0)
                for cell in job.cells:
                    display.listen(job, CellStarted(cell))
                    clock.advance(20.0)
                    display.listen(job, record(job, cell, 20.04))
        assert text().splitlines() == [
            # a load of 100 s and three cells of 20 s
            "1/4 moe [1] chat, concurrency 2: 20.0 s, about 3 min left",
            "2/4 moe [1] chat, concurrency 2: 20.0 s, about 2 min left",
            "3/4 moe [2] chat, concurrency 2: 20.0 s, about 20 s left",
            "4/4 moe [2] chat, concurrency 2: 20.0 s, about 0 s left",
        ]

    def test_a_failure_gives_the_first_line_of_its_reason(self, clock: FakeClock) -> None:
        job = toy_job([10])
        display, text = display_on([job])
        with display:
            display.listen(job, CellStarted(None))
            display.listen(job, CellStarted(job.cells[0]))
            display.listen(job, record(job, job.cells[0], failed="no such file\n  look elsewhere"))
        assert text() == "failed moe [1] chat, concurrency 2: no such file\n"

    @pytest.mark.parametrize("message", ["", "\nsecond line"])
    def test_a_failure_without_words(self, clock: FakeClock, message: str) -> None:
        job = toy_job([10])
        display, text = display_on([job])
        display.listen(job, record(job, job.cells[0], failed=message))
        assert text().startswith("failed moe [1] chat, concurrency 2:")

    def test_a_load_that_fails_is_no_example_of_a_load(self, clock: FakeClock) -> None:
        jobs = [toy_job([10, 20], model="broken"), toy_job([10, 20]), toy_job([10], repeat=1)]
        display, text = display_on(jobs)
        broken, sound, _ = jobs
        with display:
            display.listen(broken, CellStarted(None))
            clock.advance(1.0)
            for cell in broken.cells:
                display.listen(broken, record(broken, cell, failed="x"))
            display.listen(sound, CellStarted(None))
            clock.advance(40.0)
            display.listen(sound, CellStarted(sound.cells[0]))
            clock.advance(5.0)
            display.listen(sound, record(sound, sound.cells[0], 5.0))
        # one load of 40 s and two cells of 5 s
        assert text().splitlines()[-1] == "3/5 moe [1] chat, concurrency 2: 5.0 s, about 50 s left"

    def test_cells_that_a_dead_process_left_are_no_examples(self, clock: FakeClock) -> None:
        jobs = [toy_job([10, 20, 30]), toy_job([10], repeat=1)]
        display, text = display_on(jobs)
        first, second = jobs
        with display:
            display.listen(first, CellStarted(None))
            clock.advance(40.0)
            display.listen(first, CellStarted(first.cells[0]))
            clock.advance(5.0)
            display.listen(first, record(first, first.cells[0], 5.0))
            display.listen(first, CellStarted(first.cells[1]))
            clock.advance(500.0)
            for cell in first.cells[1:]:
                display.listen(first, record(first, cell, failed="killed"))
            display.listen(second, CellStarted(None))
            clock.advance(60.0)
            display.listen(second, CellStarted(second.cells[0]))
            clock.advance(7.0)
            display.listen(second, record(second, second.cells[0], 7.0))
        assert text().splitlines()[-1] == "4/4 moe [2] chat, concurrency 2: 7.0 s, about 0 s left"


class TestNames:
    @pytest.mark.parametrize("failed", [None, HOSTILE])
    def test_foreign_text_is_printed_as_it_is(self, clock: FakeClock, failed: str | None) -> None:
        job = toy_job([10], model=HOSTILE)
        display, text = display_on([job])
        with display:
            display.listen(job, CellStarted(job.cells[0]))
            display.listen(job, record(job, job.cells[0], failed=failed))
        assert "[red]x[/red] [link=file:///etc]y[/link] [/] " in text()
        if failed:
            assert text().count("[link=file:///etc]y[/link]") == 2

    def test_on_a_terminal_too(self, clock: FakeClock) -> None:
        job = toy_job([10], model=HOSTILE[:11])
        display, text = display_on([job], terminal=True)
        with display:
            display.listen(job, CellStarted(job.cells[0]))
            display._bar.refresh()
        assert "[red]x[/red [1] chat, concurrency 2" in text()


class TestTerminal:
    def test_one_live_line_and_only_failures_stay(self, clock: FakeClock) -> None:
        job = toy_job([10, 20])
        display, text = display_on([job], terminal=True)
        with display:
            display.listen(job, CellStarted(None))
            clock.advance(30.0)
            display.listen(job, CellStarted(job.cells[0]))
            clock.advance(10.0)
            display.listen(job, record(job, job.cells[0], 10.0))
            display._bar.refresh()
            assert "1/2" in text() and "about 10 s left" in text()
            display.listen(job, record(job, job.cells[1], failed="broke"))
        assert "failed moe [1] chat, concurrency 2: broke" in text()
        assert "10.0 s," not in text()


def test_the_first_step_is_the_load() -> None:
    assert step_text(CellStarted(None)) == "loading"
    assert step_text(CellStarted(toy_job([10]).cells[0])) == "chat, concurrency 2"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (600.0, "10 min")])
def test_long_times_are_in_minutes(seconds: float, text: str) -> None:
    assert progress._minutes(seconds) == text


class TestNotMeasured:
    def test_what_a_sweep_skips_is_a_line_with_its_reason(self, clock: FakeClock) -> None:
        job = toy_job([10])
        display, text = display_on([job])
        skipped = Scribe.of(job, RUN).record(job.cells[0], Skipped(reason="past saturation: no gain"))
        display.listen(job, CellStarted(None))
        display.listen(job, CellStarted(job.cells[0]))
        display.listen(job, skipped)
        assert text() == "skipped moe [1] chat, concurrency 2: past saturation: no gain\n"

    def test_cells_that_are_not_needed_count_no_more(self, clock: FakeClock) -> None:
        first, second = toy_job([10, 20]), toy_job([10, 20], repeat=1)
        display, text = display_on([first, second])
        display.listen(first, CellStarted(None))
        clock.advance(4.0)
        for cell in first.cells:
            display.listen(first, CellStarted(cell))
            clock.advance(1.0)
            display.listen(first, record(first, cell, 1.0))
        display.listen(second, NotNeeded(second.cells))
        assert text().splitlines()[-1].startswith("2/4 moe [1] chat, concurrency 2: 1.0 s, about")
        display.listen(first, record(first, first.cells[0], 1.0))
        assert text().splitlines()[-1] == "3/2 moe [1] chat, concurrency 2: 1.0 s, about 0 s left"
