"""A printed table as LaTeX that every engine compiles: pure ASCII, with the booktabs package alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from harness.exports.printed import Printed, PrintedCell, PrintedColumn, PrintedRow

_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "none": ""}
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\symbol{34}", "`": r"\`{}", "'": "{'}", "[": "{[}", "]": "{]}", "*": "{*}",
    "\u2212": "$-$", "\u00b1": r"$\pm$", "\u00d7": r"$\times$", "\u2013": r"\textendash{}", "\u2014": r"\textemdash{}",
    "\u2026": r"\textellipsis{}", "\u2192": r"$\rightarrow$", "\u202f": r"\,", "\u2009": r"\,", "\u00a0": "~",
    "\u00b5": r"$\mu$", "\u03bc": r"$\mu$", "\u00df": r"\ss{}", "\u00e6": r"\ae{}", "\u00c6": r"\AE{}",
    "\u00f8": r"\o{}", "\u00d8": r"\O{}", "\u0142": r"\l{}", "\u0141": r"\L{}", "\u0153": r"\oe{}", "\u0152": r"\OE{}",
    "\u0131": r"\i{}", "\u00b7": r"\textperiodcentered{}", "\u2019": r"\textquoteright{}",
}
"""Characters that are commands, begin ligatures or end the optional argument of a row; and some that have a name."""
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}
_MISSING = r"\textendash{}"


def to_latex(table: Printed) -> str:
    r"""The table as a `tabular` with its notes under it, for \input; "" for no rows.

    It needs \usepackage{booktabs}. Intervals are $\pm$, units in a line of their own under the heads, the best of a
    column bold where it stands apart. Letters that not every engine sets are written as U+ and their number.
    """
    if not table.rows:
        return ""
    units = ["", "", *(f"({escaped(column.unit)})" if column.unit else "" for column in table.columns)]
    notes = [table.caption, *(f"({number}) {note}" for number, note in enumerate(table.notes, 1))]
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{ll{''.join('r' if one.numeric else 'l' for one in table.columns)}}}", r"\toprule",
        _line(["Model", "Kind", *(_head(column) for column in table.columns)]),
        *([_line(units)] if any(units) else []), r"\midrule",
        *(_line(_cells(row)) for row in table.rows), r"\bottomrule", r"\end{tabular}",
        *(rf"\par{{\footnotesize {escaped(note)}\par}}" for note in notes),
    ]
    return "\n".join(lines) + "\n"


def _head(column: PrintedColumn) -> str:
    return f"{escaped(column.title)}{_ARROWS[column.better]}"


def _cells(row: PrintedRow) -> list[str]:
    notes = "".join(f" ({number})" for number in row.notes)
    return [f"{escaped(row.name)}{notes}", row.kind, *(_value(cell) for cell in row.cells)]


def _value(cell: PrintedCell) -> str:
    if not cell.text:
        return _MISSING
    text = rf"\textbf{{{escaped(cell.text)}}}" if cell.best else escaped(cell.text)
    sides = re.fullmatch("\\+(.+) \u2212(.+)", cell.margin)
    if sides:
        return f"{text} ${{}}^{{+{_number(sides[1])}}}_{{-{_number(sides[2])}}}$"
    return f"{text} {escaped(cell.margin)}".rstrip()


def _number(text: str) -> str:
    """A number within mathematics."""
    return text.replace("\u202f", r"\,").replace("\u2212", "-")


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def escaped(text: str) -> str:
    """Text of one line as LaTeX in ASCII that shows it: no command, comment, column or mathematics of its own."""
    shown = (_shown(character) for character in unicodedata.normalize("NFC", text))
    return re.sub("-(?=-)", "-{}", "".join(shown))


def _shown(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii():
        return character if character.isprintable() else " "
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[1] in _ACCENTS and parts[0].isascii() and parts[0].isalpha():
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"
