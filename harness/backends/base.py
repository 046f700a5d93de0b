"""The seam between measurements and engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from harness.record import Subject
from harness.routing.tokens import Routing


class Finish(NamedTuple):
    """A request that ended in a step."""

    request_id: str
    reason: str | None
    prompt_tokens: int
    """As the engine counted them."""
    cached_tokens: int


class StepResult(NamedTuple):
    """What one engine step made. Kept this bare since it is made in the timed loop."""

    tokens: Sequence[str]
    """The request of each output token."""
    finished: Sequence[Finish]
    started: Sequence[str] = ()
    """The requests that the engine worked on for the first time."""


class EngineMemory(NamedTuple):
    """What the engine has reserved on all devices, in bytes and tokens; None what it does not tell."""

    kv_cache_bytes: int
    kv_cache_tokens: int
    weights_bytes: int | None = None
    """What loading the weights took."""
    activation_bytes: int | None = None
    graph_bytes: int | None = None


NO_ROUTER = "no-router"
"""The kind of the error of a model in which nothing routes: a plan cannot know that of every model."""


class CapturedRouting(NamedTuple):
    """The experts of every token since capturing began."""

    routing: Routing
    method: Literal["capture hook", "returned by the engine", "transformers"]
    recomputed_tokens: int = 0
    """Left out: tokens that were worked on before."""


class Engine(Protocol):
    """A loaded model that takes requests, in this process."""

    load_s: float
    """From the call to an engine that takes requests; imports excluded."""
    import_s: float
    """What importing the engine took in this process before that."""
    devices: int
    """How many NVIDIA accelerators it runs on; 0 on a processor."""
    vocabulary_size: int
    max_model_len: int

    def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
        """Hands over a request for exactly `output_tokens` sampled tokens, no stop."""

    def step(self) -> StepResult:
        """Advances every running request; without tokens where the step finished none."""

    def start_routing(self) -> None:
        """From now on keeps the experts of every token. Raises EngineError where the engine cannot tell them."""

    def take_routing(self) -> CapturedRouting:
        """What was kept since `start_routing`, which ends here. Raises EngineError where tokens are missing."""

    def memory(self) -> EngineMemory:
        """The key-value cache as allocated."""

    def language_model(self) -> Any:
        """The engine as an lm-eval model (`lm_eval.api.model.LM`)."""

    def config(self) -> dict[str, Any]:
        """The model's config.json as the engine read it."""

    def arguments(self) -> dict[str, Any]:
        """The `--model_args`, less `pretrained`, with which the `lm_eval` command starts an equal engine."""

    def close(self) -> None:
        """Frees what the engine holds."""


class Backend(Protocol):
    """Loads models."""

    def load(self, subject: Subject, location: str, config: dict[str, Any], scratch: Path) -> Engine:
        """Loads the subject's model from `location` (a folder, or a hub repository).

        `config` is its config.json, `scratch` a folder for temporary files. Raises EngineError with the reason where
        it cannot load.
        """
