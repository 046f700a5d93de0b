"""Every model of the catalog that transformers knows, counted on the meta device: equal to the parameter."""

from __future__ import annotations

from pathlib import Path

import pytest
from meta_models import count_on_meta, knows

from harness.accounting import count_parameters
from harness.catalog import Catalog
from harness.hf_config import architecture_from_config

pytestmark = pytest.mark.torch

CATALOG = Catalog(Path(__file__).parent.parent / "suites")
CONFIGS = {model.name: dict(model.config) for model in CATALOG if model.config is not None}
# transformers' class lacks the gate of these experts; test_catalog has the formula.
BY_HAND = {"switch-xxl-128"}


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in BY_HAND and knows(CONFIGS[name])])
def test_every_component_equals_the_tensors_of_the_model(name: str) -> None:
    assert count_parameters(architecture_from_config(CONFIGS[name], name)) == count_on_meta(CONFIGS[name])
