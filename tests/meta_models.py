"""Models that transformers makes of a configuration, and their tensors counted by name."""

from __future__ import annotations

import logging
from typing import Any

from model_configs import COMPONENTS

from harness.accounting import ParameterCount

# Where a tensor belongs, by the first part of its name that matches.
COMMON = [
    ("embed_tokens", "embedding"),
    ("lm_head", "head"),
    ("norm", "norm"),
    ("self_attn.", "attention"),
    ("mlp.shared_expert", "shared_experts"),
    ("mlp.experts.", "routed_experts"),
    ("mlp.gate.", "router"),
    ("mlp.router.", "router"),
    ("mlp.", "dense_ffn"),
]

# Learned values that steer the choice of experts; transformers keeps them as buffers, and checkpoints have them.
CORRECTIONS = ("e_score_correction_bias", "expert_bias")


def build(config: dict[str, Any], device: str, **options: Any) -> Any:
    """The model that transformers makes of `config`, with random or no weights."""
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    # it warns in its log about the position settings of tiny models, which do not matter here
    logging.getLogger("transformers").setLevel(logging.ERROR)
    library: Any = transformers
    with torch.device(device):
        stated = library.AutoConfig.for_model(**config)
        causal = config["model_type"] in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        kind = library.AutoModelForCausalLM if causal else library.AutoModelForSeq2SeqLM
        return kind.from_config(stated, **options).eval()


def knows(config: dict[str, Any]) -> bool:
    """Whether transformers has the classes of the model; the others are counted by hand in test_catalog."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return config.get("model_type") in CONFIG_MAPPING_NAMES


def experts_per_token(config: Any) -> int:
    """What a model's configuration calls the experts that a token uses."""
    names = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "num_selected_experts")
    return int(next(getattr(config, name) for name in names if getattr(config, name, None)))


def count_by_names(model: Any) -> ParameterCount:
    """Sums the tensors of a model by their names; tied tensors come once, under the input table.

    What is named a shared expert but has no routed ones beside it is a dense feed-forward (Granite 4).
    """
    sums = dict.fromkeys(ParameterCount.model_fields, 0)
    rules = [*COMPONENTS.get(model.config.model_type, []), *COMMON]
    for name, tensor in model.named_parameters():
        component = next(component for part, component in rules if part in name)
        sums[component] += tensor.numel()
        if component == "routed_experts":
            # Stacked experts: a token uses k of the first dimension's N.
            sums["routed_experts_used"] += tensor.numel() // tensor.shape[0] * experts_per_token(model.config)
    sums["router"] += sum(tensor.numel() for name, tensor in model.named_buffers() if name.endswith(CORRECTIONS))
    if not sums["routed_experts"]:
        sums["dense_ffn"] += sums.pop("shared_experts")
    return ParameterCount(**sums)
