"""Suites as their exports see them."""

from __future__ import annotations

import builders

from harness.exports.parts import Exported
from harness.groups import group_summaries
from harness.pages.suite_view import leading_point
from harness.record import Record
from harness.summarise import summarise


def exported_of(*records: Record, score: str = "mean_score") -> Exported:
    """A suite of these records, its groups of several trainings after its models."""
    models = summarise(builders.with_paths(list(records)))
    groups = (group for group in group_summaries(models) if len(group.members) > 1)
    return Exported(builders.SUITE, (*models, *groups), leading_point(models), score)
