"""A file of another tool -> records of a suite, marked with their origin."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.catalog import Catalog
from harness.errors import InputError, nearest
from harness.hub import resolve_config
from harness.imports.document import Document, read_document, shown
from harness.imports.guidellm import read_guidellm
from harness.imports.lm_eval import read_lm_eval
from harness.imports.result import Foreign, Given
from harness.imports.vllm_bench import read_latency, read_serve, read_throughput
from harness.quantities import count_of, plain
from harness.record import Cell, Failed, Origin, Record, Subject
from harness.scenario import QualityScenario, ServingScenario, load_words
from harness.schema import fingerprint
from harness.store import Store

_LONGEST_NAME = 120
_SUITE = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


@dataclass(frozen=True)
class Format:
    """One kind of file, and by which keys it is known: two of them are enough, the most decide."""

    name: str
    keys: frozenset[str]
    read: Callable[[Document, Given], Foreign]
    takes: frozenset[str] = frozenset()
    """Which of the lengths and the concurrency the file does not tell."""


FORMATS = (
    Format(
        "vllm bench throughput", frozenset({"elapsed_time", "num_requests", "total_num_tokens", "tokens_per_second"}),
        read_throughput, frozenset({"prompt_tokens", "output_tokens"}),
    ),
    Format(
        "vllm bench latency", frozenset({"avg_latency", "latencies", "percentiles"}), read_latency,
        frozenset({"prompt_tokens", "output_tokens", "concurrency"}),
    ),
    Format(
        "vllm bench serve",
        frozenset({"request_throughput", "total_token_throughput", "request_rate", "completed", "total_input_tokens"}),
        read_serve,
    ),
    Format("lm-eval", frozenset({"results", "configs", "versions", "n-shot", "lm_eval_version"}), read_lm_eval),
    Format("guidellm", frozenset({"benchmarks"}), read_guidellm),
)


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    written: tuple[tuple[Path, Record], ...] = ()
    known: tuple[Path, ...] = ()
    """The records of an earlier import of this file: then nothing is written."""
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What was done, in words."""
        if self.known:
            return [
                f"nothing written: the suite has this file's results already ({count_of(len(self.known), 'record')})",
                f"  to import it in another way, first remove {self.known[0]}"
                + (" and the others of its run" if len(self.known) > 1 else ""),
            ]
        return [*(f"{path}: {_words(record)}" for path, record in self.written), *self.remarks]


def _words(record: Record) -> str:
    """A record's result in a few words."""
    scenario, outcome = record.cell.scenario, record.outcome
    what: str = scenario.kind
    if isinstance(scenario, ServingScenario):
        what = f"{scenario.name}, {load_words(scenario.load)}, {count_of(scenario.requests, 'request')}"
    elif isinstance(scenario, QualityScenario):
        what = scenario.task
    failed = f", {outcome.message}" if isinstance(outcome, Failed) else ""
    again = f", repeat {record.repeat}" if record.repeat else ""
    return " ".join(plain(f"{what}{again}{failed}").split())


def import_file(path: Path, given: Given, store: Store) -> Imported:
    """Appends the results in a file to the records of a suite, unless the suite has that file's results already.

    A cell that has records gets the next repeat. Raises InputError with `file:key` for a file that is wrong or of no
    known format, and StoreError where a record cannot be written.
    """
    _check(given)
    document = read_document(path)
    records = list(store.read(given.suite, []))
    known = tuple(at for at, one in records if one.origin and one.origin.fingerprint == document.fingerprint)
    if known:
        return Imported(known=known)
    repeats = Counter(one.cell.id for _, one in records)
    try:
        foreign = _format_of(document, given).read(document, given)
        made = list(_records(document, foreign, given, repeats))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"gives no valid {error.title}: {first['msg']}", where=f"{path}:{place}") from None
    written = tuple((store.append(record), record) for record in made)
    return Imported(written, remarks=_remarks(foreign))


def _check(given: Given) -> None:
    """Raises InputError, naming the option, for a name that no record can have."""
    if not _SUITE.fullmatch(given.suite):
        hint = "small letters, digits and hyphens, such as published"
        raise InputError(f"no name of a suite: {shown(given.suite)}", where="--suite", hint=hint)
    texts = {
        "--model": given.model, "--name": given.name or "-", "--accelerator": given.accelerator,
        "--precision": given.precision,
    }
    for option, text in texts.items():
        if not 1 <= len(text.strip()) <= _LONGEST_NAME or not text.isprintable():
            raise InputError(f"is no name: {shown(text)}", where=option)


def _format_of(document: Document, given: Given) -> Format:
    """The format that the content has. Raises InputError where it has none, naming what was looked for."""
    where, value = str(document.path), document.values[0]
    if isinstance(value, list) and value and isinstance(value[0], dict) and {"benchmark", "metric"} <= value[0].keys():
        raise InputError(
            "is vLLM's copy of a result for the PyTorch benchmark database", where=where,
            hint="import the file without .pytorch in its name, which vLLM wrote beside it",
        )
    best = max(FORMATS, key=lambda one: _likeness(one, value))
    if not _likeness(best, value):
        looked = "; ".join(f"{one.name} ({', '.join(sorted(one.keys))})" for one in FORMATS)
        raise InputError("is no result that is known here", where=where, hint=f"looked for the keys of {looked}")
    if len(document.values) > 1 and best.name != "vllm bench serve":
        raise InputError(f"holds {len(document.values)} JSON values, and {best.name} writes one", where=where)
    for name in ("prompt_tokens", "output_tokens", "concurrency"):
        asked = getattr(given, name)
        option = "--" + name.replace("_", "-")
        if asked is not None and name not in best.takes:
            raise InputError(f"a file of {best.name} tells this itself", where=option, hint="leave the option out")
        if asked is not None and asked < 1:
            raise InputError(f"is a whole number above 0 (given: {asked})", where=option)
    return best


def _likeness(known: Format, value: Any) -> int:
    """How many of a format's keys a value has; 0 where these are too few to tell."""
    if not isinstance(value, dict):
        return 0
    if known.name == "guidellm":
        rows = value.get("benchmarks")
        return int(isinstance(rows, list) and all(isinstance(row, dict) and "metrics" in row for row in rows))
    found = len(known.keys & value.keys())
    return found if found > 1 else 0


def _records(document: Document, foreign: Foreign, given: Given, repeats: Counter[str]) -> Iterator[Record]:
    origin = Origin(
        tool=foreign.tool, version=foreign.version, file=os.fsencode(document.path.name).decode("utf-8", "replace"),
        fingerprint=document.fingerprint
    )
    subject = Subject(
        model=given.model, source=f"import:{foreign.model}", revision=None, weights="checkpoint",
        precision=given.precision, quantization=None, backend=foreign.backend, engine={},
        accelerator=given.accelerator, tensor_parallel=given.tensor_parallel, expert_parallel=False,
    )
    for index, found in enumerate(foreign.found):
        cell = Cell(subject=subject, scenario=found.scenario, seed=0)
        yield Record(
            id=fingerprint({"file": document.fingerprint, "index": index})[:12],
            run_id=f"import-{document.fingerprint.removeprefix('sha256:')[:12]}", suite=given.suite, cell=cell,
            repeat=repeats[cell.id], started_at=found.started_at, duration_s=found.duration_s, group=None,
            config=dict(given.config), environment=foreign.environment, outcome=found.outcome, origin=origin,
        )
        repeats[cell.id] += 1


def _remarks(foreign: Foreign) -> tuple[str, ...]:
    """What the user should know of how the file was read."""
    if all(found.fixed for found in foreign.found):
        return ()
    return ("the requests differ in length: the cells hold the mean lengths",)


def config_of(argument: str, catalog: Catalog) -> dict[str, Any]:
    """The config.json that `argument` names: of a model of the catalog, else a file, a checkpoint's folder or a hub's.

    Raises InputError where there is none, and for a model whose structure was never published.
    """
    names = {name.casefold(): name for name in catalog.names()}
    if argument.casefold() not in names:
        try:
            return dict(resolve_config(argument)[0])
        except InputError as error:
            raise _or_of_the_catalog(error, argument, names) from error
    config = catalog.load(names[argument.casefold()]).config
    if config is None:
        raise InputError(f"the structure of {argument} is not published in full", where="--config")
    return dict(config)


def _or_of_the_catalog(error: InputError, argument: str, names: Mapping[str, str]) -> InputError:
    """The same error for what is no path that exists, with the hint that names of the catalog do too."""
    if Path(argument).exists():
        return error
    near = nearest(argument.casefold(), names)
    told = near if near.startswith("did you mean") else "`moebench models` lists them"
    return InputError(error.what, where=error.where, hint=f"{error.hint}, or a name of the catalog: {told}")
