"""A store -> all pages of a site: which suite leads, where pages lie, what every page has in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.accelerators import Accelerators
from harness.baselines import suggestions
from harness.catalog import Catalog, CatalogModel
from harness.matching import Pairing, left_out, named_pairs, pairings, partners_of, unmatched
from harness.pages.cards import pair_of
from harness.pages.catalog_page import catalog_page
from harness.pages.disagreements import disagreements
from harness.pages.evidence import evidence_files
from harness.pages.exported import export_links
from harness.pages.frame import framed
from harness.pages.index_page import index_page
from harness.pages.method_page import method_page
from harness.pages.model_page import model_page
from harness.pages.pair_page import pair_page
from harness.pages.pairs_page import pairs_page
from harness.pages.pareto_page import pareto_page
from harness.pages.parts import EvidenceFile, Link, Page, Slugs
from harness.pages.reading import read_suite, view_of
from harness.pages.runs_page import runs_page
from harness.pages.suite_view import SuiteView, subjects_of
from harness.store import Store
from harness.suite import Suite


@dataclass(frozen=True)
class SuitePages:
    """One suite of a site with what goes into its exports and its copied records."""

    view: SuiteView

    @property
    def record_copies(self) -> tuple[tuple[Path, str], ...]:
        """Every record that a page links, with its place in the site."""
        known = (path for model in self.view.models for path in (*model.records, model.config_record))
        paths = dict.fromkeys(path for path in known if path is not None)
        return tuple((path, self.view.records.relative(path)) for path in paths)


@dataclass(frozen=True)
class Site:
    """Every page, and the suites behind them."""

    pages: tuple[Page, ...]
    suites: tuple[SuitePages, ...]

    def evidence_files(self) -> Iterator[EvidenceFile]:
        """What stands behind all numbers, file by file: together they can be large."""
        for page in self.pages:
            yield from page.evidence_files
        for suite in self.suites:
            yield from evidence_files(suite.view)


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
    slugs, pair_slugs = Slugs(), Slugs()
    known = definitions or {}
    read = [read_suite(store, name, known.get(name), suites_dir) for name in names]
    if not named:
        read.sort(key=lambda one: (one.newest, one.name), reverse=True)
    views = [view_of(one, known.get(one.name), store.root, slugs, first=one is read[0]) for one in read]
    leading = known.get(views[0].name)
    catalog = tuple(Catalog(suites_dir)) if suites_dir else ()
    common = _common_pages(suites_dir, catalog, leading.prices_usd_per_hour if leading else {})
    suites = [SuitePages(view) for view in views]
    pages: list[Page] = []
    for suite in suites:
        view = suite.view
        own = _pages_of(view, views, known.get(view.name), pair_slugs, catalog)
        own += common if view is views[0] else ()
        pages += framed(own, view, common, export_links(view))
    return Site(tuple(pages), tuple(suites))


def _pages_of(
    view: SuiteView, views: Sequence[SuiteView], definition: Suite | None, slugs: Slugs,
    catalog: Sequence[CatalogModel],
) -> list[Page]:
    """The pages of a suite in the order of the menu; `slugs` name those of pairs."""
    subjects = subjects_of(view.models, view.groups)
    named = named_pairs(definition)
    matched, absent = pairings(subjects, named, score=view.score), left_out(named, subjects, view.models)
    pairs = [pair_of(one, _pair_path(view, one, slugs, first=view is views[0]), view.score) for one in matched]
    items = disagreements([pair.comparison for pair in pairs])
    suggested = suggestions(subjects, matched, catalog, score=view.score)
    verdicts = None
    if pairs or suggested or absent:
        verdicts = pairs_page(view, pairs, unmatched(subjects, matched), suggested, absent)
    return [
        index_page(view, views, definition, Link(verdicts.path, verdicts.lead) if verdicts and verdicts.lead else None),
        *([verdicts] if verdicts is not None else []),
        *([explorer] if (explorer := pareto_page(view)) else []),
        *filter(None, [runs_page(view)]),
        *(model_page(view, model, partners_of(model, matched)) for model in view.models),
        *(pair_page(view, pair, found) for pair, found in zip(pairs, items, strict=True)),
    ]


def _pair_path(view: SuiteView, pair: Pairing, slugs: Slugs, *, first: bool) -> str:
    names = (pair.a.model, pair.b.model)
    return f"pairs/{slugs.of((view.name, *names), ' '.join(names if first else (view.name, *names)))}.html"


def _common_pages(
    suites_dir: Path | None, catalog: Sequence[CatalogModel], prices_usd_per_hour: Mapping[str, float]
) -> tuple[Page, ...]:
    """The pages that belong to no suite: the catalog, where it is known, and the method."""
    if suites_dir is None:
        return (method_page(),)
    accelerators = Accelerators(suites_dir).priced(prices_usd_per_hour, "set by the suite")
    return (catalog_page(catalog, accelerators), method_page())
