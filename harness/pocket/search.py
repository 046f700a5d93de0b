"""The search for each kind's learning rate: the same rates, steps, world and seed for all, none of them shipped."""

from __future__ import annotations

import time
from pathlib import Path

from harness.pocket.recipe import SEARCH, SEARCH_SEED, SEARCH_STEPS, TRAINING, Run
from harness.pocket.world import FACTS_TUNED_ON
from harness.schema import Frozen


class Trial(Frozen):
    """One run of the search. `score` is the share of facts kept, `computed` the exact match of the other families."""

    kind: str
    lr: float
    seed: int
    world: str
    score: float
    computed: dict[str, float]
    steps: int
    seconds: float


class Search(Frozen):
    """What was tried; `questions` is the number of facts asked, in float32 after the last step."""

    questions: int = FACTS_TUNED_ON
    trials: list[Trial]

    def best(self) -> dict[str, float]:
        """Each kind's rate: of those within one standard error of the most facts kept, the best at computing."""
        chosen = {}
        for kind in sorted({trial.kind for trial in self.trials}):
            trials = [trial for trial in self.trials if trial.kind == kind]
            most = max(trial.score for trial in trials)
            error = (most * (1 - most) / self.questions) ** 0.5
            tied = [trial for trial in trials if trial.score >= most - error]
            chosen[kind] = max(tied, key=lambda trial: sum(trial.computed.values())).lr
        return chosen


def try_rates(kind: str, rates: tuple[float, ...] = SEARCH) -> list[Trial]:
    """Trains a kind once at each rate. `seconds` is processor time."""
    from harness.pocket.evaluate import of_network
    from harness.pocket.train import train

    training = TRAINING.model_copy(update={"steps": SEARCH_STEPS})
    trials = []
    for rate in rates:
        start = time.process_time()
        run = Run(kind=kind, world="a", seed=SEARCH_SEED, rate=rate, training=training)
        network = train(run)
        spent = time.process_time() - start
        scores = of_network(network, run.world)
        trials.append(
            Trial(
                kind=kind,
                lr=rate,
                seed=run.seed,
                world=run.world,
                score=scores.pop("facts"),
                computed=scores,
                steps=training.steps,
                seconds=round(spent, 1),
            )
        )
    return trials


def load(path: Path) -> Search:
    """Reads tuning.json."""
    return Search.model_validate_json(path.read_text(encoding="utf-8"))


def save(found: Search, path: Path) -> None:
    """Writes tuning.json."""
    path.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
