"""Which parameters of a model of transformers are routed experts, and how many of them a token uses.

They are known by their modules and the router beside them, and by what the configuration states; where the two do not
agree on one number, what a token uses is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from harness.config_bounds import EXPERT_COUNT
from harness.config_keys import shown

_PER_TOKEN = frozenset(
    """
    num_experts_per_tok num_experts_per_token experts_per_token moe_topk moe_top_k moe_k top_k_experts
    num_selected_experts
    """.split()  # noqa: SIM905 -- a list takes a line for each name
)
# These three go by names, because they are facts of single classes that neither configuration nor tensors tell. A class
# that the first or the third lacks is counted without its active parameters; only the second prevents a wrong number.
_USED_BY_DEFINITION = {"switch_transformers": 1, "nllb-moe": 2}
"""Experts a token uses where the class has no key for it: top-1 (arXiv 2101.03961) and top-2 (arXiv 2207.04672)."""
_VARIABLE = {
    "longcat_flash": "its router may choose experts that compute nothing, so the number varies from token to token",
    "zaya": "its router may skip the experts, so the number varies from token to token",
}
_FLATTENED = ("DbrxExperts",)
"""Classes whose expert matrices lie one below the other in two dimensions."""


class RoutedExperts(NamedTuple):
    """Parameters of all routed experts and of those that a token does not use; None where that is not certain."""

    parameters: int | None
    unused: int | None
    note: str


class _Bank(NamedTuple):
    """The `size` experts of one layer."""

    size: int
    parameters: int


class _UncertainError(Exception):
    """The experts cannot be told from the rest; the message says why."""


def count_experts(model: Any, stated: Any) -> RoutedExperts:
    """The routed experts of a model of transformers whose configuration is `stated`; what is uncertain is None."""
    try:
        counts = _stated(stated, lambda key: bool(EXPERT_COUNT.match(key)))
        banks = [_bank(path, module, parent) for path, module, parent in _expert_modules(model)]
        if not banks:
            return _without_banks(model, counts)
        per_token = _per_token(stated, banks, counts)
    except _UncertainError as reason:
        return RoutedExperts(None, None, f"not known: {reason}")
    routed = sum(bank.parameters for bank in banks)
    unused = sum(bank.parameters // bank.size * (bank.size - per_token) for bank in banks)
    return RoutedExperts(routed, unused, f"a token uses {per_token} of {banks[0].size} experts in {len(banks)} places")


def _per_token(stated: Any, banks: list[_Bank], counts: set[int]) -> int:
    """The experts that a token uses. Raises _UncertainError unless configuration and tensors agree on one number."""
    used = _used(stated)
    found = {bank.size for bank in banks}
    if stated.model_type in _VARIABLE:
        raise _UncertainError(_VARIABLE[stated.model_type])
    if counts != found or len(found) != 1:
        what = f"the configuration states {_together(counts)} experts, the layers have {_together(found)}"
        raise _UncertainError(what)
    if len(used) != 1:
        raise _UncertainError(f"the configuration states {_together(used)} experts a token")
    (per_token,), (count,) = used, found
    if not 1 <= per_token <= count:
        raise _UncertainError(f"a token cannot use {per_token} of {count} experts")
    return per_token


def _together(values: set[int]) -> str:
    return " and ".join(str(value) for value in sorted(values)) or "no"


def _without_banks(model: Any, counts: set[int]) -> RoutedExperts:
    if any(count > 1 for count in counts):
        raise _UncertainError("the configuration states experts, but no tensors of them were identified")
    for name, _ in model.named_parameters():
        if "expert" in name.lower():
            raise _UncertainError(f"the tensor {name} is called an expert's, but the configuration states no experts")
    return RoutedExperts(0, 0, "no routed experts: every token uses all parameters")


def _expert_modules(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """The outermost modules that hold routed experts, with their parents."""
    import torch

    modules = dict(model.named_modules())
    found: list[str] = []
    for path, module in modules.items():
        name, last = type(module).__name__, path.rsplit(".", 1)[-1]
        listed = isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict) and "expert" in last.lower()
        if not (name.endswith("Experts") or listed) or path.startswith(tuple(f"{one}." for one in found)):
            continue
        if "shared" in last.lower():
            continue
        found.append(path)
        yield path, module, modules[path.rpartition(".")[0]]


def _bank(path: str, module: Any, parent: Any) -> _Bank:
    """The experts in `module`. Raises _UncertainError where they are not alike or no router beside them fits."""
    import torch

    own = dict(module.named_parameters())
    if not own:
        raise _UncertainError(f"{path} has no parameters")
    if isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict):
        sizes = (sum(p.numel() for p in child.parameters()) for child in module.children())
        children = [size for size in sizes if size]
        count, alike = len(children), len(set(children)) == 1
    elif type(module).__name__ in _FLATTENED:
        count = int(getattr(module, "num_experts", 0) or 0)
        alike = count > 0 and all(p.shape[0] % count == 0 for p in own.values())
    else:
        count = next(iter(own.values())).shape[0]
        alike = all(p.shape[0] == count for p in own.values()) and any(p.ndim == 3 for p in own.values())
    if not alike:
        raise _UncertainError(f"the tensors of {path} are not one block an expert")
    inside = {id(parameter) for parameter in own.values()}
    beside = (parameter for parameter in parent.parameters() if id(parameter) not in inside and parameter.ndim == 2)
    if not any(parameter.shape[0] == count for parameter in beside):
        raise _UncertainError(f"no router of {count} outputs stands beside {path}")
    return _Bank(count, sum(p.numel() for p in own.values()))


def _stated(stated: Any, is_wanted: Any) -> set[int]:
    """What a configuration and those inside of it say under the keys that their classes declare."""
    found: set[int] = set()
    declared = {field.name for field in fields(stated)} if is_dataclass(stated) else set(vars(stated))
    declared |= set(getattr(stated, "attribute_map", {}).values())
    for key, value in vars(stated).items():
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            found |= _stated(value, is_wanted)
        elif key in declared and is_wanted(key) and value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(one, bool) or not isinstance(one, int) for one in values):
                raise _UncertainError(f"{key!r} is {shown(value)}")
            found |= set(values)
    return found


def _used(stated: Any) -> set[int]:
    if stated.model_type in _USED_BY_DEFINITION:
        return {_USED_BY_DEFINITION[stated.model_type]}
    if getattr(stated, "is_heterogeneous", False):
        raise _UncertainError("'per_layer_config' gives layers their own settings")
    return _stated(stated, _PER_TOKEN.__contains__)
