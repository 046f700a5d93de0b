"""Strict readers of what moebench writes: they refuse what a forgiving one would repair."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "path", "rect", "circle", "line"})
_MATH = {r"\pm": "±", r"\times": "×", r"\uparrow": "↑", r"\downarrow": "↓", r"\rightarrow": "→", r"\mu": "µ"}
_WORDS = {
    r"\textbackslash": "\\", r"\textasciitilde": "~", r"\textasciicircum": "^", r"\textless": "<",
    r"\textgreater": ">", r"\textbar": "|", r"\textendash": "–", r"\textemdash": "—", r"\textellipsis": "…",
    r"\textbf": None, r"\texttt": None, r"\footnotesize": None, r"\par": None,
    r"\begin": None, r"\end": None, r"\toprule": None, r"\midrule": None, r"\bottomrule": None,
    r"\ss": "ß", r"\ae": "æ", r"\AE": "Æ", r"\o": "ø", r"\O": "Ø", r"\l": "ł", r"\L": "Ł", r"\oe": "œ", r"\OE": "Œ",
    r"\i": "\u0131", r"\textperiodcentered": "·", r"\textquoteright": "\u2019",
}
"""Every command that moebench writes, with what it shows; None for one that shows its argument or nothing."""
_ACCENTS = frozenset(rf"\{mark}" for mark in "`'^~=u.\"rHvc")
_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|.", re.DOTALL)


class Document(HTMLParser):
    """A page whose elements close in order: its elements with their attributes, addresses and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.shapes: set[tuple[str, str]] = set()
        """Every element with each of its attributes, and with none."""
        self.addresses: list[str] = []
        self.values: list[str] = []
        self.text: list[str] = []
        self.headings: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        self.shapes |= {(tag, ""), *((tag, name) for name in names)}
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")]
        self.values += [value or "" for _, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open[-1:] == ["h1"]:
            self.headings.append(data)

    def handle_comment(self, data: str) -> None:
        self.shapes.add(("<!--", data))

    def handle_decl(self, decl: str) -> None:
        self.shapes.add(("<!", decl))

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction: {data[:80]}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"an unknown declaration: {data[:80]}")


def read_html(path: Path) -> Document:
    """A page. Raises AssertionError where elements do not close in order."""
    document = Document()
    document.feed(path.read_text(encoding="utf-8"))
    document.close()
    assert not document.open, f"{path.name}: {document.open} are not closed"
    return document


def read_latex(text: str) -> list[list[str]]:
    """The cells of each row as they are shown, then the notes, a row each.

    Raises AssertionError for a command that moebench does not write, for braces and mathematics that do not close, for
    special characters that are not escaped, and for what is not ASCII.
    """
    assert text.isascii()
    first, _, body = text.partition("\n")
    assert first == r"% \usepackage{booktabs}"
    head = re.match(r"\\begin\{tabular\}\{l+r*\}\n", body)
    assert head
    rows, row, shown, depth, math = list[list[str]](), list[str](), "", 0, False
    content = body[head.end():].replace(r"\symbol{34}", '"').replace(r"\`{}", "\x01")
    tokens = [found[0] for found in _TOKEN.finditer(content)]
    for before, token in zip(["", *tokens], tokens, strict=False):
        if token in ("{", "}"):
            depth += 1 if token == "{" else -1
            assert depth >= 0, "a brace that nothing opened"
        elif token == "$":
            math = not math
        elif token == "&":
            assert not depth and not math, "a column within a group"
            row, shown = [*row, shown.strip()], ""
        elif token == r"\\":
            assert not depth and not math, "a row within a group"
            rows, row, shown = [*rows, [*row, shown.strip()]], [], ""
        elif token == "\n":
            shown += " "
        elif token.startswith("\\"):
            shown += _shown(token, math=math)
        else:
            assert token not in "#%~" and (math or token not in "^_"), f"{token!r} after {before!r}"
            shown += "`" if token == "\x01" else token
    assert depth == 0 and not math
    return [*rows, [shown.strip()]]


def _shown(token: str, *, math: bool) -> str:
    if math:
        assert token in _MATH or token == r"\,", token
        return _MATH.get(token, "")
    if token in _WORDS:
        return _WORDS[token] or ""
    if token in _ACCENTS:
        return ""
    assert token in (r"\,", r"\{", r"\}", r"\$", r"\&", r"\#", r"\%", r"\_"), f"the command {token!r}"
    return "" if token == r"\," else token[1:]
