"""The blocks of a sheet, laid out for the width of the terminal: no label is lost and no number cut or broken.

rich's own tables take the thin space between thousands for a place to break, and shorten what does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions
from rich.text import Text

from harness.quantities import grouped, plain

_GAP = 2
_LEAST_TEXT = 16
"""The narrowest column in which text is wrapped beside something; in less it stands above it."""
_BLANKS = re.compile("[ \t]+")
"""Where a line may break: not at the spaces within numbers."""
_LONG_NUMBER = re.compile(r"(?<![\w.])\d{4,}(?!\w)")


def in_groups(words: str) -> str:
    """Our words for a structure, with thin spaces between the thousands of their numbers."""
    return _LONG_NUMBER.sub(lambda match: grouped(int(match[0]), 0), words)


def wrapped(text: str, width: int) -> list[str]:
    """The lines of `text` in `width` columns, what follows indented as far as its beginning.

    Lines break at ordinary blanks; only a word that is wider than a line is cut.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        # a wide character takes two columns
        indent = " " * max(0, min(len(paragraph) - len(paragraph.lstrip(" ")), width // 2, width - 2))
        lines += [indent + line for line in _filled(paragraph, max(1, width - len(indent)))]
    return lines


def _filled(paragraph: str, width: int) -> Iterator[str]:
    line = ""
    for word in filter(None, _BLANKS.split(paragraph)):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            yield line
        *full, line = chop_cells(word, width)
        yield from full
    yield line


def _widest(texts: Iterable[str]) -> int:
    return max((cell_len(line) for text in texts for line in text.split("\n")), default=0)


def _left(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


@dataclass(frozen=True)
class _Block:
    """Something that rich prints line by line as it is."""

    def lines(self, width: int) -> Iterator[str]:
        """The lines of the block, none wider than `width`."""
        raise NotImplementedError

    @property
    def line_style(self) -> str:
        """The style of all lines."""
        return ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        text = "\n".join(line.rstrip() for line in self.lines(options.max_width))
        yield Text(text, style=self.line_style, no_wrap=True, overflow="ignore")


@dataclass(frozen=True)
class Prose(_Block):
    """A text that wraps."""

    text: str
    style: str = ""

    def lines(self, width: int) -> Iterator[str]:
        """See `_Block`."""
        yield from wrapped(self.text, width)

    @property
    def line_style(self) -> str:
        """See `_Block`."""
        return self.style


@dataclass(frozen=True)
class Labelled(_Block):
    """Labels, and beside each, or below it where there is no room, its text."""

    rows: tuple[tuple[str, str], ...]
    style: str = ""

    def lines(self, width: int) -> Iterator[str]:
        """See `_Block`."""
        label_width = _widest(label for label, _ in self.rows) + _GAP
        beside = width - label_width
        for label, foreign in self.rows:
            text = plain(foreign)
            if beside >= _LEAST_TEXT:
                first, *more = wrapped(text, beside)
                yield _left(label, label_width) + first
                yield from (" " * label_width + line for line in more)
            else:
                yield from wrapped(label, width)
                yield from (f"  {line}" for line in wrapped(text, max(1, width - 2)))

    @property
    def line_style(self) -> str:
        """See `_Block`."""
        return self.style


@dataclass(frozen=True)
class Numbers(_Block):
    """Labels, and numbers under headings to the right of each; below it, with their headings, where there is no room.

    `headings` has the labels' own first; all empty: no line of headings.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def lines(self, width: int) -> Iterator[str]:
        """See `_Block`."""
        columns = list(zip(*([self.headings, *self.rows]), strict=True))
        widths = [_widest(column) for column in columns[1:]]
        natural = _widest(columns[0])
        room = width - sum(widths) - _GAP * len(widths)
        if room < min(natural, _LEAST_TEXT):
            yield from self._stacked(width)
            return
        label_width = min(room, natural)
        for row in ([self.headings] if any(self.headings) else []) + list(self.rows):
            *above, last = wrapped(row[0], label_width)
            yield from above
            parts = [_left(last, label_width)]
            parts += [_right(text, size) for text, size in zip(row[1:], widths, strict=True)]
            yield (" " * _GAP).join(parts)

    def _stacked(self, width: int) -> Iterator[str]:
        heading_width = _widest(self.headings[1:])
        for row in self.rows:
            yield from wrapped(row[0], width)
            for heading, text in zip(self.headings[1:], row[1:], strict=True):
                if text and heading_width + _GAP + 2 + cell_len(text) <= width:
                    yield f"  {_left(heading, heading_width)}{' ' * _GAP if heading_width else ''}{text}"
                elif text:
                    yield from (f"  {line}" for line in wrapped(f"{heading} {text}".strip(), max(1, width - 2)))


def quantities(rows: Sequence[tuple[str, str, str]]) -> Numbers:
    """What, how much, and its unit, numbers and units under each other."""
    numbers, units = _widest(row[1] for row in rows), _widest(row[2] for row in rows)
    cells = tuple((what, f"{_right(number, numbers)}  {_left(unit, units)}") for what, number, unit in rows)
    return Numbers(("", ""), cells)
