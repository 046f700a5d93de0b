"""Suites that several exports are made of."""

from __future__ import annotations

import builders
import pytest
import sites
from exported_suites import exported_of

from harness.exports.parts import Exported


@pytest.fixture(scope="session")
def small() -> Exported:
    """Four models at three loads, with two tasks."""
    return exported_of(*builders.small_suite_records())


@pytest.fixture(scope="session")
def loads() -> Exported:
    """Every kind of load, some of it flagged, skipped or imported."""
    return exported_of(*sites.load_records(repeats=1))


@pytest.fixture(scope="session")
def seeds() -> Exported:
    """Recipes with several trainings."""
    return exported_of(*sites.seed_records())
