"""`moebench export`: what it refuses, and where the export goes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import builders
import pandas as pd
import pytest
import sites
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import InputError
from harness.exports.formats import FORMATS, SCHEMA
from harness.pages.render import render_site
from harness.resources import Folders
from harness.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [*builders.small_suite_records(repeats=2, items=40)]
    return sites.store_of(tmp_path_factory.mktemp("exported") / "results", records).root


def run(results: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", "--results", str(results), *arguments])


def refused(results: Path, *arguments: str) -> str:
    result = run(results, *arguments)
    assert isinstance(result.exception, InputError)
    return str(result.exception)


@pytest.mark.parametrize("form", [*FORMATS, SCHEMA])
def test_every_format_is_written(results: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    more = ("--dataset", "facts=a/b") if form == "eval-results" else ()
    model = ("--model", "moe-8x2") if form != SCHEMA else ()
    result = run(results, "--format", form, *model, *more, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert out.stat().st_size > 300 and result.output == ""


def test_formats_are_named_in_the_help() -> None:
    text = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "300"}).output
    assert all(form in text for form in (*FORMATS, SCHEMA))


@pytest.mark.parametrize(("arguments", "words"), [
    (("--format", "parket"), "did you mean 'parquet'"), (("--model", "moe-8"), "did you mean 'moe-8x2'"),
    (("--metric", "ttft_p50"), "did you mean 'ttft_p50_s'"), (("--metric", "score:fact"), "did you mean 'score:facts'"),
    (("--table", "load"), "did you mean 'loads'"), (("--suite", "smal"), "did you mean 'small'"),
    (("--format", "model-card"), "--model"), (("--format", "model-card", "--model", "moe-8"), "'moe-8x2'"),
    (("--format", "eval-results", "--model", "moe-8x2"), "owner/name:task"),
    (("--format", "badge", "--metric", "score:fact"), "did you mean 'score:facts'"),
    (("--dataset", "facts"), "TASK=owner/name:task"),
    (("--format", "json", "--table", "loads"), "json has both tables"),
    (("--format", "badge", "--table", "loads"), "choose one of csv, parquet, markdown, latex"),
    (("--format", "json-schema", "--table", "loads"), "json-schema is of no suite and heeds --out only"),
    (("--format", "csv", "--url", "x"), "model-card, eval-results"),
    (("--format", "csv", "--dataset", "facts=a/b"), "eval-results"),
    (("--table", "loads", "--metric", "score:facts"), "--table models"),
    (("--table", "loads", "--metric", "ttft_p50_c16"), "did you mean 'ttft_p50_s'"),
    (("--metric", "nothing like it"), "there are values of active_non_embedding_parameters, active_parameters, "),
    (("--format", "model-card"), "known: dense-active, dense-total, moe-8x2, moe-fine"),
])
def test_mistakes_name_what_is_near(results: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(results, *arguments)


@pytest.mark.parametrize("form", ["csv", "markdown", "latex"])
def test_a_table_of_loads_has_a_row_a_model_and_load(results: Path, form: str) -> None:
    models, loads = (run(results, "--format", form, "--table", name).output for name in ("models", "loads"))
    rows = [[line for line in text.splitlines() if re.match(r"(\| )?moe-8x2", line)] for text in (models, loads)]
    assert list(map(len, rows)) == [2 if form == "latex" else 1, 3]  # LaTeX has scores and speeds apart
    assert run(results, "--format", form).output == models


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "ttft_p50_s", "ttft_p50_s_c16", "ttft_p50_s_c16_low", "TTFT p50", "ttft p50 (ms)", "TTFT p50 (ms) \u2193",
])
def test_a_metric_is_its_key_its_column_or_its_title(results: Path, name: str) -> None:
    assert run(results, "--metric", name).output == run(results, "--metric", "ttft_p50_s").output
    assert "ttft_p50_s_c16_high" in run(results, "--metric", name).output
    assert "TTFT p50 (ms)" in run(results, "--format", "markdown", "--metric", name).output


@pytest.mark.parametrize("form", ["csv", "json", "markdown"])
def test_a_metric_without_any_value_is_said_beside_the_export(results: Path, form: str) -> None:
    asked = ("--format", form, "--metric", "joules_per_output_token", "--metric", "ttft_p50_s")
    found = run(results, *asked)
    assert found.exit_code == 0 and found.stderr == "moebench: no row has a value of joules_per_output_token\n"
    assert found.stdout and "no row" not in found.stdout
    assert run(results, "--format", form, "--metric", "ttft_p50_s").stderr == ""
    assert run(results, "--format", form).stderr == ""


def test_a_licence_is_that_of_the_suite_file(results: Path, tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(
        "name: small\ntitle: Small\nmodels: [{name: moe-8x2, path: x, license: MIT}]\n"
        "serving: [{prompt_tokens: 32, output_tokens: 16, concurrency: [1]}]\n", encoding="utf-8",
    )
    document = json.loads(run(results, "--format", "json", "--suite", str(suite)).output)
    licences = {row["model"]: row["license"] for row in document["models"]["rows"]}
    assert licences == {"dense-active": None, "dense-total": None, "moe-8x2": "MIT", "moe-fine": None}


def test_a_score_is_its_key_its_column_or_its_task(results: Path) -> None:
    texts = {run(results, "--metric", name).output for name in ("score:facts", "score_facts", "facts", "facts (%)")}
    assert len(texts) == 1 and "score_facts" in texts.pop()


def test_a_file_that_cannot_be_written_is_named(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "out.csv"
    assert refused(results, "--out", str(out)).startswith(f"{out}: cannot write")


def test_binary_is_not_for_a_terminal(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.export_command as command

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(command, "sys", type("_", (), {"stdout": Terminal()}))
    with pytest.raises(InputError, match="no text for a terminal"):
        command.export("parquet", results=results)


def test_binary_goes_through_a_pipe(results: Path, tmp_path: Path) -> None:
    data = run(results, "--format", "parquet", "--table", "loads").stdout_bytes
    (tmp_path / "x.parquet").write_bytes(data)
    assert len(pd.read_parquet(tmp_path / "x.parquet")) == 12


def test_the_schema_asks_for_no_results(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing", "--format", "json-schema")
    assert json.loads(result.output)["title"] == "moebench export"


@pytest.mark.slow
def test_it_gives_what_the_site_has(results: Path, tmp_path: Path) -> None:
    store = Store(results)
    site = render_site(store, tmp_path / "site", folders=Folders(sites.TEMPLATES)).parent
    for arguments, name in (
        (("--format", "csv"), "data.csv"), (("--format", "csv", "--table", "loads"), "loads.csv"),
        (("--format", "json"), "data.json"), (("--format", "parquet"), "data.parquet"),
        (("--format", "json-schema"), "data.schema.json"), (("--format", "badge"), "badge.svg"),
        (("--format", "badge", "--model", "moe-8x2"), "models/small/moe-8x2.svg"),
        (("--format", "model-card", "--model", "moe-8x2"), "models/small/moe-8x2.yaml"),
    ):
        out = tmp_path / "out"
        assert run(results, *arguments, "--out", str(out)).exit_code == 0
        assert out.read_bytes() == (site / name).read_bytes(), name
    page = (site / "models/small/moe-8x2.html").read_text(encoding="utf-8")
    assert 'href="../../models/small/moe-8x2.yaml" download' in page
    assert 'href="data.parquet"' in (site / "index.html").read_text(encoding="utf-8")


def test_text_is_utf_8_whatever_the_terminal(results: Path) -> None:
    assert sys.stdout is not None
    assert "±" in run(results, "--format", "markdown").stdout_bytes.decode("utf-8")
