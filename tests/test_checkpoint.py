"""Checkpoint folders: what their headers count, and fingerprints that change with every byte."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from safetensors.numpy import save_file

from harness import checkpoint
from harness.checkpoint import Weights, checkpoint_fingerprint, count_weights, drop_from_memory, weight_files
from harness.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"a": np.arange(12, dtype=np.float32).reshape(3, 4)}, tmp_path / "model-1.safetensors", {"format": "pt"})
    save_file({"b": np.ones((5,), np.float16), "c": np.ones((), np.int8)}, tmp_path / "model-2.safetensors")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.model").write_bytes(b"\0")
    return tmp_path


def write_header(path: Path, header: object) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


class TestCount:
    def test_all_files_and_types(self, folder: Path) -> None:
        assert count_weights(folder) == Weights(parameters=12 + 5 + 1, bytes=48 + 10 + 1)

    @given(shape=array_shapes(min_dims=0, max_dims=4), dtype=st.sampled_from(
        [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]
    ))
    def test_what_safetensors_writes(
        self, tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], dtype: type[np.generic]
    ) -> None:
        path = tmp_path_factory.mktemp("checkpoint")
        array = np.zeros(shape, dtype)
        save_file({"x": array}, path / "model.safetensors")
        assert count_weights(path) == Weights(array.size, array.nbytes)

    def test_types_that_numpy_does_not_have(self, tmp_path: Path) -> None:
        write_header(tmp_path / "model.safetensors", {
            "__metadata__": {"format": "pt"},
            "x": {"dtype": "BF16", "shape": [3, 5], "data_offsets": [0, 30]},
            "y": {"dtype": "F8_E4M3", "shape": [7], "data_offsets": [30, 37]},
            "z": {"dtype": "F4", "shape": [8], "data_offsets": [37, 41]},
        })
        assert count_weights(tmp_path) == Weights(15 + 7 + 8, 30 + 7 + 4)

    def test_a_type_that_is_not_known(self, tmp_path: Path) -> None:
        write_header(tmp_path / "model.safetensors", {"x": {"dtype": "F2", "shape": [4], "data_offsets": [0, 1]}})
        with pytest.raises(InputError, match="'F2'") as caught:
            count_weights(tmp_path)
        assert caught.value.where == str(tmp_path / "model.safetensors")

    def test_a_shipped_checkpoint(self, repo_root: Path) -> None:
        folder = repo_root / "suites/pocket/models/moe-8x2-s1"
        (path,) = weight_files(folder)
        found = count_weights(folder)
        assert found.bytes == 2 * found.parameters
        assert found.bytes < path.stat().st_size < found.bytes + 20_000

    def test_no_weights(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not a checkpoint folder") as caught:
            count_weights(tmp_path)
        assert caught.value.where == str(tmp_path)

    @pytest.mark.parametrize("content", [
        b"", b"\1\2\3", struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 2) + b"{", struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 2) + b"\xff\xfe", struct.pack("<Q", 5) + b'{"x":', struct.pack("<Q", 8) + b'{"x": 1}',
        struct.pack("<Q", 9) + b'{"x": {}}', b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    ])
    def test_a_damaged_header_names_its_file_and_the_next_step(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            count_weights(tmp_path)
        assert str(caught.value) == f"{path}: damaged safetensors header\n  fetch the checkpoint again"


class TestFingerprint:
    def test_it_is_the_same_wherever_the_folder_is(self, folder: Path, tmp_path: Path) -> None:
        before = checkpoint_fingerprint(folder)
        assert before.startswith("sha256:") and len(before) == 7 + 64
        moved = folder.rename(tmp_path.with_name(tmp_path.name + "-moved"))
        assert checkpoint_fingerprint(moved) == before

    @pytest.mark.parametrize("name", ["config.json", "model-1.safetensors", "model-2.safetensors"])
    def test_every_byte_counts(self, folder: Path, name: str) -> None:
        seen = {checkpoint_fingerprint(folder)}
        content = (folder / name).read_bytes()
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 1
            (folder / name).write_bytes(changed)
            seen.add(checkpoint_fingerprint(folder))
        assert len(seen) == 1 + len(content)

    def test_so_do_names_and_where_one_file_ends(self, folder: Path) -> None:
        seen = [checkpoint_fingerprint(folder)]
        (folder / "config.json").rename(folder / "other.json")
        seen.append(checkpoint_fingerprint(folder))
        (folder / "more.json").write_text("")
        seen.append(checkpoint_fingerprint(folder))
        one, two = folder / "model-1.safetensors", folder / "model-2.safetensors"
        content = two.read_bytes()
        one.write_bytes(one.read_bytes() + content[:1])
        two.write_bytes(content[1:])
        seen.append(checkpoint_fingerprint(folder))
        assert len(set(seen)) == 4

    def test_files_that_no_engine_reads_do_not(self, folder: Path) -> None:
        before = checkpoint_fingerprint(folder)
        (folder / "README.md").write_text("new")
        assert checkpoint_fingerprint(folder) == before


class TestSampled:
    """Above the limit the first and the last bytes of each file of weights stand for it, with its size."""

    @pytest.fixture(autouse=True)
    def _small_limits(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(checkpoint, "_FULL_HASH_BYTES", 1000)
        monkeypatch.setattr(checkpoint, "_SAMPLE_BYTES", 64)
        (tmp_path / "config.json").write_text("{}" + " " * 200)
        (tmp_path / "model.safetensors").write_bytes(bytes(1001))

    def changed(self, folder: Path, name: str, position: int) -> bool:
        path = folder / name
        before, content = checkpoint_fingerprint(folder), path.read_bytes()
        path.write_bytes(content[:position] + b"\1" + content[position + 1 :])
        after = checkpoint_fingerprint(folder)
        path.write_bytes(content)
        return before != after

    def test_it_says_so(self, tmp_path: Path) -> None:
        assert checkpoint_fingerprint(tmp_path).startswith("sha256-sampled:")
        (tmp_path / "model.safetensors").write_bytes(bytes(1000))
        assert checkpoint_fingerprint(tmp_path).startswith("sha256:")

    def test_the_limit_is_on_all_files_together(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(bytes(600))
        (tmp_path / "model-2.safetensors").write_bytes(bytes(600))
        assert checkpoint_fingerprint(tmp_path).startswith("sha256-sampled:")

    def test_the_ends_of_the_weights_and_all_of_the_configuration(self, tmp_path: Path) -> None:
        for position in (0, 63, 1001 - 64, 1000):
            assert self.changed(tmp_path, "model.safetensors", position)
        for position in (64, 500, 1001 - 65):
            assert not self.changed(tmp_path, "model.safetensors", position)
        assert self.changed(tmp_path, "config.json", 120)

    def test_the_size(self, tmp_path: Path) -> None:
        before = checkpoint_fingerprint(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(bytes(1002))
        assert checkpoint_fingerprint(tmp_path) != before

    def test_a_file_shorter_than_two_samples_counts_whole(self, tmp_path: Path) -> None:
        (tmp_path / "small.safetensors").write_bytes(bytes(100))
        for position in range(100):
            assert self.changed(tmp_path, "small.safetensors", position)


class TestDropFromMemory:
    def test_every_file_is_given_up_and_stays_as_it_is(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        advised: list[tuple[str, int]] = []

        def advise(descriptor: int, _start: int, _length: int, advice: int) -> None:
            advised.append((Path(f"/proc/self/fd/{descriptor}").resolve().name, advice))

        monkeypatch.setattr(os, "posix_fadvise", advise)
        before = checkpoint_fingerprint(folder)
        assert drop_from_memory(folder)
        assert advised == [(path.name, os.POSIX_FADV_DONTNEED) for path in sorted(folder.iterdir())]
        assert checkpoint_fingerprint(folder) == before

    def test_a_system_without_such_advice(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "posix_fadvise")
        assert not drop_from_memory(folder)

    def test_a_missing_folder_is_for_the_engine_to_report(self, tmp_path: Path) -> None:
        assert drop_from_memory(tmp_path / "nowhere")
