"""The catalog page: every number is that of a description, every large difference has its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.accelerators import Accelerators
from harness.accounting import count_parameters
from harness.catalog import Catalog
from harness.errors import InputError
from harness.pages.catalog_columns import COLUMNS
from harness.pages.catalog_page import CatalogPage, CatalogRow, catalog_page

SUITES = Path(__file__).parent.parent.parent / "suites"
CATALOG = Catalog(SUITES)


@pytest.fixture(scope="module")
def page() -> CatalogPage:
    return catalog_page(CATALOG, list(Accelerators(SUITES)))


def row(page: CatalogPage, name: str) -> CatalogRow:
    (found,) = (one for one in page.rows if one.name == name)
    return found


def test_every_model_has_one_row_with_every_column(page: CatalogPage) -> None:
    assert sorted(one.name for one in page.rows) == CATALOG.names()
    assert {len(one.cells) + 3 for one in page.rows} == {len(page.columns)}
    assert sum(group.span for group in page.column_groups) == len(page.columns)
    assert len({one.anchor for one in page.rows}) == len(page.rows)


def test_the_numbers_of_a_row_are_counted(page: CatalogPage) -> None:
    model = CATALOG.load("mixtral-8x7b")
    assert model.architecture is not None
    count = count_parameters(model.architecture)
    found = row(page, "mixtral-8x7b")
    cells = dict(zip((spec.key for spec in COLUMNS), found.cells, strict=False))
    assert found.total_order == str(count.total)
    assert float(cells["active"].order) == count.active
    assert float(cells["share"].order) == count.active / count.total
    assert float(cells["weights"].order) == 2 * count.total
    assert cells["devices"].text == "2"
    # 2 devices at 3.20 USD an hour, at the ceiling
    assert float(cells["cost"].order) == pytest.approx(2 * 3.20 / 3600 / float(cells["ceiling"].order) * 1e6)


def test_what_is_not_counted_shows_dashes_and_its_reason(page: CatalogPage) -> None:
    found = row(page, "pangu-sigma")
    assert found.total == "" and found.uncounted.reason
    assert {cell.text for cell in found.cells[: len(COLUMNS)]} == {"\u2013"}
    assert [mark.label for mark in found.marks] == ["unreleased"]


def test_every_large_difference_is_listed_with_its_reason(page: CatalogPage) -> None:
    expected = {model.name for model in CATALOG if model.deviates}
    assert {one.title for one in page.deviations.rows} == expected
    assert all(one.cells[-1].text for one in page.deviations.rows)


def test_points_carry_their_kind_and_only_published_ones_are_hollow(page: CatalogPage) -> None:
    points = {point["name"]: point for point in page.scatter["points"]}
    assert points["limoe-h14"]["hollow"] and not points["mixtral-8x7b"]["hollow"]
    assert page.scatter["columns"]["total"]["v"][list(points).index("limoe-h14")] == 5.6
    assert points["llama-2-7b"]["kind"] == "dense"
    names = [guide["name"] for guide in page.scatter["guides"]["total|active"]]
    assert names == ["100 %", "30 %", "10 %", "3 %", "1 %"]


def test_recalled_facts_are_marked(page: CatalogPage) -> None:
    labels = {mark.label for one in page.rows for cell in one.cells for mark in cell.marks}
    assert {"recalled", "third-party", "why"} <= labels


def test_a_count_on_a_structure_from_memory_or_third_parties_says_so(page: CatalogPage) -> None:
    marked = {
        one.name: [mark.label] for one in page.rows for mark in one.marks if "counts rest" in mark.reason
    }
    doubtful = {one.name: [one.source_quality] for one in CATALOG if one.source_quality in ("recalled", "third-party")}
    assert marked == doubtful and "grok-2" in marked
    assert "all counts rest" in row(page, "grok-2").marks[-1].reason


def test_the_reference_accelerator_heads_its_columns_by_its_title(page: CatalogPage) -> None:
    assert "Decoding on NVIDIA H100 SXM, 32 sequences" in [group.title for group in page.column_groups]


def test_a_price_of_the_suite_replaces_the_list_price() -> None:
    priced = Accelerators(SUITES).priced({"h100-sxm": 1.0}, "set by the suite")
    cells = {one.title: one.cells for one in catalog_page([], priced).accelerators.rows}
    price = cells["NVIDIA H100 SXM"][6]
    assert price.text == "1.00"
    assert [(mark.label, mark.reason) for mark in price.marks] == [("your price", "set by the suite.")]


def test_without_the_reference_accelerator_there_is_no_page() -> None:
    with pytest.raises(InputError, match="h100-sxm"):
        catalog_page([], [])
