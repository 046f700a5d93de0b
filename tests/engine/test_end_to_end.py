"""The whole way with the real engine: a suite through vLLM and lm-eval on a processor, to the page in a browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.plan import Job, Planner
from harness.record import (
    Completed,
    Failed,
    MemoryMeasurement,
    QualityMeasurement,
    Record,
    RoutingMeasurement,
    ServingMeasurement,
)
from harness.routing.tokens import unpack
from harness.scenario import QualityScenario, RoutingScenario, ServedTokens, ServingScenario
from harness.store import Store
from harness.suite import load_suite

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("engine")]

SUITE = """
name: small
title: One good model and one that cannot load
models:
  - {{name: moe-8x2, path: {suites}/pocket/models/moe-8x2-s1}}
  - {{name: damaged, path: {damaged}}}
engine: {{max_model_len: 256, kv_cache_memory_bytes: 67108864}}
serving:
  - {{name: chat, prompt_tokens: 16, output_tokens: 24, concurrency: [1, 4], min_duration_s: 0, warmup_s: 0.5}}
quality: {{tasks: [pocket_sort, pocket_facts_choice_a], limit: 60}}
routing: {{tasks: [pocket_sort], limit: 20}}
repeats: 2
threads: 1
"""
MOEBENCH = [sys.executable, "-c", "from harness.cli import main; main()"]
INTERRUPTIBLE = [
    # what starts the tests in the background may have told its children to ignore SIGINT
    sys.executable, "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from harness.cli import main; main()",
]
TIMEOUT_S = 400


class Finished(NamedTuple):
    """A suite that ran, where its parts are, and how the command ended."""

    suite: Path
    results: Path
    exit_code: int
    output: str


def moebench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MOEBENCH, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )


def records_of(results: Path) -> list[Record]:
    return [record for _, record in Store(results).read("small")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Finished:
    """The suite above, run once; the second model's weights are cut short."""
    folder = tmp_path_factory.mktemp("engine")
    damaged = folder / "damaged"
    shutil.copytree(repo_root / "suites/pocket/models/moe-8x2-s1", damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5000])
    suite = folder / "small.yaml"
    suite.write_text(SUITE.format(suites=repo_root / "suites", damaged=damaged), encoding="utf-8")
    done = moebench("run", str(suite), "--results", str(folder / "results"))
    return Finished(suite, folder / "results", done.returncode, done.stdout + done.stderr)


def test_a_model_that_cannot_load_is_a_failed_row_and_the_rest_goes_on(finished: Finished) -> None:
    assert finished.exit_code == 3, finished.output
    by_model: dict[str, Counter[str]] = {}
    for record in records_of(finished.results):
        by_model.setdefault(record.cell.subject.model, Counter())[record.outcome.status] += 1
    # 2 repeats of 2 loads and the memory, 2 tasks once, the routing of 1 workload and 1 task; the damaged model is
    # tried once for each kind of job
    assert by_model == {"moe-8x2": Counter(completed=10), "damaged": Counter(failed=7)}
    reasons = {r.outcome.message for r in records_of(finished.results) if isinstance(r.outcome, Failed)}
    assert len(reasons) == 1
    assert "SafetensorError" in reasons.pop()
    assert "Traceback" not in finished.output


def test_every_token_is_stamped(finished: Finished) -> None:
    seen = 0
    for record in records_of(finished.results):
        scenario, outcome = record.cell.scenario, record.outcome
        if not isinstance(scenario, ServingScenario) or not isinstance(outcome, Completed):
            continue
        seen += 1
        serving = outcome.measurement
        assert isinstance(serving, ServingMeasurement)
        assert len(serving.requests) == scenario.requests
        for request in serving.requests:
            first, last = serving.span_of(request) or (0.0, 0.0)
            assert request.output_tokens == request.asked_output_tokens == 24
            assert request.prompt_tokens == request.asked_prompt_tokens == 16
            assert request.cached_tokens == 0
            assert request.finish_reason == "length"
            assert request.started_s is not None
            assert request.arrival_s <= request.submitted_s <= request.started_s < first < last <= serving.duration_s
        arrivals = [request.arrival_s for request in serving.requests]
        assert max(_in_flight(serving)) == scenario.concurrency
        assert arrivals == sorted(arrivals)
        assert serving.step_time_s + serving.submit_time_s <= serving.duration_s
        assert list(serving.steps_s) == sorted(serving.steps_s)
    assert seen == 4


def _in_flight(serving: ServingMeasurement) -> list[int]:
    """How many requests are in flight just before each step ends."""
    lives = [(request.arrival_s, (serving.span_of(request) or (0.0, 0.0))[1]) for request in serving.requests]
    return [sum(arrival < moment <= last for arrival, last in lives) for moment in serving.steps_s]


def test_every_token_is_routed(finished: Finished) -> None:
    store = Store(finished.results)
    found = {}
    for _, record in store.read("small"):
        scenario, outcome = record.cell.scenario, record.outcome
        if isinstance(scenario, RoutingScenario) and isinstance(outcome, Completed):
            assert isinstance(outcome.measurement, RoutingMeasurement)
            found[scenario.work.name] = (scenario, outcome.measurement)
    assert set(found) == {"chat", "pocket_sort"}
    scenario, chat = found["chat"]
    assert isinstance(scenario.work, ServedTokens)
    assert (scenario.work.concurrency, scenario.work.requests) == (4, 8)
    # the last token that a request makes is not read again
    assert (chat.prefill_tokens, chat.decode_tokens) == (8 * 16, 8 * 23)
    routing = unpack(store.attachment("small", chat.tokens_file))
    assert [layer.top_k for layer in routing.layers] == [2, 2]
    assert [routing.read(number).shape for number in (0, 1)] == [(8 * 39, 2)] * 2
    assert {record.environment.ceilings is not None for record in records_of(finished.results)} == {True}


def test_memory_is_what_the_checkpoint_and_the_settings_say(finished: Finished, repo_root: Path) -> None:
    folder = repo_root / "suites/pocket/models/moe-8x2-s1"
    measured = [
        record.outcome.measurement for record in records_of(finished.results)
        if isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, MemoryMeasurement)
    ]
    assert len(measured) == 2
    for memory in measured:
        assert memory.weights_bytes == 2 * memory.parameters
        assert memory.weights_bytes < (folder / "model.safetensors").stat().st_size < memory.weights_bytes + 20_000
        assert memory.kv_cache_bytes == 67108864
        # 2 layers of keys and values, 2 heads of 32, 2 bytes each
        assert memory.kv_cache_tokens == memory.kv_cache_bytes // (2 * 2 * 2 * 32 * 2)
        assert memory.resident_before_load_bytes < memory.resident_after_load_bytes <= memory.resident_peak_bytes
        assert memory.devices == ()
        assert memory.load_s > 0


def test_scores_are_those_of_the_lm_eval_command(finished: Finished, tmp_path: Path) -> None:
    from harness.backends.vllm_bench import lm_eval_command
    from harness.machine import detect_environment
    from harness.resources import suites_dir

    suite = load_suite(finished.suite)
    planner = Planner(suite, finished.suite, detect_environment(threads=1), suites_dir())
    job: Job = next(job for job in planner.plan().jobs if job.subject.model == "moe-8x2")
    arguments = {"dtype": job.subject.precision, **job.subject.engine}
    tasks = ["pocket_sort", "pocket_facts_choice_a"]
    command = lm_eval_command(job.location, arguments, tasks, (Path(job.tasks_folder), tmp_path))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, "--limit", "60"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(next(tmp_path.rglob("results_*.json")).read_text(encoding="utf-8"))["results"]
    ours = {}
    for record in records_of(finished.results):
        if isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, QualityMeasurement):
            assert isinstance(record.cell.scenario, QualityScenario)
            quality = record.outcome.measurement
            assert len(quality.samples) == 60
            ours[record.cell.scenario.task] = {score.metric: score.value for score in quality.scores}
    assert set(ours) == set(tasks)
    for task, scores in ours.items():
        assert scores == {metric: theirs[task][metric] for metric in scores}


def test_a_second_run_measures_only_what_is_missing(finished: Finished) -> None:
    before = Counter(record.cell.subject.model for record in records_of(finished.results))
    done = moebench("run", str(finished.suite), "--results", str(finished.results), "--model", "moe-8x2")
    assert done.returncode == 0, done.stderr
    assert "10 done before" in done.stderr
    assert Counter(record.cell.subject.model for record in records_of(finished.results)) == before


def test_a_run_that_was_interrupted_goes_on(finished: Finished, tmp_path: Path) -> None:
    command = [*INTERRUPTIBLE, "run", str(finished.suite), "--results", str(tmp_path), "--model", "moe-8x2"]
    kept: set[str] = set()
    for how, exit_code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + TIMEOUT_S
        while len(records_of(tmp_path)) == len(kept) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(how)
        _, output = process.communicate(timeout=60)
        assert process.returncode == exit_code, output
        _wait_until_no_job_is_left(tmp_path)
        now = {record.id for record in records_of(tmp_path)}
        assert kept < now
        assert len(now) < 10
        kept = now
    done = moebench("run", str(finished.suite), "--results", str(tmp_path), "--model", "moe-8x2")
    assert done.returncode == 0, done.stderr
    after = records_of(tmp_path)
    assert kept < {record.id for record in after}
    assert len({(record.cell.id, record.repeat) for record in after}) == len(after) == 10


def _wait_until_no_job_is_left(results: Path) -> None:
    """The job's process writes to a log under the results; it must not outlive the run."""
    import psutil

    def jobs() -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                files = [file.path for file in process.open_files()]
            except psutil.Error:
                continue
            if any(path.startswith(str(results)) for path in files):
                found.append(process.pid)
        return found

    deadline = time.monotonic() + 20
    while jobs() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert jobs() == []


def test_the_page_shows_what_was_measured(finished: Finished, tmp_path: Path, page: Page) -> None:
    results, site = str(finished.results), str(tmp_path / "site")
    done = moebench("report", "--suite", str(finished.suite), "--results", results, "--out", site)
    assert done.returncode == 0, done.stderr
    index = Path(done.stdout.strip())
    page.goto(index.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    assert "One good model and one that cannot load" in page.inner_text("body")
    rows = page.locator("table.dataTable tbody tr", has_text="moe-8x2")
    assert rows.count() >= 1
    assert page.locator("body").get_by_text("damaged").count() >= 1
    exported = json.loads(moebench("export", "--format", "json", "--results", results).stdout)
    rows = exported["loads"]["rows"]
    at = {row["level"]: row for row in rows if (row["model"], row["load"]) == ("moe-8x2", "closed")}
    from_records = [
        scenario.requests * 24 / record.outcome.measurement.duration_s
        for record in records_of(finished.results)
        if isinstance(scenario := record.cell.scenario, ServingScenario) and scenario.concurrency == 4
        and isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, ServingMeasurement)
    ]
    assert at[1]["distinct_experts"] == 2 < at[4]["distinct_experts"] < 8
    assert 0 < at[4]["decode_mbu_active"] <= at[4]["decode_mbu_measured"] <= at[4]["decode_mbu_total"] < 1
    assert at[4]["output_tokens_per_s"] == pytest.approx(sum(from_records) / 2)
