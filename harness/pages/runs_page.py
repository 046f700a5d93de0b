"""A suite's runs -> their page: when, where and with what each was taken, and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.pages.parts import Column, EvidenceFile, Link, Page
from harness.pages.runs_evidence import RUNS, runs_evidence
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
    evidence: str = ""
    """The name of what stands behind it."""


@dataclass(frozen=True)
class Models:
    """Some models with links to their pages, and how many there are besides, in words; `order` sorts by their number.

    Where a run had all models of the suite, `links` is one to the leaderboard.
    """

    links: tuple[Link, ...]
    more: str
    order: str


@dataclass(frozen=True)
class ReasonRow:
    """Why cells of a run were not measured."""

    state: str
    count: str
    words: str
    models: Models
    what: str
    """The cells."""


@dataclass(frozen=True)
class RunRow:
    """One run."""

    started: str
    id: str
    before: tuple[RunCell, ...]
    """By the columns between the start and the models."""
    models: Models
    measured: RunCell
    after: tuple[RunCell, ...]
    """By the columns after it."""
    tools: str
    """The other tools that measured; empty for moebench's own."""
    failed: str
    failed_order: str
    reasons: tuple[ReasonRow, ...]
    more: str
    """How many reasons are left out, in words."""
    evidence: str
    """Of the failed cells; empty where there is none."""


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
    evidence = runs_evidence(view, runs)
    reader = _Reader(view, evidence)
    columns = (
        Column("Started", "UTC, and its id", classes="text frozen", key="started"),
        Column("Duration", classes="numeric", key="duration", help="From its first cell's start to its last one's end"),
        Column("Models", classes="text", key="models"),
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
        cut=_cut_words(len(runs), known),
        columns=columns,
        rows=tuple(reader.row(run) for run in runs),
        evidence_files=tuple(evidence.values()),
    )


def _cut_words(listed_runs: int, known: int) -> str:
    """What is not listed of older runs."""
    told = [f"Listed are the newest {grouped(MOST, 0)} of {grouped(known, 0)} runs."] if known > listed_runs else []
    if listed_runs > RUNS:
        told.append(
            f"The numbers of the newest {RUNS} open their records; those of older runs are behind the points of each "
            "model\u2019s history."
        )
    return " ".join(told)


def _lead(runs: list[Run], known: int) -> str:
    """The newest run, and how many of those listed had failures."""
    newest = runs[0]
    came = [f"measured {count_of(newest.cells['completed'], 'cell')} of {count_of(len(newest.models), 'model')}"]
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


class _Reader:
    """What the rows of one suite need of it."""

    def __init__(self, view: SuiteView, evidence: Mapping[str, EvidenceFile]) -> None:
        self._view, self._evidence = view, evidence
        self._all = tuple(sorted(view.page_of))

    def row(self, run: Run) -> RunRow:
        """The row of a run."""
        machine = plain("; ".join(run.machines), 400)
        commits = plain(", ".join(commit[:10] + ("+" if commit.endswith("+") else "") for commit in run.commits), 80)
        return RunRow(
            started=f"{run.started:%Y-%m-%d %H:%M}",
            id=plain(run.id, 80),
            before=(RunCell(duration_text(run.duration_s), repr(run.duration_s)),),
            models=self._models(run.models),
            measured=self._counted(run, "completed"),
            after=(
                *(self._counted(run, state) for state in ("refused", "skipped")),
                _cut(machine, 60),
                *(_cut(plain(listed(run.versions[name]) or "none", 120), 40) for name in SOFTWARE),
                RunCell(commits or "not known", title=plain(", ".join(run.commits), 200)),
            ),
            tools=plain(listed(run.tools), 200),
            failed=grouped(run.cells["failed"], 0),
            failed_order=str(run.cells["failed"]),
            reasons=tuple(map(self._reason, run.reasons[:_REASONS])),
            more=f"and {count_of(len(run.reasons) - _REASONS, 'more reason')}" if len(run.reasons) > _REASONS else "",
            evidence=self._counted(run, "failed").evidence,
        )

    def _counted(self, run: Run, state: str) -> RunCell:
        count, file = run.cells[state], self._evidence.get(run.id)
        return RunCell(grouped(count, 0), str(count), evidence=f"{file.name}.{state}" if file and count else "")

    def _models(self, names: Sequence[str]) -> Models:
        """The first few models; a name that the suite no longer has leads nowhere."""
        order = str(len(names))
        if len(names) > _MODELS and tuple(names) == self._all:
            return Models((Link(self._view.path, f"all {grouped(len(names), 0)}"),), "", order)
        links = tuple(Link(self._view.page_of.get(name, ""), plain(name, 60)) for name in names[:_MODELS])
        rest = len(names) - len(links)
        return Models(links, f"{count_of(rest, 'more model')}" if rest else "", order)

    def _reason(self, one: Reason) -> ReasonRow:
        cells = [plain(what, 80) for what in one.what[:_MODELS]]
        rest = len(one.what) - len(cells)
        told = listed([*cells, f"{grouped(rest, 0)} more"] if rest else cells)
        return ReasonRow(one.state, count_of(one.cells, "cell"), plain(one.words, 300), self._models(one.models), told)


def _cut(text: str, limit: int) -> RunCell:
    return RunCell(text) if len(text) <= limit else RunCell(f"{text[: limit - 1]}\u2026", title=text)


def duration_text(seconds: float) -> str:
    """A duration as a reader says it: "42 s", "12 min 05 s", "3 h 07 min"."""
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{grouped(whole // 3600, 0)} h {whole % 3600 // 60:02d} min"
