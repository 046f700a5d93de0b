"""Work that is done while the engine keeps where every token goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import CONFIGS, fixed_lengths
from engines import ReplayEngine, ToyEngine, recorded

from harness.errors import EngineError
from harness.measurements import routing as module
from harness.measurements.routing import measure_routing
from harness.record import RoutedLayer
from harness.routing.tokens import fingerprint_of, unpack
from harness.scenario import QualityScenario, RandomLengths, RoutingScenario, ServedTokens, TaskTokens, UniformLength

TASKS = Path("/tasks")


def served(requests: int = 5, concurrency: int = 2, lengths: RandomLengths | None = None) -> RoutingScenario:
    return RoutingScenario(work=ServedTokens(
        name="chat", lengths=lengths or fixed_lengths(6, 4), concurrency=concurrency, requests=requests,
    ))


def asked_task() -> RoutingScenario:
    quality = QualityScenario(
        task="facts", lm_eval_task="facts_a", task_fingerprint=None, num_fewshot=None, limit=4,
        apply_chat_template=False,
    )
    return RoutingScenario(work=TaskTokens(quality=quality))


class Configured(ToyEngine):
    """One whose configuration is that of a known model."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def config(self) -> dict[str, Any]:
        return CONFIGS[self._name]


class TestServed:
    def test_exactly_the_requests_and_no_warm_up(self) -> None:
        engine = ToyEngine()
        measurement, _ = measure_routing(engine, served(), 0, TASKS)
        assert engine.submitted == [(str(number), 6, 4) for number in range(5)]
        assert engine.most_in_flight == 2
        assert (measurement.prefill_tokens, measurement.decode_tokens) == (5 * 6, 5 * 3)
        assert measurement.recomputed_tokens == 3

    def test_the_file_is_named_by_its_content(self) -> None:
        measurement, content = measure_routing(ToyEngine(), served(), 0, TASKS)
        assert measurement.tokens_file == fingerprint_of(content)
        assert measurement.tokens_file_bytes == len(content)
        routing = unpack(content)
        assert routing.layers == measurement.layers == tuple(
            RoutedLayer(index=index, experts=8, top_k=2) for index in range(2)
        )
        assert measurement.passes == len(np.unique(routing.stacks["decoder"].step))

    def test_equal_seeds_are_equal_files(self) -> None:
        lengths = RandomLengths(prompt=UniformLength(low=2, high=9), output=UniformLength(low=1, high=5))
        files = [measure_routing(ToyEngine(), served(lengths=lengths), seed, TASKS)[1] for seed in (1, 1, 2)]
        assert files[0] == files[1] != files[2]

    def test_what_does_not_fit_is_told_and_capturing_ends(self) -> None:
        engine = ToyEngine(max_model_len=8)
        with pytest.raises(EngineError, match="10 tokens a request exceed the engine's context of 8") as caught:
            measure_routing(engine, served(), 0, TASKS)
        assert caught.value.kind == "context"
        assert not engine.routing


class TestTask:
    def test_the_task_is_asked_while_capturing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        engine, seen = ToyEngine(), []

        def ask(given: ToyEngine, scenario: QualityScenario, folder: Path) -> None:
            assert given.routing
            seen.append((scenario.lm_eval_task, folder))
            given.submit("0", [3, 4], 2)
            given.step()
            given.step()

        monkeypatch.setattr(module, "measure_quality", ask)
        measurement, _ = measure_routing(engine, asked_task(), 0, TASKS)
        assert seen == [("facts_a", TASKS)]
        assert (measurement.prefill_tokens, measurement.decode_tokens) == (2, 1)


class TestFailures:
    @pytest.mark.parametrize("actions", [{}, {"take_routing": "engine-error"}, {"take_routing": "raise"}])
    def test_the_works_own_failure_is_told(self, monkeypatch: pytest.MonkeyPatch, actions: dict[str, str]) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError("the work broke")

        monkeypatch.setattr(module, "measure_quality", fail)
        engine = ToyEngine(actions=actions)
        with pytest.raises(RuntimeError, match="the work broke"):
            measure_routing(engine, asked_task(), 0, TASKS)
        assert not engine.routing

    def test_an_engine_that_tells_no_experts_does_no_work(self) -> None:
        engine = ReplayEngine(recorded("steps"), ToyEngine().clock)
        left = engine.steps_left
        with pytest.raises(EngineError, match="it tells no experts"):
            measure_routing(engine, served(), 0, TASKS)
        assert engine.steps_left == left

    def test_missing_tokens_fail_the_measurement(self) -> None:
        with pytest.raises(EngineError):
            measure_routing(ToyEngine(actions={"take_routing": "engine-error"}), served(), 0, TASKS)


class TestLayers:
    def test_layers_that_the_configuration_has_and_nothing_told_of(self) -> None:
        """moe-8x2 has 4 layers that route; the toy engine tells of 2."""
        with pytest.raises(EngineError, match=r"2 with top-2 of 8; .*: 4 with top-2 of 8") as caught:
            measure_routing(Configured("moe-8x2"), served(), 0, TASKS)
        assert caught.value.kind == "routing"

    def test_a_dense_model(self) -> None:
        with pytest.raises(EngineError, match="by the model's configuration: none"):
            measure_routing(Configured("dense-active"), served(), 0, TASKS)

    def test_layers_that_agree(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(CONFIGS, "moe-8x2", CONFIGS["moe-8x2"] | {"num_hidden_layers": 2})
        assert measure_routing(Configured("moe-8x2"), served(), 0, TASKS)[0].prefill_tokens == 30
