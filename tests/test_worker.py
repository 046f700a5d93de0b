"""The worker on engines without a model: every cell ends in one record, whatever breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    CONFIGS,
    ENVIRONMENT,
    closed_loop,
    quality_record,
    quality_scenario,
    serving_record,
    serving_scenario,
    subject,
)
from engines import ToyBackend, ToyEngine, toy_job
from safetensors.numpy import save_file

from harness import worker
from harness.errors import EngineError
from harness.measurements import memory
from harness.plan import Job
from harness.record import (
    Completed,
    DeviceSamples,
    Failed,
    Measurement,
    MemoryMeasurement,
    Record,
    RoutingMeasurement,
    ServingMeasurement,
    Skipped,
    Subject,
)
from harness.routing.tokens import fingerprint_of, unpack
from harness.scenario import FixedLength, MemoryScenario, RandomLengths, Replay, RoutingScenario, ServedTokens
from harness.traces import read_trace
from harness.worker import Attachment, CellStarted, Event, Run, Scribe, run_job

RUN = Run("run-7", "small", ENVIRONMENT)


@pytest.fixture(autouse=True)
def _no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "device_use", list)


def events(job: Job, backend: ToyBackend | None = None) -> list[Event]:
    return list(run_job(job, RUN, backend or ToyBackend()))


def records(job: Job, backend: ToyBackend | None = None) -> list[Record]:
    return [event for event in events(job, backend) if isinstance(event, Record)]


def failure(record: Record) -> Failed:
    assert isinstance(record.outcome, Failed)
    return record.outcome


class Using(ToyBackend):
    """Loads this engine."""

    def __init__(self, engine: ToyEngine) -> None:
        self.engine = engine

    def load(self, subject: Subject, location: str, config: dict[str, Any], scratch: Path) -> ToyEngine:
        return self.engine


class TestSweeps:
    @pytest.fixture(autouse=True)
    def _saturated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many requests are in flight, the output rate is the same."""
        monkeypatch.setattr(
            worker, "measure_serving", lambda _engine, scenario, *_: closed_loop(scenario, tokens_per_s=100.0)
        )

    def test_a_saturated_sweep_skips_the_rest_and_says_why(self) -> None:
        asked = [serving_scenario(level, prompt_tokens=10) for level in (1, 2, 4, 8, 16)]
        found = records(toy_job([*asked, serving_scenario(64, name="other")], sweeps=("chat",)))
        assert [record.outcome.status for record in found] == ["completed"] * 3 + ["skipped"] * 2 + ["completed"]
        assert isinstance(found[3].outcome, Skipped)
        assert "2 and 4 concurrent requests" in found[3].outcome.reason

    def test_without_a_sweep_every_load_is_measured(self) -> None:
        found = records(toy_job([serving_scenario(level, prompt_tokens=10) for level in (1, 2, 4, 8)]))
        assert {record.outcome.status for record in found} == {"completed"}


class TestTraces:
    def job(self, folder: Path) -> Job:
        path = folder / "day.jsonl"
        path.write_text('{"prompt_tokens": 10, "output_tokens": 3, "arrival_s": 0}\n' * 2, encoding="utf-8")
        trace = read_trace(path)
        asked = serving_scenario(load=Replay(), lengths=trace.lengths, requests=2)
        return toy_job([asked], traces={trace.fingerprint: str(path)})

    def test_its_rows_are_sent(self, tmp_path: Path) -> None:
        (found,) = records(self.job(tmp_path))
        assert isinstance(found.outcome, Completed)
        assert isinstance(found.outcome.measurement, ServingMeasurement)
        assert [request.output_tokens for request in found.outcome.measurement.requests] == [3, 3]

    def test_another_file_by_now_is_a_failure(self, tmp_path: Path) -> None:
        job = self.job(tmp_path)
        (tmp_path / "day.jsonl").write_text('{"prompt_tokens": 10, "output_tokens": 4}\n', encoding="utf-8")
        failed = failure(records(job)[0])
        assert failed.error == "trace" and "has changed since the run was planned" in failed.message


class TestColdStart:
    @pytest.mark.parametrize(
        ("source", "weights", "repeat", "cold"),
        [
            ("path:x", "checkpoint", 0, True), ("path:x", "checkpoint", 1, False), ("path:x", "dummy", 0, None),
            ("hub:a/b", "checkpoint", 0, None), ("path:x", "unreadable", 0, None),
        ],
    )
    def test_the_first_repeat_reads_a_local_checkpoint_from_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, weights: str, repeat: int,
        cold: bool | None,
    ) -> None:
        def unreadable(_: Path) -> bool:
            raise PermissionError(13, "no")

        if weights == "unreadable":
            monkeypatch.setattr(worker, "drop_from_memory", unreadable)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        job = toy_job(repeat=repeat, location="a/b" if source == "hub:a/b" else str(tmp_path))
        asked = job.subject.model_copy(update={"source": source, "weights": weights})
        assert worker._cold_start(job.model_copy(update={"subject": asked})) is cold


class TestSound:
    def test_each_cell_is_announced_before_its_record(self) -> None:
        job = toy_job()
        seen = events(job)
        assert seen[0] == CellStarted(None)
        for cell, announced, record in zip(job.cells, seen[1::2], seen[2::2], strict=True):
            assert announced == CellStarted(cell)
            assert isinstance(record, Record) and record.cell == cell

    def test_a_record_says_whose_it_is(self) -> None:
        began = datetime.now(UTC)
        job = toy_job(repeat=2, group="sparse", config=CONFIGS["moe-8x2"])
        found = records(job)
        for record in found:
            assert (record.run_id, record.suite, record.environment) == ("run-7", "small", ENVIRONMENT)
            assert (record.repeat, record.group, record.config) == (2, "sparse", CONFIGS["moe-8x2"])
            assert began <= record.started_at <= datetime.now(UTC) and record.duration_s >= 0
            assert isinstance(record.outcome, Completed)
            assert isinstance(record.outcome.measurement, ServingMeasurement)
        assert len({record.id for record in found}) == 3

    def test_the_engine_is_asked_for_a_config_that_the_plan_does_not_know(self) -> None:
        assert [record.config for record in records(toy_job([10]))] == [{"model_type": "toy"}]

    def test_the_engine_is_closed_at_the_end_alone(self) -> None:
        engine = ToyEngine()
        for event in run_job(toy_job(), RUN, Using(engine)):
            assert not (isinstance(event, Record) and engine.closed)
        assert engine.closed

    def test_an_engine_that_does_not_close_spoils_nothing(self) -> None:
        class Stuck(ToyEngine):
            def close(self) -> None:
                raise RuntimeError("device lost")

        assert [record.outcome.status for record in records(toy_job(), Using(Stuck()))] == ["completed"] * 3

    def test_quality_goes_to_lm_eval_with_the_folder_of_tasks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = quality_record().outcome
        assert isinstance(made, Completed)
        asked: list[Any] = []

        def measure_quality(*given: Any) -> Measurement:
            asked.append(given)
            return made.measurement

        monkeypatch.setattr(worker, "measure_quality", measure_quality)
        engine, scenario = ToyEngine(), quality_scenario()
        assert records(toy_job([scenario]), Using(engine))[0].outcome == made
        assert asked == [(engine, scenario, Path("/tasks"))]


class TestMemory:
    def measured(self, job: Job) -> MemoryMeasurement:
        outcome = records(job)[-1].outcome
        assert isinstance(outcome, Completed) and isinstance(outcome.measurement, MemoryMeasurement)
        return outcome.measurement

    def test_weights_are_counted_in_the_checkpoint(self, tmp_path: Path) -> None:
        save_file({"x": np.zeros((3, 5), np.float16)}, tmp_path / "model.safetensors")
        found = self.measured(toy_job([10, MemoryScenario()], location=str(tmp_path)))
        assert (found.parameters, found.weights_bytes, found.kv_cache_bytes) == (15, 30, 4096)

    def test_dummy_weights_are_counted_from_the_structure(self) -> None:
        job = toy_job([MemoryScenario()], config=CONFIGS["dense-active"])
        job = job.model_copy(update={"subject": subject("moe", weights="dummy", precision="float32")})
        found = self.measured(job)
        # two tables of 96 * 48, four layers of attention, feed-forward and norms, and the last norm
        layer = 48 * (48 + 2 * 16) + 48 * 48 + 3 * 48 * 128 + 2 * 48
        assert found.parameters == 2 * 96 * 48 + 4 * layer + 48
        assert found.weights_bytes == 4 * found.parameters

    def test_what_was_sampled_while_a_cell_ran_counts_for_the_peak(self, monkeypatch: pytest.MonkeyPatch) -> None:
        serving = serving_record().outcome
        assert isinstance(serving, Completed) and isinstance(serving.measurement, ServingMeasurement)
        seen = DeviceSamples(name="Example GPU", times_s=(0.0, 1.0), used_bytes=(5, 70))
        sampled = serving.measurement.model_copy(update={"devices": (seen,)})
        monkeypatch.setattr(worker, "measure_serving", lambda *_: sampled)
        monkeypatch.setattr(memory, "device_use", lambda: [memory.DeviceUse("Example GPU", 80, 20)] * 2)
        monkeypatch.setattr(memory, "torch_peaks", lambda devices: [None] * devices)
        job = toy_job([10, MemoryScenario()], config=CONFIGS["dense-active"])
        job = job.model_copy(update={"subject": subject("moe", weights="dummy")})
        assert [device.used_peak_bytes for device in self.measured(job).devices] == [70]
        on_processor = job.model_copy(update={"subject": subject("moe", weights="dummy", threads=1)})
        assert self.measured(on_processor).devices == ()

    def test_a_checkpoint_that_went_away_fails_its_cell_alone(self) -> None:
        first, second = records(toy_job([MemoryScenario(), 10]))
        assert failure(first).message.startswith("/nowhere: no .safetensors file")
        assert second.outcome.status == "completed"


class TestBroken:
    def test_a_model_that_does_not_load_fails_every_cell_with_its_reason(self) -> None:
        job = toy_job(actions={"load": "engine-error"})
        seen = events(job)
        assert seen[0] == CellStarted(None)
        assert [event.cell for event in seen[1:] if isinstance(event, Record)] == list(job.cells)
        for record in seen[1:]:
            assert isinstance(record, Record)
            assert failure(record) == Failed(error="load", message="toy: no such architecture\n  choose another")

    def test_a_defect_in_loading_keeps_its_traceback(self) -> None:
        for record in records(toy_job(actions={"load": "raise"})):
            outcome = failure(record)
            assert (outcome.error, outcome.message) == ("load", "RuntimeError: a\ndefect")
            assert "Traceback" in outcome.log_tail and outcome.log_tail.endswith("RuntimeError: a\ndefect\n")

    def test_a_broken_cell_fails_alone(self) -> None:
        found = records(toy_job(actions={"20": "engine-error"}))
        assert [record.outcome.status for record in found] == ["completed", "failed", "completed"]
        assert failure(found[1]).error == "load"

    def test_an_unexpected_exception_is_internal_with_the_end_of_its_traceback(self) -> None:
        found = records(toy_job(actions={"20": "raise"}))
        assert [record.outcome.status for record in found] == ["completed", "failed", "completed"]
        outcome = failure(found[1])
        assert (outcome.error, outcome.message) == ("internal", "RuntimeError: a\ndefect")
        assert outcome.log_tail.endswith("RuntimeError: a\ndefect\n") and len(outcome.log_tail) <= 4000

    def test_a_request_that_does_not_fit_names_its_kind(self) -> None:
        (record,) = records(toy_job([250]))
        assert failure(record).error == "context"

    @pytest.mark.parametrize("moment", ["before", "after", "config"])
    def test_what_breaks_around_the_load_is_a_record_too(self, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
        class NoConfig(ToyEngine):
            def config(self) -> dict[str, Any]:
                raise EngineError("no config", kind="load")

        backend = Using(NoConfig() if moment == "config" else ToyEngine())
        if moment != "config":
            monkeypatch.setattr(memory, "device_use", _breaks_at(1 if moment == "before" else 2))
        assert [failure(record).error for record in records(toy_job(), backend)] == ["load"] * 3

    def test_a_driver_that_breaks_after_a_cell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "device_use", _breaks_at(5))
        found = records(toy_job())
        assert [record.outcome.status for record in found] == ["completed", "failed", "completed"]


def _breaks_at(call: int) -> Callable[[], list[memory.DeviceUse]]:
    calls = iter(range(1, 100))

    def device_use() -> list[memory.DeviceUse]:
        if next(calls) == call:
            raise RuntimeError("the driver is gone")
        return []
    return device_use


def test_a_scribe_takes_time_from_begin() -> None:
    job = toy_job([10])
    scribe = Scribe.of(job, RUN)
    first = scribe.record(job.cells[0], Failed(error="load", message="x"))
    scribe.begin()
    second = scribe.record(job.cells[0], Failed(error="load", message="x"))
    assert second.started_at >= first.started_at
    assert json.loads(second.model_dump_json())["outcome"]["message"] == "x"


class TestRouting:
    def scenario(self) -> RoutingScenario:
        lengths = RandomLengths(prompt=FixedLength(tokens=10), output=FixedLength(tokens=3))
        return RoutingScenario(work=ServedTokens(name="chat", lengths=lengths, concurrency=2, requests=4))

    def test_the_ids_come_before_the_record_that_names_them(self) -> None:
        found = events(toy_job([self.scenario()], kind="routing"))
        kinds = [type(event) for event in found]
        assert kinds == [CellStarted, CellStarted, Attachment, Record]
        attachment, record = found[2:]
        assert isinstance(attachment, Attachment) and isinstance(record, Record)
        assert isinstance(record.outcome, Completed)
        measurement = record.outcome.measurement
        assert isinstance(measurement, RoutingMeasurement)
        assert measurement.tokens_file == attachment.fingerprint == fingerprint_of(attachment.content)
        assert unpack(attachment.content).layers == measurement.layers

    def test_an_engine_that_cannot_tell_fails_the_cell_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: ToyEngine) -> None:
            raise EngineError("no router", kind="routing")

        monkeypatch.setattr(ToyEngine, "start_routing", refuse)
        routed, served = records(toy_job([self.scenario(), 10]))
        assert failure(routed).error == "routing" and served.outcome.status == "completed"

    @pytest.mark.parametrize(("name", "status"), [("moe-8x2", "failed"), ("dense-total", "skipped"), ("", "skipped")])
    def test_nothing_to_route_is_no_failure_unless_the_model_is_known_to_route(
        self, monkeypatch: pytest.MonkeyPatch, name: str, status: str
    ) -> None:
        def refuse(_: ToyEngine) -> None:
            raise EngineError("no layer routes", kind="no-router")

        monkeypatch.setattr(ToyEngine, "start_routing", refuse)
        (record,) = records(toy_job([self.scenario()], kind="routing", config=CONFIGS.get(name, {})))
        assert record.outcome.status == status
        assert "no layer routes" in record.outcome.model_dump_json()
