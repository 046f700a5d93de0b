from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign_files import GIVEN, RECORDINGS, content
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.catalog import Catalog
from harness.cli import app
from harness.errors import InputError
from harness.imports import Given, config_of, import_file
from harness.record import Record
from harness.resources import suites_dir
from harness.store import Store

Take = Callable[..., list[Record]]
Recorded = Callable[[str], Any]
@pytest.mark.parametrize("name", GIVEN)
def test_the_same_file_is_imported_once(tmp_path: Path, name: str) -> None:
    store, told = Store(tmp_path), Given(suite="published", model="moe", **GIVEN[name])
    first = import_file(RECORDINGS / name, told, store)
    copy = tmp_path / "another name.json"
    copy.write_bytes((RECORDINGS / name).read_bytes())
    again = import_file(copy, told, store)
    assert first.written
    assert (again.written, len(again.known)) == ((), len(first.written))
    assert again.lines()[0].startswith("nothing written: the suite has this file's results already")
    assert len(store.files("published")) == len(first.written)
    assert import_file(RECORDINGS / name, Given(suite="other", model="moe", **GIVEN[name]), store).written


@pytest.mark.parametrize("name", GIVEN)
def test_records_are_read_as_they_were_written_and_name_their_origin(tmp_path: Path, name: str) -> None:
    told = Given(suite="published", model="moe", accelerator="H100", precision="bfloat16", **GIVEN[name])
    imported = import_file(RECORDINGS / name, told, Store(tmp_path))
    assert sorted(Store(tmp_path).read("published"), key=str) == sorted(imported.written, key=str)
    for _, record in imported.written:
        assert record.origin
        assert record.origin.file == Path(name).name
        assert record.origin.fingerprint.startswith("sha256:")
        assert record.run_id.startswith("import-")
        subject = record.cell.subject
        assert (subject.accelerator, subject.precision, subject.tensor_parallel) == ("H100", "bfloat16", 1)
        assert subject.source.startswith("import:")


def test_what_nobody_tells_is_not_stated(take: Take) -> None:
    (record,) = take("vllm_serve.json")
    assert (record.cell.subject.accelerator, record.cell.subject.precision) == ("not stated", "not stated")
    assert (record.environment.processor, record.environment.system) == ("not stated", "not stated")
    assert record.config == {}


def test_files_of_one_cell_are_its_repeats(take: Take, recorded: Recorded) -> None:
    (first,) = take("vllm_serve.json")
    (second,) = take(recorded("vllm_serve.json") | {"output_throughput": 380.0})
    assert first.cell.id == second.cell.id
    assert (first.repeat, second.repeat) == (0, 1)


def test_lengths_that_are_means_are_told(tmp_path: Path) -> None:
    told = Given(suite="published", model="moe", name="chat")
    imported = import_file(RECORDINGS / "vllm_serve_capped.json", told, Store(tmp_path))
    assert imported.lines()[-1] == "the requests differ in length: the cells hold the mean lengths"
    assert "chat-mean-lengths, 40 requests/s, 8 requests" in imported.lines()[0]


@pytest.mark.parametrize(
    "other",
    [
        [], 1, "text", None, {}, [{}], {"results": {}}, {"benchmarks": 1},
        {"benchmarks": [{"name": "test", "stats": {}}], "machine_info": {}},
    ],
)
def test_what_is_no_known_result_is_refused_with_what_was_looked_for(tmp_path: Path, other: Any) -> None:
    path = tmp_path / "given.json"
    path.write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(InputError, match="is no result that is known here") as caught:
        import_file(path, Given(suite="published", model="moe"), Store(tmp_path / "results"))
    assert caught.value.where == str(path)
    for tool in ("vllm bench throughput", "vllm bench latency", "vllm bench serve", "guidellm", "lm-eval"):
        assert tool in caught.value.hint


def test_the_copy_for_pytorch_names_the_file_to_take(take: Take) -> None:
    with pytest.raises(InputError, match="PyTorch benchmark database") as caught:
        take("vllm_throughput.pytorch.json")
    assert "without .pytorch in its name" in caught.value.hint


def test_several_values_are_only_known_of_serve(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    line = json.dumps(content("vllm_throughput.json"))
    path.write_text(f"{line}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds 2 JSON values"):
        import_file(path, Given(suite="published", model="moe", output_tokens=8), Store(tmp_path))


@pytest.mark.parametrize(
    ("told", "where"),
    [
        ({"concurrency": 2}, "--concurrency"), ({"prompt_tokens": 16}, "--prompt-tokens"),
        ({"suite": "../x"}, "--suite"), ({"suite": ""}, "--suite"),
        ({"model": " "}, "--model"), ({"model": "m" * 121}, "--model"), ({"name": "a\nb"}, "--name"),
        ({"accelerator": "\udcff"}, "--accelerator"),
    ],
)
def test_what_is_wrongly_given_is_named(tmp_path: Path, told: dict[str, Any], where: str) -> None:
    asked = Given(**{"suite": "published", "model": "moe", **told})
    with pytest.raises(InputError) as caught:
        import_file(RECORDINGS / "vllm_serve.json", asked, Store(tmp_path))
    assert caught.value.where == where


def test_a_length_of_nothing_is_refused(take: Take) -> None:
    with pytest.raises(InputError, match="above 0"):
        take("vllm_throughput.json", output_tokens=0)


def test_a_configuration_is_of_the_catalog_or_a_file(tmp_path: Path) -> None:
    catalog = Catalog(suites_dir())
    assert config_of("qwen3-30b-a3b", catalog)["model_type"] == "qwen3_moe"
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    assert config_of(str(tmp_path), catalog) == {"model_type": "llama"}
    with pytest.raises(InputError, match="a checkpoint's folder, or a name of the catalog: `moebench models` lists"):
        config_of(str(tmp_path / "missing"), catalog)
    with pytest.raises(InputError, match="a name of the catalog: did you mean 'qwen3-30b-a3b'"):
        config_of("qwen3-30b-a3", catalog)
    with pytest.raises(InputError) as odd:
        config_of(str(Path(__file__)), catalog)
    assert "catalog" not in str(odd.value)


def test_half_a_character_becomes_a_question_mark(take: Take, recorded: Recorded) -> None:
    records = take(recorded("vllm_serve.json") | {"model_id": "a\ud800b\U0001f600"})
    assert records[0].cell.subject.source == "import:a?b\U0001f600"


# What any file can be --------------------------------------------------------------------------------------------

HOSTILE: list[Any] = [
    "fast", "", "inf", -1, -1e300, 0, 1e300, 10**400, 3.7, float("nan"), float("inf"), True, None, [], {}, [[]],
    {"a": 1},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inside for place in ((*path, key), *places(one, (*path, key)))]


VALUES = {name: content(name) for name in GIVEN}
PLACES = {name: places(value) for name, value in VALUES.items()}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_with_anything_in_place_of_anything_is_imported_or_refused_in_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = data.draw(st.sampled_from(list(GIVEN)))
    value = json.loads(json.dumps(VALUES[name]))
    *way, last = data.draw(st.sampled_from(PLACES[name]))
    holder = value
    for key in way:
        holder = holder[key]
    if data.draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = data.draw(st.sampled_from(HOSTILE))
    folder = tmp_path_factory.mktemp("given")
    path = folder / "given.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    told = Given(suite="published", model="moe", **GIVEN[name])
    try:
        imported = import_file(path, told, Store(folder / "results"))
    except InputError as error:
        assert "\n" not in error.what
        assert error.where.startswith((str(path), "--"))
        assert not (folder / "results").exists()
    else:
        assert list(Store(folder / "results").read("published"))
        assert all("\n" not in line for line in imported.lines())


# The command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_and_says_what(tmp_path: Path) -> None:
    arguments = [
        "import", str(RECORDINGS / "vllm_throughput.json"), "--suite", "published", "--model", "moe", "--results",
        str(tmp_path), "--output-tokens", "8", "--config", "qwen3-30b-a3b", "--accelerator", "H100", "--name", "batch",
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    (path,) = Store(tmp_path).files("published")
    assert done.output == f"{path}: batch, offline, 6 requests\n"
    ((_, record),) = Store(tmp_path).read("published")
    assert record.config["model_type"] == "qwen3_moe"
    assert CliRunner().invoke(app, arguments).output.startswith("nothing written")
