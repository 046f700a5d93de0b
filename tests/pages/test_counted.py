"""How counted numbers come about: tensors add up to parts, parts to sums, and the configuration says both."""

from __future__ import annotations

from typing import Any

import builders
import pytest
import sites

from harness.accounting import count_parameters
from harness.catalog import Catalog
from harness.hf_config import architecture_from_config, keys_read
from harness.pages.counted import PART_TITLES, config_terms, part_sizes, sum_terms, tensor_terms
from harness.pages.parts import Terms
from harness.summarise import summarise
from harness.summary import ModelSummary

_CATALOG = {model.name: model for model in Catalog(sites.SUITES) if model.config}


def _sum(terms: Terms) -> int:
    return sum(int(text.replace("\u202f", "")) for _, text in terms)


def _model(config: dict[str, Any]) -> ModelSummary:
    return summarise(builders.with_paths([builders.serving_record(config=config)]))[0]


@pytest.mark.parametrize("name", sorted(_CATALOG))
def test_tensors_add_up_to_every_part_of_every_model_of_the_catalog(name: str) -> None:
    architecture = _CATALOG[name].architecture
    assert architecture is not None
    count = count_parameters(architecture)
    sizes = part_sizes(count)
    assert {part: _sum(tensor_terms(architecture, part)) for part in sizes} == sizes
    assert sum(sizes.values()) == _sum(sum_terms(count, "total_parameters")) == count.total
    assert _sum(sum_terms(count, "active_parameters")) == count.active
    assert _sum(sum_terms(count, "active_non_embedding_parameters")) == count.active_non_embedding
    assert set(sizes) <= set(PART_TITLES)


def test_shapes_are_told_with_their_layers_and_copies() -> None:
    architecture = architecture_from_config(builders.CONFIGS["moe-8x2"], "config")
    hidden = architecture.hidden_size
    [(words, _)] = tensor_terms(architecture, "embedding")
    assert words == f"1 table of {architecture.vocab_size} \u00d7 {hidden}"
    used, idle = (tensor_terms(architecture, f"routed_experts_{part}")[0][0] for part in ("used", "idle"))
    assert " layers \u00d7 " in used and " matrices of " in idle


def test_the_configuration_is_told_by_the_keys_that_were_read() -> None:
    config = {**builders.CONFIGS["moe-8x2"], "unused_note": "x", "sliding_window": None}
    told = dict(config_terms(config))
    assert told["hidden_size"] == str(config["hidden_size"]) and told["model_type"] == '"mixtral"'
    assert "unused_note" not in told and "sliding_window" not in told
    assert tuple(told) == keys_read(config, "config")


def test_a_configuration_that_cannot_be_read_says_nothing() -> None:
    assert config_terms({"model_type": "nobody-knows"}) == []


def test_a_summary_names_the_record_that_its_configuration_is_from() -> None:
    old, new = (builders.serving_record(concurrency=4, minutes=minutes) for minutes in (0, 10))
    failed = builders.failed_record(scenario=builders.serving_scenario(8), minutes=20)
    entries = builders.with_paths([old, new, failed])
    assert summarise(entries)[0].config_record == entries[1][0]
