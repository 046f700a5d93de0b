"""A suite's runs -> their page: when, where and with what each was taken, and what failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.pages.parts import Column, Page
from harness.pages.suite_view import SuiteView
from harness.quantities import capitalised, count_of, grouped, listed, plain
from harness.runs import SOFTWARE, Reason, Run, runs_of

MOST = 1000
"""Runs that are listed, the newest."""
_REASONS = 12
_MODELS = 5
_TITLES = {"moebench": "moebench", "vllm": "vLLM", "torch": "torch", "lm_eval": "lm-eval"}


@dataclass(frozen=True)
class RunCell:
    """A cell of the table; `order` sorts it where it is a number."""

    text: str
    order: str = ""
    title: str = ""
    """The whole of what is cut."""


@dataclass(frozen=True)
class ReasonRow:
    """Why cells of a run were not measured."""

    state: str
    count: str
    words: str
    models: str


@dataclass(frozen=True)
class RunRow:
    """One run."""

    started: str
    id: str
    before: tuple[RunCell, ...]
    """By the columns between the start and what failed."""
    after: tuple[RunCell, ...]
    """By the columns after it."""
    tools: str
    """The other tools that measured; empty for moebench's own."""
    failed: str
    failed_order: str
    reasons: tuple[ReasonRow, ...]
    more: str
    """How many reasons are left out, in words."""


@dataclass(frozen=True, kw_only=True)
class RunsPage(Page):
    """Every run of a suite."""

    heading: str
    suite_title: str
    lead: str
    cut: str
    """Says that only the newest are listed; empty where all are."""
    columns: tuple[Column, ...]
    rows: tuple[RunRow, ...]


def runs_page(view: SuiteView) -> RunsPage | None:
    """The page of a suite's runs; None where its index is not known."""
    if view.histories is None:
        return None
    runs, known = runs_of(view.histories.index, MOST)
    columns = (
        Column("Started", "UTC", classes="text frozen", key="started"),
        Column("Duration", classes="numeric", key="duration", help="From its first cell's start to its last one's end"),
        Column("Models", classes="numeric", key="models"),
        Column("Measured", "cells", classes="numeric", key="measured"),
        Column("Failed", "cells, and why", classes="text", key="failed"),
        Column("Refused", "cells", classes="numeric", key="refused"),
        Column("Skipped", "cells", classes="numeric", key="skipped", help="Not needed, such as loads past saturation"),
        Column("Machine", classes="text", key="machine"),
        *(Column(_TITLES[name], classes="text", key=name) for name in SOFTWARE),
        Column("Commit", classes="text", key="commit", help="Of moebench's own checkout; + where it had changes"),
    )
    return RunsPage(
        path=view.file("runs"),
        template="runs.html",
        title=f"Runs of {view.title}",
        menu="Runs",
        heading="Runs",
        suite_title=view.title,
        lead=_lead(runs, known),
        cut=f"Listed are the newest {grouped(MOST, 0)} of {grouped(known, 0)} runs." if known > len(runs) else "",
        columns=columns,
        rows=tuple(_row(run) for run in runs),
    )


def _lead(runs: list[Run], known: int) -> str:
    """The newest run, and how many of those listed had failures."""
    newest = runs[0]
    came = [f"measured {count_of(newest.cells['completed'], 'cell')} of {count_of(newest.models, 'model')}"]
    lacking = [state for state in ("failed", "refused") if newest.cells[state]]
    came += [f"{count_of(newest.cells[state], 'cell')} {state}" for state in lacking]
    failing = sum(run.cells["failed"] > 0 for run in runs)
    failures = {0: "None of the runs listed had", 1: "One of the runs listed had"}.get(
        failing, f"{grouped(failing, 0)} of the runs listed had"
    )
    return (
        f"{capitalised(count_of(known, 'run'))} {'is' if known == 1 else 'are'} recorded. The newest, of "
        f"{newest.started:%Y-%m-%d %H:%M} UTC, {listed(came)}. {failures} cells that failed."
    )


def _row(run: Run) -> RunRow:
    machine = plain("; ".join(run.machines), 400)
    commits = plain(", ".join(commit[:10] + ("+" if commit.endswith("+") else "") for commit in run.commits), 80)
    return RunRow(
        started=f"{run.started:%Y-%m-%d %H:%M}",
        id=plain(run.id, 80),
        before=(
            RunCell(duration_text(run.duration_s), repr(run.duration_s)),
            *(_counted(count) for count in (run.models, run.cells["completed"])),
        ),
        after=(
            *(_counted(run.cells[state]) for state in ("refused", "skipped")),
            _cut(machine, 60),
            *(_cut(plain(listed(run.versions[name]) or "none", 120), 40) for name in SOFTWARE),
            RunCell(commits or "not known", title=plain(", ".join(run.commits), 200)),
        ),
        tools=plain(listed(run.tools), 200),
        failed=grouped(run.cells["failed"], 0),
        failed_order=str(run.cells["failed"]),
        reasons=tuple(_reasons(run.reasons[:_REASONS])),
        more=f"and {count_of(len(run.reasons) - _REASONS, 'more reason')}" if len(run.reasons) > _REASONS else "",
    )


def _counted(count: int) -> RunCell:
    return RunCell(grouped(count, 0), str(count))


def _cut(text: str, limit: int) -> RunCell:
    return RunCell(text) if len(text) <= limit else RunCell(f"{text[: limit - 1]}\u2026", title=text)


def _reasons(reasons: Iterable[Reason]) -> Iterable[ReasonRow]:
    for one in reasons:
        models = [plain(model, 60) for model in one.models[:_MODELS]]
        rest = len(one.models) - len(models)
        shown = [*models, f"{count_of(rest, 'more model')}"] if rest else models
        yield ReasonRow(one.state, count_of(one.cells, "cell"), plain(one.words, 300), listed(shown))


def duration_text(seconds: float) -> str:
    """A duration as a reader says it: "42 s", "12 min 05 s", "3 h 07 min"."""
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{grouped(whole // 3600, 0)} h {whole % 3600 // 60:02d} min"
