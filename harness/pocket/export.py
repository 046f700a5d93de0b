"""Writes a trained network as a Hugging Face checkpoint folder, byte for byte the same: bf16, config, tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.pocket import world
from harness.pocket.recipe import EPSILON, POSITIONS, ROPE_THETA, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from harness.pocket.network import Network

MODEL_TYPES = {
    "LlamaForCausalLM": "llama",
    "MixtralForCausalLM": "mixtral",
    "Qwen2MoeForCausalLM": "qwen2_moe",
}


def export(network: Network, folder: Path) -> None:
    """Writes config.json, generation_config.json, model.safetensors and the tokenizer's two files to `folder`."""
    import torch
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: part.to(torch.bfloat16).contiguous() for name, part in tensors(network).items()}
    (folder / "model.safetensors").write_bytes(save(dict(sorted(weights.items())), metadata={"format": "pt"}))
    write_json(folder / "config.json", config(network.shape))
    write_json(
        folder / "generation_config.json", {"do_sample": False, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    )
    write_json(folder / "tokenizer.json", tokenizer(), indent=None)
    write_json(folder / "tokenizer_config.json", tokenizer_config())


def write_json(path: Path, value: dict[str, Any], *, indent: int | None = 2) -> None:
    """JSON with a final newline."""
    path.write_text(json.dumps(value, indent=indent) + "\n", encoding="utf-8")


def tensors(network: Network) -> dict[str, Tensor]:
    """The weights under the names that transformers and vLLM know, in float32."""
    found = {"model.embed_tokens.weight": network.embedding.detach(), "model.norm.weight": network.norm.detach()}
    for number, block in enumerate(network.layers()):
        own = {name: part.detach() for name, part in block.named_parameters()}
        layer = {"input_layernorm.weight": own["norms"][0], "post_attention_layernorm.weight": own["norms"][1]}
        for place, letter in enumerate("qkvo"):
            layer[f"self_attn.{letter}_proj.weight"] = own["attention"][place]
            if network.shape.qkv_bias and letter != "o":
                layer[f"self_attn.{letter}_proj.bias"] = own["bias"][place]
        layer |= feed_forward(own, network.shape)
        found |= {f"model.layers.{number}.{name}": part for name, part in layer.items()}
    return found


def feed_forward(own: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """A block's feed-forward cut out of its wide matrices."""
    mixtral = shape.architecture == "MixtralForCausalLM"
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    room = "block_sparse_moe" if mixtral else "mlp"
    found = {}

    def cut(prefix: str, first: int, last: int) -> None:
        found[f"{prefix}.{gate}.weight"] = own["up"][0, first:last]
        found[f"{prefix}.{up}.weight"] = own["up"][1, first:last]
        found[f"{prefix}.{down}.weight"] = own["down"][first:last].T

    if not shape.experts:
        cut(room, 0, shape.dense_width)
        return found
    found[f"{room}.gate.weight"] = own["router"]
    for expert in range(shape.experts):
        cut(f"{room}.experts.{expert}", expert * shape.expert_width, (expert + 1) * shape.expert_width)
    if shape.shared_width:
        cut(f"{room}.shared_expert", shape.experts * shape.expert_width, shape.ffn_width)
        found[f"{room}.shared_expert_gate.weight"] = own["shared_gate"]
    return found


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a shape."""
    common = {
        "architectures": [shape.architecture],
        "model_type": MODEL_TYPES[shape.architecture],
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "hidden_act": "silu",
        "max_position_embeddings": POSITIONS,
        "rms_norm_eps": EPSILON,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 1,
    }
    if shape.architecture == "MixtralForCausalLM":
        own: dict[str, Any] = {
            "intermediate_size": shape.expert_width,
            "num_local_experts": shape.experts,
            "num_experts_per_tok": shape.top_k,
            "sliding_window": None,
        }
    elif shape.architecture == "Qwen2MoeForCausalLM":
        own = {
            "intermediate_size": shape.expert_width * shape.top_k + shape.shared_width,
            "moe_intermediate_size": shape.expert_width,
            "shared_expert_intermediate_size": shape.shared_width,
            "num_experts": shape.experts,
            "num_experts_per_tok": shape.top_k,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "qkv_bias": True,
            "use_sliding_window": False,
        }
    else:
        own = {"intermediate_size": shape.dense_width, "attention_bias": False, "mlp_bias": False}
    return common | own


def tokenizer() -> dict[str, Any]:
    """tokenizer.json: one token a word, words parted by white space, nothing added."""
    special = [
        {
            "id": place,
            "content": word,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for place, word in enumerate((world.END, world.PAD, world.UNKNOWN))
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: place for place, word in enumerate(world.words())},
            "unk_token": world.UNKNOWN,
        },
    }


def tokenizer_config() -> dict[str, Any]:
    """tokenizer_config.json: `<end>` both ends a text and stands before the next."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": world.END,
        "eos_token": world.END,
        "pad_token": world.PAD,
        "unk_token": world.UNKNOWN,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": POSITIONS,
    }
