"""Flat rows as CSV that spreadsheets take for what it is: text stays text."""

from __future__ import annotations

import csv
import io
import re

from harness.exports.parts import DataTable, Scalar
from harness.quantities import plain

_STARTS = r"=+\-@|%\u2212\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b"
"""What makes a spreadsheet calculate, also in full width and as small forms, which some of them fold."""
_FORMULA = re.compile(rf"(^|[;,\t\n])([\s\ufffd\u200b\u2060]*)(?=[{_STARTS}])")


def to_csv(table: DataTable) -> str:
    """The rows as CSV (RFC 4180, header first), empty where a value is missing; "" for no rows.

    A field is quoted where it holds a comma, a quote or a line end. Where text, or what comes after a separator within
    it, begins as a formula does, blanks left aside, an apostrophe goes before that; numbers are left alone. Control and
    direction characters become U+FFFD.
    """
    if not table.rows:
        return ""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_MINIMAL)
    writer.writerow([harmless(name) for name in table.names])
    writer.writerows([[_cell(row[name]) for name in table.names] for row in table.rows])
    return buffer.getvalue()


def _cell(value: Scalar) -> Scalar:
    if isinstance(value, str):
        return harmless(value)
    return "" if value is None else value


def harmless(text: str) -> str:
    """`text` in which no spreadsheet finds a formula, whatever it takes for a separator."""
    return _FORMULA.sub(r"\1\2'", plain(re.sub("\r\n?|[\u2028\u2029\x85\x0b\x0c]", "\n", text)))
