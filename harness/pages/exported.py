"""What a site has for other programs: a suite's rows, and each model's card and badge, with the links to them."""

from __future__ import annotations

from collections.abc import Iterator

from harness.exports.badge import has_badge, model_badge, suite_badge
from harness.exports.csv_text import to_csv
from harness.exports.json_document import schema_text, to_json
from harness.exports.load_rows import load_table
from harness.exports.model_card import has_card, model_card
from harness.exports.model_rows import model_table
from harness.exports.parquet import to_parquet
from harness.exports.parts import Exported
from harness.pages.parts import Link
from harness.pages.suite_view import SuiteView
from harness.summary import ModelSummary

SCHEMA_PATH = "data.schema.json"
"""Of the JSON export, whatever the suite."""


def exported_of(view: SuiteView) -> Exported:
    """A suite as its exports see it: models, then groups of trainings."""
    return Exported(view.name, (*view.models, *view.groups), view.point, view.score, view.licences)


def export_links(view: SuiteView) -> tuple[Link, ...]:
    """The exports of a suite, for the foot of its pages."""
    links = [
        Link(view.file("data", "csv"), "CSV of models"), Link(view.file("loads", "csv"), "CSV of loads"),
        Link(view.file("data", "json"), "JSON"), Link(SCHEMA_PATH, "its schema"),
        Link(view.file("data", "parquet"), "Parquet of models"),
        Link(view.file("loads", "parquet"), "Parquet of loads"),
    ]
    badge = [Link(view.file("badge", "svg"), "badge")] if has_badge(exported_of(view)) else []
    return (*links, *badge)


def model_links(view: SuiteView, model: ModelSummary) -> tuple[Link, ...]:
    """What is to be had of one model: the metadata of its card where it has scores, and a badge."""
    card = [Link(_card_path(view, model), "Model card metadata (YAML)")] if has_card(model) else []
    badge = [Link(_badge_path(view, model), "Badge (SVG)")] if has_badge(exported_of(view), model) else []
    return (*card, *badge)


def export_files(view: SuiteView) -> Iterator[tuple[str, bytes]]:
    """Every export of a suite by its place in the site."""
    exported = exported_of(view)
    models, loads = model_table(exported), load_table(exported)
    for stem, table in (("data", models), ("loads", loads)):
        yield view.file(stem, "csv"), to_csv(table).encode()
        yield view.file(stem, "parquet"), to_parquet(table, view.name)
    yield view.file("data", "json"), to_json(view.name, models, loads).encode()
    yield SCHEMA_PATH, schema_text().encode()
    if has_badge(exported):
        yield view.file("badge", "svg"), suite_badge(exported).encode()
    for model in view.models:
        if has_card(model):
            yield _card_path(view, model), model_card(exported, model).encode()
        if has_badge(exported, model):
            yield _badge_path(view, model), model_badge(exported, model).encode()


def _card_path(view: SuiteView, model: ModelSummary) -> str:
    return view.page_of[model.model].removesuffix(".html") + ".yaml"


def _badge_path(view: SuiteView, model: ModelSummary) -> str:
    return view.page_of[model.model].removesuffix(".html") + ".svg"
