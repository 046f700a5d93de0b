"""Capturing routing from calls that are made by hand: what is padding, what is worked on again, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends import vllm_routing
from harness.backends.vllm_capture import RoutingCapture
from harness.backends.vllm_schedule import Ledger, rows_of, stack_tokens
from harness.errors import EngineError
from harness.record import RoutedLayer

EXPERTS, TOP_K = 8, 2


class Tensor:
    """As much of a tensor as the collector asks for."""

    def __init__(self, values: Any) -> None:
        self.array = np.array(values)
        self.shape, self.ndim = self.array.shape, self.array.ndim

    def detach(self) -> Tensor:
        return self

    def to(self, _device: str, *, copy: bool) -> Tensor:
        return Tensor(self.array.copy()) if copy else self

    def numpy(self) -> Any:
        return self.array


class Router:
    """A router with the hook that vLLM's have."""

    def __init__(self) -> None:
        self.top_k, self.global_num_experts = TOP_K, EXPERTS
        self.capture_fn: Callable[[Any], None] | None = None

    def set_capture_fn(self, function: Callable[[Any], None] | None) -> None:
        self.capture_fn = function

    def choose(self, ids: Any) -> None:
        if self.capture_fn is not None:
            self.capture_fn(Tensor(ids))


def experts_of(layer: int, tokens: Any) -> Any:
    """The rule by which the fake model routes: not in rising order, and different in each layer."""
    first = (np.asarray(tokens) + layer) % EXPERTS
    return np.stack([(first + 3) % EXPERTS, first], axis=1)


class Model:
    """Two layers that route, the second and the third of three."""

    def __init__(self) -> None:
        self.routers = {1: Router(), 2: Router()}
        self.quiet: set[int] = set()
        self.hooks: list[Callable[..., None]] = []
        self.modules = [
            (f"model.layers.{layer}.mlp.experts", SimpleNamespace(router=router, layer_id=layer))
            for layer, router in self.routers.items()
        ]

    def named_modules(self) -> list[tuple[str, Any]]:
        return [("", SimpleNamespace()), ("model.layers.0.mlp", SimpleNamespace()), *self.modules]

    def register_forward_pre_hook(self, hook: Callable[..., None], *, with_kwargs: bool) -> Any:
        assert with_kwargs
        self.hooks.append(hook)
        return SimpleNamespace(remove=lambda: self.hooks.remove(hook))

    def __call__(self, tokens: Any, positions: Any) -> None:
        for hook in list(self.hooks):
            hook(self, (), {"input_ids": Tensor(tokens), "positions": Tensor(positions)})
        for layer, router in self.routers.items():
            if layer not in self.quiet:
                router.choose(experts_of(layer, tokens))


class Runner:
    """The first of vLLM's runners: the batch has an order of its own, and is padded to a multiple of `pad_to`."""

    def __init__(self, pad_to: int = 8) -> None:
        self.model, self.pad_to = Model(), pad_to
        self.input_batch = SimpleNamespace(req_ids=[])
        self.sequences: dict[str, list[int]] = {}

    def get_model(self) -> Model:
        return self.model

    def inputs(self, scheduled: Any) -> tuple[list[int], list[int]]:
        tokens, positions = [], []
        starts = {r.req_id: r.num_computed_tokens for r in scheduled.scheduled_new_reqs}
        cached = scheduled.scheduled_cached_reqs
        starts |= dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        self.input_batch.req_ids = sorted(scheduled.num_scheduled_tokens, reverse=True)
        for name in self.input_batch.req_ids:
            places = range(starts[name], starts[name] + scheduled.num_scheduled_tokens[name])
            tokens += [self.sequences[name][place] for place in places]
            positions += list(places)
        padding = -len(tokens) % self.pad_to
        return tokens + [0] * padding, positions + [0] * padding

    def execute_model(self, scheduled: Any) -> str:
        if scheduled.num_scheduled_tokens:
            self.model(*self.inputs(scheduled))
        return "done"

    def profile(self) -> None:
        self.model([1] * 8, list(range(8)))


class SecondRunner(Runner):
    """The second of vLLM's runners: it has no batch of its own, but makes an account of each call."""

    def __init__(self, pad_to: int = 8) -> None:
        super().__init__(pad_to)
        self.prepared = 0

    def prepare_inputs(self, scheduled: Any) -> Any:
        self.prepared += 1
        tokens, positions = self.inputs(scheduled)
        batch = SimpleNamespace(req_ids=self.input_batch.req_ids, tokens=tokens, positions=positions)
        self.input_batch = SimpleNamespace(req_ids=["nobody"])
        return batch

    def execute_model(self, scheduled: Any, dummy_run: bool = False) -> str:
        if dummy_run:
            self.profile()
            return "dummy"
        batch = self.prepare_inputs(scheduled)
        self.model(batch.tokens, batch.positions)
        return "done"


def scheduled(
    counts: dict[str, int], *, new: dict[str, tuple[int, int]] | None = None, going: dict[str, int] | None = None,
    finished: tuple[str, ...] = (),
) -> Any:
    """A scheduler's output: new requests with (prompt tokens, computed), others with what is computed."""
    going = going or {}
    return SimpleNamespace(
        num_scheduled_tokens=counts, total_num_scheduled_tokens=sum(counts.values()), finished_req_ids=set(finished),
        scheduled_new_reqs=[
            SimpleNamespace(req_id=name, prompt_token_ids=[0] * prompt, num_computed_tokens=computed)
            for name, (prompt, computed) in (new or {}).items()
        ],
        scheduled_cached_reqs=SimpleNamespace(req_ids=list(going), num_computed_tokens=list(going.values())),
    )


SEQUENCES = {"a": [11, 12, 13, 14, 15, 16, 17], "b": [21, 22, 23, 24, 25]}
CALLS = [
    scheduled({"a": 3, "b": 2}, new={"a": (4, 0), "b": (2, 0)}),
    scheduled({"a": 1, "b": 1}, going={"a": 3, "b": 2}),
    scheduled({}),
    scheduled({"a": 1, "b": 1}, going={"a": 4, "b": 3}),
]
"""Request a has 4 prompt tokens, of which the second call works on one alone; b has 2."""


def started(runner: Runner | None = None) -> tuple[Any, Runner]:
    runner = runner or Runner()
    runner.sequences = SEQUENCES
    worker = SimpleNamespace(model_runner=runner, rank=0)
    assert vllm_routing.start(worker)
    return worker, runner


def captured(calls: list[Any], runner: Runner | None = None) -> vllm_routing.Captured:
    worker, runner = started(runner)
    for call in calls:
        assert runner.execute_model(call) == "done"
    found = vllm_routing.take(worker)
    assert found is not None
    return found


class TestCollector:
    @pytest.mark.parametrize("runner", [Runner, SecondRunner])
    def test_every_token_has_its_own_experts(self, runner: type[Runner]) -> None:
        calls = [call for call in CALLS if call.num_scheduled_tokens]
        found = captured(calls, runner())
        tokens = found.tokens
        assert found.faults == ()
        assert [found.names[number] for number in tokens.request] == ["b", "b", "a", "a", "a", "b", "a", "b", "a"]
        assert tokens.position.tolist() == [0, 1, 0, 1, 2, 2, 3, 3, 4]
        assert tokens.token.tolist() == [21, 22, 11, 12, 13, 23, 14, 24, 15]
        assert tokens.decode.tolist() == [False] * 5 + [True, False, True, True]
        assert tokens.step.tolist() == [0] * 5 + [1, 1, 2, 2]
        assert found.layers == tuple(RoutedLayer(index=index, experts=EXPERTS, top_k=TOP_K) for index in (1, 2))
        for layer, ids in zip((1, 2), found.ids, strict=True):
            assert ids.dtype == np.uint8
            assert np.array_equal(ids, np.sort(experts_of(layer, tokens.token), axis=1))

    def test_padding_and_empty_calls_leave_no_rows(self) -> None:
        padded, exact = captured(CALLS, Runner(pad_to=16)), captured(CALLS, Runner(pad_to=1))
        assert len(padded.tokens) == 9
        assert padded.calls == 3
        assert all(np.array_equal(a, b) for a, b in zip(padded.ids, exact.ids, strict=True))

    def test_profiling_is_not_captured(self) -> None:
        for runner in (Runner(), SecondRunner()):
            worker, _ = started(runner)
            runner.profile()
            found = vllm_routing.take(worker)
            assert found is not None
            assert (found.calls, len(found.tokens)) == (0, 0)

    def test_a_dummy_run_of_the_second_runner_is_not_captured(self) -> None:
        runner = SecondRunner()
        worker, _ = started(runner)
        assert runner.execute_model(CALLS[0], dummy_run=True) == "dummy"
        found = vllm_routing.take(worker)
        assert found is not None
        assert found.calls == 0

    def test_a_request_put_aside_is_counted_once(self) -> None:
        again = scheduled({"a": 5}, going={"a": 0})
        found = captured([*CALLS, again, scheduled({"a": 1}, going={"a": 5})])
        assert found.recomputed_tokens == 5
        mine = found.tokens.request == 0
        assert found.tokens.position[mine].tolist() == [0, 1, 2, 3, 4, 5]
        assert np.array_equal(found.ids[0], np.sort(experts_of(1, found.tokens.token), axis=1))

    def test_one_that_comes_back_as_new_is_the_same_request(self) -> None:
        found = captured([*CALLS, scheduled({"a": 6}, new={"a": (4, 0)})], SecondRunner())
        assert found.names == ("a", "b")
        assert found.recomputed_tokens == 5

    def test_what_a_cache_had_is_no_row(self) -> None:
        found = captured([scheduled({"a": 2}, new={"a": (4, 2)}), scheduled({"a": 1}, going={"a": 4})])
        assert found.tokens.position.tolist() == [2, 3, 4]
        assert found.cached == (2,)

    def test_a_name_that_is_used_again_is_another_request(self) -> None:
        found = captured([CALLS[0], scheduled({"a": 2}, new={"a": (2, 0)}, finished=("a", "b"))])
        assert found.names == ("a", "b", "a")
        assert found.recomputed_tokens == 0

    def test_the_runner_is_left_as_it_was(self) -> None:
        runner = SecondRunner()
        own = vars(runner).keys() - {"moebench_routing"}
        worker, _ = started(runner)
        assert "execute_model" in vars(runner)
        vllm_routing.take(worker)
        assert vars(runner).keys() - {"moebench_routing"} == own
        assert runner.model.hooks == []
        assert all(router.capture_fn is None for router in runner.model.routers.values())

    def test_what_the_engine_had_set_is_told_too_and_comes_back(self) -> None:
        runner, seen = Runner(), []
        router = runner.model.routers[1]
        router.set_capture_fn(engines_own := lambda ids: seen.append(ids.array.shape))
        captured(CALLS, runner)
        assert seen == [(8, 2)] * 3
        assert router.capture_fn is engines_own

    def test_only_the_first_worker_tells(self) -> None:
        worker = SimpleNamespace(model_runner=Runner(), rank=1)
        assert not vllm_routing.start(worker)
        assert vllm_routing.take(worker) is None

    def test_a_call_that_breaks_leaves_nothing_behind(self) -> None:
        worker, runner = started()
        runner.model.routers[2].choose = _break  # type: ignore[method-assign,assignment]
        with pytest.raises(ZeroDivisionError):
            runner.execute_model(CALLS[0])
        found = vllm_routing.take(worker)
        assert found is not None
        assert len(found.tokens) == 0


def _break(_ids: Any) -> None:
    raise ZeroDivisionError


class TestFaults:
    def test_a_router_that_is_never_called(self) -> None:
        runner = Runner()
        runner.model.quiet = {2}
        assert captured(CALLS, runner).faults == ("decoder layer 2: never called",)

    def test_rows_that_are_missing(self) -> None:
        runner = Runner()
        router = runner.model.routers[1]
        router.choose = lambda ids: Router.choose(router, ids[:3])  # type: ignore[method-assign]
        assert captured(CALLS[:1], runner).faults == ("decoder layer 1: 3 rows for 5 tokens",)

    def test_a_router_that_is_called_twice(self) -> None:
        runner = Runner()
        router = runner.model.routers[1]

        def twice(ids: Any) -> None:
            Router.choose(router, ids)
            Router.choose(router, ids)

        router.choose = twice  # type: ignore[method-assign]
        assert captured(CALLS[:1], runner).faults == ("decoder layer 1: 16 rows for 5 tokens",)

    @pytest.mark.parametrize("wrong", [-1, EXPERTS])
    def test_an_id_that_no_expert_has(self, wrong: int) -> None:
        runner = Runner()
        router = runner.model.routers[2]
        router.choose = lambda ids: Router.choose(router, np.full_like(ids, wrong))  # type: ignore[method-assign]
        assert captured(CALLS[:1], runner).faults == ("decoder layer 2: an id that no expert has",)

    def test_a_batch_in_another_order_than_the_model_was_given(self) -> None:
        runner = Runner()
        inputs = runner.inputs

        def disordered(call: Any) -> tuple[list[int], list[int]]:
            found = inputs(call)
            runner.input_batch.req_ids = runner.input_batch.req_ids[::-1]
            return found

        runner.inputs = disordered  # type: ignore[method-assign,assignment]
        assert "other positions" in captured(CALLS[:1], runner).faults[0]

    def test_a_graph_that_passes_the_model_by(self) -> None:
        runner = Runner()
        runner.execute_model = lambda _: "done"  # type: ignore[method-assign,assignment]
        faults = captured(CALLS[:1], runner).faults
        assert faults == ("the model was not called through its own module (a captured graph?)",)

    def test_a_request_that_ran_before(self) -> None:
        assert "cannot be read" in captured([scheduled({"a": 1}, going={"a": 4})]).faults[0]


# The whole way, on an engine made by hand -------------------------------------------------------------------------


class Engine:
    """As much of `vllm.LLM` as capturing asks for; each step runs one of the calls."""

    def __init__(self, calls: list[Any], ends: dict[int, list[tuple[str, int, int]]], runner: Runner | None = None):
        self.runner = runner or Runner()
        self.runner.sequences = SEQUENCES
        self.worker = SimpleNamespace(model_runner=self.runner, rank=0)
        self.calls, self.ends = list(calls), ends
        self.scheduler = SimpleNamespace(schedule=self.schedule)
        self.experts: dict[str, Any] = {}
        self.eager, self.speculative = True, None
        self.llm_engine = self
        self.done = 0

    @property
    def engine_core(self) -> Any:
        return SimpleNamespace(engine_core=SimpleNamespace(scheduler=self.scheduler))

    @property
    def model_config(self) -> Any:
        return SimpleNamespace(skip_tokenizer_init=True, enforce_eager=self.eager)

    @property
    def vllm_config(self) -> Any:
        return SimpleNamespace(model_config=self.model_config, speculative_config=self.speculative)

    def collective_rpc(self, function: Callable[[Any], Any]) -> list[Any]:
        return [function(self.worker), function(SimpleNamespace(model_runner=Runner(), rank=1))]

    def schedule(self) -> Any:
        return self.calls[self.done]

    def step(self) -> list[Any]:
        self.runner.execute_model(self.scheduler.schedule())
        self.done += 1
        return [
            SimpleNamespace(
                request_id=name, finished=True, prompt_token_ids=SEQUENCES[name][:prompt],
                outputs=[SimpleNamespace(
                    token_ids=SEQUENCES[name][prompt:prompt + output], routed_experts=self.experts.get(name),
                )],
            )
            for name, prompt, output in self.ends.get(self.done, [])
        ]


ENDS = {4: [("a", 4, 2), ("b", 2, 3)]}


def run(engine: Engine, **arguments: Any) -> Any:
    capture = RoutingCapture(engine, arguments, {})
    for _ in range(len(engine.calls)):
        engine.step()
    return capture.take()


class TestCapture:
    def test_what_adds_up_is_handed_on(self) -> None:
        found = run(Engine(CALLS, ENDS))
        assert (found.method, found.recomputed_tokens) == ("capture hook", 0)
        assert (found.routing.count("prefill"), found.routing.count("decode")) == (6, 3)
        assert found.routing.texts == {}

    def test_a_row_of_a_step_that_was_under_way_at_the_end_is_left_out(self) -> None:
        late = scheduled({"a": 1}, going={"a": 5})
        found = run(Engine([*CALLS, late], ENDS))
        assert found.routing.count("decode") == 3

    def test_rows_that_the_engines_own_count_misses(self) -> None:
        with pytest.raises(EngineError, match="request a: 5 rows for 6 tokens") as caught:
            run(Engine(CALLS, {4: [("a", 4, 3), ("b", 2, 3)]}))
        assert caught.value.kind == "routing"
        assert "enforce_eager" in caught.value.hint

    def test_nothing_captured(self) -> None:
        with pytest.raises(EngineError, match="no call of the model"):
            run(Engine([], {}))

    def test_a_fault_is_told(self) -> None:
        engine = Engine(CALLS, ENDS)
        engine.runner.model.quiet = {1}
        with pytest.raises(EngineError, match="layer 1: never called"):
            run(engine)
        assert engine.step == Engine.step.__get__(engine)
        assert engine.runner.model.hooks == []

    @pytest.mark.parametrize(("change", "arguments", "what"), [
        ({"eager": False}, {}, "graphs"),
        ({"speculative": object()}, {}, "guessed"),
        ({}, {"pipeline_parallel_size": 2}, "pipeline_parallel_size"),
        ({}, {"data_parallel_size": 2}, "data_parallel_size"),
    ])
    def test_engines_that_cannot_tell_are_refused_before_the_work(
        self, change: dict[str, Any], arguments: dict[str, Any], what: str
    ) -> None:
        engine = Engine(CALLS, ENDS)
        vars(engine).update(change)
        with pytest.raises(EngineError, match=what) as caught:
            RoutingCapture(engine, arguments, {})
        assert (caught.value.kind, bool(caught.value.hint)) == ("routing", True)

    def test_a_model_without_routers(self) -> None:
        engine = Engine(CALLS, ENDS)
        engine.runner.model.modules = []
        with pytest.raises(EngineError, match="no layer of the model goes through"):
            RoutingCapture(engine, {}, {})


class TestFusedKernels:
    """Kernels that choose the experts themselves."""

    def module(self, kernel: Any, sink: Any = None) -> Any:
        impl = SimpleNamespace(impl=SimpleNamespace(fused_experts=kernel))
        return SimpleNamespace(
            router=Router(), layer_id=4, is_monolithic=True, _quant_method=SimpleNamespace(moe_kernel=impl),
            routed_experts=SimpleNamespace(routing_sink=sink),
        )

    def found(self, module: Any) -> vllm_routing.Router:
        (router,) = vllm_routing.find_routers(SimpleNamespace(named_modules=lambda: [("layers.4.experts", module)]))
        return router

    def test_one_that_tells_nobody_is_refused_with_what_to_do(self) -> None:
        assert self.found(self.module(SimpleNamespace())).silent
        engine = Engine(CALLS, ENDS)
        engine.runner.model.modules = [("layers.4.experts", self.module(SimpleNamespace()))]
        with pytest.raises(EngineError, match="kernel of layer 4") as caught:
            RoutingCapture(engine, {}, {})
        assert "moe_backend: triton" in caught.value.hint

    def test_one_with_a_hook_of_its_own(self) -> None:
        told: list[Any] = []
        kernel = SimpleNamespace(supports_routing_replay_capture=lambda: True, set_capture_fn=told.append)
        router = self.found(self.module(kernel))
        router.hook(print)
        assert (router.silent, told) == (False, [print])

    def test_one_that_writes_to_a_sink_gets_the_engines_own_back(self) -> None:
        before = SimpleNamespace(capture_fn=print, buffer=None)
        kernel = SimpleNamespace(supports_routing_replay_capture=lambda: True)
        module = self.module(kernel, before)
        router = self.found(module)
        assert (router.silent, router.previous) == (False, print)
        router.hook(print)
        assert module.routed_experts.routing_sink is before


class TestReturned:
    """`enable_return_routed_experts`: a row for each position, of all layers, those that do not route included."""

    def engine(self, calls: list[Any] = CALLS) -> Engine:
        engine = Engine(calls, ENDS)
        engine.runner.model.quiet = {1, 2}
        for name, read in (("a", 5), ("b", 4)):
            tokens = SEQUENCES[name][:read]
            rows = np.stack([experts_of(layer, tokens) for layer in range(3)], axis=1)
            rows[:, 0] = 0
            engine.experts[name] = rows.astype(np.uint8)
        return engine

    def test_gives_the_same_as_the_hook(self) -> None:
        calls = [*CALLS, scheduled({"a": 1}, going={"a": 5})]
        hooked = run(Engine(calls, ENDS)).routing
        found = run(self.engine(calls), enable_return_routed_experts=True)
        assert found.method == "returned by the engine"
        assert found.routing.layers == hooked.layers

        def by_token(routing: Any, layer: int) -> list[tuple[Any, ...]]:
            stack = routing.stacks["decoder"]
            columns = (stack.step, stack.request, stack.position, stack.token, stack.decode)
            return sorted(zip(*(column.tolist() for column in columns), routing.read(layer).tolist(), strict=True))

        for layer in range(2):
            assert by_token(found.routing, layer) == by_token(hooked, layer)

    def test_a_request_without_experts(self) -> None:
        engine = self.engine()
        engine.experts["b"] = None
        with pytest.raises(EngineError, match="request b: the engine returned no experts"):
            run(engine, enable_return_routed_experts=True)

    def test_fewer_layers_than_the_model_has(self) -> None:
        engine = self.engine()
        engine.experts["a"] = engine.experts["a"][:, :2]
        with pytest.raises(EngineError, match="request a: experts of"):
            run(engine, enable_return_routed_experts=True)

    def test_captured_graphs_do_not_matter(self) -> None:
        engine = self.engine()
        engine.eager = False
        assert run(engine, enable_return_routed_experts=True).routing.count("prefill") == 6

    def test_the_scheduler_is_left_as_it_was(self) -> None:
        engine = self.engine()
        run(engine, enable_return_routed_experts=True)
        assert engine.scheduler.schedule == engine.schedule


# A law ------------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]]]:
    """A request's prompt, and the (start, tokens) of each call: on from where it was, or from an earlier place."""
    prompt, at, spans = draw(st.integers(1, 12)), 0, []
    for _ in range(draw(st.integers(1, 8))):
        start = at if draw(st.booleans()) else draw(st.integers(0, at))
        count = draw(st.integers(1, 6))
        spans.append((start, count))
        at = start + count
    return prompt, max(start + count for start, count in spans), spans


@given(histories())
def test_however_often_a_request_is_put_aside_each_token_is_new_once(
    history: tuple[int, int, list[tuple[int, int]]]
) -> None:
    prompt, end, spans = history
    ledger, calls = Ledger(), []
    for number, (start, count) in enumerate(spans):
        new = {"a": (prompt, start)} if number == 0 else {}
        ledger.begin(scheduled({"a": count}, new=new, going={} if number == 0 else {"a": start}))
        rows = rows_of(ledger.spans(["a"], {"a": count}))
        calls.append((number, rows, rows.position))
    tokens = stack_tokens(calls)
    assert tokens.position.tolist() == list(range(end))
    assert tokens.decode.tolist() == [position >= prompt for position in range(end)]
    assert sum(int((~rows.new).sum()) for _, rows, _ in calls) == sum(count for _, count in spans) - end
