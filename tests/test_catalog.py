"""The files of `suites/models`, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.architecture import Architecture
from harness.catalog import Catalog
from harness.errors import InputError, UnknownStructureError

SUITES = Path(__file__).parent.parent / "suites"
CATALOG = Catalog(SUITES)


@pytest.mark.parametrize("name", CATALOG.names())
def test_every_file_loads_and_can_be_counted(name: str) -> None:
    model = CATALOG.load(name)
    assert isinstance(model.architecture, Architecture)
    assert model.context_length <= (model.architecture.max_context or 0)
    assert model.weight_precision.bytes_per_parameter in (2.0, 4.0)


def test_iteration_follows_the_names() -> None:
    assert [model.name for model in CATALOG] == CATALOG.names()


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'mixtral-8x7b'"):
        CATALOG.load("mixtral-8x7")


@pytest.mark.parametrize("name", ["", "..", "../models/mixtral-8x7b", "/etc/passwd", "*"])
def test_a_name_is_not_a_path(name: str) -> None:
    with pytest.raises(InputError, match="unknown model"):
        CATALOG.load(name)


def test_a_catalog_without_models_is_empty(tmp_path: Path) -> None:
    assert Catalog(tmp_path).names() == []
    with pytest.raises(InputError, match="no value is known"):
        Catalog(tmp_path).load("mixtral-8x7b")


def test_only_the_file_asked_for_is_read(tmp_path: Path) -> None:
    write(tmp_path, "olmo-1b", {})
    (tmp_path / "models" / "broken.yaml").write_text("{", encoding="utf-8")
    assert Catalog(tmp_path).load("olmo-1b").name == "olmo-1b"
    with pytest.raises(InputError, match="cannot be read as YAML") as raised:
        Catalog(tmp_path).load("broken")
    assert "\n" not in str(raised.value)


def write(folder: Path, name: str, changes: dict[str, Any]) -> None:
    """Writes the file of OLMo-1B with some values changed."""
    values = yaml.safe_load((SUITES / "models" / "olmo-1b.yaml").read_text(encoding="utf-8"))
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / f"{name}.yaml").write_text(yaml.safe_dump({**values, **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"revision": "main"}, "revision"),
        ({"context_length": "2048"}, "context_length"),
        ({"released": 2024}, "released"),
        ({"precision": "int3"}, "precision"),
        ({"licence": "Apache-2.0"}, "licence"),
        ({"published": {"total": 1}}, "published"),
        ({"name": "olmo-2b"}, "name"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    write(tmp_path, "olmo-1b", changes)
    with pytest.raises(InputError) as raised:
        Catalog(tmp_path).load("olmo-1b")
    assert raised.value.where.startswith(f"{tmp_path / 'models' / 'olmo-1b.yaml'}:{key}")


def test_a_wrong_configuration_is_named_with_its_file(tmp_path: Path) -> None:
    write(tmp_path, "olmo-1b", {"config": {"model_type": "olmo9"}})
    with pytest.raises(UnknownStructureError) as raised:
        Catalog(tmp_path).load("olmo-1b")
    assert raised.value.where == f"{tmp_path / 'models' / 'olmo-1b.yaml'}:config:model_type"
