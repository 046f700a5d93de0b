"""`moebench pocket`: make the pocket models, their task data and their card again.

The recipe is imported when a command runs: numpy and pydantic would double the start of `moebench --help`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError, nearest

if TYPE_CHECKING:
    from harness.pocket.recipe import Run

app = typer.Typer(help="Tiny models that the project trains itself, and the data of their tasks.", no_args_is_help=True)

COMPILED = True
Out = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
Suite = Annotated[Path, typer.Option("--suite", help="Folder with models, tuning.json and scores.json.")]


@app.command()
def train(
    kind: Annotated[str | None, typer.Option(help="One kind of model; all four when left out.")] = None,
    fact_world: Annotated[str | None, typer.Option("--world", help="a or b; the seed's own when left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="One seed; the five shipped ones when left out.")] = None,
    out: Out = Path("pocket-models"),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; the recipe's number when left out.")] = None,
) -> None:
    """Train models and write a checkpoint folder each: the same bytes every time on the same machine."""
    from harness.pocket import world
    from harness.pocket.recipe import SEEDS, SHAPES, run_of
    from harness.pocket.train import need_torch

    if kind is not None and kind not in SHAPES:
        raise InputError(f"no kind of pocket model is named {kind!r}", where="--kind", hint=nearest(kind, SHAPES))
    if fact_world is not None and fact_world not in world.WORLDS:
        raise InputError(f"no fact world {fact_world!r}", where="--world", hint=nearest(fact_world, world.WORLDS))
    if seed is not None and seed < 0:
        raise InputError("a seed must not be negative", where="--seed", hint="give 0 or more")
    need_torch()
    for each in SHAPES if kind is None else [kind]:
        for number in SEEDS if seed is None else [seed]:
            run = run_of(each, number, fact_world=fact_world, steps=steps)
            train_one(run.model_copy(update={"compiled": COMPILED}), out / f"{each}-s{number}")


def train_one(run: Run, folder: Path) -> None:
    """Trains one model, telling of its loss now and then, and writes it to `folder`."""
    from harness.pocket.export import export
    from harness.pocket.train import train as train_network

    def tell(step: int, loss: float) -> None:
        if step % 100 == 0 or step == run.training.steps - 1:
            typer.echo(f"{folder.name}: step {step + 1} of {run.training.steps}, loss {loss:.3f}")

    export(train_network(run, tell), folder)
    typer.echo(f"{folder.name}: written to {folder}")


def need_file(path: Path) -> None:
    """Raises InputError where a file of the suite is missing."""
    if not path.is_file():
        raise InputError("the file is missing", where=str(path), hint="name the suite's folder with --suite")


@app.command()
def data(out: Out = Path("suites/tasks/pocket")) -> None:
    """Write the tasks' data files again: the same bytes every time."""
    from harness.pocket import tasks

    for path in tasks.write(out):
        typer.echo(str(path))


@app.command()
def tune(out: Out = Path("suites/pocket")) -> None:
    """Search the learning rate of every kind again and write tuning.json."""
    from harness.pocket import search
    from harness.pocket.recipe import SHAPES
    from harness.pocket.train import need_torch

    need_torch()
    trials = [trial for kind in SHAPES for trial in search.try_rates(kind)]
    search.save(search.Search(trials=trials), out / "tuning.json")


@app.command()
def score(suite: Suite = Path("suites/pocket")) -> None:
    """Score every shipped checkpoint on the full tasks and write scores.json."""
    from harness.pocket import card, evaluate
    from harness.pocket.recipe import SEEDS, SHAPES
    from harness.pocket.train import need_torch

    need_torch()
    need_file(suite / "models" / "moe-8x2-s1" / "config.json")
    scores = []
    for kind in SHAPES:
        for seed, name in SEEDS.items():
            found = evaluate.of_checkpoint(suite / "models" / f"{kind}-s{seed}", name)
            scores.append(card.Score(kind=kind, seed=seed, world=name, tasks=found))
            typer.echo(f"{kind}-s{seed}: {found}")
    card.save(card.Scores(items=evaluate.sizes(), scores=scores), suite / "scores.json")


@app.command("card")
def write_card(suite: Suite = Path("suites/pocket")) -> None:
    """Write the tables of the model card again from scores.json and tuning.json."""
    from harness.pocket import card

    for name in ("README.md", "scores.json", "tuning.json"):
        need_file(suite / name)
    card.rewrite(suite)
    typer.echo(str(suite / "README.md"))
