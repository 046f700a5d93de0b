"""A score of which nobody tells how many items it is of: never as if it were of none."""

from __future__ import annotations

import json

import builders
import pytest
import sites
import yaml
from exported_suites import exported_of

from harness.compare import compare
from harness.comparison_json import comparison_json
from harness.exports.model_card import eval_results, model_card
from harness.exports.printed import printed
from harness.pages.evidence import evidence_files
from harness.pages.model_page import ModelPage
from harness.pages.site import Site, build_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    records = [
        builders.reported_record(model="moe-8x2", value=0.7, stderr=0.01),
        builders.reported_record(model="dense-active", value=0.6),
        builders.reported_record(model="dense-total", value=0.65, items=1200),
    ]
    return build_site(sites.store_of(tmp_path_factory.mktemp("items"), records), ["small"], named=False)


def test_the_page_of_a_model(site: Site) -> None:
    pages = {page.heading: page for page in site.pages if isinstance(page, ModelPage)}
    items = {name: page.scores.rows[0].cells[1] for name, page in pages.items() if page.scores is not None}
    assert {name: cell.text for name, cell in items.items()} == {
        "moe-8x2": "\u2013", "dense-active": "\u2013", "dense-total": "1\u202f200",
    }
    assert [name for name, cell in items.items() if cell.evidence] == ["dense-total"]


def test_without_an_interval_either(site: Site) -> None:
    pages = {page.heading: page for page in site.pages if isinstance(page, ModelPage)}
    margins = {name: page.scores.rows[0].cells[0].margin for name, page in pages.items() if page.scores is not None}
    assert margins["dense-active"] == "no interval" and margins["dense-total"] == "n = 1\u202f200"


def test_the_drawer(site: Site) -> None:
    found = {file.name.split(".")[-1]: file.content for file in evidence_files(site.suites[0].view)}
    told = {name: content["estimates"]["score.facts"].get("n") for name, content in found.items()}
    assert told == {"moe-8x2": None, "dense-active": None, "dense-total": 1200}


def test_exports() -> None:
    suite = exported_of(
        builders.reported_record(model="moe-8x2", value=0.99, stderr=0.01),
        builders.reported_record(model="dense-active", value=0.6), score="score:facts",
    )
    dense, sparse = suite.summaries
    (result,) = yaml.safe_load(model_card(suite, sparse).split("---")[1])["model-index"][0]["results"]
    told = result["metrics"][0]["args"]
    assert "n" not in told and 0.99 < told["high"] < 1
    assert told["stderr"] == 0.01
    assert "n 0" not in eval_results(suite, sparse, {"facts": "acme/facts"})
    cells = [row.cells[0].margin for row in printed(suite, ("score:facts",)).rows]
    assert cells[0] == "no interval" and "0" in cells[1]
    effects = json.loads(comparison_json(compare(sparse, dense), ()))["effects"]
    score = next(one for one in effects if one["metric"] == "score:facts")
    assert (score["a"]["n"], score["b"]["n"]) == (None, None)
