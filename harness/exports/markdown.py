"""A printed table as Markdown, as GitHub and others read it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.exports.printed import Printed, PrintedCell, PrintedColumn, PrintedRow

_ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
MISSING = "–"
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~&!^@$]|:(?=\S)|(?<=www)\.", re.IGNORECASE)
"""What starts markup in GitHub's Markdown; `:` only where an address or the name of an emoji can follow."""


def to_markdown(table: Printed) -> str:
    """The table as Markdown: numbers right-aligned, the best of a column bold where it stands apart; "" for no rows."""
    if not table.rows:
        return ""
    heads = ["Model", "Kind", *(_head(column) for column in table.columns)]
    lines = [
        _line(heads), _line(["---", "---", *("---:" if one.numeric else "---" for one in table.columns)]),
        *(_line(_cells(row)) for row in table.rows), "",
        escaped(table.caption), *(f"\n({number}) {escaped(note)}" for number, note in enumerate(table.notes, 1)),
    ]
    return "\n".join(lines) + "\n"


def _head(column: PrintedColumn) -> str:
    unit = f" ({escaped(column.unit)})" if column.unit else ""
    return f"{escaped(column.title)}{unit}{_ARROWS[column.better]}"


def _cells(row: PrintedRow) -> list[str]:
    notes = "".join(f" ({number})" for number in row.notes)
    return [f"{escaped(row.name)}{notes}", row.kind, *(_value(cell) for cell in row.cells)]


def _value(cell: PrintedCell) -> str:
    text = escaped(cell.text) or MISSING
    text = f"**{text}**" if cell.best else text
    return f"{text} {cell.margin}".rstrip()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escaped(text: str) -> str:
    """Text of one line that starts no markup: no code, emphasis, link, image, HTML, mention, address or mathematics."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};" if found[0] in "@$" else f"\\{found[0]}", text)
