"""A store -> all pages of a site: which suite leads, where pages lie, what every page has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.accelerators import Accelerators
from harness.catalog import Catalog
from harness.compare import Comparison
from harness.crossover import crossovers
from harness.errors import InputError, StoreError
from harness.groups import group_summaries
from harness.metrics import METRICS, Metric
from harness.pages.cards import Card, card_of, pairs_of, partners_of, unmatched_note
from harness.pages.catalog_page import catalog_page
from harness.pages.figures import pareto_data, seeds_figure
from harness.pages.lead import conditions_of, facts_of, lead_of, legend_of
from harness.pages.leaderboard import (
    ColumnGroup,
    GroupRow,
    Row,
    column_groups,
    column_specs,
    columns_of,
    failures_of,
    group_columns,
    group_rows,
    group_specs,
    rows_of,
)
from harness.pages.model_page import model_page
from harness.pages.pair_page import PairPage, pair_page
from harness.pages.parts import Column, FailureRow, Link, NavigationLink, Page, RecordFact, RecordIndex, Slugs
from harness.pages.suite_view import SuiteView, all_tasks, leading_point, subjects_of
from harness.plausibility import BUSY_STEP_S, ENGINE_STEP_S, MARGIN, SLOWEST
from harness.quantities import capitalised, count_of, listed, plain
from harness.record import Origin, Record
from harness.scenario import ServingScenario, scenario_words
from harness.store import Store
from harness.suite import Suite
from harness.summarise import summarise
from harness.summary import ModelSummary
from harness.terms import Terms


@dataclass(frozen=True)
class Groups:
    """The table of recipes over their seeds, and its chart."""

    note: str
    columns: tuple[Column, ...]
    rows: tuple[GroupRow, ...]
    caption: str
    figure: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class IndexPage(Page):
    """The leaderboard of one suite."""

    heading: str
    facts: tuple[str, ...]
    lead: str
    conditions: str
    others: tuple[Link, ...]
    groups: Groups | None
    column_groups: tuple[ColumnGroup, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    legend: str
    pareto: dict[str, Any] | None
    cards: tuple[Card, ...]
    cards_note: str
    failures: tuple[FailureRow, ...]


@dataclass(frozen=True, kw_only=True)
class MethodPage(Page):
    """How everything is measured and computed."""

    metrics: tuple[Metric, ...]
    slowest: str
    """How many times the least time a run may take before it counts as implausibly slow."""
    engine_step_ms: str
    busy_step_ms: str
    margin: str


@dataclass(frozen=True)
class SuitePages:
    """One suite of a site with what goes into its exports and its copied records."""

    view: SuiteView
    csv_path: str
    json_path: str

    @property
    def summaries(self) -> tuple[ModelSummary, ...]:
        """The rows of the exports: models, then groups."""
        return (*self.view.models, *self.view.groups)

    @property
    def record_copies(self) -> tuple[tuple[Path, str], ...]:
        """Every record that a page links, with its place in the site."""
        paths = dict.fromkeys(path for model in self.view.models for path in model.records)
        return tuple((path, self.view.records.relative(path)) for path in paths)


@dataclass(frozen=True)
class Site:
    """Every page, and the suites behind them."""

    pages: tuple[Page, ...]
    suites: tuple[SuitePages, ...]


def build_site(
    store: Store,
    names: Sequence[str],
    *,
    named: bool,
    definitions: Mapping[str, Suite] | None = None,
    suites_dir: Path | None = None,
) -> Site:
    """All pages of the suites `names`. Where they were not `named` by the reader, the newest leads.

    `definitions` give titles, comparisons and the leading load and score of suites whose files are known.
    `suites_dir` holds the catalog and the accelerators; without it the site has no catalog page.
    Raises InputError where a suite has no record that can be read.
    """
    slugs = Slugs()
    known = definitions or {}
    read = [_read(store, name, known.get(name), suites_dir) for name in names]
    if not named:
        read.sort(key=lambda one: (one.newest, one.name), reverse=True)
    views = [_view(one, known.get(one.name), store.root, slugs, first=one is read[0]) for one in read]
    suites = [_suite_pages(view, slugs, first=view is views[0]) for view in views]
    leading = known.get(views[0].name)
    common = _common_pages(suites_dir, leading.prices_usd_per_hour if leading else {})
    pages: list[Page] = []
    pair_slugs = Slugs()
    for suite in suites:
        pages += _pages_of(suite, views, known.get(suite.view.name), common, pair_slugs)
    return Site(tuple(pages), tuple(suites))


# From files to a view --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    name: str
    models: tuple[ModelSummary, ...]
    facts: dict[Path, RecordFact]
    problems: tuple[str, ...]

    @property
    def newest(self) -> str:
        return max(model.started_at for model in self.models).isoformat()


def _read(store: Store, name: str, definition: Suite | None, suites_dir: Path | None) -> _Read:
    problems: list[StoreError] = []
    entries = list(store.read(name, problems))
    if not entries:
        hint = f"first run: moebench run suites/{name}.yaml"
        raise InputError(f"no record of the suite {name!r} can be read", where=str(store.root / name), hint=hint)
    facts = {path: _fact(record) for path, record in entries}
    tasks = definition.quality.tasks if definition and definition.quality else None
    broken = tuple(f"{Path(one.where).name}: {one.what}" for one in problems)
    models = summarise(entries, tasks=tasks, terms=Terms.of(definition, suites_dir))
    return _Read(name, models, facts, broken)


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


def _view(read: _Read, definition: Suite | None, root: Path, slugs: Slugs, *, first: bool) -> SuiteView:
    folder = slugs.of(("suite", read.name), read.name)
    models = read.models
    inside = Slugs()
    wanted = definition.quality.tasks if definition and definition.quality else ()
    choice = definition.leaderboard if definition else None
    tasks = tuple(dict.fromkeys((*wanted, *all_tasks(models))))
    score = f"score:{choice.score}" if choice and choice.score in tasks else "mean_score"
    if len(tasks) == 1:
        score = f"score:{tasks[0]}"
    return SuiteView(
        name=read.name,
        title=plain(definition.title if definition else read.name, 160),
        description=plain(definition.description, 600) if definition else "",
        path="index.html" if first else f"suite-{folder}.html",
        models=models,
        groups=tuple(group for group in group_summaries(models) if len(group.members) > 1),
        point=leading_point(models, choice.concurrency if choice else None),
        tasks=tasks,
        score=score,
        records=RecordIndex(root, read.facts),
        page_of={model.model: f"models/{folder}/{inside.of(model.model, model.model)}.html" for model in models},
        problems=read.problems,
    )


# From views to pages ---------------------------------------------------------------------------------------------


def _suite_pages(view: SuiteView, slugs: Slugs, *, first: bool) -> SuitePages:
    stem = "data" if first else f"data-{slugs.of(('suite', view.name), view.name)}"
    return SuitePages(view, f"{stem}.csv", f"{stem}.json")


def _pages_of(
    suite: SuitePages, views: Sequence[SuiteView], definition: Suite | None, common: Sequence[Page], slugs: Slugs
) -> list[Page]:
    """The pages of a suite in their frame; those `common` to all suites go with the first. `slugs` name pairs."""
    view = suite.view
    subjects = subjects_of(view.models, view.groups)
    named = [(one.sparse, dense) for one in definition.comparisons for dense in one.dense] if definition else []
    pairs = pairs_of(subjects, named)
    pair_pages = [_pair_page(view, pair, slugs, first=view is views[0]) for pair in pairs]
    cards = tuple(
        card_of(view, pair, page.crossovers, page.path) for pair, page in zip(pairs, pair_pages, strict=True)
    )
    index = _index_page(suite, views, cards, unmatched_note(subjects, pairs), _not_run(view, definition))
    models = [model_page(view, model, partners_of(model, pairs)) for model in view.models]
    pages: list[Page] = [index, *models, *pair_pages, *(common if view is views[0] else ())]
    return [replace(page, **_frame(suite, index, page.path, common)) for page in pages]


def _pair_page(view: SuiteView, pair: Comparison, slugs: Slugs, *, first: bool) -> PairPage:
    names = (pair.a.model, pair.b.model)
    slug = slugs.of((view.name, *names), " ".join(names if first else (view.name, *names)))
    return pair_page(view, pair, crossovers(pair.a, pair.b), f"pairs/{slug}.html")


def _common_pages(suites_dir: Path | None, prices_usd_per_hour: Mapping[str, float]) -> tuple[Page, ...]:
    """The pages that belong to no suite: the catalog, where it is known, and the method."""
    method = MethodPage(
        path="method.html", template="method.html", title="Method", metrics=tuple(METRICS.values()),
        slowest=f"{SLOWEST:g}", engine_step_ms=f"{1000 * ENGINE_STEP_S:g}",
        busy_step_ms=f"{1000 * BUSY_STEP_S:g}", margin=f"{MARGIN:g}",
    )
    if suites_dir is None:
        return (method,)
    accelerators = Accelerators(suites_dir).priced(prices_usd_per_hour, "set by the suite")
    return (catalog_page(Catalog(suites_dir), accelerators), method)


def _not_run(view: SuiteView, definition: Suite | None) -> tuple[FailureRow, ...]:
    recorded = {model.model for model in view.models}
    names = [model.name for model in definition.models if model.name not in recorded] if definition else []
    return tuple(
        FailureRow(plain(name, 120), "", "everything", "missing", "not run", "The suite lists it, no record has it.")
        for name in names
    )


def _index_page(
    suite: SuitePages, views: Sequence[SuiteView], cards: tuple[Card, ...], note: str, not_run: tuple[FailureRow, ...]
) -> IndexPage:
    view, specs = suite.view, column_specs(suite.view)
    legend = (
        "Matched by counted parameters, within 10 %. The middle line means equal; bars are 95 % intervals. A verdict "
        "is corrected for the number of effects of its pair (Holm): an interval that only just leaves the line shows "
        "no difference yet."
    )
    words = [legend, note]
    return IndexPage(
        path=view.path,
        template="index.html",
        title=view.title,
        heading=view.title,
        facts=facts_of(view),
        lead=lead_of(view),
        conditions=conditions_of(view),
        others=tuple(Link(other.path, other.title) for other in views if other is not view),
        groups=_groups(view),
        column_groups=column_groups(specs),
        columns=columns_of(view, specs),
        rows=rows_of(view, specs),
        legend=legend_of(view),
        pareto=pareto_data(view),
        cards=cards,
        cards_note=" ".join(word for word in words if word),
        failures=(*failures_of(view, view.models), *not_run),
    )


def _groups(view: SuiteView) -> Groups | None:
    if not view.groups:
        return None
    specs, figure = group_specs(view), seeds_figure(view)
    note = ("Trainings of one recipe that differ in their seed. The interval is over the trainings: what another one "
            "would give. The models' own intervals below are over items and repeats.")
    return Groups(
        note=note,
        columns=group_columns(view, specs),
        rows=group_rows(view, specs),
        caption=figure.caption if figure else "",
        figure=figure.content if figure else None,
    )


def _frame(suite: SuitePages, index: IndexPage, path: str, common: Sequence[Page]) -> dict[str, Any]:
    """Navigation and footer, which the pages of a suite share; `path` is the page that they are on."""
    view = suite.view
    sections = [
        ("", "Leaderboard", True), ("#recipes", "Recipes", index.groups), ("#pareto", "Pareto", index.pareto),
        ("#pairs", "Sparse vs dense", index.cards), ("#failures", "Not measured", index.failures),
    ]
    links = [
        NavigationLink(view.path + anchor, text, path == view.path and not anchor)
        for anchor, text, there in sections
        if there
    ]
    return {
        "navigation": (*links, *(NavigationLink(one.path, one.title, path == one.path) for one in common)),
        "footer": _footer(view),
        "exports": (Link(suite.csv_path, "CSV"), Link(suite.json_path, "JSON")),
    }


def _footer(view: SuiteView) -> tuple[str, ...]:
    engines = {
        name: sorted({model.environment.versions[name] for model in view.models if name in model.environment.versions})
        for name in ("moebench", "vllm", "torch", "lm_eval")
    }
    measured = ", ".join(f"{name} {listed(found)}" for name, found in engines.items() if found)
    used = len({path for model in view.models for path in model.records})
    newest = f"{view.newest:%Y-%m-%d %H:%M} UTC"
    lines = [
        f"Written by moebench {_own_version()} from {count_of(used, 'record')}, the newest of {newest}.",
        f"Measured with {plain(measured, 300) or 'unknown versions'}.",
    ]
    if view.problems:
        shown = plain("; ".join(view.problems[:5]), 1_000)
        lines.append(capitalised(f"{count_of(len(view.problems), 'record file')} could not be read: {shown}."))
    return tuple(lines)


def _own_version() -> str:
    try:
        return version("moebench")
    except PackageNotFoundError:
        return "from a checkout"
