"""Results of lm-eval: `results_<date>.json`, with the items in `samples_<task>_<date>.jsonl` beside it.

Source: lm-eval 0.4.13, loggers/evaluation_tracker.py and evaluator_utils.py. One cell a task; a group with a score of
its own is one, with its subtasks' items, and its subtasks are none. Every score and standard error is taken as it is.
Items are taken where the files of all subtasks are there; else their number is. The time is that of the whole run:
lm-eval does not time tasks apart. The model's revision, its data type and lm-eval's other arguments stay in
`QualityMeasurement.arguments`: a subject holds only what files of all tools can tell, so that they make one row.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from harness.environment import Environment
from harness.errors import InputError
from harness.imports.document import Document, Node, finite, read_lines, shown
from harness.imports.result import Foreign, Found, Given, stated_environment
from harness.measurements.quality import samples_of, scores_of
from harness.record import NOT_STATED, Completed, QualityMeasurement, Sample
from harness.scenario import QualityScenario

_ARGUMENTS = ("model", "model_args", "model_sha", "model_revision", "batch_size", "gen_kwargs", "fewshot_seed")
_STATED = {"torch": r"PyTorch version: (\S+)", "python": r"Python version: (\S+)"}


def read_lm_eval(document: Document, given: Given) -> Foreign:
    """A results file with at least one score. Raises InputError with `file:key`, or `file:line` of an item."""
    del given  # all that a cell needs is in the file
    run = _Run(document)
    found = tuple(run.found(task) for task in run.tasks())
    if not found:
        raise InputError("has no score", where=run.root.at("results"))
    model = run.root.raw("model_name")
    return Foreign(
        tool="lm-eval", version=run.version, model=model if isinstance(model, str) and model else NOT_STATED,
        backend="vllm" if run.config.raw("model") == "vllm" else "other", environment=run.environment(), found=found,
    )


class _Run:
    """One results file."""

    def __init__(self, document: Document) -> None:
        self.root = Node.of(document.values[0], str(document.path))
        self.results = self.root.node("results")
        self.config = self.root.node("config")
        self._folder, stem = document.path.parent, document.path.stem
        self._stamp = stem.rpartition("_")[2]
        self._started_at = self.root.moment("date") if self.root.has("date") else document.changed_at

    @property
    def version(self) -> str | None:
        """Of lm-eval."""
        found = self.root.raw("lm_eval_version")
        return found if isinstance(found, str) else None

    def environment(self) -> Environment:
        """What the file tells of the machine."""
        told = self.root.raw("pretty_env_info")
        text = told if isinstance(told, str) else ""
        matches = {name: re.search(pattern, text) for name, pattern in _STATED.items()}
        versions = {name: match[1] for name, match in matches.items() if match}
        transformers = self.root.raw("transformers_version")
        if isinstance(transformers, str):
            versions["transformers"] = transformers
        if self.version:
            versions["lm_eval"] = self.version
        system = re.search(r"^OS: (.+)$", text, re.MULTILINE)
        return stated_environment(system[1] if system else NOT_STATED, versions)

    def tasks(self) -> list[str]:
        """The tasks and groups that have a score and are in no group that has one."""
        scored = [task for task in self.results if scores_of(self._row(task), {})]
        inside = {part for task in scored for part in self._parts(task)}
        return [task for task in scored if task not in inside]

    def _parts(self, task: str) -> set[str]:
        """Every task and group below a group; nothing for a task."""
        groups = self.root.node("group_subtasks") if self.root.has("group_subtasks") else Node({}, self.root.file)
        found: set[str] = set()
        waiting = [task]
        while waiting:
            group = waiting.pop()
            children = groups.items(group) if groups.has(group) else []
            if not all(isinstance(child, str) for child in children):
                raise InputError("is no list of names", where=groups.at(group))
            fresh = set(children) - found - {task}
            found |= fresh
            waiting += fresh
        return found

    def _leaves(self, task: str) -> list[str]:
        """The tasks behind a score, which have a number of items."""
        counted = self.root.node("n-samples") if self.root.has("n-samples") else Node({}, self.root.file)
        return [one for one in (task, *sorted(self._parts(task))) if counted.has(one)]

    def _row(self, task: str) -> dict[str, float]:
        """The scores and standard errors of a task that are numbers; an error that is none is left out."""
        row = self.results.node(task)
        numbers = {key: row.raw(key) for key in row if "," in key and isinstance(row.raw(key), int | float)}
        # NaN alone differs from itself
        kept = [key for key, value in numbers.items() if value == value or "_stderr," not in key]  # noqa: PLR0124
        return {key: row.number(key, -math.inf) for key in kept}

    def found(self, task: str) -> Found:
        """One task as a result."""
        directions = self._of("higher_is_better", task)
        scores = tuple(scores_of(self._row(task), directions if isinstance(directions, dict) else {}))
        effective, original = self._items(task)
        duration_s = self._duration_s()
        measured = QualityMeasurement(
            duration_s=duration_s, main_metric=scores[0].metric, chance=self._chance(task),
            task_version=str(self._of("versions", task)), scores=scores, samples=self._samples(task, effective),
            items=effective, arguments=self._arguments(),
        )
        scenario = self._scenario(task, effective, original)
        return Found(scenario, Completed(measurement=measured), self._started_at, duration_s)

    def _of(self, key: str, task: str) -> Any:
        """What one of the file's tables says of a task; None where it says nothing."""
        return self.root.node(key).raw(task) if self.root.has(key) else None

    def _items(self, task: str) -> tuple[int, int]:
        """How many items were scored, and how many the task has; 0 where the file does not tell."""
        counts = [self.root.node("n-samples").node(leaf) for leaf in self._leaves(task)]
        return sum(one.whole("effective") for one in counts), sum(one.whole("original") for one in counts)

    def _duration_s(self) -> float:
        """lm-eval writes it as text."""
        key = "total_evaluation_time_seconds"
        if not self.root.has(key):
            return 0.0
        try:
            return finite(float(self.root.text(key)), self.root.at(key))
        except ValueError:
            raise InputError("is no number in quotes", where=self.root.at(key)) from None

    def _chance(self, task: str) -> float | None:
        config = self._of("configs", task)
        metadata = config.get("metadata") if isinstance(config, dict) else None
        chance = metadata.get("chance") if isinstance(metadata, dict) else None
        return None if chance is None else finite(chance, self.root.at(f"configs.{task}.metadata.chance"))

    def _arguments(self) -> dict[str, Any]:
        told = {name: _plain(self.config.raw(name)) for name in (*_ARGUMENTS, "limit") if self.config.has(name)}
        return {**told, "apply_chat_template": bool(self.root.raw("chat_template"))}

    def _scenario(self, task: str, effective: int, original: int) -> QualityScenario:
        """A limit below 1 is a share of the items: then their number is the limit, as where items were chosen."""
        limit = self.config.number("limit") if self.config.has("limit") else None
        if limit is not None and limit >= 1:
            asked: int | None = self.config.whole("limit")
        else:
            asked = effective if effective < original else None
        shots = self.root.node("n-shot") if self.root.has("n-shot") else None
        return QualityScenario(
            task=task, lm_eval_task=task, task_fingerprint=None,
            num_fewshot=shots.whole(task) if shots and shots.has(task) else None, limit=asked,
            apply_chat_template=bool(self.root.raw("chat_template")),
        )

    def _samples(self, task: str, effective: int) -> tuple[Sample, ...]:
        """The items of a task, or none where the file of one of its subtasks is missing."""
        paths = {leaf: self._folder / f"samples_{Path(leaf).name}_{self._stamp}.jsonl" for leaf in self._leaves(task)}
        if not paths or not all(path.is_file() for path in paths.values()):
            return ()
        samples = samples_of({leaf: [_checked(row) for row in read_lines(path)] for leaf, path in paths.items()}, task)
        if len(samples) != effective:
            raise InputError(
                f"{len(samples)} items, where the results are of {effective}", where=str(next(iter(paths.values()))),
                hint="the file is not of this run, or was cut off",
            )
        return tuple(samples)


def _plain(value: Any) -> Any:
    """A value of one level, as lm-eval's arguments are; anything deeper as its kind."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return shown(value) if any(isinstance(part, dict | list) for part in parts) else value


def _checked(row: Node) -> dict[str, Any]:
    """A row with everything that is read of it. Raises InputError with `file:line:key`."""
    row.whole("doc_id"), row.text("doc_hash"), row.text("filter"), row.required("target")
    row.required("filtered_resps")
    metrics = row.items("metrics")
    for metric in metrics:
        if not isinstance(metric, str):
            raise InputError("is no list of names", where=row.at("metrics"))
        if isinstance(row.raw(metric), int | float) and not isinstance(row.raw(metric), bool):
            row.number(metric, -math.inf)
    return {key: row.raw(key) for key in row}
