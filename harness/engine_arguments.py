"""The engine's argument names, read from vLLM's source: importing vLLM would take ten seconds."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def engine_argument_names() -> frozenset[str]:
    """The keyword arguments that `vllm.LLM` takes; empty where vLLM is not installed or laid out otherwise."""
    spec = find_spec("vllm")
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    found: set[str] = set()
    for folder in folders:
        found |= _fields(folder / "engine" / "arg_utils.py", "EngineArgs")
        found |= _parameters(folder / "entrypoints" / "llm.py", "LLM")
    return frozenset(found)


def _fields(path: Path, name: str) -> set[str]:
    """The annotated fields of a class."""
    return {
        node.target.id for node in _class_body(path, name)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _parameters(path: Path, name: str) -> set[str]:
    """The parameters of a class's constructor."""
    return {
        argument.arg for node in _class_body(path, name)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        for argument in (*node.args.args, *node.args.kwonlyargs)
    }


def _class_body(path: Path, name: str) -> list[ast.stmt]:
    if not path.is_file():
        return []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [part for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name for part in node.body]
