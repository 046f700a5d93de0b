"""What is to be described: a model of the catalog, or a structure read from a configuration."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.architecture import Architecture
from harness.catalog import Catalog, CatalogModel, Published
from harness.description.stored import states_quantisation, stored_cache, stored_precision
from harness.description.values import ModelFacts
from harness.errors import InputError, MoebenchError, UnknownStructureError, nearest
from harness.hf_config import architecture_from_config, read_config
from harness.hub import resolve_config

if TYPE_CHECKING:
    from harness.meta_count import MetaCount

_FACTS = tuple(set(ModelFacts.model_fields) & set(CatalogModel.model_fields))
_BESIDE = "hf_quant_config.json"
_UNPUBLISHED = Published(total=None, active=None, active_convention=None, source=None, source_quality=None)


@dataclass(frozen=True)
class KnownModel:
    """A model with what is known of it.

    Without an `architecture` either `counted` has the parameters of a model that was built without memory, or nothing
    was counted. `precision` is the checkpoint's, None where it is not known, though the weights may be known to be
    `quantised`; `remarks` go into the description's notes.
    """

    facts: ModelFacts
    source: Literal["catalog", "config", "hub"]
    architecture: Architecture | None
    counted: MetaCount | None = None
    precision: str | None = None
    quantised: bool = False
    published: Published = _UNPUBLISHED
    explanation: str | None = None
    remarks: tuple[str, ...] = ()


def model_from_catalog(model: CatalogModel) -> KnownModel:
    """A model of the catalog. Raises as `CatalogModel.architecture` does."""
    return KnownModel(
        facts=ModelFacts(**{key: getattr(model, key) for key in _FACTS}),
        source="catalog",
        architecture=model.architecture,
        precision=model.precision,
        published=model.published,
        explanation=model.deviation,
    )


def find_model(argument: str, catalog: Catalog) -> KnownModel:
    """The model that `argument` names: one of the catalog, a config.json or checkpoint folder, or a hub's owner/name.

    A name of the catalog wins over a file of that name (./name is always a path), a file over a repository, and a
    repository that the catalog knows is not asked for. Raises InputError where there is none, with the nearest names of
    the catalog for what looks like one, and as `model_from_config` does.
    """
    names = {name.casefold(): name for name in catalog.names()}
    if argument.casefold() in names:
        return model_from_catalog(catalog.load(names[argument.casefold()]))
    is_path = _exists(argument) or argument.startswith((".", "~", "/")) or argument.endswith(".json")
    if "/" not in argument and not is_path:
        hint = f"{nearest(argument.casefold(), names)} (a path to a config.json and a hub's owner/name work too)"
        raise InputError(f"no model {argument!r} in the catalog, and no such file", hint=hint)
    known = None if is_path else _in_catalog(argument, catalog)
    if known is not None:
        remark = f"{argument} is {known.name} of the catalog, whose configuration is taken"
        return replace(model_from_catalog(known), remarks=(remark,))
    config, where = resolve_config(argument)
    beside = _cached_beside(argument) if not is_path else _beside(Path(where))
    found = model_from_config(config, where, name=argument, hub=not is_path, beside=beside)
    if is_path or beside is not None or states_quantisation(config):
        return found
    remark = f"{_BESIDE}, which may name a quantisation, is not in the cache and was not asked for"
    return replace(found, remarks=(*found.remarks, remark))


def _beside(config_file: Path) -> dict[str, object] | None:
    """What ModelOpt's file beside a config.json holds; None where there is none."""
    file = config_file.with_name(_BESIDE)
    return read_config(file) if file.is_file() else None


def _cached_beside(repository: str) -> dict[str, object] | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, _BESIDE)
    return read_config(Path(found)) if isinstance(found, str) else None


def _exists(argument: str) -> bool:
    try:
        return bool(argument) and Path(argument).exists()
    except (OSError, ValueError):
        return False


def _in_catalog(repository: str, catalog: Catalog) -> CatalogModel | None:
    for name in catalog.names():
        try:
            model = catalog.load(name)
        except MoebenchError:
            continue  # a broken file says so when it is asked for
        if model.hf_repo is not None and model.hf_repo.casefold() == repository.casefold():
            return model
    return None


def model_from_config(
    config: Mapping[str, object], where: str, *, name: str, hub: bool = False,
    beside: Mapping[str, object] | None = None,
) -> KnownModel:
    """A structure that a config.json describes; `where` is the file, for messages. `hub`: `name` is a repository's.

    `beside` is what an hf_quant_config.json beside it holds, which tells the precision.

    Where no reader knows the structure, its parameters are counted on a model that transformers builds without memory.
    Raises as `architecture_from_config` does, or as `count_on_meta_device`.
    """
    architecture, counted = None, None
    remarks: list[str] = []
    try:
        architecture = architecture_from_config(config, where)
    except UnknownStructureError as error:
        from harness.meta_count import INSTALL_HINT, count_on_meta_device, missing_package

        missing = missing_package()
        if missing:
            what = f"{error.what}; {missing}, with which it might be counted, is not installed"
            raise UnknownStructureError(what, where=error.where, hint=INSTALL_HINT) from None
        counted = count_on_meta_device(config, where)
        remarks.append(f"no FLOPs and no cache, because no reader took the structure: {error.what}")
    precision, remark = stored_precision(config, beside)
    remarks += [one for one in (remark, stored_cache(config, beside)) if one]
    kind = _kind(architecture, counted)
    family = config.get("model_type")
    facts = ModelFacts(
        name=name, hf_repo=name if hub else None, family=family if isinstance(family, str) else None, kind=kind,
        context_length=None, precision=precision, source=where,
    )
    return KnownModel(
        facts=facts, source="hub" if hub else "config", architecture=architecture, counted=counted,
        precision=precision, quantised=states_quantisation(config, beside), remarks=tuple(remarks),
    )


def _kind(architecture: Architecture | None, counted: MetaCount | None) -> Literal["moe", "dense"] | None:
    if architecture is not None:
        return "moe" if architecture.is_moe else "dense"
    if counted is None or counted.routed_experts is None:
        return None
    return "moe" if counted.routed_experts else "dense"
