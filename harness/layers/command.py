"""`moebench layer`: its options, checked, and what it prints. Imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from harness.errors import InputError, nearest

if TYPE_CHECKING:
    from harness.layers.result import LayerReport
    from harness.layers.task import Device

TOKENS = "1,2,4,8,16,32,64,128,256,512,1024"
MOST_TOKENS = 1 << 20
_DEVICES: tuple[Literal["auto", "cpu", "cuda"], ...] = ("auto", "cpu", "cuda")
_INTERRUPTED = 130
_MOST_SECONDS = 60.0
_WIDTH_OF_A_FILE = 100
Value = TypeVar("Value", bound=str)


def layer(  # noqa: PLR0913 -- each argument is an option of the command
    model: Annotated[str | None, typer.Argument(
        help="A model of the catalog, a config.json or a checkpoint's folder; or give sizes."
    )] = None,
    hidden: Annotated[int | None, typer.Option(min=1, help="The hidden size.")] = None,
    expert_width: Annotated[int | None, typer.Option(min=1, help="The inner width of one expert.")] = None,
    experts: Annotated[int | None, typer.Option(min=1, help="Routed experts of the layer.")] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Experts that a token uses.")] = None,
    shared_width: Annotated[int | None, typer.Option(min=0, help="Of the experts that every token uses.")] = None,
    scale: Annotated[float, typer.Option(help="Times hidden size and widths, for a small machine.")] = 1.0,
    tokens: Annotated[str, typer.Option(help="Token counts, such as 1,16,1k.")] = TOKENS,
    precision: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
    routing: Annotated[str, typer.Option(
        help="uniform (random), balanced (all experts alike), skewed (Zipf's law) or same (one choice for all tokens)."
    )] = "uniform",
    threads: Annotated[int | None, typer.Option(min=1, help="On a processor; all usable cores but one.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes; the intervals come from them.")] = 5,
    seconds: Annotated[float, typer.Option(
        min=0.001, max=_MOST_SECONDS, help="For each layer and token count in a process.",
    )] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and routing.")] = 0,
    hot: Annotated[bool, typer.Option("--hot", help="Let weights stay in the cache; else they come from memory.")] = (
        False
    ),
    json_file: Annotated[Path | None, typer.Option("--json", help="A file for everything, with the raw times.")] = None,
) -> None:
    """Time one sparse layer beside dense ones of equal active and equal total width: from which token count it wins."""
    from harness.catalog import Catalog
    from harness.layers.draws import ROUTINGS
    from harness.layers.measure import Asked, measure
    from harness.layers.shape import shape_of
    from harness.layers.task import DTYPES, LayerTask
    from harness.resources import suites_dir

    _require_packages()
    sizes = {
        "hidden": hidden, "expert_width": expert_width, "experts": experts, "top_k": top_k,
        "shared_width": shared_width,
    }
    named = shape_of(model, sizes, Catalog(suites_dir()))
    where = _device(device)
    task = LayerTask(
        shape=named.shape.scaled(scale), tokens=token_counts(tokens),
        precision=one_of(DTYPES, precision, "--precision"), routing=one_of(ROUTINGS, routing, "--routing"),
        device=where, threads=_threads(threads, where), seconds=seconds, cold=not hot, seed=seed,
    )
    _require_file(json_file)
    asked = Asked(named.name, scale, named.notes, processes)
    try:
        report = measure(task, asked, lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        quicker = "--processes 2 --tokens 1,16,256, or a smaller --scale"
        typer.echo(f"stopped; nothing was kept\n  quicker: {quicker}", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    _print(report)
    if json_file is not None:
        _write(report, json_file)


def token_counts(text: str) -> tuple[int, ...]:
    """`1,16,1k` as rising numbers without repetitions. Raises InputError for anything else."""
    from harness.description import parse_whole

    hint = f"whole numbers from 1 to {MOST_TOKENS}, such as 1,16,1k"
    counts: set[int] = set()
    for part in text.split(","):
        if not part.strip():
            raise InputError(f"a token count is missing in {text!r}", where="--tokens", hint=hint)
        count = parse_whole(part, "--tokens")
        if count is None or not 1 <= count <= MOST_TOKENS:
            raise InputError(f"{part.strip()!r} is no token count", where="--tokens", hint=hint)
        counts.add(count)
    return tuple(sorted(counts))


def one_of(known: tuple[Value, ...], value: str, option: str) -> Value:
    """The value of `known` that an option names. Raises InputError with the nearest ones."""
    found = next((one for one in known if one == value), None)
    if found is None:
        raise InputError(f"{value!r} is not known", where=option, hint=nearest(value, known))
    return found


def _device(device: str) -> Device:
    from harness.machine import device_kind

    chosen = one_of(_DEVICES, device, "--device")
    return device_kind() if chosen == "auto" else chosen


def _threads(threads: int | None, device: str) -> int | None:
    from harness.machine import usable_cores

    if device == "cuda":
        return None
    cores = usable_cores()
    if threads is not None and threads > cores:
        raise InputError(f"{threads} threads on {cores} usable cores", where="--threads", hint=f"give 1 to {cores}")
    return threads or max(1, cores - 1)


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "pytest", "pytest_benchmark") if find_spec(name) is None]
    if missing:
        raise InputError(f"{', '.join(missing)} is not installed, so nothing can be timed",
                         hint="run `make setup`, or see `moebench doctor`")


def _require_file(file: Path | None) -> None:
    """Refuses before minutes of measuring find that the file cannot be written."""
    if file is None:
        return
    if file.is_dir() or not file.absolute().parent.is_dir():
        what = "a folder, not a file" if file.is_dir() else "its folder does not exist"
        raise InputError(what, where=f"--json {file}", hint="name a file in a folder that exists")


def _print(report: LayerReport) -> None:
    from rich.console import Console

    from harness.layers.table import WIDTH, heading, notes, ratios, times

    console = Console()
    console.width = max(console.width, WIDTH if console.is_terminal else _WIDTH_OF_A_FILE)
    for line in heading(report):
        console.print(line, markup=False, highlight=False)
    console.print(times(report), ratios(report), sep="")
    for line in (*notes(report), "", *(one.sentence for one in report.comparisons)):
        console.print(line, markup=False, highlight=False)


def _write(report: LayerReport, file: Path) -> None:
    try:
        file.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=f"--json {file}") from error
