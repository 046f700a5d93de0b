"""Which suite and which models the arguments of a command mean, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from harness.compare import Comparison, compare
from harness.errors import InputError, nearest
from harness.groups import group_summaries
from harness.matching import about_of, named_pairs
from harness.pages.suite_view import leading_score, tasks_of
from harness.resources import suite_files, suites_dir
from harness.store import Store
from harness.suite import Suite, load_suite
from harness.suite_results import suite_results
from harness.summary import ModelSummary


def known_suites(given: Sequence[str]) -> dict[str, tuple[str, Suite]]:
    """The suite files that are shipped or given by path, by their own name, each with the argument that named it.

    Raises InputError for a file that is no suite.
    """
    paths = {str(path): path for path in suite_files().values()}
    paths |= {argument: Path(argument) for argument in given if Path(argument).is_file()}
    loaded = {argument: load_suite(path) for argument, path in paths.items()}
    return {suite.name: (argument, suite) for argument, suite in loaded.items()}


def one_suite(argument: str | None, results: Path) -> str:
    """The name of the suite to read: the one asked for, or the only one that has records.

    Raises InputError where that is none, or not one.
    """
    known = Store(results).suites()
    name = load_suite(Path(argument)).name if argument and Path(argument).is_file() else argument
    if name is None and len(known) == 1:
        return known[0]
    if not known:
        raise InputError("no records here", where=str(results), hint="run `moebench run pocket` first")
    if name is None:
        raise InputError("several suites have records", where="--suite", hint=f"choose one: {', '.join(known)}")
    return Store(results).suite_named(name)


def summaries_of(argument: str | None, results: Path) -> tuple[str, tuple[ModelSummary, ...]]:
    """The name of a suite and what is known of its models, read as its file says where that is known.

    Files that cannot be read are named on stderr and left out. Raises InputError as `one_suite` does.
    """
    suite = one_suite(argument, results)
    _, definition = known_suites([argument] if argument else []).get(suite, ("", None))
    found = suite_results(Store(results), suite, definition, suites_dir())
    for problem in found.problems:
        typer.echo(f"moebench: left out: {problem}", err=True)
    return suite, found.models


def compared(a: str, b: str, suite: str | None, results: Path) -> Comparison:
    """Two models or groups of trainings by name, compared as the suite's site does.

    A group of one training is none; its model is compared instead. Raises InputError, naming what is near, for one
    without records, and where both are one or a training and its own group.
    """
    if a == b:
        raise InputError(f"{a!r} is held against itself", where="compare", hint="name two models or groups")
    name, models = summaries_of(suite, results)
    _, definition = known_suites([suite] if suite else []).get(name, ("", None))
    groups = (group for group in group_summaries(models) if len(group.members) > 1)
    found = {one.model: one for one in (*groups, *models)}
    for wanted in (a, b):
        if wanted not in found:
            only = next((f"its only training is {one.model!r}: name that" for one in models if one.group == wanted), "")
            hint = only or nearest(wanted, found)
            raise InputError(f"no model {wanted!r} in suite {name!r}", where=str(results), hint=hint)
    for group, training in ((a, b), (b, a)):
        if training in {member.model for member in found[group].members}:
            what, hint = f"{training!r} is one of the trainings of {group!r}", "name another group, or two trainings"
            raise InputError(what, where="compare", hint=hint)
    about = about_of(named_pairs(definition)).get(frozenset((a, b)), ())
    score = leading_score(tasks_of(definition, models), definition.leaderboard.score if definition else None)
    return compare(found[a], found[b], score=score, about=about)
