"""Routed tokens and their file: nothing is lost, equal routings are equal files, and damage has a name."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routings import drawn_ids, routings, stack_tokens

from harness.errors import StoreError
from harness.record import RoutedLayer
from harness.routing.tokens import (
    PHASES,
    Ids,
    Routing,
    StackTokens,
    fingerprint_of,
    fingerprint_of_file,
    id_type,
    pack,
    problems_of,
    unpack,
)

ARRAYS = ("step", "decode", "request", "position", "token")
LAYER = RoutedLayer(index=3, experts=16, top_k=4)


def small(layer: RoutedLayer = LAYER) -> Routing:
    ids = drawn_ids(np.random.default_rng(0), 40, layer)
    return Routing.of([layer], {"decoder": stack_tokens([0] * 30 + [1] * 10)}, [ids], {0: "a", 5: "ü\n\x00"})


def with_ids(ids: object, layer: RoutedLayer = LAYER) -> Routing:
    return Routing.of([layer], {"decoder": stack_tokens([0, 0])}, [np.asarray(ids, dtype=np.uint16)])


@settings(max_examples=50)
@given(routings(encoder=True))
def test_round_trip(routing: Routing) -> None:
    content = pack(routing)
    found = unpack(content)
    assert (found.layers, found.texts) == (routing.layers, routing.texts)
    for number, layer in enumerate(routing.layers):
        assert np.array_equal(found.read(number), routing.read(number))
        assert found.read(number).dtype == id_type(layer.experts)
        tokens, expected = found.tokens(number), routing.tokens(number)
        for name in ARRAYS:
            assert np.array_equal(getattr(tokens, name), getattr(expected, name))
            assert getattr(tokens, name).dtype == getattr(expected, name).dtype
    assert pack(found) == content
    assert [found.count(phase) for phase in PHASES] == [routing.count(phase) for phase in PHASES]


def test_a_file_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "routing.zip"
    file.write_bytes(pack(small()))
    assert np.array_equal(unpack(file).read(0), small().read(0))
    assert fingerprint_of_file(file) == fingerprint_of(file.read_bytes())
    assert fingerprint_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with zipfile.ZipFile(file) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"layers.json", "texts.json", "decoder"}
    with np.load(file) as arrays:
        assert np.array_equal(arrays["decoder/3"], small().read(0))


@pytest.mark.parametrize(("experts", "kind"), [(256, np.uint8), (257, np.uint16), (2048, np.uint16)])
def test_the_smallest_type_that_holds_every_id(experts: int, kind: type[np.unsignedinteger]) -> None:
    layer = RoutedLayer(index=0, experts=experts, top_k=1)
    routing = with_ids([[0], [experts - 1]], layer)
    assert unpack(pack(routing)).read(0).dtype == kind
    assert unpack(pack(routing)).read(0).tolist() == [[0], [experts - 1]]


def test_phases_are_apart() -> None:
    tokens = stack_tokens([0, 0, 1], [False, False, True])
    assert tokens.of_phase("prefill").tolist() == [True, True, False]
    assert tokens.of_phase("decode").tolist() == [False, False, True]
    assert len(tokens) == 3


@given(routings(encoder=True))
def test_what_was_drawn_has_no_problem(routing: Routing) -> None:
    assert problems_of(routing) == []


@pytest.mark.parametrize(("ids", "problem"), [
    ([[0, 1, 2, 3]], "1 x 4 ids (uint16) for 2 tokens x top-4"),
    ([[0, 1, 2], [0, 1, 2]], "2 x 3 ids (uint16) for 2 tokens x top-4"),
    ([0, 1], "2 ids (uint16) for 2 tokens x top-4"),
    ([[0, 1, 2, 3], [4, 5, 6, 16]], "expert 0 to 16 of 16"),
    ([[0, 1, 2, 3], [4, 5, 5, 6]], "a token has an expert twice, or its ids do not rise"),
    ([[0, 1, 2, 3], [4, 6, 5, 7]], "a token has an expert twice, or its ids do not rise"),
    ([[1, 0, 2, 3], [4, 6, 7, 8]], "a token has an expert twice, or its ids do not rise"),
    ([[0, 1, 2, 3], [4, 5, 6, 7]], None),
    ([[12, 13, 14, 15], [12, 13, 14, 15]], None),
])
def test_problems(ids: list[list[int]], problem: str | None) -> None:
    assert problems_of(with_ids(ids)) == ([] if problem is None else [f"decoder layer 3: {problem}"])


def test_problems_of_a_layer_that_cannot_be() -> None:
    layer = RoutedLayer(index=0, experts=2, top_k=3)
    assert problems_of(with_ids([[0, 1, 2]] * 2, layer)) == ["decoder layer 0: 3 of 2 experts a token"]


def test_problems_with_top_1() -> None:
    layer = RoutedLayer(index=0, experts=2, top_k=1)
    assert problems_of(with_ids([[1], [0]], layer)) == []


def changed(member: str, content: bytes) -> bytes:
    """The file of `small` with another content of one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pack(small()))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    return buffer.getvalue()


def saved(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


class TestDamage:
    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"gone\.zip: not a file of routed tokens"):
            unpack(tmp_path / "gone.zip")

    def test_a_file_that_goes_missing(self, tmp_path: Path) -> None:
        file = tmp_path / "routing.zip"
        file.write_bytes(pack(small()))
        routing = unpack(file)
        file.unlink()
        with pytest.raises(StoreError, match=r"routing\.zip: cannot read the routing: decoder layer 3"):
            routing.read(0)

    @pytest.mark.parametrize(("member", "content"), [
        ("layers.json", b"{}x"), ("layers.json", b"7"), ("layers.json", json.dumps([{"index": 0}]).encode()),
        ("texts.json", b"[]"), ("texts.json", b'{"x": "y"}'), ("decoder/step.npy", b""),
        ("decoder/step.npy", saved([1, 2])), ("decoder/token.npy", saved(5)), ("decoder/token.npy", saved(["a"] * 40)),
        ("decoder/step.npy", pack(small())),
    ])
    def test_members_that_are_none(self, member: str, content: bytes) -> None:
        with pytest.raises(StoreError, match="not a file of routed tokens"):
            unpack(changed(member, content))

    @pytest.mark.parametrize(("old", "new"), [
        (b"{", b"("), (b"}", b" "), (b"'", b"\\"), (b"(40,)", b"(40'("), (b"(40,)", b"(9" + b"9" * 30 + b",)"),
    ])
    @pytest.mark.parametrize("member", ["decoder/step", "decoder/3"])
    def test_an_arrays_head_that_is_no_python(self, member: str, old: bytes, new: bytes) -> None:
        whole = saved(np.arange(40, dtype=np.int32))
        content = whole[:10] + whole[10:128].replace(old, new, 1)[:118].ljust(118) + whole[128:]
        with pytest.raises(StoreError, match=r"not a file of routed tokens|cannot read the routing"):
            unpack(changed(f"{member}.npy", content)).read(0)

    def test_more_experts_than_an_id_can_tell(self) -> None:
        def layers(experts: int) -> bytes:
            return json.dumps([LAYER.model_copy(update={"experts": experts}).model_dump()]).encode()

        with pytest.raises(StoreError, match="layer 3 has 65537 experts, more than 65536"):
            unpack(changed("layers.json", layers(65537)))
        assert unpack(changed("layers.json", layers(65536))).read(0).dtype == np.uint16

    def test_no_path_is_told_but_the_files_own(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError) as raised:
            unpack(tmp_path / "gone.zip")
        assert str(tmp_path) not in raised.value.what

    @pytest.mark.parametrize("content", [
        b"", saved([1.0]), saved(np.full((40, 4), 0.5)), saved(np.tile(np.arange(4) - 1, (40, 1))),
        saved([["a"] * 4] * 40),
        saved(np.arange(160).reshape(40, 4)), saved(np.zeros((40, 4), dtype=int)), pack(small()),
        saved(np.full((40, 4), 256) + np.arange(4)),
    ])
    def test_ids_that_cannot_be(self, content: bytes) -> None:
        routing = unpack(changed("decoder/3.npy", content))
        with pytest.raises(StoreError, match="cannot read the routing: decoder layer 3"):
            routing.read(0)

    @pytest.mark.parametrize("member", ["layers.json", "decoder/step.npy", "decoder/3.npy"])
    def test_what_does_not_unpack(self, member: str) -> None:
        content = bytearray(pack(small()))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            info = archive.getinfo(member)
        start = info.header_offset + 30 + int.from_bytes(content[info.header_offset + 26 :][:2], "little")
        start += int.from_bytes(content[info.header_offset + 28 :][:2], "little")
        content[start] = 0x07  # a last block of a kind that deflate does not have
        with pytest.raises(StoreError, match="invalid block type"):
            unpack(bytes(content)).read(0)

    @settings(max_examples=300)
    @given(st.data())
    def test_any_other(self, data: st.DataObject) -> None:
        content = bytearray(pack(small()))
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
        try:
            routing = unpack(bytes(content))
            ids: Ids = routing.read(0)
        except (StoreError, IndexError) as error:
            assert isinstance(error, StoreError) or not routing.layers
        else:
            assert ids.shape == (len(routing.tokens(0)), routing.layers[0].top_k)


def test_a_stack_without_tokens() -> None:
    none = stack_tokens([])
    routing = Routing.of([LAYER], {"decoder": none}, [np.empty((0, 4), dtype=np.uint8)])
    found = unpack(pack(routing))
    assert problems_of(found) == []
    assert isinstance(found.tokens(0), StackTokens)
    assert found.count("prefill") == 0
