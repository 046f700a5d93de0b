"""Engines without a model: one replays a recorded run of vLLM, one follows a rule. Both move a clock of their own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders import serving_scenario, subject

from harness.backends.base import EngineMemory, Finish, StepResult
from harness.errors import EngineError
from harness.plan import Job
from harness.record import Cell, Subject
from harness.scenario import Scenario

RECORDINGS = Path(__file__).resolve().parent / "recordings"


class FakeClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class _Engine:
    """What both engines answer alike."""

    load_s = 1.5
    import_s = 0.25
    devices = 0

    def __init__(self, vocabulary_size: int, max_model_len: int, memory: EngineMemory) -> None:
        self.vocabulary_size = vocabulary_size
        self.max_model_len = max_model_len
        self.closed = False
        self._memory = memory

    def memory(self) -> EngineMemory:
        return self._memory

    def language_model(self) -> Any:
        return self

    def config(self) -> dict[str, Any]:
        return {"model_type": "toy"}

    def arguments(self) -> dict[str, Any]:
        return {"dtype": "bfloat16"}

    def close(self) -> None:
        self.closed = True


def step_result(outputs: Sequence[Sequence[Any]]) -> StepResult:
    """From (request, tokens made, whether finished, finish reason, prompt tokens, cached tokens) for each request."""
    return StepResult(
        [request_id for request_id, made, *_ in outputs for _ in range(made)],
        [Finish(request_id, *rest) for request_id, _, finished, *rest in outputs if finished],
    )


class ReplayEngine(_Engine):
    """Answers as the recorded engine did, in the recorded time, and only where it is asked the same."""

    def __init__(self, recording: dict[str, Any], clock: FakeClock) -> None:
        super().__init__(recording["vocabulary_size"], recording["max_model_len"], EngineMemory(*recording["memory"]))
        self._clock = clock
        self._steps = list(recording["steps"])
        self._submitted: list[list[Any]] = []

    @property
    def steps_left(self) -> int:
        return len(self._steps)

    def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
        self._submitted.append([request_id, prompt, output_tokens])

    def step(self) -> StepResult:
        recorded = self._steps.pop(0)
        assert self._submitted == recorded["submitted"], "the engine was not asked what the recording was"
        self._submitted = []
        self._clock.advance(recorded["seconds"])
        return step_result(recorded["outputs"])._replace(started=recorded["started"])


class ToyEngine(_Engine):
    """Each step gives tokens to the first requests in turn, `pace[i]` to the i-th, and takes `step_s`.

    A pace of 0 holds a request back; the last number goes to all further requests. `actions` says what happens when a
    prompt of that many tokens is handed over: see `act`.
    """

    def __init__(
        self, clock: FakeClock | None = None, *, pace: Sequence[int] = (1,), step_s: float = 0.5,
        max_model_len: int = 256, actions: dict[str, str] | None = None,
    ) -> None:
        super().__init__(64, max_model_len, EngineMemory(4096, 128))
        self.clock = clock or FakeClock()
        self.most_in_flight = 0
        self.submitted: list[tuple[str, int, int]] = []
        self._pace = tuple(pace)
        self._step_s = step_s
        self._actions = actions or {}
        self._left: dict[str, tuple[int, int]] = {}

    def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
        act(self._actions.get(str(len(prompt)), ""))
        assert request_id not in self._left, "a request of this id is in flight"
        self._left[request_id] = (len(prompt), output_tokens)
        self.submitted.append((request_id, len(prompt), output_tokens))
        self.most_in_flight = max(self.most_in_flight, len(self._left))

    def step(self) -> StepResult:
        assert self._left, "stepped with nothing in flight"
        self.clock.advance(self._step_s)
        outputs = []
        for position, (request_id, (prompt, left)) in enumerate(list(self._left.items())):
            made = min(left, self._pace[min(position, len(self._pace) - 1)])
            if made == 0:
                continue
            self._left[request_id] = (prompt, left - made)
            done = made == left
            if done:
                del self._left[request_id]
            outputs.append((request_id, made, done, "length" if done else None, prompt, 0))
        return step_result(outputs)


class ToyBackend:
    """Makes toy engines. `subject.engine["toy"]` holds their actions by prompt length; `load` is one more key."""

    def load(self, subject: Subject, location: str, config: dict[str, Any], scratch: Path) -> ToyEngine:
        assert scratch.is_dir()
        actions = subject.engine.get("toy", {})
        act(actions.get("load", ""))
        return ToyEngine(max_model_len=subject.engine.get("max_model_len", 256), actions=actions)


def act(action: str) -> None:
    """Does what an engine may do to its process: `raise`, `engine-error`, `sigkill`, `exit 3`, `hang`; else nothing."""
    if not action:
        return
    print(f"process {os.getpid()} is about to {action}", flush=True)
    match action.split():
        case ["raise"]:
            raise RuntimeError("a\ndefect")
        case ["engine-error"]:
            raise EngineError("no such architecture", kind="load", where="toy", hint="choose another")
        case ["sigkill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["exit", code]:
            os._exit(int(code))
        case ["hang"]:
            time.sleep(600)
        case _:
            raise ValueError(action)


def recorded(name: str) -> dict[str, Any]:
    """A recording by name."""
    content: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def toy_job(
    scenarios: Sequence[Scenario | int] = (10, 20, 30), actions: dict[str, str] | None = None, *,
    model: str = "moe", repeat: int = 0, **changes: Any,
) -> Job:
    """A job for `ToyBackend`; a number among the scenarios is a serving cell with prompts of that many tokens."""
    asked = subject(model, engine={"max_model_len": 256, "toy": actions or {}}, threads=1)
    given = [serving_scenario(2, prompt_tokens=one) if isinstance(one, int) else one for one in scenarios]
    cells = [Cell(subject=asked, scenario=scenario, seed=0) for scenario in given]
    fields: dict[str, Any] = {
        "group": None, "location": "/nowhere", "config": {}, "tasks_folder": "/tasks", "timeout_s": 60.0,
    }
    return Job(subject=asked, repeat=repeat, cells=tuple(cells), **{**fields, **changes})
