"""The machine on which a record was taken, with what its device was seen to do at most."""

from __future__ import annotations

from harness.schema import Frozen


class Accelerator(Frozen):
    """One device as its driver names it."""

    name: str
    memory_bytes: int


class ReadRate(Frozen):
    """How fast the device reads, over and over, so many bytes: small ones come from its caches."""

    working_set_bytes: int
    bytes_per_s: float


class Ceilings(Frozen):
    """What the device did at most in a short measurement at the start of a run: one device, or all engine threads."""

    reads: tuple[ReadRate, ...]
    """By rising working set."""
    matmul_flops_per_s: dict[str, float]
    """Dense matrix products by the precision of the factors, a key of `harness.accelerators.DensePeaks`."""
    duration_s: float


class Environment(Frozen):
    """Where and with what a record was taken. Outside the cell's id: an upgrade shows as a change, not a new cell."""

    processor: str
    cores: int
    memory_bytes: int
    accelerators: tuple[Accelerator, ...]
    driver: str | None
    system: str
    versions: dict[str, str]
    """Of python, moebench, torch, vllm, transformers, lm_eval: those that are installed."""
    threads: int | None
    """Compute threads of the engine on a processor (OMP_NUM_THREADS)."""
    commit: str | None
    """The commit of moebench's own checkout, with `+` where it had changes."""
    ceilings: Ceilings | None = None
    """None where they were not measured, or could not be."""
