"""Which experts every token was sent to, and the file that holds it beside a record.

The file is a zip of numpy arrays (`numpy.load` reads it): per stack `<stack>/step`, `/decode`, `/request`, `/position`
and `/token`, one value a token; per layer `<stack>/<index>`, tokens x top-k expert ids, rising within a row; and
`texts`, JSON of what the tokenizer writes for each token id that occurs. Layers are read one at a time.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import StoreError
from harness.record import RoutedLayer

Ids = NDArray[np.unsignedinteger]
Phase = Literal["prefill", "decode"]
PHASES: tuple[Phase, ...] = ("prefill", "decode")
_ARRAYS: dict[str, type[np.generic]] = {
    "step": np.int32, "decode": np.bool_, "request": np.int32, "position": np.int32, "token": np.int32,
}
_COMPRESSION = 1
"""Expert ids hardly shrink: more effort takes ten times as long for some percent."""
_MOST_EXPERTS = 1 << 16
"""Of a layer: what an id's largest type can tell."""
_DAMAGED = (OSError, KeyError, ValueError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError,
            OverflowError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
            struct.error)
"""What zipfile, its decompressors, numpy, json and pydantic raise at content that is not theirs; numpy reads an array's
head as Python before the zip's checksum is looked at."""


@dataclass(frozen=True)
class StackTokens:
    """The tokens that went through one stack, in the order in which they did; every array has one value a token."""

    step: NDArray[np.int32]
    """Which call of the model, rising: tokens of one step were in one batch."""
    decode: NDArray[np.bool_]
    """Whether the model had made the token, or else it was in the prompt. Of an encoder-decoder's decoder all tokens
    are decode, those of a given continuation that is scored too; a decoder alone reads such as prompt."""
    request: NDArray[np.int32]
    position: NDArray[np.int32]
    """Place in the request's sequence, from 0."""
    token: NDArray[np.int32]
    """The token's id."""

    def __len__(self) -> int:
        return len(self.step)

    def of_phase(self, phase: Phase) -> NDArray[np.bool_]:
        """Which tokens belong to a phase."""
        return self.decode if phase == "decode" else ~self.decode


@dataclass(frozen=True)
class Routing:
    """Everything that one measurement saw. `read` gives one layer's ids (tokens x top-k), by its place in `layers`."""

    layers: tuple[RoutedLayer, ...]
    stacks: Mapping[str, StackTokens]
    read: Callable[[int], Ids]
    texts: Mapping[int, str] = field(default_factory=dict)
    """What the tokenizer writes for a token id; empty where there is no tokenizer."""

    @classmethod
    def of(
        cls, layers: Sequence[RoutedLayer], stacks: Mapping[str, StackTokens], ids: Sequence[Ids],
        texts: Mapping[int, str] | None = None,
    ) -> Routing:
        """One whose ids are in memory, in the order of `layers`."""
        kept = list(ids)
        return cls(tuple(layers), dict(stacks), lambda number: kept[number], dict(texts or {}))

    def tokens(self, number: int) -> StackTokens:
        """The tokens of a layer, by its place in `layers`."""
        return self.stacks[self.layers[number].stack]

    def count(self, phase: Phase) -> int:
        """How many tokens of a phase went through the stacks."""
        return sum(int(tokens.of_phase(phase).sum()) for tokens in self.stacks.values())


def id_type(experts: int) -> type[np.unsignedinteger]:
    """The smallest type that holds an id of so many experts."""
    return np.uint8 if experts <= 256 else np.uint16


def problems_of(routing: Routing) -> list[str]:
    """What cannot be: rows that are missing, ids no expert has, an expert twice in a row. Empty where all holds."""
    numbers = range(len(routing.layers))
    found = (problem_of(routing.layers[one], routing.read(one), len(routing.tokens(one))) for one in numbers)
    return [problem for problem in found if problem]


def problem_of(layer: RoutedLayer, ids: NDArray[Any], tokens: int) -> str:
    """What is wrong with one layer's ids for so many tokens; empty where all holds."""
    where, k = f"{layer.stack} layer {layer.index}", layer.top_k
    if not 1 <= k <= layer.experts:
        return f"{where}: {k} of {layer.experts} experts a token"
    if ids.shape != (tokens, k) or ids.dtype.kind not in "ui":
        shape = " x ".join(str(length) for length in ids.shape)
        return f"{where}: {shape or 'one'} ids ({ids.dtype}) for {tokens} tokens x top-{k}"
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < layer.experts:
        return f"{where}: expert {int(ids.min())} to {int(ids.max())} of {layer.experts}"
    flat = ids.ravel()
    falls: NDArray[np.bool_] = flat[1:] <= flat[:-1]
    falls[k - 1 :: k] = False  # from one token to the next they may
    return f"{where}: a token has an expert twice, or its ids do not rise" if falls.any() else ""


# The file --------------------------------------------------------------------------------------------------------


def pack(routing: Routing) -> bytes:
    """The file's content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
        layers = [layer.model_dump() for layer in routing.layers]
        archive.writestr(_member("layers.json"), json.dumps(layers))
        archive.writestr(_member("texts.json"), json.dumps(dict(routing.texts), ensure_ascii=False))
        for stack, tokens in routing.stacks.items():
            for name in _ARRAYS:
                _write(archive, f"{stack}/{name}", getattr(tokens, name))
        for number, layer in enumerate(routing.layers):
            ids = routing.read(number).astype(id_type(layer.experts), copy=False)
            _write(archive, f"{layer.stack}/{layer.index}", ids)
    return buffer.getvalue()


def fingerprint_of(content: bytes) -> str:
    """`sha256:...` of a file's content, which is its name in the store."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def fingerprint_of_file(file: Path) -> str:
    """`fingerprint_of` what a file holds, which is never in memory as a whole. Raises OSError."""
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"


def unpack(source: Path | bytes) -> Routing:
    """What a file holds; each layer's ids are read when they are asked for.

    Raises StoreError, naming the file, where it is missing or is no such file; `read` of what is returned does so where
    a layer is damaged or cannot be.
    """
    where = str(source) if isinstance(source, Path) else "routing"
    try:
        with _opened(source) as archive:
            layers = tuple(_layer(one) for one in json.loads(archive.read("layers.json")))
            texts = {int(key): str(text) for key, text in json.loads(archive.read("texts.json")).items()}
            used = dict.fromkeys(layer.stack for layer in layers)
            stacks: dict[str, StackTokens] = {stack: _stack(archive, stack) for stack in used}
    except _DAMAGED as error:
        raise StoreError(f"not a file of routed tokens: {_told(error)}", where=where) from error

    def read(number: int) -> Ids:
        layer = layers[number]
        try:
            with _opened(source) as archive:
                ids = _array(archive, f"{layer.stack}/{layer.index}")
        except _DAMAGED as error:
            problem = f"{layer.stack} layer {layer.index}: {_told(error)}"
        else:
            problem = problem_of(layer, ids, len(stacks[layer.stack]))
            if not problem:
                return ids.astype(id_type(layer.experts), copy=False)
        raise StoreError(f"cannot read the routing: {problem}", where=where)

    return Routing(layers, stacks, read, texts)


def _told(error: Exception) -> str:
    """What is wrong in words, without the path that an OSError adds."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _layer(content: object) -> RoutedLayer:
    layer = RoutedLayer.model_validate(content)
    if layer.experts > _MOST_EXPERTS:
        raise ValueError(f"{layer.stack} layer {layer.index} has {layer.experts} experts, more than {_MOST_EXPERTS}")
    return layer


def _opened(source: Path | bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        # numpy.load would take a zip within the zip for one of its own files
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)  # type: ignore[no-untyped-call]
        return array


def _stack(archive: zipfile.ZipFile, stack: str) -> StackTokens:
    arrays = {name: _array(archive, f"{stack}/{name}").astype(kind) for name, kind in _ARRAYS.items()}
    if {array.shape for array in arrays.values()} != {(arrays["step"].size,)}:
        raise ValueError(f"the tokens of the {stack} do not have one of each value")
    return StackTokens(**arrays)


def _write(archive: zipfile.ZipFile, name: str, array: NDArray[np.generic]) -> None:
    with archive.open(_member(f"{name}.npy"), "w", force_zip64=True) as member:
        np.save(member, np.ascontiguousarray(array), allow_pickle=False)


def _member(name: str) -> zipfile.ZipInfo:
    """An entry without a date, so that equal routings are equal files."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info
