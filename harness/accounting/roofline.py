"""The most tokens a second that an accelerator allows, if routing is uniform: arithmetic against memory traffic."""

from __future__ import annotations

from typing import Literal

from harness.accounting.counts import flops_per_token, prefill_flops
from harness.accounting.memory import Precision
from harness.accounting.traffic import decode_bytes, prefill_bytes
from harness.architecture import Architecture
from harness.errors import InputError
from harness.schema import Frozen


class Roofline(Frozen):
    """The least time of one step, and the rate that follows. `bound` is what takes longer.

    `flops` and `bytes` are those of the step for all its tokens; both are spread over the devices without loss.
    """

    tokens: float
    flops: float
    bytes: float
    compute_s: float
    memory_s: float

    @property
    def step_s(self) -> float:
        """Seconds of the step: products and reads overlap perfectly."""
        return max(self.compute_s, self.memory_s)

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second that no engine exceeds where routing is uniform; skewed routing reads fewer experts."""
        return self.tokens / self.step_s

    @property
    def bound(self) -> Literal["compute", "memory"]:
        """What takes longer."""
        return "compute" if self.compute_s > self.memory_s else "memory"


class Limits(Frozen):
    """The peak rates of one accelerator (dense, in the precision of the products), and how many there are."""

    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    devices: int = 1


def decode_roofline(
    architecture: Architecture, batch: float, context: float, *, precision: Precision, limits: Limits
) -> Roofline:
    """The bound of one decode step of `batch` sequences at `context` tokens each.

    max(batch * FLOPs / peak, decode bytes / bandwidth), with the experts that uniform routing expects to touch.
    Communication between devices and everything an engine does besides is left out. Units: s, tokens/s. Source:
    Williams, Waterman, Patterson 2009, the roofline model.
    """
    flops = batch * flops_per_token(architecture, context=context).total
    read = decode_bytes(architecture, batch, context, precision=precision).total
    return _roofline(batch, flops, read, limits)


def prefill_roofline(
    architecture: Architecture, batch: int, tokens: int, *, precision: Precision, limits: Limits
) -> Roofline:
    """The bound of the prefill of `batch` prompts of `tokens` tokens together.

    max(FLOPs / peak, bytes of `prefill_bytes` / bandwidth). Units and source as for `decode_roofline`.
    """
    flops = batch * prefill_flops(architecture, tokens).total
    read = prefill_bytes(architecture, batch, tokens, precision=precision)
    return _roofline(batch * tokens, flops, read, limits)


def _roofline(tokens: float, flops: float, read: float, limits: Limits) -> Roofline:
    if limits.devices < 1 or limits.peak_flops_per_s <= 0 or limits.bandwidth_bytes_per_s <= 0:
        raise InputError("a roofline needs at least one device with a peak and a bandwidth")
    return Roofline(
        tokens=tokens,
        flops=flops,
        bytes=read,
        compute_s=flops / (limits.peak_flops_per_s * limits.devices),
        memory_s=read / (limits.bandwidth_bytes_per_s * limits.devices),
    )
