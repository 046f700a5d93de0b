"""The files of `suites/models`, their counts by hand, and what is said about a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from harness.accounting import PRECISIONS
from harness.catalog import EXPLAINED_ABOVE, ArenaRanks, Catalog, CatalogModel, Stored
from harness.errors import InputError, UnknownStructureError

SUITES = Path(__file__).parent.parent / "suites"
CATALOG = Catalog(SUITES)
UNCOUNTED = ("glam-64b-64e", "gshard-600b", "limoe-h14", "pangu-sigma", "v-moe-15b", "z-code-m3")


@pytest.mark.parametrize("name", CATALOG.names())
def test_every_file_loads_and_is_counted_where_its_structure_is_known(name: str) -> None:
    model = CATALOG.load(name)
    if name in UNCOUNTED:
        assert model.architecture is None and model.parameters is None and model.stated is not None
        assert model.published.total is not None and model.kind == "moe" and model.hf_repo is None
        return
    assert model.architecture is not None and model.parameters is not None
    assert model.architecture.is_moe == (model.kind == "moe")
    assert (model.parameters.active < model.parameters.total) == (model.kind == "moe")
    if model.context_length is not None and model.architecture.max_context is not None:
        assert model.context_length <= model.architecture.max_context


@pytest.mark.parametrize("name", CATALOG.names())
def test_a_difference_to_the_published_figure_is_explained_and_nothing_else_is(name: str) -> None:
    model = CATALOG.load(name)
    found = {"total": model.total_deviation, "active": model.active_deviation}
    large = {key: value for key, value in found.items() if value is not None and abs(value) > EXPLAINED_ABOVE}
    assert bool(large) == (model.deviation is not None) == model.deviates, large


@pytest.mark.parametrize("name", CATALOG.names())
def test_a_stated_convention_reproduces_the_published_active_figure(name: str) -> None:
    model = CATALOG.load(name)
    if model.parameters is None or model.published.active is None or model.published.active_convention is None:
        return
    counted = {
        "all": model.parameters.active,
        "without_input_embedding": model.parameters.active_without_input_embedding,
        "non_embedding": model.parameters.active_non_embedding,
    }[model.published.active_convention]
    assert counted == pytest.approx(model.published.active, rel=0.025)


def test_there_are_the_models_of_the_literature_and_three_baselines() -> None:
    names = CATALOG.names()
    assert len(names) == 81
    assert {"olmo-1b", "olmo-1b-0724", "qwen1.5-7b", "olmoe-1b-7b", "switch-c-2048", "deepseek-r1"} <= {*names}


def test_every_stored_precision_has_its_bytes() -> None:
    assert {*get_args(Stored)} <= {*PRECISIONS}
    for name, precision in (("gpt-oss-120b", "mxfp4-experts"), ("deepseek-v3", "fp8-block"), ("t5-base", "float32")):
        model = CATALOG.load(name)
        assert model.precision == precision and model.weight_precision == PRECISIONS[precision]
    assert CATALOG.load("gshard-600b").weight_precision is None


def test_unranked_is_not_the_same_as_not_looked_up() -> None:
    assert CATALOG.load("deepseek-v2.5").lmsys_2024_11_04 == ArenaRanks(overall=18, hard_prompts_english=6)
    assert CATALOG.load("grok-1").lmsys_2024_11_04 == "unranked"
    assert CATALOG.load("grok-2").lmsys_2024_11_04 is None


def test_the_deviations_of_grok_and_of_a_model_without_figures() -> None:
    grok = CATALOG.load("grok-1")
    assert grok.total_deviation == pytest.approx(0.00537, abs=1e-5)
    assert grok.active_deviation == pytest.approx(-0.02609, abs=1e-5)
    olmo = CATALOG.load("olmo-1b")
    assert olmo.total_deviation is None and olmo.active_deviation is None and not olmo.deviates
    assert CATALOG.load("gshard-600b").total_deviation is None


# Counts by hand: of models that transformers has no class for. Each gives all parameters and those a token touches.


def sparse_decoder(
    *, hidden: int, layers: int, vocabulary: int, tables: int, attention: int, norms: int, feed_forwards: int,
    expert: int, experts: int, used: int, sparse_layers: int,
) -> tuple[int, int]:
    """`attention` and `norms` are of one layer; `feed_forwards` are all dense and shared ones; routers have no bias."""
    common = tables * vocabulary * hidden + layers * (attention + norms * hidden) + hidden + feed_forwards
    common += sparse_layers * hidden * experts
    return common + sparse_layers * experts * expert, common + sparse_layers * used * expert


def grok_1() -> tuple[int, int]:
    hidden, head = 6144, 128
    return sparse_decoder(
        hidden=hidden, layers=64, vocabulary=131072, tables=1, norms=4, feed_forwards=0,
        attention=2 * hidden * 48 * head + 2 * hidden * 8 * head,
        expert=3 * hidden * 32768, experts=8, used=2, sparse_layers=64,
    )  # fmt: skip


def grok_2() -> tuple[int, int]:
    hidden, head = 8192, 128
    return sparse_decoder(
        hidden=hidden, layers=64, vocabulary=131072, tables=2, norms=4, feed_forwards=64 * 3 * hidden * 32768,
        attention=2 * hidden * 64 * head + 2 * hidden * 8 * head,
        expert=3 * hidden * 16384, experts=8, used=2, sparse_layers=64,
    )  # fmt: skip


def snowflake_arctic() -> tuple[int, int]:
    hidden, head = 7168, 128
    return sparse_decoder(
        hidden=hidden, layers=35, vocabulary=32000, tables=2, norms=3, feed_forwards=35 * 3 * hidden * hidden,
        attention=2 * hidden * 56 * head + 2 * hidden * 8 * head,
        expert=3 * hidden * 4864, experts=128, used=2, sparse_layers=35,
    )  # fmt: skip


def skywork_moe() -> tuple[int, int]:
    hidden = 4608
    return sparse_decoder(
        hidden=hidden, layers=52, vocabulary=65536, tables=2, norms=2, feed_forwards=0,
        attention=4 * hidden * 36 * 128,
        expert=3 * hidden * 12288, experts=16, used=2, sparse_layers=52,
    )  # fmt: skip


def deepseek_moe_16b() -> tuple[int, int]:
    hidden, first, shared = 2048, 3 * 2048 * 10944, 27 * 2 * 3 * 2048 * 1408
    return sparse_decoder(
        hidden=hidden, layers=28, vocabulary=102400, tables=2, norms=2, feed_forwards=first + shared,
        attention=4 * hidden * 16 * 128,
        expert=3 * hidden * 1408, experts=64, used=6, sparse_layers=27,
    )  # fmt: skip


def hunyuan_large() -> tuple[int, int]:
    # 32 of 64 layers project keys and values; all have the norms of queries and keys, one head wide each.
    hidden, head, pairs = 6400, 80, 32
    both = 2 * (2 * hidden * 80 * head + 2 * head) + 2 * hidden * 8 * head
    total, active = sparse_decoder(
        hidden=hidden, layers=64, vocabulary=128512, tables=1, norms=2, feed_forwards=64 * 3 * hidden * 18304,
        attention=0, expert=3 * hidden * 18304, experts=16, used=1, sparse_layers=64,
    )  # fmt: skip
    return total + pairs * both, active + pairs * both


def openmoe(hidden: int, layers: int, projected: int, width: int, experts: int, every: int) -> tuple[int, int]:
    # Four matrices a feed-forward; a sparse layer has a dense one and a third norm beside its experts.
    sparse_layers, feed_forward = layers // every, 4 * hidden * width
    return sparse_decoder(
        hidden=hidden, layers=layers, vocabulary=256384, tables=2, norms=2,
        feed_forwards=layers * feed_forward + sparse_layers * hidden,
        attention=4 * hidden * projected,
        expert=feed_forward, experts=experts, used=2, sparse_layers=sparse_layers,
    )  # fmt: skip


def fairseq_moe(hidden: int, layers: int) -> tuple[int, int]:
    # Biases everywhere but at the router, norms with biases, and two matrices a feed-forward of four times the width.
    width, sparse_layers = 4 * hidden, layers // 2
    feed_forward = 2 * hidden * width + width + hidden
    return sparse_decoder(
        hidden=hidden, layers=layers, vocabulary=51200, tables=1, norms=4,
        feed_forwards=(layers - sparse_layers) * feed_forward + hidden,
        attention=4 * hidden * hidden + 4 * hidden,
        expert=feed_forward, experts=512, used=2, sparse_layers=sparse_layers,
    )  # fmt: skip


def translator(
    *, hidden: int, width: int, projected: int, heads: int, experts: int, used: int, sparse_layers: int, beside: bool,
) -> tuple[int, int]:
    """24 + 24 layers with gated feed-forwards and two tables; `sparse_layers` and 32 position buckets in each stack.

    `beside` the experts of a sparse layer may stand a dense feed-forward with a norm of its own.
    """
    attention, feed_forward = 4 * hidden * projected, 3 * hidden * width
    encoder = 24 * (attention + 2 * hidden) + 32 * heads + hidden
    decoder = 24 * (2 * attention + 3 * hidden) + 32 * heads + hidden
    dense_layers = 2 * (24 if beside else 24 - sparse_layers)
    common = 2 * 32128 * hidden + encoder + decoder + dense_layers * feed_forward
    common += 2 * sparse_layers * (hidden * experts + hidden * beside)
    return (
        common + 2 * sparse_layers * experts * feed_forward,
        common + 2 * sparse_layers * used * feed_forward,
    )


def switch_xxl_128() -> tuple[int, int]:
    return translator(
        hidden=4096, width=10240, projected=64 * 64, heads=64, experts=128, used=1, sparse_layers=12, beside=False
    )


def st_moe_32b() -> tuple[int, int]:
    return translator(
        hidden=5120, width=20480, projected=64 * 128, heads=64, experts=64, used=2, sparse_layers=6, beside=True
    )


BY_HAND: dict[str, Callable[[], tuple[int, int]]] = {
    "grok-1": grok_1,
    "grok-2": grok_2,
    "snowflake-arctic": snowflake_arctic,
    "skywork-moe": skywork_moe,
    "deepseek-moe-16b": deepseek_moe_16b,
    "hunyuan-large": hunyuan_large,
    "openmoe-base": lambda: openmoe(hidden=768, layers=12, projected=12 * 64, width=2048, experts=16, every=4),
    "openmoe-8b": lambda: openmoe(hidden=2048, layers=24, projected=24 * 128, width=8192, experts=32, every=6),
    "openmoe-34b": lambda: openmoe(hidden=3072, layers=32, projected=24 * 128, width=12288, experts=32, every=4),
    "fairseq-moe-15b": lambda: fairseq_moe(hidden=768, layers=12),
    "fairseq-moe-52b": lambda: fairseq_moe(hidden=1024, layers=24),
    "fairseq-moe-207b": lambda: fairseq_moe(hidden=2048, layers=24),
    "fairseq-moe-1.1t": lambda: fairseq_moe(hidden=4096, layers=32),
    "switch-xxl-128": switch_xxl_128,
    "st-moe-32b": st_moe_32b,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_model_without_a_class_in_transformers_is_counted_as_by_hand(name: str) -> None:
    parameters = CATALOG.load(name).parameters
    assert parameters is not None
    assert (parameters.total, parameters.active) == BY_HAND[name]()


def test_the_checkpoint_of_grok_2_has_as_many_parameters_as_counted_by_hand() -> None:
    assert grok_2()[0] == 269_515_497_472


# The catalog and its messages ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("value", ["2024-13-45", "!!bool maybe", "!!int abc"])
def test_what_only_looks_like_a_date_or_a_number_is_told_with_its_line(tmp_path: Path, value: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "odd.yaml").write_text(f"kind: moe\nname: {value}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"odd\.yaml:2: cannot be read as YAML: .* text goes in quotes"):
        Catalog(tmp_path).load("odd")


def write(folder: Path, name: str, changes: dict[str, Any]) -> None:
    """Writes the file of OLMo-1B with some values changed."""
    values = yaml.safe_load((SUITES / "models" / "olmo-1b.yaml").read_text(encoding="utf-8"))
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / f"{name}.yaml").write_text(yaml.safe_dump({**values, **changes}), encoding="utf-8")


def load(folder: Path, changes: dict[str, Any]) -> CatalogModel:
    write(folder, "olmo-1b", changes)
    return Catalog(folder).load("olmo-1b")


FIGURES = {"total": 1, "active": None, "source": "a paper", "source_quality": "paper"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"revision": "main"}, "revision"),
        ({"context_length": "2048"}, "context_length"),
        ({"released": 2024}, "released"),
        ({"released_source_quality": "rumour"}, "released_source_quality"),
        ({"status": "leaked"}, "status"),
        ({"kind": "hybrid"}, "kind"),
        ({"kind": "moe"}, "kind"),
        ({"precision": "int3"}, "precision"),
        ({"licence": "Apache-2.0"}, "licence"),
        ({"lmsys_2024_11_04": "unknown"}, "lmsys_2024_11_04"),
        ({"lmsys_2024_11_04": {"overall": 3}}, "lmsys_2024_11_04"),
        ({"published": {"total": 1}}, "published"),
        ({"published": {**FIGURES, "source": None}}, "published"),
        ({"published": {**FIGURES, "total": None}}, "published"),
        ({"published": {**FIGURES, "active_convention": "all"}}, "published"),
        ({"deviation": ""}, "deviation"),
        ({"name": "olmo-2b"}, "name"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as raised:
        load(tmp_path, changes)
    assert raised.value.where.startswith(f"{tmp_path / 'models' / 'olmo-1b.yaml'}:{key}")


STATED = {"experts": None, "experts_per_token": None, "layers": None, "source_quality": "paper"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"license": None}, "a license and its quality must be given together"),
        ({"revision": None}, "a revision and its quality must be given together"),
        ({"source": None}, "a config and its source must be given together"),
        ({"stated": STATED}, "exactly one of config and stated"),
        ({"config": None, "source": None, "source_quality": None}, "exactly one of config and stated"),
    ],
)
def test_facts_that_belong_together_are_given_together(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what) as raised:
        load(tmp_path, changes)
    assert raised.value.where == str(tmp_path / "models" / "olmo-1b.yaml")


def test_a_model_of_unknown_structure_has_no_count(tmp_path: Path) -> None:
    model = load(tmp_path, {"config": None, "source": None, "source_quality": None, "stated": STATED})
    assert model.architecture is None and model.parameters is None and not model.deviates


def test_a_wrong_configuration_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        load(tmp_path, {"config": {"model_type": "olmo9"}})
    assert raised.value.where == f"{tmp_path / 'models' / 'olmo-1b.yaml'}:config:model_type"
