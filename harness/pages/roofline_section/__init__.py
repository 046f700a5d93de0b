"""The section "Roofline" of a model's page: operating points under the limits of the device, and what binds them."""

from harness.pages.roofline_section.section import RooflineSection, roofline_section

__all__ = ["RooflineSection", "roofline_section"]
