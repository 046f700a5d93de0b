"""What was found in a file of another tool, before it becomes records; and what the user adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from harness.environment import Environment
from harness.record import NOT_STATED, Completed, Failed
from harness.scenario import FixedLength, Load, QualityScenario, RandomLengths, ServingScenario


@dataclass(frozen=True)
class Given:
    """What the user says of a file's results."""

    suite: str
    model: str
    name: str | None = None
    """Of the workload; else the tool's."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The model's config.json; empty where none was named."""
    accelerator: str = NOT_STATED
    precision: str = NOT_STATED
    tensor_parallel: int = 1
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    concurrency: int | None = None
    """These three only for files that do not tell them."""


@dataclass(frozen=True)
class Found:
    """One result: what a cell and its record are made of."""

    scenario: ServingScenario | QualityScenario
    outcome: Completed | Failed
    started_at: datetime
    duration_s: float
    fixed: bool = True
    """Whether every request had the scenario's lengths; else they are means."""


def stated_environment(system: str = NOT_STATED, versions: Mapping[str, str] | None = None) -> Environment:
    """An environment of which a file tells no more than this."""
    return Environment(
        processor=NOT_STATED, cores=0, memory_bytes=0, accelerators=(), driver=None, system=system,
        versions=dict(versions or {}), threads=None, commit=None,
    )


@dataclass(frozen=True)
class Foreign:
    """What one file holds."""

    tool: str
    model: str
    """The model as the file names it."""
    found: tuple[Found, ...]
    version: str | None = None
    backend: Literal["vllm", "other"] = "vllm"
    environment: Environment = field(default_factory=stated_environment)


class Work(NamedTuple):
    """How many requests a run had and how long they were, in tokens."""

    requests: int
    prompt_tokens: float
    """In the mean."""
    output_tokens: float
    fixed: bool
    """Whether every request was as long as the mean."""


def serving_scenario(given: Given, tool: str, work: Work, load: Load) -> ServingScenario:
    """The scenario of a run, with the mean lengths in whole tokens.

    Its name is the user's, else the tool's, with a word on lengths that are only means: it is other work.
    """
    name = (given.name or tool.replace(" ", "-")) + ("" if work.fixed else "-mean-lengths")
    prompt, output = (FixedLength(tokens=max(1, round(mean))) for mean in (work.prompt_tokens, work.output_tokens))
    return ServingScenario(
        name=name, lengths=RandomLengths(prompt=prompt, output=output), load=load, requests=work.requests
    )


def all_failed(requests: int) -> Failed:
    """The outcome of a run without a single answer."""
    return Failed(error="engine", message=f"all {requests} requests failed")
