"""Text inside an HTML document that must not end its element: scripts, styles, whole pages, files."""

from __future__ import annotations

import re
from base64 import b64encode
from html import escape

_OPENERS = re.compile(r"<(\\*)(?=/?script|!--)", re.IGNORECASE)
"""What changes how a browser reads a script element: it ends it, or lets another begin within."""


def inline_script(text: str) -> str:
    """JavaScript for a script element: `<` is escaped where it would end the element or hide its end.

    Both forms stand for the same character in strings, templates and regular expressions, the only places where
    `</script` and `<!--` can be: as code the first is a syntax error and the second begins a comment.
    """
    return re.sub(r"<(?=/script|!--)", r"\\x3c", text, flags=re.IGNORECASE)


def inline_style(text: str) -> str:
    """CSS for a style element: `<` is escaped in strings, the only place where `</style` can be."""
    return re.sub(r"<(?=/style)", r"\\3c ", text, flags=re.IGNORECASE)


def inert_text(text: str) -> str:
    """Any text for a script element of no known language; standalone.js reads it back as it was.

    One backslash is put after each `<` that would matter there, and after those already followed by backslashes, so
    that taking one away is exact.
    """
    return _OPENERS.sub(lambda found: f"<\\{found[1]}", text)


def inert_page(path: str, title: str, html: str) -> str:
    """A page's HTML as text that the browser keeps and does not read."""
    return _inert(f'data-page="{escape(path)}" data-title="{escape(title)}"', inert_text(html))


def inert_file(path: str, content: bytes) -> str:
    """A file that a reader may save: text as it is, anything else in base64."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.encode("utf-8") != content or "\r" in text or "\0" in text:  # HTML keeps neither character
        return _inert(f'data-file="{escape(path)}" data-base64', b64encode(content).decode())
    return _inert(f'data-file="{escape(path)}"', inert_text(text))


def _inert(attributes: str, text: str) -> str:
    return f'<script type="text/plain" {attributes}>{text}</script>\n'
