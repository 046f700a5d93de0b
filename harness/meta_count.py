"""Parameters of a model that has no reader: its class in transformers is built on torch's meta device and counted.

The meta device gives shapes without memory. Nothing is downloaded and no code of a checkpoint runs: `auto_map` is
ignored, and a class that the installed transformers lacks is refused. Counted are parameters, frozen ones included,
and not buffers. A total is exact; what a token uses of it is stated only where the routed experts can be told from the
rest for certain.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from harness.config_bounds import check_bounds
from harness.config_keys import may_change_structure, shown
from harness.errors import InputError, UnknownStructureError, nearest
from harness.meta_experts import count_experts
from harness.schema import Frozen

_WITHOUT_PARAMETERS = {
    "MptConfig": frozenset({"attn_config"}),
    "Qwen2Config": frozenset({"dual_chunk_attention_config"}),
    **dict.fromkeys(("Qwen2VLVisionConfig", "Qwen2_5_VLVisionConfig"), frozenset({"spatial_patch_size"})),
    # the gate is always there; the layers of next tokens are not the language model's
    **dict.fromkeys(
        ("Qwen3_5TextConfig", "Qwen3_5MoeTextConfig"),
        frozenset({"attn_output_gate", "full_attention_interval", "mtp_num_hidden_layers", "output_gate_type"}),
    ),
    # one period of layers behind the dense ones, and layers of next tokens
    "GlmMoeDsaConfig": frozenset({"moe_layer_freq", "num_nextn_predict_layers", "index_share_for_mtp_iteration"}),
    **dict.fromkeys(("CLIPVisionConfig", "PixtralVisionConfig"), frozenset({"vocab_size"})),
    "GemmaConfig": frozenset({"num_image_tokens"}),
    "SiglipVisionConfig": frozenset({"num_image_tokens", "projection_dim", "projector_hidden_act"}),
    "Gemma4Config": frozenset({"vision_soft_tokens_per_image"}),
    "Gemma4VisionConfig": frozenset({"global_head_dim"}),
    "RecurrentGemmaConfig": frozenset({"embeddings_scale_by_sqrt_dim"}),
}
"""Keys of released files that a class drops, or need not have, without parameters of theirs. Others are refused."""
_HARMLESS_VALUES = {"attn_output_gate": (True,), "moe_layer_freq": (1,)}
"""Of the keys in `_WITHOUT_PARAMETERS`, those that are harmless with these values only."""
INSTALL_HINT = "pip install 'moebench[cpu]' (or 'moebench[cuda]')"
_NOT_PASSED = frozenset(
    """
    attn_implementation _attn_implementation experts_implementation _experts_implementation quantization_config
    auto_map dtype torch_dtype
    """.split()  # noqa: SIM905 -- a list takes a line for each name
)
_LANGUAGE_MODELS = (
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
)
"""The library's tables of classes; where a type is in several and no class is named, the larger model comes first."""


class MetaCount(Frozen):
    """A model counted on the meta device. Units: parameters; tied tables count once.

    `active` is what a token uses, None where it cannot be told for certain; `active_note` says how it was found or why
    not. `routed_experts` are the parameters of all routed experts, None likewise. `embedding` is the input table and
    `head` the matrix of the output head without its bias, as in `accounting.ParameterCount`, 0 where it is the input
    table; None where the class does not name them. `scope_note` says what is included in a model of several towers;
    empty for a plain language model.
    """

    total: int
    active: int | None
    active_note: str
    routed_experts: int | None
    embedding: int | None
    head: int | None
    tied_embeddings: bool | None
    scope_note: str
    class_name: str
    library_version: str


def count_on_meta_device(config: Mapping[str, object], where: str) -> MetaCount:
    """The parameters of the model that `config` describes, which came from the file `where`.

    The class is the one that `architectures` names, else the language model that transformers gives the type. Raises
    UnknownStructureError where transformers does not know the type or the class, or the class is no language model,
    and InputError for values with which the model cannot be built and where torch or transformers is missing.
    """
    check_bounds(config, where)
    missing = missing_package()
    if missing:
        raise InputError(f"cannot be counted without {missing}", where=where, hint=INSTALL_HINT)
    with _quietly_and_offline():
        import transformers

        class_name = _class_name(config, where)
        stated, model = _build(config, class_name, where)
        _check_keys(config, stated, where)
        experts = count_experts(model, stated)
        embedding, head, tied = _tables(model)
        total = sum(one.numel() for one in model.parameters())
        if total == 0:
            raise InputError("describes a model without parameters", where=where)
        _check_tables(config, stated, tied, class_name, where)
        return MetaCount(
            total=total,
            active=None if experts.unused is None else total - experts.unused,
            active_note=experts.note,
            routed_experts=experts.parameters,
            embedding=embedding,
            head=head,
            tied_embeddings=tied,
            scope_note=_scope(stated, class_name),
            class_name=class_name,
            library_version=f"transformers {transformers.__version__}",
        )


# The class -------------------------------------------------------------------------------------------------------


def missing_package() -> str | None:
    """The package without which no model can be built; None where all are installed."""
    return next((name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None), None)


@contextmanager
def _quietly_and_offline() -> Iterator[None]:
    """No log, no warnings, and no network: some classes would fetch kernels or backbones."""
    from huggingface_hub import constants

    offline, disabled = constants.HF_HUB_OFFLINE, logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        constants.HF_HUB_OFFLINE = offline


def _class_name(config: Mapping[str, object], where: str) -> str:
    """The class to build. Raises UnknownStructureError for a type or class that transformers lacks."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING_NAMES:
        hint = nearest(model_type if isinstance(model_type, str) else "", CONFIG_MAPPING_NAMES)
        hint = hint if hint.startswith("did you mean") else ""
        raise _unknown(f"transformers does not know 'model_type' {shown(model_type)}", f"{where}:model_type", hint)
    known = _classes(model_type, config.get("is_encoder_decoder") is not False)
    if not known:
        what = f"{model_type!r} has no class of a language model in transformers"
        raise _unknown(what, f"{where}:model_type")
    named = config.get("architectures") or []
    if not isinstance(named, list) or len(named) > 1:
        raise _unknown(f"'architectures' is {shown(named)}, not one class", f"{where}:architectures")
    if named and named[0] not in known:
        what = f"'architectures' names {shown(named[0])}; of type {model_type!r} only {_listed(known)} can be counted"
        raise _unknown(what, f"{where}:architectures")
    if not named and _may_be_encoder(model_type, known):
        what = f"without 'architectures' a {model_type!r} model may be an encoder or a decoder"
        raise _unknown(what, f"{where}:architectures", f"name the class, such as {known[0]}")
    return str(named[0]) if named else known[0]


def _classes(model_type: str, encoder_decoder: bool) -> list[str]:
    """The language models that transformers has of a type, the preferred one first."""
    from transformers.models.auto import modeling_auto

    known: list[str] = []
    for table in _LANGUAGE_MODELS:
        if encoder_decoder or "SEQ_TO_SEQ" not in table:
            entry = getattr(modeling_auto, table).get(model_type, ())
            known += [entry] if isinstance(entry, str) else entry
    return known


def _may_be_encoder(model_type: str, known: list[str]) -> bool:
    """Whether the same type is also that of masked language models, which have no decoder at all (BERT)."""
    from transformers.models.auto import modeling_auto

    causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    return model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and set(known) == {causal}


def _listed(names: list[str]) -> str:
    return " or ".join(dict.fromkeys(names))


def _unknown(what: str, where: str, hint: str = "") -> UnknownStructureError:
    return UnknownStructureError(
        what, where=where, hint=hint or "this structure is not counted, because a guess would be wrong"
    )


def _build(config: Mapping[str, object], class_name: str, where: str) -> tuple[Any, Any]:
    """The configuration with the library's defaults, and the model without memory."""
    import torch
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        stated = CONFIG_MAPPING[config["model_type"]].from_dict(_passed(config))
        with torch.device("meta"):
            model = getattr(transformers, class_name)(stated)
    except (
        # Each class checks its configuration in its own way, most of them not at all: a value that does not fit comes
        # up wherever it is used first, down in torch. Every one of these was raised for some damaged configuration,
        # or is raised for kernels and tokenisers that a class wants beside torch.
        ValueError, TypeError, LookupError, AttributeError, RuntimeError, ImportError, ArithmeticError, AssertionError,
        OSError, MemoryError, StrictDataclassError,
    ) as error:
        raise InputError(f"transformers cannot build {class_name} from it: {_reason(error)}", where=where) from None
    return stated, model


def _check_tables(config: Mapping[str, object], stated: Any, tied: bool | None, class_name: str, where: str) -> None:
    """Refuse where the class shares its tables otherwise than checkpoints of such a file do."""
    place, said = f"{where}:tie_word_embeddings", config.get("tie_word_embeddings")
    if said is False and (tied or getattr(stated, "is_encoder_decoder", False)):
        what = f"'tie_word_embeddings' is false, and {class_name} does not say which tables are then its own"
        raise _unknown(what, place)
    text = stated.get_text_config()
    parts = (part for key, part in config.items() if isinstance(part, Mapping) and getattr(stated, key, None) is text)
    stated_ties = [one for one in (said, *(part.get("tie_word_embeddings") for part in parts)) if one is not None]
    if tied is not None and any(bool(one) is not tied for one in stated_ties):
        what = f"'tie_word_embeddings' is stated otherwise than {class_name} builds the tables"
        raise _unknown(f"{what}, which {'shares' if tied else 'parts'} them", place)
    if said is not None or text is stated:
        return
    # a model of several towers shares as its own configuration says, whatever that of its text part does
    whole, part = getattr(stated, "tie_word_embeddings", None), getattr(text, "tie_word_embeddings", None)
    if (tied or (tied is None and whole)) and not part:
        what = f"'tie_word_embeddings' is not stated: {class_name} shares its tables, and its text part does not"
        raise _unknown(what, place)


def _check_keys(config: Mapping[str, object], stated: Any, where: str, path: str = "") -> None:
    """Refuse parts that the library made up, and keys that may change the structure and that it does not know.

    `stated` is the library's configuration of `config`; `path` leads to it in the file `where`.
    """
    harmless = _WITHOUT_PARAMETERS.get(type(stated).__name__, frozenset())
    changed = {key for key, values in _HARMLESS_VALUES.items() if config.get(key, values[0]) not in values}
    known = _declared(stated) | (harmless - changed)
    for key in getattr(stated, "sub_configs", {}):
        given, part = config.get(key), getattr(stated, key, None)
        if part is None or (not given and key in harmless):
            continue
        if isinstance(given, Mapping) and given:
            _check_keys(given, part, where, f"{path}{key}.")
        elif given or not _is_flat(config, part):
            what = f"{path + key!r} is {shown(given) if given else 'not stated'}, and defaults would be counted"
            raise _unknown(f"{what} in its place", f"{where}:{path}{key}")
        else:
            known |= _declared(part)
    text = stated.get_text_config()
    for key, value in config.items():
        if key in known or key in _NOT_PASSED or not may_change_structure(key, value):
            continue
        # what the class took under another name is no attribute; a whole may repeat what its text part states
        if key not in vars(stated) or (text is not stated and getattr(text, key, None) == value):
            continue
        if not _is_read(key, type(stated)):
            what = f"{path + key!r} is {shown(value)} and may change the structure; {type(stated).__name__}"
            raise _unknown(f"{what} does not know it", f"{where}:{path}{key}")


def _declared(stated: Any) -> set[str]:
    """The keys that the class of a configuration knows, under all of their names, and those that it derives."""
    from huggingface_hub.errors import StrictDataclassError

    kind = type(stated)
    try:
        declared = set(vars(kind()))
    except (ValueError, TypeError, LookupError, AttributeError, StrictDataclassError):
        # made of other models, it has no defaults
        declared = set()
    declared |= {field.name for field in fields(stated)} if is_dataclass(stated) else set()
    names = getattr(stated, "attribute_map", {})
    return declared | {*dir(kind), *names, *names.values(), *getattr(stated, "sub_configs", {}), "tie_word_embeddings"}


def _is_read(key: str, kind: type) -> bool:
    """Whether the code of a configuration's or of its model's class reads a key that the former does not declare."""
    names = kind.__module__, kind.__module__.replace(".configuration_", ".modeling_")
    reading = re.compile(rf"""config\.{re.escape(key)}\b|["']{re.escape(key)}["']""")
    return any(reading.search(inspect.getsource(sys.modules[name])) for name in names if name in sys.modules)


def _is_flat(config: Mapping[str, object], part: Any) -> bool:
    """Whether an older file states the sizes of `part` beside it, and the library took them from there (Qwen2-VL)."""
    common = {key for key in _declared(part) & set(config) if "size" in key or key.startswith("num_")}
    read = all(getattr(part, key, None) == config[key] for key in common)
    return read and {"hidden_size", "num_hidden_layers"} <= common


def _passed(value: Any) -> Any:
    """A copy for the library, which changes it, without what selects kernels, precisions or remote code."""
    if isinstance(value, Mapping):
        return {key: _passed(inner) for key, inner in value.items() if key not in _NOT_PASSED}
    return [_passed(inner) for inner in value] if isinstance(value, list) else value


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    text = f"{text} is missing" if isinstance(error, KeyError) else text
    return text if len(text) <= 160 else text[:157] + "..."


# Tables and towers -----------------------------------------------------------------------------------------------


def _tables(model: Any) -> tuple[int | None, int | None, bool | None]:
    """Parameters of the input table and of the output head's own matrix, and whether their matrix is one."""
    try:
        table, head = model.get_input_embeddings(), model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None, None, None
    weight = getattr(table, "weight", None)
    if weight is None or getattr(head, "weight", None) is None:
        return (None if weight is None else int(weight.numel())), None, None
    tied = head.weight is weight
    return int(weight.numel()), 0 if tied else int(head.weight.numel()), tied


def _scope(stated: Any, class_name: str) -> str:
    """What a model of several towers includes."""
    towers = sorted(key for key in getattr(stated, "sub_configs", {}) if getattr(stated, key, None) is not None)
    towers = [key for key in towers if key != "text_config"]
    if not towers:
        return ""
    return f"the whole {class_name} is counted, with what {', '.join(towers)} describes"
