"""lm-eval's scores through the engine that serves, with every item's result kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from harness.backends.base import Engine
from harness.errors import EngineError
from harness.record import QualityMeasurement, Sample, Score
from harness.scenario import QualityScenario

_BOOTSTRAP_ITERATIONS = 1000
"""lm-eval's 100,000 take hours on large tasks; means have a closed form and need none."""
_RESPONSE_CHARACTERS = 2000


def measure_quality(engine: Engine, scenario: QualityScenario, tasks_folder: Path) -> QualityMeasurement:
    """Runs one task as `lm_eval --tasks TASK` would with the engine's arguments.

    Raises EngineError where the task cannot be loaded or gives no score.
    """
    import lm_eval
    from lm_eval.tasks import TaskManager

    local = scenario.task_fingerprint is not None
    manager = TaskManager(include_path=str(tasks_folder), include_defaults=not local)
    began = time.perf_counter()
    try:
        results = lm_eval.simple_evaluate(
            model=engine.language_model(),
            tasks=[scenario.lm_eval_task],
            task_manager=manager,
            num_fewshot=scenario.num_fewshot,
            limit=scenario.limit,
            apply_chat_template=scenario.apply_chat_template,
            log_samples=True,
            bootstrap_iters=_BOOTSTRAP_ITERATIONS,
            verbosity="WARNING",
        )
    except (KeyError, ValueError, FileNotFoundError, ConnectionError) as error:
        raise EngineError(f"{type(error).__name__}: {error}", kind="task", where=scenario.lm_eval_task) from error
    duration_s = time.perf_counter() - began
    return _measurement(results, scenario, engine, duration_s)


def _measurement(
    results: dict[str, Any], scenario: QualityScenario, engine: Engine, duration_s: float
) -> QualityMeasurement:
    task = scenario.lm_eval_task
    row = results["results"].get(task) or results.get("groups", {}).get(task) or {}
    directions = results["higher_is_better"].get(task, {})
    scores = tuple(scores_of(row, directions))
    if not scores:
        raise EngineError("lm-eval gave no score", kind="task", where=task)
    config = results["configs"].get(task, {})
    chance = (config.get("metadata") or {}).get("chance")
    return QualityMeasurement(
        duration_s=round(duration_s, 6),
        main_metric=_main_metric(scores, scenario),
        chance=None if chance is None else float(chance),
        task_version=str(results["versions"].get(task)),
        scores=scores,
        samples=tuple(samples_of(results["samples"], task)),
        arguments={
            "model_args": engine.arguments(),
            "num_fewshot": scenario.num_fewshot,
            "limit": scenario.limit,
            "apply_chat_template": scenario.apply_chat_template,
            "batch_size": getattr(engine.language_model(), "batch_size", "auto"),
        },
    )


def scores_of(row: dict[str, Any], directions: dict[str, Any]) -> list[Score]:
    """The scores in a row of lm-eval's results, each with its standard error where lm-eval gives one."""
    scores = []
    for key, value in row.items():
        metric, _, filter_name = key.partition(",")
        if metric.endswith("_stderr") or not filter_name or not isinstance(value, int | float):
            continue
        stderr = row.get(f"{metric}_stderr,{filter_name}")
        scores.append(Score(
            metric=key, value=float(value), stderr=float(stderr) if isinstance(stderr, int | float) else None,
            higher_is_better=directions.get(metric) is not False,
        ))
    return scores


def _main_metric(scores: tuple[Score, ...], scenario: QualityScenario) -> str:
    names = [score.metric for score in scores]
    if scenario.metric is None:
        return names[0]
    for name in names:
        if scenario.metric in (name, name.partition(",")[0]):
            return name
    raise EngineError(
        f"the task has no metric {scenario.metric!r}", kind="task", where=scenario.lm_eval_task,
        hint=f"it has {', '.join(names)}",
    )


def samples_of(by_task: dict[str, list[dict[str, Any]]], asked: str) -> list[Sample]:
    """One `Sample` an item. lm-eval lists an item once a filter; the filters' scores are joined here."""
    samples = []
    for task, rows in by_task.items():
        joined: dict[int, dict[str, Any]] = {}
        for row in rows:
            item = joined.setdefault(row["doc_id"], {"row": row, "scores": {}})
            for metric in row["metrics"]:
                if isinstance(row.get(metric), int | float):
                    item["scores"][f"{metric},{row['filter']}"] = float(row[metric])
        samples += [
            Sample(
                id=number, hash=item["row"]["doc_hash"], subtask=None if task == asked else task,
                scores=item["scores"], target=str(item["row"]["target"])[:_RESPONSE_CHARACTERS],
                response=_response(item["row"]["filtered_resps"]),
            )
            for number, item in sorted(joined.items())
        ]
    return samples


def _response(filtered: Any) -> str:
    """What the model said, as text: a generation, or the log-likelihoods of the choices."""
    value = filtered[0] if isinstance(filtered, list) and len(filtered) == 1 else filtered
    return str(value)[:_RESPONSE_CHARACTERS]
