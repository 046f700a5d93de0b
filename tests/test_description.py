"""The numbers of `moebench describe`, and how models are chosen and ordered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_configs import TINY

from harness.accelerators import AcceleratorSpec, DensePeaks, Source
from harness.accounting import (
    PRECISIONS,
    count_parameters,
    expected_distinct_experts,
    flops_per_token,
    kv_bytes_per_token,
    prefill_flops,
    weight_bytes,
)
from harness.architecture import FeedForward, Mixer
from harness.catalog import Catalog
from harness.description import (
    PRECISION_MEANINGS,
    SORT_KEYS,
    Description,
    Filter,
    KnownModel,
    Options,
    Parameters,
    checked_choice,
    describe,
    experts_text,
    find_model,
    kind_words,
    meanings,
    model_from_config,
    ordered,
    parse_parameters,
    parse_whole,
    stored_precision,
)
from harness.description.words import part_words
from harness.errors import InputError, UnknownStructureError
from harness.hf_config import architecture_from_config
from harness.meta_count import MetaCount

HERE = Path(__file__).parent
CATALOG = Catalog(HERE.parent / "suites")
GOLDEN = HERE / "golden" / "describe-mixtral-8x7b.json"
"""What `moebench describe mixtral-8x7b --json` prints; a changed key needs another schema_version."""

EVERYTHING = {name: describe(CATALOG.load(name)) for name in CATALOG.names()}
UNCOUNTED = [name for name, one in EVERYTHING.items() if one.architecture is None]
COMPONENTS = (
    "embedding", "head", "attention", "dense_ffn", "shared_experts", "routed_experts", "router", "norm", "other",
)


def described(name: str, **options: Any) -> Description:
    return describe(CATALOG.load(name), Options(**options))


def device(memory_bytes: int = 80_000_000_000, **changes: Any) -> AcceleratorSpec:
    """1e15 bfloat16 FLOP/s and 2e12 bytes/s, without fp8."""
    peaks = {"float32": 5e13, "bfloat16": 1e15, "float16": 1e15}
    fields: dict[str, Any] = {
        "name": "example", "title": "Example GPU", "vendor": "Example", "memory_bytes": memory_bytes,
        "bandwidth_bytes_per_s": 2e12, "dense_flops_per_s": DensePeaks(**peaks, fp8=changes.pop("fp8", None)),
        "price_usd_per_hour": 1.5, "price_source": "a list", "price_read_on": date(2026, 1, 2),
        "price_quality": "recalled",
        "sources": (Source(document="a", url="https://example.org", figures="all", source_quality="recalled"),),
    }
    return AcceleratorSpec(**{**fields, **changes})


# The value -------------------------------------------------------------------------------------------------------


def test_the_golden_file() -> None:
    assert json.loads(described("mixtral-8x7b").model_dump_json()) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_golden_file_has_the_figures_that_everybody_knows() -> None:
    values = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert values["parameters"]["total"] == 46_702_792_704 and values["parameters"]["active"] == 12_879_925_248
    assert values["bytes"]["weights"] == 2 * 46_702_792_704
    assert values["bytes"]["kv_per_token"] == 32 * 2 * 8 * 128 * 2
    assert values["flops_per_token"]["decode"] == 27_644_657_664
    assert values["experts"]["distinct_bounds"] == [2, 2] and values["schema_version"] == 1


@pytest.mark.parametrize("name", EVERYTHING)
def test_json_gives_the_same_description_back_and_whole_numbers_stay_whole(name: str) -> None:
    one = EVERYTHING[name]
    assert Description.model_validate_json(one.model_dump_json()) == one
    plain = one.model_dump(mode="json")
    whole = [*plain["parameters"].values(), plain["flops_per_token"]["decode"], plain["bytes"]["kv_per_token"]]
    assert all(value is None or isinstance(value, int) for value in whole)
    if one.precision in ("bfloat16", "float16", "float32"):
        assert isinstance(plain["bytes"]["weights"], int)


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name not in UNCOUNTED])
def test_every_number_is_that_of_the_accounting(name: str) -> None:
    one, architecture = EVERYTHING[name], CATALOG.load(name).architecture
    assert architecture is not None
    count = count_parameters(architecture)
    for key in Parameters.model_fields:
        assert getattr(one.parameters, key) == getattr(count, key)
    assert sum(getattr(one.parameters, key) for key in COMPONENTS) == one.parameters.total
    decode = flops_per_token(architecture, context=one.context_tokens)
    prefill = prefill_flops(architecture, one.context_tokens)
    assert one.flops_per_token.decode == decode.total
    assert one.flops_per_token.prefill == pytest.approx(prefill.per_token)
    assert one.flops_per_token.decode_by_component == decode
    by_component = one.flops_per_token.prefill_by_component
    assert by_component is not None and by_component.total == pytest.approx(prefill.per_token)
    precision = PRECISIONS[one.precision or ""]
    assert one.bytes.weights == weight_bytes(architecture, precision)
    assert one.bytes.kv_per_token == kv_bytes_per_token(architecture, precision.bytes_per_cache_element)
    assert set(one.bytes.weights_by_precision) == set(PRECISIONS)
    step = one.bytes.decode_step
    assert step is not None
    assert step.total == pytest.approx(step.non_expert_weights + step.expert_weights + step.kv_cache + step.state)
    assert bool(one.experts) == architecture.is_moe


def test_of_a_list_the_other_precisions_may_be_left_out_and_nothing_else() -> None:
    brief = described("olmoe-1b-7b", every_precision=False)
    assert brief.bytes.weights_by_precision == {}
    whole = EVERYTHING["olmoe-1b-7b"]
    completed = brief.bytes.model_copy(update={"weights_by_precision": whole.bytes.weights_by_precision})
    assert brief.model_copy(update={"bytes": completed}) == whole


@pytest.mark.parametrize("name", UNCOUNTED)
def test_a_model_that_is_not_counted_has_its_published_figures_and_a_reason(name: str) -> None:
    one = EVERYTHING[name]
    assert one.not_counted is not None and "never published" in one.not_counted
    assert one.published.total is not None and one.deviation.total is None
    for part in (one.parameters, one.flops_per_token):
        assert all(value is None for _, value in part)
    assert one.bytes.weights is None and one.experts is None and one.precision is None
    asked = described(name, accelerator=device(), precision="fp8")
    assert asked.accelerator is None and asked.bytes.weights is None
    assert any("Example GPU cannot be told" in note for note in asked.notes)
    assert not any("changed nothing" in note for note in one.notes)
    busy = described(name, precision="fp8", batch=8, context=64)
    assert "--context and --batch and --precision changed nothing: what depends on it is not counted" in busy.notes


def test_there_are_models_that_are_not_counted() -> None:
    assert "gshard-600b" in UNCOUNTED


# Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "where", "what"), [
    ({"context": 0}, "--context", "at least 1"),
    ({"context": -5}, "--context", "at least 1"),
    ({"context": 32769}, "--context", "more than mixtral-8x7b supports"),
    ({"batch": 0}, "--batch", "at least 1"),
    ({"batch": 10**400}, "--batch", "at most 1\u202f000\u202f000\u202f000"),
    ({"precision": "fp9"}, "--precision", "unknown precision 'fp9'"),
])
def test_a_wrong_option_is_named(options: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as raised:
        described("mixtral-8x7b", **options)
    assert raised.value.where == where


def test_the_context_is_4096_unless_the_model_supports_less() -> None:
    assert EVERYTHING["mixtral-8x7b"].context_tokens == 4096 and not EVERYTHING["mixtral-8x7b"].notes
    short = EVERYTHING["olmo-1b"]
    assert short.context_tokens == 2048 and "2\u202f048 tokens, the model's limit" in short.notes[0]
    assert described("mixtral-8x7b", context=32768).context_tokens == 32768
    assert not described("mixtral-8x7b", context=32768).notes
    (note,) = described("mixtral-8x7b", context=32000).notes
    assert note.startswith("k means 1 000 here: 32\u202f000 tokens of context, where the model supports 32\u202f768")
    config = {key: value for key, value in TINY["llama"].items() if key != "max_position_embeddings"}
    endless = model_from_config(config, "config.json", name="tiny")
    longest = describe(endless, Options(context=10**9, batch=10**9, accelerator=device()))
    assert longest.context_tokens == 10**9 and Description.model_validate_json(longest.model_dump_json()) == longest
    with pytest.raises(InputError, match="at most"):
        describe(endless, Options(context=10**400))


@pytest.mark.parametrize(("given_name", "key"), [("bf16", "bfloat16"), ("FP8", "fp8"), ("mxfp4", "mxfp4-experts")])
def test_a_precision_has_short_names(given_name: str, key: str) -> None:
    assert described("mixtral-8x7b", precision=given_name).precision == key


def test_a_longer_context_costs_more_and_a_window_less() -> None:
    short, long = described("mixtral-8x7b", context=1024), described("mixtral-8x7b", context=2048)
    assert (short.flops_per_token.decode or 0) < (long.flops_per_token.decode or 0)
    assert 2 * (short.bytes.kv_per_sequence or 0) == long.bytes.kv_per_sequence
    windowed = described("gpt-oss-20b", context=8192)
    assert (windowed.bytes.kv_per_sequence or 0) < 8192 * (windowed.bytes.kv_per_token or 0)


def test_the_state_is_moved_twice_a_step() -> None:
    one = described("jamba-v0.1", batch=3)
    assert one.bytes.decode_step is not None and one.bytes.state_per_sequence
    assert one.bytes.decode_step.state == 2 * 3 * one.bytes.state_per_sequence


def test_a_precision_of_experts_alone_says_that_it_changes_nothing_of_a_dense_model() -> None:
    remark = "the model has no routed experts, so nothing of it is quantised in this precision"
    assert remark in described("qwen3-8b", precision="mxfp4-experts").notes
    assert remark not in described("qwen3-8b", precision="fp8").notes
    assert remark not in described("olmoe-1b-7b", precision="mxfp4-experts").notes


@pytest.mark.parametrize("name", EVERYTHING)
def test_published_active_parameters_are_compared_in_their_own_convention_too(name: str) -> None:
    one = EVERYTHING[name]
    convention, off = one.published.active_convention, one.deviation.active_in_their_convention
    if convention is None or one.parameters.active is None:
        assert off is None
    elif convention == "all":
        assert off == one.deviation.active
    else:
        ours = getattr(one.parameters, f"active_{convention}")
        assert off is not None and one.published.active is not None
        assert off == pytest.approx(ours / one.published.active - 1)
        assert abs(off) <= abs(one.deviation.active or 0), "the convention was read wrongly"


def test_every_precision_is_explained_but_those_of_one_width() -> None:
    assert set(PRECISION_MEANINGS) == {*PRECISIONS} - {"float32", "bfloat16", "float16"}


# Experts ---------------------------------------------------------------------------------------------------------


def test_a_dense_model_has_no_experts() -> None:
    assert EVERYTHING["qwen3-8b"].experts is None
    assert kind_words(EVERYTHING["qwen3-8b"]) == "dense" and experts_text(EVERYTHING["qwen3-8b"]) == ""


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 4096])
def test_the_experts_that_a_step_uses(batch: int) -> None:
    (kind,) = described("deepseek-v2-lite", batch=batch).kinds_of_experts
    assert (kind.layers, kind.experts, kind.per_token, kind.shared) == (26, 64, 6, 2)
    assert (kind.width, kind.shared_width) == (1408, 2816)
    low, high = kind.distinct_bounds
    assert (low, high) == (6, min(64, 6 * batch))
    assert kind.expected_distinct == expected_distinct_experts(64, 6, batch)
    assert low <= kind.expected_distinct <= high


def test_experts_of_several_kinds_are_a_list() -> None:
    experts = EVERYTHING["jetmoe-8b"].experts
    assert isinstance(experts, tuple)
    found = [(kind.part, kind.experts, kind.per_token) for kind in experts]
    assert found == [("attention", 8, 2), ("feed_forward", 8, 2)]
    assert kind_words(EVERYTHING["jetmoe-8b"]) == "8 × top-2"


@pytest.mark.parametrize(("name", "words"), [
    ("mixtral-8x7b", "8 × top-2"),
    ("qwen1.5-moe-a2.7b", "60 × top-4 + 4 shared"),
    ("deepseek-v3", "256 × top-8 + 1 shared"),
    ("gshard-600b", "2048 × top-2"),
    ("pangu-sigma", "experts, not stated"),
])
def test_the_kind_in_words(name: str, words: str) -> None:
    assert kind_words(EVERYTHING[name]) == words


# Encoders, windows, words ----------------------------------------------------------------------------------------


def test_an_encoder_decoder_keeps_the_source_beside_its_own_tokens() -> None:
    one = EVERYTHING["t5-base"]
    assert one.architecture is not None and one.architecture.encoder_layers == 12
    assert one.bytes.kv_per_source_token == one.bytes.kv_per_token == 12 * 2 * 12 * 64 * 4
    assert one.bytes.kv_per_sequence == 512 * (one.bytes.kv_per_source_token + one.bytes.kv_per_token)
    assert any("encoder-decoder" in note for note in one.notes)
    assert EVERYTHING["mixtral-8x7b"].bytes.kv_per_source_token is None


def test_a_recurrent_state_says_in_which_precision_it_is_counted() -> None:
    remark = "(16 bits); engines that keep it in float32 need 2 times as much"
    for name in ("jamba-v0.1", "qwen3.5-27b"):
        assert any(remark in note for note in EVERYTHING[name].notes)
    wide = describe(CATALOG.load("jamba-v0.1"), Options(precision="float32"))
    assert wide.bytes.state_per_sequence and not any("recurrent" in note for note in wide.notes)


@pytest.mark.parametrize(("name", "words"), [
    ("gpt-oss-20b", "GQA 64/8 × 64, window 128, sinks"),
    ("llama-2-7b", "MHA 32 × 128"),
    ("llama-4-scout", "GQA 40/8 × 128, chunks of 8192"),
    ("deepseek-v3", "MLA 128 heads, 512 + 64 values cached"),
    ("t5-base", "cross-attention, MHA 12 × 64"),
    ("jamba-v0.1", "Mamba, width 8192, state 16"),
    ("jetmoe-8b", "attention experts 8 × top-2, 16 × 128 each"),
    ("minimax-text-01", "lightning attention, 64 × 128"),
    ("qwen3.5-27b", "gated delta net, keys 16 × 128, values 48 × 128"),
])
def test_mixers_in_words(name: str, words: str) -> None:
    shape = EVERYTHING[name].architecture
    assert shape is not None and words in [one.what for one in shape.attention]


def test_every_kind_of_part_has_words() -> None:
    for union in (Mixer, FeedForward):
        for kind in get_args(get_args(union)[0]):
            assert part_words.dispatch(kind) is not part_words.dispatch(object), kind
    assert part_words(3.5) == "float"


@pytest.mark.parametrize("name", TINY)
def test_every_structure_that_can_be_read_can_be_described(name: str) -> None:
    known = model_from_config(TINY[name], "config.json", name=name)
    one = describe(known, Options(batch=3, accelerator=device()))
    assert one.architecture is not None and one.accelerator is not None and one.source == "config"
    assert one.published.total is None and one.deviation.total is None
    assert one.model.family == TINY[name]["model_type"]
    layers = sum(part.layers for part in (*one.architecture.attention, *one.architecture.feed_forward))
    assert layers >= one.architecture.layers


def test_words_are_explained_where_they_occur() -> None:
    assert [word for word, _ in meanings(["GQA 32/8 × 128, window 128", "8 × top-2"])] == ["GQA", "window", "top-k"]
    assert meanings(["dense, width 3"]) == []


# Precision of a file ---------------------------------------------------------------------------------------------


FP8 = {"quant_method": "fp8"}


@pytest.mark.parametrize(("config", "key"), [
    ({"torch_dtype": "bfloat16"}, "bfloat16"),
    ({"dtype": "float16"}, "float16"),
    ({"dtype": "float32", "torch_dtype": "bfloat16"}, "float32"),
    ({"torch_dtype": "torch.float32"}, "float32"),
    ({"torch_dtype": "auto"}, None),
    ({}, None),
    ({"quantization_config": FP8}, "fp8"),
    ({"quantization_config": {**FP8, "weight_block_size": [128, 128]}}, "fp8-block"),
    ({"quantization_config": {**FP8, "weight_block_size": [64, 64]}}, None),
    ({"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}},
     "mxfp4-experts"),
    ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}, "int4-g128"),
    ({"quantization_config": {"quant_method": "awq", "w_bit": 4, "q_group_size": 128}}, "int4-g128"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, "int4-g128"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}}, None),
    ({"quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": 128}}, None),
    ({"quantization_config": {"quant_method": "hqq"}, "torch_dtype": "bfloat16"}, None),
    ({"quantization_config": "fp8", "torch_dtype": "bfloat16"}, None),
])
def test_the_precision_that_a_file_names(config: dict[str, object], key: str | None) -> None:
    found, remark = stored_precision(config)
    assert found == key
    assert bool(remark) == (key is None and bool(config))


def test_matrices_that_a_file_keeps_in_16_bits_are_remarked_upon() -> None:
    fine = {**FP8, "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.gate", "model.norm"]}
    assert stored_precision({"quantization_config": fine}) == ("fp8", "")
    kept = {**FP8, "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.down_proj"]}
    assert "keeps 1 modules in 16 bits" in stored_precision({"quantization_config": kept})[1]


def test_an_unknown_precision_is_taken_for_bfloat16_and_said_so() -> None:
    for config in (TINY["llama"], {**TINY["llama"], "dtype": "auto"}):
        known = model_from_config({**config, "torch_dtype": None}, "config.json", name="tiny")
        one = describe(known)
        assert one.precision == "bfloat16" and one.model.precision is None
        assert any("in bfloat16" in note for note in one.notes)


# On an accelerator -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 16, 200])
def test_the_devices_are_the_fewest_that_hold_weights_and_sequences(batch: int) -> None:
    gpu = device()
    one = described("mixtral-8x7b", batch=batch, context=8192, accelerator=gpu)
    found = one.accelerator
    assert found is not None
    assert found.needed_bytes == (one.bytes.weights or 0) + batch * 8192 * (one.bytes.kv_per_token or 0)
    assert found.needed_bytes <= found.devices_needed * 0.9 * gpu.memory_bytes
    assert found.needed_bytes > (found.devices_needed - 1) * 0.9 * gpu.memory_bytes
    assert found.devices_needed_without_cache == 2
    assert found.price_usd_per_hour_of_all == 1.5 * found.devices_needed


def test_the_ceilings_are_those_of_all_devices_that_are_needed() -> None:
    one = described("mixtral-8x7b", batch=4, accelerator=device())
    found, step = one.accelerator, one.bytes.decode_step
    assert found is not None and step is not None and found.devices_needed == 2
    assert found.decode.memory_s == pytest.approx(step.total / (2 * 2e12))
    assert found.decode.compute_s == pytest.approx(4 * (one.flops_per_token.decode or 0) / (2 * 1e15))
    assert found.decode.bound == "memory" and found.decode.tokens_per_s == pytest.approx(4 / found.decode.step_s)
    prompt_flops = 4 * one.context_tokens * (one.flops_per_token.prefill or 0)
    assert found.prefill.compute_s == pytest.approx(prompt_flops / (2 * 1e15))
    assert found.prefill.bound == "compute"


def test_where_a_device_lacks_the_units_the_products_are_in_bfloat16() -> None:
    without = described("mixtral-8x7b", precision="fp8", accelerator=device())
    own = described("mixtral-8x7b", precision="fp8", accelerator=device(fp8=2e15))
    assert without.accelerator is not None and own.accelerator is not None
    assert (without.accelerator.compute, own.accelerator.compute) == ("bfloat16", "fp8")
    assert without.accelerator.prefill.compute_s == pytest.approx(2 * own.accelerator.prefill.compute_s)
    assert without.bytes == own.bytes
    assert "no units for fp8" in without.notes[0] and not own.notes


def test_a_device_without_a_price_has_none() -> None:
    free = device(price_usd_per_hour=None, price_source=None, price_read_on=None, price_quality=None)
    found = described("olmo-1b", accelerator=free).accelerator
    assert found is not None and found.price_usd_per_hour is None and found.price_usd_per_hour_of_all is None


# Counted without a reader ----------------------------------------------------------------------------------------


COUNTED = MetaCount(
    total=1000, active=400, active_note="a token uses 2 of 8 experts", routed_experts=800, embedding=50, head=0,
    tied_embeddings=True, scope_note="", class_name="NewForCausalLM", library_version="transformers 5",
)


def without_reader(monkeypatch: pytest.MonkeyPatch, counted: MetaCount) -> KnownModel:
    def fake(config: Mapping[str, object], where: str) -> MetaCount:
        return counted

    monkeypatch.setattr("harness.meta_count.count_on_meta_device", fake)
    return model_from_config({"model_type": "new", "dtype": "bfloat16"}, "config.json", name="new")


def test_a_structure_without_a_reader_has_parameters_and_no_flops(monkeypatch: pytest.MonkeyPatch) -> None:
    one = describe(without_reader(monkeypatch, COUNTED), Options(accelerator=device()))
    assert (one.parameters.total, one.parameters.active, one.parameters.routed_experts_used) == (1000, 400, 200)
    assert one.parameters.attention is None and one.flops_per_token.decode is None and one.bytes.kv_per_token is None
    assert one.bytes.weights == 2000 and set(one.bytes.weights_by_precision) == {"float32", "bfloat16", "float16"}
    assert one.model.kind == "moe" and one.accelerator is None
    assert one.not_counted is not None and "no reader" in one.not_counted
    assert any("NewForCausalLM" in note and "2 of 8" in note for note in one.notes)
    assert any("weights alone, in bfloat16, need 1 of Example GPU (in 90 %" in note for note in one.notes)
    narrow = describe(without_reader(monkeypatch, COUNTED), Options(precision="fp8", batch=2, accelerator=device()))
    assert narrow.bytes.weights is None and any("the weights in fp8 are not counted" in note for note in narrow.notes)
    assert "--batch changed nothing: what depends on it is not counted" in narrow.notes
    assert any("needs of Example GPU cannot be told" in note for note in narrow.notes)
    assert Description.model_validate_json(one.model_dump_json()) == one


def test_without_a_reader_the_active_parameters_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    unsure = COUNTED.model_copy(update={"active": None, "routed_experts": None, "scope_note": "the whole is counted"})
    one = describe(without_reader(monkeypatch, unsure))
    assert one.parameters.total == 1000 and one.parameters.active is None and one.model.kind is None
    assert kind_words(one) == "unknown" and "the whole is counted" in one.notes
    dense = COUNTED.model_copy(update={"active": 1000, "routed_experts": 0})
    assert describe(without_reader(monkeypatch, dense)).model.kind == "dense"


# What a name means -----------------------------------------------------------------------------------------------


def write_config(folder: Path, config: Mapping[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


def test_a_model_is_found_by_name_file_folder_or_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_config(tmp_path / "mixtral-8x7b", {**TINY["olmoe"], "dtype": "float16"})
    monkeypatch.chdir(tmp_path)
    assert find_model("Mixtral-8x7B", CATALOG).source == "catalog"
    for argument in (str(file), str(file.parent), "./mixtral-8x7b", "mixtral-8x7b/config.json"):
        found = find_model(argument, CATALOG)
        assert (found.source, found.facts.name, found.precision) == ("config", argument, "float16")
        assert found.architecture == architecture_from_config(TINY["olmoe"], "config.json")
    known = find_model("mistralai/mixtral-8x7b-v0.1", CATALOG)
    assert known.facts.name == "mixtral-8x7b" and "of the catalog" in known.remarks[0]


def test_another_repository_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "harness.description.known_model.resolve_config", lambda name: (TINY["olmoe"], f"{name}/config.json")
    )
    one = describe(find_model("some/body", CATALOG))
    assert (one.source, one.model.hf_repo, one.model.source) == ("hub", "some/body", "some/body/config.json")


@pytest.mark.parametrize(("argument", "what"), [
    ("mixtral-8x7", "did you mean 'mixtral-8x7b'"),
    ("", "no model ''"),
    ("./nowhere", "no such file"),
    ("nowhere.json", "no such file"),
    ("/nowhere/at/all", "no such file"),
    ("a/b/c", "no such file"),
    ("x" * 5000, "no model"),
    ("nul\0l", "no model"),
])
def test_what_is_not_there_is_said_with_the_nearest(argument: str, what: str) -> None:
    with pytest.raises(InputError) as raised:
        find_model(argument, CATALOG)
    assert what in str(raised.value)


def test_a_broken_file_does_not_hide_a_repository(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.yaml").write_text("{", encoding="utf-8")
    source = CATALOG.data_dir / "models" / "olmo-1b.yaml"
    (tmp_path / "models" / "olmo-1b.yaml").write_bytes(source.read_bytes())
    assert find_model("allenai/OLMo-1B-hf", Catalog(tmp_path)).facts.name == "olmo-1b"


# Choosing and ordering -------------------------------------------------------------------------------------------


def names(**wanted: Any) -> set[str]:
    return {name for name, one in EVERYTHING.items() if Filter(**wanted).accepts(one)}


def test_no_filter_accepts_everything() -> None:
    assert names() == set(EVERYTHING)


def test_filters() -> None:
    assert names(kind="moe") | names(kind="dense") == set(EVERYTHING) and not names(kind="moe") & names(kind="dense")
    assert names(family="mixtral") == {"mixtral-8x7b", "mixtral-8x22b"}
    assert "gshard-600b" in names(status="unreleased") and "mixtral-8x7b" not in names(status="unreleased")
    assert all("apache" in (EVERYTHING[name].model.license or "").lower() for name in names(license="apache"))
    assert "mixtral-8x7b" in names(search="MISTRALAI") and names(search="zzz") == set()
    assert names(search="mixtral", kind="dense") == set()


def test_sizes_are_counted_or_else_published() -> None:
    small = names(max_total=47e9)
    assert "mixtral-8x7b" in small and "mixtral-8x22b" not in small and "v-moe-15b" in small
    assert "gshard-600b" not in small and "gshard-600b" in names(max_total=600e9)
    # without any active figure it cannot be said to be small
    assert "gshard-600b" not in names(max_active=1e15) and "limoe-h14" in names(max_active=1e9)


def test_what_fits_one_device_is_judged_by_the_weights() -> None:
    fitting = names(fits=device())
    assert {"olmoe-1b-7b", "gpt-oss-120b"} <= fitting
    assert "mixtral-8x7b" not in fitting and "v-moe-15b" not in fitting
    assert names(fits=device(10**12)) > fitting


@pytest.mark.parametrize(("text", "value"), [
    ("4B", 4e9), ("800M", 8e8), ("1.5T", 1.5e12), ("3 b", 3e9), ("12k", 12e3), ("7000", 7000.0), ("4e9", 4e9),
    (None, None),
])
def test_a_number_of_parameters(text: str | None, value: float | None) -> None:
    assert parse_parameters(text, "--max-total") == value


@pytest.mark.parametrize("text", ["", "B", "0B", "-4B", "4X", "4BB", "nan", "inf", "1e999", "4,5B"])
def test_what_is_no_number_of_parameters(text: str) -> None:
    with pytest.raises(InputError, match="no number of parameters") as raised:
        parse_parameters(text, "--max-active")
    assert raised.value.where == "--max-active" and "4B" in raised.value.hint


@pytest.mark.parametrize(("text", "value"), [
    ("4096", 4096), ("4k", 4000), ("1M", 10**6), ("1.5K", 1500), (" 2 k ", 2000), ("-5", -5), ("0", 0), (None, None),
    ("1.001M", 1_001_000), ("9" * 400, int("9" * 400)),
])
def test_a_whole_number(text: str | None, value: int | None) -> None:
    assert parse_whole(text, "--context") == value


@pytest.mark.parametrize("text", ["", "k", "4.5", "1.0001k", "4X", "4ki", "four", "nan", "4,096", "\u0664", "9" * 401])
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(InputError, match="is no whole number") as raised:
        parse_whole(text, "--context")
    assert raised.value.where == "--context" and "4k (4000)" in raised.value.hint


def test_a_choice_is_checked() -> None:
    assert checked_choice(None, ["a"], "--kind") is None and checked_choice("MoE", ["moe"], "--kind") == "moe"
    assert checked_choice("apa", ["Apache-2.0"], "--license", part=True) == "apa"
    with pytest.raises(InputError, match="did you mean 'moe'") as raised:
        checked_choice("mow", ["moe", "dense"], "--kind")
    assert raised.value.where == "--kind"
    with pytest.raises(InputError, match="no model states one"):
        checked_choice("x", [], "--family")


@pytest.mark.parametrize("column", SORT_KEYS)
@pytest.mark.parametrize("reverse", [False, True])
def test_ordering_is_stable_and_puts_what_is_missing_last(column: str, reverse: bool) -> None:
    models = list(EVERYTHING.values())
    result = ordered(models, column, reverse=reverse)
    assert sorted(one.name for one in result) == sorted(EVERYTHING)
    keys = [SORT_KEYS[column](one) for one in result]
    known = [key.casefold() if isinstance(key, str) else key for key in keys if key is not None]
    assert keys[len(known):] == [None] * (len(keys) - len(known))
    position = {one.name: index for index, one in enumerate(models)}
    for (one, key), (other, following) in pairwise(zip(result, known, strict=False)):
        assert key >= following if reverse else key <= following  # type: ignore[operator]
        assert key != following or position[one.name] < position[other.name]


@given(st.permutations(list(EVERYTHING)), st.sampled_from(sorted(SORT_KEYS)))
def test_a_minus_before_the_column_is_reverse(order: list[str], column: str) -> None:
    models = [EVERYTHING[name] for name in order]
    assert ordered(models, f"-{column}") == ordered(models, column, reverse=True)
    assert ordered(models, f"-{column}", reverse=True) == ordered(models, column)


def test_an_unknown_column_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'total'") as raised:
        ordered([], "totl")
    assert raised.value.where == "--sort"
    with pytest.raises(InputError) as raised:
        ordered([], "zzz")
    assert raised.value.hint == f"columns: {', '.join(SORT_KEYS)}"


# Quantised checkpoints -------------------------------------------------------------------------------------------


def compressed(**weights: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "tensor", **weights}}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}


MIXED = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}


@pytest.mark.parametrize(("config", "key"), [
    ({"quantization_config": compressed()}, "fp8"),
    ({"quantization_config": compressed(strategy="channel", dynamic=True)}, "fp8"),
    ({"quantization_config": compressed(strategy="block", block_structure=[128, 128])}, "fp8-block"),
    ({"quantization_config": compressed(strategy="block", block_structure=[64, 64])}, None),
    ({"quantization_config": compressed(num_bits=4, type="int", strategy="group", group_size=128)}, None),
    ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, None),
    ({"quantization_config": {**GPTQ, "modules_in_block_to_quantize": [["self_attn.q_proj"]]}}, None),
    ({"quantization_config": MIXED}, None),
    ({"quantization_config": {**FP8, "quant_algo": "MIXED_PRECISION"}}, None),
    ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "nvfp4"),
    ({"quantization_config": {**FP8, "weight_block_size": [128, 128]}, "expert_dtype": "fp4"}, None),
    ({"text_config": {"quantization_config": FP8}, "dtype": "bfloat16"}, "fp8"),
    ({"text_config": {"quantization_config": MIXED}, "dtype": "bfloat16"}, None),
])
def test_a_quantisation_is_known_exactly_or_not_at_all(config: dict[str, object], key: str | None) -> None:
    found, remark = stored_precision({"torch_dtype": "bfloat16", **config})
    assert found == key
    assert bool(remark) == (key is None)


def test_the_type_of_the_text_part_counts_where_the_whole_states_none() -> None:
    assert stored_precision({"text_config": {"torch_dtype": "float16"}}) == ("float16", "")
    whole = {"dtype": None, "torch_dtype": "float32", "text_config": {"dtype": "float16"}}
    assert stored_precision(whole) == ("float32", "")


def test_without_the_quantisation_nothing_is_priced_unless_a_precision_is_given() -> None:
    config = {**TINY["llama"], "dtype": "bfloat16", "quantization_config": {"quant_method": "hqq"}}
    known = model_from_config(config, "config.json", name="tiny")
    one = describe(known, Options(accelerator=device()))
    assert one.precision is None and one.accelerator is None
    assert one.bytes.weights is None and one.bytes.kv_per_token is None and one.bytes.decode_step is None
    assert one.flops_per_token.decode and one.bytes.weights_by_precision
    assert '"hqq"' in one.notes[0] and any("--precision" in note for note in one.notes)
    assert Description.model_validate_json(one.model_dump_json()) == one
    asked = describe(known, Options(precision="int4", accelerator=device()))
    assert asked.precision == "int4-g128" and asked.bytes.weights and asked.accelerator is not None


@pytest.mark.parametrize(("algorithm", "key"), [
    ("FP8", "fp8"), ("NVFP4", "nvfp4"), ("MIXED_PRECISION", None), ("W4A16_AWQ", None), ("FP8_PB_WO", None),
])
def test_the_file_of_modelopt_beside_the_configuration_is_read(
    algorithm: str, key: str | None, tmp_path: Path
) -> None:
    file = write_config(tmp_path / "quantised", {**TINY["llama"], "dtype": "bfloat16"})
    assert find_model(str(file), CATALOG).precision == "bfloat16"
    beside = {"quantization": {"quant_algo": algorithm, "exclude_modules": ["lm_head"]}}
    file.with_name("hf_quant_config.json").write_text(json.dumps(beside), encoding="utf-8")
    for argument in (str(file), str(file.parent)):
        found = find_model(argument, CATALOG)
        assert found.precision == key and describe(found).precision == key
        assert bool(found.remarks) == (key is None)


def test_files_that_name_different_quantisations_name_none() -> None:
    found, remark = stored_precision({"quantization_config": FP8}, {"quantization": {"quant_algo": "NVFP4"}})
    assert found is None and "fp8 and nvfp4" in remark


def test_what_stopped_the_reader_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("unknown 'model_type' \"new\"" in note for note in describe(without_reader(monkeypatch, COUNTED)).notes)


def test_without_torch_what_no_reader_knows_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.meta_count.missing_package", lambda: "torch")
    with pytest.raises(UnknownStructureError, match='"zamba2"; torch, with which it might be counted') as raised:
        model_from_config({"model_type": "zamba2", "hidden_size": 64}, "config.json", name="one")
    assert raised.value.where == "config.json:model_type"
    assert "pip install" in raised.value.hint


@pytest.mark.parametrize(
    ("quantisation", "words"),
    [
        ({"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}, 'a cache of "FP8"'),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "of 8 bits"),
        ({"quant_algo": "FP8", "kv_cache_quant_algo": None}, None),
    ],
)
def test_a_cache_of_fewer_bits_is_noted(quantisation: dict[str, object], words: str | None) -> None:
    known = model_from_config({**TINY["llama"], "quantization_config": quantisation}, "config.json", name="one")
    noted = [remark for remark in known.remarks if "cache" in remark]
    assert (len(noted) == 1 and words in noted[0]) if words else not noted
