"""The records of a suite -> what its pages see of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.groups import group_summaries
from harness.history import Histories
from harness.licences import licences_of
from harness.pages.commands import shell_word, suite_argument
from harness.pages.parts import RecordFact, RecordIndex, Slugs
from harness.pages.suite_view import SuiteView, leading_point, leading_score, tasks_of
from harness.quantities import plain
from harness.record import Origin, Record
from harness.scenario import ServingScenario, scenario_words
from harness.store import Store
from harness.store_index import StoreIndex
from harness.suite import Suite
from harness.suite_results import suite_results
from harness.summary import ModelSummary


@dataclass(frozen=True)
class SuiteRecords:
    """What the records of one suite say."""

    name: str
    models: tuple[ModelSummary, ...]
    facts: dict[Path, RecordFact]
    problems: tuple[str, ...]
    licences: Mapping[str, str]
    """By model, where anybody states one."""
    argument: str
    """How a command names the suite."""
    index: StoreIndex
    """Of all records, also of those that no summary needs."""

    @property
    def newest(self) -> str:
        """When the newest record was taken."""
        return max(model.started_at for model in self.models).isoformat()


def read_suite(store: Store, name: str, definition: Suite | None, suites_dir: Path | None) -> SuiteRecords:
    """What the records of the suite `name` say. Raises InputError where none can be read."""
    found = suite_results(store, name, definition, suites_dir)
    argument = suite_argument(name, definition, suites_dir)
    if not found.entries:
        hint = f"first run: moebench run {shell_word(argument)}"
        raise InputError(f"no record of the suite {name!r} can be read", where=str(store.root / name), hint=hint)
    facts = {path: _fact(record) for path, record in found.entries}
    broken = tuple(f"{Path(one.where).name}: {one.what}" for one in found.problems)
    licences = licences_of(found.models, definition, suites_dir)
    return SuiteRecords(name, found.models, facts, broken, licences, argument, found.index)


def _fact(record: Record) -> RecordFact:
    scenario = record.cell.scenario
    started = f"{record.started_at:%Y-%m-%d %H:%M:%S}"
    serving = scenario if isinstance(scenario, ServingScenario) else None
    what, origin = plain(scenario_words(scenario), 200), _origin(record.origin)
    return RecordFact(what, record.repeat, started, record.outcome.status, origin, serving)


def _origin(origin: Origin | None) -> str:
    if origin is None:
        return ""
    return plain(f"{origin.tool}{f' {origin.version}' if origin.version else ''}, from {origin.file}", 300)


def view_of(read: SuiteRecords, definition: Suite | None, root: Path, slugs: Slugs, *, first: bool) -> SuiteView:
    """The suite as its pages see it; the `first` one of a site leads."""
    folder = slugs.of(("suite", read.name), read.name)
    models = read.models
    inside = Slugs()
    choice = definition.leaderboard if definition else None
    tasks = tasks_of(definition, models)
    return SuiteView(
        name=read.name,
        title=plain(definition.title if definition else read.name, 160),
        description=plain(definition.description, 600) if definition else "",
        slug="" if first else folder,
        models=models,
        groups=tuple(group for group in group_summaries(models) if len(group.members) > 1),
        point=leading_point(models, choice.concurrency if choice else None),
        tasks=tasks,
        score=leading_score(tasks, choice.score if choice else None),
        records=RecordIndex(root, read.facts),
        page_of={model.model: f"models/{folder}/{inside.of(model.model, model.model)}.html" for model in models},
        argument=read.argument,
        asks_for_routing=definition.routing is not None if definition else None,
        problems=read.problems,
        licences=read.licences,
        histories=Histories(read.index),
    )
