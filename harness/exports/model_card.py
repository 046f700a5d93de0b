"""One model's scores as Hugging Face reads them: a model card's `model-index`, and `.eval_results/*.yaml`.

The `model-index` of a card's README.md (huggingface_hub's `ModelCardData` and `EvalResult`) takes any task. The newer
`.eval_results/*.yaml` (`EvalResultEntry`), which the Hub shows on a benchmark's own leaderboard, takes only tasks of
which the benchmark's data set on the Hub is known: lm-eval's names do not tell it, so the user does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, nearest
from harness.exports.parts import Exported, generator
from harness.exports.printed import one_line
from harness.stats import CONFIDENCE, standard_error
from harness.summary import ModelSummary, TaskScore

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

_LONGEST = 200


def has_card(summary: ModelSummary) -> bool:
    """Whether there are scores to tell of: random weights have none."""
    return bool(summary.scores) and summary.subject.weights != "dummy"


def model_card(exported: Exported, summary: ModelSummary, url: str | None = None) -> str:
    """The head of a model card's README.md with every score of a model under `model-index`.

    A result has task, data set (lm-eval's name of the task, and how it was asked under `args`), metric, value and
    `verified: false`; the metric's `args` are the ends of the 95 % interval, what it is over, the standard error from
    the same spread (between subtasks where the items are clustered in these) and the number of items. `url`
    is that of the report, which becomes the source. Raises InputError without scores.
    """
    from huggingface_hub import ModelCardData

    _require_scores(summary)
    results = [_result(task, score, url) for task, score in summary.scores.items()]
    data = ModelCardData(model_name=one_line(summary.model, _LONGEST), eval_results=results)
    content: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]  # its annotations lack the result
    return f"---\n# {generator()}, suite {one_line(exported.suite, _LONGEST)}\n{_yaml(content)}---\n"


def _result(task: str, score: TaskScore, url: str | None) -> EvalResult:
    from huggingface_hub import EvalResult

    scenario, name = score.scenario, one_line(task, _LONGEST)
    asked = {
        "num_fewshot": scenario.num_fewshot, "limit": scenario.limit,
        "apply_chat_template": scenario.apply_chat_template, "task_fingerprint": scenario.task_fingerprint,
    }
    return EvalResult(
        task_type="text-generation", task_name=name,
        dataset_type=one_line(scenario.lm_eval_task, _LONGEST), dataset_name=name, dataset_config=name,
        dataset_args={key: value for key, value in asked.items() if value is not None},
        metric_type=one_line(score.metric.split(",", 1)[0], _LONGEST), metric_name=one_line(score.metric, _LONGEST),
        metric_value=score.estimate.value, metric_args=dict(_spread(score)), verified=False,
        source_name="moebench" if url else None, source_url=url or None,
    )


def _spread(score: TaskScore) -> Iterator[tuple[str, float | int | str]]:
    """The interval of a score, its standard error, and how many items there are, or trainings of a group."""
    estimate, error = score.estimate, _error(score)
    if estimate.low is not None and estimate.high is not None:
        yield from (("confidence", CONFIDENCE), ("low", estimate.low), ("high", estimate.high))
    if error is not None:
        yield "stderr", error
    if estimate.n:  # 0 where another tool does not tell
        yield "n", estimate.n
    yield "basis", one_line(estimate.basis, _LONGEST)


def _error(score: TaskScore) -> float | None:
    """The standard error behind a score's interval: over items or their clusters, over trainings, or as reported."""
    values = score.estimate.values
    return standard_error(values) if len(values) > 1 else score.error


def eval_results(
    exported: Exported, summary: ModelSummary, datasets: Mapping[str, str], url: str | None = None
) -> str:
    """The scores as a file of `.eval_results/`, one entry for each task in `datasets`.

    `datasets` gives the benchmark's data set on the Hub for a task, as `owner/name` or `owner/name:task`. Raises
    InputError without scores, without data sets, and for a task that the model was not scored on.
    """
    from huggingface_hub import eval_result_entries_to_yaml

    _require_scores(summary)
    if not datasets:
        raise InputError(
            "which data set of the Hub a task asks is not known", where="--dataset",
            hint=f"give it, such as --dataset {next(iter(summary.scores))}=owner/name:task",
        )
    for task in datasets:
        if task not in summary.scores:
            raise InputError(f"no score on {task!r}", where="--dataset", hint=nearest(task, summary.scores))
    entries = [_entry(summary, task, dataset, url) for task, dataset in datasets.items()]
    about = f"# {generator()}, suite {one_line(exported.suite, _LONGEST)}, {one_line(summary.model, _LONGEST)}\n"
    return about + _yaml(eval_result_entries_to_yaml(entries))


def _entry(summary: ModelSummary, task: str, dataset: str, url: str | None) -> EvalResultEntry:
    from huggingface_hub import EvalResultEntry

    score, (name, _, part) = summary.scores[task], dataset.partition(":")
    if "/" not in name.strip("/"):
        raise InputError(f"{dataset!r} is no data set of the Hub", where="--dataset", hint="write owner/name:task")
    spread = ", ".join(f"{key} {value}" for key, value in _spread(score))
    notes = one_line(f"lm-eval {score.scenario.lm_eval_task}, {score.metric}; {spread}", 2 * _LONGEST)
    return EvalResultEntry(
        dataset_id=name, task_id=part or "default", value=score.estimate.value, notes=notes,
        date=(score.started_at or summary.started_at).isoformat(), source_url=url or None,
        source_name="moebench" if url else None,
    )


def _require_scores(summary: ModelSummary) -> None:
    if summary.subject.weights == "dummy":
        raise InputError(f"{one_line(summary.model, _LONGEST)} was measured with random weights: it has no scores")
    if not summary.scores:
        raise InputError(
            f"{one_line(summary.model, _LONGEST)} has no scores", hint="let the suite ask tasks under quality"
        )


def _yaml(value: Any) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text
