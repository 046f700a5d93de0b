"""What is made of lm-eval's results: two recorded from a pocket model, and a few made by hand where it says so."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from engines import ToyEngine, recorded

from harness.errors import EngineError
from harness.measurements import quality
from harness.measurements.quality import measure_quality
from harness.record import QualityMeasurement, Score
from harness.scenario import QualityScenario

GENERATED, CHOSEN = "pocket_facts_a", "pocket_facts_choice_a"


def scenario(task: str = GENERATED, **changes: Any) -> QualityScenario:
    fields = {
        "task": "facts", "lm_eval_task": task, "task_fingerprint": "sha256:0", "num_fewshot": None, "limit": 4,
        "apply_chat_template": False,
    }
    return QualityScenario(**{**fields, **changes})


def results(task: str = GENERATED) -> dict[str, Any]:
    found: dict[str, Any] = recorded("lm_eval")[task]
    return found


def measured(given: dict[str, Any], asked: QualityScenario | None = None) -> QualityMeasurement:
    return quality._measurement(given, asked or scenario(), ToyEngine(), 1.23456789)


class TestRecorded:
    def test_a_generated_answer(self) -> None:
        found = measured(results())
        assert found.scores == (
            Score(metric="exact_match,none", value=0.75, stderr=0.25, higher_is_better=True),
        )
        assert (found.main_metric, found.chance, found.task_version) == ("exact_match,none", 0.0156, "1")
        assert found.duration_s == 1.234568
        assert [sample.id for sample in found.samples] == [0, 1, 2, 3]
        missed = found.samples[2]
        assert (missed.scores, missed.target, missed.response) == ({"exact_match,none": 0.0}, "ware63", "ware08")
        assert missed.hash == "98ad97cf5f8ca5db15b24fa4c79b1c33bd1cf0d46605b868100c510bfa06dcf8"
        assert missed.subtask is None

    def test_the_score_is_the_mean_of_the_items(self) -> None:
        for task in (GENERATED, CHOSEN):
            found = measured(results(task), scenario(task))
            items = [sample.scores[found.main_metric] for sample in found.samples]
            assert found.scores[0].value == sum(items) / len(items)

    def test_a_choice_keeps_the_likelihood_of_every_answer(self) -> None:
        found = measured(results(CHOSEN), scenario(CHOSEN))
        # lm-eval writes "N/A" where it was asked for no bootstrap
        assert found.scores == (Score(metric="acc,none", value=1.0, stderr=None, higher_is_better=True),)
        first = found.samples[0]
        assert first.target == "0"
        assert first.response.startswith("[[-0.97") and first.response.count("True") == 1
        assert found.chance == 0.25

    def test_the_arguments_give_the_command_again(self) -> None:
        assert measured(results(), scenario(num_fewshot=2)).arguments == {
            "model_args": {"dtype": "bfloat16"}, "num_fewshot": 2, "limit": 4, "apply_chat_template": False,
            "batch_size": "auto",
        }


class TestByHand:
    def test_an_item_listed_once_a_filter_becomes_one_sample(self) -> None:
        given = results()
        given["results"][GENERATED] |= {"exact_match,strict": 0.5, "exact_match_stderr,strict": 0.3}
        rows = given["samples"][GENERATED]
        again = [{**row, "filter": "strict", "exact_match": 0.0, "filtered_resps": ["other"]} for row in rows]
        given["samples"][GENERATED] = rows + again[::-1]
        found = measured(given, scenario(metric="exact_match,strict"))
        assert [score.metric for score in found.scores] == ["exact_match,none", "exact_match,strict"]
        assert found.main_metric == "exact_match,strict"
        assert [sample.id for sample in found.samples] == [0, 1, 2, 3]
        assert found.samples[0].scores == {"exact_match,none": 1.0, "exact_match,strict": 0.0}
        assert found.samples[0].response == "town18"

    def test_the_suite_chooses_the_metric(self) -> None:
        given = results(CHOSEN)
        given["results"][CHOSEN] |= {"acc_norm,none": 0.5, "acc_norm_stderr,none": 0.1, "perplexity,none": 3.0}
        given["higher_is_better"][CHOSEN] |= {"acc_norm": True, "perplexity": False}
        assert measured(given, scenario(CHOSEN)).main_metric == "acc,none"
        chosen = measured(given, scenario(CHOSEN, metric="acc_norm"))
        assert chosen.main_metric == "acc_norm,none"
        assert [score.higher_is_better for score in chosen.scores] == [True, True, False]

    def test_a_metric_that_the_task_does_not_have(self) -> None:
        with pytest.raises(EngineError, match="no metric 'acc_norm'") as caught:
            measured(results(CHOSEN), scenario(CHOSEN, metric="acc_norm"))
        assert caught.value.kind == "task"
        assert str(caught.value) == f"{CHOSEN}: the task has no metric 'acc_norm'\n  it has acc,none"

    def test_the_samples_of_a_group_name_their_task(self) -> None:
        given = results()
        given["groups"]["all"] = {"alias": "all", "exact_match,none": 0.75, "exact_match_stderr,none": 0.25}
        given["samples"]["other"] = given["samples"][GENERATED][:1]
        found = measured(given, scenario("all"))
        assert [sample.subtask for sample in found.samples] == [*[GENERATED] * 4, "other"]
        assert (found.chance, found.task_version, found.main_metric) == (None, "None", "exact_match,none")

    def test_what_is_no_number_is_no_score(self) -> None:
        given = results()
        rows = given["samples"][GENERATED]
        rows[0]["exact_match"] = [1, 2]
        assert measured(given).samples[0].scores == {}

    @pytest.mark.parametrize("row", [{}, {"alias": "x", "exact_match,none": "N/A"}])
    def test_no_score_at_all(self, row: dict[str, Any]) -> None:
        given = results()
        given["results"][GENERATED] = row
        with pytest.raises(EngineError, match="lm-eval gave no score") as caught:
            measured(given)
        assert (caught.value.kind, caught.value.where) == ("task", GENERATED)

    def test_long_texts_are_cut(self) -> None:
        given = results()
        given["samples"][GENERATED][0] |= {"filtered_resps": ["x" * 5000], "target": "y" * 5000}
        first = measured(given).samples[0]
        assert (len(first.response), len(first.target)) == (2000, 2000)


class FakeEvaluator(ModuleType):
    """lm-eval as far as it is called, without its imports."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        super().__init__("lm_eval")
        self.answer, self.asked = answer, {}  # type: tuple[dict[str, Any] | Exception, dict[str, Any]]
        self.tasks = ModuleType("lm_eval.tasks")
        self.tasks.TaskManager = lambda **given: given  # type: ignore[attr-defined]

    def simple_evaluate(self, **given: Any) -> dict[str, Any]:
        self.asked = given
        if isinstance(self.answer, Exception):
            raise self.answer
        return deepcopy(self.answer)


def evaluator(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | Exception) -> FakeEvaluator:
    fake = FakeEvaluator(answer)
    monkeypatch.setitem(sys.modules, "lm_eval", fake)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", fake.tasks)
    return fake


class TestCall:
    def test_a_local_task_is_read_from_its_folder_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake, engine = evaluator(monkeypatch, results()), ToyEngine()
        assert measure_quality(engine, scenario(num_fewshot=3), Path("tasks")).scores[0].value == 0.75
        assert fake.asked["task_manager"] == {"include_path": "tasks", "include_defaults": False}
        assert fake.asked["model"] is engine.language_model()
        assert (fake.asked["tasks"], fake.asked["num_fewshot"], fake.asked["limit"]) == ([GENERATED], 3, 4)
        assert fake.asked["log_samples"] is True

    def test_a_shipped_task_is_read_from_lm_eval(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = evaluator(monkeypatch, results())
        measure_quality(ToyEngine(), scenario(task_fingerprint=None), Path("tasks"))
        assert fake.asked["task_manager"]["include_defaults"] is True

    @pytest.mark.parametrize("error", [
        KeyError("pocket"), ValueError("bad"), FileNotFoundError("none"), ConnectionError("off"),
    ])
    def test_a_task_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        evaluator(monkeypatch, error)
        with pytest.raises(EngineError) as caught:
            measure_quality(ToyEngine(), scenario(), Path("tasks"))
        assert (caught.value.kind, caught.value.where) == ("task", GENERATED)
        assert str(caught.value) == f"{GENERATED}: {type(error).__name__}: {error}"

    def test_a_defect_is_not_taken_for_a_wrong_task(self, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluator(monkeypatch, ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            measure_quality(ToyEngine(), scenario(), Path("tasks"))
