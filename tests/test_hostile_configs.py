"""Damaged and unusual configurations: counted as the model's class counts them, or refused in one line. Never wrong.

Every tiny configuration is changed at each key that it or its class has. What a reader still accepts is compared with
the model that transformers builds of the same file. Where transformers itself refuses the file there is nothing to be
wrong about: no such model exists.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_configs import TINY

from harness.accounting import count_parameters
from harness.architecture import Architecture
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import architecture_from_config

WHERE = "some/config.json"
ABSENT = object()
BAD: list[Any] = [
    ABSENT, None, True, False, -1, 0, 1, 2, 3, 7.0, 0.5, 10**9, 10**30, float("nan"), float("inf"), "12", "many", "",
    "prelu", [], [1], ["full_attention"] * 4, {}, {"a": 1},
]
# Keys of other families, of other tools, and of parts that no decoder has.
FOREIGN = [
    "add_cross_attention", "attention_bias", "cross_attention_hidden_size", "d_model", "ffn_dim", "head_dim",
    "hidden_act", "is_decoder", "layer_types", "mlp_bias", "n_embd", "n_head", "n_layer", "n_routed_experts",
    "num_experts", "num_key_value_heads", "num_local_experts", "num_nextn_predict_layers", "per_layer_config",
    "quantization_config", "shared_expert_intermediate_size", "sliding_window", "text_config", "tie_encoder_decoder",
    "tie_word_embeddings", "use_bias", "vision_config",
]
ALL = bool(os.environ.get("MOEBENCH_ALL_MUTATIONS"))
# Every so-manieth change of each configuration is read. It does not divide the number of values, so that every key is
# changed to several of them, and the configurations of all families together to all.
STRIDE = 1 if ALL else 5
# As many survivors of each configuration are compared with transformers; all of them take about twenty minutes.
SURVIVORS = None if ALL else 5
# Keys without which the reader takes the class's default, but the class of transformers 5.19 fails.
NOT_BUILT = {
    # it takes null for a width, where the one of Llama divides the hidden size by the heads
    ("ministral", "head_dim"), ("hunyuan_v1_dense", "head_dim"), ("hunyuan_v1_moe", "head_dim"),
    # without a window it divides by a period of 0
    ("exaone4", "layer_types"),
}
# Configurations that state nothing beyond what has to be stated: without any key but a token's number they are refused.
BARE = {
    "gpt2", "gpt_bigcode", "biogpt", "bloom", "mamba", "mamba2", "bart", "plbart", "mbart", "blenderbot",
    "blenderbot-small", "pegasus", "marian", "m2m_100", "nllb-moe", "nllb-moe-dense-decoder",
}


def changed(config: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """The configuration with one key changed."""
    rest = {name: stated for name, stated in config.items() if name != key}
    return rest if value is ABSENT else {**rest, key: value}


def changes(config: dict[str, Any], keys: set[str]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every configuration that differs in one key; the model type stays."""
    for key in sorted(keys - {"model_type"}):
        for value in BAD:
            if value is not ABSENT or key in config:
                yield key, value, changed(config, key, value)


def read(config: dict[str, Any]) -> Architecture | None:
    """The structure; None where it is refused as it should be. Anything else fails the test."""
    start = time.process_time()
    try:
        architecture = architecture_from_config(config, WHERE)
        count_parameters(architecture)
    except InputError as error:
        assert error.where == WHERE or error.where.startswith(f"{WHERE}:")
        assert error.what
        assert "\n" not in error.what + error.hint
        assert len(error.what) < 250
        return None
    finally:
        # a bound, not a measurement: it takes a fraction of a millisecond
        assert time.process_time() - start < 5
    return architecture


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_changed_key_is_read_or_refused_in_one_line(name: str) -> None:
    config = TINY[name]
    every = changes(config, {*config, *FOREIGN})
    # the same ones on every machine, others for each configuration
    first = random.Random(name).randrange(STRIDE)
    outcomes = [read(one) for *_, one in islice(every, first, None, STRIDE)]
    assert None in outcomes
    assert any(outcomes)


@pytest.mark.parametrize("name", TINY)
def test_text_for_a_number_and_impossible_numbers_are_refused_with_their_key(name: str) -> None:
    config = TINY[name]
    sizes = ("hidden_size", "d_model", "n_embd", "num_hidden_layers", "n_layer", "num_layers", "vocab_size")
    for key in set(sizes) & set(config):
        for value in (str(config[key]), "many", -config[key], 10**9, 10**30, True, 0.5, [1], {"a": 1}, float("nan")):
            with pytest.raises(InputError) as raised:
                architecture_from_config(changed(config, key, value), WHERE)
            assert raised.value.where.startswith(f"{WHERE}:")
            assert key in str(raised.value) or "means the same" in raised.value.what
            assert "\n" not in raised.value.what


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-2, 200) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(TINY)))
def test_several_changes_at_once_are_read_or_refused(data: st.DataObject, name: str) -> None:
    keys = st.sampled_from(sorted({*TINY[name], *FOREIGN} - {"model_type"}))
    read({**TINY[name], **data.draw(st.dictionaries(keys, ANYTHING, max_size=3))})


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), ANYTHING, max_size=4), ANYTHING)
def test_any_object_is_refused_unless_it_is_a_model(values: dict[str, Any], model_type: object) -> None:
    assert read({**values, "model_type": model_type}) is None


def test_what_is_too_long_to_show_is_refused_all_the_same() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    for key in ("hidden_size", "num_hidden_layers", "architectures", "layer_types", "vision_config", "model_type"):
        for value in (deep, 10**5000):
            assert read({**TINY["llama"], key: value}) is None, key


# Never wrong -----------------------------------------------------------------------------------------------------


def keys_of_class(model_type: str) -> set[str]:
    """The keys that the class of a configuration declares, their other names, and none of those that tell nothing."""
    from dataclasses import fields

    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    declared = {one.name for one in fields(kind)} | {*kind.attribute_map, *kind.attribute_map.values()}
    dull = ("token_id", "_dropout", "_pdrop", "_range", "_eps", "_std", "_coef", "id2label", "label2id", "dtype")
    return {key for key in declared if not key.endswith(dull)}


def is_comparable(config: dict[str, Any]) -> bool:
    """Whether transformers has the type, and its class says which tables it shares.

    Files of Grok-2 have the type of a model that transformers has, which is another one.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if config["model_type"] not in CONFIG_MAPPING or config.get("architectures") == ["Grok1ForCausalLM"]:
        return False
    encoder_decoder = CONFIG_MAPPING[config["model_type"]].is_encoder_decoder
    return not encoder_decoder or config.get("tie_word_embeddings") is not False


def compare(architecture: Architecture, config: dict[str, Any], what: str) -> bool:
    """Whether transformers builds the model; if so, it has as many parameters as were counted."""
    from harness.meta_count import count_on_meta_device

    expected = count_parameters(architecture)
    try:
        counted = count_on_meta_device(config, WHERE)
    except UnknownStructureError as error:
        if not error.what.endswith("does not know it"):
            return False
        # the reader takes the key for harmless: then it must not matter that the class drops it
        dropped = error.where.removeprefix(f"{WHERE}:")
        return compare(architecture, changed(config, dropped, ABSENT), what)
    except InputError:
        return False
    assert counted.total == expected.total, what
    assert counted.active in (None, expected.active), what
    assert counted.tied_embeddings in (None, architecture.tied_embeddings), what
    return True


NOT_COMPARABLE = "transformers does not have it, or does not say which tables it shares"


@pytest.mark.torch
@pytest.mark.parametrize("name", TINY)
def test_what_is_still_read_is_what_the_class_builds(name: str) -> None:
    config = TINY[name]
    if not is_comparable(config):
        pytest.skip(NOT_COMPARABLE)
    every = list(changes(config, {*config, *FOREIGN, *keys_of_class(config["model_type"])}))
    # the same sample on every machine, another one for each configuration
    random.Random(name).shuffle(every)
    compared = 0
    for key, value, one in every:
        if compared == SURVIVORS:
            break
        architecture = read(one)
        if architecture is not None:
            compared += compare(architecture, one, f"{name}: {key} = {'absent' if value is ABSENT else repr(value)}")
    assert compared >= (SURVIVORS or 5)


@pytest.mark.torch
@pytest.mark.parametrize("name", TINY)
def test_a_missing_key_is_refused_or_has_the_classs_default(name: str) -> None:
    config = TINY[name]
    if not is_comparable(config):
        pytest.skip(NOT_COMPARABLE)
    compared = 0
    for key in sorted(set(config) - {"model_type"}):
        one = changed(config, key, ABSENT)
        architecture = read(one)
        if architecture is not None and not key.endswith("token_id"):
            built = compare(architecture, one, f"{name}: {key} is absent")
            assert built or (config["model_type"], key) in NOT_BUILT, key
            compared += built
    assert (compared == 0) == (name in BARE)


# One key that makes another structure ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "key"),
    [
        # activations with parameters of their own
        ("llama", {"hidden_act": "prelu"}, "hidden_act"),
        ("mixtral", {"hidden_act": "xielu"}, "hidden_act"),
        ("llama", {"hidden_act": "some_new_gate"}, "hidden_act"),
        ("jamba", {"hidden_act": ["silu"]}, "hidden_act"),
        # no shared experts, whose down-projection has a bias all the same
        ("deepseek_v2", {"n_shared_experts": 0, "mlp_bias": True}, "n_shared_experts"),
        # null is false, though the family's default is true
        ("gpt_oss", {"attention_bias": None}, "attention_bias"),
        # another class under the same model type
        ("llama", {"architectures": ["LlamaMoEForCausalLM"]}, "architectures"),
        ("mistral", {"architectures": ["MixtralForCausalLM"]}, "architectures"),
        ("qwen3_moe", {"architectures": ["Qwen3ForCausalLM"]}, "architectures"),
        # numbers as text where the structure happens not to need them
        ("qwen2_moe", {"intermediate_size": "40"}, "intermediate_size"),
        ("qwen2", {"sliding_window": "12"}, "sliding_window"),
    ],
)
def test_a_key_that_makes_another_structure_is_refused_by_name(name: str, change: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as raised:
        architecture_from_config({**TINY[name], **change}, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
