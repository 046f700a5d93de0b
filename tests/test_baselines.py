"""What nobody measured: the nearest dense models of the catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import CONFIGS, point, small_suite_records, with_paths

from harness.accounting import count_parameters
from harness.baselines import suggestions
from harness.catalog import CatalogModel
from harness.hf_config import architecture_from_config
from harness.matching import pairings
from harness.summarise import summarise
from harness.summary import ModelSummary


@pytest.fixture(scope="module")
def small() -> dict[str, ModelSummary]:
    return {one.model: one for one in summarise(with_paths(small_suite_records()))}


def catalog_model(name: str, config: dict[str, Any], kind: str = "dense") -> CatalogModel:
    fields: dict[str, Any] = {
        "name": name, "hf_repo": None, "revision": None, "revision_source_quality": None, "family": "test",
        "kind": kind, "status": "released", "released": "2026-01", "released_source_quality": "paper",
        "license": None, "license_source_quality": None, "context_length": None, "precision": "bfloat16",
        "config": config, "source": "here", "source_quality": "verbatim-config",
        "published": {
            "total": None, "active": None, "active_convention": None, "source": None, "source_quality": None,
        },
    }
    return CatalogModel.model_validate(fields)


class TestSuggestions:
    CATALOG = (
        catalog_model("dense-active-like", CONFIGS["dense-active"]),
        catalog_model("dense-total-like", CONFIGS["dense-total"]),
        catalog_model("sparse-like", CONFIGS["moe-8x2"], "moe"),
        catalog_model("far", {**CONFIGS["dense-total"], "hidden_size": 480, "intermediate_size": 5120}),
    )

    def test_what_would_be_equal_and_was_not_measured(self, small: dict[str, ModelSummary]) -> None:
        subjects = [small["moe-8x2"], small["dense-active"]]
        found = suggestions(subjects, pairings(subjects), self.CATALOG)
        assert [(one.sparse, one.kind, one.name) for one in found] == [
            ("moe-8x2", "iso-total", "dense-total-like"), ("moe-8x2", "iso-memory", "dense-total-like"),
        ]
        total = count_parameters(architecture_from_config(CONFIGS["dense-total"], "")).total
        assert found[0].mismatch == pytest.approx(330_672 / total)
        assert found[1].match.at == point(16) and found[1].match.b == 2 * total + 16 * 48 * 256

    def test_nothing_where_all_is_measured(self, small: dict[str, ModelSummary]) -> None:
        subjects = [small["moe-8x2"], small["dense-active"], small["dense-total"]]
        assert suggestions(subjects, pairings(subjects), self.CATALOG) == ()

    def test_what_was_measured_is_not_suggested(self, small: dict[str, ModelSummary]) -> None:
        failed = replace(small["dense-total"], model="dense-total-like", points=(), scores={})
        subjects = [small["moe-8x2"], small["dense-active"], failed]
        assert suggestions(subjects, pairings(subjects), self.CATALOG) == ()

    def test_only_what_is_nearer_than_the_measured(self, small: dict[str, ModelSummary]) -> None:
        table = small["dense-total"].parameters
        assert table is not None
        grown = table.model_copy(update={"other": round(0.3 * table.total)})
        off = replace(small["dense-total"], parameters=grown)
        subjects = [small["moe-8x2"], small["dense-active"], off]
        nearer = suggestions(subjects, pairings(subjects), self.CATALOG)
        assert [(one.kind, one.name) for one in nearer] == [("iso-total", "dense-total-like")]
        farther = (catalog_model("larger", {**CONFIGS["dense-total"], "intermediate_size": 900}),)
        assert suggestions(subjects, pairings(subjects), farther) == ()
