"""`moebench models` and `moebench describe` on the terminal."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from model_configs import TINY
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from harness.accelerators import Accelerators
from harness.accounting import PRECISIONS
from harness.catalog import Catalog
from harness.catalog_table import listing, sheet
from harness.catalog_table.blocks import wrapped
from harness.cli import SORT_COLUMNS, app
from harness.description import (
    PRECISION_MEANINGS,
    SORT_KEYS,
    Description,
    KnownModel,
    ModelFacts,
    Options,
    describe,
    model_from_config,
    ordered,
)
from harness.errors import InputError, MoebenchError
from harness.meta_count import MetaCount
from harness.quantities import THIN

SUITES = Path(__file__).parent.parent / "suites"
CATALOG = Catalog(SUITES)
MODELS = [describe(model, Options(every_precision=False)) for model in CATALOG]
HEADLINES = [one.name for one in MODELS]
HOSTILE = "[red]moe[/red] \x1b[31m[/]"
RUNNER = CliRunner()


def printed_list(width: int, models: list[Description] = MODELS) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(listing(models, len(MODELS), width), soft_wrap=True)
    return out.getvalue().splitlines()


def printed_sheet(described: Description, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(*sheet(described), sep="\n")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog as it was read above."""
    monkeypatch.setattr("harness.cli._described_catalog", lambda options: MODELS)


def called(*arguments: str) -> str:
    """The standard output of a command that succeeds."""
    done = RUNNER.invoke(app, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def fails(*arguments: str) -> MoebenchError:
    error = RUNNER.invoke(app, [*arguments]).exception
    assert isinstance(error, MoebenchError), error
    return error


# The list --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200, 250])
def test_lines_are_no_wider_than_the_terminal_and_nothing_is_cut(width: int) -> None:
    lines = printed_list(width)
    end = lines.index("")
    assert max(map(cell_len, lines[:end])) <= width
    rows = [line.split() for line in lines[end - len(MODELS) : end]]
    assert [row[0] for row in rows] == HEADLINES
    assert "…" not in "\n".join(lines)
    mixtral = next(line for line in lines if line.startswith("mixtral-8x7b"))
    assert "46.7" in mixtral


def test_80_columns_hold_the_essential_ones_and_more_width_more() -> None:
    narrow, wide = printed_list(80), printed_list(260)
    assert "active" in narrow[0] and "experts of a layer" in narrow[1] and "licence" not in narrow[1]
    mixtral = next(line for line in narrow if line.startswith("mixtral-8x7b"))
    assert re.sub(" {2,}", "|", mixtral).split("|") == ["mixtral-8x7b", "8 × top-2", "46.7", "12.9", "27.6"]
    widths = [len(printed_list(width)[1].split()) for width in range(60, 260, 40)]
    assert widths == sorted(widths)
    mixtral = next(line for line in wide if line.startswith("mixtral-8x7b"))
    assert re.sub(" {2,}", "|", mixtral).split("|") == [
        "mixtral-8x7b", "8 × top-2", "46.7", "12.9", "27.6", "27.6", "131", "93.4", "bfloat16", f"32{THIN}768",
        "released", "2023-12*", "Apache-2.0*", "46.7*", "0.0",
    ]


def test_numbers_stand_under_each_other() -> None:
    lines = printed_list(80)
    ends = {
        match.end() for line in lines[2 : lines.index("")]
        for match in [re.search(r"[\d\u202f.]+(?=\u2020? *)", line[46:56])] if match
    }
    assert len(ends) == 1


def test_the_footer_explains_what_is_shown_and_nothing_else() -> None:
    narrow = "\n".join(printed_list(80)).split("\n\n")[1]
    assert narrow.startswith(f"{len(MODELS)} of {len(MODELS)} models; ") and "more columns in a wider" in narrow
    assert "† published" in narrow and "* from memory" in narrow and "‡" not in narrow and "LMSYS" not in narrow
    assert "by other names: name for model, kind for experts of a\nlayer, share for active (%)\n" in narrow
    wide = "\n".join(printed_list(260)).split("\n\n")[1]
    assert "more columns" not in wide and "2024-11-04" in wide
    assert all(sign in wide for sign in ("* from memory", "† published", "‡ at the model's own", f"4{THIN}096 tokens"))
    assert "unranked: not in its table" in wide and "rank for arena rank" in wide and "§ from third parties" in wide
    counted = [one for one in MODELS if one.name == "olmoe-1b-7b"]
    alone = "\n".join(printed_list(80, counted))
    assert not any(sign in alone for sign in ("† published", "* from memory", "§ from third"))


def test_facts_from_memory_or_third_parties_are_marked_as_on_the_page() -> None:
    for one in MODELS:
        row = re.split(" {2,}", next(line for line in printed_list(300, [one]) if line.startswith(one.name)))
        sign = {"recalled": "*", "third-party": "§"}
        if one.parameters.total is None:
            assert row[2].endswith("†" + sign.get(one.published.source_quality or "", ""))
        else:
            assert row[2].endswith(sign.get(one.model.source_quality or "", row[2][-1]))
    switch = next(line for line in printed_list(300) if line.startswith("switch-c-2048"))
    assert f"2{THIN}048 × top-1" in switch and f"1{THIN}570§" in switch and switch.endswith("unranked")


def test_an_empty_list_says_so() -> None:
    assert printed_list(80, []) == [f"none of {len(MODELS)} models fits these filters"]


def test_names_are_printed_as_text() -> None:
    named = MODELS[0].model_copy(update={"name": HOSTILE})
    assert any(line.startswith("[red]moe[/red] \ufffd[31m[/]") for line in printed_list(80, [named]))
    assert "[red]moe[/red] \ufffd[31m[/]" in printed_sheet(named)


# The sheet -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADLINES)
def test_every_model_has_a_sheet_of_80_columns(name: str) -> None:
    h100 = Accelerators(SUITES).load("H100")
    text = printed_sheet(describe(CATALOG.load(name), Options(batch=32, accelerator=h100)))
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text and "None" not in text and "\x1b" not in text
    total = next(one for one in MODELS if one.name == name).parameters.total
    assert total is None or f"{total:,}".replace(",", THIN) in text


def test_the_sheet_of_mixtral() -> None:
    text = printed_sheet(describe(CATALOG.load("mixtral-8x7b")))
    assert text.splitlines()[:2] == [
        "mixtral-8x7b", "46.7 billion parameters, of which a token uses 12.9 billion (27.6 %)",
    ]
    assert "GQA:            grouped-query attention" in text and "32 layers: GQA 32/8 × 128" in text
    assert re.search(r"a decoded token at a context of 4\u202f096 tokens +27\.6  GFLOPs", text)
    assert re.search(r"all parameters +46\.7 +46\.7 +0\.0", text)
    for name in PRECISIONS:
        assert re.search(rf"^{name}( \(this one\))? +[\d.]+", text, re.MULTILINE)
    assert "Notes" not in text and "state of" not in text


def test_the_sheet_with_an_accelerator_says_for_how_many_devices() -> None:
    h100 = Accelerators(SUITES).load("H100")
    text = printed_sheet(describe(CATALOG.load("mixtral-8x7b"), Options(accelerator=h100)), 200)
    assert "2: the fewest that hold weights, KV cache and state of 1 sequence of 4\u202f096 tokens in 90 %" in text
    assert "these 2 devices allow" in text and "USD an hour, 6.40 for all" in text
    free = h100.model_copy(update=dict.fromkeys(
        ("price_usd_per_hour", "price_source", "price_read_on", "price_quality")
    ))
    text = printed_sheet(describe(CATALOG.load("olmo-1b"), Options(accelerator=free)), 200)
    assert "this device allows" in text and "none is known" in text


def test_the_sheet_of_a_model_that_is_not_counted() -> None:
    text = printed_sheet(describe(CATALOG.load("gshard-600b")), 200)
    assert "not counted; see the published figures" in text and "36 layers, 2\u202f048 experts, 2 of them a" in text
    assert "Costs" not in text and "Parameters" not in text and "never published" in text


def test_the_sheet_of_a_tiny_configuration() -> None:
    text = printed_sheet(describe(model_from_config(TINY["llama"], "config.json", name="tiny")))
    assert re.match(r"tiny\n[\d.]+ thousand parameters, and each token uses all of them$", text, re.MULTILINE)


def test_the_sheet_of_a_model_without_a_reader_says_what_was_not_told_apart() -> None:
    counted = MetaCount(
        total=1_000_000, active=400_000, active_note="2 of 8", routed_experts=800_000, embedding=50_000, head=0,
        tied_embeddings=True, scope_note="", class_name="NewForCausalLM", library_version="transformers 5",
    )
    facts = ModelFacts(name="new", kind="moe")
    text = printed_sheet(describe(KnownModel(facts, "config", None, counted=counted, precision="bfloat16")))
    assert re.search(rf"routed experts +800{THIN}000 +80.0 +200{THIN}000 +50.0", text)
    assert re.search(rf"the rest, not told apart +150{THIN}000 +15.0 +150{THIN}000 +37.5", text)
    assert "bfloat16 (this one)" in text and "Costs" not in text and "no reader" in text
    unsure = counted.model_copy(update={"active": None, "routed_experts": None})
    text = printed_sheet(describe(KnownModel(facts, "config", None, counted=unsure, precision="bfloat16")))
    assert "how many of them a token uses is not known" in text
    assert re.search(rf"input table +50{THIN}000 +5.00$", text, re.MULTILINE)


def test_the_arena_and_the_deviation_are_told() -> None:
    assert "place 18 of all prompts, 6 of hard prompts" in printed_sheet(describe(CATALOG.load("deepseek-v2.5")), 200)
    assert "not ranked by LMSYS" in printed_sheet(describe(CATALOG.load("grok-1")), 200)


@pytest.mark.parametrize(("name", "theirs", "row"), [
    ("gpt-oss-20b", "leave out the input table; we count all that a token touches, and once", "3.60 +3.61 +[+]0.2"),
    ("deepseek-v3", "leave out the input table; we count all that", "37.0 +36.6 +\u22121.0"),
    ("glm-4.5", "leave out input table and output head; we count all that", "32.0 +32.1 +[+]0.3"),
    ("mixtral-8x7b", "count all that a token touches, as we do", None),
    ("olmoe-1b-7b", "active  ", None),
    ("limoe-h14", "active  which tables", None),
])
def test_the_published_active_parameters_are_also_counted_as_their_authors_do(
    name: str, theirs: str, row: str | None
) -> None:
    text = printed_sheet(describe(CATALOG.load(name)), 200)
    assert theirs in text and ("counted as they do" in text) == (row is not None)
    assert row is None or re.search(f"active, counted as they do +{row}", text)


def test_what_holds_for_uniform_routing_alone_says_so() -> None:
    h100 = Accelerators(SUITES).load("H100")
    sparse = printed_sheet(describe(CATALOG.load("mixtral-8x7b"), Options(accelerator=h100)))
    assert "these 2 devices allow if routing is uniform (" in sparse and "skewed routing reads fewer experts" in sparse
    dense = printed_sheet(describe(CATALOG.load("qwen3-8b"), Options(accelerator=h100)))
    assert "this device allows (" in dense and "routing" not in dense


def test_a_state_is_said_to_be_read_and_written_back() -> None:
    text = printed_sheet(describe(CATALOG.load("jamba-v0.1")))
    assert "moved from and to memory in a decode step of 1 sequence " in text
    assert re.search(r"  state, read and written back +17\.4  MB", text) and "read from memory" not in text


def test_precisions_are_explained_and_those_without_effect_left_out() -> None:
    sparse = printed_sheet(describe(CATALOG.load("mixtral-8x7b")))
    assert "Weights by precision" in sparse
    for name, meaning in PRECISION_MEANINGS.items():
        assert f"{name}:".ljust(16) + meaning in sparse.splitlines()
    assert "mxfp4" not in printed_sheet(describe(CATALOG.load("qwen3-8b")))
    asked = printed_sheet(describe(CATALOG.load("qwen3-8b"), Options(precision="mxfp4")))
    assert "mxfp4-experts (this one)" in asked and "nothing of it is quantised" in asked


# The width -------------------------------------------------------------------------------------------------------


NUMBER = re.compile(rf"\d{{1,3}}(?:{THIN}\d{{3}})+")


@pytest.mark.parametrize("width", [24, 40, 57, 80, 120])
@pytest.mark.parametrize("name", ["deepseek-v3", "jamba-v0.1", "t5-base", "jetmoe-8b", "switch-c-2048", "gshard-600b"])
def test_no_label_is_lost_and_no_number_broken_at_any_width(name: str, width: int) -> None:
    h100 = Accelerators(SUITES).load("H100")
    described = describe(CATALOG.load(name), Options(batch=123_456_789, accelerator=h100))
    wide, narrow = printed_sheet(described, 400), printed_sheet(described, width)
    assert max(map(cell_len, narrow.splitlines())) <= width and "…" not in narrow
    assert sorted(NUMBER.findall(wide)) == sorted(NUMBER.findall(narrow))
    assert not re.search(rf"{THIN}$|^ *{THIN}", narrow, re.MULTILINE)
    joined = " ".join(narrow.split())
    labels = re.findall(r"^ *([a-z][a-z, ]+?)  ", wide, re.MULTILINE)
    assert len(labels) > 3 and all(label in joined for label in labels)


def test_what_does_not_fit_beside_its_label_stands_below_it() -> None:
    text = printed_sheet(describe(CATALOG.load("deepseek-v3")), 40)
    below = f"routed experts\n  total   653{THIN}908{THIN}770{THIN}816\n  %       97.4\n  active  20{THIN}434"
    assert below in text and "\nactive, counted as they do\n  published       37.0\n" in text


@example(" 界", 2)
@given(st.text(st.sampled_from(f"ab9 {THIN}\n界"), max_size=60), st.integers(2, 30))
def test_wrapping_loses_nothing_and_keeps_to_the_width(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    words = [word for word in re.split("[ \n]+", text) if cell_len(word) <= width // 2]
    assert all(any(word in line for line in lines) for word in words)


@pytest.mark.parametrize("width", [40, 80])
def test_the_footer_of_the_list_keeps_to_the_width(width: int) -> None:
    assert max(map(cell_len, printed_list(width))) <= width


# The commands ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("read_once")
def test_models_prints_a_table_and_the_same_as_json() -> None:
    table = called("models", "--kind", "moe", "--max-active", "3B", "--sort", "-total")
    names = [line.split()[0] for line in table.split("\n\n", maxsplit=1)[0].splitlines()[2:]]
    objects = json.loads(called("models", "--kind", "moe", "--max-active", "3B", "--sort", "-total", "--json"))
    assert [one["name"] for one in objects] == names and len(names) > 5
    sizes = [one["parameters"]["total"] or one["published"]["total"] for one in objects]
    assert sizes == sorted(sizes, reverse=True)
    assert all(one["model"]["kind"] == "moe" for one in objects)


def test_an_object_of_the_list_is_the_description_of_that_model() -> None:
    (listed,) = json.loads(called("models", "--search", "mixtral-8x7b", "--json"))
    assert listed == json.loads(called("describe", "mixtral-8x7b", "--json"))
    assert Description.model_validate_json(json.dumps(listed)).name == "mixtral-8x7b"


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize(("options", "name", "absent"), [
    (("--family", "qwen"), "qwen3-8b", "mixtral-8x7b"),
    (("--status", "unreleased"), "gshard-600b", "mixtral-8x7b"),
    (("--license", "apache"), "mixtral-8x7b", "llama-2-7b"),
    (("--search", "OLMo"), "olmoe-1b-7b", "mixtral-8x7b"),
    (("--max-total", "10B"), "olmoe-1b-7b", "mixtral-8x7b"),
    (("--fits", "RTX 4090"), "olmoe-1b-7b", "mixtral-8x7b"),
    (("--kind", "dense", "--reverse"), "qwen3-8b", "mixtral-8x7b"),
])
def test_filters_of_the_command(options: tuple[str, ...], name: str, absent: str) -> None:
    names = [one["name"] for one in json.loads(called("models", *options, "--json"))]
    assert name in names and absent not in names
    assert names == sorted(names, reverse="--reverse" in options)


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize(("arguments", "where", "what"), [
    (("models", "--kind", "mow"), "--kind", "did you mean 'moe'"),
    (("models", "--status", "relesed"), "--status", "did you mean 'released'"),
    (("models", "--family", "mixtrel"), "--family", "did you mean 'mixtral'"),
    (("models", "--license", "apacke-2.0"), "--license", "did you mean 'apache-2.0'"),
    (("models", "--max-active", "4X"), "--max-active", "no number of parameters"),
    (("models", "--max-total", "many"), "--max-total", "no number of parameters"),
    (("models", "--sort", "totl"), "--sort", "did you mean 'total'"),
    (("models", "--fits", "H1000"), "--fits", "unknown accelerator"),
    (("describe", "mixtral-8x7b", "--context", "0"), "--context", "at least 1"),
    (("describe", "mixtral-8x7b", "--context", "4x"), "--context", "'4x' is no whole number"),
    (("describe", "mixtral-8x7b", "--batch", "many"), "--batch", "'many' is no whole number"),
    (("describe", "mixtral-8x7b", "--batch", "-1"), "--batch", "at least 1"),
    (("describe", "mixtral-8x7b", "--precision", "fp9"), "--precision", "did you mean 'fp8'"),
    (("describe", "mixtral-8x7b", "--accelerator", "H1000"), "--accelerator", "unknown accelerator"),
    (("describe", "mixtral-8x7"), "", "did you mean 'mixtral-8x7b'"),
    (("describe", "./nowhere"), "nowhere", "no such file"),
])
def test_a_mistake_is_one_message_with_its_place(arguments: tuple[str, ...], where: str, what: str) -> None:
    error = fails(*arguments)
    assert isinstance(error, InputError) and error.where.endswith(where) and what in str(error)


def test_describe_takes_a_file_and_every_option(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY["mixtral"]), encoding="utf-8")
    options: dict[str, Any] = {"context": 64, "batch": 8, "precision": "fp8"}
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    values = json.loads(called("describe", str(tmp_path), *arguments, "--accelerator", "h200", "--json"))
    assert (values["context_tokens"], values["batch"], values["precision"]) == (64, 8, "fp8")
    assert values["accelerator"]["devices_needed"] == 1 and values["source"] == "config"
    assert "On NVIDIA H200" in called("describe", str(tmp_path), *arguments, "--accelerator", "h200")


def test_numbers_may_have_a_suffix() -> None:
    values = json.loads(called("describe", "mixtral-8x7b", "--context", "4k", "--batch", "2K", "--json"))
    assert (values["context_tokens"], values["batch"]) == (4000, 2000)


def test_the_help_names_every_column_to_sort_by() -> None:
    named = re.sub(r" \([^)]*\)", "", SORT_COLUMNS).removeprefix("Columns: ").removesuffix(".").split(", ")
    assert named == list(SORT_KEYS)


def test_a_broken_file_is_named_and_the_others_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(SUITES / "models" / "olmo-1b.yaml", tmp_path / "models")
    (tmp_path / "models" / "broken.yaml").write_text("{", encoding="utf-8")
    monkeypatch.setattr("harness.resources.suites_dir", lambda: tmp_path)
    done = RUNNER.invoke(app, ["models"], catch_exceptions=False)
    assert "left out" in done.stderr and "broken.yaml" in done.stderr
    assert done.stdout.splitlines()[2].startswith("olmo-1b ") and "1 of 1 model" in done.stdout


HEAVY = "('torch', 'transformers', 'huggingface_hub', 'numpy', 'pandas', 'scipy', 'jinja2', 'plotly')"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["models"], ["describe", "mistralai/Mixtral-8x7B-v0.1"]])
def test_neither_command_imports_a_heavy_package(arguments: list[str]) -> None:
    program = (
        "import sys; from harness.cli import app;"
        f"app({arguments!r}, standalone_mode=False);"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]" and "\x1b" not in done.stdout and "mixtral-8x7b" in done.stdout


def test_the_order_of_the_table_is_that_of_the_models() -> None:
    chosen = ordered(MODELS, "active")
    lines = printed_list(80, chosen)
    assert [line.split()[0] for line in lines[2 : lines.index("")]] == [one.name for one in chosen]
