"""What names a model in flat rows: the same columns in the rows of models and in those of loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from harness.exports.parts import Column, Exported, Field, Item, Scalar
from harness.summary import ModelSummary

_TEXTS: dict[str, tuple[str, str]] = {
    "model": ("Model", "the name under which the suite lists it; of a group its own"),
    "kind": ("Kind", "moe where some layer routes tokens to experts, else dense; empty where that is not known"),
    "group": ("Group", "the recipe of which it is one training"),
    "members": ("Members", "the trainings that a group is made of, separated by blanks"),
    "license": ("Licence", "as the suite states it, else the catalog; empty where neither does, or a group's differ"),
    "source": ("Source", "path:<folder>, hub:<organisation>/<name>, or import:<name> as another tool had it"),
    "revision": ("Revision", "a commit of the hub, or the SHA-256 of a local checkpoint's files"),
    "weights": ("Weights", "checkpoint, or dummy where they are random: then speeds and scores mean nothing"),
    "precision": ("Precision", "of the weights"),
    "quantization": ("Quantization", "its method; empty where there is none"),
    "backend": ("Backend", "what served the model"),
    "accelerator": ("Accelerator", "the device; on a machine without one the processor"),
    "tensor_parallel": ("Tensor parallel", "devices over which each layer is spread"),
    "expert_parallel": ("Expert parallel", "whether experts are spread over the devices"),
    "vllm_version": ("vLLM", "its version at the newest measurement"),
    "newest_record_at": ("Newest record", "when the newest measurement began, ISO 8601"),
    "failed_cells": ("Failed cells", "cells whose newest attempt failed"),
    "refused_cells": ("Refused cells", "cells that did not fit the machine and were not tried"),
    "notes": ("Notes", "what to know of the model and its operating points"),
    "records": ("Records", "the record files as suite/cell/file, separated by blanks"),
}
ALL = tuple(_TEXTS)
"""Every column that names a model, in order."""
OF_A_LOAD = (
    "model", "kind", "weights", "precision", "quantization", "backend", "accelerator", "tensor_parallel",
    "expert_parallel",
)
"""Those that a row of a load has too: what its speeds depend on besides the load."""
_UNITS = {"failed_cells": "cells", "refused_cells": "cells", "tensor_parallel": "devices"}
_TRUTHS = ("expert_parallel",)


def identity_fields(
    exported: Exported, names: Sequence[str], summary_of: Callable[[Item], ModelSummary]
) -> Iterator[Field[Item]]:
    """The columns of those `names` for rows of any kind, of each of which `summary_of` gives the model."""
    for name in names:
        title, formula = _TEXTS[name]
        kind = "integer" if name in _UNITS else "truth" if name in _TRUTHS else "text"
        column = Column.model_validate(
            {"name": name, "kind": kind, "title": title, "unit": _UNITS.get(name), "formula": formula}
        )
        yield Field(column, partial(_fact, exported=exported, name=name, summary_of=summary_of), kept=True)


def _fact(item: Item, *, exported: Exported, name: str, summary_of: Callable[[Item], ModelSummary]) -> Scalar:
    summary = summary_of(item)
    if name in ("failed_cells", "refused_cells"):
        return sum(gap.status == name.removesuffix("_cells") for gap in summary.gaps)
    facts: dict[str, Callable[[], Scalar]] = {
        "model": lambda: summary.model,
        "kind": lambda: {True: "moe", False: "dense", None: None}[summary.is_moe],
        "group": lambda: summary.group,
        "members": lambda: " ".join(member.model for member in summary.members) or None,
        "license": partial(exported.licence, summary),
        "vllm_version": lambda: summary.environment.versions.get("vllm"),
        "newest_record_at": summary.started_at.isoformat,
        "notes": lambda: "; ".join(dict.fromkeys(_notes(summary))) or None,
        "records": lambda: " ".join("/".join(path.parts[-3:]) for path in summary.records) or None,
    }
    found: Scalar = facts[name]() if name in facts else getattr(summary.subject, name)
    return found


def _notes(summary: ModelSummary) -> list[str]:
    """What to know of a model, and of its operating points."""
    unread = (f"the routing of {work.name} is not shown: {work.reason}" for work in summary.unread)
    return [*summary.notes, *unread, *(note for point in summary.points for note in point.notes)]
