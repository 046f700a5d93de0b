"""What the vLLM backend decides without an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from builders import subject

from harness.backends import vllm_alias
from harness.backends.base import Finish
from harness.backends.reasons import failed
from harness.backends.vllm import VllmEngine, engine_arguments, innermost, prepare_environment
from harness.errors import EngineError


@pytest.mark.slow
def test_importing_the_backend_imports_no_engine() -> None:
    code = (
        "import sys, harness.backends.vllm, harness.executors\n"
        "print([m for m in ('vllm', 'torch', 'transformers', 'lm_eval') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestArguments:
    def test_a_local_checkpoint(self) -> None:
        given = subject(engine={"max_model_len": 256, "seed": 3})
        assert engine_arguments(given, "/models/moe") == {
            "model": "/models/moe", "dtype": "bfloat16", "max_model_len": 256, "seed": 3,
        }

    def test_a_hub_model_is_pinned_and_a_local_fingerprint_is_not_passed_on(self) -> None:
        hub = engine_arguments(subject(source="hub:a/b", revision="abc"), "a/b")
        assert hub["revision"] == "abc"
        assert "revision" not in engine_arguments(subject(source="hub:a/b", revision=None), "a/b")
        assert "revision" not in engine_arguments(subject(revision="sha256:0"), "/models/moe")

    def test_parallelism_and_quantization_only_where_asked_for(self) -> None:
        plain = engine_arguments(subject(), "m")
        assert not {"tensor_parallel_size", "enable_expert_parallel", "quantization"} & set(plain)
        asked = engine_arguments(subject(tensor_parallel=4, expert_parallel=True, quantization="fp8"), "m")
        assert asked["tensor_parallel_size"] == 4
        assert (asked["enable_expert_parallel"], asked["quantization"]) == (True, "fp8")


class TestReason:
    def test_the_innermost_cause_on_one_line(self) -> None:
        error = RuntimeError("Engine core initialization failed")
        error.__cause__ = ValueError("Model architectures\n  ['X']   are not supported")
        assert failed(innermost(error), "load").what == "ValueError: Model architectures ['X'] are not supported"

    def test_memory_is_seen_inside_what_wraps_it(self) -> None:
        error = RuntimeError("Engine core initialization failed")
        error.__cause__ = MemoryError("cannot allocate")
        assert failed(innermost(error), "load").kind == "out-of-memory"


def test_the_environment_asks_for_an_engine_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "TOKENIZERS_PARALLELISM")
    for name in names:
        monkeypatch.setenv(name, "before")
    monkeypatch.setattr(vllm_alias, "install", lambda: None)
    prepare_environment()
    assert [os.environ[name] for name in names] == ["0", "1", "1", "false"]


class Inner:
    """The part of `vllm.LLM` that a loaded engine is asked for. Each step makes what `made` and `ended` hold.

    Its scheduler starts what was handed over since the step before.
    """

    def __init__(self, made: list[Any], ended: list[Any] | Exception, *, own_ids: bool = True) -> None:
        self.made, self.ended, self.own_ids = made, ended, own_ids
        self.waiting: list[str] = []
        self.asked: list[Any] = []
        self.model_config = SimpleNamespace(get_vocab_size=lambda: 386, max_model_len=256)
        groups = [
            SimpleNamespace(layer_names=["a", "b"], kv_cache_spec=SimpleNamespace(page_size_bytes=1000)),
            SimpleNamespace(layer_names=["c"], kv_cache_spec=SimpleNamespace(page_size_bytes=1500)),
        ]
        self.scheduler = SimpleNamespace(
            kv_cache_config=SimpleNamespace(kv_cache_groups=groups), schedule=self.schedule,
        )
        self.engine_core = SimpleNamespace(
            engine_core=SimpleNamespace(scheduler=self.scheduler),
            get_output=lambda: SimpleNamespace(outputs=self.made),
        )
        self.vllm_config = SimpleNamespace(
            cache_config=SimpleNamespace(num_gpu_blocks=10, block_size=16),
            device_config=SimpleNamespace(device_type="cpu"),
        )

    def add_request(self, request_id: str, prompt: Any, sampling: Any) -> str | None:
        self.asked.append((request_id, prompt, sampling))
        self.waiting.append(f"{request_id}-core" if self.own_ids else request_id)
        return self.waiting[-1] if self.own_ids else None

    def schedule(self, throttled: bool = False) -> Any:
        new, self.waiting = ([], self.waiting) if throttled else (self.waiting, [])
        return SimpleNamespace(scheduled_new_reqs=[SimpleNamespace(req_id=one) for one in new])

    def step(self) -> list[Any]:
        if isinstance(self.ended, Exception):
            raise self.ended
        self.scheduler.schedule()
        self.engine_core.get_output()
        return self.ended


def engine(
    ended: list[Any] | Exception, made: list[Any] | None = None, *, own_ids: bool = True, **arguments: Any
) -> VllmEngine:
    inner = SimpleNamespace(llm_engine=Inner(made or [], ended, own_ids=own_ids))
    loaded = VllmEngine(inner, {"model": "/m", "dtype": "bfloat16", **arguments}, load_s=2.0, import_s=9.0)
    loaded._sampling[6] = "as asked"
    return loaded


class TestLoaded:
    @pytest.mark.parametrize("own_ids", [True, False])
    def test_a_step_is_told_in_the_seams_words(self, own_ids: bool) -> None:
        suffix = "-core" if own_ids else ""
        made = [
            SimpleNamespace(request_id=f"7{suffix}", new_token_ids=[4, 5]),
            SimpleNamespace(request_id=f"8{suffix}", new_token_ids=[]),
            SimpleNamespace(request_id=f"9{suffix}", new_token_ids=[6]),
        ]
        ended = [
            SimpleNamespace(
                request_id="7", outputs=[SimpleNamespace(finish_reason="length")], finished=True,
                prompt_token_ids=[1, 2, 3], num_cached_tokens=None,
            ),
            SimpleNamespace(
                request_id="9", outputs=[SimpleNamespace(finish_reason="stop")], finished=True,
                prompt_token_ids=None, num_cached_tokens=16,
            ),
        ]
        loaded = engine(ended, made, own_ids=own_ids)
        for request_id in ("7", "8", "9"):
            loaded.submit(request_id, [1, 2, 3], 6)
        assert loaded._engine.asked[0] == ("7", {"prompt_token_ids": [1, 2, 3]}, "as asked")
        result = loaded.step()
        assert list(result.tokens) == ["7", "7", "9"]
        assert list(result.finished) == [Finish("7", "length", 3, 0), Finish("9", "stop", 0, 16)]
        assert list(result.started) == ["7", "8", "9"]
        assert list(loaded.step().started) == []

    def test_a_step_that_breaks_has_a_reason(self) -> None:
        with pytest.raises(EngineError, match="RuntimeError: out of memory") as caught:
            engine(RuntimeError("out of memory")).step()
        assert caught.value.kind == "out-of-memory"

    def test_an_engine_that_breaks_in_a_step_had_loaded(self) -> None:
        with pytest.raises(EngineError, match="KeyError: 'layer'") as caught:
            engine(KeyError("layer")).step()
        assert caught.value.kind == "engine"

    def test_the_cache_is_laid_out_for_the_widest_group_of_layers(self) -> None:
        # two groups draw on one pool of 10 blocks of 16 tokens
        assert engine([]).memory() == (10 * 2000, 80, None, None, None)
        loaded = engine([])
        loaded.llm.llm_engine.vllm_config.cache_config.kv_cache_size_tokens = 96
        assert loaded.memory().kv_cache_tokens == 96

    def test_a_request_that_waits_in_the_queue_has_not_started(self) -> None:
        loaded = engine([])
        loaded.submit("7", [1], 6)
        loaded._engine.scheduler.schedule(throttled=True)
        assert loaded._started == []
        assert list(loaded.step().started) == ["7"]

    def test_it_says_on_how_many_accelerators_it_runs(self) -> None:
        assert engine([], tensor_parallel_size=2).devices == 0
        inner = Inner([], [])
        inner.vllm_config.device_config.device_type = "cuda"
        asked = {"model": "/m", "tensor_parallel_size": 2}
        assert VllmEngine(SimpleNamespace(llm_engine=inner), asked, load_s=2.0).devices == 2

    def test_the_memory_of_all_ranks_is_asked_for(self) -> None:
        loaded = engine([], tensor_parallel_size=2)
        ranks = [SimpleNamespace(model_runner=SimpleNamespace(model_memory_usage=size)) for size in (100, 120)]
        loaded.llm.collective_rpc = lambda method: [method(rank) for rank in ranks]
        assert loaded.memory() == (2 * 10 * 2000, 80, 220, None, None)

    def test_what_is_told_besides_never_fails(self) -> None:
        loaded = engine([])

        def fails(_: Any) -> Any:
            raise RuntimeError("worker died")

        loaded.llm.collective_rpc = fails
        assert loaded.memory() == (10 * 2000, 80, None, None, None)

    def test_it_says_what_it_was_started_with(self) -> None:
        loaded = engine([])
        assert loaded.arguments() == {"dtype": "bfloat16"}
        assert (loaded.load_s, loaded.import_s) == (2.0, 9.0)
        assert (loaded.vocabulary_size, loaded.max_model_len) == (386, 256)
