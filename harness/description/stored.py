"""The precision of a checkpoint, from what its config.json, and a file of ModelOpt beside it, say about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from harness.config_keys import shown

_PLAIN = ("float32", "bfloat16", "float16")
_NEVER_CONVERTED = re.compile(r"head|embed|norm|router|gate(\.weight)?$|correction_bias")
"""Modules that every quantised precision of `accounting.PRECISIONS` keeps in 16 bits anyway."""
_MODELOPT = {"FP8": "fp8", "NVFP4": "nvfp4"}
"""Algorithms of NVIDIA's ModelOpt that convert all matrices of the layers alike; others mix or have other blocks."""


def stored_precision(
    config: Mapping[str, object], beside: Mapping[str, object] | None = None
) -> tuple[str | None, str]:
    """The key of `accounting.PRECISIONS` that a config.json names, and a remark.

    None where it names none or one that is not known there; the remark says which. `beside` is what an
    hf_quant_config.json holds. Source: the keys `torch_dtype` (`dtype` since transformers 5) and
    `quantization_config` of transformers, in the file or its text part, and `quantization` of ModelOpt.
    """
    stated = list(_stated(config, beside))
    if not stated:
        named = _first(config, ("dtype", "torch_dtype"))
        name = str(named).removeprefix("torch.")
        if name in _PLAIN:
            return name, ""
        return None, f"the precision {shown(named)} of the file is not known" if named is not None else ""
    names = [_quantised(one) if isinstance(one, Mapping) else "" for one in stated]
    if not all(names):
        return None, _unknown(stated[names.index("")])
    if len(set(names)) > 1:
        return None, f"the files name different quantisations: {' and '.join(sorted(set(names)))}"
    experts = _first(config, ("expert_dtype",))
    if experts not in (None, "fp8"):
        return None, f"the experts are stored in {shown(experts)}, and the rest in {names[0]}"
    remarks = (_unconverted(names[0], one) for one in stated if isinstance(one, Mapping))
    return names[0], next((remark for remark in remarks if remark), "")


def states_quantisation(config: Mapping[str, object], beside: Mapping[str, object] | None = None) -> bool:
    """Whether the files say that weights are quantised, be it in a form that is not known."""
    named = str(_first(config, ("dtype", "torch_dtype")))
    return any(True for _ in _stated(config, beside)) or bool(re.search(r"(int|float|fp|nf)[48]", named))


def stored_cache(config: Mapping[str, object], beside: Mapping[str, object] | None = None) -> str:
    """A remark where the files name a precision of the cache, which every description counts as the activations'."""
    for one in _stated(config, beside):
        scheme = None
        if isinstance(one, Mapping):
            scheme = one.get("kv_cache_quant_algo") or one.get("kv_cache_scheme")
        if scheme:
            known = f"{scheme.get('num_bits')} bits" if isinstance(scheme, Mapping) else shown(scheme)
            return f"the files ask for a cache of {known}; bytes of the cache are those of unconverted values"
    return ""


def _stated(config: Mapping[str, object], beside: Mapping[str, object] | None) -> Iterator[object]:
    for part in (config, config.get("text_config"), config.get("llm_config")):
        if isinstance(part, Mapping) and part.get("quantization_config") is not None:
            yield part["quantization_config"]
    if beside is not None:
        yield beside.get("quantization", beside)


def _first(config: Mapping[str, object], keys: tuple[str, ...]) -> object:
    """The first value that the file, or else its text part, states under one of `keys`."""
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping):
            for key in keys:
                if part.get(key) is not None:
                    return part[key]
    return None


def _unknown(stated: object) -> str:
    if not isinstance(stated, Mapping):
        return f"'quantization_config' is {shown(stated)}"
    method = stated.get("quant_algo") or stated.get("quant_method")
    return f"the quantisation {shown(method)} of the file is not known in this form"


def _quantised(values: Mapping[str, object]) -> str:
    method, block = values.get("quant_method"), values.get("weight_block_size")
    if values.get("quant_algo") is not None or method == "modelopt":
        return _MODELOPT.get(str(values.get("quant_algo")), "")
    if method == "mxfp4":
        return "mxfp4-experts"
    if method == "fp8":
        return {"null": "fp8", "[128, 128]": "fp8-block"}.get(shown(block), "")
    if method in ("awq", "gptq") and not values.get("modules_in_block_to_quantize"):
        bits = values.get("bits", values.get("w_bit"))
        group = values.get("group_size", values.get("q_group_size"))
        return "int4-g128" if (bits, group) == (4, 128) else ""
    return _compressed(values) if method == "compressed-tensors" else ""


def _compressed(values: Mapping[str, object]) -> str:
    """FP8 weights of all linear layers, as compressed-tensors describes them in groups of modules."""
    groups = values.get("config_groups")
    if not isinstance(groups, Mapping) or len(groups) != 1:
        return ""
    group = next(iter(groups.values()))
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping) or group.get("targets") != ["Linear"]:
        return ""
    if (weights.get("num_bits"), weights.get("type")) != (8, "float"):
        return ""
    if weights.get("strategy") in ("tensor", "channel"):
        return "fp8"
    is_block = weights.get("strategy") == "block" and weights.get("block_structure") == [128, 128]
    return "fp8-block" if is_block else ""


def _unconverted(name: str, values: Mapping[str, object]) -> str:
    """A remark where the file keeps matrices in 16 bits that `name` counts as converted."""
    lists = (values.get(key) for key in ("modules_to_not_convert", "exclude_modules", "ignore"))
    kept = next((one for one in lists if one), ())
    if name == "mxfp4-experts" or not isinstance(kept, list | tuple):
        return ""
    matrices = [one for one in kept if not _NEVER_CONVERTED.search(str(one))]
    if not matrices:
        return ""
    return f"the file keeps {len(matrices)} modules in 16 bits that {name} counts as converted: weights are larger"
