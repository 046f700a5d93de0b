"""Checked reading of the keys of a model's config.json: types, ranges, and keys that nobody knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.architecture import MAX_SIZE
from harness.errors import InputError, UnknownStructureError

# Keys whose words sound structural but which no reader needs: they change values, training or defaults of generation.
_NOT_STRUCTURE = frozenset(
    """
    attention_dropout attn_dropout attn_implementation aux_loss_alpha embedding_dropout embd_pdrop ep_size
    expert_dropout hidden_dropout initial_context_length max_window_layers n_group
    norm_eps norm_topk_prob num_labels output_attentions output_hidden_states output_router_logits pretraining_tp
    problem_type rms_norm_eps layer_norm_eps routed_scaling_factor router_aux_loss_coef router_jitter_noise
    router_z_loss_coef scoring_func seq_aux swiglu_alpha swiglu_limit topk_group topk_method expert_capacity
    experts_implementation chunk_size_feed_forward
    encoder_no_repeat_ngram_size no_repeat_ngram_size num_beams num_beam_groups num_return_sequences
    _attn_implementation _experts_implementation original_max_position_embeddings
    _num_labels attention_softmax_in_fp32 scale_attention_softmax_in_fp32 scale_attn_weights use_parallel_embedding
    enable_lm_head_fp32 text_start_id text_end_id moe_router_dtype mamba_ssm_dtype expert_dtype fuse_rms_norm
    """.split()  # noqa: SIM905 -- a list takes a line for each name
)
_ACTIVATIONS = frozenset({"activation_function", "hidden_act", "hidden_activation", "mlp_hidden_act"})
# Activations without parameters; others may be gates, which a family's reader must know.
_PLAIN_ACTIVATIONS = frozenset(
    """
    gelu gelu_10 gelu_accurate gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh hardswish laplace
    leaky_relu linear mish quick_gelu relu relu2 relu6 sigmoid silu swish tanh
    """.split()  # noqa: SIM905 -- as above
)
# Keys that hold whole numbers in whatever family, be they of use or not.
_NUMBERS = re.compile(r"^(n|num)_|_(dim|experts|group|heads|layers|rank|size)$")
_STRUCTURAL = re.compile(
    r"adapter|attention|attn|bias|bottleneck|conv|cross|decoder|dense|depth|dim|embed|encoder|expert|ffn|gate|heads?"
    r"|hidden|inner|intermediate|latent|layers?|lora|mamba|mem|mlp|moe|mtp|nextn|norm|num|pattern|period|rank|residual"
    r"|router|share[d]?|sinks?|size|sliding|sparse|ssm|state|step|stride|vision|audio|text|width|window"
    r"|(^|_)(block_configs|blocks|canon|cla|compress_ratios|dsa|embd|engram|hc|kv|loops?|mla)(_|$)|^index_"
)
# Keys of what is there unless they say otherwise: switched off, they change the structure.
_ON_UNLESS_OFF = frozenset({"attn_output_gate", "moe_layer_freq", "qk_norm", "use_qk_norm"})
_DULL_ENDINGS = ("token_id", "_dropout", "_loss_coef", "_init_std", "initializer_range")


def may_change_structure(key: str, value: object) -> bool:
    """Whether a key of a config.json sounds structural, is switched on, and is not known to be harmless.

    Plain activations, which have no parameters, are harmless whatever their key. What is there unless a key switches it
    off counts the other way round.
    """
    if key in _NOT_STRUCTURE:
        return False
    if not value:
        return value is not None and key in _ON_UNLESS_OFF
    if key in _ACTIVATIONS:
        return not (isinstance(value, str) and value in _PLAIN_ACTIVATIONS)
    if key.startswith("rope_") or key.endswith(_DULL_ENDINGS):
        return False
    return bool(_STRUCTURAL.search(key))


@dataclass
class ConfigKeys:
    """The keys of one config.json, checked as they are read; remembers which were.

    `own_names` are a family's own names of common keys, such as n_embd for hidden_size: the file may use either.
    """

    values: Mapping[str, object]
    where: str
    read: set[str] = field(default_factory=set)
    own_names: Mapping[str, str] = field(default_factory=dict)

    def with_names(self, own_names: Mapping[str, str]) -> ConfigKeys:
        """The same keys under a family's own names; what is read counts for both."""
        return ConfigKeys(self.values, self.where, self.read, own_names)

    def has(self, key: str) -> bool:
        """Whether the file states the key, be it as null."""
        return self.name(key) in self.values

    def name(self, key: str) -> str:
        """The key under which the file states `key`: the family's own name where it has one, else the common one."""
        own = self.own_names.get(key, key)
        return own if own in self.values or key not in self.values else key

    def error(self, key: str, what: str) -> InputError:
        """The error of one key, with its place."""
        key = self.name(key)
        return InputError(f"{key!r} {what}", where=f"{self.where}:{key}")

    def unknown(self, key: str, what: str) -> UnknownStructureError:
        """The error of one key that makes the structure uncountable, with its place."""
        key = self.name(key)
        return UnknownStructureError(
            f"{key!r} {what}",
            where=f"{self.where}:{key}",
            hint="this structure is not counted, because a guess would be wrong",
        )

    def get(self, key: str) -> object:
        """The value, None where it is absent or null."""
        name = self.name(key)
        self.read.add(name)
        value = self.values.get(name)
        if key != name and key in self.values:
            self.read.add(key)
            if self.values[key] != value:
                other = shown(self.values[key])
                raise self.error(key, f"is {shown(value)}, and {key!r}, which means the same, is {other}")
        return value

    def size(self, key: str, *, low: int = 1, high: int = MAX_SIZE) -> int:
        """A whole number that must be there."""
        value = self.get(key)
        if value is None:
            raise self.error(key, "is missing")
        return self._whole(key, value, low, high)

    def optional_size(self, key: str, default: int | None = None, *, low: int = 1) -> int | None:
        """A whole number; `default` where it is absent or null."""
        value = self.get(key)
        return default if value is None else self._whole(key, value, low, MAX_SIZE)

    def size_unless_absent(self, key: str, default: int, *, low: int = 1) -> int:
        """A whole number; `default` where the key is absent. null, which no class takes, is an error."""
        return self.size(key, low=low) if self.has(key) else default

    def flag(self, key: str, default: bool) -> bool:
        """true or false; `default` where it is absent. null means false: refused where that is not the default."""
        value = self.get(key)
        if value is None and not (default and self.has(key)):
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {shown(value)}")
        return value

    def items(self, key: str) -> list[object] | None:
        """A list; None where it is absent or null."""
        value = self.get(key)
        if value is not None and not isinstance(value, list):
            raise self.error(key, f"must be a list, not {shown(value)}")
        return value

    def only(self, key: str, *allowed: object) -> None:
        """Refuse every value but `allowed`; an absent or null key is fine."""
        value = self.get(key)
        if value is not None and not any(value == good and type(value) is type(good) for good in allowed):
            raise self.unknown(key, f"is {shown(value)}, which no reader knows")

    def refuse_unread(self) -> None:
        """Refuse keys that nobody read, that may change the structure, and that are switched on."""
        for key, value in self.values.items():
            if _NUMBERS.search(key):
                self._refuse_nonsense(key, value)
            if value == "prelu" or (value == "xielu" and not (key in self.read and key == "hidden_act")):
                raise self.unknown(key, f"is {shown(value)}, an activation with parameters of its own")
            if key in self.read or not may_change_structure(key, value):
                continue
            if key in _ACTIVATIONS:
                self.only(key, *_PLAIN_ACTIVATIONS)
                continue
            raise self.unknown(key, f"is {shown(value)} and may change the structure; no reader knows it")

    def _refuse_nonsense(self, key: str, value: object) -> None:
        """A number as text, or beyond all bounds, is a damaged file even where the structure does not need it."""
        if isinstance(value, str) and value.strip().lstrip("+-").isdigit():
            raise self.error(key, f"must be a whole number, not {shown(value)}")
        if isinstance(value, int) and abs(value) > MAX_SIZE:
            raise self.error(key, f"must be at most {MAX_SIZE}, not {shown(value)}")

    def _whole(self, key: str, value: object, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, not {shown(value)}")
        if not low <= value <= high:
            raise self.error(key, f"must lie between {low} and {high}, not {shown(value)}")
        return value


def shown(value: object) -> str:
    """`value` as short JSON, for messages."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        # nested without end, or a number of thousands of digits
        return "what is too long to show"
    return text if len(text) <= 40 else text[:37] + "..."
