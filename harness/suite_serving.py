"""What a suite says of serving: workloads, how long their requests are, under which loads, within which limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.scenario import FixedLength, Length, LogNormalLength, UniformLength
from harness.schema import Frozen

Name = Annotated[str, Field(min_length=1, max_length=120)]
PositiveInt = Annotated[int, Field(gt=0, le=100_000_000)]


class LogNormalShape(Frozen):
    """See `harness.scenario.LogNormalLength`."""

    median: PositiveInt
    sigma: Annotated[float, Field(gt=0, le=10)]
    min: PositiveInt = 1
    max: PositiveInt

    @model_validator(mode="after")
    def _in_order(self) -> LogNormalShape:
        if not self.min <= self.median <= self.max:
            raise ValueError(f"the median {self.median} is outside min {self.min} to max {self.max}")
        return self


class Spread(Frozen):
    """Lengths that differ from request to request; one of the two is given."""

    uniform: tuple[PositiveInt, PositiveInt] | None = None
    """From the first to the second number of tokens, each as likely."""
    lognormal: LogNormalShape | None = None
    """The logarithm is normal; cut at `min` and `max`."""

    @model_validator(mode="after")
    def _one_shape(self) -> Spread:
        if (self.uniform is None) == (self.lognormal is None):
            raise ValueError("give either uniform or lognormal")
        return self

    @field_validator("uniform")
    @classmethod
    def _in_order(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(f"uniform goes from the smaller to the larger number (given: {list(value)})")
        return value


Tokens = PositiveInt | Spread


def length_of(tokens: int | Spread) -> Length:
    """What a scenario keeps of a length as a suite spells it."""
    if isinstance(tokens, int):
        return FixedLength(tokens=tokens)
    if tokens.uniform is not None:
        return UniformLength(low=tokens.uniform[0], high=tokens.uniform[1])
    shape = tokens.lognormal
    assert shape is not None
    return LogNormalLength(median=shape.median, sigma=shape.sigma, low=shape.min, high=shape.max)


class Limits(Frozen):
    """What a request has to keep to count as good, in seconds; at least one is given."""

    ttft_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tpot_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    e2e_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _any(self) -> Limits:
        if self.ttft_s is None and self.tpot_s is None and self.e2e_s is None:
            raise ValueError("give at least one of ttft_s, tpot_s, e2e_s")
        return self


class Serving(Frozen):
    """A workload, and the loads under which it is measured; random token ids."""

    name: Name = "serving"
    prompt_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    trace: str | None = None
    """A file of request lengths (and arrivals), relative to the suite file, in place of the two above."""
    concurrency: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | Literal["auto"] | None = None
    """Closed loops: so many requests in flight. `auto` doubles from 1 until the output rate rises no more."""
    up_to: PositiveInt | None = None
    """The highest concurrency that `auto` tries; None takes the engine's `max_num_seqs`."""
    rate_per_s: Annotated[tuple[Annotated[float, Field(ge=0.001, le=1e6)], ...], Field(min_length=1)] | None = None
    """Open loops: requests arrive at so many a second, whether or not earlier ones are done."""
    burstiness: Annotated[float, Field(ge=0.01, le=1000)] = 1.0
    """Shape of the gamma-distributed times between arrivals: 1 is the Poisson process, less comes in bursts."""
    replay: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """The trace's own arrivals, so many times as fast."""
    offline: PositiveInt | None = None
    """All of so many requests at once: the engine's largest output."""
    requests_per_slot: PositiveInt = 4
    """A closed loop sends at least this many times its concurrency, and at least `min_requests`."""
    min_requests: PositiveInt = 8
    """The least of closed and open loops; they go on until `min_duration_s` has passed too."""
    min_duration_s: Annotated[float, Field(ge=0, le=86400)] = 10.0
    """How long a run takes at least; a shorter one is flagged."""
    warmup_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """How long a warm-up takes at most; it ends earlier once the output rate is steady."""
    goodput: Limits | None = None

    @model_validator(mode="after")
    def _lengths(self) -> Serving:
        if self.trace is not None and (self.prompt_tokens is not None or self.output_tokens is not None):
            raise ValueError("give either trace, or prompt_tokens and output_tokens")
        if self.trace is None and (self.prompt_tokens is None or self.output_tokens is None):
            raise ValueError("give prompt_tokens and output_tokens, or a trace")
        return self

    @field_validator("output_tokens")
    @classmethod
    def _two_tokens(cls, value: Tokens | None) -> Tokens | None:
        if value is not None and length_of(value).longest < 2:
            raise ValueError("output_tokens is at least 2: the time per output token needs a second one")
        return value

    @field_validator("concurrency", "rate_per_s")
    @classmethod
    def _distinct(cls, value: Any) -> Any:
        if isinstance(value, tuple) and len(set(value)) != len(value):
            raise ValueError("the same load is given twice")
        return value

    @model_validator(mode="after")
    def _loads(self) -> Serving:
        if (self.concurrency, self.rate_per_s, self.offline, self.replay) == (None,) * 4:
            raise ValueError("give at least one load: concurrency, rate_per_s, offline or replay")
        if self.replay is not None and self.trace is None:
            raise ValueError("replay needs a trace, whose arrivals it replays")
        if self.up_to is not None and self.concurrency != "auto":
            raise ValueError("up_to goes with concurrency: auto")
        return self

    def requests(self, concurrency: int) -> int:
        """How many requests a closed loop sends at least at `concurrency`."""
        return max(self.min_requests, self.requests_per_slot * concurrency)
