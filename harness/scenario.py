"""What can be measured of a model: serving under a load, memory, quality, routing. Every option is written out."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.schema import Frozen

Tokens = Annotated[int, Field(ge=1, le=100_000_000)]


# How long requests are -------------------------------------------------------------------------------------------


class FixedLength(Frozen):
    """Every request has this many tokens."""

    shape: Literal["fixed"] = "fixed"
    tokens: Tokens

    @property
    def mean(self) -> float:
        """Tokens of a request on average."""
        return float(self.tokens)

    @property
    def longest(self) -> int:
        """The most tokens that a request can have."""
        return self.tokens

    @property
    def words(self) -> str:
        """As in a table's head."""
        return str(self.tokens)


class UniformLength(Frozen):
    """A whole number of tokens from `low` to `high`, both included, each as likely."""

    shape: Literal["uniform"] = "uniform"
    low: Tokens
    high: Tokens

    @model_validator(mode="after")
    def _in_order(self) -> UniformLength:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self

    @property
    def mean(self) -> float:
        """Tokens of a request on average."""
        return (self.low + self.high) / 2

    @property
    def longest(self) -> int:
        """The most tokens that a request can have."""
        return self.high

    @property
    def words(self) -> str:
        """As in a table's head."""
        return f"{self.low} to {self.high}"


class LogNormalLength(Frozen):
    """exp(N(log median, sigma²)) tokens, rounded, and cut at `low` and `high` (cut, not drawn again)."""

    shape: Literal["lognormal"] = "lognormal"
    median: Tokens
    sigma: Annotated[float, Field(gt=0, le=10)]
    """Standard deviation of the logarithm: 0.8 puts 95 % within a factor of 4.8 of the median."""
    low: Tokens = 1
    high: Tokens

    @model_validator(mode="after")
    def _in_order(self) -> LogNormalLength:
        if not self.low <= self.median <= self.high:
            raise ValueError(f"median {self.median} is outside {self.low} to {self.high}")
        return self

    @property
    def mean(self) -> float:
        """Tokens of a request on average: of the cut distribution, its rounding left out.

        low Φ(a) + high (1 - Φ(b)) + median exp(sigma²/2) (Φ(b - sigma) - Φ(a - sigma)), where a and b are the cuts
        in standard deviations of the logarithm.
        """
        normal, centre = NormalDist(), math.log(self.median)
        a, b = ((math.log(cut) - centre) / self.sigma for cut in (self.low, self.high))
        inner = self.median * math.exp(self.sigma**2 / 2) * (normal.cdf(b - self.sigma) - normal.cdf(a - self.sigma))
        return self.low * normal.cdf(a) + self.high * (1 - normal.cdf(b)) + inner

    @property
    def longest(self) -> int:
        """The most tokens that a request can have."""
        return self.high

    @property
    def words(self) -> str:
        """As in a table's head."""
        return f"log-normal around {self.median} (sigma {self.sigma:g}, {self.low} to {self.high})"


Length = Annotated[FixedLength | UniformLength | LogNormalLength, Field(discriminator="shape")]


class RandomLengths(Frozen):
    """Prompt and output lengths, drawn independently of each other with the cell's seed."""

    source: Literal["random"] = "random"
    prompt: Length
    output: Length

    @property
    def prompt_mean(self) -> float:
        """Prompt tokens of a request on average."""
        return self.prompt.mean

    @property
    def output_mean(self) -> float:
        """Output tokens of a request on average."""
        return self.output.mean

    @property
    def longest(self) -> int:
        """The most tokens, prompt and output together, that a request can have."""
        return self.prompt.longest + self.output.longest

    @property
    def words(self) -> tuple[str, str]:
        """Prompt and output lengths as in a table's head."""
        return self.prompt.words, self.output.words


class TraceLengths(Frozen):
    """The lengths of the rows of a trace, in order, from the start again where more requests are sent."""

    source: Literal["trace"] = "trace"
    file: str
    """The file's name, without its folder."""
    fingerprint: str
    """`sha256:...` of the file: equal traces are equal work wherever they lie."""
    rows: int
    prompt_mean: float
    output_mean: float
    longest: int
    """Of the row with the most tokens, prompt and output together."""

    @property
    def words(self) -> tuple[str, str]:
        """Prompt and output lengths as in a table's head."""
        content = self.fingerprint.removeprefix("sha256:")[:8]
        return f"{self.file} ({content}), mean {self.prompt_mean:.4g}", f"mean {self.output_mean:.4g}"


Lengths = Annotated[RandomLengths | TraceLengths, Field(discriminator="source")]


# When requests arrive --------------------------------------------------------------------------------------------


class ClosedLoop(Frozen):
    """As many requests in flight as `concurrency`: one that ends lets the next arrive."""

    kind: Literal["closed"] = "closed"
    concurrency: int


class OpenLoop(Frozen):
    """Requests arrive at a rate, however fast they are served.

    The times between arrivals are drawn from a gamma distribution of shape `burstiness` and mean 1 / rate: 1 is the
    Poisson process, less comes in bursts, more comes evenly (as `vllm bench serve` names it).
    """

    kind: Literal["open"] = "open"
    requests_per_s: float
    burstiness: float = 1.0


class Replay(Frozen):
    """Requests arrive when the trace says, `speed` times as fast."""

    kind: Literal["replay"] = "replay"
    speed: float = 1.0


class Offline(Frozen):
    """All requests are there at the start: the most output that the engine can give."""

    kind: Literal["offline"] = "offline"


Load = Annotated[ClosedLoop | OpenLoop | Replay | Offline, Field(discriminator="kind")]


# Scenarios -------------------------------------------------------------------------------------------------------


class ServingScenario(Frozen):
    """One workload under one load; random token ids drawn with the cell's seed, no stop.

    Sampled at temperature 1: greedy decoding after random tokens falls into loops, which route to few experts.
    """

    kind: Literal["serving"] = "serving"
    version: Literal[1, 2] = 2
    """Version 1 warmed up with one short wave and sent a fixed number of requests."""
    name: str
    lengths: Lengths
    load: Load
    requests: int
    """How many are sent; in closed and open loops at least so many, until `min_duration_s` has passed too."""
    min_duration_s: float = 0.0
    """A shorter run is flagged."""
    warmup_s: float = 0.0
    """The most seconds of a warm-up under the same load; it ends earlier once the output rate is steady."""

    @property
    def concurrency(self) -> int | None:
        """Requests in flight of a closed loop, None of other loads."""
        return self.load.concurrency if isinstance(self.load, ClosedLoop) else None


class MemoryScenario(Frozen):
    """What the engine holds after loading and at its peak over the job's serving cells, and how long loading took."""

    kind: Literal["memory"] = "memory"
    version: Literal[1] = 1


class QualityScenario(Frozen):
    """One task of lm-eval through the engine that serves."""

    kind: Literal["quality"] = "quality"
    version: Literal[1] = 1
    task: str
    """The suite's name for the task: the column of the page."""
    lm_eval_task: str
    """The task file that was run; another one where a model was trained on other data."""
    task_fingerprint: str | None
    """`sha256:...` of the task's files where they are local; None for tasks that lm-eval ships."""
    num_fewshot: int | None
    limit: int | None
    apply_chat_template: bool
    metric: str | None = None
    """The metric that the page shows; None takes the first that the task lists."""


class ServedTokens(Frozen):
    """The tokens of a serving workload, in a closed loop."""

    source: Literal["serving"] = "serving"
    name: str
    """Of the workload."""
    lengths: Lengths
    concurrency: int
    requests: int


class TaskTokens(Frozen):
    """The tokens of a quality task, as lm-eval asks it."""

    source: Literal["task"] = "task"
    quality: QualityScenario

    @property
    def name(self) -> str:
        """Of the task."""
        return self.quality.task


class RoutingScenario(Frozen):
    """Which experts every token of some work is sent to, in every layer. It has a job of its own and is not timed."""

    kind: Literal["routing"] = "routing"
    version: Literal[1] = 1
    work: Annotated[ServedTokens | TaskTokens, Field(discriminator="source")]
    engine: dict[str, Any] = {}
    """Arguments of the engine that differ from the timed runs': the subject is theirs."""

    @property
    def words(self) -> str:
        """As in a list of cells: `routing, chat`."""
        return f"routing, {self.work.name}"


Scenario = Annotated[
    ServingScenario | MemoryScenario | QualityScenario | RoutingScenario, Field(discriminator="kind")
]


def load_words(load: ClosedLoop | OpenLoop | Replay | Offline) -> str:
    """A load in a few words: `concurrency 8`, `2 requests/s`, `offline`."""
    if isinstance(load, ClosedLoop):
        return f"concurrency {load.concurrency}"
    if isinstance(load, OpenLoop):
        shape = "" if load.burstiness == 1 else f", burstiness {load.burstiness:g}"
        return f"{load.requests_per_s:g} requests/s{shape}"
    if isinstance(load, Replay):
        return "replayed" if load.speed == 1 else f"replayed {load.speed:g} times as fast"
    return "offline"


def scenario_words(scenario: Scenario) -> str:
    """What a cell measures, in a few words: `chat, concurrency 8`, a task, `memory`, `routing, chat`."""
    if isinstance(scenario, ServingScenario):
        return f"{scenario.name}, {load_words(scenario.load)}"
    if isinstance(scenario, RoutingScenario):
        return scenario.words
    return scenario.task if isinstance(scenario, QualityScenario) else scenario.kind
