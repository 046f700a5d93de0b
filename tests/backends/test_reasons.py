"""What an engine's exception becomes in a record, and the layer that a module's name tells."""

from __future__ import annotations

import pytest

from harness.backends.reasons import failed, layer_number, unroutable


def test_the_message_is_on_one_line() -> None:
    found = failed(ValueError("a\n  b"), "load", "here")
    assert (found.what, found.kind, found.where) == ("ValueError: a b", "load", "here")


def test_an_error_without_text_gives_its_type() -> None:
    assert failed(MemoryError(), "load").what == "MemoryError"


def test_a_long_text_is_cut() -> None:
    assert len(failed(ValueError("x" * 5000), "load").what) == len("ValueError: ") + 600


@pytest.mark.parametrize(("error", "kind"), [
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out-of-memory"),
    (MemoryError("cannot allocate"), "out-of-memory"),
    (ValueError("not supported"), "engine"),
])
def test_memory_has_a_kind_of_its_own(error: Exception, kind: str) -> None:
    assert failed(error, "engine").kind == kind


@pytest.mark.parametrize(("name", "number"), [
    ("model.layers.12.mlp.experts", 12), ("decoder.block.3.layer.1.mlp", 3), ("7.mlp", 7), ("layers.4", 4),
    ("experts", 0), ("layer12.mlp2", 0),
])
def test_the_first_number_of_a_name_is_the_layer(name: str, number: int) -> None:
    assert layer_number(name) == number


def test_what_cannot_route_says_what_to_do() -> None:
    found = unroutable("nothing tells", "do that")
    assert (found.kind, found.where, found.hint) == ("routing", "routing", "do that")
