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
    """Model -> its licence on one line: as the suite says, else as the catalog says of it.

    It is the catalog's model where the suite names it as such, or its weights are of the same repository: a name alone
    says nothing. Models of which nothing is said are left out. Raises InputError where the catalog's files are wrong.
    """
    said = {one.name: one.license for one in definition.models if one.license} if definition else {}
    found = {model.model: said[model.model] for model in models if model.model in said}
    rest = [model for model in models if model.model not in said]
    entries = {one.name: one.catalog for one in definition.models if one.catalog} if definition else {}
    known = _of_catalog(rest, entries, suites_dir)
    for model in rest:
        licence = known.get(entries.get(model.model, "")) or known.get(model.subject.source)
        if licence:
            found[model.model] = licence
    return {name: " ".join(licence.split()) for name, licence in found.items()}


def _of_catalog(
    models: Sequence[ModelSummary], entries: Mapping[str, str], suites_dir: Path | None
) -> Mapping[str, str]:
    """Source or name of a catalog model -> its licence; the catalog is read only where a model may be in it."""
    if suites_dir is None or not any(
        model.model in entries or model.subject.source.startswith("hub:") for model in models
    ):
        return {}
    stated = [one for one in Catalog(suites_dir) if one.license]
    by_name = {one.name: str(one.license) for one in stated}
    return by_name | {f"hub:{one.hf_repo}": str(one.license) for one in stated if one.hf_repo}
