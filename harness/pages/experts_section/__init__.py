"""The section "Experts" of a model's page: which experts its tokens use, and what that would cost elsewhere."""

from harness.pages.experts_section.build import ExpertsSection, experts_section

__all__ = ["ExpertsSection", "experts_section"]
