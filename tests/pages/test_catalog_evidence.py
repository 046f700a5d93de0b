"""Behind every number of the catalog lies what it was counted from, or who published it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.accelerators import Accelerators
from harness.catalog import Catalog
from harness.pages.catalog_columns import COLUMNS
from harness.pages.catalog_evidence import NAMES_BEFORE
from harness.pages.catalog_page import CatalogPage, catalog_page

SUITES = Path(__file__).parent.parent.parent / "suites"


@pytest.fixture(scope="module")
def page() -> CatalogPage:
    return catalog_page(Catalog(SUITES), list(Accelerators(SUITES)))


@pytest.fixture(scope="module")
def files(page: CatalogPage) -> dict[str, dict[str, Any]]:
    return {file.name: file.content for file in page.evidence_files}


def _whole(text: str) -> int:
    return int(text.replace("\u202f", ""))


def test_every_number_of_the_table_opens_its_own_value(page: CatalogPage, files: dict[str, dict[str, Any]]) -> None:
    names = page.column_evidence
    assert len(names) == len(page.columns)
    factors = {spec.key: spec.factor for spec in COLUMNS}
    seen = 0
    for row in page.rows:
        estimates = files[row.evidence]["estimates"]
        shown = {"total": row.total_order}
        shown |= {name: cell.order for name, cell in zip(names[len(NAMES_BEFORE) :], row.cells, strict=True) if name}
        assert {name for name, order in shown.items() if order} == set(estimates), row.name
        for name, estimate in estimates.items():
            assert estimate["value"] == pytest.approx(factors.get(name, 1.0) * float(shown[name]), rel=1e-12)
            seen += 1
    assert seen > 1_000


def test_columns_without_a_name_hold_no_numbers(page: CatalogPage) -> None:
    unnamed = [column for column, name in zip(page.columns, page.column_evidence, strict=True) if not name]
    assert unnamed and not any("numeric" in column.classes for column in unnamed)


def test_sums_are_told_by_their_parts(files: dict[str, dict[str, Any]]) -> None:
    for content in files.values():
        for key in ("total", "active", "active_non_embedding"):
            if key in content["estimates"]:
                told = content["estimates"][key]
                assert sum(_whole(text) for _, text in told["terms"]) == told["value"]


def test_the_shown_numbers_have_their_metric_and_basis(files: dict[str, dict[str, Any]]) -> None:
    for content in files.values():
        assert content["estimates"].keys() == content["metrics"].keys()
        assert all(0 <= one["basis"] < len(content["bases"]) for one in content["estimates"].values())


def test_formulas_have_a_true_minus(page: CatalogPage, files: dict[str, dict[str, Any]]) -> None:
    formulas = [metric["formula"] for content in files.values() for metric in content["metrics"].values()]
    formulas += [column.help for column in (*page.columns, *page.deviations.columns)]
    assert any(" \u2212 " in one for one in formulas) and not any(" - " in one for one in formulas)


def test_the_deviations_open_as_well(page: CatalogPage, files: dict[str, dict[str, Any]]) -> None:
    named = [cell for row in page.deviations.rows for cell in row.cells if cell.evidence]
    assert len(named) > 20
    for cell in named:
        name, _, key = cell.evidence.rpartition(".")
        assert files[name]["estimates"][key]["value"] == pytest.approx(float(cell.order))


def test_a_count_says_its_configuration_and_how_to_count_again(files: dict[str, dict[str, Any]]) -> None:
    content = files["_catalog.mixtral-8x7b"]
    again = {key for key, one in content["estimates"].items() if "again" in one}
    assert again >= {"total", "active", "kv", "ceiling", "total_deviation"}
    assert not again & {"published_total", "published_active", "context", "arena_rank"}
    assert content["estimates"]["total"]["again"] == (
        "moebench describe mixtral-8x7b --batch 32 --accelerator h100-sxm"
    )
    assert ["num_local_experts", "8"] in [list(term) for term in content["config"]["terms"]]
    assert content["config"]["file"] == "suites/models/mixtral-8x7b.yaml"
    assert ("cache", "16 bits a value") in [tuple(term) for term in content["estimates"]["kv"]["terms"]]


def test_what_was_published_names_its_source(files: dict[str, dict[str, Any]]) -> None:
    for content in files.values():
        for key in ("published_total", "published_active", "context", "arena_rank"):
            told = content["estimates"].get(key)
            assert told is None or (dict(map(tuple, told["terms"]))["source"] and told["from"] and "again" not in told)


def test_a_model_that_is_not_counted_has_published_numbers_only(files: dict[str, dict[str, Any]]) -> None:
    content = files["_catalog.pangu-sigma"]
    assert "total" not in content["estimates"] and "published_total" in content["estimates"]
    assert content["config"] is None


def test_the_files_are_plain_data_in_their_own_folder(page: CatalogPage) -> None:
    assert len({file.path for file in page.evidence_files}) == len(page.rows)
    for file in page.evidence_files:
        assert file.path.startswith("evidence/_catalog/")
        json.dumps(file.content, allow_nan=False)
