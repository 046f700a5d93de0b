"""Plans: what is measured in which order under which id, and what is refused with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from builders import CONFIGS, ENVIRONMENT, accelerated
from safetensors.numpy import save_file

from harness import plan as plan_module
from harness.environment import Environment
from harness.errors import InputError
from harness.plan import Plan, Planner
from harness.record import Cell
from harness.resources import suite_files
from harness.scenario import MemoryScenario, QualityScenario, RoutingScenario, Scenario, ServedTokens, ServingScenario
from harness.store import Done
from harness.suite import Repeats, parse_suite

SHIPPED = Path(__file__).parents[1] / "suites"
SUITE: dict[str, Any] = {
    "name": "small",
    "title": "Small",
    "models": [{"name": "moe", "path": "moe"}, {"name": "dense", "path": "dense"}],
    "engine": {"max_model_len": 256},
    "serving": [{"name": "chat", "prompt_tokens": 32, "output_tokens": 16, "concurrency": [8, 1]}],
    "quality": {"tasks": ["facts", "sort"]},
    "repeats": 2,
}
TASK = "task: {name}\ndataset_kwargs:\n  file: {name}.jsonl\n"
DUMMY_ID = "4fadc77d1c0dd6751a879a730a50ebb31b7d3f5428fa1de2052bacd8c626d178"
"""The id of the first cell of `dummy()`: it must never change, or old results no longer count as done."""

Make = Callable[..., Plan]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A suites folder with two checkpoints, four tasks and a catalog of four models."""
    for name, config in (("moe", "moe-8x2"), ("dense", "dense-active")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(CONFIGS[config]))
        save_file({"weight": np.zeros((10, 10), np.float32)}, folder / "model.safetensors")
    (tmp_path / "tasks").mkdir()
    for task in ("facts", "facts_b", "sort", "count"):
        (tmp_path / f"tasks/{task}.yaml").write_text(TASK.format(name=task))
        (tmp_path / f"tasks/{task}.jsonl").write_text("{}\n")
    (tmp_path / "accelerators.yaml").write_bytes((SHIPPED / "accelerators.yaml").read_bytes())
    (tmp_path / "models").mkdir()
    for name in ("olmoe-1b-7b", "gpt-oss-20b", "llama-2-70b", "pangu-sigma"):
        (tmp_path / f"models/{name}.yaml").write_bytes((SHIPPED / f"models/{name}.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def make(house: Path) -> Make:
    def made(environment: Environment = ENVIRONMENT, **changes: Any) -> Plan:
        given = {key: value for key, value in {**SUITE, **changes}.items() if value is not None}
        suite = parse_suite(yaml.safe_dump(given), where="small.yaml")
        return Planner(suite, house / "small.yaml", environment, house).plan()
    return made


def model(name: str = "moe", **changes: Any) -> dict[str, Any]:
    return {"name": name, "path": "moe", **changes} if "catalog" not in changes else {"name": name, **changes}


def serving(**changes: Any) -> list[dict[str, Any]]:
    return [{"prompt_tokens": 32, "output_tokens": 16, "concurrency": [8], **changes}]


def short(scenario: Scenario) -> str:
    if isinstance(scenario, ServingScenario):
        return f"{scenario.name}@{scenario.concurrency}"
    if isinstance(scenario, RoutingScenario):
        return scenario.words
    return scenario.task if isinstance(scenario, QualityScenario) else scenario.kind


def outline_of(cells: tuple[Cell, ...]) -> list[str]:
    return [short(cell.scenario) for cell in cells]


def outline(plan: Plan) -> list[tuple[str, int, list[str]]]:
    return [(job.subject.model, job.repeat, [short(cell.scenario) for cell in job.cells]) for job in plan.jobs]


def reasons(plan: Plan) -> set[str]:
    return {refusal.reason for refusal in plan.refusals}


class TestJobs:
    def test_repeats_are_interleaved_and_each_round_starts_with_another_model(self, make: Make, house: Path) -> None:
        models = [model(name) for name in ("a", "b", "c")]
        order = [(job.repeat, job.subject.model) for job in make(models=models, repeats=4).jobs]
        assert order == [
            (0, "a"), (0, "b"), (0, "c"), (1, "b"), (1, "c"), (1, "a"), (2, "c"), (2, "a"), (2, "b"),
            (3, "a"), (3, "b"), (3, "c"),
        ]

    def test_serving_comes_first_and_quality_only_in_the_first_repeat(self, make: Make) -> None:
        timed = ["chat@1", "chat@8", "memory"]
        assert outline(make()) == [
            ("moe", 0, [*timed, "facts", "sort"]), ("dense", 0, [*timed, "facts", "sort"]),
            ("dense", 1, timed), ("moe", 1, timed),
        ]

    def test_a_suite_of_tasks_alone_runs_once(self, make: Make) -> None:
        assert outline(make(serving=None, repeats=3)) == [
            ("moe", 0, ["memory", "facts", "sort"]), ("dense", 0, ["memory", "facts", "sort"]),
        ]

    def test_a_suite_of_serving_alone(self, make: Make) -> None:
        assert outline(make(quality=None, models=[model()])) == [
            ("moe", repeat, ["chat@1", "chat@8", "memory"]) for repeat in (0, 1)
        ]

    def test_a_job_knows_where_everything_is(self, make: Make, house: Path) -> None:
        job = make(models=[model(group="sparse")], timeout_s=60.0).jobs[0]
        assert (job.location, job.tasks_folder) == (str(house / "moe"), str(house / "tasks"))
        assert (job.group, job.timeout_s, job.config) == ("sparse", 60.0, CONFIGS["moe-8x2"])

    def test_requests_follow_concurrency(self, make: Make) -> None:
        scenarios = [cell.scenario for cell in make(serving=serving(concurrency=[1, 16])).jobs[0].cells]
        counts = {s.concurrency: s.requests for s in scenarios if isinstance(s, ServingScenario)}
        assert counts == {1: 8, 16: 64}

    def test_done_cells_are_left_out_and_so_is_a_job_without_any(self, make: Make) -> None:
        plan = make()
        first = plan.jobs[0]
        left = plan.without(Done(measured={(cell.id, 0) for cell in first.cells[1:]}))
        assert outline(left)[0] == ("moe", 0, ["chat@1"])
        assert outline(left)[1:] == outline(plan)[1:]
        assert outline(plan.without(Done(measured={(cell.id, 0) for cell in first.cells}))) == outline(plan)[1:]
        assert plan.without(Done(measured={(cell.id, 7) for cell in first.cells})) == plan
        assert plan.without(Done()) == plan

    def test_what_a_sweep_skipped_is_left_out_of_all_repeats(self, make: Make) -> None:
        plan = make(models=[model()])
        left = plan.without(Done(skipped={plan.jobs[0].cells[1].id}))
        assert outline(left) == [("moe", 0, ["chat@1", "memory", "facts", "sort"]), ("moe", 1, ["chat@1", "memory"])]

    def test_a_sweep_knows_what_was_measured_before(self, make: Make) -> None:
        plan = make(serving=serving(concurrency="auto", up_to=4), models=[model()], quality=None, repeats=2)
        first, second = plan.jobs
        ids = {cell.scenario.concurrency: cell.id for cell in first.cells if isinstance(cell.scenario, ServingScenario)}
        done = Done(measured={(ids[1], 0), (ids[2], 0)}, output_rates={ids[1]: {0: 100.0, 1: 90.0}, ids[2]: {0: 180.0}})
        assert first.without(done).known_rates == {"serving": {1: 100.0, 2: 180.0}}
        # what is left out of the plan stays known
        assert plan.without(done).jobs[0].without(Done()).known_rates == {"serving": {1: 100.0, 2: 180.0}}
        assert second.without(done).known_rates == {"serving": {1: 100.0, 2: 180.0}}
        assert len(second.without(done).cells) == 4

    def test_an_adaptive_sweep_doubles_up_to_what_the_engine_takes(self, make: Make) -> None:
        engine = {"max_model_len": 256, "max_num_seqs": 48}
        job = make(serving=serving(concurrency="auto"), models=[model()], engine=engine, quality=None).jobs[0]
        assert outline_of(job.cells) == [f"serving@{level}" for level in (1, 2, 4, 8, 16, 32)] + ["memory"]
        assert job.sweeps == ("serving",)
        capped = make(serving=serving(concurrency="auto", up_to=8), models=[model()], quality=None).jobs[0]
        assert outline_of(capped.cells) == [f"serving@{level}" for level in (1, 2, 4, 8)] + ["memory"]

    def test_adaptive_repeats_plan_as_many_as_there_can_be(self, make: Make) -> None:
        plan = make(repeats={"at_least": 2, "at_most": 4}, models=[model()])
        assert [job.repeat for job in plan.jobs] == [0, 1, 2, 3]
        assert isinstance(plan.repeats, Repeats)

    def test_only_some_models(self, make: Make) -> None:
        plan = make(models=[model(), model("dense", engine={"max_model_len": 40})])
        some = plan.only({"dense"})
        assert {job.subject.model for job in some.jobs} == {"dense"} == {r.cell.subject.model for r in some.refusals}
        assert plan.only(set()).jobs == () == plan.only(set()).refusals


class TestSubject:
    def test_on_a_processor(self, make: Make) -> None:
        subject = make().jobs[0].subject
        assert subject.engine == {
            "disable_log_stats": True, "enable_prefix_caching": False, "max_num_seqs": 256, "enforce_eager": True,
            "kv_cache_memory_bytes": 2**30, "seed": 0, "max_model_len": 256,
        }
        assert (subject.accelerator, subject.threads, subject.source) == ("Example CPU", 2, "path:moe")
        assert subject.revision is not None and subject.revision.startswith("sha256:")

    def test_on_an_accelerator(self, make: Make) -> None:
        subject = make(accelerated(), seed=5).jobs[0].subject
        assert subject.engine == {
            "disable_log_stats": True, "enable_prefix_caching": False, "max_num_seqs": 256, "enforce_eager": False,
            "gpu_memory_utilization": 0.9, "seed": 5, "max_model_len": 256,
        }
        assert (subject.accelerator, subject.threads) == ("Example GPU", None)

    def test_a_models_arguments_go_over_the_suites_and_those_over_the_defaults(self, make: Make) -> None:
        plan = make(engine={"max_num_seqs": 64, "seed": 9}, models=[model(engine={"seed": 10})])
        engine = plan.jobs[0].subject.engine
        assert (engine["max_num_seqs"], engine["seed"], engine["max_model_len"]) == (64, 10, 512)

    def test_the_context_is_the_models_but_at_most_4096(self, make: Make, house: Path) -> None:
        (house / "moe/config.json").write_text(json.dumps({**CONFIGS["moe-8x2"], "max_position_embeddings": 131072}))
        assert make(engine={}).jobs[0].subject.engine["max_model_len"] == 4096

    def test_a_hub_model_is_not_looked_into(self, make: Make) -> None:
        job = make(models=[{"name": "hub", "hub": "a/b", "revision": "abc", "precision": "auto"}]).jobs[0]
        assert (job.subject.source, job.subject.revision, job.location, job.config) == ("hub:a/b", "abc", "a/b", {})
        assert job.subject.precision == "bfloat16"

    def test_a_catalog_model_brings_its_repository_and_revision(self, make: Make) -> None:
        plan = make(accelerated(), models=[model("olmoe", catalog="olmoe-1b-7b", precision="auto")])
        job = plan.jobs[0]
        assert job.subject.source == f"hub:{job.location}" == "hub:allenai/OLMoE-1B-7B-0924"
        assert job.subject.revision == "6d84c48581ece794365f2b8e9cfb043c68ade9c5"
        assert job.config["num_experts"] == 64
        own = make(accelerated(), models=[model("olmoe", catalog="olmoe-1b-7b", revision="mine")])
        assert own.jobs[0].subject.revision == "mine"

    def test_auto_is_the_precision_that_the_checkpoint_states(self, make: Make, house: Path) -> None:
        for stated, precision in (({"torch_dtype": "float16"}, "float16"), ({"dtype": "float32"}, "float32"),
                                  ({}, "bfloat16"), ({"torch_dtype": "int3"}, "bfloat16")):
            (house / "moe/config.json").write_text(json.dumps({**CONFIGS["moe-8x2"], **stated}))
            assert make(models=[model(precision="auto")]).jobs[0].subject.precision == precision

    def test_a_structure_that_is_not_known_may_still_run(self, make: Make, house: Path) -> None:
        (house / "moe/config.json").write_text(json.dumps({"model_type": "brand-new"}))
        assert [job.subject.model for job in make(models=[model()]).jobs] == ["moe", "moe"]


def dummy(make: Make, environment: Environment = ENVIRONMENT, **changes: Any) -> Plan:
    fields = {"models": [model(weights="dummy", revision="r1")], "quality": None, "repeats": 1}
    return make(environment, **{**fields, **changes})


class TestIds:
    def test_the_golden_id(self, make: Make) -> None:
        assert dummy(make).jobs[0].cells[0].id == DUMMY_ID

    def test_equal_plans_have_equal_ids_and_all_cells_of_a_repeat_differ(self, make: Make) -> None:
        first, second = make(), make()
        assert first == second
        ids = [cell.id for job in first.jobs if job.repeat == 0 for cell in job.cells]
        assert len(set(ids)) == len(ids) == 10
        assert {cell.id for job in first.jobs if job.repeat == 1 for cell in job.cells} < set(ids)

    @pytest.mark.parametrize("changes", [
        {"seed": 1},
        {"engine": {"max_model_len": 256, "max_num_seqs": 128}},
        {"engine": {"max_model_len": 255}},
        {"models": [model(weights="dummy", revision="r2")]},
        {"models": [model(weights="dummy", revision="r1", precision="float16")]},
        {"models": [model(weights="dummy", revision="r1", quantization="fp8")]},
        {"models": [model("other", weights="dummy", revision="r1")]},
        {"serving": serving(name="chat", output_tokens=17, concurrency=[1])},
        {"serving": serving(name="chat", prompt_tokens=33, concurrency=[1])},
        {"serving": serving(name="talk", concurrency=[1])},
        {"serving": serving(name="chat", concurrency=[2])},
        {"serving": serving(name="chat", concurrency=[1], min_requests=9)},
        {"serving": serving(name="chat", concurrency=[1], min_duration_s=1)},
        {"serving": serving(name="chat", concurrency=[1], warmup_s=1)},
        {"serving": serving(name="chat", concurrency=None, rate_per_s=[1])},
        {"serving": serving(name="chat", concurrency=None, offline=8)},
        {"serving": serving(name="chat", concurrency=[1], output_tokens={"uniform": [16, 17]})},
    ])
    def test_what_decides_the_measurement_decides_the_id(self, make: Make, changes: dict[str, Any]) -> None:
        assert dummy(make, **changes).jobs[0].cells[0].id != DUMMY_ID

    def test_so_do_the_threads_and_the_device(self, make: Make) -> None:
        for environment in (ENVIRONMENT.model_copy(update={"threads": 3}), accelerated()):
            assert dummy(make, environment).jobs[0].cells[0].id != DUMMY_ID

    def test_the_machines_software_title_and_repeats_do_not(self, make: Make) -> None:
        upgraded = ENVIRONMENT.model_copy(update={"versions": {"vllm": "9"}, "commit": "f" * 40, "cores": 64})
        assert dummy(make, upgraded, title="Other", repeats=5, timeout_s=5.0).jobs[0].cells[0].id == DUMMY_ID

    def test_a_checkpoints_bytes_do(self, make: Make, house: Path) -> None:
        before = make().jobs[0].cells[0].id
        save_file({"weight": np.ones((10, 10), np.float32)}, house / "moe/model.safetensors")
        assert make().jobs[0].cells[0].id != before

    def test_a_tasks_data_changes_only_its_own_cells(self, make: Make, house: Path) -> None:
        before = {short(cell.scenario): cell.id for cell in make().jobs[0].cells}
        (house / "tasks/sort.jsonl").write_text('{"new": 1}\n')
        after = {short(cell.scenario): cell.id for cell in make().jobs[0].cells}
        assert [name for name in before if before[name] != after[name]] == ["sort"]


class TestTasks:
    def scenarios(self, plan: Plan) -> dict[tuple[str, str], QualityScenario]:
        return {
            (job.subject.model, cell.scenario.task): cell.scenario
            for job in plan.jobs for cell in job.cells if isinstance(cell.scenario, QualityScenario)
        }

    def test_a_model_may_be_measured_by_another_task_in_the_same_column(self, make: Make) -> None:
        models = [model(tasks_as={"facts": "facts_b"}), model("dense", path="dense")]
        found = self.scenarios(make(models=models))
        other, same = found["moe", "facts"], found["dense", "facts"]
        assert (other.task, other.lm_eval_task) == ("facts", "facts_b")
        assert (same.task, same.lm_eval_task) == ("facts", "facts")
        assert other.task_fingerprint != same.task_fingerprint

    def test_a_column_that_every_model_measures_otherwise_needs_no_task(self, make: Make) -> None:
        models = [model(tasks_as={"knowledge": "facts"}), model("dense", tasks_as={"knowledge": "facts_b"})]
        found = self.scenarios(make(models=models, quality={"tasks": ["knowledge"]}))
        assert [(name, s.lm_eval_task) for (name, _), s in found.items()] == [("moe", "facts"), ("dense", "facts_b")]

    def test_the_settings_reach_the_cell(self, make: Make) -> None:
        quality = {
            "tasks": ["facts", "sort"], "limit": 7, "num_fewshot": {"sort": 3}, "metrics": {"facts": "acc_norm"},
            "apply_chat_template": True,
        }
        found = self.scenarios(make(quality=quality, models=[model()]))
        facts, sort = found["moe", "facts"], found["moe", "sort"]
        assert (facts.limit, facts.num_fewshot, facts.metric, facts.apply_chat_template) == (7, None, "acc_norm", True)
        assert (sort.limit, sort.num_fewshot, sort.metric) == (7, 3, None)

    def test_a_task_of_lm_eval_has_no_fingerprint(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shipped = tmp_path / "lm_eval"
        (shipped / "mmlu").mkdir(parents=True)
        (shipped / "mmlu/mmlu.yaml").write_text("group: mmlu\n")
        monkeypatch.setattr(plan_module, "shipped_task_folder", lambda: shipped)
        found = self.scenarios(make(quality={"tasks": ["mmlu", "facts"]}))
        assert found["moe", "mmlu"].task_fingerprint is None
        assert str(found["moe", "facts"].task_fingerprint).startswith("sha256:")

    def test_without_lm_eval_its_tasks_are_taken_on_trust(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plan_module, "shipped_task_folder", lambda: None)
        assert ("moe", "mmlu") in self.scenarios(make(quality={"tasks": ["mmlu"]}))


class TestUnknown:
    @pytest.fixture(autouse=True)
    def _an_lm_eval_of_one_task(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "lm_eval"
        folder.mkdir()
        (folder / "gsm8k.yaml").write_text("task: gsm8k\n")
        monkeypatch.setattr(plan_module, "shipped_task_folder", lambda: folder)

    @pytest.mark.parametrize(("changes", "key", "what", "hint"), [
        ({"models": [model(path="mo")]}, "models[0].path", "no such folder: mo", "did you mean 'moe'"),
        (
            {"models": [model(), model("b", path="nowhere/moe")]}, "models[1].path", "no such folder: nowhere/moe",
            "the path is relative to ",
        ),
        (
            {"models": [model(catalog="olmoe-1b-7")]}, "models[0].catalog", "unknown model 'olmoe-1b-7'",
            "did you mean 'olmoe-1b-7b'",
        ),
        (
            {"models": [model(catalog="pangu-sigma")]}, "models[0].catalog",
            "pangu-sigma has no weights on the hub (it is unreleased), so it cannot be measured",
            "`moebench models --status released`",
        ),
        (
            {"prices_usd_per_hour": {"h1000": 2.0}}, "prices_usd_per_hour.h1000", "unknown accelerator 'h1000'",
            "did you mean",
        ),
        ({"quality": {"tasks": ["sort", "fact"]}}, "quality.tasks[1]", "unknown task 'fact'", "did you mean 'facts'"),
        ({"quality": {"tasks": ["gsm9k"]}}, "quality.tasks[0]", "unknown task 'gsm9k'", "did you mean 'gsm8k'?"),
        (
            {"models": [model(tasks_as={"facts": "facts_c"})]}, "models[0].tasks_as.facts", "unknown task 'facts_c'",
            "did you mean 'facts",
        ),
        (
            {"models": [model(tasks_as={"fact": "sort"})]}, "models[0].tasks_as",
            "task 'fact' is not among quality.tasks", "did you mean 'facts'?",
        ),
        (
            {"quality": {"tasks": ["facts"], "metrics": {"sort": "acc"}}}, "quality.metrics",
            "task 'sort' is not among quality.tasks", "known: facts",
        ),
        (
            {"quality": {"tasks": ["facts"], "num_fewshot": {"factz": 1}}}, "quality.num_fewshot",
            "task 'factz' is not among quality.tasks", "did you mean 'facts'?",
        ),
    ])
    def test_one_message_with_file_key_and_what_is_near(
        self, make: Make, house: Path, changes: dict[str, Any], key: str, what: str, hint: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            make(**changes)
        assert (caught.value.where, caught.value.what) == (f"{house / 'small.yaml'}:{key}", what)
        assert caught.value.hint.startswith(hint)

    def test_a_folder_without_config(self, make: Make, house: Path) -> None:
        (house / "moe/config.json").unlink()
        with pytest.raises(InputError, match="no such file") as caught:
            make()
        assert caught.value.where.endswith("models[0].path")
        assert str(house / "moe/config.json") in caught.value.what


class TestRefusals:
    def gpus(self, count: int, gigabytes: float) -> Environment:
        one = accelerated().accelerators[0].model_copy(update={"memory_bytes": int(gigabytes * 1e9)})
        return accelerated().model_copy(update={"accelerators": (one,) * count})

    def test_too_few_accelerators(self, make: Make) -> None:
        plan = make(self.gpus(1, 80), models=[model(tensor_parallel=2), model("dense", path="dense")])
        assert reasons(plan) == {"needs 2 accelerators; this machine has 1 accelerator(s)"}
        assert {job.subject.model for job in plan.jobs} == {"dense"}
        # serving, memory and tasks: each cell has its row
        assert [short(refusal.cell.scenario) for refusal in plan.refusals] == [
            "chat@1", "chat@8", "memory", "facts", "sort",
        ]
        on_cpu = make(models=[model(tensor_parallel=2)])
        assert reasons(on_cpu) == {"needs 2 accelerators; this machine has no accelerator"}
        assert on_cpu.jobs == ()
        assert not make(self.gpus(2, 80), models=[model(tensor_parallel=2)]).refusals

    def test_a_refusal_keeps_what_its_row_needs(self, make: Make) -> None:
        refusal = make(models=[model(tensor_parallel=2, group="sparse")]).refusals[0]
        assert (refusal.group, refusal.config) == ("sparse", CONFIGS["moe-8x2"])

    def test_too_large_for_a_processor(self, make: Make) -> None:
        models = [model("olmoe", catalog="olmoe-1b-7b")]
        # 6.92e9 parameters in two bytes each
        assert reasons(make(models=models)) == {
            "needs 16.9 GB (weights 13.8 GB, KV cache 1.07 GB, engine 2 GB); this machine offers 8 GB"
        }
        assert not make(ENVIRONMENT.model_copy(update={"memory_bytes": 17_000_000_000}), models=models).refusals

    def test_too_large_for_one_accelerator_but_not_for_two(self, make: Make) -> None:
        def found(environment: Environment, parallel: int) -> set[str]:
            models = [model("olmoe", catalog="olmoe-1b-7b", tensor_parallel=parallel)]
            return reasons(make(environment, models=models))

        # 256 tokens of context take 16 layers * 2 * 2048 * 2 bytes each
        assert found(self.gpus(1, 16), 1) == {
            "needs 15.9 GB (weights 13.8 GB, KV cache 0.0336 GB, engine 2 GB); this machine offers 14.4 GB"
        }
        assert found(self.gpus(2, 16), 1) == found(self.gpus(1, 16), 1)
        assert not found(self.gpus(2, 16), 2) | found(self.gpus(1, 24), 1)

    def test_packed_weights_count_as_they_are_stored(self, make: Make) -> None:
        models = [model("gpt-oss", catalog="gpt-oss-20b", precision="auto")]
        assert not make(self.gpus(1, 24), models=models).refusals
        (reason,) = reasons(make(self.gpus(1, 14), models=models))
        assert "weights 13" in reason

    def test_a_checkpoint_counts_by_its_files(self, make: Make, house: Path) -> None:
        (house / "moe/model.safetensors").write_bytes(b"")
        with (house / "moe/model.safetensors").open("r+b") as file:
            file.truncate(2**31)
        small = ENVIRONMENT.model_copy(update={"memory_bytes": 5_000_000_000})
        (reason,) = reasons(make(small, models=[model()]))
        assert "weights 2.15 GB" in reason

    def test_a_request_longer_than_the_context(self, make: Make) -> None:
        plan = make(models=[model(engine={"max_model_len": 47}), model("other")], repeats=1)
        assert reasons(plan) == {"48 tokens a request exceed the engine's context of 47"}
        assert [short(refusal.cell.scenario) for refusal in plan.refusals] == ["chat@1", "chat@8"]
        assert outline(plan)[0] == ("moe", 0, ["memory", "facts", "sort"])
        assert not make(engine={"max_model_len": 48}, models=[model()]).refusals

    def test_more_requests_in_flight_than_the_engine_takes(self, make: Make) -> None:
        plan = make(engine={"max_num_seqs": 7}, models=[model()])
        assert reasons(plan) == {"concurrency 8 exceeds the engine's max_num_seqs of 7"}
        assert outline(plan)[0] == ("moe", 0, ["chat@1", "memory", "facts", "sort"])

    def test_a_load_larger_than_the_cache(self, make: Make) -> None:
        # 4 layers * 2 * 16 values * 2 bytes a token, 48 tokens a request, 8 requests
        load = 4 * 2 * 16 * 2 * 48 * 8

        def found(size: int, **changes: Any) -> set[str]:
            engine = {"kv_cache_memory_bytes": size, "max_model_len": 48}
            return reasons(make(engine=engine, models=[model(**changes)]))

        assert not found(load)
        assert found(load - 1) == {f"the load needs {load / 1e9:.3g} GB of KV cache; the engine has 9.83e-05 GB"}
        # twice the bytes a value
        assert found(load, precision="float32") and not found(2 * load, precision="float32")

    def test_a_cache_too_small_for_one_sequence(self, make: Make) -> None:
        least = 4 * 2 * 16 * 2 * 512
        plan = make(engine={"kv_cache_memory_bytes": least - 1, "max_model_len": 512}, models=[model()])
        assert not plan.jobs
        assert reasons(plan) == {
            f"one sequence of max_model_len 512 needs {least / 1e9:.3g} GB of KV cache; the engine has 0.000131 GB"
        }

    def test_an_engine_argument_that_vllm_does_not_take(self, make: Make) -> None:
        with pytest.raises(InputError, match=r"engine.max_num_seq: vLLM has no argument 'max_num_seq'") as caught:
            make(engine={"max_num_seq": 4}, models=[model()])
        assert "max_num_seqs" in caught.value.hint
        with pytest.raises(InputError, match=r"models\[0\].engine.dtipe"):
            make(models=[model(engine={"dtipe": 4})])
        with pytest.raises(InputError, match="max_num_batched_tokens is negative"):
            make(engine={"max_num_batched_tokens": -5}, models=[model()])

    def test_dummy_weights_have_no_quality(self, make: Make) -> None:
        plan = make(models=[model(weights="dummy")])
        assert reasons(plan) == {"dummy weights have no quality to score"}
        assert outline(plan)[0] == ("moe", 0, ["chat@1", "chat@8", "memory"])


class TestShipped:
    @pytest.mark.parametrize("name", sorted(suite_files()))
    def test_every_shipped_suite_has_a_plan(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plan_module, "shipped_task_folder", lambda: None)
        path = SHIPPED / f"{name}.yaml"
        suite = parse_suite(path.read_text(encoding="utf-8"), where=str(path))
        eight = accelerated().model_copy(update={"accelerators": accelerated().accelerators * 8})
        plan = Planner(suite, path, eight, SHIPPED).plan()
        assert not plan.refusals
        assert {job.subject.model for job in plan.jobs} == {model.name for model in suite.models}
        most = suite.repeats.at_most if isinstance(suite.repeats, Repeats) else suite.repeats
        assert max(job.repeat for job in plan.jobs) == most - 1

    def test_the_pocket_suite_fits_a_laptop(self) -> None:
        path = SHIPPED / "pocket.yaml"
        suite = parse_suite(path.read_text(encoding="utf-8"), where=str(path))
        assert not Planner(suite, path, ENVIRONMENT, SHIPPED).plan().refusals

    def test_nothing_of_the_open_weights_suite_fits_a_laptop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plan_module, "shipped_task_folder", lambda: None)
        path = SHIPPED / "open-weights.yaml"
        suite = parse_suite(path.read_text(encoding="utf-8"), where=str(path))
        plan = Planner(suite, path, ENVIRONMENT, SHIPPED).plan()
        assert {job.subject.model for job in plan.jobs} <= {"OLMo-1B-0724"}
        assert len(plan.refusals) > 100


def test_memory_is_measured_after_the_load_of_serving(make: Make) -> None:
    kinds = [type(cell.scenario) for cell in make().jobs[0].cells]
    assert kinds.index(MemoryScenario) > max(i for i, kind in enumerate(kinds) if kind is ServingScenario)


class TestLatentAttention:
    """Models whose positions the processor's own kernel would lose."""

    def test_on_a_processor_torch_rotates(self, make: Make, house: Path) -> None:
        (house / "models/deepseek-v2-lite.yaml").write_bytes((SHIPPED / "models/deepseek-v2-lite.yaml").read_bytes())
        latent, other = model("latent", catalog="deepseek-v2-lite"), model()
        environment = ENVIRONMENT.model_copy(update={"memory_bytes": 10**12})
        subjects = {job.subject.model: job.subject.engine for job in make(environment, models=[latent, other]).jobs}
        assert subjects["latent"]["compilation_config"] == {"custom_ops": ["all", "-rotary_embedding"]}
        assert "compilation_config" not in subjects["moe"]
        on_device = make(accelerated(), models=[latent])
        assert "compilation_config" not in on_device.jobs[0].subject.engine


class TestRouting:
    def routed(self, plan: Plan) -> list[RoutingScenario]:
        return [
            cell.scenario for job in plan.jobs for cell in job.cells if isinstance(cell.scenario, RoutingScenario)
        ]

    def served(self, plan: Plan) -> ServedTokens:
        found = [one.work for one in self.routed(plan) if isinstance(one.work, ServedTokens)]
        assert len(found) == 1
        return found[0]

    def test_models_that_route_have_one_more_job_when_everything_is_timed(self, make: Make) -> None:
        plan = make(routing={})
        assert outline(plan)[:-1] == outline(make())
        assert outline(plan)[-1] == ("moe", 0, ["routing, chat", "routing, facts", "routing, sort"])
        assert [job.kind for job in plan.jobs] == ["timed"] * 4 + ["routing"]
        assert not plan.refusals

    def test_without_being_asked_nothing_is_routed(self, make: Make) -> None:
        assert self.routed(make()) == []

    def test_a_model_of_unknown_structure_is_tried(self, make: Make) -> None:
        unknown = {"name": "hub", "hub": "somebody/something"}
        jobs = make(models=[unknown], routing={}).jobs
        assert [job.subject.model for job in jobs if job.kind == "routing"] == ["hub"]

    def test_a_workload_is_routed_at_its_highest_concurrency(self, make: Make) -> None:
        work = self.served(make(routing={"requests_per_slot": 3}))
        assert (work.name, work.concurrency, work.requests) == ("chat", 8, 24)
        assert self.served(make(routing={"concurrency": 4})).concurrency == 4
        open_loop = make(routing={}, serving=serving(concurrency=None, rate_per_s=[2.0]))
        assert self.served(open_loop).concurrency == 16
        auto = make(routing={}, serving=serving(concurrency="auto", up_to=32))
        assert self.served(auto).concurrency == 32

    def test_of_a_cache_that_holds_fewer_it_is_what_the_cache_holds(self, make: Make) -> None:
        plan = make(routing={}, serving=serving(concurrency=[1, 8, 64]), engine={"kv_cache_memory_bytes": 2**18})
        served = {cell.scenario.concurrency for job in plan.jobs for cell in job.cells
                  if isinstance(cell.scenario, ServingScenario)}
        assert self.served(plan).concurrency == max(one for one in served if one) == 8

    def test_tasks_have_at_most_so_many_items(self, make: Make) -> None:
        plan = make(routing={"tasks": ["sort"], "limit": 50})
        (task,) = [one.work for one in self.routed(plan) if one.work.source == "task"]
        assert (task.name, task.quality.limit) == ("sort", 50)
        fewer = make(routing={"tasks": ["sort"]}, quality={"tasks": ["sort"], "limit": 10})
        assert [one.work.quality.limit for one in self.routed(fewer) if one.work.source == "task"] == [10]

    def test_the_cells_belong_to_what_is_timed_and_the_engine_captures_no_graphs(self, make: Make) -> None:
        on_device = make(accelerated(), routing={}, models=[model()])
        timed, routing = on_device.jobs[0], on_device.jobs[-1]
        assert routing.subject.engine == {**timed.subject.engine, "enforce_eager": True}
        assert all(cell.subject == timed.subject for cell in routing.cells)
        assert {one.engine["enforce_eager"] for one in self.routed(on_device)} == {True}
        on_processor = make(routing={}, models=[model()])
        assert on_processor.jobs[-1].subject == on_processor.jobs[0].subject
        assert {tuple(one.engine) for one in self.routed(on_processor)} == {()}
        compiled = make(routing={}, models=[model(engine={"enforce_eager": False})]).jobs
        assert [job.subject.engine["enforce_eager"] for job in compiled] == [False, False, True]
        returned = {"engine": {"enable_return_routed_experts": True}}
        own = make(accelerated(), routing=returned, models=[model()]).jobs[-1].subject
        assert own.engine["enable_return_routed_experts"] and not own.engine["enforce_eager"]

    def test_its_engine_can_have_arguments_of_its_own(self, make: Make) -> None:
        job = make(routing={"engine": {"max_num_seqs": 32}}, models=[model()]).jobs[-1]
        assert job.subject.engine["max_num_seqs"] == 32
        assert [cell.subject.engine["max_num_seqs"] for cell in job.cells] == [256] * 3
        with pytest.raises(InputError, match=r"routing\.engine\.max_num_seqz: vLLM has no argument"):
            make(routing={"engine": {"max_num_seqz": 32}})

    def test_random_gates_tell_nothing(self, make: Make) -> None:
        plan = make(routing={}, models=[model(weights="dummy")])
        assert self.routed(plan) == []
        assert "dummy weights route at random: there is nothing to learn from it" in reasons(plan)

    def test_a_load_too_large_for_the_cache_is_refused(self, make: Make) -> None:
        plan = make(routing={"concurrency": 512}, models=[model()])
        assert "concurrency 512 exceeds the engine's max_num_seqs of 256" in reasons(plan)
        few = make(routing={"engine": {"max_num_seqs": 4}}, models=[model()])
        assert reasons(few) == {"concurrency 8 exceeds the engine's max_num_seqs of 4"}
        assert all(isinstance(one.cell.scenario, RoutingScenario) for one in plan.refusals)

    def test_a_task_that_is_not_scored_cannot_be_routed(self, make: Make) -> None:
        words = r"routing\.tasks: 'sorts' is not among quality\.tasks; did you mean 'sort'"
        with pytest.raises(InputError, match=words):
            make(routing={"tasks": ["sorts"]})
        with pytest.raises(InputError, match=r"routing\.tasks: the name 'sort' is given twice"):
            make(routing={"tasks": ["sort", "sort"]})


class TestTransformers:
    def test_it_scores_and_routes_but_serves_nothing(self, make: Make) -> None:
        plan = make(routing={}, models=[model(backend="transformers")])
        assert outline(plan) == [
            ("moe", 0, ["facts", "sort"]), ("moe", 0, ["routing, chat", "routing, facts", "routing, sort"]),
        ]
        assert reasons(plan) == {"the transformers backend serves nothing: it measures scores and routing"}
        assert {job.subject.backend for job in plan.jobs} == {"transformers"}

    def test_random_weights_are_never_asked_of_it(self, make: Make) -> None:
        plan = make(routing={}, models=[model(backend="transformers", weights="dummy")])
        assert plan.jobs == () or not any(job.cells for job in plan.jobs)

    def test_encoder_decoder_models_are_sent_there(self, make: Make, house: Path) -> None:
        (house / "models/switch-base-8.yaml").write_bytes((SHIPPED / "models/switch-base-8.yaml").read_bytes())
        reason = "vLLM runs no encoder-decoder models; `backend: transformers` measures scores and routing"
        assert reasons(make(models=[model("switch", catalog="switch-base-8")])) == {reason}
