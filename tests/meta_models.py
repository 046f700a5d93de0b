"""Models that transformers makes of a configuration, and their tensors counted by name."""

from __future__ import annotations

import logging
import re
import warnings
from typing import Any

from model_configs import COMPONENTS
from model_configs.seq2seq import EXPERTS_PER_TOKEN

from harness.accounting import ParameterCount

# Where a tensor belongs, by the first part of its name that matches.
COMMON = [
    ("embed_tokens", "embedding"),
    ("lm_head.bias", "other"),
    ("lm_head", "head"),
    ("norm", "norm"),
    ("self_attn.", "attention"),
    ("mlp.shared_expert", "shared_experts"),
    ("mlp.experts.", "routed_experts"),
    ("mlp.gate.", "router"),
    ("mlp.router.", "router"),
    ("mlp.", "dense_ffn"),
]

# An expert that is a module of its own, by its number.
LISTED_EXPERT = re.compile(r"\bexperts\.(?:expert_)?(\d+)\.")


def build(config: dict[str, Any], device: str, **options: Any) -> Any:
    """The model that transformers makes of `config`, with random or no weights."""
    import torch
    import transformers

    # it warns in its log about the position settings of tiny models, which do not matter here
    logging.getLogger("transformers").setLevel(logging.ERROR)
    # and one of its modules compiles functions in a way that torch advises against; this holds for the running test
    warnings.filterwarnings("ignore", message="`torch.jit.script`", category=DeprecationWarning)
    library: Any = transformers
    with torch.device(device):
        stated = library.AutoConfig.for_model(**config)
        if not getattr(stated, "is_encoder_decoder", False):
            return library.AutoModelForCausalLM.from_config(stated, **options).eval()
        # T5 is always made tied, though the published files and checkpoints of later versions are not. What is not
        # tied gets a table for each stack, though checkpoints have only one, under the name of the shared one.
        stated.tie_word_embeddings = config.get("tie_word_embeddings", stated.tie_word_embeddings)
        model = library.AutoModelForSeq2SeqLM.from_config(stated, **options).eval()
        if not stated.tie_word_embeddings:
            model.set_input_embeddings(model.get_input_embeddings())
        return model


def knows(config: dict[str, Any]) -> bool:
    """Whether transformers has the classes of the model; the others are counted by hand in test_catalog."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return config.get("model_type") in CONFIG_MAPPING_NAMES


def experts_per_token(config: Any) -> int:
    """What a model's configuration calls the experts that a token uses; some classes allow only one number."""
    if config.model_type in EXPERTS_PER_TOKEN:
        return EXPERTS_PER_TOKEN[config.model_type]
    config = getattr(config, "ffn_config", config)
    names = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "num_selected_experts")
    return int(next(getattr(config, name) for name in names if getattr(config, name, None)))


def count_by_names(model: Any) -> ParameterCount:
    """Sums the tensors of a model by their names; tied tensors come once, under the input table; buffers do not count.

    What is named a shared expert but has no routed ones beside it is a dense feed-forward (Granite 4).
    """
    sums = dict.fromkeys(ParameterCount.model_fields, 0)
    rules = [*COMPONENTS.get(model.config.model_type, []), *COMMON]
    listed: set[str] = set()
    of_listed = 0
    for name, tensor in model.named_parameters():
        component = next(component for part, component in rules if part in name)
        sums[component] += tensor.numel()
        number = LISTED_EXPERT.search(name)
        if component == "routed_experts" and number:
            listed.add(number[1])
            of_listed += tensor.numel()
        elif component == "routed_experts":
            # Stacked experts: a token uses k of the first dimension's N; DBRX has them one below the other.
            inner = getattr(model.config, "ffn_config", None)
            experts = tensor.shape[0] if inner is None else inner.moe_num_experts
            sums["routed_experts_used"] += tensor.numel() // experts * experts_per_token(model.config)
    if listed:
        sums["routed_experts_used"] += of_listed // len(listed) * experts_per_token(model.config)
    if not sums["routed_experts"]:
        sums["dense_ffn"] += sums.pop("shared_experts")
    return ParameterCount(**sums)


def count_on_meta(config: dict[str, Any]) -> ParameterCount:
    """Sums the tensors of the model of `config` on the meta device.

    Thousands of experts that are modules of their own take long to make. Every sum is linear in their number, so two
    small numbers tell it; test_seq2seq proves that on models that are quick either way.
    """
    many = config.get("num_experts", 0)
    if many <= 1024 or config["model_type"] not in EXPERTS_PER_TOKEN:
        return count_by_names(build(config, "meta"))
    few, more = (count_by_names(build({**config, "num_experts": number}, "meta")) for number in (2, 3))
    return few_and_more(few, more, many - 2)


def few_and_more(few: ParameterCount, more: ParameterCount, steps: int) -> ParameterCount:
    """`steps` times the difference of two counts on top of the first."""
    first, second = few.model_dump(), more.model_dump()
    return ParameterCount(**{name: first[name] + steps * (second[name] - first[name]) for name in first})
