"""Engines without a model: one replays a recorded run of vLLM, one follows a rule. Both move a clock of their own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from builders import serving_scenario, subject

from harness.backends.base import CapturedRouting, EngineMemory, Finish, StepResult
from harness.errors import EngineError
from harness.plan import Job
from harness.record import Cell, RoutedLayer, Subject
from harness.routing.tokens import Routing, StackTokens
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

    def start_routing(self) -> None:
        raise EngineError("it tells no experts", kind="routing", where="toy", hint="choose another")

    def take_routing(self) -> CapturedRouting:
        raise AssertionError("it was never started")

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
        self.routing = False
        self._read: list[tuple[int, bool, int, int, int]] = []
        self._steps = 0

    def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
        act(self._actions.get(str(len(prompt)), ""))
        assert request_id not in self._left, "a request of this id is in flight"
        self._left[request_id] = (len(prompt), output_tokens)
        self._read += [(self._steps, False, len(self.submitted), place, one) for place, one in enumerate(prompt)]
        self.submitted.append((request_id, len(prompt), output_tokens))
        self.most_in_flight = max(self.most_in_flight, len(self._left))

    def step(self) -> StepResult:
        assert self._left, "stepped with nothing in flight"
        self.clock.advance(self._step_s)
        outputs = []
        self._steps += 1
        for position, (request_id, (prompt, left)) in enumerate(list(self._left.items())):
            made = min(left, self._pace[min(position, len(self._pace) - 1)])
            if made == 0:
                continue
            self._left[request_id] = (prompt, left - made)
            done = made == left
            if done:
                del self._left[request_id]
            outputs.append((request_id, made, done, "length" if done else None, prompt, 0))
            self._note(request_id, made - done)
        return step_result(outputs)

    def _note(self, request_id: str, read: int) -> None:
        """The tokens that a step made and a later one reads: not a request's last."""
        numbers = [number for number, (name, *_) in enumerate(self.submitted) if name == request_id]
        places = sum(1 for row in self._read if row[2] == numbers[-1])
        self._read += [(self._steps, True, numbers[-1], places + one, 1) for one in range(read)]

    def start_routing(self) -> None:
        act(self._actions.get("start_routing", ""))
        self.routing, self._read = True, []

    def take_routing(self) -> CapturedRouting:
        """Two layers of 8 experts, of which a token has those of its own id and the third after it."""
        assert self.routing, "start_routing comes first"
        self.routing = False
        act(self._actions.get("take_routing", ""))
        if not self._read:
            raise EngineError("nothing was read", kind="routing", where="toy", hint="ask it something")
        step, decode, request, position, token = (np.array(column) for column in zip(*self._read, strict=True))
        stack = StackTokens(
            step.astype(np.int32), decode.astype(np.bool_), request.astype(np.int32), position.astype(np.int32),
            token.astype(np.int32),
        )
        ids = [np.sort(np.stack([(token + n) % 8, (token + n + 3) % 8], 1), 1).astype(np.uint8) for n in range(2)]
        layers = [RoutedLayer(index=index, experts=8, top_k=2) for index in range(2)]
        return CapturedRouting(Routing.of(layers, {"decoder": stack}, ids), "capture hook", 3)


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
