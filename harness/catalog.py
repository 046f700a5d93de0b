"""The models of `suites/models`: one YAML file each, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, JsonValue

from harness.accounting import PRECISIONS, Precision
from harness.architecture import Architecture, Flag
from harness.errors import InputError, nearest
from harness.hf_config import architecture_from_config
from harness.schema import Frozen, parse_strictly

Quality = Literal["verbatim-config", "model-card", "paper", "third-party", "recalled"]
"""How well a fact is known: copied from a configuration, from the authors, from others, or from memory."""

Convention = Literal["all", "without_input_embedding", "non_embedding"]
"""Which tables a published number of active parameters includes; see `accounting.ParameterCount`."""

Text = Annotated[str, Field(strict=True, min_length=1)]
Whole = Annotated[int, Field(strict=True, ge=1)]


class Published(Frozen):
    """Parameters as the authors state them, rounded as they do; None where they state none."""

    total: Whole | None
    active: Whole | None
    active_convention: Convention | None = None
    source: Text
    source_quality: Quality


class CatalogModel(Frozen):
    """One file of `suites/models`. `config` holds the config.json keys that decide the structure.

    `revision` is the commit of the repository, None where it is not known; its quality is third-party where only the
    published runs of others name it. `precision` is the one of the checkpoint, a key of `accounting.PRECISIONS`.
    `context_length` is the one the authors support, in tokens.
    """

    name: Text
    hf_repo: Text
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    revision_source_quality: Quality | None
    family: Text
    released: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")]
    license: Text
    license_source_quality: Quality
    gated: Flag = False
    context_length: Whole
    precision: Literal["float32", "bfloat16", "float16", "mxfp4-experts"]
    config: dict[str, JsonValue]
    source: Text
    source_quality: Quality
    published: Published
    notes: Text | None = None

    @property
    def architecture(self) -> Architecture:
        """The structure that `config` describes."""
        return architecture_from_config(self.config, f"models/{self.name}.yaml:config")

    @property
    def weight_precision(self) -> Precision:
        """Bytes a weight of the checkpoint."""
        return PRECISIONS[self.precision]


@dataclass(frozen=True)
class Catalog:
    """The models under `data_dir/models`. Nothing is read before it is asked for."""

    data_dir: Path

    def names(self) -> list[str]:
        """The names of all models, sorted, without opening their files."""
        return sorted(path.stem for path in self._folder().glob("*.yaml"))

    def load(self, name: str) -> CatalogModel:
        """The model of that name. Raises InputError if there is none, with the nearest names, or its file is wrong."""
        path = self._folder() / f"{name}.yaml"
        if name not in self.names():
            raise InputError(f"unknown model {name!r}", where=str(self._folder()), hint=nearest(name, self.names()))
        return _read(path)

    def __iter__(self) -> Iterator[CatalogModel]:
        """All models in the order of their names."""
        return (self.load(name) for name in self.names())

    def _folder(self) -> Path:
        return self.data_dir / "models"


def _read(path: Path) -> CatalogModel:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - a safe loader, see below
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read as YAML: {' '.join(str(error).split())}", where=str(path)) from None
    model = parse_strictly(CatalogModel, values, where=str(path))
    if model.name != path.stem:
        raise InputError(f"the name {model.name!r} differs from the file's", where=f"{path}:name")
    architecture_from_config(model.config, f"{path}:config")
    return model


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
