"""What vLLM knows of its memory on each rank, read from its workers: on CUDA it weighs itself before it serves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class RankMemory(NamedTuple):
    """One rank's own figures in bytes; None what its worker does not tell, as all of them on a processor."""

    weights_bytes: int | None = None
    activation_bytes: int | None = None
    graph_bytes: int | None = None


@contextlib.contextmanager
def graphs_noted() -> Iterator[None]:
    """While this holds, a worker that starts in this process keeps what capturing its CUDA graphs took.

    vLLM 0.26 to 0.33 writes the figure into its log and keeps it nowhere.
    """
    from vllm.v1.worker.gpu_worker import Worker

    original = Worker.compile_or_warm_up_model

    def noting(worker: Any) -> Any:
        capture = worker.model_runner.capture_model

        def captured(*arguments: Any, **options: Any) -> Any:
            worker.captured_graph_bytes = capture(*arguments, **options)
            return worker.captured_graph_bytes

        worker.model_runner.capture_model = captured
        return original(worker)

    Worker.compile_or_warm_up_model = noting
    try:
        yield
    finally:
        Worker.compile_or_warm_up_model = original


def rank_memory(worker: Any) -> RankMemory:
    """The figures of one worker, which runs this itself.

    Graphs that were captured in another process are as large as vLLM had estimated them, where it had.
    """
    activations, graphs = getattr(worker, "peak_activation_memory", None), getattr(worker, "captured_graph_bytes", None)
    estimate = getattr(worker, "cudagraph_memory_estimate", 0)
    set_aside = os.environ.get("VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS", "1") != "0"
    if activations is not None and set_aside and hasattr(worker, "total_consumed"):
        activations -= estimate  # since 0.27, which brought that total, the estimate is a part of them
    return RankMemory(
        weights_bytes=_whole(getattr(getattr(worker, "model_runner", None), "model_memory_usage", None)),
        activation_bytes=_whole(activations),
        # an estimate of 0 says that none was made, not that there are no graphs
        graph_bytes=_whole(graphs if graphs is not None else estimate or None),
    )


def over_ranks(ranks: Sequence[RankMemory]) -> RankMemory:
    """The sum over all ranks of what every one of them tells."""
    columns = list(zip(*ranks, strict=True)) or [(None,)] * len(RankMemory._fields)
    return RankMemory(*(None if None in column else sum(column) for column in columns))


def _whole(size: float | None) -> int | None:
    return None if size is None else max(0, int(size))
