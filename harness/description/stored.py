"""The precision of a checkpoint, from what its config.json says about it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.config_keys import shown

_PLAIN = ("float32", "bfloat16", "float16")
_NEVER_CONVERTED = re.compile(r"head|embed|norm|router|gate(\.weight)?$|correction_bias")
"""Modules that every quantised precision of `accounting.PRECISIONS` keeps in 16 bits anyway."""


def stored_precision(config: Mapping[str, object]) -> tuple[str | None, str]:
    """The key of `accounting.PRECISIONS` that a config.json names, and a remark.

    None where it names none or one that is not known there; the remark says which. Source: the keys `torch_dtype`
    (`dtype` since transformers 5) and `quantization_config` of transformers.
    """
    quantised = config.get("quantization_config")
    if quantised is None:
        named = config.get("dtype", config.get("torch_dtype"))
        name = str(named).removeprefix("torch.")
        if name in _PLAIN:
            return name, ""
        return None, f"the precision {shown(named)} of the file is not known" if named is not None else ""
    if not isinstance(quantised, Mapping):
        return None, f"'quantization_config' is {shown(quantised)}"
    name = _quantised(quantised)
    if not name:
        return None, f"the quantisation {shown(quantised.get('quant_method'))} of the file is not known in this form"
    return name, _unconverted(name, quantised)


def _quantised(values: Mapping[str, object]) -> str:
    method, block = values.get("quant_method"), values.get("weight_block_size")
    if method == "mxfp4":
        return "mxfp4-experts"
    if method == "fp8":
        return {"null": "fp8", "[128, 128]": "fp8-block"}.get(shown(block), "")
    if method in ("awq", "gptq"):
        bits = values.get("bits", values.get("w_bit"))
        group = values.get("group_size", values.get("q_group_size"))
        return "int4-g128" if (bits, group) == (4, 128) else ""
    return ""


def _unconverted(name: str, values: Mapping[str, object]) -> str:
    """A remark where the file keeps matrices in 16 bits that `name` counts as converted."""
    kept = values.get("modules_to_not_convert") or ()
    if name == "mxfp4-experts" or not isinstance(kept, list | tuple):
        return ""
    matrices = [one for one in kept if not _NEVER_CONVERTED.search(str(one))]
    if not matrices:
        return ""
    return f"the file keeps {len(matrices)} modules in 16 bits that {name} counts as converted: weights are larger"
