"""The roofline of a model: which lines are drawn, where its points lie, and what is said to bind them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import builders
import pytest
import sites
from hypothesis import given
from hypothesis import strategies as st

from harness.accelerators import AcceleratorSpec, DensePeaks, Source
from harness.environment import Ceilings, ReadRate
from harness.pages.parts import BlockTable, Figure, Value
from harness.pages.point_table import note_marks
from harness.pages.roofline_section import RooflineSection, roofline_section
from harness.pages.roofline_section.figure import roofline_figure
from harness.pages.roofline_section.roofs import Placed, roofs_of
from harness.pages.roofline_section.table import binding
from harness.routing.tokens import Phase
from harness.scenario import OpenLoop
from harness.stats import Estimate, counted
from harness.summarise import summarise
from harness.summary import ModelSummary
from harness.utilisation import RooflinePoint

PEAK, BANDWIDTH = 4e11, 1e10
CEILINGS = Ceilings(
    reads=(ReadRate(working_set_bytes=2**20, bytes_per_s=4e10), ReadRate(working_set_bytes=2**28, bytes_per_s=1e10)),
    matmul_flops_per_s={"float32": 9e10, "bfloat16": PEAK, "float16": 3.96e11}, duration_s=2.0,
)
DEVICE = AcceleratorSpec(
    name="example", title="Example GPU", vendor="Example", memory_bytes=80 * 10**9, bandwidth_bytes_per_s=2e10,
    dense_flops_per_s=DensePeaks(float32=2e11, bfloat16=8e11, float16=8e11, fp8=1.6e12), price_usd_per_hour=None,
    sources=(Source(document="d", url="https://example.org/d", figures="all", source_quality="recalled"),),
)


def at(
    phase: Phase, intensity: float, share: float, *, peak: float = PEAK, bandwidth: float = BANDWIDTH
) -> RooflinePoint:
    """A point of this intensity that reaches a share of its roof."""
    achieved = share * min(peak, intensity * bandwidth)
    return RooflinePoint(phase, intensity, achieved, achieved / peak, achieved / intensity / bandwidth)


@cache
def served(name: str) -> ModelSummary:
    """A model of the small suite."""
    return next(one for one in summarise(builders.with_paths(builders.small_suite_records())) if one.model == name)


def model_with(points: list[tuple[RooflinePoint, ...]], *, name: str = "moe-8x2", **changes: Any) -> ModelSummary:
    """A model served at 1, 4 and 16 concurrent requests, with these points, their ratios, and made-up others."""
    found = served(name)
    ratios = {key: Estimate(0.2, 0.19, 0.21, 3, "t") for key in ("mfu", "mbu")}
    ratios |= {f"decode_mbu_{kind}": Estimate(0.3, 0.29, 0.31, 3, "t") for kind in ("active", "expected", "total")}
    points_now = tuple(
        replace(one, roofline=roofline, notes=(), estimates={
            **one.estimates, **ratios, **_ratios_of(roofline), "prefill_time_share": counted(0.25),
        })
        for one, roofline in zip(found.points, points, strict=True)
    )
    return replace(found, points=points_now, **changes)


def _ratios_of(roofline: tuple[RooflinePoint, ...]) -> dict[str, Estimate]:
    return {
        f"{one.phase}_{key}": Estimate(value, 0.9 * value, 1.1 * value, 3, "t")
        for one in roofline for key, value in (("mfu", one.mfu), ("mbu", one.mbu))
    }


def usual(**changes: Any) -> ModelSummary:
    low, high = (at("prefill", 30.0, 0.2), at("decode", 2.0, 0.02)), (at("prefill", 60.0, 0.6), at("decode", 8.0, 0.05))
    return model_with([low, high, ()], **{"ceilings": CEILINGS, **changes})


def section_of(model: ModelSummary) -> RooflineSection:
    found = roofline_section(model)
    assert found is not None
    return found


def drawing_of(model: ModelSummary) -> Figure:
    figure = section_of(model).figure
    assert figure is not None
    return figure


def table_of(model: ModelSummary) -> BlockTable:
    table = section_of(model).table
    assert table is not None
    return table


def rows_of(model: ModelSummary) -> dict[tuple[str, str], dict[str, Value]]:
    return _rows_of(table_of(model))


def experts_of(model: ModelSummary) -> dict[tuple[str, str], dict[str, Value]]:
    table = section_of(model).experts
    assert table is not None
    return _rows_of(table)


def _rows_of(table: BlockTable) -> dict[tuple[str, str], dict[str, Value]]:
    titles = [column.title for column in table.columns[2:]]
    return {
        (block.title, row.title): dict(zip(titles, row.cells, strict=True))
        for block in table.blocks for row in block.rows
    }


class TestRoofs:
    @given(
        share=st.floats(0.001, 1.0), intensity=st.floats(0.05, 5000.0), peak=st.floats(1e9, 1e16),
        bandwidth=st.floats(1e9, 1e13),
    )
    def test_the_lines_follow_from_the_points(
        self, share: float, intensity: float, peak: float, bandwidth: float
    ) -> None:
        point = at("decode", intensity, share, peak=peak, bandwidth=bandwidth)
        assert point.share == pytest.approx(share)
        roofs = {one.kind: one.rate for one in roofs_of(model_with([(point,), (), ()]))}
        assert roofs["memory"] == pytest.approx(bandwidth)
        assert roofs["compute"] == pytest.approx(peak)
        least = min(roofs["compute"], intensity * roofs["memory"])
        assert point.achieved_flops_per_s == pytest.approx(share * least)

    def test_other_precisions_are_there_but_not_used(self) -> None:
        found = [(one.kind, one.name, one.source, one.used) for one in roofs_of(usual())]
        assert found == [
            ("memory", "memory", "measured", True), ("compute", "bfloat16, float16", "measured", True),
            ("compute", "float32", "measured", False),
        ]

    def test_the_data_sheet_stands_beside_what_was_measured(self) -> None:
        promised = [one for one in roofs_of(usual(device=DEVICE)) if one.source == "data sheet"]
        assert [(one.kind, one.name, one.rate) for one in promised] == [
            ("memory", "memory", 2e10), ("compute", "bfloat16, float16", 8e11),
        ]

    def test_without_a_measurement_the_data_sheet_is_the_roof(self) -> None:
        point = at("decode", 2.0, 0.5, peak=8e11, bandwidth=2e10)
        model = model_with([(point,), (), ()], device=DEVICE)
        assert [(one.name, one.source) for one in roofs_of(model)] == [
            ("memory", "data sheet"), ("bfloat16, float16", "data sheet"),
        ]
        section = section_of(model)
        assert "The roof is the data sheet's of the device: 20.0 GB/s of reading and 800 GFLOP/s" in section.note
        assert "data sheet" in drawing_of(model).caption

    def test_many_bandwidths_are_drawn_by_the_lowest_and_the_highest(self) -> None:
        points = [
            tuple(at("decode", 2.0, 0.1, bandwidth=BANDWIDTH * (1 + number)) for number in range(6)), (), (),
        ]
        memory = [one.rate for one in roofs_of(model_with(points)) if one.kind == "memory"]
        assert memory == pytest.approx([BANDWIDTH, 6 * BANDWIDTH])

    def test_all_devices_count_together(self) -> None:
        model = usual(device=DEVICE)
        several = replace(model, subject=model.subject.model_copy(update={"tensor_parallel": 2}))
        rates = {(one.name, one.source): one.rate for one in roofs_of(several)}
        assert rates["memory", "data sheet"] == 4e10
        assert rates["float32", "measured"] == 1.8e11


class TestPlot:
    def test_prefill_is_open_and_decode_filled(self) -> None:
        traces = {trace["name"]: trace for trace in drawing_of(usual()).content["data"]}
        assert traces["Prefill"]["marker"]["symbol"] == ["circle-open"] * 2
        assert traces["Decode"]["marker"]["symbol"] == ["circle"] * 2
        assert (traces["Decode"]["x"], traces["Decode"]["text"]) == ([2.0, 8.0], ["1", "4"])

    def test_dense_models_have_squares(self) -> None:
        model = model_with([(at("decode", 2.0, 0.1),), (), ()], name="dense-active")
        assert drawing_of(model).content["data"][-1]["marker"]["symbol"] == ["square"]

    def test_a_memory_line_meets_the_highest_compute_line(self) -> None:
        model = usual()
        placed = [Placed(point, phase) for point in model.points for phase in point.roofline]
        memory, compute, *_ = roofline_figure(model, placed, roofs_of(model)).content["data"]
        assert memory["y"][1] == pytest.approx(PEAK, rel=1e-3)
        assert compute["y"] == pytest.approx([PEAK, PEAK], rel=1e-3)
        assert compute["x"][0] == pytest.approx(PEAK / BANDWIDTH, rel=1e-3)
        assert memory["y"][0] == pytest.approx(memory["x"][0] * BANDWIDTH, rel=1e-3)

    def test_everything_lies_within_the_axes(self) -> None:
        content = drawing_of(usual(device=DEVICE)).content
        for axis in ("x", "y"):
            low, high = (10**end for end in content["layout"][f"{axis}axis"]["range"])
            assert all(low <= value <= high for trace in content["data"] for value in trace[axis])

    def test_an_open_loop_is_not_joined_to_the_closed_ones(self) -> None:
        model = usual()
        rated = replace(model.points[1], key=builders.point(load=OpenLoop(requests_per_s=2.5)))
        mixed = replace(model, points=(model.points[0], rated))
        traces = [one for one in drawing_of(mixed).content["data"] if one["name"] in ("Prefill", "Decode")]
        assert [(one["name"], one["mode"], one["showlegend"], one["text"]) for one in traces] == [
            (name, mode, listed, [text]) for name in ("Prefill", "Decode")
            for mode, listed, text in (("lines+markers+text", True, "1"), ("markers+text", False, "2.5/s"))
        ]

    def test_a_flagged_point_is_a_cross(self) -> None:
        model = usual()
        flagged = (replace(model.points[0], flags=("too fast",)), *model.points[1:])
        traces = drawing_of(replace(model, points=flagged)).content["data"]
        assert traces[-1]["marker"]["symbol"] == ["x", "circle"]


class TestCache:
    def test_a_rate_far_above_that_of_the_largest_working_set_is_a_caches(self) -> None:
        slow = CEILINGS.model_copy(update={"reads": (ReadRate(working_set_bytes=2**30, bytes_per_s=1e9),)})
        assert "so few bytes come from a cache; 1.07 GB are read at 1.00 GB/s" in section_of(usual(ceilings=slow)).note
        assert "cache" not in section_of(usual()).note


class TestTable:
    def test_each_load_has_its_phases_and_both_together(self) -> None:
        rows = rows_of(usual())
        assert list(rows) == [
            (load, phase) for load in ("1 concurrent request", "4 concurrent requests")
            for phase in ("Prefill", "Decode", "Together")
        ]
        decode = rows["4 concurrent requests", "Decode"]
        assert (decode["Time"].text, decode["Intensity"].text, decode["Of the roof"].text) == ("75.0", "8.00", "5.00")
        assert decode["Achieved"].text == "4.00"
        expected = experts_of(usual())["4 concurrent requests", "Decode"]["Expected experts"]
        assert (expected.text, expected.margin) == ("30.0", "\u00b1 1.0")

    def test_what_is_not_known_says_so(self) -> None:
        cell = experts_of(usual())["4 concurrent requests", "Decode"]["Measured experts"]
        assert [mark.label for mark in cell.marks] == ["none"]

    def test_a_dense_model_has_one_mbu(self) -> None:
        model = model_with([(at("decode", 2.0, 0.1),), (), ()], name="dense-active")
        assert [column.title for column in table_of(model).columns if "MBU" in column.title] == ["MBU"]
        assert section_of(model).experts is None

    def test_a_row_does_not_contradict_itself(self) -> None:
        for phase, what in (("Prefill", "MFU"), ("Decode", "MBU")):
            row = rows_of(usual())["4 concurrent requests", phase]
            assert (row["Of the roof"].text, row["Of the roof"].margin) == (row[what].text, row[what].margin)
            assert row["Of the roof"].margin and row["Achieved"].margin

    def test_nothing_without_points(self) -> None:
        assert roofline_section(replace(model_with([(), (), ()]), points=())) is None


class TestUnknown:
    def test_the_reason_stands_where_the_plot_would(self) -> None:
        model = model_with([(), (), ()])
        note = "no utilisation: the form of the cache is not known"
        points = tuple(replace(one, notes=(note,)) for one in model.points)
        section = section_of(replace(model, points=points))
        assert (section.figure, section.table, section.note) == (None, None, "")
        assert section.missing is not None
        assert (section.missing.label, section.missing.reason) == ("not known", "The form of the cache is not known.")
        assert all(note_marks(one) == () for one in points)

    def test_loads_are_named_where_others_are_known(self) -> None:
        model = usual()
        last = replace(model.points[2], notes=("no cost: free", "no utilisation: no request made a token"))
        section = section_of(replace(model, points=(*model.points[:2], last)))
        assert section.figure is not None and section.missing is not None
        assert section.missing.reason == "No request made a token (16 concurrent requests)."
        assert section_of(model).missing is None

    def test_the_page_says_so(self, tmp_path: Path) -> None:
        store = sites.store_of(tmp_path / "results", builders.small_suite_records(repeats=1, items=20))
        page = sites.render(store, tmp_path / "site").parent / "models" / "small" / "moe-8x2.html"
        text = page.read_text(encoding="utf-8")
        section = text[text.index('id="roofline"'):]
        assert "The ceilings of the device were not measured." in section[: section.index("</section>")]
        assert "no utilisation" not in text


class TestAboveTheCeiling:
    WORDS = "above the ceiling: decode read 1.25 times as fast as the device could; why"

    def beaten(self, *kept: RooflinePoint) -> ModelSummary:
        model = model_with([kept, (), ()], ceilings=CEILINGS)
        return replace(model, points=(replace(model.points[0], beaten={"decode": self.WORDS}), *model.points[1:]))

    def test_it_has_a_row_with_the_reason(self) -> None:
        rows = rows_of(self.beaten(at("prefill", 30.0, 0.2)))
        assert [phase for _, phase in rows] == ["Prefill", "Decode", "Together"]
        row = rows["1 concurrent request", "Decode"]
        assert [(mark.label, mark.reason) for mark in row["Of the roof"].marks] == [
            ("above the ceiling", "Decode read 1.25 times as fast as the device could; why."),
        ]
        assert (row["Of the roof"].text, row["Intensity"].text, row["MBU"].text) == ("", "\u2013", "")

    def test_alone_it_is_a_table_without_a_plot(self) -> None:
        section = section_of(self.beaten())
        assert section.figure is None and section.table is not None and section.missing is None


class TestBinding:
    @pytest.mark.parametrize(("share", "text", "label"), [
        (0.8, "memory", None), (0.5, "memory", None),
        (0.25, "memory, 4.00\u00d7 below", "in part"),
        (0.025, "memory, 40.0\u00d7 below", "overhead"),
    ])
    def test_the_further_from_the_roof_the_less_it_binds(self, share: float, text: str, label: str | None) -> None:
        cell = binding(at("decode", 2.0, share))
        assert (cell.text, [mark.label for mark in cell.marks]) == (text, [label] if label else [])

    def test_a_point_right_of_the_ridge_is_bound_by_compute(self) -> None:
        assert binding(at("prefill", 4000.0, 0.9)).text == "compute"

    def test_the_note_names_only_the_phases_that_are_far_below(self) -> None:
        note = section_of(usual()).note
        assert note.startswith(
            "At best, prefill comes to 60.0 % of the roof (4 concurrent requests; compute binds first) and decode "
            "comes to 5.00 % of the roof (4 concurrent requests; memory binds first). Something else than the device's "
            "limits holds decode at every load"
        )
        assert "10.0 GB/s of reading and 400 GFLOP/s in bfloat16, float16." in note
