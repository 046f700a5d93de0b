"""What is told of a pair besides its effects: every other condition in which the two differ."""

from __future__ import annotations

from typing import Any

from builders import ENVIRONMENT, quality_record, serving_record, serving_scenario, subject, with_paths

from harness.caveats import caveats_of
from harness.record import Record
from harness.summarise import summarise

A, B = "moe-8x2", "dense-active"


def told(*records: Record) -> list[str]:
    found = {summary.model: summary for summary in summarise(with_paths(list(records)))}
    return caveats_of(found[A], found[B])


def environment(**versions: str) -> dict[str, Any]:
    return {"environment": ENVIRONMENT.model_copy(update={"versions": ENVIRONMENT.versions | versions})}


def test_models_measured_alike_have_none() -> None:
    records = [make(model=model) for model in (A, B) for make in (serving_record, quality_record)]
    assert told(*records) == []


def test_the_same_point_asked_otherwise_is_told() -> None:
    longer = serving_scenario(8, min_duration_s=30.0)
    found = told(serving_record(model=A), serving_record(model=B, scenario=longer))
    assert found == ["chat, concurrency 8: requests, duration or warm-up were asked differently"]


def test_precision_and_random_weights_are_told() -> None:
    dummy = subject(B, weights="dummy", precision="float32")
    assert told(serving_record(model=A), serving_record(model=B, subject=dummy)) == [
        "precision differs: bfloat16 and float32", "weights differs: checkpoint and dummy",
        "dense-active has dummy weights, which route unevenly",
    ]


def test_another_engine_is_told_by_its_name_and_not_by_a_version_that_it_lacks() -> None:
    other = subject(B, backend="transformers")
    assert told(serving_record(model=A), serving_record(model=B, subject=other, **environment(vllm="0.1.0"))) == [
        "backend differs: vllm and transformers",
    ]


def test_other_versions_of_the_engine_are_told() -> None:
    served = ENVIRONMENT.versions["vllm"]
    assert told(serving_record(model=A), serving_record(model=B, **environment(vllm="0.1.0"))) == [
        f"vllm differs: {served} and 0.1.0",
    ]


def test_another_lm_eval_is_told_where_scores_are_compared() -> None:
    old = environment(lm_eval="0.3.0")
    assert told(serving_record(model=A), serving_record(model=B, **old)) == []
    (found,) = told(quality_record(model=A), quality_record(model=B, **old))
    assert found.startswith("lm_eval differs: ") and found.endswith(" and 0.3.0")
