"""The section on a model's experts: words, heat map, tables, tokens, and what it says where nothing was measured."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
import routed
import sites
from hypothesis import given
from hypothesis import strategies as st

from harness.pages.assets import own_style
from harness.pages.experts_section import ExpertsSection, counted_tables, experts_section
from harness.pages.experts_section.build import Measured
from harness.pages.experts_section.figures import information_figure
from harness.pages.experts_section.heat_map import heat_map, packed
from harness.pages.experts_section.matrix import extremes, matrix_of
from harness.pages.experts_section.numbers import CountedTable, Numbers
from harness.pages.experts_section.tables import capacity_table, distinct_table, parallel_table
from harness.pages.experts_section.tokens import token_text, tokens_of
from harness.pages.experts_section.words import telling_point
from harness.pages.experts_section.works import by_name, chance_dead, chance_divergence, chance_variation, parts_of
from harness.pages.parts import BlockTable, RecordIndex, Value
from harness.quantities import significant
from harness.record import RoutedLayer
from harness.routing.summary import DistinctPoint, Favourite, PhaseRouting, RoutingSummary, Specialisation
from harness.routing.tokens import Phase
from harness.scenario import RoutingScenario, ServedTokens
from harness.summarise import summarise
from harness.summary import ModelSummary, RoutedWork, UnreadWork

SCENARIO = RoutingScenario(
    work=ServedTokens(name="chat", lengths=builders.fixed_lengths(), concurrency=8, requests=16)
)
RECORDS = RecordIndex(Path("results"))


@cache
def models() -> tuple[ModelSummary, ...]:
    records = [
        *(builders.serving_record(model=name) for name in ("moe-8x2", "dense-active", "failing", "refused", "again")),
        builders.failed_record(model="failing", scenario=SCENARIO, error="routing", message="no router was found"),
        builders.refused_record(model="refused", scenario=SCENARIO, reason="needs 90 GB of 80 GB"),
    ]
    return summarise(builders.with_paths(records))


def model(name: str = "moe-8x2", **changes: Any) -> ModelSummary:
    return replace(next(one for one in models() if one.model == name), **changes)


def section_of(*works: RoutedWork, **changes: Any) -> ExpertsSection:
    found = experts_section(model(routing={work.name: work for work in works}, **changes), RECORDS)
    assert found is not None
    return found


def measured_of(*works: RoutedWork, **changes: Any) -> Measured:
    found = section_of(*works, **changes).measured
    assert found is not None
    return found


def with_loads(*loads: Sequence[int], top_k: int = 2, name: str = "chat") -> RoutedWork:
    """A piece of work that only decodes, with these loads of its layers."""
    layers = tuple(RoutedLayer(index=index, experts=len(load), top_k=top_k) for index, load in enumerate(loads))
    found = [routed.layer_load(layer, load) for layer, load in zip(layers, loads, strict=True)]
    return RoutedWork(
        name, "serving", RoutingSummary(layers, {"decode": routed.phase_of(found)}, (), ()), "capture hook", ()
    )


def rows(table: BlockTable | None) -> dict[tuple[str, str], list[Value]]:
    assert table is not None
    return {(block.title, row.title): list(row.cells) for block in table.blocks for row in block.rows}


def unpacked(values: dict[str, str]) -> list[int]:
    found: list[int] = np.frombuffer(base64.b64decode(values["bdata"]), f"<{values['dtype']}").tolist()
    return found


class TestStates:
    def test_a_dense_model_has_no_section(self) -> None:
        assert experts_section(model("dense-active"), RECORDS) is None

    def test_a_model_whose_routing_was_not_asked_for_says_so(self) -> None:
        found = section_of()
        assert found.measured is None and found.states == ()
        assert found.missing and found.missing.label == "not measured"
        for asked, words in (
            (True, "asks for it, but it has not been run since"), (False, "does not ask for it"), (None, "is measured"),
        ):
            section = experts_section(model(), RECORDS, asked)
            assert section and section.missing and words in section.missing.reason and "`" not in section.missing.reason

    @pytest.mark.parametrize(("name", "status", "reason"), [
        ("failing", "failed", "routing: no router was found"), ("refused", "refused", "needs 90 GB of 80 GB"),
    ])
    def test_a_measurement_that_failed_or_was_refused_says_why(self, name: str, status: str, reason: str) -> None:
        found = experts_section(model(name), RECORDS)
        assert found is not None and found.measured is None and found.missing is None
        assert [(one.what, one.mark.state, one.mark.reason) for one in found.states] == [
            ("Routing, chat", status, reason)
        ]

    def test_a_file_that_cannot_be_read_is_told(self) -> None:
        lost = UnreadWork("chat", "the file is missing (small/attachments/ab.zip); remove the record small/c/r.json")
        found = section_of(unread=(lost,))
        assert found.measured is None and found.missing is None
        (state,) = found.states
        assert (state.what, state.mark.state, state.mark.label) == ("Routing, chat", "failed", "not readable")
        assert state.mark.reason == f"Measured, but {lost.reason}."
        both = section_of(routed.work("code"), unread=(lost,))
        assert both.measured is not None and both.states == found.states

    def test_a_failure_after_a_measurement_that_cannot_be_read_leaves_nothing(self) -> None:
        gaps = tuple(replace(gap, measured_before=True) for gap in model("failing").gaps)
        found = section_of(gaps=gaps, unread=(UnreadWork("chat", "the file is missing"),))
        assert [state.mark.label for state in found.states] == ["failed", "not readable"]

    def test_a_model_of_unknown_structure_has_a_section_of_what_cannot_be_read(self) -> None:
        assert section_of(architecture=None, unread=(UnreadWork("chat", "the file is missing"),)).states

    def test_a_failure_after_a_measurement_leaves_it_standing(self) -> None:
        gaps = tuple(replace(gap, measured_before=True) for gap in model("failing").gaps)
        found = section_of(routed.work(), gaps=gaps)
        assert found.measured is not None
        assert found.states[0].mark.label == "failed since"

    def test_random_weights_are_marked(self) -> None:
        dummy = model().subject.model_copy(update={"weights": "dummy"})
        assert [mark.label for mark in section_of(routed.work(), subject=dummy).marks] == ["random weights"]
        assert section_of(routed.work()).marks == ()

    def test_a_model_of_unknown_structure_shows_what_was_measured(self) -> None:
        assert section_of(routed.work(), architecture=None).measured is not None

    def test_work_without_a_token_is_as_if_there_were_none(self) -> None:
        empty = RoutedWork("chat", "serving", RoutingSummary((), {}, (), ()), "capture hook", ())
        assert section_of(empty).measured is None


class TestWords:
    def test_what_was_routed_and_how_evenly(self) -> None:
        even, *_ = measured_of(with_loads([300, 100, 100, 100], [150, 150, 150, 150])).lead
        assert even.startswith(
            "Over 300 decoded tokens of the workload chat, the busiest of the 4 experts of a layer has on average 1.50 "
            "times an even share; the variation over experts is 0.289, where uniform routing of so many tokens would "
            "show about 0.058 by chance"
        )
        assert "even one" not in even
        assert even.endswith("Each of the 8 experts of 2 layers got a token.")

    def test_variation_within_chance_is_no_preference(self) -> None:
        text, *_ = measured_of(with_loads([11, 9, 10, 10], [10, 10, 9, 11])).lead
        assert "does not tell the router from an even one" in text

    def test_dead_experts_are_weighed_against_chance(self) -> None:
        many, *_ = measured_of(with_loads([200, 200, 200, 0])).lead
        assert "1 of the 4 experts got none; uniform routing would leave none." in many
        few, *_ = measured_of(with_loads([2, 2, 2, 1, 1, 0, 0, 0])).lead
        assert "as many as uniform routing of so few tokens would leave (2.5)" in few

    def test_distinct_experts_beside_uniform_routing(self) -> None:
        _, text, *_ = measured_of(routed.work(shape=routed.Shape(2, 64, 4, skew=1.5))).lead
        assert re.fullmatch(
            r"A decode step of 32 tokens uses [\d.]+ of a layer's 64 experts on average, where uniform routing would "
            r"use [\d.]+ \(0\.\d+ times as many\)\.", text,
        )

    def test_prefill_is_told_where_nothing_was_decoded(self) -> None:
        text, *_ = measured_of(routed.work("facts", "task", tokens={"prefill": 900})).lead
        assert text.startswith("Over 900 prompt tokens of the task facts,")

    def test_a_batch_that_few_steps_had_is_not_told(self) -> None:
        points = [DistinctPoint(2**n, 1.0, 1.0, 1.0, 1.0, steps) for n, steps in enumerate((40, 30, 12, 2))]
        point = telling_point(points)
        assert point is not None and point.batch == 4
        most = telling_point(points[3:])
        assert most is not None and most.batch == 8
        assert telling_point([]) is None

    def test_what_differs_between_tasks(self) -> None:
        works = [routed.work(name, "task", seed=seed) for seed, name in enumerate(("facts", "sort", "sums"))]
        text = measured_of(*works, specialisation=routed.specialisation_of(works)).lead[-1]
        found = routed.specialisation_of(works).divergence
        assert text.startswith("Routing differs most between ") and "; least between " in text
        assert f"{found.max():.3g}" in text

    def test_a_difference_within_chance_is_none(self) -> None:
        loads = np.random.default_rng(5).multinomial(60, [0.25] * 4, size=2)
        works = [with_loads(load.tolist(), name=name) for load, name in zip(loads, ("facts", "sort"), strict=True)]
        text = measured_of(*works, specialisation=routed.specialisation_of(works)).lead[-1]
        assert text.startswith("Between facts and sort routing differs by no more than")


class TestChance:
    @pytest.mark.parametrize(("experts", "top_k", "tokens"), [(16, 1, 400), (32, 4, 300)])
    def test_formulas_agree_with_uniform_routing_that_is_drawn(self, experts: int, top_k: int, tokens: int) -> None:
        random = np.random.default_rng(7)
        layer = RoutedLayer(index=0, experts=experts, top_k=top_k)

        def drawn() -> list[int]:
            ids = np.argsort(random.random((tokens, experts)), axis=1)[:, :top_k]
            counts: list[int] = np.bincount(ids.ravel(), minlength=experts).tolist()
            return counts

        loads = [routed.layer_load(layer, drawn()) for _ in range(200)]
        variation = float(np.mean([one.balance.variation for one in loads]))
        assert chance_variation(loads[:1]) == pytest.approx(variation, rel=0.05)
        works = [with_loads(one.load.tolist(), top_k=top_k) for one in loads]
        pairs = list(zip(works[::2], works[1::2], strict=True))
        divergence = float(np.mean([routed.specialisation_of(pair).divergence[0, 1] for pair in pairs]))
        assert chance_divergence(pairs[0], works[0].summary.layers) == pytest.approx(divergence, rel=0.1)

    def test_dead_experts_of_few_tokens(self) -> None:
        layer = RoutedLayer(index=0, experts=10, top_k=1)
        assert chance_dead([routed.layer_load(layer, [1] + [0] * 9)]) == pytest.approx(9.0)

    def test_one_expert_has_no_variation(self) -> None:
        layer = RoutedLayer(index=0, experts=1, top_k=1)
        assert chance_variation([routed.layer_load(layer, [50])]) == 0.0


class TestHeatMap:
    @given(st.lists(st.integers(0, 2**32 - 1), max_size=40))
    def test_loads_survive_their_packing(self, loads: list[int]) -> None:
        found = packed(np.asarray(loads, dtype=np.int64))
        assert unpacked(found) == loads
        most = max(loads, default=0)
        assert found["dtype"] == ("u1" if most < 2**8 else "u2" if most < 2**16 else "u4")

    def test_each_choice_holds_the_loads_of_its_phases(self) -> None:
        work = routed.work()
        choice = heat_map([work]).choices[0]
        for phase, found in choice.content["phases"].items():
            routing = next(one for key, one in work.summary.phases.items() if key == phase)
            assert found["rows"] == [0, 1]
            assert [unpacked(load) for load in found["loads"]] == [one.load.tolist() for one in routing.layers]
        assert choice.content["layers"] == [["1", 8, 2], ["2", 8, 2]]
        assert list(choice.content["words"]) == ["both", "prefill", "decode"]
        assert choice.content["words"]["both"].startswith("chat: 6\u202f000 tokens. Busiest: layer ")

    def test_phases_of_two_stacks_name_the_rows_that_they_have(self) -> None:
        encoder, decoder = routed.Shape(stack="encoder"), routed.Shape(experts=4, top_k=1)
        first = routed.work(shape=encoder, tokens={"prefill": 500}).summary
        second = routed.work(shape=decoder, tokens={"decode": 90}).summary
        both = RoutingSummary((*first.layers, *second.layers), {**first.phases, **second.phases}, (), ())
        work = RoutedWork("chat", "serving", both, "transformers", ())
        content = heat_map([work]).choices[0].content
        assert [title for title, *_ in content["layers"]] == ["encoder 1", "encoder 2", "decoder 1", "decoder 2"]
        assert (content["phases"]["prefill"]["rows"], content["phases"]["decode"]["rows"]) == ([0, 1], [2, 3])
        assert measured_of(work).layers[0].table.blocks[1].rows[0].title == "decoder 1"

    @given(st.integers(0, 4))
    def test_the_colours_reach_as_far_as_the_loads(self, doublings: int) -> None:
        load = [1000 * 2**doublings, *[1000] * 15]
        relative = load[0] * 16 / sum(load)
        found = heat_map([with_loads(load)])
        assert found.doublings == max(1, int(np.ceil(np.log2(relative) - 1e-9)))
        assert (found.ticks[found.doublings], len(found.ticks)) == ("1", 2 * found.doublings + 1)

    def test_one_expert_that_takes_nearly_all_does_not_stretch_the_scale(self) -> None:
        assert heat_map([with_loads([10**6] + [1] * 1023)]).doublings == 5

    def test_an_expert_without_a_token_is_told(self) -> None:
        assert heat_map([with_loads([5, 5, 0, 2])]).dead
        assert not heat_map([with_loads([5, 5, 1, 1])]).dead

    def test_many_experts_can_be_looked_at_in_stretches(self) -> None:
        found = heat_map([routed.work(shape=routed.Shape(2, 2048, 8))])
        assert [start for start, _ in found.ranges] == list(range(0, 2048, 256))
        assert found.ranges[-1][1] == "1\u202f792 to 2\u202f047"
        assert heat_map([routed.work()]).ranges == ()

    def test_the_height_fits_few_and_many_layers(self) -> None:
        heights = [heat_map([routed.work(shape=routed.Shape(layers))]).height_px for layers in (1, 2, 48, 128)]
        assert heights == sorted(heights)
        assert heights[0] < 100 and heights[-1] < 1300

    def test_works_are_grouped_by_their_kind(self) -> None:
        works = [routed.work("facts", "task"), routed.work("chat"), routed.work("sort", "task")]
        groups = measured_of(*works).heat_map.groups
        assert [(title, [one.title for one in some]) for title, some in groups] == [
            ("Serving workloads", ["chat"]), ("Tasks", ["facts", "sort"]),
        ]


class TestTables:
    def test_balance_of_every_phase(self) -> None:
        found = rows(measured_of(with_loads([300, 100, 100, 100])).balance)
        assert [cell.text for cell in found["chat", "Decode"][:8]] == [
            "300", "40", "2.00", "0.577", "0.0577", "0.250", "0.896", "0",
        ]
        assert found["chat", "Decode"][7].margin == "of 4"

    def test_every_layer_has_its_busiest_expert(self) -> None:
        found = rows(measured_of(with_loads([1, 9, 2], [7, 1, 4])).layers[0].table)
        assert [cells[1].text for cells in found.values()] == ["1", "0"]

    def test_distinct_experts_stay_within_their_bounds(self) -> None:
        found = rows(distinct_table(parts_of([routed.work()]), Numbers("")))
        assert len(found) == 8 + 11
        first = [cell.text for cell in found["chat, decode", "1"]]
        assert first == ["2.00", "2.00", "1.00", "2", "2", "40"]

    def test_dropped_assignments_by_factor(self) -> None:
        table = capacity_table(parts_of([routed.work()]), Numbers(""))
        assert [cell.text for cell in rows(table)["chat", "Decode"]] == [
            "21.0", "33.0", "10.8", "16.9", "6.22", "9.78", "2.62", "4.12",
        ]
        assert table and table.columns[2].title == "Factor 1"

    def test_ranks_with_and_without_a_balancer(self) -> None:
        table = parallel_table(parts_of([routed.work()]), Numbers(""))
        found = rows(table)
        assert [row for _, row in found][:4] == ["1", "2", "4", "8"]
        assert [(cell.text, cell.margin) for cell in found["chat, decode", "1"][4:]] == [
            ("1.01", ""), ("1.00", "+0"), ("\u2013", ""), ("\u2013", ""),
        ]
        assert [cell.margin for cell in found["chat, decode", "4"][5:]] == ["+0", "+4", "+8"]
        assert table and table.columns[5].unit == "kB per token and layer"

    def test_nothing_that_was_not_replayed(self) -> None:
        def bare(routing: PhaseRouting) -> PhaseRouting:
            return replace(routing, drops=(), parallel=(), distinct=())

        work = routed.work()
        phases = {phase: bare(routing) for phase, routing in work.summary.phases.items()}
        found = measured_of(replace(work, summary=replace(work.summary, phases=phases)))
        assert (found.capacity, found.parallel, found.distinct, found.distinct_table) == (None, None, (), None)
        assert len(found.lead) == 1

    def test_records_are_linked(self) -> None:
        work = routed.recorded(routed.work(), Path("results/small/a.json"))
        assert [link.text for link in rows(measured_of(work).balance)["chat", "Decode"][-1].links] == ["a.json"]


class TestDistinctFigure:
    def test_measured_uniform_and_bounds(self) -> None:
        decode, prefill = measured_of(routed.work(), routed.work("facts", "task", tokens={"prefill": 90})).distinct
        assert [trace.get("name") for trace in decode.content["data"]] == [None, "possible", "uniform routing", "chat"]
        assert [trace.get("name") for trace in prefill.content["data"]][3:] == ["chat", "facts"]
        low, high, uniform, _ = (trace["y"] for trace in decode.content["data"])
        assert all(a <= b <= c for a, b, c in zip(low, uniform, high, strict=True))
        assert decode.content["layout"]["xaxis"]["type"] == "log"

    def test_more_than_five_lines_are_left_to_the_table(self) -> None:
        works = [routed.work(f"task {number}", "task", seed=number) for number in range(7)]
        figure = measured_of(*works).distinct[0]
        assert len(figure.content["data"]) == 3 + 5
        assert "2 further pieces of work are in the table" in figure.caption


class TestSpecialisation:
    def test_the_matrix_is_shaded_up_to_its_largest_value(self) -> None:
        works = [routed.work(name, "task", seed=seed) for seed, name in enumerate(("facts", "sort", "sums"))]
        matrix = measured_of(*works, specialisation=routed.specialisation_of(works)).matrix
        assert matrix is not None
        shades = [cell.shade for row in matrix.rows for cell in row if cell]
        assert max(shades) == 45 and len(shades) == 6
        assert all(matrix.rows[i][i] is None for i in range(3))
        assert all("by chance" in cell.chance for row in matrix.rows for cell in row if cell)

    def test_works_that_route_alike_are_not_shaded(self) -> None:
        works = [routed.work(name, "task") for name in ("facts", "sort")]
        matrix = measured_of(*works, specialisation=routed.specialisation_of(works)).matrix
        assert matrix and [cell.shade for row in matrix.rows for cell in row if cell] == [0, 0]

    def test_information_is_a_chart_or_a_sentence(self) -> None:
        for layers in (2, 5):
            works = [routed.work(name, "task", routed.Shape(layers), seed=ord(name[0])) for name in ("facts", "sort")]
            found = measured_of(*works, specialisation=routed.specialisation_of(works))
            assert (found.information is None, bool(found.information_words)) == (layers == 2, layers == 2)
            if found.information:
                assert [trace["name"] for trace in found.information.content["data"]] == ["measured", "by chance"]

    def test_loads_of_a_work_are_added_up_once(self) -> None:
        class Phases(dict[Phase, PhaseRouting]):
            read = 0

            def values(self) -> Any:
                self.read += 1
                return super().values()

        shape = routed.Shape(5)
        works = [routed.work(name, "task", shape, seed=seed) for seed, name in enumerate("abcdef")]
        found, phases = routed.specialisation_of(works), [Phases(work.summary.phases) for work in works]
        watched = [
            replace(work, summary=replace(work.summary, phases=one)) for work, one in zip(works, phases, strict=True)
        ]
        named = by_name(watched)
        matrix_of(found, named, Numbers("")), extremes(found, named), information_figure(found, named)
        assert {one.read for one in phases} == {1}

    def test_both_phases_are_taken_together_and_the_page_says_so(self) -> None:
        for layers in (2, 4):
            works = [routed.work(name, "task", routed.Shape(layers), seed=seed) for seed, name in enumerate("ab")]
            found = measured_of(*works, specialisation=routed.specialisation_of(works))
            told = found.information.caption if found.information else found.information_words
            assert "prefill and decode taken together" in told
            for work in works:
                total = [sum(phase.layers[one].load for phase in work.summary.phases.values()) for one in range(layers)]
                assert all(map(np.array_equal, work.loads.values(), total))

    def test_names_that_have_no_work_have_no_chance(self) -> None:
        layer = RoutedLayer(index=0, experts=4, top_k=2)
        unknown = Specialisation(("a", "b"), np.array([[0.0, 0.3], [0.3, 0.0]]), (0.3,), (layer,))
        found = measured_of(routed.work(), specialisation=unknown)
        assert found.matrix and found.matrix.rows[0][1] and found.matrix.rows[0][1].chance == ""
        assert found.lead[-1] == (
            "Routing differs most between a and b: 0.300 bits of divergence (0 alike, 1 disjoint)."
        )


class TestTokens:
    @pytest.mark.parametrize(("text", "shown"), [
        (" the", "\u2423the"), ("\n\t", "\u23ce\u21e5"), ("\u202eabc\x00", "\ufffdabc\ufffd"), ("", "token 7"),
        ("<b>", "<b>"), ("x" * 10_000, "x" * 31 + "\u2026"),
    ])
    def test_texts_are_shown_as_they_are_and_short(self, text: str, shown: str) -> None:
        assert token_text(Favourite(0, 0, 7, text, 0.5, 2.0, 30)) == shown

    @pytest.mark.parametrize("layers", [1, 2, 5, 64])
    def test_few_rows_of_every_layer(self, layers: int) -> None:
        found = tokens_of(routed.work(shape=routed.Shape(layers)), Numbers(""))
        assert found is not None and found.pairs is not None
        assert 0 < len(found.favourites) <= 12 and 0 < len(found.pairs.rows) <= 12
        shown = {row.layer for row in found.favourites}
        assert len(shown) == min(layers, 12)
        assert ("highest lift" in found.pairs_note) == (len(found.pairs.rows) < 5 * layers)

    def test_the_strongest_are_kept(self) -> None:
        found = tokens_of(routed.work(shape=routed.Shape(5)), Numbers(""))
        assert found is not None and found.pairs is not None
        assert {row.cells[0].text for row in found.pairs.rows} == {"0 and 1", "1 and 2"}
        assert [row.expert for row in found.favourites[:2]] == ["0", "1"]

    def test_none_where_nothing_is_striking(self) -> None:
        assert tokens_of(with_loads([5, 5, 5, 1]), Numbers("")) is None
        alone = tokens_of(routed.work(shape=routed.Shape(top_k=1)), Numbers(""))
        assert alone is not None and alone.pairs is None


def _rgb(name: str, dark: bool) -> list[float]:
    css = own_style(sites.TEMPLATES / "assets" / "styles")
    found = re.search(rf"--{name}: light-dark\(#(\w{{6}}), #(\w{{6}})\)", css)
    assert found, name
    text = found[2 if dark else 1]
    values = [int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
    "deutan": np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    "tritan": np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
}


def _oklab(linear: Any) -> Any:
    """Ottosson 2020: equal distances look about equally far apart."""
    cones = np.array([[0.41222147, 0.53633254, 0.05144599], [0.21190350, 0.68069955, 0.10739696],
                      [0.08830246, 0.28171884, 0.62997870]])
    lab = np.array([[0.21045426, 0.79361779, -0.00407205], [1.97799850, -2.42859221, 0.45059371],
                    [0.02590404, 0.78277177, -0.80867577]])
    return lab @ np.cbrt(cones @ np.clip(linear, 0, 1))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_the_colours_of_the_map_are_told_apart_by_everyone(blindness: str, dark: bool) -> None:
    names = ("below-2", "below-1", "even", "above-1", "above-2", "ink")
    seen = [_oklab(BLINDNESS[blindness] @ np.asarray(_rgb(name, dark))) for name in names]
    least = min(float(np.linalg.norm(a - b)) for i, a in enumerate(seen) for b in seen[:i])
    assert least > 0.05


class TestNumbers:
    def named(self) -> tuple[Measured, dict[str, CountedTable]]:
        works = {name: routed.work(name, "task", seed=seed) for seed, name in enumerate(("facts", "sort"))}
        found = model(routing=works, specialisation=routed.specialisation_of(list(works.values())))
        section = experts_section(found, RECORDS, name="small.moe-8x2")
        assert section is not None and section.measured is not None
        return section.measured, counted_tables(found, RECORDS)

    def test_every_cell_is_the_number_that_its_drawer_shows(self) -> None:
        measured, tables = self.named()
        seen = 0
        blocks = [
            measured.balance, *(one.table for one in measured.layers), measured.distinct_table, measured.capacity,
            measured.parallel, measured.parallel_rest,
        ]
        rows_ = [row for table in blocks if table for block in table.blocks for row in block.rows]
        for row in [*rows_, *(row for one in measured.tokens if one.pairs for row in one.pairs.rows)]:
            table, _, number = row.evidence.removeprefix("small.moe-8x2.routing.").rpartition("-")
            for cell in row.cells:
                if cell.cell:
                    value = tables[table].rows[int(number)][1][int(cell.cell)]
                    assert float(cell.text.replace("\u202f", "")) == pytest.approx(value, rel=5.1e-3)
                    seen += 1
        assert seen > 100

    def test_divergences_are_named_too(self) -> None:
        measured, tables = self.named()
        assert measured.matrix is not None
        assert measured.matrix.evidence == tuple(f"small.moe-8x2.routing.divergence-{row}" for row in range(2))
        cell = measured.matrix.rows[0][1]
        assert cell is not None and cell.text == significant(tables["divergence"].rows[0][1][1] or 0.0)

    def test_names_are_safe_and_no_two_tables_share_one(self) -> None:
        works = [routed.work(name) for name in ("a b", "a-b", "\u202e", "A b")]
        tables = counted_tables(model(routing={work.name: work for work in works}), RECORDS)
        assert all(re.fullmatch("[a-z0-9-]+", name) for name in tables)
        balances = [table for name, table in tables.items() if name.startswith("balance-")]
        assert len(balances) == 2 * len(works)

    def test_a_model_without_a_page_names_nothing(self) -> None:
        table = measured_of(routed.work()).balance
        assert all(not row.evidence and not cell.cell for block in table.blocks for row in block.rows
                   for cell in row.cells)

    def test_a_dense_model_has_no_tables(self) -> None:
        assert counted_tables(model("dense-active"), RECORDS) == {}
