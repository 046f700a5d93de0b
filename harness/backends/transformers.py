"""transformers, in this process: scores and routes models that vLLM does not run, such as encoder-decoder ones.

It is no server: requests run in batches of equal prompts, one batch after the other. torch, transformers and lm_eval
are imported inside functions, as in `vllm`.
"""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.backends.base import CapturedRouting, EngineMemory, Finish, StepResult
from harness.backends.reasons import failed
from harness.backends.token_texts import token_texts
from harness.backends.transformers_routing import Collector
from harness.errors import EngineError
from harness.record import Subject

_NEEDED_BY_LM_EVAL = ("accelerate", "peft")
_DEFAULT_BATCH = 256


class TransformersBackend:
    """Loads models with `AutoModelForCausalLM` or `AutoModelForSeq2SeqLM`."""

    def load(self, subject: Subject, location: str, config: dict[str, Any], scratch: Path) -> TransformersEngine:
        """See `backends.base.Backend.load`. Random weights, for which `config` stands, are never asked of it."""
        if subject.quantization or subject.tensor_parallel > 1:
            raise EngineError(
                "the transformers backend has neither quantization nor tensor parallelism", kind="load",
                where=location, hint="leave both out, or choose backend: vllm",
            )
        began = time.perf_counter()
        import torch
        import transformers  # noqa: F401 - what importing it takes is told apart from loading

        if subject.threads is not None:
            torch.set_num_threads(subject.threads)
        start = time.perf_counter()
        try:
            model = _model(subject, location)
            tokenizer = _tokenizer(subject, location)
        except Exception as error:  # transformers raises every kind; the worker needs one with a reason
            raise failed(error, "load", location) from error
        return TransformersEngine(
            model, tokenizer, subject, load_s=time.perf_counter() - start, import_s=start - began
        )


class Waiting(NamedTuple):
    """A request that was handed over."""

    request_id: str
    prompt: list[int]
    output_tokens: int


class TransformersEngine:
    """A loaded model. `tokenizer` is None where there are only weights."""

    def __init__(
        self, model: Any, tokenizer: Any, subject: Subject, load_s: float, import_s: float = 0.0
    ) -> None:
        import torch

        self.load_s = load_s
        self.import_s = import_s
        self.model = model
        self.devices = 0 if model.device.type == "cpu" else 1
        text = model.config.get_text_config()
        self.vocabulary_size: int = text.vocab_size
        told = [getattr(text, key, None) for key in ("max_position_embeddings", "n_positions")]
        longest = subject.engine.get("max_model_len") or next((one for one in told if one), 4096)
        self.max_model_len = int(longest)
        self._tokenizer = tokenizer
        self._precision = subject.precision
        self._most = int(subject.engine.get("max_num_seqs", _DEFAULT_BATCH))
        self._generator = torch.Generator(device=model.device).manual_seed(int(subject.engine.get("seed") or 0))
        self._waiting: list[Waiting] = []
        self._batch: _Batch | None = None
        self._collector: Collector | None = None
        self._language_model: Any = None

    def submit(self, request_id: str, prompt: list[int], output_tokens: int) -> None:
        """See `backends.base.Engine.submit`. Sampled at temperature 1."""
        self._waiting.append(Waiting(request_id, prompt, output_tokens))

    def step(self) -> StepResult:
        """See `backends.base.Engine.step`: one call of the model for the batch that runs, or for the next one.

        A batch is the first request that waits and all others with as many prompt tokens. Raises EngineError where the
        model breaks.
        """
        started: list[str] = []
        if self._batch is None:
            requests = self._next_requests()
            self._batch = _Batch(self.model, requests, self._generator)
            started = [request.request_id for request in requests]
        batch = self._batch
        try:
            batch.advance()
        except Exception as error:  # as in load
            raise failed(error, "engine") from error
        tokens = [request.request_id for request in batch.requests]
        ended = [row for row, request in enumerate(batch.requests) if batch.made == request.output_tokens]
        finished = [
            Finish(batch.requests[row].request_id, "length", len(batch.requests[row].prompt), 0) for row in ended
        ]
        self._drop(batch, ended)
        return StepResult(tokens, finished, started)

    def _next_requests(self) -> list[Waiting]:
        length = len(self._waiting[0].prompt)
        alike = [request for request in self._waiting if len(request.prompt) == length][: self._most]
        self._waiting = [request for request in self._waiting if request not in alike]
        return alike

    def _drop(self, batch: _Batch, ended: list[int]) -> None:
        """Takes requests that have their tokens out of the batch."""
        kept = [row for row in range(len(batch.requests)) if row not in ended]
        if not kept:
            self._batch = None
        elif ended:
            batch.keep(kept)
            if self._collector is not None:
                self._collector.keep(kept)

    def start_routing(self) -> None:
        """See `backends.base.Engine.start_routing`."""
        self._collector = Collector(self.model)

    def take_routing(self) -> CapturedRouting:
        """See `backends.base.Engine.take_routing`."""
        assert self._collector is not None, "start_routing comes first"
        collector, self._collector = self._collector, None
        collector.close()
        routing = collector.captured()
        texts = {} if self._tokenizer is None else token_texts(self._tokenizer, routing.stacks.values())
        return CapturedRouting(replace(routing, texts=texts), "transformers")

    def memory(self) -> EngineMemory:
        """See `backends.base.Engine.memory`: nothing is reserved for keys and values."""
        held = (*self.model.parameters(), *self.model.buffers())
        return EngineMemory(0, 0, weights_bytes=sum(tensor.numel() * tensor.element_size() for tensor in held))

    def language_model(self) -> Any:
        """See `backends.base.Engine.language_model`. One item at a time: padding would be routed too.

        Raises EngineError where a package or the tokenizer is missing.
        """
        missing = [name for name in _NEEDED_BY_LM_EVAL if importlib.util.find_spec(name) is None]
        if missing:
            raise EngineError(
                f"lm-eval needs {' and '.join(missing)} to score through transformers", kind="task",
                hint='make setup, or: pip install "lm-eval[hf]"',
            )
        if self._tokenizer is None:
            raise EngineError(
                "the model has no tokenizer, without which nothing can be scored", kind="task",
                hint="put its tokenizer's files beside its weights",
            )
        from lm_eval.models.huggingface import HFLM

        if self._language_model is None:
            self._language_model = HFLM(
                pretrained=self.model, tokenizer=self._tokenizer, backend=self._kind_of_model, batch_size=1,
                max_length=self.max_model_len,
            )
        return self._language_model

    @property
    def _kind_of_model(self) -> str:
        return "seq2seq" if self.model.config.is_encoder_decoder else "causal"

    def config(self) -> dict[str, Any]:
        """See `backends.base.Engine.config`."""
        config: dict[str, Any] = self.model.config.to_dict()
        return config

    def arguments(self) -> dict[str, Any]:
        """See `backends.base.Engine.arguments`, of lm-eval's `hf`."""
        return {"dtype": self._precision, "backend": self._kind_of_model, "max_length": self.max_model_len}

    def close(self) -> None:
        """Frees the model's memory."""
        import torch

        del self.model, self._language_model, self._batch
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Batch:
    """Requests of equal prompt length that run together, without padding."""

    def __init__(self, model: Any, requests: Sequence[Waiting], generator: Any) -> None:
        import torch

        self.requests = list(requests)
        self.made = 0
        """Tokens that each request has so far."""
        self._model = model
        self._generator = generator
        self._cache: Any = None
        self._encoded: Any = None
        self._inputs = torch.tensor([request.prompt for request in requests], device=model.device)

    def advance(self) -> None:
        """One more token for each request."""
        import torch

        with torch.inference_mode():
            output = self._called()
            self._cache = output.past_key_values
            chances = torch.softmax(output.logits[:, -1].float(), dim=-1)
            self._inputs = torch.multinomial(chances, 1, generator=self._generator)
        self.made += 1

    def _called(self) -> Any:
        model, cache = self._model, self._cache
        if not model.config.is_encoder_decoder:
            return model(input_ids=self._inputs, past_key_values=cache, use_cache=True)
        if self._encoded is None:
            self._encoded = model.get_encoder()(input_ids=self._inputs, return_dict=True)
            self._inputs = self._inputs.new_full((len(self.requests), 1), model.config.decoder_start_token_id)
        return model(
            encoder_outputs=self._encoded, decoder_input_ids=self._inputs, past_key_values=cache, use_cache=True
        )

    def keep(self, rows: list[int]) -> None:
        """Goes on with these rows only."""
        import torch

        index = torch.tensor(rows, device=self._inputs.device)
        self.requests = [self.requests[row] for row in rows]
        self._inputs = self._inputs[index]
        self._cache.batch_select_indices(index)
        if self._encoded is not None:
            self._encoded.last_hidden_state = self._encoded.last_hidden_state[index]


def _model(subject: Subject, location: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    revision = subject.revision if subject.source.startswith("hub:") else None
    read = AutoConfig.from_pretrained(location, revision=revision)
    kind = AutoModelForSeq2SeqLM if read.is_encoder_decoder else AutoModelForCausalLM
    model = kind.from_pretrained(
        location, revision=revision, config=read, dtype=getattr(torch, subject.precision), attn_implementation="eager"
    )
    return model.to("cpu" if subject.threads is not None or not torch.cuda.is_available() else "cuda").eval()


def _tokenizer(subject: Subject, location: str) -> Any:
    """The tokenizer, None where the checkpoint has none."""
    from transformers import AutoTokenizer

    revision = subject.revision if subject.source.startswith("hub:") else None
    folder = Path(location)
    if folder.is_dir() and not any(folder.glob("*token*")) and not any(folder.glob("*.model")):
        return None
    return AutoTokenizer.from_pretrained(location, revision=revision)
