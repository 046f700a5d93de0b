"""What a checkpoint folder holds: its weights, counted from the safetensors headers, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import InputError, nearest

_ELEMENT_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "U16": 16,
    "U32": 32, "U64": 64, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}
_FULL_HASH_BYTES = 2**30
_SAMPLE_BYTES = 2**20


class Weights(NamedTuple):
    """The tensors of a checkpoint, counted."""

    parameters: int
    bytes: int


def count_weights(folder: Path) -> Weights:
    """Parameters and bytes of all safetensors files of a folder, from their headers alone.

    Elements are counted as stored: a tensor of packed 4-bit values counts its storage elements. Raises InputError for
    a folder without safetensors files, a damaged header and a type that is not known.
    """
    parameters = total = 0
    for path in weight_files(folder):
        for name, tensor in _header(path).items():
            if name == "__metadata__":
                continue
            elements, bits = _size(tensor, path)
            parameters += elements
            total += elements * bits // 8
    return Weights(parameters, total)


def _size(tensor: Any, path: Path) -> tuple[int, int]:
    """A tensor's elements and the bits of each."""
    try:
        elements, dtype = math.prod(tensor["shape"]), tensor["dtype"]
    except (TypeError, KeyError):
        raise _damaged(path) from None
    if dtype not in _ELEMENT_BITS:
        raise InputError(f"unknown tensor type {dtype!r}", where=str(path), hint=nearest(str(dtype), _ELEMENT_BITS))
    return elements, _ELEMENT_BITS[dtype]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, sorted. Raises InputError where there is none."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        # a repository may hold the same weights in a second form beside those that the index lists
        named = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()
        files = sorted({folder / name for name in named})
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError("no .safetensors file: not a checkpoint folder", where=str(folder))
    return files


def checkpoint_fingerprint(folder: Path) -> str:
    """`sha256:...` over the JSON files and the weights.

    Weights of more than 1 GiB in all enter with their size and their first and last MiB a file (which hold the header
    and the last tensors), and the result says `sha256-sampled:...`: hashing a 90 GB checkpoint at each start would
    take minutes.
    """
    files = sorted(folder.glob("*.safetensors"))
    sampled = sum(file.stat().st_size for file in files) > _FULL_HASH_BYTES
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("*.json")), *files]:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            if sampled and path.suffix == ".safetensors":
                digest.update(file.read(_SAMPLE_BYTES))
                file.seek(max(0, path.stat().st_size - _SAMPLE_BYTES))
            while block := file.read(_SAMPLE_BYTES):
                digest.update(block)
    return f"sha256{'-sampled' if sampled else ''}:{digest.hexdigest()}"


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        prefix = file.read(8)
        try:
            (length,) = struct.unpack("<Q", prefix)
            header = json.loads(file.read(length)) if length <= path.stat().st_size else None
        except (struct.error, ValueError):
            header = None
    if not isinstance(header, dict):
        raise _damaged(path)
    return header


def _damaged(path: Path) -> InputError:
    return InputError("damaged safetensors header", where=str(path), hint="fetch the checkpoint again")


def drop_from_memory(folder: Path) -> bool:
    """Has the system forget what it holds of a folder's files in memory, so that reading them starts at the disk.

    Whether it was asked to: False where the system takes no such advice. Missing files are no error here.
    """
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return False
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                # what was only just written stays in memory until it is on disk
                os.fsync(descriptor)
                advise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
    return True
