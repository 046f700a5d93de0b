"""Jobs in processes of their own, with an engine that can kill, leave or hang its process."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from builders import ENVIRONMENT, serving_record
from engines import ToyBackend, toy_job

from harness import executors
from harness.executors import LocalExecutor
from harness.plan import Job
from harness.record import Failed, Record
from harness.worker import CellStarted, Event, Run

pytestmark = pytest.mark.slow

RUN = Run("run-1", "small", ENVIRONMENT)
PARENT = """
import sys
from pathlib import Path
from builders import ENVIRONMENT
from engines import ToyBackend, toy_job
from harness.executors import LocalExecutor
from harness.worker import Run
executor = LocalExecutor(Path(sys.argv[1]), {"vllm": ToyBackend}, ())
for event in executor.run(toy_job(actions={"20": "hang"}), Run("run-1", "small", ENVIRONMENT)):
    pass
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an executor sets is put back."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MOEBENCH_DEVICE", "cpu")


@pytest.fixture(params=["cpu", "cuda"])
def executor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalExecutor:
    """Both ways to start a process: forked from a server on a processor, spawned with an accelerator."""
    monkeypatch.setenv("MOEBENCH_DEVICE", request.param)
    return LocalExecutor(tmp_path / "logs", {"vllm": ToyBackend}, ())


def records(events: list[Event]) -> list[Record]:
    return [event for event in events if isinstance(event, Record)]


def outcomes(executor: LocalExecutor, job: Job) -> list[str | Failed]:
    """`completed`, or how it failed, by cell in order; every cell has exactly one."""
    found = records(list(executor.run(job, RUN)))
    assert [record.cell for record in found] == list(job.cells)
    return [record.outcome if isinstance(record.outcome, Failed) else record.outcome.status for record in found]


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def pid_in(log: Path) -> int:
    """The process that wrote the log, once it has."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        match = re.search(r"process (\d+) is about to", log.read_text() if log.exists() else "")
        if match:
            return int(match[1])
        time.sleep(0.02)
    pytest.fail(f"nothing in {log}")


class TestProcess:
    def test_the_workers_events_arrive(self, executor: LocalExecutor) -> None:
        job = toy_job()
        events = list(executor.run(job, RUN))
        starts = [event.cell for event in events if isinstance(event, CellStarted)]
        assert starts == [None, *job.cells]
        assert [record.outcome.status for record in records(events)] == ["completed"] * 3

    def test_a_broken_cell_fails_alone(self, executor: LocalExecutor) -> None:
        first, second, third = outcomes(executor, toy_job(actions={"20": "raise"}))
        assert (first, third) == ("completed", "completed")
        assert isinstance(second, Failed) and second.error == "internal"

    def test_a_killed_process_fails_the_cells_without_a_record(self, executor: LocalExecutor) -> None:
        job = toy_job(actions={"20": "sigkill"})
        first, second, third = outcomes(executor, job)
        assert first == "completed"
        assert isinstance(second, Failed) and second == third
        assert (second.error, second.message) == (
            "killed", "the process ended early (SIGKILL: out of memory, most likely)"
        )
        assert second.log_tail.endswith("is about to sigkill\n")
        assert second.log_tail == executor.log_file(job, RUN).read_text()

    def test_so_does_one_that_leaves_with_an_exit_code(self, executor: LocalExecutor) -> None:
        first, second, third = outcomes(executor, toy_job(actions={"30": "exit 7"}))
        assert (first, second) == ("completed", "completed")
        assert isinstance(third, Failed)
        assert (third.error, third.message) == ("killed", "the process ended early (exit code 7)")
        assert third.log_tail.endswith("is about to exit 7\n")

    def test_and_one_that_is_killed_while_it_loads(self, executor: LocalExecutor) -> None:
        found = outcomes(executor, toy_job(actions={"load": "sigkill"}))
        assert all(isinstance(outcome, Failed) and outcome.error == "killed" for outcome in found)

    def test_a_process_that_takes_too_long_is_ended(
        self, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = toy_job(actions={"20": "hang"}, timeout_s=90.0)
        log = executor.log_file(job, RUN)
        # no time passes before the process hangs, and then all of it at once
        late = SimpleNamespace(monotonic=lambda: 91.0 if log.exists() and "hang" in log.read_text() else 0.0)
        monkeypatch.setattr(executors, "time", late)
        first, second, third = outcomes(executor, job)
        assert first == "completed"
        assert isinstance(second, Failed) and second == third
        assert (second.error, second.message) == ("timeout", "not done after 90 s")
        assert second.log_tail.endswith("is about to hang\n")
        assert wait_until_gone(pid_in(executor.log_file(job, RUN)))

    def test_the_next_job_runs_after_one_that_broke(self, executor: LocalExecutor) -> None:
        outcomes(executor, toy_job(actions={"load": "sigkill"}))
        assert outcomes(executor, toy_job()) == ["completed"] * 3

    def test_stopping_to_listen_ends_the_process(self, executor: LocalExecutor) -> None:
        job = toy_job(actions={"20": "hang"})
        events = executor.run(job, RUN)
        for event in events:
            if isinstance(event, Record):
                break
        pid = pid_in(executor.log_file(job, RUN))
        events.close()
        assert wait_until_gone(pid)


class TestLogs:
    def test_a_file_a_job(self, tmp_path: Path) -> None:
        executor = LocalExecutor(tmp_path)
        assert executor.log_file(toy_job(repeat=2), RUN) == tmp_path / "run-1/moe-r2.log"

    def test_names_stay_inside_the_folder(self, tmp_path: Path) -> None:
        path = LocalExecutor(tmp_path).log_file(toy_job(model="../a b/" + "x" * 500), RUN)
        assert path.parent == tmp_path / "run-1"
        assert re.fullmatch(r"\.\.-a-b-x{73}-[0-9a-f]{8}-r0\.log", path.name)

    def test_names_that_look_alike_have_files_of_their_own(self, tmp_path: Path) -> None:
        executor = LocalExecutor(tmp_path)
        paths = [executor.log_file(toy_job(model=name), RUN) for name in ("a/b", "a b", "a-b")]
        assert len(set(paths)) == 3

    def test_nothing_of_the_job_reaches_the_terminal(
        self, executor: LocalExecutor, capfd: pytest.CaptureFixture[str]
    ) -> None:
        job = toy_job(actions={"20": "raise"})
        list(executor.run(job, RUN))
        assert capfd.readouterr() == ("", "")
        assert "is about to raise" in executor.log_file(job, RUN).read_text()

    def test_the_tail_is_the_end_of_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"x" * 9000 + b"\xff end")
        assert executors._tail(tmp_path / "log") == ("x" * 9000 + "\ufffd end")[-4000:]
        assert executors._tail(tmp_path / "none") == ""

    def test_output_is_sent_to_a_file_and_back(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with executors._output_to(tmp_path / "new/log"):
            os.write(1, b"inside\n")
            os.write(2, b"error\n")
        os.write(1, b"outside\n")
        assert (tmp_path / "new/log").read_text() == "inside\nerror\n"
        assert capfd.readouterr() == ("outside\n", "")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_process_dies_with_its_parent(tmp_path: Path, device: str) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path, "MOEBENCH_DEVICE": device}
    with (tmp_path / "out").open("w") as out:
        command = [sys.executable, "-c", PARENT, str(tmp_path)]
        parent = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            child = pid_in(tmp_path / "run-1/moe-r0.log")
            assert psutil.pid_exists(child)
        finally:
            parent.send_signal(signal.SIGKILL)
            parent.wait()
    gone = wait_until_gone(child)
    if not gone:
        os.kill(child, signal.SIGKILL)
    assert gone, "the job outlives the command that started it"


def _sends_half_a_message(sender: Connection) -> None:
    record = serving_record()
    sender.send(record)
    # the length of a message that never comes whole
    os.write(sender.fileno(), b"\0\0\1\0half")


def _hangs_after_the_last_record(sender: Connection, job: Job) -> None:
    for cell in job.cells:
        sender.send(serving_record().model_copy(update={"cell": cell}))
    time.sleep(600)


class TestFollow:
    def test_a_process_that_dies_while_it_sends(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_sends_half_a_message, args=(sender,))
        process.start()
        sender.close()
        job = toy_job()
        events = list(executors._follow(job, RUN, process, receiver, tmp_path / "log"))
        assert [record.outcome.status for record in records(events)] == ["completed", *["failed"] * 3]

    def test_a_process_that_does_not_end_after_its_last_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(executors, "_CLOSE_S", 0.1)
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        job = toy_job()
        process = context.Process(target=_hangs_after_the_last_record, args=(sender, job))
        process.start()
        sender.close()
        try:
            assert len(list(executors._follow(job, RUN, process, receiver, tmp_path / "log"))) == 3
        finally:
            process.kill()
            process.join()


@pytest.mark.parametrize(("code", "text"), [
    (-9, "SIGKILL: out of memory, most likely"), (-11, "SIGSEGV"), (-4, "SIGILL"), (3, "exit code 3"),
    (-63, "signal 63"), (None, "exit code None"),
])
def test_how_a_process_ended(code: int | None, text: str) -> None:
    assert executors._exit_text(code) == text
