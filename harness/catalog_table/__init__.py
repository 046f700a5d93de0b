"""`moebench models` and `moebench describe` as the terminal shows them."""

from harness.catalog_table.listing import LMSYS_DATE, listing
from harness.catalog_table.sheet import sheet

__all__ = ["LMSYS_DATE", "listing", "sheet"]
