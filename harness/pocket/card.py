"""The model card's tables, made from scores.json and tuning.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from harness.errors import InputError
from harness.pocket import search
from harness.pocket.recipe import RATES, SHAPES
from harness.schema import Frozen
from harness.stats import t_quantile

BEGIN, FINISH = "<!-- tables: written by `moebench pocket card` -->", "<!-- end of tables -->"
FAMILIES = {
    "facts": "Facts, exact match",
    "facts_choice": "Facts, four choices",
    "sort": "Sort, exact match",
    "count": "Count, exact match",
    "common": "Common letters, exact match",
}
HEADLINE = "facts"


class Score(Frozen):
    """What one shipped checkpoint scored on each task of its world."""

    kind: str
    seed: int
    world: str
    tasks: dict[str, float]

    def of(self, family: str) -> float:
        """The score in a family; that of its own world where the family has worlds."""
        name = f"pocket_{family}_{self.world}"
        return self.tasks[name] if name in self.tasks else self.tasks[f"pocket_{family}"]


class Scores(Frozen):
    """All shipped checkpoints' scores, by transformers in bf16 with greedy answers."""

    items: dict[str, int]
    scores: list[Score]

    def values(self, kind: str, family: str) -> list[float]:
        """A kind's scores in a family, by seed."""
        ordered = sorted((score for score in self.scores if score.kind == kind), key=lambda score: score.seed)
        return [score.of(family) for score in ordered]


def load(path: Path) -> Scores:
    """Reads scores.json."""
    return Scores.model_validate_json(path.read_text(encoding="utf-8"))


def save(scores: Scores, path: Path) -> None:
    """Writes scores.json."""
    path.write_text(scores.model_dump_json(indent=1) + "\n", encoding="utf-8")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % Student t interval of the mean over seeds."""
    half = t_quantile(len(values) - 1) * stdev(values) / len(values) ** 0.5
    return mean(values) - half, mean(values) + half


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def parameters() -> str:
    """Parameters by kind."""
    rows = [
        [kind, shape.architecture, f"{shape.parameters():,}", f"{shape.parameters(active=True):,}"]
        for kind, shape in SHAPES.items()
    ]
    return table(["kind", "architecture", "total", "active per token"], rows)


def tuning(found: search.Search) -> str:
    """The learning-rate search by kind: the score at each rate, the chosen one in bold."""
    rates = sorted({trial.lr for trial in found.trials})
    rows = []
    for kind in SHAPES:
        scores = {trial.lr: trial.score for trial in found.trials if trial.kind == kind}
        rows.append(
            [kind, *(f"**{scores[rate]:.3f}**" if rate == RATES[kind] else f"{scores[rate]:.3f}" for rate in rates)]
        )
    return table(["kind", *(f"rate {rate:g}" for rate in rates)], rows)


def results(scores: Scores, family: str) -> str:
    """A family's scores by kind and seed, with mean, standard deviation and interval over seeds."""
    seeds = sorted({score.seed for score in scores.scores})
    worlds = {score.seed: score.world for score in scores.scores}
    rows = []
    for kind in SHAPES:
        values = scores.values(kind, family)
        low, high = interval(values)
        spread = [f"**{mean(values):.3f}**", f"{stdev(values):.3f}", f"{low:.3f} to {high:.3f}"]
        rows.append([kind, *(f"{value:.3f}" for value in values), *spread])
    head = ["kind", *(f"seed {seed} ({worlds[seed]})" for seed in seeds), "mean", "sd", "95 % t interval"]
    return table(head, rows)


def pairs(scores: Scores, family: str) -> str:
    """Differences of the mean between kinds, paired by seed, with their intervals."""
    rows = []
    for left, right in (
        ("moe-8x2", "dense-active"),
        ("moe-8x2", "dense-total"),
        ("moe-fine", "dense-active"),
        ("moe-fine", "dense-total"),
        ("moe-fine", "moe-8x2"),
    ):
        both = zip(scores.values(left, family), scores.values(right, family), strict=True)
        gaps = [one - other for one, other in both]
        low, high = interval(gaps)
        verdict = "no difference detected" if low <= 0 <= high else f"{left if low > 0 else right} higher"
        rows.append([f"{left} minus {right}", f"{mean(gaps):+.3f}", f"{low:+.3f} to {high:+.3f}", verdict])
    return table(["difference", "mean", "95 % t interval", "reading"], rows)


def tables(suite: Path) -> str:
    """Every generated table, with its heading."""
    scores, found = load(suite / "scores.json"), search.load(suite / "tuning.json")
    parts = ["### Parameters\n", parameters(), "### Learning-rate search\n", tuning(found)]
    for family, title in FAMILIES.items():
        names = [name for name in scores.items if name in (f"pocket_{family}", f"pocket_{family}_a")]
        parts += [f"### {title} ({scores.items[names[0]]} questions)\n", results(scores, family), pairs(scores, family)]
    return "\n".join(parts)


def rewrite(suite: Path) -> None:
    """Puts fresh tables between the marks in README.md.

    Raises InputError where a mark is missing.
    """
    path = suite / "README.md"
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or FINISH not in text:
        raise InputError(
            "the marks around the tables are missing", where=str(path), hint=f"put {BEGIN} and {FINISH} back"
        )
    before, rest = text.split(BEGIN, 1)
    after = rest.split(FINISH, 1)[1]
    path.write_text(f"{before}{BEGIN}\n\n{tables(suite)}\n{FINISH}{after}", encoding="utf-8")
