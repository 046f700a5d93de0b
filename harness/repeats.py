"""When a model has been repeated enough: its intervals are narrow, or the time for it is up."""

from __future__ import annotations

from harness.plan import Job, Plan
from harness.record import Cell
from harness.scenario import ServingScenario
from harness.stats import mean_estimate
from harness.store import Done
from harness.suite import Repeats


def enough(job: Job, plan: Plan, done: Done, elapsed_s: float) -> bool:
    """Whether a job, the next repeat of its model, need not run.

    Never where the suite gives a fixed number of repeats, and never before `at_least` of them. `elapsed_s` is the time
    since the run began.
    """
    policy = plan.repeats
    if not isinstance(policy, Repeats) or job.repeat < policy.at_least:
        return False
    if policy.budget_s is not None and elapsed_s >= policy.budget_s:
        return True
    return all(
        _is_narrow(cell, done, policy) for cell in job.cells if isinstance(cell.scenario, ServingScenario)
    )


def _is_narrow(cell: Cell, done: Done, policy: Repeats) -> bool:
    """Whether the 95 % interval of a cell's output rate is within the asked share of the rate on both sides."""
    rates = list(done.output_rates.get(cell.id, {}).values())
    if len(rates) < policy.at_least:
        return False
    estimate = mean_estimate(rates, "processes")
    assert estimate.low is not None
    assert estimate.high is not None
    return (estimate.high - estimate.low) / 2 <= policy.until_within * estimate.value
