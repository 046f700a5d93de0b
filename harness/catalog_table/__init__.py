"""`moebench models` and `moebench describe` as the terminal shows them."""

from harness.catalog_table.listing import listing
from harness.catalog_table.sheet import sheet

__all__ = ["listing", "sheet"]
