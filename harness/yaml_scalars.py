"""Safe YAML loaders that tell a value that only looks like a date or a number as an error of YAML, with its line."""

from __future__ import annotations

from typing import Any

import yaml


class ToldScalars(yaml.constructor.SafeConstructor):
    """For a safe loader: what looks like a date or a number but is none is a ConstructorError.

    PyYAML's own has whatever Python raised, without the line.
    """

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """See PyYAML's BaseConstructor."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            shown, kind = repr(str(node.value)[:40]), str(node.tag).rpartition(":")[2]
            what = f"{shown} is no {kind}; text goes in quotes"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error


class TellingLoader(ToldScalars, yaml.SafeLoader):
    """In Python."""


FAST_LOADER: Any = type("FastLoader", (ToldScalars, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), {})
"""With libyaml's parser, where it is there."""


def problem_of(error: Exception) -> tuple[str, str]:
    """What a file that is no YAML has wrong, in one line, and `:line` where that is known."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "strerror", None) or error
    return " ".join(str(problem).split()), f":{mark.line + 1}" if mark else ""
