from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign_files import RECORDINGS

from harness.errors import InputError
from harness.record import Completed, QualityMeasurement, Record
from harness.scenario import QualityScenario
from harness.stats import wilson_ends
from harness.summarise import summarise

Take = Callable[..., list[Record]]
Recorded = Callable[[str], Any]
FILE = "lm_eval/results_2026-01-05T12-00-00.000000.json"


def quality(record: Record) -> QualityMeasurement:
    assert isinstance(record.outcome, Completed)
    assert isinstance(record.outcome.measurement, QualityMeasurement)
    return record.outcome.measurement


def scenario(record: Record) -> QualityScenario:
    assert isinstance(record.cell.scenario, QualityScenario)
    return record.cell.scenario


def group(file: Any, *, scored: bool) -> Any:
    """The two tasks as a group, with or without a score of its own."""
    file["group_subtasks"] = {"both": ["pocket_facts_a", "pocket_facts_choice_a"]}
    file["results"]["both"] = {"alias": "both", **({"acc,none": 0.875, "acc_stderr,none": "N/A"} if scored else {})}
    return file


def test_a_cell_a_task_with_scores_and_items(take: Take) -> None:
    facts, choice = take(FILE)
    assert (scenario(facts).task, scenario(choice).task) == ("pocket_facts_a", "pocket_facts_choice_a")
    measured = quality(facts)
    (score,) = measured.scores
    assert (score.metric, score.value, score.stderr, score.higher_is_better) == ("exact_match,none", 0.75, 0.25, True)
    assert (measured.main_metric, measured.chance, measured.task_version, measured.items) == (
        "exact_match,none", 0.0156, "1", 4,
    )
    assert [sample.scores["exact_match,none"] for sample in measured.samples] == [1.0, 1.0, 0.0, 1.0]
    assert measured.samples[2].target == "ware63"
    assert quality(choice).samples[0].scores == {"acc,none": 1.0}


def test_the_scenario_is_what_the_file_says(take: Take, recorded: Recorded) -> None:
    facts = take(FILE)[0]
    assert (scenario(facts).num_fewshot, scenario(facts).limit, scenario(facts).apply_chat_template) == (0, 4, False)
    file = recorded(FILE)
    file["n-shot"]["pocket_facts_a"], file["chat_template"] = 5, "{{ messages }}"
    again = scenario(take(file)[0])
    assert (again.num_fewshot, again.apply_chat_template) == (5, True)


@pytest.mark.parametrize(
    ("limit", "effective", "asked"), [(None, 1000, None), (None, 10, 10), (0.5, 500, 500), (20.0, 20, 20)]
)
def test_a_limit_is_a_number_of_items(
    take: Take, recorded: Recorded, limit: float | None, effective: int, asked: int | None
) -> None:
    file = recorded(FILE)
    file["config"]["limit"], file["n-samples"]["pocket_facts_a"]["effective"] = limit, effective
    assert scenario(take(file)[0]).limit == asked


def test_without_the_items_their_number_counts(take: Take, recorded: Recorded, tmp_path: Path) -> None:
    file = recorded(FILE)
    file["n-samples"]["pocket_facts_a"]["effective"] = 250
    record = take(file)[0]
    assert (quality(record).samples, quality(record).items) == ((), 250)
    (summary,) = summarise([(tmp_path / "record.json", record)])
    estimate = summary.scores["pocket_facts_a"].estimate
    assert (estimate.value, estimate.n) == (0.75, 250)
    # Wilson's over the 3 items that would have the error that is told
    assert [estimate.low, estimate.high] == pytest.approx(wilson_ends(0.75, 3, 1.959964), abs=1e-6)


def test_items_of_another_number_are_refused(take: Take, recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "samples_pocket_facts_a_given.jsonl"
    shutil.copy(RECORDINGS / "lm_eval/samples_pocket_facts_a_2026-01-05T12-00-00.000000.jsonl", path)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:3]), encoding="utf-8")
    (tmp_path / "results_given.json").write_text(json.dumps(recorded(FILE)), encoding="utf-8")
    with pytest.raises(InputError, match="3 items, where the results are of 4") as caught:
        take(str(tmp_path / "results_given.json"))
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"doc_id": "first"}, ":1:doc_id"), ({"metrics": [1]}, ":1:metrics"),
        ({"exact_match": float("nan")}, ":1:exact_match"),
    ],
)
def test_an_item_that_is_wrong_is_named(
    take: Take, recorded: Recorded, tmp_path: Path, change: dict[str, Any], where: str
) -> None:
    source = RECORDINGS / "lm_eval/samples_pocket_facts_a_2026-01-05T12-00-00.000000.jsonl"
    first = json.loads(source.read_text(encoding="utf-8").splitlines()[0])
    (tmp_path / "samples_pocket_facts_a_given.jsonl").write_text(json.dumps(first | change), encoding="utf-8")
    (tmp_path / "results_given.json").write_text(json.dumps(recorded(FILE)), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        take(str(tmp_path / "results_given.json"))
    assert caught.value.where.endswith("samples_pocket_facts_a_given.jsonl" + where)


def test_a_group_with_a_score_is_one_task(take: Take, recorded: Recorded) -> None:
    (record,) = take(group(recorded(FILE), scored=True))
    assert (scenario(record).task, quality(record).items, quality(record).scores[0].stderr) == ("both", 8, None)


def test_a_group_without_a_score_is_its_tasks(take: Take, recorded: Recorded) -> None:
    records = take(group(recorded(FILE), scored=False))
    assert [scenario(record).task for record in records] == ["pocket_facts_a", "pocket_facts_choice_a"]


def test_the_items_of_a_group_name_their_task(take: Take, recorded: Recorded, tmp_path: Path) -> None:
    for name in ("pocket_facts_a", "pocket_facts_choice_a"):
        source = RECORDINGS / f"lm_eval/samples_{name}_2026-01-05T12-00-00.000000.jsonl"
        shutil.copy(source, tmp_path / f"samples_{name}_x.jsonl")
    path = tmp_path / "results_x.json"
    path.write_text(json.dumps(group(recorded(FILE), scored=True)), encoding="utf-8")
    (record,) = take(str(path))
    assert {sample.subtask for sample in quality(record).samples} == {"pocket_facts_a", "pocket_facts_choice_a"}


def test_groups_that_hold_each_other_end(take: Take, recorded: Recorded) -> None:
    file = group(recorded(FILE), scored=True)
    file["group_subtasks"]["pocket_facts_a"] = ["both", "pocket_facts_a"]
    with pytest.raises(InputError, match="has no score"):
        take(file)


def test_an_error_that_is_not_finite_is_none(take: Take, recorded: Recorded) -> None:
    file = recorded(FILE)
    file["results"]["pocket_facts_a"]["exact_match_stderr,none"] = float("nan")
    assert quality(take(file)[0]).scores[0].stderr is None


def test_a_score_that_is_not_finite_is_refused(take: Take, recorded: Recorded) -> None:
    file = recorded(FILE)
    file["results"]["pocket_facts_a"]["exact_match,none"] = float("nan")
    with pytest.raises(InputError, match="is no finite number") as caught:
        take(file)
    assert caught.value.where.endswith(":results.pocket_facts_a.exact_match,none")


def test_the_backend_the_versions_and_the_arguments_are_the_files(take: Take, recorded: Recorded) -> None:
    record = take(FILE)[0]
    assert record.cell.subject.backend == "vllm"
    assert record.cell.subject.source == "import:suites/pocket/models/moe-8x2-s1"
    assert record.environment.versions == {
        "torch": "2.13.0+cpu", "python": "3.11.7", "transformers": "5.19.0", "lm_eval": "0.4.13",
    }
    assert record.environment.system == "Debian GNU/Linux 12 (bookworm) (x86_64)"
    assert quality(record).arguments["model_args"]["dtype"] == "bfloat16"
    file = recorded(FILE)
    file["config"] |= {"model": "hf", "model_args": {"deep": {"deeper": 1}}}
    other = take(file)[0]
    assert other.cell.subject.backend == "other"
    assert quality(other).arguments["model_args"] == "an object of 1"


def test_a_task_of_another_folder_has_no_items(take: Take, recorded: Recorded, tmp_path: Path) -> None:
    file = recorded(FILE)
    for key in ("results", "n-samples"):
        file[key] = {"../facts": file[key]["pocket_facts_a"]}
    assert quality(take(file)[0]).samples == ()
