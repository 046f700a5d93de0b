"""What a reader may call a metric when asking for it: its key, a column's name, or its title as tables print it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from harness.errors import InputError, nearest
from harness.exports.load_rows import load_columns, load_table
from harness.exports.model_rows import model_columns, model_table
from harness.exports.parts import Column, Exported, key_of
from harness.exports.printed import title_of

_TABLES = {"models": model_table, "loads": load_table}
_COLUMNS = {"models": model_columns, "loads": load_columns}
TABLES = tuple(_TABLES)
_BEHIND_A_TITLE = re.compile(r"\s*(\([^()]*\))?\s*[↑↓]?\s*$")
"""The unit and the arrow that a printed head has."""


def metric_keys(exported: Exported, given: Iterable[str], tables: Iterable[str]) -> tuple[str, ...]:
    """The keys of the metrics that are meant, each once; one has to be in some of the `tables`.

    Raises InputError, naming what is near and all that the tables have, for one that is in none of them.
    """
    asked, wanted = tuple(given), tuple(tables)
    if not asked:
        return ()
    names = {table: _names(exported, _COLUMNS[table](exported)) for table in TABLES}
    known = {name: key for table in wanted for name, key in names[table].items()}
    found = [known.get(one) or known.get(_as_title(one)) or _refused(exported, one, names, wanted) for one in asked]
    return tuple(dict.fromkeys(found))


def _names(exported: Exported, columns: Iterable[Column]) -> Mapping[str, str]:
    """What a metric of some columns may be called -> its key; keys go before names of columns, these before titles."""
    keyed = [(column.name, key) for column in columns if (key := key_of(column)) is not None]
    titles = {_as_title(title_of(exported.metric(key))): key for _, key in reversed(keyed)}
    return titles | dict(keyed) | {key: key for _, key in keyed}


def _as_title(text: str) -> str:
    return _BEHIND_A_TITLE.sub("", text).casefold()


def _refused(
    exported: Exported, name: str, names: Mapping[str, Mapping[str, str]], wanted: tuple[str, ...]
) -> str:
    """Raises InputError."""
    other = next((one for one in TABLES if name in names[one] or _as_title(name) in names[one]), None)
    if other is not None:
        hint = f"the table of {other} has it: --table {other}"
    else:
        known = {one: key for table in wanted for one, key in names[table].items()}
        near = nearest(_as_title(name).replace(" ", "_"), [one for one in known if " " not in one])
        measured = sorted({key for table in wanted for key in _measured(exported, table, set(known.values()))})
        hint = "" if near.startswith("known") else f"{near}\n  "
        hint += f"there are values of {', '.join(measured)}" if measured else "there are values of none"
    raise InputError(f"no metric {name!r} in the table of {' or '.join(wanted)}", where="--metric", hint=hint)


def without_values(exported: Exported, keys: Sequence[str], tables: Iterable[str]) -> tuple[str, ...]:
    """Those of the `keys` of which no row of the `tables` has a value, in their order."""
    found = {key for table in tables for key in _measured(exported, table, keys)}
    return tuple(key for key in keys if key not in found)


def _measured(exported: Exported, table: str, keys: Collection[str]) -> Iterator[str]:
    """The keys of which some row has a value."""
    found = _TABLES[table](exported, tuple(keys))
    for column in found.columns:
        key = key_of(column)
        if key is not None and any(row[column.name] is not None for row in found.rows):
            yield key
