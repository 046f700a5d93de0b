"""The frozen settings of the pocket models: shapes, training, and the learning rate that the search found."""

from __future__ import annotations

from harness.pocket import world
from harness.pocket.batches import Mix
from harness.schema import Frozen

EPSILON = 1e-5
ROPE_THETA = 10000.0
POSITIONS = 1024


class Shape(Frozen):
    """A kind's architecture. `ffn_width` counts every column of the feed-forward, routed experts first."""

    architecture: str
    width: int = 64
    layers: int = 2
    heads: int = 2
    vocabulary: int = len(world.words())
    experts: int = 0
    top_k: int = 0
    expert_width: int = 0
    shared_width: int = 0
    dense_width: int = 0
    qkv_bias: bool = False
    balance: float = 0.01
    z_loss: float = 0.0001

    @property
    def ffn_width(self) -> int:
        """Columns of the feed-forward, shared ones last."""
        return self.dense_width + self.experts * self.expert_width + self.shared_width

    def parameters(self, *, active: bool = False) -> int:
        """All parameters, or those that one token uses; the tied embedding is counted once."""
        width = self.width
        columns = self.dense_width + self.shared_width + self.expert_width * (self.top_k if active else self.experts)
        layer = 4 * width * width + 2 * width + 3 * width * columns + self.experts * width
        layer += 3 * width if self.qkv_bias else 0
        layer += width if self.shared_width else 0
        return self.vocabulary * width + self.layers * layer + width


SHAPES = {
    "dense-active": Shape(architecture="LlamaForCausalLM", dense_width=64),
    "moe-8x2": Shape(architecture="MixtralForCausalLM", experts=8, top_k=2, expert_width=32),
    "moe-fine": Shape(
        architecture="Qwen2MoeForCausalLM", experts=28, top_k=4, expert_width=8, shared_width=24, qkv_bias=True
    ),
    "dense-total": Shape(architecture="LlamaForCausalLM", dense_width=256),
}
SEEDS = {1: "a", 2: "a", 3: "a", 4: "b", 5: "b"}


class Training(Frozen):
    """How every kind is trained. Learning rates are those of the matrices; tables and norms have their own."""

    steps: int = 1400
    warmup: int = 50
    decay: float = 0.6
    table_rate: float = 0.004
    router_factor: float = 0.1
    momentum: float = 0.95
    mix: Mix = Mix()


TRAINING = Training()
RATES = {"dense-active": 0.01, "moe-8x2": 0.005, "moe-fine": 0.005, "dense-total": 0.01}
SEARCH = (0.0025, 0.005, 0.01, 0.02)
SEARCH_SEED = 99
SEARCH_STEPS = 700


class Run(Frozen):
    """One training run, in full."""

    kind: str
    world: str
    seed: int
    rate: float
    training: Training = TRAINING
    compiled: bool = True


def run_of(kind: str, seed: int, *, fact_world: str | None = None, steps: int | None = None) -> Run:
    """The recipe's run of a kind and seed. A seed that is not shipped learns world a unless told otherwise."""
    training = TRAINING if steps is None else TRAINING.model_copy(update={"steps": steps})
    return Run(kind=kind, world=fact_world or SEEDS.get(seed, "a"), seed=seed, rate=RATES[kind], training=training)
