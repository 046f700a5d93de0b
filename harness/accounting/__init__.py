"""Parameters, arithmetic, memory and memory traffic of an `Architecture`: pure functions, exact where they can be."""

from harness.accounting.counts import (
    FlopCount,
    ParameterCount,
    PrefillFlops,
    count_parameters,
    flops_per_token,
    prefill_flops,
)
from harness.accounting.inventory import causal_context
from harness.accounting.memory import (
    PRECISION_ALIASES,
    PRECISIONS,
    Precision,
    Scheme,
    devices_needed,
    find_precision,
    kv_bytes,
    kv_bytes_per_token,
    kv_read_bytes,
    state_bytes,
    weight_bytes,
)
from harness.accounting.roofline import Limits, Roofline, decode_roofline, prefill_roofline
from harness.accounting.traffic import (
    DecodeBytes,
    ExpertLayers,
    decode_bytes,
    distinct_experts_bounds,
    expected_distinct_experts,
    expert_layers,
    prefill_bytes,
    straight_stretches,
)

__all__ = [
    "PRECISIONS",
    "PRECISION_ALIASES",
    "DecodeBytes",
    "ExpertLayers",
    "FlopCount",
    "Limits",
    "ParameterCount",
    "Precision",
    "PrefillFlops",
    "Roofline",
    "Scheme",
    "causal_context",
    "count_parameters",
    "decode_bytes",
    "decode_roofline",
    "devices_needed",
    "distinct_experts_bounds",
    "expected_distinct_experts",
    "expert_layers",
    "find_precision",
    "flops_per_token",
    "kv_bytes",
    "kv_bytes_per_token",
    "kv_read_bytes",
    "prefill_bytes",
    "prefill_flops",
    "prefill_roofline",
    "state_bytes",
    "straight_stretches",
    "weight_bytes",
]
