"""Tiny models through the transformers backend: what they make, and where every token goes."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import subject

from harness.backends import transformers_routing
from harness.backends.transformers import TransformersBackend, TransformersEngine
from harness.errors import EngineError
from harness.record import RoutedLayer
from harness.routing.tokens import Routing

pytestmark = pytest.mark.torch

_SWITCH: dict[str, Any] = {
    "vocab_size": 96, "d_model": 48, "d_kv": 12, "d_ff": 64, "num_layers": 4, "num_decoder_layers": 4,
    "num_sparse_encoder_layers": 2, "num_sparse_decoder_layers": 2, "num_heads": 4, "num_experts": 8,
    "expert_capacity": 64, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
}
_NLLB: dict[str, Any] = {
    "vocab_size": 96, "d_model": 48, "encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_experts": 8,
    "encoder_sparse_step": 2, "decoder_sparse_step": 2, "expert_capacity": 64, "max_position_embeddings": 128,
    "decoder_start_token_id": 2, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}
_MIXTRAL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 128,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}
SHAPES = {"switch_transformers": _SWITCH, "nllb-moe": _NLLB, "mixtral": _MIXTRAL}
PROMPTS = [list(range(5, 16)), list(range(20, 31)), list(range(40, 47))]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models whose routers spread tokens over the experts."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    folder, found = tmp_path_factory.mktemp("transformers"), {}
    for name, shape in SHAPES.items():
        torch.manual_seed(0)
        config = AutoConfig.for_model(name, **shape)
        model = (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0, 1.0 if "classifier" in key or "gate" in key or "shared" in key else 0.1)
        found[name] = folder / name
        model.save_pretrained(found[name])
    return found


def loaded(place: Path, **changes: Any) -> TransformersEngine:
    given = subject(precision="float32", threads=1, **{"engine": {"max_model_len": 64}, **changes})
    return TransformersBackend().load(given, str(place), {}, place)


def run(engine: TransformersEngine, output_tokens: list[int]) -> dict[str, int]:
    """Runs the prompts; how many tokens each got."""
    made = {str(number): 0 for number in range(len(PROMPTS))}
    for number, (prompt, tokens) in enumerate(zip(PROMPTS, output_tokens, strict=True)):
        engine.submit(str(number), prompt, tokens)
    left = set(made)
    while left:
        step = engine.step()
        for name in step.tokens:
            made[name] += 1
        left -= {end.request_id for end in step.finished}
    return made


def captured(engine: TransformersEngine, output_tokens: list[int]) -> Routing:
    engine.start_routing()
    run(engine, output_tokens)
    return engine.take_routing().routing


def rows(routing: Routing, stack: str, request: int) -> Any:
    """A request's rows in a stack, in the order of its positions."""
    tokens = routing.stacks[stack]
    found = np.flatnonzero(tokens.request == request)
    return found[np.argsort(tokens.position[found], kind="stable")]


class TestRequests:
    @pytest.mark.parametrize("name", SHAPES)
    def test_each_gets_what_it_asked_for(self, checkpoints: dict[str, Path], name: str) -> None:
        engine = loaded(checkpoints[name])
        assert run(engine, [6, 3, 4]) == {"0": 6, "1": 3, "2": 4}
        assert (engine.vocabulary_size, engine.max_model_len, engine.devices) == (96, 64, 0)

    def test_equal_prompts_run_together_and_others_wait(self, checkpoints: dict[str, Path]) -> None:
        engine = loaded(checkpoints["mixtral"])
        for number, prompt in enumerate(PROMPTS):
            engine.submit(str(number), prompt, 2)
        steps = [engine.step() for _ in range(4)]
        assert [list(step.started) for step in steps] == [["0", "1"], [], ["2"], []]
        assert [list(step.tokens) for step in steps] == [["0", "1"], ["0", "1"], ["2"], ["2"]]
        ended = [(end.request_id, end.reason, end.prompt_tokens, end.cached_tokens) for end in steps[1].finished]
        assert ended == [("0", "length", 11, 0), ("1", "length", 11, 0)]

    def test_a_batch_is_no_larger_than_the_engine_takes(self, checkpoints: dict[str, Path]) -> None:
        engine = loaded(checkpoints["mixtral"], engine={"max_model_len": 64, "max_num_seqs": 1})
        engine.submit("0", PROMPTS[0], 1)
        engine.submit("1", PROMPTS[1], 1)
        assert [list(engine.step().tokens) for _ in range(2)] == [["0"], ["1"]]

    @pytest.mark.parametrize("name", SHAPES)
    def test_outputs_are_the_same_with_capture(self, checkpoints: dict[str, Path], name: str) -> None:
        """The tokens that are read are those that were made: capturing twice and not at all agree."""
        first, second = (captured(loaded(checkpoints[name]), [6, 3, 4]) for _ in range(2))
        assert np.array_equal(first.stacks["decoder"].token, second.stacks["decoder"].token)
        silent = loaded(checkpoints[name])
        seen: list[Any] = []
        decoder = silent.model.get_decoder() if name != "mixtral" else silent.model
        handle = decoder.register_forward_pre_hook(
            lambda _m, _a, named: seen.append(named["input_ids"].reshape(-1).numpy()), with_kwargs=True
        )
        run(silent, [6, 3, 4])
        handle.remove()
        assert np.array_equal(np.concatenate(seen), first.stacks["decoder"].token)


class TestEncoderDecoder:
    @pytest.mark.parametrize(("name", "top_k"), [("switch_transformers", 1), ("nllb-moe", 2)])
    def test_ids_are_those_of_the_routers_own_logits(
        self, checkpoints: dict[str, Path], name: str, top_k: int
    ) -> None:
        import torch

        engine = loaded(checkpoints[name])
        routing = captured(engine, [6, 3, 4])
        for request in range(3):
            encoder, decoder = (rows(routing, stack, request) for stack in ("encoder", "decoder"))
            tokens = {stack: routing.stacks[stack].token for stack in ("encoder", "decoder")}
            with torch.inference_mode():
                output = engine.model(
                    input_ids=torch.tensor(tokens["encoder"][encoder][None].astype(np.int64)),
                    decoder_input_ids=torch.tensor(tokens["decoder"][decoder][None].astype(np.int64)),
                    output_router_logits=True,
                )
            for stack, chosen, told in (
                ("encoder", encoder, output.encoder_router_logits), ("decoder", decoder, output.decoder_router_logits)
            ):
                numbers = [number for number, layer in enumerate(routing.layers) if layer.stack == stack]
                assert len(numbers) == len(told) == 2
                for number, logits in zip(numbers, told, strict=True):
                    best = logits.reshape(-1, 8).topk(top_k, dim=-1).indices.sort(dim=-1).values.numpy()
                    assert np.array_equal(routing.read(number)[chosen], best)

    @pytest.mark.parametrize("name", ["switch_transformers", "nllb-moe"])
    def test_the_encoder_reads_the_prompt_and_the_decoder_what_follows(
        self, checkpoints: dict[str, Path], name: str
    ) -> None:
        engine = loaded(checkpoints[name])
        routing = captured(engine, [6, 3, 4])
        encoder, decoder = routing.stacks["encoder"], routing.stacks["decoder"]
        assert (routing.count("prefill"), routing.count("decode")) == (sum(map(len, PROMPTS)), 6 + 3 + 4)
        assert not encoder.decode.any() and decoder.decode.all()
        start = engine.model.config.decoder_start_token_id
        for request, (prompt, made) in enumerate(zip(PROMPTS, (6, 3, 4), strict=True)):
            assert encoder.token[rows(routing, "encoder", request)].tolist() == prompt
            mine = rows(routing, "decoder", request)
            assert decoder.position[mine].tolist() == list(range(made))
            assert decoder.token[mine][0] == start
        assert [(layer.stack, layer.index) for layer in routing.layers] == [
            ("encoder", 1), ("encoder", 3), ("decoder", 1), ("decoder", 3),
        ]

    def test_what_capacity_drops_counts_as_chosen(self, checkpoints: dict[str, Path]) -> None:
        whole = captured(loaded(checkpoints["switch_transformers"]), [1, 1, 1])
        engine = loaded(checkpoints["switch_transformers"])
        for part in engine.model.modules():
            if hasattr(part, "expert_capacity"):
                part.expert_capacity = 1
        tight = captured(engine, [1, 1, 1])
        # the first sparse layer sees the same states: its choice is the same, though most of it was dropped
        assert np.array_equal(whole.read(0), tight.read(0))
        assert np.bincount(whole.read(0)[:11].reshape(-1)).max() > 1

    def test_a_second_expert_drawn_by_lot_cannot_be_told(self, checkpoints: dict[str, Path]) -> None:
        engine = loaded(checkpoints["nllb-moe"])
        for part in engine.model.modules():
            if hasattr(part, "second_expert_policy"):
                part.second_expert_policy = "sampling"
        with pytest.raises(EngineError, match="drawn by lot") as caught:
            engine.start_routing()
        assert caught.value.kind == "routing"


class TestDecoderOnly:
    def test_the_prompt_is_prefill_and_the_rest_decode(self, checkpoints: dict[str, Path]) -> None:
        routing = captured(loaded(checkpoints["mixtral"]), [6, 3, 4])
        tokens = routing.stacks["decoder"]
        assert routing.layers == tuple(RoutedLayer(index=index, experts=8, top_k=2) for index in range(2))
        for request, (prompt, made) in enumerate(zip(PROMPTS, (6, 3, 4), strict=True)):
            mine = rows(routing, "decoder", request)
            assert tokens.position[mine].tolist() == list(range(len(prompt) + made - 1))
            assert tokens.token[mine][: len(prompt)].tolist() == prompt
            assert tokens.decode[mine].tolist() == [False] * len(prompt) + [True] * (made - 1)
        assert (np.diff(tokens.step) >= 0).all()

    def test_a_padded_batch_is_a_fault(self, checkpoints: dict[str, Path]) -> None:
        import torch

        engine = loaded(checkpoints["mixtral"])
        engine.start_routing()
        with torch.inference_mode():
            engine.model(input_ids=torch.tensor([[0, 5, 6]]), attention_mask=torch.tensor([[0, 1, 1]]))
        with pytest.raises(EngineError, match="padded"):
            engine.take_routing()

    def test_nothing_captured(self, checkpoints: dict[str, Path]) -> None:
        engine = loaded(checkpoints["mixtral"])
        engine.start_routing()
        with pytest.raises(EngineError, match="no call of the model") as caught:
            engine.take_routing()
        assert caught.value.hint == "give it requests or items whose tokens it runs"

    def test_hooks_go_when_capturing_ends(self, checkpoints: dict[str, Path]) -> None:
        engine = loaded(checkpoints["mixtral"])
        captured(engine, [1, 1, 1])
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in engine.model.modules())

    def test_an_experts_module_that_is_handed_no_ids(
        self, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Llama 4's, which are handed states that are multiplied already."""
        import torch

        states = torch.zeros(2, 48)
        assert transformers_routing._handed(None, (states, states > 0), {"weights": states}, None) is None
        find = transformers_routing.find_sources
        monkeypatch.setattr(
            transformers_routing, "find_sources", lambda model: [one._replace(read=_nothing) for one in find(model)]
        )
        engine = loaded(checkpoints["mixtral"])
        engine.start_routing()
        run(engine, [1, 1, 1])
        with pytest.raises(EngineError, match="decoder layer 0: its experts are not handed ids"):
            engine.take_routing()


def _nothing(*_: Any) -> None:
    return None


class TestLoading:
    def test_its_configuration_and_its_memory(self, checkpoints: dict[str, Path]) -> None:
        engine = loaded(checkpoints["mixtral"], engine={})
        assert engine.max_model_len == 128
        assert engine.config()["num_local_experts"] == 8
        weights = engine.memory().weights_bytes
        assert weights is not None and weights >= 4 * sum(p.numel() for p in engine.model.parameters())

    def test_a_model_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(EngineError) as caught:
            loaded(tmp_path)
        assert (caught.value.kind, caught.value.where) == ("load", str(tmp_path))

    @pytest.mark.parametrize("change", [{"quantization": "fp8"}, {"tensor_parallel": 2}])
    def test_what_it_has_not_is_refused(self, tmp_path: Path, change: dict[str, Any]) -> None:
        with pytest.raises(EngineError, match="neither quantization nor tensor parallelism"):
            loaded(tmp_path, **change)

    def test_a_closed_engine_holds_nothing(self, checkpoints: dict[str, Path]) -> None:
        engine = loaded(checkpoints["mixtral"])
        engine.close()
        assert not hasattr(engine, "model")


class TestLanguageModel:
    def test_a_missing_package_is_told_with_what_to_do(
        self, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = loaded(checkpoints["mixtral"])
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else object())
        with pytest.raises(EngineError, match="lm-eval needs peft") as caught:
            engine.language_model()
        assert "make setup" in caught.value.hint

    def test_without_a_tokenizer_nothing_is_scored(self, checkpoints: dict[str, Path]) -> None:
        with pytest.raises(EngineError, match="no tokenizer"):
            loaded(checkpoints["mixtral"]).language_model()

    @pytest.mark.parametrize("name", ["switch_transformers", "mixtral"])
    def test_scores_and_answers_are_captured(
        self, checkpoints: dict[str, Path], repo_root: Path, name: str
    ) -> None:
        from lm_eval.api.instance import Instance
        from transformers import AutoTokenizer

        engine = loaded(checkpoints[name])
        engine._tokenizer = AutoTokenizer.from_pretrained(repo_root / "suites/pocket/models/moe-8x2-s1")
        ids = engine._tokenizer("bi bo bu")["input_ids"]
        assert max(ids) < 96, "the tokens of the text are among the model's"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = engine.language_model()
            engine.start_routing()
            (scored,) = model.loglikelihood(
                [Instance("loglikelihood", {}, ("bi bo", " bu"), 0, ("task", 0, 1))], disable_tqdm=True
            )
        captured_routing = engine.take_routing()
        assert scored[0] < 0
        assert captured_routing.method == "transformers"
        assert captured_routing.routing.texts
        assert captured_routing.routing.count("prefill") > 0
        assert engine.arguments() == {
            "dtype": "float32", "backend": "causal" if name == "mixtral" else "seq2seq", "max_length": 64,
        }
