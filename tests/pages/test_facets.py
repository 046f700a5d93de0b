from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import builders
import pytest
import sites
from hypothesis import given
from hypothesis import strategies as st

from harness.licences import licences_of
from harness.pages.facets import Filters, filters_of, licence_text, range_of
from harness.pages.parts import Slugs
from harness.pages.reading import read_suite, view_of
from harness.pages.suite_view import SuiteView
from harness.record import Record
from harness.suite import Suite, parse_suite


def _view(root: Path, records: list[Record], definition: Suite | None = None) -> SuiteView:
    store = sites.store_of(root, records)
    read = read_suite(store, builders.SUITE, definition, None)
    return view_of(read, definition, store.root, Slugs(), first=True)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> SuiteView:
    records = [*builders.small_suite_records(repeats=2, items=50), *sites.awkward_records()]
    return _view(tmp_path_factory.mktemp("facets"), records)


def _words(view: SuiteView, filters: Filters, model: str) -> set[str]:
    names = [one.model for one in view.models]
    return set(filters.tokens[names.index(model)].split())


def test_a_model_has_one_value_of_every_facet_and_every_value_occurs(view: SuiteView) -> None:
    filters = filters_of(view)
    assert [facet.id for facet in filters.facets] == ["size", "active", "licence", "precision", "hardware", "engine"]
    for facet in filters.facets:
        known = {f"{facet.id}:{choice.id}": choice.count for choice in facet.choices}
        held = [word for text in filters.tokens for word in text.split() if word in known]
        assert {word: held.count(word) for word in known} == known
        assert len(held) == len(view.models)
        assert all(choice.count for choice in facet.choices)


def test_sizes_are_in_order_and_kinds_sparse_first(view: SuiteView) -> None:
    filters = filters_of(view)
    sizes = {facet.id: [choice.title for choice in facet.choices] for facet in filters.facets}
    assert sizes["size"] == ["under 1 M"]
    assert [(choice.id, choice.count) for choice in filters.kinds] == [("sparse", 6), ("dense", 2)]


@pytest.mark.parametrize(("parameters", "title"), [
    (0, "under 1 M"), (999_999, "under 1 M"), (1_000_000, "1 M to 10 M"), (2.99e9, "1 B to 3 B"),
    (3e9, "3 B to 10 B"), (671e9, "300 B to 1 T"), (1e12, "1 T and more"), (1e15, "1 T and more"),
])
def test_ranges_hold_their_lower_end(parameters: float, title: str) -> None:
    assert range_of(parameters) == title


@given(st.tuples(*[st.floats(0, 1e14)] * 3).map(sorted))
def test_what_is_between_two_of_a_range_is_in_it(sizes: list[float]) -> None:
    low, middle, high = (range_of(size) for size in sizes)
    assert low != high or middle == low


# Presets ---------------------------------------------------------------------------------------------------------


def _with_weights(view: SuiteView, size: float) -> SuiteView:
    models = [
        replace(model, memory={**model.memory, "weights_bytes": replace(one, value=size)})
        if (one := model.memory.get("weights_bytes")) else model
        for model in view.models
    ]
    return replace(view, models=tuple(models))


def test_what_fits_counts_the_cache_of_all_requests_in_flight(view: SuiteView) -> None:
    measured = "moe-8x2"
    assert "preset:fits-80gb" in _words(view, filters_of(view), measured)
    config = builders.CONFIGS[measured]
    # 16 requests of 32 + 16 tokens, keys and values of every layer in two bytes
    head = config["hidden_size"] // config["num_attention_heads"]
    cache = 16 * 48 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head * 2
    just = _with_weights(view, 80e9 - cache)
    over = _with_weights(view, 80e9 - cache + 1)
    assert "preset:fits-80gb" in _words(just, filters_of(just), measured)
    assert "preset:fits-80gb" not in _words(over, filters_of(over), measured)


def test_presets_say_what_they_mean(view: SuiteView) -> None:
    help_of = {choice.id: choice.help for choice in filters_of(view).presets}
    assert "16 requests in flight of 32 \u2192 16 tokens each" in help_of["fits-80gb"]
    assert "4 billion" in help_of["active-4b"]
    assert "mean score" in help_of["ranked"]


def test_only_ranked_leaves_out_random_weights_and_what_was_not_scored(view: SuiteView) -> None:
    filters = filters_of(view)
    assert "preset:ranked" in _words(view, filters, "moe-8x2")
    assert "preset:ranked" not in _words(view, filters, "dummy-moe")
    assert "preset:ranked" not in _words(view, filters, "broken")
    assert next(choice.count for choice in filters.presets if choice.id == "ranked") == len(view.ranks)


def test_without_serving_only_the_weights_have_to_fit(tmp_path: Path) -> None:
    view = _view(tmp_path, [builders.memory_record(weights_bytes=10), builders.memory_record(
        model="dense-total", weights_bytes=80_000_000_001)])
    words = {model.model: text for model, text in zip(view.models, filters_of(view).tokens, strict=True)}
    assert "preset:fits-80gb" in words["moe-8x2"]
    assert "preset:fits-80gb" not in words["dense-total"]


# Licences --------------------------------------------------------------------------------------------------------


def _suite(models: str) -> Suite:
    return parse_suite(f"""
name: small
title: Small
models: [{models}]
serving: [{{prompt_tokens: 32, output_tokens: 16, concurrency: [8]}}]
""", where="small.yaml")


def test_a_licence_is_the_suites_before_the_catalogs(tmp_path: Path) -> None:
    records = [
        builders.serving_record(model="mine"),
        builders.serving_record(model="mixtral-8x7b"),
        builders.serving_record(model="listed"),
        builders.serving_record(subject=builders.subject("by-source", source="hub:mistralai/Mixtral-8x7B-v0.1")),
        builders.serving_record(model="nobody-knows"),
    ]
    suite = _suite(
        '{name: mine, path: mine, license: "MIT\\n\\u202e"}, {name: mixtral-8x7b, path: x}, '
        '{name: listed, catalog: mixtral-8x7b}'
    )
    view = _view(tmp_path, records, suite)
    shown = {model.model: licence_text(view, model) for model in view.models}
    assert (shown["mine"], shown["nobody-knows"]) == ("MIT \ufffd", "not stated")
    found = licences_of(view.models, suite, sites.SUITES)
    assert found == {"mine": "MIT \u202e", "listed": "Apache-2.0", "by-source": "Apache-2.0"}


def test_a_licence_is_no_part_of_what_is_measured() -> None:
    given_, without = _suite("{name: mine, path: mine, license: MIT}"), _suite("{name: mine, path: mine}")
    assert given_.models[0].license == "MIT"
    assert without.models[0].license is None
    assert "license" not in builders.subject("mine").model_dump()
