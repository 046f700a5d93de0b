"""Routing of a million tokens through 64 layers of 128 experts, top-8: read from its file and summarised.

The file is written by another process, and the summary is made in this one, so that its peak of memory is its own;
prints the seconds of each part, those of the processor (which others who use the machine do not lengthen) and the
peak. Tokens, layers and a seed may be given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from peak import peak_bytes

from harness.record import RoutedLayer
from harness.routing.summary import summarise_routing
from harness.routing.tokens import Ids, Routing, StackTokens, pack, unpack

EXPERTS, TOP_K, HIDDEN_BYTES = 128, 8, 4096.0
PREFILL_TOKENS, DECODE_TOKENS, VOCABULARY = 2048, (64, 256), 150_000
PREFILL_SHARE = 0.8
_WORDS, _CHOICES = 997, 64
"""Kinds of token that differ in what they prefer, and how many sets of experts are drawn for each."""


def drawn_steps(tokens: int, random: np.random.Generator) -> StackTokens:
    """Prefill steps of about 2048 tokens and decode steps of 64 to 256 in between, until there are so many tokens."""
    sizes, decode = [], []
    left = tokens
    while left > 0:
        # four tokens in five are of a prompt
        prefill = random.random() < 1 / (1 + PREFILL_TOKENS / np.mean(DECODE_TOKENS) * (1 / PREFILL_SHARE - 1))
        size = int(random.normal(PREFILL_TOKENS, 40) if prefill else random.integers(*DECODE_TOKENS, endpoint=True))
        sizes.append(min(size, left))
        decode.append(not prefill)
        left -= sizes[-1]
    step = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return StackTokens(
        step=step, decode=np.repeat(decode, sizes), request=(np.arange(tokens) % 256).astype(np.int32),
        position=(np.arange(tokens) // 256).astype(np.int32),
        token=(random.zipf(1.1, tokens) % VOCABULARY).astype(np.int32),
    )


def drawn_ids(tokens: StackTokens, seed: int) -> Ids:
    """The k best by a skewed popularity, what the token's kind prefers, and chance, for every token."""
    random = np.random.default_rng(seed)
    popularity = random.normal(0, 0.6, EXPERTS)
    preference = random.normal(0, 0.8, (_WORDS, 1, EXPERTS))
    scores = popularity + preference + random.normal(0, 1, (_WORDS, _CHOICES, EXPERTS))
    best = np.argpartition(-scores, TOP_K - 1, axis=-1)[..., :TOP_K].astype(np.uint8)
    found: Ids = np.sort(best, axis=-1)[tokens.token % _WORDS, random.integers(0, _CHOICES, len(tokens))]
    return found


def write(file: Path, tokens: int, layers: int, seed: int) -> None:
    """Writes the file; each layer is drawn when it is written."""
    stack = drawn_steps(tokens, np.random.default_rng(seed))
    routing = Routing(
        tuple(RoutedLayer(index=index, experts=EXPERTS, top_k=TOP_K) for index in range(layers)),
        {"decoder": stack}, lambda number: drawn_ids(stack, seed + 1 + number),
    )
    file.write_bytes(pack(routing))


def main(tokens: int, layers: int, seed: int) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "routing.zip"
        marks = [time.perf_counter()]
        command = [sys.executable, __file__, str(tokens), str(layers), str(seed), str(file)]
        subprocess.run(command, check=True)
        size = file.stat().st_size
        marks.append(time.perf_counter())
        busy = time.process_time()
        summary = summarise_routing(unpack(file), HIDDEN_BYTES)
        busy = time.process_time() - busy
        marks.append(time.perf_counter())
    prefill, decode = summary.phases["prefill"], summary.phases["decode"]
    assert prefill.tokens + decode.tokens == tokens
    assert len(prefill.layers) == layers
    write_s, summarise_s = (round(b - a, 3) for a, b in pairwise(marks))
    return {
        "write_s": write_s, "read_and_summarise_s": summarise_s, "processor_s": round(busy, 3),
        "file_bytes": size, "peak_bytes": peak_bytes(),
        "assignments": sum(int(layer.load.sum()) for phase in (prefill, decode) for layer in phase.layers),
        "steps": prefill.steps + decode.steps, "pairs": len(summary.pairs), "favourites": len(summary.favourites),
        "variation": prefill.overall.variation,
    }


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:4]]
    count, deep, start = [*given, *(1_000_000, 64, 0)[len(given) :]]
    if len(sys.argv) > 4:
        write(Path(sys.argv[4]), count, deep, start)
    else:
        print(json.dumps(main(count, deep, start)))
