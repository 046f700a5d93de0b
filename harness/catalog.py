"""The models of `suites/models`: one YAML file each, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, JsonValue, PrivateAttr, model_validator

from harness.accounting import PRECISIONS, ParameterCount, Precision, count_parameters
from harness.architecture import Architecture, Flag
from harness.errors import InputError, nearest
from harness.hf_config import architecture_from_config
from harness.schema import Frozen, parse_strictly
from harness.yaml_scalars import FAST_LOADER, problem_of

Quality = Literal["verbatim-config", "model-card", "paper", "third-party", "recalled"]
"""How well a fact is known: copied from a configuration, from the authors, from others, or from memory."""

QUALITY_WORDS: dict[str, str] = {
    "verbatim-config": "copied from its configuration", "model-card": "from its authors", "paper": "from the paper",
    "third-party": "from third parties", "recalled": "from memory, not checked against a source",
}
"""Every `Quality` in words, wherever one is shown."""

LMSYS_DATE = "2024-11-04"
"""The day of the arena's table from which the ranks are (`lmsys_2024_11_04`)."""

Convention = Literal["all", "without_input_embedding", "non_embedding"]
"""Which tables a published number of active parameters includes; see `accounting.ParameterCount`."""

Stored = Literal[
    "float32", "bfloat16", "float16", "fp8", "fp8-block", "int8", "int4-g128", "nvfp4", "mxfp4-experts"
]
"""The precision of a checkpoint: a key of `accounting.PRECISIONS`."""

Text = Annotated[str, Field(strict=True, min_length=1)]
Whole = Annotated[int, Field(strict=True, ge=1)]

EXPLAINED_ABOVE = 0.02
"""A counted figure that differs from the published one by more than this fraction needs a `deviation`."""


class Published(Frozen):
    """Parameters as the authors state them, rounded as they do; None where they state none, and then no source."""

    total: Whole | None
    active: Whole | None
    active_convention: Convention | None = None
    source: Text | None
    source_quality: Quality | None

    @model_validator(mode="after")
    def _sourced(self) -> Published:
        figures = self.total is not None or self.active is not None
        _check_pair(figures, self.source is not None, "a published figure", "a source")
        _check_pair(figures, self.source_quality is not None, "a published figure", "a source_quality")
        if self.active_convention is not None and self.active is None:
            raise ValueError("an active_convention needs a published active figure")
        return self


class Stated(Frozen):
    """What is published about a structure that is not known well enough to be counted; None where nothing is."""

    experts: Whole | None
    experts_per_token: Whole | None
    layers: Whole | None
    source_quality: Quality


class ArenaRanks(Frozen):
    """Places in the LMSYS Chatbot Arena: of all prompts, and of the hard prompts in English."""

    overall: Whole
    hard_prompts_english: Whole


class CatalogModel(Frozen):
    """One file of `suites/models`. `config` holds the config.json keys that decide the structure.

    `config` is None where the structure was never published in full; then `stated` holds what is known of it.
    `hf_repo` is None where the weights are not on the hub. `revision` is the commit of the repository, None where it
    is not known; its quality is third-party where only the published runs of others name it. `precision` is the one
    of the checkpoint, `context_length` the one the authors support, in tokens. `lmsys_2024_11_04` are the ranks of
    that day, "unranked" where the model was not in the table and None where that was not looked up. `deviation` is our
    own explanation where the counted parameters differ from the published ones by more than `EXPLAINED_ABOVE`.
    """

    name: Text
    hf_repo: Text | None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    revision_source_quality: Quality | None
    family: Text
    kind: Literal["moe", "dense"]
    status: Literal["released", "on-request", "unreleased"]
    released: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")]
    released_source_quality: Quality
    license: Text | None
    license_source_quality: Quality | None
    gated: Flag = False
    context_length: Whole | None
    precision: Stored | None
    config: dict[str, JsonValue] | None
    source: Text | None
    source_quality: Quality | None
    stated: Stated | None = None
    published: Published
    deviation: Text | None = None
    lmsys_2024_11_04: ArenaRanks | Literal["unranked"] | None = None
    notes: Text | None = None

    _file: str | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _complete(self) -> CatalogModel:
        counted = self.config is not None
        _check_pair(self.revision is not None, self.revision_source_quality is not None, "a revision", "its quality")
        _check_pair(self.license is not None, self.license_source_quality is not None, "a license", "its quality")
        _check_pair(counted, self.source is not None, "a config", "its source")
        _check_pair(counted, self.source_quality is not None, "a config", "its source_quality")
        if counted == (self.stated is not None):
            raise ValueError("exactly one of config and stated must be given")
        return self

    @cached_property
    def architecture(self) -> Architecture | None:
        """The structure that `config` describes, None without one. Raises as `architecture_from_config` does."""
        if self.config is None:
            return None
        return architecture_from_config(self.config, f"{self._file or f'models/{self.name}.yaml'}:config")

    @cached_property
    def parameters(self) -> ParameterCount | None:
        """The counted parameters by component, None where the structure is not known."""
        return None if self.architecture is None else count_parameters(self.architecture)

    @property
    def weight_precision(self) -> Precision | None:
        """Bytes a weight of the checkpoint, None where its precision is not known."""
        return None if self.precision is None else PRECISIONS[self.precision]

    @property
    def total_deviation(self) -> float | None:
        """(counted - published) / published of all parameters, None without either figure."""
        return None if self.parameters is None else relative_deviation(self.parameters.total, self.published.total)

    @property
    def active_deviation(self) -> float | None:
        """(counted - published) / published of the active parameters, None without either figure.

        Counted in our one convention (`ParameterCount.active`), whatever the convention of the authors.
        """
        return None if self.parameters is None else relative_deviation(self.parameters.active, self.published.active)

    @property
    def deviates(self) -> bool:
        """Whether a counted figure differs from the published one by more than `EXPLAINED_ABOVE`."""
        return any(abs(found or 0) > EXPLAINED_ABOVE for found in (self.total_deviation, self.active_deviation))


def _check_pair(first: bool, second: bool, first_name: str, second_name: str) -> None:
    if first != second:
        raise ValueError(f"{first_name} and {second_name} must be given together or not at all")


def relative_deviation(counted: int | None, published: int | None) -> float | None:
    """(counted - published) / published, None without either figure."""
    return None if counted is None or published is None else (counted - published) / published


@dataclass(frozen=True)
class Catalog:
    """The models under `data_dir/models`. Nothing is read before it is asked for."""

    data_dir: Path

    def names(self) -> list[str]:
        """The names of all models, sorted, without opening their files."""
        return sorted(path.stem for path in self._folder().glob("*.yaml"))

    def load(self, name: str) -> CatalogModel:
        """The model of that name. Raises InputError if there is none, with the nearest names, or its file is wrong."""
        names = self.names()
        if name not in names:
            raise InputError(f"unknown model {name!r}", where=str(self._folder()), hint=nearest(name, names))
        return _read(self._folder() / f"{name}.yaml")

    def __iter__(self) -> Iterator[CatalogModel]:
        """All models in the order of their names."""
        return (_read(self._folder() / f"{name}.yaml") for name in self.names())

    def _folder(self) -> Path:
        return self.data_dir / "models"


def _read(path: Path) -> CatalogModel:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=FAST_LOADER)  # noqa: S506 - a safe loader
    except (OSError, ValueError, yaml.YAMLError) as error:  # UnicodeDecodeError is a ValueError
        problem, line = problem_of(error)
        raise InputError(f"cannot be read as YAML: {problem}", where=f"{path}{line}") from None
    model = parse_strictly(CatalogModel, values, where=str(path))
    if model.name != path.stem:
        raise InputError(f"the name {model.name!r} differs from the file's", where=f"{path}:name")
    model._file = str(path)  # noqa: SLF001 - the class of this module; only here is the file known
    if model.architecture is not None and model.architecture.is_moe != (model.kind == "moe"):
        raise InputError(f"the kind {model.kind!r} contradicts the config", where=f"{path}:kind")
    return model
