"""Under which licence each model of a suite may be used, as far as anybody says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.catalog import Catalog
from harness.suite import Suite
from harness.summary import ModelSummary


def licences_of(
    models: Sequence[ModelSummary], definition: Suite | None, suites_dir: Path | None
) -> Mapping[str, str]:
    """Model -> its licence on one line: as the suite says, else as the catalog says of its repository or its name.

    Models of which nothing is said are left out. Raises InputError where the catalog's files are wrong.
    """
    said = {one.name: one.license for one in definition.models if one.license} if definition else {}
    found = {model.model: said[model.model] for model in models if model.model in said}
    rest = [model for model in models if model.model not in said]
    known = _of_catalog(rest, suites_dir)
    for model in rest:
        licence = known.get(model.subject.source) or known.get(model.model)
        if licence:
            found[model.model] = licence
    return {name: " ".join(licence.split()) for name, licence in found.items()}


def _of_catalog(models: Sequence[ModelSummary], suites_dir: Path | None) -> Mapping[str, str]:
    """Source or name of a catalog model -> its licence; the catalog is read only where a model may be in it."""
    if suites_dir is None:
        return {}
    catalog = Catalog(suites_dir)
    names = set(catalog.names())
    if not any(model.model in names or model.subject.source.startswith("hub:") for model in models):
        return {}
    stated = [one for one in catalog if one.license]
    by_name = {one.name: str(one.license) for one in stated}
    return by_name | {f"hub:{one.hf_repo}": str(one.license) for one in stated if one.hf_repo}
