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
    suite: Annotated[str | None, typer.Option("--suite", help="The suite: its name, or its file.")] = None,
    model: Annotated[str | None, typer.Option(
        "--model", help="Only this model or group; a model card is of one, a badge without it of the suite's best."
    )] = None,
    metric: Annotated[list[str] | None, typer.Option(
        "--metric", help="Only this metric, such as ttft_p99_s or score:<task>; may be given again."
    )] = None,
    table: Annotated[str, typer.Option(
        "--table", help="Of csv and parquet: models, a row a model, or loads, a row a model and load."
    )] = "models",
    url: Annotated[str | None, typer.Option("--url", help="Where the report is, for a model card's source.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(
        "--dataset", help="Of eval-results: TASK=owner/name:task, the Hub's data set of a task; may be given again."
    )] = None,
    results: Annotated[Path, typer.Option("--results", help="The folder of the records.")] = Path("results"),
    out: Annotated[Path | None, typer.Option("--out", help="A file; standard output when left out.")] = None,
) -> None:
    """Write what was measured for other programs and documents, in base units that the columns state."""
    from harness.exports.formats import BINARY, FORMATS, SCHEMA, Wanted, known, write
    from harness.exports.json_document import schema_text

    known(form, [*FORMATS, SCHEMA], "format", "--format")
    if form == SCHEMA:
        _put(schema_text(), out)
        return
    if form in BINARY and out is None and sys.stdout.isatty():
        raise InputError(f"{form} is no text for a terminal", where="--format", hint="give --out FILE, or a pipe")
    wanted = Wanted(model, tuple(metric or ()), table, url, _datasets(dataset or ()))
    _put(write(form, _exported(suite, results), wanted), out)


def _datasets(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    """`TASK=owner/name:task` by task; a task's name may have a = in it, a data set's not."""
    pairs = [one.rpartition("=") for one in given]
    for (task, _, dataset), text in zip(pairs, given, strict=True):
        if not task or not dataset:
            raise InputError(f"{text!r} is no pair", where="--dataset", hint="write TASK=owner/name:task")
    return {task: dataset for task, _, dataset in pairs}


def _exported(argument: str | None, results: Path) -> Exported:
    """The suite as the leaderboard has it: its groups, leading load and score."""
    from harness.exports.parts import Exported
    from harness.groups import group_summaries
    from harness.pages.suite_view import all_tasks, leading_point, leading_score
    from harness.selection import known_suites, summaries_of

    suite, models = summaries_of(argument, results)
    _, definition = known_suites([argument] if argument else []).get(suite, ("", None))
    choice = definition.leaderboard if definition else None
    groups = (group for group in group_summaries(models) if len(group.members) > 1)
    asked = definition.quality.tasks if definition and definition.quality else ()
    tasks = tuple(dict.fromkeys((*asked, *all_tasks(models))))
    point = leading_point(models, choice.concurrency if choice else None)
    return Exported(suite, (*models, *groups), point, leading_score(tasks, choice.score if choice else None))


def _put(content: str | bytes, out: Path | None) -> None:
    """Writes to a file, or to standard output. Raises InputError where that cannot be written."""
    data = content if isinstance(content, bytes) else content.encode()
    if out is not None:
        try:
            out.write_bytes(data)
        except OSError as error:
            raise InputError(f"cannot write: {error.strerror}", where=str(out)) from error
        return
    typer.echo(content if sys.stdout.isatty() else data, nl=False)
