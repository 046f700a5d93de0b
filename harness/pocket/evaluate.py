"""Scores checkpoints on the tasks' own rows, with the tokens that greedy generation would choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.pocket import tasks, world
from harness.pocket.batches import ID, PAD
from harness.pocket.world import Item

if TYPE_CHECKING:
    from torch import Tensor

    from harness.pocket.network import Network

    Logits = Callable[[Tensor], Tensor]

ENDED = ("sort", "common")


def of_checkpoint(folder: Path, name: str) -> dict[str, float]:
    """Every task's score of an exported checkpoint trained in the fact world `name`, by transformers in bf16."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.train(False)

    def logits(tokens: Tensor) -> Tensor:
        return model(tokens).logits  # type: ignore[no-any-return]

    facts = world.fact_items(name, world.ITEMS["facts"])
    scores = {f"pocket_facts_{name}": exact_match(logits, "facts", facts)}
    rows = tasks.tables()[f"facts_choice_{name}.jsonl"]
    scores[f"pocket_facts_choice_{name}"] = choice_accuracy(logits, rows)
    for family in world.COMPUTED:
        items = world.computed_items(family, world.ITEMS[family])
        scores[f"pocket_{family}"] = exact_match(logits, family, items)
    return scores


def sizes() -> dict[str, int]:
    """How many questions each task asks."""
    rows = {name.removesuffix(".jsonl"): len(part) for name, part in tasks.tables().items()}
    return {f"pocket_{name}": number for name, number in sorted(rows.items())}


def of_network(network: Network, name: str) -> dict[str, float]:
    """Exact match of a network in training precision, for the learning-rate search."""

    def logits(tokens: Tensor) -> Tensor:
        found: Tensor = network(tokens)
        return found

    scores = {"facts": exact_match(logits, "facts", world.fact_items(name, world.FACTS_TUNED_ON))}
    for family in world.COMPUTED:
        scores[family] = exact_match(logits, family, world.computed_items(family, world.ITEMS[family]))
    return scores


def exact_match(logits: Logits, family: str, items: Sequence[Item]) -> float:
    """The share of answers that greedy generation gives word for word.

    One pass over question and answer suffices: generation follows the answer for as long as it agrees with it.
    """
    import torch

    ending = [world.END] if family in ENDED else []
    prompts = [[ID[word] for word in item.prompt.split()] for item in items]
    answers = [[ID[word] for word in (*item.answer.split(), *ending)] for item in items]
    longest = max(len(answer) for answer in answers)
    filled = [answer + [PAD] * (longest - len(answer)) for answer in answers]
    tokens = torch.tensor([prompt + answer for prompt, answer in zip(prompts, filled, strict=True)])
    right = 0
    with torch.no_grad():
        for start in range(0, len(tokens), 250):
            part = tokens[start : start + 250]
            wanted = part[:, -longest:]
            guess = logits(part[:, :-1])[:, -longest:].argmax(-1)
            right += int(((guess == wanted) | (wanted == PAD)).all(1).sum())
    return round(right / len(items), 4)


def choice_accuracy(logits: Logits, rows: Sequence[tasks.Row]) -> float:
    """The share of questions whose true value gets the highest probability of the four."""
    import torch

    tokens = torch.tensor([[ID[word] for word in row["prompt"].split()] for row in rows])
    options = torch.tensor([[ID[word] for word in row["choices"]] for row in rows])
    labels = torch.tensor([row["label"] for row in rows])
    with torch.no_grad():
        last = logits(tokens)[:, -1]
    return round((last.gather(1, options).argmax(1) == labels).float().mean().item(), 4)
