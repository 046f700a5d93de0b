"""What each step worked on, against the steps played one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine_steps import engine_steps, longest_context
from harness.record import RequestTiming, ServingMeasurement, WarmUp
from harness.timeline import runs_of


@dataclass
class Planned:
    """A request: when it starts, how many steps its prompt takes, and what each step after that makes of it."""

    start: int
    prefill_steps: int
    prompt: int
    made: list[int]
    cached: int = 0
    started_s: float = 0.0
    steps: list[int] = field(default_factory=list)
    """The step of every output token."""


def played(plans: list[Planned], gaps: list[float], idle_s: float = 0.5) -> ServingMeasurement:
    """Step i lasts gaps[i % n]; before a step at which requests start and none is under way nothing happens a while."""
    count = max(one.start + one.prefill_steps - 1 + len(one.made) for one in plans)
    tokens: list[list[str]] = [[] for _ in range(count)]
    for number, one in enumerate(plans):
        first = one.start + one.prefill_steps - 1
        for offset, made in enumerate(one.made):
            tokens[first + offset] += [str(number)] * made
            one.steps += [first + offset] * made
    now, ends = 0.0, []
    kept = [index for index, made in enumerate(tokens) if made]
    for index in range(count):
        active = any(one.start < index <= one.start + one.prefill_steps - 2 + len(one.made) for one in plans)
        starting = [one for one in plans if one.start == index]
        if starting and not active:
            now += idle_s
        for one in starting:
            one.started_s = now
        now += gaps[index % len(gaps)]
        if tokens[index]:
            ends.append(now)
    runs = runs_of([tokens[index] for index in kept])
    requests = tuple(
        RequestTiming(
            arrival_s=one.started_s, submitted_s=one.started_s, started_s=one.started_s, asked_prompt_tokens=one.prompt,
            asked_output_tokens=sum(one.made), prompt_tokens=one.prompt, finish_reason="length",
            cached_tokens=one.cached, tokens=tuple(runs.get(str(number), ())),
        )
        for number, one in enumerate(plans)
    )
    return ServingMeasurement(
        duration_s=now, step_time_s=now, steps_s=tuple(ends), requests=requests,
        warmup=WarmUp(duration_s=0.0, requests=0),
    )


def plain_costs(measurement: ServingMeasurement) -> np.ndarray:
    """A context costs itself, and itself squared."""
    contexts = np.arange(longest_context(measurement.requests) + 1, dtype=float)
    return np.stack([contexts, contexts**2], axis=1)


def one_at_a_time() -> ServingMeasurement:
    """Two requests of 10 tokens that make 3 each, one after the other, with a pause."""
    return played([Planned(0, 1, 10, [1, 1, 1]), Planned(3, 1, 10, [1, 1, 1])], [0.1])


def test_one_request_after_the_other() -> None:
    one = one_at_a_time()
    steps = engine_steps(one, plain_costs(one))
    assert steps is not None
    assert steps.prefill.tolist() == [True, False, False, True, False, False]
    # the pauses before both are nobody's
    assert steps.time_s.tolist() == pytest.approx([0.1] * 6)
    assert steps.prompt_tokens.tolist() == [10, 0, 0, 10, 0, 0]
    assert steps.decoded.tolist() == [0, 1, 1, 0, 1, 1]
    assert steps.tokens.tolist() == [10, 1, 1, 10, 1, 1]
    assert steps.costs[:, 0].tolist() == [0, 11, 12, 0, 11, 12]
    assert steps.costs[:, 1].tolist() == [0, 121, 144, 0, 121, 144]


def test_a_prompt_that_takes_several_steps_is_spread_over_them() -> None:
    one = played([Planned(0, 1, 10, [1] * 6), Planned(2, 3, 9, [1, 1])], [0.1])
    steps = engine_steps(one, plain_costs(one))
    assert steps is not None
    assert steps.prefill.tolist() == [True, False, True, True, True, False]
    assert steps.prompt_tokens.tolist() == [10, 0, 3, 3, 3, 0]
    assert steps.decoded.tolist() == [0, 1, 1, 1, 1, 2]
    assert steps.costs[:, 0].tolist() == [0, 11, 12, 13, 14, 15 + 10]


def test_a_pause_within_a_request_belongs_to_its_step() -> None:
    # the prompt of the second takes two steps in which nothing else is there, of which one makes no token
    one = played([Planned(0, 1, 10, [1]), Planned(1, 2, 8, [1])], [0.1])
    steps = engine_steps(one, plain_costs(one))
    assert steps is not None
    assert steps.time_s.tolist() == pytest.approx([0.1, 0.2])
    assert steps.prefill.tolist() == [True, True]


def test_several_tokens_a_step_see_what_was_made_before_them() -> None:
    one = played([Planned(0, 1, 10, [2, 3, 3, 1])], [0.1])
    steps = engine_steps(one, plain_costs(one))
    assert steps is not None
    assert steps.decoded.tolist() == [1, 3, 3, 1]
    assert steps.costs[:, 0].tolist() == [11, 12 + 13 + 14, 15 + 16 + 17, 18]


def test_what_a_prefix_cache_answered_is_not_worked_on() -> None:
    one = played([Planned(0, 1, 10, [1, 1], cached=8)], [0.1])
    steps = engine_steps(one, plain_costs(one))
    assert steps is not None and steps.prompt_tokens.tolist() == [2, 0]


def test_a_request_that_did_not_end_has_the_prompt_that_was_sent() -> None:
    one = one_at_a_time()
    ended, other = one.requests
    broken = one.model_copy(update={"requests": (ended, other.model_copy(update={"prompt_tokens": 0}))})
    steps = engine_steps(broken, plain_costs(one))
    assert steps is not None and steps.prompt_tokens.tolist() == [10, 0, 0, 10, 0, 0]


def test_without_starts_or_tokens_nothing_is_said() -> None:
    one = one_at_a_time()
    untold = [one.requests[0], one.requests[1].model_copy(update={"started_s": None})]
    assert engine_steps(one.model_copy(update={"requests": tuple(untold)}), plain_costs(one)) is None
    silent = [request.model_copy(update={"tokens": ()}) for request in one.requests]
    assert engine_steps(one.model_copy(update={"requests": tuple(silent), "steps_s": ()}), plain_costs(one)) is None


def test_a_request_that_was_never_worked_on_changes_nothing() -> None:
    one = one_at_a_time()
    waiting = one.requests[0].model_copy(update={"tokens": (), "started_s": None, "finish_reason": None})
    longer = one.model_copy(update={"requests": (*one.requests, waiting)})
    a, b = engine_steps(one, plain_costs(one)), engine_steps(longer, plain_costs(one))
    assert a is not None and b is not None
    assert a.time_s.tolist() == b.time_s.tolist() and a.costs.tolist() == b.costs.tolist()


plans = st.lists(
    st.builds(
        Planned, st.integers(0, 8), st.integers(1, 3), st.integers(1, 30),
        st.lists(st.integers(1, 3), min_size=1, max_size=8),
    ),
    min_size=1, max_size=6,
)


@given(plans, st.lists(st.floats(0.01, 2.0), min_size=1, max_size=4))
def test_every_token_is_counted_once_in_its_step(requests: list[Planned], gaps: list[float]) -> None:
    one = played(requests, gaps)
    steps = engine_steps(one, plain_costs(one))
    assert steps is not None
    kept = sorted({step for request in requests for step in request.steps})
    contexts: dict[int, list[int]] = {step: [] for step in kept}
    prefill = set()
    for request in requests:
        for index, step in enumerate(request.steps[1:], start=1):
            contexts[step].append(request.prompt + index)
        prefill |= {step for step in kept if request.start <= step <= request.steps[0]}
    assert steps.decoded.tolist() == [len(contexts[step]) for step in kept]
    assert steps.costs[:, 0].tolist() == [sum(contexts[step]) for step in kept]
    assert steps.costs[:, 1].tolist() == [sum(context**2 for context in contexts[step]) for step in kept]
    assert steps.prefill.tolist() == [step in prefill for step in kept]
    assert float(steps.prompt_tokens.sum()) == pytest.approx(sum(request.prompt for request in requests), abs=1e-4)
    assert not steps.prompt_tokens[~steps.prefill].any()
    assert (steps.tokens >= 1).all()


@given(plans, st.lists(st.floats(0.01, 2.0), min_size=1, max_size=4), st.floats(0.0, 5.0))
def test_the_steps_take_all_time_but_that_without_work(
    requests: list[Planned], gaps: list[float], idle_s: float
) -> None:
    one = played(requests, gaps, idle_s)
    steps = engine_steps(one, plain_costs(one))
    assert steps is not None
    last = max(request.start + request.prefill_steps - 2 + len(request.made) for request in requests)
    busy = [
        any(one.start <= index <= one.start + one.prefill_steps - 2 + len(one.made) for one in requests)
        for index in range(last + 1)
    ]
    expected = sum(gaps[index % len(gaps)] for index, at_work in enumerate(busy) if at_work)
    assert (steps.time_s >= 0).all()
    assert float(steps.time_s.sum()) == pytest.approx(expected, rel=1e-6, abs=1e-6)
