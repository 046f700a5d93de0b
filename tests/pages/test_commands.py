"""The command that measures a number again names the suite by what is known of it."""

from __future__ import annotations

import shlex
from pathlib import Path

import builders
import sites
from typer.testing import CliRunner

from harness.cli import app
from harness.pages.commands import run_command, suite_argument
from harness.suite import load_suite, parse_suite, short_fingerprint

_TEXT = """
name: {name}
title: Mine
models: [{{name: a, path: a}}]
serving: [{{prompt_tokens: 32, output_tokens: 16, concurrency: [8]}}]
"""


def test_a_shipped_suite_goes_by_its_name() -> None:
    pocket = load_suite(sites.SUITES / "pocket.yaml")
    assert suite_argument("pocket", pocket, sites.SUITES) == suite_argument("pocket", None, sites.SUITES) == "pocket"


def test_another_file_of_a_shipped_name_is_not_taken_for_it() -> None:
    mine = parse_suite(_TEXT.format(name="pocket"), where="x")
    assert suite_argument("pocket", mine, sites.SUITES) == (
        f"<the file of the suite pocket, fingerprint {short_fingerprint(mine)}>"
    )


def test_no_path_is_made_up_for_a_file_that_is_not_known() -> None:
    assert suite_argument("small", None, sites.SUITES) == "<the file of the suite small>"
    assert suite_argument("../models/x", None, sites.SUITES) == "<the file of the suite ../models/x>"
    assert suite_argument("small", None, None) == "<the file of the suite small>"


def test_what_is_not_known_is_one_word_of_the_shell_and_no_redirection(tmp_path: Path) -> None:
    store = sites.store_of(tmp_path, [builders.serving_record(model="m")])
    from harness.suite_results import suite_results

    (model,) = suite_results(store, builders.SUITE, None, None).models
    words = shlex.split(run_command("<the file of the suite small>", model))
    assert words == ["moebench", "run", "<the file of the suite small>", "--model", "m", "--results", "again"]


def test_a_plan_prints_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(_TEXT.format(name="mine").replace("path: a", "path: " + str(
        sites.SUITES / "pocket/models/moe-8x2-s1")), encoding="utf-8")
    result = CliRunner().invoke(app, ["plan", str(tmp_path / "mine.yaml")], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert f"fingerprint of the suite: {short_fingerprint(load_suite(tmp_path / 'mine.yaml'))}" in result.output
