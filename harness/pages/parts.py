"""What pages are made of: marks, values, columns, links, frames. Plain data; templates only lay it out."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.quantities import Scale, capitalised, margin, plain, scale_of, significant, without_margin
from harness.scenario import ServingScenario
from harness.stats import Estimate
from harness.summary import Gap, ModelSummary

REASON_LIMIT = 600
Terms = list[tuple[str, str]]
"""Words, each with what there is to say of it."""
PAST_SATURATION = "past saturation"


@dataclass(frozen=True)
class Mark:
    """A small label with its reason. `state`: failed, refused, skipped, missing, note or plain; it sets the colour."""

    state: str
    label: str
    reason: str


@dataclass(frozen=True)
class Link:
    """A link; `href` is relative to the site's root."""

    href: str
    text: str


@dataclass(frozen=True)
class Value:
    """One cell of a table. `order` sorts it: a number as text, empty where there is none."""

    text: str = ""
    margin: str = ""
    order: str = ""
    best: bool = False
    marks: tuple[Mark, ...] = ()
    links: tuple[Link, ...] = ()
    evidence: str = ""
    """The names of the estimates behind it (`SuiteView.evidence`), parted by a blank: what its drawer shows."""
    basis: str = ""
    """How it was made of several estimates, in words; empty where it is one."""
    cell: str = ""
    """What follows the name of its row's evidence, where the row has one."""


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    title: str
    unit: str = ""
    direction: str = ""
    help: str = ""
    classes: str = ""
    first: bool = False
    """Whether a group of columns starts here."""
    name: str = ""
    """The title with its group, for lists in which columns of one title must be told apart."""
    key: str = ""
    """Its name in an address; empty where its title serves."""


@dataclass(frozen=True)
class TableRow:
    """One row of a plain table; `title` is its first cell."""

    title: str
    cells: tuple[Value, ...]
    anchor: str = ""
    marks: tuple[Mark, ...] = ()
    """What to know of the whole row."""
    evidence: str = ""
    """How the names of the evidence of its cells begin that have a `Value.cell`."""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class Block:
    """Rows of a table that belong together, under a row with their title."""

    title: str
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class BlockTable:
    """A table of blocks; the heads of the first two columns say what the titles of blocks and of rows are."""

    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class FailureRow:
    """A cell without a measurement, or with fewer repeats than were asked."""

    model: str
    href: str
    what: str
    state: str
    label: str
    reason: str
    log: str = ""
    records: tuple[Link, ...] = ()


@dataclass(frozen=True)
class NavigationLink:
    """An entry of the header."""

    href: str
    text: str
    current: bool = False


@dataclass(frozen=True)
class EvidenceFile:
    """Everything behind the numbers of one model or recipe, as plain data for `drawer.js`."""

    name: str
    """`<suite>.<model>`, with which the names of its estimates begin; of nights see `nights_evidence`."""
    content: dict[str, Any]

    @property
    def path(self) -> str:
        """Its place in a site."""
        return f"evidence/{self.name.replace('.', '/')}.js"

    @property
    def element(self) -> str:
        """The id of the script element with the data, where a site is one file."""
        return f"evidence-{self.name}"


@dataclass(frozen=True, kw_only=True)
class Page:
    """What every page has. `path` is relative to the site's root and `root` leads back there."""

    path: str
    template: str
    title: str
    menu: str = ""
    """Its name in the menu; empty where it is not in it."""
    navigation: tuple[NavigationLink, ...] = ()
    footer: tuple[str, ...] = ()
    exports: tuple[Link, ...] = ()
    evidence_files: tuple[EvidenceFile, ...] = ()
    """What stands behind its numbers, where that is of no suite."""

    @property
    def root(self) -> str:
        """The way from this page to the site's root."""
        return "../" * self.path.count("/")


class Slugs:
    """File names for foreign names: safe, readable, and unique without regard to case."""

    def __init__(self) -> None:
        self._given: dict[Hashable, str] = {}
        self._taken: set[str] = set()

    def of(self, key: Hashable, name: str) -> str:
        """The slug of `key`, made from `name` on the first call and the same ever after."""
        if key not in self._given:
            base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "unnamed"
            slug, number = base, 1
            while slug in self._taken:
                number += 1
                slug = f"{base}-{number}"
            self._taken.add(slug)
            self._given[key] = slug
        return self._given[key]


# Values from estimates -------------------------------------------------------------------------------------------


def shown(
    estimate: Estimate, scale: Scale, *, best: bool = False, marks: Sequence[Mark] = (), evidence: str = ""
) -> Value:
    """An estimate on a scale; what has no spread has no margin, what has no interval shows its n instead."""
    value = estimate.value / scale.divisor
    text, around = significant(value), ""
    if estimate.low is None or estimate.high is None:
        around = without_margin(estimate.n)
    elif estimate.low < estimate.high:
        around = margin(value, estimate.low / scale.divisor, estimate.high / scale.divisor)
    return Value(text, around, repr(estimate.value), best, tuple(marks), evidence=evidence)


def in_words(estimate: Estimate, scale: Scale) -> str:
    """An estimate for a sentence: "69.3 % (95 % interval 67.9 to 70.8)"."""
    unit = f" {scale.unit}" if scale.unit else ""
    text = f"{significant(estimate.value / scale.divisor)}{unit}"
    if estimate.low is None or estimate.high is None:
        return f"{text} (no interval)"
    if estimate.low == estimate.high:
        return text
    low, high = (significant(end / scale.divisor) for end in (estimate.low, estimate.high))
    return f"{text} (95 % interval {low} to {high})"


def on_own_scale(
    estimate: Estimate | None, unit: str, missing: Mark, marks: Sequence[Mark] = (), evidence: str = ""
) -> Value:
    """An estimate with its unit beside it, for tables whose rows have different units."""
    if estimate is None:
        return Value(marks=(missing,))
    scale = scale_of(unit, [estimate.value])
    value = shown(estimate, scale, marks=marks, evidence=evidence)
    return replace(value, text=f"{value.text}{' ' + scale.unit if scale.unit else ''}")


# Marks -----------------------------------------------------------------------------------------------------------


def gap_mark(gap: Gap) -> Mark:
    """What a cell without a measurement shows: failed, refused, or not needed, as where a sweep had seen enough."""
    if gap.status == "skipped":
        words = gap.reason.removeprefix(f"{PAST_SATURATION}: ")
        label = PAST_SATURATION if words != gap.reason else "not needed"
        return Mark("skipped", label, plain(f"Not measured: {words}.", REASON_LIMIT))
    detail = gap.reason if gap.status == "refused" else f"{gap.error}: {gap.reason}"
    return Mark(gap.status, gap.status, plain(detail, REASON_LIMIT))


def absence(summary: ModelSummary, kind: str, fits: Iterable[Gap]) -> Mark:
    """Why a value is not there: the newest gap that fits, else that nothing was recorded."""
    gaps = sorted(fits, key=lambda gap: gap.started_at)
    if gaps:
        return gap_mark(gaps[-1])
    return Mark("missing", "not measured", f"No record of {plain(kind, 120)} for {plain(summary.model, 120)}.")


def partial_marks(gaps: Iterable[Gap]) -> tuple[Mark, ...]:
    """The mark beside a value some of whose repeats failed and were not measured before."""
    lacking = [gap for gap in gaps if not gap.measured_before and gap.status != "skipped"]
    if not lacking:
        return ()
    newest = max(lacking, key=lambda gap: gap.started_at)
    number = f"{len(lacking)} " if len(lacking) > 1 else ""
    return (Mark(newest.status, f"{number}{newest.status}", f"Some repeats are missing. {gap_mark(newest).reason}"),)


def flag_marks(flags: Sequence[str]) -> tuple[Mark, ...]:
    """The mark of a timing that is implausible, with every reason."""
    return (Mark("note", "flagged", capitalised(plain("; ".join(flags), REASON_LIMIT)) + "."),) if flags else ()


# Paths -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordFact:
    """What a page says of a record file."""

    what: str
    repeat: int
    started: str
    state: str
    origin: str = ""
    """The tool and the file that it was imported from, in words; empty for what moebench measured."""
    serving: ServingScenario | None = None


@dataclass(frozen=True)
class RecordIndex:
    """Where record files lie in the store and in the site, and what they hold."""

    root: Path
    facts: dict[Path, RecordFact] = field(default_factory=dict)

    def relative(self, path: Path) -> str:
        """A record's place in the site."""
        return "records/" + path.relative_to(self.root).as_posix()

    def link(self, path: Path, text: str = "") -> Link:
        """A link to a record in the site; its text is `r` and the repeat unless given."""
        fact = self.facts.get(path)
        return Link(quote(self.relative(path)), text or (f"r{fact.repeat}" if fact else path.name))

    def links(self, paths: Iterable[Path]) -> tuple[Link, ...]:
        """Links to records, each once."""
        return tuple(self.link(path) for path in dict.fromkeys(paths))

    def imported(self, paths: Iterable[Path]) -> tuple[Mark, ...]:
        """The mark of a value that another tool measured, in part or as a whole."""
        known = (self.facts.get(path) for path in paths)
        origins = dict.fromkeys(fact.origin for fact in known if fact is not None and fact.origin)
        if not origins:
            return ()
        return (Mark("plain", "imported", plain(f"Not measured by moebench: {'; '.join(origins)}.", REASON_LIMIT)),)


@dataclass(frozen=True)
class Figure:
    """A plotly figure as plain data; text in it is already escaped for plotly."""

    id: str
    caption: str
    content: dict[str, Any]
