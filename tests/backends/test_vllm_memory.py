"""What is read from vLLM's workers, on workers of each version that is supported."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.backends.vllm_memory import RankMemory, graphs_noted, over_ranks, rank_memory

ESTIMATES = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS"


class Wrapped:
    """As vLLM hands a worker to what it runs on it: asking passes through."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    def __getattr__(self, name: str) -> Any:
        return getattr(self.worker, name)


def told(**attributes: Any) -> RankMemory:
    runner = SimpleNamespace(model_memory_usage=1000.0)
    return rank_memory(Wrapped(SimpleNamespace(model_runner=runner, **attributes)))


@pytest.fixture(autouse=True)
def _as_set_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ESTIMATES, raising=False)


class TestRank:
    def test_a_processor_tells_nothing(self) -> None:
        assert rank_memory(Wrapped(SimpleNamespace(model_runner=SimpleNamespace()))) == (None, None, None)
        assert rank_memory(SimpleNamespace()) == (None, None, None)

    def test_0_26_keeps_its_activations_apart_from_the_graphs(self) -> None:
        found = told(
            peak_activation_memory=300, non_torch_memory=50, cudagraph_memory_estimate=40, captured_graph_bytes=44,
        )
        assert found == (1000, 300, 44)

    def test_since_0_27_its_activations_contain_the_estimate_of_the_graphs(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = {"peak_activation_memory": 340, "total_consumed": 1100, "cudagraph_memory_estimate": 40}
        assert told(**worker, captured_graph_bytes=44) == (1000, 300, 44)
        monkeypatch.setenv(ESTIMATES, "0")
        assert told(**worker, captured_graph_bytes=44) == (1000, 340, 44)

    def test_graphs_captured_elsewhere_are_as_large_as_estimated_where_they_were(self) -> None:
        worker = {"peak_activation_memory": 340, "total_consumed": 1100}
        assert told(**worker, cudagraph_memory_estimate=40) == (1000, 300, 40)
        assert told(**worker, cudagraph_memory_estimate=0) == (1000, 340, None)

    def test_a_cache_of_a_given_size_needs_no_weighing(self) -> None:
        assert told() == (1000, None, None)

    def test_no_size_is_below_zero(self) -> None:
        assert told(captured_graph_bytes=-5).graph_bytes == 0


def test_ranks_add_up_where_all_tell() -> None:
    assert over_ranks([RankMemory(1, 2, 3), RankMemory(10, 20, None)]) == (11, 22, None)
    assert over_ranks([]) == (None, None, None)


class Runner:
    def capture_model(self, *, profile_only: bool = False) -> int:
        return 1 if profile_only else 77


class Worker:
    """vLLM's, as far as it is touched."""

    def __init__(self, *, eager: bool = False) -> None:
        self.model_runner, self.eager = Runner(), eager

    def compile_or_warm_up_model(self) -> str:
        if not self.eager:
            assert self.model_runner.capture_model() == 77
        return "times"


class TestGraphs:
    @pytest.fixture(autouse=True)
    def _vllm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("vllm", "vllm.v1", "vllm.v1.worker", "vllm.v1.worker.gpu_worker"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["vllm.v1.worker.gpu_worker"].Worker = Worker  # type: ignore[attr-defined]

    def test_what_they_took_is_kept(self) -> None:
        worker = Worker()
        with graphs_noted():
            assert worker.model_runner.capture_model(profile_only=True) == 1
            assert worker.compile_or_warm_up_model() == "times"
        assert rank_memory(Wrapped(worker)).graph_bytes == 77

    def test_an_eager_engine_has_none(self) -> None:
        worker = Worker(eager=True)
        with graphs_noted():
            assert worker.compile_or_warm_up_model() == "times"
        assert rank_memory(worker).graph_bytes is None

    def test_the_worker_is_left_as_it_was_even_where_loading_fails(self) -> None:
        original = Worker.compile_or_warm_up_model
        with pytest.raises(RuntimeError), graphs_noted():
            raise RuntimeError
        assert Worker.compile_or_warm_up_model is original
