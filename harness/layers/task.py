"""What one process times, as it goes to it, and what it found, as it comes back."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from harness.layers.draws import Routing
from harness.layers.shape import LayerShape
from harness.schema import Frozen

Variant = Literal["sparse", "active", "total"]
"""The sparse layer, and the dense ones of equal active and of equal total width."""
VARIANTS: tuple[Variant, ...] = get_args(Variant)

TURNS = 3
"""How often the variants take turns at each token count in a process."""

Dtype = Literal["bfloat16", "float16", "float32"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

Device = Literal["cpu", "cuda"]

ELEMENT_BYTES: dict[Dtype, int] = {"bfloat16": 2, "float16": 2, "float32": 4}


class LayerTask(Frozen):
    """What is timed. `threads` is None on an accelerator; `seconds` are spent on each variant at each token count.

    `cold` has several copies of the weights take turns, so that they come from memory and not from a cache, as they
    do in a model of many layers.
    """

    shape: LayerShape
    tokens: Annotated[tuple[int, ...], Field(min_length=1)]
    precision: Dtype = "bfloat16"
    routing: Routing = "uniform"
    device: Device = "cpu"
    threads: int | None = 1
    seconds: float = 0.2
    cold: bool = True
    seed: int = 0

    @property
    def element_bytes(self) -> int:
        """Bytes of a weight."""
        return ELEMENT_BYTES[self.precision]

    def order(self, process: int) -> list[tuple[int, int, Variant]]:
        """(tokens, turn, variant): each token count with its variants side by side, several turns of each.

        The variants rotate from turn to turn and from process to process, and the token counts turn round, so that no
        variant always comes first and what slows the machine for a while slows all three.
        """
        counts = self.tokens if process % 2 == 0 else self.tokens[::-1]
        return [
            (count, turn, VARIANTS[(process + turn + place) % len(VARIANTS)])
            for count in counts for turn in range(TURNS) for place in range(len(VARIANTS))
        ]


class Timing(Frozen):
    """The seconds of each call of one variant in one turn of a process.

    `distinct_experts` is the mean number of experts that a call used, None for the dense ones. `copies` of the weights
    took turns; `kernel` says what multiplied.
    """

    process: int
    tokens: int
    turn: int
    variant: Variant
    times_s: Annotated[tuple[float, ...], Field(min_length=1)]
    distinct_experts: float | None
    copies: int
    kernel: str
