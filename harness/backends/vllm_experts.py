"""vLLM's fused kernels for experts, as they stand in versions 0.26 to 0.33: Triton on CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class FusedKernels:
    """`fused_topk` chooses and `fused_experts` multiplies. Gated experts alone: others are named differently there.

    `library` is the module of both functions; its `fused_experts` takes matrices as `feed_forwards.Sparse` has them
    and applies SiLU and the gate unless told otherwise.
    """

    name = "vLLM fused_experts"

    def __init__(self, library: Any) -> None:
        self._library = library

    def choose(self, hidden: Tensor, logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        """See `feed_forwards.Kernels.choose`."""
        # some versions return more than these two
        weights, experts = self._library.fused_topk(hidden, logits, top_k, renormalize=True)[:2]
        return weights, experts

    def multiply(self, hidden: Tensor, chosen: tuple[Tensor, Tensor], up: Tensor, down: Tensor) -> Tensor:
        """See `feed_forwards.Kernels.multiply`."""
        output: Tensor = self._library.fused_experts(hidden, up, down, *chosen)
        return output


def fused_kernels() -> FusedKernels:
    """Those of the installed vLLM. Raises ImportError where there is none."""
    from vllm.model_executor.layers import fused_moe

    return FusedKernels(fused_moe)
