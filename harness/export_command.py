"""`moebench export`: its options, checked, and where the export goes. Imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.exports.parts import Exported

FORMATS = "csv, json, parquet, markdown, latex, model-card, eval-results, badge, or json-schema of the JSON"


def export(  # noqa: PLR0913 -- each argument is an option of the command
    form: Annotated[str, typer.Option("--format", help=f"{FORMATS}.")] = "csv",
    suite: Annotated[str | None, typer.Option(
        "--suite", help="The suite: its name, or its file; may be left out where only one has records."
    )] = None,
    model: Annotated[str | None, typer.Option(
        "--model", help="Only this model or group; a model card is of one, a badge without it of the suite's best."
    )] = None,
    metric: Annotated[list[str] | None, typer.Option(
        "--metric", help="Only this metric, by its key (ttft_p99_s, score:<task>), column or title; may be given again."
    )] = None,
    table: Annotated[str | None, typer.Option(
        "--table", help="models, a row a model (default), or loads, a row a model and load; json has both."
    )] = None,
    url: Annotated[str | None, typer.Option(
        "--url", help="Of model-card and eval-results: where the report is, as their source."
    )] = None,
    dataset: Annotated[list[str] | None, typer.Option(
        "--dataset", help="Of eval-results: TASK=owner/name:task, the Hub's data set of a task; may be given again."
    )] = None,
    results: Annotated[Path, typer.Option("--results", help="The folder of the records.")] = Path("results"),
    out: Annotated[Path | None, typer.Option("--out", help="A file; standard output when left out.")] = None,
) -> None:
    """Write what was measured for other programs and documents, in base units that the columns state."""
    from harness.exports.formats import BINARY, FORMATS, SCHEMA, Wanted, check, empty_metrics, known, write
    from harness.exports.json_document import schema_text

    known(form, [*FORMATS, SCHEMA], "format", "--format")
    if form == SCHEMA:
        given = {"suite": suite, "model": model, "metric": metric, "table": table, "url": url, "dataset": dataset}
        for option in (name for name, value in given.items() if value):
            raise InputError(f"{SCHEMA} is of no suite and heeds --out only", where=f"--{option}", hint="leave it out")
        _put(schema_text(), out)
        return
    if form in BINARY and out is None and sys.stdout.isatty():
        raise InputError(f"{form} is no text for a terminal", where="--format", hint="give --out FILE, or a pipe")
    wanted = Wanted(model, tuple(metric or ()), table, url, _datasets(dataset or ()))
    check(form, wanted)
    exported = _exported(suite, results)
    content = write(form, exported, wanted)
    if empty := empty_metrics(form, exported, wanted):
        typer.echo(f"moebench: no row has a value of {', '.join(empty)}", err=True)
    _put(content, out)


def _datasets(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    """`TASK=owner/name:task` by task; a task's name may have a = in it, a data set's not."""
    pairs = [one.rpartition("=") for one in given]
    for (task, _, dataset), text in zip(pairs, given, strict=True):
        if not task or not dataset:
            raise InputError(f"{text!r} is no pair", where="--dataset", hint="write TASK=owner/name:task")
    return {task: dataset for task, _, dataset in pairs}


def _exported(argument: str | None, results: Path) -> Exported:
    """The suite as its site has it: its groups, leading load, score and licences."""
    from harness.pages.exported import exported_of
    from harness.pages.parts import Slugs
    from harness.pages.reading import read_suite, view_of
    from harness.resources import suites_dir
    from harness.selection import known_suites, one_suite
    from harness.store import Store

    suite = one_suite(argument, results)
    _, definition = known_suites([argument] if argument else []).get(suite, ("", None))
    read = read_suite(Store(results), suite, definition, suites_dir())
    for problem in read.problems:
        typer.echo(f"moebench: left out: {problem}", err=True)
    return exported_of(view_of(read, definition, results, Slugs(), first=True))


def _put(content: str | bytes, out: Path | None) -> None:
    """Writes to a file, or to standard output. Raises InputError where that cannot be written."""
    data = content if isinstance(content, bytes) else content.encode()
    if out is not None:
        try:
            out.write_bytes(data)
        except OSError as error:
            hint = "give a file in a folder that exists, or leave --out out for standard output"
            raise InputError(f"cannot write: {error.strerror}", where=str(out), hint=hint) from error
        return
    typer.echo(content if sys.stdout.isatty() else data, nl=False)
