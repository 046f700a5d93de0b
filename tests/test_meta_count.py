"""Counting a model by building its class on the meta device: exact totals, certain active counts, and refusals."""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import socket
import time
import tracemalloc
from typing import Any

import pytest
from model_configs import TINY, tiny

from harness.accounting import count_parameters
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import architecture_from_config
from harness.meta_count import MetaCount, count_on_meta_device

pytestmark = pytest.mark.torch

WHERE = "some/config.json"


def known_types() -> set[str]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return set(CONFIG_MAPPING_NAMES)


@functools.cache
def default_configs() -> dict[str, dict[str, Any]]:
    """What transformers fills in for every type of language model where nothing is stated, as a config.json has it."""
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    tables = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    found = {}
    # these consist of other models and have no defaults
    for model_type in sorted({*tables[0], *tables[1]} - {"encoder-decoder", "musicgen", "musicgen_melody"}):
        found[model_type] = json.loads(json.dumps(CONFIG_MAPPING[model_type]().to_dict(), default=str))
    return found


@functools.cache
def default_counts() -> dict[str, MetaCount]:
    """Those of them that can be counted."""
    found = {}
    for model_type, config in default_configs().items():
        try:
            found[model_type] = count_on_meta_device(config, model_type)
        except InputError as error:
            assert error.where.startswith(model_type)
            assert "\n" not in error.what
    return found


def count_known_keys(config: dict[str, Any], where: str) -> MetaCount:
    """The count without the keys that the class does not know, which are dropped one by one as they are refused."""
    while True:
        try:
            return count_on_meta_device(config, where)
        except UnknownStructureError as error:
            if not error.what.endswith("does not know it"):
                raise
            config = {key: value for key, value in config.items() if key != error.where.removeprefix(f"{where}:")}


# Against the readers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_every_family_with_a_reader_has_the_same_count(name: str) -> None:
    config = TINY[name]
    if config["model_type"] not in known_types():
        with pytest.raises(UnknownStructureError, match="transformers does not know 'model_type'"):
            count_on_meta_device(config, name)
        return
    expected = count_parameters(architecture_from_config(config, name))
    try:
        # what the class drops and the reader takes for harmless must not change the count
        counted = count_known_keys(config, name)
    except UnknownStructureError as error:
        # classes with an encoder do not say which tables checkpoints share; Grok-2 borrows the type of another model
        assert error.where in {f"{name}:tie_word_embeddings", f"{name}:architectures"}
        assert config.get("tie_word_embeddings") is False or config["architectures"] == ["Grok1ForCausalLM"]
        return
    assert counted.total == expected.total
    assert counted.head in (None, expected.head)
    if counted.active is None:
        # the class's default states experts, but every layer of this one is dense
        assert expected.routed_experts == 0
        assert "no tensors of them were identified" in counted.active_note
    else:
        assert counted.active == expected.active
        assert counted.routed_experts == expected.routed_experts


def test_no_type_of_the_library_is_counted_differently_by_its_reader_and_by_its_class() -> None:
    compared = 0
    for model_type, counted in default_counts().items():
        try:
            expected = count_parameters(architecture_from_config(default_configs()[model_type], model_type))
        except InputError as error:
            assert "\n" not in error.what
            continue
        compared += 1
        assert counted.total == expected.total, model_type
        assert counted.active in (None, expected.active), model_type
    assert compared > 50
    assert len(default_counts()) > 130


# What a token uses -----------------------------------------------------------------------------------------------


class StopError(Exception):
    """The experts were reached."""


def chosen_experts(config: dict[str, Any], counted: MetaCount) -> set[int]:
    """The widths of what a model hands to its first experts beside the hidden states, for 5 tokens."""
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    widths: set[int] = set()

    def stop(module: object, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        widths.update(one.shape[-1] for one in (*inputs, *named.values())[1:] if hasattr(one, "shape"))
        raise StopError

    with torch.device("meta"), torch.no_grad():
        model = getattr(transformers, counted.class_name)(CONFIG_MAPPING[config["model_type"]].from_dict(dict(config)))
        model.eval().set_attn_implementation("eager")
        for module in model.modules():
            if type(module).__name__.endswith("Experts"):
                module.register_forward_pre_hook(stop, with_kwargs=True)
        with pytest.raises(StopError):
            model(torch.ones(1, 5, dtype=torch.long), use_cache=config["model_type"] != "granitemoehybrid")
    return widths


@pytest.mark.filterwarnings("ignore")
def test_the_model_hands_its_experts_as_many_choices_as_were_counted() -> None:
    # these hand over all experts with zeros for those not chosen, or a number for each chosen one
    other = {"llama4", "llama4_text", "jetmoe", "switch_transformers", "nllb-moe", "dbrx"}
    checked = 0
    for model_type, counted in default_counts().items():
        if counted.routed_experts and model_type not in other:
            per_token = int(counted.active_note.split()[3])
            assert per_token in chosen_experts(default_configs()[model_type], counted), model_type
            checked += 1
    assert checked >= 35


@pytest.mark.parametrize(
    ("model_type", "changes", "reason"),
    [
        ("zaya", {}, "no router of 16 outputs"),
        ("longcat_flash", {}, "not one block an expert"),
        ("doge", {}, "no tensors of them were identified"),
        ("deepseek_v2", {}, "states no experts a token"),
        ("olmoe", {"num_experts_per_tok": 65}, "cannot use 65 of 64"),
    ],
)
def test_where_the_experts_used_are_not_certain_there_is_a_total_and_a_reason(
    model_type: str, changes: dict[str, Any], reason: str
) -> None:
    counted = count_on_meta_device({**default_configs()[model_type], **changes}, WHERE)
    assert counted.total > 10**8
    assert (counted.active, counted.routed_experts) == (None, None)
    assert counted.active_note.startswith("not known: ")
    assert reason in counted.active_note


def test_a_foreign_key_does_not_change_what_a_token_uses() -> None:
    plain = count_on_meta_device(TINY["mixtral"], WHERE)
    foreign = {"moe_topk": 4, "top_k_experts": 1, "n_routed_experts": 3}
    for key, value in foreign.items():
        with pytest.raises(UnknownStructureError) as raised:
            count_on_meta_device({**TINY["mixtral"], key: value}, WHERE)
        assert raised.value.where == f"{WHERE}:{key}"
    assert count_known_keys({**TINY["mixtral"], **foreign}, WHERE) == plain


# What is built ---------------------------------------------------------------------------------------------------


def test_a_count_says_where_it_comes_from() -> None:
    import transformers

    counted = count_on_meta_device(tiny("olmoe", num_experts=5, num_experts_per_tok=2), WHERE)
    assert counted.class_name == "OlmoeForCausalLM"
    assert counted.library_version == f"transformers {transformers.__version__}"
    assert counted.active_note == "a token uses 2 of 5 experts in 4 places"
    assert (counted.embedding, counted.head, counted.tied_embeddings) == (96 * 48, 96 * 48, False)
    assert counted.scope_note == ""
    tied = count_on_meta_device(tiny("llama", tie_word_embeddings=True), WHERE)
    assert (tied.embedding, tied.head, tied.tied_embeddings) == (96 * 48, 0, True)
    assert tied.active_note == "no routed experts: every token uses all parameters"


def test_a_model_of_several_towers_is_counted_whole() -> None:
    text = tiny("gemma3_text", head_dim=8, tie_word_embeddings=True)
    vision = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    whole = {"model_type": "gemma3", "text_config": text, "vision_config": vision}
    counted = count_on_meta_device(whole, WHERE)
    language = count_on_meta_device(text, WHERE)
    assert counted.class_name == "Gemma3ForConditionalGeneration"
    assert counted.scope_note == f"the whole {counted.class_name} is counted, with what vision_config describes"
    assert counted.total > language.total
    more = count_on_meta_device({**whole, "vision_config": {**vision, "num_hidden_layers": 3}}, WHERE)
    # four projections with biases, two matrices with biases, two norms with biases
    assert more.total - counted.total == 4 * (32 * 32 + 32) + (2 * 32 * 24 + 32 + 24) + 4 * 32


def test_an_encoder_with_a_decoder_is_counted_whole_unless_the_file_names_another_class() -> None:
    both = count_on_meta_device(TINY["bart"], WHERE)
    named = count_on_meta_device({**TINY["bart"], "architectures": ["BartForCausalLM"]}, WHERE)
    assert (both.class_name, named.class_name) == ("BartForConditionalGeneration", "BartForCausalLM")
    assert both.total > named.total


def test_nothing_is_fetched_and_no_code_of_a_checkpoint_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    remote = {
        "auto_map": {"AutoConfig": "somebody/else--configuration.Config", "AutoModelForCausalLM": "modeling.Model"},
        "attn_implementation": "kernels-community/flash-attn",
        "quantization_config": {"quant_method": "fp8"},
        "torch_dtype": "bfloat16",
    }
    assert count_on_meta_device(tiny("llama", **remote), WHERE) == count_on_meta_device(tiny("llama"), WHERE)
    assert constants.HF_HUB_OFFLINE is False


def test_it_is_quiet_and_leaves_logging_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.manager.disable, logging.getLogger("transformers").level
    count_on_meta_device(TINY["jamba"], WHERE)
    count_on_meta_device(tiny("llama", rope_parameters={"rope_type": "yarn", "factor": 4.0}), WHERE)
    assert capfd.readouterr() == ("", "")
    assert (logging.root.manager.disable, logging.getLogger("transformers").level) == before


# Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "key", "what"),
    [
        ({"model_type": "nobody_knows"}, "model_type", "nobody_knows"),
        ({}, "model_type", "null"),
        ({"model_type": ["llama"]}, "model_type", "transformers does not know"),
        ({"model_type": "vit"}, "model_type", "no class of a language model"),
        (tiny("llama", architectures=["LlamaModel"]), "architectures", "LlamaModel"),
        (tiny("llama", architectures=["LlamaForSequenceClassification"]), "architectures", "LlamaForSequence"),
        (tiny("llama", architectures=["EagleLlamaForCausalLM"]), "architectures", "EagleLlama"),
        (tiny("llama", architectures=["MixtralForCausalLM"]), "architectures", "only LlamaForCausalLM"),
        (tiny("llama", architectures=["LlamaForCausalLM", "B"]), "architectures", "not one class"),
        (tiny("llama", architectures="LlamaForCausalLM"), "architectures", "not one class"),
        (tiny("llama", architectures=[{}]), "architectures", "{}"),
        ({"model_type": "bert"}, "architectures", "an encoder or a decoder"),
    ],
)
def test_what_transformers_does_not_know_is_named(config: dict[str, Any], key: str, what: str) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        count_on_meta_device(config, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
    assert what in raised.value.what
    assert raised.value.hint
    assert "\n" not in raised.value.what


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("llama", {"num_experts": 8}),
        ("llama", {"kv_lora_rank": 16}),
        ("llama", {"use_mla": True}),
        ("llama", {"num_mtp_layers": 1}),
        ("llama", {"bias": True}),
        ("mistral", {"adapter_rank": 4}),
        ("mixtral", {"attn_experts": 2}),
        ("bart", {"latent_width": 4}),
    ],
)
def test_a_structural_key_that_the_class_drops_is_refused_by_name(name: str, change: dict[str, Any]) -> None:
    (key,) = change
    with pytest.raises(UnknownStructureError) as raised:
        count_on_meta_device({**TINY[name], **change}, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
    assert raised.value.what.startswith(repr(key)) and "may change the structure" in raised.value.what
    switched_off = {key: False if change[key] is True else 0}
    assert count_on_meta_device({**TINY[name], **switched_off}, WHERE) == count_on_meta_device(TINY[name], WHERE)


VISION = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_a_structural_key_of_a_part_is_refused_with_its_path() -> None:
    text = {**tiny("gemma3_text", head_dim=8, tie_word_embeddings=True), "num_experts": 8}
    with pytest.raises(UnknownStructureError) as raised:
        count_on_meta_device({"model_type": "gemma3", "text_config": text, "vision_config": VISION}, WHERE)
    assert raised.value.where == f"{WHERE}:text_config.num_experts"


@pytest.mark.parametrize("missing", ["text_config", "vision_config"])
@pytest.mark.parametrize("model_type", ["gemma3", "llava", "qwen3_vl", "mistral3", "llama4"])
def test_a_part_that_the_library_would_make_up_is_refused(model_type: str, missing: str) -> None:
    whole = {**with_one_tie(default_wrapper(model_type)), "model_type": model_type}
    count_on_meta_device(whole, WHERE)
    for one in ({**whole, missing: None}, {**whole, missing: {}}, {k: v for k, v in whole.items() if k != missing}):
        with pytest.raises(UnknownStructureError, match=f"{missing}' is not stated") as raised:
            count_on_meta_device(one, WHERE)
        assert raised.value.where == f"{WHERE}:{missing}"


def test_an_older_file_states_the_sizes_of_its_text_part_beside_the_others() -> None:
    whole = default_wrapper("qwen2_vl")
    text = {**whole["text_config"], "num_hidden_layers": 3, "hidden_size": 512, "intermediate_size": 64}
    text = {**text, "num_attention_heads": 8, "num_key_value_heads": 8, "max_window_layers": 3, "layer_types": None}
    vision = {**whole["vision_config"], "depth": 1, "hidden_size": 512}
    sizes = {key: value for key, value in text.items() if "size" in key or key.startswith("num_")}
    flat = {"model_type": "qwen2_vl", "vision_config": vision, "tie_word_embeddings": False, **sizes}
    nested = {**flat, "text_config": text}
    nested = {key: value for key, value in nested.items() if key not in sizes}
    assert count_on_meta_device(flat, WHERE) == count_on_meta_device(nested, WHERE)


@pytest.mark.parametrize("model_type", ["mistral3", "internvl"])
def test_tables_that_the_whole_shares_and_its_text_part_does_not_are_refused(model_type: str) -> None:
    whole = with_one_tie(default_wrapper(model_type))
    count_on_meta_device({**whole, "tie_word_embeddings": True}, WHERE)
    silent = {key: value for key, value in whole.items() if key != "tie_word_embeddings"}
    text = {key: value for key, value in whole["text_config"].items() if key != "tie_word_embeddings"}
    for part in (text, {**text, "tie_word_embeddings": False}):
        with pytest.raises(UnknownStructureError, match=r"its text part does not|is stated otherwise") as raised:
            count_on_meta_device({**silent, "text_config": part}, WHERE)
        assert raised.value.where == f"{WHERE}:tie_word_embeddings"
    agreed = count_on_meta_device({**silent, "text_config": {**text, "tie_word_embeddings": True}}, WHERE)
    assert agreed.tied_embeddings is True


@pytest.mark.parametrize(
    ("config", "key"),
    [
        # the class never shares these tables
        ({**TINY["kimi_linear"], "tie_word_embeddings": True}, "tie_word_embeddings"),
        # a gate, norms and sparse layers that are there unless the file says otherwise
        ({**TINY["qwen3_next"], "attn_output_gate": False}, "attn_output_gate"),
        ({**TINY["qwen3_moe"], "use_qk_norm": False}, "use_qk_norm"),
        ({**TINY["deepseek_v3"], "moe_layer_freq": 0}, "moe_layer_freq"),
        ({**TINY["glm_moe_dsa"], "moe_layer_freq": 2}, "moe_layer_freq"),
    ],
)
def test_what_a_class_builds_otherwise_than_stated_is_refused(config: dict[str, Any], key: str) -> None:
    with pytest.raises(UnknownStructureError) as raised:
        count_on_meta_device(config, WHERE)
    assert raised.value.where == f"{WHERE}:{key}"
    with pytest.raises(InputError):
        architecture_from_config(config, WHERE)


def with_one_tie(whole: dict[str, Any]) -> dict[str, Any]:
    """The same file without a statement of its text part about tables, which may contradict the whole's."""
    text = {key: value for key, value in whole["text_config"].items() if key != "tie_word_embeddings"}
    return {**whole, "text_config": text}


@functools.cache
def default_wrapper(model_type: str) -> dict[str, Any]:
    """The defaults of a model of several towers, as a config.json has them."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return dict(json.loads(json.dumps(CONFIG_MAPPING[model_type]().to_dict(), default=str)))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"hidden_size": "48"}, "hidden_size"),
        ({"hidden_size": 48.0}, "hidden_size"),
        ({"num_attention_heads": True}, "num_attention_heads"),
        ({"hidden_size": -48}, "hidden_size"),
        ({"hidden_size": 10**12}, "hidden_size"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers"),
        ({"num_hidden_layers": 9999}, ""),
        ({"intermediate_size": 10**30}, "intermediate_size"),
        ({"intermediate_size": -4}, ""),
        ({"intermediate_size": None}, ""),
        ({"intermediate_size": [40, 40]}, ""),
        ({"num_key_value_heads": "two"}, ""),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"head_dim": [8]}, ""),
        ({"hidden_act": "no_such"}, ""),
        ({"tie_word_embeddings": "yes"}, ""),
        ({"rope_parameters": {"rope_type": "no_such"}}, ""),
        ({"text_config": {"num_hidden_layers": 10**9}}, "text_config.num_hidden_layers"),
        ({"layer_sizes": [1, 10**12]}, "layer_sizes"),
        ({"num_layers": [1] * 20_000}, "num_layers"),
        ({"dtype": {"a": {"b": 1}}, "torch_dtype": "no_such"}, None),
    ],
    ids=str,
)
def test_a_bad_value_is_one_line_at_once(changes: dict[str, Any], key: str | None) -> None:
    import transformers

    assert transformers.AutoConfig  # loading the library is not measured
    count_on_meta_device(tiny("llama"), WHERE)
    tracemalloc.start()
    start = time.process_time()
    try:
        if key is None:
            # precisions do not matter to a count
            count_on_meta_device(tiny("llama", **changes), WHERE)
            return
        with pytest.raises(InputError) as raised:
            count_on_meta_device(tiny("llama", **changes), WHERE)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 5
    assert raised.value.where == (f"{WHERE}:{key}" if key else WHERE)
    assert "\n" not in str(raised.value)
    assert len(raised.value.what) < 250


def test_values_nested_without_end_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"a": deep}
    with pytest.raises(InputError, match="nested too deeply"):
        count_on_meta_device(tiny("llama", deep=deep), WHERE)


def test_too_many_experts_that_are_modules_of_their_own_are_refused() -> None:
    with pytest.raises(InputError, match="too many to build"):
        count_on_meta_device({"model_type": "switch_transformers", "num_experts": 10**7}, WHERE)


def test_a_table_that_is_computed_in_python_is_bounded() -> None:
    with pytest.raises(InputError, match="at most 1000000") as raised:
        count_on_meta_device({"model_type": "marian", "max_position_embeddings": 10**7}, WHERE)
    assert raised.value.where == f"{WHERE}:max_position_embeddings"


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_the_engine_it_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    with pytest.raises(InputError, match=missing) as raised:
        count_on_meta_device(tiny("llama"), WHERE)
    assert "pip install 'moebench[cpu]'" in raised.value.hint
