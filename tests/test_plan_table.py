"""A plan on the terminal."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from builders import quality_scenario, serving_scenario, subject
from rich.console import Console

from harness.plan import Job, Plan, Refusal
from harness.plan_table import arrival_notes, cell_text, plan_table
from harness.record import Cell
from harness.scenario import MemoryScenario, Offline, OpenLoop, RoutingScenario, Scenario, TaskTokens
from harness.suite import Repeats

HOSTILE = "[red]moe[/red] [link=file:///etc]x[/link] [/]"


def cell(scenario: Scenario, model: str = "moe", **changes: object) -> Cell:
    return Cell(subject=subject(model, **changes), scenario=scenario, seed=0)


def job(*scenarios: Scenario, model: str = "moe", repeat: int = 0, **changes: object) -> Job:
    return Job(
        subject=subject(model, **changes), repeat=repeat, cells=tuple(cell(s, model, **changes) for s in scenarios),
        group=None, location="/m", config={}, tasks_folder="/t", timeout_s=60.0,
    )


def printed(plan: Plan, width: int = 200) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    for part in plan_table(plan):
        console.print(part)
    return out.getvalue()


def rows(plan: Plan) -> list[list[str]]:
    """The fields of each row, which have at least two blanks between them."""
    lines = [line for line in printed(plan, 400).splitlines() if line.strip()]
    return [
        re.split(" {2,}", line.strip()) for line in lines
        if not line.startswith(("small: ", "refused: ", "model ", "note: ")) and not line.strip().startswith("─")
    ]


def test_one_row_a_model_over_all_repeats() -> None:
    serving = (serving_scenario(16), serving_scenario(2))
    jobs = (
        job(*serving, MemoryScenario(), quality_scenario("facts"), quality_scenario("sort")),
        job(*serving, model="dense", accelerator="Example GPU", tensor_parallel=2),
        job(*serving, model="dense", repeat=1, accelerator="Example GPU", tensor_parallel=2),
        job(*serving, repeat=1),
    )
    plan = Plan(suite="small", jobs=jobs, refusals=())
    assert printed(plan).splitlines()[0].strip() == "small: 4 jobs"
    assert rows(plan) == [
        ["dense", "path:pocket/dense", "2 x Example GPU", "unknown", "2", "2", "2, 16", "0", "0"],
        ["moe", "path:pocket/moe", "Example CPU", "unknown", "2", "5", "2, 16", "2", "0"],
    ]


def test_sweeps_other_loads_and_adaptive_repeats_are_told() -> None:
    loads = [serving_scenario(level) for level in (1, 2, 4)]
    others = [serving_scenario(load=Offline()), serving_scenario(load=OpenLoop(requests_per_s=2.5, burstiness=0.5))]
    jobs = tuple(
        job(*loads, *others, repeat=repeat).model_copy(update={"sweeps": ("chat",)}) for repeat in range(5)
    )
    plan = Plan(suite="small", jobs=jobs, refusals=(), repeats=Repeats(at_least=3, at_most=5))
    (row,) = rows(plan)
    assert row[3:6] == ["3 to 5", "5", "1 to at most 4, offline, 2.5 requests/s, burstiness 0.5"]


def test_a_device_that_all_have_is_told_once() -> None:
    plan = Plan(suite="small", jobs=(job(serving_scenario()), job(serving_scenario(), model="dense")), refusals=())
    text = printed(plan)
    assert text.startswith("small: 2 jobs on Example CPU") and text.count("Example CPU") == 1
    assert printed(plan.model_copy(update={"jobs": plan.jobs[:1]})).startswith("small: 1 job on")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    long = "mixture-of-experts-8x22b-instruct"
    one = job(*(serving_scenario(level) for level in (1, 2, 4, 8, 16, 32, 64, 128, 256)), model=long)
    refusal = Refusal(cell=cell(serving_scenario(), long), group=None, config={}, reason="needs 64 GB " * 9)
    text = printed(Plan(suite="small", jobs=(one,), refusals=(refusal,)), width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    whole = printed(Plan(suite="small", jobs=(one,), refusals=(refusal,)), 900)
    assert Counter(re.sub("[\\s─]", "", text)) == Counter(re.sub("[\\s─]", "", whole))
    short = printed(Plan(suite="small", jobs=(job(serving_scenario(), model="dense-active"),), refusals=()), width)
    assert "dense-active" in short


def test_refusals_are_gathered_by_model_and_reason() -> None:
    asked: list[tuple[Scenario, str, str]] = [
        (serving_scenario(1), "moe", "too large"), (serving_scenario(2), "moe", "too large"),
        (quality_scenario("sort"), "moe", "no quality"), (serving_scenario(8), "dense", "too large"),
    ]
    refusals = tuple(Refusal(cell=cell(s, model), group=None, config={}, reason=r) for s, model, r in asked)
    plan = Plan(suite="small", jobs=(), refusals=refusals)
    assert "refused: 4 cells" in printed(plan)
    assert rows(plan) == [
        ["moe", "2", "too large"], ["moe", "sort", "no quality"], ["dense", "chat, concurrency 8", "too large"],
    ]


def test_no_table_of_refusals_without_any() -> None:
    assert len(list(plan_table(Plan(suite="small", jobs=(job(serving_scenario()),), refusals=())))) == 1


def test_names_are_printed_as_text() -> None:
    refusal = Refusal(cell=cell(serving_scenario(), HOSTILE), group=None, config={}, reason=HOSTILE)
    plan = Plan(suite="small", jobs=(job(serving_scenario(), model=HOSTILE),), refusals=(refusal,))
    assert rows(plan)[0][0] == HOSTILE
    assert rows(plan)[1] == [HOSTILE, "chat, concurrency 8", HOSTILE]


def test_open_loops_with_few_arrivals_are_told_once() -> None:
    few, many = (
        serving_scenario(load=OpenLoop(requests_per_s=rate), requests=8, min_duration_s=1.0) for rate in (16.0, 400.0)
    )
    routed = RoutingScenario(work=TaskTokens(quality=quality_scenario()), engine={"enforce_eager": True})
    plan = Plan(suite="small", jobs=(job(few, many, routed), job(few, many, model="dense")), refusals=())
    told = [line for line in printed(plan, 400).splitlines() if line.startswith("note: ")]
    (line,) = told
    assert line == (
        "note: chat, 16 requests/s: about 17 arrivals are expected to miss the rate that was asked for by 25 %, and "
        "101, in 6.25 s, by 10 % (min_requests, min_duration_s)"
    )
    assert arrival_notes(plan.only({"nobody"})) == ()


def test_a_cell_in_a_few_words() -> None:
    assert cell_text(cell(serving_scenario(8))) == "chat, concurrency 8"
    assert cell_text(cell(quality_scenario("sort"))) == "sort"
    assert cell_text(cell(MemoryScenario())) == "memory"
