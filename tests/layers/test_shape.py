"""Shapes of sparse layers: where they come from, what they count, and how they are made smaller."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.accounting import count_parameters
from harness.catalog import Catalog
from harness.errors import InputError
from harness.layers.shape import LayerShape, shape_of

NO_SIZES: dict[str, int | None] = dict.fromkeys(("hidden", "expert_width", "experts", "top_k", "shared_width"))
SIZES: dict[str, int | None] = {"hidden": 64, "expert_width": 32, "experts": 8, "top_k": 2, "shared_width": None}


@pytest.fixture(scope="module")
def catalog(repo_root: Path) -> Catalog:
    return Catalog(repo_root / "suites")


@st.composite
def shapes(draw: st.DrawFn) -> LayerShape:
    experts = draw(st.integers(1, 512))
    return LayerShape(
        hidden=draw(st.integers(1, 8192)), expert_width=draw(st.integers(1, 4096)), experts=experts,
        top_k=draw(st.integers(1, experts)), shared_width=draw(st.integers(0, 4096)), gated=draw(st.booleans()),
    )


class TestLaws:
    @given(shapes())
    def test_active_is_at_most_total_and_equal_where_all_experts_are_used(self, shape: LayerShape) -> None:
        assert shape.active_width <= shape.total_width
        assert (shape.active_width == shape.total_width) == (shape.top_k == shape.experts)

    @given(shapes())
    def test_the_sparse_layer_has_the_matrices_of_the_total_one_and_its_router(self, shape: LayerShape) -> None:
        router = shape.hidden * shape.experts
        assert shape.parameters_read(shape.experts) == router + shape.dense_parameters(shape.total_width)
        assert shape.parameters_read(shape.top_k) == router + shape.dense_parameters(shape.active_width)

    @given(shapes(), st.floats(0.01, 1.0))
    def test_a_scaled_shape_keeps_its_routing_and_no_width_grows(self, shape: LayerShape, scale: float) -> None:
        if scale < shape.least_scale:
            with pytest.raises(InputError, match=r"--scale: .* less than 32"):
                shape.scaled(scale)
            return
        small = shape.scaled(scale)
        assert (small.experts, small.top_k, small.gated) == (shape.experts, shape.top_k, shape.gated)
        for old, new in ((shape.hidden, small.hidden), (shape.expert_width, small.expert_width)):
            assert new == old if scale == 1 else new % 32 == 0
            assert new <= max(32, old * scale + 16)
        assert (small.shared_width == 0) == (shape.shared_width == 0)

    @given(shapes(), st.floats(1e-9, 1.0, exclude_max=True))
    def test_a_scale_is_taken_where_every_size_stays_at_32_or_more(self, shape: LayerShape, scale: float) -> None:
        sizes = [size for size in (shape.hidden, shape.expert_width, shape.shared_width) if size]
        if scale >= 32 / min(sizes):
            small = shape.scaled(scale)
            assert min(small.hidden, small.expert_width, small.shared_width or 32) >= 32
        else:
            with pytest.raises(InputError, match="less than 32"):
                shape.scaled(scale)

    @given(shapes())
    def test_the_least_scale_is_taken_and_hardly_less_is_not(self, shape: LayerShape) -> None:
        shape.scaled(shape.least_scale)
        if shape.least_scale > 0.001:
            with pytest.raises(InputError, match="less than 32"):
                shape.scaled(shape.least_scale - 0.001)

    @given(shapes())
    def test_it_is_the_same_as_a_part_of_an_architecture(self, shape: LayerShape) -> None:
        part = shape.feed_forward
        assert (part.experts, part.experts_per_token, part.width) == (shape.experts, shape.top_k, shape.expert_width)
        assert (part.shared.width if part.shared else 0, part.matrices) == (shape.shared_width, shape.matrices)


class TestModels:
    def test_of_the_catalog(self, catalog: Catalog) -> None:
        found = shape_of("qwen3-30b-a3b", NO_SIZES, catalog)
        assert found.shape == LayerShape(hidden=2048, expert_width=768, experts=128, top_k=8)
        assert (found.name, found.notes) == ("qwen3-30b-a3b", ())
        assert found.shape.words == "hidden size 2048, 128 experts of width 768, 8 a token"

    def test_one_expert_is_singular(self) -> None:
        shape = LayerShape(hidden=64, expert_width=32, experts=1, top_k=1)
        assert shape.words == "hidden size 64, 1 expert of width 32, 1 a token"

    @pytest.mark.parametrize("name", ["qwen3-30b-a3b", "mixtral-8x7b", "switch-base-8"])
    def test_all_layers_together_have_the_experts_that_are_counted(self, catalog: Catalog, name: str) -> None:
        shape, architecture = shape_of(name, NO_SIZES, catalog).shape, catalog.load(name).architecture
        assert architecture is not None
        counted = count_parameters(architecture).routed_experts
        layers = sum(count for count, _ in architecture.moe_groups)
        assert layers * shape.experts * shape.dense_parameters(shape.expert_width) == counted

    def test_shared_experts_and_what_is_left_out(self, catalog: Catalog) -> None:
        found = shape_of("qwen1.5-moe-a2.7b", NO_SIZES, catalog)
        assert found.shape.shared_width == 5632
        assert found.notes == ("left out: the gate on the shared experts",)

    def test_without_gates(self, catalog: Catalog) -> None:
        assert not shape_of("switch-base-8", NO_SIZES, catalog).shape.gated

    def test_of_a_checkpoint(self, catalog: Catalog, repo_root: Path) -> None:
        folder = repo_root / "suites/pocket/models/moe-8x2-s1"
        found = shape_of(str(folder), NO_SIZES, catalog)
        assert found.shape == LayerShape(hidden=64, expert_width=32, experts=8, top_k=2)

    def test_of_sizes(self, catalog: Catalog) -> None:
        assert shape_of(None, SIZES, catalog).shape == LayerShape(hidden=64, expert_width=32, experts=8, top_k=2)


class TestRefusals:
    @pytest.mark.parametrize(
        ("model", "sizes", "message"),
        [
            ("qwen3-8b", {}, "has no sparse layer"),
            ("qwen3-30b-a3", {}, "did you mean 'qwen3-30b-a3b'"),
            ("qwen3-30b-a3b", {"top_k": 2}, "--top-k beside the model"),
            ("openmoe-8b", {}, "give --hidden, --expert-width"),
            (None, {}, "no --hidden, no --expert-width, no --experts, no --top-k"),
            (None, {**SIZES, "top_k": None}, "no --top-k\n"),
            (None, {**SIZES, "top_k": 9}, "a token cannot use 9 of 8 experts"),
            (None, {**SIZES, "experts": 1}, "a token cannot use 2 of 1 expert\n"),
        ],
    )
    def test_what_cannot_be_timed_is_explained(
        self, catalog: Catalog, model: str | None, sizes: dict[str, int | None], message: str
    ) -> None:
        with pytest.raises(InputError) as refused:
            shape_of(model, NO_SIZES | sizes, catalog)
        assert message in str(refused.value)

    @pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, float("nan")])
    def test_a_scale_lies_above_0_and_at_most_1(self, scale: float) -> None:
        with pytest.raises(InputError, match="--scale"):
            LayerShape(hidden=64, expert_width=32, experts=8, top_k=2).scaled(scale)

    def test_a_scale_that_is_too_small_names_the_least(self) -> None:
        shape = LayerShape(hidden=2048, expert_width=768, experts=8, top_k=2)
        with pytest.raises(InputError) as refused:
            shape.scaled(1e-9)
        assert str(refused.value) == "--scale: 1e-09 makes the expert width 768 less than 32\n  give at least 0.042"
        assert shape.scaled(0.042).expert_width == 32

    def test_a_file_that_is_no_json_names_the_next_step(self, catalog: Catalog, repo_root: Path) -> None:
        with pytest.raises(InputError) as refused:
            shape_of(str(repo_root / "suites/models/mixtral-8x7b.yaml"), NO_SIZES, catalog)
        assert "cannot be read as JSON" in refused.value.what
        assert "config.json" in refused.value.hint and "goes by its name" in refused.value.hint
