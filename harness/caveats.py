"""What a reader should hold against a comparison: in what else than their size two models differ."""

from __future__ import annotations

from harness.quantities import listed
from harness.summary import ModelSummary


def caveats_of(a: ModelSummary, b: ModelSummary) -> list[str]:
    """What a reader should hold against the comparison."""
    caveats = []
    for name, of_a, of_b in (
        ("precision", a.subject.precision, b.subject.precision),
        ("quantization", a.subject.quantization, b.subject.quantization),
        ("weights", a.subject.weights, b.subject.weights),
        ("number of accelerators", a.subject.tensor_parallel, b.subject.tensor_parallel),
        ("expert parallelism", a.subject.expert_parallel, b.subject.expert_parallel),
        ("compute threads", a.subject.threads, b.subject.threads),
        ("backend", a.subject.backend, b.subject.backend),
        *_version_differences(a, b),
        *_engine_differences(a, b),
    ):
        if of_a != of_b:
            caveats.append(f"{name} differs: {of_a or 'none'} and {of_b or 'none'}")
    caveats += _forms_of(a, b)
    caveats += [f"{m.model} has dummy weights, which route unevenly" for m in (a, b) if m.subject.weights == "dummy"]
    for point in a.points:
        other = b.point(point.key)
        if other is not None and point.scenario != other.scenario:
            caveats.append(f"{point.key.name}, {point.key.words}: requests, duration or warm-up were asked differently")
    for summary in (a, b):
        caveats += [f"{summary.model}: {summary.not_pooled}"] if summary.not_pooled else []
        tools = sorted({origin.tool for point in summary.points for origin in point.origins})
        if tools:
            caveats.append(f"{summary.model} was measured in part by {' and '.join(tools)}")
    return caveats


def _forms_of(a: ModelSummary, b: ModelSummary) -> list[str]:
    """The tasks of which the trainings of both groups were asked different forms, which are alike on both sides."""
    found = []
    for task, score in a.scores.items():
        other = b.scores.get(task)
        if other is not None and len(score.asked) > 1 and score.asked == other.asked:
            cut = len({form.items for form, _ in score.asked}) > 1
            parts = ((f"{form.items} items of " if cut else "", form, 100 * share) for form, share in score.asked)
            forms = listed(f"{number}{form.lm_eval_task} ({share:.0f} %)" for number, form, share in parts)
            found.append(f"{task} is a mean over trainings that were asked {forms}, in the same shares on both sides")
    return found


def _version_differences(a: ModelSummary, b: ModelSummary) -> list[tuple[str, object, object]]:
    """The versions of what both were served by, and of what scored them, as the newest record of each has them."""
    programs = ["vllm"] if a.subject.backend == b.subject.backend == "vllm" else []
    programs += ["lm_eval"] if a.scores and b.scores else []
    return [(name, a.environment.versions.get(name), b.environment.versions.get(name)) for name in programs]


def _engine_differences(a: ModelSummary, b: ModelSummary) -> list[tuple[str, object, object]]:
    """The engine arguments that either was given, with both values."""
    one, other = a.subject.engine, b.subject.engine
    return [(f"engine argument {key}", one.get(key), other.get(key)) for key in sorted({*one, *other})]
