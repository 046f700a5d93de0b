"""Counts against figures worked out by hand, and the laws that hold for every architecture."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.accounting import (
    PRECISIONS,
    Limits,
    ParameterCount,
    Scheme,
    causal_context,
    count_parameters,
    decode_bytes,
    decode_roofline,
    devices_needed,
    distinct_experts_bounds,
    expected_distinct_experts,
    expert_layers,
    find_precision,
    flops_per_token,
    kv_bytes,
    kv_bytes_per_token,
    kv_read_bytes,
    prefill_bytes,
    prefill_flops,
    prefill_roofline,
    state_bytes,
    straight_stretches,
    weight_bytes,
)
from harness.accounting.inventory import Reach, Tensor
from harness.architecture import (
    Architecture,
    DenseFeedForward,
    FeedForward,
    GatedDeltaNet,
    GroupedQueryAttention,
    LatentAttention,
    LayerGroup,
    LightningAttention,
    Mamba,
    Mamba2,
    Mixer,
    MoeFeedForward,
    Norms,
    SharedExpert,
    ShortConvolution,
    Stack,
)
from harness.catalog import Catalog
from harness.errors import InputError

CATALOG = Catalog(Path(__file__).parent.parent / "suites")
HALF = PRECISIONS["bfloat16"]

small = st.integers(1, 40)


def structure(name: str) -> Architecture:
    """The architecture of a model of the catalog."""
    found = CATALOG.load(name).architecture
    assert found is not None
    return found


LAW = settings(deadline=None, max_examples=40)
flags = st.booleans()
latents = st.builds(
    LatentAttention, heads=small, query_rank=st.none() | small, kv_rank=small, nope_dim=small, rope_dim=small,
    v_head_dim=small, bias=flags, selected=st.none() | small,
)  # fmt: skip
recurrent: st.SearchStrategy[Mixer] = st.one_of(
    st.builds(Mamba, inner_width=small, state_size=small, conv_width=small, step_rank=small, inner_norms=flags),
    st.builds(Mamba2, heads=small, head_dim=small, state_size=small, state_groups=small, conv_width=small),
    st.builds(
        GatedDeltaNet, key_heads=small, value_heads=small, key_dim=small, value_dim=small, conv_width=small
    ),
    st.builds(LightningAttention, heads=small, head_dim=small),
    st.builds(ShortConvolution, conv_width=small, bias=flags),
)


@st.composite
def grouped_attentions(draw: st.DrawFn, encoded: bool = False) -> GroupedQueryAttention:
    kv_heads = draw(st.integers(1, 4))
    window, chunk = draw(st.sampled_from([(None, None), (7, None), (None, 7)]))
    return GroupedQueryAttention(
        query_heads=kv_heads * draw(st.integers(1, 4)),
        kv_heads=kv_heads,
        head_dim=draw(small),
        v_head_dim=draw(st.none() | small),
        qkv_bias=draw(flags),
        norm_parameters=draw(st.integers(0, 9)),
        gate_width=draw(st.integers(0, 9)),
        window=window,
        chunk=chunk,
        sinks=draw(flags),
        keys="encoder" if encoded else draw(st.sampled_from(["own", "own", "shared"])),
    )


attentions: st.SearchStrategy[Mixer] = grouped_attentions() | latents
mixers = attentions | recurrent


@st.composite
def sparse_parts(draw: st.DrawFn) -> MoeFeedForward:
    experts = draw(small)
    return MoeFeedForward(
        experts=experts,
        experts_per_token=draw(st.integers(1, experts)),
        width=draw(small),
        matrices=draw(st.sampled_from([2, 3, 4])),
        bias=draw(st.booleans()),
        router_bias=draw(st.booleans()),
        correction_bias=draw(st.booleans()),
        shared=draw(st.none() | st.builds(SharedExpert, width=small, sigmoid_gate=st.booleans(), bias=st.booleans())),
        latent_width=draw(st.none() | small),
    )


dense_parts = st.builds(DenseFeedForward, width=small, matrices=st.sampled_from([2, 3, 4]), bias=st.booleans())
any_parts: st.SearchStrategy[FeedForward] = dense_parts | sparse_parts()


norms = st.builds(Norms, count=st.integers(0, 4), width=small, scale=flags, bias=flags)


def stacks(parts: st.SearchStrategy[FeedForward], mixing: st.SearchStrategy[Mixer]) -> st.SearchStrategy[Stack]:
    """Up to three groups of layers of up to two mixers and two feed-forwards each."""
    group = st.builds(
        LayerGroup,
        count=st.integers(1, 5),
        mixers=st.lists(mixing, max_size=2).map(tuple),
        feed_forwards=st.lists(parts, min_size=1, max_size=2).map(tuple),
        norms=norms,
        other_parameters=st.integers(0, 3),
    )
    groups = st.lists(group, min_size=1, max_size=3).map(tuple)
    return st.builds(Stack, groups=groups, norms=norms, positions=st.sampled_from([0, 30]))


@st.composite
def architectures(
    draw: st.DrawFn,
    parts: st.SearchStrategy[FeedForward] = any_parts,
    mixing: st.SearchStrategy[Mixer] = mixers,
) -> Architecture:
    return Architecture(
        vocab_size=draw(small),
        hidden_size=draw(small),
        tied_embeddings=draw(flags),
        head_bias=draw(flags),
        max_context=None,
        decoder=draw(stacks(parts, mixing)),
    )


@st.composite
def translators(draw: st.DrawFn) -> Architecture:
    """Encoder-decoder models, whose decoder also looks at the encoder."""
    looking = attentions | grouped_attentions(encoded=True)
    model = draw(architectures(mixing=looking))
    encoder = draw(stacks(any_parts, grouped_attentions().filter(lambda part: not part.window and not part.chunk)))
    return model.model_copy(update={"encoder": encoder})


def with_experts(architecture: Architecture, experts: int | None, per_token: int | None) -> Architecture:
    """The same architecture with that many experts more, or that many for a token; None for all of them."""

    def changed(part: FeedForward) -> FeedForward:
        if not isinstance(part, MoeFeedForward):
            return part
        total = part.experts + (experts or 0)
        return part.model_copy(
            update={"experts": total, "experts_per_token": total if per_token is None else per_token}
        )

    groups = tuple(
        group.model_copy(update={"feed_forwards": tuple(changed(part) for part in group.feed_forwards)})
        for group in architecture.decoder.groups
    )
    return with_groups(architecture, groups)


def with_groups(architecture: Architecture, groups: tuple[LayerGroup, ...]) -> Architecture:
    """The same architecture with other layers."""
    return architecture.model_copy(update={"decoder": architecture.decoder.model_copy(update={"groups": groups})})


def without_windows(architecture: Architecture) -> Architecture:
    def changed(part: Mixer) -> Mixer:
        limits = ("window", "chunk") if isinstance(part, GroupedQueryAttention) else ()
        return part.model_copy(update=dict.fromkeys(limits))

    groups = tuple(
        group.model_copy(update={"mixers": tuple(changed(part) for part in group.mixers)})
        for group in architecture.decoder.groups
    )
    return with_groups(architecture, groups)


# Figures worked out by hand


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("mixtral-8x7b", 46_702_792_704, 12_879_925_248),
        ("olmoe-1b-7b", 6_919_161_856, 1_282_017_280),
        ("qwen3-30b-a3b", 30_532_122_624, 3_353_032_704),
        ("deepseek-v2-lite", 15_706_484_224, 2_661_150_208),
        ("gpt-oss-20b", 20_914_757_184, 4_187_440_704),
        ("qwen1.5-moe-a2.7b", 14_315_784_192, 2_689_173_504),
        ("llama-2-70b", 68_976_648_192, 68_976_648_192),
    ],
)
def test_totals_and_active_parameters_of_real_models(name: str, total: int, active: int) -> None:
    count = count_parameters(structure(name))
    assert (count.total, count.active) == (total, active)


def test_the_components_of_mixtral() -> None:
    # 32 layers, hidden 4096, 32 query and 8 key-value heads of 128, 8 experts of 14336 of which 2 are used.
    expert = 3 * 4096 * 14336
    assert count_parameters(structure("mixtral-8x7b")) == ParameterCount(
        embedding=32000 * 4096,
        head=32000 * 4096,
        attention=32 * (2 * 4096 * 4096 + 2 * 4096 * 1024),
        routed_experts=32 * 8 * expert,
        routed_experts_used=32 * 2 * expert,
        router=32 * 4096 * 8,
        norm=(2 * 32 + 1) * 4096,
    )


def test_the_components_of_gpt_oss() -> None:
    count = count_parameters(structure("gpt-oss-20b"))
    assert count.attention == 24 * (2 * 2880 * 4096 + 2 * 2880 * 512 + 4096 + 2 * 512 + 2880 + 64)
    assert count.routed_experts == 24 * 32 * (3 * 2880 * 2880 + 2 * 2880 + 2880)
    assert count.router == 24 * (2880 * 32 + 32)


def test_published_active_parameters_follow_their_convention() -> None:
    for name in ("gpt-oss-20b", "gpt-oss-120b", "deepseek-v2-lite", "mixtral-8x7b"):
        published, count = CATALOG.load(name).published, count_parameters(structure(name))
        counts = {
            "all": count.active,
            "without_input_embedding": count.active_without_input_embedding,
            "non_embedding": count.active_non_embedding,
        }
        assert published.active is not None
        assert published.active_convention is not None
        assert counts[published.active_convention] == pytest.approx(published.active, rel=0.03), name


def test_a_tied_table_is_active_because_the_head_multiplies_by_it() -> None:
    count = count_parameters(structure("olmo-1b"))
    assert count.active_without_input_embedding == count.active == 1_176_764_416
    assert count.active_non_embedding == 1_176_764_416 - 50304 * 2048


def test_a_correction_bias_belongs_to_the_router() -> None:
    architecture = structure("olmoe-1b-7b")
    (group,) = architecture.decoder.groups
    biased = tuple(part.model_copy(update={"correction_bias": True}) for part in group.feed_forwards)
    changed = with_groups(architecture, (group.model_copy(update={"feed_forwards": biased}),))
    assert count_parameters(changed).router - count_parameters(architecture).router == 16 * 64


def test_decoding_mixtral_costs_two_flops_an_active_weight_and_its_attention() -> None:
    flops = flops_per_token(structure("mixtral-8x7b"), context=1024)
    assert flops.routed_experts == 2 * 32 * 2 * 3 * 4096 * 14336
    assert flops.attention_projections == 2 * 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)
    assert flops.attention_scores == 32 * 4 * 32 * 128 * 1024
    assert flops.router == 2 * 32 * 4096 * 8
    assert flops.head == 2 * 4096 * 32000
    assert flops_per_token(structure("mixtral-8x7b"), context=1024, sampled=False).head == 0


def test_latent_attention_decodes_absorbed_and_prefills_expanded() -> None:
    lite = structure("deepseek-v2-lite")
    assert flops_per_token(lite, context=100).attention_scores == 27 * 16 * 2 * (2 * 512 + 64) * 100
    assert prefill_flops(lite, 100).flops.attention_scores == 27 * 16 * 2 * (192 + 128) * (100 * 101 / 2)
    assert kv_bytes_per_token(lite) == 27 * (512 + 64) * 2


def test_shared_experts_count_at_every_token() -> None:
    flops = flops_per_token(structure("qwen1.5-moe-a2.7b"), context=1)
    assert flops.shared_experts == 24 * 2 * (3 * 2048 * 5632 + 2048)


def test_weights_of_gpt_oss_take_what_its_card_says() -> None:
    model, precision = structure("gpt-oss-20b"), CATALOG.load("gpt-oss-20b").weight_precision
    assert precision is not None
    assert weight_bytes(model, precision) / 2**30 == pytest.approx(12.8, abs=0.05)
    matrices = 24 * 32 * 3 * 2880 * 2880
    assert weight_bytes(model, precision) == matrices * 4.25 / 8 + 2 * (20_914_757_184 - matrices)
    assert weight_bytes(model, HALF) == 2 * 20_914_757_184


def test_windows_cap_the_cache() -> None:
    model = structure("gpt-oss-20b")
    layer = 2 * 8 * 64 * 2
    assert kv_bytes_per_token(model) == 24 * layer
    assert kv_bytes(model, 100) == 24 * layer * 100
    assert kv_bytes(model, 5000) == 12 * layer * (5000 + 128)


def test_a_step_of_qwen3_stays_below_the_memory_roofline() -> None:
    # 8 sequences at 12.9 ms a token on an H100 of 3.35 TB/s: a utilisation of 0.60. "Active only" would give 0.14 and
    # "all weights" 1.41, which no memory can do.
    model = structure("qwen3-30b-a3b")
    utilisation = decode_bytes(model, 8, 512).total / 0.0129 / 3.35e12
    assert utilisation == pytest.approx(0.60, abs=0.02)
    assert weight_bytes(model, HALF) / 0.0129 / 3.35e12 == pytest.approx(1.41, abs=0.01)


def test_the_input_table_is_read_by_rows_unless_the_head_is_tied_to_it() -> None:
    untied = structure("olmo-1b-0724")
    tied = structure("olmo-1b")
    rows = 4 * 2048
    assert decode_bytes(untied, 4, 0).non_expert_weights == 2 * (1_279_787_008 - 50304 * 2048 + rows)
    assert decode_bytes(tied, 4, 0).non_expert_weights == 2 * 1_176_764_416


def test_measured_experts_replace_the_expectation() -> None:
    model = structure("mixtral-8x7b")
    expert = 2 * 3 * 4096 * 14336
    assert decode_bytes(model, 64, 1, distinct_experts=5.5).expert_weights == 32 * 5.5 * expert
    assert decode_bytes(model, 1, 1).expert_weights == pytest.approx(32 * 2 * expert)


def test_expected_experts_by_trying_every_routing() -> None:
    pairs = list(itertools.combinations(range(4), 2))
    for tokens in (1, 2, 3):
        routings = list(itertools.product(pairs, repeat=tokens))
        mean = sum(len(set().union(*routing)) for routing in routings) / len(routings)
        assert expected_distinct_experts(4, 2, tokens) == pytest.approx(mean, rel=1e-12)


def test_expected_experts_of_qwen3_are_fewer_than_tokens_times_experts() -> None:
    # min(T * k, N) would be 128 at 16 tokens, 56 % above the expectation.
    assert expected_distinct_experts(128, 8, 16) == pytest.approx(82.4, abs=0.1)
    assert distinct_experts_bounds(128, 8, 16) == (8, 128)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: flops_per_token(model, context=0),
        lambda model: prefill_flops(model, 0),
        lambda model: prefill_flops(model, 4, sampled=5),
        lambda model: kv_bytes(model, -1),
        lambda model: decode_bytes(model, 0, 8),
        lambda model: decode_bytes(model, 1, 8, distinct_experts=9),
        lambda model: expected_distinct_experts(4, 5, 1),
        lambda model: expected_distinct_experts(4, 2, -1),
    ],
)
def test_impossible_arguments_are_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(InputError):
        call(structure("mixtral-8x7b"))


# Laws


@LAW
@given(architectures())
def test_active_parameters_are_part_of_the_total(architecture: Architecture) -> None:
    count = count_parameters(architecture)
    assert 0 < count.active_non_embedding <= count.active_without_input_embedding <= count.active <= count.total
    tables = 0 if architecture.tied_embeddings else count.embedding
    assert count.active - count.active_without_input_embedding == tables


@LAW
@given(architectures(parts=dense_parts))
def test_in_a_dense_model_every_parameter_is_active(architecture: Architecture) -> None:
    count = count_parameters(architecture)
    assert count.active == count.total
    assert count.routed_experts == count.router == count.shared_experts == 0


@LAW
@given(architectures(parts=sparse_parts()))
def test_with_all_experts_in_use_every_parameter_is_active(architecture: Architecture) -> None:
    count = count_parameters(with_experts(architecture, 0, None))
    assert count.active == count.total == count_parameters(architecture).total


@LAW
@given(architectures(parts=sparse_parts()), small)
def test_more_experts_change_only_experts_and_router(architecture: Architecture, more: int) -> None:
    before = count_parameters(with_experts(architecture, 0, 1))
    after = count_parameters(with_experts(architecture, more, 1))
    changed = {"routed_experts", "router"}
    assert before.model_dump(exclude=changed) == after.model_dump(exclude=changed)
    assert after.routed_experts > before.routed_experts
    assert after.active - before.active == after.router - before.router > 0


@LAW
@given(architectures())
def test_splitting_a_group_changes_nothing(architecture: Architecture) -> None:
    single = [group.model_copy(update={"count": 1}) for group in architecture.each_layer()]
    split = with_groups(architecture, tuple(single))
    assert count_parameters(split) == count_parameters(architecture)
    assert flops_per_token(split, context=9) == flops_per_token(architecture, context=9)
    assert kv_bytes(split, 9) == kv_bytes(architecture, 9)


@LAW
@given(architectures(), st.integers(1, 60))
def test_a_prefill_is_the_sum_of_its_tokens(architecture: Architecture, tokens: int) -> None:
    whole = prefill_flops(architecture, tokens, sampled=tokens)
    single = [flops_per_token(architecture, context=context) for context in range(1, tokens + 1)]
    latent = any(isinstance(part, LatentAttention) for layer in architecture.each_layer() for part in layer.mixers)
    if not latent:
        assert whole.total == sum(flops.total for flops in single)
    assert whole.total - whole.flops.attention_scores == sum(f.total - f.attention_scores for f in single)
    assert whole.per_token * tokens == pytest.approx(whole.total)


@LAW
@given(st.integers(1, 300), st.none() | st.integers(1, 300))
def test_the_context_of_a_causal_prefill(tokens: int, window: int | None) -> None:
    expected = sum(i if window is None else min(i, window) for i in range(1, tokens + 1))
    assert causal_context(tokens, window) == expected


@LAW
@given(architectures(), st.integers(1, 80))
def test_windows_only_save(architecture: Architecture, context: int) -> None:
    full = without_windows(architecture)
    assert flops_per_token(architecture, context=context).total <= flops_per_token(full, context=context).total
    assert prefill_flops(architecture, context).total <= prefill_flops(full, context).total
    assert kv_bytes(architecture, context) <= kv_bytes(full, context) == context * kv_bytes_per_token(full)
    assert kv_read_bytes(architecture, context) <= kv_read_bytes(full, context)


@LAW
@given(architectures(), st.integers(1, 64))
def test_flops_are_twice_the_weights_that_are_multiplied(architecture: Architecture, context: int) -> None:
    flops = flops_per_token(architecture, context=context)
    products = flops.total - flops.attention_scores - flops.attention_state
    assert products <= 2 * count_parameters(architecture).active + flops.head
    mixers = [part for layer in architecture.each_layer() for part in layer.mixers]
    chunks = {part.chunk for part in mixers if isinstance(part, GroupedQueryAttention) and part.chunk}
    # the first token of a chunk sees none of the chunks before
    if all(context % chunk for chunk in chunks):
        assert flops_per_token(architecture, context=context + 1).total >= flops.total


experts_and_used = small.flatmap(lambda experts: st.tuples(st.just(experts), st.integers(1, experts)))


@LAW
@given(experts_and_used, st.integers(0, 5000))
def test_expected_experts_lie_within_their_bounds_and_grow(pair: tuple[int, int], tokens: int) -> None:
    experts, used = pair
    low, high = distinct_experts_bounds(experts, used, tokens)
    expected = expected_distinct_experts(experts, used, tokens)
    assert low <= expected <= high <= experts
    assert expected <= expected_distinct_experts(experts, used, tokens + 1) + 1e-9
    if used < experts:
        assert expected <= expected_distinct_experts(experts, used + 1, tokens) + 1e-9


@LAW
@given(architectures(), st.integers(1, 300), st.integers(0, 50))
def test_a_step_reads_no_more_than_there_is(architecture: Architecture, batch: int, context: int) -> None:
    step = decode_bytes(architecture, batch, context)
    assert step.non_expert_weights + step.expert_weights <= weight_bytes(architecture, HALF) + 1e-6
    assert step.kv_cache == batch * kv_read_bytes(architecture, context)
    assert step.state == 2 * batch * state_bytes(architecture)
    assert step.total <= decode_bytes(architecture, batch + 1, context).total + 1e-6


@LAW
@given(architectures(mixing=latents | grouped_attentions().filter(lambda part: part.keys == "own")), st.integers(0, 50))
def test_without_sharing_a_step_reads_no_more_than_the_cache_holds(architecture: Architecture, context: int) -> None:
    assert kv_read_bytes(architecture, context) <= kv_bytes(architecture, context)


@LAW
@given(architectures(), st.integers(1, 64))
def test_a_prefill_of_one_token_reads_what_a_step_reads(architecture: Architecture, batch: int) -> None:
    step = decode_bytes(architecture, batch, 0)
    read = prefill_bytes(architecture, batch, 1)
    assert read == pytest.approx(step.non_expert_weights + step.expert_weights)
    assert read <= prefill_bytes(architecture, batch, 7) + 1e-6 <= weight_bytes(architecture, HALF) + 2e-6


@LAW
@given(translators(), st.integers(1, 40))
def test_encoding_and_decoding_read_each_weight_once(architecture: Architecture, tokens: int) -> None:
    """What both read twice is the input table; what neither reads are experts that no token chose, and rows."""
    both = prefill_bytes(architecture, 10**9, 1) + decode_bytes(architecture, 10**9, 0).total
    states = 2 * 10**9 * state_bytes(architecture)
    table = 2 * architecture.vocab_size * architecture.hidden_size
    assert both - states == pytest.approx(weight_bytes(architecture, HALF) + table)
    assert prefill_flops(architecture, tokens).flops.head == 0
    assert flops_per_token(architecture, context=3, source=tokens).total >= flops_per_token(
        architecture, context=3, source=1
    ).total


@LAW
@given(architectures(), st.integers(1, 60), st.sampled_from(["bfloat16", "fp8-block", "mxfp4-experts"]))
def test_the_experts_of_a_step_are_those_of_its_layers(architecture: Architecture, batch: int, name: str) -> None:
    layers = expert_layers(architecture, PRECISIONS[name])
    used = [expected_distinct_experts(one.experts, one.per_token, batch) for one in layers]
    step = decode_bytes(architecture, batch, 1, precision=PRECISIONS[name])
    assert sum(n * one.bytes_each for n, one in zip(used, layers, strict=True)) == pytest.approx(step.expert_weights)
    assert len({(one.experts, one.per_token) for one in layers}) == len(layers)
    assert bool(layers) == architecture.is_moe


@LAW
@given(architectures(), st.integers(1, 40))
def test_costs_follow_simple_curves_within_a_stretch(architecture: Architecture, longest: int) -> None:
    stretches = straight_stretches(architecture, longest)
    assert [n for first, last in stretches for n in range(first, last + 1)] == list(range(1, longest + 1))
    for first, last in stretches:
        for lined in (
            [flops_per_token(architecture, context=n).total for n in range(first, last + 1)],
            [kv_read_bytes(architecture, n) for n in range(first, last + 1)],
        ):
            slopes = [b - a for a, b in itertools.pairwise(lined)]
            assert all(slope == pytest.approx(slopes[0]) for slope in slopes)
        prompts = [prefill_flops(architecture, n).total for n in range(first, last + 1)]
        bends = [a - 2 * b + c for a, b, c in zip(prompts, prompts[1:], prompts[2:], strict=False)]
        assert all(bend == pytest.approx(bends[0]) for bend in bends)


def test_stretches_end_where_windows_fill_and_chunks_begin() -> None:
    assert straight_stretches(structure("llama-3.1-8b"), 9000) == ((1, 9000),)
    assert straight_stretches(structure("mistral-7b"), 9000) == ((1, 4096), (4097, 9000))
    assert straight_stretches(structure("mistral-7b"), 4096) == ((1, 4096),)
    assert straight_stretches(structure("llama-4-scout"), 20_000) == ((1, 8192), (8193, 16_384), (16_385, 20_000))
    with pytest.raises(InputError, match="at least 1 token"):
        straight_stretches(structure("llama-3.1-8b"), 0)


# Storage schemes, states, reach


def test_a_block_at_the_edge_needs_a_whole_scale() -> None:
    scheme = Scheme(bits=8, block=(128, 128), scale_bits=32)
    assert scheme.copy_bytes(Tensor("attention", 129, 256, "matrix")) == 129 * 256 + 2 * 2 * 4
    grouped = Scheme(bits=4, block=(1, 128), scale_bits=16, offset_bits=4)
    assert grouped.copy_bytes(Tensor("attention", 3, 130, "matrix")) == 3 * 130 / 2 + 3 * 2 * 20 / 8
    assert Scheme(bits=8, block=(0, 0), scale_bits=32).copy_bytes(Tensor("attention", 5, 7, "matrix")) == 35 + 4
    assert Scheme(bits=8, block=(1, 0), scale_bits=32).copy_bytes(Tensor("attention", 5, 7, "matrix")) == 35 + 5 * 4


def test_only_the_matrices_of_the_layers_are_quantised() -> None:
    model = structure("mixtral-8x7b")
    count = count_parameters(model)
    matrices = count.attention + count.routed_experts
    scales = 32 * (4 + 8 * 3) * 4
    assert weight_bytes(model, PRECISIONS["fp8"]) == matrices + scales + 2 * (count.total - matrices)
    groups = 32 * (2 * 4096 * 32 + 2 * 1024 * 32 + 8 * (2 * 14336 * 32 + 4096 * 112))
    int4 = matrices / 2 + groups * 20 / 8 + 2 * (count.total - matrices)
    assert weight_bytes(model, PRECISIONS["int4-g128"]) == int4


@pytest.mark.parametrize(("alias", "key"), [("bf16", "bfloat16"), ("FP8", "fp8"), ("int4", "int4-g128")])
def test_precisions_have_the_names_that_people_type(alias: str, key: str) -> None:
    assert find_precision(alias) == key


def test_an_unknown_precision_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        find_precision("bfloat61")


def one_layer(mixer: Mixer) -> Architecture:
    group = LayerGroup(count=1, mixers=(mixer,), feed_forwards=(), norms=Norms(count=0, width=1))
    stack = Stack(groups=(group,), norms=Norms(count=0, width=1))
    return Architecture(vocab_size=1, hidden_size=8, tied_embeddings=True, max_context=None, decoder=stack)


def test_a_state_space_layer_by_hand() -> None:
    # inner width 16, state 4, convolution 3, rank 2
    model = one_layer(Mamba(inner_width=16, state_size=4, conv_width=3, step_rank=2))
    matrices = 8 * 32 + 16 * 3 + 16 * (2 + 8) + 2 * 16 + 16 * 8
    assert count_parameters(model).attention == matrices + 16 + 16 + 16 * 4 + 16
    flops = flops_per_token(model, context=1000, sampled=False)
    assert (flops.attention_projections, flops.attention_state) == (2 * matrices, 4 * 16 * 4)
    assert kv_bytes(model, 1000) == kv_bytes_per_token(model) == 0
    assert state_bytes(model) == 2 * (16 * 4 + 16 * 2)


def test_layers_that_share_keys_have_no_cache_of_their_own() -> None:
    own = GroupedQueryAttention(query_heads=4, kv_heads=2, head_dim=3)
    shared = own.model_copy(update={"keys": "shared"})
    assert kv_bytes(one_layer(shared), 10) == 0
    assert count_parameters(one_layer(shared)).attention == 2 * 8 * 12
    assert count_parameters(one_layer(own)).attention == 2 * 8 * 12 + 2 * 8 * 6
    scores = [flops_per_token(one_layer(part), context=7).attention_scores for part in (own, shared)]
    assert scores == [7 * 4 * 12] * 2


@LAW
@given(st.integers(1, 300), st.integers(1, 50))
def test_a_chunk_hides_what_lies_before_it(tokens: int, chunk: int) -> None:
    reach = Reach(chunk=chunk)
    seen = [reach.seen(context, 0) for context in range(1, tokens + 1)]
    assert reach.causal_pairs(tokens) == sum(seen)
    assert seen[:chunk] == list(range(1, min(tokens, chunk) + 1))
    assert max(seen) <= chunk
    assert reach.kept(tokens, 0) == min(tokens, chunk)


@LAW
@given(architectures(), st.sampled_from(sorted(PRECISIONS)))
def test_a_scale_for_every_value_at_most_doubles_float32(architecture: Architecture, name: str) -> None:
    count = count_parameters(architecture).total
    assert count * 0.5 <= weight_bytes(architecture, PRECISIONS[name]) <= count * 8


def test_precisions_of_a_real_model_have_the_order_of_their_bits() -> None:
    model = structure("qwen3-30b-a3b")
    sizes = [weight_bytes(model, PRECISIONS[name]) for name in ("float32", "bfloat16", "fp8", "nvfp4", "int4-g128")]
    assert sizes == sorted(sizes, reverse=True)
    assert weight_bytes(model, PRECISIONS["fp8-block"]) - weight_bytes(model, PRECISIONS["fp8"]) < 0.001 * sizes[2]


# Devices and rooflines


def test_devices_hold_what_is_needed_and_one_fewer_does_not() -> None:
    assert devices_needed(93.4e9, 80e9) == 2
    assert devices_needed(72e9, 80e9) == 1
    assert devices_needed(72e9 + 1, 80e9) == 2
    assert devices_needed(0, 80e9) == 1
    with pytest.raises(InputError):
        devices_needed(1, 0)


def test_the_roofline_of_qwen3_on_one_h100() -> None:
    # Weights that 8 tokens touch, read at 3.35 TB/s; the products take a hundredth of that.
    model, limits = structure("qwen3-30b-a3b"), Limits(peak_flops_per_s=989.4e12, bandwidth_bytes_per_s=3.35e12)
    found = decode_roofline(model, 8, 512, precision=HALF, limits=limits)
    assert found.memory_s == decode_bytes(model, 8, 512).total / 3.35e12
    assert found.compute_s == 8 * flops_per_token(model, context=512).total / 989.4e12
    assert found.bound == "memory"
    # 611 tokens/s were measured there (ml-energy leaderboard): below the roof, and above half of it.
    assert 0.5 < 611 / found.tokens_per_s < 1
    prefill = prefill_roofline(model, 1, 8192, precision=HALF, limits=limits)
    assert prefill.bound == "compute"
    assert prefill.tokens_per_s == pytest.approx(989.4e12 / prefill_flops(model, 8192).per_token)


@LAW
@given(architectures(), st.integers(1, 64), st.integers(1, 8))
def test_more_devices_never_slow_a_step(architecture: Architecture, batch: int, devices: int) -> None:
    one = Limits(peak_flops_per_s=1e12, bandwidth_bytes_per_s=1e12)
    many = one.model_copy(update={"devices": devices})
    times = [decode_roofline(architecture, batch, 16, precision=HALF, limits=limits).step_s for limits in (one, many)]
    assert times[0] == pytest.approx(devices * times[1])
