"""When a model has been repeated enough: its intervals are narrow, or the time for it is up.

Who looks at an interval after every repeat and stops as soon as it is narrow stops where the repeats happened to agree:
such an interval is too narrow. With looks from the third repeat on, a limit of 5 % and a coefficient of variation of
3 to 10 %, it covers the truth in 90 to 94.5 % of simulations instead of 95. Three repeats more mend that: 93.3 to
94.5 % where one load is measured, about 95 % where all of several have to be narrow. So an interval has to be narrow
with and without its last three values, and no model ends before its sixth repeat. Source: Simons 1968, Annals of
Mathematical Statistics 39:1946, who shows that some fixed number of further observations restores the coverage.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.plan import Job, Plan
from harness.scenario import ServingScenario
from harness.stats import mean_estimate
from harness.store import Done
from harness.suite import Repeats

FURTHER = 3
"""Repeats after the first interval that is narrow."""
FIRST_LOOK = 3
"""The fewest repeats whose interval is looked at: two may agree by chance."""


def enough(job: Job, plan: Plan, done: Done) -> bool:
    """Whether a job, the next repeat of its model, need not run.

    Never where the suite gives a fixed number of repeats, and never before `at_least` of them. A cell that failed in
    all of them is not waited for.
    """
    policy = plan.repeats
    if not isinstance(policy, Repeats) or job.repeat < policy.at_least:
        return False
    if policy.budget_s is not None and done.measuring_s >= policy.budget_s:
        return True
    served = (cell.id for cell in job.cells if isinstance(cell.scenario, ServingScenario))
    by_repeat = (done.output_rates.get(cell, {}) for cell in served)
    return all(settled([rates[repeat] for repeat in sorted(rates)], policy) for rates in by_repeat if rates)


def settled(rates: Sequence[float], policy: Repeats) -> bool:
    """Whether the output rates of a cell, in the order of the repeats, are known well enough."""
    looked_at = len(rates) - FURTHER
    if looked_at < FIRST_LOOK or len(rates) < policy.at_least:
        return False
    return _is_narrow(rates[:looked_at], policy) and _is_narrow(rates, policy)


def _is_narrow(rates: Sequence[float], policy: Repeats) -> bool:
    """Whether the 95 % interval is within the asked share of the rate on both sides."""
    estimate = mean_estimate(rates, "processes")
    if estimate.low is None or estimate.high is None:
        return True  # all alike: more of the same would tell no more
    return (estimate.high - estimate.low) / 2 <= policy.until_within * estimate.value
