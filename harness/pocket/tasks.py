"""Writes the lm-eval tasks' data: one JSONL file a task, the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.pocket import world
from harness.pocket.world import Item

Row = dict[str, Any]

CHOICES = 4
CHOICE_ITEMS = 300


def tables() -> dict[str, list[Row]]:
    """Every data file's name and rows."""
    found: dict[str, list[Row]] = {}
    for name in world.WORLDS:
        facts = world.fact_items(name, world.ITEMS["facts"])
        found[f"facts_{name}.jsonl"] = [item.model_dump() for item in facts]
        found[f"facts_choice_{name}.jsonl"] = [choice(name, item) for item in facts[:CHOICE_ITEMS]]
    for family in world.COMPUTED:
        items = world.computed_items(family, world.ITEMS[family])
        found[f"{family}.jsonl"] = [item.model_dump() for item in items]
    return found


def choice(name: str, item: Item) -> Row:
    """A fact with three wrong values of the same relation beside the true one."""
    source = world.stream("choice", name, item.prompt)
    options = [item.answer]
    while len(options) < CHOICES:
        other = world.pick(source, world.values_of(item.prompt.split()[-1]))
        options += [] if other in options else [other]
    place = int(source.random() * CHOICES)
    options[0], options[place] = options[place], options[0]
    return {"prompt": item.prompt, "choices": options, "label": place}


def text(rows: list[Row]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder: Path) -> list[Path]:
    """Writes every data file to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, rows in tables().items():
        (folder / name).write_text(text(rows), encoding="utf-8")
        paths.append(folder / name)
    return paths
