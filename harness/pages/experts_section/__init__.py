"""The section "Experts" of a model's page: which experts its tokens use, and what that would cost elsewhere."""

from harness.pages.experts_section.build import ExpertsSection, counted_tables, experts_section

__all__ = ["ExpertsSection", "counted_tables", "experts_section"]
